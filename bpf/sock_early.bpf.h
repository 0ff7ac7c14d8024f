/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sock_early.bpf.h - how a connection is framed, why it is not any more; and data that come with
 * the last ACK of a handshake, before there is a connection.
 */
#ifndef KCM_SOCK_EARLY_BPF_H
#define KCM_SOCK_EARLY_BPF_H

static __always_inline __u8 framing_of(__u16 port, __u8 proto)
{
	struct kcm_sk_port key = { .port = port, .proto = proto };
	__u32 *frame = bpf_map_lookup_elem(&kcm_sk_ports, &key);

	return frame && *frame < KCM_SK_FRAMES ? *frame : 0;
}

/* No program was there to be called: the framing was taken away. */
static __always_inline void frame_gone(struct kcm_sk_hot *hot, struct kcm_sk_more *more,
				       __u32 direction)
{
	dead_set(hot, direction);
	if (more)
		more->info.unframed = KCM_UNFRAMED_MISSED;
	CTL_ADD(unframed, 1);
}

/* Bytes passed that the framing program can't be given. */
static __always_inline void frame_missed(struct kcm_sk_hot *hot, struct kcm_sk_info *info)
{
	dead_set(hot, 2);
	info->unframed = KCM_UNFRAMED_MISSED;
	CTL_ADD(unframed, 1);
}

/*
 * A segment with data whose socket listens: the last ACK of a handshake. The connection is made
 * after this program has run, on this CPU, and takes what is noted here: early_take().
 */
static __always_inline void early_note(struct __sk_buff *ctx, const struct kcm_pkt *p,
				       struct kcm_sk_store *listener)
{
	__u32 slot = kcm_sk_cfg.slots + bpf_get_smp_processor_id();
	struct kcm_sk_hot *hot = bpf_map_lookup_elem(&kcm_sk_hot, &slot);
	struct kcm_sk_in *in = slot_in(slot);
	struct kcm_sk_more *more = slot_more(slot);
	__u8 dst[16];

	if (!hot || !in || !more)
		return;
	__builtin_memset(hot, 0, sizeof(*hot));
	__builtin_memset(in, 0, sizeof(*in));
	__builtin_memset(&more->rx, 0, sizeof(more->rx));
	__builtin_memset(&more->info, 0, sizeof(more->info));
	hot->tag = KCM_TAG_BUSY;
	hot->role = KCM_ROLE_SERVER;
	in->rx_base = p->seq;
	in->rx_segs = 1;
	more->info.reserved[0] = p->seq;
	more->info.start_ns = bpf_ktime_get_coarse_ns();
	more->info.rport = p->sport;
	more->info.lport = p->dport;
	more->info.netns_cookie = listener->more.info.netns_cookie;
	pkt_addrs(ctx, p, more->info.raddr, dst);
	in->rx_fin = p->seq + p->len;
	if (p->fin)
		hot->flags |= KCM_SKF_RX_FIN;
	hot->frame = framing_of(p->dport, KCM_SK_TCP);
	if (hot->frame) {
		frame_args(ctx, p, slot);
		frame_call(ctx, &kcm_sk_rx, hot->frame);
		frame_gone(hot, more, 2);
	}
	in->rx_bytes = p->len;
}

/* Data that came with the last ACK of the handshake passed the ingress program as the listener's,
 * just now and on this CPU. */
static __always_inline void early_take(struct bpf_sock_ops *ctx, struct kcm_sk_ref *ref)
{
	__u32 slot = kcm_sk_cfg.slots + bpf_get_smp_processor_id();
	struct kcm_sk_hot *hot = bpf_map_lookup_elem(&kcm_sk_hot, &slot);
	struct kcm_sk_in *in = slot_in(slot);
	struct kcm_sk_more *more = slot_more(slot);
	struct kcm_sk_info *a, *b;

	if (!hot || !in || !more || hot->tag != KCM_TAG_BUSY)
		return;
	hot->tag = 0;
	a = &more->info;
	b = &ref->more->info;
	/* A handshake that came to nothing, for want of room or memory: not the one we are told of,
	 * though the peer may have the same port by now. */
	if (bpf_ktime_get_coarse_ns() - a->start_ns > KCM_NSEC)
		return;
	if (a->rport != b->rport || a->lport != b->lport || a->netns_cookie != b->netns_cookie)
		return;
	for (int i = 0; i < 16; i += 4)
		if (*(__u32 *)&a->raddr[i] != *(__u32 *)&b->raddr[i])
			return;
	if ((__u32)a->reserved[0] != rx_next(ref->in)) {
		/* The first segment with data was lost, this is a later one: TCP keeps it. */
		ref->in->rx_far = rx_next(in);
		flags_set(ref->hot, KCM_SKF_RX_GAP);
		if (ref->hot->frame)
			frame_missed(ref->hot, b);
		return;
	}
	ref->in->rx_bytes = in->rx_bytes;
	ref->in->rx_base = in->rx_base;
	ref->in->rx_segs = in->rx_segs;
	ref->in->rx_fin = in->rx_fin;
	ref->hot->flags |= hot->flags & KCM_SKF_RX_FIN;
	ref->hot->frame_dead = hot->frame_dead;
	__builtin_memcpy(&ref->more->rx, &more->rx, sizeof(more->rx));
	ref->more->rx.lock = 0;
	b->unframed = a->unframed;
	b->lat_pending = a->lat_pending;
	b->http_head = a->http_head;
	b->http_answered = a->http_answered;
}

#endif
