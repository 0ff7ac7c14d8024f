// SPDX-License-Identifier: GPL-2.0
/*
 * contest.c - one server of a case and its client, see contest.h.
 */
#include "contest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_WAIT_NS (5 * BENCH_NS_PER_S)
#define HELLO_MS     200u

volatile sig_atomic_t contest_stopped;

static void on_signal(int sig)
{
	(void)sig;
	contest_stopped = 1;
}

void contest_init(void)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct rlimit files;

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

static void fail(struct contender *c, const char *what, int err)
{
	if (!c->score->error[0])
		snprintf(c->score->error, sizeof(c->score->error), "%s: %s", what, strerror(-err));
}

static int listen_loopback(struct bench_opts *o)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	bench_socket_options(fd);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, SOMAXCONN) ||
	    getsockname(fd, (struct sockaddr *)&a, &len)) {
		int err = -errno;

		close(fd);
		return err;
	}
	o->port = ntohs(a.sin_port);
	o->listen_fd = fd;
	return 0;
}

int contest_serve(const struct bench_server *server, struct bench_opts *o, pid_t *pid)
{
	pid_t driver = getpid();
	int err = listen_loopback(o);

	if (err)
		return err;
	fflush(NULL);
	*pid = fork();
	if (!*pid) {
		signal(SIGINT, SIG_IGN);
		signal(SIGTERM, SIG_DFL);
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != driver)
			_exit(EXIT_FAILURE);
		err = server->run(o);
		fprintf(stderr, "%s: server %s: %s\n", program_invocation_short_name, server->name,
			strerror(-err));
		_exit(EXIT_FAILURE);
	}
	err = *pid < 0 ? -errno : 0;
	close(o->listen_fd);
	if (!err)
		bench_add_pid(o->shared, *pid);
	return err;
}

void contest_unserve(pid_t *pid)
{
	uint64_t until = bench_now_ns() + STOP_WAIT_NS;

	if (*pid <= 0)
		return;
	kill(*pid, SIGTERM);
	while (!waitpid(*pid, NULL, WNOHANG)) {
		if (bench_now_ns() > until)
			kill(*pid, SIGKILL);
		bench_sleep_ns(BENCH_NS_PER_MS);
	}
	*pid = 0;
}

void contender_round(struct contender *c, const struct load_round *round, bool keep)
{
	struct load_result *res = &c->last;
	struct score *s = c->score;
	int err;

	if (s->error[0] || contest_stopped)
		return;
	err = load_run(c->load, round, res);
	s->bad += res->bad;
	s->lost += res->lost;
	if (err)
		fail(c, "load generator", err);
	else if (res->error[0])
		snprintf(s->error, sizeof(s->error), "%llu wrong, %llu lost; %.100s",
			 (unsigned long long)res->bad, (unsigned long long)res->lost, res->error);
	if (s->error[0] || !keep)
		return;
	s->rate[s->rounds++] = (double)res->msgs * BENCH_NS_PER_S / (double)res->duration_ns;
	s->msgs += res->msgs;
	s->duration_ns += res->duration_ns;
	s->server_cpu_ns += res->server_cpu_ns;
	s->client_cpu_ns += res->client_cpu_ns;
	hist_merge(&c->all, &res->all);
	hist_merge(&c->fast, &res->fast);
}

void contender_start(struct contender *c)
{
	/* Until the server is up, has accepted everybody and touched the memory it needs. */
	struct load_round hello = { .mode = c->opts.mode,
				    .rate = c->opts.rate,
				    .warm_ms = HELLO_MS,
				    .drain_ms = CONTEST_DRAIN_MS };
	int err;

	if (hello.mode == BENCH_IDLE)
		hello.mode = BENCH_CLOSED;
	memset(&c->all, 0, sizeof(c->all));
	memset(&c->fast, 0, sizeof(c->fast));
	c->score->ran = true;
	c->opts.shared = mmap(NULL, sizeof(*c->opts.shared), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (c->opts.shared == MAP_FAILED) {
		fail(c, "mmap", -errno);
		return;
	}
	err = contest_serve(c->server, &c->opts, &c->pid);
	if (err) {
		fail(c, "server", err);
		return;
	}
	c->load = load_start(&c->opts);
	if (!c->load)
		fail(c, "load generator", -ECHILD);
	contender_round(c, &hello, false);
}

void contender_stop(struct contender *c)
{
	struct score *s = c->score;

	load_stop(c->load);
	contest_unserve(&c->pid);
	if (c->opts.shared != MAP_FAILED)
		munmap(c->opts.shared, sizeof(*c->opts.shared));
	s->p50_ns = hist_quantile(&c->all, 0.50);
	s->p99_ns = hist_quantile(&c->all, 0.99);
	s->fast_p99_ns = hist_quantile(&c->fast, 0.99);
}
