/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * frame_text.h - RESP, memcached text, NATS: lines that announce data. Included by frame.h only.
 */
#ifndef KCM_FRAME_TEXT_H
#define KCM_FRAME_TEXT_H

#define KCM_FRAME_DIGITS 10 /* every length below KCM_FRAME_MAX_LIMIT has no more */

KCM_FINLINE int kcm_frame_is_digit(__u8 c)
{
	return c >= '0' && c <= '9';
}

/*
 * kcm_frame_decimal() - the number that fills @from..@to of the message, all of it here
 * Return: 0, or -EPROTO if it is none or has more than KCM_FRAME_DIGITS digits.
 */
KCM_FINLINE int kcm_frame_decimal(const void *base, __u32 pos, __u32 from, __u32 to, __u64 *value)
{
	__u64 v = 0;
	__u32 i;

	if (to <= from || to - from > KCM_FRAME_DIGITS)
		return -EPROTO;
	for (i = 0; i < KCM_FRAME_DIGITS; i++) {
		__u8 c;

		if (i >= to - from)
			break;
		c = KCM_LD8(base, pos + from + i);
		if (!kcm_frame_is_digit(c))
			return -EPROTO;
		v = v * 10 + (c - '0');
	}
	*value = v;
	return 0;
}

/*
 * RESP. w[0]: scanned up to here; w[1]: where the current element begins; w[2]: elements that
 * follow the current one. A count replaces the stack of nested arrays: an array of n adds n.
 */
enum kcm_resp_type {
	KCM_RESP_INLINE, /* no type byte: a command typed into telnet */
	KCM_RESP_LINE,	 /* all of it is the line */
	KCM_RESP_BULK,	 /* length, then that many bytes and CRLF */
	KCM_RESP_ARRAY,	 /* count of elements that follow */
	KCM_RESP_MAP,	 /* count of pairs that follow */
	KCM_RESP_ATTR,	 /* count of pairs that follow, and then comes what they describe */
};

KCM_FINLINE enum kcm_resp_type kcm_resp_type(__u8 c)
{
	switch (c) {
	case '+':
	case '-':
	case ':':
	case '_':
	case ',':
	case '#':
	case '(':
		return KCM_RESP_LINE;
	case '$':
	case '!':
	case '=':
		return KCM_RESP_BULK;
	case '*':
	case '~':
	case '>':
		return KCM_RESP_ARRAY;
	case '%':
		return KCM_RESP_MAP;
	case '|':
		return KCM_RESP_ATTR;
	}
	return KCM_RESP_INLINE;
}

/*
 * kcm_resp_number() - "5\r\n" or "-1\r\n" (null, told as ~0) at @from
 * Return: offset behind the line, 0 = not all here, -EPROTO, -EMSGSIZE beyond @max.
 */
KCM_FINLINE int kcm_resp_number(const void *base, __u32 pos, __u32 from, __u32 avail, __u32 max,
				__u64 *value)
{
	__u32 at = from, i;
	__u8 c = 0, digits = 0, negative = 0;
	__u64 v = 0;

	for (i = 0; i < KCM_FRAME_DIGITS + 2; i++, at++) {
		if (at >= max)
			return -EMSGSIZE;
		if (at >= avail)
			return 0;
		c = KCM_LD8(base, pos + at);
		if (c == '\r')
			break;
		if (i == 0 && c == '-') {
			negative = 1;
			continue;
		}
		if (!kcm_frame_is_digit(c))
			return -EPROTO;
		v = v * 10 + (c - '0');
		digits = 1;
	}
	if (c != '\r' || !digits || (negative && v != 1))
		return -EPROTO;
	at++;
	if (at >= max)
		return -EMSGSIZE;
	if (at >= avail)
		return 0;
	if (KCM_LD8(base, pos + at) != '\n')
		return -EPROTO;
	*value = negative ? ~0ULL : v;
	return (int)(at + 1);
}

