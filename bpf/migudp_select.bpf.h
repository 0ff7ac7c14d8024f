/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * migudp_select.bpf.h - who gets a datagram: the socket that has its flow; else one of the
 * generation that works, which has it from then on.
 *
 * Without a lock, as migrate_select.bpf.h: a slot that is read may be of a socket that has just
 * closed, and then selecting it fails.
 */
#ifndef KCM_MIGUDP_SELECT_BPF_H
#define KCM_MIGUDP_SELECT_BPF_H

#define MU_TRIES       8
#define MU_GROUP_TRIES 4 /* past sockets that have got a peer meanwhile */

/* ---- a socket ---- */

/* Is it in kcm_mg_udps, and has it no peer, whose it alone would be? */
static __always_inline int seat_usable(const struct kcm_mg_slot *s)
{
	const struct sock *sk = (void *)s->sk;

	return s->seat == 1 && !(s->flags & KCM_MG_SLOT_CLOSED) &&
	       BPF_CORE_READ(sk, __sk_common.skc_state) == BPF_TCP_CLOSE;
}

static __always_inline int seat_select(struct sk_reuseport_md *md, struct kcm_mg *mg, __u32 slot)
{
	struct kcm_mg_slot *s = slot_at(mg, slot);

	slot &= KCM_MG_SLOTS - 1;
	if (!seat_usable(s) || bpf_sk_select_reuseport(md, &kcm_mg_udps, &slot, 0))
		return -1;
	__sync_fetch_and_add(&s->datagrams, 1);
	return 0;
}

/* Whose flow is whose: a slot is another socket's some time later. */
static __always_inline int seat_select_was(struct sk_reuseport_md *md, struct kcm_mg *mg,
					   __u32 slot, __u64 cookie)
{
	return cookie && slot_at(mg, slot)->cookie == cookie ? seat_select(md, mg, slot) : -1;
}

/* ---- a new flow's generation ---- */

/* Of the kernel's hash the high bits say which socket it would choose: others are wanted here. */
static __always_inline __u32 mixed(__u32 hash)
{
	hash = (hash ^ hash >> 16) * 0x7feb352d;
	hash = (hash ^ hash >> 15) * 0x846ca68b;
	return hash ^ hash >> 16;
}

static __always_inline __u32 scaled(__u32 hash, __u32 n)
{
	return (__u64)hash * n >> 32;
}

