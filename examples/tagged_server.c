// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * tagged_server - an echo server that labels its connections, so that an operator sees who is who.
 *
 * usage: tagged_server [ADDR:PORT]	default 127.0.0.1:7002
 *	  kcmtool sock load; then, in another terminal: nc 127.0.0.1 7002
 *	  kcmtool sock show label tenant=acme
 *
 * The first line of a client says for whom it is: "hello TENANT". "stats" is answered with what the
 * kernel knows of the connection, all else is sent back. Without `sock load` it serves just so.
 */
#include <poll.h>
#include <signal.h>

#include "common.h"
#include "kcm_sock.h"

#define CLIENTS 64

static struct client {
	int fd;
	size_t n;
	char line[512];
} clients[CLIENTS];

static void say(struct client *c, const char *text, size_t n)
{
	/* A client that does not read its answers is not waited for. */
	if (send(c->fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n)
		shutdown(c->fd, SHUT_RDWR);
}

static void say_stats(struct client *c)
{
	struct kcm_sock_stats s = { .sz = sizeof(s) };
	char text[256];
	int n, err = kcm_sock_get(c->fd, &s);

	if (err)
		n = snprintf(text, sizeof(text), "stats: %s\n", strerror(-err));
	else
		n = snprintf(text, sizeof(text),
			     "stats: %s=%s %s=%s received %llu sent %llu rtt %u us\n",
			     s.label[0].key, s.label[0].value, s.label[1].key, s.label[1].value,
			     (unsigned long long)s.rx_bytes, (unsigned long long)s.tx_bytes,
			     s.srtt_us);
	say(c, text, (size_t)n);
}

static void on_line(struct client *c, char *line, size_t n)
{
	int err;

	if (!strncmp(line, "hello ", 6)) {
		line[n - 1] = 0;
		err = kcm_sock_set(c->fd, "tenant", line + 6);
		if (err && err != -EOPNOTSUPP) /* nobody asked for labels */
			fprintf(stderr, "tagged_server: label '%s': %s\n", line + 6,
				strerror(-err));
		line[n - 1] = '\n';
	}
	if (n == 6 && !strncmp(line, "stats", 5))
		say_stats(c);
	else
		say(c, line, n);
}

static void on_data(struct client *c)
{
	ssize_t got = recv(c->fd, c->line + c->n, sizeof(c->line) - c->n, 0);
	char *end;

	c->n += got > 0 ? (size_t)got : 0;
	while ((end = memchr(c->line, '\n', c->n))) {
		size_t n = (size_t)(end - c->line) + 1;

		on_line(c, c->line, n);
		memmove(c->line, c->line + n, c->n - n);
		c->n -= n;
	}
	if (got <= 0 || c->n == sizeof(c->line)) { /* gone, or a line too long */
		close(c->fd);
		c->fd = -1;
	}
}

static void on_connection(int listener)
{
	int fd = accept(listener, NULL, NULL);

	for (int i = 0; fd >= 0 && i < CLIENTS; i++)
		if (clients[i].fd < 0) {
			clients[i].fd = fd;
			clients[i].n = 0;
			return;
		}
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct pollfd p[CLIENTS + 1] = { { .events = POLLIN } };
	int err;

	if (argc > 2)
		die(0, "usage: tagged_server [ADDR:PORT]");
	setvbuf(stdout, NULL, _IOLBF, 0);
	p[CLIENTS].fd = tcp_open(argc > 1 ? argv[1] : "127.0.0.1:7002", 1);
	p[CLIENTS].events = POLLIN;
	/* What is set on the listener is on every connection it accepts. */
	err = kcm_sock_set(p[CLIENTS].fd, "service", "echo");
	printf("labels %s\n", err ? strerror(-err) : "work");
	printf("listening on port %d\n", tcp_port(p[CLIENTS].fd));
	for (int i = 0; i < CLIENTS; i++)
		clients[i].fd = -1;
	for (;;) {
		for (int i = 0; i < CLIENTS; i++)
			p[i] = (struct pollfd){ .fd = clients[i].fd, .events = POLLIN };
		if (poll(p, CLIENTS + 1, -1) < 0)
			die(-errno, "poll");
		for (int i = 0; i < CLIENTS; i++)
			if (p[i].revents)
				on_data(&clients[i]);
		if (p[CLIENTS].revents)
			on_connection(p[CLIENTS].fd);
	}
}
