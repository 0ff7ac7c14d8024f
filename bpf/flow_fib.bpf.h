/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_fib.bpf.h - forward: what the kernel's routing table says, kept for a moment.
 *
 * No program is told of a route or a neighbour that changes, so a result lives for a few ticks of
 * the clock only (kcm_fl_conf.bundle_ticks). What is not plain forwarding is the kernel's: a
 * neighbour that is not known yet, an address of its own, a packet that is too long, a TTL that
 * ends.
 */
#ifndef KCM_FLOW_FIB_BPF_H
#define KCM_FLOW_FIB_BPF_H

#define AF_INET	 2
#define AF_INET6 10

static __always_inline bool bundle_is(const struct kcm_fl_bundle *b, const struct pk *p, __u8 tos,
				      __u32 now)
{
	if (!b->valid || (__s32)(b->until - now) <= 0 || b->family != p->family || b->tos != tos ||
	    b->ifnum != p->ifnum)
		return false;
	if (p->family == KCM_FL_IP4)
		return b->saddr[0] == p->k4.saddr && b->daddr[0] == p->k4.daddr;
	for (int i = 0; i < 4; i++)
		if (b->saddr[i] != p->k6.saddr[i] || b->daddr[i] != p->k6.daddr[i])
			return false;
	return true;
}

/*
 * There are two places for each. With one, of 1,024 destinations in 4,096 places more than a fifth
 * would push each other out, packet by packet.
 * Return: the one that has it, and @known, or the one that is to have it: who ends first.
 */
static __always_inline struct kcm_fl_bundle *bundle_find(__u32 at, const struct pk *p, __u8 tos,
							 __u32 now, bool *known)
{
	struct kcm_fl_bundle *one = bpf_map_lookup_elem(&kcm_fl_bun, &at), *two;

	at ^= 1;
	two = bpf_map_lookup_elem(&kcm_fl_bun, &at);
	*known = true;
	if (!one || !two)
		return NULL;
	if (bundle_is(one, p, tos, now))
		return one;
	if (bundle_is(two, p, tos, now))
		return two;
	*known = false;
	if (!one->valid)
		return one;
	return two->valid && (__s32)(one->until - two->until) <= 0 ? one : two;
}

static __always_inline void bundle_ask(struct xdp_md *ctx, struct kcm_fl_bundle *b,
				       const struct pk *p, __u8 tos, __u32 now)
{
	struct bpf_fib_lookup fib = {};
	int ret;

	fib.ifindex = ctx->ingress_ifindex;
	if (p->family == KCM_FL_IP4) {
		fib.family = AF_INET;
		fib.tos = tos;
		fib.l4_protocol = p->k4.proto;
		fib.ipv4_src = p->k4.saddr;
		fib.ipv4_dst = p->k4.daddr;
	} else {
		fib.family = AF_INET6;
		fib.l4_protocol = p->k6.proto;
		__builtin_memcpy(fib.ipv6_src, p->k6.saddr, 16);
		__builtin_memcpy(fib.ipv6_dst, p->k6.daddr, 16);
	}
	ret = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	b->valid = 0;
	if (p->family == KCM_FL_IP4) {
		b->saddr[0] = p->k4.saddr;
		b->daddr[0] = p->k4.daddr;
	} else {
		__builtin_memcpy(b->saddr, p->k6.saddr, 16);
		__builtin_memcpy(b->daddr, p->k6.daddr, 16);
	}
	b->family = p->family;
	b->tos = tos;
	b->ifnum = p->ifnum;
	b->until = now + kcm_fl_conf.bundle_ticks;
	b->ifindex = ret == BPF_FIB_LKUP_RET_SUCCESS ? fib.ifindex : 0;
	b->mtu = fib.mtu_result;
	__builtin_memcpy(b->dmac, fib.dmac, 6);
	__builtin_memcpy(b->smac, fib.smac, 6);
	b->valid = 1;
}

/* TTL, its checksum (RFC 1624) and both MAC addresses. Return: false if the TTL ends here. */
static __always_inline bool rewrite(void *data, void *end, const struct pk *p,
				    const struct kcm_fl_bundle *b)
{
	struct ethhdr *eth = data;
	__u32 l3 = p->l3 & L3_MASK;

	if ((void *)(eth + 1) > end)
		return false;
	if (p->family == KCM_FL_IP4) {
		struct iphdr *ip = data + l3;
		__u32 sum;

		if ((void *)(ip + 1) > end || ip->ttl <= 1)
			return false;
		sum = ip->check + bpf_htons(0x0100);
		ip->check = sum + (sum >= 0xffff);
		ip->ttl--;
	} else {
		struct ipv6hdr *ip = data + l3;

		if ((void *)(ip + 1) > end || ip->hop_limit <= 1)
			return false;
		ip->hop_limit--;
	}
	__builtin_memcpy(eth->h_dest, b->dmac, 6);
	__builtin_memcpy(eth->h_source, b->smac, 6);
	return true;
}

static __noinline int forward(struct xdp_md *ctx, const struct pk *p, struct kcm_fl_stat *st)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 cpu = bpf_get_smp_processor_id(), now = bpf_jiffies64(), hash, at,
	      l3 = p->l3 & L3_MASK;
	struct kcm_fl_bundle *b;
	bool known;
	__u8 tos = 0;

	/* A tag would have to be taken off, and in which order is the driver's matter. */
	if (p->family == KCM_FL_OTHER || p->l3 != sizeof(struct ethhdr))
		goto kernel;
	if (p->family == KCM_FL_IP4) {
		struct iphdr *ip = data + l3;

		if ((void *)(ip + 1) > end)
			goto kernel;
		tos = ip->tos;
		hash = p->k4.daddr * 0x9e3779b1u ^ p->k4.saddr;
	} else {
		hash = (p->k6.daddr[0] ^ p->k6.daddr[2] ^ p->k6.daddr[3]) * 0x9e3779b1u ^
		       p->k6.saddr[0] ^ p->k6.saddr[3];
	}
	hash *= 0x85ebca6bu;
	at = cpu * KCM_FL_BUNDLES + (hash >> 20) % KCM_FL_BUNDLES;
	b = bundle_find(at, p, tos, now, &known);
	if (!b)
		goto kernel;
	if (known) {
		st->fib_hits++;
	} else {
		st->fib_asked++;
		bundle_ask(ctx, b, p, tos, now);
	}
	if (!b->ifindex || (b->mtu && p->len - p->l3 > b->mtu) || !rewrite(data, end, p, b))
		goto kernel;
	return bpf_redirect(b->ifindex, 0);
kernel:
	st->fib_kernel++;
	return XDP_PASS;
}

#endif
