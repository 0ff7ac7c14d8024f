// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * mux_cli_worker - the program that mux_cli.bats runs behind a mux. Messages are u32be. It answers
 * each with a tag of one byte before the body it came with; the tag is the first byte of a file.
 *
 *   mux_cli_worker [--tag FILE] [--term] [--plain] [--slow-us N] [--try-zerocopy] [--id] [--hog]
 *                  [--stay] [--fail]
 *
 * A body that begins with "die" kills the worker. --term: catches SIGTERM, and leaves when it has
 * nothing in hand. --id: answers with its uid instead. --hog: takes messages and answers none.
 * --stay: does not leave when it is disabled. --fail: ends at once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kcm.h"

static volatile sig_atomic_t term;
static char tag = '-';
static bool show_id, hog, stay;
static unsigned int slow_us;

static void on_term(int sig)
{
	(void)sig;
	term = 1;
}

static void die(const char *what, int err)
{
	fprintf(stderr, "mux_cli_worker: %s: %s\n", what, strerror(-err));
	exit(3);
}

/*
 * Is the filter on, and does it refuse that option? Asked on sockets that no mux ever saw, and
 * only if there is a filter: see the README for what the option does to a mux'ed one.
 */
static int try_zerocopy(void)
{
	char buf[64] = "";
	socklen_t len = sizeof(buf);
	int fd;

	if (prctl(PR_GET_SECCOMP) != 2)
		return puts("no filter"), 1;
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (!getsockopt(fd, IPPROTO_TCP, 35, buf, &len) || errno != EPERM)
		return puts("not refused"), 1;
	len = sizeof(int);
	if (getsockopt(fd, IPPROTO_TCP, 1, buf, &len))
		return puts("too much is refused"), 1;
	puts("refused");
	return 0;
}

static void answer(struct kcm_worker *w, const struct kcm_msg *m)
{
	const char *body = (const char *)m->data + 4;
	size_t len = m->len - 4;
	char id[32], head[5];
	struct iovec iov[2] = { { head, 5 }, { (void *)body, len } };
	uint32_t n;
	int err;

	if (len >= 3 && !memcmp(body, "die", 3))
		raise(SIGKILL);
	if (slow_us)
		usleep(slow_us);
	if (show_id) {
		iov[1].iov_len = (size_t)snprintf(id, sizeof(id), "%u:%u", getuid(), getgid());
		iov[1].iov_base = id;
	}
	n = htonl((uint32_t)iov[1].iov_len + 1);
	memcpy(head, &n, 4);
	head[4] = tag;
	err = kcm_sendv(w, m->conn, iov, 2, KCM_WAIT);
	if (err && err != -ENOTCONN && err != -EPIPE && err != -ECONNRESET)
		die("kcm_sendv", err);
}

int main(int argc, char **argv)
{
	struct kcm_worker *w;
	struct kcm_msg msgs[16];
	const char *name = NULL;
	int err;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--tag")) {
			FILE *f = fopen(argv[++i], "r");
			int c = f ? fgetc(f) : EOF;

			if (c == EOF)
				die("tag", -errno);
			tag = (char)c;
		} else if (!strcmp(argv[i], "--term")) {
			signal(SIGTERM, on_term);
		} else if (!strcmp(argv[i], "--slow-us")) {
			slow_us = (unsigned int)atoi(argv[++i]);
		} else if (!strcmp(argv[i], "--name")) {
			name = argv[++i];
		} else if (!strcmp(argv[i], "--try-zerocopy")) {
			return try_zerocopy();
		} else if (!strcmp(argv[i], "--id")) {
			show_id = true;
		} else if (!strcmp(argv[i], "--hog")) {
			hog = true;
		} else if (!strcmp(argv[i], "--stay")) {
			stay = true;
		} else if (!strcmp(argv[i], "--fail")) {
			return 9;
		}
	}
	err = kcm_worker_open(name, &w);
	if (err)
		die("kcm_worker_open", err);
	for (;;) {
		int n;

		if (term == 1) {
			kcm_worker_enable(w, 0);
			term = 2;
		}
		n = kcm_recv(w, msgs, 16, 100);
		if (n == -ESHUTDOWN && stay) {
			usleep(10000);
			continue;
		}
		if (n == -EPIPE || n == -ESHUTDOWN)
			break;
		if (n < 0 && n != -EINTR)
			die("kcm_recv", n);
		for (int i = 0; i < n; i++)
			if (msgs[i].event == KCM_MESSAGE && !hog)
				answer(w, &msgs[i]);
		if (n > 0 && !hog)
			kcm_release(w, msgs, (unsigned int)n);
	}
	kcm_worker_close(w);
	return 0;
}
