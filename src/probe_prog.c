// SPDX-License-Identifier: GPL-2.0
/* Probes that load, and where that says too little attach, a program of bpf/probe.bpf.c. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "feature.h"
#include "log.h"
#include "probe.skel.h"
#include "probe_prog.h"
#include "util.h"

static void destroy(struct probe **skel)
{
	probe__destroy(*skel);
}
#define _cleanup_skel_ _cleanup_(destroy)

static bool has_word(const char *words, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = words; (p = strstr(p, word)); p += len)
		if ((p == words || p[-1] == ' ') && (p[len] == ' ' || !p[len]))
			return true;
	return false;
}

int probe_refused(const struct feature *f, struct feature_result *r, int err, const char *step)
{
	char remedy[192];

	r->err = abs(err);
	if (r->err == EPERM || r->err == EACCES)
		return feature_set(r, FEATURE_UNKNOWN,
				   "run as root or with CAP_BPF and CAP_NET_ADMIN",
				   "%s was not permitted", step);
	if (log_scarce(r->err))
		return feature_set(r, FEATURE_UNKNOWN, "again, with more of it", "%s failed: %s",
				   step, log_errno(err));
	snprintf(remedy, sizeof(remedy), "Linux %s or later%s%s", f->since,
		 f->config ? " with " : "", f->config ? f->config : "");
	return feature_set(r, FEATURE_MISSING, remedy, "%s failed: %s", step, log_errno(err));
}

struct probe *probe_load(const struct feature *f, struct feature_result *r)
{
	struct probe *skel = probe__open();
	struct bpf_program *prog;
	struct bpf_map *map;
	int err;

	if (!skel) {
		probe_refused(f, r, errno, "opening the probe");
		return NULL;
	}
	bpf_object__for_each_program (prog, skel->obj)
		bpf_program__set_autoload(prog, streq(bpf_program__name(prog), f->prog));
	bpf_object__for_each_map (map, skel->obj)
		bpf_map__set_autocreate(map, has_word(f->maps, bpf_map__name(map)));
	/* A plain "sk_skb" section has no attach type: what is only loaded needs none. */
	err = probe__load(skel);
	if (!err)
		return skel;
	probe_refused(f, r, err, "loading a program");
	probe__destroy(skel);
	return NULL;
}

static int prog_fd(struct probe *skel, const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(skel->obj, name));
}

int probe_prog_load(const struct feature *f, struct feature_result *r)
{
	_cleanup_skel_ struct probe *skel = probe_load(f, r);

	return skel ? feature_set(r, FEATURE_WORKS, NULL, "program loaded") : (int)r->state;
}

int probe_prog_sockhash(const struct feature *f, struct feature_result *r)
{
	_cleanup_skel_ struct probe *skel = probe_load(f, r);
	bool parser = streq(f->prog, "kcm_p_parser");
	int err;

	if (!skel)
		return r->state;
	err = bpf_prog_attach(prog_fd(skel, f->prog), bpf_map__fd(skel->maps.kcm_p_socks),
			      parser ? BPF_SK_SKB_STREAM_PARSER : BPF_SK_SKB_VERDICT, 0);
	if (err)
		return probe_refused(f, r, errno, "attaching to a sockhash");
	return feature_set(r, FEATURE_WORKS, NULL, "program loaded and attached to a sockhash");
}

static int attach_cgroup(const struct feature *f, struct feature_result *r,
			 enum bpf_attach_type type)
{
	_cleanup_skel_ struct probe *skel = NULL;
	const char *path = probe_cgroup2_path();
	_cleanup_fd_ int cgroup_fd = -1, link_fd = -1;

	if (!*path)
		return feature_set(r, FEATURE_MISSING, "mount -t cgroup2 none /sys/fs/cgroup",
				   "no cgroup2 is mounted");
	skel = probe_load(f, r);
	if (!skel)
		return r->state;
	cgroup_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cgroup_fd < 0)
		return probe_refused(f, r, errno, "opening the cgroup2 root");
	/* A link, so that a killed doctor leaves nothing attached. */
	link_fd = bpf_link_create(prog_fd(skel, f->prog), cgroup_fd, type, NULL);
	if (link_fd < 0)
		return probe_refused(f, r, errno, "attaching to the cgroup");
	return feature_set(r, FEATURE_WORKS, NULL, "program loaded and attached to %s", path);
}

int probe_prog_sockops(const struct feature *f, struct feature_result *r)
{
	return attach_cgroup(f, r, BPF_CGROUP_SOCK_OPS);
}

int probe_prog_cgroup(const struct feature *f, struct feature_result *r)
{
	static const struct {
		const char *prog;
		enum bpf_attach_type type;
	} types[] = {
		{ "kcm_p_egress", BPF_CGROUP_INET_EGRESS },
		{ "kcm_p_create", BPF_CGROUP_INET_SOCK_CREATE },
		{ "kcm_p_connect", BPF_CGROUP_INET4_CONNECT },
	};

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (streq(types[i].prog, f->prog))
			return attach_cgroup(f, r, types[i].type);
	abort(); /* not in the table */
}

int probe_prog_reuseport(const struct feature *f, struct feature_result *r)
{
	_cleanup_skel_ struct probe *skel = probe_load(f, r);
	struct sockaddr_in any = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	_cleanup_fd_ int sk = -1;
	int fd, one = 1;

	if (!skel)
		return r->state;
	sk = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sk < 0 || setsockopt(sk, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) ||
	    bind(sk, (struct sockaddr *)&any, sizeof(any)) || listen(sk, 1))
		return probe_refused(f, r, errno, "making a listener");
	fd = prog_fd(skel, f->prog);
	if (setsockopt(sk, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &fd, sizeof(fd)))
		return probe_refused(f, r, errno, "attaching to a listener");
	return feature_set(r, FEATURE_WORKS, NULL, "program loaded and attached to a listener");
}

int probe_prog_mmap(const struct feature *f, struct feature_result *r)
{
	_cleanup_skel_ struct probe *skel = probe_load(f, r);
	size_t bytes = getpagesize();
	void *p;

	if (!skel)
		return r->state;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		 bpf_map__fd(skel->maps.kcm_p_mmap), 0);
	if (p == MAP_FAILED)
		return probe_refused(f, r, errno, "mapping an array");
	munmap(p, bytes);
	return feature_set(r, FEATURE_WORKS, NULL, "array created and mapped");
}
