/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow.h - what flow's programs and user space share.
 *
 * Policies live in slots. A slot's generation only grows and is odd while a policy lives in it. A
 * rule set is compiled into maps of a program of its own, which carries its generation id (genid)
 * in its read-only data: to change the rules is to replace the program, and a packet is judged by
 * one program. What outlives it (slots, counters, the cache) is in maps that all of an instance's
 * programs share.
 *
 * A cached verdict holds the genid of the program that found it and the sum of its policies'
 * generations. As generations only grow, an equal sum means that none has changed.
 */
#ifndef KCM_FLOW_H
#define KCM_FLOW_H

#define KCM_FLOW_LAYOUT 1

#define KCM_FL_WAYS	   8	/* of a set of the cache */
#define KCM_FL_IFS	   8	/* interfaces of an instance */
#define KCM_FL_CHANGES	   8	/* to policies, that cached verdicts are checked against singly */
#define KCM_FL_GROUPS	   4	/* trees of a family, by the lengths of both prefixes */
#define KCM_FL_LEAF	   8	/* rules of a leaf that are looked at without a call each */
#define KCM_FL_DEPTH	   24	/* of a tree */
#define KCM_FL_EXTS	   8	/* extension headers of IPv6 */
#define KCM_FL_SNAP	   128	/* bytes of a packet that a sample keeps */
#define KCM_FL_BUNDLES	   4096 /* results of the routing table, a CPU */
#define KCM_FL_FLOW_LIMITS 65536
#define KCM_FL_PAGE	   4096 /* of text */

/* The first slots are no policies' but the default action's. */
enum kcm_fl_slot { KCM_FL_SLOT_PASS, KCM_FL_SLOT_DROP, KCM_FL_SLOT_FIRST };

/* As enum flow_action of flow_rule.h, which user space asserts. */
enum kcm_fl_action {
	KCM_FL_PASS,
	KCM_FL_DROP,
	KCM_FL_COUNT,
	KCM_FL_MARK,
	KCM_FL_SAMPLE,
	KCM_FL_LIMIT,
	KCM_FL_REDIRECT,
	KCM_FL_FORWARD,
	KCM_FL_CPU,
};

enum kcm_fl_family { KCM_FL_OTHER, KCM_FL_IP4, KCM_FL_IP6, KCM_FL_FAMILIES };

/* What a packet has: the class of a key. */
#define KCM_FL_C_FAMILY 0x03
#define KCM_FL_C_FIRST	0x04 /* a first fragment */
#define KCM_FL_C_LATER	0x08 /* one of the others */
#define KCM_FL_C_PORTS	0x10
#define KCM_FL_C_ICMP	0x20 /* ports are type and code */
#define KCM_FL_C_TCP	0x40
#define KCM_FL_C_TAGGED 0x80

/*
 * Network order. What a packet has not is 0. Programs write and compare words: a CPU is slow to
 * read a word that was just written in parts.
 */
struct kcm_fl_key4 {
	union {
		struct {
			__u32 saddr, daddr;
			__u16 sport, dport;
			__u8 proto, class;
			__u16 vlan; /* host order */
		};
		__u64 word[2];
	};
};

struct kcm_fl_key6 {
	union {
		struct {
			__u32 saddr[4], daddr[4];
			__u16 sport, dport;
			__u8 proto, class;
			__u16 vlan;
		};
		__u64 word[5];
	};
};

/* The rest of an entry. @ifnum and @tcp are compared with the key. */
struct kcm_fl_flow {
	__u8 ifnum; /* place in kcm_fl_conf.ifindex */
	__u8 tcp;   /* flags that policies look at, and no others */
	__u8 seen;  /* TCP flags of all packets */
	__u8 pad;
	__u32 genid; /* 0: nothing here, whatever the rest says */
	__u64 sum;   /* of the generations of @slot and @also */
	__u32 slot;  /* of the policy that decides */
	__u32 also;  /* of one that counts or samples on the way; 0: none */
	__u64 packets, bytes;
	__u32 last, first; /* ticks */
};

struct kcm_fl_ent4 {
	struct kcm_fl_key4 key;
	struct kcm_fl_flow f;
};

