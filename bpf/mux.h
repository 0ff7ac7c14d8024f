/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * mux.h - types shared by the mux BPF programs and user space.
 *
 * Data flow: the verdict program frames the bytes of an skb, copies whole messages into a *chunk*
 * of the arena and puts the chunk's id into a *lane*. Workers claim single messages of a chunk by
 * compare-and-swap on one owner byte per message, read them in place and release them; the chunk
 * is free again when the last of its messages is released. Whatever the program cannot do (no
 * space, message too big, framing error) it leaves in the TCP socket ("hold") for the owner
 * process, see enum kcm_hold.
 */
#ifndef KCM_MUX_H
#define KCM_MUX_H

#include "frame.h"

#define KCM_MUX_LAYOUT 1

#define KCM_WORKERS_MAX 63 /* an owner byte is slot + 1; bit 0x40 = handed to the program */
#define KCM_OWNER_BELL	63 /* index of the owner's doorbell, behind those of the workers */
#define KCM_LANES	64
#define KCM_CHUNK_MSGS	64 /* messages of a chunk: one owner byte each, one cache line */
#define KCM_CLASSES	3
#define KCM_CHUNKS_MAX	65535 /* chunk ids are 16 bits of a lane cell */

/*
 * A region is one element of the arena map. Offsets are masked to 2 MiB for the verifier, so chunks
 * lie wholly below that; the verifier thinks that the biggest may begin at the last byte, so an
 * element is longer by one. Linux 6.1 limits an element to KMALLOC_MAX_SIZE (4 MiB).
 */
#define KCM_REGION_MASK	 (2U * 1024 * 1024 - 1)
#define KCM_CHUNK0_BYTES 2048U
#define KCM_CHUNK1_BYTES 16384U
#define KCM_CHUNK2_BYTES 69632U /* 64 KiB of payload and a header */
#define KCM_CHUNK_PAD	 64U	/* parsers may look this far past the last byte */
#define KCM_REGION_BYTES (KCM_REGION_MASK + 1 + KCM_CHUNK2_BYTES + KCM_CHUNK_PAD)

enum kcm_mux_policy {
	KCM_POLICY_LEAST, /* one shared lane, workers pull: no idle worker while a message waits */
	KCM_POLICY_ROBIN, /* message by message in turn over the enabled workers */
	KCM_POLICY_CONN,  /* all messages of a connection to one worker, in order */
	KCM_POLICY_KEY,	  /* all messages with the same key bytes to one worker, in order */
};

enum kcm_mux_mode {
	KCM_MODE_RING,	    /* SK_SKB_VERDICT program frames and copies; holds are lossless */
	KCM_MODE_STRPARSER, /* stream parser + stream verdict; overload resets the connection */
};

enum kcm_conn_state {
	KCM_CONN_FREE,
	KCM_CONN_NEW,	  /* slot taken, socket not in the map yet */
	KCM_CONN_ACTIVE,  /* the verdict program frames this stream */
	KCM_CONN_HELD,	  /* the stream waits in the TCP socket; the owner drains it */
	KCM_CONN_RESUME,  /* owner is done; the program goes on at resume_seq */
	KCM_CONN_CLOSING, /* end seen; open messages are still out */
	KCM_CONN_PROBE,	  /* not a connection: the owner's self-check */
	KCM_CONN_RESET,	  /* strparser mode: overload, the owner must reset it */
};

enum kcm_hold {
	KCM_HOLD_NONE,
	KCM_HOLD_SPACE,	 /* no free chunk */
	KCM_HOLD_BIG,	 /* a message longer than the biggest chunk */
	KCM_HOLD_ERROR,	 /* the framing says EMSGSIZE or EPROTO */
	KCM_HOLD_LANE,	 /* no free lane cell */
	KCM_HOLD_DETACH, /* the owner asked for it */
	KCM_HOLD_START,	 /* bytes from before the attach */
	KCM_HOLD_MAX,
};

