/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * migrate_table.bpf.h - listeners, generations and groups come and go, under kcm_mg_lock.
 *
 * No helper may be called with the lock held: the kernel's sockhash and our index are changed
 * before and after it.
 */
#ifndef KCM_MIGRATE_TABLE_BPF_H
#define KCM_MIGRATE_TABLE_BPF_H

#define MG_REST_NS (60ULL * 1000000000) /* requests retransmit for about so long */

/* A listener that opens, as its finder saw it. */
struct mg_new {
	__u64 cookie, sk;
	__u64 netns_cookie;
	__u64 now_ns;
	struct kcm_mg_key key;
	__u8 addr[16];
	char comm[16];
	__u32 ifindex, uid;
	__u32 kind, backlog, pid;
	__u16 family;
	__u8 v6only;
	__u8 flags;
	/* results */
	__u64 old_cookie; /* whose slot it was: its index entry goes */
	__u32 slot, group, why;
};

static __always_inline struct kcm_mg_group *group_at(struct kcm_mg *mg, __u32 i)
{
	return &mg->group[i & (KCM_MG_GROUPS - 1)];
}

static __always_inline struct kcm_mg_gen *gen_at(struct kcm_mg_group *g, __u32 i)
{
	return &g->gen[i & (KCM_MG_GENS - 1)];
}

static __always_inline struct kcm_mg_slot *slot_at(struct kcm_mg *mg, __u32 i)
{
	return &mg->slot[i & (KCM_MG_SLOTS - 1)];
}

static __always_inline void log_add(struct kcm_mg *mg, __u32 kind, __u32 group, __u32 slot,
				    struct kcm_mg_gen *gen, __u64 now_ns, __u32 why)
{
	__u64 seq = ++mg->ctl.log_next;
	struct kcm_mg_event *e = &mg->log[seq & (KCM_MG_LOG - 1)];
	struct kcm_mg_slot *s = slot_at(mg, slot);

	*(volatile __u64 *)&e->seq = 0;
	e->ts_ns = now_ns;
	e->kind = kind;
	e->group = group;
	e->slot = slot;
	e->why = why;
	e->gen = gen ? gen->id : 0;
	e->n = gen ? gen->n : 0;
	e->pid = slot == KCM_MG_NONE ? 0 : s->pid;
	e->moved = slot == KCM_MG_NONE ? 0 : s->out;
	__builtin_memcpy(e->comm, s->comm, sizeof(e->comm));
	*(volatile __u64 *)&e->seq = seq;
}

static __always_inline int group_is(const struct kcm_mg_group *g, const struct mg_new *d)
{
	return (g->flags & KCM_MG_GROUP_USED) && g->netns_cookie == d->netns_cookie &&
	       g->family == d->family && g->ifindex == d->ifindex && g->v6only == d->v6only &&
	       ((__u64 *)g->addr)[0] == ((__u64 *)d->addr)[0] &&
	       ((__u64 *)g->addr)[1] == ((__u64 *)d->addr)[1];
}

static __always_inline int group_find(struct kcm_mg *mg, const struct mg_new *d)
{
	int free = -1;

	for (int i = 0; i < KCM_MG_GROUPS; i++) {
		struct kcm_mg_group *g = &mg->group[i];

		if (group_is(g, d))
			return i;
		if (free < 0 && (!(g->flags & KCM_MG_GROUP_USED) || (!g->n && !g->anchor_cookie)))
			free = i;
	}
	return free;
}

static __always_inline void group_begin(struct kcm_mg *mg, struct kcm_mg_group *g,
					const struct mg_new *d)
{
	if (!(g->flags & KCM_MG_GROUP_USED))
		mg->ctl.n_groups++;
	g->flags = KCM_MG_GROUP_USED;
	g->netns_cookie = d->netns_cookie;
	g->netns_inode = 0;
	g->family = d->family;
	g->ifindex = d->ifindex;
	g->v6only = d->v6only;
	g->uid = d->uid;
	((__u64 *)g->addr)[0] = ((__u64 *)d->addr)[0];
	((__u64 *)g->addr)[1] = ((__u64 *)d->addr)[1];
	g->working = g->next = g->before = KCM_MG_NONE;
	for (int i = 0; i < KCM_MG_GENS; i++)
		g->gen[i].state = KCM_MG_GEN_FREE;
}

