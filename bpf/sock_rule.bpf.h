/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sock_rule.bpf.h - limits: which connections they are for, and how they are kept.
 *
 * A TCP connection is paced by the kernel: SO_MAX_PACING_RATE, no segment is lost. A limit of
 * messages is paced by their mean size. Where the rule says so segments are dropped instead.
 */
#ifndef KCM_SOCK_RULE_BPF_H
#define KCM_SOCK_RULE_BPF_H

#define KCM_SOL_SOCKET	      1
#define KCM_SOL_TCP	      6
#define KCM_MAX_PACING_RATE   47   /* SO_MAX_PACING_RATE */
#define KCM_TCP_BPF_CB_FLAGS  1008 /* TCP_BPF_SOCK_OPS_CB_FLAGS, since 6.12 */
#define KCM_PACE_NONE	      (~0U)
#define KCM_PACE_MIN	      1000
#define KCM_MSG_GUESS	      512	   /* bytes of a message before one was sent */
#define KCM_LIMIT_WINDOW_NS   20000000ULL  /* mean size of messages: looked at so often at most */
#define KCM_LIMIT_DEPTH_NS    250000000ULL /* what may be saved up, dropping */
#define KCM_LIMIT_DEPTH_BYTES 65536
#define KCM_NSEC	      1000000000ULL

/* ---- which ---- */

static __always_inline int rule_in_prefix(const __u8 have[16], const __u8 want[16], __u32 bits)
{
	for (__u32 i = 0; i < 4; i++) {
		__u32 here = bits > i * 32 ? bits - i * 32 : 0;
		__u32 mask = here >= 32 ? ~0U : bpf_htonl(~(~0U >> here));

		if ((*(__u32 *)&have[i * 4] ^ *(__u32 *)&want[i * 4]) & mask)
			return 0;
	}
	return 1;
}

/* An IPv6 socket that speaks IPv4 is found by its IPv4 address. */
static __always_inline int rule_addr(__u16 family, const __u8 have[16], const struct kcm_sk_rule *r,
				     const __u8 want[16], __u32 bits)
{
	if (family == r->family)
		return rule_in_prefix(have, want, bits);
	if (family != KCM_AF_INET6 || *(__u64 *)have || *(__u32 *)&have[8] != bpf_htonl(0xffff))
		return 0;
	return !((*(__u32 *)&have[12] ^ *(__u32 *)want) &
		 (bits >= 32 ? ~0U : bpf_htonl(~(~0U >> bits))));
}

static __always_inline int rule_label(const struct kcm_sk_label *a, const struct kcm_sk_label *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	/* Key and value fill up with NUL. The first word of the value ends the key's third. */
	if (x[0] != y[0] || *(__u32 *)&x[1] != *(__u32 *)&y[1])
		return 0;
	return !b->value[0] || (x[1] == y[1] && x[2] == y[2] && x[3] == y[3]);
}

static __always_inline int rule_matches(const struct kcm_sk_rule *r, const struct kcm_sk_hot *hot,
					const struct kcm_sk_info *i, __u64 cookie)
{
	__u32 m = r->match;

	if (((m & KCM_RULE_PROTO) && r->proto != hot->proto) ||
	    ((m & KCM_RULE_LPORT) && r->lport != i->lport) ||
	    ((m & KCM_RULE_RPORT) && r->rport != i->rport) ||
	    ((m & KCM_RULE_PORT) && r->lport != i->lport && r->lport != i->rport) ||
	    ((m & KCM_RULE_COOKIE) && r->cookie != cookie) ||
	    ((m & KCM_RULE_CGROUP) && r->cgroup_id != i->cgroup_id) ||
	    ((m & KCM_RULE_NETNS) && r->netns_cookie != i->netns_cookie) ||
	    ((m & KCM_RULE_PID) && r->pid != i->pid) || ((m & KCM_RULE_UID) && r->uid != i->uid) ||
	    ((m & KCM_RULE_ROLE) && r->role != hot->role))
		return 0;
	if ((m & KCM_RULE_RADDR) && !rule_addr(i->family, i->raddr, r, r->raddr, r->raddr_bits))
		return 0;
	if ((m & KCM_RULE_LADDR) && !rule_addr(i->family, i->laddr, r, r->laddr, r->laddr_bits))
		return 0;
	if (!(m & KCM_RULE_LABEL))
		return 1;
	for (int l = 0; l < KCM_SK_LABELS; l++)
		if (rule_label(&i->label[l], &r->label))
			return 1;
	return 0;
}

