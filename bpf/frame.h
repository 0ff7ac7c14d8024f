/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * frame.h - where does a message end? The one framing source of BPF, libkcm, tests and fuzzers.
 *
 * A struct kcm_frame describes a protocol, a struct kcm_fstate is the place of one stream in it,
 * kcm_frame_step() is asked about the message that begins at a position. The answer never depends
 * on how the bytes were cut into segments. No libc, no unbounded loop: one step looks at 16
 * words at most and asks to be called again (-EAGAIN) when that was not enough.
 *
 * Bytes are read through KCM_LD8() and KCM_LD64() only. KCM_LD64() may read up to 8 bytes past
 * the last byte that is there, so buffers need KCM_FRAME_PAD readable bytes behind them. BPF
 * programs define both before including this file, and mask the position in them.
 */
#ifndef KCM_FRAME_H
#define KCM_FRAME_H

#ifdef __bpf__
/* vmlinux.h has the types, but no macro survives in BTF */
#ifndef EAGAIN
#define EAGAIN 11
#endif
#ifndef EPROTO
#define EPROTO 71
#endif
#ifndef EMSGSIZE
#define EMSGSIZE 90
#endif
#else
#include <errno.h>
#endif

/* By a relative path: the types are public API, and every home of this file must find them. */
#include "../src/lib/kcm_frame.h"

#define KCM_FINLINE static inline __attribute__((always_inline, unused))

#ifndef KCM_LD64
KCM_FINLINE __u64 kcm_frame_ld64(const void *p)
{
	__u64 v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}
#define KCM_LD8(base, pos)  (((const __u8 *)(base))[pos])
#define KCM_LD64(base, pos) kcm_frame_ld64((const __u8 *)(base) + (pos))
#endif

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define KCM_BE64(x) __builtin_bswap64(x)
#define KCM_LE64(x) (x)
#else
#define KCM_BE64(x) (x)
#define KCM_LE64(x) __builtin_bswap64(x)
#endif

/* A program that sees requests alone defines it as 0 before including this file. */
#ifndef KCM_FRAME_IS_REPLY
#define KCM_FRAME_IS_REPLY(s) ((s)->reserved & KCM_FS_REPLY)
#endif

_Static_assert(sizeof(struct kcm_frame) == 64, "shared with BPF");
_Static_assert(sizeof(struct kcm_fstate) == 24, "shared with BPF");

#ifdef __bpf__
/*
 * The descriptor is a constant of .rodata: its loads must stay in the program, so that the
 * verifier, not the compiler, sees the value user space has written there.
 */
#define KCM_FRAME_OPAQUE(f) asm volatile("" : "+r"(f))
#else
#define KCM_FRAME_OPAQUE(f) ((void)0)
#endif

#define KCM_FRAME_WORDS	   16		/* 64-bit words one step may look at */
#define KCM_FRAME_HUGE	   (1ULL << 40) /* no overflow below: 64-bit sums of 3 such */
#define KCM_FRAME_BYTES(c) ((c)*0x0101010101010101ULL) /* the byte c, eight times */

/* 0x80 in every byte of the result that is zero in @x, and nowhere else */
KCM_FINLINE __u64 kcm_frame_zero_bytes(__u64 x)
{
	const __u64 low7 = KCM_FRAME_BYTES(0x7fULL);

	return ~(((x & low7) + low7) | x | low7);
}

/* index of the lowest byte that is 0x80 in @m, a result of the above; 8 if there is none */
KCM_FINLINE __u32 kcm_frame_first_byte(__u64 m)
{
	return ((((m - 1) & ~m) >> 7 & KCM_FRAME_BYTES(1ULL)) * KCM_FRAME_BYTES(1ULL)) >> 56;
}

/* the answer for a message of @v + @add bytes, where less than @least is impossible */
KCM_FINLINE int kcm_frame_total(const struct kcm_frame *f, __u64 v, __s64 add, __s64 least)
{
	__s64 total;

	if (v > KCM_FRAME_HUGE)
		return -EMSGSIZE;
	total = (__s64)v + add;
	if (total < least)
		return -EPROTO;
	if (total > (__s64)f->max_bytes)
		return -EMSGSIZE;
	return (int)total;
}

