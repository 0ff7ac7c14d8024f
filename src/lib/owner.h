/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * owner.h - inside of struct kcm_mux: the process that holds the connections.
 *
 * One service thread does what BPF can't: drains held streams, frames messages above 68 KiB,
 * publishes the end of connections, sends what slow clients did not take, gives descriptors to
 * workers, and picks up what dead workers left. It never waits for a worker.
 *
 *   owner.c      the thread's loop, time-outs    owner_open.c  open and close
 *   attach.c     connections come               detach.c      and are taken out again
 *   conn.c       their end                      drain.c       held streams
 *   drain_big.c  messages above 68 KiB          bigmem.c      memory for them
 *   left.c       unfinished messages            runq.c        streams that wait
 *   owner_tx.c   replies handed over            members.c     workers come, go and die
 *   lanes.c      who serves which lane          selfcheck.c   what we use of the kernel
 */
#ifndef KCM_OWNER_H
#define KCM_OWNER_H

#include <pthread.h>
#include <stdbool.h>

#include "kcm.h"
#include "queue.h"
#include "wire.h"

/* Unfinished messages that fit no assembly chunk wait in the owner's heap, up to this in all. */
#define OWNER_LEFT_MAX	     (16U << 20)
#define OWNER_BELL_BYTES_MIN 65536U

struct tx_part {
	struct tx_part *next;
	uint32_t seq;
	uint32_t len;
	uint32_t off;
	bool last; /* of its message */
	uint8_t data[];
};

/* An open connection, as the owner sees it. All under kcm_mux.lock. */
struct oconn {
	int fd;
	uint32_t slot;
	uint32_t gen;
	uint64_t cookie;
	uint32_t events; /* registered with epoll */
	/* drain */
	uint32_t hold_id; /* the hold that pos and skip belong to */
	uint32_t pos;	  /* bytes read since its start */
	uint32_t skip;	  /* of those, BPF had settled the first */
	uint8_t *left;	  /* read, and not published: at a message's start */
	uint32_t left_n, left_cap;
	uint32_t need;	     /* length of the message at left, 0 = not known */
	uint64_t partial_ns; /* when an unfinished message was first seen here */
	bool big_on;
	uint64_t big_off, big_have, big_need, big_cap; /* big_need 0 = not known */
	bool rdhup;
	bool hup;		  /* there will be nothing more, read or unread */
	uint64_t eof_ns, rx_base; /* mode strparser: see strp_end() */
	bool inserted;		  /* in kcm_socks */
	bool eof;
	bool stopped;	/* no more is read: an error, or kept on error */
	bool event_due; /* event could not be published yet */
	bool event_done;
	bool linked;  /* on the run queue */
	bool starved; /* of those on the run queue: waits for space */
	uint32_t event;
	int error;
	bool recount;	    /* a worker died: kcm_txc.released may be too low */
	uint64_t published; /* by BPF and us; against kcm_txc.released */
	uint32_t rcvtimeo_ms;
	/* replies */
	struct tx_part *tx_head, **tx_tail, *tx_early;
	uint32_t tx_next; /* next kcm_txc.seq */
	uint64_t tx_base; /* TCP's count of bytes when we got it */
	bool tx_open;	  /* the last part that came was not the last of its message */
	bool tx_dead;
	uint64_t holders;   /* workers that were given the descriptor */
	struct oconn *next; /* run queue */
};

struct member {
	int fd; /* control socket, -1 = free slot */
	int bell_fd;
	int sndbuf; /* bytes that fit into its control socket */
	bool welcomed;
	bool on;
	bool bye; /* said that it leaves */
};

struct big_block {
	uint64_t off, bytes;
	uint32_t chunk, gen;
	bool published;
	struct big_block *next;
};

