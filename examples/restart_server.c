// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * restart_server - an HTTP server that restarts itself and loses no connection.
 *
 * usage: restart_server [ADDR:PORT [FILE]]	default 127.0.0.1:7003; FILE is what it answers
 *	  kcmtool migrate attach --port 7003
 *	  kill -HUP PID		the program as it is on disk by then takes over
 *
 * By SIGHUP it starts its successor, and goes on until that says that it accepts: then that one
 * gets all new connections, and this one drains, serves what it has, and ends. A successor that
 * does not start is no matter. Without `migrate attach`, what is on its way may get lost.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "common.h"
#include "http.h"
#include "kcm_migrate.h"

#define GENERATION "RESTART_SERVER_GENERATION"
#define READY_FD   3
#define QUIET_NS   100000000ULL /* handshakes that had begun are over: some round trips */

static volatile sig_atomic_t restart, ending;
static atomic_int clients;
static sigset_t open_mask;
static uint32_t generation;
static char body[65536];
static size_t body_len;
static pid_t next_pid;
static int next_fd = -1;

static void on_signal(int sig)
{
	*(sig == SIGHUP ? &restart : &ending) = 1;
}

/* They come while we wait, and only then. */
static void signals_begin(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	sigemptyset(&open_mask);
	signal(SIGHUP, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGCHLD, SIG_IGN);
}

static void *serve(void *arg)
{
	http_answer((int)(intptr_t)arg, generation, body, body_len);
	close((int)(intptr_t)arg);
	clients--;
	return NULL;
}

static void wait_some(int listener, int timeout_ms)
{
	struct timespec t = { .tv_nsec = timeout_ms * 1000000L };
	struct pollfd p[2] = { { listener, POLLIN, 0 }, { next_fd, POLLIN, 0 } };
	pthread_t thread;
	int fd;

	if (ppoll(p, 2, timeout_ms < 0 ? NULL : &t, &open_mask) <= 0)
		return;
	while (p[0].revents && (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		clients++;
		if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd))
			serve((void *)(intptr_t)fd); /* as many as there can be */
		else
			pthread_detach(thread);
	}
	if (p[1].revents) {
		if (read(next_fd, &fd, 1) == 1)
			ending = 1;
		else
			fprintf(stderr, "generation %u does not start\n", generation + 1);
		close(next_fd);
		next_fd = -1;
	}
}

/* Its first byte says that it accepts; its end without a word is seen as well. */
static void start_next(char **argv)
{
	char text[16];
	int ready[2];

	if (next_fd >= 0) { /* it takes too long */
		kill(next_pid, SIGKILL);
		close(next_fd);
	}
	snprintf(text, sizeof(text), "%u", generation + 1);
	setenv(GENERATION, text, 1);
	if (pipe2(ready, O_CLOEXEC) || (next_pid = fork()) < 0)
		die(-errno, "start a generation");
	if (!next_pid) {
		if (ready[1] == READY_FD || dup2(ready[1], READY_FD) < 0)
			fcntl(READY_FD, F_SETFD, 0);
		execvp(argv[0], argv);
		_exit(1);
	}
	close(ready[1]);
	next_fd = ready[0];
}

int main(int argc, char **argv)
{
	const char *number = getenv(GENERATION);
	int listener, err;
	uint64_t end_ns;
	ssize_t n = 0;

	if (argc > 3)
		die(0, "usage: restart_server [ADDR:PORT [FILE]]");
	setvbuf(stdout, NULL, _IOLBF, 0);
	signals_begin();
	/* No other start of this server has the same number. */
	generation = (uint32_t)(number ? strtoul(number, NULL, 10) : (unsigned long)time(NULL));
	if (argc > 2 && ((listener = open(argv[2], O_RDONLY)) < 0 ||
			 (n = read(listener, body, sizeof(body))) < 0 || close(listener)))
		die(-errno, "%s", argv[2]);
	body_len = argc > 2 ? (size_t)n : (size_t)sprintf(body, "generation %u\n", generation);

	listener = tcp_open(argc > 1 ? argv[1] : "127.0.0.1:7003", 2);
	fcntl(listener, F_SETFL, O_NONBLOCK); /* who waited may have gone, or may have moved */
	err = kcm_listener_register(listener, generation);
	printf("generation %u, pid %d: %s, listening on port %d\n", generation, getpid(),
	       err ? strerror(-err) : "registered", tcp_port(listener));
	if (number && (write(READY_FD, "", 1) != 1 || close(READY_FD)))
		die(-errno, "tell that it is ready");
	while (!ending) {
		wait_some(listener, -1);
		if (restart)
			start_next(argv);
		restart = 0;
	}
	kcm_listener_drain(listener); /* or there is nobody else, or no migrate */
	for (end_ns = now_ns() + QUIET_NS; now_ns() < end_ns;)
		wait_some(listener, 10);
	close(listener); /* what is still in its queue moves */
	while (clients)
		usleep(1000);
	return 0;
}
