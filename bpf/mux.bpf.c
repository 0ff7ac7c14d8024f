// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * mux.bpf.c - frames TCP streams and hands whole messages to workers.
 *
 * kcm_verdict runs once per skb, with the socket locked. It settles bytes from the front of the
 * skb: a settled byte is in a published message or in the assembly chunk. If it can't settle them
 * all it notes how far it came (hold_skip) and returns SK_PASS: the skb waits in the socket for
 * the owner, and so does every later one until the owner gives a sequence number to go on at.
 */
#include "../vmlinux/vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define KCM_POS(pos)	      ((pos)&0x1fffffU) /* KCM_REGION_MASK */
#define KCM_LD8(base, pos)    (((const __u8 *)(base))[KCM_POS(pos)])
#define KCM_LD64(base, pos)   (*(const __u64 *)((const __u8 *)(base) + KCM_POS(pos)))
#define KCM_FRAME_IS_REPLY(s) 0
#include "mux.h"
#include "mux_maps.bpf.h"

_Static_assert(KCM_POS(~0U) == KCM_REGION_MASK, "positions are masked to a region");

#ifndef EAGAIN
#define EAGAIN 11
#endif

const volatile struct kcm_frame kcm_frame = {};

#include "mux_queue.bpf.h"
#include "mux_publish.bpf.h"
#include "mux_window.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

/* Steps of one skb: 64 KiB of one-byte messages and the windows around them, with room to spare. */
#define KCM_STEPS_MAX (1 << 18)

#define KCM_STEP_MSGS 8

static long walk_step(__u32 i, struct kcm_run *r)
{
	struct kcm_conn *c = r->conn;
	struct kcm_walk *w = &c->w;
	const int simple = kcm_frame.kind <= KCM_FRAME_VARINT || kcm_frame.kind == KCM_FRAME_FIXED;
	struct kcm_chunk *ch;
	__u32 id, n, avail, pos, last = 0;
	__u8 *region;
	int ret = 0;

	if (c->asm_chunk && !w->used)
		return asm_step(r, c);
	if (!w->chunk) {
		if (w->used >= w->skb_bytes)
			return 1;
		return window_open(r, c);
	}
	n = w->n;
	avail = w->win_bytes - w->win_pos;
	if (!avail || n >= KCM_CHUNK_MSGS) {
		w->want = 0;
		return window_close(r, c) ? hold(c, KCM_HOLD_LANE) : 0;
	}
	id = w->chunk - 1;
	ch = bpf_map_lookup_elem(&kcm_chunk, &id);
	if (!ch)
		return hold(c, KCM_HOLD_BIG);
	region = bpf_map_lookup_elem(&kcm_arena, &ch->region);
	if (!region)
		return hold(c, KCM_HOLD_BIG);
	pos = ch->off + w->win_pos;
	/*
	 * Several messages a step, in registers: bpf_loop() costs as much as a short message.
	 * Parsers with much state do one, or the verifier runs out of patience.
	 */
	for (int k = 0; k < KCM_STEP_MSGS; k++) {
		if (k && (!simple || !avail || n >= KCM_CHUNK_MSGS))
			break;
		ret = kcm_frame_step((const struct kcm_frame *)&kcm_frame, &c->fs, region, pos,
				     avail);
		if (ret <= 0 || (__u32)ret > avail)
			break;
		ch->msg[n & (KCM_CHUNK_MSGS - 1)].off = pos - ch->off;
		ch->msg[n & (KCM_CHUNK_MSGS - 1)].len = ret;
		if (kcm_cfg.policy == KCM_POLICY_ROBIN || kcm_cfg.policy == KCM_POLICY_KEY) {
			__u32 lane = lane_of(c, region, pos, ret);

			ch->lane[n & (KCM_CHUNK_MSGS - 1)] = lane;
			w->lanes |= 1ULL << (lane & 63);
		}
		n++;
		pos += ret;
		avail -= ret;
		last = ret;
	}
	if (last) {
		if (last > c->len_hint)
			c->len_hint = last;
		else
			c->len_hint -= (c->len_hint - last) >> 4;
		w->n = n;
		w->win_pos = pos - ch->off;
		/* What stopped the loop comes up again in the next step, from the message's start.
		 */
		if (ret > 0)
			fs_restart(c);
		return 0;
	}
	if (ret == -EAGAIN)
		return 0;
	if (ret < 0) {
		if (window_close(r, c))
			return hold(c, KCM_HOLD_LANE);
		return hold(c, KCM_HOLD_ERROR);
	}
	return window_short(r, c, ch, ret);
}

