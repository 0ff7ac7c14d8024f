/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* frame_gen.h - random descriptors, and random streams that make sense to them most of the time */
#ifndef KCM_FRAME_GEN_H
#define KCM_FRAME_GEN_H

#include "frame_feed.h"

static inline unsigned int gen_below(unsigned int *seed, unsigned int n)
{
	return feed_random(seed) % n;
}

/* mostly short bodies, some long ones */
static inline unsigned int gen_body_bytes(unsigned int *seed)
{
	return gen_below(seed, gen_below(seed, 8) ? 40 : gen_below(seed, 8) ? 600 : 9000);
}

/* one in four maxima is too small for some of the bodies */
static inline unsigned int gen_max(unsigned int *seed, unsigned int least)
{
	return gen_below(seed, 4) ? 20000 : least + gen_body_bytes(seed);
}

static inline void gen_descriptor(unsigned int *seed, char *text, size_t len)
{
	const struct kcm_frame_preset *presets = kcm_frame_presets();
	unsigned int width = gen_below(seed, 8) + 1, off = gen_below(seed, 12), n = 0;
	unsigned int hdr = off + width + gen_below(seed, 6);

	while (presets[n].name)
		n++;
	switch (gen_below(seed, 8)) {
	case 0:
		snprintf(text, len, "varint off=%u width=%u adj=%d skip=%u max=%u", off, width,
			 (int)gen_below(seed, 9) - 4, gen_below(seed, 9), gen_max(seed, 64));
		break;
	case 1:
		snprintf(text, len, "delim=0x%04x max=%u", gen_below(seed, 65536),
			 gen_max(seed, 64));
		break;
	case 2:
		snprintf(text, len, "fixed=%u skip=%u", gen_body_bytes(seed) + 1,
			 gen_below(seed, 9));
		break;
	case 3:
		snprintf(text, len, "%s", presets[gen_below(seed, n)].name);
		break;
	default:
		snprintf(text, len,
			 "len off=%u width=%u %s hdr=%u adj=%d shift=%u skip=%u max=%u%s%s", off,
			 width, gen_below(seed, 2) ? "be" : "le", hdr, (int)gen_below(seed, 9) - 4,
			 gen_below(seed, 2) * gen_below(seed, 8),
			 gen_below(seed, 2) * gen_below(seed, 9), gen_max(seed, hdr + 9),
			 gen_below(seed, 2) ? " counts-hdr" : "",
			 off && gen_below(seed, 2) ? " zero-untyped" : "");
	}
}

static inline unsigned int gen_length(const struct kcm_frame *f, unsigned int *seed,
				      unsigned char *out)
{
	unsigned int body = gen_body_bytes(seed), padding = 0, i;
	__u64 v = (f->hdr_bytes + body - f->add) & f->mask;
	__s64 total = v < 20000 ? (__s64)v + f->add : 0;

	if (f->order == KCM_FRAME_BE)
		padding = 64 - 8 * f->len_bytes;
	v <<= f->shift - padding;
	for (i = 0; i < f->hdr_bytes; i++)
		out[i] = gen_below(seed, 256) | 1;
	for (i = 0; i < f->len_bytes; i++)
		out[f->len_off + i] =
			v >> 8 * (f->order == KCM_FRAME_BE ? f->len_bytes - 1 - i : i);
	return total < f->hdr_bytes ? f->hdr_bytes : (unsigned int)total;
}

static inline unsigned int gen_text(const struct kcm_frame *f, unsigned int *seed, char *out)
{
	unsigned int n = gen_body_bytes(seed), k = gen_below(seed, 60) + 1, i;
	char body[16];

	snprintf(body, sizeof(body), "%c", 'a' + gen_below(seed, 26));
	switch (f->kind * 4 + gen_below(seed, 4)) {
	case KCM_FRAME_RESP * 4:
		return sprintf(out, "*3\r\n$3\r\nSET\r\n$%u\r\n%0*d\r\n$%u\r\n%0*d\r\n", k, (int)k,
			       1, n + 1, (int)n + 1, 2);
	case KCM_FRAME_RESP * 4 + 1:
		return sprintf(out, "+%0*d\r\n", (int)n, 1);
	case KCM_FRAME_RESP * 4 + 2:
		i = sprintf(out, "|1\r\n+a\r\n:2\r\n%%%u\r\n", k);
		while (k--)
			i += sprintf(out + i, "*1\r\n_\r\n$1\r\n%s\r\n", body);
		return i;
	case KCM_FRAME_RESP * 4 + 3:
		return sprintf(out, "GET %0*d\r\n", (int)k, 0);
	case KCM_FRAME_MC_TEXT * 4:
		return sprintf(out, "set %0*d 0 0 %u\r\n%0*d\r\n", (int)k, 1, n + 1, (int)n + 1, 2);
	case KCM_FRAME_MC_TEXT * 4 + 1:
		return sprintf(out, "ms %0*d %u T30 q\r\n%0*d\r\n", (int)k, 1, n + 1, (int)n + 1,
			       2);
	case KCM_FRAME_MC_TEXT * 4 + 2:
		return sprintf(out, "get %0*d %0*d\r\n", (int)n, 1, (int)k, 2);
	case KCM_FRAME_MC_TEXT * 4 + 3:
		return sprintf(out, "prepend  k  0 0  %u noreply\n%0*d\r\n", n + 1, (int)n + 1, 2);
	case KCM_FRAME_NATS * 4:
		return sprintf(out, "PUB %0*d %u\r\n%0*d\r\n", (int)k, 1, n + 1, (int)n + 1, 2);
	case KCM_FRAME_NATS * 4 + 1:
		return sprintf(out, "CONNECT {%0*d}\r\n", (int)n, 1);
	case KCM_FRAME_NATS * 4 + 2:
		return sprintf(out, "hmsg a 1 2 %u\n%0*d\r\n", n + 1, (int)n + 1, 2);
	case KCM_FRAME_HTTP1 * 4:
		return sprintf(out, "POST / HTTP/1.1\r\nX: %0*d\r\ncontent-length: %u\r\n\r\n%0*d",
			       (int)k, 1, n + 1, (int)n + 1, 2);
	case KCM_FRAME_HTTP1 * 4 + 1:
		return sprintf(out,
			       "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
			       "%x;a\r\n%0*d\r\n%X\r\n%0*d\r\n0\r\nT: 1\r\n\r\n",
			       n + 1, (int)n + 1, 2, k, (int)k, 3);
	case KCM_FRAME_HTTP1 * 4 + 2:
		return sprintf(out, "\r\nGET /%0*d HTTP/1.1\nHost: x\n\n", (int)n, 1);
	}
	return sprintf(out, "PING\r\n");
}

