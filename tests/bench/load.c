// SPDX-License-Identifier: GPL-2.0
/*
 * load.c - the driver's handle on the load generator: start, one round, stop.
 */
#include "load.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* A client that is this late is stuck; threads share two cores with the servers. */
#define GRACE_MS 10000

struct load {
	pid_t pid;
	int ctl_fd;
	struct load_result *res; /* shared with the client */
};

struct load *load_start(const struct bench_opts *o)
{
	struct load *l = calloc(1, sizeof(*l));
	int sv[2];

	if (!l)
		return NULL;
	l->res = mmap(NULL, sizeof(*l->res), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (l->res == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv)) {
		perror("bench_mux: load generator");
		free(l);
		return NULL;
	}
	l->pid = fork();
	if (!l->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGINT, SIG_IGN);
		signal(SIGTERM, SIG_DFL);
		close(sv[0]);
		_exit(load_client(o, sv[1], l->res) ? 1 : 0);
	}
	close(sv[1]);
	l->ctl_fd = sv[0];
	if (l->pid < 0) {
		perror("bench_mux: fork of the load generator");
		load_stop(l);
		return NULL;
	}
	return l;
}

int load_run(struct load *l, const struct load_round *round, struct load_result *res)
{
	int limit_ms = (int)(round->warm_ms + round->measure_ms + round->drain_ms) + GRACE_MS;
	struct pollfd p = { .fd = l->ctl_fd, .events = POLLIN };
	char done;

	memset(l->res, 0, sizeof(*l->res));
	memset(res, 0, sizeof(*res));
	if (send(l->ctl_fd, round, sizeof(*round), MSG_NOSIGNAL) != sizeof(*round))
		return -EPIPE;
	if (poll(&p, 1, limit_ms) != 1)
		return -ETIMEDOUT;
	if (read(l->ctl_fd, &done, 1) != 1)
		return -EPIPE;
	*res = *l->res;
	return 0;
}

void load_stop(struct load *l)
{
	if (!l)
		return;
	close(l->ctl_fd);
	if (l->pid > 0) {
		kill(l->pid, SIGKILL);
		waitpid(l->pid, NULL, 0);
	}
	munmap(l->res, sizeof(*l->res));
	free(l);
}
