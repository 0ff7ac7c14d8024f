// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * tx_send.c - messages whose bodies are whole pages for the receiver.
 *
 * While a long body is sent the socket is corked: else a window that ends in the middle of a page
 * makes a short segment, and from there on no page is whole. The header leaves nevertheless, for
 * only the last skb is kept back.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "kcm_tx.h"
#include "tx_done.h"

#define PAGE		   4096U
#define ZEROCOPY_MIN_BYTES (64U * 1024)
#define MAGIC		   0x6b636d70U
#define MESSAGE_MAX	   (1ULL << 30)

struct kcm_tx {
	int fd;
	bool zerocopy, corked;
	uint32_t min_bytes;
	struct tx_done done;
	struct kcm_tx_stats st;
	uint8_t page[PAGE], filling[PAGE];
};

/* What a padded header begins with; the application's follows. */
struct padded {
	uint32_t frame_be; /* bytes that follow the header */
	uint32_t magic_be;
	uint64_t body_be;
	uint32_t head_be;
	uint32_t zero;
};

_Static_assert(sizeof(struct padded) + KCM_TX_PADDED_HEAD == PAGE, "a page");

int kcm_tx_open(int fd, const struct kcm_tx_opts *given, struct kcm_tx **out)
{
	struct kcm_tx_opts o = { 0 };
	socklen_t len = sizeof(int);
	struct kcm_tx *tx;
	int v, one = 1;

	if (given && (given->sz < sizeof(size_t) || given->sz > sizeof(o)))
		return -EINVAL;
	if (given)
		memcpy(&o, given, given->sz);
	if (o.flags & ~KCM_TX_NO_ZEROCOPY)
		return -EINVAL;
	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &v, &len))
		return -errno;
	if (v != IPPROTO_TCP)
		return -EOPNOTSUPP;
	tx = calloc(1, sizeof(*tx));
	if (!tx)
		return -ENOMEM;
	tx->fd = fd;
	tx->min_bytes = o.zerocopy_min_bytes ? o.zerocopy_min_bytes : ZEROCOPY_MIN_BYTES;
	tx->zerocopy = !(o.flags & KCM_TX_NO_ZEROCOPY) &&
		       !setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one));
	*out = tx;
	return 0;
}

static void cork(struct kcm_tx *tx, bool on)
{
	int v = on;

	if (tx->corked != on && !setsockopt(tx->fd, IPPROTO_TCP, TCP_CORK, &v, sizeof(v)))
		tx->corked = on;
}

/* Completions make the socket "in error": they have to be read, or poll() would never sleep. */
static int wait_room(struct kcm_tx *tx, short what, int timeout_ms)
{
	struct pollfd p = { tx->fd, what, 0 };
	int r = poll(&p, 1, timeout_ms);

	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	if (p.revents & POLLERR) {
		int e = 0, n = tx_done_read(&tx->done, tx->fd);
		socklen_t len = sizeof(e);

		if (n < 0)
			return n;
		if (!n && !getsockopt(tx->fd, SOL_SOCKET, SO_ERROR, &e, &len) && e)
			return -e;
	}
	return 0;
}

static int sent_error(struct kcm_tx *tx)
{
	if (errno == EINTR)
		return 0;
	return errno == EAGAIN ? wait_room(tx, POLLOUT, -1) : -errno;
}

static int put(struct kcm_tx *tx, const void *from, size_t n, int flags)
{
	const uint8_t *p = from;

	while (n) {
		ssize_t r = send(tx->fd, p, n, flags | MSG_NOSIGNAL);
		int err;

		if (r < 0) {
			err = sent_error(tx);
			if (err)
				return err;
			continue;
		}
		p += r;
		n -= (size_t)r;
		tx->st.bytes += (uint64_t)r;
	}
	return 0;
}

/* The kernel bounds what it notes of them (net.core.optmem_max): read what is done, or copy. */
static int no_buffers(struct kcm_tx *tx, const uint8_t *p, size_t n, size_t *sent)
{
	int err = tx_done_read(&tx->done, tx->fd);

	*sent = 0;
	if (err)
		return err < 0 ? err : 0;
	*sent = n < tx->min_bytes ? n : tx->min_bytes;
	return put(tx, p, *sent, MSG_MORE);
}