/*
 * kcm_frame_restart() - go back to the beginning of the current message
 * @first: no message of this stream was consumed yet. A caller that framed messages and then had
 *	to give them back must pass it when they were the first ones: it brings the preface back.
 */
KCM_FINLINE void kcm_frame_restart(struct kcm_fstate *s, int first)
{
	s->w[0] = 0;
	s->w[1] = 0;
	s->w[2] = 0;
	s->w[3] = 0;
	if (first)
		s->started = 0;
}

/* The answer of one byte to a start-up packet that asks for encryption. Return: 1, or 0 */
KCM_FINLINE int kcm_frame_one_byte(struct kcm_fstate *s, __u8 c)
{
	if (s->reserved & KCM_FS_TYPED)
		return 0;
	if (c == 'S' || c == 'G')
		s->reserved |= KCM_FS_OPAQUE;
	else if (c != 'N')
		s->reserved |= KCM_FS_TYPED;
	return !(s->reserved & KCM_FS_TYPED);
}

KCM_FINLINE int kcm_frame_length(const struct kcm_frame *f, struct kcm_fstate *s, const void *base,
				 __u32 pos, __u32 avail)
{
	__u32 off = f->len_off, untyped = 0;
	__u64 v;

	if ((f->flags & KCM_FRAME_ZERO_UNTYPED) && KCM_FRAME_IS_REPLY(s) &&
	    kcm_frame_one_byte(s, KCM_LD8(base, pos)))
		return 1;
	if ((f->flags & KCM_FRAME_ZERO_UNTYPED) && KCM_LD8(base, pos) == 0) {
		untyped = off;
		off = 0;
	}
	if (avail < f->need_bytes - untyped)
		return 0;
	v = KCM_LD64(base, pos + off);
	v = (f->order == KCM_FRAME_BE ? KCM_BE64(v) : KCM_LE64(v)) >> f->shift & f->mask;
	return kcm_frame_total(f, v, f->add - untyped, (__s64)f->hdr_bytes - untyped);
}

KCM_FINLINE int kcm_frame_varint(const struct kcm_frame *f, const void *base, __u32 pos,
				 __u32 avail)
{
	__u32 off = f->len_off, have, n;
	__u64 v;

	if (avail <= off)
		return 0;
	have = avail - off;
	v = KCM_LE64(KCM_LD64(base, pos + off));
	n = kcm_frame_first_byte(~v & KCM_FRAME_BYTES(0x80ULL)) + 1;
	if (n > f->len_bytes || n > have)
		return have >= f->len_bytes ? -EPROTO : 0;
	v &= KCM_FRAME_BYTES(0x7fULL) >> (64 - 8 * n);
	v = (v & 0x007f007f007f007fULL) | (v & 0x7f007f007f007f00ULL) >> 1;
	v = (v & 0x00003fff00003fffULL) | (v & 0x3fff00003fff0000ULL) >> 2;
	v = (v & 0x000000000fffffffULL) | (v & 0x0fffffff00000000ULL) >> 4;
	return kcm_frame_total(f, v, f->add + off + n, off + n);
}

/*
 * kcm_frame_scan() - look for @last (preceded by @prev, if @two) from s->w[0] on
 * Return: offset behind it; 0 = not here yet; -EAGAIN = not in the bytes of this step.
 */
KCM_FINLINE int kcm_frame_scan(struct kcm_fstate *s, const void *base, __u32 pos, __u32 avail,
			       __u8 last, __u8 prev, int two)
{
	__u64 lasts = KCM_FRAME_BYTES((__u64)last), prevs = KCM_FRAME_BYTES((__u64)prev);
	__u32 at = s->w[0], i;
	__u64 carry = 0;

	if (two && at && KCM_LD8(base, pos + at - 1) == prev)
		carry = 0x80;
	for (i = 0; i < KCM_FRAME_WORDS; i++) {
		__u64 x, m, p;

		if (at >= avail)
			break;
		x = KCM_LE64(KCM_LD64(base, pos + at));
		m = kcm_frame_zero_bytes(x ^ lasts);
		if (two) {
			p = kcm_frame_zero_bytes(x ^ prevs);
			m &= p << 8 | carry;
			carry = p >> 56;
		}
		if (m) {
			at += kcm_frame_first_byte(m) + 1;
			if (at <= avail) {
				s->w[0] = at;
				return (int)at;
			}
			break; /* in the padding: bytes that are not there yet */
		}
		at += 8;
	}
	if (at >= avail) {
		s->w[0] = avail;
		return 0;
	}
	s->w[0] = at;
	return -EAGAIN;
}

