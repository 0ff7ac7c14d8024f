/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* flow_flows.h - the flows that an instance knows. Internal to libkcm and kcmtool. */
#ifndef KCM_FLOW_FLOWS_H
#define KCM_FLOW_FLOWS_H

#include "flow_inst.h"

/* A flow. What several CPUs saw of it is one. Ports are in host order, addresses in network order.
 */
struct flow_flow {
	__u8 family; /* 4, 6; 0: neither, all of an interface are one */
	__u8 saddr[16], daddr[16];
	__u16 sport, dport; /* of ICMP: type and code */
	__u16 vlan;
	__u8 proto;
	__u8 class; /* KCM_FL_C_* */
	__u8 ifnum;
	__u8 tcp;     /* flags that policies look at */
	__u8 seen;    /* of all packets */
	bool current; /* @slot's policy still is what it was when it was judged */
	__u32 slot;
	__u64 packets, bytes;
	__u64 idle_ms, age_ms;
};

/**
 * flow_flows() - all that had a packet within the time-outs
 * Entries that change while they are read are read again, so that none is torn.
 * Return: 0 or -errno. Free *@flows.
 */
int flow_flows(struct flow_inst *f, struct flow_flow **flows, size_t *n);

/**
 * flow_flush() - judge anew, with the next packet, those for which @want says so (NULL: all)
 * Their counters begin anew, too. @n: how many entries; a flow may have one on each CPU.
 * Return: 0 or -errno.
 */
int flow_flush(struct flow_inst *f, bool (*want)(const struct flow_flow *flow, void *arg),
	       void *arg, size_t *n);

/* How many entries are in use, and how many there are. Return: 0 or -errno. */
int flow_fill_level(struct flow_inst *f, size_t *used, size_t *size);

#endif
