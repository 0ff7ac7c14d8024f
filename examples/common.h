/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* common.h - what the example programs share: errors, time, addresses. */
#ifndef EXAMPLES_COMMON_H
#define EXAMPLES_COMMON_H

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* One line on stderr, then the end. @err: -errno, or 0 if the text says it all. */
__attribute__((noreturn, format(printf, 2, 3))) static inline void die(int err, const char *fmt,
								       ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, err ? ": %s\n" : "\n", strerror(-err));
	exit(1);
}

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

/*
 * A socket that is connected to ADDR:PORT or [ADDR]:PORT, or, with @listening, listens there; with
 * 2 beside others that do. Ends on failure.
 */
static inline int tcp_open(const char *where, int listening)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *ai;
	char host[256];
	const char *colon = strrchr(where, ':'), *begin = where;
	int fd, one = 1, err;
	size_t n;

	if (!colon || (n = (size_t)(colon - where)) >= sizeof(host))
		die(0, "'%s' is not ADDR:PORT", where);
	if (n >= 2 && *where == '[' && colon[-1] == ']') {
		begin++;
		n -= 2;
	}
	memcpy(host, begin, n);
	host[n] = 0;
	err = getaddrinfo(n ? host : NULL, colon + 1, &hints, &ai);
	if (err)
		die(0, "address '%s': %s", where, gai_strerror(err));
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die(-errno, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (listening > 1)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (listening ? bind(fd, ai->ai_addr, ai->ai_addrlen) || listen(fd, 1024)
		      : connect(fd, ai->ai_addr, ai->ai_addrlen))
		die(-errno, "%s %s", listening ? "listen at" : "connect to", where);
	freeaddrinfo(ai);
	return fd;
}

/* The port a socket is bound to: ADDR:0 lets the kernel choose one. */
static inline int tcp_port(int fd)
{
	struct sockaddr_in6 a = { 0 };
	socklen_t len = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &len))
		die(-errno, "getsockname");
	return ntohs(a.sin6_port); /* that of sockaddr_in is at the same place */
}

#endif
