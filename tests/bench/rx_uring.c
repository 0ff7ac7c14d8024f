// SPDX-License-Identifier: GPL-2.0
/* rx_uring.c - recv by io_uring, without a library. */
#include "rx_uring.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BYTES (256U << 10)

struct ring {
	int fd;
	uint8_t *map;
	size_t map_bytes;
	struct io_uring_sqe *sqe;
	size_t sqe_bytes;
	struct io_uring_params p;
};

static int ring_open(struct ring *r)
{
	size_t sq, cq;

	memset(r, 0, sizeof(*r));
	r->fd = (int)syscall(SYS_io_uring_setup, 4, &r->p);
	if (r->fd < 0)
		return -errno;
	if (!(r->p.features & IORING_FEAT_SINGLE_MMAP)) {
		close(r->fd);
		return -EOPNOTSUPP;
	}
	sq = r->p.sq_off.array + r->p.sq_entries * sizeof(__u32);
	cq = r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe);
	r->map_bytes = sq > cq ? sq : cq;
	r->map = mmap(NULL, r->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		      IORING_OFF_SQ_RING);
	r->sqe_bytes = r->p.sq_entries * sizeof(struct io_uring_sqe);
	r->sqe = mmap(NULL, r->sqe_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		      IORING_OFF_SQES);
	if (r->map == MAP_FAILED || r->sqe == MAP_FAILED) {
		close(r->fd);
		return -ENOMEM;
	}
	return 0;
}

static __u32 *at(struct ring *r, __u32 off)
{
	return (__u32 *)(r->map + off);
}

static int one(struct ring *r, int fd, void *buf)
{
	__u32 tail = *at(r, r->p.sq_off.tail), mask = *at(r, r->p.sq_off.ring_mask), head;
	struct io_uring_sqe *s = &r->sqe[tail & mask];
	int res;

	memset(s, 0, sizeof(*s));
	s->opcode = IORING_OP_RECV;
	s->fd = fd;
	s->addr = (uintptr_t)buf;
	s->len = BYTES;
	at(r, r->p.sq_off.array)[tail & mask] = tail & mask;
	__atomic_store_n(at(r, r->p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -errno;
	head = *at(r, r->p.cq_off.head);
	if (head == __atomic_load_n(at(r, r->p.cq_off.tail), __ATOMIC_ACQUIRE))
		return -EIO;
	res = ((struct io_uring_cqe *)(r->map +
				       r->p.cq_off.cqes))[head & *at(r, r->p.cq_off.ring_mask)]
		      .res;
	__atomic_store_n(at(r, r->p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return res;
}

int rxb_run_uring(int fd, const struct rxb_case *c, struct rxb_result *r)
{
	static volatile uint64_t sink;
	uint8_t *buf = malloc(BYTES);
	struct ring ring;
	uint64_t sum = 0;
	int n = ring_open(&ring);

	if (n) {
		free(buf);
		return n;
	}
	while ((n = one(&ring, fd, buf)) > 0) {
		r->calls++;
		r->bytes += (uint64_t)n;
		if (c->touch)
			sum += rxb_touch(buf, (size_t)n);
	}
	sink = sum;
	(void)sink;
	munmap(ring.map, ring.map_bytes);
	munmap(ring.sqe, ring.sqe_bytes);
	close(ring.fd);
	free(buf);
	return n;
}