/* By the hash, not by chance: a flow for which there is no room in the table stays where it is. */
static __always_inline __u32 gen_for_flow(struct kcm_mg_group *g, __u32 hash)
{
	__u32 w = *(volatile __u16 *)&g->working, r = scaled(mixed(hash ^ 0x5bd1e995), 100),
	      sum = 0;

	if (!(g->flags & KCM_MG_GROUP_WEIGHTED))
		return w;
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

/*
 * A new generation takes over when it has read what a flow has sent it: one is given to it first.
 * Return: the slot that it was given to, or KCM_MG_NONE.
 */
static __always_inline __u32 flow_probes(struct sk_reuseport_md *md, struct kcm_mg *mg, __u32 group,
					 __u32 at)
{
	struct kcm_mg_group *g = group_at(mg, group);
	struct kcm_mg_gen *gen = gen_at(g, at);
	struct kcm_mg_slot *s;
	__u32 slot = KCM_MG_NONE;

	if (!gen->n)
		return KCM_MG_NONE;
	if (*(volatile __u32 *)&gen->probe_state == KCM_MG_PROBE_QUEUED) {
		s = slot_at(mg, gen->probe_slot);
		/* It closed before it was read: that proves nothing. */
		if ((s->flags & KCM_MG_SLOT_CLOSED) || s->gen != at || s->group != group) {
			__sync_val_compare_and_swap(&gen->probe_state, KCM_MG_PROBE_QUEUED,
						    KCM_MG_PROBE_NONE);
			return KCM_MG_NONE;
		}
		if (udp_queue(s->sk) ||
		    __sync_val_compare_and_swap(&gen->probe_state, KCM_MG_PROBE_QUEUED,
						KCM_MG_PROBE_NONE) != KCM_MG_PROBE_QUEUED)
			return KCM_MG_NONE;
		gen->state = KCM_MG_GEN_READY;
		if (g->working != at)
			g->before = g->working;
		*(volatile __u16 *)&g->working = at;
		*(volatile __u16 *)&g->next = KCM_MG_NONE;
		__sync_fetch_and_or(&mg->ctl.announce, 1 << (group & (KCM_MG_GROUPS - 1)));
		wake_keeper();
		return KCM_MG_NONE;
	}
	if (__sync_val_compare_and_swap(&gen->probe_state, KCM_MG_PROBE_NONE, KCM_MG_PROBE_TAKEN) !=
	    KCM_MG_PROBE_NONE)
		return KCM_MG_NONE;
	slot = gen->member[0];
	if (seat_select(md, mg, slot)) {
		*(volatile __u32 *)&gen->probe_state = KCM_MG_PROBE_NONE;
		return KCM_MG_NONE;
	}
	gen->probe_slot = slot;
	gen->probe_ns = bpf_ktime_get_coarse_ns();
	*(volatile __u32 *)&gen->probe_state = KCM_MG_PROBE_QUEUED;
	return slot;
}

/* ---- a new flow's socket ---- */

/*
 * Where the kernel's hash would put it. That is where it has been up to now, if it is older than
 * the selector, and where it will be without it. Return: a slot, or KCM_MG_NONE.
 */
static __always_inline __u32 kernels_choice(struct sk_reuseport_md *md)
{
	struct sock *sk = (void *)addr_of_sk(md->sk), *is = NULL;
	struct sock_reuseport *group = BPF_CORE_READ(sk, sk_reuseport_cb);
	__u32 n = BPF_CORE_READ(group, num_socks), at = scaled(md->hash, n);
	struct kcm_mg_ref *ref;
	__u64 cookie;

	for (int i = 0; i < MU_GROUP_TRIES && at < n; i++, at = at + 1 < n ? at + 1 : 0) {
		bpf_probe_read_kernel(&is, sizeof(is),
				      (void *)group +
					      bpf_core_field_offset(struct sock_reuseport, socks) +
					      at * sizeof(is));
		if (BPF_CORE_READ(is, __sk_common.skc_state) == BPF_TCP_CLOSE)
			break;
	}
	cookie = BPF_CORE_READ(is, __sk_common.skc_cookie.counter);
	ref = bpf_map_lookup_elem(&kcm_mg_index, &cookie);
	return ref ? ref->slot : KCM_MG_NONE;
}

static __always_inline __u32 pick_least(struct kcm_mg *mg, struct kcm_mg_gen *gen, __u32 n)
{
	__u32 a = scaled(bpf_get_prandom_u32(), n);
	__u32 b = (a + 1 + scaled(bpf_get_prandom_u32(), n - 1)) % n;
	struct kcm_mg_slot *sa = slot_at(mg, gen->member[a & (KCM_MG_MEMBERS - 1)]);
	struct kcm_mg_slot *sb = slot_at(mg, gen->member[b & (KCM_MG_MEMBERS - 1)]);

	return udp_queue(sa->sk) <= udp_queue(sb->sk) ? a : b;
}

/*
 * @kept: it will be in the table. Else the hash alone decides, in a way that others' coming and
 * going does not change, and that is the kernel's as long as the generation is alone.
 */
static __always_inline __u32 pick(struct sk_reuseport_md *md, struct kcm_mg *mg,
				  struct kcm_mg_gen *gen, __u32 n, int kept)
{
	if (!kept)
		return scaled(md->hash, n);
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
		return scaled(mixed(md->hash), n);
	}
}

