// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_model.c - policies one after the other. Nothing here is clever, and that is its use. */
#include <string.h>
#include "flow_model_part.h"

bool flow_model_in_prefix(const uint8_t *addr, const uint8_t *prefix, unsigned int len)
{
	unsigned int bytes = len / 8, rest = len % 8;

	if (memcmp(addr, prefix, bytes))
		return false;
	return !rest || (addr[bytes] ^ prefix[bytes]) >> (8 - rest) == 0;
}

static bool in_list(const struct flow_list *list, uint8_t family, const uint8_t *addr)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct flow_prefix *p = &list->prefix[i];

		if (p->family == family && flow_model_in_prefix(addr, p->addr, p->len))
			return true;
	}
	return false;
}

static struct flow_lists_in lists_in(const struct flow_set *set, const struct flow_header *h)
{
	struct flow_lists_in in = { 0 };

	for (size_t i = 0; h->family && i < set->lists; i++) {
		if (in_list(&set->list[i], h->family, h->saddr))
			in.src |= 1U << i;
		if (in_list(&set->list[i], h->family, h->daddr))
			in.dst |= 1U << i;
	}
	return in;
}

/* The packet is of the policy's family, if that has one. */
static bool addr_matches(const struct flow_addr *a, const struct flow_header *h,
			 const uint8_t *addr, uint32_t lists)
{
	if (a->is_list)
		return h->family && (lists >> a->list & 1) != a->negate;
	if (!a->len && !a->negate)
		return true;
	return flow_model_in_prefix(addr, a->addr, a->len) != a->negate;
}

static bool ports_match(const struct flow_ports *p, const struct flow_header *h, uint16_t port)
{
	if (p->lo == 0 && p->hi == UINT16_MAX)
		return true;
	return h->has_ports && port >= p->lo && port <= p->hi;
}

static bool frag_matches(uint8_t wanted, const struct flow_header *h)
{
	if (wanted == FLOW_FRAG_ANY)
		return true;
	if (wanted == FLOW_FRAG_YES)
		return h->frag == FLOW_FRAG_FIRST || h->frag == FLOW_FRAG_LATER;
	return h->frag == wanted;
}

static bool vlan_matches(const struct flow_policy *p, const struct flow_header *h)
{
	switch ((enum flow_vlan)p->vlan) {
	case FLOW_VLAN_ANY:
		return true;
	case FLOW_VLAN_NONE:
		return !h->tagged;
	case FLOW_VLAN_SOME:
		return h->tagged;
	case FLOW_VLAN_ID:
		return h->tagged && h->vlan_id == p->vlan_id;
	}
	return false;
}

bool flow_model_matches_in(const struct flow_policy *p, const struct flow_header *h,
			   struct flow_lists_in in)
{
	if (h->bad)
		return false;
	if (p->family && p->family != h->family)
		return false;
	if (!addr_matches(&p->src, h, h->saddr, in.src) ||
	    !addr_matches(&p->dst, h, h->daddr, in.dst))
		return false;
	if (p->has_proto && !(h->family && h->proto == p->proto))
		return false;
	if (!ports_match(&p->sport, h, h->sport) || !ports_match(&p->dport, h, h->dport))
		return false;
	if (p->has_icmp_type && !(h->has_icmp && h->icmp_type == p->icmp_type))
		return false;
	if (p->has_icmp_code && !(h->has_icmp && h->icmp_code == p->icmp_code))
		return false;
	if (p->tcp_mask && !(h->has_tcp && (h->tcp_flags & p->tcp_mask) == p->tcp_flags))
		return false;
	if (!frag_matches(p->frag, h) || !vlan_matches(p, h))
		return false;
	return !p->ifindex || p->ifindex == h->ifindex;
}

bool flow_model_matches(const struct flow_set *set, const struct flow_policy *p,
			const struct flow_header *h)
{
	return flow_model_matches_in(p, h, lists_in(set, h));
}

void flow_model_begin(const struct flow_set *set, struct flow_verdict *v)
{
	v->policy = FLOW_NOBODY;
	v->action = set->default_action;
	v->n_met = 0;
}

bool flow_model_meet(const struct flow_set *set, size_t i, struct flow_verdict *v)
{
	uint8_t action = set->policy[i].action;

	if (action == FLOW_COUNT || action == FLOW_SAMPLE) {
		if (v->met && v->n_met < v->room)
			v->met[v->n_met] = i;
		v->n_met++;
		return false;
	}
	v->policy = i;
	v->action = action;
	return true;
}

void flow_model_judge(const struct flow_set *set, const struct flow_header *h,
		      struct flow_verdict *v)
{
	struct flow_lists_in in = lists_in(set, h);

	flow_model_begin(set, v);
	for (size_t i = 0; i < set->n; i++)
		if (flow_model_matches_in(&set->policy[i], h, in) && flow_model_meet(set, i, v))
			return;
}
