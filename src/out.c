// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include "out.h"
#include "out_json.h"
#include "out_num.h"
#include "out_table.h"

#define OUT_DEPTH 4

enum level_kind {
	LEVEL_OBJECT,
	LEVEL_TABLE,
};

struct level {
	enum level_kind kind;
	bool row; /* one is open */
};

struct out {
	FILE *stream;
	enum out_format format;
	bool begun; /* JSON */
	int depth;
	struct level level[OUT_DEPTH];
	int table; /* the level whose rows are text; 0 = none */
	struct table cells;
	struct json json;
};

struct out *out_new(FILE *stream, enum out_format format)
{
	struct out *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->stream = stream;
	o->format = format;
	o->json.stream = stream;
	o->json.pretty = format == OUT_JSON_PRETTY;
	return o;
}

enum out_format out_format(const struct out *o)
{
	return o->format;
}

FILE *out_raw(struct out *o)
{
	o->format = OUT_TEXT;
	return o->stream;
}

static bool text(const struct out *o)
{
	return o->format == OUT_TEXT;
}

static void begin(struct out *o)
{
	if (o->begun)
		return;
	o->begun = true;
	json_open(&o->json, '{');
	json_key(&o->json, "schema");
	json_u64(&o->json, OUT_SCHEMA);
}

int out_finish(struct out *o)
{
	int err = 0;

	while (o->depth)
		out_end(o);
	if (!text(o)) {
		begin(o);
		json_close(&o->json, '}');
		json_flush(&o->json);
		fputc('\n', o->stream);
	}
	if (fflush(o->stream) || ferror(o->stream))
		err = errno ? -errno : -EIO;
	free(o);
	return err;
}

/* In JSON: the name of what follows. */
static struct json *key_of(struct out *o, const char *key)
{
	begin(o);
	json_key(&o->json, key);
	return &o->json;
}

static void put_text(struct out *o, const char *key, const char *value, bool number)
{
	int column;

	if (!o->table) {
		fprintf(o->stream, "%*s%-*s  %s\n", 2 * o->depth, "", 20 - 2 * o->depth, key,
			value);
		return;
	}
	if (o->table != o->depth)
		return; /* nested in a row: text has no place for it */
	column = table_column(&o->cells, key);
	if (column >= 0)
		table_put(&o->cells, column, value, number);
}

/* Is there a place for it? Numbers are not made into text in vain. */
static bool shown(const struct out *o)
{
	return !o->table || o->table == o->depth;
}

void out_str(struct out *o, const char *key, const char *value)
{
	if (text(o))
		put_text(o, key, value ? value : "-", false);
	else
		json_str(key_of(o, key), value);
}

void out_figure(struct out *o, const char *key, const char *value)
{
	if (text(o) && value)
		put_text(o, key, value, true);
	else
		out_str(o, key, value);
}

void out_fmt(struct out *o, const char *key, const char *format, ...)
{
	_cleanup_free_ char *value = NULL;
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&value, format, ap) < 0)
		value = NULL;
	va_end(ap);
	out_str(o, key, value);
}

void out_u64(struct out *o, const char *key, uint64_t value)
{
	/* JSON integers are signed to many; a counter needs 292 years at 1e9/s to pass this. */
	out_i64(o, key, value > INT64_MAX ? INT64_MAX : (int64_t)value);
}

void out_i64(struct out *o, const char *key, int64_t value)
{
	char buf[24];

	if (!text(o)) {
		json_i64(key_of(o, key), value);
	} else if (shown(o)) {
		buf[0] = '-';
		*num_u64(buf + (value < 0), value < 0 ? 0 - (uint64_t)value : (uint64_t)value) = 0;
		put_text(o, key, buf, true);
	}
}

void out_double(struct out *o, const char *key, double value)
{
	char buf[48];

	if (!text(o)) {
		json_real(key_of(o, key), value);
	} else if (shown(o)) {
		snprintf(buf, sizeof(buf), "%.3f", value);
		put_text(o, key, value == value ? buf : "-", true);
	}
}

void out_bool(struct out *o, const char *key, bool value)
{
	if (text(o))
		put_text(o, key, value ? "yes" : "no", false);
	else
		json_bool(key_of(o, key), value);
}

void out_u32s(struct out *o, const char *key, const uint32_t *values, size_t n)
{
	struct json *j;

	if (text(o))
		return;
	j = key_of(o, key);
	json_open(j, '[');
	for (size_t i = 0; i < n; i++) {
		json_key(j, NULL);
		json_u64(j, values[i]);
	}
	json_close(j, ']');
}

static void push(struct out *o, const char *key, enum level_kind kind)
{
	if (o->depth + 1 >= OUT_DEPTH)
		abort(); /* a programming error */
	o->level[++o->depth] = (struct level){ .kind = kind };
	if (!text(o))
		json_open(key_of(o, key), kind == LEVEL_TABLE ? '[' : '{');
}

void out_group(struct out *o, const char *key)
{
	push(o, key, LEVEL_OBJECT);
	if (text(o) && !o->table)
		fprintf(o->stream, "%*s%s:\n", 2 * (o->depth - 1), "", key);
}

void out_table(struct out *o, const char *key, const struct out_column *columns, size_t n)
{
	push(o, key, LEVEL_TABLE);
	if (text(o) && !o->table) {
		table_init(&o->cells, columns, n);
		o->table = o->depth;
	}
}

void out_sparse(struct out *o)
{
	if (text(o) && o->table == o->depth)
		o->cells.sparse = true;
}

static void end_row(struct out *o, struct level *l)
{
	if (l->row && !text(o))
		json_close(&o->json, '}');
	l->row = false;
}

void out_row(struct out *o)
{
	struct level *l = &o->level[o->depth];

	end_row(o, l);
	l->row = true;
	if (!text(o))
		json_open(key_of(o, NULL), '{');
	else if (o->table == o->depth)
		table_row(&o->cells);
}

void out_end(struct out *o)
{
	struct level *l = &o->level[o->depth];

	if (l->kind == LEVEL_TABLE)
		end_row(o, l);
	if (text(o) && o->table == o->depth) {
		table_end(&o->cells, o->stream);
		o->table = 0;
	} else if (!text(o)) {
		json_close(&o->json, l->kind == LEVEL_TABLE ? ']' : '}');
	}
	o->depth--;
}

void out_note(struct out *o, const char *format, ...)
{
	va_list ap;

	if (!text(o))
		return;
	va_start(ap, format);
	vfprintf(o->stream, format, ap);
	va_end(ap);
	fputc('\n', o->stream);
}
