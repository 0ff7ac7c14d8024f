// SPDX-License-Identifier: GPL-2.0
/*
 * One client of `mux bridge`, in a thread of its own with a worker of its own: who gets a message
 * is the mux's dispatch, and what becomes of messages when a client dies is what becomes of them
 * when a worker dies. Nothing here may wait for the client alone, because it may wait for us.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include "cmd_mux_bridge.h"
#include "lib/kcm_bridge.h"

#define REPLY_MAX    (1U << 30)
#define STOP_WAIT_NS 5000000000ULL
#define POLL_MS	     200

struct open_msg {
	uint64_t id; /* 0: free */
	struct kcm_msg msg;
};

struct client {
	struct bridge *bridge;
	struct kcm_worker *w;
	int fd;
	bool dead;
	struct open_msg *open;
	unsigned int nopen;
	uint64_t next_id;
	/* a reply that comes in parts */
	struct kcm_bridge_hdr reply;
	uint8_t *buf;
	size_t used, cap;
	bool begun;
	union {
		struct kcm_bridge_hdr hdr;
		uint8_t bytes[sizeof(struct kcm_bridge_hdr) + KCM_BRIDGE_BYTES + 1];
	} in;
};

static void input(struct client *c);

/* One datagram. What comes from the client meanwhile is taken. */
static void put(struct client *c, const struct kcm_bridge_hdr *h, const void *data, size_t len)
{
	struct iovec iov[2] = { { (void *)h, sizeof(*h) }, { (void *)data, len } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = len ? 2 : 1 };

	while (!c->dead && sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		struct pollfd p = { .fd = c->fd, .events = POLLIN | POLLOUT };

		if (errno == EINTR)
			continue;
		if (errno != EAGAIN) {
			c->dead = true;
			return;
		}
		if (poll(&p, 1, POLL_MS) > 0 && p.revents & POLLIN)
			input(c);
	}
}

static void fill_peer(struct client *c, struct kcm_bridge_hdr *h)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (kcm_peer(c->w, h->conn, (struct sockaddr *)&ss, &len))
		return;
	h->family = ss.ss_family;
	if (ss.ss_family == AF_INET6) {
		const struct sockaddr_in6 *s = (const void *)&ss;

		memcpy(h->addr, &s->sin6_addr, 16);
		h->port = ntohs(s->sin6_port);
	} else {
		const struct sockaddr_in *s = (const void *)&ss;

		memcpy(h->addr, &s->sin_addr, 4);
		h->port = ntohs(s->sin_port);
	}
}

static void give(struct client *c, const struct kcm_msg *m)
{
	struct kcm_bridge_hdr h = {
		.conn = m->conn,
		.queued_ns = m->queued_ns,
		.total = (uint32_t)m->len,
		.error = m->error,
		.event = (uint16_t)m->event,
		.flags = m->flags & KCM_REDELIVERED ? KCM_BRIDGE_AGAIN : 0,
	};
	uint16_t flags = h.flags;

	fill_peer(c, &h);
	if (m->event != KCM_MESSAGE) {
		put(c, &h, NULL, 0);
		if (!c->dead) /* else the mux gives it to another one */
			kcm_release(c->w, m, 1);
		return;
	}
	for (unsigned int i = 0; i < c->bridge->window; i++)
		if (!c->open[i].id) {
			c->open[i].id = h.id = ++c->next_id;
			c->open[i].msg = *m;
			break;
		}
	c->nopen++;
	do {
		size_t left = m->len - h.offset, n = left;

		if (n > KCM_BRIDGE_BYTES)
			n = KCM_BRIDGE_BYTES;
		h.flags = n < left ? flags | KCM_BRIDGE_MORE : flags;
		put(c, &h, (const uint8_t *)m->data + h.offset, n);
		h.offset += (uint32_t)n;
	} while (!c->dead && h.offset < m->len);
}

static void done_with(struct client *c, uint64_t id)
{
	for (unsigned int i = 0; id && i < c->bridge->window; i++)
		if (c->open[i].id == id) {
			kcm_release(c->w, &c->open[i].msg, 1);
			c->open[i].id = 0;
			c->nopen--;
			return;
		}
}

