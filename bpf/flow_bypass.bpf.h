/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_bypass.bpf.h - is the cache worth its price here? Each CPU finds out for itself.
 *
 * Of one packet in 256 the way by the cache is timed. Once a window a few packets in a row go by
 * the trees too, the later ones timed: the first ones only bring the trees nearer, for what is not
 * used is far away, and would be if it were used. Where the cache is dearer it is left alone for a
 * while: what it holds stays valid, but flows are not counted. Then it is tried again for PROBE
 * packets, less and less often.
 */
#ifndef KCM_FLOW_BYPASS_BPF_H
#define KCM_FLOW_BYPASS_BPF_H

#define WINDOW	      16384 /* packets, from one decision to the next; a power of two */
#define SAMPLE_MASK   255
#define PROBE_MASK    15
#define PLAIN_MASK    (WINDOW - 1 - 31) /* 32 packets in a row */
#define PLAIN_AT      8192
#define PLAIN_TIMED   16 /* of them: the later half */
#define PROBE	      4096
#define BYPASS	      65536
#define BACKOFF_MAX   5
#define SAMPLE_MAX_NS 4000 /* more is an interrupt */

/* A mean of the last dozen samples, in sixteenths. */
static __always_inline void note_ns(__u32 *mean, __u64 since_ns)
{
	__u64 ns = bpf_ktime_get_ns() - since_ns;

	if (ns > SAMPLE_MAX_NS)
		return;
	ns *= 16;
	if (!*mean)
		*mean = ns;
	else
		*mean += ns / 16 - *mean / 16;
}

/* Return: when a sample of the cached way begins; 0: it is none. */
static __always_inline __u64 time_cached(const struct kcm_fl_stat *st)
{
	if (!kcm_fl_conf.bypass || st->turn & PROBE_MASK)
		return 0;
	return st->probing || !(st->turn & SAMPLE_MASK) ? bpf_ktime_get_ns() : 0;
}

static __always_inline bool is_plain_turn(const struct kcm_fl_stat *st)
{
	return kcm_fl_conf.bypass && (st->turn & PLAIN_MASK) == PLAIN_AT;
}

/* The same of the way by the trees. */
static __always_inline __u64 time_plain(const struct kcm_fl_stat *st)
{
	return is_plain_turn(st) && st->turn & PLAIN_TIMED ? bpf_ktime_get_ns() : 0;
}

/* The end of a window, or of a while without the cache. Not static: verified once. */
__noinline int decide(struct kcm_fl_stat *st)
{
	__u64 misses, filled;
	bool dear;

	if (!st)
		return 0;
	if (st->bypassing) {
		st->bypassing = 0;
		st->probing = 1;
		st->cached_ns = 0;
		st->until = st->turn + PROBE;
		return 0;
	}
	misses = st->misses - st->was_misses;
	filled = (st->inserted - st->was_inserted) - (st->evicted - st->was_evicted);
	st->was_misses = st->misses;
	st->was_inserted = st->inserted;
	st->was_evicted = st->evicted;
	dear = st->plain_ns && st->cached_ns > st->plain_ns + st->plain_ns / 32;
	/* While it fills up, misses say nothing of what will be. */
	if (!dear || filled > misses / 2) {
		if (!dear)
			st->backoff = 0;
		st->probing = 0;
		st->until = st->turn + WINDOW;
		return 0;
	}
	st->probing = 0;
	st->bypassing = 1;
	st->until = st->turn + (BYPASS << (st->backoff & 7));
	if (st->backoff < BACKOFF_MAX)
		st->backoff++;
	return 0;
}

/* Return: whether this packet goes by the trees alone. */
static __always_inline bool bypass(struct kcm_fl_stat *st)
{
	st->turn++;
	if (!kcm_fl_conf.bypass)
		return false;
	if ((__s32)(st->until - st->turn) <= 0)
		decide(st);
	return st->bypassing;
}

#endif
