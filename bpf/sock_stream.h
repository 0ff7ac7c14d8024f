/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sock_stream.h - count the messages of a stream that passes by and is not kept.
 *
 * kcm_frame_step() wants a message from its first byte on. Here at most KCM_SK_CARRY bytes of an
 * unfinished one are carried from segment to segment: what a parser can still ask for. Bytes that
 * it will not look at again are dropped, and its offsets moved to fit (stream_shrink()).
 *
 * Pure C, as frame.h: the same source is run by BPF programs, tests and fuzzers. The caller brings
 * bytes when it is told KCM_STREAM_LOAD, see stream_load_begin().
 */
#ifndef KCM_SOCK_STREAM_H
#define KCM_SOCK_STREAM_H

#include "frame.h"

enum kcm_stream_ret {
	KCM_STREAM_DONE, /* all of the segment was used */
	KCM_STREAM_MORE, /* call again */
	KCM_STREAM_LOAD, /* call again with more bytes in the window */
	KCM_STREAM_MSG,	 /* a message ended; call again */
};

/* Offset behind which the parser's own offset @x lies when a gap is taken out of the message. */
KCM_FINLINE __u32 stream_ungap(__u32 x, __u32 gap)
{
	if (x >= KCM_SK_HEAD + gap)
		return x - gap;
	return x > KCM_SK_HEAD ? KCM_SK_HEAD : x;
}

/* Bytes at the front of the message that the parser will not ask for again. */
KCM_FINLINE __u32 stream_useless(const struct kcm_frame *f, const struct kcm_fstate *s)
{
	switch (f->kind) {
	case KCM_FRAME_DELIM: /* the byte before may be the first half of the delimiter */
		return s->w[0] ? s->w[0] - 1 : 0;
	case KCM_FRAME_RESP: /* an element at offset 0 is not a nested one */
		return s->w[1] ? s->w[1] - 1 : 0;
	case KCM_FRAME_MC_TEXT:
	case KCM_FRAME_HTTP1:
		return s->w[1];
	default: /* the first byte is looked at again */
		return 0;
	}
}

/* The window ends within a message: carry over what of it is needed, forget the rest. */
KCM_FINLINE void stream_shrink(const struct kcm_frame *f, struct kcm_sk_dir *d,
			       struct kcm_sk_win *w)
{
	__u32 span = w->have - w->at, from = w->at, useless = stream_useless(f, &d->fs);
	__u32 gap = 0, i;

	w->have = 0;
	w->at = 0;
	if (f->kind >= KCM_FRAME_DELIM && f->kind != KCM_FRAME_FIXED) {
		d->fs.w[0] = d->fs.w[0] > useless ? d->fs.w[0] - useless : 0;
		d->fs.w[1] = d->fs.w[1] > useless ? d->fs.w[1] - useless : 0;
	}
	d->lost += useless;
	if (useless >= span) {
		d->hop = useless - span;
		d->carry_bytes = 0;
		return;
	}
	from += useless;
	span -= useless;
	if (span > KCM_SK_CARRY) {
		gap = span - KCM_SK_CARRY;
		d->fs.w[0] = stream_ungap(d->fs.w[0], gap);
		d->fs.w[1] = stream_ungap(d->fs.w[1], gap);
		d->lost += gap;
		span = KCM_SK_CARRY;
	}
	d->carry_bytes = span;
	for (i = 0; i < KCM_SK_CARRY; i += 8) {
		__u64 x = KCM_LD64(w->bytes, from + i + (i >= KCM_SK_HEAD ? gap : 0));

		__builtin_memcpy(&d->carry[i], &x, 8);
	}
}

/*
 * Begin to fill the window: what was carried over comes first.
 * Return: how many of the segment's bytes at w->off the caller is to put at w->bytes + w->have.
 * It adds them to w->have and w->off.
 */
KCM_FINLINE __u32 stream_load_begin(const struct kcm_frame *f, struct kcm_sk_dir *d,
				    struct kcm_sk_win *w)
{
	__u32 n = w->end - w->off, most = KCM_SK_WINDOW;

	w->at = 0;
	w->have = d->carry_bytes;
	if (d->carry_bytes)
		__builtin_memcpy(w->bytes, d->carry, KCM_SK_CARRY);
	d->carry_bytes = 0;
	/* Of a long message only the header is looked at. */
	if (d->len_hint > KCM_SK_WINDOW / 4 && f->kind <= KCM_FRAME_VARINT)
		most = KCM_SK_CARRY;
	return n < most ? n : most;
}

/* Return: enum kcm_stream_ret, or -EPROTO, -EMSGSIZE: there is no next message. */
KCM_FINLINE int stream_step(const struct kcm_frame *f, struct kcm_sk_dir *d, struct kcm_sk_win *w)
{
	__u32 here = w->have - w->at, ahead = w->end - w->off;
	int r;

	if (d->hop | d->skip) {
		__u32 hops = d->hop, want = hops ? hops : d->skip, n;

		n = want < here ? want : here;
		w->at += n;
		want -= n;
		n = want < ahead ? want : ahead;
		w->off += n;
		want -= n;
		if (hops)
			d->hop = want;
		else
			d->skip = want;
		if (want)
			return KCM_STREAM_DONE;
		return hops ? KCM_STREAM_MORE : KCM_STREAM_MSG;
	}
	if (!here)
		return ahead ? KCM_STREAM_LOAD : KCM_STREAM_DONE;
	if (f->skip_bytes && !d->fs.started && !KCM_FRAME_IS_REPLY(&d->fs)) {
		d->fs.started = 1;
		d->skip = f->skip_bytes;
		return KCM_STREAM_MORE;
	}
	r = kcm_frame_step(f, &d->fs, w->bytes, w->at, here);
	if (r == -EAGAIN)
		return KCM_STREAM_MORE;
	if (r < 0)
		return r;
	if (r == 0) {
		if ((__u64)d->lost + here >= f->max_bytes)
			return -EMSGSIZE;
		stream_shrink(f, d, w);
		return ahead ? KCM_STREAM_LOAD : KCM_STREAM_DONE;
	}
	if ((__u64)(__u32)r + d->lost > f->max_bytes)
		return -EMSGSIZE;
	d->len_hint = r;
	d->lost = 0;
	if ((__u32)r <= here) {
		w->at += r;
		return KCM_STREAM_MSG;
	}
	d->skip = r - here;
	w->at = w->have;
	return KCM_STREAM_MORE;
}

/* A segment of @bytes begins. */
KCM_FINLINE void stream_begin(struct kcm_sk_win *w, __u32 bytes)
{
	w->have = 0;
	w->at = 0;
	w->off = 0;
	w->end = bytes;
	w->msgs = 0;
	w->err = 0;
}

#endif
