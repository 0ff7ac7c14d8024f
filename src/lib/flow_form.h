/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* flow_form.h - a policy as the XDP program compares packets with it. Internal to libkcm. */
#ifndef KCM_FLOW_FORM_H
#define KCM_FLOW_FORM_H

#include <linux/types.h>
#include <stdint.h>
#include "../../bpf/flow.h"
#include "flow_rule.h"

/**
 * flow_forms() - the rules that one policy is
 * @ifindex, @n_if: the instance's interfaces, in the order of kcm_fl_conf.ifindex
 * @slot, @rank:    where the policy lives, and its place in the order
 * @r4, @r6:        written where the policy can match such packets; @r4 is also for KCM_FL_OTHER
 * Return: bits 1 << enum kcm_fl_family in which it can match; 0: no packet ever will, for instance
 *         as it wants ports of ICMP, or an interface that is none of @ifindex.
 */
unsigned int flow_forms(const struct flow_policy *p, const uint32_t *ifindex, uint32_t n_if,
			uint32_t slot, uint32_t rank, struct kcm_fl_rule4 *r4,
			struct kcm_fl_rule6 *r6);

/* @p's interface in @ifindex. Return: its place + 1; 0: any; -ENODEV: none of them. */
int flow_form_in(const struct flow_policy *p, const uint32_t *ifindex, uint32_t n_if);

#endif
