/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * migrate_age.h - which generation is the newest, where several were there before attach: they were
 * numbered as the kernel lists their sockets, often the newest first. Internal to libkcm.
 */
#ifndef KCM_MIGRATE_AGE_H
#define KCM_MIGRATE_AGE_H

#include "migrate_view.h"

/**
 * mg_number_by_age() - number a group's generations as their processes were started
 * For a group that nothing is steered in yet, right after its sockets were registered.
 * @order: KCM_MG_GENS places of generations, the oldest first
 * Return: how many there are; @numbered: whether they were given their numbers anew, for none of
 * them has ended yet.
 */
unsigned int mg_number_by_age(struct kcm_mg_group *g, int *order, bool *numbered);

/*
 * The same of all groups of listeners. The last but one works, and the newest is to prove that it
 * accepts, as if it had opened after attach.
 */
void mg_number_listeners(struct mg_view *v);

#endif
