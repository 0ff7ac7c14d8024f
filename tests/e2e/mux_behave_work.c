// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * mux_behave_work CASE - workers that die, leave, are disabled, come late; and the descriptor that
 * tells of work.
 */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include "mux_kit.h"
#include "owner.h"

#define FRAME "u32be max=1M"
#define MSGS  40U
#define ALL   ((1ULL << MSGS) - 1)

/* Send messages @from to @to - 1 of @conn in one piece. */
static void send_msgs(int fd, uint32_t conn, uint32_t from, uint32_t to)
{
	uint8_t *buf = malloc((to - from) * 600);
	size_t n = 0;

	for (uint32_t i = from; i < to; i++)
		n += msg_make(buf + n, conn, i, KIT_HEAD + i * 7 % 500);
	send_all(fd, buf, n);
	free(buf);
}

static uint32_t num_of(const struct kcm_msg *msg)
{
	uint32_t c, num;

	CHECK_EQ(msg->event, KCM_MESSAGE);
	CHECK(msg_ok(msg->data, msg->len, &c, &num));
	CHECK(num < MSGS);
	return num;
}

/* Receive @n messages and release them. Return: their numbers as bits; none comes twice. */
static uint64_t take(struct kcm_worker *w, unsigned int n, uint64_t *again)
{
	uint64_t set = 0;

	while (n--) {
		struct kcm_msg msg = recv_one(w);
		uint64_t bit = 1ULL << num_of(&msg);

		CHECK(!(set & bit));
		set |= bit;
		if (msg.flags & KCM_REDELIVERED)
			*again |= bit;
		kcm_release(w, &msg, 1);
	}
	return set;
}

static void expect_nothing(struct kcm_worker *w)
{
	struct kcm_msg msg;

	CHECK_EQ(kcm_recv(w, &msg, 1, 0), 0);
}

static void expect_closed(struct kcm_worker *w)
{
	struct kcm_msg msg = recv_one(w);

	CHECK_EQ(msg.event, KCM_CLOSED);
	kcm_release(w, &msg, 1);
}

/* A process takes @n messages, says which, and waits to be killed. */
static pid_t hoarder(struct kit *k, int n, uint64_t *has)
{
	int fd = kcm_mux_worker_fd(k->m), p[2];
	pid_t pid;

	CHECK(fd >= 0 && !pipe(p));
	pid = kit_fork();
	if (!pid) {
		struct kcm_msg msgs[MSGS];
		struct kcm_worker *w;
		uint64_t set = 0;
		int got = 0;

		CHECK(!kcm_worker_open_fd(fd, &w));
		CHECK(write(p[1], &set, sizeof(set)) == sizeof(set)); /* I am here */
		while (got < n) {
			int r = kcm_recv(w, msgs, (unsigned int)(n - got), KIT_WAIT);

			CHECK(r > 0);
			for (int i = 0; i < r; i++)
				set |= 1ULL << num_of(&msgs[i]);
			got += r;
		}
		CHECK(write(p[1], &set, sizeof(set)) == sizeof(set));
		pause();
		_exit(1);
	}
	close(fd);
	close(p[1]);
	CHECK(read(p[0], has, sizeof(*has)) == sizeof(*has));
	*has = (uint64_t)p[0]; /* where it will say so */
	return pid;
}

static void killed_with(enum kcm_dispatch policy, bool at_least_once, int n)
{
	struct kit k = { .o.dispatch = policy, .o.at_least_once = at_least_once };
	uint64_t has, again = 0, got;
	struct kcm_worker *w;
	kcm_conn_id id;
	int fd, status, say;
	pid_t pid;

	k.o.key_bytes = policy == KCM_DISPATCH_KEY;
	kit_open(&k, FRAME);
	pid = hoarder(&k, n, &has);
	say = (int)has;
	fd = kit_conn(&k, &id);
	send_msgs(fd, 1, 0, MSGS);
	CHECK(read(say, &has, sizeof(has)) == sizeof(has));
	close(say);
	CHECK_EQ(__builtin_popcountll(has), n);
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, &status, 0) == pid);
	w = kit_worker(&k);
	got = take(w, at_least_once ? MSGS : MSGS - (unsigned int)n, &again);
	CHECK_EQ(got, at_least_once ? ALL : ALL & ~has);
	CHECK_EQ(again, at_least_once ? has : 0);
	expect_nothing(w);
	CHECK_EQ(k.m->v.conf->lost_msgs, at_least_once ? 0 : n);
	CHECK_EQ(k.m->v.conf->redelivered, at_least_once ? n : 0);
	CHECK_EQ(k.m->v.conf->worker_deaths, 1);
	close(fd);
	expect_closed(w);
	WAIT_FOR(LOAD(&k.m->n_conns) == 0);
	kcm_worker_close(w);
	kit_close(&k);
}

