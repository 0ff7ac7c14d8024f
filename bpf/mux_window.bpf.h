/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * mux_window.bpf.h - from skb to chunk: windows (whole messages of this skb) and the assembly chunk
 * (a message that goes on in the next one).
 */
#ifndef KCM_MUX_WINDOW_BPF_H
#define KCM_MUX_WINDOW_BPF_H

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

#endif
