/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * migrate.h - types shared by the migrate BPF programs and user space.
 *
 * An instance watches one port, of TCP or of UDP, in one cgroup. All it knows is in one element of
 * one map that user space maps, struct kcm_mg (and, of UDP, in tables of flows):
 *
 *	group		a reuseport group: the listeners the kernel spreads connections over. One
 *for each (network namespace, family, address, device, V6ONLY) on the port gen		a generation
 *of a group's server: what one start of it has opened slot		a listener
 *
 * sockops programs change it under kcm_mg_lock when a listener opens or closes; the selector, run
 * for every new connection and for everything that a closing listener still had, only reads, and
 * counts.
 */
#ifndef KCM_MIGRATE_H
#define KCM_MIGRATE_H

#ifndef __bpf__
#include <linux/types.h>
#endif

#define KCM_MIGRATE_LAYOUT 2

#define KCM_MG_GROUPS  8
#define KCM_MG_GENS    8    /* of a group, alive at a time */
#define KCM_MG_MEMBERS 1024 /* listeners of a generation */
#define KCM_MG_SLOTS   4096 /* listeners of an instance */
#define KCM_MG_LOG     256
#define KCM_MG_NONE    0xffffU
#define KCM_MG_STICKY  65536

/* How listeners are chosen for new connections, among those of a generation. */
enum kcm_mg_policy {
	KCM_MG_HASH,   /* as the kernel does it */
	KCM_MG_ROBIN,  /* one after the other */
	KCM_MG_LEAST,  /* of two, the one with the shorter accept queue */
	KCM_MG_CPU,    /* the listener with the number of the CPU, modulo */
	KCM_MG_NUMA,   /* the same with the memory node */
	KCM_MG_CLIENT, /* the one this client's address had, while it is there */
	KCM_MG_POLICIES,
};

/* The connection that shall prove that a new generation accepts. */
enum kcm_mg_probe {
	KCM_MG_PROBE_NONE,
	KCM_MG_PROBE_TAKEN,  /* a CPU is about to send one */
	KCM_MG_PROBE_GIVEN,  /* its SYN went to the generation */
	KCM_MG_PROBE_QUEUED, /* it is in the accept queue, or was taken out of it */
};

enum kcm_mg_gen_state {
	KCM_MG_GEN_FREE,
	KCM_MG_GEN_NEW,	     /* it listens; whether it accepts is being found out */
	KCM_MG_GEN_READY,    /* it has accepted a connection, or there was no other */
	KCM_MG_GEN_DRAINING, /* no new connections: told by an operator, or by all its listeners */
	KCM_MG_GEN_GONE,     /* all its listeners have closed */
};

/* What must be the same for a connection to move from one listener to another. */
enum kcm_mg_kind {
	KCM_MG_KIND_SAVE_SYN = 1,
	KCM_MG_KIND_SAVE_SYN2 = 2, /* TCP_SAVE_SYN 2 */
	KCM_MG_KIND_FASTOPEN = 4,
	KCM_MG_KIND_MD5 = 8,
	KCM_MG_KIND_AO = 16,
	KCM_MG_KIND_MPTCP = 32, /* never registered */
	KCM_MG_KIND_DEFER = 64, /* shown; not a reason to refuse */
};

#define KCM_MG_KIND_MUST                                                                         \
	(KCM_MG_KIND_SAVE_SYN | KCM_MG_KIND_SAVE_SYN2 | KCM_MG_KIND_FASTOPEN | KCM_MG_KIND_MD5 | \
	 KCM_MG_KIND_AO)

enum kcm_mg_slot_flag {
	KCM_MG_SLOT_USED = 1,
	KCM_MG_SLOT_ADOPTED = 2, /* it listened before attach */
	KCM_MG_SLOT_CLOSED = 8,	 /* rests until nothing of it can still migrate */
};

