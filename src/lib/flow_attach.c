// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_attach.c - a program onto interfaces, in the first mode that each of them has. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "../util.h"
#include "flow_load_part.h"
#include "flow.skel.h"

int flow_load_fail(struct flow_loading *l, int ret, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(l->why, l->why_size, fmt, ap);
	va_end(ap);
	return ret;
}

static int xdp_flags(bool native)
{
	return native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
}

static int link_one(struct flow_loading *l, __u32 i, bool native)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = (__u32)xdp_flags(native));

	l->link_fd[i] = bpf_link_create(bpf_program__fd(l->skel->progs.kcm_fl_xdp),
					(int)l->plan.conf.ifindex[i], BPF_XDP, &opts);
	return l->link_fd[i] < 0 ? -errno : 0;
}

static int busy(struct flow_loading *l, __u32 i)
{
	struct bpf_prog_info info = { 0 };
	__u32 id = 0, len = sizeof(info);
	_cleanup_fd_ int fd = -1;

	if (!bpf_xdp_query_id((int)l->plan.conf.ifindex[i], 0, &id) && id) {
		fd = bpf_prog_get_fd_by_id(id);
		if (fd >= 0)
			bpf_obj_get_info_by_fd(fd, &info, &len);
	}
	return flow_load_fail(l, -EBUSY, "%s has another XDP program, %s (id %u)", l->o->ifname[i],
			      info.name[0] ? info.name : "of an unknown name", id);
}

static const char *why_not(int err)
{
	switch (err) {
	case -ERANGE:
		return "its MTU is too large for the driver's XDP";
	case -EOPNOTSUPP:
	case -EINVAL:
		return "its driver has no XDP, or not as it is set up (MTU, LRO, queues)";
	default:
		return strerror(-err);
	}
}

/* Return: 0; -EAGAIN: a program for packets of several buffers could do it. */
static int link_interface(struct flow_loading *l, __u32 i)
{
	bool try_native = l->o->mode != FLOW_GENERIC;
	int err = -EOPNOTSUPP;

	if (try_native) {
		err = link_one(l, i, true);
		l->done->native[i] = !err;
		if (err == -EBUSY || err == -EEXIST)
			return busy(l, i);
		if (err && err != -EPERM && err != -ENODEV && !l->plan.conf.frags)
			return -EAGAIN;
		if (err && l->o->mode == FLOW_NATIVE)
			return flow_load_fail(l, -EOPNOTSUPP, "%s: not in native mode: %s",
					      l->o->ifname[i], why_not(err));
		if (err)
			snprintf(l->done->note, sizeof(l->done->note),
				 "%s is in generic mode, which is slower: %s", l->o->ifname[i],
				 why_not(err));
	}
	if (err)
		err = link_one(l, i, false);
	if (err == -EBUSY || err == -EEXIST)
		return busy(l, i);
	return err ? flow_load_fail(l, err, "attach to %s: %s", l->o->ifname[i], strerror(-err))
		   : 0;
}

void flow_unlink_all(struct flow_loading *l)
{
	for (__u32 i = 0; i < KCM_FL_IFS; i++) {
		if (l->link_fd[i] >= 0)
			close(l->link_fd[i]);
		l->link_fd[i] = -1;
	}
}

int flow_link_all(struct flow_loading *l)
{
	int err = 0;

	for (__u32 i = 0; !err && i < l->o->n_if; i++)
		err = link_interface(l, i);
	if (err)
		flow_unlink_all(l);
	return err;
}
