// SPDX-License-Identifier: GPL-2.0
/*
 * sender.c - sending to one connection from many threads.
 */
#include "sender.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

void sender_init(struct sender *c, int fd, int epoll_fd, void *epoll_data)
{
	*c = (struct sender){ .fd = fd, .epoll_fd = epoll_fd, .epoll_data = epoll_data };
	pthread_mutex_init(&c->lock, NULL);
}

void sender_close(struct sender *c)
{
	close(c->fd);
	free(c->out.data);
	pthread_mutex_destroy(&c->lock);
}

static void bytes_append(struct bytes *b, const uint8_t *data, size_t len)
{
	if (b->len + len > b->room) {
		b->room = (b->len + len) * 2;
		b->data = realloc(b->data, b->room);
		if (!b->data)
			abort();
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

static void await(struct sender *c, uint32_t events)
{
	epoll_ctl(c->epoll_fd, EPOLL_CTL_MOD, c->fd,
		  &(struct epoll_event){ .events = events, .data.ptr = c->epoll_data });
}

/* How much of it the socket took: all of it on errors, the reader sees that the end has come. */
static size_t try_send(int fd, const uint8_t *data, size_t len)
{
	ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

	if (n >= 0)
		return (size_t)n;
	return errno == EAGAIN ? 0 : len;
}

/* Called locked by the one who made @c busy; not locked during send(). */
static void drain(struct sender *c)
{
	while (c->out.len) {
		struct bytes b = c->out;

		c->out = (struct bytes){ 0 };
		pthread_mutex_unlock(&c->lock);
		b.off += try_send(c->fd, b.data + b.off, b.len - b.off);
		pthread_mutex_lock(&c->lock);
		if (b.off < b.len) {
			if (c->out.len)
				bytes_append(&b, c->out.data, c->out.len);
			free(c->out.data);
			c->out = b;
			c->blocked = true;
			await(c, EPOLLOUT);
			return;
		}
		if (c->out.data)
			free(b.data);
		else
			c->out = (struct bytes){ .data = b.data, .room = b.room };
	}
	c->busy = false;
}

void sender_send(struct sender *c, const uint8_t *data, size_t len)
{
	size_t done;

	pthread_mutex_lock(&c->lock);
	if (c->busy) {
		bytes_append(&c->out, data, len);
		pthread_mutex_unlock(&c->lock);
		return;
	}
	c->busy = true;
	pthread_mutex_unlock(&c->lock);
	done = try_send(c->fd, data, len);
	pthread_mutex_lock(&c->lock);
	if (done < len) {
		struct bytes later = c->out;

		c->out = (struct bytes){ 0 };
		bytes_append(&c->out, data + done, len - done);
		if (later.len)
			bytes_append(&c->out, later.data, later.len);
		free(later.data);
	}
	drain(c);
	pthread_mutex_unlock(&c->lock);
}

void sender_writable(struct sender *c)
{
	pthread_mutex_lock(&c->lock);
	if (c->blocked) {
		c->blocked = false;
		drain(c);
		if (!c->blocked)
			await(c, EPOLLIN);
	}
	pthread_mutex_unlock(&c->lock);
}
