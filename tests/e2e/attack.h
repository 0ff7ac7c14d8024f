/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * attack.h - what the attack_*.c programs share: a mux in this process, connections to it over
 * loopback, messages with checked content, and a look into the maps for what is left behind.
 * Each program runs the scenario that is named, or all of its own; it fails on the first surprise.
 */
#ifndef ATTACK_H
#define ATTACK_H

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../src/lib/kcm.h"
#include "../../src/lib/mux_file.h"
#include "../../src/lib/queue.h"

#define LONG_MS 40000 /* nothing here takes so long unless it takes for ever */

static const char *scenario = "";

#define die(...)                                           \
	do {                                               \
		fprintf(stderr, "attack %s: ", scenario);  \
		fprintf(stderr, __VA_ARGS__);              \
		fprintf(stderr, " (line %d)\n", __LINE__); \
		exit(1);                                   \
	} while (0)

#define must(expr)                                                                \
	({                                                                        \
		long r_ = (expr);                                                 \
		if (r_ < 0)                                                       \
			die("%s: %s", #expr, strerror(errno ? errno : -(int)r_)); \
		r_;                                                               \
	})

/* For functions that return -errno. */
#define ok(expr)                                                  \
	({                                                        \
		long r_ = (expr);                                 \
		if (r_ < 0)                                       \
			die("%s: %s", #expr, strerror(-(int)r_)); \
		r_;                                               \
	})

struct rig {
	char name[32];
	struct kcm_mux *m;
	int lfd;
	struct sockaddr_in addr;
	struct view v;
	int maps[VIEW_MAPS];
};

static __attribute__((unused)) void rig_options(struct kcm_mux_opts *o, const char *frame)
{
	char err[256];

	memset(o, 0, sizeof(*o));
	o->sz = sizeof(*o);
	o->conns = 64;
	if (kcm_frame_parse(frame, &o->frame, err, sizeof(err)))
		die("%s", err);
}

static __attribute__((unused)) void rig_listen(struct rig *r)
{
	socklen_t len = sizeof(r->addr);

	r->addr = (struct sockaddr_in){ .sin_family = AF_INET,
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	r->lfd = (int)must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	must(bind(r->lfd, (struct sockaddr *)&r->addr, sizeof(r->addr)));
	must(listen(r->lfd, 4096));
	must(getsockname(r->lfd, (struct sockaddr *)&r->addr, &len));
}

static __attribute__((unused)) void rig_open(struct rig *r, const struct kcm_mux_opts *o)
{
	static int n;
	char err[256] = "";

	memset(r, 0, sizeof(*r));
	snprintf(r->name, sizeof(r->name), "attack-%d-%d", getpid(), n++);
	if (kcm_mux_create(r->name, o, err, sizeof(err)))
		die("create: %s", err);
	ok(kcm_mux_open(r->name, &r->m));
	ok(mux_open_maps(r->name, r->maps, VIEW_CONF));
	ok(view_map(&r->v, r->maps, VIEW_CONF));
	rig_listen(r);
}

static __attribute__((unused)) void rig_close(struct rig *r)
{
	close(r->lfd);
	view_unmap(&r->v);
	mux_close_maps(r->maps);
	kcm_mux_close(r->m);
	ok(kcm_mux_delete(r->name, 0));
}

/* A client's connection, attached. */
static __attribute__((unused)) int rig_dial(struct rig *r, kcm_conn_id *id)
{
	int c = (int)must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), s, one = 1;

	must(connect(c, (struct sockaddr *)&r->addr, sizeof(r->addr)));
	setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	s = (int)must(accept4(r->lfd, NULL, NULL, SOCK_CLOEXEC));
	ok(kcm_attach(r->m, s, NULL, 0, id));
	return c;
}

static __attribute__((unused)) struct kcm_worker *rig_worker(struct rig *r)
{
	struct kcm_worker *w;

	ok(kcm_worker_open_fd((int)ok(kcm_mux_worker_fd(r->m)), &w));
	return w;
}

/* A worker process that runs @serve; it keeps nothing else of ours. */
static __attribute__((unused)) pid_t
rig_process(struct rig *r, void (*serve)(struct kcm_worker *, void *), void *arg)
{
	int fd = (int)ok(kcm_mux_worker_fd(r->m));
	pid_t pid = (pid_t)must(fork());

	if (!pid) {
		struct kcm_worker *w;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fd > 3)
			must(close_range(3, (unsigned int)fd - 1, 0));
		must(close_range((unsigned int)fd + 1, ~0U, 0));
		ok(kcm_worker_open_fd(fd, &w));
		serve(w, arg);
		kcm_worker_close(w);
		_exit(0);
	}
	close(fd);
	return pid;
}

static uint64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* A message of u32be: length, number, bytes that follow from the number. */
static size_t make_msg(uint8_t *p, uint32_t num, uint32_t body)
{
	uint32_t h[2] = { htonl(4 + body), htonl(num) };

	memcpy(p, h, sizeof(h));
	for (uint32_t i = 0; i < body; i++)
		p[8 + i] = (uint8_t)(num * 31 + i * 7);
	return 8 + body;
}

/* Check a message; its number, or die. */
static __attribute__((unused)) uint32_t check_msg(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t h[2];

	if (len < 8)
		die("a message of %zu bytes", len);
	memcpy(h, p, sizeof(h));
	if (ntohl(h[0]) + 4 != len)
		die("a message of %zu bytes says %u", len, ntohl(h[0]) + 4);
	for (size_t i = 8; i < len; i++)
		if (p[i] != (uint8_t)(ntohl(h[1]) * 31 + (i - 8) * 7))
			die("message %u: byte %zu of %zu is wrong", ntohl(h[1]), i, len);
	return ntohl(h[1]);
}

static __attribute__((unused)) void send_all(int fd, const void *data, size_t len)
{
	for (size_t at = 0; at < len;)
		at += (size_t)must(send(fd, (const uint8_t *)data + at, len - at, MSG_NOSIGNAL));
}

static __attribute__((unused)) void send_msg(int fd, uint32_t num, uint32_t body)
{
	uint8_t *p = malloc(8 + (size_t)body);

	send_all(fd, p, make_msg(p, num, body));
	free(p);
}

/* Read one message from a client's socket. Return: its number, or -1 if none came in time. */
static __attribute__((unused)) long recv_msg(int fd, int timeout_ms)
{
	uint64_t end = clock_ms() + (uint64_t)timeout_ms;
	uint8_t head[4], *p = head;
	size_t have = 0, need = 4;
	long num;

	while (have < need) {
		struct pollfd pf = { .fd = fd, .events = POLLIN };
		uint64_t now = clock_ms();
		ssize_t n;

		if (now >= end || poll(&pf, 1, (int)(end - now)) <= 0)
			return -1;
		n = recv(fd, p + have, need - have, 0);
		if (n <= 0)
			return -1;
		have += (size_t)n;
		if (have == 4 && p == head) {
			uint32_t len;

			memcpy(&len, head, 4);
			need = 4 + (size_t)ntohl(len);
			p = malloc(need);
			memcpy(p, head, 4);
		}
	}
	num = check_msg(p, need);
	free(p);
	return num;
}

/* Answer with the same bytes. */
static __attribute__((unused)) void echo(struct kcm_worker *w, void *arg)
{
	struct kcm_msg msgs[16];
	int n;

	(void)arg;
	while ((n = kcm_recv(w, msgs, 16, -1)) >= 0 || n == -EINTR) {
		if (n < 0)
			continue;
		for (int i = 0; i < n; i++)
			if (msgs[i].event == KCM_MESSAGE)
				kcm_send(w, msgs[i].conn, msgs[i].data, msgs[i].len, KCM_WAIT);
		kcm_release(w, msgs, (unsigned int)n);
	}
}

/* What is left, for whoever has to find out why. */
static __attribute__((unused)) void rig_show(struct rig *r)
{
	for (uint32_t i = 0; i < r->v.cfg.n_conns; i++) {
		const struct kcm_conn *c = &r->v.conns[i];

		if (c->state != KCM_CONN_FREE)
			fprintf(stderr, "slot %u gen %u state %d hold %d messages %llu\n", i,
				c->gen, (int)c->state, (int)c->hold, (unsigned long long)c->msgs);
	}
	for (uint32_t i = 0; i < r->v.n_chunks; i++) {
		const struct kcm_chunk *ch = &r->v.chunks[i];
		uint32_t s = LOAD(&r->v.claims[i].state);

		if (KCM_STATE_ST(s) != KCM_CHUNK_FREE)
			fprintf(stderr, "chunk %u state %u kind %d slot %u gen %u n %u own %llx\n",
				i, KCM_STATE_ST(s), (int)ch->kind, ch->conn, ch->conn_gen, ch->n,
				(unsigned long long)r->v.claims[i].own[0]);
	}
}

/* Nothing is out any more: no connection, no chunk, no unfinished message. */
static __attribute__((unused)) void must_be_idle(struct rig *r)
{
	uint64_t end = clock_ms() + LONG_MS;

	for (;;) {
		unsigned int conns = 0, chunks = 0, asms = 0;

		for (uint32_t i = 0; i < r->v.cfg.n_conns; i++)
			conns += LOAD(&r->v.conns[i].state) != KCM_CONN_FREE;
		for (uint32_t i = 0; i < r->v.n_chunks; i++)
			chunks += KCM_STATE_ST(LOAD(&r->v.claims[i].state)) != KCM_CHUNK_FREE;
		for (int c = 0; c < KCM_CLASSES; c++)
			asms += LOAD(&r->v.prod->n_asm[c]);
		if (!conns && !chunks && !asms)
			return;
		if (clock_ms() > end) {
			rig_show(r);
			die("left behind: %u connections, %u chunks, %u unfinished", conns, chunks,
			    asms);
		}
		usleep(10000);
	}
}

struct scenario {
	const char *name;
	void (*run)(void);
};

static int run_scenarios(const struct scenario *s, int argc, char **argv)
{
	struct rlimit rl = { 16384, 16384 };
	int found = argc < 2;

	setrlimit(RLIMIT_NOFILE, &rl);
	signal(SIGPIPE, SIG_IGN);
	for (; s->name; s++) {
		uint64_t start = clock_ms();
		int status;
		pid_t pid;

		if (argc > 1 && strcmp(argv[1], s->name))
			continue;
		found = 1;
		scenario = s->name;
		/* A process each: one that hangs or crashes says so and does not hide the rest. */
		pid = (pid_t)must(fork());
		if (!pid) {
			alarm(200);
			s->run();
			exit(0);
		}
		must(waitpid(pid, &status, 0));
		for (int i = 0; status && i < 4; i++) {
			char name[32];

			snprintf(name, sizeof(name), "attack-%d-%d", pid, i);
			kcm_mux_delete(name, 1);
		}
		if (status)
			die("failed (wait status 0x%x)", status);
		printf("%-16s ok %llu ms\n", s->name, (unsigned long long)(clock_ms() - start));
		fflush(stdout);
	}
	if (!found) {
		fprintf(stderr, "no scenario %s\n", argv[1]);
		return 2;
	}
	return 0;
}

#endif
