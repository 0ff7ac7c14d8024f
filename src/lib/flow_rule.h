/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * flow_rule.h - policies as they are written down: what the rule language is parsed to, what is
 * compiled for the XDP program, and what the model in user space judges packets by.
 *
 * A policy is tried in the order of (prio, place in the file): the first one of which everything
 * matches decides; otherwise the set's default action does. Addresses are in network order, IPv4
 * in the first four bytes; everything else is in host order.
 *
 * What a packet has no field for matches no condition on that field: ports of a fragment that is
 * not the first or of a protocol without ports, addresses of anything but IP. So a policy with no
 * condition at all matches every packet, ARP too.
 */
#ifndef KCM_FLOW_RULE_H
#define KCM_FLOW_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLOW_NAME   16 /* with its end */
#define FLOW_IFNAME 16 /* IFNAMSIZ */
#define FLOW_LISTS  32 /* of addresses, in a set */

enum flow_action {
	FLOW_PASS,
	FLOW_DROP,
	FLOW_COUNT,    /* count it and go on with the next policy */
	FLOW_MARK,     /* metadata for tc and nft (@mark), then pass */
	FLOW_SAMPLE,   /* one of @one_in to the ring buffer, then go on with the next policy */
	FLOW_LIMIT,    /* pass what is within the rate, drop the rest */
	FLOW_REDIRECT, /* out of @out_ifindex as it is */
	FLOW_FORWARD,  /* as the kernel's routing table says */
	FLOW_CPU,      /* to the stack on processor @cpu */
	FLOW_ACTIONS,
};

enum flow_frag {
	FLOW_FRAG_ANY,	 /* no condition */
	FLOW_FRAG_NO,	 /* IP, and not a fragment */
	FLOW_FRAG_YES,	 /* any fragment */
	FLOW_FRAG_FIRST, /* offset 0, more to come */
	FLOW_FRAG_LATER, /* offset > 0 */
};

enum flow_vlan {
	FLOW_VLAN_ANY,	/* no condition */
	FLOW_VLAN_NONE, /* untagged */
	FLOW_VLAN_SOME, /* tagged, whatever the number */
	FLOW_VLAN_ID,	/* outermost tag is @vlan_id */
};

/* What is allowed of a port, lowest and highest; 0 to 65535: no condition. */
struct flow_ports {
	uint16_t lo, hi;
};

struct flow_addr {
	uint8_t addr[16]; /* bits beyond @len are 0 */
	uint8_t len;	  /* of the prefix; 0: every address of the policy's family */
	bool is_list;	  /* @list says which addresses, @addr and @len are 0 */
	bool negate;	  /* every other one of the family; of a list with family 0: of any IP */
	uint8_t list;	  /* place in flow_set.list */
};

struct flow_policy {
	uint32_t prio;	      /* lowest first */
	uint32_t line;	      /* in the file; 0: from the command line */
	char name[FLOW_NAME]; /* unique in a set; "" if it has none */

	uint8_t family; /* 4, 6; 0: any packet, and then of conditions on addresses only lists */
	struct flow_addr src, dst;
	bool has_proto;
	uint8_t proto; /* IPPROTO_*: of the last header that is understood */
	struct flow_ports sport, dport;
	bool has_icmp_type, has_icmp_code;
	uint8_t icmp_type, icmp_code;
	uint8_t frag; /* enum flow_frag */
	uint8_t vlan; /* enum flow_vlan */
	uint16_t vlan_id;
	uint8_t tcp_flags, tcp_mask; /* (packet's & mask) == flags; mask 0: no condition */
	char in[FLOW_IFNAME];	     /* it came in by; "": any */
	uint32_t ifindex;	     /* the same, once it was looked up; 0: any */

	uint8_t action; /* enum flow_action */
	bool per_flow;	/* FLOW_LIMIT: each flow has the rate for itself */
	uint32_t mark;
	uint32_t one_in;
	char out[FLOW_IFNAME]; /* FLOW_REDIRECT */
	uint32_t out_ifindex;  /* the same, once it was looked up */
	uint32_t cpu;
	uint64_t rate;	      /* FLOW_LIMIT: a second, */
	bool rate_is_packets; /* packets, else bytes */
	uint64_t burst;	      /* of the same unit; 0: what 100 ms bring */
};

struct flow_prefix {
	uint8_t addr[16];
	uint8_t family; /* 4, 6 */
	uint8_t len;
};

/* Addresses of a file, one prefix a line. */
struct flow_list {
	char name[FLOW_NAME];
	char *path; /* absolute, if it is of a file of policies */
	struct flow_prefix *prefix;
	size_t n;
};

struct flow_set {
	struct flow_policy *policy; /* in the order in which they are tried */
	size_t n;
	struct flow_list list[FLOW_LISTS];
	size_t lists;
	uint8_t default_action; /* FLOW_PASS or FLOW_DROP */
};

/*
 * What policies see of a packet. Ethernet with up to two VLAN tags (0x8100, 0x88a8); a third makes
 * it family 0. IPv6's extension headers are walked (hop-by-hop, routing, fragment, destination, AH,
 * mobility, HIP, shim6), up to eight. A fragment with offset 0 and nothing to come (RFC 6946) is
 * none. @bad: an IP header that is wrong or incomplete, a transport header (TCP 20 bytes, UDP and
 * UDP-Lite 8, SCTP 12, DCCP 12, ICMP 4) that is not whole in a packet or in a first fragment, more
 * than eight extension headers. Such a packet matches no policy, and gets the default action.
 * Of an ICMP error and of tunnels the outer header counts.
 */
struct flow_header {
	bool bad;
	uint8_t family; /* 4, 6; 0: neither */
	uint8_t saddr[16], daddr[16];
	uint8_t proto; /* of the last header that was understood; of family 0: 0, matches nothing */
	bool has_ports, has_icmp, has_tcp;
	uint16_t sport, dport;
	uint8_t icmp_type, icmp_code;
	uint8_t tcp_flags; /* FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128 */
	uint8_t frag;	   /* enum flow_frag: NO, FIRST or LATER; of family 0: ANY */
	bool tagged;
	uint16_t vlan_id; /* of the outermost tag */
	uint32_t ifindex;
	uint32_t len; /* of the frame */
};

#endif
