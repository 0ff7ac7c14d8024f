/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow_sets.h - random sets of policies, and headers that meet them. */
#ifndef KCM_TEST_FLOW_SETS_H
#define KCM_TEST_FLOW_SETS_H

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include "flow_rule.h"

/* What a set is like. */
enum sets_style {
	SETS_MIXED,   /* any condition, few values: everything overlaps */
	SETS_ACL,     /* as access lists are: prefixes and a port */
	SETS_WIDE,    /* no addresses, ranges of ports */
	SETS_NESTED,  /* prefixes of a few addresses */
	SETS_PORTS,   /* single ports */
	SETS_TAILS,   /* long ranges of ports that begin and end close to each other */
	SETS_CORNERS, /* half of both addresses, and not */
	SETS_STYLES,
};

struct sets {
	uint64_t seed;
	uint32_t ifindex[8], n_if;
};

static inline uint32_t sets_below(struct sets *s, uint32_t n)
{
	s->seed ^= s->seed << 13;
	s->seed ^= s->seed >> 7;
	s->seed ^= s->seed << 17;
	return (uint32_t)((s->seed >> 16 & 0xffffffff) * n >> 32);
}

static inline bool sets_chance(struct sets *s, uint32_t percent)
{
	return sets_below(s, 100) < percent;
}

static inline void sets_cut(uint8_t *addr, unsigned int len)
{
	for (unsigned int i = 0; i < 16; i++) {
		unsigned int rest = len > i * 8 ? len - i * 8 : 0;

		if (rest < 8)
			addr[i] &= 0xff00 >> rest;
	}
}

/* Few of the bytes differ much, so that prefixes nest. */
static inline void sets_any_addr(struct sets *s, uint8_t *addr, uint8_t family, bool few)
{
	memset(addr, 0, 16);
	for (int i = 0; i < (family == 4 ? 4 : 16); i++)
		addr[i] = few ? sets_below(s, 3) * 0x7f + sets_below(s, 2) : sets_below(s, 256);
	if (family == 6 && sets_chance(s, 70)) {
		addr[0] = 0x20;
		addr[1] = 0x01;
		addr[2] = 0x0d;
	}
}

static inline void sets_addr(struct sets *s, struct flow_addr *a, enum sets_style style,
			     uint8_t family, size_t lists)
{
	unsigned int bits = family == 4 ? 32 : 128;

	if (style == SETS_MIXED && lists && sets_chance(s, 15)) {
		a->is_list = true;
		a->list = sets_below(s, lists);
		a->negate = sets_chance(s, 30);
		return;
	}
	if (!family || sets_chance(s, style == SETS_MIXED ? 40 : 10))
		return;
	switch (style) {
	case SETS_WIDE:
	case SETS_PORTS:
	case SETS_TAILS:
		return;
	case SETS_CORNERS:
		sets_any_addr(s, a->addr, family, false);
		a->len = sets_below(s, 4);
		a->negate = a->len && sets_chance(s, 20);
		break;
	case SETS_ACL:
		sets_any_addr(s, a->addr, family, false);
		a->addr[0] = family == 4 ? 10 + sets_below(s, 20) : 0x20;
		a->len = sets_chance(s, 30)   ? bits
			 : sets_chance(s, 50) ? bits * 3 / 4
					      : sets_below(s, bits + 1);
		break;
	default:
		sets_any_addr(s, a->addr, family, true);
		a->len = sets_below(s, bits + 1);
		a->negate = style == SETS_MIXED && a->len && sets_chance(s, 10);
	}
	sets_cut(a->addr, a->len);
}

static inline struct flow_ports sets_ports(struct sets *s, enum sets_style style)
{
	struct flow_ports p = { 0, UINT16_MAX };
	uint16_t a = sets_chance(s, 50) ? sets_below(s, 8) : sets_below(s, 65536);
	uint16_t b = sets_chance(s, 50) ? a + sets_below(s, 3) : sets_below(s, 65536);

	if (style == SETS_TAILS && sets_chance(s, 60))
		return (struct flow_ports){ 1000 + sets_below(s, 300), 60000 + sets_below(s, 300) };
	if (style == SETS_PORTS && sets_chance(s, 80))
		p.lo = p.hi = sets_below(s, 65536);
	else if (style == SETS_WIDE || sets_chance(s, style == SETS_ACL ? 70 : 35))
		p = (struct flow_ports){ a < b ? a : b, a < b ? b : a };
	return p;
}

