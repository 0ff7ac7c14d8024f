/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow_gen_header.h - headers for sets of flow_gen.h, each of which a packet can have */
#ifndef KCM_FLOW_GEN_HEADER_H
#define KCM_FLOW_GEN_HEADER_H

#include "flow_gen.h"
#include "lib/flow_packet.h"

/* What goes together: ports only where the protocol and the fragment have them, and so on. */
static inline void flow_gen_normal(struct flow_header *h)
{
	bool ip = h->family, later = h->frag == FLOW_FRAG_LATER;

	if (!ip) {
		memset(h->saddr, 0, 16);
		memset(h->daddr, 0, 16);
		h->proto = 0;
	}
	if (h->family == 6 && flow_packet_is_extension(h->proto))
		h->proto = IPPROTO_UDP;
	if (h->frag == FLOW_FRAG_YES || h->frag == FLOW_FRAG_ANY)
		h->frag = FLOW_FRAG_NO;
	if (!ip)
		h->frag = FLOW_FRAG_ANY;
	h->has_ports = ip && !later && flow_gen_has_ports(h->proto);
	h->has_tcp = ip && !later && h->proto == IPPROTO_TCP;
	h->has_icmp = ip && !later && h->proto == (h->family == 6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	if (!h->has_ports)
		h->sport = h->dport = 0;
	if (!h->has_tcp)
		h->tcp_flags = 0;
	if (!h->has_icmp)
		h->icmp_type = h->icmp_code = 0;
	if (!h->tagged)
		h->vlan_id = 0;
}

/* Any packet, of the networks that policies are made from. */
static inline void flow_gen_header(struct flow_header *h, uint8_t family, uint64_t *seed)
{
	memset(h, 0, sizeof(*h));
	h->family = family ? family : flow_gen_one_in(seed, 2) ? 4 : 6;
	if (flow_gen_one_in(seed, 40))
		h->family = 0;
	for (int i = 0; h->family && i < 2; i++) {
		uint8_t *addr = i ? h->daddr : h->saddr;

		if (flow_gen_one_in(seed, 4))
			flow_gen_fill(addr, 0, h->family, seed);
		else
			flow_gen_addr(addr, h->family, seed);
	}
	h->proto = flow_gen_proto(h->family, seed);
	h->sport = flow_gen_ports(FLOW_GEN_PORTS, seed).lo;
	h->dport = flow_gen_ports(FLOW_GEN_PORTS, seed).lo;
	h->icmp_type = (uint8_t)flow_gen_below(seed, 5);
	h->icmp_code = (uint8_t)flow_gen_below(seed, 4);
	h->tcp_flags = (uint8_t)flow_gen_random(seed);
	h->frag = (uint8_t)(flow_gen_one_in(seed, 8) ? flow_gen_below(seed, FLOW_FRAG_LATER + 1)
						     : FLOW_FRAG_NO);
	h->tagged = flow_gen_one_in(seed, 4);
	h->vlan_id = (uint16_t)flow_gen_below(seed, 9);
	h->ifindex = 1 + flow_gen_below(seed, FLOW_GEN_IFS);
	flow_gen_normal(h);
}

static inline void flow_gen_addr_in(const struct flow_set *set, const struct flow_addr *a,
				    uint8_t family, uint8_t *addr, uint64_t *seed)
{
	const struct flow_list *list = &set->list[a->list];
	const struct flow_prefix *p;

	if (!a->is_list) {
		if (!a->len || a->negate)
			return; /* any will do, or most */
		memset(addr, 0, 16);
		memcpy(addr, a->addr, 16);
		flow_gen_fill(addr, a->len, family, seed);
		return;
	}
	if (!list->n)
		return;
	p = &list->prefix[flow_gen_below(seed, (uint32_t)list->n)];
	if (p->family != family)
		return;
	memcpy(addr, p->addr, 16);
	flow_gen_fill(addr, p->len, family, seed);
}

/* Inside, at an edge, or one beyond it. */
static inline uint16_t flow_gen_port_in(const struct flow_ports *p, uint64_t *seed)
{
	switch (flow_gen_below(seed, 8)) {
	case 0:
		return p->lo;
	case 1:
		return p->hi;
	case 2:
		return (uint16_t)(p->lo - 1);
	case 3:
		return (uint16_t)(p->hi + 1);
	}
	return (uint16_t)(p->lo + flow_gen_below(seed, p->hi - p->lo + 1U));
}

/* A packet that the policy matches, or nearly. */
static inline void flow_gen_near(struct flow_header *h, const struct flow_set *set,
				 const struct flow_policy *p, uint64_t *seed)
{
	unsigned int bit;

	flow_gen_header(h, p->family, seed);
	if (!h->family)
		h->family = p->family ? p->family : 4;
	flow_gen_addr_in(set, &p->src, h->family, h->saddr, seed);
	flow_gen_addr_in(set, &p->dst, h->family, h->daddr, seed);
	if (p->has_proto)
		h->proto = p->proto;
	h->sport = flow_gen_port_in(&p->sport, seed);
	h->dport = flow_gen_port_in(&p->dport, seed);
	if (p->has_icmp_type)
		h->icmp_type = p->icmp_type;
	if (p->has_icmp_code)
		h->icmp_code = p->icmp_code;
	h->tcp_flags = (uint8_t)((flow_gen_random(seed) & ~p->tcp_mask) | p->tcp_flags);
	h->frag = p->frag ? p->frag : h->frag;
	if (p->frag == FLOW_FRAG_YES)
		h->frag = flow_gen_one_in(seed, 2) ? FLOW_FRAG_FIRST : FLOW_FRAG_LATER;
	if (p->vlan)
		h->tagged = p->vlan != FLOW_VLAN_NONE;
	if (p->vlan == FLOW_VLAN_ID)
		h->vlan_id = p->vlan_id;
	if (p->ifindex)
		h->ifindex = p->ifindex;
	/* One bit of an address beside it. */
	if (flow_gen_one_in(seed, 4)) {
		bit = flow_gen_below(seed, h->family == 4 ? 32 : 128);
		(flow_gen_one_in(seed, 2) ? h->saddr : h->daddr)[bit / 8] ^=
			(uint8_t)(0x80 >> bit % 8);
	}
	flow_gen_normal(h);
}

#endif
