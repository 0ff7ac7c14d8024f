/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow_parse.bpf.h - from a packet to a key. What is malformed: see struct flow_header. */
#ifndef KCM_FLOW_PARSE_BPF_H
#define KCM_FLOW_PARSE_BPF_H

#define ETH_P_IP     0x0800
#define ETH_P_IPV6   0x86dd
#define ETH_P_8021Q  0x8100
#define ETH_P_8021AD 0x88a8

/* Headers that IPv6 may have in between. */
#define EXT_HOPOPTS  0
#define EXT_ROUTING  43
#define EXT_FRAGMENT 44
#define EXT_AH	     51
#define EXT_DSTOPTS  60
#define EXT_MH	     135 /* mobility */
#define EXT_HIP	     139
#define EXT_SHIM6    140
#define PROTO_ICMP6  58

#define IP_MF	  0x2000
#define IP_OFFSET 0x1fff

#define L3_MASK 0x1f   /* 14, 18 or 22 */
#define MAX_L4	0x7fff /* where a transport header may begin: the verifier wants a bound */

struct pk {
	union {
		struct kcm_fl_key4 k4; /* also of what is not IP */
		struct kcm_fl_key6 k6;
	};
	__u32 len; /* of the frame */
	__u16 l3;  /* where the IP header is */
	__u8 family;
	__u8 ifnum;
	__u8 tcp; /* flags */
	bool bad;
};

struct ports {
	__u16 sport, dport;
	__u8 class;
};

/* Words of a key, of what stands in them one after the other. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define WORD32(a, b) ((__u64)(a) | (__u64)(b) << 32)
#define WORD_REST(s, d, p, c, v) \
	((__u64)(s) | (__u64)(d) << 16 | (__u64)(p) << 32 | (__u64)(c) << 40 | (__u64)(v) << 48)
#else
#define WORD32(a, b) ((__u64)(a) << 32 | (__u64)(b))
#define WORD_REST(s, d, p, c, v) \
	((__u64)(s) << 48 | (__u64)(d) << 32 | (__u64)(p) << 24 | (__u64)(c) << 16 | (__u64)(v))
#endif

/* The transport header, of which IP says that it has @left bytes. Return: false if not whole. */
static __always_inline bool parse_l4(void *l4, void *end, __u8 proto, __u8 icmp, __u32 left,
				     struct ports *o, __u8 *tcp)
{
	__u16 *ports = l4;
	__u8 *byte = l4;

	if (proto == IPPROTO_TCP) {
		if (l4 + 20 > end || left < 20)
			return false;
		*tcp = byte[13];
		o->class |= KCM_FL_C_PORTS | KCM_FL_C_TCP;
	} else if (proto == IPPROTO_UDP || proto == IPPROTO_UDPLITE) {
		if (l4 + 8 > end || left < 8)
			return false;
		o->class |= KCM_FL_C_PORTS;
	} else if (proto == icmp) {
		if (l4 + 4 > end || left < 4)
			return false;
		o->class |= KCM_FL_C_ICMP;
		o->sport = bpf_htons(byte[0]);
		o->dport = bpf_htons(byte[1]);
		return true;
	} else if (proto == IPPROTO_SCTP || proto == IPPROTO_DCCP) {
		if (l4 + 12 > end || left < 12)
			return false;
		o->class |= KCM_FL_C_PORTS;
	} else {
		return true;
	}
	o->sport = ports[0];
	o->dport = ports[1];
	return true;
}

static __always_inline bool parse4(void *data, void *end, struct pk *p)
{
	struct iphdr *ip = data + p->l3;
	__u32 ihl, total, frag;
	struct ports o = { .class = p->k4.class | KCM_FL_IP4 };

	if ((void *)(ip + 1) > end)
		return false;
	ihl = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || ihl < sizeof(*ip) || total < ihl || total > p->len - p->l3)
		return false;
	if ((void *)ip + ihl > end)
		return false;
	p->k4.word[0] = WORD32(ip->saddr, ip->daddr);
	frag = bpf_ntohs(ip->frag_off);
	if (frag & IP_MF)
		o.class |= KCM_FL_C_FIRST;
	if (frag & IP_OFFSET)
		o.class = (o.class & ~KCM_FL_C_FIRST) | KCM_FL_C_LATER;
	else if (!parse_l4((void *)ip + ihl, end, ip->protocol, IPPROTO_ICMP, total - ihl, &o,
			   &p->tcp))
		return false;
	p->k4.word[1] = WORD_REST(o.sport, o.dport, ip->protocol, o.class, p->k4.vlan);
	return true;
}