static void killed(kit_args)
{
	for (int policy = KCM_DISPATCH_LEAST; policy <= KCM_DISPATCH_KEY; policy++)
		for (int alo = 0; alo < 2; alo++) {
			killed_with(policy, alo, 1);
			killed_with(policy, alo, 7);
		}
}

/* What a worker had been given is its own; the rest goes to others when it leaves. */
static void closed(kit_args)
{
	for (int policy = KCM_DISPATCH_LEAST; policy <= KCM_DISPATCH_KEY; policy++) {
		struct kit k = { .o.dispatch = policy };
		struct kcm_worker *a, *b;
		uint64_t again = 0, got;
		struct kcm_msg msg;
		kcm_conn_id id;
		int fd;

		k.o.key_bytes = policy == KCM_DISPATCH_KEY;
		kit_open(&k, FRAME);
		a = kit_worker(&k);
		fd = kit_conn(&k, &id);
		send_msgs(fd, 1, 0, MSGS);
		got = take(a, 5, &again);
		CHECK_EQ(got, 31);
		/* It could have claimed more than it was given. */
		msg = recv_one(a);
		got |= 1ULL << num_of(&msg);
		kcm_release(a, &msg, 1);
		kcm_worker_close(a);
		b = kit_worker(&k);
		got |= take(b, MSGS - 6, &again);
		CHECK_EQ(got, ALL);
		CHECK_EQ(again, 0);
		CHECK_EQ(k.m->v.conf->lost_msgs, 0);
		close(fd);
		expect_closed(b);
		kcm_worker_close(b);
		kit_close(&k);
	}
}

/* Receive-disable: what was queued for it goes to the other, in order where that is promised. */
static void disabled(kit_args)
{
	for (int policy = KCM_DISPATCH_LEAST; policy <= KCM_DISPATCH_KEY; policy++) {
		struct kit k = { .o.dispatch = policy };
		struct kcm_worker *a, *b;
		uint64_t again = 0, got;
		struct kcm_msg msg;
		kcm_conn_id id;
		int fd;

		k.o.key_bytes = policy == KCM_DISPATCH_KEY;
		kit_open(&k, FRAME);
		a = kit_worker(&k);
		fd = kit_conn(&k, &id);
		send_msgs(fd, 1, 0, 10);
		CHECK_EQ(take(a, 10, &again), 0x3ff);
		send_msgs(fd, 1, 10, 30);
		/* All are queued for a, the only one. */
		WAIT_FOR(LOAD(&k.m->v.conns[(uint32_t)id].msgs) == 30);
		CHECK_EQ(kcm_worker_enable(a, 0), 0);
		CHECK_EQ(kcm_recv(a, &msg, 1, KIT_WAIT), -ESHUTDOWN);
		b = kit_worker(&k);
		got = take(b, 20, &again);
		CHECK_EQ(got, 0x3ffffc00);
		send_msgs(fd, 1, 30, 35);
		CHECK_EQ(take(b, 5, &again), 0x1fULL << 30);
		CHECK_EQ(kcm_recv(a, &msg, 1, 0), -ESHUTDOWN);
		/* And back. */
		CHECK_EQ(kcm_worker_enable(b, 0), 0);
		CHECK_EQ(kcm_worker_enable(a, 1), 0);
		send_msgs(fd, 1, 35, MSGS);
		CHECK_EQ(take(a, 5, &again), 0x1fULL << 35);
		CHECK_EQ(kcm_recv(b, &msg, 1, 0), -ESHUTDOWN);
		CHECK_EQ(again, 0);
		close(fd);
		expect_closed(a);
		kcm_worker_close(a);
		kcm_worker_close(b);
		kit_close(&k);
	}
}

static void drain_count(struct kcm_worker *w, uint32_t conn, uint32_t until)
{
	for (uint32_t i = 0; i < until; i++) {
		struct kcm_msg msg = recv_one(w);
		uint32_t c, num;

		CHECK_EQ(msg.event, KCM_MESSAGE);
		CHECK(msg_ok(msg.data, msg.len, &c, &num));
		CHECK_EQ(c, conn);
		CHECK_EQ(num, i);
		kcm_release(w, &msg, 1);
	}
}

/*
 * Nobody receives - @how 0: all disabled, 1: none was ever there, 2: the last one left - until TCP
 * takes no more. Then a worker comes and gets all of it, in order.
 */
