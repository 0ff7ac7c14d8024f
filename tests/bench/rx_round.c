// SPDX-License-Identifier: GPL-2.0
/* rx_round.c - one round: connections, sending processes, reading threads, what they used. */
#include "rx_bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct reading {
	const struct rxb_reader *reader;
	const struct rxb_case *c;
	int fd, err;
	struct rxb_result r;
	pthread_t thread;
	pthread_barrier_t *begin;
};

static int listen_at(int mss, uint16_t port, struct sockaddr_in *sa)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	socklen_t len = sizeof(*sa);

	*sa = (struct sockaddr_in){ .sin_family = AF_INET,
				    .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	bench_socket_options(fd);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (mss)
		setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof(mss));
	if (bind(fd, (void *)sa, len) || listen(fd, 16) || getsockname(fd, (void *)sa, &len)) {
		close(fd);
		return -1;
	}
	return fd;
}

static uint64_t sleeps(void)
{
	struct rusage u;

	getrusage(RUSAGE_THREAD, &u);
	return (uint64_t)u.ru_nvcsw;
}

static void *read_all(void *arg)
{
	struct reading *t = arg;
	uint64_t cpu, wall, slept;

	pthread_barrier_wait(t->begin);
	slept = sleeps();
	wall = bench_now_ns();
	cpu = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID);
	t->err = t->reader->run(t->fd, t->c, &t->r);
	t->r.cpu_ns = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	t->r.wall_ns = bench_now_ns() - wall;
	t->r.sleeps = sleeps() - slept;
	return NULL;
}

static pid_t start_sender(const struct sockaddr_in *sa, const struct rxb_case *c, uint64_t total,
			  int ready)
{
	pid_t pid = fork();
	char go;
	int fd;

	if (pid)
		return pid;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bench_socket_options(fd);
	if (connect(fd, (const void *)sa, sizeof(*sa)))
		_exit(3);
	if (read(ready, &go, 1) < 0)
		_exit(3);
	rxb_send(fd, c, total);
	_exit(0);
}

static void add(struct rxb_result *sum, const struct rxb_result *r)
{
	sum->bytes += r->bytes;
	sum->messages += r->messages;
	sum->mapped += r->mapped;
	sum->one_piece += r->one_piece;
	sum->calls += r->calls;
	sum->sleeps += r->sleeps;
	sum->cpu_ns += r->cpu_ns;
	sum->flushes += r->flushes;
	sum->wrong |= r->wrong;
	if (r->wall_ns > sum->wall_ns)
		sum->wall_ns = r->wall_ns;
}

int rxb_round(const struct rxb_reader *reader, const struct rxb_case *c, uint64_t total,
	      struct rxb_result *sum)
{
	struct reading t[RXB_THREADS] = { 0 };
	pid_t pid[RXB_THREADS];
	pthread_barrier_t begin;
	struct sockaddr_in sa;
	int l = listen_at(c->mss, c->port, &sa), ready[2], err = 0;
	uint64_t each = total / c->threads / c->payload * c->payload, want;

	memset(sum, 0, sizeof(*sum));
	if (l < 0 || pipe(ready))
		return -errno;
	if (!each)
		each = c->payload;
	want = each / c->payload * ((c->source == RXB_STREAM ? 0 : RXB_HEAD) + c->payload);
	pthread_barrier_init(&begin, NULL, c->threads + 1);
	for (unsigned int i = 0; i < c->threads; i++)
		pid[i] = start_sender(&sa, c, each, ready[0]);
	for (unsigned int i = 0; i < c->threads; i++) {
		t[i].reader = reader;
		t[i].c = c;
		t[i].begin = &begin;
		t[i].fd = accept(l, NULL, NULL);
		pthread_create(&t[i].thread, NULL, read_all, &t[i]);
	}
	pthread_barrier_wait(&begin);
	if (write(ready[1], "12345678", c->threads) < 0)
		err = -errno;
	for (unsigned int i = 0; i < c->threads; i++) {
		pthread_join(t[i].thread, NULL);
		close(t[i].fd);
		err = err ?: t[i].err;
		sum->wrong |= !t[i].err && t[i].r.bytes != want;
		add(sum, &t[i].r);
	}
	for (unsigned int i = 0; i < c->threads; i++)
		waitpid(pid[i], NULL, 0);
	close(l);
	close(ready[0]);
	close(ready[1]);
	pthread_barrier_destroy(&begin);
	return err;
}