/* Not inline: verified once. Return: a slot that is selected, or KCM_MG_NONE. */
__noinline __u32 kcm_mg_give(struct sk_reuseport_md *md, __u32 group, __u32 at_gen, __u32 kept)
{
	struct kcm_mg *mg = mg_state();
	struct kcm_mg_gen *gen;
	__u32 n, at, slot;

	if (!mg)
		return KCM_MG_NONE;
	gen = gen_at(group_at(mg, group), at_gen);
	n = *(volatile __u16 *)&gen->n;
	if (!n)
		return KCM_MG_NONE;
	at = pick(md, mg, gen, n, kept);
	for (int i = 0; i < MU_TRIES; i++, at = at + 1 < n ? at + 1 : 0) {
		slot = gen->member[at & (KCM_MG_MEMBERS - 1)];
		if (!seat_select(md, mg, slot))
			return slot;
	}
	return KCM_MG_NONE;
}

/* Shall a new flow be where the kernel's hash puts it, in @slot? @at: the generation it would go
 * to. */
static __always_inline int kernels_good(struct kcm_mg *mg, __u32 group, __u32 slot, __u32 at,
					int settles, int kept)
{
	struct kcm_mg_group *g = group_at(mg, group);
	struct kcm_mg_slot *s = slot_at(mg, slot);

	if (slot == KCM_MG_NONE || s->group != group)
		return 0;
	if (settles)
		return 1;
	if (s->gen != at || mg->ctl.policy != KCM_MG_HASH)
		return 0;
	return kept || ((s->flags & KCM_MG_SLOT_ADOPTED) && g->n == gen_at(g, at)->n);
}

/* For a flow that nobody has. Return: a slot that is selected, or KCM_MG_NONE. */
static __always_inline __u32 flow_place(struct sk_reuseport_md *md, struct kcm_mg *mg, __u32 group,
					__u64 now_ns, int kept)
{
	struct kcm_mg_group *g = group_at(mg, group);
	__u32 next = *(volatile __u16 *)&g->next, at, slot, best;
	int settles = now_ns < g->settled_ns;

	if (kept && !settles && next != KCM_MG_NONE && !(g->flags & KCM_MG_GROUP_PINNED)) {
		slot = flow_probes(md, mg, group, next);
		if (slot != KCM_MG_NONE)
			return slot;
	}
	at = gen_for_flow(g, md->hash);
	slot = kernels_choice(md);
	if (kernels_good(mg, group, slot, at, settles, kept) && !seat_select(md, mg, slot))
		return slot;
	slot = at == KCM_MG_NONE ? KCM_MG_NONE : kcm_mg_give(md, group, at, kept);
	if (slot != KCM_MG_NONE)
		return slot;
	best = gen_best(g, at);
	return best == KCM_MG_NONE ? KCM_MG_NONE : kcm_mg_give(md, group, best, kept);
}

/* ---- a datagram ---- */

static __always_inline void flow_is_of(struct kcm_mg *mg, struct kcm_mg_group *g,
				       struct kcm_mg_flow *f, __u32 slot, __u64 now_ns)
{
	struct kcm_mg_slot *s = slot_at(mg, slot);

	*(volatile __u64 *)&f->cookie = 0;
	f->slot = slot;
	f->gen = gen_at(g, s->gen)->id;
	f->since_ns = now_ns;
	f->last_ns = now_ns;
	f->datagrams = 1;
	f->cids = 0;
	*(volatile __u64 *)&f->cookie = s->cookie;
}

/*
 * A flow that is not in the table, has ended, or whose socket has gone. In the table first, and
 * then a socket: what is given as a probe must be known by its second datagram.
 */
static __always_inline struct kcm_mg_flow *flow_begins(struct sk_reuseport_md *md,
						       struct kcm_mg *mg, __u32 group,
						       const struct kcm_mg_flow_key *key,
						       struct kcm_mg_flow *f, __u64 now_ns)
{
	struct kcm_mg_group *g = group_at(mg, group);
	int moved = f && f->cookie && !flow_ended(mg, f->last_ns, now_ns);
	struct kcm_mg_flow anew = { .last_ns = now_ns };
	__u32 slot;

