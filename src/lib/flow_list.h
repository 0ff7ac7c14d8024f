/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* flow_list.h - lists of addresses as intervals, for a binary search. Internal to libkcm. */
#ifndef KCM_FLOW_LIST_H
#define KCM_FLOW_LIST_H

#include <linux/types.h>
#include <stddef.h>
#include <stdint.h>
#include "../../bpf/flow.h"
#include "flow_rule.h"

/**
 * flow_list_iv4() - the IPv4 prefixes of @n lists (at most FLOW_LISTS)
 * @iv: disjoint intervals, lowest address first, the first one from address 0; bit i of lists:
 *      list[i]. NULL and no interval if there is no such prefix. Free it with free().
 * Return: 0, -ENOMEM, -E2BIG for more intervals than 2^32.
 */
int flow_list_iv4(const struct flow_list *list, size_t n, struct kcm_fl_iv4 **iv, uint32_t *n_iv);

/* The same of IPv6. */
int flow_list_iv6(const struct flow_list *list, size_t n, struct kcm_fl_iv6 **iv, uint32_t *n_iv);

#endif
