/* SPDX-License-Identifier: GPL-2.0 */
/*
 * server.h - a server of the benchmark, and the code that servers (a) and (b) have in common:
 * a connection that is read, framed, served and answered by whichever thread owns it right now.
 */
#ifndef KCM_TESTS_SERVER_H
#define KCM_TESTS_SERVER_H

#include "bench.h"

#define SERVE_BUF_BYTES (256u * 1024)

struct bench_server {
	const char *name;  /* as in the table and in JSON */
	const char *label; /* (a), (b), (c) or mux */
	const char *about;
	/* Serves @o->listen_fd until SIGTERM, in a process of its own. Returns only on failure. */
	int (*run)(const struct bench_opts *o);
};

extern const struct bench_server bench_peer_pinned, bench_peer_oneshot, bench_peer_queue;
extern const struct bench_server bench_server_mux;

/* Accept the next connection, non-blocking; its options are the listener's. Or -errno. */
int serve_accept(int listen_fd);

/* A buffer not in use; the last one returned comes first, because it is still in the cache. */
struct serve_buf {
	struct serve_buf *next;
	uint8_t data[SERVE_BUF_BYTES];
};

struct serve_worker {
	const struct bench_opts *opts;
	struct serve_buf *free_bufs;
	uint8_t *tx; /* replies of this turn, SERVE_BUF_BYTES */
	uint32_t tx_len;
};

struct serve_conn {
	int fd;
	struct serve_buf *rx; /* NULL when no partial message is waiting */
	uint32_t start, end;  /* bytes not consumed in rx->data */
	uint8_t *pending;     /* replies that the socket did not take */
	uint32_t pending_len, pending_off;
};

enum serve_result {
	SERVE_IDLE,	/* everything read was answered: wait for EPOLLIN */
	SERVE_WANT_OUT, /* replies are stuck: wait for EPOLLOUT, do not read more */
	SERVE_CLOSED,	/* the peer closed or broke the protocol; conn is closed, not freed */
};

int serve_worker_init(struct serve_worker *w, const struct bench_opts *o);
enum serve_result serve_ready(struct serve_worker *w, struct serve_conn *c);

#endif
