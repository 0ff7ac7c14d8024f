// SPDX-License-Identifier: GPL-2.0
/* Probes that run an iterator of bpf/probe.bpf.c. */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "feature.h"
#include "lib/sock_iter.h"
#include "probe.skel.h"
#include "probe_prog.h"
#include "util.h"

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

struct live { /* as in bpf/probe.bpf.c */
	uint64_t cookie;
	int64_t ret;
	uint64_t met;
};

/* Run @prog to its end. Return: bytes it wrote, or -errno. */
static ssize_t run(struct bpf_program *prog, const struct bpf_iter_attach_opts *opts)
{
	struct bpf_link *link = bpf_program__attach_iter(prog, opts);
	_cleanup_fd_ int fd = -1;
	ssize_t n, sum = 0;
	char buf[64];

	if (!link)
		return -errno;
	fd = bpf_iter_create(bpf_link__fd(link));
	sum = fd < 0 ? -errno : 0;
	while (fd >= 0 && (n = read(fd, buf, sizeof(buf)))) {
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			sum = -errno;
			break;
		}
		sum += n > 0 ? n : 0;
	}
	bpf_link__destroy(link);
	return sum;
}

/* A listener of ours. Return: its descriptor or -1. */
static int listener(uint64_t *cookie)
{
	struct sockaddr_in any = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	_cleanup_fd_ int sk = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*cookie);

	if (sk < 0 || bind(sk, (struct sockaddr *)&any, sizeof(any)) || listen(sk, 1) ||
	    getsockopt(sk, SOL_SOCKET, SO_COOKIE, cookie, &len))
		return -1;
	return TAKE_FD(sk);
}

static int over_sockets(const struct feature *f, struct feature_result *r, struct probe *skel,
			struct live *live)
{
	int map = bpf_map__fd(skel->maps.kcm_p_live);
	_cleanup_fd_ int sk = listener(&live->cookie);
	ssize_t n;

	if (sk < 0)
		return probe_refused(f, r, errno, "making a listener");
	if (bpf_map_update_elem(map, &(uint32_t){ 0 }, live, BPF_ANY))
		return probe_refused(f, r, errno, "writing to a map");
	n = run(bpf_object__find_program_by_name(skel->obj, f->prog), NULL);
	if (n < 0)
		return probe_refused(f, r, (int)-n, "running an iterator");
	if (bpf_map_lookup_elem(map, &(uint32_t){ 0 }, live))
		return probe_refused(f, r, errno, "reading from a map");
	if (live->met != 1)
		return probe_refused(f, r, ENOENT, "meeting a socket of ours");
	return feature_set(r, FEATURE_WORKS, NULL, "program ran over all TCP sockets");
}

static int over_map(const struct feature *f, struct feature_result *r, struct probe *skel)
{
	union bpf_iter_link_info info = { .map.map_fd =
						  (uint32_t)bpf_map__fd(skel->maps.kcm_p_mmap) };
	LIBBPF_OPTS(bpf_iter_attach_opts, o, .link_info = &info, .link_info_len = sizeof(info));
	ssize_t n = run(skel->progs.kcm_p_iter_map, &o);

	if (n < 0)
		return probe_refused(f, r, (int)-n, "running an iterator");
	if (n != sizeof(uint64_t))
		return probe_refused(f, r, ENODATA, "reading a map by an iterator");
	return feature_set(r, FEATURE_WORKS, NULL, "program ran over a map");
}

int probe_prog_iter(const struct feature *f, struct feature_result *r)
{
	struct probe *skel = probe_load(f, r);
	struct live live = { 0 };
	int state;

	if (!skel && streq(f->prog, "kcm_p_iter_map") && !sock_iter_maps_permitted())
		return feature_set(r, FEATURE_WARN, "a kernel that permits iter/bpf_map_elem",
				   "refused by this kernel: show, json and refresh of sock walk "
				   "descriptors, and miss sockets that no process has open");
	if (!skel)
		return r->state;
	state = streq(f->prog, "kcm_p_iter_map") ? over_map(f, r, skel)
						 : over_sockets(f, r, skel, &live);
	probe__destroy(skel);
	return state;
}

int probe_prog_live(const struct feature *f, struct feature_result *r)
{
	struct probe *skel = probe_load(f, r);
	struct live live = { 0 };
	int state = skel ? over_sockets(f, r, skel, &live) : (int)r->state;

	probe__destroy(skel);
	if (state == FEATURE_MISSING || (state == FEATURE_WORKS && live.ret)) {
		/* They are seen all the same, so this is no reason not to load. */
		r->err = live.ret ? (int)-live.ret : r->err;
		return feature_set(
			r, FEATURE_WARN, "Linux 6.12 or later; or load before them",
			"connections older than load stay in sk_storage: a little slower");
	}
	if (state != FEATURE_WORKS)
		return state;
	return feature_set(r, FEATURE_WORKS, NULL, "a socket of ours took the callback flags");
}
