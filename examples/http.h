/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* http.h - as much of HTTP as restart_server.c needs: one request, one answer, always the same. */
#ifndef EXAMPLES_HTTP_H
#define EXAMPLES_HTTP_H

#include "common.h"

/* Waits for a client that is slow, but not for ever. */
static inline void http_answer(int fd, uint32_t generation, const char *body, size_t body_len)
{
	char text[2048] = "", head[256], id[33] = "-", *at;
	struct timeval limit = { .tv_sec = 5 };
	ssize_t got = 0;
	size_t n = 0;
	int size;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	while (!strstr(text, "\r\n\r\n") && (got = recv(fd, text + n, sizeof(text) - 1 - n, 0)) > 0)
		text[n += (size_t)got] = 0;
	if (got <= 0) /* it went away, or says more than we want to know */
		return;
	at = strstr(text, "id=");
	if (at)
		sscanf(at, "id=%32[0-9a-f]", id);
	size = snprintf(head, sizeof(head),
			"HTTP/1.1 200 OK\r\nX-Id: %s\r\nX-Gen: %u\r\nX-Pid: %d\r\n"
			"Content-Length: %zu\r\nConnection: close\r\n\r\n",
			id, generation, getpid(), body_len);
	if (send(fd, head, (size_t)size, MSG_NOSIGNAL | MSG_MORE) == size)
		send(fd, body, body_len, MSG_NOSIGNAL);
}

#endif
