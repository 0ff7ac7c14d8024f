// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * echo_server - sends every message back; the workers are threads of this process.
 *
 * usage: echo_server [ADDR:PORT [THREADS [FRAME]]]	default 127.0.0.1:7001 2 line
 *	  then, in another terminal: nc 127.0.0.1 7001
 *
 * One thread accepts connections and hands them to the mux, the others take whole messages out of
 * it. KCM_DISPATCH_CONN: all messages of a connection go to one worker, so the order is kept.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/signalfd.h>

#include "common.h"
#include "kcm.h"

#define MUX	    "echo"
#define THREADS_MAX 32

static void *worker_main(void *arg)
{
	struct kcm_worker *worker;
	struct kcm_msg msgs[32];
	int n, err = kcm_worker_open_fd((int)(intptr_t)arg, &worker);

	if (err)
		die(err, "become a worker");
	/* -EPIPE: kcm_mux_close() was called. */
	while ((n = kcm_recv(worker, msgs, 32, -1)) >= 0 || n == -EINTR) {
		for (int i = 0; i < n; i++) {
			if (msgs[i].event != KCM_MESSAGE)
				continue; /* a connection ended */
			/*
			 * KCM_MORE: echoes to one connection are sent together, at the latest by
			 * the next kcm_recv(). KCM_WAIT: if the peer does not read, wait for it.
			 */
			err = kcm_send(worker, msgs[i].conn, msgs[i].data, msgs[i].len,
				       KCM_MORE | KCM_WAIT);
			if (err && err != -ENOTCONN && err != -EPIPE && err != -ECONNRESET)
				die(err, "send");
		}
		if (n > 0)
			kcm_release(worker, msgs, (unsigned int)n);
	}
	if (n != -EPIPE)
		die(n, "receive");
	kcm_worker_close(worker);
	return NULL;
}

static struct kcm_mux *make_mux(const char *frame)
{
	struct kcm_mux_opts opts = { .sz = sizeof(opts), .dispatch = KCM_DISPATCH_CONN };
	struct kcm_mux *mux;
	char why[256];
	int err = kcm_frame_parse(frame, &opts.frame, why, sizeof(why));

	if (err)
		die(0, "frame '%s': %s", frame, why);
	opts.workers = THREADS_MAX;
	kcm_mux_delete(MUX, 0); /* what a killed server left; refused if one is running */
	err = kcm_mux_create(MUX, &opts, why, sizeof(why));
	if (err)
		die(0, "%s", why);
	err = kcm_mux_open(MUX, &mux);
	if (err) {
		kcm_mux_delete(MUX, 0);
		die(err, "open mux '%s'", MUX);
	}
	return mux;
}

static void on_connection(struct kcm_mux *mux, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), err;

	if (fd < 0)
		return;				  /* the client has given up already */
	err = kcm_attach(mux, fd, NULL, 0, NULL); /* the mux owns it from now on */
	if (err) {
		fprintf(stderr, "echo_server: attach a connection: %s\n", strerror(-err));
		close(fd);
	}
}

int main(int argc, char **argv)
{
	int n = argc > 2 ? atoi(argv[2]) : 2, err;
	struct pollfd p[2] = { { .events = POLLIN }, { .events = POLLIN } };
	pthread_t threads[THREADS_MAX];
	struct kcm_mux *mux;
	sigset_t set;

	if (n < 1 || n > THREADS_MAX || argc > 4)
		die(0, "usage: echo_server [ADDR:PORT [THREADS [FRAME]]]");
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* Before there are threads: all of them inherit it. */
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	p[0].fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (p[0].fd < 0)
		die(-errno, "signalfd");
	p[1].fd = tcp_open(argc > 1 ? argv[1] : "127.0.0.1:7001", 1);
	mux = make_mux(argc > 3 ? argv[3] : "line");
	for (int i = 0; i < n; i++) {
		int fd = kcm_mux_worker_fd(mux);

		if (fd < 0)
			die(fd, "make a worker");
		err = pthread_create(&threads[i], NULL, worker_main, (void *)(intptr_t)fd);
		if (err)
			die(-err, "start a thread");
	}
	printf("listening on port %d\n", tcp_port(p[1].fd));

	while (poll(p, 2, -1) >= 0 && !p[0].revents)
		if (p[1].revents)
			on_connection(mux, p[1].fd);

	kcm_mux_close(mux);
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	err = kcm_mux_delete(MUX, 0);
	if (err)
		die(err, "delete mux '%s'", MUX);
	return 0;
}
