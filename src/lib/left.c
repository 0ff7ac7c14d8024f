// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * left.c - unfinished messages that the owner has: taken over from BPF, kept, given back to it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drain.h"

int left_put(struct kcm_mux *m, struct oconn *o, const void *p, size_t n, bool front)
{
	if (!n)
		return 0;
	if (o->left_n + n > o->left_cap) {
		size_t cap = o->left_n + n < 256 ? 256 : o->left_n + n;
		uint8_t *q = realloc(o->left, cap);

		if (!q)
			return -ENOMEM;
		m->left_bytes += cap - o->left_cap;
		o->left = q;
		o->left_cap = (uint32_t)cap;
	}
	if (front)
		memmove(o->left + n, o->left, o->left_n);
	memcpy(front ? o->left : o->left + o->left_n, p, n);
	o->left_n += (uint32_t)n;
	return 0;
}

int drain_keep(struct kcm_mux *m, struct oconn *o, const void *p, size_t n)
{
	return left_put(m, o, p, n, false);
}

void left_cut(struct kcm_mux *m, struct oconn *o, uint32_t n)
{
	o->left_n -= n;
	memmove(o->left, o->left + n, o->left_n);
	if (!o->left_n) {
		m->left_bytes -= o->left_cap;
		free(o->left);
		o->left = NULL;
		o->left_cap = 0;
	}
}

static void asm_release(struct kcm_mux *m, struct kcm_conn *c)
{
	uint32_t id = c->asm_chunk - 1;
	uint32_t cls = m->v.chunks[id].size_bytes;

	cls = cls <= KCM_CHUNK0_BYTES ? 0 : cls <= KCM_CHUNK1_BYTES ? 1 : 2;
	__atomic_fetch_sub(&m->v.prod->n_asm[cls], 1, __ATOMIC_SEQ_CST);
	queue_chunk_drop(&m->v, id);
	c->asm_chunk = 0;
}

/* The unfinished message that BPF had begun comes before what is left. Return: 0, -ENOMEM. */
int drain_take_asm(struct kcm_mux *m, struct oconn *o)
{
	struct kcm_conn *c = &m->v.conns[o->slot];
	int err;

	if (!c->asm_chunk || c->asm_chunk > m->v.n_chunks)
		return 0;
	err = left_put(m, o, view_chunk_data(&m->v, &m->v.chunks[c->asm_chunk - 1]), c->asm_have,
		       true);
	/* It began when it began, whoever has it. */
	o->partial_ns = c->asm_since_ns;
	asm_release(m, c);
	return err;
}

void drain_forget(struct kcm_mux *m, struct oconn *o)
{
	if (o->left_n)
		left_cut(m, o, o->left_n);
	if (o->big_on)
		big_free(m, o->big_off);
	o->big_on = false;
	if (m->v.conns[o->slot].asm_chunk)
		asm_release(m, &m->v.conns[o->slot]);
}

/* Put the unfinished message where BPF can go on with it. */
bool left_give(struct kcm_mux *m, struct oconn *o)
{
	struct kcm_conn *c = &m->v.conns[o->slot];
	uint32_t bytes = o->need ? o->need : o->left_n * 2, cls;
	int id;

	if (!o->need && bytes < c->len_hint)
		bytes = c->len_hint;
	if (bytes > KCM_CHUNK2_BYTES)
		bytes = KCM_CHUNK2_BYTES;
	/* A stream parser has to begin at a message's start: read on until there is one. */
	if (o->left_n >= KCM_CHUNK2_BYTES || m->v.cfg.mode == KCM_MODE_STRPARSER)
		return false;
	cls = bytes <= KCM_CHUNK0_BYTES ? 0 : bytes <= KCM_CHUNK1_BYTES ? 1 : 2;
	if (LOAD(&m->v.prod->n_asm[cls]) >= m->v.cfg.n_chunks[cls] / 2)
		return false;
	id = queue_chunk_new(&m->v, bytes);
	if (id < 0)
		return false;
	bytes = m->v.chunks[id].size_bytes;
	cls = bytes <= KCM_CHUNK0_BYTES ? 0 : bytes <= KCM_CHUNK1_BYTES ? 1 : 2;
	__atomic_fetch_add(&m->v.prod->n_asm[cls], 1, __ATOMIC_SEQ_CST);
	memcpy(view_chunk_data(&m->v, &m->v.chunks[id]), o->left, o->left_n);
	c->asm_have = o->left_n;
	c->asm_need = o->need;
	c->asm_since_ns = o->partial_ns;
	kcm_frame_restart(&c->fs, !c->msgs);
	c->asm_chunk = (uint32_t)id + 1;
	left_cut(m, o, o->left_n);
	return true;
}
