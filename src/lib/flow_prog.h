/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * flow_prog.h - a program for a set of policies: compiled, loaded, its maps filled; not attached.
 * Internal to libkcm and kcmtool.
 */
#ifndef KCM_FLOW_PROG_H
#define KCM_FLOW_PROG_H

#include "flow_inst.h"
#include "flow_rule.h"

#define FLOW_TREE_BYTES (512u << 20) /* what the trees of a set may take */

/* A set that is to come in force. */
struct flow_plan {
	const struct flow_set *set; /* not owned */
	char *text;
	size_t text_bytes;
	struct kcm_fl_line *line; /* of each policy */
	__s32 *was;	 /* the line that it was, or takes over from, in the set before; -1: none */
	bool *kept;	 /* it stays in its slot */
	bool lists_kept; /* the lists are those of the program in force, @set has their names only
			  */
	bool anew;	 /* no map is shared with it */
	/*
	 * As it will be: genid, floor, changes, ifindex, sizes, ticks. What follows from the set
	 * is filled in by flow_prog_load().
	 */
	struct kcm_fl_conf conf;
};

/* The text, and lines that know where theirs is. Return: 0 or -ENOMEM. */
int flow_plan_text(struct flow_plan *plan);
void flow_plan_free(struct flow_plan *plan);

struct flow;

/**
 * flow_prog_load() - make the program
 * @from: the instance as it is; NULL: there is none
 * @skel: freed by the caller with flow__destroy()
 * @why: one line
 * Return: 0 or -errno; -ENOMEM, -E2BIG: the set is too big.
 */
int flow_prog_load(const struct flow_plan *plan, const struct flow_inst *from, struct flow **skel,
		   char *why, size_t size);

/* What programs see of a policy, but for its generation. */
void flow_pol_fill(struct kcm_fl_pol *pol, const struct flow_policy *p);

#endif
