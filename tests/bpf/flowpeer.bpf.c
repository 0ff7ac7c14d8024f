// SPDX-License-Identifier: GPL-2.0
/*
 * flowpeer.bpf.c - what flow is compared with, of the same parts: for tests/bench/flow_*.c.
 *
 * fp_parse reads the packet as flow does, and drops. fp_lru has LRU_HASH where flow has its cache,
 * and all else from flow. fp_fib asks the routing table for each packet, as the kernel's sample
 * xdp_fwd does. Maps are those of an instance, and so is kcm_fl_conf.
 */
#include <stdbool.h>
#include <stddef.h>
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "flow.h"

const volatile struct kcm_fl_conf kcm_fl_conf = { .genid = 1 };

#include "flow_maps.bpf.h"
#include "flow_parse.bpf.h"
#include "flow_match.bpf.h"
#include "flow_class.bpf.h"

#define AF_INET 2

char _license[] SEC("license") = "GPL";

struct fp_key {
	struct kcm_fl_key4 k;
	__u32 id;
};

/* fp_lru_map - Key: a flow. Written and read by fp_lru. Lifetime: as LRU has it. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct fp_key);
	__type(value, struct kcm_fl_flow);
} fp_lru_map SEC(".maps");

static __always_inline void read_packet(struct xdp_md *ctx, struct pk *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	__builtin_memset(p, 0, sizeof(*p));
	p->len = end - data;
	parse(ctx, p);
}

SEC("xdp")
int fp_parse(struct xdp_md *ctx)
{
	struct pk p;

	read_packet(ctx, &p);
	return p.bad ? XDP_ABORTED : XDP_DROP;
}

static __always_inline void account(struct kcm_fl_flow *f, const struct pk *p, __u32 tick)
{
	f->packets++;
	f->bytes += p->len;
	f->last = tick;
	f->seen |= p->tcp;
}

static __always_inline int act(const struct pk *p, __u32 slot)
{
	struct kcm_fl_pol *pol = pol_at(slot);

	count(slot, p->len);
	return pol && pol->action == KCM_FL_DROP ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int fp_lru(struct xdp_md *ctx)
{
	__u32 tick = bpf_jiffies64() >> (kcm_fl_conf.tick_shift & 31);
	struct kcm_fl_flow *f, new = {};
	struct fp_key key = {};
	struct kcm_fl_pol *pol;
	struct look l;
	struct pk p;

	read_packet(ctx, &p);
	if (p.bad || p.family != KCM_FL_IP4)
		return XDP_ABORTED;
	key.k = p.k4;
	key.id = p.ifnum | (__u32)(p.tcp & kcm_fl_conf.tcp_mask) << 8;
	f = bpf_map_lookup_elem(&fp_lru_map, &key);
	if (f && f->genid == kcm_fl_conf.genid) {
		pol = pol_at(f->slot);
		if (pol && *(volatile __u64 *)&pol->gen == f->sum) {
			account(f, &p, tick);
			return act(&p, f->slot);
		}
	}
	search(&l, &p);
	settle(&l);
	new.slot = l.slot;
	new.sum = l.gen;
	new.genid = kcm_fl_conf.genid;
	new.first = tick;
	account(&new, &p, tick);
	bpf_map_update_elem(&fp_lru_map, &key, &new, BPF_ANY);
	return act(&p, l.slot);
}

SEC("xdp")
int fp_fib(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct bpf_fib_lookup fib = {};
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	__u32 sum;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ttl <= 1)
		return XDP_PASS;
	fib.family = AF_INET;
	fib.tos = ip->tos;
	fib.l4_protocol = ip->protocol;
	fib.tot_len = bpf_ntohs(ip->tot_len);
	fib.ipv4_src = ip->saddr;
	fib.ipv4_dst = ip->daddr;
	fib.ifindex = ctx->ingress_ifindex;
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return XDP_PASS;
	sum = ip->check + bpf_htons(0x0100);
	ip->check = sum + (sum >= 0xffff);
	ip->ttl--;
	__builtin_memcpy(eth->h_dest, fib.dmac, 6);
	__builtin_memcpy(eth->h_source, fib.smac, 6);
	return bpf_redirect(fib.ifindex, 0);
}
