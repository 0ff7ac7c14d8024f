/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * frame_http.h - WebSocket and HTTP/1: heads of lines up to an empty one. Included by frame.h only.
 */
#ifndef KCM_FRAME_HTTP_H
#define KCM_FRAME_HTTP_H

/* bytes of the line @from..@end without its LF or CRLF */
KCM_FINLINE __u32 kcm_http_text_bytes(const void *base, __u32 pos, __u32 from, __u32 end)
{
	__u32 n = end - from - 1;

	if (n && KCM_LD8(base, pos + end - 2) == '\r')
		n--;
	return n;
}

/*
 * WebSocket. A message that begins with 'G' (GET) or 'H' (HTTP/1.1 101) is the HTTP head of the
 * upgrade: no frame begins so (reserved opcode 7, a close frame without FIN). One frame is one
 * message: a fragmented WebSocket message stays in fragments.
 * w[0]: scanned up to here; w[1]: where the current line of the head begins.
 */
KCM_FINLINE int kcm_ws_head(const struct kcm_frame *f, struct kcm_fstate *s, const void *base,
			    __u32 pos, __u32 avail)
{
	int end = kcm_frame_line(f, s, base, pos, avail);
	__u32 n;

	if (end <= 0)
		return end;
	n = kcm_http_text_bytes(base, pos, s->w[1], end);
	s->w[1] = end;
	return n ? -EAGAIN : end;
}

KCM_FINLINE int kcm_frame_websocket(const struct kcm_frame *f, struct kcm_fstate *s,
				    const void *base, __u32 pos, __u32 avail)
{
	__u8 c = KCM_LD8(base, pos);
	__u32 hdr = 2;
	__u64 v;

	if (c == 'G' || c == 'H')
		return kcm_ws_head(f, s, base, pos, avail);
	if (avail < 2)
		return 0;
	c = KCM_LD8(base, pos + 1);
	v = c & 0x7f;
	if (v == 126)
		hdr = 4;
	else if (v == 127)
		hdr = 10;
	if (avail < hdr)
		return 0;
	if (hdr > 2) {
		v = KCM_BE64(KCM_LD64(base, pos + 2));
		if (hdr == 4)
			v >>= 48;
		else if (v >> 63)
			return -EPROTO;
	}
	if (c & 0x80)
		hdr += 4; /* masking key */
	return kcm_frame_total(f, v, hdr, hdr);
}

/*
 * HTTP/1. Requests: strict where leniency would let a peer smuggle a request into another one's
 * body: two lengths, an unknown transfer coding, blanks before the colon are -EPROTO. Replies
 * (KCM_FS_REPLY): what a client takes, RFC 9112 section 6.3.
 * w[0]: scanned up to here; w[1]: where the current line begins; w[2]: body bytes + 1, 0 if not
 * told; w[3]: enum kcm_http_part.
 */
enum kcm_http_part {
	KCM_HTTP_START, /* before the first line: empty lines are allowed */
	KCM_HTTP_HEAD,
	KCM_HTTP_HEAD_CHUNKED, /* in the head, Transfer-Encoding: chunked seen */
	KCM_HTTP_CHUNK,	       /* at a line with the size of a chunk */
	KCM_HTTP_TRAILER,
};

#define KCM_HTTP_CONTENT_ 0x2d746e65746e6f63ULL /* "content-" */
#define KCM_HTTP_LENGTH	  0x00006874676e656cULL /* "length" */
#define KCM_HTTP_TRANSFER 0x726566736e617274ULL /* "transfer" */
#define KCM_HTTP_ENCODIN  0x6e69646f636e652dULL /* "-encodin" */
#define KCM_HTTP_CHUNKED  0x0064656b6e756863ULL /* "chunked" */
#define KCM_HTTP_SLASH_1  0x002e312f50545448ULL /* "HTTP/1." */
#define KCM_HTTP_HEAD_	  0x2044414548ULL	/* "HEAD " */
#define KCM_HTTP_CONNECT_ 0x205443454e4e4f43ULL /* "CONNECT " */
#define KCM_HTTP_LOW5	  0x000000ffffffffffULL
#define KCM_HTTP_LOW6	  0x0000ffffffffffffULL
#define KCM_HTTP_LOW7	  0x00ffffffffffffffULL

KCM_FINLINE __u64 kcm_http_lower8(const void *base, __u32 at)
{
	return KCM_LE64(KCM_LD64(base, at)) | KCM_FRAME_BYTES(0x20ULL);
}

