/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flowhist.h - what programs and user space of the test of histories share. */
#ifndef KCM_FLOWHIST_H
#define KCM_FLOWHIST_H

#define HIST_CPUS    64
#define HIST_FLOWS   64
#define HIST_RING    (1u << 20) /* packets, a CPU */
#define HIST_BYTES   64		/* of a packet */
#define HIST_FLOW_AT 62		/* where its flow's number is, big endian */
#define HIST_MAC     0x42	/* all bytes of its source address */

/* Ways to be wrong: which of the steps that keep verdicts from being stale is left out. */
enum hist_wrong {
	HIST_RIGHT,
	HIST_UNCHECKED, /* the policies' generations are not compared on a hit */
	HIST_BLIND,	/* the list of changes is not looked at */
	HIST_BOOLEAN,	/* a slot is live or not, whoever lives in it */
	HIST_LATE,	/* entries get the newest genid, not that of the rules that were read */
	HIST_NO_GRACE,	/* user space does not wait for programs that run */
};

/* A packet that was judged. */
struct hist_packet {
	__u64 begin_ns;
	__u32 took_ns;
	__u16 flow;
	__u8 verdict; /* of XDP */
	__u8 pad;
};

/* One a CPU. @head: packets that were judged on it. @tail: those that were looked at. */
struct hist_at {
	__u64 head, tail;
	__u64 lost;
	__u64 pad[5];
};

/* What a CPU's generator sends. Written by user space. */
struct hist_gen {
	__u32 ifindex;	  /* out of */
	__u32 sport_mask; /* flows of one number differ in so many bits */
	__u64 on;	  /* flows that are sent: a bit each */
	__u64 sent;	  /* by the generator */
	__u64 pad[5];
};

#endif
