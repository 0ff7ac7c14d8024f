/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * rx.h - types shared by the rx BPF programs and user space.
 *
 * An instance makes peers of one TCP port, in one cgroup, send segments of whole pages, so that
 * readers can map what comes (kcm_rx.h, or any that uses TCP_ZEROCOPY_RECEIVE): it sets TCP_MAXSEG
 * before a socket tells its peer.
 */
#ifndef KCM_RX_SHARED_H
#define KCM_RX_SHARED_H

#ifndef __bpf__
#include <linux/types.h>
#endif

#define KCM_RX_LAYOUT	  1
#define KCM_RX_PAGE	  4096
#define KCM_RX_PAGES_MAX  7  /* TCP_MAXSEG is 32,767 at most */
#define KCM_RX_TIMESTAMPS 12 /* bytes of the option in every segment */

struct kcm_rx_tune {
	/* Written by user space, before the programs run; @mss also by untune: 0, take it back. */
	__u32 port;    /* host order */
	__u32 mss;     /* pages, and room for TCP's options */
	__u32 pages;   /* the least whole window that is told in the SYN-ACK, in segments */
	__u32 connect; /* clients of the port, too */
	__u64 cgroup_id;
	__u32 was; /* untune: listeners that have this get 0 */
	__u32 reserved;
	/* Written by programs, read by `kcmtool rx show`. */
	__u64 listeners;   /* that listened after tune */
	__u64 adopted;	   /* that listened before */
	__u64 connects;	   /* clients */
	__u64 connections; /* accepted on the port since tune */
	__u64 refused;	   /* the kernel did not take the option */
};

_Static_assert(sizeof(struct kcm_rx_tune) == 72, "shared with user space");

#endif
