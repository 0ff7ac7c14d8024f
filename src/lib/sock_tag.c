// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* sock_tag.c - a program's own sockets: labels, generation, counters. */
#include <errno.h>
#include <sched.h>
#include <time.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "kcm_sock.h"
#include "../../bpf/sock.h"

#define TRIES	     1000
#define TRIES_QUICK  16
#define TRY_AGAIN_NS 100000

_Static_assert(KCM_SOCK_LABELS == KCM_SK_LABELS && KCM_SOCK_KEY == KCM_SK_KEY &&
		       KCM_SOCK_VALUE == KCM_SK_VALUE && KCM_SOCK_HIST == KCM_SK_HIST,
	       "the public sizes are those of the programs");
_Static_assert(sizeof(struct kcm_sock_label) == sizeof(struct kcm_sk_label), "copied whole");

/* Without our program the kernel knows no such option. */
static int result(int ret)
{
	if (!ret)
		return 0;
	return errno == ENOPROTOOPT || errno == ENOTSUP ? -EOPNOTSUPP : -errno;
}

/* Who changes labels may wait for this CPU; where all are busy a yield does not give it away. */
static void let_others(int tries)
{
	if (tries < TRIES_QUICK)
		sched_yield();
	else
		nanosleep(&(struct timespec){ .tv_nsec = TRY_AGAIN_NS }, NULL);
}

static int set(int fd, int option, const void *value, size_t len)
{
	int err;

	for (int i = 0; i < TRIES; i++) {
		err = result(setsockopt(fd, KCM_SOL_KCM, option, value, (socklen_t)len));
		if (err != -EAGAIN)
			break;
		let_others(i);
	}
	return err;
}

int kcm_sock_set(int fd, const char *key, const char *value)
{
	char text[KCM_SOCK_KEY + KCM_SOCK_VALUE];
	size_t n = key ? strlen(key) : 0, m = value ? strlen(value) : 0;

	if (!n || n >= KCM_SOCK_KEY || m >= KCM_SOCK_VALUE || strchr(key, '='))
		return -EINVAL;
	snprintf(text, sizeof(text), "%s=%s", key, value ? value : "");
	return set(fd, KCM_SO_LABEL, text, n + 1 + m);
}

int kcm_sock_generation(int fd, uint32_t generation)
{
	return set(fd, KCM_SO_GENERATION, &generation, sizeof(generation));
}

static void fill(struct kcm_sock_stats *s, const struct kcm_sock *from)
{
	const struct kcm_sk_info *i = &from->info;

	s->cookie = from->cookie;
	s->start_ns = i->start_ns;
	s->last_ns = from->last_ns;
	s->tx_bytes = from->tx_bytes;
	s->rx_bytes = from->rx_bytes;
	s->tx_msgs = from->tx_msgs;
	s->rx_msgs = from->rx_msgs;
	s->tx_segs = from->tx_segs;
	s->rx_segs = from->rx_segs;
	s->framed = from->frame && i->unframed == KCM_UNFRAMED_NO;
	s->generation = i->generation;
	s->srtt_us = i->srtt_us;
	s->min_rtt_us = i->min_rtt_us;
	s->retrans = i->retrans;
	s->cwnd = i->cwnd;
	s->rate_bytes = i->rate_bytes;
	s->answers = i->lat_n;
	s->answer_ns_sum = i->lat_ns_sum;
	s->answer_ns_max = i->lat_ns_max;
	memcpy(s->hist, i->hist, sizeof(s->hist));
	s->limit_bytes = i->limit_bytes;
	s->limit_hits = i->limit_hits;
	s->limit_msgs = i->limit_msgs;
	for (int l = 0, n = 0; l < KCM_SK_LABELS; l++)
		if (i->label[l].key[0])
			memcpy(&s->label[n++], &i->label[l], sizeof(s->label[0]));
}

int kcm_sock_get(int fd, struct kcm_sock_stats *stats)
{
	struct kcm_sock_stats s = { 0 };
	struct kcm_sock sock;
	socklen_t len;
	size_t sz;
	int err;

	if (!stats || stats->sz < sizeof(size_t) + sizeof(uint64_t))
		return -EINVAL;
	for (int i = 0; i < TRIES; i++) {
		len = sizeof(sock);
		err = result(getsockopt(fd, KCM_SOL_KCM, KCM_SO_STATE, &sock, &len));
		if (err != -EAGAIN)
			break;
		let_others(i);
	}
	/* EINVAL: a longer one, of another version. */
	if (err == -EINVAL || (!err && len != sizeof(sock)))
		return -ESTALE;
	if (err)
		return err;
	fill(&s, &sock);
	sz = stats->sz;
	memset(stats, 0, sz);
	memcpy(stats, &s, sz < sizeof(s) ? sz : sizeof(s));
	stats->sz = sz;
	return 0;
}
