/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow_act.bpf.h - what is done with a packet once its policies are known. */
#ifndef KCM_FLOW_ACT_BPF_H
#define KCM_FLOW_ACT_BPF_H

static __noinline int sample(struct xdp_md *ctx, struct kcm_fl_stat *st, __u32 slot, __u32 len)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct {
		struct kcm_fl_sample s;
		__u8 bytes[KCM_FL_SNAP];
	} *r = bpf_ringbuf_reserve(&kcm_fl_ring, sizeof(*r), 0);
	__u64 snap = end - data, last;

	if (!r) {
		st->samples_lost++;
		return 0;
	}
	if (snap > KCM_FL_SNAP)
		snap = KCM_FL_SNAP;
	r->s.time_ns = bpf_ktime_get_ns();
	r->s.slot = slot;
	r->s.ifindex = ctx->ingress_ifindex;
	r->s.len = len;
	r->s.snap = snap;
	__builtin_memset(r->bytes, 0, sizeof(r->bytes));
	/* 6.1 does not see that a length which is not 0 is 1 at least. */
	last = (snap - 1) & (KCM_FL_SNAP - 1);
	asm volatile("" : "+r"(last));
	if (bpf_xdp_load_bytes(ctx, 0, r->bytes, last + 1))
		r->s.snap = 0;
	bpf_ringbuf_submit(r, 0);
	st->sampled++;
	return 0;
}

/*
 * A virtual clock says when all that was let through is paid for: what would set it more than a
 * burst ahead of now is over the limit (GCRA). Several CPUs may move it; who loses tries again.
 */
static __always_inline bool within(__u64 *clock, __u64 cost, __u64 burst)
{
	__u64 now = bpf_ktime_get_ns();

	for (int i = 0; i < 8; i++) {
		__u64 was = *(volatile __u64 *)clock, from = was > now ? was : now;

		/* What is larger than a burst goes when all else is paid for. */
		if (was > now && from + cost > now + burst)
			return false;
		if (__sync_val_compare_and_swap(clock, was, from + cost) == was)
			return true;
	}
	/* Eight others were let through meanwhile: pay, without a look at the burst. */
	__sync_fetch_and_add(clock, cost);
	return true;
}

static __noinline int limited(const struct pk *p, const struct kcm_fl_pol *pol, __u32 slot)
{
	__u64 cost = pol->by_packets ? pol->cost_ns : pol->cost_ns * p->len >> 16, zero = 0;
	__u64 *clock = bpf_map_lookup_elem(&kcm_fl_lim, &slot);

	if (pol->per_flow) {
		struct kcm_fl_flow_key key = {};

		if (p->family == KCM_FL_IP6) {
			__builtin_memcpy(key.saddr, p->k6.saddr, 16);
			__builtin_memcpy(key.daddr, p->k6.daddr, 16);
			key.sport = p->k6.sport;
			key.dport = p->k6.dport;
			key.proto = p->k6.proto;
			key.class = p->k6.class;
			key.vlan = p->k6.vlan;
		} else {
			key.saddr[0] = p->k4.saddr;
			key.daddr[0] = p->k4.daddr;
			key.sport = p->k4.sport;
			key.dport = p->k4.dport;
			key.proto = p->k4.proto;
			key.class = p->k4.class;
			key.vlan = p->k4.vlan;
		}
		key.slot = slot;
		key.ifnum = p->ifnum;
		key.gen = pol->gen;
		clock = bpf_map_lookup_elem(&kcm_fl_flim, &key);
		if (!clock) {
			bpf_map_update_elem(&kcm_fl_flim, &key, &zero, BPF_NOEXIST);
			clock = bpf_map_lookup_elem(&kcm_fl_flim, &key);
		}
	}
	/* Without memory for a clock nothing says that it is within. */
	return !clock || !within(clock, cost, pol->burst_ns);
}

static __noinline int act_on(struct xdp_md *ctx, const struct pk *p, const struct kcm_fl_pol *pol,
			     __u32 slot, struct kcm_fl_stat *st)
{
	__u32 *meta;

	switch (pol->action) {
	case KCM_FL_LIMIT:
		if (!limited(p, pol, slot))
			return XDP_PASS;
		st->limited++;
		return XDP_DROP;
	case KCM_FL_MARK:
		if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*meta))) {
			st->mark_failed++;
			return XDP_PASS;
		}
		meta = (void *)(long)ctx->data_meta;
		if ((void *)(meta + 1) <= (void *)(long)ctx->data)
			*meta = pol->arg;
		return XDP_PASS;
	case KCM_FL_REDIRECT:
		return bpf_redirect(pol->arg, 0);
	case KCM_FL_FORWARD:
		return forward(ctx, p, st);
	case KCM_FL_CPU:
		return bpf_redirect_map(&kcm_fl_cpus, pol->arg, XDP_PASS);
	}
	return XDP_PASS;
}

/* A policy that counts or samples on the way. */
static __noinline int act_also(struct xdp_md *ctx, struct kcm_fl_stat *st, __u32 slot, __u32 len)
{
	struct kcm_fl_pol *p = pol_at(slot);

	if (!p)
		return 0;
	count(slot, len);
	if (p->action == KCM_FL_SAMPLE && (p->arg <= 1 || !(bpf_get_prandom_u32() % p->arg)))
		sample(ctx, st, slot, len);
	return 0;
}

static __always_inline int act(struct xdp_md *ctx, const struct pk *p, const struct kcm_fl_pol *pol,
			       __u32 slot, struct kcm_fl_stat *st)
{
	count(slot, p->len);
	if (pol->action == KCM_FL_PASS)
		return XDP_PASS;
	if (pol->action == KCM_FL_DROP)
		return XDP_DROP;
	return act_on(ctx, p, pol, slot, st);
}

#endif
