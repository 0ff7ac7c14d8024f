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

#define KCM_POS(pos)	    ((pos)&0x1fffffU) /* KCM_REGION_MASK */
#define KCM_LD8(base, pos)  (((const __u8 *)(base))[KCM_POS(pos)])
#define KCM_LD64(base, pos) (*(const __u64 *)((const __u8 *)(base) + KCM_POS(pos)))
#include "mux.h"
#include "mux_maps.bpf.h"

_Static_assert(KCM_POS(~0U) == KCM_REGION_MASK, "positions are masked to a region");

const volatile struct kcm_frame kcm_frame = {};

#include "mux_queue.bpf.h"
#include "mux_publish.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

#ifndef EAGAIN
#define EAGAIN 11
#endif

/* Steps of one skb: 64 KiB of one-byte messages and the windows around them, with room to spare. */
#define KCM_STEPS_MAX (1 << 18)

#define KCM_STEP_MSGS 8

struct kcm_run {
	struct __sk_buff *skb;
	struct kcm_conn *conn;
	__u32 slot;
};

/* Back to the start of the message that is not whole. Those before it stay framed. */
static __always_inline void fs_restart(struct kcm_conn *c)
{
	kcm_frame_restart(&c->fs, 0);
}

static long hold(struct kcm_conn *c, enum kcm_hold why)
{
	/* What was framed and could not be published is framed again, a preface too. */
	kcm_frame_restart(&c->fs, !c->msgs);
	c->hold = why;
	return 1;
}

/* Close the open window: publish its messages, settle their bytes. */
static __always_inline long window_close(struct kcm_run *r, struct kcm_conn *c)
{
	struct kcm_walk *w = &c->w;
	__u32 id = w->chunk - 1;

	w->chunk = 0;
	if (!w->n) {
		chunk_drop(id);
		return 0;
	}
	if (kcm_publish(id, r->slot, w->n, w->lanes))
		return -1;
	c->msgs += w->n;
	c->bytes += w->win_pos;
	w->used += w->win_pos;
	w->published = 1;
	return 0;
}

static __always_inline void asm_count(struct kcm_chunk *ch, int by)
{
	struct kcm_prod *p = prod_get();
	__u32 cls = class_of(ch->size_bytes);

	if (p && cls < KCM_CLASSES)
		__sync_fetch_and_add(&p->n_asm[cls], by);
}

/* At most half of a class may hold unfinished messages, so that whole ones always get through. */
static __always_inline int asm_allowed(__u32 cls)
{
	struct kcm_prod *p = prod_get();

	return p && cls < KCM_CLASSES && p->n_asm[cls] < kcm_cfg.n_chunks[cls] / 2;
}

static __always_inline void asm_start(struct kcm_run *r, struct kcm_conn *c, struct kcm_chunk *ch,
				      __u32 id, __u32 have, __u32 need)
{
	struct kcm_prod *p = prod_get();

	c->asm_chunk = id + 1;
	c->asm_have = have;
	c->asm_need = need;
	asm_count(ch, 1);
	if (kcm_cfg.asm_notify) {
		c->asm_since_ns = bpf_ktime_get_ns();
		if (p && !p->asm_told && !__sync_lock_test_and_set(&p->asm_told, 1))
			kcm_ring(KCM_OWNER_BELL, KCM_BELL_PARTIAL, r->slot);
	}
}

