/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * flow_tree.h - a set of policies as the XDP program looks it up: what its maps of nodes, rules and
 * intervals hold. Internal to libkcm. No function touches anything but its arguments.
 */
#ifndef KCM_FLOW_TREE_H
#define KCM_FLOW_TREE_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../../bpf/flow.h"
#include "flow_rule.h"

struct flow_image {
	uint64_t *node;
	uint32_t nodes; /* node 0 is reserved: root 0 = no tree */
	struct kcm_fl_rule4 *r4;
	uint32_t n_r4;
	struct kcm_fl_rule6 *r6;
	uint32_t n_r6;
	struct kcm_fl_iv4 *iv4;
	uint32_t n_iv4;
	struct kcm_fl_iv6 *iv6;
	uint32_t n_iv6;
	uint32_t root[KCM_FL_FAMILIES][KCM_FL_GROUPS], rank[KCM_FL_FAMILIES][KCM_FL_GROUPS];
	uint8_t tcp_mask;	  /* flags that any policy looks at */
	uint32_t depth, leaf_max; /* worst case: nodes on the way, rules of a leaf */
	size_t bytes;		  /* of all of the above */
};

/**
 * flow_compile() - build the trees
 * @slot:       slot[i]: where policy i lives; its rank is i
 * @ifindex:    the instance's @n_if interfaces; a policy's `in` that is none of them is an error
 * @lists_kept: the intervals are left empty, as those of the program before stay as they are
 * @max_bytes:  of nodes and rules. Where it does not suffice leaves get long, and are looked
 * through
 * @img:        written on success only; free it with flow_image_free()
 * @why:        said on failure, one line without an end
 * Return: 0; -ENOMEM: not even lists of all rules fit in @max_bytes, or no memory; -ENODEV: an
 *         interface; -E2BIG: more policies or lists than there may be; -EINVAL: a list that is
 * none.
 */
int flow_compile(const struct flow_set *set, const uint32_t *slot, const uint32_t *ifindex,
		 uint32_t n_if, bool lists_kept, size_t max_bytes, struct flow_image *img,
		 char *why, size_t why_size);

void flow_image_free(struct flow_image *img);

#endif
