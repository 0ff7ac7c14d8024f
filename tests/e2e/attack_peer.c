// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* attack_peer - clients that do not read, owners that die, workers that outlive them. */
#define _GNU_SOURCE
#include "attack.h"

static void wait_asleep(struct rig *r, int n)
{
	uint64_t end = clock_ms() + LONG_MS;

	while (__builtin_popcountll(LOAD(&r->v.ctl->sleepers)) < n) {
		if (clock_ms() > end)
			die("%d of %d workers asleep",
			    __builtin_popcountll(LOAD(&r->v.ctl->sleepers)), n);
		usleep(1000);
	}
}

/* Keeps each reply back until the next kcm_recv(). */
static void echo_more(struct kcm_worker *w, void *arg)
{
	struct kcm_msg m;
	int n;

	(void)arg;
	while ((n = kcm_recv(w, &m, 1, -1)) >= 0) {
		if (n && m.event == KCM_MESSAGE)
			kcm_send(w, m.conn, m.data, m.len, KCM_MORE);
		kcm_release(w, &m, (unsigned int)n);
	}
}

/* Replies that were kept back may not stop a worker, however slow the client is. */
static void slow(void)
{
	struct kcm_mux_opts o;
	struct rig r;
	pid_t p[2];
	int a, b;

	rig_options(&o, "u32be");
	o.tx_limit_bytes = 100000;
	rig_open(&r, &o);
	a = rig_dial(&r, NULL);
	b = rig_dial(&r, NULL);
	for (int i = 0; i < 2; i++)
		p[i] = rig_process(&r, echo_more, NULL);
	for (uint32_t i = 0; i < 400; i++)
		send_msg(i % 2 ? a : b, i, 50000);
	wait_asleep(&r, 2);
	close(a);
	close(b);
	must_be_idle(&r);
	for (int i = 0; i < 2; i++)
		kill(p[i], SIGKILL);
	rig_close(&r);
}

/* Make a mux and be its owner in a process of its own, until killed. Return: its pid. */
static pid_t owner_process(struct rig *r, const struct kcm_mux_opts *o, int n_conns,
			   void (*serve)(struct kcm_worker *, void *), void *arg, pid_t *worker)
{
	int p[2];
	pid_t pid;

	must(pipe(p));
	pid = (pid_t)must(fork());
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (o)
			rig_open(r, o);
		else
			ok(kcm_mux_open(r->name, &r->m));
		if (!o)
			rig_listen(r);
		*worker = rig_process(r, serve, arg);
		must(write(p[1], r, sizeof(*r)));
		must(write(p[1], worker, sizeof(*worker)));
		for (int i = 0; i < n_conns; i++)
			ok(kcm_attach(r->m, (int)must(accept(r->lfd, NULL, NULL)), NULL, 0, NULL));
		for (;;)
			pause();
	}
	if (read(p[0], r, sizeof(*r)) != sizeof(*r) ||
	    read(p[0], worker, sizeof(*worker)) != sizeof(*worker))
		die("no owner");
	close(p[0]);
	close(p[1]);
	return pid;
}

static int dial(struct rig *r)
{
	int c = (int)must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

	must(connect(c, (struct sockaddr *)&r->addr, sizeof(r->addr)));
	return c;
}

static int *shared; /* what worker processes tell us */

static void stay(struct kcm_worker *w, void *arg)
{
	/* Not with its parent: that is what this is about. */
	prctl(PR_SET_PDEATHSIG, 0);
	(void)arg;
	alarm(200);
	echo(w, NULL);
	*shared = 1;
}

/* The owner is killed while a worker waits for a client that does not read. */
static void orphan(void)
{
	struct kcm_mux_opts o;
	struct rig r;
	pid_t owner, worker;
	uint64_t end;
	int c;

	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	rig_options(&o, "u32be");
	o.tx_limit_bytes = 100000;
	owner = owner_process(&r, &o, 1, stay, NULL, &worker);
	c = dial(&r);
	for (uint32_t i = 0; i < 200; i++)
		send_msg(c, i, 50000);
	usleep(300000);
	kill(owner, SIGKILL);
	must(waitpid(owner, NULL, 0));
	end = clock_ms() + LONG_MS;
	while (!*shared) {
		if (clock_ms() > end) {
			kill(worker, SIGKILL);
			kcm_mux_delete(r.name, 1);
			die("the worker does not notice that its owner is gone");
		}
		usleep(1000);
	}
	close(c);
	ok(kcm_mux_delete(r.name, 0));
}

