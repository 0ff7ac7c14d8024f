// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sockframe.bpf.c - counts the messages of streams with one framing. Loaded once a framing, so
 * that the verifier sees the descriptor as a constant and keeps one parser only; called by the
 * programs of sock.bpf.c, which have found the socket and read the headers (frame_args()).
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define KCM_POS(pos)	    ((pos)&2047U) /* KCM_WIN_MASK */
#define KCM_LD8(base, pos)  (((const __u8 *)(base))[KCM_POS(pos)])
#define KCM_LD64(base, pos) (*(const __u64 *)((const __u8 *)(base) + KCM_POS(pos)))
#include "sock.h"
#include "sock_maps.bpf.h"
#include "sock_find.bpf.h"
#include "sock_sample.bpf.h"
#include "sock_event.bpf.h"
#include "sock_stream.h"
#include "sock_stash.bpf.h"

_Static_assert(KCM_POS(~0U) == KCM_WIN_MASK, "positions are masked to the window");

const volatile struct kcm_frame kcm_frame = {};

/* Not volatile any more, and yet not the zeros above: see KCM_FRAME_OPAQUE(). */
static __always_inline const struct kcm_frame *framing(void)
{
	const struct kcm_frame *f = (const struct kcm_frame *)&kcm_frame;

	KCM_FRAME_OPAQUE(f);
	return f;
}

#include "sock_win.bpf.h"
#include "sock_sides.bpf.h"
#include "sock_latency.bpf.h"
#include "sock_quick.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

/* Steps of one segment; 512 KiB of tiny messages, or what a parser can make of them. */
#define KCM_STEPS_MAX (1 << 20)
#define KCM_STEP_MSGS 8

struct kcm_run {
	struct __sk_buff *skb;
	struct kcm_sk_dir *d;
	struct kcm_sk_win *w;
	struct kcm_sides sides;
	__u32 off;   /* where the segment is in the skb, or in the chunk */
	__u32 chunk; /* + 1; 0: in the skb */
};

static __always_inline int load(struct kcm_run *r)
{
	struct kcm_sk_win *w = r->w;
	__u32 n = stream_load_begin(framing(), r->d, w);
	__u32 have = w->have, at = r->chunk - 1, last = n - 1;
	int err;

	asm volatile("" : "+r"(have), "+r"(last));
	if (have > KCM_SK_CARRY || last >= KCM_SK_WINDOW)
		return -1;
	if (r->chunk) {
		struct kcm_sk_stash *c = bpf_map_lookup_elem(&kcm_sk_stash, &at);
		__u32 from = r->off + w->off;

		if (!c || from > KCM_SK_STASH)
			return -1;
		err = bpf_probe_read_kernel(w->bytes + have, last + 1, (void *)c->bytes + from);
	} else {
		err = bpf_skb_load_bytes(r->skb, r->off + w->off, w->bytes + have, last + 1);
	}
	w->have = have + n;
	w->off += n;
	return err;
}

static long run_step(__u32 i, struct kcm_run *r)
{
	const struct kcm_frame *f = framing();
	const int simple =
		(f->kind <= KCM_FRAME_VARINT || f->kind == KCM_FRAME_FIXED) && !sides_tell();
	struct kcm_sk_win *w = r->w;
	struct kcm_sk_dir *d = r->d;
	int ret;

	w->err = sides_before(&r->sides, r->d);
	if (w->err)
		return 1;

	/* Several short messages a step: bpf_loop() costs as much as one. */
	for (int k = 0; k < KCM_STEP_MSGS; k++) {
		/* Linux 6.1 takes a loop only if a jump closes it; clang may lay it without. */
		asm volatile("goto +0" : "+r"(d));
		ret = stream_step(f, d, w);
		if (ret != KCM_STREAM_MSG)
			break;
		w->msgs++;
		if (sides_tell()) {
			w->err = sides_after(&r->sides, r->d, r->d->msgs + w->msgs - 1);
			return !!w->err;
		}
		if (!simple)
			return 0;
	}
	if (ret == KCM_STREAM_LOAD) {
		if (load(r)) {
			w->err = -EPROTO;
			return 1;
		}
		return 0;
	}
	if (ret < 0) {
		w->err = ret;
		return 1;
	}
	return ret == KCM_STREAM_DONE;
}

/* Look at @len bytes at @off of the skb, or of a chunk. Return: 0, or -errno: framing lost. */
static __noinline int run(struct kcm_run *r, __u32 off, __u32 len, __u32 chunk)
{
	r->off = off;
	r->chunk = chunk;
	stream_begin(r->w, len);
	if (bpf_loop(KCM_STEPS_MAX, run_step, r, 0) >= KCM_STEPS_MAX)
		return -EMSGSIZE;
	r->d->msgs += r->w->msgs;
	return r->w->err;
}

