// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* sock_frame.c - give ports a framing, and take it away. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "../util.h"
#include "pin.h"
#include "sock_frame.h"
#include "sock_load.h"
#include "sockframe.skel.h" /* uses types of bpf/sock.h */

/* A program may have read a port's number just before it was taken away. */
#define REST_NS	    1000000000ULL
#define OFF_MAX	    (KCM_SK_CARRY - 8)
#define FRAME_NONE  0
#define FRAME_FIRST 1

struct framing {
	struct sock_view v;
	struct sockframe *skel;
	bool users[KCM_SK_FRAMES]; /* a port or a connection has it */
	int lock_fd;
	char *err;
	size_t err_size;
};

_printf_(3, 4) static int fail(struct framing *s, int ret, const char *fmt, ...)
{
	va_list ap;

	if (s->err && s->err_size) {
		va_start(ap, fmt);
		vsnprintf(s->err, s->err_size, fmt, ap);
		va_end(ap);
	}
	return ret;
}

static __u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* ---- descriptors ---- */

static bool is_text(const struct kcm_frame *f)
{
	return f->kind == KCM_FRAME_RESP || f->kind == KCM_FRAME_MC_TEXT ||
	       f->kind == KCM_FRAME_NATS || f->kind == KCM_FRAME_HTTP1;
}

int sock_frame_parse(const char *text, struct kcm_frame *frame, char *err, size_t size)
{
	char longer[KCM_FRAME_TEXT_BYTES];
	struct kcm_frame f;
	int ret = kcm_frame_parse(text, &f, err, size);

	if (ret)
		return ret;
	if (is_text(&f) && !strstr(text, "max=")) {
		snprintf(longer, sizeof(longer), "%s max=%uM", text, KCM_FRAME_MAX_LIMIT >> 20);
		if (!kcm_frame_parse(longer, frame, NULL, 0))
			f = *frame;
	}
	if ((f.kind == KCM_FRAME_LENGTH || f.kind == KCM_FRAME_VARINT) && f.len_off > OFF_MAX) {
		snprintf(err, size,
			 "the length field is at byte %u of a message; sock looks at the first %d",
			 f.len_off, KCM_SK_CARRY);
		return -EOPNOTSUPP;
	}
	*frame = f;
	return 0;
}

/* ---- begin and end ---- */

static void end(struct framing *s)
{
	sockframe__destroy(s->skel);
	sock_view_close(&s->v);
	if (s->lock_fd >= 0)
		close(TAKE_FD(s->lock_fd));
}

static int begin(struct framing *s)
{
	int err;

	for (int i = 0; i < SOCK_MAPS; i++)
		s->v.fd[i] = -1;
	s->lock_fd = kcm_pin_lock();
	if (s->lock_fd < 0)
		return s->lock_fd;
	err = sock_view_open(&s->v, true);
	if (err)
		end(s);
	return err;
}

/* ---- numbers ---- */

static int mark_ports(struct framing *s)
{
	struct kcm_sk_port key, *last = NULL;
	__u32 number;

	while (!bpf_map_get_next_key(s->v.fd[SOCK_PORTS], last, &key)) {
		if (!bpf_map_lookup_elem(s->v.fd[SOCK_PORTS], &key, &number) &&
		    number < KCM_SK_FRAMES)
			s->users[number] = true;
		last = &key;
	}
	return errno == ENOENT ? 0 : -errno;
}

/*
 * Forget framings that nobody has. Connections beyond the slots can't be looked through here: once
 * there was one, every number that was used is taken for used.
 */
static int collect(struct framing *s)
{
	__u32 n = s->v.ctl->cfg.slots + s->v.ctl->cfg.cpus;
	__u64 now = now_ns();
	int err = mark_ports(s);

	if (err)
		return err;
	for (__u32 i = 0; i < n; i++) {
		__u8 frame = __atomic_load_n(&s->v.hot[i].frame, __ATOMIC_RELAXED);

		if (frame < KCM_SK_FRAMES)
			s->users[frame] = true;
	}
	for (__u32 i = FRAME_FIRST; i < KCM_SK_FRAMES; i++) {
		struct kcm_sk_framing *f = &s->v.framing[i];

		if (!f->used || s->users[i])
			continue;
		if (s->v.ctl->beyond || now - f->since_ns < REST_NS) {
			s->users[i] = true;
			continue;
		}
		bpf_map_delete_elem(s->v.fd[SOCK_TX], &i);
		bpf_map_delete_elem(s->v.fd[SOCK_RX], &i);
		f->used = 0;
	}
	return 0;
}

static __u32 find_equal(const struct framing *s, const struct kcm_frame *frame)
{
	for (__u32 i = FRAME_FIRST; i < KCM_SK_FRAMES; i++)
		if (s->v.framing[i].used && !memcmp(&s->v.framing[i].frame, frame, sizeof(*frame)))
			return i;
	return FRAME_NONE;
}

static __u32 find_free(const struct framing *s)
{
	for (__u32 i = FRAME_FIRST; i < KCM_SK_FRAMES; i++)
		if (!s->v.framing[i].used)
			return i;
	return FRAME_NONE;
}

/* ---- programs ---- */

/* Maps that are pinned are those of the running programs; the others are this object's own. */
static int reuse_maps(struct framing *s)
{
	struct bpf_map *m;

	bpf_object__for_each_map (m, s->skel->obj) {
		char path[KCM_PIN_PATH];
		_cleanup_fd_ int fd = -1;
		int err;

		if (bpf_map__is_internal(m))
			continue;
		err = kcm_pin_path(path, sizeof(path), "sock", SOCK_INSTANCE, bpf_map__name(m));
		if (err)
			return err;
		fd = bpf_obj_get(path);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0)
			return fail(s, -errno, "%s: %s", path, strerror(errno));
		err = bpf_map__reuse_fd(m, fd);
		if (err)
			return fail(s, err, "%s: %s", path, strerror(-err));
	}
	return 0;
}