struct kcm_fl_ent6 {
	struct kcm_fl_key6 key;
	struct kcm_fl_flow f;
	__u8 pad[40];
};

/* Of a set of entries. */
struct kcm_fl_head {
	__u16 tag[KCM_FL_WAYS]; /* of the hash; 0: never used */
	__u8 age[KCM_FL_WAYS];	/* of the last packet, and KCM_FL_HOT */
	__u64 spare;
};

#define KCM_FL_HOT	 0x80 /* was found again after it was put in */
#define KCM_FL_AGE_SHIFT 4    /* from ticks to ages */
#define KCM_FL_COLD	 32   /* ages after which a way is as if never found again */

struct kcm_fl_count {
	__u64 packets, bytes;
};

/* One slot. Read by each packet, written by user space only. */
struct kcm_fl_pol {
	__u64 gen;     /* odd: a policy lives here. Only grows */
	__u32 action;  /* enum flow_action */
	__u32 arg;     /* mark | one in so many | ifindex | cpu */
	__u64 cost_ns; /* limit: what a packet takes of time; a byte: in 1/65536 ns */
	__u64 burst_ns;
	__u8 per_flow, by_packets;
	__u8 pad[2];
	__u32 genid; /* of slot 0: the highest that any program of the instance was made with */
	__u8 pad2[24];
};

/*
 * A rule: a policy as a leaf of a tree has it. All of host order. Ports or addresses of what is not
 * IP: those rules are in no tree of KCM_FL_OTHER.
 * @slist, @dlist: a list's number + 1, 0: none.
 * @where: vlan:16 | slot:24 | rank:24.
 */
struct kcm_fl_cond {
	__u16 splo, sphi, dplo, dphi;
	union {
		struct {
			__u8 proto, flags;
			__u8 tcp, tcp_mask;
			__u8 slen, dlen;
			__u8 slist, dlist;
		};
		__u64 kind; /* see KCM_FL_PLAIN */
	};
	__u64 where;
};

#define KCM_FL_HAS_PROTO  0x01
#define KCM_FL_FRAG_NO	  0x02 /* allowed; all of the three: no condition */
#define KCM_FL_FRAG_FIRST 0x04
#define KCM_FL_FRAG_LATER 0x08
#define KCM_FL_IF_SHIFT	  4 /* ifnum + 1; 0: any */
#define KCM_FL_LIST	  0x3f
#define KCM_FL_LIST_NOT	  0x40
#define KCM_FL_ADDR_NOT	  0x80
#define KCM_FL_VLAN_ID	  0x0fff
#define KCM_FL_VLAN_MODE  0x3000 /* 0: any, else: */
#define KCM_FL_VLAN_NONE  0x1000
#define KCM_FL_VLAN_SOME  0x2000
#define KCM_FL_VLAN_IS	  0x3000
#define KCM_FL_ICMP	  0x4000 /* port ranges are of type and code */
#define KCM_FL_ON	  0x8000 /* what is behind it is looked at too */

/*
 * A plain rule has no conditions but addresses, ports and a protocol: most are, and to look at the
 * others' in vain is most of the time that a leaf takes. Bits of @kind and of @where that say so.
 */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define KCM_FL_KIND(flags, tcp_mask, slist, dlist)                              \
	((__u64)(flags) << 8 | (__u64)(tcp_mask) << 24 | (__u64)(slist) << 48 | \
	 (__u64)(dlist) << 56)
#else
#define KCM_FL_KIND(flags, tcp_mask, slist, dlist) \
	((__u64)(flags) << 48 | (__u64)(tcp_mask) << 32 | (__u64)(slist) << 8 | (__u64)(dlist))
#endif
#define KCM_FL_FRAG_ANY	   (KCM_FL_FRAG_NO | KCM_FL_FRAG_FIRST | KCM_FL_FRAG_LATER)
#define KCM_FL_PLAIN_BITS  KCM_FL_KIND(0xff & ~KCM_FL_HAS_PROTO, 0xff, 0xff, 0xff)
#define KCM_FL_PLAIN	   KCM_FL_KIND(KCM_FL_FRAG_ANY, 0, 0, 0)
#define KCM_FL_PLAIN_WHERE KCM_FL_WHERE(0xffff & ~KCM_FL_ON, 0, 0) /* not one of these */

