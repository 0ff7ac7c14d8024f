/* SPDX-License-Identifier: GPL-2.0 */
/*
 * kcm_bench.h - what the parts of the AF_KCM benchmark share.
 */
#ifndef KCM_TESTS_KCM_BENCH_H
#define KCM_TESTS_KCM_BENCH_H

#include "contest.h"
#include "sock_bench.h"

#define KB_CONNS 64u

/*
 * AF_KCM as fast as it gets: a socket (a clone) for each worker process, recvmmsg() and sendmmsg()
 * of many messages. `wide`: with queues of KB_WIDE_BYTES, where the system's default holds three
 * messages of 64 bytes if each came in a full segment.
 */
#define KB_WIDE_BYTES (8 << 20)
extern const struct bench_server bench_peer_kcm, bench_peer_kcm_wide;

/* Both sides, in the order of the rounds: [0] is mux. */
#define KB_SIDES 3
extern const struct bench_server *const kb_side[KB_SIDES];

/* Clients that send messages of one kind on KB_CONNS connections and want no reply. */
struct kb_flood {
	uint32_t size;	/* of a message */
	uint32_t burst; /* messages a send() */
	int fd[KB_CONNS];
	uint64_t sent[KB_CONNS]; /* bytes */
	uint32_t next;		 /* connection */
	uint8_t *data;		 /* burst + 1 messages */
};

int kb_flood_open(struct kb_flood *f, const struct bench_opts *o, uint32_t burst);
void kb_flood_close(struct kb_flood *f);
/* One send() on the next connection. Return: bytes taken, 0 if it takes none, -errno. */
ssize_t kb_flood_send(struct kb_flood *f);
/* Messages that were sent as a whole; bytes. */
uint64_t kb_flood_msgs(const struct kb_flood *f);
uint64_t kb_flood_bytes(const struct kb_flood *f);

/* Memory for what processes of a server share, zeroed. */
struct bench_shared *kb_shared(void);

/* Parts. Return: 0, or 1 if a side failed. */
int kb_stream(const struct sb_opts *o);
int kb_speed(const struct sb_opts *o);
int kb_latency(const struct sb_opts *o);
int kb_memory(const struct sb_opts *o);

#endif
