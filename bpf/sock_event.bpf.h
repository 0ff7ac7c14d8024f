/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sock_event.bpf.h - records for `kcmtool sock watch`, and what a record shows of a socket. */
#ifndef KCM_SOCK_EVENT_BPF_H
#define KCM_SOCK_EVENT_BPF_H

static __always_inline void sock_view(struct kcm_sock *s, const struct kcm_sk_hot *hot,
				      const struct kcm_sk_in *in, const struct kcm_sk_more *more,
				      __u64 cookie, __u32 slot)
{
	s->cookie = cookie;
	s->state = hot->state;
	s->role = hot->role;
	s->proto = hot->proto;
	s->frame = hot->frame;
	s->tx_bytes = hot->tx_bytes;
	s->rx_bytes = in->rx_bytes;
	s->tx_segs = hot->tx_segs;
	s->rx_segs = in->rx_segs;
	s->tx_msgs = more->tx.msgs;
	s->rx_msgs = more->rx.msgs;
	s->last_ns = in->last_ns;
	s->flags = hot->flags | hot->limit;
	s->slot = slot;
	s->seen = 0;
	__builtin_memcpy(&s->info, &more->info, sizeof(s->info));
}

static __always_inline int watched(__u64 now)
{
	struct kcm_sk_ctl *ctl = ctl_get();

	return ctl && ctl->watch_any_until_ns > now;
}

/* Tell every watcher. Nobody watching, the usual case, costs a load and a compare. */
static __always_inline void event_send(enum kcm_sk_event_kind kind, const struct kcm_sk_ref *ref,
				       __u64 cookie, __u64 slow_ns)
{
	struct kcm_sk_ctl *ctl = ctl_get();
	__u64 now = bpf_ktime_get_ns();

	if (!ctl || ctl->watch_any_until_ns <= now)
		return;
	for (__u32 i = 0; i < KCM_SK_WATCHERS; i++) {
		struct kcm_sk_event *e;
		__u32 key = i;
		void *ring;

		if (ctl->watch_until_ns[i] <= now)
			continue;
		if (kind == KCM_SKE_SLOW &&
		    (!ctl->watch_slow_ns[i] || slow_ns < ctl->watch_slow_ns[i]))
			continue;
		ring = bpf_map_lookup_elem(&kcm_sk_rings, &key);
		if (!ring)
			continue;
		e = bpf_ringbuf_reserve(ring, sizeof(*e), 0);
		if (!e) {
			__sync_fetch_and_add(&ctl->watch_drops[i], 1);
			__sync_fetch_and_add(&ctl->event_drops, 1);
			continue;
		}
		e->kind = kind;
		e->pad = 0;
		e->ts_ns = now;
		e->slow_ns = slow_ns;
		sock_view(&e->sock, ref->hot, ref->in, ref->more, cookie, ref->slot);
		bpf_ringbuf_submit(e, 0);
		__sync_fetch_and_add(&ctl->events, 1);
	}
}

#endif
