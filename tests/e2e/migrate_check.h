/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * migrate_check.h - migrate_load's requests, and what the response to each must be.
 */
#ifndef MIGRATE_CHECK_H
#define MIGRATE_CHECK_H

#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "migrate_load.h"

#define HTTP_HEAD 4096

/* A request and what has come of its response. */
struct exchange {
	uint64_t id;
	uint32_t request_len;
	size_t got, cap;
	uint8_t request[MSG_SIZE_MAX], *buf;
};

/* What HTTP servers serve; no name: we speak migrate_msg.h's protocol. */
static struct {
	const char *name;
	uint8_t *bytes;
	size_t len;
} file;

static inline void file_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		die("%s: %s", path, strerror(errno));
	file.bytes = malloc(st.st_size + 1);
	if (!file.bytes || read(fd, file.bytes, st.st_size) != st.st_size)
		die("%s: cannot be read", path);
	close(fd);
	file.len = st.st_size;
	file.name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
}

static inline void exchange_init(struct exchange *c)
{
	/* One byte more than right responses have, to see that there is none. */
	c->cap = file.name ? HTTP_HEAD + file.len + 1 : MSG_SIZE_MAX + 1;
	c->buf = malloc(c->cap);
	if (!c->buf)
		die("out of memory");
}

static inline void exchange_begin(struct exchange *c, uint64_t id)
{
	c->id = id;
	c->got = 0;
	if (file.name)
		c->request_len = snprintf((char *)c->request, sizeof(c->request),
					  "GET /%s?id=%016llx HTTP/1.1\r\nHost: kcm.test\r\n"
					  "Connection: close\r\n\r\n",
					  file.name, (unsigned long long)id);
	else
		c->request_len = msg_request(id, c->request);
}

static inline bool echo_right(const struct exchange *c, bool whole, char *gen, int *pid)
{
	uint8_t want[MSG_SIZE_MAX];
	uint32_t n = msg_response(c->request, c->request_len, "", 0, want);
	char text[MSG_ANSWER + 1];

	/* Generation and pid are the server's to say. */
	if (c->got > n || (whole && c->got != n))
		return false;
	for (size_t i = 0; i < c->got; i++)
		if (!(i > 16 && i < MSG_ANSWER - 1) && c->buf[i] != want[i])
			return false;
	if (!whole)
		return true;
	memcpy(text, c->buf, MSG_ANSWER);
	text[MSG_ANSWER] = 0;
	return sscanf(text + 17, "%15s %d", gen, pid) == 2;
}

/* Text after @name in the head, up to the end of its line. */
static inline bool header(const char *head, const char *name, char *value, size_t size)
{
	const char *at = strcasestr(head, name);
	size_t n;

	if (!at)
		return false;
	at += strlen(name);
	n = strcspn(at, "\r\n");
	if (n >= size)
		return false;
	memcpy(value, at, n);
	value[n] = 0;
	return true;
}

static inline bool http_right(const struct exchange *c, bool whole, char *gen, int *pid)
{
	char text[HTTP_HEAD + 1], value[64], want[64];
	size_t n = c->got < HTTP_HEAD ? c->got : HTTP_HEAD, head;
	char *end;

	memcpy(text, c->buf, n);
	text[n] = 0;
	if (strncmp(text, "HTTP/1.1 200", n < 12 ? n : 12))
		return false;
	end = strstr(text, "\r\n\r\n");
	if (!end)
		return !whole && n < HTTP_HEAD;
	end[2] = 0;
	head = end + 4 - text;
	snprintf(want, sizeof(want), "%016llx", (unsigned long long)c->id);
	if (!header(text, "\r\nX-Id: ", value, sizeof(value)) || strcmp(value, want) ||
	    !header(text, "\r\nX-Pid: ", value, sizeof(value)) || (*pid = atoi(value)) <= 0 ||
	    !header(text, "\r\nX-Gen: ", gen, MSG_GEN + 1) || !*gen ||
	    !header(text, "\r\nContent-Length: ", value, sizeof(value)) ||
	    strtoull(value, NULL, 10) != file.len)
		return false;
	n = c->got - head;
	return n <= file.len && (!whole || n == file.len) && !memcmp(c->buf + head, file.bytes, n);
}

/* Is what came right, as a beginning or as the whole? */
static inline bool right(const struct exchange *c, bool whole, char *gen, int *pid)
{
	return file.name ? http_right(c, whole, gen, pid) : echo_right(c, whole, gen, pid);
}

#endif
