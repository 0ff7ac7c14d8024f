/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * queue.h - chunks and lanes in user space. The BPF side is bpf/mux_queue.bpf.h: the two follow
 * the same rules on the same memory.
 *
 * A message is claimed by compare-and-swap of its owner byte, so it has exactly one owner at any
 * instant, and a process that dies leaves its number on what it had. A chunk is free when all its
 * bytes are KCM_OWN_DONE; the state word's compare-and-swap makes that happen once.
 */
#ifndef KCM_QUEUE_H
#define KCM_QUEUE_H

#include "view.h"

#define LOAD(p)	    __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define CAS(p, o, n)                                                                               \
	({                                                                                         \
		__typeof__(*(p)) o_ = (o);                                                         \
		__atomic_compare_exchange_n(p, &o_, n, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
	})

/* A message that this worker has. */
struct claim_ref {
	uint16_t chunk;
	uint16_t gen;
	uint8_t idx;
};

/* Producer side (the owner). */
int queue_chunk_new(struct view *v, uint32_t bytes); /* id or -ENOSPC */
void queue_chunk_drop(struct view *v, uint32_t id);  /* allocated, never published */
/* Find again what a process that died had freed and not marked. */
void queue_find_free(struct view *v);
/* @lanes: bit mask; ch->lane[] is filled unless the policy has one lane. 0 or -ENOSPC */
int queue_publish(struct view *v, uint32_t id, uint32_t n, uint64_t lanes);
uint32_t queue_lane_of(struct view *v, uint32_t conn, const uint8_t *msg, uint32_t len);
/* Put an already published chunk into @lane once more. */
int queue_lane_put(struct view *v, uint32_t lane, uint32_t id, uint32_t gen);

/* Consumer side. */
bool queue_lane_empty(const struct view *v, uint32_t lane);
/* Claim up to @max messages of @lane with owner byte @own. Return: how many. */
unsigned int queue_claim(struct view *v, uint32_t lane, uint8_t own, struct claim_ref *refs,
			 unsigned int max);
/* Release messages of one chunk whose owner bytes are in word @w under @mask. True: chunk freed. */
bool queue_release(struct view *v, uint32_t chunk, uint32_t gen, unsigned int w, uint64_t mask);

/* Free a chunk whose messages are all released. True: it was us who did. */
bool queue_free(struct view *v, uint32_t chunk, uint32_t gen);

/* Return: slot of a sleeper of @mask whose bit was taken, or -1. */
int queue_take_sleeper(struct view *v, uint64_t mask);

uint64_t now_ns(void);

#endif
