// SPDX-License-Identifier: GPL-2.0
/*
 * server_mux.c - mux itself: the owner accepts and attaches, worker processes serve and reply.
 *
 * The workers are forked before the mux exists, so that they share nothing with the owner but
 * what libkcm gives them. With --threads they are threads of the owner.
 */
#include "bench.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kcm.h"
#include "msg.h"
#include "server.h"

#define MSGS_PER_TURN 64u
#define SPARE_CONNS   16u
#define NAME_BYTES    32

struct mux_server {
	const struct bench_opts *opts;
	char name[NAME_BYTES];
	struct kcm_mux *mux;
	pid_t pid[BENCH_MAX_PIDS];
};

struct mux_thread {
	const struct bench_opts *opts;
	struct kcm_worker *worker;
};

/* The client sends no nonsense: any event but the end is worth a line. */
static void mux_event(const struct kcm_msg *m)
{
	if (m->event != KCM_CLOSED)
		fprintf(stderr, "bench_mux: connection %llu of mux: event %d, %zu bytes: %s\n",
			(unsigned long long)m->conn, (int)m->event, m->len, strerror(m->error));
}

static void mux_serve(const struct bench_opts *o, struct kcm_worker *w)
{
	static _Thread_local uint8_t tx[BENCH_MAX_SIZE];
	uint32_t per_turn = bench_messages_per_turn(o, MSGS_PER_TURN);
	/* Replies of a turn leave together; a turn is one message if work may be long. */
	int flags = per_turn > 1 ? KCM_MORE | KCM_WAIT : KCM_WAIT;
	struct kcm_msg m[MSGS_PER_TURN];

	for (;;) {
		int n = kcm_recv(w, m, per_turn, -1);

		if (n < 0)
			return;
		for (int i = 0; i < n; i++) {
			uint32_t len = (uint32_t)m[i].len;

			if (m[i].event != KCM_MESSAGE || len < BENCH_HDR) {
				mux_event(&m[i]);
				continue;
			}
			bench_work(o, m[i].data);
			if (o->one_way) {
				bench_take(o, m[i].data, len);
				continue;
			}
			kcm_send(w, m[i].conn, tx, bench_reply(o, m[i].data, len, tx), flags);
		}
		if (flags & KCM_MORE)
			kcm_flush(w);
		kcm_release(w, m, (unsigned int)n);
	}
}

static void *mux_thread(void *arg)
{
	struct mux_thread *t = arg;

	mux_serve(t->opts, t->worker);
	return NULL;
}

/* A worker process: joins the mux once a byte from @go says that it exists. */
static void mux_process(const struct mux_server *s, int go)
{
	struct kcm_worker *w;
	char byte;
	int err;

	signal(SIGTERM, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (read(go, &byte, 1) != 1)
		_exit(1);
	err = kcm_worker_open(s->name, &w);
	if (err) {
		fprintf(stderr, "bench_mux: worker of mux '%s': %s\n", s->name, strerror(-err));
		_exit(1);
	}
	mux_serve(s->opts, w);
	_exit(0);
}

static int fork_workers(struct mux_server *s, int go_pipe[2])
{
	for (uint32_t i = 0; i < s->opts->workers; i++) {
		s->pid[i] = fork();
		if (!s->pid[i]) {
			close(go_pipe[1]);
			mux_process(s, go_pipe[0]);
		}
		if (s->pid[i] < 0)
			return -errno;
		bench_add_pid(s->opts->shared, s->pid[i]);
	}
	return 0;
}

static int start_threads(struct mux_server *s)
{
	for (uint32_t i = 0; i < s->opts->workers; i++) {
		struct mux_thread *t = calloc(1, sizeof(*t));
		int fd = kcm_mux_worker_fd(s->mux), err;
		pthread_t thread;

		if (fd < 0 || !t)
			return fd < 0 ? fd : -ENOMEM;
		t->opts = s->opts;
		err = kcm_worker_open_fd(fd, &t->worker);
		if (err)
			return err;
		if (pthread_create(&thread, NULL, mux_thread, t))
			return -ENOMEM;
	}
	return 0;
}

static int mux_start(struct mux_server *s)
{
	struct kcm_mux_opts mo = { .sz = sizeof(mo),
				   .conns = s->opts->conns + SPARE_CONNS,
				   .workers = s->opts->workers,
				   .arena_bytes = (uint64_t)s->opts->arena_mib << 20 };
	char err_text[256] = "";
	int err;

	err = kcm_frame_parse("u32be max=68K", &mo.frame, err_text, sizeof(err_text));
	if (!err)
		err = kcm_mux_create(s->name, &mo, err_text, sizeof(err_text));
	if (err) {
		fprintf(stderr, "bench_mux: mux '%s': %s\n", s->name, err_text);
		return err;
	}
	return kcm_mux_open(s->name, &s->mux);
}

/* Accept and attach until SIGTERM. */
static int mux_accept(struct mux_server *s, int term_fd)
{
	struct pollfd p[2] = { { .fd = s->opts->listen_fd, .events = POLLIN },
			       { .fd = term_fd, .events = POLLIN } };

	for (;;) {
		int fd, err;

		poll(p, 2, -1);
		if (p[1].revents)
			return 0;
		fd = serve_accept(s->opts->listen_fd);
		err = fd < 0 ? fd : kcm_attach(s->mux, fd, NULL, 0, NULL);
		if (err)
			return err;
	}
}

static void mux_stop(struct mux_server *s)
{
	for (uint32_t i = 0; i < s->opts->workers; i++) {
		if (s->pid[i] <= 0)
			continue;
		kill(s->pid[i], SIGKILL);
		bench_del_pid(s->opts->shared, s->pid[i]);
		waitpid(s->pid[i], NULL, 0);
	}
	if (s->mux)
		kcm_mux_close(s->mux);
	kcm_mux_delete(s->name, 1);
}

static int mux_run(const struct bench_opts *o)
{
	struct mux_server s = { .opts = o };
	int go_pipe[2], term_fd, err = 0;
	sigset_t term;

	snprintf(s.name, sizeof(s.name), "bench-%d", (int)getpid());
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	term_fd = signalfd(-1, &term, SFD_CLOEXEC);
	if (term_fd < 0 || pipe(go_pipe))
		return -errno;
	if (!o->threads)
		err = fork_workers(&s, go_pipe);
	if (!err)
		err = mux_start(&s);
	if (!err && o->threads)
		err = start_threads(&s);
	for (uint32_t i = 0; !err && i < o->workers; i++)
		err = write(go_pipe[1], "g", 1) == 1 ? 0 : -errno;
	if (!err)
		err = mux_accept(&s, term_fd);
	mux_stop(&s);
	if (!err)
		_exit(0);
	return err;
}

const struct bench_server bench_server_mux = {
	.name = "mux",
	.label = "mux",
	.about = "libkcm: messages to worker processes, no I/O thread",
	.run = mux_run,
};
