// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* frame.c - frame descriptors from text, see kcm_frame.h for the grammar. */
#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "frame_words.h"

enum {
	OFF_MAX = 4096,		/* a header is small; and sums below cannot overflow */
	DEDICATED_MAX_MIN = 64, /* the smallest max_bytes a dedicated parser works with */
	WORD_BYTES = 64,
};

enum frame_opt {
	OPT_OFF,
	OPT_WIDTH,
	OPT_HDR,
	OPT_ADJ,
	OPT_MASK,
	OPT_SHIFT,
	OPT_SKIP,
	OPT_MAX,
	OPT_ORDER,
	OPT_COUNTS,
	OPT_UNTYPED,
	OPT_COUNT,
};

#define BIT(n) (1U << (n))

static const struct {
	const char *name;
	int has_value;
	int64_t min;
	int64_t max;
} opts[] = {
	[OPT_OFF] = { "off", 1, 0, OFF_MAX },
	[OPT_WIDTH] = { "width", 1, 1, 8 },
	[OPT_HDR] = { "hdr", 1, 1, OFF_MAX + 8 },
	[OPT_ADJ] = { "adj", 1, -(int64_t)KCM_FRAME_MAX_LIMIT, KCM_FRAME_MAX_LIMIT },
	[OPT_MASK] = { "mask", 1, 0, 0 }, /* any 64 bits */
	[OPT_SHIFT] = { "shift", 1, 0, 63 },
	[OPT_SKIP] = { "skip", 1, 0, KCM_FRAME_MAX_LIMIT },
	[OPT_MAX] = { "max", 1, 1, KCM_FRAME_MAX_LIMIT },
	[OPT_ORDER] = { "be", 0, 0, 0 }, /* or le */
	[OPT_COUNTS] = { "counts-hdr", 0, 0, 0 },
	[OPT_UNTYPED] = { "zero-untyped", 0, 0, 0 },
};

static const unsigned int kind_opts[KCM_FRAME_KINDS] = {
	[KCM_FRAME_LENGTH] = BIT(OPT_COUNT) - 1,
	[KCM_FRAME_VARINT] =
		BIT(OPT_OFF) | BIT(OPT_WIDTH) | BIT(OPT_ADJ) | BIT(OPT_SKIP) | BIT(OPT_MAX),
	[KCM_FRAME_DELIM] = BIT(OPT_SKIP) | BIT(OPT_MAX),
	[KCM_FRAME_FIXED] = BIT(OPT_SKIP),
	[KCM_FRAME_WEBSOCKET] = BIT(OPT_MAX),
	[KCM_FRAME_RESP] = BIT(OPT_MAX),
	[KCM_FRAME_MC_TEXT] = BIT(OPT_MAX),
	[KCM_FRAME_NATS] = BIT(OPT_MAX),
	[KCM_FRAME_HTTP1] = BIT(OPT_MAX),
};

struct parser {
	const char *text; /* for messages */
	char *err;
	size_t err_len;
	enum kcm_frame_kind kind;
	enum kcm_frame_order order;
	unsigned int given;   /* bits of enum frame_opt, preset included */
	unsigned int by_user; /* given twice by the user is an error */
	uint64_t value[OPT_COUNT];
	uint64_t fixed_bytes;
	uint32_t delim_bytes;
	uint8_t delim[2];
};

__attribute__((format(printf, 2, 3))) static int fail(struct parser *p, const char *why, ...)
{
	va_list ap;
	int n;

	if (!p->err || !p->err_len)
		return -EINVAL;
	n = snprintf(p->err, p->err_len, "frame '%.80s': ", p->text);
	if (n < 0 || (size_t)n >= p->err_len)
		return -EINVAL;
	va_start(ap, why);
	vsnprintf(p->err + n, p->err_len - n, why, ap);
	va_end(ap);
	for (char *c = p->err; *c; c++) /* it quotes what was given, and stays one line */
		if (iscntrl((unsigned char)*c))
			*c = '?';
	return -EINVAL;
}

/* decimal or 0x, optional sign, optional K, M, G; -1 if it is none or does not fit */
static int parse_number(const char *text, int64_t *value)
{
	const char *digits = text[0] == '-' || text[0] == '+' ? text + 1 : text;
	int hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
	int negative = text[0] == '-', shift = 0;
	unsigned long long v;
	char *end;

	if (hex ? !isxdigit((unsigned char)digits[2]) : !isdigit((unsigned char)digits[0]))
		return -1;
	errno = 0;
	v = strtoull(digits, &end, hex ? 16 : 10);
	if (errno)
		return -1;
	switch (*end) {
	case 'k':
	case 'K':
		shift = 10;
		break;
	case 'm':
	case 'M':
		shift = 20;
		break;
	case 'g':
	case 'G':
		shift = 30;
		break;
	}
	if (shift)
		end++;
	if (*end || v > (uint64_t)INT64_MAX >> shift)
		return -1;
	*value = negative ? -(int64_t)(v << shift) : (int64_t)(v << shift);
	return 0;
}

