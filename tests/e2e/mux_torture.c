// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * mux_torture - clients, mux and workers in one run; every byte is checked on both ways.
 *
 * A request is a 4-byte length, then connection, number, size and bytes that follow from them. The
 * worker checks it and answers with the same head and other bytes that follow from them, of a size
 * that the request asks for. The client checks that each of its requests is answered exactly once
 * (or at most once, with --kill), and in order where the policy promises it.
 *
 *   mux_torture [--conns N] [--workers N] [--msgs N] [--min BYTES] [--max BYTES] [--reply BYTES]
 *               [--depth N] [--seg BYTES] [--batch BYTES] [--seed S] [--arena BYTES]
 *               [--policy least|robin|conn|key] [--strparser] [--threads] [--v6] [--early]
 *               [--half-close] [--churn] [--leave N] [--pause MS] [--kill] [--at-least-once]
 *
 * --batch: requests are sent so many bytes at a time; --leave: a worker leaves after about N
 * messages and another one comes.
 */
#define _GNU_SOURCE
#include "torture_client.h"
#include "torture_worker.h"
#include "owner.h"

struct server {
	struct kcm_mux *m;
	int lfd;
};

static void *acceptor(void *arg)
{
	struct server *s = arg;

	for (;;) {
		int fd = accept4(s->lfd, NULL, NULL, SOCK_CLOEXEC), err;
		uint8_t early[64];
		ssize_t n = 0;

		if (fd < 0)
			return NULL;
		if (opt.early) {
			/* A server that has looked at the stream before: half of them read a
			 * little. */
			usleep(2000);
			if (fd & 1)
				n = recv(fd, early, 1 + (size_t)fd % sizeof(early), 0);
		}
		err = kcm_attach(s->m, fd, early, n > 0 ? (size_t)n : 0, NULL);
		if (err)
			die("kcm_attach: %s", strerror(-err));
	}
}

enum arg_kind { NUM, NUM64, FLAG, POLICY };

static const struct arg {
	const char *name;
	enum arg_kind kind;
	void *to;
} args[] = {
	{ "conns", NUM, &opt.conns },
	{ "workers", NUM, &opt.workers },
	{ "msgs", NUM, &opt.msgs },
	{ "min", NUM, &opt.min },
	{ "max", NUM, &opt.max },
	{ "seg", NUM, &opt.seg },
	{ "depth", NUM, &opt.depth },
	{ "reply", NUM, &opt.reply },
	{ "pause", NUM, &opt.pause_ms },
	{ "batch", NUM, &opt.batch },
	{ "leave", NUM, &opt.leave },
	{ "seed", NUM64, &opt.seed },
	{ "arena", NUM64, &opt.arena },
	{ "policy", POLICY, &opt.policy },
	{ "strparser", FLAG, &opt.strp },
	{ "threads", FLAG, &opt.threads },
	{ "v6", FLAG, &opt.v6 },
	{ "churn", FLAG, &opt.churn },
	{ "kill", FLAG, &opt.kill },
	{ "early", FLAG, &opt.early },
	{ "at-least-once", FLAG, &opt.alo },
	{ "half-close", FLAG, &opt.half },
};

static enum kcm_dispatch policy_of(const char *name)
{
	static const char *const names[] = { "least", "robin", "conn", "key" };

	for (unsigned int i = 0; i < 4; i++)
		if (!strcmp(name, names[i]))
			return (enum kcm_dispatch)i;
	die("policy '%s': least, robin, conn or key", name);
}

static void options(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const struct arg *a = args, *end = args + sizeof(args) / sizeof(*args);

		while (a < end && (strncmp(argv[i], "--", 2) || strcmp(argv[i] + 2, a->name)))
			a++;
		if (a == end || (a->kind != FLAG && i + 1 == argc))
			die("what is %s?", argv[i]);
		switch (a->kind) {
		case NUM:
			*(unsigned int *)a->to = (unsigned int)strtoul(argv[++i], NULL, 0);
			break;
		case NUM64:
			*(uint64_t *)a->to = strtoull(argv[++i], NULL, 0);
			break;
		case FLAG:
			*(bool *)a->to = true;
			break;
		case POLICY:
			*(enum kcm_dispatch *)a->to = policy_of(argv[++i]);
			break;
		}
	}
}

