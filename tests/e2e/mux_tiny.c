// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * mux_tiny - messages down to one byte, which have no room for a number: of each connection the
 * sequence is checked, by workers that get it in order (KCM_DISPATCH_CONN).
 *
 *   mux_tiny fixed|line|varint [CONNS] [MSGS] [SEG]    segments of 1 to SEG bytes
 */
#define _GNU_SOURCE
#include "mux_kit.h"
#include "owner.h"

#define WORKERS	  3
#define CONNS_MAX 64
#define LEN_MAX	  256

enum kind { FIXED, LINE, VARINT };

static struct {
	enum kind kind;
	unsigned int conns, msgs, seg;
	kcm_conn_id ids[CONNS_MAX];
	int fds[CONNS_MAX];
	unsigned int next[CONNS_MAX]; /* message that is expected */
	unsigned int events[CONNS_MAX];
	uint64_t served;
	struct kit k;
} t = { .conns = 8, .msgs = 50000, .seg = 300 };

/* Message @num of @conn; every third is as short as can be. */
static size_t tiny_make(uint8_t *p, unsigned int conn, unsigned int num)
{
	uint64_t v = mix((uint64_t)(conn + 1) << 32 | num);
	size_t body = num % 3 ? v % 100 : 0;

	switch (t.kind) {
	case FIXED:
		p[0] = (uint8_t)v;
		return 1;
	case LINE:
		for (size_t i = 0; i < body; i++)
			p[i] = (uint8_t)('a' + (v + i) % 26);
		p[body] = '\n';
		return body + 1;
	case VARINT:
		p[0] = (uint8_t)body;
		for (size_t i = 0; i < body; i++)
			p[i + 1] = (uint8_t)(v >> (i % 8) * 8);
		return body + 1;
	}
	return 0;
}

static void judge(const struct kcm_msg *msg)
{
	uint8_t want[LEN_MAX];
	unsigned int c = 0, num;
	size_t len;

	while (c < t.conns && t.ids[c] != msg->conn)
		c++;
	CHECK(c < t.conns);
	if (msg->event != KCM_MESSAGE) {
		if (msg->event != KCM_CLOSED || t.next[c] != t.msgs)
			die("connection %u: event %d, error %d after message %u of %u", c,
			    (int)msg->event, msg->error, t.next[c], t.msgs);
		CHECK_EQ(++t.events[c], 1);
		return;
	}
	num = t.next[c]++;
	len = tiny_make(want, c, num);
	if (msg->len != len || memcmp(msg->data, want, len))
		die("connection %u: message %u is another one", c, num);
	__atomic_fetch_add(&t.served, 1, __ATOMIC_RELAXED);
}

static void *worker(void *arg)
{
	struct kcm_worker *w = kit_worker(&t.k);
	struct kcm_msg msgs[64];
	int n;

	(void)arg;
	while ((n = kcm_recv(w, msgs, 64, -1)) >= 0) {
		for (int i = 0; i < n; i++)
			judge(&msgs[i]);
		kcm_release(w, msgs, (unsigned int)n);
	}
	kcm_worker_close(w);
	return NULL;
}

static void *client(void *arg)
{
	unsigned int c = (unsigned int)(uintptr_t)arg;
	uint8_t *buf = malloc(LEN_MAX * 1000);
	uint64_t s = c;

	for (unsigned int num = 0; num < t.msgs;) {
		size_t n = 0;

		for (unsigned int i = 0; i < 1000 && num < t.msgs; i++)
			n += tiny_make(buf + n, c, num++);
		send_cut(t.fds[c], buf, n, t.seg, &s);
	}
	free(buf);
	shutdown(t.fds[c], SHUT_WR);
	recv_end(t.fds[c]);
	close(t.fds[c]);
	return NULL;
}

static void run(int argc, char **argv)
{
	static const char *const frames[] = { "fixed=1", "line", "varint" };
	pthread_t clients[CONNS_MAX], workers[WORKERS];

	for (t.kind = FIXED; t.kind < VARINT && strncmp(frames[t.kind], argv[1], 4); t.kind++)
		;
	t.conns = argc > 2 ? (unsigned)atoi(argv[2]) : t.conns;
	t.msgs = argc > 3 ? (unsigned)atoi(argv[3]) : t.msgs;
	t.seg = argc > 4 ? (unsigned)atoi(argv[4]) : t.seg;
	CHECK(t.conns <= CONNS_MAX);
	t.k.o.dispatch = KCM_DISPATCH_CONN;
	kit_open(&t.k, frames[t.kind]);
	for (unsigned int c = 0; c < t.conns; c++)
		t.fds[c] = kit_conn(&t.k, &t.ids[c]);
	for (unsigned int i = 0; i < WORKERS; i++)
		pthread_create(&workers[i], NULL, worker, NULL);
	for (unsigned int c = 0; c < t.conns; c++)
		pthread_create(&clients[c], NULL, client, (void *)(uintptr_t)c);
	for (unsigned int c = 0; c < t.conns; c++)
		pthread_join(clients[c], NULL);
	WAIT_FOR(LOAD(&t.k.m->n_conns) == 0);
	CHECK_EQ(t.served, (uint64_t)t.conns * t.msgs);
	for (unsigned int c = 0; c < t.conns; c++)
		CHECK_EQ(t.events[c], 1);
	kit_close(&t.k);
	for (unsigned int i = 0; i < WORKERS; i++)
		pthread_join(workers[i], NULL);
	printf("served %llu\n", (unsigned long long)t.served);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	return kit_guard(run, argc, argv, 120);
}
