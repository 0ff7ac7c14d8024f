/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * mux_kit.h - what the end-to-end tests of the mux share: messages whose bytes follow from their
 * number, sockets, a mux of the test's own, and a main() that cleans up whatever the test does.
 *
 * A message is a 4-byte length, connection, number, and bytes that follow from both: a torn or
 * misrouted one does not match.
 */
#ifndef MUX_KIT_H
#define MUX_KIT_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kcm.h"

#define KIT_HEAD   12U
#define KIT_WAIT   60000 /* ms: a hang detector, nothing is expected to take so long */
#define kit_unused __attribute__((unused))
#define kit_args   int argc kit_unused, char **argv kit_unused

#define die(...)                                                                     \
	do {                                                                         \
		fprintf(stderr, "%s:%d: ", program_invocation_short_name, __LINE__); \
		fprintf(stderr, __VA_ARGS__);                                        \
		fprintf(stderr, "\n");                                               \
		_exit(1);                                                            \
	} while (0)

#define CHECK(cond)                                      \
	do {                                             \
		if (!(cond))                             \
			die("does not hold: %s", #cond); \
	} while (0)

#define CHECK_EQ(a, b)                                                 \
	do {                                                           \
		long long a_ = (long long)(a), b_ = (long long)(b);    \
		if (a_ != b_)                                          \
			die("%s is %lld, %s is %lld", #a, a_, #b, b_); \
	} while (0)

/* ---- numbers and bytes ---- */

static inline uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static inline uint64_t rnd(uint64_t *s)
{
	return mix(*s += 0x9e3779b97f4a7c15ULL);
}

static kit_unused void fill(uint8_t *p, size_t n, uint32_t conn, uint32_t num, uint64_t salt)
{
	uint64_t s = mix((uint64_t)conn << 32 | num) ^ salt;
	size_t i = 0;

	for (; i + 8 <= n; i += 8, s += 0x9e3779b97f4a7c15ULL)
		memcpy(p + i, &s, 8);
	memcpy(p + i, &s, n - i);
}

static kit_unused bool check(const uint8_t *p, size_t n, uint32_t conn, uint32_t num, uint64_t salt)
{
	uint64_t s = mix((uint64_t)conn << 32 | num) ^ salt, v;
	size_t i = 0;

	for (; i + 8 <= n; i += 8, s += 0x9e3779b97f4a7c15ULL) {
		memcpy(&v, p + i, 8);
		if (v != s)
			return false;
	}
	return memcmp(p + i, &s, n - i) == 0;
}

/* Make message @num of @conn, @len bytes in all (at least KIT_HEAD). */
static kit_unused size_t msg_make(void *to, uint32_t conn, uint32_t num, size_t len)
{
	uint32_t h[3] = { htonl((uint32_t)len - 4), conn, num };

	memcpy(to, h, sizeof(h));
	fill((uint8_t *)to + KIT_HEAD, len - KIT_HEAD, conn, num, 3);
	return len;
}

/* Is it a whole message as msg_make() makes them? */
static kit_unused bool msg_ok(const void *p, size_t len, uint32_t *conn, uint32_t *num)
{
	uint32_t h[3];

	if (len < KIT_HEAD)
		return false;
	memcpy(h, p, sizeof(h));
	*conn = h[1];
	*num = h[2];
	return ntohl(h[0]) + 4U == len &&
	       check((const uint8_t *)p + KIT_HEAD, len - KIT_HEAD, h[1], h[2], 3);
}

static kit_unused uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Wait until @cond holds: what is waited for comes, or the test is stuck. */
#define WAIT_FOR(cond)                                                \
	do {                                                          \
		for (uint64_t end_ = now_ms() + KIT_WAIT; !(cond);) { \
			if (now_ms() > end_)                          \
				die("waited in vain for: %s", #cond); \
			usleep(1000);                                 \
		}                                                     \
	} while (0)

/* ---- sockets ---- */

static kit_unused int kit_listen(int *port)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6 };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), zero = 0;

	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 4096) ||
	    getsockname(fd, (struct sockaddr *)&a, &len))
		die("listen: %s", strerror(errno));
	*port = ntohs(a.sin6_port);
	return fd;
}