/* A listener. One is a cache line that the selector writes and one that it does not. */
struct kcm_mg_slot {
	__u64 cookie;  /* of the socket: key in kcm_mg_socks */
	__u64 sk;      /* its address, for accept queue and kind: may be stale, is read with care */
	__u64 given;   /* new connections sent here */
	__u64 in;      /* migrated here, from other listeners */
	__u64 out;     /* migrated away as it closed */
	__u64 refused; /* it had them as it closed, and nobody could take them */
	__u64 opened_ns; /* CLOCK_MONOTONIC */
	__u16 group, gen;
	__u16 flags; /* enum kcm_mg_slot_flag */
	__u16 pos;   /* in kcm_mg_gen.member; from .n on: it takes no more connections */
	__u32 kind;  /* enum kcm_mg_kind, as it was at listen() */
	__u32 backlog;
	__u32 pid; /* that called listen(), in the initial pid namespace */
	__u32 uid;
	char comm[16];
	__u64 closed_ns;
	__u64 datagrams; /* UDP: sent here by the selector */
	__s32 seat;	 /* UDP, keeper: 0 not in kcm_mg_udps yet, 1 it is, else why not: -errno */
	__u32 pad[3];
};

/* Who is one generation: what a process and those it forked without exec have opened. */
struct kcm_mg_key {
	__u64 start_ns;	 /* start of that process, CLOCK_BOOTTIME */
	__u64 exec_id;	 /* of its exec: a process that executes itself anew is a new one */
	__u64 cgroup_id; /* of the caller of listen() */
	__u32 pid;
	__u32 number; /* told by the operator or the program; 0: the rest says it */
};

struct kcm_mg_gen {
	struct kcm_mg_key key;
	__u64 since_ns; /* CLOCK_MONOTONIC */
	__u64 gone_ns;
	__u64 rr;		       /* next for KCM_MG_ROBIN and for migrations */
	__u64 given, in, out, refused; /* of its listeners that have closed */
	__u64 probe_ns;	   /* the connection that shall prove it: when it was given ... */
	__u32 probe_peer;  /* ... who from, a hash ... */
	__u32 probe_slot;  /* ... and to whom */
	__u32 probe_state; /* enum kcm_mg_probe */
	__u32 id;	   /* 1, 2, ... within the group */
	__u32 weight;	   /* percent of new connections, for generations that do not work alone */
	__u16 n;	   /* listeners that take connections */
	__u16 state;	   /* enum kcm_mg_gen_state */
	__u32 drained;	   /* listeners that have said to take no more */
	char comm[16];
	__u16 member[KCM_MG_MEMBERS]; /* slots: [0, n), then [n, n + drained) */
};

enum kcm_mg_group_flag {
	KCM_MG_GROUP_USED = 1,
	KCM_MG_GROUP_SELECTOR = 2, /* user space: the selector is attached to it */
	KCM_MG_GROUP_PINNED = 4,   /* promote or rollback said which one works: newer ones don't */
	KCM_MG_GROUP_WEIGHTED = 8, /* some generation has a weight */
	KCM_MG_GROUP_PARK = 16,	   /* an anchor may take connections */
	KCM_MG_GROUP_DIVERT = 32,  /* new connections go to the anchor, whoever listens */
};

