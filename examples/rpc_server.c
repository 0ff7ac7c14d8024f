// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * rpc_server - a small server whose workers are processes: what `kcmtool mux run` does, in short.
 *
 * usage: rpc_server ADDR:PORT WORKERS PROGRAM...	rpc_server 127.0.0.1:7000 4 ./rpc_worker
 *
 * This process owns the mux: it accepts connections, hands them to the mux, and starts a worker
 * again when it dies. Nothing that a worker had and did not release is lost: `at_least_once`.
 */
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "common.h"
#include "kcm.h"

#define MUX	    "rpc"
#define WORKERS_MAX 32
#define RESTART_MS  200 /* a program that dies at once is not started more often */
#define WORKER_FD   3

static struct kcm_mux *mux;
static struct worker {
	pid_t pid; /* 0: to be started */
	uint64_t start_ns;
} workers[WORKERS_MAX];

static struct kcm_mux *make_mux(void)
{
	struct kcm_mux_opts opts = { .sz = sizeof(opts),
				     .at_least_once = 1,
				     .workers = WORKERS_MAX };
	struct kcm_mux *m;
	char why[256];
	int err = kcm_frame_parse("u32be max=1M", &opts.frame, why, sizeof(why));

	if (err)
		die(0, "%s", why);
	kcm_mux_delete(MUX, 0); /* what a killed server left; refused if one is running */
	if (kcm_mux_create(MUX, &opts, why, sizeof(why)))
		die(0, "%s", why);
	err = kcm_mux_open(MUX, &m);
	if (err) {
		kcm_mux_delete(MUX, 0);
		die(err, "open mux '%s'", MUX);
	}
	return m;
}

static void start_worker(struct worker *w, char **argv)
{
	int fd = kcm_mux_worker_fd(mux);
	sigset_t all;

	w->start_ns = now_ns();
	if (fd < 0)
		return; /* tried again later */
	w->pid = fork();
	if (!w->pid) {
		/* Only what may be called between fork() and exec() of a process with threads. */
		sigfillset(&all);
		sigprocmask(SIG_UNBLOCK, &all, NULL);
		dup2(fd, WORKER_FD); /* all others are close-on-exec */
		execvp(argv[0], argv);
		_exit(127);
	}
	close(fd);
	if (w->pid > 0)
		printf("worker %d started\n", w->pid);
	else
		w->pid = 0;
}

/* Start the workers that are missing. Return: time-out for poll(). */
static int keep_workers(int n, char **argv)
{
	int timeout = -1;

	for (struct worker *w = workers; w < workers + n; w++) {
		if (!w->pid && now_ns() - w->start_ns >= RESTART_MS * 1000000ULL)
			start_worker(w, argv);
		if (!w->pid)
			timeout = RESTART_MS;
	}
	return timeout;
}

static void on_connection(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	int err = fd < 0 ? 0 : kcm_attach(mux, fd, NULL, 0, NULL);

	if (err) {
		fprintf(stderr, "rpc_server: attach a connection: %s\n", strerror(-err));
		close(fd);
	}
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		printf("worker %d ended, status %#x\n", pid, status);
		for (int i = 0; i < WORKERS_MAX; i++)
			if (workers[i].pid == pid)
				workers[i].pid = 0;
	}
}

int main(int argc, char **argv)
{
	int n = argc > 3 ? atoi(argv[2]) : 0, stop = 0, err;
	struct pollfd p[2] = { { .events = POLLIN }, { .events = POLLIN } };
	struct signalfd_siginfo si;
	sigset_t set;

	if (n < 1 || n > WORKERS_MAX)
		die(0, "usage: rpc_server ADDR:PORT WORKERS PROGRAM [ARGS]...");
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&set);
	for (int i = 0; i < 3; i++)
		sigaddset(&set, (int[]){ SIGINT, SIGTERM, SIGCHLD }[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	p[0].fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (p[0].fd < 0 || setenv("KCM_WORKER_FD", "3", 1))
		die(-errno, "signalfd");
	p[1].fd = tcp_open(argv[1], 1);
	mux = make_mux();
	printf("listening on port %d\n", tcp_port(p[1].fd));

	while (!stop) {
		poll(p, 2, keep_workers(n, argv + 3));
		if (p[0].revents && read(p[0].fd, &si, sizeof(si)) == sizeof(si)) {
			stop = si.ssi_signo != SIGCHLD;
			reap();
		}
		if (p[1].revents)
			on_connection(p[1].fd);
	}

	kcm_mux_close(mux); /* workers see -EPIPE and leave */
	err = kcm_mux_delete(MUX, 0);
	alarm(3); /* one that does not leave shall not hold us up */
	while (wait(NULL) > 0)
		;
	return err ? 1 : 0;
}
