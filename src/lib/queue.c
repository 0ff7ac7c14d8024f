// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#include <errno.h>
#include <string.h>
#include <time.h>

#include "queue.h"

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static uint32_t class_of(uint32_t bytes)
{
	return bytes <= KCM_CHUNK0_BYTES ? 0 : bytes <= KCM_CHUNK1_BYTES ? 1 : 2;
}

/*
 * Set the chunk's free bit. After its state is KCM_CHUNK_FREE: whoever takes the bit in between
 * finds the state busy and looks elsewhere.
 */
static void mark_free(struct view *v, uint32_t id)
{
	__atomic_fetch_or(&v->ctl->free[id / 64], 1ULL << (id % 64), __ATOMIC_SEQ_CST);
}

static int chunk_take(struct view *v, uint32_t id)
{
	uint32_t s = LOAD(&v->claims[id].state), gen = (KCM_STATE_GEN(s) + 1) & 0xffff;

	if (KCM_STATE_ST(s) != KCM_CHUNK_FREE ||
	    !CAS(&v->claims[id].state, s, KCM_STATE(gen, KCM_CHUNK_ALLOC)))
		return -1;
	v->chunks[id].gen = gen;
	return (int)id;
}

int queue_chunk_new(struct view *v, uint32_t bytes)
{
	for (uint32_t c = class_of(bytes); c < KCM_CLASSES; c++) {
		uint32_t end = v->cfg.first_chunk[c] + v->cfg.n_chunks[c];

		for (uint32_t w = v->cfg.first_chunk[c] / 64; w * 64 < end; w++)
			for (;;) {
				uint64_t word = LOAD(&v->ctl->free[w]), bit = word & -word;
				uint32_t id = w * 64 + (bit ? (uint32_t)__builtin_ctzll(bit) : 0);

				if (!bit || id >= end)
					break;
				if (!(__atomic_fetch_and(&v->ctl->free[w], ~bit, __ATOMIC_SEQ_CST) &
				      bit))
					continue;
				if (chunk_take(v, id) >= 0)
					return (int)id;
			}
	}
	return -ENOSPC;
}

void queue_chunk_drop(struct view *v, uint32_t id)
{
	STORE(&v->claims[id].state, KCM_STATE(v->chunks[id].gen, KCM_CHUNK_FREE));
	mark_free(v, id);
}

void queue_find_free(struct view *v)
{
	for (uint32_t id = 0; id < v->n_chunks; id++)
		if (KCM_STATE_ST(LOAD(&v->claims[id].state)) == KCM_CHUNK_FREE)
			mark_free(v, id);
}

int queue_lane_put(struct view *v, uint32_t lane, uint32_t id, uint32_t gen)
{
	struct kcm_lane *l = &v->lanes[lane];
	__u64 *cells = v->cells + (size_t)lane * (v->cfg.cell_mask + 1);

	for (;;) {
		__u64 t = LOAD(&l->tail), *cell = &cells[t & v->cfg.cell_mask], old = LOAD(cell);
		int64_t used;

		if (KCM_CELL_POS(old) == (__u32)t) {
			CAS(&l->tail, t, t + 1);
			continue;
		}
		used = (int64_t)(t - LOAD(&l->head));
		if (used < 0) /* t is old: others have put and taken since */
			continue;
		if (used > v->cfg.cell_mask)
			return -ENOSPC;
		if (!CAS(cell, old, KCM_CELL(t, gen, id)))
			continue;
		CAS(&l->tail, t, t + 1);
		return 0;
	}
}

