// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* sock_change.c - run the programs that change live sockets. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "../util.h"
#include "sock_change.h"
#include "sock_iter.h"
#include "../../bpf/socktag.h"
#include "socktag.skel.h"

#define TRIES 100

struct sock_change {
	struct socktag *skel;
	bool by_files; /* see sock_iter_maps_permitted() */
	int store;
};

static int take_maps(struct socktag *skel, const struct sock_view *v)
{
	struct bpf_map *m;

	bpf_object__for_each_map (m, skel->obj) {
		int err = -ENOENT;

		if (bpf_map__is_internal(m) || m == skel->maps.kcm_tag_want)
			continue;
		for (int i = 0; i < SOCK_MAPS; i++)
			if (v->fd[i] >= 0 && streq(bpf_map__name(m), sock_map_names[i]))
				err = bpf_map__reuse_fd(m, v->fd[i]);
		if (err == -ENOENT) /* declared with the others, and not used here */
			err = bpf_map__set_autocreate(m, false);
		if (err)
			return err;
	}
	return 0;
}

int sock_change_open(struct sock_change **out, const struct sock_view *v, __u32 sockets, char *err,
		     size_t size)
{
	struct sock_change *c = calloc(1, sizeof(*c));
	int ret = -ENOMEM;

	if (c) {
		c->skel = socktag__open();
		ret = c->skel ? 0 : -errno;
	}
	if (ret) {
		snprintf(err, size, "open BPF object: %s", strerror(-ret));
		goto out;
	}
	memcpy((void *)&c->skel->rodata->kcm_sk_cfg, &v->ctl->cfg, sizeof(v->ctl->cfg));
	ret = bpf_map__set_max_entries(c->skel->maps.kcm_tag_want, sockets ? sockets : 1);
	/* What is not needed is not verified: it takes longer than all the rest. */
	bpf_program__set_autoload(c->skel->progs.kcm_tag_slot, sockets);
	c->by_files = !sock_iter_maps_permitted();
	bpf_program__set_autoload(c->skel->progs.kcm_tag_rest, sockets && !c->by_files);
	bpf_program__set_autoload(c->skel->progs.kcm_tag_files, sockets && c->by_files);
	bpf_program__set_autoload(c->skel->progs.kcm_udp_slots, !sockets);
	bpf_program__set_autoload(c->skel->progs.kcm_udp_rest, !sockets);
	ret = ret ?: take_maps(c->skel, v);
	ret = ret ?: socktag__load(c->skel);
	if (ret) {
		snprintf(err, size, "load BPF programs: %s", strerror(-ret));
		goto out;
	}
	c->store = v->fd[SOCK_STORE];
	*out = TAKE_PTR(c);
out:
	sock_change_close(c);
	return ret;
}

void sock_change_close(struct sock_change *c)
{
	if (c)
		socktag__destroy(c->skel);
	free(c);
}

/* Run @p to its end; @map: the one that it walks, or -1. */
static int run_iter(const struct bpf_program *p, int map)
{
	union bpf_iter_link_info info = { .map.map_fd = (__u32)map };
	LIBBPF_OPTS(bpf_iter_attach_opts, o, .link_info = &info, .link_info_len = sizeof(info));
	struct bpf_link *link = bpf_program__attach_iter(p, map >= 0 ? &o : NULL);
	_cleanup_fd_ int fd = -1;
	char byte;
	int err = 0;

	if (!link)
		return -errno;
	fd = bpf_iter_create(bpf_link__fd(link));
	if (fd < 0)
		err = -errno;
	while (!err && read(fd, &byte, 1)) /* it prints nothing: the end, or an error */
		if (errno != EAGAIN && errno != EINTR)
			err = -errno;
	bpf_link__destroy(link);
	return err;
}

static int label_slot(const struct sock_change *c, __u64 cookie, const struct kcm_sk_label *label)
{
	struct kcm_tag tag = { .cookie = cookie, .label = *label };
	LIBBPF_OPTS(bpf_test_run_opts, o, .ctx_in = &tag, .ctx_size_in = sizeof(tag));

	for (int i = 0; i < TRIES; i++) {
		if (bpf_prog_test_run_opts(bpf_program__fd(c->skel->progs.kcm_tag_slot), &o))
			return -errno;
		if ((int)o.retval != -EAGAIN)
			break;
		sched_yield();
	}
	return (int)o.retval;
}

/* Those whose result is @from: their state is, or was just now, in sk_storage. */
static int label_rest(const struct sock_change *c, const __u64 *cookies, int *result, size_t n,
		      const struct kcm_sk_label *label, int from)
{
	struct kcm_tag_want want = { .label = *label };
	int map = bpf_map__fd(c->skel->maps.kcm_tag_want), err = 0;
	size_t left = 0;

	for (size_t i = 0; i < n; i++) {
		if (result[i] != from)
			continue;
		if (bpf_map_update_elem(map, &cookies[i], &want, BPF_ANY))
			return -errno;
		left++;
	}
	if (left)
		err = c->by_files ? run_iter(c->skel->progs.kcm_tag_files, -1)
				  : run_iter(c->skel->progs.kcm_tag_rest, c->store);
	for (size_t i = 0; i < n && left; i++) {
		struct kcm_tag_want got;

		if (bpf_map_lookup_elem(map, &cookies[i], &got))
			continue;
		if (got.met)
			result[i] = got.result;
		bpf_map_delete_elem(map, &cookies[i]);
	}
	return err;
}

int sock_change_label(struct sock_change *c, const __u64 *cookies, int *result, size_t n,
		      const struct kcm_sk_label *label)
{
	int err;

	for (size_t i = 0; i < n; i++)
		result[i] = label_slot(c, cookies[i], label);
	err = label_rest(c, cookies, result, n, label, -ENOENT);
	for (int i = 0; i < TRIES && !err; i++) {
		bool again = false;

		for (size_t k = 0; k < n; k++)
			again |= result[k] == -EAGAIN;
		if (!again)
			break;
		sched_yield();
		err = label_rest(c, cookies, result, n, label, -EAGAIN);
	}
	/*
	 * One that got a slot meanwhile was copied before or after the change: to set the label
	 * again does no harm. One that has none keeps its result.
	 */
	for (size_t i = 0; i < n && !err; i++) {
		int ret = label_slot(c, cookies[i], label);

		if (ret != -ENOENT)
			result[i] = ret;
	}
	return err;
}

int sock_change_udp(struct sock_change *c)
{
	LIBBPF_OPTS(bpf_test_run_opts, o);

	if (bpf_prog_test_run_opts(bpf_program__fd(c->skel->progs.kcm_udp_slots), &o))
		return -errno;
	return run_iter(c->skel->progs.kcm_udp_rest, -1);
}
