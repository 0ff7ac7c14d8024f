/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * kcm_rx - whole messages from a TCP connection, their payload mapped instead of copied.
 *
 *	kcm_rx_open(fd, &frame, NULL, &rx);
 *	while (kcm_rx_recv(rx, &msg, -1) > 0) {
 *		use(msg.iov, msg.iovcnt);
 *		kcm_rx_release(rx, &msg);
 *	}
 *	kcm_rx_close(rx);
 *
 * The kernel maps whole pages of the receive queue (TCP_ZEROCOPY_RECEIVE); header, tail and
 *whatever is not a whole page are copied. Where mapping cannot win (small messages, a peer whose
 *segments do not carry whole pages, a kernel without it, a reader for whom copying is cheaper)
 *everything is copied by recv(), and kcm_rx_stats() says which way each byte took, and why.
 *
 * DANGER: never use rx on a socket that is in a sockmap or sockhash, as those of a mux are: with a
 * verdict program there the kernel crashes. kcm_rx_open() refuses sockets that are or were in a mux
 * where it can know them, and kcm_attach() those of rx; it cannot know the sockmaps of others.
 *
 * All functions return 0 or a count on success and -errno on failure, and print nothing. A struct
 * kcm_rx is for one thread at a time; different ones are independent. After fork() the child may
 * only exec or _exit: mapped messages are not there. No privilege is needed.
 */
#ifndef KCM_RX_H
#define KCM_RX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "kcm_frame.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define KCM_RX_PIECES 32 /* a message never has more */

struct kcm_rx;

enum kcm_rx_mode {
	KCM_RX_AUTO, /* measure, and choose */
	KCM_RX_MAP,  /* map all that can be mapped */
	KCM_RX_COPY, /* plain recv() */
};

/* Why bytes were copied. */
enum kcm_rx_why {
	KCM_RX_WHY_EDGE,      /* header, or the tail behind the last whole page */
	KCM_RX_WHY_SMALL,     /* a message below map_min_bytes */
	KCM_RX_WHY_UNALIGNED, /* not whole pages at this place of the stream */
	KCM_RX_WHY_COST,      /* AUTO measured that copying is cheaper, or measures it */
	KCM_RX_WHY_FRAMING,   /* the end of such a message is known when all of it was seen */
	KCM_RX_WHY_ROOM,      /* old messages that are not released are in the way */
	KCM_RX_WHY_KERNEL,    /* the kernel cannot map, or refused */
	KCM_RX_WHY_FORCED,    /* KCM_RX_COPY */
	KCM_RX_WHYS,
};

#define KCM_RX_REPLY 1U /* the stream is a server's: see KCM_FS_REPLY */

/**
 * struct kcm_rx_opts - zero means the default everywhere
 * @sz: sizeof(struct kcm_rx_opts): lets later versions add fields
 * @mode: AUTO
 * @flags: KCM_RX_REPLY
 * @limit_bytes: memory for messages that are not released, copied or mapped; 128 MiB, or twice the
 *	longest message. At least the longest message and 1 MiB
 * @release_bytes: mapped pages that kcm_rx_release() collects for one madvise(), a quarter of the
 *	limit
 * @map_min_bytes: messages below it are copied, 64 KiB
 * @predict_us: after a run of long messages of one length, wait so long for a whole next one
 *	before looking at its header: one wake-up a message. A short message behind such a run may
 *	be so much late, once. 500; UINT32_MAX: off
 */
struct kcm_rx_opts {
	size_t sz;
	enum kcm_rx_mode mode;
	unsigned int flags;
	uint64_t limit_bytes;
	uint64_t release_bytes;
	uint32_t map_min_bytes;
	uint32_t predict_us;
};

/**
 * struct kcm_rx_msg - one whole message, header included
 * @iov: its pieces in order, read-only and valid until released. A message that was copied is in
 *	one piece; a mapped one has its header before and its tail behind the mapped pages
 * @mapped_bytes: of @len
 * @fs_told: what the framing tells of it, KCM_FS_HEAD...KCM_FS_OPAQUE
 */