#define KCM_FL_WHERE(vlan, slot, rank) ((__u64)(vlan) << 48 | (__u64)(slot) << 24 | (rank))
#define KCM_FL_W_VLAN(w)	       ((__u32)((w) >> 48))
#define KCM_FL_W_SLOT(w)	       ((__u32)((w) >> 24) & 0xffffff)
#define KCM_FL_W_RANK(w)	       ((__u32)(w)&0xffffff)
#define KCM_FL_NO_RANK		       0xffffffu
#define KCM_FL_POLICIES_MAX	       0xfffff0u

struct kcm_fl_rule4 {
	__u32 saddr, daddr;
	struct kcm_fl_cond c;
};

struct kcm_fl_rule6 {
	__u32 saddr[4], daddr[4];
	struct kcm_fl_cond c;
};

/*
 * A node: bit 63 leaf | base:32 of bits 0-31, and of a leaf the number of rules:24 of 32-55, else
 * shift:5 of 32-36 | bits:5 of 40-44 | field:4 of 48-51. The child is base + (field >> shift) &
 * mask.
 */
#define KCM_FL_N_LEAF (1ull << 63)
#define KCM_FL_NODE(field, shift, bits, base) \
	((__u64)(field) << 48 | (__u64)(bits) << 40 | (__u64)(shift) << 32 | (__u32)(base))
#define KCM_FL_LEAF_NODE(n, base) (KCM_FL_N_LEAF | (__u64)(n) << 32 | (__u32)(base))

/* Fields that trees look at: 0-3 source, 4-7 destination (IPv4: 0 and 4), most significant first.
 */
enum kcm_fl_field {
	KCM_FL_F_SADDR = 0,
	KCM_FL_F_DADDR = 4,
	KCM_FL_F_PORTS = 8, /* source << 16 | destination */
	KCM_FL_F_MISC = 9,  /* ifnum << 28 | vlan << 8 | proto; vlan: 0x1000 + number, untagged 0 */
	KCM_FL_FIELDS,
};

/* Addresses of lists: from @start up to the next one they are in @lists, a bit each. */
struct kcm_fl_iv4 {
	__u32 start, lists;
};

struct kcm_fl_iv6 {
	__u64 hi, lo; /* start */
	__u32 lists, pad;
};

/*
 * A policy of a program's set, in the order in which they are tried. It lives as long as its slot
 * has @gen. What it counted before this slot had it is @packets and @bytes.
 */
struct kcm_fl_line {
	__u64 gen;
	__u64 packets, bytes;
	__u32 slot, prio;
	__u32 at, len; /* where its text is in kcm_fl_src */
};

/* A change to one policy, of the program whose genid it is. */
struct kcm_fl_change {
	__u32 genid;
	__u32 dead;    /* slot of a policy that was taken out; 0: one was put in, see @r4, @r6 */
	__u8 families; /* that @r4 (also of other than IP) and @r6 speak of, bits 1 << family */
	__u8 pad[7];
	struct kcm_fl_rule4 r4;
	struct kcm_fl_rule6 r6;
};

/* Read-only data of a program. */
struct kcm_fl_conf {
	__u32 genid;
	__u32 floor; /* verdicts of older programs are all found anew */
	__u32 changes;
	__u32 n_if;
	__u32 ifindex[KCM_FL_IFS];
	__u64 seed;
	__u32 sets4, sets6; /* a CPU, powers of two */
	__u32 slots;
	__u32 default_slot;
	__u32 tick_shift;   /* jiffies to ticks */
	__u32 idle_ticks;   /* without a packet, after which a flow is another one */
	__u32 closed_ticks; /* the same after FIN or RST */
	__u32 bundle_ticks; /* life of a result of the routing table, in jiffies */
	__u32 iv4, iv6;	    /* intervals of lists */
	__u32 policies;	    /* in kcm_fl_idx */
	__u32 text_bytes;   /* in kcm_fl_src */
	__u32 netns;	    /* inode of the interfaces' namespace */
	__u32 pad2;
	__u8 lists;    /* 1: there are any */
	__u8 tcp_mask; /* flags that some policy looks at */
	__u8 no_cache;
	__u8 frags;   /* packets may be of several buffers */
	__u8 bypass;  /* may give the cache up where it does not pay */
	__u8 ordered; /* this kind of CPU lets others see stores in the order of the program */
	__u8 pad[6];
	__u32 root[KCM_FL_FAMILIES][KCM_FL_GROUPS]; /* node; 0: no tree */
	__u32 rank[KCM_FL_FAMILIES][KCM_FL_GROUPS]; /* of its first rule */
	struct kcm_fl_change change[KCM_FL_CHANGES];
};