static inline unsigned int gen_http_reply(unsigned int *seed, __u32 told, char *out)
{
	unsigned int n = gen_body_bytes(seed), k = gen_below(seed, 60) + 1, at;

	switch (gen_below(seed, 4)) {
	case 0:
		at = sprintf(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\nX: %0*d\r\n\r\n",
			     gen_below(seed, 2) ? "gzip, chunked" : "Chunked", (int)k, 1);
		if (told & KCM_FS_NOBODY)
			return at;
		return at +
		       sprintf(out + at, "%x\r\n%0*d\r\n0\r\nT: 1\r\n\r\n", n + 1, (int)n + 1, 2);
	case 1:
		return sprintf(out, "HTTP/1.1 %s\r\nX: %0*d\r\nContent-Length: %u\r\n\r\n",
			       gen_below(seed, 2) ? "304 Not Modified" : "100 Continue", (int)n, 1,
			       n);
	case 2:
		return sprintf(out, "HTTP/1.0 204 %0*d\n\n", (int)k, 1);
	}
	at = sprintf(out, "HTTP/1.1 %u %0*d\r\nCONTENT-LENGTH:\t%u\r\n\r\n",
		     400 + gen_below(seed, 200), (int)k, 1, n + 1);
	return told & KCM_FS_NOBODY ? at : at + sprintf(out + at, "%0*d", (int)n + 1, 2);
}

static inline unsigned int gen_websocket(unsigned int *seed, unsigned char *out, int first)
{
	unsigned int n = gen_body_bytes(seed), at = 2, mask = gen_below(seed, 2);

	if (first && gen_below(seed, 2))
		return sprintf((char *)out, "GET /%0*d HTTP/1.1\r\nHost: x\r\n\r\n", (int)n, 1);
	out[0] = 0x80 | gen_below(seed, 3);
	if (gen_below(seed, 8) == 0) {
		memset(out + 1, 0, 9);
		out[1] = 127;
		out[8] = n >> 8;
		out[9] = n;
		at = 10;
	} else if (n > 125) {
		out[1] = 126;
		out[2] = n >> 8;
		out[3] = n;
		at = 4;
	} else {
		out[1] = n;
	}
	out[1] |= mask << 7;
	return at + 4 * mask + n;
}

/*
 * One message at @out, which has room for 32 KiB; the body is what stands there already. @told:
 * KCM_FS_REPLY, KCM_FS_NOBODY
 */
static inline unsigned int gen_message(const struct kcm_frame *f, unsigned int *seed, __u32 told,
				       unsigned char *out, int first)
{
	unsigned int n = gen_body_bytes(seed), at, v;

	if (first && f->skip_bytes && !(told & KCM_FS_REPLY))
		return f->skip_bytes;
	if (first && (told & KCM_FS_REPLY) && (f->flags & KCM_FRAME_ZERO_UNTYPED) &&
	    gen_below(seed, 2)) {
		out[0] = 'N';
		return 1;
	}
	switch (f->kind) {
	case KCM_FRAME_LENGTH:
		return gen_length(f, seed, out);
	case KCM_FRAME_VARINT:
		at = f->len_off;
		for (v = n; v > 127; v >>= 7)
			out[at++] = v | 0x80;
		out[at++] = v;
		return (__s64)n + f->add < 0 ? at : at + n + f->add;
	case KCM_FRAME_DELIM:
		memcpy(out + n, f->delim, f->delim_bytes);
		return n + f->delim_bytes;
	case KCM_FRAME_FIXED:
		return f->hdr_bytes;
	case KCM_FRAME_WEBSOCKET:
		return gen_websocket(seed, out, first);
	default:
		if (f->kind == KCM_FRAME_HTTP1 && (told & KCM_FS_REPLY))
			return gen_http_reply(seed, told, (char *)out);
		return gen_text(f, seed, (char *)out);
	}
}

/* a stream of about @want bytes; @data has room for 32 KiB more. One in four is damaged. */
static inline size_t gen_stream(const struct kcm_frame *f, unsigned int *seed, __u32 told,
				unsigned char *data, size_t want)
{
	size_t len = 0, i;

	for (i = 0; i < want + 32768; i++)
		data[i] = gen_below(seed, 256);
	while (len < want)
		len += gen_message(f, seed, told, data + len, !len);
	if (gen_below(seed, 4) == 0)
		data[gen_below(seed, len)] = gen_below(seed, 256);
	return len < want + 32768 ? len : want;
}

#endif