/* Takes its time over message 666, and tells what it got later. */
static void outlive(struct kcm_worker *w, void *arg)
{
	struct kcm_msg m;
	int n;

	(void)arg;
	prctl(PR_SET_PDEATHSIG, 0);
	alarm(200);
	while ((n = kcm_recv(w, &m, 1, -1)) >= 0) {
		if (n && m.event == KCM_MESSAGE) {
			if (check_msg(m.data, m.len) == 666) {
				shared[1] = 1;
				while (!shared[2])
					usleep(1000);
				shared[3] = 1;
			} else {
				shared[4]++;
			}
		}
		kcm_release(w, &m, (unsigned int)n);
	}
	shared[5] = 1;
}

static void echo_later(struct kcm_worker *w, void *arg)
{
	while (!shared[6])
		usleep(1000);
	echo(w, arg);
}

/*
 * The owner is killed, the next one starts. A worker of the former one comes back from a long
 * message: it may neither take nor mark released what is the new workers'.
 */
static void outlived(void)
{
	struct kcm_mux_opts o;
	pid_t owner, worker;
	uint64_t end;
	struct rig r;
	int c;

	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	rig_options(&o, "u32be");
	owner = owner_process(&r, &o, 1, outlive, NULL, &worker);
	c = dial(&r);
	send_msg(c, 666, 100);
	while (!shared[1])
		usleep(1000);
	kill(owner, SIGKILL);
	must(waitpid(owner, NULL, 0));
	close(c);
	owner = owner_process(&r, NULL, 1, echo_later, NULL, &worker);
	c = dial(&r);
	for (uint32_t i = 0; i < 100; i++)
		send_msg(c, i, 100);
	usleep(100000);
	shared[2] = 1;
	end = clock_ms() + LONG_MS;
	while (!shared[5] && !shared[4] && clock_ms() < end)
		usleep(1000);
	shared[6] = 1;
	for (uint32_t i = 0; i < 100; i++)
		if (recv_msg(c, LONG_MS / 10) < 0) {
			kcm_mux_delete(r.name, 1);
			die("%u of 100 answered; the old worker took %d and has%s ended", i,
			    shared[4], shared[5] ? "" : " not");
		}
	if (!shared[5])
		die("the old worker goes on");
	kill(owner, SIGKILL);
	must(waitpid(owner, NULL, 0));
	close(c);
	ok(kcm_mux_delete(r.name, 0));
}

/* Waits in message 666 until it is told; answers everything. */
static void wait_in_666(struct kcm_worker *w, void *arg)
{
	struct kcm_msg m;
	int n;

	(void)arg;
	while ((n = kcm_recv(w, &m, 1, -1)) >= 0) {
		if (n && m.event == KCM_MESSAGE) {
			if (check_msg(m.data, m.len) == 666) {
				shared[1] = 1;
				while (!shared[2])
					usleep(1000);
			}
			kcm_send(w, m.conn, m.data, m.len, 0);
		}
		kcm_release(w, &m, (unsigned int)n);
	}
}

/*
 * While a worker is busy, hundreds of connections end that it has descriptors of. That the owner
 * can't tell it about them all is no reason to take it for dead.
 */
static void ended(void)
{
	enum { N = 1000 };
	struct kcm_mux_opts o;
	static int c[N];
	struct rig r;
	pid_t p, q;
	int d;

	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	rig_options(&o, "u32be");
	o.conns = N + 10;
	rig_open(&r, &o);
	p = rig_process(&r, wait_in_666, NULL);
	for (int i = 0; i < N; i++) {
		c[i] = rig_dial(&r, NULL);
		send_msg(c[i], 1, 10);
		if (recv_msg(c[i], LONG_MS) != 1)
			die("no answer");
	}
	d = rig_dial(&r, NULL);
	send_msg(d, 666, 10);
	while (!shared[1])
		usleep(1000);
	q = rig_process(&r, echo, NULL);
	for (int i = 0; i < N; i++)
		close(c[i]);
	for (unsigned int conns = N, workers; conns > 1; usleep(1000))
		kcm_mux_counts(r.m, &conns, &workers);
	usleep(100000);
	kill(q, SIGKILL);
	waitpid(q, NULL, 0);
	c[0] = rig_dial(&r, NULL);
	send_msg(c[0], 2, 10);
	shared[2] = 1;
	if (recv_msg(d, LONG_MS) != 666 || recv_msg(c[0], LONG_MS) != 2)
		die("a busy worker was given up");
	close(c[0]);
	close(d);
	must_be_idle(&r);
	kill(p, SIGKILL);
	rig_close(&r);
}

int main(int argc, char **argv)
{
	static const struct scenario all[] = {
		{ "slow", slow },
		{ "orphan", orphan },
		{ "outlived", outlived },
		{ "ended", ended },
		{ 0 },
	};

	return run_scenarios(all, argc, argv);
}