	if (!f) {
		bpf_map_update_elem(&kcm_mg_flows, key, &anew, BPF_NOEXIST);
		f = bpf_map_lookup_elem(&kcm_mg_flows, key);
	}
	slot = flow_place(md, mg, group, now_ns, f != NULL);
	if (slot == KCM_MG_NONE) {
		/* The kernel's hash: there may be sockets that we could not register. */
		__sync_fetch_and_add(&g->fallback, 1);
		if (f)
			bpf_map_delete_elem(&kcm_mg_flows, key);
		return NULL;
	}
	if (!f) {
		__sync_fetch_and_add(&g->flows_full, 1);
		return NULL;
	}
	if (moved) {
		struct kcm_mg_slot *from = slot_at(mg, f->slot);

		if (from->cookie == f->cookie)
			__sync_fetch_and_add(&from->out, 1);
		__sync_fetch_and_add(&slot_at(mg, slot)->in, 1);
		__sync_fetch_and_add(&g->flows_moved, 1);
	} else {
		__sync_fetch_and_add(&slot_at(mg, slot)->given, 1);
		__sync_fetch_and_add(&g->flows, 1);
	}
	flow_is_of(mg, g, f, slot, now_ns);
	return f;
}

/*
 * A connection that is known by its id comes from another address. (If there is a flow from there,
 * it is one of several connections of that client's socket.)
 */
static __always_inline void flow_rebinds(struct kcm_mg *mg, __u32 group,
					 const struct kcm_mg_flow_key *key,
					 const struct kcm_mg_cid *c, __u64 now_ns)
{
	struct kcm_mg_group *g = group_at(mg, group);
	struct kcm_mg_flow f = { 0 };

	flow_is_of(mg, g, &f, c->slot, now_ns);
	bpf_map_update_elem(&kcm_mg_flows, key, &f, BPF_NOEXIST);
	__sync_fetch_and_add(&g->flows_rebound, 1);
}

static __always_inline int on_datagram(struct sk_reuseport_md *md, struct kcm_mg *mg, __u32 group)
{
	struct kcm_mg_group *g = group_at(mg, group);
	struct kcm_mg_flow_key key = {};
	struct kcm_mg_cid_key cid = {};
	__u64 now_ns = bpf_ktime_get_coarse_ns();
	struct kcm_mg_flow *f;
	struct kcm_mg_cid *c = NULL;
	int learn = 0;

	if (flow_key(md, group, &key)) {
		__sync_fetch_and_add(&g->fallback, 1);
		return SK_PASS;
	}
	if (kcm_mg_conf.quic)
		c = cid_find(md, g, group, &cid, &learn);
	f = bpf_map_lookup_elem(&kcm_mg_flows, &key);
	if (c && (!f || f->cookie != c->cookie) && !seat_select_was(md, mg, c->slot, c->cookie)) {
		tick(&c->last_ns, now_ns);
		if (!f)
			flow_rebinds(mg, group, &key, c, now_ns);
		return SK_PASS;
	}
	if (c)
		tick(&c->last_ns, now_ns);
	if (f && !flow_ended(mg, f->last_ns, now_ns) &&
	    !seat_select_was(md, mg, f->slot, f->cookie)) {
		tick(&f->last_ns, now_ns);
		f->datagrams++;
	} else {
		f = flow_begins(md, mg, group, &key, f, now_ns);
	}
	if (!f || !learn)
		return SK_PASS;
	if (learn == MU_LEARN_USED && f->cids++ >= MU_CIDS)
		f->cids = MU_CIDS;
	else
		cid_learn(g, &cid, f, now_ns);
	return SK_PASS;
}

SEC("sk_reuseport")
int kcm_mg_select(struct sk_reuseport_md *md)
{
	struct kcm_mg *mg = mg_state();
	struct bpf_sock *sk = md->sk;
	struct kcm_mg_ref *ref;
	__u64 cookie;

	if (!mg || !sk)
		return SK_PASS;
	if (mg->ctl.n_groups == 1)
		return on_datagram(md, mg, 0);
	cookie = bpf_get_socket_cookie(sk);
	ref = bpf_map_lookup_elem(&kcm_mg_index, &cookie);
	return ref ? on_datagram(md, mg, ref->group) : SK_PASS;
}

#endif