KCM_FINLINE int kcm_frame_resp(const struct kcm_frame *f, struct kcm_fstate *s, const void *base,
			       __u32 pos, __u32 avail)
{
	__u32 from = s->w[1];
	__u64 more = s->w[2], bytes = 0, n = 0;
	enum kcm_resp_type type;
	int end;

	if (from >= avail)
		return 0;
	type = kcm_resp_type(KCM_LD8(base, pos + from));
	if (type == KCM_RESP_INLINE && from)
		return -EPROTO;
	if (type <= KCM_RESP_LINE) {
		end = kcm_frame_line(f, s, base, pos, avail);
		if (end > 0 && type == KCM_RESP_LINE && KCM_LD8(base, pos + end - 2) != '\r')
			return -EPROTO;
	} else {
		end = kcm_resp_number(base, pos, from + 1, avail, f->max_bytes, &n);
	}
	if (end <= 0)
		return end;

	if (type >= KCM_RESP_BULK && n != ~0ULL) {
		if (type == KCM_RESP_BULK)
			bytes = n + 2;
		else
			more += type == KCM_RESP_ARRAY ? n : 2 * n + (type == KCM_RESP_ATTR);
	}
	bytes += (__u32)end;
	if (bytes + 3 * more > f->max_bytes) /* no element is shorter than 3 bytes */
		return -EMSGSIZE;
	if (!more)
		return (int)bytes;
	s->w[0] = (__u32)bytes;
	s->w[1] = (__u32)bytes;
	s->w[2] = (__u32)more - 1;
	return -EAGAIN;
}

/*
 * memcached text, both directions: an item of a reply is a message. One token a step, until the one
 * that tells the size of the data block. w[0]: scanned up to here; w[1]: where the current token
 * begins; w[2]: data bytes that follow the line; w[3]: what the current token is.
 */
enum kcm_mc_token {
	KCM_MC_VERB,
	KCM_MC_SIZE,	  /* and 1 more for every token that comes before the size */
	KCM_MC_REST = 16, /* nothing of interest up to the end of the line */
};

#define KCM_MC_2(a, b)			 ((__u64)(a) | (__u64)(b) << 8)
#define KCM_MC_4(a, b, c, d)		 (KCM_MC_2(a, b) | KCM_MC_2(c, d) << 16)
#define KCM_MC_8(a, b, c, d, e, f, g, h) (KCM_MC_4(a, b, c, d) | KCM_MC_4(e, f, g, h) << 32)

KCM_FINLINE __u32 kcm_mc_after_verb(__u64 verb)
{
	switch (verb) {
	case KCM_MC_4('s', 'e', 't', 0): /* set KEY FLAGS EXPTIME SIZE */
	case KCM_MC_4('a', 'd', 'd', 0):
	case KCM_MC_4('c', 'a', 's', 0):
	case KCM_MC_8('r', 'e', 'p', 'l', 'a', 'c', 'e', 0):
	case KCM_MC_8('a', 'p', 'p', 'e', 'n', 'd', 0, 0):
	case KCM_MC_8('p', 'r', 'e', 'p', 'e', 'n', 'd', 0):
		return KCM_MC_SIZE + 3;
	case KCM_MC_8('V', 'A', 'L', 'U', 'E', 0, 0, 0): /* replies: VALUE KEY FLAGS SIZE [CAS] */
		return KCM_MC_SIZE + 2;
	case KCM_MC_4('m', 's', 0, 0): /* ms KEY SIZE FLAG... */
		return KCM_MC_SIZE + 1;
	case KCM_MC_4('V', 'A', 0, 0): /* VA SIZE FLAG... */
		return KCM_MC_SIZE;
	}
	return KCM_MC_REST;
}

/* offset of the next LF (or blank, if @blanks) from s->w[0] on; 0 and -EAGAIN as in scan */
KCM_FINLINE int kcm_mc_separator(struct kcm_fstate *s, const void *base, __u32 pos, __u32 avail,
				 int blanks)
{
	__u32 at = s->w[0], i;
	int r = -EAGAIN;

	for (i = 0; i < KCM_FRAME_WORDS; i++) {
		__u64 x, m;

		if (at >= avail)
			break;
		x = KCM_LE64(KCM_LD64(base, pos + at));
		m = kcm_frame_zero_bytes(x ^ KCM_FRAME_BYTES((__u64)'\n'));
		if (blanks)
			m |= kcm_frame_zero_bytes(x ^ KCM_FRAME_BYTES((__u64)' '));
		at += kcm_frame_first_byte(m);
		if (m) { /* i is dead from here: one state for the verifier, not 16 */
			r = 1;
			break;
		}
	}
	s->w[0] = at < avail ? at : avail;
	return at < avail ? r : 0;
}