/* @from: last byte of the loopback address to call from. */
static kit_unused int kit_dial(int port, unsigned int from)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + from) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (from > 1) {
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
		if (bind(fd, (struct sockaddr *)&a, sizeof(a)))
			die("bind: %s", strerror(errno));
		a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	}
	a.sin_port = htons((uint16_t)port);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)))
		die("connect: %s", strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static kit_unused void kit_nonblock(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* All of it, or the test fails. */
static kit_unused void send_all(int fd, const void *p, size_t n)
{
	while (n) {
		ssize_t r = send(fd, p, n, MSG_NOSIGNAL);

		if (r < 0 && errno == EAGAIN) {
			struct pollfd pf = { .fd = fd, .events = POLLOUT };

			if (poll(&pf, 1, KIT_WAIT) != 1)
				die("nobody takes the last %zu bytes", n);
			continue;
		}
		if (r < 0)
			die("send: %s", strerror(errno));
		p = (const uint8_t *)p + r;
		n -= (size_t)r;
	}
}

/* Like send_all(), in pieces of 1 to @seg bytes. */
static kit_unused void send_cut(int fd, const void *p, size_t n, size_t seg, uint64_t *s)
{
	while (n) {
		size_t piece = 1 + rnd(s) % seg;

		if (piece > n)
			piece = n;
		send_all(fd, p, piece);
		p = (const uint8_t *)p + piece;
		n -= piece;
	}
}

/* Return: @n, or fewer at the end of the stream; -errno. */
static kit_unused ssize_t recv_all(int fd, void *p, size_t n)
{
	unsigned int vain = 0;
	size_t got = 0;

	while (got < n) {
		struct pollfd pf = { .fd = fd, .events = POLLIN };
		ssize_t r;

		if (poll(&pf, 1, KIT_WAIT) != 1)
			die("nothing comes after %zu of %zu bytes", got, n);
		r = recv(fd, (uint8_t *)p + got, n - got, 0);
		if (r < 0 && errno == EAGAIN && ++vain < 1000)
			continue;
		if (r < 0 && errno == EAGAIN)
			die("readable without end, and nothing to read");
		if (r < 0)
			return -errno;
		if (!r)
			break;
		got += (size_t)r;
	}
	return (ssize_t)got;
}

/* Read until the end of the stream, however it ends. Return: bytes. */
static kit_unused size_t recv_end(int fd)
{
	uint8_t junk[4096];
	size_t n = 0;
	ssize_t r;

	while ((r = recv_all(fd, junk, sizeof(junk))) > 0)
		n += (size_t)r;
	return n;
}

static kit_unused void close_hard(int fd)
{
	struct linger l = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd);
}

/* ---- a mux of the test's own ---- */

struct kit {
	char name[32];
	struct kcm_mux *m;
	struct kcm_mux_opts o;
	int lfd, port;
};

static char kit_name[32]; /* prefix of all muxes of this run, see kit_main() */

static kit_unused void kit_open(struct kit *k, const char *frame)
{
	static unsigned int count;
	char err[256] = "";
	int ret;

	snprintf(k->name, sizeof(k->name), "%.24s%u", kit_name, count++);
	k->o.sz = sizeof(k->o);
	if (kcm_frame_parse(frame, &k->o.frame, err, sizeof(err)))
		die("%s", err);
	ret = kcm_mux_create(k->name, &k->o, err, sizeof(err));
	if (ret)
		die("create: %s", err);
	ret = kcm_mux_open(k->name, &k->m);
	if (ret)
		die("open: %s", strerror(-ret));
	k->lfd = kit_listen(&k->port);
}

static kit_unused void kit_close(struct kit *k)
{
	uint64_t end = now_ms() + KIT_WAIT;
	int ret;

	kcm_mux_close(k->m);
	close(k->lfd);
	/* A worker that was forked a moment ago has not closed what is the owner's yet. */
	while ((ret = kcm_mux_delete(k->name, 0)) == -EBUSY && now_ms() < end)
		usleep(1000);
	if (ret)
		die("delete: %s", strerror(-ret));
}

/* Both ends of a new connection, the far one attached. Return: the near one. */
static kit_unused int kit_conn(struct kit *k, kcm_conn_id *id)
{
	int near = kit_dial(k->port, 1), far = accept4(k->lfd, NULL, NULL, SOCK_CLOEXEC), ret;

	if (far < 0)
		die("accept: %s", strerror(errno));
	ret = kcm_attach(k->m, far, NULL, 0, id);
	if (ret)
		die("attach: %s", strerror(-ret));
	return near;
}

static kit_unused struct kcm_worker *kit_worker(struct kit *k)
{
	struct kcm_worker *w;
	int fd = kcm_mux_worker_fd(k->m), ret = fd < 0 ? fd : kcm_worker_open_fd(fd, &w);

	if (ret)
		die("worker: %s", strerror(-ret));
	return w;
}

static kit_unused unsigned int kit_conns(struct kit *k)
{
	unsigned int conns, workers;

	kcm_mux_counts(k->m, &conns, &workers);
	return conns;
}

/* One record that must come. */
static kit_unused struct kcm_msg recv_one(struct kcm_worker *w)
{
	struct kcm_msg msg;
	int n = kcm_recv(w, &msg, 1, KIT_WAIT);

	if (n != 1)
		die("kcm_recv: %s", n ? strerror(-n) : "nothing came");
	return msg;
}

/*
 * A worker process as an exec'ed one would be: with the descriptor @fd alone. Others are closed, or
 * it would hold the owner's lock and connections.
 */
static kit_unused void kit_only_fd(int fd)
{
	if (fd > 3)
		close_range(3, (unsigned int)fd - 1, 0);
	close_range((unsigned int)fd + 1, ~0U, 0);
}

/* A child that does not outlive the test. */
static kit_unused pid_t kit_fork(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}
	return pid;
}

#include "mux_kit_main.h"

#endif
