/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * migrate_udp.h - what of an instance of migrate user space does for UDP sockets: each is put into
 * kcm_mg_udps, which no program can, and flows that have ended are removed.
 * Internal to libkcm and kcmtool.
 */
#ifndef KCM_MIGRATE_UDP_H
#define KCM_MIGRATE_UDP_H

#include "migrate_view.h"

#define MG_FLOWS	  65536
#define MG_FLOW_TIMEOUT_S 120

/* slot.seat of one that is in kcm_mg_udps; 0: it waits for it; else -errno. */
#define MG_SEATED 1

/**
 * mg_seat_all() - put the open sockets that are not there yet into kcm_mg_udps
 * Through a descriptor of a process that has it, so it needs CAP_SYS_PTRACE for those of others.
 * @retry: those, too, of which it has failed
 * Return: how many are not there now.
 */
unsigned int mg_seat_all(struct mg_view *v, bool retry);

/* Open sockets that are not in kcm_mg_udps; *@err, if not NULL: why one of them is not, or 0. */
unsigned int mg_unseated(const struct kcm_mg *mg, int *err);

/*
 * After attach: seat who is there. Where there are two generations already, what a datagram of a
 * flow that is not known is of is not known: such flows are left for a while where the kernel has
 * them.
 */
void mg_settle(struct mg_view *v);

/* ---- flows ---- */

typedef void (*mg_flow_fn)(const struct kcm_mg_flow_key *key, const struct kcm_mg_flow *f,
			   void *arg);
/*
 * Call @fn for each flow of the table, once or, if the table changes meanwhile, about once.
 * Return: 0 or -errno.
 */
int mg_flows_each(const struct mg_view *v, mg_flow_fn fn, void *arg);

/* Has it ended, or gone with its socket? */
bool mg_flow_ended(const struct kcm_mg *mg, const struct kcm_mg_flow *f, __u64 now_ns);

/* flows[slot], of KCM_MG_SLOTS: how many each socket has. Return: the sum, or -errno. */
int mg_flows_count(const struct mg_view *v, __u32 *flows, __u64 now_ns);

/**
 * mg_flows_sweep() - remove flows, and connection ids, that have ended
 * When three quarters of the table are taken, flows that have sent a single datagram end after 5 s
 * (somebody may send from many addresses, none of which is his), others after a quarter of the
 * time-out; when seven eighths are, all of them after 5 s.
 * Return: how many are left, or -errno.
 */
int mg_flows_sweep(struct mg_view *v, __u64 now_ns);

#endif
