/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * migrate_table.bpf.h - listeners and groups come and go, under kcm_mg_lock.
 *
 * No helper may be called with the lock held: the kernel's maps of sockets and our index are
 * changed before and after it.
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
	__u8 again; /* @slot is what it was before it was shut down */
	struct kcm_mg_said said;
	/* results */
	__u64 old_cookie; /* whose slot it was: its index entry goes */
	__u32 slot, group, why;
};

/* What of a new listener its socket says, TCP's or UDP's; @sk is read with care. */
static __always_inline void new_from_sk(struct mg_new *d, struct sock *sk)
{
	struct sock_common *skc = &sk->__sk_common;

	d->netns_cookie = BPF_CORE_READ(skc, skc_net.net, net_cookie);
	d->now_ns = bpf_ktime_get_ns();
	d->key.cgroup_id = BPF_CORE_READ(sk, sk_cgrp_data.cgroup, kn, id);
	d->family = BPF_CORE_READ(skc, skc_family);
	if (d->family == KCM_AF_INET6) {
		bpf_core_read(d->addr, 16, &skc->skc_v6_rcv_saddr);
		d->v6only = BPF_CORE_READ_BITFIELD_PROBED(skc, skc_ipv6only);
	} else {
		bpf_core_read(d->addr, 4, &skc->skc_rcv_saddr);
	}
	d->ifindex = BPF_CORE_READ(skc, skc_bound_dev_if);
	d->uid = BPF_CORE_READ(sk, sk_uid.val);
	if (!BPF_CORE_READ_BITFIELD_PROBED(skc, skc_reuseport))
		d->why = KCM_MGW_ALONE;
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
	/* Counters were another's. opened and last_id go on: the keeper looks for changes. */
	g->emptied = g->selector_at = g->parked = g->unparked = g->expired = 0;
	g->fallback = g->refused_kind = g->refused_none = g->anchor_kind = 0;
	g->flows = g->flows_moved = g->flows_full = g->flows_rebound = g->cids_full = 0;
	g->settled_ns = 0;
	g->working = g->next = g->before = KCM_MG_NONE;
	for (int i = 0; i < KCM_MG_GENS; i++)
		g->gen[i].state = KCM_MG_GEN_FREE;
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
	if (slot_at(mg, slot)->flags)
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
	s->datagrams = 0;
	s->seat = 0;
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
	int is, at, slot, first, gi = group_find(mg, d);

	if (gi < 0)
		return KCM_MGW_GROUPS;
	gi = mg_forget(mg, gi) & (KCM_MG_GROUPS - 1);
	g = group_at(mg, gi);
	if (!group_is(g, d))
		group_begin(mg, g, d);
	if (!g->n && !g->anchor_cookie)
		g->uid = d->uid; /* nobody holds the kernel to the old one */
	d->group = gi;
	at = gen_find(g, &d->key, d->said.number, &is);
	if (at < 0) {
		/* Too many at a time: it is counted with the newest. */
		d->why = KCM_MGW_GENS;
		at = g->working & (KCM_MG_GENS - 1);
		is = 1;
	}
	at = mg_forget(mg, at) & (KCM_MG_GENS - 1);
	is = mg_forget(mg, is);
	gen = gen_at(g, at);
	if (is && gen->n + gen->drained >= KCM_MG_MEMBERS)
		return KCM_MGW_SLOTS;
	slot = slot_take(mg, d);
	if (slot < 0)
		return KCM_MGW_SLOTS;
	/* The index has one place for a cookie: it is the new slot's. */
	s = slot_at(mg, d->slot);
	if (d->again && s->cookie == d->cookie)
		s->cookie = 0;
	d->slot = slot;
	if (d->old_cookie == d->cookie)
		d->old_cookie = 0;
	if (!is)
		gen_begin(g, gen, at, &d->key, d->comm, d->now_ns);
	s = slot_at(mg, slot);
	slot_fill(s, d);
	s->group = gi;
	s->gen = at;
	member_add(mg, gen, slot);
	first = gen->n == 1;
	g->n++;
	g->opened++;
	if (first)
		gen_opens(g, gen, at, d->said.ready);
	if (!is)
		log_add(mg, KCM_MGE_GEN_NEW, gi, slot, gen, d->now_ns, 0);
	if (first && g->working == at)
		log_add(mg, KCM_MGE_GEN_WORKS, gi, slot, gen, d->now_ns, 0);
	log_add(mg, KCM_MGE_LISTEN, gi, slot, gen, d->now_ns, d->why);
	return 0;
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

	if (s->flags & KCM_MG_SLOT_CLOSED)
		return;
	s->flags |= KCM_MG_SLOT_CLOSED;
	s->closed_ns = now_ns;
	member_remove(mg, g, gen, s->pos);
	g->n--;
	mg->limbo[mg->ctl.limbo_to++ & (KCM_MG_SLOTS - 1)] = slot;
	log_add(mg, KCM_MGE_CLOSE, s->group, slot, gen, now_ns, 0);
	if (!gen->n)
		gen_empties(mg, g, gen, s->gen, slot, now_ns);
	if (!g->n) {
		g->emptied++;
		log_add(mg, KCM_MGE_EMPTY, s->group, slot, gen, now_ns, 0);
	}
}

