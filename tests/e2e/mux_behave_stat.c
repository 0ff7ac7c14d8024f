// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * mux_behave_stat CASE - what the mux counts is what happened, to the message and the byte; and a
 * connection ends with exactly one event.
 */
#define _GNU_SOURCE
#include "mux_kit.h"
#include "owner.h"

#define FRAME "len width=4 be hdr=12 counts-hdr adj=4 max=1M"
#define CONNS 6
#define BIG   100000U

struct count {
	uint64_t msgs, bytes, events, tx_msgs, tx_bytes;
};

/* Receive one and answer it with @reply bytes. */
static void serve_one(struct kcm_worker *w, struct count *of, size_t reply)
{
	struct kcm_msg msg = recv_one(w);
	uint8_t buf[3000];
	uint32_t c, num;

	CHECK_EQ(msg.event, KCM_MESSAGE);
	CHECK(msg_ok(msg.data, msg.len, &c, &num));
	of->msgs++;
	of->bytes += msg.len;
	if (reply) {
		CHECK_EQ(kcm_send(w, msg.conn, buf, msg_make(buf, c, num, reply), 0), 0);
		of->tx_msgs++;
		of->tx_bytes += reply;
	}
	kcm_release(w, &msg, 1);
}

static void event_one(struct kcm_worker *w, struct count *of, enum kcm_event event)
{
	struct kcm_msg msg = recv_one(w);

	CHECK_EQ(msg.event, event);
	of->events++;
	kcm_release(w, &msg, 1);
}

static void check_worker(const struct kcm_wstat *st, const struct count *n)
{
	uint64_t hist = 0;

	CHECK_EQ(st->msgs, n->msgs);
	CHECK_EQ(st->bytes, n->bytes);
	CHECK_EQ(st->events, n->events);
	CHECK_EQ(st->tx_msgs, n->tx_msgs);
	CHECK_EQ(st->tx_bytes, n->tx_bytes);
	CHECK_EQ(st->out, 0);
	CHECK_EQ(st->pid, getpid());
	for (int i = 0; i < KCM_HIST; i++)
		hist += st->hist[i];
	CHECK_EQ(hist, n->msgs + n->events);
}

/* kcmtool shows the same numbers: @filter is a condition of jq. */
static void check_tool(const struct kit *k, const char *verb, const char *filter)
{
	const char *tool = getenv("KCMTOOL");
	char cmd[1024];

	if (!tool)
		die("KCMTOOL is not set");
	snprintf(cmd, sizeof(cmd), "'%s' -j mux %s %s | jq -e '%s' >/dev/null", tool, verb, k->name,
		 filter);
	if (system(cmd))
		die("not so: %s", cmd);
}

static void exact(kit_args)
{
	struct kit k = { .o.asm_timeout_ms = 1500 };
	struct count n[2] = { 0 }, all[CONNS] = { 0 }, sum = { 0 };
	struct kcm_worker *w[2];
	uint8_t *buf = malloc(BIG);
	const struct kcm_mux_conf *cf;
	kcm_conn_id id[CONNS];
	char filter[512];
	size_t rest_n;
	int fd[CONNS], plain;
	void *rest;

	kit_open(&k, FRAME);
	cf = k.m->v.conf;
	w[0] = kit_worker(&k);
	w[1] = kit_worker(&k);
	for (int i = 0; i < CONNS; i++)
		fd[i] = kit_conn(&k, &id[i]);
	for (uint32_t m = 0; m < 600; m++) {
		uint32_t i = m % 7 % CONNS;
		size_t len = m % 100 == 50 ? BIG : 12 + m * 37 % 5000;

		send_all(fd[i], buf, msg_make(buf, i, m, len));
		all[i].msgs++;
		all[i].bytes += len;
		sum.msgs++;
		sum.bytes += len;
		serve_one(w[m % 3 != 0], &n[m % 3 != 0], m % 5 ? 12 + m % 100 : 0);
	}
	for (int i = 0; i < CONNS; i++) {
		CHECK_EQ(k.m->v.conns[(uint32_t)id[i]].msgs, all[i].msgs);
		CHECK_EQ(k.m->v.conns[(uint32_t)id[i]].bytes, all[i].bytes);
	}
	CHECK_EQ(cf->attached, CONNS);
	CHECK_EQ(cf->big_msgs, 6);
	CHECK_EQ(cf->rx_msgs + cf->rx_bytes + cf->events + cf->detached + cf->closed, 0);
	check_worker(&k.m->v.wstats[0], &n[0]);
	check_worker(&k.m->v.wstats[1], &n[1]);
	snprintf(filter, sizeof(filter),
		 ".receive.messages == %llu and .receive.bytes == %llu and .connections.now == 6 "
		 "and .transmit.messages == %llu and .transmit.bytes == %llu "
		 "and .workers.now == 2 and .receive.waiting == 0 and .receive.in_hand == 0",
		 (unsigned long long)sum.msgs, (unsigned long long)sum.bytes,
		 (unsigned long long)(n[0].tx_msgs + n[1].tx_msgs),
		 (unsigned long long)(n[0].tx_bytes + n[1].tx_bytes));
	check_tool(&k, "stats", filter);

	/* Each connection ends in another way. */
	close(fd[0]);
	event_one(w[0], &n[0], KCM_CLOSED);
	send_all(fd[1], "\x7f\xff\xff\xff", 4);
	event_one(w[1], &n[1], KCM_TOO_BIG);
	send_all(fd[2], "\0\0\0\1________", 12);
	event_one(w[0], &n[0], KCM_BAD_FRAME);
	send_all(fd[3], buf, 100);
	shutdown(fd[3], SHUT_WR);
	event_one(w[1], &n[1], KCM_TRUNCATED);
	send_all(fd[4], "\0", 1);
	event_one(w[0], &n[0], KCM_TIMEOUT);
	plain = kcm_detach(k.m, id[5], &rest, &rest_n);
	CHECK(plain >= 0);
	CHECK_EQ(rest_n, 0);
	WAIT_FOR(LOAD(&k.m->n_conns) == 0);
	CHECK_EQ(cf->attached, CONNS);
	CHECK_EQ(cf->detached, 1);
	CHECK_EQ(cf->closed, CONNS - 1);
	CHECK_EQ(cf->events, CONNS - 1);
	CHECK_EQ(cf->too_big, 1);
	CHECK_EQ(cf->bad_frames, 1);
	CHECK_EQ(cf->truncated, 1);
	CHECK_EQ(cf->timeouts, 1);
	CHECK_EQ(cf->rx_msgs, sum.msgs);
	CHECK_EQ(cf->rx_bytes, sum.bytes);
	CHECK_EQ(cf->resets + cf->tx_aborts + cf->lost_msgs + cf->redelivered, 0);
	CHECK_EQ(cf->worker_deaths, 0);
	check_worker(&k.m->v.wstats[0], &n[0]);
	check_worker(&k.m->v.wstats[1], &n[1]);
	check_tool(&k, "stats",
		   ".errors.too_big == 1 and .errors.bad_frames == 1 and .errors.truncated == 1 "
		   "and .errors.timeouts == 1 and .errors.events == 5 and .connections.now == 0 "
		   "and .connections.attached == 6 and .connections.detached == 1");
	kcm_worker_close(w[0]);
	kcm_worker_close(w[1]);
	CHECK_EQ(cf->worker_deaths, 0);
	close(plain);
	for (int i = 1; i < CONNS; i++)
		close(fd[i]);
	kit_close(&k);
	free(buf);
}

