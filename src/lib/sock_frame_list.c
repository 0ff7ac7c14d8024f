// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* sock_frame_list.c - framings, the ports that have them, and what became of their connections. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "sock_frame.h"

static int by_port(const void *a, const void *b)
{
	const struct sock_framed *x = a, *y = b;

	if (!x->port != !y->port) /* those without one come last */
		return !x->port - !y->port;
	return x->port != y->port ? x->port - y->port : (int)x->number - (int)y->number;
}

static int list_add(const struct sock_view *v, struct sock_framed **list, int n, __u16 port,
		    __u32 number)
{
	struct sock_framed *more = realloc(*list, (n + 1) * sizeof(**list));

	if (!more)
		return -ENOMEM;
	*list = more;
	more[n] = (struct sock_framed){
		.port = port,
		.number = number,
		.frame = v->framing[number].frame,
	};
	snprintf(more[n].text, sizeof(more[n].text), "%s", v->framing[number].text);
	return n + 1;
}

static int list_ports(const struct sock_view *v, struct sock_framed **list)
{
	struct kcm_sk_port key, *last = NULL;
	__u32 number;
	int n = 0;

	while (!bpf_map_get_next_key(v->fd[SOCK_PORTS], last, &key)) {
		if (!bpf_map_lookup_elem(v->fd[SOCK_PORTS], &key, &number) &&
		    number < KCM_SK_FRAMES) {
			n = list_add(v, list, n, key.port, number);
			if (n < 0)
				return n;
		}
		last = &key;
	}
	return n;
}

/* The port that gave a connection its framing, else the entry without a port. */
static struct sock_framed *entry_of(struct sock_framed *list, int n, const struct kcm_sock *s)
{
	__u16 port = s->role == KCM_ROLE_CLIENT ? s->info.rport : s->info.lport;

	for (int i = 0; i < n; i++)
		if (list[i].number == s->frame && (list[i].port == port || !list[i].port))
			return &list[i];
	return NULL;
}

static int list_conns(const struct sock_view *v, struct sock_framed **list, int n)
{
	for (__u32 i = 0; i < v->ctl->cfg.slots; i++) {
		struct sock_framed *e;
		struct kcm_sock s;

		if (!v->hot[i].frame || !sock_view_read(v, i, &s) || !s.frame ||
		    s.frame >= KCM_SK_FRAMES)
			continue;
		e = entry_of(*list, n, &s);
		if (!e) {
			n = list_add(v, list, n, 0, s.frame);
			if (n < 0)
				return n;
			e = &(*list)[n - 1];
		}
		e->conns++;
		e->lost += s.info.unframed != KCM_UNFRAMED_NO;
		e->rx_msgs += s.rx_msgs;
		e->tx_msgs += s.tx_msgs;
	}
	return n;
}

int sock_frame_list(const struct sock_view *v, struct sock_framed **list)
{
	int n;

	*list = NULL;
	n = list_ports(v, list);
	if (n >= 0)
		n = list_conns(v, list, n);
	if (n < 0) {
		free(*list);
		*list = NULL;
		return n;
	}
	if (n)
		qsort(*list, n, sizeof(**list), by_port);
	return n;
}
