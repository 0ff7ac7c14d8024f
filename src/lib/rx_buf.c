// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* rx_buf.c - memory of copied bytes: counted buffers, those that are free kept hot for the next. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "rx_conn.h"

#define CACHE_MIN_BYTES (4U << 20)
#define ROUND_BYTES	(64U * 1024)

static uint64_t cache_limit(const struct kcm_rx *rx)
{
	uint64_t share = rx->limit_bytes / 4;

	return share > CACHE_MIN_BYTES ? share : CACHE_MIN_BYTES;
}

static void buf_free(struct rx_buf *b)
{
	munmap(b->data, b->bytes + KCM_FRAME_PAD);
	free(b);
}

/* The one that was used last, if it is neither too small nor much too large, nor over the limit. */
static struct rx_buf *from_cache(struct kcm_rx *rx, size_t bytes, uint64_t most)
{
	for (struct rx_buf **at = &rx->cache, *b; (b = *at); at = &b->next) {
		if (b->bytes < bytes || b->bytes > 4 * bytes || b->bytes > most)
			continue;
		*at = b->next;
		rx->cache_bytes -= b->bytes;
		return b;
	}
	return NULL;
}

static struct rx_buf *buf_get(struct kcm_rx *rx, size_t bytes, uint64_t most)
{
	struct rx_buf *b = from_cache(rx, bytes, most);

	if (!b) {
		b = calloc(1, sizeof(*b));
		if (!b)
			return NULL;
		/* KCM_FRAME_PAD fits behind, for pages are whole. */
		b->bytes = bytes;
		b->data = mmap(NULL, bytes + KCM_FRAME_PAD, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (b->data == MAP_FAILED) {
			free(b);
			return NULL;
		}
	}
	b->refs = 1;
	b->next = NULL;
	rx->buf_bytes += b->bytes;
	return b;
}

void rx_buf_put(struct kcm_rx *rx, struct rx_buf *b)
{
	if (!b || --b->refs)
		return;
	rx->buf_bytes -= b->bytes;
	if (rx->cache_bytes + b->bytes > cache_limit(rx)) {
		buf_free(b);
		return;
	}
	b->next = rx->cache;
	rx->cache = b;
	rx->cache_bytes += b->bytes;
}

void rx_buf_drop_cache(struct kcm_rx *rx)
{
	struct rx_buf *b;

	while ((b = rx->cache)) {
		rx->cache = b->next;
		buf_free(b);
	}
	rx->cache_bytes = 0;
}

int rx_room(struct kcm_rx *rx, size_t n)
{
	struct rx_buf *old = rx->chunk, *b;
	size_t have = rx->end - rx->start, bytes = have + n;
	uint64_t held = rx_held(rx);

	if (old && old->bytes - rx->end >= n)
		return 0;
	if (old && old->refs == 1 && old->bytes >= bytes) {
		memmove(old->data, old->data + rx->start, have);
		rx->start = 0;
		rx->end = have;
		return 0;
	}
	bytes = bytes < RX_CHUNK_BYTES ? RX_CHUNK_BYTES
				       : (bytes + ROUND_BYTES - 1) / ROUND_BYTES * ROUND_BYTES;
	if (old && old->refs == 1)
		held -= old->bytes;
	/* One message alone may always become whole. */
	if (rx->n_out && held + bytes > rx->limit_bytes) {
		held -= rx->ring.held_bytes;
		rx_ring_flush(rx);
		held += rx->ring.held_bytes;
		if (held + bytes > rx->limit_bytes)
			return -ENOBUFS;
	}
	b = buf_get(rx, bytes, rx->n_out ? rx->limit_bytes - held : UINT64_MAX);
	if (!b)
		return -ENOMEM;
	if (have)
		memcpy(b->data, old->data + rx->start, have);
	rx_buf_put(rx, old);
	rx->chunk = b;
	rx->start = 0;
	rx->end = have;
	return 0;
}

int rx_piece_chunk(struct kcm_rx *rx, size_t n, enum kcm_rx_why why)
{
	struct rx_msg *m = rx->cur;
	struct rx_buf *b = rx->chunk;
	uint8_t *p = b->data + rx->start;
	struct iovec *last = m->n_iov ? &m->iov[m->n_iov - 1] : NULL;

	if (!n)
		return 0;
	if (last && (uint8_t *)last->iov_base + last->iov_len == p && m->n_bufs &&
	    m->bufs[m->n_bufs - 1] == b) {
		last->iov_len += n;
	} else {
		if (m->n_iov == KCM_RX_PIECES)
			return -ENOBUFS;
		m->iov[m->n_iov++] = (struct iovec){ p, n };
	}
	if (!m->n_bufs || m->bufs[m->n_bufs - 1] != b) {
		m->bufs[m->n_bufs++] = b;
		b->refs++;
	}
	rx->start += n;
	rx->got += n;
	rx->st.copied_bytes[why] += n;
	return 0;
}