static __always_inline void unframe(struct kcm_sk_ref *ref, struct kcm_sk_dir *d, __u64 cookie,
				    int tx, enum kcm_sk_unframed why)
{
	struct kcm_sk_hot *hot = ref->hot;
	__u32 far;

	dead_set(hot, tx ? 1 : 2);
	if (why != KCM_UNFRAMED_NO)
		ref->more->info.unframed = why;
	if (why != KCM_UNFRAMED_NO && why != KCM_UNFRAMED_OPAQUE)
		CTL_ADD(unframed, 1);
	if (!stash_free_all(d, cookie, tx, &far))
		return;
	if (tx) { /* sent is sent: the firewall that made the gap will see it again */
		if ((__s32)(far - hot->tx_seq) > 0) {
			hot->tx_bytes += far - hot->tx_seq;
			hot->tx_seq = far;
		}
	} else {
		ref->in->rx_far = far;
		flags_set(hot, KCM_SKF_RX_GAP);
	}
}

static __always_inline enum kcm_sk_unframed why_of(int err)
{
	switch (err) {
	case KCM_SIDE_TO_CLOSE:
		return KCM_UNFRAMED_NO;
	case KCM_SIDE_OPAQUE:
		return KCM_UNFRAMED_OPAQUE;
	case -EMSGSIZE:
		return KCM_UNFRAMED_SIZE;
	}
	return KCM_UNFRAMED_PROTO;
}

static __always_inline void advance(struct kcm_sk_hot *hot, struct kcm_sk_in *in, int tx,
				    __u32 bytes)
{
	if (tx) {
		hot->tx_bytes += bytes;
		hot->tx_seq += bytes;
	} else {
		in->rx_bytes += bytes;
	}
}

struct kcm_drain {
	struct kcm_run run;
	struct kcm_sk_hot *hot;
	struct kcm_sk_in *in;
	__u64 owner;
	int err;
	int tx;
};

/* The gap may be filled: go on in what was stashed. */
static long drain_one(__u32 i, struct kcm_drain *r)
{
	__u32 zero = 0, next = r->tx ? r->hot->tx_seq : rx_next(r->in), old, chunk;
	struct kcm_sk_stash_heads *all = bpf_map_lookup_elem(&kcm_sk_sthead, &zero);
	struct kcm_sk_stash_head *h;

	chunk = stash_next(r->run.d, r->owner, next);
	if (!chunk || !all)
		return 1;
	h = &all->h[(chunk - 1) & (KCM_SK_STASHES - 1)];
	old = next - h->seq;
	r->err = run(&r->run, old, h->len - old, chunk);
	advance(r->hot, r->in, r->tx, h->len - old);
	return r->err || !r->run.d->stashes;
}

/* A segment that begins behind what we have seen: bytes are missing. */
static __always_inline void segment_early(struct __sk_buff *ctx, struct kcm_sk_ref *ref,
					  struct kcm_sk_dir *d, int tx, __u32 seq, __u32 off,
					  __u32 len)
{
	struct kcm_sk_hot *hot = ref->hot;
	__u64 cookie = hot->tag;
	struct bpf_sock *sk = ctx->sk;
	struct bpf_tcp_sock *tp = sk && !tx ? bpf_tcp_sock(sk) : NULL;

	if (tp && (__s32)(tp->rcv_nxt - rx_next(ref->in)) > 0)
		unframe(ref, d, cookie, tx, KCM_UNFRAMED_MISSED);
	else if (stash_put(ctx, d, KCM_STASH_OWNER(cookie, tx), seq, off, len))
		unframe(ref, d, cookie, tx, KCM_UNFRAMED_STASH);
	if (tx && (hot->frame_dead & 1) && (__s32)(seq + len - hot->tx_seq) > 0)
		advance(hot, ref->in, tx, seq + len - hot->tx_seq);
}

static __always_inline void segment_look(struct __sk_buff *ctx, struct kcm_sk_ref *ref,
					 struct kcm_sk_dir *d, int tx, __u32 off, __u32 len)
{
	struct kcm_drain r = {
		.run = { .skb = ctx, .d = d }, .hot = ref->hot, .in = ref->in, .tx = tx
	};
	int err;

	r.run.sides.info = &ref->more->info;
	r.run.sides.other = tx ? &ref->more->rx : &ref->more->tx;
	r.run.sides.reply = tx == (ref->hot->role == KCM_ROLE_SERVER);
	r.run.w = win_get();
	if (!r.run.w) {
		unframe(ref, d, ref->hot->tag, tx, KCM_UNFRAMED_MISSED);
		advance(ref->hot, ref->in, tx, len);
		return;
	}
	err = run(&r.run, off, len, 0);
	advance(ref->hot, ref->in, tx, len);
	if (!err && d->stashes) {
		r.owner = KCM_STASH_OWNER(ref->hot->tag, tx);
		bpf_loop(KCM_SK_STASH_MAX, drain_one, &r, 0);
		err = r.err;
	}
	win_put(r.run.w);
	if (err)
		unframe(ref, d, ref->hot->tag, tx, why_of(err));
}

