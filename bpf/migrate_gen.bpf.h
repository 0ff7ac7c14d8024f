/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * migrate_gen.bpf.h - generations come and go, and which one works. Under kcm_mg_lock; gen_best()
 * is the selector's too, without it.
 */
#ifndef KCM_MIGRATE_GEN_BPF_H
#define KCM_MIGRATE_GEN_BPF_H

/*
 * ---- its listeners: member[0, n) take connections, member[n, n + drained) do not ----
 *
 * The selector may see a listener at two places meanwhile, or at none: it finds another one, or the
 * same again.
 */

static __always_inline void member_put(struct kcm_mg *mg, struct kcm_mg_gen *gen, __u32 pos,
				       __u32 slot)
{
	pos &= KCM_MG_MEMBERS - 1;
	gen->member[pos] = slot;
	slot_at(mg, slot)->pos = pos;
}

/* There is room for it. */
static __always_inline void member_add(struct kcm_mg *mg, struct kcm_mg_gen *gen, __u32 slot)
{
	__u32 n = gen->n;

	if (gen->drained)
		member_put(mg, gen, n + gen->drained, gen->member[n & (KCM_MG_MEMBERS - 1)]);
	member_put(mg, gen, n, slot);
	*(volatile __u16 *)&gen->n = n + 1;
}

static __always_inline void member_remove(struct kcm_mg *mg, struct kcm_mg_group *g,
					  struct kcm_mg_gen *gen, __u32 pos)
{
	__u32 hole = pos, last = gen->n - 1;

	if (pos < gen->n) {
		member_put(mg, gen, pos, gen->member[last & (KCM_MG_MEMBERS - 1)]);
		*(volatile __u16 *)&gen->n = last;
		hole = last;
	} else {
		gen->drained--;
		g->drained--;
	}
	last = gen->n + gen->drained;
	if (gen->drained)
		member_put(mg, gen, hole, gen->member[last & (KCM_MG_MEMBERS - 1)]);
}

/* The one at @pos takes no more connections, or takes some again. */
static __always_inline void member_drain(struct kcm_mg *mg, struct kcm_mg_group *g,
					 struct kcm_mg_gen *gen, __u32 pos, int drain)
{
	__u32 to = drain ? gen->n - 1 : gen->n, slot = gen->member[pos & (KCM_MG_MEMBERS - 1)];

	member_put(mg, gen, pos, gen->member[to & (KCM_MG_MEMBERS - 1)]);
	member_put(mg, gen, to, slot);
	*(volatile __u16 *)&gen->n = drain ? to : to + 1;
	gen->drained += drain ? 1 : -1;
	g->drained += drain ? 1 : -1;
}

/* ---- which ones there are ---- */

static __always_inline int key_same(const struct kcm_mg_key *a, const struct kcm_mg_key *b)
{
	if (a->number || b->number)
		return a->number == b->number;
	return a->start_ns == b->start_ns && a->exec_id == b->exec_id && a->pid == b->pid;
}

/*
 * The generation of @key; else one that is free, or the one that has been gone for the longest.
 * @anew: one that has gone does not come back, the same number is another one's.
 */
static __always_inline int gen_find(struct kcm_mg_group *g, const struct kcm_mg_key *key, int anew,
				    int *is)
{
	__u64 oldest = ~0ULL;
	int free = -1;

	*is = 0;
	for (int i = 0; i < KCM_MG_GENS; i++) {
		struct kcm_mg_gen *gen = &g->gen[i];

		if (gen->state != KCM_MG_GEN_FREE && key_same(&gen->key, key) &&
		    !(anew && gen->state == KCM_MG_GEN_GONE)) {
			*is = 1;
			return i;
		}
		if (gen->state == KCM_MG_GEN_FREE && oldest) {
			oldest = 0;
			free = i;
		} else if (gen->state == KCM_MG_GEN_GONE && gen->gone_ns < oldest) {
			oldest = gen->gone_ns;
			free = i;
		}
	}
	return free;
}

static __always_inline void gen_begin(struct kcm_mg_group *g, struct kcm_mg_gen *gen, int at,
				      const struct kcm_mg_key *key, const char *comm, __u64 now_ns)
{
	if (g->before == at)
		g->before = KCM_MG_NONE;
	gen->key = *key;
	gen->since_ns = now_ns;
	gen->gone_ns = 0;
	gen->rr = gen->given = gen->in = gen->out = gen->refused = 0;
	gen->probe_state = KCM_MG_PROBE_NONE;
	gen->id = ++g->last_id;
	gen->weight = 0;
	gen->n = 0;
	gen->drained = 0;
	__builtin_memcpy(gen->comm, comm, sizeof(gen->comm));
}

/* The newest that waits to be proven, and is newer than @id. */
static __always_inline __u32 gen_next(struct kcm_mg_group *g, __u32 id)
{
	__u32 best = KCM_MG_NONE;

	for (int i = 0; i < KCM_MG_GENS; i++) {
		struct kcm_mg_gen *gen = &g->gen[i];

		if (gen->n && gen->state == KCM_MG_GEN_NEW && gen->id > id) {
			id = gen->id;
			best = i;
		}
	}
	return best;
}