KCM_FINLINE int kcm_frame_delim(const struct kcm_frame *f, struct kcm_fstate *s, const void *base,
				__u32 pos, __u32 avail)
{
	int two = f->delim_bytes == 2;
	int r = kcm_frame_scan(s, base, pos, avail, f->delim[two], f->delim[0], two);

	if (s->w[0] > f->max_bytes || (r <= 0 && s->w[0] == f->max_bytes))
		return -EMSGSIZE;
	return r;
}

/* As kcm_frame_scan(), for the end of a line that must lie within max_bytes. */
KCM_FINLINE int kcm_frame_line(const struct kcm_frame *f, struct kcm_fstate *s, const void *base,
			       __u32 pos, __u32 avail)
{
	int r = kcm_frame_scan(s, base, pos, avail, '\n', 0, 0);

	return s->w[0] > f->max_bytes || (r <= 0 && s->w[0] == f->max_bytes) ? -EMSGSIZE : r;
}

#include "frame_text.h"
#include "frame_http.h"

/**
 * kcm_frame_step() - how long is the message that begins at @base + @pos?
 * @s:     place of this stream; zero at its start.
 * @avail: bytes of the message (and of what follows it) that are here; may grow between calls.
 * Return: > 0 whole length incl. header, may exceed @avail; 0 = need more bytes than @avail;
 *         -EAGAIN = call again, same arguments; -EMSGSIZE above max_bytes; -EPROTO impossible.
 *         Errors are final: there is no next message.
 * It never needs more than max_bytes: with so many here it does not return 0.
 * After a length > 0, @s stands at the next message, which is to be asked for at @pos + length.
 * kcm_frame_restart() makes it possible to ask again about a message that is not consumed.
 */
KCM_FINLINE int kcm_frame_step(const struct kcm_frame *f, struct kcm_fstate *s, const void *base,
			       __u32 pos, __u32 avail)
{
	int r;

	KCM_FRAME_OPAQUE(f);
	if (!avail)
		return 0;
	if (f->skip_bytes && !s->started && !KCM_FRAME_IS_REPLY(s)) {
		if (avail < f->skip_bytes) /* not told yet: it would be told once */
			return 0;
		s->started = 1;
		return (int)f->skip_bytes;
	}
	switch (f->kind) {
	case KCM_FRAME_LENGTH: /* no state, nothing to reset */
		return kcm_frame_length(f, s, base, pos, avail);
	case KCM_FRAME_VARINT:
		return kcm_frame_varint(f, base, pos, avail);
	case KCM_FRAME_FIXED:
		return (int)f->hdr_bytes;
	case KCM_FRAME_DELIM:
		r = kcm_frame_delim(f, s, base, pos, avail);
		break;
	case KCM_FRAME_WEBSOCKET:
		r = kcm_frame_websocket(f, s, base, pos, avail);
		break;
	case KCM_FRAME_RESP:
		r = kcm_frame_resp(f, s, base, pos, avail);
		break;
	case KCM_FRAME_MC_TEXT:
		r = kcm_frame_mc_text(f, s, base, pos, avail);
		break;
	case KCM_FRAME_NATS:
		r = kcm_frame_nats(f, s, base, pos, avail);
		break;
	case KCM_FRAME_HTTP1:
		r = kcm_frame_http1(f, s, base, pos, avail);
		break;
	default:
		return -EPROTO;
	}
	if (r > 0)
		kcm_frame_restart(s, 0);
	return r;
}

#endif /* KCM_FRAME_H */
