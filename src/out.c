// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <jansson.h>
#include "out.h"

#define OUT_DEPTH   4
#define OUT_COLUMNS 24

enum level_kind {
	LEVEL_OBJECT,
	LEVEL_TABLE,
};

struct level {
	enum level_kind kind;
	json_t *node; /* borrowed from the tree under out.root */
	json_t *row;  /* borrowed; NULL before the first out_row() */
	struct out_column columns[OUT_COLUMNS];
	size_t ncolumns;
};

struct out {
	FILE *stream;
	enum out_format format;
	json_t *root;
	int depth;
	struct level level[OUT_DEPTH];
};

struct out *out_new(FILE *stream, enum out_format format)
{
	struct out *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->stream = stream;
	o->format = format;
	o->root = json_object();
	o->level[0].node = o->root;
	json_object_set_new(o->root, "schema", json_integer(OUT_SCHEMA));
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

int out_finish(struct out *o)
{
	int err = 0;

	while (o->depth)
		out_end(o);
	if (o->format != OUT_TEXT) {
		size_t flags = o->format == OUT_JSON_PRETTY ? JSON_INDENT(2) : JSON_COMPACT;

		if (json_dumpf(o->root, o->stream, flags) || fputc('\n', o->stream) == EOF)
			err = -EIO;
	}
	if (fflush(o->stream) || ferror(o->stream))
		err = errno ? -errno : -EIO;
	json_decref(o->root);
	free(o);
	return err;
}

static const char *cell_text(const json_t *value, char buf[static 64])
{
	if (!value || json_is_null(value))
		return "-";
	if (json_is_string(value))
		return json_string_value(value);
	if (json_is_boolean(value))
		return json_is_true(value) ? "yes" : "no";
	if (json_is_integer(value))
		snprintf(buf, 64, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		snprintf(buf, 64, "%.3f", json_real_value(value));
	else
		return "...";
	return buf;
}

/* What is nested in a row is JSON only: text has no place for it. */
static bool in_table(const struct out *o)
{
	for (int i = o->depth - 1; i > 0; i--)
		if (o->level[i].kind == LEVEL_TABLE)
			return true;
	return false;
}

static void indent(const struct out *o)
{
	fprintf(o->stream, "%*s", 2 * o->depth, "");
}

/* Takes over the reference to @value. */
static void put(struct out *o, const char *key, json_t *value)
{
	struct level *l = &o->level[o->depth];
	json_t *target = l->kind == LEVEL_TABLE ? l->row : l->node;
	char buf[64];

	if (o->format == OUT_TEXT && l->kind == LEVEL_OBJECT && !in_table(o)) {
		indent(o);
		fprintf(o->stream, "%-*s  %s\n", 20 - 2 * o->depth, key, cell_text(value, buf));
	}
	json_object_set_new(target, key, value);
}

void out_str(struct out *o, const char *key, const char *value)
{
	json_t *text = value ? json_string(value) : json_null();

	if (!text) { /* names come from outside and need not be UTF-8 */
		_cleanup_free_ char *ascii = strdup(value);

		for (char *p = ascii; p && *p; p++)
			if (*p & 0x80)
				*p = '?';
		text = json_string(ascii ? ascii : "?");
	}
	put(o, key, text);
}

void out_fmt(struct out *o, const char *key, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	va_end(ap);
	out_str(o, key, text);
}

void out_u64(struct out *o, const char *key, uint64_t value)
{
	/* JSON integers are signed here; a counter needs 292 years at 1e9/s to pass this. */
	put(o, key, json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value));
}

void out_i64(struct out *o, const char *key, int64_t value)
{
	put(o, key, json_integer(value));
}

void out_double(struct out *o, const char *key, double value)
{
	json_t *real = json_real(value);

	put(o, key, real ? real : json_null()); /* jansson refuses NaN and infinity */
}

void out_bool(struct out *o, const char *key, bool value)
{
	put(o, key, json_boolean(value));
}

static struct level *push(struct out *o, const char *key, json_t *node, enum level_kind kind)
{
	struct level *parent = &o->level[o->depth];
	json_t *target = parent->kind == LEVEL_TABLE ? parent->row : parent->node;
	struct level *l;

	if (o->depth + 1 >= OUT_DEPTH)
		abort(); /* a programming error */
	json_object_set_new(target, key, node);
	l = &o->level[++o->depth];
	*l = (struct level){ .kind = kind, .node = node };
	return l;
}

void out_group(struct out *o, const char *key)
{
	push(o, key, json_object(), LEVEL_OBJECT);
	if (o->format == OUT_TEXT && !in_table(o))
		fprintf(o->stream, "%*s%s:\n", 2 * (o->depth - 1), "", key);
}

void out_table(struct out *o, const char *key, const struct out_column *columns, size_t n)
{
	struct level *l = push(o, key, json_array(), LEVEL_TABLE);

	if (n > OUT_COLUMNS)
		abort(); /* a programming error */
	memcpy(l->columns, columns, n * sizeof(*columns));
	l->ncolumns = n;
}

void out_row(struct out *o)
{
	struct level *l = &o->level[o->depth];

	l->row = json_object();
	json_array_append_new(l->node, l->row);
}

static void title_of(const struct out_column *c, char title[static 64])
{
	size_t i = 0;

	for (const char *p = c->title ? c->title : c->key; *p && i < 63; p++, i++)
		title[i] = c->title ? *p : *p == '_' ? '-' : (char)toupper((unsigned char)*p);
	title[i] = '\0';
}

static void print_cell(struct out *o, const char *text, size_t width, bool right, bool last)
{
	if (right)
		fprintf(o->stream, "%*s", (int)width, text);
	else if (last)
		fputs(text, o->stream);
	else
		fprintf(o->stream, "%-*s", (int)width, text);
	fputs(last ? "\n" : "  ", o->stream);
}

static void print_table(struct out *o, const struct level *l)
{
	size_t width[OUT_COLUMNS] = { 0 }, i;
	bool right[OUT_COLUMNS] = { false };
	char title[64], buf[64];
	json_t *row;
	size_t r;

	for (i = 0; i < l->ncolumns; i++) {
		title_of(&l->columns[i], title);
		width[i] = strlen(title);
		json_array_foreach (l->node, r, row) {
			const json_t *value = json_object_get(row, l->columns[i].key);
			size_t n = strlen(cell_text(value, buf));

			width[i] = n > width[i] ? n : width[i];
			right[i] = right[i] || json_is_number(value);
		}
	}
	for (i = 0; i < l->ncolumns; i++) {
		title_of(&l->columns[i], title);
		print_cell(o, title, width[i], right[i], i + 1 == l->ncolumns);
	}
	json_array_foreach (l->node, r, row)
		for (i = 0; i < l->ncolumns; i++)
			print_cell(o, cell_text(json_object_get(row, l->columns[i].key), buf),
				   width[i], right[i], i + 1 == l->ncolumns);
}

void out_end(struct out *o)
{
	struct level *l = &o->level[o->depth];

	if (o->format == OUT_TEXT && l->kind == LEVEL_TABLE && !in_table(o) &&
	    json_array_size(l->node))
		print_table(o, l);
	o->depth--;
}

void out_note(struct out *o, const char *format, ...)
{
	va_list ap;

	if (o->format != OUT_TEXT)
		return;
	va_start(ap, format);
	vfprintf(o->stream, format, ap);
	va_end(ap);
	fputc('\n', o->stream);
}
