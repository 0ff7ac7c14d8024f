// SPDX-License-Identifier: GPL-2.0
/*
 * sock_traffic.c - one TCP connection under load: a client and a server, blocking.
 *
 * Both ends on one CPU that is never idle: the CPU time of both is all that a message costs,
 * interrupts included, and there is no waking of another CPU to wait for.
 */
#include "sock_traffic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define BUF_BYTES (256 * 1024)
#define FLOW_MS	  5000

struct traffic_shared {
	_Atomic uint64_t msgs;
	_Atomic uint32_t wrong, stop;
};

static int send_all(int fd, const void *data, size_t n)
{
	while (n) {
		ssize_t r = send(fd, data, n, MSG_NOSIGNAL);

		if (r <= 0)
			return -1;
		data = (const char *)data + r;
		n -= (size_t)r;
	}
	return 0;
}

static int recv_all(int fd, void *data, size_t n)
{
	while (n) {
		ssize_t r = recv(fd, data, n, 0);

		if (r <= 0)
			return -1;
		data = (char *)data + r;
		n -= (size_t)r;
	}
	return 0;
}

static char *messages(const struct traffic_case *c, size_t bytes)
{
	char *buf = calloc(1, bytes);
	uint32_t len = htonl(c->size - 4);

	for (size_t at = 0; buf && at + c->size <= bytes; at += c->size)
		memcpy(buf + at, &len, sizeof(len));
	return buf;
}

static void client(struct traffic_shared *sh, const struct traffic_case *c, int fd)
{
	size_t bytes = c->pipelined ? TRAFFIC_BATCH / c->size * c->size : c->size;
	char *out = messages(c, bytes), *in = malloc(c->size);

	while (out && in && !sh->stop) {
		if (send_all(fd, out, bytes) || (c->reply && recv_all(fd, in, c->size)))
			break;
		if (!c->reply)
			continue;
		if (memcmp(in, out, c->size))
			sh->wrong++;
		sh->msgs++;
	}
}

/* One way: counts whole messages by their lengths, as a receiver would. */
static void sink(struct traffic_shared *sh, const struct traffic_case *c, int fd)
{
	static char buf[BUF_BYTES];
	size_t have = 0;

	for (;;) {
		ssize_t r = recv(fd, buf + have, sizeof(buf) - have, 0);
		size_t at = 0;
		uint32_t len;

		if (r <= 0)
			return;
		have += (size_t)r;
		for (; have - at >= c->size; at += c->size) {
			memcpy(&len, buf + at, sizeof(len));
			if (ntohl(len) != c->size - 4)
				sh->wrong++;
		}
		atomic_fetch_add(&sh->msgs, at / c->size);
		have -= at;
		memmove(buf, buf + at, have);
	}
}

static void server(struct traffic_shared *sh, const struct traffic_case *c, int listener)
{
	int fd = accept(listener, NULL, NULL);
	char *buf = malloc(c->size);

	if (fd < 0 || !buf)
		return;
	bench_socket_options(fd);
	if (!c->reply)
		sink(sh, c, fd);
	while (c->reply && !recv_all(fd, buf, c->size) && !send_all(fd, buf, c->size))
		;
}

static pid_t child(void)
{
	pid_t parent = getpid(), pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}
	return pid;
}

int traffic_start(struct traffic *t, const struct traffic_case *c, uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, err;

	memset(t, 0, sizeof(*t));
	if (fd < 0)
		return -errno;
	t->port = port;
	t->shared = mmap(NULL, sizeof(*t->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t->shared == MAP_FAILED)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	bench_socket_options(fd);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 1)) {
		err = -errno;
		close(fd);
		return err;
	}
	t->server = child();
	if (!t->server) {
		server(t->shared, c, fd);
		_exit(0);
	}
	close(fd);
	t->client = child();
	if (!t->client) {
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		bench_socket_options(fd);
		if (!connect(fd, (struct sockaddr *)&a, sizeof(a)))
			client(t->shared, c, fd);
		_exit(0);
	}
	for (int i = 0; i < FLOW_MS && !t->shared->msgs; i++)
		bench_sleep_ns(BENCH_NS_PER_MS);
	return t->shared->msgs ? 0 : -ETIMEDOUT;
}

static uint64_t cpu_of(pid_t pid)
{
	clockid_t id;

	return clock_getcpuclockid(pid, &id) ? 0 : bench_clock_ns(id);
}

void traffic_read(const struct traffic *t, struct traffic_count *c)
{
	c->msgs = t->shared->msgs;
	c->cpu_ns = cpu_of(t->server) + cpu_of(t->client);
}

int traffic_stop(struct traffic *t)
{
	int wrong;

	if (!t->shared || t->shared == MAP_FAILED)
		return 0;
	t->shared->stop = 1;
	/* The client ends after its message, its socket closes, and the server sees the end. */
	if (t->client > 0)
		waitpid(t->client, NULL, 0);
	if (t->server > 0)
		waitpid(t->server, NULL, 0);
	wrong = t->shared->wrong;
	munmap(t->shared, sizeof(*t->shared));
	t->shared = NULL;
	return wrong ? -EIO : 0;
}
