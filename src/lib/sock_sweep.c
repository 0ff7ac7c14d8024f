// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* sock_sweep.c - look at every socket of this machine. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include "../util.h"
#include "netns.h"
#include "pin.h"
#include "sock_iter.h"
#include "sock_load.h"
#include "sock_owner.h"
#include "sock_sweep.h"
#include "sock_view.h"

struct sweeping {
	struct sock_view v;
	struct netns_list netns;
	char dir[KCM_PIN_PATH];
	struct kcm_sk_sweep now;
	int sweep_fd;
	char *err;
	size_t err_size;
};

_printf_(3, 4) static int fail(struct sweeping *s, int ret, const char *fmt, ...)
{
	va_list ap;

	if (s->err && s->err_size) {
		va_start(ap, fmt);
		vsnprintf(s->err, s->err_size, fmt, ap);
		va_end(ap);
	}
	return ret;
}

static int open_pin(const struct sweeping *s, const char *file)
{
	char path[KCM_PIN_PATH + 64];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", s->dir, file);
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : fd;
}

static bool listed(const struct sock_cgroup *list, int n, __u64 id)
{
	for (int i = 0; i < n; i++)
		if (list[i].id == id && !list[i].gone)
			return true;
	return false;
}

/* Tell the programs which cgroups are ours. */
static int write_cgroups(const struct sweeping *s)
{
	_cleanup_fd_ int fd = open_pin(s, "kcm_sk_cgroups");
	struct sock_cgroup list[SOCK_CGROUPS];
	int n = kcm_sock_cgroups(list, SOCK_CGROUPS);
	__u64 key, gone[SOCK_CGROUPS * 4], *at = NULL;
	size_t n_gone = 0;

	if (fd < 0 || n < 0)
		return fd < 0 ? fd : n;
	for (int i = 0; i < n; i++)
		if (!list[i].gone && bpf_map_update_elem(fd, &list[i].id, &(__u32){ 1 }, BPF_ANY))
			return -errno;
	while (n_gone < ARRAY_LEN(gone) && !bpf_map_get_next_key(fd, at, &key)) {
		at = &key;
		if (!listed(list, n, key))
			gone[n_gone++] = key;
	}
	while (n_gone)
		bpf_map_delete_elem(fd, &gone[--n_gone]);
	return 0;
}

static int read_sweep(struct sweeping *s, struct kcm_sk_sweep *to)
{
	return bpf_map_lookup_elem(s->sweep_fd, &(__u32){ 0 }, to) ? -errno : 0;
}

static int begin(struct sweeping *s)
{
	struct timespec now;
	__u32 key = 0;
	int err = write_cgroups(s);

	if (err)
		return fail(s, err, "%s/kcm_sk_cgroups: %s", s->dir, strerror(-err));
	s->sweep_fd = open_pin(s, "kcm_sk_sweep");
	err = s->sweep_fd < 0 ? s->sweep_fd : read_sweep(s, &s->now);
	if (err)
		return fail(s, err, "%s/kcm_sk_sweep: %s", s->dir, strerror(-err));
	clock_gettime(CLOCK_MONOTONIC, &now);
	s->now.number++;
	s->now.started_ns = (__u64)now.tv_sec * 1000000000 + (__u64)now.tv_nsec;
	s->now.cgroups = 1;
	if (bpf_map_update_elem(s->sweep_fd, &key, &s->now, BPF_ANY))
		return fail(s, -errno, "%s/kcm_sk_sweep: %s", s->dir, strerror(errno));
	return 0;
}

/* Run the sweep's iterators everywhere. A namespace that can't be entered loses its cookie. */
static int visit(struct sweeping *s)
{
	for (size_t i = 0; i < s->netns.n; i++) {
		struct netns *ns = &s->netns.ns[i];
		int err;

		if (!ns->cookie)
			continue;
		err = sock_iter_run(s->dir, SOCK_ITER_ADOPT_TCP, ns->fd, NULL, 0);
		err = err ?: sock_iter_run(s->dir, SOCK_ITER_ADOPT_UDP, ns->fd, NULL, 0);
		if (err == -EPERM)
			ns->cookie = 0;
		else if (err)
			return fail(s, err, "%s/adopt_*: %s", s->dir, strerror(-err));
	}
	return 0;
}

static bool visited(const struct sweeping *s, __u64 cookie)
{
	for (size_t i = 0; i < s->netns.n; i++)
		if (s->netns.ns[i].cookie == cookie)
			return cookie != 0;
	return false;
}

/*
 * Slots without the sweep's mark, of connections that began before it and whose namespace was
 * visited: their sockets are gone.
 */
