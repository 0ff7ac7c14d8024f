// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * object_send.c - send objects such that the receiver can map them.
 *
 *	object_send ADDR:PORT SIZE|FILE...	SIZE: so many bytes, made up; 64M, 1G
 *
 * Made-up objects leave by MSG_ZEROCOPY, from memory that is used again when the kernel is done
 * with it; files by sendfile.
 */
#include <kcm_tx.h>

#include <endian.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common.h"
#include "object.h"

#define BODIES 16 /* in use at a time */

struct source {
	struct kcm_tx *tx;
	uint8_t *body[BODIES];
	uint64_t id[BODIES];
	unsigned int next;
};

static uint8_t *free_body(struct source *s, unsigned int at)
{
	int r;

	if (!s->body[at]) {
		s->body[at] = mmap(NULL, OBJECT_PART, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (s->body[at] == MAP_FAILED)
			die(-errno, "memory");
	}
	while (!(r = kcm_tx_done(s->tx, s->id[at])))
		if ((r = kcm_tx_drain(s->tx, -1)))
			break;
	if (r < 0)
		die(r, "send");
	return s->body[at];
}

static void make_up(uint8_t *to, size_t n, uint64_t *state)
{
	for (size_t i = 0; i < n; i += 8) {
		*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
		memcpy(to + i, state, 8); /* a body has whole words */
	}
}

static void send_part(struct source *s, struct object_head *h, uint64_t *state,
		      struct object_sum *sum, size_t n)
{
	unsigned int at = s->next++ % BODIES;
	uint8_t *body = free_body(s, at);
	int err;

	make_up(body, n, state);
	object_sum_add(sum, body, n);
	err = kcm_tx_send(s->tx, h, sizeof(*h), body, n, &s->id[at]);
	if (err)
		die(err, "send");
}

static void send_file_part(struct source *s, struct object_head *h, int file, off_t at,
			   struct object_sum *sum, size_t n)
{
	void *p = mmap(NULL, n, PROT_READ, MAP_SHARED, file, at);
	int err;

	if (p == MAP_FAILED)
		die(-errno, "map file");
	object_sum_add(sum, p, n);
	munmap(p, n);
	err = kcm_tx_sendfile(s->tx, h, sizeof(*h), file, at, n);
	if (err)
		die(err, "send file");
}

static void send_object(struct source *s, uint32_t number, const char *what)
{
	int file = open(what, O_RDONLY | O_CLOEXEC), err;
	uint64_t bytes, state = number;
	struct object_sum sum = { 0 };
	struct object_head h = { .number_be = htobe32(number) };
	struct stat st;
	char *end;

	if (file >= 0) {
		if (fstat(file, &st))
			die(-errno, "%s", what);
		bytes = (uint64_t)st.st_size;
	} else {
		bytes = strtoull(what, &end, 10);
		bytes <<= *end == 'G' ? 30 : *end == 'M' ? 20 : *end == 'K' ? 10 : 0;
		if (!bytes || (*end && end[1]))
			die(0, "'%s' is neither a file nor a size", what);
	}
	h.bytes_be = htobe64(bytes);
	for (uint64_t at = 0, n; at < bytes; at += n) {
		n = bytes - at < OBJECT_PART ? bytes - at : OBJECT_PART;
		h.body_be = htobe32((uint32_t)n);
		h.offset_be = htobe64(at);
		if (file >= 0)
			send_file_part(s, &h, file, (off_t)at, &sum, n);
		else
			send_part(s, &h, &state, &sum, n);
	}
	h.body_be = 0;
	h.offset_be = h.bytes_be;
	h.sum_be = htobe64(object_sum_end(&sum));
	err = kcm_tx_send(s->tx, &h, sizeof(h), NULL, 0, NULL);
	if (err)
		die(err, "send");
	close(file);
}

int main(int argc, char **argv)
{
	struct source s = { 0 };
	struct kcm_tx_stats st;
	int fd, err;

	if (argc < 3)
		die(0, "usage: object_send ADDR:PORT SIZE|FILE...");
	fd = tcp_open(argv[1], 0);
	err = kcm_tx_open(fd, NULL, &s.tx);
	if (err)
		die(err, "kcm_tx_open");
	for (int i = 2; i < argc; i++)
		send_object(&s, (uint32_t)i - 2, argv[i]);
	shutdown(fd, SHUT_WR);
	err = kcm_tx_drain(s.tx, -1);
	if (err)
		die(err, "send");
	/* The receiver closes when it has all of it. */
	while (recv(fd, &err, sizeof(err), 0) > 0)
		;
	kcm_tx_stats(s.tx, &st, sizeof(st));
	printf("sent %llu bytes in %llu messages, %llu as they were, %llu from files\n",
	       (unsigned long long)st.bytes, (unsigned long long)st.messages,
	       (unsigned long long)st.zerocopy_bytes, (unsigned long long)st.file_bytes);
	kcm_tx_close(s.tx);
	close(fd);
	return 0;
}
