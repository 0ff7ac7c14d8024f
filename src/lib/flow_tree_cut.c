// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * flow_tree_cut.c - where to cut a node.
 *
 * For each dimension and each number of parts: how long are the lists of the parts, as a rule sees
 * them, and how much memory do they take? Best is the cut that shortens most for its memory.
 */
#include <string.h>
#include "flow_tree_part.h"

/*
 * A cut has to shorten lists by this, or it is not worth a node on everybody's way. Long lists are
 * another matter.
 */
#define MIN_GAIN      1.3f
#define MIN_GAIN_LONG 1.05f
#define LONG_LIST     128

struct worth {
	float gain, bytes;
};

/*
 * What of the block the rules are in, in this dimension. Return: false if no cut of it can tell
 * rules apart.
 */
static bool look_at(const struct flow_span *span, const uint32_t *rule, uint32_t n, uint32_t base,
		    unsigned int bits, struct flow_cut *cut, struct flow_sample *s)
{
	uint32_t top = base + (bits < 32 ? (1u << bits) - 1 : ~0u), lo = top, hi = base;
	uint32_t every = (n + FLOW_SAMPLE - 1) / FLOW_SAMPLE, whole = 0;

	/* All rules, not the sample: each one has to be in the block. */
	for (uint32_t i = 0; i < n; i++) {
		struct flow_span r = span[rule[i]];

		if (r.lo <= base && r.hi >= top)
			whole++;
		lo = r.lo < lo ? (r.lo < base ? base : r.lo) : lo;
		hi = r.hi > hi ? (r.hi > top ? top : r.hi) : hi;
	}
	if (whole == n || lo >= hi)
		return false;
	cut->block = 32 - __builtin_clz(lo ^ hi);
	cut->base = cut->block < 32 ? lo & ~((1u << cut->block) - 1) : 0;
	top = cut->base + (cut->block < 32 ? (1u << cut->block) - 1 : ~0u);
	s->n = s->whole = 0;
	for (uint32_t i = 0; i < n; i += every) {
		struct flow_span r = span[rule[i]], *to = &s->span[s->n++];

		to->lo = r.lo < cut->base ? 0 : r.lo - cut->base;
		to->hi = (r.hi > top ? top : r.hi) - cut->base;
		s->whole += r.lo <= cut->base && r.hi >= top;
	}
	return true;
}

/* Of a cut into 2^bits parts. */
static struct worth weigh(struct flow_sample *s, unsigned int block, unsigned int bits)
{
	uint32_t *starts = s->starts, *ends = s->ends;
	unsigned int shift = block - bits;
	uint32_t parts = 1u << bits, n = 0, ended = 0;
	uint64_t sum = 0, squares = 0;
	bool had_whole = false;

	memset(starts, 0, parts * sizeof(*starts));
	memset(ends, 0, parts * sizeof(*ends));
	for (uint32_t i = 0; i < s->n; i++) {
		starts[s->span[i].lo >> shift]++;
		ends[s->span[i].hi >> shift]++;
	}
	for (uint32_t i = 0; i < parts; i++) {
		bool same = i && !starts[i] && !ended;

		n += starts[i] - ended;
		ended = ends[i];
		/* Parts with equal lists are one, and so are those without any narrow rule. */
		if (same || (n == s->whole && had_whole))
			continue;
		had_whole |= n == s->whole;
		sum += n;
		squares += (uint64_t)n * n;
	}
	return (struct worth){
		.gain = squares ? (float)s->n * sum / squares : 0,
		.bytes = (float)sum,
	};
}

bool flow_cut_choose(struct flow_tree *t, const uint32_t *rule, uint32_t n, struct flow_region *g,
		     uint64_t budget, struct flow_cut *best)
{
	struct flow_sample *s = &t->sample;
	float best_score = 0, min_gain = n > LONG_LIST ? MIN_GAIN_LONG : MIN_GAIN;
	unsigned int bits_max = 2;

	while (bits_max < FLOW_CUT_BITS && (n >> bits_max))
		bits_max++;
	for (unsigned int d = 0; d < t->dims; d++) {
		struct flow_cut cut = { .dim = d };

		if (!g->bits[d])
			continue;
		if (!look_at(t->span[d], rule, n, g->base[d], g->bits[d], &cut, s)) {
			g->bits[d] = 0;
			continue;
		}
		for (cut.bits = 1; cut.bits <= bits_max && cut.bits <= cut.block; cut.bits++) {
			struct worth w = weigh(s, cut.block, cut.bits);
			float bytes = w.bytes * n / s->n * t->rule_bytes +
				      (float)(sizeof(uint64_t) << cut.bits);
			float score = w.gain * n * t->rule_bytes / bytes;

			if (bytes > (float)budget || w.gain < min_gain || score <= best_score)
				continue;
			best_score = score;
			*best = cut;
		}
	}
	return best_score > 0;
}