/* One a CPU, written by its programs. */
struct kcm_fl_stat {
	__u64 hits;
	__u64 misses;	 /* not in the cache */
	__u64 stale;	 /* in it, and its policy had been removed, or any may have changed */
	__u64 restamped; /* in it, and no change since concerns it */
	__u64 inserted, evicted;
	__u64 refused;	/* all ways of the set are in use */
	__u64 uncached; /* several policies count on the way */
	__u64 bypassed;
	__u64 bad;     /* malformed, see flow_rule.h */
	__u64 limited; /* dropped by a limit */
	__u64 sampled, samples_lost;
	__u64 fib_hits, fib_asked, fib_kernel; /* the last: left to the kernel */
	__u64 mark_failed;
	__u64 long_leaves; /* longer than KCM_FL_LEAF, looked through */
	__u64 pad[6];
	/* Is the cache worth its price here? See flow_bypass.bpf.h. */
	__u32 turn;		   /* packets */
	__u32 until;		   /* turn at which that is decided anew */
	__u32 cached_ns, plain_ns; /* means, in sixteenths */
	__u8 bypassing, probing, backoff;
	__u8 pad2;
	__u32 missed; /* packets in a row that were not in the cache */
	__u64 was_misses, was_inserted, was_evicted; /* at the last decision */
	__u64 pad3[2];
};

/* Behind it, KCM_FL_SNAP bytes of the packet, or as many as there are. */
struct kcm_fl_sample {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u32 slot;
	__u32 ifindex;
	__u32 len;  /* of the packet */
	__u32 snap; /* bytes kept */
};

/* What the routing table said. Key: addresses, of the flow. */
struct kcm_fl_bundle {
	__u32 saddr[4], daddr[4]; /* as of an IPv6 key; IPv4: first words */
	__u32 until;		  /* jiffies */
	__u32 ifindex;		  /* to send out of; 0: the kernel's */
	__u8 dmac[6], smac[6];
	__u8 family, tos;
	__u8 ifnum, valid;
	__u32 mtu;
	__u32 pad;
};

/* Limits of single flows. */
struct kcm_fl_flow_key {
	__u32 saddr[4], daddr[4];
	__u16 sport, dport;
	__u8 proto, class;
	__u16 vlan;
	__u32 slot, ifnum;
	__u64 gen;
};

_Static_assert(sizeof(struct kcm_fl_flow) == 48, "with the key of IPv4, one cache line");
_Static_assert(sizeof(struct kcm_fl_ent4) == 64, "one cache line");
_Static_assert(sizeof(struct kcm_fl_ent6) == 128, "two cache lines");
_Static_assert(sizeof(struct kcm_fl_head) == 32, "half a cache line");
_Static_assert(sizeof(struct kcm_fl_pol) == 64, "one cache line");
_Static_assert(sizeof(struct kcm_fl_cond) == 24, "no padding");
_Static_assert(sizeof(struct kcm_fl_rule4) == 32, "half a cache line");
_Static_assert(sizeof(struct kcm_fl_rule6) == 56, "no padding");
_Static_assert(sizeof(struct kcm_fl_line) == 40, "no padding");
_Static_assert(sizeof(struct kcm_fl_iv6) == 24, "no padding");
_Static_assert(sizeof(struct kcm_fl_stat) == 256, "four cache lines");
_Static_assert(sizeof(struct kcm_fl_bundle) == 64, "one cache line");
_Static_assert(sizeof(struct kcm_fl_flow_key) == 56, "no padding");

#endif