/*
 * Bytes of @skb that the stream has had before. A retransmission may begin with what arrived
 * already and go on with what did not: tcp_data_queue() queues it whole, tcp_recvmsg() skips the
 * old bytes by copied_seq, but tcp_read_skb() hands all of them to the program, and would count
 * them as read.
 */
static __always_inline __u32 overlap(struct __sk_buff *skb, struct kcm_conn *c, __u32 seq)
{
	if (!c->seq_known) {
		c->next_seq = copied_seq(skb, seq);
		c->seq_known = 1;
	}
	return (__s32)(c->next_seq - seq) > 0 ? c->next_seq - seq : 0;
}

/* Take @n bytes off the front of the skb. sk_skb_adjust_room() takes at most 4095 at a time. */
static __always_inline int trim(struct __sk_buff *skb, __u32 n)
{
	for (int i = 0; i < 20 && n; i++) {
		__u32 k = n < 4000 ? n : 4000;

		if (bpf_skb_adjust_room(skb, -(__s32)k, 0, 0))
			return -1;
		n -= k;
	}
	return n ? -1 : 0;
}

SEC("sk_skb")
int kcm_verdict(struct __sk_buff *skb)
{
	__u64 cookie = bpf_get_socket_cookie(skb);
	struct kcm_run r = { .skb = skb };
	struct kcm_conn *c;
	__u32 *slot, seq = skb->cb[0], old;

	slot = bpf_map_lookup_elem(&kcm_slots, &cookie);
	if (!slot) {
		struct kcm_prod *p = prod_get();

		if (p)
			__sync_fetch_and_add(&p->unknown_skbs, 1);
		return SK_PASS;
	}
	r.slot = *slot;
	c = bpf_map_lookup_elem(&kcm_conn, &r.slot);
	if (!c)
		return SK_PASS;
	r.conn = c;
	if (c->state == KCM_CONN_PROBE)
		return SK_DROP;
	old = overlap(skb, c, seq);
	if (old) {
		c->overlaps++;
		if (old >= skb->len)
			return SK_DROP;
		if (trim(skb, old)) {
			/* No memory. What comes now would be framed twice: better none. */
			c->state = KCM_CONN_RESET;
			kcm_ring(KCM_OWNER_BELL, KCM_BELL_RESET, r.slot);
			return SK_DROP;
		}
		seq += old;
	}
	c->next_seq = seq + skb->len;
	if (c->state != KCM_CONN_ACTIVE) {
		/*
		 * The owner stays subscribed to EPOLLIN until it hears KCM_BELL_RESUMED, so an skb
		 * that slips in between its last recv() and resume_seq wakes it.
		 */
		if (c->state != KCM_CONN_RESUME || c->resume_seq != seq ||
		    __sync_val_compare_and_swap(&c->state, KCM_CONN_RESUME, KCM_CONN_ACTIVE) !=
			    KCM_CONN_RESUME)
			return SK_PASS;
		kcm_ring(KCM_OWNER_BELL, KCM_BELL_RESUMED, r.slot);
	}
	c->skbs++;
	c->hold = KCM_HOLD_NONE;
	c->w.skb_bytes = skb->len;
	c->w.used = 0;
	c->w.chunk = 0;
	c->w.want = 0;
	c->w.asm_loaded = 0;
	c->w.published = 0;
	bpf_loop(KCM_STEPS_MAX, walk_step, &r, 0);
	if (c->w.published && kcm_cfg.policy == KCM_POLICY_LEAST)
		wake_shared(r.slot, c->gen);
	c->settled_seq = seq + c->w.used;
	if (c->w.used >= c->w.skb_bytes)
		return SK_DROP; /* all settled; shows as a drop in `ss`, nothing is lost */
	if (c->hold == KCM_HOLD_NONE) {
		/* KCM_STEPS_MAX */
		if (c->w.chunk)
			chunk_drop(c->w.chunk - 1);
		hold(c, KCM_HOLD_SPACE);
	}
	c->hold_seq = seq;
	c->hold_skip = c->w.used;
	c->hold_id++;
	c->holds++;
	/* The owner may have taken the connection meanwhile: then it has its own plans. */
	if (__sync_val_compare_and_swap(&c->state, KCM_CONN_ACTIVE, KCM_CONN_HELD) ==
	    KCM_CONN_ACTIVE)
		kcm_ring(KCM_OWNER_BELL, KCM_BELL_HELD, r.slot);
	return SK_PASS;
}

#include "mux_sockops.bpf.h"
