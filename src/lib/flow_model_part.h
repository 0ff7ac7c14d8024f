/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* flow_model_part.h - what the plain model and the one for big sets share. */
#ifndef KCM_FLOW_MODEL_PART_H
#define KCM_FLOW_MODEL_PART_H

#include "flow_model.h"

/* Lists that the packet's addresses are in, a bit each. */
struct flow_lists_in {
	uint32_t src, dst;
};

bool flow_model_in_prefix(const uint8_t *addr, const uint8_t *prefix, unsigned int len);
bool flow_model_matches_in(const struct flow_policy *p, const struct flow_header *h,
			   struct flow_lists_in in);
void flow_model_begin(const struct flow_set *set, struct flow_verdict *v);
/* Policy @i matches. Return: does it decide? */
bool flow_model_meet(const struct flow_set *set, size_t i, struct flow_verdict *v);

#endif
