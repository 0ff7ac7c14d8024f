// SPDX-License-Identifier: GPL-2.0
/*
 * flowgen.bpf.c - packets of HIST_FLOWS numbered flows, for BPF_F_TEST_XDP_LIVE_FRAMES.
 *
 * The kernel gives it the same pages again and again, with what others have made of them: all of a
 * packet is written each time. Of four flows one is of IPv6. Flow n: from 10.1.0.n or fd01::n, to
 * UDP port 20000 + n.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "flowhist.h"

#define PROTO_UDP 17

struct packet {
	__u8 dmac[6], smac[6];
	__be16 type;
	union {
		struct {
			struct iphdr ip;
			struct udphdr udp;
			__u8 rest[HIST_BYTES - 14 - 20 - 8];
		} __attribute__((packed)) v4;
		struct {
			struct ipv6hdr ip;
			struct udphdr udp;
			__u8 rest[HIST_BYTES - 14 - 40 - 8];
		} __attribute__((packed)) v6;
	};
} __attribute__((packed));

_Static_assert(sizeof(struct packet) == HIST_BYTES, "as many bytes as the frame has");

/* Key: cpu. Written by user space, but for @sent. */
struct hist_gen hist_gen[HIST_CPUS];

static __always_inline void udp_of(void *at, __u32 flow, __u32 sport, __u32 len)
{
	struct udphdr *udp = at;

	udp->source = bpf_htons(sport);
	udp->dest = bpf_htons(20000 + flow);
	udp->len = bpf_htons(len);
	udp->check = 0;
}

SEC("xdp")
int hist_send(struct xdp_md *ctx)
{
	struct hist_gen *g = &hist_gen[bpf_get_smp_processor_id() & (HIST_CPUS - 1)];
	struct packet *p = (void *)(long)ctx->data;
	__u32 random = bpf_get_prandom_u32(), flow = random & (HIST_FLOWS - 1);
	__u32 sport = 1024 + (random >> 8 & g->sport_mask);
	__u64 on = *(volatile __u64 *)&g->on;

	if ((void *)(p + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	if (!(on >> flow & 1)) {
		/* Another one that is on: the next one, going around. */
		on = on >> flow | on << (HIST_FLOWS - flow) % HIST_FLOWS;
		if (!on)
			return XDP_DROP;
		for (int i = 0; i < HIST_FLOWS && !(on & 1); i++, on >>= 1)
			flow++;
		flow &= HIST_FLOWS - 1;
	}
	__builtin_memset(p, 0, sizeof(*p));
	__builtin_memset(p->dmac, 0x02, 6);
	__builtin_memset(p->smac, HIST_MAC, 6);
	if ((flow & 3) == 3) {
		p->type = bpf_htons(0x86dd);
		p->v6.ip.version = 6;
		p->v6.ip.nexthdr = PROTO_UDP;
		p->v6.ip.hop_limit = 64;
		p->v6.ip.payload_len = bpf_htons(sizeof(*p) - 14 - 40);
		p->v6.ip.saddr.in6_u.u6_addr8[0] = 0xfd;
		p->v6.ip.saddr.in6_u.u6_addr8[1] = 0x01;
		p->v6.ip.saddr.in6_u.u6_addr8[15] = flow;
		p->v6.ip.daddr.in6_u.u6_addr8[0] = 0xfd;
		p->v6.ip.daddr.in6_u.u6_addr8[15] = 1;
		udp_of(&p->v6.udp, flow, sport, sizeof(*p) - 14 - 40);
		p->v6.rest[1] = flow;
	} else {
		p->type = bpf_htons(0x0800);
		p->v4.ip.version = 4;
		p->v4.ip.ihl = 5;
		p->v4.ip.ttl = 64;
		p->v4.ip.protocol = PROTO_UDP;
		p->v4.ip.tot_len = bpf_htons(sizeof(*p) - 14);
		p->v4.ip.saddr = bpf_htonl(0x0a010000 + flow);
		p->v4.ip.daddr = bpf_htonl(0x0a020001);
		udp_of(&p->v4.udp, flow, sport, sizeof(*p) - 14 - 20);
		p->v4.rest[sizeof(p->v4.rest) - 1] = flow;
	}
	g->sent++;
	return bpf_redirect(g->ifindex, 0);
}

char LICENSE[] SEC("license") = "GPL";
