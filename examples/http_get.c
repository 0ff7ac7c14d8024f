// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * http_get.c - download a file from any HTTP/1.1 server, in ranges, on one connection.
 *
 *	http_get ADDR:PORT/PATH FILE [auto|map|copy]
 *
 * Each reply is one message: written to FILE from where it is, mapped or copied. Pages of the
 * server's file come unsplit only if the link gives whole pages (`kcmtool rx tune --connect`) and
 * has headers of its own; what was mapped, and why the rest was not, is said at the end.
 */
#include <fcntl.h>
#include <kcm_rx.h>
#include "common.h"

#define RANGE_BYTES (16U << 20)
#define HEAD_BYTES  8192

struct download {
	int fd, file;
	const char *host, *path;
	uint64_t at, bytes; /* of the file; 0: not known yet */
};

static void ask(const struct download *d)
{
	char text[2048];
	int n = snprintf(text, sizeof(text),
			 "GET /%s HTTP/1.1\r\nHost: %s\r\nRange: bytes=%llu-%llu\r\n\r\n", d->path,
			 d->host, (unsigned long long)d->at,
			 (unsigned long long)(d->at + RANGE_BYTES - 1));

	if (n < 0 || (size_t)n >= sizeof(text) || send(d->fd, text, (size_t)n, MSG_NOSIGNAL) != n)
		die(-errno, "send request");
}

/* The reply's head as a string. Return: its length */
static size_t head_of(const struct kcm_rx_msg *m, char *to)
{
	size_t n = 0;
	char *end;

	for (unsigned int i = 0; i < m->iovcnt && n < HEAD_BYTES; i++) {
		size_t part =
			m->iov[i].iov_len < HEAD_BYTES - n ? m->iov[i].iov_len : HEAD_BYTES - n;

		memcpy(to + n, m->iov[i].iov_base, part);
		n += part;
	}
	to[n] = 0;
	end = strstr(to, "\r\n\r\n");
	if (!end)
		die(0, "no HTTP head in the first %d bytes", HEAD_BYTES);
	end[4] = 0;
	return (size_t)(end + 4 - to);
}

static void write_body(struct download *d, const struct kcm_rx_msg *m, size_t skip)
{
	struct iovec iov[KCM_RX_PIECES];
	size_t left = m->len - skip;
	int n = 0;

	for (unsigned int i = 0; i < m->iovcnt; i++) {
		size_t off = skip < m->iov[i].iov_len ? skip : m->iov[i].iov_len;

		skip -= off;
		if (off < m->iov[i].iov_len)
			iov[n++] = (struct iovec){ (uint8_t *)m->iov[i].iov_base + off,
						   m->iov[i].iov_len - off };
	}
	d->at += left;
	for (struct iovec *at = iov; left;) {
		ssize_t r = writev(d->file, at, n);

		if (r < 0)
			die(-errno, "write");
		left -= (size_t)r;
		for (; n && (size_t)r >= at->iov_len; at++, n--)
			r -= (ssize_t)at->iov_len;
		if (n) {
			at->iov_base = (uint8_t *)at->iov_base + r;
			at->iov_len -= (size_t)r;
		}
	}
}

static void take(struct download *d, const struct kcm_rx_msg *m)
{
	char head[HEAD_BYTES + 1], *total;
	size_t n = head_of(m, head);

	if (!strncmp(head, "HTTP/1.1 206", 12)) {
		total = strcasestr(head, "content-range: bytes");
		total = total ? strchr(total, '/') : NULL;
		d->bytes = total ? strtoull(total + 1, NULL, 10) : 0;
	} else if (!strncmp(head, "HTTP/1.1 200", 12) && !d->at) {
		d->bytes = m->len - n; /* it knows no ranges: all of it */
	} else {
		head[strcspn(head, "\r\n")] = 0;
		die(0, "the server says: %s", head);
	}
	write_body(d, m, n);
}

int main(int argc, char **argv)
{
	struct kcm_rx_opts o = { .sz = sizeof(o), .flags = KCM_RX_REPLY };
	struct download d = { 0 };
	struct kcm_frame frame;
	struct kcm_rx_stats st;
	struct kcm_rx_msg m;
	struct kcm_rx *rx;
	char *slash;
	int r;

	if (argc < 3 || !(slash = strchr(argv[1], '/')))
		die(0, "usage: http_get ADDR:PORT/PATH FILE [auto|map|copy]");
	*slash = 0;
	d.host = argv[1];
	d.path = slash + 1;
	if (argc > 3)
		o.mode = !strcmp(argv[3], "map")    ? KCM_RX_MAP
			 : !strcmp(argv[3], "copy") ? KCM_RX_COPY
						    : KCM_RX_AUTO;
	d.file = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (d.file < 0)
		die(-errno, "%s", argv[2]);
	d.fd = tcp_open(d.host, 0);
	r = kcm_frame_parse("http1 max=1G", &frame, NULL, 0);
	if (r || (r = kcm_rx_open(d.fd, &frame, &o, &rx)))
		die(r, "kcm_rx_open");
	do {
		ask(&d);
		r = kcm_rx_recv(rx, &m, 30000);
		if (r != 1)
			die(r, "no reply for byte %llu", (unsigned long long)d.at);
		take(&d, &m);
		kcm_rx_release(rx, &m);
	} while (d.at < d.bytes);
	if (close(d.file))
		die(-errno, "%s", argv[2]);
	kcm_rx_stats(rx, &st, sizeof(st));
	printf("%llu bytes in %llu replies, %.1f%% mapped, now %s\n", (unsigned long long)d.at,
	       (unsigned long long)st.messages, 100.0 * (double)st.mapped_bytes / (double)st.bytes,
	       st.now == KCM_RX_MAP ? "mapping" : kcm_rx_why_name(st.why));
	kcm_rx_close(rx);
	close(d.fd);
	return 0;
}