/* ---- which one works ---- */

/* New connections go to it from now on. */
static __always_inline void gen_works(struct kcm_mg_group *g, struct kcm_mg_gen *gen, __u32 at)
{
	gen->state = KCM_MG_GEN_READY;
	if (g->next == at)
		g->next = KCM_MG_NONE;
	if (g->working == at)
		return;
	if (g->working != KCM_MG_NONE)
		g->before = g->working;
	*(volatile __u16 *)&g->working = at;
}

/*
 * A generation has its first listener (again): does it work at once, as it says itself that it is
 * @ready, or when it is proven?
 */
static __always_inline void gen_opens(struct kcm_mg_group *g, struct kcm_mg_gen *gen, __u32 at,
				      __u32 ready)
{
	struct kcm_mg_gen *w = gen_at(g, g->working);

	gen->gone_ns = 0;
	gen->probe_state = KCM_MG_PROBE_NONE;
	/* One that comes back is not newer for it: it does not take over. */
	if (g->working == at || (g->working != KCM_MG_NONE && w->n &&
				 ((g->flags & KCM_MG_GROUP_PINNED) || gen->id < w->id))) {
		gen->state = KCM_MG_GEN_READY;
		return;
	}
	if (g->working != KCM_MG_NONE && w->n && !ready) {
		gen->state = KCM_MG_GEN_NEW;
		g->next = gen_next(g, w->id);
		return;
	}
	/* Or nobody else could take a connection. */
	gen_works(g, gen, at);
}

/*
 * The generation that is to work when the working one has gone: the newest that can, beside @but;
 * one that an operator drains only if there is no other.
 */
static __always_inline __u32 gen_best(struct kcm_mg_group *g, __u32 but)
{
	__u32 best = KCM_MG_NONE;
	__u64 highest = 0;

	for (__u32 i = 0; i < KCM_MG_GENS; i++) {
		struct kcm_mg_gen *gen = &g->gen[i];
		__u64 rank = gen->id | (__u64)(gen->state != KCM_MG_GEN_DRAINING) << 32;

		if (i != but && gen->n && rank > highest) {
			highest = rank;
			best = i;
		}
	}
	return best;
}

static __always_inline int group_parks(const struct kcm_mg_group *g)
{
	return g->anchor_cookie && (g->flags & KCM_MG_GROUP_PARK);
}

/*
 * Nobody takes connections, and there is no anchor: rather those than nobody who have said to take
 * no more. Return: their generation, the newest, or KCM_MG_NONE.
 */
static __always_inline __u32 gen_revive(struct kcm_mg *mg, struct kcm_mg_group *g)
{
	__u32 best = KCM_MG_NONE, id = 0;
	struct kcm_mg_gen *gen;

	for (int i = 0; i < KCM_MG_GENS; i++)
		if (g->gen[i].drained && g->gen[i].id > id) {
			id = g->gen[i].id;
			best = i;
		}
	best = mg_forget(mg, best);
	if (best == KCM_MG_NONE || group_parks(g))
		return KCM_MG_NONE;
	gen = gen_at(g, best);
	g->drained -= gen->drained;
	*(volatile __u16 *)&gen->n = gen->drained;
	gen->drained = 0;
	gen->state = KCM_MG_GEN_READY;
	return best;
}

/* None of its listeners takes connections any more, if it has any. */
static __always_inline void gen_empties(struct kcm_mg *mg, struct kcm_mg_group *g,
					struct kcm_mg_gen *gen, __u32 at, __u32 slot, __u64 now_ns)
{
	__u32 gi = slot_at(mg, slot)->group, best;

	gen->state = gen->drained ? KCM_MG_GEN_DRAINING : KCM_MG_GEN_GONE;
	if (!gen->drained) {
		gen->gone_ns = now_ns;
		log_add(mg, KCM_MGE_GEN_GONE, gi, slot, gen, now_ns, 0);
	}
	if (g->next == at) {
		g->next = gen_next(g, gen_at(g, g->working)->id);
		if (g->working == KCM_MG_NONE)
			g->next = KCM_MG_NONE;
	}
	if (g->working != at)
		return;
	best = mg_forget(mg, gen_best(g, KCM_MG_NONE));
	if (best == KCM_MG_NONE)
		best = mg_forget(mg, gen_revive(mg, g));
	if (best == KCM_MG_NONE)
		return;
	if (best != at)
		g->before = at;
	g->working = best;
	__sync_fetch_and_and(&g->flags, ~KCM_MG_GROUP_PINNED);
	if (g->next == best)
		g->next = KCM_MG_NONE;
	if (gen_at(g, best)->state == KCM_MG_GEN_NEW)
		gen_at(g, best)->state = KCM_MG_GEN_READY;
	log_add(mg, KCM_MGE_GEN_WORKS, gi, KCM_MG_NONE, gen_at(g, best), now_ns, 0);
}

#endif