enum kcm_chunk_kind {
	KCM_CHUNK_DATA,	 /* messages are in the arena */
	KCM_CHUNK_BIG,	 /* one message, in the big-message memory at big_off */
	KCM_CHUNK_EVENT, /* no bytes: event and error say what happened to conn */
};

enum kcm_chunk_state {
	KCM_CHUNK_FREE,
	KCM_CHUNK_ALLOC, /* a producer fills it */
	KCM_CHUNK_PUB,	 /* in a lane */
};

enum kcm_own {
	KCM_OWN_READY = 0,    /* nobody's: may be claimed */
	KCM_OWN_GIVEN = 0x40, /* or'ed to slot + 1: the program has seen it */
	KCM_OWN_FILL = 0xfe,  /* for a moment in kcm_publish() */
	KCM_OWN_DONE = 0xff,  /* released, or never used */
};

enum kcm_bell {
	KCM_BELL_WORK,	  /* to a worker: look at your lanes */
	KCM_BELL_HELD,	  /* to the owner: conn went to KCM_CONN_HELD */
	KCM_BELL_RESUMED, /* to the owner: conn is KCM_CONN_ACTIVE again */
	KCM_BELL_PARTIAL, /* to the owner: arm the assembly timer */
	KCM_BELL_RESET,	  /* to the owner: reset conn (strparser mode) */
	KCM_BELL_OPENED,  /* to the owner: sockops attached conn */
};

struct kcm_bell_rec {
	enum kcm_bell what;
	__u32 conn;
};

/* A message of a chunk: offset from the chunk's start and length, in bytes. */
struct kcm_msg_ref {
	__u32 off;
	__u32 len;
};

struct kcm_chunk {
	__u32 region; /* fixed at create: where the bytes are */
	__u32 off;
	__u32 size_bytes;
	__u32 gen; /* 16 bits, counts allocations: stale lane cells are skipped by it */
	__u32 conn;
	__u32 conn_gen;
	__u32 n; /* messages */
	enum kcm_chunk_kind kind;
	__u64 ts_ns; /* CLOCK_MONOTONIC when published */
	__u64 big_off;
	__u32 event; /* enum kcm_event of kcm.h */
	__s32 error; /* errno, positive */
	__u64 again; /* bit a message: redelivered, a dead worker had been given it */
	struct kcm_msg_ref msg[KCM_CHUNK_MSGS];
	__u8 lane[KCM_CHUNK_MSGS];
};

struct kcm_claim {
	__u64 own[KCM_CHUNK_MSGS / 8]; /* one byte a message, see enum kcm_own */
	__u32 state;		       /* gen << 2 | enum kcm_chunk_state */
	__u32 lanes_left;	       /* unused by BPF */
	__u64 pad[7];
};

/* A lane: multi-producer, multi-consumer ring of cells pos << 32 | gen << 16 | chunk. */
struct kcm_lane {
	__u64 head;
	__u64 pad0[7];
	__u64 tail;
	__u64 pad1[7];
};

struct kcm_mux_cfg {
	enum kcm_mux_policy policy;
	enum kcm_mux_mode mode;
	__u32 n_conns;
	__u32 n_chunks[KCM_CLASSES];
	__u32 first_chunk[KCM_CLASSES];
	__u32 cell_mask; /* cells of a lane - 1 */
	__u32 key_off;	 /* sticky by key: bytes of the message that are the key */
	__u32 key_bytes;
	__u32 asm_notify; /* an assembly time-out is set: tell the owner of partial messages */
	__u32 grace_ns;	  /* leave a message to a busy worker so long before waking a sleeper */
	__u32 max_bytes;
};

/*
 * What a mux was made with, for everybody who opens it. BPF has the same cfg and frame as
 * constants in .rodata.
 */
