/* SPDX-License-Identifier: GPL-2.0 */
/* flowsend.h - what flowsend.bpf.c and tests/bench/flow_*.c share. */
#ifndef KCM_TESTS_FLOWSEND_H
#define KCM_TESTS_FLOWSEND_H

#define FG_DEVS	      64
#define FG_DRAWS      (1u << 20)
#define FG_HEADS      (1u << 20)
#define FG_FLOOD_PART 922 /* of 1024 packets are of flows that never come again */

enum fg_kind {
	FG_ROUND,	   /* @mask + 1 flows, each as often */
	FG_ZIPF,	   /* in the order of fg_draw */
	FG_FLOOD,	   /* nine of ten are new, the others FG_ROUND */
	FG_NEW,		   /* none comes twice */
	FG_HEADS_OF_RULES, /* in the order of fg_head */
};

/* Ethernet, IPv4 without options, UDP, 22 bytes. */
struct fg_frame {
	__u8 dmac[6], smac[6];
	__u16 type;
	__u8 version, tos;
	__u16 tot_len, id, frag_off;
	__u8 ttl, proto;
	__u16 check;
	__u32 saddr, daddr;
	__u16 sport, dport, udp_len, udp_check;
	__u8 data[22];
} __attribute__((packed, aligned(2)));

struct fg_conf {
	__u32 kind; /* enum fg_kind */
	__u32 mask; /* flows - 1, flows a power of two up to 2^20 */
	__u32 to;   /* place in fg_dev */
	__u32 sum;  /* of the IP header's words without @check, of flow 0 */
	struct fg_frame frame __attribute__((aligned(8)));
};

struct fg_at {
	__u32 flow, draw, head, pad;
	__u64 random; /* not 0 */
	__u64 fresh;
};

struct fg_head {
	__u32 saddr, daddr;
	__u16 sport, dport;
	__u8 proto, pad[3];
};

_Static_assert(sizeof(struct fg_frame) == 64, "words are copied");

#endif