/*
 * Is it registered, or an anchor? One that was shut down and listens again is not any more; no
 * matter that its index entry rests.
 */
static __always_inline int is_known(struct kcm_mg *mg, struct mg_new *d)
{
	struct kcm_mg_ref *ref = bpf_map_lookup_elem(&kcm_mg_index, &d->cookie);
	struct kcm_mg_slot *s;

	if (!ref)
		return 0;
	if (ref->slot == KCM_MG_NONE)
		return 1;
	s = slot_at(mg, ref->slot);
	if (s->cookie == d->cookie && !(s->flags & KCM_MG_SLOT_CLOSED))
		return 1;
	d->slot = ref->slot;
	d->again = 1;
	return 0;
}

/* @why says why not, if it can't be registered. Return: 0 or -1. */
static __always_inline int listener_opens(struct kcm_mg *mg, struct mg_new *d)
{
	struct kcm_mg_ref ref;
	struct kcm_mg_lock *lock;
	__u32 zero = 0;
	int why = d->why;

	lock = bpf_map_lookup_elem(&kcm_mg_lock, &zero);
	if (!lock)
		return -1;
	/* What an operator says counts before what the server does. */
	if (mg->ctl.manual || mg->ctl.manual_number) {
		d->key.number = mg->ctl.manual_number;
		d->said.number = 0;
	} else if (d->said.number) {
		d->key.number = d->said.number;
	}
	bpf_spin_lock(&lock->lock);
	if (!why)
		why = table_add(mg, d);
	if (why) {
		mg->ctl.refused_listeners++;
		log_add(mg, KCM_MGE_REFUSED, KCM_MG_NONE, KCM_MG_NONE, 0, d->now_ns, why);
	}
	bpf_spin_unlock(&lock->lock);
	if (why)
		return -1;
	if (d->old_cookie)
		bpf_map_delete_elem(&kcm_mg_index, &d->old_cookie);
	ref.slot = d->slot;
	ref.group = d->group;
	bpf_map_update_elem(&kcm_mg_index, &d->cookie, &ref, BPF_ANY);
	wake_keeper();
	return 0;
}

/*
 * The selector takes no lock and so writes no log: somebody else tells that a new generation works.
 */
static __always_inline void announce(struct kcm_mg *mg)
{
	__u64 now_ns = bpf_ktime_get_ns();
	struct kcm_mg_lock *lock;
	__u32 zero = 0, bits;

	lock = bpf_map_lookup_elem(&kcm_mg_lock, &zero);
	if (!lock)
		return;
	bpf_spin_lock(&lock->lock);
	bits = mg->ctl.announce;
	mg->ctl.announce = 0;
	for (int i = 0; i < KCM_MG_GROUPS; i++) {
		__u32 gi = mg_forget(mg, i) & (KCM_MG_GROUPS - 1);
		struct kcm_mg_group *g = group_at(mg, gi);

		if (bits & 1 << i)
			log_add(mg, KCM_MGE_GEN_WORKS, gi, KCM_MG_NONE, gen_at(g, g->working),
				now_ns, 0);
	}
	bpf_spin_unlock(&lock->lock);
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