/* Open a window: copy the front of what is unsettled into a chunk. */
static __always_inline long window_open(struct kcm_run *r, struct kcm_conn *c)
{
	struct kcm_walk *w = &c->w;
	__u32 left = w->skb_bytes - w->used, want = left, id, est;
	struct kcm_chunk *ch;
	__u8 *region;

	est = c->len_hint * (KCM_CHUNK_MSGS + 8);
	if (est && est < want)
		want = est;
	if (want < w->want)
		want = w->want;
	id = kcm_chunk_new(class_of(want));
	if (!id)
		return hold(c, KCM_HOLD_SPACE);
	id--;
	ch = bpf_map_lookup_elem(&kcm_chunk, &id);
	if (!ch)
		return hold(c, KCM_HOLD_SPACE);
	if (want > left)
		want = left;
	if (want > ch->size_bytes)
		want = ch->size_bytes;
	region = bpf_map_lookup_elem(&kcm_arena, &ch->region);
	if (!region || load(r->skb, w->used, region, ch->off, want)) {
		chunk_drop(id);
		return hold(c, KCM_HOLD_SPACE);
	}
	w->chunk = id + 1;
	w->win_bytes = want;
	w->win_pos = 0;
	w->n = 0;
	w->lanes = 0;
	return 0;
}

/*
 * The message at win_pos is not whole in the window. Its length is @need, or 0 if not known yet.
 */
static __always_inline long window_short(struct kcm_run *r, struct kcm_conn *c,
					 struct kcm_chunk *ch, __u32 need)
{
	struct kcm_walk *w = &c->w;
	__u32 have = w->win_bytes - w->win_pos, left = w->skb_bytes - w->used - w->win_pos;
	__u32 id, cls;
	__u8 *region;

	if (have < left) {
		/* The window was too small, the skb has more: open another one at this message. */
		__u32 size = w->win_bytes;

		fs_restart(c);
		if (w->n)
			return window_close(r, c) ? hold(c, KCM_HOLD_LANE) : 0;
		window_close(r, c);
		if (need > KCM_CHUNK2_BYTES || size >= KCM_CHUNK2_BYTES)
			return hold(c, KCM_HOLD_BIG);
		w->want = need ? need : size * 8;
		if (w->want > KCM_CHUNK2_BYTES)
			w->want = KCM_CHUNK2_BYTES;
		return 0;
	}
	if (need > KCM_CHUNK2_BYTES) {
		if (window_close(r, c))
			return hold(c, KCM_HOLD_LANE);
		return hold(c, KCM_HOLD_BIG);
	}
	if (!need) {
		need = have * 2;
		if (need < c->len_hint)
			need = c->len_hint;
		if (need > KCM_CHUNK2_BYTES)
			need = KCM_CHUNK2_BYTES;
		cls = class_of(need);
		need = 0;
	} else {
		cls = class_of(need);
	}
	if (!w->n && ch->size_bytes >= need && class_of(ch->size_bytes) == cls) {
		/* Nothing before it: the window itself becomes the assembly chunk. */
		if (!asm_allowed(cls)) {
			window_close(r, c);
			return hold(c, KCM_HOLD_SPACE);
		}
		asm_start(r, c, ch, w->chunk - 1, have, need);
		w->chunk = 0;
		w->used = w->skb_bytes;
		return 1;
	}
	if (window_close(r, c))
		return hold(c, KCM_HOLD_LANE);
	if (!asm_allowed(cls))
		return hold(c, KCM_HOLD_SPACE);
	id = kcm_chunk_new(cls);
	if (!id)
		return hold(c, KCM_HOLD_SPACE);
	id--;
	ch = bpf_map_lookup_elem(&kcm_chunk, &id);
	if (!ch)
		return hold(c, KCM_HOLD_SPACE);
	region = bpf_map_lookup_elem(&kcm_arena, &ch->region);
	if (!region || load(r->skb, w->used, region, ch->off, have)) {
		chunk_drop(id);
		return hold(c, KCM_HOLD_SPACE);
	}
	asm_start(r, c, ch, id, have, need);
	w->used = w->skb_bytes;
	return 1;
}

