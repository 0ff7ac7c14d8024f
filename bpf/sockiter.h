/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sockiter.h - types shared by the iterators of sock and user space. */
#ifndef KCM_SOCKITER_H
#define KCM_SOCKITER_H

#include "sock.h"

#define KCM_SK_SNAPSHOT	 262144 /* least size of the snapshot map; twice the slots otherwise */
#define KCM_SK_SCRATCHES 16	/* iterators that may be between two instructions at a time */
#define KCM_SK_ADDR_TEXT 56	/* "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535" */

/* One socket as `bpftool map dump` prints it: value of kcm_sk_snap. */
struct kcm_sk_row {
	char local[KCM_SK_ADDR_TEXT];
	char peer[KCM_SK_ADDR_TEXT];
	_Bool adopted; /* sock.flags, to read */
	_Bool limited;
	_Bool dropping;
	__u8 pad[5];
	struct kcm_sock sock;
};

/*
 * A sweep meets every socket: what is older than the programs is adopted, and slots are marked
 * (kcm_sk_info.reserved[2] = number). A slot without the mark belongs to a socket that has gone.
 */
struct kcm_sk_sweep {
	__u64 number;	  /* user space: of this sweep, counts up */
	__u64 started_ns; /* user space: CLOCK_MONOTONIC. Slots of younger connections are not
			     marked */
	__u32 cgroups;	  /* user space: 1 = only sockets in or below those of kcm_sk_cgroups */
	__u32 pad;
	__u64 met;	 /* sockets in those cgroups; all counters: of all sweeps */
	__u64 adopted;	 /* state was made for them */
	__u64 listeners; /* of those */
	__u64 unslotted; /* of those: kept in sk_storage, no slot or the kernel refused STATE_CB */
	__u64 refused;	 /* state could not be made: net.core.optmem_max or memory */
	__u64 missed;	 /* by a refresh: the snapshot is full, or too many refreshes at a time */
	__u64 limited;	 /* rules were applied to them, or limits taken away */
};

/* What kcm_sk_info.reserved[] is used for. */
#define KCM_INFO_INODE 1 /* adopted: of the socket's file, /proc/PID/fd shows it */
#define KCM_INFO_SWEEP 2 /* number of the last sweep that met it */

/* Value of kcm_sk_owners: a process that has the socket with an inode. */
struct kcm_sk_owner {
	__u32 pid;
	char comm[16];
};

/* Key of kcm_sk_lports: a port that somebody listens on. */
struct kcm_sk_lport {
	__u64 netns_cookie;
	__u64 port; /* host order */
};

#endif