struct kcm_mg_group {
	__u64 netns_cookie;
	__u64 netns_inode; /* user space; 0 = not looked up */
	__u8 addr[16];	   /* network order; IPv4 in the first four */
	__u32 ifindex;
	__u32 uid;
	__u32 flags; /* enum kcm_mg_group_flag; changed atomically */
	__u16 family;
	__u8 v6only;
	__u8 pad;
	__u16 working; /* index of the generation new connections go to, or KCM_MG_NONE */
	__u16 next;    /* newer, to be proven, or KCM_MG_NONE */
	__u16 before;  /* the one that worked before, for rollback, or KCM_MG_NONE */
	__u32 n;       /* listeners of all generations, .drained among them */
	__u32 last_id; /* of the newest generation */
	__u32 opened;  /* counts up with each listener that opens */
	__u64 emptied; /* times that the last listener closed: with no anchor the selector went too
			*/
	__u64 selector_at;   /* user space: value of emptied when it attached the selector */
	__u64 anchor_cookie; /* keeper: its listener; 0 = none */
	__u64 anchor_kind;   /* keeper: enum kcm_mg_kind */
	__u64 anchor_since_ns;
	__u64 anchor_sk; /* of anchor_cookie, for its queue: set by kcm_mg_adopt */
	__u64 parked;	 /* connections and requests sent to an anchor */
	__u64 unparked;	 /* migrated from an anchor to a listener */
	__u64 expired;	 /* keeper: closed because nobody came for them */
	/*
	 * User space: KCM_MG_GROUP_DIVERT is taken back by the keeper at that time,
	 * CLOCK_MONOTONIC, or when last_id or emptied is not this any more.
	 */
	__u64 divert_until_ns;
	__u64 divert_emptied;
	__u32 divert_id;
	__u32 drained;	     /* listeners that take no more connections */
	__u64 fallback;	     /* new connections that were left to the kernel's hash */
	__u64 refused_kind;  /* could not migrate: no listener of the same kind */
	__u64 refused_none;  /* could not migrate: no listener at all */
	__u64 flows;	     /* UDP: new ones that were seen ... */
	__u64 flows_moved;   /* ... whose socket had gone: to another one ... */
	__u64 flows_full;    /* ... that found no room in the table: datagrams, each by its hash */
	__u64 flows_rebound; /* QUIC: known by a connection id, from another address */
	__u64 cids_full;     /* QUIC: connection ids that found no room */
	/*
	 * User space: where flows are that are older than attach is not known, and up to then
	 * they are left where the kernel's hash puts them. CLOCK_MONOTONIC.
	 */
	__u64 settled_ns;
	__u32 cid_bytes[2]; /* QUIC: lengths of connection ids, the last one first; 0: none yet */
	struct kcm_mg_gen gen[KCM_MG_GENS];
};

enum kcm_mg_event_kind {
	KCM_MGE_LISTEN = 1,
	KCM_MGE_CLOSE,
	KCM_MGE_GEN_NEW,
	KCM_MGE_GEN_WORKS, /* new connections go there from now on */
	KCM_MGE_GEN_GONE,
	KCM_MGE_EMPTY,	 /* a group's last listener has closed */
	KCM_MGE_REFUSED, /* a listener that can't be registered, why is in .why */
	KCM_MGE_ANCHOR,	 /* keeper: an anchor was opened, or closed (.why = 1) */
	KCM_MGE_DRAIN,	 /* a listener has said to take no more */
};

enum kcm_mg_why {
	KCM_MGW_NONE,
	KCM_MGW_MPTCP = 2,
	KCM_MGW_GROUPS, /* KCM_MG_GROUPS are in use */
	KCM_MGW_SLOTS,	/* KCM_MG_SLOTS or KCM_MG_MEMBERS are */
	KCM_MGW_GENS,	/* KCM_MG_GENS are: it was added to the newest */
	KCM_MGW_SOCKS,	/* the kernel refused it in kcm_mg_socks */
	KCM_MGW_ALONE,	/* it has no SO_REUSEPORT */
};

/* Newest at log_next - 1, modulo. Those who read look at seq before and after. */
struct kcm_mg_event {
	__u64 seq; /* counts up from 1; 0 while it is written */
	__u64 ts_ns;
	__u32 kind; /* enum kcm_mg_event_kind */
	__u16 group;
	__u16 slot;
	__u32 gen; /* its id */
	__u32 pid;
	__u32 why;
	__u32 n;     /* listeners of the generation afterwards */
	__u64 moved; /* KCM_MGE_CLOSE: migrated away up to then */
	char comm[16];
};