static int parse_mask(const char *text, uint64_t *value)
{
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -1;
	errno = 0;
	*value = strtoull(text, &end, text[1] == 'x' || text[1] == 'X' ? 16 : 10);
	return errno || *end ? -1 : 0;
}

static int set_delim(struct parser *p, const char *text)
{
	static const struct {
		const char *name;
		uint8_t bytes[2];
		int n;
	} names[] = {
		{ "lf", "\n", 1 },
		{ "crlf", "\r\n", 2 },
		{ "cr", "\r", 1 },
		{ "nul", "\0", 1 },
	};
	size_t len = strlen(text);
	unsigned int v;

	p->kind = KCM_FRAME_DELIM;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i].name) == 0) {
			p->delim_bytes = names[i].n;
			memcpy(p->delim, names[i].bytes, sizeof(p->delim));
			return 0;
		}
	}
	if (strncmp(text, "0x", 2) != 0 || strspn(text + 2, "0123456789abcdefABCDEF") != len - 2 ||
	    (len != 4 && len != 6))
		return fail(p, "delimiter '%s' is not lf, crlf, cr, nul, 0xNN or 0xNNNN", text);
	v = strtoul(text + 2, NULL, 16);
	p->delim_bytes = len / 2 - 1;
	p->delim[0] = len == 6 ? v >> 8 : v;
	p->delim[1] = len == 6 ? v : 0;
	return 0;
}

static int set_fixed(struct parser *p, const char *text)
{
	int64_t v;

	if (parse_number(text, &v) || v < 1 || v > KCM_FRAME_MAX_LIMIT)
		return fail(p, "fixed=%s is not a size from 1 to 1G", text);
	p->kind = KCM_FRAME_FIXED;
	p->fixed_bytes = v;
	return 0;
}

static int bad_option(struct parser *p, const char *word)
{
	char list[128] = "";

	for (int i = 0; i < OPT_COUNT; i++) {
		if (!(kind_opts[p->kind] & BIT(i)))
			continue;
		strcat(list, " ");
		strcat(list, i == OPT_ORDER ? "be le" : opts[i].name);
		if (opts[i].has_value)
			strcat(list, "=");
	}
	return fail(p, "'%s' is no option here; there are:%s", word, list);
}

static int set_option(struct parser *p, char *word, int by_user)
{
	char *value = strchr(word, '=');
	int64_t v = 1;
	int o;

	if (value)
		*value++ = '\0';
	for (o = 0; o < OPT_COUNT; o++)
		if (strcmp(word, opts[o].name) == 0 && opts[o].has_value == !!value)
			break;
	if (strcmp(word, "le") == 0 && !value)
		o = OPT_ORDER;
	if (o == OPT_COUNT || !(kind_opts[p->kind] & BIT(o)))
		return bad_option(p, word);
	if (by_user && (p->by_user & BIT(o)))
		return fail(p, "'%s' is given twice", word);
	if (o == OPT_MASK) {
		if (parse_mask(value, &p->value[o]) || !p->value[o])
			return fail(p, "mask=%s is not a number above 0", value);
	} else if (value) {
		if (parse_number(value, &v) || v < opts[o].min || v > opts[o].max)
			return fail(p, "%s=%s is not a number from %lld to %lld", word, value,
				    (long long)opts[o].min, (long long)opts[o].max);
		p->value[o] = v;
	} else if (o == OPT_ORDER) {
		p->order = word[0] == 'l' ? KCM_FRAME_LE : KCM_FRAME_BE;
	}
	p->given |= BIT(o);
	if (by_user)
		p->by_user |= BIT(o);
	return 0;
}

static int parse_words(struct parser *p, const char *text, int by_user);

static int set_kind(struct parser *p, const char *word)
{
	enum kcm_frame_kind kind = frame_kind_of(word);

	if (kind == KCM_FRAME_DELIM || kind == KCM_FRAME_FIXED)
		return fail(p, "'%s' needs a value; try: delim=crlf, or fixed=64", word);
	if (kind) {
		p->kind = kind;
		return 0;
	}
	if (strncmp(word, "delim=", 6) == 0)
		return set_delim(p, word + 6);
	if (strncmp(word, "fixed=", 6) == 0)
		return set_fixed(p, word + 6);
	for (const struct kcm_frame_preset *i = kcm_frame_presets(); i->name; i++)
		if (strcmp(word, i->name) == 0)
			return parse_words(p, i->text, 0);
	return fail(p, "'%s' is neither a preset nor len, varint, delim= or fixed=", word);
}

static int parse_words(struct parser *p, const char *text, int by_user)
{
	static const char blanks[] = " \t,";
	char word[WORD_BYTES];
	int first = 1, r;

	for (text += strspn(text, blanks); *text; text += strspn(text, blanks)) {
		size_t n = strcspn(text, blanks);

		if (n >= sizeof(word))
			return fail(p, "a word of %zu characters", n);
		memcpy(word, text, n);
		word[n] = '\0';
		text += n;
		r = first ? set_kind(p, word) : set_option(p, word, by_user);
		if (r)
			return r;
		first = 0;
	}
	return first ? fail(p, "it is empty; try a preset like u32be") : 0;
}