/* Continue the unfinished message of an earlier skb. */
static __always_inline long asm_step(struct kcm_run *r, struct kcm_conn *c)
{
	struct kcm_walk *w = &c->w;
	__u32 id = c->asm_chunk - 1, avail;
	struct kcm_chunk *ch = bpf_map_lookup_elem(&kcm_chunk, &id);
	__u8 *region;
	int ret;

	if (!ch)
		return hold(c, KCM_HOLD_BIG);
	region = bpf_map_lookup_elem(&kcm_arena, &ch->region);
	if (!region)
		return hold(c, KCM_HOLD_BIG);
	if (!w->asm_loaded) {
		__u32 room = ch->size_bytes - c->asm_have, len = w->skb_bytes;

		if (c->asm_need && len > c->asm_need - c->asm_have)
			len = c->asm_need - c->asm_have;
		if (len > room)
			len = room;
		if (load(r->skb, 0, region, ch->off + c->asm_have, len))
			return hold(c, KCM_HOLD_BIG);
		w->asm_new = len;
		w->asm_loaded = 1;
	}
	avail = c->asm_have + w->asm_new;
	if (c->asm_need && avail < c->asm_need) {
		c->asm_have = avail;
		w->used = w->skb_bytes;
		return 1;
	}
	ret = kcm_frame_step((const struct kcm_frame *)&kcm_frame, &c->fs, region, ch->off, avail);
	if (ret == -EAGAIN)
		return 0;
	if (ret > 0 && (__u32)ret <= avail) {
		__u32 used = (__u32)ret - c->asm_have;
		__u64 lanes;

		/* Less than was there before would be a message that earlier steps had missed. */
		if ((__u32)ret < c->asm_have)
			return hold(c, KCM_HOLD_ERROR);
		ch->msg[0].off = 0;
		ch->msg[0].len = ret;
		ch->lane[0] = lane_of(c, region, ch->off, ret);
		lanes = 1ULL << (ch->lane[0] & 63);
		asm_count(ch, -1);
		c->asm_chunk = 0;
		if (kcm_publish(id, r->slot, 1, lanes)) {
			/* Not settled, but the bytes of earlier skbs are only here: keep the chunk.
			 */
			struct kcm_claim *cl = bpf_map_lookup_elem(&kcm_claim, &id);

			if (cl)
				*(volatile __u32 *)&cl->state = KCM_STATE(ch->gen, KCM_CHUNK_ALLOC);
			asm_count(ch, 1);
			c->asm_chunk = id + 1;
			return hold(c, KCM_HOLD_LANE);
		}
		c->msgs++;
		c->bytes += ret;
		if ((__u32)ret > c->len_hint)
			c->len_hint = ret;
		w->used = used;
		w->published = 1;
		return 0;
	}
	if (ret < 0)
		return hold(c, KCM_HOLD_ERROR);
	if (ret > 0) {
		if ((__u32)ret > ch->size_bytes)
			return hold(c, KCM_HOLD_BIG);
		c->asm_need = ret;
		if (w->asm_new < w->skb_bytes) {
			/* Copied less than is there: only a full chunk does that. */
			return hold(c, KCM_HOLD_BIG);
		}
	} else if (avail == ch->size_bytes) {
		return hold(c, KCM_HOLD_BIG);
	}
	c->asm_have = avail;
	w->used = w->skb_bytes;
	return 1;
}

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

/* What we read of the kernel's struct. */
struct tcp_sock___kcm {
	__u32 copied_seq;
} __attribute__((preserve_access_index));

/*
 * Bytes of @skb that the stream has had before. A retransmission may begin with what arrived
 * already and go on with what did not: tcp_data_queue() queues it whole, tcp_recvmsg() skips the
 * old bytes by copied_seq, but tcp_read_skb() hands all of them to the program, and would count
 * them as read.
 */
static __always_inline __u32 overlap(struct __sk_buff *skb, struct kcm_conn *c, __u32 seq)
{
	if (!c->seq_known) {
		struct bpf_sock *sk = skb->sk;
		struct tcp_sock___kcm *tp = sk ? (void *)bpf_skc_to_tcp_sock(sk) : NULL;

		c->next_seq = tp ? tp->copied_seq : seq;
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