/* The other direction has seen that this is another protocol from here. */
static __always_inline void segment_opaque(struct kcm_sk_ref *ref, struct kcm_sk_dir *d, int tx,
					   __u32 seq, __u32 len)
{
	struct kcm_sk_hot *hot = ref->hot;
	__s32 fresh;

	unframe(ref, d, hot->tag, tx, KCM_UNFRAMED_OPAQUE);
	if (tx || (__s32)(seq - rx_next(ref->in)) <= 0) {
		fresh = seq + len - (tx ? hot->tx_seq : rx_next(ref->in));
		if (fresh > 0)
			advance(hot, ref->in, tx, fresh);
		return;
	}
	if (!(hot->flags & KCM_SKF_RX_GAP) || (__s32)(seq + len - ref->in->rx_far) > 0)
		ref->in->rx_far = seq + len;
	flags_set(hot, KCM_SKF_RX_GAP);
}

static __always_inline void segment(struct __sk_buff *ctx, struct kcm_sk_ref *ref, int tx)
{
	struct kcm_sk_dir *d = tx ? &ref->more->tx : &ref->more->rx;
	__u32 next = tx ? ref->hot->tx_seq : rx_next(ref->in), seq = ctx->cb[1], off = ctx->cb[2];
	__u32 len = ctx->len - off, old;

	if ((__s32)(seq + len - next) <= 0)
		return;
	if (sides_tell() && ref->more->info.unframed == KCM_UNFRAMED_OPAQUE) {
		segment_opaque(ref, d, tx, seq, len);
		return;
	}
	if ((__s32)(seq - next) > 0) {
		segment_early(ctx, ref, d, tx, seq, off, len);
		return;
	}
	old = next - seq;
	off += old;
	len -= old;
	if (quick(ctx, d, off, len))
		advance(ref->hot, ref->in, tx, len);
	else
		segment_look(ctx, ref, d, tx, off, len);
}

static __always_inline int ref_get(struct __sk_buff *ctx, struct kcm_sk_ref *ref)
{
	struct kcm_sk_store *store;
	struct bpf_sock *sk;

	ref->slot = ctx->cb[0];
	if (ref->slot != KCM_SK_SLOT_NONE)
		return slot_take(ref->slot, ref);
	sk = ctx->sk;
	store = sk ? bpf_sk_storage_get(&kcm_sk_store, sk, 0, 0) : NULL;
	if (!store)
		return -1;
	store_ref(store, ref);
	return 0;
}

static __always_inline void latency(struct kcm_sk_ref *ref, int tx, __u64 before, __u64 sent_ns)
{
	struct kcm_sk_dir *d = tx ? &ref->more->tx : &ref->more->rx;
	struct kcm_sk_dir *other = tx ? &ref->more->rx : &ref->more->tx;

	if (d->msgs == before)
		return;
	if (tx == (ref->hot->role == KCM_ROLE_CLIENT))
		latency_begin(ref, sent_ns, d->msgs,
			      sides_http() ? ref->more->info.http_answered : other->msgs);
	else
		latency_end(ref, sent_ns, ref->hot->tag,
			    sides_http() ? ref->more->info.http_answered : d->msgs);
}

SEC("cgroup_skb/egress")
int kcm_frame_tx(struct __sk_buff *ctx)
{
	struct kcm_sk_ref ref;
	__u64 before;

	if (ref_get(ctx, &ref))
		return 1;
	before = ref.more->tx.msgs;
	segment(ctx, &ref, 1);
	latency(&ref, 1, before, ctx->tstamp);
	return 1;
}

/*
 * Two segments of a stream may arrive on two CPUs at once: one after the other. Their time here is
 * short, and softirqs of one CPU don't interrupt each other.
 */
struct kcm_locking {
	struct kcm_sk_dir *d;
	int got;
};

static long lock_try(__u32 i, struct kcm_locking *l)
{
	l->got = !__sync_lock_test_and_set(&l->d->lock, 1);
	return l->got;
}

static __always_inline int rx_lock(struct kcm_sk_dir *d)
{
	struct kcm_locking l = { .d = d };

	if (!__sync_lock_test_and_set(&d->lock, 1))
		return 0;
	bpf_loop(1 << 16, lock_try, &l, 0);
	return l.got ? 0 : -1;
}

SEC("cgroup_skb/ingress")
int kcm_frame_rx(struct __sk_buff *ctx)
{
	struct kcm_sk_ref ref;
	__u64 before;

	if (ref_get(ctx, &ref))
		return 1;
	if (rx_lock(&ref.more->rx)) {
		unframe(&ref, &ref.more->rx, ref.hot->tag, 0, KCM_UNFRAMED_MISSED);
		return 1;
	}
	before = ref.more->rx.msgs;
	segment(ctx, &ref, 0);
	__sync_lock_test_and_set(&ref.more->rx.lock, 0);
	latency(&ref, 0, before, 0);
	return 1;
}