/* Set at load, see also kcm_mg_conf in .rodata. */
struct kcm_mg_ctl {
	__u32 port;	     /* host order */
	__u32 policy;	     /* user space: enum kcm_mg_policy */
	__u32 manual;	     /* user space: generations only by `generation new` */
	__u32 manual_number; /* user space: what listeners opened from now on belong to */
	__u32 n_groups;
	__u32 keeper_pid; /* user space: who holds anchors; 0 = nobody */
	__u64 cgroup_id;
	__u64 log_next;
	__u64 refused_listeners;
	__u64 adopted;
	__u64 keeper_seen_ns; /* keeper: it lives */
	__u32 anchor_backlog; /* user space: bound of parked connections ... */
	__u32 anchor_time_ms; /* ... and of their time */
	__u64 anchor;	      /* user space: --anchor was asked for */
	__u32 announce;	      /* groups, a bit each, whose new generation works: to be logged */
	__u32 probing;	      /* a probe is on its way somewhere */
	__u32 sticky;	      /* entries of kcm_mg_sticky; 1: loaded without KCM_MG_CLIENT */
	__u32 slots;	      /* ever used: slot[0, slots) */
	__u32 limbo_at;	      /* closed slots rest in limbo[limbo_at, limbo_to), modulo */
	__u32 limbo_to;
	__u32 forget;	       /* under the lock: see mg_forget() */
	__u32 protocol;	       /* IPPROTO_TCP or IPPROTO_UDP */
	__u32 flow_timeout_ms; /* UDP: a flow that is silent for so long has ended */
	__u32 flows_max;       /* UDP: places in kcm_mg_flows */
	__u32 quic;	       /* UDP: flows are known by connection ids, too */
	__u32 flows_known;     /* UDP, keeper: places taken, when it last looked ... */
	__u64 flows_seen_ns;   /* ... which was then */
	__u64 flows_expired;   /* UDP, keeper: removed because they had ended ... */
	__u64 flows_early;     /* ... or, while little room was left, been silent for a while */
};

struct kcm_mg {
	struct kcm_mg_ctl ctl;
	__u16 limbo[KCM_MG_SLOTS];
	struct kcm_mg_event log[KCM_MG_LOG];
	struct kcm_mg_slot slot[KCM_MG_SLOTS];
	struct kcm_mg_group group[KCM_MG_GROUPS];
};

/*
 * Value of kcm_mg_seed: who listens on a socket that is older than attach. kcm_mg_owner finds it
 * among all processes' descriptors, kcm_mg_adopt uses it.
 */
struct kcm_mg_seed {
	struct kcm_mg_key key;
	__u32 pid;
	__u32 pad;
	char comm[16];
};

/* Set at load, in .rodata. */
struct kcm_mg_conf {
	__u32 port;	 /* host order */
	__u32 protocol;	 /* IPPROTO_TCP or IPPROTO_UDP */
	__u64 cgroup_id; /* for kcm_mg_adopt; 0 = any */
	__u32 quic;
	__u32 pad;
};

/* ---- UDP: who has which flow ---- */

/* Key of kcm_mg_flows. IPv4 addresses are in the first four bytes. */
struct kcm_mg_flow_key {
	__u8 remote[16]; /* network order */
	__u8 local[16];	 /* network order */
	__u16 port;	 /* of the other side, network order */
	__u16 family;	 /* of the datagrams, AF_INET or AF_INET6 */
	__u32 group;
};

struct kcm_mg_flow {
	__u64 cookie; /* of the socket that has it; 0: not chosen yet */
	__u64 since_ns;
	__u64 last_ns;	 /* CLOCK_MONOTONIC, as coarse as the kernel's tick */
	__u64 datagrams; /* given to that socket */
	__u32 slot;	 /* is another one's if it has another cookie */
	__u32 gen;	 /* number of its generation */
	__u32 cids;	 /* QUIC: ids that were noted because it has used them */
	__u32 pad;
};

#define KCM_MG_CID 20 /* QUIC: bytes of a connection id, at most */

/* Key of kcm_mg_cids: what a QUIC server calls one of its connections. */
struct kcm_mg_cid_key {
	__u8 cid[KCM_MG_CID]; /* zeros behind it */
	__u32 bytes;
	__u32 group;
};

struct kcm_mg_cid {
	__u64 cookie;
	__u64 last_ns;
	__u32 slot;
	__u32 gen;
};

/* Value of kcm_mg_index. */
struct kcm_mg_ref {
	__u16 slot; /* KCM_MG_NONE: an anchor */
	__u16 group;
};

_Static_assert(sizeof(struct kcm_mg_slot) == 128, "two cache lines");
_Static_assert(sizeof(struct kcm_mg_event) == 64, "one cache line");
_Static_assert(sizeof(struct kcm_mg_key) == 32, "compared as four words");
_Static_assert(sizeof(struct kcm_mg_flow_key) == 40, "a key has no holes");
_Static_assert(sizeof(struct kcm_mg_cid_key) == 28, "a key has no holes");

#endif
