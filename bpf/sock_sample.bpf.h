/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sock_sample.bpf.h - what the kernel knows of a TCP connection, taken over now and then. */
#ifndef KCM_SOCK_SAMPLE_BPF_H
#define KCM_SOCK_SAMPLE_BPF_H

#define SAMPLE_TICK(now) ((__u8)((now) >> KCM_SK_SAMPLE_LOG))

static __always_inline void sample_tcp(struct bpf_tcp_sock *tp, struct kcm_sk_info *info)
{
	info->srtt_us = tp->srtt_us >> 3;
	info->min_rtt_us = tp->rtt_min == ~0U ? 0 : tp->rtt_min;
	info->retrans = tp->total_retrans;
	info->cwnd = tp->snd_cwnd;
	info->mss = tp->mss_cache;
	if (tp->rate_interval_us)
		info->rate_bytes =
			(__u64)tp->rate_delivered * tp->mss_cache * 1000000 / tp->rate_interval_us;
}

/*
 * How far has the kernel received? What it has got beyond our count came when the programs did
 * not look (early segments behind a gap that is filled now). A FIN counts as a byte there.
 */
static __always_inline void sample_rx(struct kcm_sk_hot *hot, struct kcm_sk_in *in, __u32 rcv_nxt)
{
	__u64 have = *(volatile __u64 *)&in->rx_bytes;
	__s32 more;

	if ((hot->flags & KCM_SKF_RX_FIN) && (__s32)(rcv_nxt - in->rx_fin) > 0)
		rcv_nxt = in->rx_fin;
	more = rcv_nxt - (in->rx_base + (__u32)have);
	if (more > 0)
		in->rx_bytes = have + more;
	if ((__s32)(in->rx_far - rx_next(in)) <= 0)
		flags_clear(hot, KCM_SKF_RX_GAP);
}

#endif
