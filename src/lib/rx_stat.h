/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * rx_stat.h - counters of the connections of a process, for `kcmtool rx show`.
 *
 * One memfd a process, named RX_STAT_NAME: seen in /proc/PID/fd by those who may look at the
 * process, made without privilege, gone with the process. It is whatever that process wrote: a
 * reader must believe nothing. A slot is written by the one thread that uses the connection.
 */
#ifndef KCM_RX_STAT_H
#define KCM_RX_STAT_H

#include <stdint.h>

#define RX_STAT_NAME   "kcm-rx"
#define RX_STAT_LINK   "/memfd:kcm-rx (deleted)" /* of /proc/PID/fd/N */
#define RX_STAT_MAGIC  0x78726d636bU
#define RX_STAT_LAYOUT 1
#define RX_STAT_SLOTS  256 /* connections beyond are not seen, and counted */
#define RX_STAT_WHYS   8

struct rx_stat_head {
	uint64_t magic;
	uint32_t layout;
	uint32_t slots;
	uint32_t pid;	 /* as the process sees itself */
	uint32_t unseen; /* connections without a slot, now */
	uint8_t reserved[104];
};

struct rx_stat_slot {
	uint32_t seq; /* odd: it is being written */
	uint32_t family;
	uint64_t cookie; /* of the socket; 0: the slot is free */
	uint8_t laddr[16], raddr[16];
	uint16_t lport, rport; /* host order */
	uint32_t fd;
	uint32_t mode, now, why;
	uint64_t messages, bytes, mapped_bytes, mapped_messages, one_piece;
	uint64_t copied_bytes[RX_STAT_WHYS];
	uint64_t calls, waits, releases, switches;
	uint64_t held_bytes, limit_bytes;
	uint64_t map_ps_per_byte, copy_ps_per_byte;
	uint64_t reserved[18];
};

struct rx_stat_page {
	struct rx_stat_head head;
	struct rx_stat_slot slot[RX_STAT_SLOTS];
};

_Static_assert(sizeof(struct rx_stat_head) == 128, "shared between processes");
_Static_assert(sizeof(struct rx_stat_slot) == 384, "shared between processes");

struct kcm_rx;
/* A slot of this process; NULL, and counted, if there is none. */
struct rx_stat_slot *rx_stat_open(const struct kcm_rx *rx);
void rx_stat_close(struct rx_stat_slot *slot);
void rx_stat_put(struct kcm_rx *rx);

#endif
