/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* flow_resolve.h - interfaces and CPUs that policies name. Internal to libkcm and kcmtool. */
#ifndef KCM_FLOW_RESOLVE_H
#define KCM_FLOW_RESOLVE_H

#include "flow_inst.h"
#include "flow_rule.h"

/**
 * flow_resolve() - look up `in`, `redirect` and `cpu` of all policies
 * @f:   the set is in force there: what has gone since is no error, its policies match nothing, or
 *	 send nowhere. NULL: it is a new set
 * @bad: place of the policy that is wrong
 * @why: one line
 * Return: 0; -ENODEV: no such interface, -ENXIO: no such CPU.
 */
int flow_resolve(struct flow_set *set, const struct flow_inst *f, size_t *bad, char *why,
		 size_t size);

#endif
