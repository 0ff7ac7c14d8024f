/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * flow_model.h - what policies mean, said plainly: one after the other is compared with a packet.
 * What the XDP program decides is checked against it. Internal to libkcm and kcmtool.
 *
 * flow_model_judge() is the definition. struct flow_model gives the same for big sets, faster: it
 * passes over policies by a look at 32 bits of each address and at the ports first. Both only read
 * the set, so threads may share it.
 */
#ifndef KCM_FLOW_MODEL_H
#define KCM_FLOW_MODEL_H

#include "flow_rule.h"

#define FLOW_NOBODY SIZE_MAX

struct flow_verdict {
	size_t policy;	/* place in the set, of the one that decides; FLOW_NOBODY: the default */
	uint8_t action; /* its, or the default's */
	/* Those that count or sample on the way, in order. NULL: not wanted. */
	size_t *met;
	size_t room;  /* in @met: what is beyond is not written */
	size_t n_met; /* all of them */
};

/* Is everything that @p asks for true of @h? Never of a malformed packet. */
bool flow_model_matches(const struct flow_set *set, const struct flow_policy *p,
			const struct flow_header *h);

/* @v->met and @v->room are the caller's; the rest is written. */
void flow_model_judge(const struct flow_set *set, const struct flow_header *h,
		      struct flow_verdict *v);

struct flow_model;

/* @set stays as it is until flow_model_free(). Return: NULL without memory. */
struct flow_model *flow_model_new(const struct flow_set *set);
void flow_model_free(struct flow_model *m);
void flow_model_run(const struct flow_model *m, const struct flow_header *h,
		    struct flow_verdict *v);

#endif
