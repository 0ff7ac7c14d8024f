/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sock.h - types shared by the sock BPF programs and user space.
 *
 * The state of a socket is in one of two places. A connection has a *slot* of arrays that user
 * space maps: found by socket cookie without a helper call, read by everybody without a system
 * call. Where all ways of its set are taken, and for sockets that are no connection yet or that
 * only listen, it is in sk_storage, on the socket itself. Both have the same parts:
 *
 *	kcm_sk_hot	what every segment reads, and what leaves: half a cache line
 *	kcm_sk_in	what comes: the other half, in an array of its own
 *	kcm_sk_dir	one direction's place in its messages; two of them
 *	kcm_sk_info	everything else
 */
#ifndef KCM_SOCK_H
#define KCM_SOCK_H

#ifdef __bpf__
#include "../src/lib/kcm_frame.h"
#else
#include <linux/types.h>
#include "../src/lib/kcm_frame.h"
#endif

#define KCM_SOCK_LAYOUT 2

#define KCM_SK_WAYS	  4 /* slots a cookie may be in: (cookie + k) & mask */
#define KCM_SK_SLOTS	  16384
#define KCM_SK_SLOTS_MIN  1024
#define KCM_SK_SLOTS_MAX  (1U << 22)
#define KCM_SK_SLOT_NONE  0xffffffffU
#define KCM_SK_REUSE_NS	  100000000ULL /* a freed slot rests: programs may still be in it */
#define KCM_SK_SAMPLE_LOG 24	       /* sample the tcp_sock once every 2^24 ns: 17 ms */

#define KCM_SK_FRAMES	 64 /* framings at a time; kcm_sk_hot.frame is 1 to 63 */
#define KCM_SK_RULES	 32
#define KCM_SK_WATCHERS	 8
#define KCM_SK_LABELS	 4
#define KCM_SK_KEY	 12 /* bytes of a label's key, and of its value, with the NUL */
#define KCM_SK_VALUE	 20
#define KCM_SK_HIST	 24    /* latency buckets: [i] counts < 1 us << i, the last one all above */
#define KCM_SK_CARRY	 64    /* bytes of an unfinished message that are kept */
#define KCM_SK_HEAD	 40    /* of those, its first ones where not all fit */
#define KCM_SK_WINDOW	 1024  /* bytes looked at, at a time */
#define KCM_SK_STASH	 16384 /* bytes of a chunk for segments that come too early */
#define KCM_SK_STASHES	 256
#define KCM_SK_STASH_MAX 64 /* chunks of one direction of a socket */

/* The private level of setsockopt(), and its options. See kcm_sock.h. */
#define KCM_SOL_KCM 0x6b636d

#define KCM_LAT_COARSE 0x8000U /* of lat_pending: when is as coarse as the kernel's tick */
#define KCM_LAT_BUDGET 16      /* requests timed per connection and tick of 2^24 ns: 950 a second */

#define KCM_TAG_BUSY (1ULL << 63) /* the slot is being filled */

/* As in the kernel, and two for UDP. */
enum kcm_sk_state {
	KCM_SK_NEW,
	KCM_SK_ESTABLISHED,
	KCM_SK_SYN_SENT,
	KCM_SK_SYN_RECV,
	KCM_SK_FIN_WAIT1,
	KCM_SK_FIN_WAIT2,
	KCM_SK_TIME_WAIT,
	KCM_SK_CLOSE,
	KCM_SK_CLOSE_WAIT,
	KCM_SK_LAST_ACK,
	KCM_SK_LISTEN,
	KCM_SK_CLOSING,
	KCM_SK_NEW_SYN_RECV,
};

enum kcm_sk_role {
	KCM_ROLE_UNKNOWN,
	KCM_ROLE_CLIENT,
	KCM_ROLE_SERVER,
	KCM_ROLE_LISTENER,
};

enum kcm_sk_proto {
	KCM_SK_TCP = 6,
	KCM_SK_UDP = 17,
};

enum kcm_sk_flag {
	KCM_SKF_ADOPTED = 1,	 /* older than the programs: counts begin where they were loaded */
	KCM_SKF_RX_GAP = 2,	 /* segments came too early: ask the kernel for rcv_nxt */
	KCM_SKF_RX_FIN = 4,	 /* rx_fin is known */
	KCM_SKF_TX_BASE = 8,	 /* tx_seq is known */
	KCM_SKF_LIMIT_DROP = 16, /* kcm_sk_info.limit_*: drop, don't pace */
	KCM_SKF_LIMIT = 32,	 /* this socket has a limit */
	KCM_SKF_RX_BASE = 64,
};

