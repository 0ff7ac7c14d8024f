/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* flow_plan.h - what a new set has of the one in force, and what it needs. Internal to libkcm. */
#ifndef KCM_FLOW_PLAN_H
#define KCM_FLOW_PLAN_H

#include "flow_prog.h"

/**
 * flow_plan_match() - which policies of the plan are in force already, and who takes over from whom
 * Fills @plan->was and @plan->kept, and of those that stay @plan->line.
 * @old_kept: of each line of @f, does it stay?
 */
int flow_plan_match(struct flow_plan *plan, const struct flow_inst *f, bool *old_kept);

/* Slots for those that need one. Return: 0, or -ENOSPC. */
int flow_plan_slots(struct flow_plan *plan, const struct flow_inst *f);

/* genid, floor and changes of @plan->conf. */
void flow_plan_changes(struct flow_plan *plan, const struct flow_inst *f, const bool *old_kept);

/* A policy into its slot, which no program knows. It lives when all of it is there. */
int flow_fill_slot(struct flow_inst *f, const struct kcm_fl_line *l, const struct flow_policy *p);

#endif