/*
 * The older one of the best rule until now and of rule @at, if that matches. A function, so that it
 * is verified once and not for every rule and every program that looks; and so that the loop below
 * is one way and not, as Linux 6.1 sees it, a million.
 * Return: like @best, number << 32 | index + 1.
 */
__noinline __u64 kcm_rule_best(__u64 best, __u32 at, const struct kcm_sk_hot *hot,
			       const struct kcm_sk_info *info, __u64 cookie)
{
	struct kcm_sk_rule *r = bpf_map_lookup_elem(&kcm_sk_rules, &at);

	if (!r || !hot || !info || !r->used || r->used >= best >> 32)
		return best;
	return rule_matches(r, hot, info, cookie) ? (__u64)r->used << 32 | (at + 1) : best;
}

/*
 * The oldest rule that matches.
 * Return: its index + 1, or 0.
 */
__noinline int kcm_rule_find(const struct kcm_sk_hot *hot, const struct kcm_sk_info *info,
			     __u64 cookie)
{
	__u64 best = (__u64)~0U << 32;

	if (!hot || !info)
		return 0;
	for (__u32 at = 0; at < KCM_SK_RULES; at++)
		best = kcm_rule_best(best, at, hot, info, cookie);
	return (__u32)best;
}

static __always_inline struct kcm_sk_rule *rule_at(__u32 at)
{
	__u32 key = at - 1;

	return at ? bpf_map_lookup_elem(&kcm_sk_rules, &key) : NULL;
}

static __always_inline int rules_used(void)
{
	struct kcm_sk_ctl *ctl = ctl_get();

	return ctl && ctl->rules;
}

/* ---- how: where segments are dropped ---- */

/* Lift what a rule did to the record of a socket. */
static __always_inline void limit_clear(struct kcm_sk_hot *hot, struct kcm_sk_info *info)
{
	hot->limit = 0;
	info->limit_rule = 0;
	info->limit_bytes = 0;
	info->limit_msgs = 0;
}

/* What may be saved up in the bucket: bytes, or messages. */
static __always_inline __s64 limit_depth(const struct kcm_sk_info *i)
{
	__u64 per_s = i->limit_msgs ? i->limit_msgs : i->limit_bytes;
	__s64 depth = per_s * (KCM_LIMIT_DEPTH_NS >> 10) / (KCM_NSEC >> 10);

	if (i->limit_msgs)
		return depth ?: 1;
	return depth < KCM_LIMIT_DEPTH_BYTES ? KCM_LIMIT_DEPTH_BYTES : depth;
}

static __always_inline void limit_note(struct kcm_sk_hot *hot, struct kcm_sk_more *more,
				       struct kcm_sk_rule *r, __u32 at)
{
	struct kcm_sk_info *i = &more->info;

	i->limit_rule = at;
	i->limit_bytes = r->rate_bytes;
	i->limit_msgs = r->rate_msgs;
	i->limit_stamp_ns = bpf_ktime_get_ns();
	i->limit_tokens = r->drop ? limit_depth(i) : 0;
	i->limit_mean = 0;
	i->limit_seen_msgs = more->tx.msgs;
	i->limit_seen_bytes = hot->tx_bytes;
	hot->limit = r->drop ? KCM_SKF_LIMIT | KCM_SKF_LIMIT_DROP : KCM_SKF_LIMIT;
	__sync_fetch_and_add(&r->sockets, 1);
}

