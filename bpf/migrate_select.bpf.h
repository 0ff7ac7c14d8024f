/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * migrate_select.bpf.h - who gets a new connection, and who gets what a closing listener had.
 *
 * Without a lock: a slot that is read may belong to a listener that has just closed. Then
 * selecting it fails (the kernel takes a socket out of kcm_mg_seats and kcm_mg_socks before it
 * closes it) and another one is tried.
 */
#ifndef KCM_MIGRATE_SELECT_BPF_H
#define KCM_MIGRATE_SELECT_BPF_H

#define MG_TRIES      4	 /* listeners of a generation for a new connection */
#define MG_KIND_TRIES 32 /* for one that migrates: others may be of another kind */
#define MG_KIND_ANY   (~0U)
#define MG_PROBE_NS   1000000000ULL
#define MG_ETH_ANY    0

static __always_inline int mg_select(struct sk_reuseport_md *md, __u64 cookie)
{
	return bpf_sk_select_reuseport(md, &kcm_mg_socks, &cookie, 0);
}

/* The listener of a slot. */
static __always_inline int mg_select_slot(struct sk_reuseport_md *md, struct kcm_mg *mg, __u32 slot)
{
	slot &= KCM_MG_SLOTS - 1;
	if (!bpf_sk_select_reuseport(md, &kcm_mg_seats, &slot, 0))
		return 0;
	return mg_select(md, slot_at(mg, slot)->cookie);
}

static __always_inline __u32 scaled(__u32 hash, __u32 n)
{
	return (__u64)hash * n >> 32;
}

static __always_inline void addr_of(struct sk_reuseport_md *md, __u8 addr[16])
{
	__u8 first = 0;

	bpf_skb_load_bytes_relative(md, 0, &first, 1, BPF_HDR_START_NET);
	if (first >> 4 == 4)
		bpf_skb_load_bytes_relative(md, 12, &addr[12], 4, BPF_HDR_START_NET);
	else
		bpf_skb_load_bytes_relative(md, 8, addr, 16, BPF_HDR_START_NET);
}

/* ---- readiness ---- */

/*
 * A new generation takes over when it has accepted a connection: one is sent to it, and if that
 * is in the accept queue and the queue is empty again, somebody accepts. A handshake that comes
 * to nothing is tried again with another connection.
 * Return: should this connection go to the new generation?
 */
static __always_inline int probe_look(struct sk_reuseport_md *md, struct kcm_mg *mg, __u32 group,
				      __u32 at)
{
	struct kcm_mg_group *g = group_at(mg, group);
	struct kcm_mg_gen *gen = gen_at(g, at);
	__u64 now_ns = bpf_ktime_get_coarse_ns();
	__u32 state = *(volatile __u32 *)&gen->probe_state;
	__u8 addr[16] = {}, port[2] = {};

	if (!gen->n)
		return 0;
	if (state == KCM_MG_PROBE_QUEUED) {
		struct kcm_mg_slot *s = slot_at(mg, gen->probe_slot);

		/* Its listener closed before it was accepted: that proves nothing. */
		if ((s->flags & KCM_MG_SLOT_CLOSED) || s->gen != at || s->group != group) {
			__sync_val_compare_and_swap(&gen->probe_state, KCM_MG_PROBE_QUEUED,
						    KCM_MG_PROBE_NONE);
			return 0;
		}
		if (queue_of(slot_at(mg, gen->probe_slot)->sk))
			return 0;
		if (__sync_val_compare_and_swap(&gen->probe_state, KCM_MG_PROBE_QUEUED,
						KCM_MG_PROBE_NONE) != KCM_MG_PROBE_QUEUED)
			return 0;
		gen->state = KCM_MG_GEN_READY;
		/* Its server may have said so itself meanwhile. */
		if (g->working != at)
			g->before = g->working;
		*(volatile __u16 *)&g->working = at;
		*(volatile __u16 *)&g->next = KCM_MG_NONE;
		mg->ctl.probing = 0;
		__sync_fetch_and_or(&mg->ctl.announce, 1 << (group & (KCM_MG_GROUPS - 1)));
		wake_keeper();
		return 1;
	}
	if (state == KCM_MG_PROBE_TAKEN ||
	    (state == KCM_MG_PROBE_GIVEN && now_ns - gen->probe_ns < MG_PROBE_NS))
		return 0;
	if (__sync_val_compare_and_swap(&gen->probe_state, state, KCM_MG_PROBE_TAKEN) != state)
		return 0;
	addr_of(md, addr);
	bpf_skb_load_bytes(md, 0, port, 2);
	gen->probe_peer = *(__u32 *)&addr[12] ^ (__u32)(port[0] << 8 | port[1]) << 16;
	gen->probe_ns = now_ns;
	gen->probe_slot = gen->member[0];
	if (mg_select_slot(md, mg, gen->probe_slot)) {
		*(volatile __u32 *)&gen->probe_state = KCM_MG_PROBE_NONE;
		return 0;
	}
	mg->ctl.probing = 1;
	__sync_fetch_and_add(&slot_at(mg, gen->probe_slot)->given, 1);
	gen->probe_state = KCM_MG_PROBE_GIVEN;
	return -1; /* it is selected already */
}

