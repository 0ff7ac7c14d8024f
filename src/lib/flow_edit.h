/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * flow_edit.h - changes to the policies of an instance. Internal to libkcm and kcmtool.
 *
 * All are for an instance that was opened to be changed. When one has returned 0, no packet is
 * judged any more by what it took out, and none misses what it put in. On failure the set is what
 * it was before. @why: one line.
 */
#ifndef KCM_FLOW_EDIT_H
#define KCM_FLOW_EDIT_H

#include "flow_inst.h"
#include "flow_rule.h"

/**
 * flow_take_out() - a policy, by its place
 * Takes no new program: the policy's generation goes up, and time passes. Its flows are judged
 * anew, each with its next packet.
 */
int flow_take_out(struct flow_inst *f, __u32 at, char *why, size_t size);

/**
 * flow_put_in() - one more policy
 * @set: the set in force, as flow_set_of() gives it
 * Return: 0; -EEXIST one has this name, or this prio; -ENOSPC all slots are taken; or -errno.
 */
int flow_put_in(struct flow_inst *f, struct flow_set *set, const struct flow_policy *p, char *why,
		size_t size);

/*
 * Put @set in the place of what is in force. A policy that is in both stays where it is, with its
 * flows and counters; one with the name of another takes over what that has counted.
 */
int flow_replace(struct flow_inst *f, struct flow_set *set, bool lists_kept, char *why,
		 size_t size);

struct flow_done {
	__u32 kept, put_in, taken_out;
};
/* The same, and what it did. */
int flow_replace_count(struct flow_inst *f, struct flow_set *set, bool lists_kept,
		       struct flow_done *done, char *why, size_t size);

/*
 * What is in force, without what was taken out; interfaces are looked up. Lists have names and
 * paths, but no addresses. Free with flow_set_free().
 */
int flow_set_of(const struct flow_inst *f, struct flow_set *set, char *why, size_t size);

/* Bring to its end what somebody began who was killed. */
int flow_finish(struct flow_inst *f);

/* Part of it: who was killed between a program with new maps and their pins left old ones pinned.
 */
int flow_finish_pins(const struct flow_inst *f);

#endif