static __always_inline int key_same(const struct kcm_mg_key *a, const struct kcm_mg_key *b)
{
	if (a->number || b->number)
		return a->number == b->number;
	return a->start_ns == b->start_ns && a->exec_id == b->exec_id && a->pid == b->pid;
}

/* The generation of @key; else one that is free, or the one that has been gone for the longest. */
static __always_inline int gen_find(struct kcm_mg_group *g, const struct kcm_mg_key *key, int *is)
{
	__u64 oldest = ~0ULL;
	int free = -1;

	*is = 0;
	for (int i = 0; i < KCM_MG_GENS; i++) {
		struct kcm_mg_gen *gen = &g->gen[i];

		if (gen->state != KCM_MG_GEN_FREE && key_same(&gen->key, key)) {
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
				      const struct mg_new *d)
{
	if (g->before == at)
		g->before = KCM_MG_NONE;
	gen->key = d->key;
	gen->since_ns = d->now_ns;
	gen->gone_ns = 0;
	gen->rr = gen->given = gen->in = gen->out = gen->refused = 0;
	gen->probe_state = KCM_MG_PROBE_NONE;
	gen->id = ++g->last_id;
	gen->weight = 0;
	gen->n = 0;
	__builtin_memcpy(gen->comm, d->comm, sizeof(gen->comm));
}

/* A generation has its first listener (again): does it work at once, or when it is proven? */
static __always_inline void gen_opens(struct kcm_mg_group *g, struct kcm_mg_gen *gen, int at)
{
	struct kcm_mg_gen *w = gen_at(g, g->working);

	gen->gone_ns = 0;
	if (g->working == at ||
	    (g->flags & KCM_MG_GROUP_PINNED && g->working != KCM_MG_NONE && w->n)) {
		gen->state = KCM_MG_GEN_READY;
		return;
	}
	if (g->working != KCM_MG_NONE && w->n) {
		gen->state = KCM_MG_GEN_NEW;
		g->next = at;
		return;
	}
	/* Nobody else could take a connection. */
	gen->state = KCM_MG_GEN_READY;
	if (g->working != KCM_MG_NONE)
		g->before = g->working;
	g->working = at;
}

/*
 * A number that the verifier knows becomes one that it does not: else it walks all that follows
 * once for each group and generation that a search may have found.
 */
static __always_inline __u32 mg_forget(struct kcm_mg *mg, __u32 n)
{
	*(volatile __u32 *)&mg->ctl.forget = n;
	return *(volatile __u32 *)&mg->ctl.forget;
}

/* What a listener has counted stays with its generation, if that is still there. */
static __always_inline void slot_settle(struct kcm_mg *mg, const struct kcm_mg_slot *s)
{
	struct kcm_mg_gen *gen = gen_at(group_at(mg, s->group), s->gen);

	if (gen->since_ns > s->opened_ns)
		return;
	gen->given += s->given;
	gen->in += s->in;
	gen->out += s->out;
	gen->refused += s->refused;
}

/* A slot, new or one that has rested. */
static __always_inline int slot_take(struct kcm_mg *mg, struct mg_new *d)
{
	struct kcm_mg_ctl *ctl = &mg->ctl;
	__u32 at = ctl->limbo_at, slot = KCM_MG_NONE;

	if (at != ctl->limbo_to) {
		slot = mg->limbo[at & (KCM_MG_SLOTS - 1)];
		if (ctl->slots < KCM_MG_SLOTS &&
		    d->now_ns - slot_at(mg, slot)->closed_ns < MG_REST_NS)
			slot = KCM_MG_NONE;
		else
			ctl->limbo_at = at + 1;
	}
	if (slot == KCM_MG_NONE && ctl->slots < KCM_MG_SLOTS)
		slot = ctl->slots++;
	if (slot == KCM_MG_NONE)
		return -1;
	d->old_cookie = slot_at(mg, slot)->cookie;
	if (d->old_cookie)
		slot_settle(mg, slot_at(mg, slot));
	return slot;
}

static __always_inline void slot_fill(struct kcm_mg_slot *s, const struct mg_new *d)
{
	s->cookie = d->cookie;
	s->sk = d->sk;
	s->given = s->in = s->out = s->refused = 0;
	s->opened_ns = d->now_ns;
	s->closed_ns = 0;
	s->flags = KCM_MG_SLOT_USED | d->flags;
	s->kind = d->kind;
	s->backlog = d->backlog;
	s->pid = d->pid;
	s->uid = d->uid;
	__builtin_memcpy(s->comm, d->comm, sizeof(s->comm));
}

/* With the lock held. Return: 0, or enum kcm_mg_why. */
static __always_inline int table_add(struct kcm_mg *mg, struct mg_new *d)
{
	struct kcm_mg_group *g;
	struct kcm_mg_slot *s;
	struct kcm_mg_gen *gen;
	int is, at, slot, gi = group_find(mg, d);
	__u32 pos;

	if (gi < 0)
		return KCM_MGW_GROUPS;
	gi = mg_forget(mg, gi) & (KCM_MG_GROUPS - 1);
	g = group_at(mg, gi);
	if (!group_is(g, d))
		group_begin(mg, g, d);
	d->group = gi;
	at = gen_find(g, &d->key, &is);
	if (at < 0) {
		/* Too many at a time: it is counted with the newest. */
		d->why = KCM_MGW_GENS;
		at = g->working & (KCM_MG_GENS - 1);
		is = 1;
	}
	at = mg_forget(mg, at) & (KCM_MG_GENS - 1);
	is = mg_forget(mg, is);
	gen = gen_at(g, at);
	if (is && gen->n >= KCM_MG_MEMBERS)
		return KCM_MGW_SLOTS;
	slot = slot_take(mg, d);
	if (slot < 0)
		return KCM_MGW_SLOTS;
	d->slot = slot;
	if (!is)
		gen_begin(g, gen, at, d);
	s = slot_at(mg, slot);
	slot_fill(s, d);
	s->group = gi;
	s->gen = at;
	pos = gen->n & (KCM_MG_MEMBERS - 1);
	s->pos = pos;
	gen->member[pos] = slot;
	*(volatile __u16 *)&gen->n = pos + 1;
	g->n++;
	g->opened++;
	if (pos == 0)
		gen_opens(g, gen, at);
	if (!is)
		log_add(mg, KCM_MGE_GEN_NEW, gi, slot, gen, d->now_ns, 0);
	if (pos == 0 && g->working == at)
		log_add(mg, KCM_MGE_GEN_WORKS, gi, slot, gen, d->now_ns, 0);
	log_add(mg, KCM_MGE_LISTEN, gi, slot, gen, d->now_ns, d->why);
	return 0;
}

/* The generation that is to work when the working one has gone: the newest that can. */
static __always_inline __u32 gen_best(struct kcm_mg_group *g)
{
	__u32 best = KCM_MG_NONE, id = 0;

	for (int i = 0; i < KCM_MG_GENS; i++) {
		struct kcm_mg_gen *gen = &g->gen[i];

		if (gen->n && gen->state != KCM_MG_GEN_DRAINING && gen->id > id) {
			id = gen->id;
			best = i;
		}
	}
	return best;
}

static __always_inline void gen_closes(struct kcm_mg *mg, struct kcm_mg_group *g,
				       struct kcm_mg_gen *gen, __u32 at, __u32 slot, __u64 now_ns)
{
	__u32 gi = slot_at(mg, slot)->group, best;

	gen->state = KCM_MG_GEN_GONE;
	gen->gone_ns = now_ns;
	log_add(mg, KCM_MGE_GEN_GONE, gi, slot, gen, now_ns, 0);
	if (g->next == at)
		g->next = KCM_MG_NONE;
	if (g->working != at)
		return;
	best = mg_forget(mg, gen_best(g));
	if (best == KCM_MG_NONE)
		return;
	g->before = at;
	g->working = best;
	__sync_fetch_and_and(&g->flags, ~KCM_MG_GROUP_PINNED);
	if (g->next == best)
		g->next = KCM_MG_NONE;
	gen_at(g, best)->state = KCM_MG_GEN_READY;
	log_add(mg, KCM_MGE_GEN_WORKS, gi, KCM_MG_NONE, gen_at(g, best), now_ns, 0);
}

/*
 * With the lock held. What the listener still has is migrated after this: the slot stays as it
 * is, for the counters, and rests.
 */
static __always_inline void table_remove(struct kcm_mg *mg, __u32 slot, __u64 now_ns)
{
	struct kcm_mg_slot *s = slot_at(mg, slot);
	struct kcm_mg_group *g = group_at(mg, s->group);
	struct kcm_mg_gen *gen = gen_at(g, s->gen);
	__u32 pos = s->pos & (KCM_MG_MEMBERS - 1), last = (gen->n - 1) & (KCM_MG_MEMBERS - 1);
	__u32 moved;

	if (s->flags & KCM_MG_SLOT_CLOSED)
		return;
	s->flags |= KCM_MG_SLOT_CLOSED;
	s->closed_ns = now_ns;
	moved = gen->member[last];
	gen->member[pos] = moved;
	slot_at(mg, moved)->pos = pos;
	*(volatile __u16 *)&gen->n = last;
	g->n--;
	mg->limbo[mg->ctl.limbo_to++ & (KCM_MG_SLOTS - 1)] = slot;
	log_add(mg, KCM_MGE_CLOSE, s->group, slot, gen, now_ns, 0);
	if (!last)
		gen_closes(mg, g, gen, s->gen, slot, now_ns);
	if (!g->n) {
		g->emptied++;
		log_add(mg, KCM_MGE_EMPTY, s->group, slot, gen, now_ns, 0);
	}
}

static __always_inline void wake_keeper(void)
{
	__u64 any = 0;

	bpf_ringbuf_output(&kcm_mg_wake, &any, sizeof(any), 0);
}

/* The socket is in kcm_mg_socks by now, unless @why says why not. Return: 0 or -1. */
static __always_inline int listener_opens(struct kcm_mg *mg, struct mg_new *d)
{
	struct kcm_mg_ref ref;
	struct kcm_mg_lock *lock;
	__u32 zero = 0;
	int why = d->why;

	lock = bpf_map_lookup_elem(&kcm_mg_lock, &zero);
	if (!lock)
		return -1;
	if (mg->ctl.manual || mg->ctl.manual_number)
		d->key.number = mg->ctl.manual_number;
	bpf_spin_lock(&lock->lock);
	if (!why)
		why = table_add(mg, d);
	if (why) {
		mg->ctl.refused_listeners++;
		log_add(mg, KCM_MGE_REFUSED, KCM_MG_NONE, KCM_MG_NONE, 0, d->now_ns, why);
	}
	bpf_spin_unlock(&lock->lock);
	if (why) {
		bpf_map_delete_elem(&kcm_mg_socks, &d->cookie);
		return -1;
	}
	if (d->old_cookie)
		bpf_map_delete_elem(&kcm_mg_index, &d->old_cookie);
	ref.slot = d->slot;
	ref.group = d->group;
	bpf_map_update_elem(&kcm_mg_index, &d->cookie, &ref, BPF_ANY);
	wake_keeper();
	return 0;
}

static __always_inline void listener_closes(struct kcm_mg *mg, __u64 cookie)
{
	struct kcm_mg_ref *ref = bpf_map_lookup_elem(&kcm_mg_index, &cookie);
	__u64 now_ns = bpf_ktime_get_ns();
	struct kcm_mg_lock *lock;
	__u32 zero = 0, slot;

	if (!ref || ref->slot == KCM_MG_NONE)
		return;
	slot = ref->slot;
	lock = bpf_map_lookup_elem(&kcm_mg_lock, &zero);
	if (!lock)
		return;
	bpf_spin_lock(&lock->lock);
	if (slot_at(mg, slot)->cookie == cookie)
		table_remove(mg, slot, now_ns);
	bpf_spin_unlock(&lock->lock);
	wake_keeper();
}

#endif