static uint64_t given(const struct parser *p, enum frame_opt o, uint64_t otherwise)
{
	return p->given & BIT(o) ? p->value[o] : otherwise;
}

static int finish_length(struct parser *p, struct kcm_frame *f)
{
	uint32_t width = given(p, OPT_WIDTH, 4), shift = given(p, OPT_SHIFT, 0);
	uint64_t ones = ~0ULL >> (64 - 8 * width), mask = given(p, OPT_MASK, ones);
	int64_t most;

	f->len_off = given(p, OPT_OFF, 0);
	f->len_bytes = width;
	f->need_bytes = f->len_off + width;
	f->hdr_bytes = given(p, OPT_HDR, f->need_bytes);
	f->order = p->order;
	f->add = (int64_t)given(p, OPT_ADJ, 0) + (p->given & BIT(OPT_COUNTS) ? 0 : f->hdr_bytes);
	f->flags = (p->given & BIT(OPT_COUNTS) ? KCM_FRAME_COUNTS_HDR : 0) |
		   (p->given & BIT(OPT_UNTYPED) ? KCM_FRAME_ZERO_UNTYPED : 0);
	f->shift = shift + (p->order == KCM_FRAME_BE ? 64 - 8 * width : 0);
	f->mask = (mask & ones) >> shift;
	if (f->need_bytes > f->hdr_bytes)
		return fail(p,
			    "the length field ends at byte %u, outside the header of hdr=%u bytes",
			    f->need_bytes, f->hdr_bytes);
	if (mask & ~ones)
		return fail(p, "the mask has bits beyond width=%u", width);
	if (!f->mask)
		return fail(p, "shift=%u leaves no bit of the length", shift);
	if ((f->flags & KCM_FRAME_ZERO_UNTYPED) && !f->len_off)
		return fail(p, "zero-untyped needs a type byte before the length, off=1 or more");
	most = width <= 3 ? (int64_t)f->mask + f->add : KCM_FRAME_MAX_DEFAULT;
	if (most > KCM_FRAME_MAX_LIMIT)
		most = KCM_FRAME_MAX_LIMIT;
	f->max_bytes = given(p, OPT_MAX, most > f->hdr_bytes ? most : f->hdr_bytes);
	if (f->hdr_bytes > f->max_bytes)
		return fail(p, "the header of %u bytes does not fit max=%u", f->hdr_bytes,
			    f->max_bytes);
	return 0;
}

static int finish_varint(struct parser *p, struct kcm_frame *f)
{
	f->len_off = given(p, OPT_OFF, 0);
	f->len_bytes = given(p, OPT_WIDTH, 5);
	f->add = (int64_t)given(p, OPT_ADJ, 0);
	f->max_bytes = given(p, OPT_MAX, KCM_FRAME_MAX_DEFAULT);
	if (f->len_off + f->len_bytes > f->max_bytes)
		return fail(p, "a header of %u bytes does not fit max=%u",
			    f->len_off + f->len_bytes, f->max_bytes);
	return 0;
}

static int finish(struct parser *p, struct kcm_frame *f)
{
	int r = 0;

	memset(f, 0, sizeof(*f));
	f->kind = p->kind;
	switch (p->kind) {
	case KCM_FRAME_LENGTH:
		r = finish_length(p, f);
		break;
	case KCM_FRAME_VARINT:
		r = finish_varint(p, f);
		break;
	case KCM_FRAME_FIXED:
		f->hdr_bytes = p->fixed_bytes;
		f->max_bytes = p->fixed_bytes;
		if (given(p, OPT_SKIP, 0) > p->fixed_bytes)
			f->max_bytes = p->value[OPT_SKIP];
		break;
	case KCM_FRAME_DELIM:
		f->max_bytes = given(p, OPT_MAX, KCM_FRAME_MAX_DEFAULT);
		f->delim_bytes = p->delim_bytes;
		memcpy(f->delim, p->delim, sizeof(p->delim));
		if (f->delim_bytes > f->max_bytes)
			r = fail(p, "the delimiter does not fit max=%u", f->max_bytes);
		break;
	default:
		f->max_bytes = given(p, OPT_MAX, KCM_FRAME_MAX_DEFAULT);
		if (f->max_bytes < DEDICATED_MAX_MIN)
			r = fail(p, "max=%u is too small, %u is the least", f->max_bytes,
				 DEDICATED_MAX_MIN);
		break;
	}
	f->skip_bytes = given(p, OPT_SKIP, 0);
	if (!r && f->skip_bytes > f->max_bytes)
		r = fail(p, "skip=%u is a message above max=%u", f->skip_bytes, f->max_bytes);
	return r;
}

int kcm_frame_parse(const char *text, struct kcm_frame *out, char *err, size_t err_len)
{
	struct parser p = { .text = text, .err = err, .err_len = err_len };
	struct kcm_frame f;
	int r;

	r = parse_words(&p, text, 1);
	if (!r)
		r = finish(&p, &f);
	if (!r)
		*out = f;
	return r;
}
