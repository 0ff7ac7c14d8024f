// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * flow_model_big.c - the model for sets of many policies and long lists. Eight policies at a time
 * are passed over if a part of a condition, that each of them has, is not true of the packet. What
 * is left is compared as in the plain model. (Byte i of a word of eight is lane i: little endian.)
 */
#include <stdlib.h>
#include <string.h>
#include "flow_model_part.h"

#define LANES 8

typedef uint32_t lanes __attribute__((vector_size(4 * LANES)));
typedef uint16_t half_lanes __attribute__((vector_size(2 * LANES)));
typedef uint8_t lanes_true __attribute__((vector_size(LANES)));

/* What of eight policies is looked at. No condition: mask 0, ports 0 to 65535. */
struct block {
	lanes src, src_mask, dst, dst_mask;
	half_lanes sport, sport_span, dport, dport_span;
};

/* A list, sorted by family, length, address. */
struct sorted {
	struct flow_prefix *prefix;
	size_t n;
	bool has[7][129]; /* [family][length] */
};

struct flow_model {
	const struct flow_set *set;
	struct block *block;
	struct sorted list[FLOW_LISTS];
};

/* ---- lists ---- */

static int by_prefix(const void *a, const void *b)
{
	const struct flow_prefix *x = a, *y = b;

	if (x->family != y->family)
		return x->family < y->family ? -1 : 1;
	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return memcmp(x->addr, y->addr, sizeof(x->addr));
}

static bool sort_list(struct sorted *s, const struct flow_list *list)
{
	s->n = list->n;
	s->prefix = calloc(list->n + 1, sizeof(*s->prefix));
	if (!s->prefix)
		return false;
	if (list->n)
		memcpy(s->prefix, list->prefix, list->n * sizeof(*s->prefix));
	qsort(s->prefix, s->n, sizeof(*s->prefix), by_prefix);
	for (size_t i = 0; i < s->n; i++)
		s->has[s->prefix[i].family][s->prefix[i].len] = true;
	return true;
}

/* Is there a prefix of this length, and of just these bits? For each length. */
static bool in_sorted(const struct sorted *s, uint8_t family, const uint8_t *addr)
{
	for (unsigned int len = 0; len <= (family == 4 ? 32 : 128); len++) {
		struct flow_prefix key = { .family = family, .len = (uint8_t)len };

		if (!s->has[family][len])
			continue;
		memcpy(key.addr, addr, (len + 7) / 8);
		if (len % 8)
			key.addr[len / 8] &= (uint8_t)(0xff00 >> len % 8);
		if (bsearch(&key, s->prefix, s->n, sizeof(key), by_prefix))
			return true;
	}
	return false;
}

static struct flow_lists_in lists_in(const struct flow_model *m, const struct flow_header *h)
{
	struct flow_lists_in in = { 0 };

	for (size_t i = 0; h->family && i < m->set->lists; i++) {
		if (in_sorted(&m->list[i], h->family, h->saddr))
			in.src |= 1U << i;
		if (in_sorted(&m->list[i], h->family, h->daddr))
			in.dst |= 1U << i;
	}
	return in;
}

/* ---- policies ---- */

/* Any four bytes will do. Of IPv6 those in the middle of the first half tell networks apart. */
static uint32_t word_of(uint8_t family, const uint8_t *addr)
{
	const uint8_t *rest = addr + (family == 6 ? 4 : 1);

	return (uint32_t)addr[0] << 24 | (uint32_t)rest[0] << 16 | (uint32_t)rest[1] << 8 | rest[2];
}

static uint32_t mask_of(uint8_t family, const struct flow_addr *a)
{
	uint8_t mask[16] = { 0 };

	for (unsigned int i = 0; !a->is_list && !a->negate && i < a->len; i++)
		mask[i / 8] |= (uint8_t)(0x80 >> i % 8);
	return word_of(family, mask);
}

static void add(struct flow_model *m, size_t i)
{
	const struct flow_policy *p = &m->set->policy[i];
	struct block *b = &m->block[i / LANES];
	size_t k = i % LANES;

	b->src_mask[k] = mask_of(p->family, &p->src);
	b->dst_mask[k] = mask_of(p->family, &p->dst);
	b->src[k] = word_of(p->family, p->src.addr) & b->src_mask[k];
	b->dst[k] = word_of(p->family, p->dst.addr) & b->dst_mask[k];
	b->sport[k] = p->sport.lo;
	b->sport_span[k] = (uint16_t)(p->sport.hi - p->sport.lo);
	b->dport[k] = p->dport.lo;
	b->dport_span[k] = (uint16_t)(p->dport.hi - p->dport.lo);
}

struct flow_model *flow_model_new(const struct flow_set *set)
{
	struct flow_model *m = calloc(1, sizeof(*m));
	size_t blocks = set->n / LANES + 1;
	bool ok = m;

	if (!m)
		return NULL;
	m->set = set;
	m->block = aligned_alloc(sizeof(lanes), blocks * sizeof(*m->block));
	if (m->block)
		memset(m->block, 0, blocks * sizeof(*m->block));
	for (size_t i = 0; ok && i < set->lists; i++)
		ok = sort_list(&m->list[i], &set->list[i]);
	if (!ok || !m->block) {
		flow_model_free(m);
		return NULL;
	}
	for (size_t i = 0; i < set->n; i++)
		add(m, i);
	return m;
}

void flow_model_free(struct flow_model *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < FLOW_LISTS; i++)
		free(m->list[i].prefix);
	free(m->block);
	free(m);
}

/* Which lanes are true: the lowest bit of a byte each. */
static uint64_t bytes_of(lanes_true v)
{
	uint64_t bytes;

	memcpy(&bytes, &v, sizeof(bytes));
	return bytes & 0x0101010101010101;
}

/* Policies of the block that may match. Ports are looked at if the packet has any. */
static uint64_t may_match(const struct block *b, const struct flow_header *h, uint32_t src,
			  uint32_t dst)
{
	lanes addrs =
		(lanes)((b->src_mask & src) == b->src) & (lanes)((b->dst_mask & dst) == b->dst);
	uint64_t may = bytes_of(__builtin_convertvector(addrs, lanes_true));
	half_lanes ports;

	if (!may || !h->has_ports)
		return may;
	ports = (half_lanes)((half_lanes)(h->dport - b->dport) <= b->dport_span) &
		(half_lanes)((half_lanes)(h->sport - b->sport) <= b->sport_span);
	return may & bytes_of(__builtin_convertvector(ports, lanes_true));
}

void flow_model_run(const struct flow_model *m, const struct flow_header *h, struct flow_verdict *v)
{
	const struct flow_set *set = m->set;
	struct flow_lists_in in = lists_in(m, h);
	/* Which bytes they are differs by family, and a policy with a mask has one. */
	uint32_t src = word_of(h->family, h->saddr), dst = word_of(h->family, h->daddr);

	flow_model_begin(set, v);
	for (size_t at = 0; at < set->n; at += LANES) {
		uint64_t may = may_match(&m->block[at / LANES], h, src, dst);

		for (; may; may &= may - 1) {
			size_t i = at + (size_t)__builtin_ctzll(may) / 8;

			if (i < set->n && flow_model_matches_in(&set->policy[i], h, in) &&
			    flow_model_meet(set, i, v))
				return;
		}
	}
}
