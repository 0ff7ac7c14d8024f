/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * txlock.h - one writer at a time on a connection, over processes. A futex in the memfd; its word
 * names the holder, so the owner can free what a dead worker held.
 */
#ifndef KCM_TXLOCK_H
#define KCM_TXLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "view.h"

/* @me: slot + 1, or KCM_TX_OWNER. @ctl: to the owner. False: the owner is gone. */
bool txlock_get(struct kcm_txc *t, uint32_t me, int ctl);
bool txlock_try(struct kcm_txc *t, uint32_t me);
void txlock_put(struct kcm_txc *t);

#endif