/*
 * Half a cache line: with thousands of sockets what finding one costs is the miss on this, and two
 * sockets that share a line miss half as often. TCP: written by the egress program under the
 * socket lock, and by sockops. UDP: atomically.
 */
struct kcm_sk_hot {
	__u64 tag;	/* cookie; 0 = free. In sk_storage: cookie */
	__u64 tx_bytes; /* payload sent, without retransmissions */
	__u32 tx_seq;	/* TCP, host order: behind the last byte counted */
	__u32 tx_segs;
	__u8 state;	 /* enum kcm_sk_state */
	__u8 role;	 /* enum kcm_sk_role */
	__u8 frame;	 /* index into kcm_sk_frames; 0 = not framed */
	__u8 flags;	 /* enum kcm_sk_flag */
	__u8 frame_dead; /* bit 0: tx, bit 1: rx: the framing was lost, see kcm_sk_info.unframed */
	__u8 proto;	 /* enum kcm_sk_proto */
	__u8 tick;	 /* of the last sample of the tcp_sock, see KCM_SK_SAMPLE_LOG */
	__u8 limit;	 /* KCM_SKF_LIMIT, KCM_SKF_LIMIT_DROP: not in flags, others write it */
};

/*
 * The other half. TCP: written by the ingress program and by sockops; last_ns by egress too, which
 * does not read it, and so never waits for this line. UDP: atomically.
 */
struct kcm_sk_in {
	__u64 rx_bytes; /* payload received in order */
	__u64 last_ns;	/* CLOCK_MONOTONIC, coarse, of the last segment; of a free slot: freed at */
	__u32 rx_base;	/* of the first byte received; rx_next() says how far we are */
	__u32 rx_segs;
	__u32 rx_fin; /* sequence number of the peer's FIN */
	__u32 rx_far; /* behind the last byte that came too early */
};

/* One direction of a framed stream. tx: under the socket lock; rx: under @lock. */
struct kcm_sk_dir {
	__u64 msgs; /* whole messages */
	__u32 skip; /* bytes to come of a message whose length is known */
	__u32 hop;  /* bytes to come of which none decides where the message ends */
	__u32 lost; /* bytes of the unfinished message that are not in carry[] any more */
	__u32 carry_bytes;
	struct kcm_fstate fs;
	__u32 lock;
	__u32 stashes;	/* chunks of kcm_sk_stash: segments that came too early */
	__u32 len_hint; /* length of the last message: how many bytes to look at, at a time */
	__u32 pad;
	__u8 carry[KCM_SK_CARRY];
};

struct kcm_sk_label {
	char key[KCM_SK_KEY];
	char value[KCM_SK_VALUE];
};

/* Why messages of a socket are not counted (any more). */
enum kcm_sk_unframed {
	KCM_UNFRAMED_NO,
	KCM_UNFRAMED_PROTO,  /* bytes that can't be a message */
	KCM_UNFRAMED_SIZE,   /* a message above the maximum */
	KCM_UNFRAMED_MISSED, /* bytes that the programs did not see */
	KCM_UNFRAMED_STASH,  /* too many segments came too early */
	KCM_UNFRAMED_OPAQUE, /* another protocol from here: HTTP upgrade, CONNECT, TLS */
};

