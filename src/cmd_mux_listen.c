// SPDX-License-Identifier: GPL-2.0
/* mux run: listening sockets, and connections from accept() into the mux. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include "cmd_mux_run.h"

#define ACCEPT_BATCH 64
#define PAUSE_NS     50000000ULL

static int usage(const char *text, const char *why)
{
	return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "listen", .why = why,
			      .next = "127.0.0.1:8080, [::1]:8080, or *:8080"),
		      "bad address '%s'", text);
}

/* "1.2.3.4:80", "[::1]:80", "*:80", "name:80" */
static int split(char *text, char **host, char **port)
{
	char *colon = strrchr(text, ':');

	if (!colon || !colon[1])
		return -EINVAL;
	*colon = '\0';
	*host = text;
	*port = colon + 1;
	if (*text == '[') {
		if (colon == text || colon[-1] != ']')
			return -EINVAL;
		colon[-1] = '\0';
		++*host;
	} else if (strchr(text, ':')) {
		return -EINVAL; /* IPv6 without brackets: whose is the last colon? */
	}
	if (streq(*host, "*") || !**host)
		*host = NULL;
	return 0;
}

static int open_one(const struct addrinfo *ai)
{
	_cleanup_fd_ int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1, off = 0;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* Accepted sockets inherit it: replies of a batch are written at once, none may wait. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) || listen(fd, SOMAXCONN))
		return -errno;
	return TAKE_FD(fd);
}

static void say_one(const struct run *r, int fd)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (getsockname(fd, (struct sockaddr *)&ss, &len) ||
	    getnameinfo((struct sockaddr *)&ss, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		return;
	run_say(r, ss.ss_family == AF_INET6 ? "listening on [%s]:%s" : "listening on %s:%s", host,
		port);
}

static int add(struct run *r, const char *given)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *ai;
	_cleanup_free_ char *text = strdup(given);
	char *host, *port;
	int err, fd;

	if (!text)
		return report(PROBLEM(.err = ENOMEM), "cannot listen");
	if (!strncmp(text, "unix", 4) || *text == '/')
		return usage(given, "a mux takes TCP connections only");
	if (split(text, &host, &port) || strspn(port, "0123456789") != strlen(port) ||
	    atoi(port) > 65535 || strlen(port) > 5)
		return usage(given, "not ADDR:PORT");
	if (r->nlisteners >= RUN_LISTENERS)
		return usage(given, "too many addresses");
	err = getaddrinfo(host, port, &hints, &ai);
	/* Any address: of IPv6 where there is IPv6, which takes IPv4 in, too. */
	if (!err && !host && ai->ai_next && ai->ai_next->ai_family == AF_INET6) {
		fd = open_one(ai->ai_next);
		if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
			fd = open_one(ai);
	} else {
		fd = err ? -1 : open_one(ai);
	}
	if (err)
		return usage(given, gai_strerror(err));
	freeaddrinfo(ai);
	if (fd < 0)
		return report(PROBLEM(.where = given, .err = fd,
				      .next = fd == -EADDRINUSE ? "ss -ltnp tells who has it"
								: "another address or port"),
			      "cannot listen");
	r->listeners[r->nlisteners++] = fd;
	return 0;
}

void listen_say(const struct run *r)
{
	for (int i = 0; i < r->nlisteners; i++)
		say_one(r, r->listeners[i]);
}

static void watch(struct run *r, bool on)
{
	for (int i = 0; i < r->nlisteners; i++) {
		struct epoll_event ev = { .events = EPOLLIN, .data.fd = r->listeners[i] };

		epoll_ctl(r->ep, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, r->listeners[i], &ev);
	}
}

int listen_open(struct run *r, const char *text)
{
	_cleanup_free_ char *list = strdup(text);
	char *next = list;
	int code = list ? 0 : report(PROBLEM(.err = ENOMEM), "cannot listen");

	while (next && !code) {
		char *one = strsep(&next, ",");

		code = add(r, one);
	}
	if (!code)
		watch(r, true);
	return code;
}

void listen_close(struct run *r)
{
	for (int i = 0; i < r->nlisteners; i++)
		close(r->listeners[i]);
	r->nlisteners = 0;
	r->pause_ns = 0;
	if (r->waiting_fd >= 0)
		close(TAKE_FD(r->waiting_fd));
}

/* Clients wait in the backlog meanwhile. */
static void pause_accepting(struct run *r)
{
	if (!r->pause_ns)
		watch(r, false);
	r->pause_ns = now_ns() + PAUSE_NS;
}

/* Return: false when the mux is full and @fd is kept for later. */
static bool hand_in(struct run *r, int fd)
{
	int err = kcm_attach(r->mux, fd, NULL, 0, NULL);

	if (err == -ENOSPC) {
		r->waiting_fd = fd;
		if (!r->warned_full)
			run_say(r, "all connections of the mux are in use; new ones wait");
		r->warned_full = true;
		return false;
	}
	if (err) {
		/* Gone already is what happens to connections; anything else is worth a line. */
		if (err != -ENOTCONN && err != -ECONNRESET && err != -EPIPE && err != -EINVAL)
			run_say(r, "a connection could not be attached: %s", log_errno(err));
		close(fd);
	}
	return true;
}

void listen_accept(struct run *r, int listener)
{
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			if (!hand_in(r, fd)) {
				pause_accepting(r);
				return;
			}
			continue;
		}
		switch (errno) {
		case EAGAIN:
			return;
		case EMFILE:
		case ENFILE:
		case ENOBUFS:
		case ENOMEM:
			if (!r->warned_accept)
				run_say(r, "cannot accept: %s; new connections wait",
					strerror(errno));
			r->warned_accept = true;
			pause_accepting(r);
			return;
		default:
			/* Errors of the connection that was to be accepted, see accept(2). */
			continue;
		}
	}
}

void listen_tick(struct run *r, uint64_t now)
{
	if (!r->pause_ns || now < r->pause_ns)
		return;
	if (r->waiting_fd >= 0 && !hand_in(r, TAKE_FD(r->waiting_fd))) {
		r->pause_ns = now + PAUSE_NS;
		return;
	}
	r->pause_ns = 0;
	r->warned_full = r->warned_accept = false;
	watch(r, true);
}