static int put_zerocopy(struct kcm_tx *tx, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t r = send(tx->fd, p, n, MSG_ZEROCOPY | MSG_NOSIGNAL);
		size_t sent;
		int err;

		if (r < 0 && errno == ENOBUFS) {
			err = no_buffers(tx, p, n, &sent);
			if (err)
				return err;
			p += sent;
			n -= sent;
			continue;
		}
		if (r < 0) {
			err = sent_error(tx);
			if (err)
				return err;
			continue;
		}
		if (r)
			tx->done.next++;
		tx->st.zerocopy_bytes += (uint64_t)r;
		tx->st.bytes += (uint64_t)r;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

/* Of a message whose body takes @bytes: the part that goes as it is. */
static bool as_it_is(const struct kcm_tx *tx, size_t bytes)
{
	return tx->zerocopy && bytes >= tx->min_bytes;
}

static int put_body(struct kcm_tx *tx, const void *body, size_t bytes)
{
	return as_it_is(tx, bytes) ? put_zerocopy(tx, body, bytes) : put(tx, body, bytes, 0);
}

static int finish(struct kcm_tx *tx, int err, uint64_t *id)
{
	cork(tx, false);
	if (err)
		return err;
	tx->st.messages++;
	if (id)
		*id = tx->done.next;
	return 0;
}

int kcm_tx_send(struct kcm_tx *tx, const void *head, size_t head_bytes, const void *body,
		size_t body_bytes, uint64_t *id)
{
	bool is_long = body_bytes >= tx->min_bytes;
	int err;

	cork(tx, is_long);
	err = put(tx, head, head_bytes, is_long ? MSG_EOR : body_bytes ? MSG_MORE : 0);
	return finish(tx, err ?: put_body(tx, body, body_bytes), id);
}

int kcm_tx_send_padded(struct kcm_tx *tx, const void *head, size_t head_bytes, const void *body,
		       size_t body_bytes, uint64_t *id)
{
	uint64_t whole = ((uint64_t)body_bytes + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	struct padded h = { htonl((uint32_t)whole), htonl(MAGIC), htobe64(body_bytes),
			    htonl((uint32_t)head_bytes), 0 };
	int err;

	if (head_bytes > KCM_TX_PADDED_HEAD || whole > MESSAGE_MAX - PAGE)
		return -EMSGSIZE;
	memset(tx->page, 0, sizeof(tx->page));
	memcpy(tx->page, &h, sizeof(h));
	if (head_bytes)
		memcpy(tx->page + sizeof(h), head, head_bytes);
	cork(tx, true);
	err = put(tx, tx->page, PAGE, MSG_EOR);
	err = err ?: put_body(tx, body, body_bytes);
	err = err ?: put(tx, tx->filling, whole - body_bytes, MSG_EOR);
	return finish(tx, err, id);
}

int kcm_tx_sendfile(struct kcm_tx *tx, const void *head, size_t head_bytes, int file, off_t offset,
		    size_t body_bytes)
{
	int err;

	cork(tx, true);
	err = put(tx, head, head_bytes, body_bytes >= tx->min_bytes ? MSG_EOR : MSG_MORE);
	while (!err && body_bytes) {
		ssize_t r = sendfile(tx->fd, file, &offset, body_bytes);

		if (r < 0) {
			err = sent_error(tx);
			continue;
		}
		if (!r)
			err = -ENODATA;
		body_bytes -= (size_t)r;
		tx->st.file_bytes += (uint64_t)r;
		tx->st.bytes += (uint64_t)r;
	}
	return finish(tx, err, NULL);
}

int kcm_tx_done(struct kcm_tx *tx, uint64_t id)
{
	int r = id > tx->done.upto ? tx_done_read(&tx->done, tx->fd) : 0;

	/* All calls up to the last of the message: they are told in order but for rare cases. */
	return r < 0 ? r : id <= tx->done.upto;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int kcm_tx_drain(struct kcm_tx *tx, int timeout_ms)
{
	int64_t end = now_ms() + timeout_ms;

	for (;;) {
		int err, n = tx_done_read(&tx->done, tx->fd);
		int64_t left = end - now_ms();

		if (n < 0)
			return n;
		if (tx->done.upto == tx->done.next)
			return 0;
		if (timeout_ms >= 0 && left <= 0)
			return -EAGAIN;
		/* Nothing but what poll() always tells: errors, and the error queue. */
		err = wait_room(tx, 0, timeout_ms < 0 ? -1 : (int)left);
		if (err)
			return err;
	}
}

int kcm_tx_padded_parse(const void *page, size_t frame_bytes, const void **head, size_t *head_bytes,
			uint64_t *body_bytes)
{
	struct padded h;

	if (frame_bytes < PAGE)
		return -EPROTO;
	memcpy(&h, page, sizeof(h));
	*head_bytes = ntohl(h.head_be);
	*body_bytes = be64toh(h.body_be);
	if (h.magic_be != htonl(MAGIC) || ntohl(h.frame_be) != frame_bytes - PAGE ||
	    *head_bytes > KCM_TX_PADDED_HEAD || *body_bytes > frame_bytes - PAGE ||
	    frame_bytes - PAGE - *body_bytes >= PAGE)
		return -EPROTO;
	*head = (const uint8_t *)page + sizeof(h);
	return 0;
}

int kcm_tx_stats(const struct kcm_tx *tx, struct kcm_tx_stats *stats, size_t sz)
{
	struct kcm_tx_stats st = tx->st;

	if (sz < sizeof(uint64_t))
		return -EINVAL;
	st.kernel_copies = tx->done.copies;
	st.outstanding = tx->done.next - tx->done.upto;
	for (unsigned int i = 0; i < tx->done.n; i++)
		st.outstanding -= tx->done.range[i].last - tx->done.range[i].first + 1;
	if (sz > sizeof(st)) {
		memset(stats, 0, sz);
		sz = sizeof(st);
	}
	memcpy(stats, &st, sz);
	return 0;
}

void kcm_tx_close(struct kcm_tx *tx)
{
	if (!tx)
		return;
	free(tx->done.range);
	free(tx);
}
