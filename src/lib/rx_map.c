// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * rx_map.c - the rest of a message, by TCP_ZEROCOPY_RECEIVE.
 *
 * The kernel maps whole pages up to the first one that is none, and says how many bytes to skip
 * until the next: those are copied, and the next attempt goes on behind them. What it is given to
 * copy to gets the bytes that follow in the same skb: the tail, and the next message's header.
 */
#include <errno.h>
#include <linux/types.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rx_conn.h"

#ifndef TCP_ZEROCOPY_RECEIVE
#define TCP_ZEROCOPY_RECEIVE 35
#endif

#define TLB_CLEAN_HINT 0x1

/* Of the kernel since 5.12; older ones know less of it, and say so by the length. */
struct zc {
	__u64 address;
	__u32 length;
	__u32 recv_skip_hint;
	__u32 inq;
	__s32 err;
	__u64 copybuf_address;
	__s32 copybuf_len;
	__u32 flags;
	__u64 msg_control;
	__u64 msg_controllen;
	__u32 msg_flags;
	__u32 reserved;
};

_Static_assert(sizeof(struct zc) == 64, "as in linux/tcp.h");

#define TRIES	  4	/* after which a message that is mostly copied is copied whole */
#define AHEAD_MAX 2048U /* a page less one byte, and the header, are not more than 2 pages */

bool rx_map_works(void)
{
	static int known; /* 1 yes, -1 no: the same answer, whoever asks first */
	struct rx_ring r = { 0 };
	int now = __atomic_load_n(&known, __ATOMIC_RELAXED);

	if (!now) {
		now = sysconf(_SC_PAGESIZE) == RX_PAGE && !rx_ring_open(&r, RX_PAGE) ? 1 : -1;
		rx_ring_close(&r);
		__atomic_store_n(&known, now, __ATOMIC_RELAXED);
	}
	return now > 0;
}

static void piece_mapped(struct kcm_rx *rx, size_t n)
{
	struct rx_msg *m = rx->cur;
	uint8_t *p = rx_ring_at(&rx->ring, m->at + m->mapped_bytes);
	struct iovec *last = m->n_iov ? &m->iov[m->n_iov - 1] : NULL;

	if (last && (uint8_t *)last->iov_base + last->iov_len == p) {
		last->iov_len += n;
	} else {
		m->iov[m->n_iov++] = (struct iovec){ p, n };
		m->mapped_pieces++;
	}
	m->mapped_bytes += n;
	rx->ring.held_bytes += n;
	rx->got += n;
}

/* Into the chunk by recv(). 0 all of it; -errno, -EAGAIN with @want */
static int copy(struct kcm_rx *rx, size_t n, size_t ahead, enum kcm_rx_why why)
{
	size_t have = rx->end - rx->start;

	if (have < n) {
		int err = rx_room(rx, n - have + ahead);
		ssize_t r;

		if (err)
			return err;
		r = rx_read(rx, n - have + ahead, false);
		if (!r)
			return -EPIPE;
		if (r < 0) {
			rx->want = n - have;
			return (int)r;
		}
		have += (size_t)r;
	}
	if (n > have)
		n = have;
	/* A page of the stream is never put together from two reads here: it goes on later. */
	return rx_piece_chunk(rx, n, why);
}

/* The next @n bytes are copied: because no page can begin or end there? */
static enum kcm_rx_why edge(const struct kcm_rx *rx, size_t n)
{
	return n < RX_PAGE && (!rx->cur->mapped_bytes || n == rx->len - rx->got)
		       ? KCM_RX_WHY_EDGE
		       : KCM_RX_WHY_UNALIGNED;
}

/* Nothing came of the last attempt. */
static int none(struct kcm_rx *rx, size_t rest, size_t hint)
{
	/* Less than a page is there: more will come, or poll() cannot wait for more than this. */
	if (hint < RX_PAGE && rx->inq < RX_PAGE && !rx->stalls++) {
		rx->want = rest;
		return -EAGAIN;
	}
	rx->stalls = 0;
	rx->skip_bytes = hint && hint < rest ? hint : hint ? rest : RX_PAGE;
	if (rx->skip_bytes > rest)
		rx->skip_bytes = rest;
	return 0;
}

