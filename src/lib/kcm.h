/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * libkcm - message-oriented TCP servers on stock Linux kernels.
 *
 * A *mux* takes framed messages from many TCP connections and gives whole messages to many
 * *workers*: threads or processes. The process that holds the connections is the mux's *owner*.
 *
 * All functions return 0 or a count on success and -errno on failure, and print nothing.
 * Numbers are in host byte order; addresses and ports in struct sockaddr are as always.
 */
#ifndef KCM_H
#define KCM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "kcm_frame.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

struct kcm_mux;
struct kcm_worker;

/* A connection of a mux; never used again for another one of the same owner. 0 is none. */
typedef uint64_t kcm_conn_id;

enum kcm_dispatch {
	KCM_DISPATCH_LEAST, /* any free worker; no order between messages of a connection */
	KCM_DISPATCH_ROBIN, /* in turn; no order between messages of a connection */
	KCM_DISPATCH_CONN,  /* a connection's messages go to one worker, in order */
	KCM_DISPATCH_KEY,   /* messages with equal key bytes go to one worker, in order */
};

/**
 * struct kcm_mux_opts - what kcm_mux_create() makes. Zero means the default everywhere.
 * @sz: sizeof(struct kcm_mux_opts): lets later versions add fields
 * @frame: how messages are delineated, see kcm_frame_parse()
 * @dispatch: who gets a message
 * @strparser: use the kernel's stream parser (see the README: overload resets connections)
 * @conns: most connections, default 4096
 * @workers: most workers at a time, 1 to 63, default 16
 * @arena_bytes: memory for messages up to 68 KiB, default 16 MiB
 * @big_bytes: memory for longer messages, default 64 MiB or twice the frame's maximum
 * @tx_limit_bytes: replies that may wait for one connection, default 4 MiB
 * @asm_timeout_ms: longest time from a message's first byte to its last, 0 = for ever;
 *	SO_RCVTIMEO of an attached socket counts too
 * @grace_us: a busy worker is given so long before a sleeping one is woken, default 200
 * @key_off, @key_bytes: the key of KCM_DISPATCH_KEY, 1 to 8 bytes of the message
 * @at_least_once: messages of a worker that died go to another one, flagged KCM_REDELIVERED
 * @keep_on_error: leave a connection open after a framing error, its bytes unread
 */
struct kcm_mux_opts {
	size_t sz;
	struct kcm_frame frame;
	enum kcm_dispatch dispatch;
	int strparser;
	uint32_t conns;
	uint32_t workers;
	uint64_t arena_bytes;
	uint64_t big_bytes;
	uint64_t tx_limit_bytes;
	uint32_t asm_timeout_ms;
	uint32_t grace_us;
	uint32_t key_off;
	uint32_t key_bytes;
	int at_least_once;
	int keep_on_error;
};

/**
 * kcm_mux_create() - load the programs of a mux and pin it under /sys/fs/bpf/kcm/mux/NAME
 * @err: one line that says what failed, may be NULL
 * Return: 0; -EEXIST; -EINVAL bad name or option; -EPERM; -EOPNOTSUPP kernel lacks something, or
 *	is known to lose data (before 6.1.147, 6.12.35): KCM_UNSAFE_KERNEL=1 in the environment
 *	overrides.
 */
int kcm_mux_create(const char *name, const struct kcm_mux_opts *opts, char *err, size_t err_len);

/**
 * kcm_mux_delete() - unpin a mux; connections become plain sockets when the owner lets go
 * @force: also when an owner is running
 * Return: 0; -ENOENT; -EBUSY an owner holds it.
 */
int kcm_mux_delete(const char *name, int force);

/**
 * kcm_mux_open() - become the owner of a mux: starts its service thread
 * Return: 0; -ENOENT; -EBUSY another process is the owner; -ESTALE made by another version.
 * Thread-safety: the functions of one struct kcm_mux may be called from any thread.
 */
int kcm_mux_open(const char *name, struct kcm_mux **mux);

/* Close all connections, tell the workers, stop the service thread. The mux stays pinned. */
void kcm_mux_close(struct kcm_mux *mux);

/**
 * kcm_attach() - hand a TCP connection to the mux
 * @fd: connected TCP socket; the mux owns it from now on and makes it non-blocking
 * @early, @early_bytes: bytes that were already read from it and not used
 * @id: may be NULL
 * Nothing that arrived before is lost. On failure the caller still has @fd.
 * Return: 0; -ENOSPC no free slot; -EBUSY in another sockmap, or received from by kcm_rx;
 *	-EOPNOTSUPP not TCP, a listener, or kTLS.
 */
int kcm_attach(struct kcm_mux *mux, int fd, const void *early, size_t early_bytes, kcm_conn_id *id);

/**
 * kcm_detach() - take a connection out of the mux
 * @rest, @rest_bytes: malloc'ed bytes that the mux had read behind the last whole message; they
 *	come before what is still in the socket
 * Return: the descriptor, now the caller's; -EAGAIN the peer sends without a pause: try again; or
 *	-errno. Messages already framed still reach workers.
 */
