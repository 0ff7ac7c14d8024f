/* SPDX-License-Identifier: GPL-2.0 */
/* sock top: what both its forms, the screen and plain tables, show. */
#ifndef KCM_CMD_SOCK_TOP_H
#define KCM_CMD_SOCK_TOP_H

#include "cmd_sock_list.h"

enum top_by {		    /* rates: only top has them */
	      TOP_BY_FIELD, /* of struct sock_sort */
	      TOP_BY_BYTES,
	      TOP_BY_RX,
	      TOP_BY_TX,
	      TOP_BY_MSGS,
	      TOP_BY_RETRANS,
};

struct top_row {
	const struct kcm_sock *s;
	uint64_t rx, tx, msgs, retrans; /* a second */
};

/* A socket as it was a round ago. */
struct top_seen {
	__u64 cookie;
	uint64_t rx, tx, msgs, retrans;
};

struct top_totals {
	uint64_t rx, tx, msgs;		 /* a second, of what matches */
	uint64_t opened, closed, failed; /* a second, of all */
};

struct top {
	struct sock_view v;
	struct sock_filter filter;
	char filter_text[256];
	enum top_by by;
	struct sock_sort sort;
	bool reverse;
	uint64_t interval_ns, count, limit;
	struct sock_list list;
	struct top_row *rows;
	struct top_seen *seen; /* open addressing, a power of two of them */
	size_t seen_size;
	uint64_t taken_ns, rounds;
	struct kcm_sk_ctl was;
	struct top_totals totals;
};

/* "rx_s", "bytes_s:asc", or a field. Return: 0, or the exit code after an error line. */
int top_sort_parse(struct top *t, const char *text);
const char *top_sort_name(const struct top *t);
/* Take sockets and rates, in order. Return: 0 or -errno. */
int top_take(struct top *t);
void top_order(struct top *t);
uint64_t top_now(void);

/* Text of "nginx/1234", of labels: without control characters. */
void top_process(const struct kcm_sk_info *i, char *text, size_t size);

/* Set by signals that end it. */
extern volatile int top_interrupted;

/* ---- cmd_sock_screen.c ---- */
int top_screen(struct top *t); /* Return: exit code */

#endif
