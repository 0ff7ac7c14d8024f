// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_try.c - kcm_fl_try over the maps of the program in force. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include "../util.h"
#include "flow_try.h"
#include "flow.skel.h"

struct flow_try {
	struct flow *skel;
};

static int share(struct flow *s, const struct flow_inst *f)
{
	for (int i = 0; i < FLOW_MAPS; i++) {
		struct bpf_map *m = bpf_object__find_map_by_name(s->obj, flow_map_name[i]);
		int err;

		if (i == FLOW_RODATA)
			continue;
		err = m ? bpf_map__reuse_fd(m, f->map_fd[i]) : -ENOENT;
		if (err)
			return err;
	}
	return 0;
}

int flow_try_open(struct flow_try **t, const struct flow_inst *f)
{
	struct flow *s = flow__open();
	int err;

	*t = calloc(1, sizeof(**t));
	if (!s || !*t) {
		err = -ENOMEM;
		goto fail;
	}
	bpf_program__set_autoload(s->progs.kcm_fl_xdp, false);
	s->rodata->kcm_fl_conf = f->conf;
	err = share(s, f);
	err = err ?: flow__load(s);
	if (err)
		goto fail;
	(*t)->skel = s;
	return 0;
fail:
	flow__destroy(s);
	free(*t);
	*t = NULL;
	return err;
}

void flow_try_close(struct flow_try *t)
{
	if (t)
		flow__destroy(t->skel);
	free(t);
}

int flow_try_packet(struct flow_try *t, const void *frame, size_t len, __u32 ifindex, __u32 *slot)
{
	struct xdp_md ctx = { .data_end = (__u32)len, .ingress_ifindex = ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = (__u32)len,
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = 1);
	int fd = bpf_program__fd(t->skel->progs.kcm_fl_try);

	if (bpf_prog_test_run_opts(fd, &run))
		return -errno;
	if (run.retval == (__u32)-1)
		return -EBADMSG;
	*slot = run.retval;
	return 0;
}