int kcm_detach(struct kcm_mux *mux, kcm_conn_id id, void **rest, size_t *rest_bytes);

/* kcm_mux_worker_fd() - a descriptor for kcm_worker_open() in a child process (env KCM_WORKER_FD)
 */
int kcm_mux_worker_fd(struct kcm_mux *mux);

/* Connections and workers now. */
int kcm_mux_counts(struct kcm_mux *mux, unsigned int *conns, unsigned int *workers);

/* What a received record is. Every connection ends with exactly one event. */
enum kcm_event {
	KCM_MESSAGE,   /* data, len */
	KCM_CLOSED,    /* peer closed (error 0) or connection failed (error = errno) */
	KCM_BAD_FRAME, /* EPROTO: the bytes can't be a message */
	KCM_TOO_BIG,   /* EMSGSIZE: longer than the maximum */
	KCM_TRUNCATED, /* EPIPE: peer closed in the middle of a message */
	KCM_TIMEOUT,   /* ETIMEDOUT: a message was begun and not finished in time */
};

#define KCM_REDELIVERED 1U /* a worker that died may have handled it */

/**
 * struct kcm_msg - a message, or an event
 * @data: the whole message, header included; read-only, valid until kcm_release()
 * @conn: where it came from
 * @queued_ns: CLOCK_MONOTONIC when it was whole
 */
struct kcm_msg {
	const void *data;
	size_t len;
	kcm_conn_id conn;
	enum kcm_event event;
	int error;
	unsigned int flags;
	uint64_t queued_ns;
	uint64_t priv;
};

/**
 * kcm_worker_open() - become a worker
 * @name: NULL: by the descriptor in $KCM_WORKER_FD; else by /run/kcm/mux/NAME.sock
 * Needs no privilege. A struct kcm_worker is for one thread at a time.
 * Return: 0; -ENOENT; -ENOSPC all worker slots taken; -EPIPE owner is gone.
 */
int kcm_worker_open(const char *name, struct kcm_worker **worker);

/* The same by a descriptor of kcm_mux_worker_fd(), which the worker has from then on (on
 * failure the caller keeps it). For threads. */
int kcm_worker_open_fd(int fd, struct kcm_worker **worker);

/*
 * Flush replies and leave. Messages that kcm_recv() did not give out yet go to others. Those given
 * and not released go to others if the mux is at-least-once, and count as lost if it is not.
 */
void kcm_worker_close(struct kcm_worker *worker);

/**
 * kcm_recv() - next messages and events
 * @timeout_ms: -1 wait, 0 don't
 * Sends replies that kcm_send() kept back before it sleeps.
 * Return: how many, 1 to @n; 0 time-out; -EPIPE owner is gone; -EINTR a signal: call again;
 *	-ESHUTDOWN receive-disabled and nothing left.
 */
int kcm_recv(struct kcm_worker *worker, struct kcm_msg *msgs, unsigned int n, int timeout_ms);

/**
 * kcm_poll_fd() - a descriptor for poll, epoll or io_uring
 * Readable when kcm_recv(..., 0) should be called; call that until it returns 0 before waiting:
 * only then the worker counts as asleep and is woken.
 */
int kcm_poll_fd(struct kcm_worker *worker);

/* Done with these messages: their memory may be used again. Reply before you release. */
void kcm_release(struct kcm_worker *worker, const struct kcm_msg *msgs, unsigned int n);

#define KCM_MORE 1 /* keep it back until the next send without it, or kcm_recv() */
#define KCM_WAIT 2 /* if too much waits for that connection: sleep, not -EAGAIN */

/**
 * kcm_send() - write one message to a connection: whole, never mixed with another worker's
 * Return: 0; -EAGAIN tx_limit_bytes wait already; -ENOTCONN gone; -EPIPE; -ECONNRESET.
 */
int kcm_send(struct kcm_worker *worker, kcm_conn_id conn, const void *data, size_t len, int flags);
int kcm_sendv(struct kcm_worker *worker, kcm_conn_id conn, const struct iovec *iov, int n,
	      int flags);

/* One message to the least loaded connection of the mux. @conn: where it went, may be NULL. */
int kcm_send_any(struct kcm_worker *worker, const void *data, size_t len, int flags,
		 kcm_conn_id *conn);

/* Send what KCM_MORE kept back. Return: 0 or the first error. */
int kcm_flush(struct kcm_worker *worker);

/* Receive-disable: messages queued for this worker go to others. */
int kcm_worker_enable(struct kcm_worker *worker, int on);

/* Address of the peer. Return: 0; -ENOTCONN. */
int kcm_peer(struct kcm_worker *worker, kcm_conn_id conn, struct sockaddr *sa, socklen_t *len);

/* The worker's slot, 0 to 62. */
int kcm_worker_slot(struct kcm_worker *worker);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