struct kcm_sk_info {
	__u64 netns_cookie;
	__u64 cgroup_id;
	__u64 start_ns;	  /* CLOCK_MONOTONIC; 0 = before the programs were loaded */
	__u64 rate_bytes; /* per second: the kernel's delivery rate */
	__u32 pid;	  /* that opened it, or the listener it comes from; 0 = not known */
	__u32 uid;
	char comm[16];
	__u8 laddr[16]; /* network order; IPv4 in the first four */
	__u8 raddr[16];
	__u16 family; /* AF_INET, AF_INET6 */
	__u16 lport;  /* host order */
	__u16 rport;
	__u16 pad;
	__u32 srtt_us;
	__u32 min_rtt_us;
	__u32 retrans; /* segments */
	__u32 cwnd;
	__u32 mss;
	__u32 connect_us; /* SYN to established, client side */
	__u32 generation; /* of the server process: KCM_SO_GENERATION, inherited from the listener
			   */
	__u32 migrations;
	enum kcm_sk_unframed unframed;
	__u32 err; /* errno the connection failed with */
	/* one request at a time is timed: from its last byte to the last byte of its answer */
	__u64 lat_pending; /* when << 16 | KCM_LAT_COARSE | number of the answer; 0 = none */
	__u64 lat_n;
	__u64 lat_ns_sum;
	__u64 lat_ns_max;
	__u32 hist[KCM_SK_HIST];
	__u64 limit_bytes;     /* per second; 0 = none */
	__u64 limit_stamp_ns;  /* token bucket of KCM_SKF_LIMIT_DROP: when it was last filled ... */
	__u64 limit_tokens;    /* ... and what is in it */
	__u32 limit_msgs;      /* per second; 0 = none */
	__u32 limit_rule;      /* index into kcm_sk_rules + 1 */
	__u64 limit_hits;      /* segments that were held back or dropped */
	__u64 limit_seen_msgs; /* sent when limit_stamp_ns was taken: a limit of messages ... */
	__u64 limit_seen_bytes;			  /* ... is kept by their mean size */
	__u32 limit_was;			  /* SO_MAX_PACING_RATE before the limit */
	__u32 limit_mean;			  /* bytes of a message, of late */
	__u32 limit_set;			  /* SO_MAX_PACING_RATE that we set last */
	__u32 label_seq;			  /* odd while labels change */
	__u64 http_head;			  /* HTTP/1: bit n % 64: request n is HEAD */
	__u32 http_answered;			  /* requests that have their reply, beside 1xx */
	struct kcm_sk_label label[KCM_SK_LABELS]; /* an empty key: not used */
	__u32 label_end; /* label_seq once more, behind the labels: see sock_label.bpf.h */
	__u32 lat_tick;	 /* budget of readings of the clock: for this tick of 2^24 ns ... */
	__u32 lat_left;	 /* ... so many are left */
	__u64 reserved[3];
};

/* What is beside struct kcm_sk_hot and struct kcm_sk_in in a slot. */
struct kcm_sk_more {
	struct kcm_sk_dir tx;
	struct kcm_sk_dir rx;
	struct kcm_sk_info info;
};

/* Value of the sk_storage map. */
struct kcm_sk_store {
	struct kcm_sk_hot hot;
	struct kcm_sk_in in;
	struct kcm_sk_more more;
};

/* What a user is shown of a socket: kcm_sk_snap, text and JSON are made from it. */
struct kcm_sock {
	__u64 cookie;
	enum kcm_sk_state state;
	enum kcm_sk_role role;
	enum kcm_sk_proto proto;
	__u32 frame;
	__u64 tx_bytes, rx_bytes;
	__u32 tx_segs, rx_segs;
	__u64 tx_msgs, rx_msgs;
	__u64 last_ns;
	__u32 flags; /* enum kcm_sk_flag */
	__u32 slot;  /* KCM_SK_SLOT_NONE: in sk_storage */
	__u64 seen;  /* number of the snapshot */
	struct kcm_sk_info info;
};

/* Set when the programs are loaded. */
struct kcm_sk_cfg {
	__u32 slot_mask; /* slots - 1; behind them comes one a CPU for data of a SYN's last ACK */
	__u32 slots;
	__u32 cpus;
	__u32 optmem_before; /* user space: net.core.optmem_max that load raised; 0 = it did not */
};

/* Counters and switches: one element. BPF adds, user space reads (and writes where it says). */
struct kcm_sk_ctl {
	struct kcm_sk_cfg cfg; /* for user space: what the programs were loaded with */
	__u64 opened;
	__u64 closed;
	__u64 failed; /* connections that were never established */
	__u64 adopted;
	__u64 beyond;	  /* connections that found no free slot: in sk_storage */
	__u64 no_storage; /* sk_storage refused: net.core.optmem_max or memory */
	__u64 unparsed;	  /* segments whose headers could not be read */
	__u64 unframed;	  /* streams whose framing was lost */
	__u64 stash_full;
	__u64 limit_drops;   /* segments */
	__u64 limit_paced;   /* connections that were given a pacing rate */
	__u64 limit_refused; /* the kernel refused the pacing rate */
	__u64 swept;	     /* slots of sockets that had gone without a word */
	__u64 events;
	__u64 event_drops;
	__u64 watch_until_ns[KCM_SK_WATCHERS]; /* user space: ring kcm_sk_rings[i] is read */
	__u64 watch_slow_ns[KCM_SK_WATCHERS];  /* user space: report latencies above; 0 = none */
	__u32 watch_pid[KCM_SK_WATCHERS];
	__u64 watch_drops[KCM_SK_WATCHERS];
	__u64 watch_any_until_ns; /* user space: maximum of watch_until_ns */
	__u64 watch_min_slow_ns;  /* user space: least of watch_slow_ns; 0 = none */
	__u64 snapshot;		  /* user space and refresh: number of the newest snapshot */
	__u64 frames_gen;	  /* user space: changes when framings change */
	__u32 rules;		  /* user space: rules in use */
	__u32 pad;
};

