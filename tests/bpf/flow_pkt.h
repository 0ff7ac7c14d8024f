/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow_pkt.h - a header as a packet. */
#ifndef KCM_TEST_FLOW_PKT_H
#define KCM_TEST_FLOW_PKT_H

#include <netinet/in.h>
#include <string.h>
#include "flow_rule.h"

#define PKT_BYTES 256

static inline unsigned char *pkt_be16(unsigned char *at, unsigned int v)
{
	at[0] = v >> 8;
	at[1] = v;
	return at + 2;
}

static inline unsigned int pkt_transport(unsigned char *at, const struct flow_header *h)
{
	memset(at, 0x5a, 24);
	if (h->frag == FLOW_FRAG_LATER) /* what looks like ports is none */
		return 24;
	pkt_be16(pkt_be16(at, h->sport), h->dport);
	if (h->has_icmp) {
		at[0] = h->icmp_type;
		at[1] = h->icmp_code;
	}
	if (h->has_tcp)
		at[13] = h->tcp_flags;
	return 24;
}

static inline unsigned int pkt_ip4(unsigned char *at, const struct flow_header *h,
				   unsigned int options)
{
	unsigned int ihl = 20 + options * 4, len = ihl;

	memset(at, 1, ihl);
	at[0] = 0x40 | ihl / 4;
	at[9] = h->proto;
	pkt_be16(at + 6, h->frag == FLOW_FRAG_FIRST   ? 0x2000
			 : h->frag == FLOW_FRAG_LATER ? 0x0007
						      : 0x4000);
	memcpy(at + 12, h->saddr, 4);
	memcpy(at + 16, h->daddr, 4);
	len += pkt_transport(at + ihl, h);
	pkt_be16(at + 2, len);
	return len;
}

static inline unsigned int pkt_ip6(unsigned char *at, const struct flow_header *h,
				   unsigned int options)
{
	unsigned char *next = at + 6, *p = at + 40;
	static const unsigned char kinds[] = { IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_DSTOPTS };

	memset(at, 0, 40);
	at[0] = 0x60;
	memcpy(at + 8, h->saddr, 16);
	memcpy(at + 24, h->daddr, 16);
	for (unsigned int i = 0; i < options && i < sizeof(kinds); i++) {
		*next = kinds[i];
		next = p;
		memset(p, 0, 16);
		p[1] = i % 2;
		p += 8 + 8 * p[1];
	}
	if (h->frag != FLOW_FRAG_NO) {
		*next = IPPROTO_FRAGMENT;
		next = p;
		memset(p, 0, 8);
		pkt_be16(p + 2, h->frag == FLOW_FRAG_FIRST ? 1 : 0x38);
		p += 8;
	}
	*next = h->proto;
	p += pkt_transport(p, h);
	pkt_be16(at + 4, p - at - 40);
	return p - at;
}

/* @vary: what policies do not see. Return: its length. */
static inline unsigned int pkt_make(unsigned char *to, const struct flow_header *h,
				    unsigned int vary)
{
	unsigned char *at = to + 12;
	unsigned int tags = h->tagged ? 1 + vary % 2 : 0;

	memset(to, 0x22, PKT_BYTES);
	for (unsigned int i = 0; i < tags; i++)
		at = pkt_be16(pkt_be16(at, i || vary % 3 ? 0x8100 : 0x88a8),
			      (vary & 0xf) << 12 | (i ? 77 : h->vlan_id));
	at = pkt_be16(at, h->family == 4 ? 0x0800 : h->family == 6 ? 0x86dd : 0x0806);
	if (h->family == 4)
		at += pkt_ip4(at, h, vary % 3);
	else if (h->family == 6)
		at += pkt_ip6(at, h, vary % 4);
	return at - to < 60 ? 60 : at - to;
}

#endif