KCM_FINLINE int kcm_frame_mc_text(const struct kcm_frame *f, struct kcm_fstate *s, const void *base,
				  __u32 pos, __u32 avail)
{
	__u32 from = s->w[1], token = s->w[3], at, to;
	int r, line_end;
	__u64 total, size;

	r = kcm_mc_separator(s, base, pos, avail, token != KCM_MC_REST);
	at = s->w[0];
	if (at >= f->max_bytes)
		return -EMSGSIZE;
	if (r <= 0)
		return r;
	line_end = KCM_LD8(base, pos + at) == '\n';
	to = at;
	if (line_end && to > from && KCM_LD8(base, pos + to - 1) == '\r')
		to--;
	if (to > from && token != KCM_MC_REST) { /* several blanks are as good as one */
		if (token == KCM_MC_VERB) {
			size = KCM_LE64(KCM_LD64(base, pos + from));
			token = KCM_MC_REST;
			if (to - from < 8)
				token = kcm_mc_after_verb(size & ((1ULL << 8 * (to - from)) - 1));
		} else if (token == KCM_MC_SIZE) {
			if (kcm_frame_decimal(base, pos, from, to, &size))
				return -EPROTO;
			if (size > f->max_bytes)
				return -EMSGSIZE;
			s->w[2] = (__u32)size + 2;
			token = KCM_MC_REST;
		} else {
			token--;
		}
	}
	if (!line_end) {
		s->w[0] = at + 1;
		s->w[1] = at + 1;
		s->w[3] = token;
		return -EAGAIN;
	}
	if (token != KCM_MC_REST && token != KCM_MC_VERB)
		return -EPROTO; /* a storage command without its size: what follows is unknown */
	total = (__u64)at + 1 + s->w[2];
	return total > f->max_bytes ? -EMSGSIZE : (int)total;
}

/*
 * NATS: the last word of a PUB, HPUB, MSG or HMSG line is the size of the payload.
 * w[0]: scanned up to here.
 */
KCM_FINLINE int kcm_nats_has_payload(const void *base, __u32 pos, __u32 end)
{
	__u64 verb;
	__u8 blank;

	if (end < 6)
		return 0;
	verb = KCM_LE64(KCM_LD64(base, pos)) & 0xffffffffULL;
	verb |= 0x20202020ULL; /* verbs in any case; makes a tab ')' */
	if (verb == KCM_MC_4('h', 'p', 'u', 'b') || verb == KCM_MC_4('h', 'm', 's', 'g'))
		blank = KCM_LD8(base, pos + 4);
	else if ((verb & 0xffffff) == KCM_MC_4('p', 'u', 'b', 0) ||
		 (verb & 0xffffff) == KCM_MC_4('m', 's', 'g', 0))
		blank = KCM_LD8(base, pos + 3);
	else
		return 0;
	return blank == ' ' || blank == '\t';
}

KCM_FINLINE int kcm_frame_nats(const struct kcm_frame *f, struct kcm_fstate *s, const void *base,
			       __u32 pos, __u32 avail)
{
	int end = kcm_frame_line(f, s, base, pos, avail);
	__u64 size = 0, digit = 1, total;
	__u32 to, i;
	__u8 c = 0;

	if (end <= 0 || !kcm_nats_has_payload(base, pos, end))
		return end;
	to = end - 1;
	if (KCM_LD8(base, pos + to - 1) == '\r')
		to--;
	for (i = 0; i <= KCM_FRAME_DIGITS; i++) { /* backwards; the verb stops it in time */
		c = KCM_LD8(base, pos + to - 1 - i);
		if (!kcm_frame_is_digit(c))
			break;
		size += digit * (c - '0');
		digit *= 10;
	}
	if (i == 0 || i > KCM_FRAME_DIGITS || (c != ' ' && c != '\t'))
		return -EPROTO;
	total = (__u64)(__u32)end + size + 2;
	return total > f->max_bytes ? -EMSGSIZE : (int)total;
}

#endif /* KCM_FRAME_TEXT_H */