static int attempt(struct kcm_rx *rx, size_t rest, size_t ahead)
{
	size_t pages = rest & ~(size_t)(RX_PAGE - 1), tail = rest - pages, part;
	struct rx_msg *m = rx->cur;
	struct zc zc = { 0 };
	socklen_t len = sizeof(zc);
	int err = rx_room(rx, tail + ahead);

	if (err)
		return err;
	zc.address = (uintptr_t)rx_ring_at(&rx->ring, m->at + m->mapped_bytes);
	zc.length = (__u32)pages;
	zc.copybuf_address = (uintptr_t)(rx->chunk->data + rx->end);
	zc.copybuf_len = (__s32)(tail + ahead);
	zc.flags = TLB_CLEAN_HINT;
	rx->ready = false;
	rx->st.calls++;
	rx->tries++;
	if (getsockopt(rx->fd, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &zc, &len)) {
		if (errno == EIO) /* the end, and nothing is left */
			return -EPIPE;
		/* It will not go better with the next message. */
		rx->kernel_maps = false;
		rx->give_up = true;
		rx->copy_why = KCM_RX_WHY_KERNEL;
		return 0;
	}
	/* It was taken from the socket: what is there yet comes first. */
	if (zc.err < 0)
		rx->sk_err = zc.err;
	rx->inq = zc.inq;
	if (zc.length) {
		if (!m->mapped_bytes)
			rx->first_page = rx->got;
		piece_mapped(rx, zc.length);
	}
	if (zc.copybuf_len > 0) {
		rx->end += (size_t)zc.copybuf_len;
		part = rest - zc.length;
		if (part > (size_t)zc.copybuf_len)
			part = (size_t)zc.copybuf_len;
		err = rx_piece_chunk(rx, part, edge(rx, part));
		if (err)
			return err;
	}
	rest = rx->len - rx->got;
	if (!zc.length && zc.copybuf_len <= 0)
		return rest ? none(rx, rest, zc.recv_skip_hint) : 0;
	rx->stalls = 0;
	rx->skip_bytes = zc.recv_skip_hint < rest ? zc.recv_skip_hint : rest;
	return 0;
}

static bool hopeless(const struct kcm_rx *rx)
{
	return rx->tries >= TRIES && rx->cur->mapped_bytes < rx->got / 2;
}

int rx_map_step(struct kcm_rx *rx)
{
	size_t ahead = rx->exact ? rx->head_bytes : 0, rest = rx->len - rx->got;
	struct rx_msg *m = rx->cur;
	int err;

	if (!rest)
		return 1;
	if (rx->skip_bytes) {
		size_t before = rx->got;

		err = copy(rx, rx->skip_bytes, 0, edge(rx, rx->skip_bytes));
		rx->skip_bytes -= rx->got - before;
		return err;
	}
	if (ahead > AHEAD_MAX)
		ahead = 0;
	/* One place is for the pages, one for what follows, one to skip, one for the rest. */
	if (!rx->give_up && (hopeless(rx) || m->n_iov + 4 > KCM_RX_PIECES)) {
		rx->give_up = true;
		rx->copy_why = KCM_RX_WHY_UNALIGNED;
	}
	if (rx->give_up || rest < RX_PAGE || rx->start != rx->end)
		return copy(rx, rest, ahead, rest < RX_PAGE ? KCM_RX_WHY_EDGE : rx->copy_why);
	if (!rx->ready && rx->inq < rest && rx->inq < RX_WAIT_BYTES) {
		rx->want = rest;
		return -EAGAIN;
	}
	if (!m->in_ring) {
		err = rx_ring_take(rx, m, rest & ~(uint64_t)(RX_PAGE - 1));
		if (err == -ENOSPC) {
			rx->give_up = true;
			rx->copy_why = KCM_RX_WHY_ROOM;
			return 0;
		}
		if (err)
			return err;
	}
	return attempt(rx, rest, ahead);
}
