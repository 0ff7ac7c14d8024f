/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_gen.h - random sets of policies, in which many overlap as in real ones, and headers that
 * come near to them. The same seed gives the same, everywhere.
 */
#ifndef KCM_FLOW_GEN_H
#define KCM_FLOW_GEN_H

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/flow_rule.h"

enum flow_gen_kind {
	FLOW_GEN_CLASSBENCH, /* as lists of firewalls are: a few networks, hosts, services */
	FLOW_GEN_WIDE,	     /* prefixes of 0 to 8 bits on both sides */
	FLOW_GEN_NESTED,     /* every prefix within another, around one address */
	FLOW_GEN_PORTS,	     /* nothing but ranges of ports */
	FLOW_GEN_MIXED,	     /* every condition and action of the language, and lists */
	FLOW_GEN_KINDS,
};

#define FLOW_GEN_IFS 3 /* interfaces have indices 1 to this, and names "if1", ... */

static inline uint32_t flow_gen_random(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return (uint32_t)((z ^ z >> 31) >> 16);
}

static inline uint32_t flow_gen_below(uint64_t *seed, uint32_t n)
{
	return flow_gen_random(seed) % n;
}

static inline bool flow_gen_one_in(uint64_t *seed, uint32_t n)
{
	return !flow_gen_below(seed, n);
}

/* ---- addresses ---- */

static inline void flow_gen_fill(uint8_t *addr, unsigned int len, uint8_t family, uint64_t *seed)
{
	for (unsigned int i = len; i < (family == 4 ? 32 : 128); i++)
		if (flow_gen_random(seed) & 1)
			addr[i / 8] |= (uint8_t)(0x80 >> i % 8);
}

