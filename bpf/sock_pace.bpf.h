/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sock_pace.bpf.h - give a TCP socket the limit of its rule, and take it back.
 *
 * @where is what bpf_setsockopt() takes: the context of a sockops program, or a socket.
 */
#ifndef KCM_SOCK_PACE_BPF_H
#define KCM_SOCK_PACE_BPF_H

static __always_inline int pace_set(void *where, struct kcm_sk_info *info, __u32 rate)
{
	info->limit_set = rate;
	return bpf_setsockopt(where, KCM_SOL_SOCKET, KCM_MAX_PACING_RATE, &rate, sizeof(rate));
}

/* As it was before the limit; unless the application has set a rate of its own meanwhile. */
static __always_inline void pace_back(void *where, struct kcm_sk_info *info)
{
	__u32 now = 0;

	if (!bpf_getsockopt(where, KCM_SOL_SOCKET, KCM_MAX_PACING_RATE, &now, sizeof(now)) &&
	    now == info->limit_set)
		pace_set(where, info, info->limit_was);
}

/* The callback at each measured round trip: for connections that have a limit of messages only. */
static __always_inline void pace_callback(void *where, struct bpf_sock_ops *ops, int on)
{
	int flags = 0, was;

	if (ops) {
		was = ops->bpf_sock_ops_cb_flags;
	} else if (bpf_getsockopt(where, KCM_SOL_TCP, KCM_TCP_BPF_CB_FLAGS, &flags,
				  sizeof(flags))) {
		return; /* before 6.12: the mean size of messages stays what it is */
	} else {
		was = flags;
	}
	flags = on ? was | BPF_SOCK_OPS_RTT_CB_FLAG : was & ~BPF_SOCK_OPS_RTT_CB_FLAG;
	if (flags == was)
		return;
	if (ops)
		bpf_sock_ops_cb_flags_set(ops, flags);
	else
		bpf_setsockopt(where, KCM_SOL_TCP, KCM_TCP_BPF_CB_FLAGS, &flags, sizeof(flags));
}

/* Bytes a second that make @info's messages a second, never above what was asked for before. */
static __always_inline __u32 pace_of(const struct kcm_sk_info *info, __s64 permille)
{
	__u64 rate = info->limit_bytes;

	if (info->limit_msgs)
		rate = (__u64)info->limit_msgs * info->limit_mean / 1000 * permille;
	if (rate < KCM_PACE_MIN && info->limit_msgs)
		rate = KCM_PACE_MIN;
	if (rate >= KCM_PACE_NONE)
		rate = KCM_PACE_NONE - 1;
	return rate < info->limit_was ? rate : info->limit_was;
}

/* Bring a socket from the limit it has to that of rule @at - 1; 0: to none. */
static __always_inline void limit_switch(void *where, struct bpf_sock_ops *ops,
					 struct kcm_sk_hot *hot, struct kcm_sk_more *more, __u32 at)
{
	struct kcm_sk_info *i = &more->info;
	struct kcm_sk_rule *r = rule_at(at);
	__u32 was = KCM_PACE_NONE;

	if (r ? !limit_differs(hot, i, r, at) : !hot->limit)
		return;
	if (hot->limit == KCM_SKF_LIMIT) {
		pace_back(where, i);
		if (i->limit_msgs)
			pace_callback(where, ops, 0);
	}
	limit_clear(hot, i);
	if (!r)
		return;
	/* What a message is is known of framed streams only. */
	if (r->rate_msgs && (!hot->frame || (hot->frame_dead & 1))) {
		CTL_ADD(limit_refused, 1);
		return;
	}
	if (r->drop) {
		limit_note(hot, more, r, at);
		return;
	}
	if (bpf_getsockopt(where, KCM_SOL_SOCKET, KCM_MAX_PACING_RATE, &was, sizeof(was))) {
		CTL_ADD(limit_refused, 1);
		return;
	}
	limit_note(hot, more, r, at);
	i->limit_was = was;
	i->limit_mean = KCM_MSG_GUESS;
	if (more->tx.msgs)
		i->limit_mean = hot->tx_bytes / more->tx.msgs;
	if (pace_set(where, i, pace_of(i, 1000))) {
		limit_clear(hot, i);
		CTL_ADD(limit_refused, 1);
		return;
	}
	CTL_ADD(limit_paced, 1);
	if (r->rate_msgs)
		pace_callback(where, ops, 1);
}

/* A connection is established: give it the limit of the oldest rule that matches. */
static __always_inline void rules_apply(struct bpf_sock_ops *ctx, struct kcm_sk_hot *hot,
					struct kcm_sk_more *more, __u64 cookie)
{
	if (rules_used())
		limit_switch(ctx, ctx, hot, more, kcm_rule_find(hot, &more->info, cookie));
}

/*
 * An ACK came to a connection that may send so many messages a second: how long were they of
 * late, and were they too many? What was saved up by silence is forgotten after 0.1 s, of what was
 * sent too much (the kernel lets the first ten segments go) a second's worth is made up for.
 */
static __always_inline void limit_rtt(struct bpf_sock_ops *ctx, struct kcm_sk_hot *hot,
				      struct kcm_sk_more *more)
{
	struct kcm_sk_info *i = &more->info;
	__u64 now = bpf_ktime_get_ns(), ns = now - i->limit_stamp_ns, n = i->limit_msgs;
	__u64 msgs = more->tx.msgs - i->limit_seen_msgs;
	__u64 bytes = hot->tx_bytes - i->limit_seen_bytes;
	__s64 tokens, permille; /* tokens: 1/1024 of a message */

	if (hot->limit != KCM_SKF_LIMIT || !n || ns < KCM_LIMIT_WINDOW_NS || !msgs)
		return;
	if (ns > 4 * KCM_NSEC)
		ns = 4 * KCM_NSEC;
	tokens = (__s64)i->limit_tokens + ((ns >> 10) * n << 10) / (KCM_NSEC >> 10) - (msgs << 10);
	if (tokens > (__s64)(n << 10) / 10)
		tokens = (n << 10) / 10;
	if (tokens < -(__s64)(n << 10))
		tokens = -(__s64)(n << 10);
	i->limit_mean = (16ULL * i->limit_mean + bytes) / (16 + msgs) ?: 1;
	i->limit_tokens = tokens;
	i->limit_stamp_ns = now;
	i->limit_seen_msgs += msgs;
	i->limit_seen_bytes += bytes;
	/* No signed division: what was sent too much is made up for within two. */
	permille = tokens < 0 ? 1000 - (__s64)((__u64)-tokens * 1000 / (n << 10))
			      : 1000 + (__s64)((__u64)tokens * 1000 / (n << 10));
	if (permille < 500)
		permille = 500;
	pace_set(ctx, i, pace_of(i, permille));
}

#endif
