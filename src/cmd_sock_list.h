/* SPDX-License-Identifier: GPL-2.0 */
/* The sockets of a machine, one by one: those in slots, and on request the rest. */
#ifndef KCM_CMD_SOCK_LIST_H
#define KCM_CMD_SOCK_LIST_H

#include "cmd_sock.h"
#include "cmd_sock_filter.h"

/* A connection that is in a mux: the mux counts its messages. */
struct sock_mux {
	__u64 cookie;
	__u64 msgs, bytes;
	const char *mux;
};

/* Look at the muxes; again with each call. */
void sock_mux_scan(void);
const struct sock_mux *sock_mux_of(uint64_t cookie);

enum sock_which {
	SOCK_CONNS = 1,
	SOCK_LISTENERS = 2,
	SOCK_FRESH = 4, /* neither connected nor listening */
	SOCK_ALL = 7,
};

typedef int (*sock_fn)(const struct kcm_sock *s, void *arg);

/**
 * sock_each() - call @fn for each socket that is of @which and matches @f
 * Messages of muxes are in rx_msgs (see sock_mux_scan()), datagrams count as messages.
 * Return: 0, the first non-zero return of @fn, or -errno.
 */
int sock_each(const struct sock_view *v, const struct sock_filter *f, unsigned int which,
	      sock_fn fn, void *arg);

/* What a filter asks for by state or role, beside connections. */
unsigned int sock_which(const struct sock_filter *f);

struct sock_list {
	struct kcm_sock *sock;
	size_t n, size;
};

/* Return: 0 or -errno. */
int sock_list_take(struct sock_list *l, const struct sock_view *v, const struct sock_filter *f,
		   unsigned int which);
void sock_list_free(struct sock_list *l);

struct sock_sort {
	const struct sock_field *field; /* NULL: as they come */
	bool descending;
};

/* "rtt", "rtt:desc", "rtt:asc". Numbers begin with the greatest. Return: 0, or the exit code after
 * an error line. */
int sock_sort_parse(struct sock_sort *s, const char *text);
void sock_list_sort(struct sock_list *l, const struct sock_sort *s, uint64_t now_ns);

/* Every field of a socket, as members of the row or object that is open. */
void sock_json(struct out *o, const struct sock_view *v, const struct kcm_sock *s, uint64_t now_ns);

#endif
