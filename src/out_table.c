// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <sys/mman.h>
#include "out_table.h"

#define SMALL (64UL << 10) /* the first block: most tables are */
#define HUGE  (2UL << 20)

static void title_of(const struct out_column *c, char title[static 64])
{
	size_t i = 0;

	for (const char *p = c->title ? c->title : c->key; *p && i < 63; p++, i++)
		title[i] = c->title ? *p : *p == '_' ? '-' : (char)toupper((unsigned char)*p);
	title[i] = '\0';
}

void table_init(struct table *t, const struct out_column *columns, size_t n)
{
	char title[64];

	if (n > OUT_COLUMNS)
		abort(); /* a programming error */
	memset(t, 0, sizeof(*t));
	memcpy(t->columns, columns, n * sizeof(*columns));
	t->ncolumns = n;
	for (size_t i = 0; i < n; i++) {
		title_of(&columns[i], title);
		t->width[i] = strlen(title);
	}
}

/*
 * A block for the last row and @more bytes. A large table's are huge pages where there are any: for
 * small ones, most of the time would be the kernel's.
 */
static bool add_block(struct table *t, size_t more)
{
	size_t size = t->first ? HUGE : SMALL;
	struct table_block *block, *was = t->last;

	while (size < sizeof(*block) + t->row_bytes + more)
		size *= 2;
	block = t->first ? aligned_alloc(HUGE, size) : malloc(size);
	t->full = !block;
	if (!block)
		return false;
	if (size >= HUGE)
		madvise(block, size, MADV_HUGEPAGE);
	*block = (struct table_block){ .used = t->row_bytes, .size = size - sizeof(*block) };
	if (was) {
		memcpy(block->data, was->data + t->row, t->row_bytes);
		was->used = t->row;
		was->next = block;
	} else {
		t->first = block;
	}
	t->last = block;
	t->row = 0;
	return true;
}

static bool room(struct table *t, size_t more)
{
	if (t->full)
		return false;
	return (t->last && t->last->size - t->last->used >= more) || add_block(t, more);
}

/* What follows may be read as numbers. */
static size_t aligned(size_t bytes)
{
	return (bytes + sizeof(uint32_t) - 1) & ~(sizeof(uint32_t) - 1);
}

void table_row(struct table *t)
{
	size_t head = t->ncolumns * sizeof(uint32_t);

	if (t->last) {
		t->last->used = aligned(t->last->used);
		t->row = t->last->used;
	}
	t->row_bytes = 0;
	t->filled = 0;
	t->next = 0;
	if (!room(t, head + sizeof(uint32_t)))
		return;
	memset(t->last->data + t->row, 0, head);
	t->row_bytes = head;
	t->last->used += head;
}

int table_column(struct table *t, const char *key)
{
	for (size_t i = 0; i < t->ncolumns; i++) {
		size_t at = (t->next + i) % t->ncolumns;

		if (t->columns[at].key != key && !streq(t->columns[at].key, key))
			continue;
		t->next = at + 1;
		return (int)at;
	}
	return -1;
}

static bool is_control(char c)
{
	return (unsigned char)c < ' ' || c == 127;
}

/* Bytes of the row from its beginning to the text of this column. */
static size_t text_at(const struct table *t, const uint32_t *n, size_t column)
{
	size_t at = t->ncolumns * sizeof(*n);

	if (column >= t->filled)
		return t->row_bytes;
	for (size_t i = 0; i < column; i++)
		at += n[i] ? n[i] - 1 : 0;
	return at;
}

void table_put(struct table *t, int column, const char *text, bool number)
{
	size_t n = strlen(text), at, had;
	uint32_t *bytes;
	char *to;

	/* Room for what aligns the next row, too. */
	if (!t->row_bytes || n >= UINT32_MAX || !room(t, n + sizeof(*bytes)))
		return;
	bytes = (void *)(t->last->data + t->row);
	had = bytes[column] ? bytes[column] - 1 : 0;
	at = text_at(t, bytes, (size_t)column);
	to = t->last->data + t->row + at;
	if (at + had < t->row_bytes) /* not the last one */
		memmove(to + n, to + had, t->row_bytes - at - had);
	/* A process may call itself anything: nothing of that is for the terminal. */
	for (size_t i = 0; i < n; i++)
		to[i] = is_control(text[i]) ? '?' : text[i];
	bytes[column] = (uint32_t)n + 1;
	if (t->filled <= (size_t)column)
		t->filled = (size_t)column + 1;
	t->row_bytes += n - had;
	t->last->used += n - had;
	if (n > t->width[column])
		t->width[column] = n;
	t->right[column] = t->right[column] || number;
	t->any[column] = t->any[column] || n != 1 || *text != '-';
}

/* ---- print ---- */

#define PRINT_BUF 65536

struct print {
	FILE *stream;
	size_t used;
	char buf[PRINT_BUF];
};

static void flush(struct print *p)
{
	fwrite(p->buf, 1, p->used, p->stream); /* errors stay in the stream */
	p->used = 0;
}

/* @n bytes, or blanks if @text is NULL. */
static void put(struct print *p, const char *text, size_t n)
{
	while (n) {
		size_t part = n < PRINT_BUF - p->used ? n : PRINT_BUF - p->used;

		if (text)
			memcpy(p->buf + p->used, text, part);
		else
			memset(p->buf + p->used, ' ', part);
		p->used += part;
		text = text ? text + part : NULL;
		n -= part;
		if (n)
			flush(p);
	}
}

static void print_cell(struct print *p, const struct table *t, size_t column, const char *text,
		       size_t n, bool last)
{
	size_t blanks = t->width[column] > n ? t->width[column] - n : 0;

	if (t->right[column])
		put(p, NULL, blanks);
	put(p, text, n);
	if (!t->right[column] && !last)
		put(p, NULL, blanks);
	put(p, last ? "\n" : "  ", last ? 1 : 2);
}

static void print_titles(struct print *p, const struct table *t, const size_t *shown, size_t n)
{
	char title[64];

	for (size_t k = 0; k < n; k++) {
		title_of(&t->columns[shown[k]], title);
		print_cell(p, t, shown[k], title, strlen(title), k + 1 == n);
	}
}

/* Return: its bytes. */
static size_t print_row(struct print *p, const struct table *t, const char *row,
			const size_t *shown, size_t n)
{
	const uint32_t *bytes = (const void *)row;
	const char *text = row + t->ncolumns * sizeof(*bytes);

	for (size_t i = 0, k = 0; i < t->ncolumns; i++) {
		if (k < n && shown[k] == i) {
			k++;
			print_cell(p, t, i, bytes[i] ? text : "-", bytes[i] ? bytes[i] - 1 : 1,
				   k == n);
		}
		text += bytes[i] ? bytes[i] - 1 : 0;
	}
	return aligned((size_t)(text - row));
}

void table_end(struct table *t, FILE *stream)
{
	size_t shown[OUT_COLUMNS], n = 0;
	struct print p;

	p.stream = stream;
	p.used = 0;
	for (size_t i = 0; i < t->ncolumns; i++)
		if (t->any[i] || !t->sparse)
			shown[n++] = i;
	if (t->first)
		print_titles(&p, t, shown, n);
	for (struct table_block *b = t->first, *next; b; b = next) {
		for (size_t at = 0; at < b->used;)
			at += print_row(&p, t, b->data + at, shown, n);
		next = b->next;
		free(b);
	}
	flush(&p);
	t->first = t->last = NULL;
}