static const uint8_t sets_protos[] = { IPPROTO_TCP,  IPPROTO_UDP,     IPPROTO_ICMP, IPPROTO_ICMPV6,
				       IPPROTO_SCTP, IPPROTO_UDPLITE, IPPROTO_GRE,  33 /* DCCP */ };

static inline uint8_t sets_proto(struct sets *s)
{
	return sets_protos[sets_below(s, sizeof(sets_protos))];
}

static inline void sets_policy(struct sets *s, struct flow_policy *p, enum sets_style style,
			       size_t lists)
{
	static const uint8_t family[] = { 4, 4, 4, 6, 6, 6, 0 };
	static const uint8_t action[] = { FLOW_PASS, FLOW_DROP,	 FLOW_DROP,
					  FLOW_MARK, FLOW_COUNT, FLOW_SAMPLE };

	memset(p, 0, sizeof(*p));
	p->family = family[sets_below(s, sizeof(family))];
	sets_addr(s, &p->src, style, p->family, lists);
	sets_addr(s, &p->dst, style, p->family, lists);
	p->sport = p->dport = (struct flow_ports){ 0, UINT16_MAX };
	p->has_proto = sets_chance(s, style == SETS_ACL ? 80 : 30);
	p->proto = p->has_proto ? sets_proto(s) : 0;
	if (style == SETS_MIXED && sets_chance(s, 10)) {
		p->has_icmp_type = sets_chance(s, 70);
		p->has_icmp_code = !p->has_icmp_type || sets_chance(s, 50);
		p->icmp_type = p->has_icmp_type ? sets_below(s, 9) : 0;
		p->icmp_code = p->has_icmp_code ? sets_below(s, 3) : 0;
		if (p->has_proto)
			p->proto = sets_chance(s, 50) ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	} else {
		p->dport = sets_ports(s, style);
		if (style != SETS_ACL || sets_chance(s, 20))
			p->sport = sets_ports(s, style);
	}
	p->action = action[sets_below(s, style == SETS_MIXED ? sizeof(action) : 4)];
	if (style != SETS_MIXED)
		return;
	if (sets_chance(s, 10))
		p->frag = sets_below(s, 5);
	if (sets_chance(s, 20)) {
		p->vlan = sets_below(s, 4);
		p->vlan_id = p->vlan == FLOW_VLAN_ID ? sets_below(s, 3) * 2047 : 0;
	}
	if (sets_chance(s, 10)) {
		/* NOLINTNEXTLINE(misc-redundant-expression): two random ones */
		p->tcp_mask = 1 << sets_below(s, 8) | 1 << sets_below(s, 8);
		p->tcp_flags = sets_below(s, 256) & p->tcp_mask;
	}
	if (s->n_if && sets_chance(s, 20)) {
		p->ifindex = s->ifindex[sets_below(s, s->n_if)];
		memcpy(p->in, "some", 5);
	}
}

static inline void sets_lists(struct sets *s, struct flow_set *set)
{
	set->lists = sets_below(s, 4) ? sets_below(s, FLOW_LISTS + 1) : 0;
	for (size_t i = 0; i < set->lists; i++) {
		struct flow_list *l = &set->list[i];

		l->n = sets_below(s, 30);
		l->prefix = calloc(l->n + 1, sizeof(*l->prefix));
		for (size_t k = 0; k < l->n; k++) {
			struct flow_prefix *p = &l->prefix[k];

			p->family = sets_chance(s, 50) ? 4 : 6;
			sets_any_addr(s, p->addr, p->family, true);
			p->len = sets_below(s, p->family == 4 ? 33 : 129);
			sets_cut(p->addr, p->len);
		}
	}
}

/* A set of @n policies. */
static inline void sets_make(struct sets *s, struct flow_set *set, enum sets_style style, size_t n)
{
	memset(set, 0, sizeof(*set));
	set->n = n;
	set->policy = calloc(n + 1, sizeof(*set->policy));
	set->default_action = sets_chance(s, 50) ? FLOW_PASS : FLOW_DROP;
	if (style == SETS_MIXED)
		sets_lists(s, set);
	for (size_t i = 0; i < n; i++)
		sets_policy(s, &set->policy[i], style, set->lists);
}

