/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sock_pkt.bpf.h - the headers of a segment, as cgroup_skb programs see it; the way to framing. */
#ifndef KCM_SOCK_PKT_BPF_H
#define KCM_SOCK_PKT_BPF_H

#define KCM_AF_INET  2
#define KCM_AF_INET6 10

struct kcm_pkt {
	__u32 seq; /* host order, of the first payload byte */
	__u32 len; /* of the payload, bytes */
	__u32 off; /* of the payload in the skb */
	__u32 l4_off;
	__u8 proto; /* enum kcm_sk_proto; 0: neither */
	__u8 syn, fin;
	__u8 v6;
	__u16 sport, dport; /* host order */
};

static __always_inline int pkt_ipv6_ext(struct __sk_buff *ctx, __u32 *off, __u8 *next)
{
	for (int i = 0; i < 4; i++) {
		__u8 hdr[2];

		/* hop-by-hop, routing, destination options */
		if (*next != 0 && *next != 43 && *next != 60)
			return 0;
		if (bpf_skb_load_bytes(ctx, *off, hdr, sizeof(hdr)))
			return -1;
		*next = hdr[0];
		*off += (hdr[1] + 1) * 8;
	}
	return -1;
}

/* Return: 0; -1 headers that can't be read. */
static __always_inline int pkt_parse(struct __sk_buff *ctx, struct kcm_pkt *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u8 *ip = data;
	__u32 off;
	__u8 proto;

	p->proto = 0;
	if (data + 20 > end)
		return -1;
	p->v6 = ip[0] >> 4 == 6;
	if (p->v6) {
		if (data + 40 > end)
			return -1;
		proto = ip[6];
		off = 40;
		if (proto != KCM_SK_TCP && proto != KCM_SK_UDP && pkt_ipv6_ext(ctx, &off, &proto))
			return -1;
	} else {
		off = (ip[0] & 15) * 4;
		proto = ip[9];
	}
	p->l4_off = off;
	if (proto == KCM_SK_TCP) {
		struct tcphdr th;

		if (p->v6 ? off != 40 : off != 20) {
			if (bpf_skb_load_bytes(ctx, off, &th, sizeof(th)))
				return -1;
		} else if (p->v6) {
			if (data + 60 > end)
				return -1;
			__builtin_memcpy(&th, data + 40, sizeof(th));
		} else {
			if (data + 40 > end)
				return -1;
			__builtin_memcpy(&th, data + 20, sizeof(th));
		}
		p->seq = bpf_ntohl(th.seq) + th.syn;
		p->syn = th.syn;
		p->fin = th.fin;
		p->sport = bpf_ntohs(th.source);
		p->dport = bpf_ntohs(th.dest);
		off += th.doff * 4;
	} else if (proto == KCM_SK_UDP) {
		struct udphdr uh;

		if (bpf_skb_load_bytes(ctx, off, &uh, sizeof(uh)))
			return -1;
		p->seq = 0;
		p->syn = 0;
		p->fin = 0;
		p->sport = bpf_ntohs(uh.source);
		p->dport = bpf_ntohs(uh.dest);
		off += sizeof(uh);
	} else {
		return 0;
	}
	if (off > ctx->len)
		return -1;
	p->off = off;
	p->len = ctx->len - off;
	p->proto = proto;
	return 0;
}

static __always_inline void pkt_addrs(struct __sk_buff *ctx, const struct kcm_pkt *p, __u8 src[16],
				      __u8 dst[16])
{
	if (p->v6) {
		bpf_skb_load_bytes(ctx, 8, src, 16);
		bpf_skb_load_bytes(ctx, 24, dst, 16);
	} else {
		bpf_skb_load_bytes(ctx, 12, src, 4);
		bpf_skb_load_bytes(ctx, 16, dst, 4);
	}
}

/* For the framing program, in skb->cb: where the state is, and what the headers said. */
static __always_inline void frame_args(struct __sk_buff *ctx, const struct kcm_pkt *p, __u32 slot)
{
	ctx->cb[0] = slot;
	ctx->cb[1] = p->seq;
	ctx->cb[2] = p->off;
}

/*
 * To the framing program. Where the index is a constant the kernel makes a direct jump of it: with
 * retpolines an indirect one costs 40 ns. Few ever have more than four framings.
 */
static __always_inline void frame_call(struct __sk_buff *ctx, void *progs, __u32 frame)
{
	switch (frame) {
	case 1:
		bpf_tail_call_static(ctx, progs, 1);
		break;
	case 2:
		bpf_tail_call_static(ctx, progs, 2);
		break;
	case 3:
		bpf_tail_call_static(ctx, progs, 3);
		break;
	case 4:
		bpf_tail_call_static(ctx, progs, 4);
		break;
	default:
		bpf_tail_call(ctx, progs, frame);
	}
}

#endif