struct kcm_mux {
	struct view v;
	char name[32];
	int maps[VIEW_MAPS]; /* writable */
	int socks, slots, bells, park;
	int bpf_timer; /* never read: the timer stops when nobody has its map any more */
	int lock_fd;
	int tx_fd, big_fd, big_ro;
	int ep, ev, timer, listener;
	int evs[KCM_WORKERS_MAX];
	int bell_fd;
	struct bell bell;
	struct member members[KCM_WORKERS_MAX];
	uint32_t n_members;
	struct oconn **conns; /* by slot */
	uint32_t n_conns, conn_hint;
	struct oconn *run, **run_tail;
	uint32_t n_starved;
	bool woke_one;			   /* of several that slept: see whether it comes */
	bool no_room;			   /* no chunk was free in this round */
	uint64_t no_room_ns, big_short_ns; /* when there was no chunk, no big memory */
	uint32_t n_closing;
	uint64_t least_timeout_ns; /* see owner_note_timeout() */
	uint32_t n_unadopted;	   /* attached by kcm_sockops, kcm_attach() still to come */
	uint64_t left_bytes;
	struct big_block *big;
	uint64_t big_used;
	uint8_t lane_want[KCM_LANES]; /* kcm_ctl.lane_owner that is to be */
	uint8_t lane_from[KCM_LANES]; /* worker that still has messages of a moving lane */
	bool lanes_moving;
	bool catching_up; /* see members_catch_up() */
	bool stop;
	bool timer_on;
	pthread_t thread;
	pthread_mutex_t lock;
};

enum poll_kind { POLL_CONN, POLL_MEMBER, POLL_BELL, POLL_EV, POLL_TIMER, POLL_LISTEN };
#define POLL_DATA(kind, n) ((uint64_t)(kind) << 32 | (n))

/* owner.c */
void *owner_service(void *mux);
void owner_note_timeout(struct kcm_mux *m, const struct oconn *o);
void owner_arm_timeout(struct kcm_mux *m);

/* selfcheck.c */
bool selfcheck_home(struct kcm_mux *m);

/* attach.c, conn.c */
int conn_take(struct kcm_mux *m);
/* Bytes of the stream that are out of the socket and not in a published message yet. */
uint64_t conn_in_hand(struct kcm_mux *m, struct oconn *o);
int conn_watch(struct kcm_mux *m, struct oconn *o, uint32_t want);
void conn_end(struct kcm_mux *m, struct oconn *o, uint32_t event, int error);
void conn_try_free(struct kcm_mux *m, struct oconn *o);
void conn_free(struct kcm_mux *m, struct oconn *o);
void conn_opened(struct kcm_mux *m, struct oconn *o);
void conn_sweep_unadopted(struct kcm_mux *m);
/* Take a stream from BPF; when it returns no verdict program of this socket runs any more. */
bool conn_seize(struct kcm_mux *m, struct oconn *o);
void conn_reset(struct kcm_mux *m, struct oconn *o);

/* drain.c */
void drain(struct kcm_mux *m, struct oconn *o);
/* runq.c, left.c */
void drain_queue(struct kcm_mux *m, struct oconn *o, bool starved);
void drain_unqueue(struct kcm_mux *m, struct oconn *o);
void drain_run(struct kcm_mux *m);
int drain_chunk(struct kcm_mux *m, uint32_t bytes);
int drain_keep(struct kcm_mux *m, struct oconn *o, const void *p, size_t n);
void drain_forget(struct kcm_mux *m, struct oconn *o);
int drain_take_asm(struct kcm_mux *m, struct oconn *o);
void drain_wake(struct kcm_mux *m, uint64_t lanes);
void drain_wake_again(struct kcm_mux *m);

/* bigmem.c */
int64_t big_alloc(struct kcm_mux *m, uint64_t bytes);
void big_free(struct kcm_mux *m, uint64_t off);
void big_published(struct kcm_mux *m, uint64_t off, uint32_t chunk);
void big_collect(struct kcm_mux *m);

/* owner_tx.c */
void tx_record(struct kcm_mux *m, const struct wire_rec *rec, const void *data, size_t len);
void tx_push(struct kcm_mux *m, struct oconn *o);
void tx_drop(struct kcm_mux *m, struct oconn *o);
uint64_t tx_count(int fd);
uint64_t tcp_received(int fd);
void tx_reap(struct kcm_mux *m, uint32_t slot);

/* members.c */
int member_add(struct kcm_mux *m, int fd);
void member_input(struct kcm_mux *m, uint32_t slot);
void member_retire(struct kcm_mux *m, uint32_t slot);
void members_close(struct kcm_mux *m);
void members_catch_up(struct kcm_mux *m);
void member_gone(struct kcm_mux *m, uint32_t slot, bool died);
void member_tell_gone(struct kcm_mux *m, struct oconn *o);
/* lanes.c */
void lanes_plan(struct kcm_mux *m);
void lanes_step(struct kcm_mux *m);

static inline kcm_conn_id oconn_id(const struct oconn *o)
{
	return (uint64_t)(o->gen + 1) << 32 | o->slot;
}

#endif
