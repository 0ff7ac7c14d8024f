/* SPDX-License-Identifier: GPL-2.0 */
/*
 * sender.h - sending to one connection from many threads: whole replies, never mixed, and no
 * thread waits for another: who finds the connection busy leaves its replies to who is sending.
 * A full socket is the business of the thread that waits on the epoll instance.
 */
#ifndef KCM_TESTS_SENDER_H
#define KCM_TESTS_SENDER_H

#include <pthread.h>

#include "bench.h"

struct bytes {
	uint8_t *data;
	size_t len, off, room;
};

struct sender {
	int fd;
	int epoll_fd;
	void *epoll_data;
	pthread_mutex_t lock; /* of what follows */
	bool busy;	      /* somebody sends, or the socket is full: append to out */
	bool blocked;	      /* the socket is full: EPOLLOUT alone is awaited */
	struct bytes out;
};

/* @fd is in @epoll_fd, or will be, with @epoll_data and EPOLLIN. */
void sender_init(struct sender *c, int fd, int epoll_fd, void *epoll_data);
void sender_close(struct sender *c);
void sender_send(struct sender *c, const uint8_t *data, size_t len);
/* On EPOLLOUT: goes back to EPOLLIN when everything is sent. */
void sender_writable(struct sender *c);

#endif