enum kcm_sk_event_kind {
	KCM_SKE_OPEN,
	KCM_SKE_CLOSE,
	KCM_SKE_FAIL, /* connect() was refused, timed out, ... */
	KCM_SKE_SLOW, /* an answer took longer than asked */
};

/* A record of a watcher's ring. */
struct kcm_sk_event {
	enum kcm_sk_event_kind kind;
	__u32 pad;
	__u64 ts_ns;
	__u64 slow_ns; /* KCM_SKE_SLOW */
	struct kcm_sock sock;
};

/* Key of kcm_sk_ports. */
struct kcm_sk_port {
	__u16 port; /* host order: local of a server, remote of a client */
	__u16 proto;
};

/* A framing: element of kcm_sk_frames, index = its number. */
struct kcm_sk_framing {
	struct kcm_frame frame;
	__u32 used;
	__u32 port;
	__u64 since_ns;
	char text[KCM_FRAME_TEXT_BYTES];
};

enum kcm_sk_rule_match { /* what of a rule counts */
			 KCM_RULE_LPORT = 1,
			 KCM_RULE_RPORT = 2,
			 KCM_RULE_RADDR = 4,
			 KCM_RULE_LADDR = 8,
			 KCM_RULE_CGROUP = 16,
			 KCM_RULE_PID = 32,
			 KCM_RULE_LABEL = 64,
			 KCM_RULE_COOKIE = 128,
			 KCM_RULE_PROTO = 256,
			 KCM_RULE_PORT = 512, /* lport: local or remote */
			 KCM_RULE_NETNS = 1024,
			 KCM_RULE_ROLE = 2048,
			 KCM_RULE_UID = 4096,
};

/* A limit for every socket that matches, new or there already. */
struct kcm_sk_rule {
	__u32 used;  /* number of the rule, counts up; 0 = free */
	__u32 match; /* enum kcm_sk_rule_match */
	__u64 rate_bytes;
	__u32 rate_msgs;
	__u32 drop;
	__u64 cookie;
	__u64 cgroup_id;
	__u32 pid;
	__u16 lport, rport;
	__u16 family;
	__u8 raddr_bits, laddr_bits;
	__u32 proto;
	__u8 raddr[16], laddr[16];
	struct kcm_sk_label label; /* an empty value: any */
	__u64 netns_cookie;
	__u32 uid;
	enum kcm_sk_role role;
	__u64 sockets; /* that matched */
	__u64 hits;    /* segments held back or dropped */
};

/* Bytes that came before those in front of them: who has a chunk, and the bytes. */
struct kcm_sk_stash_head {
	__u64 owner; /* KCM_STASH_OWNER(); 0 = free */
	__u64 since_ns;
	__u32 seq; /* host order, of bytes[0] */
	__u32 len;
};

#define KCM_STASH_OWNER(cookie, tx) ((cookie) << 1 | !!(tx))

struct kcm_sk_stash_heads {
	struct kcm_sk_stash_head h[KCM_SK_STASHES];
};

struct kcm_sk_stash {
	__u8 bytes[KCM_SK_STASH];
};

/* A look at a stream: what was carried over, and bytes of the segment behind it. */
#define KCM_WIN_MASK 2047U

struct kcm_sk_win {
	__u32 busy;
	__u32 have; /* bytes here */
	__u32 at;   /* the next one to look at */
	__u32 off;  /* of the segment: looked at, or skipped */
	__u32 end;  /* bytes of the segment */
	__u32 msgs; /* that ended in it */
	__s32 err;
	__u32 pad;
	__u8 bytes[KCM_WIN_MASK + 1 + KCM_FRAME_PAD];
};

_Static_assert(sizeof(struct kcm_sk_hot) == 32, "half a cache line");
_Static_assert(sizeof(struct kcm_sk_in) == 32, "half a cache line");
_Static_assert(sizeof(struct kcm_sk_dir) == 128, "first line without carry");
_Static_assert(sizeof(struct kcm_sk_label) == 32, "kcm_sk_label layout");
_Static_assert(sizeof(struct kcm_sk_more) % 64 == 0, "slots on cache lines");
_Static_assert(sizeof(struct kcm_sk_event) % 8 == 0, "ring records");

#endif
