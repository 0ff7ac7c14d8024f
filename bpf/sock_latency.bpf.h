/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sock_latency.bpf.h - from the last byte of a request to the last byte of its answer.
 *
 * One request of a connection is timed at a time; which answer is its own is told by counting
 * messages, where a protocol has one answer a request, and else it is the next one. lat_pending
 * holds both, in one word: the two directions run on different CPUs.
 *
 * @sent_ns: TCP has read the clock for a segment it sends, and left it in the skb: another reading
 * takes 30 ns. 0 where a segment comes.
 */
#ifndef KCM_SOCK_LATENCY_BPF_H
#define KCM_SOCK_LATENCY_BPF_H

#define KCM_LAT_DEPTH_MAX 256
#define KCM_LAT_STALE_NS  (60ULL * 1000000000)

static __always_inline int frame_is_paired(void)
{
	return kcm_frame.kind != KCM_FRAME_MC_TEXT && kcm_frame.kind != KCM_FRAME_NATS &&
	       kcm_frame.kind != KCM_FRAME_WEBSOCKET;
}

static __always_inline void latency_begin(struct kcm_sk_info *info, __u64 sent_ns, __u64 asked,
					  __u64 answered)
{
	__u64 now, pending = info->lat_pending, depth = asked - answered;

	if (sides_http() && (__u32)asked == (__u32)answered)
		return; /* it was answered before its end */
	now = sent_ns ?: bpf_ktime_get_ns();
	if (pending && (((now << 16) - pending) >> 16) < KCM_LAT_STALE_NS)
		return;
	/* After a time-out, or with more answers than requests, counting has no meaning. */
	if (pending || depth > KCM_LAT_DEPTH_MAX || !frame_is_paired())
		depth = 1;
	info->lat_pending = now << 16 | ((answered + depth) & 0xffff);
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
	__u64 pending = info->lat_pending, ns;
	struct kcm_sk_ctl *ctl;
	__u32 b;

	if (!pending || (__u16)(answered - pending) >= 0x8000)
		return;
	ns = ((sent_ns ?: bpf_ktime_get_ns()) << 16) - (pending & ~0xffffULL);
	ns = (__s64)ns > 0 ? ns >> 16 : 0; /* two readers of one clock may differ by a little */
	info->lat_pending = 0;
	info->lat_n++;
	info->lat_ns_sum += ns;
	if (ns > info->lat_ns_max)
		info->lat_ns_max = ns;
	b = latency_bucket(ns);
	if (b < KCM_SK_HIST)
		info->hist[b]++;
	ctl = ctl_get();
	if (ctl && ctl->watch_min_slow_ns && ns >= ctl->watch_min_slow_ns)
		event_send(KCM_SKE_SLOW, ref->hot, ref->more, cookie, ref->slot, ns);
}

#endif
