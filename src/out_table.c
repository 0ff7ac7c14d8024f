// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include "out_table.h"

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

void table_row(struct table *t)
{
	if (t->rows == t->rows_size) {
		size_t size = t->rows_size ? 2 * t->rows_size : 16;
		size_t *cells = reallocarray(t->cells, size, t->ncolumns * sizeof(*cells));

		t->full = t->full || !cells;
		if (!cells)
			return;
		t->cells = cells;
		t->rows_size = size;
	}
	memset(t->cells + t->rows * t->ncolumns, 0, t->ncolumns * sizeof(*t->cells));
	t->rows++;
	t->next = 0;
}

int table_column(struct table *t, const char *key)
{
	for (size_t i = 0; i < t->ncolumns; i++) {
		size_t at = (t->next + i) % t->ncolumns;

		if (!streq(t->columns[at].key, key))
			continue;
		t->next = at + 1;
		return (int)at;
	}
	return -1;
}

void table_put(struct table *t, int column, const char *text, bool number)
{
	size_t n = strlen(text) + 1;

	if (t->full || !t->rows)
		return;
	if (t->used + n > t->size) {
		size_t size = 2 * (t->used + n);
		char *bigger = realloc(t->text, size);

		t->full = !bigger;
		if (!bigger)
			return;
		t->text = bigger;
		t->size = size;
	}
	memcpy(t->text + t->used, text, n);
	/* A process may call itself anything: nothing of that is for the terminal. */
	for (char *p = t->text + t->used; *p; p++)
		if (iscntrl((unsigned char)*p))
			*p = '?';
	t->cells[(t->rows - 1) * t->ncolumns + (size_t)column] = t->used + 1;
	t->used += n;
	if (n - 1 > t->width[column])
		t->width[column] = n - 1;
	t->right[column] = t->right[column] || number;
}

static void print_cell(FILE *f, const char *text, size_t width, bool right, bool last)
{
	if (right)
		fprintf(f, "%*s", (int)width, text);
	else if (last)
		fputs(text, f);
	else
		fprintf(f, "%-*s", (int)width, text);
	fputs(last ? "\n" : "  ", f);
}

/* Leave out what is empty; the others move up. */
static void drop_columns(struct table *t, size_t *shown, size_t *n)
{
	*n = 0;
	for (size_t i = 0; i < t->ncolumns; i++) {
		bool any = !t->sparse;

		for (size_t r = 0; r < t->rows && !any; r++) {
			size_t cell = t->cells[r * t->ncolumns + i];

			any = cell && !streq(t->text + cell - 1, "-");
		}
		if (any)
			shown[(*n)++] = i;
	}
}

void table_end(struct table *t, FILE *stream)
{
	size_t shown[OUT_COLUMNS], n;
	char title[64];

	drop_columns(t, shown, &n);
	for (size_t k = 0; t->rows && k < n; k++) {
		size_t i = shown[k];

		title_of(&t->columns[i], title);
		print_cell(stream, title, t->width[i], t->right[i], k + 1 == n);
	}
	for (size_t r = 0; r < t->rows; r++) {
		for (size_t k = 0; k < n; k++) {
			size_t i = shown[k], cell = t->cells[r * t->ncolumns + i];

			print_cell(stream, cell ? t->text + cell - 1 : "-", t->width[i],
				   t->right[i], k + 1 == n);
		}
	}
	free(t->cells);
	free(t->text);
	t->cells = NULL;
	t->text = NULL;
}