/*
 * The extension header @nh at @off. Return: its length, 0 if @nh is none, -1 if it is incomplete.
 */
static __always_inline int parse_ext(void *data, void *end, __u32 off, __u8 *nh, __u8 *class)
{
	__u8 *h = data + off, kind = *nh;
	__u32 frag;

	switch (kind) {
	case EXT_HOPOPTS:
	case EXT_ROUTING:
	case EXT_FRAGMENT:
	case EXT_AH:
	case EXT_DSTOPTS:
	case EXT_MH:
	case EXT_HIP:
	case EXT_SHIM6:
		break;
	default:
		return 0;
	}
	if ((void *)h + 8 > end)
		return -1;
	*nh = h[0];
	if (kind == EXT_AH)
		return (h[1] + 2) * 4;
	if (kind != EXT_FRAGMENT)
		return (h[1] + 1) * 8;
	frag = h[2] << 8 | h[3];
	if (frag & 0xfff8)
		*class |= KCM_FL_C_LATER;
	else if (frag & 1)
		*class |= KCM_FL_C_FIRST;
	return 8;
}

/* Return: 1 if it is well-formed. Not static: verified once. */
__noinline int parse6(struct xdp_md *ctx, struct pk *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv6hdr *ip;
	struct ports o = {};
	__u32 left, off;
	__u16 vlan;
	int ext = 0;
	__u8 nh;

	if (!p)
		return false;
	off = p->l3 & L3_MASK;
	ip = data + off;
	off += sizeof(*ip);
	vlan = p->k4.vlan;
	o.class = p->k4.class | KCM_FL_IP6;
	if ((void *)(ip + 1) > end || ip->version != 6)
		return false;
	left = bpf_ntohs(ip->payload_len);
	if (left > p->len - off)
		return false;
	for (int i = 0; i < 2; i++) {
		p->k6.word[i] = WORD32(ip->saddr.in6_u.u6_addr32[2 * i],
				       ip->saddr.in6_u.u6_addr32[2 * i + 1]);
		p->k6.word[i + 2] = WORD32(ip->daddr.in6_u.u6_addr32[2 * i],
					   ip->daddr.in6_u.u6_addr32[2 * i + 1]);
	}
	nh = ip->nexthdr;
	for (int i = 0; i <= KCM_FL_EXTS; i++) {
		ext = parse_ext(data, end, off, &nh, &o.class);
		if (!ext)
			break;
		if (ext < 0 || (__u32)ext > left || i == KCM_FL_EXTS)
			return false;
		left -= ext;
		off += ext;
		if (off > MAX_L4)
			return false;
		if (o.class & KCM_FL_C_LATER)
			break;
	}
	if (!(o.class & KCM_FL_C_LATER) &&
	    !parse_l4(data + off, end, nh, PROTO_ICMP6, left, &o, &p->tcp))
		return false;
	p->k6.word[4] = WORD_REST(o.sport, o.dport, nh, o.class, vlan);
	return true;
}

static __always_inline void parse(struct xdp_md *ctx, struct pk *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	__u16 proto, *tag;
	__u32 off = sizeof(*eth);

	if ((void *)(eth + 1) > end) {
		p->bad = true;
		return;
	}
	proto = eth->h_proto;
	tag = data + off;
	if (proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD)) {
		if ((void *)(tag + 2) > end) {
			p->bad = true;
			return;
		}
		p->k4.vlan = bpf_ntohs(tag[0]) & KCM_FL_VLAN_ID;
		p->k4.class = KCM_FL_C_TAGGED;
		proto = tag[1];
		off += 4;
		tag += 2;
		if (proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD)) {
			if ((void *)(tag + 2) > end) {
				p->bad = true;
				return;
			}
			proto = tag[1];
			off += 4;
		}
	}
	p->l3 = off;
	if (proto == bpf_htons(ETH_P_IP)) {
		p->family = KCM_FL_IP4;
		p->bad = !parse4(data, end, p);
	} else if (proto == bpf_htons(ETH_P_IPV6)) {
		p->family = KCM_FL_IP6;
		p->bad = !parse6(ctx, p);
	}
}

#endif
