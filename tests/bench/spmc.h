/* SPDX-License-Identifier: GPL-2.0 */
/*
 * spmc.h - the queue of peer (c): one producer, many consumers, batches on both sides.
 *
 * A consumer copies a batch first and then claims it by moving head with one CAS: a copy that was
 * overwritten meanwhile belongs to a claim that fails, because the producer writes a cell again
 * only after head has passed it. Sleeping is an eventcount: a system call only if somebody sleeps.
 */
#ifndef KCM_TESTS_SPMC_H
#define KCM_TESTS_SPMC_H

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPMC_CELLS     65536u
#define SPMC_CACHELINE 64

struct spmc_cell {
	void *conn;
	void *chunk;
	const uint8_t *msg;
	uint64_t len;
};

struct spmc {
	_Alignas(SPMC_CACHELINE) _Atomic uint64_t head; /* consumers */
	_Alignas(SPMC_CACHELINE) _Atomic uint64_t tail; /* producer */
	_Alignas(SPMC_CACHELINE) _Atomic uint32_t sleepers;
	_Atomic uint32_t bell;
	_Alignas(SPMC_CACHELINE) struct spmc_cell cell[SPMC_CELLS];
};

static inline void spmc_futex(_Atomic uint32_t *word, int op, uint32_t value)
{
	syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

static inline uint32_t spmc_room(struct spmc *q)
{
	return SPMC_CELLS - (uint32_t)(atomic_load_explicit(&q->tail, memory_order_relaxed) -
				       atomic_load_explicit(&q->head, memory_order_acquire));
}

/* Producer: the cell @i behind the last published one; at most spmc_room() of them. */
static inline struct spmc_cell *spmc_cell_at(struct spmc *q, uint32_t i)
{
	uint64_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);

	return &q->cell[(tail + i) % SPMC_CELLS];
}

/* Producer: let consumers have the next @n cells. Wakes nobody: see spmc_wake(). */
static inline void spmc_publish(struct spmc *q, uint32_t n)
{
	uint64_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);

	atomic_store_explicit(&q->tail, tail + n, memory_order_release);
}

/* Producer: wake up to @n sleeping consumers. */
static inline void spmc_wake(struct spmc *q, uint32_t n)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (!atomic_load_explicit(&q->sleepers, memory_order_relaxed))
		return;
	atomic_fetch_add(&q->bell, 1);
	spmc_futex(&q->bell, FUTEX_WAKE_PRIVATE, n < INT_MAX ? n : INT_MAX);
}

/* Consumer: up to @most cells, 0 if there are none. */
static inline uint32_t spmc_try_pop(struct spmc *q, struct spmc_cell *out, uint32_t most)
{
	uint64_t head = atomic_load_explicit(&q->head, memory_order_acquire);

	for (;;) {
		uint64_t tail = atomic_load_explicit(&q->tail, memory_order_acquire);
		uint32_t n;

		if (head >= tail)
			return 0;
		n = tail - head < most ? (uint32_t)(tail - head) : most;
		for (uint32_t i = 0; i < n; i++)
			out[i] = q->cell[(head + i) % SPMC_CELLS];
		if (atomic_compare_exchange_weak_explicit(
			    &q->head, &head, head + n, memory_order_acq_rel, memory_order_acquire))
			return n;
	}
}

/* Consumer: up to @most cells, at least one; sleeps until there is one. */
static inline uint32_t spmc_pop(struct spmc *q, struct spmc_cell *out, uint32_t most)
{
	for (;;) {
		uint32_t n = spmc_try_pop(q, out, most), bell;

		if (n)
			return n;
		bell = atomic_load(&q->bell);
		atomic_fetch_add(&q->sleepers, 1);
		n = spmc_try_pop(q, out, most);
		if (!n)
			spmc_futex(&q->bell, FUTEX_WAIT_PRIVATE, bell);
		atomic_fetch_sub(&q->sleepers, 1);
		if (n)
			return n;
	}
}

#endif
