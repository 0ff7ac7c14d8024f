// SPDX-License-Identifier: GPL-2.0
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "out_json.h"
#include "out_num.h"

#define SHORT 256 /* most strings: copied and looked at in one go */

void json_flush(struct json *j)
{
	if (j->used)
		fwrite(j->buf, 1, j->used, j->stream); /* errors stay in the stream */
	j->used = 0;
}

/* Space for @n bytes, which is little. */
static char *space(struct json *j, size_t n)
{
	if (j->used + n > JSON_BUF)
		json_flush(j);
	return j->buf + j->used;
}

static void put_long(struct json *j, const char *text, size_t n)
{
	while (n) {
		size_t part = n < JSON_BUF ? n : JSON_BUF;

		memcpy(space(j, part), text, part);
		j->used += part;
		text += part;
		n -= part;
	}
}

static inline void put(struct json *j, const char *text, size_t n)
{
	if (n > JSON_BUF - j->used) {
		put_long(j, text, n);
		return;
	}
	memcpy(j->buf + j->used, text, n);
	j->used += n;
}

static void line(struct json *j)
{
	static const char blanks[2 * JSON_DEPTH + 1] = "                        ";

	if (!j->pretty)
		return;
	put(j, "\n", 1);
	put(j, blanks, (size_t)(2 * j->depth));
}

void json_key(struct json *j, const char *key)
{
	if (j->any[j->depth])
		put(j, ",", 1);
	j->any[j->depth] = true;
	line(j);
	if (!key)
		return;
	json_str(j, key); /* a label's is not ours */
	put(j, ": ", j->pretty ? 2 : 1);
}

void json_open(struct json *j, char bracket)
{
	if (j->depth + 1 >= JSON_DEPTH)
		abort(); /* a programming error */
	put(j, &bracket, 1);
	j->any[++j->depth] = false;
}

void json_close(struct json *j, char bracket)
{
	bool any = j->any[j->depth--];

	if (any)
		line(j);
	put(j, &bracket, 1);
}

/* Bytes of the UTF-8 sequence at @p; 0 if it is none. */
static size_t utf8(const unsigned char *p)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = *p < 0x80 ? 1 : *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
	uint32_t c;

	if (n == 1)
		return 1;
	if (*p < 0xc2 || *p > 0xf4)
		return 0;
	c = *p & (0xff >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	return c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : n;
}

static bool valid(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	while (*p) {
		size_t n = utf8(p);

		if (!n)
			return false;
		p += n;
	}
	return true;
}

static void escaped(struct json *j, unsigned char c)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *found = strchr(from, c);
	char *at = space(j, 6);

	if (found)
		j->used += (size_t)sprintf(at, "\\%c", to[found - from]);
	else
		j->used += (size_t)sprintf(at, "\\u%04X", c);
}

/* What stands for itself in a string: a table, for it is asked for each byte. */
static const bool plain[256] = {
	[' '] = true,
	['!'] = true,
	['#' ... '['] = true,
	[']' ... 0x7f] = true,
};

/* What is behind the first byte that is not plain, or behind much. */
static void rest_of(struct json *j, const char *p)
{
	bool ok = valid(p);

	for (; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (c < 0x20 || c == '"' || c == '\\')
			escaped(j, c);
		else
			put(j, c >= 0x80 && !ok ? "?" : p, 1);
	}
}

void json_str(struct json *j, const char *value)
{
	const char *p = value, *end;
	char *at;

	if (!value) {
		put(j, "null", 4);
		return;
	}
	at = space(j, SHORT + 2);
	*at++ = '"';
	for (end = p + SHORT; plain[(unsigned char)*p] && p < end;)
		*at++ = *p++;
	if (!*p)
		*at++ = '"';
	j->used = (size_t)(at - j->buf);
	if (!*p)
		return;
	rest_of(j, p);
	put(j, "\"", 1);
}

void json_u64(struct json *j, uint64_t value)
{
	j->used = (size_t)(num_u64(space(j, NUM_U64), value) - j->buf);
}

void json_i64(struct json *j, int64_t value)
{
	if (value < 0)
		put(j, "-", 1);
	json_u64(j, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void json_real(struct json *j, double value)
{
	char *at = space(j, 32);
	int n;

	if (!isfinite(value)) {
		put(j, "null", 4);
		return;
	}
	n = snprintf(at, 30, "%.15g", value);
	if (strtod(at, NULL) != value)
		n = snprintf(at, 30, "%.17g", value);
	j->used += (size_t)n;
	if (!memchr(at, '.', (size_t)n) && !memchr(at, 'e', (size_t)n))
		put(j, ".0", 2);
}

void json_bool(struct json *j, bool value)
{
	put(j, value ? "true" : "false", value ? 4 : 5);
}