static void broken(struct client *c, const char *why)
{
	fprintf(stderr, "kcmtool: mux '%s': a bridge client is cut off: %s\n", c->bridge->name,
		why);
	c->dead = true;
}

static bool append(struct client *c, const uint8_t *data, size_t len)
{
	if (c->used + len > REPLY_MAX)
		return false;
	if (c->used + len > c->cap) {
		size_t cap = c->used + len + c->cap;
		uint8_t *buf = realloc(c->buf, cap);

		if (!buf)
			return false;
		c->buf = buf;
		c->cap = cap;
	}
	memcpy(c->buf + c->used, data, len);
	c->used += len;
	return true;
}

static void reply_whole(struct client *c)
{
	struct kcm_bridge_hdr h = c->reply;
	int err = c->used ? kcm_send(c->w, h.conn, c->buf, c->used, KCM_WAIT) : 0;

	c->begun = false;
	c->used = 0;
	if (!(h.flags & KCM_BRIDGE_KEEP))
		done_with(c, h.id);
	if (!err)
		return;
	h = (struct kcm_bridge_hdr){ .conn = h.conn, .flags = KCM_BRIDGE_FAILED, .error = -err };
	put(c, &h, NULL, 0);
}

/* One datagram of the client. */
static void input(struct client *c)
{
	ssize_t n = recv(c->fd, c->in.bytes, sizeof(c->in.bytes), MSG_DONTWAIT);
	struct kcm_bridge_hdr h;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		c->dead = true;
		return;
	}
	if ((size_t)n < sizeof(h) || (size_t)n == sizeof(c->in.bytes)) {
		broken(c, "a datagram is shorter than the header or longer than allowed");
		return;
	}
	h = c->in.hdr;
	if (c->begun && (h.conn != c->reply.conn || h.id != c->reply.id)) {
		broken(c, "parts of two replies are mixed");
		return;
	}
	c->begun = true;
	c->reply = h;
	if (!append(c, c->in.bytes + sizeof(h), (size_t)n - sizeof(h))) {
		broken(c, "a reply is too long");
		return;
	}
	if (!(h.flags & KCM_BRIDGE_MORE))
		reply_whole(c);
}

/* Return: whether a message or event was given. */
static bool output(struct client *c)
{
	struct kcm_msg m;
	int n;

	if (c->nopen >= c->bridge->window)
		return false;
	n = kcm_recv(c->w, &m, 1, 0);
	if (n == 1) {
		give(c, &m);
		return true;
	}
	if (n == -EPIPE)
		__atomic_store_n(&c->bridge->owner_gone, true, __ATOMIC_RELEASE);
	if (n < 0 && n != -EINTR)
		c->dead = true; /* -ESHUTDOWN: disabled, and done with everything */
	return false;
}

static void serve(struct client *c)
{
	uint64_t stop_ns = 0;

	while (!c->dead) {
		struct pollfd p[2] = { { .fd = c->fd, .events = POLLIN },
				       { .fd = kcm_poll_fd(c->w), .events = POLLIN } };

		if (__atomic_load_n(&c->bridge->stopping, __ATOMIC_ACQUIRE) && !stop_ns) {
			stop_ns = now_ns() + STOP_WAIT_NS;
			kcm_worker_enable(c->w, 0);
		}
		if (stop_ns && now_ns() >= stop_ns)
			return;
		if (output(c)) {
			input(c);
			continue;
		}
		if (c->dead)
			return;
		if (poll(p, c->nopen < c->bridge->window ? 2 : 1, POLL_MS) > 0 && p[0].revents)
			input(c);
	}
}

void client_serve(struct bridge *b, int fd, struct kcm_worker *w)
{
	struct client *c = calloc(1, sizeof(*c));

	if (c)
		c->open = calloc(b->window, sizeof(*c->open));
	if (c && c->open) {
		c->bridge = b;
		c->w = w;
		c->fd = fd;
		serve(c);
		free(c->buf);
		free(c->open);
	}
	free(c);
	close(fd);
	/* What was not done is lost or another one's, as the mux was made. */
	kcm_worker_close(w);
}
