/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * rx_conn.h - what the files of rx share. Internal to libkcm.
 *
 *	rx_open.c	open, close, options		rx_buf.c	memory of copied bytes
 *	rx_recv.c	framing, the main loop		rx_ring.c	window of mapped pages
 *	rx_read.c	recv(), SO_RCVLOWAT, waiting	rx_map.c	TCP_ZEROCOPY_RECEIVE
 *	rx_choice.c	map or copy			rx_stat.c	counters that others can see
 *	rx_guard.c	no socket in a mux and here
 *
 * Bytes of the stream are copied into the chunk; [start, end) of it does not belong to a message
 *yet. Messages are pieces of chunks, which are counted references, and of the window. Mapping needs
 * bytes in front of it to be read exactly: while rx maps, nothing is read ahead but the next
 *header.
 */
#ifndef KCM_RX_CONN_H
#define KCM_RX_CONN_H

#include <stdbool.h>
#include <sys/types.h>

#include "kcm_rx.h"
#include "rx_guard.h"
#include "rx_stat.h"

#define RX_PAGE	       4096U
#define RX_CHUNK_BYTES (256U * 1024)
#define RX_AHEAD_MAX   1024U		  /* longest header that is read ahead of its length */
#define RX_PEEK_BYTES  1024U		  /* where the header's length is not known */
#define RX_WAIT_BYTES  (4U * 1024 * 1024) /* most bytes that shall wait in the socket */
#define RX_LIMIT_BYTES (128ULL << 20)
#define RX_LIMIT_SPARE (1ULL << 20)
#define RX_IDLE_MS     10 /* after which released pages are given back */

struct rx_buf {
	struct rx_buf *next; /* in the cache */
	uint8_t *data;
	size_t bytes; /* KCM_FRAME_PAD more are there */
	unsigned int refs;
};

struct rx_msg {
	struct rx_msg *next, *prev; /* in the window's order, or free */
	struct rx_msg *next_all;
	struct rx_buf *bufs[KCM_RX_PIECES];
	struct iovec iov[KCM_RX_PIECES];
	unsigned int n_bufs, n_iov;
	unsigned int mapped_pieces;
	size_t mapped_bytes;
	uint64_t at, end; /* its part of the window; at == end: none */
	bool out, released, in_ring;
};

/* The window: a VMA of a socket of our own, so that it does not keep @fd's connection open. */
struct rx_ring {
	uint8_t *base; /* NULL: none */
	uint64_t bytes;
	uint64_t tail, clean;	     /* positions count up; [clean, tail) may have pages */
	uint64_t held_bytes;	     /* mapped, and not given back */
	uint64_t pending_bytes;	     /* of those: released */
	struct rx_msg *first, *last; /* messages with a part of it */
};

struct rx_choice {
	enum kcm_rx_mode now;
	enum kcm_rx_why why; /* of COPY */
	enum kcm_rx_mode chosen;
	bool trial;			  /* @now is only to compare */
	unsigned int settle;		  /* messages that do not count yet */
	uint64_t bytes, mapped, messages; /* of this look */
	uint64_t since_bytes, hold_bytes; /* of what was chosen; 0: for the first time */
	uint64_t cpu_ns;		  /* of @thread, when the look began */
	const void *thread;
	uint64_t map_ps, copy_ps; /* a byte */
};

enum rx_step {
	RX_FRAME, /* where does the message end? */
	RX_FILL,  /* to the chunk until it is whole */
	RX_MAPPING,
};

struct kcm_rx {
	int fd;
	pid_t pid;
	uint64_t cookie;
	struct kcm_frame frame;
	struct kcm_fstate fs;
	enum kcm_rx_mode mode;
	uint64_t limit_bytes, release_bytes, window_bytes;
	uint32_t map_min_bytes, predict_us;
	bool kernel_maps;

	/* copied bytes */
	struct rx_buf *chunk, *cache;
	size_t start, end, cache_bytes;
	uint64_t buf_bytes; /* of buffers outside of the cache */