/* ---- new connections ---- */

static __always_inline __u32 gen_for_new(struct kcm_mg_group *g)
{
	__u32 w = *(volatile __u16 *)&g->working, r, sum = 0;

	if (!(g->flags & KCM_MG_GROUP_WEIGHTED))
		return w;
	r = bpf_get_prandom_u32() % 100;
	for (__u32 i = 0; i < KCM_MG_GENS; i++) {
		const struct kcm_mg_gen *gen = &g->gen[i];

		if (i == w || !gen->n || gen->state == KCM_MG_GEN_DRAINING)
			continue;
		sum += gen->weight;
		if (r < sum)
			return i;
	}
	return w;
}

static __always_inline __u32 pick_least(struct kcm_mg *mg, struct kcm_mg_gen *gen, __u32 n)
{
	/* Two different ones: the same one twice would be chosen however long its queue is. */
	__u32 a = scaled(bpf_get_prandom_u32(), n);
	__u32 b = (a + 1 + scaled(bpf_get_prandom_u32(), n - 1)) % n;
	struct kcm_mg_slot *sa = slot_at(mg, gen->member[a & (KCM_MG_MEMBERS - 1)]);
	struct kcm_mg_slot *sb = slot_at(mg, gen->member[b & (KCM_MG_MEMBERS - 1)]);

	return queue_of(sa->sk) <= queue_of(sb->sk) ? a : b;
}

static __always_inline __u32 pick(struct sk_reuseport_md *md, struct kcm_mg *mg,
				  struct kcm_mg_gen *gen, __u32 n)
{
	switch (mg->ctl.policy) {
	case KCM_MG_ROBIN:
		return (__u32)__sync_fetch_and_add(&gen->rr, 1) % n;
	case KCM_MG_LEAST:
		return pick_least(mg, gen, n);
	case KCM_MG_CPU:
		return bpf_get_smp_processor_id() % n;
	case KCM_MG_NUMA:
		return (__u32)bpf_get_numa_node_id() % n;
	default:
		return scaled(md->hash, n);
	}
}

/* A listener of the generation. Return: 0, -1 none can be had. */
static __always_inline int give(struct sk_reuseport_md *md, struct kcm_mg *mg,
				struct kcm_mg_gen *gen)
{
	__u32 n = *(volatile __u16 *)&gen->n, at;

	if (!n)
		return -1;
	at = pick(md, mg, gen, n);
	for (int i = 0; i < MG_TRIES; i++, at = at + 1 < n ? at + 1 : 0) {
		__u32 slot = gen->member[at & (KCM_MG_MEMBERS - 1)];
		struct kcm_mg_slot *s = slot_at(mg, slot);

		if (mg_select_slot(md, mg, slot))
			continue;
		/* Again at times: the keeper reads it, and nginx sets TCP_FASTOPEN after listen().
		 */
		if (!(__sync_fetch_and_add(&s->given, 1) & 63))
			s->kind = kcm_mg_kind(s->sk);
		return 0;
	}
	return -1;
}

