/* SPDX-License-Identifier: GPL-2.0 */
/*
 * hist.h - log-linear latency histogram: 64 linear steps per power of two, so a value is known
 * to 1.6 %. Fixed size, adding is a shift and an increment, two histograms add up.
 */
#ifndef KCM_TESTS_HIST_H
#define KCM_TESTS_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 6
#define HIST_SUB      (1u << HIST_SUB_BITS)
#define HIST_OCTAVES  36 /* up to 2^41 ns = 36 minutes */
#define HIST_SLOTS    (HIST_OCTAVES * HIST_SUB)

struct hist {
	uint64_t count;
	uint64_t slot[HIST_SLOTS];
};

static inline uint32_t hist_index(uint64_t v)
{
	uint32_t shift, i;

	if (v < HIST_SUB)
		return (uint32_t)v;
	shift = (uint32_t)(63 - __builtin_clzll(v)) - HIST_SUB_BITS;
	i = (shift + 1) * HIST_SUB + (uint32_t)((v >> shift) - HIST_SUB);
	return i < HIST_SLOTS ? i : HIST_SLOTS - 1;
}

/* Middle of the values that share slot @i. */
static inline uint64_t hist_value(uint32_t i)
{
	uint32_t shift;

	if (i < HIST_SUB)
		return i;
	shift = i / HIST_SUB - 1;
	return (((uint64_t)(i % HIST_SUB) + HIST_SUB) << shift) + ((1ULL << shift) >> 1);
}

static inline void hist_add(struct hist *h, uint64_t v)
{
	h->slot[hist_index(v)]++;
	h->count++;
}

static inline void hist_merge(struct hist *to, const struct hist *from)
{
	for (uint32_t i = 0; i < HIST_SLOTS; i++)
		to->slot[i] += from->slot[i];
	to->count += from->count;
}

/* Smallest recorded value that @q (0..1) of all values do not exceed; 0 when empty. */
static inline uint64_t hist_quantile(const struct hist *h, double q)
{
	uint64_t want = (uint64_t)(q * (double)h->count + 0.999999), seen = 0;

	if (!h->count)
		return 0;
	if (!want)
		want = 1;
	for (uint32_t i = 0; i < HIST_SLOTS; i++) {
		seen += h->slot[i];
		if (seen >= want)
			return hist_value(i);
	}
	return hist_value(HIST_SLOTS - 1);
}

#endif
