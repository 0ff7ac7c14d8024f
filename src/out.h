/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Output of a command, as aligned text or as JSON, from the same calls:
 *
 *	out_str(o, "kernel", "6.1.0");			kernel  6.1.0
 *	out_table(o, "muxes", columns, n);		NAME     CONNS
 *	out_row(o);
 *	out_str(o, "name", "default");			default      3
 *	out_u64(o, "conns", 3);
 *	out_end(o);
 *
 * In JSON the same is {"schema":1,"kernel":"6.1.0","muxes":[{"name":"default","conns":3}]}.
 * A field of a row that has no column is in JSON only. JSON is written as it comes: memory does not
 * grow with it, and a key is given once.
 */
#ifndef KCM_OUT_H
#define KCM_OUT_H

#include <stdbool.h>
#include <stdint.h>
#include "util.h"

#define OUT_SCHEMA 1

enum out_format {
	OUT_TEXT,
	OUT_JSON,
	OUT_JSON_PRETTY,
};

struct out;

struct out_column {
	const char *key;   /* name of the JSON member */
	const char *title; /* heading in text; NULL: @key in capitals */
};

struct out *out_new(FILE *stream, enum out_format format);
/**
 * out_finish() - print what is still held back and free @o
 * Return: 0 or -errno, for instance -ENOSPC or -EPIPE of the stream.
 */
int out_finish(struct out *o);
enum out_format out_format(const struct out *o);

/* For what has a form of its own (help, scripts): written to the stream, and no JSON follows. */
FILE *out_raw(struct out *o);

void out_str(struct out *o, const char *key, const char *value);
void out_fmt(struct out *o, const char *key, const char *format, ...) _printf_(3, 4);
void out_u64(struct out *o, const char *key, uint64_t value);
/* A number as people read it, such as "1.5M": a string, in tables to the right. */
void out_figure(struct out *o, const char *key, const char *value);
void out_i64(struct out *o, const char *key, int64_t value);
void out_double(struct out *o, const char *key, double value);
void out_bool(struct out *o, const char *key, bool value);
/* An array of numbers: JSON only. */
void out_u32s(struct out *o, const char *key, const uint32_t *values, size_t n);

/* A nested object; in text a heading and indented lines. Closed by out_end(). */
void out_group(struct out *o, const char *key);
/* An array of rows; in text a table. Rows begin with out_row(); closed by out_end(). */
void out_table(struct out *o, const char *key, const struct out_column *columns, size_t n);
void out_row(struct out *o);
/* Behind out_table(): leave out columns that have no value in any row. Text only. */
void out_sparse(struct out *o);
void out_end(struct out *o);

/* A sentence for people: text only. */
void out_note(struct out *o, const char *format, ...) _printf_(2, 3);

#endif
