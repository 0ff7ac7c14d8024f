// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* migrate_age.c - generations that are older than attach, in the order of their starts. */
#include "migrate_age.h"

#define LOAD(from)	 __atomic_load_n(&(from), __ATOMIC_ACQUIRE)
#define STORE(to, value) __atomic_store_n(&(to), (value), __ATOMIC_RELEASE)

unsigned int mg_number_by_age(struct kcm_mg_group *g, int *order, bool *numbered)
{
	unsigned int n = 0;

	for (int i = 0; i < KCM_MG_GENS; i++) {
		unsigned int at;

		if (!LOAD(g->gen[i].n))
			continue;
		for (at = n++; at && g->gen[order[at - 1]].key.start_ns > g->gen[i].key.start_ns;
		     at--)
			order[at] = order[at - 1];
		order[at] = i;
	}
	*numbered = n > 1 && LOAD(g->last_id) == n;
	for (unsigned int i = 0; *numbered && i < n; i++)
		STORE(g->gen[order[i]].id, i + 1);
	return n;
}

static void number_listeners(struct kcm_mg_group *g)
{
	int order[KCM_MG_GENS];
	bool numbered;
	unsigned int n = mg_number_by_age(g, order, &numbered);

	if (!numbered)
		return;
	for (unsigned int i = 0; i < n; i++)
		STORE(g->gen[order[i]].state, i + 1 < n ? KCM_MG_GEN_READY : KCM_MG_GEN_NEW);
	STORE(g->before, n > 2 ? (__u16)order[n - 3] : (__u16)KCM_MG_NONE);
	STORE(g->working, (__u16)order[n - 2]);
	STORE(g->next, (__u16)order[n - 1]);
}

void mg_number_listeners(struct mg_view *v)
{
	for (int i = 0; i < KCM_MG_GROUPS; i++) {
		struct kcm_mg_group *g = &v->mg->group[i];

		if ((LOAD(g->flags) & KCM_MG_GROUP_USED) && !mg_selector_on(v->mg, i))
			number_listeners(g);
	}
}
