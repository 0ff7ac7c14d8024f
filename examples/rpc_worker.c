// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * rpc_worker - answers the requests of rpc.h, as one of many processes.
 *
 * usage: rpc_worker [MUX]
 *
 * Without MUX it is started by `kcmtool mux run` or rpc_server, and finds the descriptor it has
 * inherited in $KCM_WORKER_FD. With MUX it joins by /run/kcm/mux/MUX.sock. It needs no privilege.
 */
#include <signal.h>

#include "rpc.h"

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_term }; /* no SA_RESTART: kcm_recv() ends */
	struct kcm_worker *worker;
	struct kcm_msg msgs[32];
	int n;

	if (argc > 2)
		die(0, "usage: rpc_worker [MUX]");
	n = kcm_worker_open(argv[1], &worker);
	if (n)
		die(n, "become a worker of %s", argc > 1 ? argv[1] : "$KCM_WORKER_FD");
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);

	/* The time-out catches a signal that came just before kcm_recv() slept. */
	while (!stop) {
		n = kcm_recv(worker, msgs, 32, 500);
		if (n == -EPIPE)
			break; /* the server is gone */
		if (n < 0 && n != -EINTR)
			die(n, "receive");
		if (n > 0)
			rpc_batch(worker, msgs, n);
	}
	/* Sends what is kept back; messages we have not begun go to other workers. */
	kcm_worker_close(worker);
	return 0;
}