/* Does the limit that a socket has differ from that of the rule? */
static __always_inline int limit_differs(const struct kcm_sk_hot *hot, const struct kcm_sk_info *i,
					 const struct kcm_sk_rule *r, __u32 at)
{
	return i->limit_rule != at || i->limit_bytes != r->rate_bytes ||
	       i->limit_msgs != r->rate_msgs || !(hot->limit & KCM_SKF_LIMIT_DROP) != !r->drop;
}

/* UDP: only dropping works. For a socket that was just connected. */
static __always_inline void rules_apply_udp(struct kcm_sk_hot *hot, struct kcm_sk_more *more,
					    __u64 cookie)
{
	__u32 at = rules_used() ? kcm_rule_find(hot, &more->info, cookie) : 0;
	struct kcm_sk_rule *r = rule_at(at);

	if (r && r->drop) {
		if (limit_differs(hot, &more->info, r, at))
			limit_note(hot, more, r, at);
	} else if (hot->limit) {
		limit_clear(hot, &more->info);
	}
}

/*
 * How much has been earned since the bucket was last filled; one of several CPUs gets it. Time that
 * made nothing whole yet is not lost.
 */
static __always_inline __s64 limit_earn(struct kcm_sk_info *i, __u64 per_s, __s64 have, __s64 depth)
{
	__u64 now = bpf_ktime_get_ns(), was = i->limit_stamp_ns, ns = now - was, upto = now;
	__s64 add;

	if ((__s64)ns <= 0)
		return 0;
	if (ns > 16 * KCM_NSEC)
		ns = 16 * KCM_NSEC;
	/* In units of 1024 ns: 34 Gbit/s for 16 s stay below 2^63. */
	add = (ns >> 10) * per_s / (KCM_NSEC >> 10);
	if (!add)
		return 0;
	if (ns < 16 * KCM_NSEC)
		upto = was + ((__u64)add * (KCM_NSEC >> 10) / per_s << 10);
	if (__sync_val_compare_and_swap(&i->limit_stamp_ns, was, upto) != was)
		return 0;
	return have + add > depth ? depth - have : add;
}

static __always_inline int limit_hit(struct kcm_sk_info *i)
{
	struct kcm_sk_rule *r = rule_at(i->limit_rule);

	__sync_fetch_and_add(&i->limit_hits, 1);
	if (r)
		__sync_fetch_and_add(&r->hits, 1);
	CTL_ADD(limit_drops, 1);
	return 0;
}

/*
 * May a segment of @len payload bytes leave? Return: 1 or 0. Called for KCM_SKF_LIMIT_DROP only.
 * A segment may leave while something is in the bucket, however long it is: what it takes too
 * much is waited for afterwards. Two CPUs that send on one UDP socket may lose what the other took.
 */
static __always_inline int limit_egress(struct kcm_sk_hot *hot, struct kcm_sk_more *more, __u32 len)
{
	struct kcm_sk_info *i = &more->info;
	__s64 tokens = (__s64)i->limit_tokens;
	__u64 per_s = i->limit_bytes, take = len, msgs = 0;

	if (!len)
		return 1; /* an ACK, a FIN */
	if (i->limit_msgs) {
		per_s = i->limit_msgs;
		msgs = hot->proto == KCM_SK_UDP ? 0 : more->tx.msgs;
		take = hot->proto == KCM_SK_UDP ? 1 : msgs - i->limit_seen_msgs;
	}
	tokens += limit_earn(i, per_s, tokens, limit_depth(i));
	if (i->limit_msgs && hot->proto != KCM_SK_UDP) {
		/* Messages are counted behind this: what left since is paid now. */
		i->limit_seen_msgs = msgs;
		tokens -= take;
		i->limit_tokens = tokens;
		return tokens > 0 ? 1 : limit_hit(i);
	}
	if (tokens <= 0) {
		i->limit_tokens = tokens;
		return limit_hit(i);
	}
	i->limit_tokens = tokens - take;
	return 1;
}

#endif
