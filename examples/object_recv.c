// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * object_recv.c - receive objects of object_send and check them, one connection after the other.
 *
 *	object_recv [-n CONNECTIONS] ADDR:PORT [auto|map|copy]
 */
#include <kcm_rx.h>

#include <endian.h>

#include "common.h"
#include "object.h"

struct object {
	uint32_t number;
	uint64_t bytes, got;
	struct object_sum sum;
};

/* The header is at the front, whatever the message is made of. */
static void take_head(const struct kcm_rx_msg *m, struct object_head *h)
{
	size_t at = 0;

	for (unsigned int i = 0; i < m->iovcnt && at < sizeof(*h); i++) {
		size_t n =
			m->iov[i].iov_len < sizeof(*h) - at ? m->iov[i].iov_len : sizeof(*h) - at;

		memcpy((uint8_t *)h + at, m->iov[i].iov_base, n);
		at += n;
	}
}

/* Return: 1 an object is whole */
static int take(struct object *o, const struct kcm_rx_msg *m)
{
	struct object_head h = { 0 };
	size_t skip = sizeof(h);

	take_head(m, &h);
	if (be64toh(h.offset_be) != o->got || be32toh(h.number_be) != o->number)
		die(0, "object %u: byte %llu of object %u came, not byte %llu", o->number,
		    (unsigned long long)be64toh(h.offset_be), be32toh(h.number_be),
		    (unsigned long long)o->got);
	o->bytes = be64toh(h.bytes_be);
	for (unsigned int i = 0; i < m->iovcnt; i++) {
		size_t n = m->iov[i].iov_len, off = skip < n ? skip : n;

		object_sum_add(&o->sum, (uint8_t *)m->iov[i].iov_base + off, n - off);
		skip -= off;
	}
	o->got += m->len - sizeof(h);
	if (m->len > sizeof(h))
		return 0;
	if (o->got != o->bytes || object_sum_end(&o->sum) != be64toh(h.sum_be))
		die(0, "object %u: %llu of %llu bytes, or a wrong sum", o->number,
		    (unsigned long long)o->got, (unsigned long long)o->bytes);
	return 1;
}

static void receive(int fd, enum kcm_rx_mode mode)
{
	struct kcm_rx_opts opts = { .sz = sizeof(opts), .mode = mode };
	struct object o = { 0 };
	struct kcm_frame frame;
	struct kcm_rx_stats st;
	struct kcm_rx_msg m;
	struct kcm_rx *rx;
	int r = kcm_frame_parse(OBJECT_FRAME, &frame, NULL, 0);

	if (r || (r = kcm_rx_open(fd, &frame, &opts, &rx)))
		die(r, "kcm_rx_open");
	while ((r = kcm_rx_recv(rx, &m, -1)) == 1) {
		if (take(&o, &m)) {
			printf("object %u: %llu bytes, sum is right\n", o.number,
			       (unsigned long long)o.bytes);
			o = (struct object){ .number = o.number + 1 };
		}
		kcm_rx_release(rx, &m);
	}
	if (r || o.got)
		die(r, "connection ended at byte %llu of object %u", (unsigned long long)o.got,
		    o.number);
	kcm_rx_stats(rx, &st, sizeof(st));
	printf("%llu messages, %.1f%% of %llu bytes mapped, %.2f system calls a message\n",
	       (unsigned long long)st.messages,
	       st.bytes ? 100.0 * (double)st.mapped_bytes / (double)st.bytes : 0.0,
	       (unsigned long long)st.bytes,
	       st.messages ? (double)st.calls / (double)st.messages : 0.0);
	for (int i = 0; i < KCM_RX_WHYS; i++)
		if (st.copied_bytes[i])
			printf("  copied, %s: %llu\n", kcm_rx_why_name((enum kcm_rx_why)i),
			       (unsigned long long)st.copied_bytes[i]);
	fflush(stdout);
	kcm_rx_close(rx);
}

int main(int argc, char **argv)
{
	enum kcm_rx_mode mode = KCM_RX_AUTO;
	long connections = -1;
	int opt, l, fd;

	while ((opt = getopt(argc, argv, "n:")) == 'n')
		connections = atol(optarg);
	if (opt != -1 || optind >= argc)
		die(0, "usage: object_recv [-n CONNECTIONS] ADDR:PORT [auto|map|copy]");
	if (optind + 1 < argc)
		mode = !strcmp(argv[optind + 1], "map")	   ? KCM_RX_MAP
		       : !strcmp(argv[optind + 1], "copy") ? KCM_RX_COPY
							   : KCM_RX_AUTO;
	l = tcp_open(argv[optind], 1);
	printf("listening on %d\n", tcp_port(l));
	fflush(stdout);
	while (connections-- && (fd = accept(l, NULL, NULL)) >= 0) {
		receive(fd, mode);
		close(fd);
	}
	return 0;
}
