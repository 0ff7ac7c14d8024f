/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* flow_load_part.h - an instance while it is being made: flow_load.c, flow_load_*.c, flow_attach.c.
 */
#ifndef KCM_FLOW_LOAD_PART_H
#define KCM_FLOW_LOAD_PART_H

#include "../util.h"
#include "flow_load.h"
#include "flow_plan.h"

struct flow_loading {
	const struct flow_load_opts *o;
	struct flow_loaded *done;
	struct kcm_pin_txn txn;
	struct flow_plan plan;
	struct flow_set empty, was;
	struct flow_inst old, new;
	struct flow *skel;
	int link_fd[KCM_FL_IFS];
	char *why;
	size_t why_size;
};

/* One line in @l->why. Return: @ret. */
_printf_(3, 4) int flow_load_fail(struct flow_loading *l, int ret, const char *fmt, ...);

/* Is it there? Take the lock. Return: 0 or -errno, and one line in @l->why. */
int flow_load_begin(struct flow_loading *l);

/**
 * flow_link_all() - attach @l->skel's program to all interfaces, or to none
 * Return: 0; -EAGAIN: a program for packets of several buffers could do it; or -errno.
 */
int flow_link_all(struct flow_loading *l);
void flow_unlink_all(struct flow_loading *l);

#endif
