// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * rx_ring.c - the window into which the kernel maps pages, used round and round.
 *
 * Pages are given back in the order of the stream, many messages with one madvise(): each costs
 * an interrupt on every other CPU that runs a thread of the process.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rx_conn.h"

int rx_ring_open(struct rx_ring *r, uint64_t bytes)
{
	/*
	 * Any TCP socket's mapping takes the pages of every other one. Were it @fd's own, its file
	 * would stay open with the mapping, and close() would not end the connection.
	 */
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), err = 0;
	void *p;

	if (fd < 0)
		fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		err = -errno;
	close(fd);
	if (err)
		return err;
	/* A child would hold the pages after we have given them back. */
	if (madvise(p, bytes, MADV_DONTFORK)) {
		err = -errno;
		munmap(p, bytes);
		return err;
	}
	r->base = p;
	r->bytes = bytes;
	return 0;
}

void rx_ring_close(struct rx_ring *r)
{
	if (r->base)
		munmap(r->base, r->bytes);
	r->base = NULL;
}

int rx_ring_take(struct kcm_rx *rx, struct rx_msg *m, uint64_t bytes)
{
	struct rx_ring *r = &rx->ring;
	uint64_t off = r->tail % r->bytes;
	uint64_t at = off + bytes > r->bytes ? r->tail + r->bytes - off : r->tail;

	if (rx->n_out && rx_held(rx) + bytes > rx->limit_bytes) {
		rx_ring_flush(rx);
		if (rx_held(rx) + bytes > rx->limit_bytes)
			return -ENOBUFS;
	}
	if (at + bytes - r->clean > r->bytes) {
		rx_ring_flush(rx);
		if (at + bytes - r->clean > r->bytes)
			return -ENOSPC;
	}
	m->at = at;
	m->end = r->tail = at + bytes;
	m->in_ring = true;
	m->next = NULL;
	m->prev = r->last;
	if (r->last)
		r->last->next = m;
	else
		r->first = m;
	r->last = m;
	return 0;
}

void rx_ring_trim(struct kcm_rx *rx, struct rx_msg *m)
{
	struct rx_ring *r = &rx->ring;

	if (!m->in_ring)
		return;
	/* It is the last one. What was mapped is in one run from its begin. */
	m->end = r->tail = m->at + m->mapped_bytes;
	if (m->mapped_bytes)
		return;
	r->last = m->prev;
	if (m->prev)
		m->prev->next = NULL;
	else
		r->first = NULL;
	m->in_ring = false;
}

static void give_back(struct kcm_rx *rx, uint64_t from, uint64_t to)
{
	struct rx_ring *r = &rx->ring;

	while (from < to) {
		uint64_t n = r->bytes - from % r->bytes;

		if (n > to - from)
			n = to - from;
		madvise(rx_ring_at(r, from), n, MADV_DONTNEED);
		rx->st.calls++;
		rx->st.releases++;
		from += n;
	}
}

void rx_ring_flush(struct kcm_rx *rx)
{
	struct rx_ring *r = &rx->ring;
	uint64_t from = r->clean;
	struct rx_msg *m;

	if (!r->pending_bytes)
		return;
	while ((m = r->first) && m->released) {
		r->first = m->next;
		if (r->first)
			r->first->prev = NULL;
		else
			r->last = NULL;
		r->held_bytes -= m->mapped_bytes;
		r->pending_bytes -= m->mapped_bytes;
		rx_msg_free(rx, m);
	}
	r->clean = r->first ? r->first->at : r->tail;
	give_back(rx, from, r->clean);
	/* From the begin again, whose page tables are there and in the caches. */
	if (!r->first)
		r->tail = r->clean = 0;
}

struct rx_msg *rx_msg_new(struct kcm_rx *rx)
{
	struct rx_msg *m = rx->free_msgs;

	if (m) {
		rx->free_msgs = m->next;
	} else {
		m = malloc(sizeof(*m));
		if (!m)
			return NULL;
		m->next_all = rx->all;
		rx->all = m;
	}
	m->next = NULL;
	m->n_bufs = m->n_iov = m->mapped_pieces = 0;
	m->mapped_bytes = 0;
	m->at = m->end = 0;
	m->out = m->released = m->in_ring = false;
	return m;
}

void rx_msg_free(struct kcm_rx *rx, struct rx_msg *m)
{
	m->next = rx->free_msgs;
	m->out = false;
	rx->free_msgs = m;
}

int kcm_rx_release(struct kcm_rx *rx, struct kcm_rx_msg *msg)
{
	struct rx_msg *m = msg->priv;

	if (!m || !m->out)
		return -EINVAL;
	msg->priv = NULL;
	msg->iov = NULL;
	m->out = false;
	rx->n_out--;
	for (unsigned int i = 0; i < m->n_bufs; i++)
		rx_buf_put(rx, m->bufs[i]);
	m->n_bufs = 0;
	if (!m->in_ring) {
		rx_msg_free(rx, m);
		return 0;
	}
	m->released = true;
	rx->ring.pending_bytes += m->mapped_bytes;
	if (rx->ring.pending_bytes >= rx->release_bytes)
		rx_ring_flush(rx);
	return 0;
}

void kcm_rx_flush(struct kcm_rx *rx)
{
	rx_ring_flush(rx);
	rx_buf_drop_cache(rx);
}
