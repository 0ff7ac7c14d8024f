/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* torture_client.h - many connections: ask, and check every byte of the answers. */
#ifndef TORTURE_CLIENT_H
#define TORTURE_CLIENT_H

#include "torture.h"

struct cconn {
	int fd;
	uint32_t id, sent, got, msgs;
	uint8_t *tx;
	size_t tx_n, tx_off;
	uint8_t *rx;
	size_t rx_n, rx_cap;
	uint8_t *seen;
	bool shut;
	uint64_t s;
};

static int server_port;
static uint64_t answered, asked;
static volatile bool client_lax;

static int dial(void)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6,
				   .sin6_port = htons((uint16_t)server_port),
				   .sin6_addr = in6addr_loopback };
	struct sockaddr_in a4 = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)server_port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(opt.v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 ||
	    connect(fd, opt.v6 ? (void *)&a6 : (void *)&a4, opt.v6 ? sizeof(a6) : sizeof(a4)))
		die("connect: %s", strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static void copen(struct cconn *c, uint32_t id, uint32_t msgs)
{
	memset(c, 0, sizeof(*c));
	c->id = id;
	c->msgs = msgs;
	c->s = opt.seed * 77 + id;
	c->fd = dial();
	c->tx = malloc(opt.max + opt.batch + 64);
	c->rx_cap = 1 << 17;
	c->rx = malloc(c->rx_cap);
	c->seen = calloc(1, msgs + 1);
}

static void cclose(struct cconn *c)
{
	close(c->fd);
	free(c->tx);
	free(c->rx);
	free(c->seen);
	c->fd = -1;
}

/* Append a request to what is to be sent: most are short, some have any size. */
static void cmake(struct cconn *c)
{
	struct head h = { .conn = c->id, .num = ++c->sent };
	uint32_t least = opt.min > sizeof(h) ? opt.min : (uint32_t)sizeof(h), len;
	uint32_t span = opt.max > least ? opt.max - least + 1 : 1;

	len = least + (uint32_t)(rnd(&c->s) % (rnd(&c->s) % 8 && span > 200 ? 200 : span));
	h.reply = (uint32_t)(rnd(&c->s) % (opt.reply + 1));
	h.len = htonl(len - 4);
	memcpy(c->tx + c->tx_n, &h, sizeof(h));
	fill(c->tx + c->tx_n + sizeof(h), len - sizeof(h), c->id, h.num, 1);
	c->tx_n += len;
	__atomic_fetch_add(&asked, 1, __ATOMIC_RELAXED);
}

/* Return: false when the connection is over. */
static bool cwrite(struct cconn *c)
{
	for (int i = 0; i < 64; i++) {
		size_t n;
		ssize_t r;

		if (c->tx_off == c->tx_n) {
			if (c->sent == c->msgs || c->sent - c->got >= opt.depth) {
				if (c->sent == c->msgs && opt.half && !c->shut) {
					shutdown(c->fd, SHUT_WR);
					c->shut = true;
				}
				return true;
			}
			c->tx_n = c->tx_off = 0;
			do
				cmake(c);
			while (c->tx_n < opt.batch && c->sent < c->msgs &&
			       c->sent - c->got < opt.depth);
		}
		n = c->tx_n - c->tx_off;
		if (n > opt.seg)
			n = 1 + rnd(&c->s) % opt.seg;
		r = send(c->fd, c->tx + c->tx_off, n, MSG_NOSIGNAL);
		if (r < 0 && errno == EAGAIN)
			return true;
		if (r < 0) {
			if (!client_lax)
				die("send conn %u: %s", c->id, strerror(errno));
			return false;
		}
		c->tx_off += (size_t)r;
	}
	return true;
}

static bool cread(struct cconn *c)
{
	for (;;) {
		ssize_t r = recv(c->fd, c->rx + c->rx_n, c->rx_cap - c->rx_n, 0);
		size_t at = 0;

		if (r < 0 && errno == EAGAIN)
			return true;
		if (r <= 0) {
			if (c->got < c->msgs && !client_lax)
				die("conn %u ended after %u of %u answers: %s", c->id, c->got,
				    c->msgs, r ? strerror(errno) : "closed");
			return false;
		}
		c->rx_n += (size_t)r;
		while (c->rx_n - at >= sizeof(struct head)) {
			struct head h;
			size_t len;

			memcpy(&h, c->rx + at, sizeof(h));
			len = ntohl(h.len) + 4U;
			if (h.conn != c->id || h.num > c->sent || len != h.reply + sizeof(h))
				die("conn %u: answer of conn %u num %u len %zu", c->id, h.conn,
				    h.num, len);
			if (c->rx_cap < len) {
				c->rx_cap = len * 2;
				c->rx = realloc(c->rx, c->rx_cap);
			}
			if (c->rx_n - at < len)
				break;
			if (!check(c->rx + at + sizeof(h), h.reply, c->id, h.num, 2))
				die("conn %u num %u: bytes of the answer are wrong", c->id, h.num);
			if (c->seen[h.num]++ && !opt.alo)
				die("conn %u num %u: answered twice", c->id, h.num);
			if (opt.policy >= KCM_DISPATCH_CONN && !opt.kill && h.num != c->got + 1)
				die("conn %u: answer %u after %u", c->id, h.num, c->got);
			if (c->seen[h.num] == 1) {
				c->got++;
				__atomic_fetch_add(&answered, 1, __ATOMIC_RELAXED);
			}
			at += len;
		}
		memmove(c->rx, c->rx + at, c->rx_n - at);
		c->rx_n -= at;
	}
}

static void run_clients(void)
{
	struct cconn *c = calloc(opt.conns, sizeof(*c));
	struct pollfd *p = calloc(opt.conns, sizeof(*p));
	unsigned int live = opt.conns, next = opt.conns;
	uint64_t still = now_ms(), last = 0;
	unsigned int rounds = opt.churn ? opt.conns * 4 : 0;

	for (unsigned int i = 0; i < opt.conns; i++)
		copen(&c[i], i, opt.churn ? 1 + opt.msgs / 5 : opt.msgs);
	while (live) {
		for (unsigned int i = 0; i < opt.conns; i++) {
			p[i].fd = c[i].fd;
			p[i].events = POLLIN;
			if (c[i].tx_off < c[i].tx_n ||
			    (c[i].sent < c[i].msgs && c[i].sent - c[i].got < opt.depth))
				p[i].events |= POLLOUT;
		}
		poll(p, opt.conns, 100);
		for (unsigned int i = 0; i < opt.conns; i++) {
			bool ok = true;

			if (c[i].fd < 0)
				continue;
			if (p[i].revents & POLLOUT)
				ok = cwrite(&c[i]);
			if (ok && p[i].revents & (POLLIN | POLLHUP | POLLERR))
				ok = cread(&c[i]);
			if (ok && (c[i].got < c[i].msgs || (opt.half && c[i].shut)))
				continue;
			cclose(&c[i]);
			if (rounds) {
				rounds--;
				copen(&c[i], next++, 1 + opt.msgs / 5);
			} else {
				live--;
			}
		}
		if (answered != last) {
			last = answered;
			still = now_ms();
		} else if (now_ms() - still >
			   (opt.kill && !opt.alo ? 3000 : 60000) + opt.pause_ms) {
			if (opt.kill && !opt.alo)
				break; /* at most once: what the dead had is not answered */
			die("no answer for a minute: %llu of %llu", (unsigned long long)answered,
			    (unsigned long long)asked);
		}
	}
	free(c);
	free(p);
}

#endif