struct kcm_mux_conf {
	__u32 layout;	 /* KCM_MUX_LAYOUT */
	__u32 owner_pid; /* process that holds the connections, 0 = none */
	struct kcm_mux_cfg cfg;
	__u32 n_regions;
	__u64 big_bytes;      /* memory for messages above KCM_CHUNK2_BYTES */
	__u64 tx_limit_bytes; /* replies that may wait for one slow connection */
	__u32 asm_timeout_ms;
	__u32 n_workers;    /* worker slots */
	__u8 at_least_once; /* redeliver what a dead worker had been given */
	__u8 keep_on_error; /* after a framing error the connection stays open, unread */
	__u8 home_ok;	    /* self-check: bytes that a program drops still wake epoll */
	__u8 pad;
	__u32 epoch; /* counts owners: a worker of a former one has no business here any more */
	struct kcm_frame frame;
	/* Totals, written by the owner. Those of live connections are in kcm_conn. */
	__u64 attached;
	__u64 detached;
	__u64 closed;
	__u64 rx_msgs; /* of connections that have ended */
	__u64 rx_bytes;
	__u64 owner_msgs; /* of all messages: framed by the owner */
	__u64 owner_bytes;
	__u64 big_msgs;
	__u64 events;
	__u64 bad_frames;
	__u64 too_big;
	__u64 truncated; /* closed in the middle of a message */
	__u64 timeouts;
	__u64 resets;	 /* connections that the mux reset */
	__u64 tx_handed; /* replies that waited in the owner for a slow connection */
	__u64 tx_aborts; /* connections reset: a worker died in the middle of a reply */
	__u64 worker_deaths;
	__u64 lost_msgs; /* given to a worker that died (at most once) */
	__u64 redelivered;
	__u64 rr_holds[KCM_HOLD_MAX]; /* holds by reason */
};

enum kcm_worker_state {
	KCM_WORKER_NONE,
	KCM_WORKER_ON,
	KCM_WORKER_OFF,	 /* receive disabled */
	KCM_WORKER_DEAD, /* being reaped */
};

#define KCM_HIST 96 /* latency buckets: 4 a power of two from 256 ns */

/* A worker slot. Written by that worker (and by the owner while nobody has the slot). */
struct kcm_wstat {
	__u32 pid;
	enum kcm_worker_state state;
	__u64 start_ns;
	__u64 msgs; /* given to the program */
	__u64 bytes;
	__u64 events;
	__u64 tx_msgs;
	__u64 tx_bytes;
	__u64 tx_handed; /* replies left to the owner because the connection was full */
	__u64 tx_again;	 /* replies refused: too much waiting for that connection */
	__u64 sleeps;
	__u64 wakes_sent; /* other workers woken by this one */
	__u64 claims;	  /* batches */
	__u64 out;	  /* messages claimed and not released */
	__u32 held_conn;  /* messages released while replies to this connection are kept ... */
	__u32 held_msgs;  /* ... back: counted in kcm_txc.released when those are sent */
	__u64 claiming;	  /* inside a claim: lanes may not move, see lanes_step() */
	__u64 lat_ns_sum; /* published -> released */
	__u64 lat_max_ns;
	__u64 hist[KCM_HIST];
};

/* Written by the producers (BPF and the owner); workers may only read it. */
struct kcm_prod {
	__u32 pad0;
	__u32 n_asm[KCM_CLASSES]; /* chunks that hold an unfinished message */
	__u32 conn_hint;
	__u32 timer_armed;
	__u64 timer_head;
	__u32 robin;
	__u32 n_route;	       /* enabled workers ... */
	__u8 route[KCM_LANES]; /* ... and their lanes, for KCM_POLICY_ROBIN */
	__u32 asm_told;	       /* KCM_BELL_PARTIAL was rung and not yet served */
	__u32 pad;
	__u64 bells;	  /* doorbells rung from BPF */
	__u64 bell_drops; /* of those, refused by a full ring */
	__u64 timer_wakes;
	__u64 unknown_skbs; /* from a socket without a slot */
	__u64 open_fails;   /* sockops found no free slot */
};

