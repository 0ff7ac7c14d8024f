// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_packet_build.c - frames that have what a header says. */
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>
#include "flow_packet.h"

#define LATER_OFFSET 185 /* in units of 8 bytes: 1,480 */
#define ID	     0x1234

struct frame {
	uint8_t *at;
	size_t n, room;
	bool full;
};

static void put(struct frame *f, const void *data, size_t n)
{
	if (n > f->room - f->n) {
		f->full = true;
		return;
	}
	memcpy(f->at + f->n, data, n);
	f->n += n;
}

static void put8(struct frame *f, unsigned int v)
{
	uint8_t b = (uint8_t)v;

	put(f, &b, 1);
}

static void put16(struct frame *f, unsigned int v)
{
	put8(f, v >> 8);
	put8(f, v & 255);
}

static void put_zeros(struct frame *f, size_t n)
{
	while (n-- && !f->full)
		put8(f, 0);
}

static void set16(struct frame *f, size_t at, unsigned int v)
{
	if (f->full)
		return;
	f->at[at] = (uint8_t)(v >> 8);
	f->at[at + 1] = (uint8_t)v;
}

/* ---- sums ---- */

static uint32_t add_up(const uint8_t *p, size_t n, uint32_t sum)
{
	for (size_t i = 0; i < n; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

static unsigned int fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

/* Where in the transport header its sum is; 0: it has none, or one of another kind. */
static size_t sum_at(const struct flow_header *h)
{
	if (h->has_tcp)
		return 16;
	if (h->has_icmp)
		return 2;
	return h->has_ports && h->proto == IPPROTO_UDP ? 6 : 0;
}

/* Of a whole packet: the sum of a first fragment is over what is not there. */
static void put_sum(struct frame *f, size_t l4, const struct flow_header *h)
{
	size_t at = sum_at(h), n = f->n - l4, addr = h->family == 4 ? 4 : 16;
	uint32_t sum = 0;

	if (!at || f->full || h->frag != FLOW_FRAG_NO)
		return;
	if (h->proto != IPPROTO_ICMP) {
		sum = add_up(h->saddr, addr, h->proto);
		sum = add_up(h->daddr, addr, sum + (uint32_t)n);
	}
	sum = fold(add_up(f->at + l4, n, sum));
	set16(f, l4 + at, sum ? sum : 0xffff);
}

/* ---- headers ---- */

static void put_transport(struct frame *f, const struct flow_header *h, size_t body)
{
	if (h->has_icmp) {
		put8(f, h->icmp_type);
		put8(f, h->icmp_code);
		put_zeros(f, 6);
		return;
	}
	if (!h->has_ports)
		return;
	put16(f, h->sport);
	put16(f, h->dport);
	switch (h->proto) {
	case IPPROTO_TCP:
		put_zeros(f, 8);
		put8(f, 5 << 4);
		put8(f, h->tcp_flags);
		put16(f, 65535);
		put_zeros(f, 4);
		break;
	case IPPROTO_DCCP:
		put8(f, 4); /* data offset in words: a request without options is 20 bytes */
		put_zeros(f, 11);
		break;
	case IPPROTO_SCTP:
		put_zeros(f, 8);
		break;
	default:
		put16(f, 8 + (unsigned int)body);
		put_zeros(f, 2);
	}
}

static size_t put_ip4(struct frame *f, const struct flow_header *h)
{
	size_t at = f->n;

	put16(f, 0x4500);
	put16(f, 0); /* length, later */
	put16(f, ID);
	put16(f, h->frag == FLOW_FRAG_FIRST   ? 0x2000
		 : h->frag == FLOW_FRAG_LATER ? LATER_OFFSET
					      : 0x4000);
	put8(f, 64);
	put8(f, h->proto);
	put16(f, 0);
	put(f, h->saddr, 4);
	put(f, h->daddr, 4);
	return at;
}

static size_t put_ip6(struct frame *f, const struct flow_header *h)
{
	size_t at = f->n;
	bool frag = h->frag == FLOW_FRAG_FIRST || h->frag == FLOW_FRAG_LATER;

	put16(f, 0x6000);
	put16(f, 0);
	put16(f, 0); /* length, later */
	put8(f, frag ? IPPROTO_FRAGMENT : h->proto);
	put8(f, 64);
	put(f, h->saddr, 16);
	put(f, h->daddr, 16);
	if (!frag)
		return at;
	put8(f, h->proto);
	put8(f, 0);
	put16(f, h->frag == FLOW_FRAG_FIRST ? 1 : LATER_OFFSET << 3);
	put16(f, 0);
	put16(f, ID);
	return at;
}

static void put_ip(struct frame *f, const struct flow_header *h)
{
	size_t at = h->family == 4 ? put_ip4(f, h) : put_ip6(f, h), l4 = f->n;

	/* Of a fragment that is not the first nothing is known. */
	if (h->frag == FLOW_FRAG_LATER)
		put_zeros(f, 8);
	else
		put_transport(f, h, h->len > l4 + 8 ? h->len - l4 - 8 : 0);
	if (h->len > f->n)
		put_zeros(f, h->len - f->n);
	if (f->full)
		return;
	set16(f, at + (h->family == 4 ? 2 : 4),
	      (unsigned int)(f->n - at - (h->family == 4 ? 0 : 40)));
	if (h->family == 4)
		set16(f, at + 10, fold(add_up(f->at + at, 20, 0)));
	put_sum(f, l4, h);
}

size_t flow_packet_build(const struct flow_packet *p, void *frame, size_t size)
{
	static const uint8_t macs[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };
	const struct flow_header *h = &p->h;
	struct frame f = { .at = frame, .room = size };

	if (h->len > FLOW_PACKET_MAX)
		return 0;
	put(&f, macs, sizeof(macs));
	if (h->tagged) {
		put16(&f, p->qinq ? ETH_P_8021AD : ETH_P_8021Q);
		put16(&f, h->vlan_id & 0xfff);
		if (p->qinq) {
			put16(&f, ETH_P_8021Q);
			put16(&f, p->inner_id & 0xfff);
		}
	}
	if (h->family) {
		put16(&f, h->family == 4 ? ETH_P_IP : ETH_P_IPV6);
		put_ip(&f, h);
	} else {
		put16(&f, p->ethertype ? p->ethertype : ETH_P_ARP);
	}
	/* Ethernet's least, which is behind what IP says is the packet. */
	while (f.n < (h->len > 60 ? h->len : 60) && !f.full)
		put8(&f, 0);
	return f.full || (h->len && f.n > 60 && f.n > h->len) ? 0 : f.n;
}
