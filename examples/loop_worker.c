// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * loop_worker - like rpc_worker, in an epoll loop that also serves something else: signals.
 *
 * usage: loop_worker [MUX]
 *	  SIGUSR1: receive nothing more, what waits goes to other workers	SIGUSR2: receive
 *again SIGTERM, SIGINT: leave
 */
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "rpc.h"

static struct kcm_worker *worker;

/* Return: 0 when the server is gone. */
static int on_messages(void)
{
	struct kcm_msg msgs[32];
	int n;

	/*
	 * Until it returns 0: only then the worker counts as asleep, and the descriptor becomes
	 * readable when there is something new.
	 */
	while ((n = kcm_recv(worker, msgs, 32, 0)) > 0)
		rpc_batch(worker, msgs, n);
	if (n < 0 && n != -EPIPE && n != -ESHUTDOWN && n != -EINTR)
		die(n, "receive");
	return n != -EPIPE;
}

/* Return: 0 to leave. */
static int on_signal(int fd)
{
	struct signalfd_siginfo si;
	int on, err;

	if (read(fd, &si, sizeof(si)) != sizeof(si))
		die(-errno, "read a signal");
	if (si.ssi_signo != SIGUSR1 && si.ssi_signo != SIGUSR2)
		return 0;
	on = si.ssi_signo == SIGUSR2;
	err = kcm_worker_enable(worker, on);
	if (err)
		die(err, "receive-%s", on ? "enable" : "disable");
	fprintf(stderr, "loop_worker %d: receive %s\n", getpid(), on ? "enabled" : "disabled");
	return on_messages(); /* what came meanwhile, and to be counted as asleep */
}

static void watch(int loop, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };

	if (fd < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, fd, &ev))
		die(-errno, "watch a descriptor");
}

int main(int argc, char **argv)
{
	int loop = epoll_create1(EPOLL_CLOEXEC), sigs, go, err;
	struct epoll_event ev;
	sigset_t set;

	if (argc > 2)
		die(0, "usage: loop_worker [MUX]");
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigs = signalfd(-1, &set, SFD_CLOEXEC);
	err = kcm_worker_open(argv[1], &worker);
	if (err)
		die(err, "become a worker of %s", argc > 1 ? argv[1] : "$KCM_WORKER_FD");
	watch(loop, sigs);
	watch(loop, kcm_poll_fd(worker));

	/* Once before the first wait: a worker that never slept is not woken. */
	for (go = on_messages(); go;) {
		if (epoll_wait(loop, &ev, 1, -1) < 0) {
			if (errno == EINTR)
				continue;
			die(-errno, "epoll_wait");
		}
		go = ev.data.fd == sigs ? on_signal(sigs) : on_messages();
	}
	kcm_worker_close(worker);
	return 0;
}