KCM_FINLINE int kcm_http_is_blank(__u8 c)
{
	return c == ' ' || c == '\t';
}

/* "GET / HTTP/1.1" at @from: an upper-case letter begins it */
KCM_FINLINE int kcm_http_request_line(struct kcm_fstate *s, const void *base, __u32 at)
{
	__u64 method = KCM_LE64(KCM_LD64(base, at));
	__u8 c = method;

	s->reserved &= KCM_FS_TOLD;
	if (method == KCM_HTTP_CONNECT_)
		s->reserved |= KCM_FS_CONNECT;
	else if ((method & KCM_HTTP_LOW5) == KCM_HTTP_HEAD_)
		s->reserved |= KCM_FS_HEAD;
	return c < 'A' || c > 'Z' ? -EPROTO : 0;
}

/* "HTTP/1.1 200 OK" of @n bytes at @at: what its code says of the body, in s->reserved */
KCM_FINLINE int kcm_http_status_line(struct kcm_fstate *s, const void *base, __u32 at, __u32 n)
{
	__u32 told = s->reserved & KCM_FS_TOLD, code;
	__u8 c[3];

	if (n < 12 || (KCM_LE64(KCM_LD64(base, at)) & KCM_HTTP_LOW7) != KCM_HTTP_SLASH_1 ||
	    KCM_LD8(base, at + 8) != ' ')
		return -EPROTO;
	c[0] = KCM_LD8(base, at + 9);
	c[1] = KCM_LD8(base, at + 10);
	c[2] = KCM_LD8(base, at + 11);
	if (!kcm_frame_is_digit(c[0]) || !kcm_frame_is_digit(c[1]) || !kcm_frame_is_digit(c[2]))
		return -EPROTO;
	code = (c[0] - '0') * 100 + (c[1] - '0') * 10 + (c[2] - '0');
	if (code == 101 || (code / 100 == 2 && (told & KCM_FS_TUNNEL)))
		told |= KCM_FS_OPAQUE | KCM_FS_EMPTY;
	else if (code < 200)
		told |= KCM_FS_INTERIM | KCM_FS_EMPTY;
	else if (code == 204 || code == 304 || (told & KCM_FS_NOBODY))
		told |= KCM_FS_EMPTY;
	s->reserved = told;
	return 0;
}

/* "content-length: 5" of @n bytes at @from: notes the length in s->w[2] */
KCM_FINLINE int kcm_http_content_length(const struct kcm_frame *f, struct kcm_fstate *s,
					const void *base, __u32 pos, __u32 from, __u32 n)
{
	__u32 to = from + n, i;
	__u64 v = 0;

	if (KCM_LD8(base, pos + from + 14) != ':')
		return kcm_http_is_blank(KCM_LD8(base, pos + from + 14)) ? -EPROTO : 0;
	from += 15;
	for (i = 0; i < 4 && from < to && kcm_http_is_blank(KCM_LD8(base, pos + from)); i++)
		from++;
	for (i = 0; i < 4 && from < to && kcm_http_is_blank(KCM_LD8(base, pos + to - 1)); i++)
		to--;
	if (kcm_frame_decimal(base, pos, from, to, &v))
		return -EPROTO;
	if (v > f->max_bytes)
		return -EMSGSIZE;
	if (s->w[2] && s->w[2] != (__u32)v + 1)
		return -EPROTO;
	s->w[2] = (__u32)v + 1;
	return s->w[3] == KCM_HTTP_HEAD_CHUNKED && !KCM_FRAME_IS_REPLY(s) ? -EPROTO : 0;
}

