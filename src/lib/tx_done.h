/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * tx_done.h - which calls with MSG_ZEROCOPY the kernel is done with. Internal to libkcm.
 *
 * The kernel numbers them from 0, modulo 2^32, and tells ranges, mostly in order. All below @upto
 * are done, and those in the ranges.
 */
#ifndef KCM_TX_DONE_H
#define KCM_TX_DONE_H

#include <stdbool.h>
#include <stdint.h>

struct tx_range {
	uint64_t first, last;
};

struct tx_done {
	uint64_t upto, next; /* @next: number of the next call */
	struct tx_range *range;
	unsigned int n, room;
	uint64_t copies;
};

/* The kernel's 32 bits [first, last]. 0 or -ENOMEM */
int tx_done_add(struct tx_done *d, uint32_t first, uint32_t last);
bool tx_done_is(const struct tx_done *d, uint64_t number);
/* What the error queue of @fd says now. Return: ranges read, or -errno. */
int tx_done_read(struct tx_done *d, int fd);

#endif