	/* the message in the making */
	enum rx_step step;
	struct rx_msg *cur;
	size_t len, got; /* @got: what is in cur's pieces */
	enum kcm_rx_why copy_why;
	size_t skip_bytes; /* RX_MAPPING: to copy before the next attempt */
	size_t first_page; /* bytes in front of the first mapped one */
	unsigned int tries, stalls;
	bool give_up;
	bool scan; /* no look ahead tells its length: read all of it */

	/* headers */
	bool exact;	     /* no message is shorter than @base_head */
	uint32_t base_head;  /* bytes that are enough to know the length; 0: not known */
	uint32_t head_bytes; /* in front of the first page of the last mapped message */

	/* the socket */
	size_t inq;  /* bytes that are there, at least; a hint */
	size_t want; /* what to wait for */
	bool ready;  /* poll() said so, nothing was read since */
	uint32_t lowat;
	uint32_t predict; /* rest of the last message, if it was like those before */
	size_t last_len;
	unsigned int same_run;
	bool nonblock; /* O_NONBLOCK */
	bool widened;  /* the window, for long messages */
	int sk_err;
	int over; /* 1 end of stream, else -errno */

	struct rx_msg *free_msgs;
	struct rx_msg *all; /* by next_all: every one there is */
	unsigned int n_out;
	struct rx_ring ring;
	struct rx_choice choice;
	struct kcm_rx_stats st;
	struct rx_stat_slot *slot;
};

/* ---- rx_buf.c ---- */
/* Room for @n bytes behind @end; what is in [start, end) stays in one piece. 0, -ENOBUFS, -ENOMEM
 */
int rx_room(struct kcm_rx *rx, size_t n);
void rx_buf_put(struct kcm_rx *rx, struct rx_buf *b);
void rx_buf_drop_cache(struct kcm_rx *rx);
/* The first @n bytes of the chunk become a piece of the current message. */
int rx_piece_chunk(struct kcm_rx *rx, size_t n, enum kcm_rx_why why);

/* ---- rx_ring.c ---- */
int rx_ring_open(struct rx_ring *r, uint64_t bytes);
void rx_ring_close(struct rx_ring *r);
/* 0; -ENOBUFS over the limit; -ENOSPC older messages are in the way */
int rx_ring_take(struct kcm_rx *rx, struct rx_msg *m, uint64_t bytes);
/* It is whole, and needs no more than what was mapped. */
void rx_ring_trim(struct kcm_rx *rx, struct rx_msg *m);
void rx_ring_flush(struct kcm_rx *rx);
static inline uint8_t *rx_ring_at(const struct rx_ring *r, uint64_t pos)
{
	return r->base + pos % r->bytes;
}

static inline uint64_t rx_held(const struct kcm_rx *rx)
{
	return rx->buf_bytes + rx->ring.held_bytes;
}

struct rx_msg *rx_msg_new(struct kcm_rx *rx);
void rx_msg_free(struct kcm_rx *rx, struct rx_msg *m);

/* ---- rx_read.c ---- */
/* To the chunk, at most @n. > 0; 0 end; -EAGAIN, @want is set; -errno */
ssize_t rx_read(struct kcm_rx *rx, size_t n, bool block);
ssize_t rx_peek(struct kcm_rx *rx, size_t n);
void rx_lowat(struct kcm_rx *rx, size_t want);
/* 0 readable; -EAGAIN; -EINTR */
int rx_wait(struct kcm_rx *rx, int timeout_ms);

/* ---- rx_map.c ---- */
/* 1 the message is whole; 0 go on; -EAGAIN; -EPIPE end; -errno */
int rx_map_step(struct kcm_rx *rx);
bool rx_map_works(void);

/* ---- rx_choice.c ---- */
void rx_choice_init(struct kcm_rx *rx);
void rx_choice_note(struct kcm_rx *rx, size_t len, size_t mapped);

#endif
