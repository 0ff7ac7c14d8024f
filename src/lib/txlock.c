// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#define _GNU_SOURCE
#include <linux/futex.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "queue.h"
#include "txlock.h"

#define SPINS 200 /* a holder is in one send(): about a microsecond */

bool txlock_try(struct kcm_txc *t, uint32_t me)
{
	return CAS(&t->lock, 0, me);
}

bool txlock_get(struct kcm_txc *t, uint32_t me, int ctl)
{
	struct timespec ts = { .tv_nsec = 10 * 1000 * 1000 };
	struct pollfd p = { .fd = ctl };
	uint32_t waiters = 0;

	for (int i = 0; i < SPINS; i++)
		if (txlock_try(t, me))
			return true;
	for (;;) {
		uint32_t v = LOAD(&t->lock);

		if (!v) {
			if (CAS(&t->lock, 0, me | waiters))
				return true;
			continue;
		}
		if (!(v & KCM_TX_WAITERS) && !CAS(&t->lock, v, v | KCM_TX_WAITERS))
			continue;
		/* Somebody else may wait too: keep the mark when we get it. */
		waiters = KCM_TX_WAITERS;
		if (!syscall(SYS_futex, &t->lock, FUTEX_WAIT, v | KCM_TX_WAITERS, &ts, NULL, 0))
			continue;
		/* Who has it may be dead. The owner frees it then, if there is one. */
		if (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)))
			return false;
	}
}

void txlock_put(struct kcm_txc *t)
{
	if (__atomic_exchange_n(&t->lock, 0, __ATOMIC_SEQ_CST) & KCM_TX_WAITERS)
		syscall(SYS_futex, &t->lock, FUTEX_WAKE, 1, NULL, NULL, 0);
}