static int load(struct framing *s, const struct kcm_frame *frame)
{
	int err;

	s->skel = sockframe__open();
	if (!s->skel)
		return fail(s, -errno, "open BPF object: %s", strerror(errno));
	memcpy((void *)&s->skel->rodata->kcm_frame, frame, sizeof(*frame));
	memcpy((void *)&s->skel->rodata->kcm_sk_cfg, &s->v.ctl->cfg, sizeof(s->v.ctl->cfg));
	err = reuse_maps(s);
	if (err)
		return err;
	err = sockframe__load(s->skel);
	if (err == -EACCES || err == -EINVAL || err == -E2BIG)
		return fail(s, -EOPNOTSUPP,
			    "the verifier of this kernel refuses the programs for this framing");
	return err ? fail(s, err, "load BPF programs: %s", strerror(-err)) : 0;
}

static bool same_tag(const struct bpf_program *p, int map_fd, __u32 number)
{
	struct bpf_prog_info a = { 0 }, b = { 0 };
	__u32 a_len = sizeof(a), b_len = sizeof(b), id;
	_cleanup_fd_ int fd = -1;

	if (bpf_map_lookup_elem(map_fd, &number, &id))
		return false;
	fd = bpf_prog_get_fd_by_id(id);
	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &a, &a_len) &&
	       !bpf_obj_get_info_by_fd(bpf_program__fd(p), &b, &b_len) &&
	       !memcmp(a.tag, b.tag, sizeof(a.tag));
}

/* Programs of another build are replaced where they are: the state they keep is the same. */
static int install(struct framing *s, const struct bpf_program *p, int map_fd, __u32 number)
{
	int fd = bpf_program__fd(p);

	if (same_tag(p, map_fd, number))
		return 0;
	if (bpf_map_update_elem(map_fd, &number, &fd, BPF_ANY))
		return fail(s, -errno, "%s: %s", bpf_program__name(p), strerror(errno));
	return 0;
}

static int install_both(struct framing *s, __u32 number)
{
	int err = install(s, s->skel->progs.kcm_frame_tx, s->v.fd[SOCK_TX], number);

	return err ?: install(s, s->skel->progs.kcm_frame_rx, s->v.fd[SOCK_RX], number);
}

/* ---- set and delete ---- */

static int set_port(struct framing *s, __u16 port, __u32 number)
{
	struct kcm_sk_port key = { .port = port, .proto = KCM_SK_TCP };
	__u32 before;
	bool had = !bpf_map_lookup_elem(s->v.fd[SOCK_PORTS], &key, &before);

	if (had && before == number)
		return SOCK_FRAME_SAME;
	if (bpf_map_update_elem(s->v.fd[SOCK_PORTS], &key, &number, BPF_ANY))
		return fail(s, -errno, "port %u: %s", port, strerror(errno));
	if (had && before < KCM_SK_FRAMES)
		s->v.framing[before].since_ns = now_ns();
	s->v.framing[number].port = port;
	s->v.ctl->frames_gen++;
	return had ? SOCK_FRAME_REPLACED : SOCK_FRAME_NEW;
}

/*
 * The port comes last: killed before, this leaves a number that nobody has, and the next one that
 * comes along collects it.
 */
static int set(struct framing *s, __u16 port, const struct kcm_frame *frame, const char *text)
{
	struct kcm_sk_framing *f;
	__u32 number;
	bool fresh;
	int err = collect(s);

	if (err)
		return err;
	number = find_equal(s, frame);
	fresh = number == FRAME_NONE;
	if (fresh)
		number = find_free(s);
	if (number == FRAME_NONE)
		return fail(s, -ENOSPC, "%d framings are in use by ports and connections",
			    KCM_SK_FRAMES - 1);
	err = load(s, frame);
	if (err)
		return err;
	f = &s->v.framing[number];
	if (fresh) {
		f->frame = *frame;
		f->port = 0;
		snprintf(f->text, sizeof(f->text), "%s", text);
	}
	f->since_ns = now_ns();
	__atomic_store_n(&f->used, 1, __ATOMIC_RELEASE);
	err = install_both(s, number);
	return err ?: set_port(s, port, number);
}

int kcm_sock_frame_set(__u16 port, const struct kcm_frame *frame, const char *text, char *err,
		       size_t size)
{
	struct framing s = { .err = err, .err_size = size };
	int ret;

	if (err && size)
		*err = '\0';
	ret = begin(&s);
	if (ret)
		return ret;
	ret = set(&s, port, frame, text);
	end(&s);
	return ret;
}

int kcm_sock_frame_del(__u16 port)
{
	struct kcm_sk_port key = { .port = port, .proto = KCM_SK_TCP };
	struct framing s = { 0 };
	__u32 number = FRAME_NONE;
	int ret = begin(&s);

	if (ret)
		return ret;
	if (bpf_map_lookup_elem(s.v.fd[SOCK_PORTS], &key, &number) ||
	    bpf_map_delete_elem(s.v.fd[SOCK_PORTS], &key)) {
		ret = errno == ENOENT ? -ENODATA : -errno;
	} else {
		if (number < KCM_SK_FRAMES)
			s.v.framing[number].since_ns = now_ns();
		s.v.ctl->frames_gen++;
		ret = collect(&s);
	}
	end(&s);
	return ret;
}
