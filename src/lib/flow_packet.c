// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_packet.c - from the bytes of a frame to what policies see of it. */
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>
#include "flow_packet.h"

#define EXT_MAX 8 /* extension headers of IPv6 */

/* What is left of a frame. Nothing is read but by take(). */
struct rest {
	const uint8_t *at;
	size_t have; /* bytes that are there */
	size_t len;  /* that there were, or that the header before says */
};

static unsigned int get16(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

/* The next @n bytes; NULL: it has fewer. */
static const uint8_t *take(struct rest *r, size_t n)
{
	const uint8_t *p = r->at;

	if (n > r->have || n > r->len)
		return NULL;
	r->at += n;
	r->have -= n;
	r->len -= n;
	return p;
}

/* The next @n bytes, which are taken later. */
static const uint8_t *look(const struct rest *r, size_t n)
{
	struct rest copy = *r;

	return take(&copy, n);
}

/* The packet ends before the frame does. Return: false if it can't. */
static bool shorten(struct rest *r, size_t len)
{
	if (len > r->len)
		return false;
	r->len = len;
	if (r->have > len)
		r->have = len;
	return true;
}

static size_t transport_bytes(uint8_t proto, uint8_t family)
{
	switch (proto) {
	case IPPROTO_TCP:
		return 20;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		return 8;
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		return 12;
	case IPPROTO_ICMP:
		return family == 4 ? 4 : 0;
	case IPPROTO_ICMPV6:
		return family == 6 ? 4 : 0;
	}
	return 0;
}

static bool parse_transport(struct rest *r, struct flow_header *h)
{
	size_t n = transport_bytes(h->proto, h->family);
	const uint8_t *p = take(r, n);

	if (!p)
		return false;
	if (!n)
		return true;
	if (n == 4) {
		h->has_icmp = true;
		h->icmp_type = p[0];
		h->icmp_code = p[1];
		return true;
	}
	h->has_ports = true;
	h->sport = (uint16_t)get16(p);
	h->dport = (uint16_t)get16(p + 2);
	if (h->proto == IPPROTO_TCP) {
		h->has_tcp = true;
		h->tcp_flags = p[13];
	}
	return true;
}

static uint8_t frag_of(unsigned int offset, bool more)
{
	return offset ? FLOW_FRAG_LATER : more ? FLOW_FRAG_FIRST : FLOW_FRAG_NO;
}

static bool parse_ip4(struct rest *r, struct flow_header *h)
{
	const uint8_t *ip = look(r, 20);
	size_t header, total;

	if (!ip || ip[0] >> 4 != 4)
		return false;
	header = (ip[0] & 15) * 4;
	total = get16(ip + 2);
	if (header < 20 || total < header || !shorten(r, total) || !take(r, header))
		return false;
	h->family = 4;
	h->proto = ip[9];
	memcpy(h->saddr, ip + 12, 4);
	memcpy(h->daddr, ip + 16, 4);
	h->frag = frag_of(get16(ip + 6) & 0x1fff, ip[6] & 0x20);
	return h->frag == FLOW_FRAG_LATER || parse_transport(r, h);
}

bool flow_packet_is_extension(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_FRAGMENT:
	case IPPROTO_AH:
	case IPPROTO_DSTOPTS:
	case IPPROTO_MH:
	case 139: /* HIP */
	case 140: /* shim6 */
		return true;
	}
	return false;
}

/* One extension header: @h->proto becomes what follows it. */
static bool parse_extension(struct rest *r, struct flow_header *h)
{
	uint8_t kind = h->proto, frag;
	const uint8_t *p = look(r, 8);
	size_t bytes;

	if (!p)
		return false;
	bytes = kind == IPPROTO_FRAGMENT ? 8
		: kind == IPPROTO_AH	 ? (p[1] + 2U) * 4
					 : (p[1] + 1U) * 8;
	h->proto = p[0];
	if (kind == IPPROTO_FRAGMENT) {
		frag = frag_of(get16(p + 2) >> 3, p[3] & 1);
		/* One within another: what is known of either. */
		if (frag != FLOW_FRAG_NO)
			h->frag = frag;
	}
	return take(r, bytes);
}

static bool parse_ip6(struct rest *r, struct flow_header *h)
{
	const uint8_t *ip = take(r, 40);
	int n = 0;

	if (!ip || ip[0] >> 4 != 6 || !shorten(r, get16(ip + 4)))
		return false;
	h->family = 6;
	h->proto = ip[6];
	h->frag = FLOW_FRAG_NO;
	memcpy(h->saddr, ip + 8, 16);
	memcpy(h->daddr, ip + 24, 16);
	while (h->frag != FLOW_FRAG_LATER && flow_packet_is_extension(h->proto))
		if (++n > EXT_MAX || !parse_extension(r, h))
			return false;
	return h->frag == FLOW_FRAG_LATER || parse_transport(r, h);
}

static bool is_tag(unsigned int ethertype)
{
	return ethertype == ETH_P_8021Q || ethertype == ETH_P_8021AD;
}

static bool parse(struct rest *r, struct flow_header *h)
{
	const uint8_t *eth = take(r, ETH_HLEN);
	unsigned int type;

	if (!eth)
		return false;
	type = get16(eth + 12);
	for (int i = 0; i < 2 && is_tag(type); i++) {
		const uint8_t *tag = take(r, 4);

		if (!tag)
			return false;
		if (!h->tagged)
			h->vlan_id = get16(tag) & 0xfff;
		h->tagged = true;
		type = get16(tag + 2);
	}
	if (type == ETH_P_IP)
		return parse_ip4(r, h);
	if (type == ETH_P_IPV6)
		return parse_ip6(r, h);
	return true;
}

void flow_packet_parse(const void *frame, size_t have, uint32_t len, struct flow_header *h)
{
	uint32_t ifindex = h->ifindex;
	struct rest r = { .at = frame, .have = have, .len = len > have ? len : have };

	memset(h, 0, sizeof(*h));
	if (!parse(&r, h)) {
		memset(h, 0, sizeof(*h));
		h->bad = true;
	}
	h->ifindex = ifindex;
	h->len = len > have ? len : (uint32_t)have;
}
