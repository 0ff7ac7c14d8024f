/* SPDX-License-Identifier: GPL-2.0 */
/*
 * msg.h - the message of the benchmark, and what a worker does with one. Every server calls the
 * same functions, so that servers differ in how messages reach a worker and in nothing else.
 *
 * Wire: u32 big-endian length of what follows, then five native u32, then a pattern.
 * The worker reads the whole message (bench_sum) and replies with the head of it, the sum filled
 * in: the client thereby knows that the server had every byte of the right message.
 */
#ifndef KCM_TESTS_MSG_H
#define KCM_TESTS_MSG_H

#include <arpa/inet.h>
#include <string.h>

#include "bench.h"

struct bench_msg {
	uint32_t len_be; /* bytes after this field */
	uint32_t conn;
	uint32_t slot; /* index into the client's table of messages in flight */
	uint32_t seq;
	uint32_t is_reply;
	uint32_t sum;
};

#define BENCH_PREFIX   4u
#define BENCH_HDR      ((uint32_t)sizeof(struct bench_msg))
#define BENCH_MIN_SIZE 64u

_Static_assert(sizeof(struct bench_msg) == 24, "wire layout");

/* Length on the wire of the message that starts at @p, 0 if @avail is too little to tell. */
static inline uint32_t bench_frame_len(const uint8_t *p, size_t avail)
{
	uint32_t be;

	if (avail < BENCH_PREFIX)
		return 0;
	memcpy(&be, p, sizeof(be));
	return ntohl(be) + BENCH_PREFIX;
}

/* Four lanes, each order dependent: notices swapped or shifted words, costs 100 ns for 5 KiB. */
static inline uint32_t bench_sum(const uint8_t *p, size_t len)
{
	uint64_t lane[4] = { 1, 2, 3, 4 }, v[4], sum;

	for (; len >= sizeof(v); p += sizeof(v), len -= sizeof(v)) {
		memcpy(v, p, sizeof(v));
		for (int i = 0; i < 4; i++)
			lane[i] = (lane[i] << 5 | lane[i] >> 59) + v[i];
	}
	sum = lane[0] * 3 + lane[1] * 5 + lane[2] * 7 + lane[3] * 11;
	for (; len; p++, len--)
		sum = (sum << 5 | sum >> 59) + *p;
	sum *= 0x9e3779b97f4a7c15ULL;
	return (uint32_t)(sum ^ (sum >> 32));
}

/* Both sides decide alike which requests are the slow ones, so the client can tell them apart. */
static inline bool bench_is_slow(const struct bench_opts *o, uint32_t conn, uint32_t seq)
{
	uint64_t x = ((uint64_t)conn << 32 | seq) + 0x9e3779b97f4a7c15ULL;

	if (o->work != BENCH_WORK_SLOW)
		return false;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	x ^= x >> 31;
	return (double)(x % 1000000) < o->slow_pct * 10000;
}

/* True if bench_work() will take long: replies already made should leave first. */
static inline bool bench_work_is_long(const struct bench_opts *o, const uint8_t *msg)
{
	struct bench_msg m;

	if (o->work == BENCH_WORK_NONE)
		return false;
	if (o->work != BENCH_WORK_SLOW)
		return true;
	memcpy(&m, msg, sizeof(m));
	return bench_is_slow(o, m.conn, m.seq);
}

static inline void bench_work(const struct bench_opts *o, const uint8_t *msg)
{
	uint64_t end;

	if (!bench_work_is_long(o, msg))
		return;
	if (o->work != BENCH_WORK_SPIN) {
		bench_sleep_ns(o->work_ns);
		return;
	}
	end = bench_now_ns() + o->work_ns;
	while (bench_now_ns() < end)
		;
}

/*
 * bench_messages_per_turn() - how many messages a worker should take at a time
 * A worker that may sleep must not sit on messages that an idle one could serve.
 */
static inline uint32_t bench_messages_per_turn(const struct bench_opts *o, uint32_t most)
{
	return o->work == BENCH_WORK_NONE ? most : 1;
}

/* A worker has a message of @len bytes that nobody waits for: check and count it. */
static inline void bench_take(const struct bench_opts *o, const uint8_t *msg, uint32_t len)
{
	static _Thread_local struct bench_taken *mine;
	struct bench_msg m;

	if (!mine)
		mine = &o->shared->taken[atomic_fetch_add(&o->shared->nr_takers, 1) %
					 BENCH_MAX_PIDS];
	memcpy(&m, msg, sizeof(m));
	if (len != o->size || m.sum != bench_sum(msg + BENCH_HDR, len - BENCH_HDR))
		atomic_fetch_add_explicit(&mine->bad, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&mine->msgs, 1, memory_order_relaxed);
}

/* Build the reply to @msg (of @len bytes on the wire) at @out, which has BENCH_MAX_SIZE bytes. */
static inline uint32_t bench_reply(const struct bench_opts *o, const uint8_t *msg, uint32_t len,
				   uint8_t *out)
{
	uint32_t n = o->reply_size < len ? o->reply_size : len;
	struct bench_msg m;

	memcpy(&m, msg, sizeof(m));
	m.len_be = htonl(n - BENCH_PREFIX);
	m.is_reply = 1;
	m.sum = bench_sum(msg + BENCH_HDR, len - BENCH_HDR);
	memcpy(out, &m, sizeof(m));
	memcpy(out + BENCH_HDR, msg + BENCH_HDR, n - BENCH_HDR);
	return n;
}

#endif
