/* SPDX-License-Identifier: GPL-2.0 */
/*
 * JSON written as it is made: nothing is kept but a buffer, so that a table of 100,000 rows takes
 * no more memory than one of ten.
 */
#ifndef KCM_OUT_JSON_H
#define KCM_OUT_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH 12
#define JSON_BUF   65536

struct json {
	FILE *stream;
	bool pretty;
	int depth;
	bool any[JSON_DEPTH]; /* something is in the object or array */
	size_t used;
	char buf[JSON_BUF];
};

/* Before a value: its name in an object, NULL in an array. */
void json_key(struct json *j, const char *key);
void json_open(struct json *j, char bracket);
void json_close(struct json *j, char bracket);

/* NULL is null. What is not UTF-8 has `?` for each byte above 127. */
void json_str(struct json *j, const char *value);
void json_u64(struct json *j, uint64_t value);
void json_i64(struct json *j, int64_t value);
void json_real(struct json *j, double value); /* NaN and infinity are null */
void json_bool(struct json *j, bool value);
void json_flush(struct json *j);

#endif