/* a line of @n > 0 bytes of the head */
KCM_FINLINE int kcm_http_field(const struct kcm_frame *f, struct kcm_fstate *s, const void *base,
			       __u32 pos, __u32 from, __u32 n)
{
	__u64 x0, x8;
	int chunked;

	if (n < 15 || (KCM_FRAME_IS_REPLY(s) && (s->reserved & KCM_FS_EMPTY)))
		return 0;
	x0 = kcm_http_lower8(base, pos + from);
	x8 = kcm_http_lower8(base, pos + from + 8);
	if (x0 == KCM_HTTP_CONTENT_ && (x8 & KCM_HTTP_LOW6) == KCM_HTTP_LENGTH)
		return kcm_http_content_length(f, s, base, pos, from, n);
	if (x0 != KCM_HTTP_TRANSFER || x8 != KCM_HTTP_ENCODIN || n < 18 ||
	    (KCM_LD8(base, pos + from + 16) | 0x20) != 'g')
		return 0;
	if (KCM_LD8(base, pos + from + 17) != ':')
		return kcm_http_is_blank(KCM_LD8(base, pos + from + 17)) ? -EPROTO : 0;
	chunked = n >= 25 &&
		  (kcm_http_lower8(base, pos + from + n - 7) & KCM_HTTP_LOW7) == KCM_HTTP_CHUNKED;
	/* chunked must be the last coding, and it may come once */
	if (KCM_FRAME_IS_REPLY(s)) {
		if (!chunked)
			s->reserved |= KCM_FS_TO_CLOSE;
	} else if (!chunked || s->w[2] || s->w[3] == KCM_HTTP_HEAD_CHUNKED) {
		return -EPROTO;
	}
	s->w[3] = KCM_HTTP_HEAD_CHUNKED;
	return 0;
}

/* "1a;ext" of @n bytes: the size of a chunk, -EPROTO or -EMSGSIZE */
KCM_FINLINE int kcm_http_chunk_bytes(const struct kcm_frame *f, const void *base, __u32 pos,
				     __u32 from, __u32 n)
{
	__u64 v = 0;
	__u32 i;
	__u8 c = 0;

	for (i = 0; i < 9 && i < n; i++) {
		c = KCM_LD8(base, pos + from + i);
		if (kcm_frame_is_digit(c))
			v = v << 4 | (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v = v << 4 | ((c | 0x20) - 'a' + 10);
		else
			break;
	}
	if (!i || (i < n && c != ';' && !kcm_http_is_blank(c)))
		return -EPROTO;
	return v > f->max_bytes ? -EMSGSIZE : (int)v;
}

/* the head ends at @end: the whole length, or on to the first chunk */
KCM_FINLINE int kcm_http_head_end(const struct kcm_frame *f, struct kcm_fstate *s, __u32 end)
{
	__u64 total = end;

	if (KCM_FRAME_IS_REPLY(s)) {
		if (s->w[3] != KCM_HTTP_HEAD_CHUNKED && !s->w[2] && !(s->reserved & KCM_FS_EMPTY))
			s->reserved |= KCM_FS_TO_CLOSE;
		if (s->reserved & KCM_FS_TO_CLOSE)
			return (int)end;
	}
	if (s->w[3] == KCM_HTTP_HEAD_CHUNKED) {
		s->w[3] = KCM_HTTP_CHUNK;
		return -EAGAIN;
	}
	if (s->w[2])
		total += s->w[2] - 1;
	return total > f->max_bytes ? -EMSGSIZE : (int)total;
}

KCM_FINLINE int kcm_frame_http1(const struct kcm_frame *f, struct kcm_fstate *s, const void *base,
				__u32 pos, __u32 avail)
{
	__u32 from = s->w[1], part = s->w[3], n;
	__u64 next;
	int end, r;

	if (from >= avail)
		return 0;
	end = kcm_frame_line(f, s, base, pos, avail);
	if (end <= 0)
		return end;
	n = kcm_http_text_bytes(base, pos, from, end);
	next = (__u32)end;
	switch (part) {
	case KCM_HTTP_START:
		if (n) {
			r = KCM_FRAME_IS_REPLY(s) ? kcm_http_status_line(s, base, pos + from, n)
						  : kcm_http_request_line(s, base, pos + from);
			if (r)
				return r;
		}
		s->w[3] = n ? KCM_HTTP_HEAD : KCM_HTTP_START;
		break;
	case KCM_HTTP_HEAD:
	case KCM_HTTP_HEAD_CHUNKED:
		r = n ? kcm_http_field(f, s, base, pos, from, n) : kcm_http_head_end(f, s, end);
		if (r && r != -EAGAIN)
			return r;
		break;
	case KCM_HTTP_CHUNK:
		r = kcm_http_chunk_bytes(f, base, pos, from, n);
		if (r < 0)
			return r;
		if (r)
			next += (__u32)r + 2;
		else
			s->w[3] = KCM_HTTP_TRAILER;
		break;
	case KCM_HTTP_TRAILER:
		if (!n)
			return end;
		break;
	}
	if (next >= f->max_bytes)
		return -EMSGSIZE;
	s->w[0] = (__u32)next;
	s->w[1] = (__u32)next;
	return -EAGAIN;
}

#endif /* KCM_FRAME_HTTP_H */