static void nobody_there(enum kcm_dispatch policy, int how)
{
	struct kit k = { .o.dispatch = policy, .o.arena_bytes = 6 << 20 };
	struct kcm_worker *w = NULL;
	uint8_t *msg = malloc(20000);
	uint32_t num = 0;
	size_t n = 0, at = 0;
	kcm_conn_id id;
	int fd;

	kit_open(&k, FRAME);
	if (how != 1)
		w = kit_worker(&k);
	if (how == 0)
		CHECK_EQ(kcm_worker_enable(w, 0), 0);
	if (how == 2) {
		kcm_worker_close(w);
		WAIT_FOR(LOAD(&k.m->n_members) == 0);
	}
	fd = kit_conn(&k, &id);
	kit_nonblock(fd);
	for (uint64_t still = now_ms(); now_ms() - still < 1000;) {
		ssize_t r;

		if (at == n) {
			n = msg_make(msg, 9, num, KIT_HEAD + num * 131 % 19000);
			at = 0;
			num++;
		}
		r = send(fd, msg + at, n - at, MSG_NOSIGNAL);
		if (r < 0) {
			CHECK_EQ(errno, EAGAIN);
			usleep(10000);
			continue;
		}
		still = now_ms();
		at += (size_t)r;
		CHECK(num < 100000);
	}
	if (how != 0)
		w = kit_worker(&k);
	else
		CHECK_EQ(kcm_worker_enable(w, 1), 0);
	if (!kit_fork()) {
		send_all(fd, msg + at, n - at);
		_exit(0);
	}
	close(fd);
	drain_count(w, 9, num);
	expect_closed(w);
	wait(NULL);
	kcm_worker_close(w);
	kit_close(&k);
	free(msg);
}

static void backpressure(kit_args)
{
	for (int how = 0; how < 3; how++) {
		nobody_there(KCM_DISPATCH_LEAST, how);
		nobody_there(KCM_DISPATCH_CONN, how);
	}
}

/* ---- ping-pong through kcm_poll_fd(): a wake-up that is missed is a hang ---- */

#define PINGS 100000

static struct kit pk;

static void *pinger(void *arg)
{
	int fd = kit_conn(&pk, NULL);
	uint8_t buf[64], back[64];

	for (uint32_t i = 0; i < (uintptr_t)arg; i++) {
		size_t n = msg_make(buf, 1, i, KIT_HEAD + i % 40);

		send_all(fd, buf, n);
		CHECK_EQ(recv_all(fd, back, n), (ssize_t)n);
		CHECK(!memcmp(buf, back, n));
	}
	close(fd);
	return NULL;
}

static void *poller(void *arg)
{
	struct epoll_event ev = { .events = (uint32_t)(uintptr_t)arg };
	struct kcm_worker *w = kit_worker(&pk);
	struct kcm_msg msgs[8];
	int ep = epoll_create1(0), n;

	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, kcm_poll_fd(w), &ev));
	for (;;) {
		while ((n = kcm_recv(w, msgs, 8, 0)) > 0) {
			for (int i = 0; i < n; i++)
				if (msgs[i].event == KCM_MESSAGE)
					CHECK_EQ(kcm_send(w, msgs[i].conn, msgs[i].data,
							  msgs[i].len, 0),
						 0);
			kcm_release(w, msgs, (unsigned int)n);
		}
		if (n == -EPIPE)
			break;
		CHECK_EQ(n, 0);
		CHECK(epoll_wait(ep, &ev, 1, -1) == 1 || errno == EINTR);
	}
	kcm_worker_close(w);
	close(ep);
	return NULL;
}

static void ping_pong(enum kcm_dispatch policy, int clients, int workers, uint32_t events)
{
	pthread_t c[8], w[8];

	pk = (struct kit){ .o.dispatch = policy };
	kit_open(&pk, FRAME);
	for (int i = 0; i < workers; i++)
		pthread_create(&w[i], NULL, poller, (void *)(uintptr_t)events);
	for (int i = 0; i < clients; i++)
		pthread_create(&c[i], NULL, pinger, (void *)(uintptr_t)(PINGS / clients));
	for (int i = 0; i < clients; i++)
		pthread_join(c[i], NULL);
	kit_close(&pk);
	for (int i = 0; i < workers; i++)
		pthread_join(w[i], NULL);
}

static void poll_fd(kit_args)
{
	ping_pong(KCM_DISPATCH_LEAST, 1, 1, EPOLLIN);
	ping_pong(KCM_DISPATCH_LEAST, 3, 2, EPOLLIN);
	ping_pong(KCM_DISPATCH_LEAST, 2, 3, EPOLLIN | EPOLLET);
	ping_pong(KCM_DISPATCH_CONN, 3, 2, EPOLLIN);
	ping_pong(KCM_DISPATCH_ROBIN, 2, 2, EPOLLIN);
}

int main(int argc, char **argv)
{
	static const struct kit_case cases[] = {
		{ "killed", killed },	  { "closed", closed },
		{ "disabled", disabled }, { "backpressure", backpressure },
		{ "poll-fd", poll_fd },	  { 0 },
	};

	return kit_main(argc, argv, cases, 400);
}