struct kcm_rx_msg {
	const struct iovec *iov;
	unsigned int iovcnt;
	unsigned int fs_told;
	size_t len;
	size_t mapped_bytes;
	void *priv;
};

struct kcm_rx_stats {
	uint64_t messages;
	uint64_t bytes;
	uint64_t mapped_bytes;
	uint64_t copied_bytes[KCM_RX_WHYS];
	uint64_t mapped_messages;  /* those with at least one mapped page */
	uint64_t one_piece;	   /* of those: all mapped pages in one piece */
	uint64_t calls;		   /* system calls, all of them */
	uint64_t waits;		   /* of those: that may have slept */
	uint64_t releases;	   /* of those: madvise() */
	uint64_t switches;	   /* of the choice between mapping and copying */
	uint64_t held_bytes;	   /* memory for messages now, of limit_bytes */
	enum kcm_rx_mode now;	   /* KCM_RX_MAP or KCM_RX_COPY */
	enum kcm_rx_why why;	   /* of KCM_RX_COPY */
	uint64_t map_ps_per_byte;  /* CPU time of the reading thread, as AUTO measured it last; */
	uint64_t copy_ps_per_byte; /* 0: it did not */
};

/**
 * kcm_rx_open() - receive framed messages from a connection
 * @fd: connected TCP socket, which stays the caller's; blocking or not. Until kcm_rx_close() read
 *	from it by kcm_rx_recv() only. SO_RCVLOWAT, SO_OOBINLINE (on)
 *	and TCP_INQ are rx's
 * @frame: made by kcm_frame_parse()
 * @opts: may be NULL
 * Return: 0; -EINVAL bad option or frame; -EOPNOTSUPP not TCP, kTLS, or KCM_RX_MAP and the kernel
 *	cannot map; -EBUSY the socket is or was in a mux, or has an rx; -ENOMEM.
 */
int kcm_rx_open(int fd, const struct kcm_frame *frame, const struct kcm_rx_opts *opts,
		struct kcm_rx **rx);

/**
 * kcm_rx_recv() - the next message
 * @timeout_ms: -1 wait, 0 don't
 * For an event loop: wait until the socket is readable, then call with 0 until -EAGAIN. SO_RCVLOWAT
 * is set then such that the socket is readable when the whole message is there. If you also send on
 * the connection with MSG_ZEROCOPY, read its completions (kcm_tx_done()): while some wait, nothing
 * can sleep on the socket, and rx looks 5,000 times a second.
 * Return: 1 a message; 0 the peer closed, behind a whole message; -EAGAIN time-out;
 *	-ENOBUFS limit_bytes are in messages that were not released: release some, call again;
 *	-EINTR; -EPROTO the bytes can't be a message; -EMSGSIZE longer than the frame's maximum;
 *	-EPIPE the peer closed in the middle of a message; -ECONNRESET and others of the socket.
 *	The last four stay.
 */
int kcm_rx_recv(struct kcm_rx *rx, struct kcm_rx_msg *msg, int timeout_ms);

/**
 * kcm_rx_release() - done with a message; in any order
 * Pages go back in the order of the stream: an old message that is kept holds those behind it, up
 * to limit_bytes.
 * Return: 0; -EINVAL it was released before.
 */
int kcm_rx_release(struct kcm_rx *rx, struct kcm_rx_msg *msg);

/* Give back now what was released. kcm_rx_recv() does, before it sleeps for long. */
void kcm_rx_flush(struct kcm_rx *rx);

/* KCM_FS_NOBODY and other flags of KCM_FS_TOLD, of the next message. For HTTP/1 replies. */
void kcm_rx_tell(struct kcm_rx *rx, unsigned int fs_flags);

/* @sz: sizeof(*stats). */
int kcm_rx_stats(const struct kcm_rx *rx, struct kcm_rx_stats *stats, size_t sz);

/* "edge", "small", ... */
const char *kcm_rx_why_name(enum kcm_rx_why why);

/*
 * Also releases all messages. The socket stays open and can be read further only if the last
 * kcm_rx_recv() returned 0 or an error: bytes of a next message may have been read.
 */
void kcm_rx_close(struct kcm_rx *rx);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
