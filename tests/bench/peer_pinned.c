// SPDX-License-Identifier: GPL-2.0
/*
 * peer_pinned.c - peer (a): one epoll loop per thread, every connection pinned to one of them.
 *
 * The fastest there is for messages that cost nothing: no lock, no wake-up but the socket's, data
 * stays on one CPU. A message behind a slow one waits, even if another thread is idle.
 * Connections are dealt out round robin, which is the fairest pinning possible.
 */
#include "bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "server.h"

#define EVENTS_PER_WAIT 64

struct pinned_worker {
	struct serve_worker serve;
	int epoll_fd;
	pthread_t thread;
};

static void *pinned_loop(void *arg)
{
	struct epoll_event ev[EVENTS_PER_WAIT];
	struct pinned_worker *w = arg;

	for (;;) {
		int n = epoll_wait(w->epoll_fd, ev, EVENTS_PER_WAIT, -1);

		for (int i = 0; i < n; i++) {
			struct serve_conn *c = ev[i].data.ptr;
			bool was_out = c->pending_len, is_out;
			enum serve_result res = serve_ready(&w->serve, c);

			if (res == SERVE_CLOSED) {
				free(c);
				continue;
			}
			is_out = res == SERVE_WANT_OUT;
			if (is_out == was_out)
				continue;
			epoll_ctl(w->epoll_fd, EPOLL_CTL_MOD, c->fd,
				  &(struct epoll_event){ .events = is_out ? EPOLLOUT : EPOLLIN,
							 .data.ptr = c });
		}
	}
	return NULL;
}

static int pinned_run(const struct bench_opts *o)
{
	struct pinned_worker *w = calloc(o->workers, sizeof(*w));
	uint32_t next = 0;

	if (!w)
		return -ENOMEM;
	for (uint32_t i = 0; i < o->workers; i++) {
		w[i].epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		if (w[i].epoll_fd < 0 || serve_worker_init(&w[i].serve, o) ||
		    pthread_create(&w[i].thread, NULL, pinned_loop, &w[i]))
			return -ENOMEM;
	}
	for (;;) {
		struct serve_conn *c;
		int fd = serve_accept(o->listen_fd);

		if (fd < 0)
			return fd;
		c = calloc(1, sizeof(*c));
		if (!c)
			return -ENOMEM;
		c->fd = fd;
		if (epoll_ctl(w[next++ % o->workers].epoll_fd, EPOLL_CTL_ADD, fd,
			      &(struct epoll_event){ .events = EPOLLIN, .data.ptr = c }))
			return -errno;
	}
}

const struct bench_server bench_peer_pinned = {
	.name = "pinned",
	.label = "(a)",
	.about = "one epoll loop per thread, connections pinned",
	.run = pinned_run,
};