/* Written by workers too: nothing here is believed without a check. */
struct kcm_ctl {
	__u64 sleepers; /* bit a worker slot: asleep, ring the bell */
	__u64 pad0[7];
	__u64 active; /* bit a worker slot: enabled */
	__u64 pad1[7];
	__u64 slow; /* bit a worker slot: its messages take long, don't wait for it */
	__u64 pad3[7];
	__u32 want_space; /* owner waits for a free chunk */
	__u32 pad2[15];
	/*
	 * Bit a chunk: probably free. kcm_claim.state decides; this only says where to look, lowest
	 * first, so that a lightly loaded mux lives in a few chunks that stay in the cache.
	 */
	__u64 free[KCM_CHUNKS_MAX / 64 + 1];
	__u8 lane_owner[KCM_LANES]; /* worker slot + 1 that serves a lane; 0 = any */
};

/* What the verdict program keeps while it walks one skb. Serialised by the socket lock. */
struct kcm_walk {
	__u32 skb_bytes;
	__u32 used;  /* bytes of the skb that are settled */
	__u32 chunk; /* open window, id + 1 */
	__u32 win_bytes;
	__u32 win_pos;
	__u32 n;
	__u32 want;    /* least size of the next window */
	__u32 asm_new; /* bytes appended to the assembly chunk, not settled */
	__u32 asm_loaded;
	__u32 published;
	__u64 lanes; /* lanes that the open window goes to */
};

struct kcm_conn {
	__u64 cookie;
	enum kcm_conn_state state;
	__u32 gen;
	enum kcm_hold hold;
	__u32 hold_id;	 /* counts holds */
	__u32 hold_seq;	 /* TCP sequence number (host order) of the first held skb */
	__u32 hold_skip; /* bytes of it that were settled before the hold */
	__u32 resume_seq;
	__u32 asm_chunk; /* unfinished message, id + 1 */
	__u32 asm_have;
	__u32 asm_need; /* 0: length not known yet */
	__u32 next_seq; /* of the byte behind the last one that arrived */
	__u32 seq_known;
	__u32 settled_seq; /* of the byte behind the last settled one */
	__u32 len_hint;	   /* decaying maximum of message lengths */
	__u32 lane;	   /* KCM_POLICY_CONN */
	struct kcm_fstate fs;
	struct kcm_walk w;
	__u64 msgs;  /* whole messages published */
	__u64 bytes; /* of those */
	__u64 holds;
	__u64 skbs;
	__u64 overlaps;	    /* skbs that began with bytes that had come before */
	__u64 asm_since_ns; /* when the unfinished message began */
	__u64 open_ns;
	__u16 family; /* AF_INET, AF_INET6 */
	__u16 rport;  /* host order */
	__u16 lport;
	__u16 pad;
	__u8 raddr[16]; /* network order; IPv4 in the first four */
	__u8 laddr[16];
};

_Static_assert(sizeof(struct kcm_chunk) == 640, "kcm_chunk layout");
_Static_assert(sizeof(struct kcm_claim) == 128, "kcm_claim layout");
_Static_assert(sizeof(struct kcm_lane) == 128, "kcm_lane layout");
_Static_assert(KCM_REGION_BYTES <= 4U * 1024 * 1024, "region above KMALLOC_MAX_SIZE of 6.1");

#define KCM_CELL(pos, gen, chunk) \
	((__u64)(__u32)(pos) << 32 | (__u64)((gen)&0xffff) << 16 | ((chunk)&0xffff))
#define KCM_CELL_POS(cell)   ((__u32)((cell) >> 32))
#define KCM_CELL_GEN(cell)   ((__u32)((cell) >> 16) & 0xffff)
#define KCM_CELL_CHUNK(cell) ((__u32)(cell)&0xffff)

#define KCM_STATE(gen, st) ((((gen)&0xffff) << 2) | (st))
#define KCM_STATE_GEN(s)   (((s) >> 2) & 0xffff)
#define KCM_STATE_ST(s)	   ((s)&3)

#endif
