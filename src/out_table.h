/* SPDX-License-Identifier: GPL-2.0 */
/* A table of text: kept until its end, when the width of each column is known. */
#ifndef KCM_OUT_TABLE_H
#define KCM_OUT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "out.h"

#define OUT_COLUMNS 24

/*
 * Rows, one after the other: of each column the bytes it has, + 1 (0: none), and then the text of
 * all of them. A row is in one block.
 */
struct table_block {
	struct table_block *next;
	size_t used, size;
	char data[];
};

struct table {
	struct out_column columns[OUT_COLUMNS];
	size_t ncolumns;
	size_t width[OUT_COLUMNS];
	bool right[OUT_COLUMNS]; /* numbers */
	bool any[OUT_COLUMNS];	 /* has a value in some row */
	size_t next;		 /* where the next value is likely to go */
	struct table_block *first, *last;
	size_t row, row_bytes; /* the last one: where it is in the last block */
	size_t filled;	       /* its columns up to the last one that has a value */
	bool sparse;	       /* columns without a value are left out */
	bool full;	       /* out of memory: what there is is printed */
};

void table_init(struct table *t, const struct out_column *columns, size_t n);
void table_row(struct table *t);
/* Column of @key, or -1: values without a column are not shown. */
int table_column(struct table *t, const char *key);
void table_put(struct table *t, int column, const char *text, bool number);
/* Print it, if it has rows, and free it. */
void table_end(struct table *t, FILE *stream);

#endif
