// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_form.c - a policy as the XDP program compares packets with it. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include "flow_form.h"

_Static_assert((int)KCM_FL_PASS == FLOW_PASS && (int)KCM_FL_DROP == FLOW_DROP &&
		       (int)KCM_FL_COUNT == FLOW_COUNT && (int)KCM_FL_MARK == FLOW_MARK &&
		       (int)KCM_FL_SAMPLE == FLOW_SAMPLE && (int)KCM_FL_LIMIT == FLOW_LIMIT &&
		       (int)KCM_FL_REDIRECT == FLOW_REDIRECT &&
		       (int)KCM_FL_FORWARD == FLOW_FORWARD && (int)KCM_FL_CPU == FLOW_CPU,
	       "actions are the same for both");

#define FRAG_ALL (KCM_FL_FRAG_NO | KCM_FL_FRAG_FIRST | KCM_FL_FRAG_LATER)

static bool some_ports(const struct flow_ports *p)
{
	return p->lo != 0 || p->hi != UINT16_MAX;
}

static bool some_icmp(const struct flow_policy *p)
{
	return p->has_icmp_type || p->has_icmp_code;
}

static bool some_addr(const struct flow_addr *a)
{
	return a->is_list || a->len || a->negate;
}

int flow_form_in(const struct flow_policy *p, const uint32_t *ifindex, uint32_t n_if)
{
	if (!p->ifindex)
		return p->in[0] ? -ENODEV : 0;
	for (uint32_t i = 0; i < n_if && i < KCM_FL_IFS; i++)
		if (ifindex[i] == p->ifindex)
			return (int)i + 1;
	return -ENODEV;
}

static unsigned int families(const struct flow_policy *p)
{
	if (p->family == 4)
		return 1 << KCM_FL_IP4;
	if (p->family == 6)
		return 1 << KCM_FL_IP6;
	/* All of these are of IP; a VLAN and an interface every packet has. */
	if (some_addr(&p->src) || some_addr(&p->dst) || p->has_proto || some_ports(&p->sport) ||
	    some_ports(&p->dport) || some_icmp(p) || p->frag != FLOW_FRAG_ANY || p->tcp_mask)
		return 1 << KCM_FL_IP4 | 1 << KCM_FL_IP6;
	return 1 << KCM_FL_OTHER | 1 << KCM_FL_IP4 | 1 << KCM_FL_IP6;
}

static uint8_t frag_kinds(uint8_t frag)
{
	switch (frag) {
	case FLOW_FRAG_NO:
		return KCM_FL_FRAG_NO;
	case FLOW_FRAG_YES:
		return KCM_FL_FRAG_FIRST | KCM_FL_FRAG_LATER;
	case FLOW_FRAG_FIRST:
		return KCM_FL_FRAG_FIRST;
	case FLOW_FRAG_LATER:
		return KCM_FL_FRAG_LATER;
	default:
		return FRAG_ALL;
	}
}

static uint32_t vlan_bits(const struct flow_policy *p)
{
	switch (p->vlan) {
	case FLOW_VLAN_NONE:
		return KCM_FL_VLAN_NONE;
	case FLOW_VLAN_SOME:
		return KCM_FL_VLAN_SOME;
	case FLOW_VLAN_ID:
		return KCM_FL_VLAN_IS | (p->vlan_id & KCM_FL_VLAN_ID);
	default:
		return 0;
	}
}

static uint8_t list_bits(const struct flow_addr *a)
{
	if (!a->is_list)
		return a->negate ? KCM_FL_ADDR_NOT : 0;
	return (a->list + 1) | (a->negate ? KCM_FL_LIST_NOT : 0);
}

/* @words: of 32 bits. Return: length of the prefix. */
static uint8_t words_of(const struct flow_addr *a, uint32_t *to, unsigned int words)
{
	unsigned int len = a->is_list ? 0 : a->len;

	if (len > words * 32)
		len = words * 32;
	for (unsigned int i = 0; i < words; i++) {
		const uint8_t *b = a->addr + i * 4;
		unsigned int rest = len > i * 32 ? len - i * 32 : 0;
		uint32_t word = (uint32_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];

		to[i] = !rest ? 0 : rest < 32 ? word & ~(~0u >> rest) : word;
	}
	return len;
}

/* What both forms have in common. */
static struct kcm_fl_cond common(const struct flow_policy *p, int in, uint32_t slot, uint32_t rank)
{
	struct kcm_fl_cond c = {
		.splo = p->sport.lo,
		.sphi = p->sport.hi,
		.dplo = p->dport.lo,
		.dphi = p->dport.hi,
		.proto = p->has_proto ? p->proto : 0,
		.flags = frag_kinds(p->frag) | (p->has_proto ? KCM_FL_HAS_PROTO : 0) |
			 in << KCM_FL_IF_SHIFT,
		.tcp = p->tcp_mask ? p->tcp_flags : 0,
		.tcp_mask = p->tcp_mask,
		.slist = list_bits(&p->src),
		.dlist = list_bits(&p->dst),
	};
	uint32_t vlan = vlan_bits(p);

	if (some_icmp(p)) {
		vlan |= KCM_FL_ICMP;
		c.splo = p->has_icmp_type ? p->icmp_type : 0;
		c.sphi = p->has_icmp_type ? p->icmp_type : UINT16_MAX;
		c.dplo = p->has_icmp_code ? p->icmp_code : 0;
		c.dphi = p->has_icmp_code ? p->icmp_code : UINT16_MAX;
	}
	if (p->action == FLOW_COUNT || p->action == FLOW_SAMPLE)
		vlan |= KCM_FL_ON;
	c.where = KCM_FL_WHERE(vlan, slot, rank);
	return c;
}

/* The protocol that a rule on ICMP is of in this family. Return: false if it has another one. */
static bool set_icmp(struct kcm_fl_cond *c, uint8_t proto)
{
	if ((c->flags & KCM_FL_HAS_PROTO) && c->proto != proto)
		return false;
	c->flags |= KCM_FL_HAS_PROTO;
	c->proto = proto;
	return true;
}

unsigned int flow_forms(const struct flow_policy *p, const uint32_t *ifindex, uint32_t n_if,
			uint32_t slot, uint32_t rank, struct kcm_fl_rule4 *r4,
			struct kcm_fl_rule6 *r6)
{
	unsigned int f = families(p);
	int in = flow_form_in(p, ifindex, n_if);

	if (in < 0 || p->sport.lo > p->sport.hi || p->dport.lo > p->dport.hi ||
	    (some_icmp(p) && (some_ports(&p->sport) || some_ports(&p->dport))))
		return 0;
	if (f & (1 << KCM_FL_OTHER | 1 << KCM_FL_IP4)) {
		r4->c = common(p, in, slot, rank);
		r4->c.slen = words_of(&p->src, &r4->saddr, 1);
		r4->c.dlen = words_of(&p->dst, &r4->daddr, 1);
		if (some_icmp(p) && !set_icmp(&r4->c, IPPROTO_ICMP))
			f &= ~(1 << KCM_FL_IP4);
	}
	if (f & 1 << KCM_FL_IP6) {
		r6->c = common(p, in, slot, rank);
		r6->c.slen = words_of(&p->src, r6->saddr, 4);
		r6->c.dlen = words_of(&p->dst, r6->daddr, 4);
		if (some_icmp(p) && !set_icmp(&r6->c, IPPROTO_ICMPV6))
			f &= ~(1 << KCM_FL_IP6);
	}
	return f;
}
