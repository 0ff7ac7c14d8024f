// SPDX-License-Identifier: GPL-2.0
/*
 * peer_oneshot.c - peer (b): all threads wait on one epoll instance, connections are EPOLLONESHOT.
 *
 * Any idle thread takes any ready connection, so connections balance; the messages of one
 * connection are still served one after the other. Costs one epoll_ctl() per turn.
 */
#include "bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "msg.h"
#include "server.h"

/* A taken connection waits for those taken with it: few, and one alone if work may be long. */
#define EVENTS_PER_WAIT 8

struct oneshot_worker {
	struct serve_worker serve;
	int epoll_fd;
	pthread_t thread;
};

static void *oneshot_loop(void *arg)
{
	struct epoll_event ev[EVENTS_PER_WAIT];
	struct oneshot_worker *w = arg;
	int most = (int)bench_messages_per_turn(w->serve.opts, EVENTS_PER_WAIT);

	for (;;) {
		int n = epoll_wait(w->epoll_fd, ev, most, -1);

		for (int i = 0; i < n; i++) {
			struct serve_conn *c = ev[i].data.ptr;
			enum serve_result res = serve_ready(&w->serve, c);
			uint32_t want = res == SERVE_WANT_OUT ? EPOLLOUT : EPOLLIN;

			if (res == SERVE_CLOSED) {
				free(c);
				continue;
			}
			epoll_ctl(w->epoll_fd, EPOLL_CTL_MOD, c->fd,
				  &(struct epoll_event){ .events = want | EPOLLONESHOT,
							 .data.ptr = c });
		}
	}
	return NULL;
}

static int oneshot_run(const struct bench_opts *o)
{
	struct oneshot_worker *w = calloc(o->workers, sizeof(*w));
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

	if (!w || epoll_fd < 0)
		return -ENOMEM;
	for (uint32_t i = 0; i < o->workers; i++) {
		w[i].epoll_fd = epoll_fd;
		if (serve_worker_init(&w[i].serve, o) ||
		    pthread_create(&w[i].thread, NULL, oneshot_loop, &w[i]))
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
		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd,
			      &(struct epoll_event){ .events = EPOLLIN | EPOLLONESHOT,
						     .data.ptr = c }))
			return -errno;
	}
}

const struct bench_server bench_peer_oneshot = {
	.name = "oneshot",
	.label = "(b)",
	.about = "one shared epoll, EPOLLONESHOT",
	.run = oneshot_run,
};