uint32_t queue_lane_of(struct view *v, uint32_t conn, const uint8_t *msg, uint32_t len)
{
	const struct kcm_mux_cfg *cfg = &v->cfg;

	switch (cfg->policy) {
	case KCM_POLICY_CONN:
		return v->conns[conn].lane % KCM_LANES;
	case KCM_POLICY_ROBIN: {
		uint32_t n = LOAD(&v->prod->n_route), r;

		if (!n || n > KCM_LANES)
			return 0;
		r = __atomic_fetch_add(&v->prod->robin, 1, __ATOMIC_RELAXED) % n;
		return v->prod->route[r] % KCM_LANES;
	}
	case KCM_POLICY_KEY: {
		__u64 h = 0;

		if (msg && len > cfg->key_off) {
			uint32_t n = len - cfg->key_off;

			if (n > cfg->key_bytes)
				n = cfg->key_bytes;
			memcpy(&h, msg + cfg->key_off, n > 8 ? 8 : n);
		}
		return (uint32_t)(h * 0x9e3779b97f4a7c15ULL >> 58);
	}
	case KCM_POLICY_LEAST:
		break;
	}
	return 0;
}

static uint64_t own_word(uint32_t n, uint32_t i)
{
	return n >= 8 * i + 8 ? 0 : n <= 8 * i ? ~0ULL : ~0ULL << (8 * (n - 8 * i));
}

int queue_publish(struct view *v, uint32_t id, uint32_t n, uint64_t lanes)
{
	struct kcm_chunk *ch = &v->chunks[id];
	struct kcm_claim *cl = &v->claims[id];

	ch->n = n;
	ch->again = 0;
	ch->ts_ns = now_ns();
	/* In this order: see own_init() of bpf/mux_publish.bpf.h. */
	STORE(&cl->own[0], KCM_OWN_FILL * 0x0101010101010101ULL);
	for (uint32_t i = 1; i < KCM_CHUNK_MSGS / 8; i++)
		STORE(&cl->own[i], own_word(n, i));
	STORE(&cl->state, KCM_STATE(ch->gen, KCM_CHUNK_PUB));
	STORE(&cl->own[0], own_word(n, 0));
	for (uint32_t lane = 0; lanes; lane++, lanes >>= 1)
		if ((lanes & 1) && queue_lane_put(v, lane, id, ch->gen)) {
			STORE(&cl->state, KCM_STATE(ch->gen, KCM_CHUNK_ALLOC));
			return -ENOSPC;
		}
	return 0;
}

bool queue_lane_empty(const struct view *v, uint32_t lane)
{
	const struct kcm_lane *l = &v->lanes[lane];
	const __u64 *cells = v->cells + (size_t)lane * (v->cfg.cell_mask + 1);
	__u64 h = LOAD(&l->head);

	return KCM_CELL_POS(LOAD(&cells[h & v->cfg.cell_mask])) != (__u32)h;
}

/* Bits 0x80 of the zero bytes of @x: no carries between bytes, so every byte is judged alone. */
static uint64_t zero_bytes(uint64_t x)
{
	const uint64_t low7 = 0x7f7f7f7f7f7f7f7fULL;

	return ~(((x & low7) + low7) | x | low7);
}

static unsigned int claim_word(struct view *v, uint32_t id, uint32_t gen, unsigned int w, int lane,
			       uint8_t own, struct claim_ref *refs, unsigned int max)
{
	__u64 *word = &v->claims[id].own[w], old = LOAD(word);

	for (;;) {
		uint64_t free_bytes = zero_bytes(old), take = 0;
		unsigned int n = 0;

		for (; free_bytes && n < max; free_bytes &= free_bytes - 1) {
			unsigned int b = (unsigned int)__builtin_ctzll(free_bytes) / 8;
			uint8_t idx = (uint8_t)(w * 8 + b);

			if (lane >= 0 && v->chunks[id].lane[idx] != lane)
				continue;
			take |= (uint64_t)own << (8 * b);
			refs[n].chunk = (uint16_t)id;
			refs[n].gen = (uint16_t)gen;
			refs[n++].idx = idx;
		}
		if (!n)
			return 0;
		if (__atomic_compare_exchange_n(word, &old, old | take, false, __ATOMIC_SEQ_CST,
						__ATOMIC_ACQUIRE))
			return n;
	}
}

