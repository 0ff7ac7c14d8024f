// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_parse_read.c - bytes to lines, in a buffer that does not grow. */
#include <errno.h>
#include "flow_parse_part.h"

static ssize_t take(struct flow_reader *r, char *to, size_t room)
{
	ssize_t n;

	if (r->fd < 0) {
		n = (ssize_t)(r->mem_left < room ? r->mem_left : room);
		if (n)
			memcpy(to, r->mem, (size_t)n);
		r->mem += n;
		r->mem_left -= (size_t)n;
		return n;
	}
	do
		n = read(r->fd, to, room);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Return: 1 more bytes came, 0 at the end, or -errno. One byte is left free for a line's end. */
static int fill(struct flow_reader *r)
{
	ssize_t n;

	if (r->end)
		return 0;
	memmove(r->buf, r->buf + r->at, r->have - r->at);
	r->have -= r->at;
	r->at = 0;
	n = take(r, r->buf + r->have, sizeof(r->buf) - 1 - r->have);
	if (n < 0)
		return (int)n;
	r->end = !n;
	r->have += (size_t)n;
	return n > 0;
}

/* The rest of a line that is too long. */
static int skip(struct flow_reader *r)
{
	for (;;) {
		char *end = memchr(r->buf + r->at, '\n', r->have - r->at);
		int err;

		r->at = end ? (size_t)(end - r->buf) + 1 : r->have;
		if (end)
			return -E2BIG;
		err = fill(r);
		if (err <= 0)
			return err ?: -E2BIG;
	}
}

int flow_reader_line(struct flow_reader *r, char **text)
{
	char *end;
	size_t n;

	while (!(end = memchr(r->buf + r->at, '\n', r->have - r->at))) {
		int err = r->have - r->at >= FLOW_LINE ? 0 : fill(r);

		if (err < 0)
			return err;
		if (!err)
			break;
	}
	n = end ? (size_t)(end - r->buf) - r->at : r->have - r->at;
	if (!end && !n)
		return 0;
	r->line++;
	if (n >= FLOW_LINE)
		return skip(r);
	*text = r->buf + r->at;
	r->at += n + (end ? 1 : 0);
	if (memchr(*text, '\0', n))
		return -EILSEQ;
	if (n && (*text)[n - 1] == '\r')
		n--;
	(*text)[n] = '\0';
	return 1;
}
