/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * kcm_tx - send messages such that a receiver can map them, see kcm_rx.h.
 *
 *	kcm_tx_open(fd, NULL, &tx);
 *	kcm_tx_send(tx, &head, sizeof(head), body, bytes, &id);
 *	...
 *	kcm_tx_drain(tx, -1);		then the bodies may be changed, or freed
 *	kcm_tx_close(tx);
 *
 * Two ways to lay out a message. Tight: the header is yours, of any size, as your protocol has it.
 *It leaves in an skb of its own and the body begins in the next: enough where skbs reach the
 *receiver as they are (loopback, veth, containers of a machine). Padded: a whole page of header,
 *and a body that is filled up to whole pages, so that every page of the body begins at a multiple
 *of 4,096 bytes of the stream: for NICs that split headers, with segments of whole pages (`kcmtool
 *rx tune`). The receiver's frame is KCM_TX_PADDED_FRAME, kcm_tx_padded_parse() tells what is in the
 *header.
 *
 * All functions return 0 or a count on success and -errno on failure, and print nothing. A struct
 * kcm_tx is for one thread at a time. No privilege is needed.
 */
#ifndef KCM_TX_H
#define KCM_TX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define KCM_TX_PADDED_FRAME "len off=0 width=4 be hdr=4096 max=1G"
#define KCM_TX_PADDED_BYTES 4096U /* of the header */
#define KCM_TX_PADDED_HEAD  4072U /* of it for the application, at most */

struct kcm_tx;

#define KCM_TX_NO_ZEROCOPY 1U /* the kernel copies bodies: they may be changed at once */

/**
 * struct kcm_tx_opts - zero means the default everywhere
 * @sz: sizeof(struct kcm_tx_opts): lets later versions add fields
 * @flags: KCM_TX_NO_ZEROCOPY
 * @zerocopy_min_bytes: shorter bodies are copied, 64 KiB
 */
struct kcm_tx_opts {
	size_t sz;
	unsigned int flags;
	uint32_t zerocopy_min_bytes;
};

struct kcm_tx_stats {
	uint64_t messages;
	uint64_t bytes;
	uint64_t zerocopy_bytes; /* of bodies given to the kernel as they are */
	uint64_t kernel_copies;	 /* calls of them that the kernel copied after all: loopback does */
	uint64_t file_bytes;	 /* by sendfile() */
	uint64_t outstanding;	 /* calls whose memory is still in use */
};

/**
 * kcm_tx_open() - send messages on a connection
 * @fd: connected TCP socket, which stays the caller's; blocking or not. Until kcm_tx_close() write
 *	to it by kcm_tx only
 * Where the kernel has no SO_ZEROCOPY, bodies are copied.
 * Return: 0; -EINVAL; -EOPNOTSUPP not TCP; -ENOMEM.
 */
int kcm_tx_open(int fd, const struct kcm_tx_opts *opts, struct kcm_tx **tx);

/**
 * kcm_tx_send() - one message, tight
 * @head: copied
 * @body: must not change until kcm_tx_done(@id), unless it was short, or KCM_TX_NO_ZEROCOPY. Begin
 *	it at a page, or the receiver can map nothing
 * @id: may be NULL
 * Sleeps until all was taken by the socket.
 * Return: 0; -EPIPE, -ECONNRESET and others of the socket: an unknown part was sent.
 */
int kcm_tx_send(struct kcm_tx *tx, const void *head, size_t head_bytes, const void *body,
		size_t body_bytes, uint64_t *id);

/* The same, padded. -EMSGSIZE: the header has no room, or the body is longer than 1 GiB less a page
 */
int kcm_tx_send_padded(struct kcm_tx *tx, const void *head, size_t head_bytes, const void *body,
		       size_t body_bytes, uint64_t *id);

/**
 * kcm_tx_sendfile() - one message, tight, its body from a file
 * Return: as kcm_tx_send(); -ENODATA the file ends before.
 */
int kcm_tx_sendfile(struct kcm_tx *tx, const void *head, size_t head_bytes, int file, off_t offset,
		    size_t body_bytes);

/* May the body of this message be changed? Takes notice of what the kernel has said by now. */
int kcm_tx_done(struct kcm_tx *tx, uint64_t id);

/* Wait until all may. Return: 0; -EAGAIN time-out; -EINTR; -EPIPE and others of the socket. */
int kcm_tx_drain(struct kcm_tx *tx, int timeout_ms);

/**
 * kcm_tx_padded_parse() - what is in a padded header
 * @page: its KCM_TX_PADDED_BYTES
 * @head, @head_bytes: what the sender gave, in @page
 * @body_bytes: of what follows; the rest is filling
 * @frame_bytes: of the whole message, as received
 * Return: 0; -EPROTO it is none.
 */
int kcm_tx_padded_parse(const void *page, size_t frame_bytes, const void **head, size_t *head_bytes,
			uint64_t *body_bytes);

/* @sz: sizeof(*stats). */
int kcm_tx_stats(const struct kcm_tx *tx, struct kcm_tx_stats *stats, size_t sz);

/* Does not wait: bodies that are not done stay in use until the kernel is done with them. */
void kcm_tx_close(struct kcm_tx *tx);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
