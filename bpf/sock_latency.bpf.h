/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sock_latency.bpf.h - from the last byte of a request to the last byte of its answer.
 *
 * One request of a connection is timed at a time; which answer is its own is told by counting
 * messages, where a protocol has one answer a request, and else it is the next one. lat_pending
 * holds both, in one word: the two directions run on different CPUs.
 *
 * For a segment that is sent TCP has read the clock, and left it in the skb (@sent_ns). For one
 * that comes it must be read, which takes 30 ns, a third of all: KCM_LAT_BUDGET times a tick.
 * Requests beyond it are timed by the tick. That finds slow ones, for `watch` and the maximum; into
 * the histogram only those with two good readings go, or it would hold the slow ones only.
 */
#ifndef KCM_SOCK_LATENCY_BPF_H
#define KCM_SOCK_LATENCY_BPF_H

#define KCM_LAT_DEPTH_MAX 256
#define KCM_LAT_STALE_NS  (60ULL * 1000000000)
#define KCM_LAT_TICK_NS	  20000000ULL /* two ticks of the coarsest kernel, HZ=100 */

static __always_inline int frame_is_paired(void)
{
	return kcm_frame.kind != KCM_FRAME_MC_TEXT && kcm_frame.kind != KCM_FRAME_NATS &&
	       kcm_frame.kind != KCM_FRAME_WEBSOCKET;
}

/* The time now; @coarse: as of the last tick. One direction calls it, that of what comes. */
static __always_inline __u64 latency_clock(struct kcm_sk_ref *ref, __u64 sent_ns, __u64 *coarse)
{
	struct kcm_sk_info *info = &ref->more->info;
	__u64 tick_ns = ref->in->last_ns;
	__u32 tick = tick_ns >> KCM_SK_SAMPLE_LOG;

	if (sent_ns)
		return sent_ns;
	if (info->lat_tick != tick) {
		info->lat_tick = tick;
		info->lat_left = KCM_LAT_BUDGET;
	}
	if (info->lat_left) {
		info->lat_left--;
		return bpf_ktime_get_ns();
	}
	*coarse = KCM_LAT_COARSE;
	return tick_ns;
}

static __always_inline void latency_begin(struct kcm_sk_ref *ref, __u64 sent_ns, __u64 asked,
					  __u64 answered)
{
	struct kcm_sk_info *info = &ref->more->info;
	__u64 now, pending = info->lat_pending, depth = asked - answered, coarse = 0;

	if (sides_http() && (__u32)asked == (__u32)answered)
		return; /* it was answered before its end */
	if (pending && ((ref->in->last_ns << 16) - pending) >> 16 < KCM_LAT_STALE_NS)
		return;
	/* The tick may be a little behind the clock. */
	if (pending && (__s64)((ref->in->last_ns << 16) - (pending & ~0xffffULL)) < 0)
		return;
	now = latency_clock(ref, sent_ns, &coarse);
	/* After a time-out, or with more answers than requests, counting has no meaning. */
	if (pending || depth > KCM_LAT_DEPTH_MAX || !frame_is_paired())
		depth = 1;
	info->lat_pending = now << 16 | coarse | ((answered + depth) & (KCM_LAT_COARSE - 1));
}

static __always_inline __u32 latency_bucket(__u64 ns)
{
	__u64 us = ns / 1000;
	__u32 b = 0;

	for (int i = 0; i < KCM_SK_HIST - 1; i++) {
		if (!us)
			break;
		us >>= 1;
		b++;
	}
	return b;
}

static __always_inline void latency_end(struct kcm_sk_ref *ref, __u64 sent_ns, __u64 cookie,
					__u64 answered)
{
	struct kcm_sk_info *info = &ref->more->info;
	__u64 pending = info->lat_pending, ns, coarse;
	struct kcm_sk_ctl *ctl;
	__u32 b;

	if (!pending || ((answered - pending) & (KCM_LAT_COARSE - 1)) >= KCM_LAT_COARSE / 2)
		return;
	coarse = pending & KCM_LAT_COARSE;
	ns = (latency_clock(ref, sent_ns, &coarse) << 16) - (pending & ~0xffffULL);
	ns = (__s64)ns > 0 ? ns >> 16 : 0; /* two readers of one clock may differ by a little */
	info->lat_pending = 0;
	if (coarse && ns < KCM_LAT_TICK_NS)
		return;
	if (ns > info->lat_ns_max)
		info->lat_ns_max = ns;
	if (!coarse) {
		info->lat_n++;
		info->lat_ns_sum += ns;
		b = latency_bucket(ns);
		if (b < KCM_SK_HIST)
			info->hist[b]++;
	}
	ctl = ctl_get();
	if (ctl && ctl->watch_min_slow_ns && ns >= ctl->watch_min_slow_ns)
		event_send(KCM_SKE_SLOW, ref, cookie, ns);
}

#endif