static __u64 release(struct sweeping *s)
{
	__u64 n = 0;

	for (__u32 i = 0; i < s->v.ctl->cfg.slots; i++) {
		struct kcm_sk_hot *hot = &s->v.hot[i];
		const struct kcm_sk_info *info = &s->v.more[i].info;
		__u64 tag = __atomic_load_n(&hot->tag, __ATOMIC_ACQUIRE);
		struct timespec now;

		if (!tag || tag & KCM_TAG_BUSY || hot->proto != KCM_SK_TCP ||
		    info->start_ns >= s->now.started_ns ||
		    info->reserved[KCM_INFO_SWEEP] == s->now.number ||
		    !visited(s, info->netns_cookie))
			continue;
		/* Was all that of this socket? */
		if (__atomic_load_n(&hot->tag, __ATOMIC_ACQUIRE) != tag)
			continue;
		clock_gettime(CLOCK_MONOTONIC, &now);
		hot->frame = 0;
		s->v.in[i].last_ns = (__u64)now.tv_sec * 1000000000 + (__u64)now.tv_nsec;
		n += __atomic_compare_exchange_n(&hot->tag, &tag, 0, false, __ATOMIC_SEQ_CST,
						 __ATOMIC_RELAXED);
	}
	__atomic_fetch_add(&s->v.ctl->swept, n, __ATOMIC_RELAXED);
	return n;
}

/* Who has the sockets that were adopted? Their files say: the second visit writes it down. */
static int find_owners(struct sweeping *s)
{
	_cleanup_fd_ int fd = open_pin(s, "kcm_sk_owners");
	int err = fd < 0 ? fd : sock_owners_write(fd);

	if (!err)
		err = visit(s);
	if (fd >= 0)
		sock_owners_clear(fd);
	return err;
}

static int sweep(struct sweeping *s, struct sock_sweep *r)
{
	struct kcm_sk_sweep after;
	int err = begin(s);

	err = err ?: netns_list(&s->netns);
	err = err ?: visit(s);
	err = err ?: read_sweep(s, &after);
	if (err)
		return err;
	*r = (struct sock_sweep){
		.met = after.met - s->now.met,
		.adopted = after.adopted - s->now.adopted,
		.listeners = after.listeners - s->now.listeners,
		.unslotted = after.unslotted - s->now.unslotted,
		.refused = after.refused - s->now.refused,
	};
	if (r->adopted)
		find_owners(s); /* not known, where /proc shows too little: no failure */
	r->swept = release(s);
	for (size_t i = 0; i < s->netns.n; i++)
		s->netns.ns[i].cookie ? r->netns++ : r->netns_closed++;
	return 0;
}

int kcm_sock_sweep(struct sock_sweep *result, char *err, size_t size)
{
	struct sweeping s = { .sweep_fd = -1, .err = err, .err_size = size };
	_cleanup_fd_ int lock = kcm_pin_lock(); /* one at a time: they share the number */
	int ret;

	if (err && size)
		*err = '\0';
	*result = (struct sock_sweep){ 0 };
	if (lock < 0)
		return fail(&s, lock, "%s: %s", KCM_BPFFS, strerror(-lock));
	ret = kcm_pin_path(s.dir, sizeof(s.dir), "sock", SOCK_INSTANCE, NULL);
	ret = ret ?: sock_view_open(&s.v, true);
	if (ret)
		return fail(&s, ret, "%s: %s", s.dir, strerror(-ret));
	ret = sweep(&s, result);
	netns_free(&s.netns);
	sock_view_close(&s.v);
	if (s.sweep_fd >= 0)
		close(s.sweep_fd);
	return ret;
}

int kcm_sock_swept(struct sock_sweep *total)
{
	struct sweeping s = { .sweep_fd = -1 };
	struct kcm_sk_sweep all = { 0 };
	int err = kcm_pin_path(s.dir, sizeof(s.dir), "sock", SOCK_INSTANCE, NULL);

	*total = (struct sock_sweep){ 0 };
	err = err ?: sock_view_open(&s.v, false);
	if (err)
		return err;
	s.sweep_fd = open_pin(&s, "kcm_sk_sweep");
	err = s.sweep_fd < 0 ? s.sweep_fd : read_sweep(&s, &all);
	*total = (struct sock_sweep){
		.met = all.met,
		.adopted = all.adopted,
		.listeners = all.listeners,
		.unslotted = all.unslotted,
		.refused = all.refused,
		.swept = s.v.ctl->swept,
	};
	if (s.sweep_fd >= 0)
		close(s.sweep_fd);
	sock_view_close(&s.v);
	return err;
}

int kcm_sock_each_netns(int file)
{
	char dir[KCM_PIN_PATH];
	struct netns_list l;
	int err = kcm_pin_path(dir, sizeof(dir), "sock", SOCK_INSTANCE, NULL), first = 0;

	err = err ?: netns_list(&l);
	if (err)
		return err;
	for (size_t i = 0; i < l.n; i++) {
		err = l.ns[i].cookie ? sock_iter_run(dir, file, l.ns[i].fd, NULL, 0) : 0;
		first = first ?: err;
	}
	netns_free(&l);
	return first;
}
