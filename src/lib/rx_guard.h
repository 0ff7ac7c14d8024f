/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* rx_guard.h - no socket may be in a mux and have an rx, see rx_guard.c. Internal to libkcm. */
#ifndef KCM_RX_GUARD_H
#define KCM_RX_GUARD_H

#include <stdbool.h>
#include <stdint.h>

enum rx_guard {
	RX_GUARD_RX = 1,
	RX_GUARD_MUX,
};

/* 0; 1 it was in a mux already, and @whose is that; -EBUSY; -ENOMEM */
int rx_guard_take(uint64_t cookie, enum rx_guard whose);
/* Nothing if it is not @whose. */
void rx_guard_drop(uint64_t cookie, enum rx_guard whose);
/*
 * Have bytes been taken from @fd's queue behind TCP's back, as verdict programs do? False says
 * nothing of a sockmap the socket is in just now.
 */
bool rx_guard_lags(int fd);
/* Is it in a pinned mux, of whatever process? False also without the privilege to look. */
bool rx_guard_pinned(uint64_t cookie);

#endif