/* A worker that left or was killed has a successor. Return: the client's exit code. */
static int run_server(struct kcm_mux *m, pid_t client, pid_t *pids, int *killed)
{
	uint64_t s = opt.seed + 5;
	unsigned int id = 100;

	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, opt.kill ? WNOHANG : 0);

		if (pid == client)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
		for (unsigned int i = 0; pid > 0 && i < opt.workers; i++) {
			if (pids[i] != pid)
				continue;
			if (WIFEXITED(status) && WEXITSTATUS(status) != LEFT)
				die("worker %u ended with %d", i, WEXITSTATUS(status));
			if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
				die("worker %u ended by signal %d", i, WTERMSIG(status));
			pids[i] = worker_process(m, id++);
		}
		if (!pid) {
			usleep(20000 + (useconds_t)(rnd(&s) % 20000));
			kill(pids[rnd(&s) % opt.workers], SIGKILL);
			++*killed;
		}
	}
}

static void run(int argc, char **argv)
{
	pid_t pids[64] = { 0 }, client;
	int client_failed, killed = 0;
	struct kit k = { 0 };
	struct server s;
	uint64_t start;
	pthread_t t;

	options(argc, argv);
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	k.o.dispatch = opt.policy;
	k.o.key_off = 4; /* the connection's number: order is promised as with CONN */
	k.o.key_bytes = opt.policy == KCM_DISPATCH_KEY ? 4 : 0;
	k.o.conns = opt.conns * 2 + 64;
	k.o.workers = 63;
	k.o.arena_bytes = opt.arena;
	k.o.at_least_once = opt.alo;
	k.o.strparser = opt.strp;
	kit_open(&k, "u32be max=64M");
	s.m = k.m;
	s.lfd = k.lfd;
	server_port = k.port;
	client_lax = opt.kill;
	client = kit_fork();
	if (!client) {
		run_clients();
		printf("asked %llu answered %llu\n", (unsigned long long)asked,
		       (unsigned long long)answered);
		if (opt.kill ? answered < asked / 2 : answered != asked)
			die("answered %llu of %llu", (unsigned long long)answered,
			    (unsigned long long)asked);
		exit(0);
	}
	start = now_ms();
	pthread_create(&t, NULL, acceptor, &s);
	for (unsigned int i = 0; i < opt.workers; i++) {
		pthread_t wt;

		if (opt.threads)
			pthread_create(&wt, NULL, worker_thread, k.m);
		else
			pids[i] = worker_process(k.m, i);
	}
	if (opt.pause_ms) {
		usleep(200000);
		sh->pause = 1;
		usleep(opt.pause_ms * 1000);
		sh->pause = 0;
	}
	client_failed = run_server(k.m, client, pids, &killed);
	/* Every connection must go by itself: nothing waits for a release that never comes. */
	for (uint64_t end = now_ms() + KIT_WAIT; now_ms() < end && LOAD(&k.m->n_conns);)
		usleep(1000);
	printf("%u conns %u workers served %llu events %llu of %llu bad %llu order %llu "
	       "redelivered %llu killed %d resets %llu open %u in %llu ms\n",
	       opt.conns, opt.workers, (unsigned long long)sh->served,
	       (unsigned long long)sh->events, (unsigned long long)k.m->v.conf->attached,
	       (unsigned long long)sh->bad, (unsigned long long)sh->order_bad,
	       (unsigned long long)sh->redelivered, killed, (unsigned long long)k.m->v.conf->resets,
	       LOAD(&k.m->n_conns), (unsigned long long)(now_ms() - start));
	if (sh->bad || sh->order_bad || client_failed || LOAD(&k.m->n_conns))
		die("failed");
	if (!opt.kill && sh->events != k.m->v.conf->attached)
		die("not one event a connection");
	shutdown(s.lfd, SHUT_RDWR);
	pthread_join(t, NULL);
	kit_close(&k);
	for (unsigned int i = 0; i < opt.workers && !opt.threads; i++)
		waitpid(pids[i], NULL, 0);
}

int main(int argc, char **argv)
{
	return kit_guard(run, argc, argv, 180);
}
