/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * flow_packet.h - frames to struct flow_header and back. What is malformed, and what policies see
 * of the rest, is told in flow_rule.h. Internal to libkcm and kcmtool.
 */
#ifndef KCM_FLOW_PACKET_H
#define KCM_FLOW_PACKET_H

#include "flow_rule.h"

#define FLOW_PACKET_MAX 9216 /* bytes of a frame that is made */

/**
 * flow_packet_parse() - what policies see of a frame
 * @frame: from the Ethernet header on
 * @have:  bytes of it that are there: a capture may have kept the beginning only
 * @len:   bytes that it had, @have at least
 * @h:	   all of it is written but @h->ifindex. If @h->bad, there is nothing else but @h->len.
 * A header that is in the frame and not in @have is malformed, as it is to the program in frames of
 * several buffers.
 */
void flow_packet_parse(const void *frame, size_t have, uint32_t len, struct flow_header *h);

/* Is it a header that IPv6 may have in between? */
bool flow_packet_is_extension(uint8_t proto);

/* What a header can't tell. */
struct flow_packet {
	struct flow_header h; /* @h.bad is not looked at; @h.len: 0, or what it is filled up to */
	char in[FLOW_IFNAME]; /* of a text: by which interface it comes in; "": not said */
	uint16_t ethertype;   /* where @h.family is 0; 0: ARP's */
	bool qinq;	      /* a second tag, */
	uint16_t inner_id;    /* and its number */
};

/**
 * flow_packet_build() - a frame that is parsed to @p->h again
 * Checksums of IPv4, TCP, UDP and ICMP are right. A fragment has the fragment header in IPv6; one
 * that is not the first has offset 1480.
 * Return: its length; 0: there is no such packet, or it is longer than @size.
 */
size_t flow_packet_build(const struct flow_packet *p, void *frame, size_t size);

/**
 * flow_packet_spec() - a packet in words
 * @text: "ip src 10.0.0.1 dst 10.0.0.2 proto tcp sport 1 dport 80 flags SYN vlan 5": words of a
 *	  policy's conditions with one value each, in any order, and
 *	  vlan ID.ID	two tags
 *	  ethertype N	what is not IP
 *	  len N		of the frame
 *	  frag no, first or later
 *	  What is not said is 0; a protocol is TCP with flags, ICMP with a type, UDP with ports.
 * @why: one line
 * Return: 0 or -EINVAL.
 */
int flow_packet_spec(const char *text, struct flow_packet *p, char *why, size_t size);

#endif