static inline void sets_free(struct flow_set *set)
{
	for (size_t i = 0; i < set->lists; i++)
		free(set->list[i].prefix);
	free(set->policy);
}

/* ---- headers ---- */

/* In the prefix of @a, or right beside it. */
static inline void sets_near(struct sets *s, uint8_t *addr, const struct flow_addr *a,
			     uint8_t family)
{
	unsigned int bits = family == 4 ? 32 : 128, len = a->len, flip;

	for (unsigned int i = 0; i < bits; i++) {
		uint8_t bit = 0x80 >> i % 8;

		if (i < len)
			addr[i / 8] = (addr[i / 8] & ~bit) | (a->addr[i / 8] & bit);
	}
	if (sets_chance(s, 15)) {
		flip = sets_chance(s, 50) && len ? len - 1 : sets_below(s, bits);
		addr[flip / 8] ^= 0x80 >> flip % 8;
	}
}

static inline uint16_t sets_near_port(struct sets *s, struct flow_ports p)
{
	if (sets_chance(s, 30))
		return p.lo - (sets_chance(s, 30) ? 1 : 0);
	if (sets_chance(s, 30))
		return p.hi + (sets_chance(s, 30) ? 1 : 0);
	return p.lo + sets_below(s, p.hi - p.lo + 1);
}

/* What its protocol gives a header, after all else is decided. */
static inline void sets_transport(struct sets *s, struct flow_header *h)
{
	if (h->frag == FLOW_FRAG_LATER)
		return;
	switch (h->proto) {
	case IPPROTO_TCP:
		h->has_tcp = true;
		h->tcp_flags = sets_below(s, 256);
		/* fall through */
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case 33:
		h->has_ports = true;
		return;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		h->has_icmp = h->proto == (h->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
		h->icmp_type = h->has_icmp ? sets_below(s, 10) : 0;
		h->icmp_code = h->has_icmp ? sets_below(s, 4) : 0;
	}
}

/* One of @family, that most of the conditions of some policy hold for. */
static inline void sets_header(struct sets *s, const struct flow_set *set, uint8_t family,
			       uint32_t ifindex, struct flow_header *h)
{
	const struct flow_policy *p = set->n ? &set->policy[sets_below(s, set->n)] : NULL;
	bool few = sets_chance(s, 50);

	for (int i = 0; p && i < 8 && p->family != family; i++)
		p = &set->policy[sets_below(s, set->n)];
	memset(h, 0, sizeof(*h));
	h->family = family;
	h->ifindex = ifindex;
	h->tagged = p && p->vlan > FLOW_VLAN_NONE ? sets_chance(s, 80) : sets_chance(s, 20);
	if (h->tagged)
		h->vlan_id = p && sets_chance(s, 70) ? p->vlan_id : sets_below(s, 3) * 2047;
	if (!family)
		return;
	sets_any_addr(s, h->saddr, family, few);
	sets_any_addr(s, h->daddr, family, few);
	h->proto = sets_proto(s);
	if (sets_chance(s, 50))
		h->proto = sets_chance(s, 60) ? IPPROTO_TCP : IPPROTO_UDP;
	h->sport = sets_below(s, 65536);
	h->dport = sets_below(s, 65536);
	if (p && sets_chance(s, 90)) {
		sets_near(s, h->saddr, &p->src, family);
		sets_near(s, h->daddr, &p->dst, family);
		h->sport = sets_near_port(s, p->sport);
		h->dport = sets_near_port(s, p->dport);
		if (p->has_proto)
			h->proto = p->proto;
		else if (p->has_icmp_type || p->has_icmp_code)
			h->proto = family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	}
	h->frag = sets_chance(s, 85)   ? FLOW_FRAG_NO
		  : sets_chance(s, 50) ? FLOW_FRAG_FIRST
				       : FLOW_FRAG_LATER;
	sets_transport(s, h);
	if (!h->has_ports)
		h->sport = h->dport = 0;
	if (h->has_icmp && p && sets_chance(s, 70)) {
		h->icmp_type = p->icmp_type;
		h->icmp_code = p->icmp_code;
	}
	if (h->has_tcp && p && sets_chance(s, 70))
		h->tcp_flags = (h->tcp_flags & ~p->tcp_mask) | p->tcp_flags;
}

#endif