static void unclaim(struct view *v, const struct claim_ref *r)
{
	__atomic_fetch_and(&v->claims[r->chunk].own[r->idx / 8], ~(0xffULL << (8 * (r->idx % 8))),
			   __ATOMIC_SEQ_CST);
}

unsigned int queue_claim(struct view *v, uint32_t lane, uint8_t own, struct claim_ref *refs,
			 unsigned int max)
{
	struct kcm_lane *l = &v->lanes[lane];
	__u64 *cells = v->cells + (size_t)lane * (v->cfg.cell_mask + 1);
	bool one = v->cfg.policy == KCM_POLICY_LEAST || v->cfg.policy == KCM_POLICY_CONN;
	unsigned int got = 0;

	while (got < max) {
		__u64 h = LOAD(&l->head), c = LOAD(&cells[h & v->cfg.cell_mask]);
		uint32_t id = KCM_CELL_CHUNK(c), gen = KCM_CELL_GEN(c), s;
		unsigned int before = got;
		bool left = false;

		if (KCM_CELL_POS(c) != (__u32)h)
			break;
		if (id >= v->n_chunks) /* not ours to believe: another worker may have written it */
			goto next;
		/*
		 * Between this check and the claim the chunk may be freed and filled again. Then
		 * the claim takes a message of the new filling, which is as good: see the gen read
		 * below.
		 */
		s = LOAD(&v->claims[id].state);
		if (KCM_STATE_GEN(s) != gen || KCM_STATE_ST(s) != KCM_CHUNK_PUB)
			goto next;
		for (unsigned int w = 0; w < KCM_CHUNK_MSGS / 8 && got < max; w++) {
			unsigned int n = claim_word(v, id, gen, w, one ? -1 : (int)lane, own,
						    refs + got, max - got);

			got += n;
		}
		/*
		 * Filled again in between, and what we took is from the new filling: its cell is
		 * further back. Where order counts give it back, nobody else serves this lane.
		 */
		if (v->cfg.policy == KCM_POLICY_KEY && got > before &&
		    KCM_STATE_GEN(LOAD(&v->claims[id].state)) != gen) {
			while (got > before)
				unclaim(v, &refs[--got]);
			goto next;
		}
		if (got == max) {
			/* Others may find the rest, or move the head on. */
			left = true;
		}
		if (left)
			break;
next:
		CAS(&l->head, h, h + 1);
	}
	/* A claimed message pins its chunk: what gen it has can be read now, and stays. */
	for (unsigned int i = 0; i < got; i++)
		refs[i].gen = (uint16_t)v->chunks[refs[i].chunk].gen;
	return got;
}

bool queue_free(struct view *v, uint32_t chunk, uint32_t gen)
{
	if (!CAS(&v->claims[chunk].state, KCM_STATE(gen, KCM_CHUNK_PUB),
		 KCM_STATE(gen, KCM_CHUNK_FREE)))
		return false;
	mark_free(v, chunk);
	return true;
}

bool queue_release(struct view *v, uint32_t chunk, uint32_t gen, unsigned int w, uint64_t mask)
{
	struct kcm_claim *cl = &v->claims[chunk];

	if ((__atomic_fetch_or(&cl->own[w], mask, __ATOMIC_SEQ_CST) | mask) != ~0ULL)
		return false;
	for (unsigned int i = 0; i < KCM_CHUNK_MSGS / 8; i++)
		if (__atomic_load_n(&cl->own[i], __ATOMIC_SEQ_CST) != ~0ULL)
			return false;
	return queue_free(v, chunk, gen);
}

int queue_take_sleeper(struct view *v, uint64_t mask)
{
	for (;;) {
		uint64_t s = __atomic_load_n(&v->ctl->sleepers, __ATOMIC_SEQ_CST) & mask,
			 bit = s & -s;

		if (!s)
			return -1;
		if (__atomic_fetch_and(&v->ctl->sleepers, ~bit, __ATOMIC_SEQ_CST) & bit)
			return __builtin_ctzll(bit);
	}
}