static inline void flow_gen_cut(uint8_t *addr, unsigned int len)
{
	for (unsigned int i = len; i < 128; i++)
		addr[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
}

/* Of few networks, of which each has few subnets, and so on. */
static inline void flow_gen_addr(uint8_t *addr, uint8_t family, uint64_t *seed)
{
	static const uint32_t choices[4] = { 24, 64, 200, 256 };

	memset(addr, 0, 16);
	if (family == 6)
		memcpy(addr, (uint8_t[]){ 0x20, 1, 0x0d, 0xb8 }, 4);
	for (int i = 0; i < 4; i++)
		addr[family == 6 ? 4 + i : i] = (uint8_t)(flow_gen_below(seed, choices[i]) * 7);
	if (family == 6)
		addr[15] = (uint8_t)flow_gen_below(seed, 16);
}

static inline unsigned int flow_gen_len(enum flow_gen_kind kind, uint8_t family, uint64_t *seed)
{
	static const uint8_t usual4[] = { 0, 0, 8, 16, 16, 20, 24, 24, 24, 28, 32, 32, 32, 32 };
	static const uint8_t usual6[] = { 0, 0, 32, 40, 48, 48, 56, 64, 64, 64, 96, 128, 128, 128 };
	unsigned int max = family == 4 ? 32 : 128;

	switch (kind) {
	case FLOW_GEN_WIDE:
		return flow_gen_below(seed, 9);
	case FLOW_GEN_NESTED:
		return flow_gen_below(seed, max + 1);
	case FLOW_GEN_PORTS:
		return 0;
	default:
		if (flow_gen_one_in(seed, 8))
			return flow_gen_below(seed, max + 1);
		return (family == 4 ? usual4 : usual6)[flow_gen_below(seed, sizeof(usual4))];
	}
}

static inline void flow_gen_prefix(struct flow_addr *a, enum flow_gen_kind kind, uint8_t family,
				   uint64_t *seed)
{
	static const uint8_t middle4[16] = { 10, 99, 170, 85 };
	static const uint8_t middle6[16] = { 0x20, 1,	 0x0d, 0xb8, 0x5a, 0xa5, 0x12, 0x34,
					     0x9a, 0xbc, 0xde, 0xf0, 1,	   2,	 3,    4 };

	a->len = (uint8_t)flow_gen_len(kind, family, seed);
	if (kind == FLOW_GEN_NESTED)
		memcpy(a->addr, family == 4 ? middle4 : middle6, 16);
	else if (kind == FLOW_GEN_WIDE)
		flow_gen_fill(a->addr, 0, family, seed);
	else
		flow_gen_addr(a->addr, family, seed);
	flow_gen_cut(a->addr, a->len);
}

/* ---- other conditions ---- */

static inline struct flow_ports flow_gen_ports(enum flow_gen_kind kind, uint64_t *seed)
{
	static const uint16_t services[] = { 22, 25, 53, 80, 123, 443, 993, 3306, 5432, 8080 };
	struct flow_ports p = { 0, UINT16_MAX };
	uint32_t a = flow_gen_below(seed, 65536), b = flow_gen_below(seed, 65536);

	switch (flow_gen_below(seed, kind == FLOW_GEN_PORTS ? 4 : 8)) {
	case 0:
		p.lo = p.hi = services[flow_gen_below(seed, sizeof(services) / 2)];
		break;
	case 1:
		p.lo = 1024;
		break;
	case 2:
		p.lo = (uint16_t)(a < b ? a : b);
		p.hi = (uint16_t)(a < b ? b : a);
		break;
	case 3:
		p.lo = (uint16_t)a;
		p.hi = (uint16_t)(a + flow_gen_below(seed, 8) > 65535 ? 65535 : a + 7 - a % 8);
		if (p.hi < p.lo)
			p.hi = p.lo;
		break;
	}
	return p;
}

static inline bool flow_gen_has_ports(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP ||
	       proto == IPPROTO_DCCP || proto == IPPROTO_UDPLITE;
}

static inline uint8_t flow_gen_proto(uint8_t family, uint64_t *seed)
{
	static const uint8_t protos[] = { IPPROTO_TCP,	IPPROTO_TCP, IPPROTO_TCP,    IPPROTO_TCP,
					  IPPROTO_UDP,	IPPROTO_UDP, IPPROTO_UDP,    IPPROTO_SCTP,
					  IPPROTO_DCCP, IPPROTO_GRE, IPPROTO_UDPLITE };

	if (flow_gen_one_in(seed, 8))
		return family == 6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	return protos[flow_gen_below(seed, sizeof(protos))];
}

/* Conditions that few policies have. */
static inline void flow_gen_rare(struct flow_policy *p, uint64_t *seed)
{
	bool icmp = p->has_proto && (p->proto == IPPROTO_ICMP || p->proto == IPPROTO_ICMPV6);

	if (icmp && flow_gen_one_in(seed, 2)) {
		p->has_icmp_type = true;
		p->icmp_type = (uint8_t)flow_gen_below(seed, 4);
		p->has_icmp_code = flow_gen_one_in(seed, 2);
		p->icmp_code = p->has_icmp_code ? (uint8_t)flow_gen_below(seed, 3) : 0;
	}
	if (p->has_proto && p->proto == IPPROTO_TCP && flow_gen_one_in(seed, 4)) {
		p->tcp_mask = (uint8_t)flow_gen_random(seed);
		p->tcp_flags = p->tcp_mask & (uint8_t)flow_gen_random(seed);
	}
	if (flow_gen_one_in(seed, 6))
		p->frag = (uint8_t)flow_gen_below(seed, FLOW_FRAG_LATER + 1);
	if (p->frag == FLOW_FRAG_LATER &&
	    (p->tcp_mask || p->has_icmp_type || p->sport.lo || p->sport.hi != UINT16_MAX ||
	     p->dport.lo || p->dport.hi != UINT16_MAX))
		p->frag = FLOW_FRAG_YES;
	if (flow_gen_one_in(seed, 5)) {
		p->vlan = (uint8_t)flow_gen_below(seed, FLOW_VLAN_ID + 1);
		p->vlan_id = p->vlan == FLOW_VLAN_ID ? (uint16_t)flow_gen_below(seed, 8) : 0;
	}
	if (flow_gen_one_in(seed, 6)) {
		p->ifindex = 1 + flow_gen_below(seed, FLOW_GEN_IFS);
		snprintf(p->in, sizeof(p->in), "if%u", p->ifindex % 8);
	}
}

static inline void flow_gen_special_addr(struct flow_addr *a, const struct flow_set *set,
					 uint64_t *seed)
{
	if (set->lists && flow_gen_one_in(seed, 5)) {
		*a = (struct flow_addr){ .is_list = true };
		a->list = (uint8_t)flow_gen_below(seed, (uint32_t)set->lists);
	}
	if ((a->is_list || a->len) && flow_gen_one_in(seed, 6))
		a->negate = true;
}

/* ---- actions ---- */

static inline void flow_gen_limit(struct flow_policy *p, uint64_t *seed)
{
	p->rate_is_packets = flow_gen_one_in(seed, 2);
	p->rate = 1 + flow_gen_below(seed, 1000000) * (flow_gen_one_in(seed, 2) ? 1ULL : 1000ULL);
	p->burst = flow_gen_one_in(seed, 2) ? 0 : 1ULL + flow_gen_below(seed, 1 << 20);
	p->burst <<= p->burst && flow_gen_one_in(seed, 3) ? 10 : 0;
	p->per_flow = flow_gen_one_in(seed, 2);
}

static inline void flow_gen_action(struct flow_policy *p, enum flow_gen_kind kind, uint64_t *seed)
{
	p->action = (uint8_t)(flow_gen_one_in(seed, 16) ? FLOW_COUNT : flow_gen_below(seed, 2));
	if (kind != FLOW_GEN_MIXED)
		return;
	p->action = (uint8_t)flow_gen_below(seed, FLOW_ACTIONS);
	if (p->action == FLOW_MARK)
		p->mark = flow_gen_random(seed);
	if (p->action == FLOW_SAMPLE)
		p->one_in = 1 + flow_gen_below(seed, 1000);
	if (p->action == FLOW_CPU)
		p->cpu = flow_gen_below(seed, 2);
	if (p->action == FLOW_LIMIT)
		flow_gen_limit(p, seed);
	if (p->action == FLOW_REDIRECT) {
		p->out_ifindex = 1 + flow_gen_below(seed, FLOW_GEN_IFS);
		snprintf(p->out, sizeof(p->out), "if%u", p->out_ifindex % 8);
	}
}

/* ---- sets ---- */

static inline void flow_gen_policy(struct flow_policy *p, const struct flow_set *set,
				   enum flow_gen_kind kind, uint8_t family, uint64_t *seed)
{
	memset(p, 0, sizeof(*p));
	p->family = family ? family : flow_gen_one_in(seed, 2) ? 4 : 6;
	p->sport.hi = p->dport.hi = UINT16_MAX;
	flow_gen_prefix(&p->src, kind, p->family, seed);
	flow_gen_prefix(&p->dst, kind, p->family, seed);
	p->has_proto = kind == FLOW_GEN_PORTS || !flow_gen_one_in(seed, 8);
	p->proto = p->has_proto ? flow_gen_proto(p->family, seed) : 0;
	if (kind == FLOW_GEN_PORTS)
		p->proto = flow_gen_one_in(seed, 4) ? IPPROTO_UDP : IPPROTO_TCP;
	if (flow_gen_has_ports(p->proto)) {
		p->sport = flow_gen_ports(kind, seed);
		p->dport = flow_gen_ports(kind, seed);
	}
	if (kind == FLOW_GEN_MIXED) {
		flow_gen_rare(p, seed);
		flow_gen_special_addr(&p->src, set, seed);
		flow_gen_special_addr(&p->dst, set, seed);
		/* Of any family, as far as that goes. */
		if (flow_gen_one_in(seed, 5) && (p->src.is_list || !p->src.len) &&
		    (p->dst.is_list || !p->dst.len))
			p->family = 0;
	}
	flow_gen_action(p, kind, seed);
}

/* Roughly, which part of all packets it matches, as a negative power of two. */
static inline double flow_gen_bits(const struct flow_policy *p, enum flow_gen_kind kind)
{
	double bits = p->has_proto ? 1 : 0;

	for (int i = 0; i < 2; i++) {
		const struct flow_addr *a = i ? &p->dst : &p->src;
		const struct flow_ports *ports = i ? &p->dport : &p->sport;
		double len = a->negate || a->is_list ? 0 : a->len;

		if (kind == FLOW_GEN_WIDE)
			bits += len;
		else if (p->family == 6)
			bits += len > 32 ? (len > 64 ? 32 : len - 32) * 0.7 : 0;
		else
			bits += len * 0.7;
		for (unsigned int span = ports->hi - ports->lo + 1U; span < 65536; span *= 2)
			bits++;
	}
	return bits;
}

static inline int flow_gen_longest_first(const void *a, const void *b)
{
	const struct flow_policy *x = a, *y = b;

	return (int)y->src.len + y->dst.len - x->src.len - x->dst.len;
}

/*
 * As in real sets, what matches much comes late: of a set in which something early matches all,
 * nothing else is tested.
 */
static inline void flow_gen_at(struct flow_set *set, size_t i, enum flow_gen_kind kind,
			       uint8_t family, uint64_t *seed)
{
	double wanted = 0;

	for (size_t k = set->n; k > 1 && i < set->n - set->n / 10; k /= 2)
		wanted++;
	for (int tries = 0; tries < 100; tries++) {
		flow_gen_policy(&set->policy[i], set, kind, family, seed);
		if (kind == FLOW_GEN_NESTED || flow_gen_bits(&set->policy[i], kind) >= wanted)
			break;
	}
}

static inline void flow_gen_list(struct flow_list *list, size_t i, size_t n, uint64_t *seed)
{
	memset(list, 0, sizeof(*list));
	snprintf(list->name, sizeof(list->name), "list%zu", i % 100);
	list->path = strdup("/nowhere");
	list->prefix = calloc(n, sizeof(*list->prefix));
	list->n = list->prefix ? n : 0;
	for (size_t k = 0; k < list->n; k++) {
		struct flow_addr a = { 0 };

		list->prefix[k].family = flow_gen_one_in(seed, 2) ? 4 : 6;
		flow_gen_prefix(&a, FLOW_GEN_CLASSBENCH, list->prefix[k].family, seed);
		if (a.len < 8)
			a.len = 8;
		memcpy(list->prefix[k].addr, a.addr, 16);
		list->prefix[k].len = a.len;
	}
}

/* @family: 4, 6, or 0 for both. Priorities 10, 20, ... Freed by flow_set_free(). */
static inline void flow_gen_set(struct flow_set *set, enum flow_gen_kind kind, size_t n,
				uint8_t family, uint64_t *seed)
{
	memset(set, 0, sizeof(*set));
	set->default_action = flow_gen_one_in(seed, 2) ? FLOW_DROP : FLOW_PASS;
	for (; kind == FLOW_GEN_MIXED && set->lists < 4; set->lists++)
		flow_gen_list(&set->list[set->lists], set->lists, 40, seed);
	set->policy = calloc(n + 1, sizeof(*set->policy));
	set->n = set->policy ? n : 0;
	for (size_t i = 0; i < set->n; i++)
		flow_gen_at(set, i, kind, family, seed);
	if (kind == FLOW_GEN_NESTED)
		qsort(set->policy, set->n, sizeof(*set->policy), flow_gen_longest_first);
	for (size_t i = 0; i < set->n; i++) {
		struct flow_policy *p = &set->policy[i];

		p->prio = (uint32_t)(i + 1) * 10;
		if (kind == FLOW_GEN_MIXED && flow_gen_one_in(seed, 4))
			snprintf(p->name, sizeof(p->name), "p%zu", i % 100000000);
	}
}

#endif
