// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * mux_cli_server - an existing server that uses libkcm, for `kcmtool mux attach`. It echoes with a
 * tag as mux_cli_worker does.
 *
 *   mux_cli_server MUX PORT
 * Says "ready" when it listens. Runs until it is killed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kcm.h"

static struct kcm_mux *mux;

static void check(int err, const char *what)
{
	if (err >= 0)
		return;
	fprintf(stderr, "mux_cli_server: %s: %s\n", what, strerror(-err));
	exit(1);
}

static void *serve(void *arg)
{
	struct kcm_worker *w;
	struct kcm_msg m;
	int n;

	(void)arg;
	check(kcm_worker_open_fd(kcm_mux_worker_fd(mux), &w), "kcm_worker_open_fd");
	/* -EINTR: the test stops and continues us. */
	while ((n = kcm_recv(w, &m, 1, -1)) >= 0 || n == -EINTR) {
		char head[5] = { 0, 0, 0, 0, 'S' };
		struct iovec iov[2] = { { head, 5 } };
		uint32_t len;

		if (n <= 0)
			continue;
		iov[1] = (struct iovec){ (char *)m.data + 4, m.len - 4 };
		len = htonl((uint32_t)m.len - 3);
		memcpy(head, &len, 4);
		if (m.event == KCM_MESSAGE) {
			/* Workers may have messages of connections that are not accepted yet. */
			while (kcm_sendv(w, m.conn, iov, 2, KCM_WAIT) == -EAGAIN)
				usleep(1000);
		}
		kcm_release(w, &m, 1);
	}
	kcm_worker_close(w);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, c;
	pthread_t thread;

	if (argc != 3)
		return 2;
	a.sin_port = htons((uint16_t)atoi(argv[2]));
	check(kcm_mux_open(argv[1], &mux), "kcm_mux_open");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	check(bind(fd, (struct sockaddr *)&a, sizeof(a)), "bind");
	check(listen(fd, 64), "listen");
	check(-pthread_create(&thread, NULL, serve, NULL), "pthread_create");
	puts("ready");
	fflush(stdout);
	while ((c = accept4(fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		check(kcm_attach(mux, c, NULL, 0, NULL), "kcm_attach");
	return 0;
}