/* The listener that this client had, if it is of the generation that connections go to. */
static __always_inline int give_sticky(struct sk_reuseport_md *md, struct kcm_mg *mg, __u32 group,
				       __u32 want)
{
	struct kcm_mg_client client = { .group = group };
	struct kcm_mg_group *g = group_at(mg, group);
	struct kcm_mg_gen *gen = gen_at(g, want);
	struct kcm_mg_had *had, now;
	__u32 n, at;

	addr_of(md, client.addr);
	had = bpf_map_lookup_elem(&kcm_mg_sticky, &client);
	if (had) {
		struct kcm_mg_slot *s = slot_at(mg, had->slot);

		if (s->cookie == had->cookie && s->group == group && s->gen == want &&
		    s->pos < gen->n && !mg_select_slot(md, mg, had->slot)) {
			__sync_fetch_and_add(&s->given, 1);
			return 0;
		}
	}
	n = *(volatile __u16 *)&gen->n;
	if (!n)
		return -1;
	at = scaled(md->hash, n);
	for (int i = 0; i < MG_TRIES; i++, at = at + 1 < n ? at + 1 : 0) {
		struct kcm_mg_slot *s;

		now.slot = gen->member[at & (KCM_MG_MEMBERS - 1)];
		s = slot_at(mg, now.slot);
		now.cookie = s->cookie;
		if (mg_select_slot(md, mg, now.slot))
			continue;
		if (!(__sync_fetch_and_add(&s->given, 1) & 63))
			s->kind = kcm_mg_kind(s->sk);
		bpf_map_update_elem(&kcm_mg_sticky, &client, &now, BPF_ANY);
		return 0;
	}
	return -1;
}

static __always_inline int park(struct sk_reuseport_md *md, struct kcm_mg_group *g)
{
	__u64 cookie = *(volatile __u64 *)&g->anchor_cookie;

	if (!cookie || !(g->flags & KCM_MG_GROUP_PARK) || mg_select(md, cookie))
		return -1;
	__sync_fetch_and_add(&g->parked, 1);
	return 0;
}

/* Nobody of @not: the generation that works, or any that listens. */
static __always_inline int give_any(struct sk_reuseport_md *md, struct kcm_mg *mg,
				    struct kcm_mg_group *g, __u32 not )
{
	__u32 w = *(volatile __u16 *)&g->working;
	__u32 best = w != not &&w != KCM_MG_NONE && gen_at(g, w)->n ? w : gen_best(g, KCM_MG_NONE);

	return best == KCM_MG_NONE ? -1 : give(md, mg, gen_at(g, best));
}

static __always_inline int on_new(struct sk_reuseport_md *md, struct kcm_mg *mg, __u32 group)
{
	struct kcm_mg_group *g = group_at(mg, group);
	__u32 next = *(volatile __u16 *)&g->next, at;
	int ret;

	if ((g->flags & KCM_MG_GROUP_DIVERT) && !park(md, g))
		return SK_PASS;
	if (next != KCM_MG_NONE && !(g->flags & KCM_MG_GROUP_PINNED) &&
	    probe_look(md, mg, group, next) < 0)
		return SK_PASS;
	at = gen_for_new(g);
	if (at != KCM_MG_NONE) {
		ret = mg->ctl.policy == KCM_MG_CLIENT ? give_sticky(md, mg, group, at)
						      : give(md, mg, gen_at(g, at));
		if (!ret)
			return SK_PASS;
	}
	if (!give_any(md, mg, g, at) || !park(md, g))
		return SK_PASS;
	/* The kernel's hash: there may be listeners that we could not register. */
	__sync_fetch_and_add(&g->fallback, 1);
	return SK_PASS;
}

/* ---- what a closing listener had ---- */

/* The newest generation, or the one an operator has said. */
static __always_inline __u32 gen_for_old(struct kcm_mg_group *g)
{
	__u32 w = *(volatile __u16 *)&g->working;

	if ((g->flags & KCM_MG_GROUP_PINNED) && w != KCM_MG_NONE && gen_at(g, w)->n)
		return w;
	return gen_best(g, KCM_MG_NONE);
}

enum mg_moved {
	MG_MOVED,
	MG_NOBODY,
	MG_OTHER_KIND,
};

