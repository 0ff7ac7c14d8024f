// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * bigmem.c - memory for messages above the biggest chunk: first fit in one memfd. The owner writes,
 * workers read. A block is free when the chunk that names it is; few are in use at a time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "owner.h"

#define ALIGN(n) (((n) + KCM_FRAME_PAD + 4095) & ~4095ULL)

static void unlink_block(struct kcm_mux *m, struct big_block **at)
{
	struct big_block *b = *at;

	/* Give the pages back: an idle mux keeps no big messages in memory. */
	fallocate(m->big_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)b->off,
		  (off_t)b->bytes);
	*at = b->next;
	m->big_used -= b->bytes;
	free(b);
}

void big_collect(struct kcm_mux *m)
{
	struct big_block **at = &m->big;

	while (*at) {
		struct big_block *b = *at;
		uint32_t s = b->published ? LOAD(&m->v.claims[b->chunk].state) : 0;

		if (b->published &&
		    (KCM_STATE_GEN(s) != b->gen || KCM_STATE_ST(s) == KCM_CHUNK_FREE))
			unlink_block(m, at);
		else
			at = &b->next;
	}
}

int64_t big_alloc(struct kcm_mux *m, uint64_t bytes)
{
	struct big_block **at = &m->big, *b;
	uint64_t from = 0;

	bytes = ALIGN(bytes);
	big_collect(m);
	for (; *at && (*at)->off - from < bytes; at = &(*at)->next)
		from = (*at)->off + (*at)->bytes;
	if (!*at && (from > m->v.big_bytes || m->v.big_bytes - from < bytes)) {
		m->big_short_ns = now_ns();
		return -ENOSPC;
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->off = from;
	b->bytes = bytes;
	b->next = *at;
	*at = b;
	m->big_used += bytes;
	return (int64_t)from;
}

void big_free(struct kcm_mux *m, uint64_t off)
{
	for (struct big_block **at = &m->big; *at; at = &(*at)->next)
		if ((*at)->off == off) {
			unlink_block(m, at);
			return;
		}
}

void big_published(struct kcm_mux *m, uint64_t off, uint32_t chunk)
{
	for (struct big_block *b = m->big; b; b = b->next)
		if (b->off == off) {
			b->chunk = chunk;
			b->gen = m->v.chunks[chunk].gen & 0xffff;
			b->published = true;
			return;
		}
}
