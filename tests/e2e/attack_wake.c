// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* attack_wake - messages that wait although a worker sleeps, or behind others' for ever. */
#define _GNU_SOURCE
#include "attack.h"

static void wait_asleep(struct rig *r, int n)
{
	while (__builtin_popcountll(LOAD(&r->v.ctl->sleepers)) < n)
		usleep(1000);
}

/* A worker is stopped in its sleep. Whoever it was: a message goes to one that runs. */
static void stopped(void)
{
	struct kcm_mux_opts o;
	struct rig r;
	pid_t p[3];
	int c;

	rig_options(&o, "u32be");
	rig_open(&r, &o);
	c = rig_dial(&r, NULL);
	for (int i = 0; i < 3; i++)
		p[i] = rig_process(&r, echo, NULL);
	wait_asleep(&r, 3);
	for (int i = 0; i < 3; i++) {
		wait_asleep(&r, 3);
		kill(p[i], SIGSTOP);
		for (uint32_t n = 0; n < 3; n++) {
			send_msg(c, n, 100);
			if (recv_msg(c, LONG_MS) != n)
				die("worker %d is stopped, two sleep, and message %u waits", i, n);
		}
		kill(p[i], SIGCONT);
	}
	close(c);
	must_be_idle(&r);
	for (int i = 0; i < 3; i++)
		kill(p[i], SIGKILL);
	rig_close(&r);
}

/* The same for a message that the owner framed: bigger than any chunk. */
static void stopped_big(void)
{
	struct kcm_mux_opts o;
	struct rig r;
	pid_t p[2];
	int c;

	rig_options(&o, "u32be");
	rig_open(&r, &o);
	c = rig_dial(&r, NULL);
	for (int i = 0; i < 2; i++)
		p[i] = rig_process(&r, echo, NULL);
	for (int i = 0; i < 2; i++) {
		wait_asleep(&r, 2);
		kill(p[i], SIGSTOP);
		for (uint32_t n = 0; n < 3; n++) {
			send_msg(c, n, 100000);
			if (recv_msg(c, LONG_MS) != n)
				die("worker %d is stopped, another sleeps, and message %u waits", i,
				    n);
		}
		kill(p[i], SIGCONT);
	}
	close(c);
	must_be_idle(&r);
	for (int i = 0; i < 2; i++)
		kill(p[i], SIGKILL);
	rig_close(&r);
}

/* Sleeps over message 666, is quick with 5, answers others. One message at a time. */
static void moody(struct kcm_worker *w, void *arg)
{
	struct kcm_msg m;
	int n;

	(void)arg;
	while ((n = kcm_recv(w, &m, 1, -1)) >= 0) {
		if (!n)
			continue;
		if (m.event == KCM_MESSAGE) {
			if (check_msg(m.data, m.len) == 666)
				sleep(LONG_MS / 1000 + 10);
			if (check_msg(m.data, m.len) != 5)
				kcm_send(w, m.conn, m.data, m.len, 0);
		}
		kcm_release(w, &m, 1);
	}
}

/*
 * Workers have learnt that messages take no time. Then a segment brings one that takes for ever
 * and a second one: the second may not wait while another worker sleeps.
 */
static void uneven(void)
{
	struct kcm_mux_opts o;
	struct rig r;
	uint8_t two[64];
	size_t len;
	pid_t p[2];
	int c;

	rig_options(&o, "u32be");
	rig_open(&r, &o);
	c = rig_dial(&r, NULL);
	for (int i = 0; i < 2; i++)
		p[i] = rig_process(&r, moody, NULL);
	for (int i = 0; i < 2000; i++)
		send_msg(c, 5, 0);
	wait_asleep(&r, 2);
	len = make_msg(two, 666, 4);
	len += make_msg(two + len, 7, 4);
	send_all(c, two, len);
	if (recv_msg(c, LONG_MS) != 7)
		die("a message waits for a busy worker while another sleeps");
	for (int i = 0; i < 2; i++)
		kill(p[i], SIGKILL);
	close(c);
	rig_close(&r);
}

static void echo_or_drop(struct kcm_worker *w, void *arg)
{
	struct kcm_msg m;
	int n;

	(void)arg;
	while ((n = kcm_recv(w, &m, 1, -1)) >= 0) {
		if (n && m.event == KCM_MESSAGE)
			kcm_send(w, m.conn, m.data, m.len, 0);
		kcm_release(w, &m, (unsigned int)n);
	}
}

/* A client reads no answers, until nothing more fits into its socket, and goes on asking. */
static void full(void)
{
	struct kcm_mux_opts o;
	struct rig r;
	int a, b;
	pid_t p;

	rig_options(&o, "u32be");
	rig_open(&r, &o);
	a = rig_dial(&r, NULL);
	p = rig_process(&r, echo_or_drop, NULL);
	for (uint32_t i = 0; i < 200; i++)
		send_msg(a, i, 60000);
	for (uint32_t i = 0; i < 10; i++) {
		wait_asleep(&r, 1);
		send_msg(a, i, 10);
		usleep(20000);
	}
	b = rig_dial(&r, NULL);
	send_msg(b, 1, 10);
	if (recv_msg(b, LONG_MS) != 1)
		die("a client that does not read stops others");
	close(a);
	close(b);
	must_be_idle(&r);
	kill(p, SIGKILL);
	rig_close(&r);
}

static void one_by_one(struct kcm_worker *w, void *arg)
{
	struct kcm_msg m;
	int n;

	(void)arg;
	while ((n = kcm_recv(w, &m, 1, -1)) >= 0) {
		if (!n)
			continue;
		if (m.event == KCM_MESSAGE) {
			usleep(100);
			kcm_send(w, m.conn, m.data, 8, 0);
		}
		kcm_release(w, &m, 1);
	}
}

/* Connections with more work than the worker can do must not shut out the others of that worker. */
static void lanes(void)
{
	static uint8_t many[400000];
	struct kcm_mux_opts o;
	size_t len = 0;
	struct rig r;
	int c[65];
	pid_t p;

	rig_options(&o, "fixed=8");
	o.dispatch = KCM_DISPATCH_CONN;
	o.conns = 128;
	rig_open(&r, &o);
	for (int i = 0; i < 65; i++)
		c[i] = rig_dial(&r, NULL);
	memset(many, 'x', sizeof(many));
	/* Lanes follow from slots: with one flooded connection in each half one comes before. */
	for (int i = 0; i < 64; i += 8)
		fcntl(c[i], F_SETFL, O_NONBLOCK);
	p = rig_process(&r, one_by_one, NULL);
	for (int i = 0; i < 64; i += 8) {
		ssize_t n = send(c[i], many, sizeof(many), MSG_NOSIGNAL);

		if (n < 80000)
			die("only %zd bytes fit", n);
		len += (size_t)n;
	}
	usleep(50000);
	for (int i = 1; i < 64; i += 8) {
		struct pollfd pf = { .fd = c[i], .events = POLLIN };

		send_all(c[i], "12345678", 8);
		/* at 100 us a message the 8 floods take much longer than that */
		if (poll(&pf, 1, LONG_MS) <= 0)
			die("connection %d waits behind %zu bytes of others", i, len);
	}
	kill(p, SIGKILL);
	waitpid(p, NULL, 0);
	rig_close(&r);
}

int main(int argc, char **argv)
{
	static const struct scenario all[] = {
		{ "stopped", stopped }, { "stopped_big", stopped_big },
		{ "full", full },	{ "uneven", uneven },
		{ "lanes", lanes },	{ 0 },
	};

	return run_scenarios(all, argc, argv);
}