/*
 * Evenly: one after the other. With kinds mixed, from random places on after the first.
 * Not inline: verified once, and not once for each of its callers' paths.
 */
__noinline int kcm_mg_move(struct sk_reuseport_md *md, __u32 group, __u32 at_gen, __u32 kind)
{
	struct kcm_mg *mg = mg_state();
	int ret = MG_NOBODY;
	struct kcm_mg_gen *gen;
	__u32 n, at;

	if (!mg)
		return MG_NOBODY;
	gen = gen_at(group_at(mg, group), at_gen);
	n = *(volatile __u16 *)&gen->n;
	if (!n)
		return MG_NOBODY;
	at = (__u32)__sync_fetch_and_add(&gen->rr, 1) % n;
	for (int i = 0; i < MG_KIND_TRIES; i++) {
		__u32 slot = gen->member[at & (KCM_MG_MEMBERS - 1)];
		struct kcm_mg_slot *s = slot_at(mg, slot);

		if (kind != MG_KIND_ANY && (kcm_mg_kind(s->sk) & KCM_MG_KIND_MUST) != kind) {
			ret = MG_OTHER_KIND;
		} else if (!mg_select_slot(md, mg, slot)) {
			__sync_fetch_and_add(&s->in, 1);
			return MG_MOVED;
		}
		at = scaled(bpf_get_prandom_u32(), n);
	}
	return ret;
}

static __always_inline int on_move(struct sk_reuseport_md *md, struct kcm_mg *mg, __u32 group,
				   struct kcm_mg_slot *from, __u64 from_sk)
{
	struct kcm_mg_group *g = group_at(mg, group);
	__u32 kind = kcm_mg_kind(from_sk) & KCM_MG_KIND_MUST, best = gen_for_old(g), other = 0;
	int ret = best == KCM_MG_NONE ? MG_NOBODY : kcm_mg_move(md, group, best, kind);

	/* No loop: 6.1 refuses one that is entered from behind a call. */
#pragma unroll
	for (__u32 i = 0; i < KCM_MG_GENS; i++) {
		if (ret == MG_MOVED)
			break;
		other |= ret == MG_OTHER_KIND;
		ret = i == best ? MG_NOBODY : kcm_mg_move(md, group, i, kind);
	}
	/* An anchor of another kind than it should be: better a listener of any than a reset. */
	if (!from && ret != MG_MOVED && best != KCM_MG_NONE)
		ret = kcm_mg_move(md, group, best, MG_KIND_ANY);
	if (ret == MG_MOVED || (kind == g->anchor_kind && !park(md, g)))
		goto moved;
	other |= ret == MG_OTHER_KIND;
	if (from)
		__sync_fetch_and_add(&from->refused, 1);
	if (other)
		__sync_fetch_and_add(&g->refused_kind, 1);
	else
		__sync_fetch_and_add(&g->refused_none, 1);
	return SK_DROP;
moved:
	if (from)
		__sync_fetch_and_add(&from->out, 1);
	else
		__sync_fetch_and_add(&g->unparked, 1);
	return SK_PASS;
}

SEC("sk_reuseport/migrate")
int kcm_mg_select(struct sk_reuseport_md *md)
{
	struct kcm_mg *mg = mg_state();
	struct kcm_mg_ref *ref = NULL;
	struct bpf_sock *sk = md->sk;
	__u64 cookie;

	if (!mg || !sk)
		return SK_PASS;
	if (md->migrating_sk) {
		struct kcm_mg_slot *from = NULL;

		cookie = bpf_get_socket_cookie(sk);
		ref = bpf_map_lookup_elem(&kcm_mg_index, &cookie);
		if (!ref)
			return SK_PASS;
		if (ref->slot != KCM_MG_NONE)
			from = slot_at(mg, ref->slot);
		return on_move(md, mg, ref->group, from, addr_of_sk(sk));
	}
	if (mg->ctl.n_groups == 1)
		return on_new(md, mg, 0);
	cookie = bpf_get_socket_cookie(sk);
	ref = bpf_map_lookup_elem(&kcm_mg_index, &cookie);
	return ref ? on_new(md, mg, ref->group) : SK_PASS;
}

#endif