/* ---- exactly one event ---- */

#define MANY 300

static struct kit mk;
static uint32_t events_of[MANY * 2], events_all;
static kcm_conn_id many_id[MANY];

static void *event_counter(void *arg)
{
	struct kcm_worker *w = arg;
	struct kcm_msg msgs[8];
	int n;

	while ((n = kcm_recv(w, msgs, 8, -1)) >= 0) {
		for (int i = 0; i < n; i++) {
			if (msgs[i].event == KCM_MESSAGE)
				continue;
			for (int c = 0; c < MANY; c++)
				if (LOAD(&many_id[c]) == msgs[i].conn)
					__atomic_fetch_add(&events_of[c], 1, __ATOMIC_SEQ_CST);
			__atomic_fetch_add(&events_all, 1, __ATOMIC_SEQ_CST);
		}
		kcm_release(w, msgs, (unsigned int)n);
	}
	kcm_worker_close(w);
	return NULL;
}

static void one_event(kit_args)
{
	uint64_t s = 9;
	int fd[MANY];
	uint8_t buf[2000];
	pthread_t t[3];

	mk.o.asm_timeout_ms = 200;
	kit_open(&mk, FRAME);
	for (int i = 0; i < MANY; i++)
		fd[i] = kit_conn(&mk, &many_id[i]);
	/* Workers only know an identity that the test has noted. */
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, event_counter, kit_worker(&mk));
	for (int round = 0; round < 5; round++)
		for (int i = 0; i < MANY; i++)
			send_all(fd[i], buf, msg_make(buf, 1, 1, 12 + rnd(&s) % 1900));
	/* Two things at once may end a connection: a bad frame and a reset, half a message, ... */
	for (int i = 0; i < MANY; i++) {
		uint64_t how = rnd(&s);

		if (how & 1)
			send_all(fd[i], "\xff\xff\xff\xff", 4);
		if (how & 2)
			send(fd[i], buf, 5, MSG_NOSIGNAL); /* it may be over already */
		if (how & 4)
			shutdown(fd[i], SHUT_WR);
		if (how & 8)
			close_hard(fd[i]);
		else
			close(fd[i]);
	}
	WAIT_FOR(LOAD(&mk.m->n_conns) == 0);
	CHECK_EQ(events_all, MANY);
	CHECK_EQ(mk.m->v.conf->events, MANY);
	for (int i = 0; i < MANY; i++)
		CHECK_EQ(events_of[i], 1);
	kit_close(&mk);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
}

int main(int argc, char **argv)
{
	static const struct kit_case cases[] = {
		{ "exact", exact },
		{ "one-event", one_event },
		{ 0 },
	};

	return kit_main(argc, argv, cases, 400);
}
