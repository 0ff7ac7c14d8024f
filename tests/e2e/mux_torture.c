// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * mux_torture - clients, mux and workers in one run; every byte is checked on both ways.
 *
 * A request is a 4-byte length, then connection, number, size and bytes that follow from them. The
 * worker checks it and answers with the same head and other bytes that follow from them, of a size
 * that the request asks for. The client checks that each of its requests is answered exactly once
 * (or at most once, with --kill), and in order where the policy promises it.
 *
 *   mux_torture [--conns N] [--workers N] [--msgs N] [--min BYTES] [--max BYTES] [--seed S] [--policy P]
 *               [--seg BYTES] [--threads] [--v6] [--churn] [--kill] [--pause MS] [--early]
 *               [--reply BYTES] [--depth N] [--arena BYTES] [--at-least-once] [--half-close]
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
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

#include "kcm.h"

struct head {
	uint32_t len; /* network order, bytes behind it */
	uint32_t conn;
	uint32_t num;
	uint32_t reply;
};

static struct {
	unsigned int conns, workers, msgs, min, max, seg, depth, reply, pause_ms;
	uint64_t seed, arena;
	int policy;
	bool strp, threads, v6, churn, kill, early, alo, half;
} opt = {
	.conns = 8, .workers = 4, .msgs = 1000, .max = 8192, .seg = 65536, .depth = 64, .reply = 256
};

struct shared {
	uint64_t served, bad, order_bad, events, redelivered;
	uint32_t last[65536]; /* per connection: last number seen by a worker, for ordered policies
			       */
	uint32_t owner[65536];
	volatile int pause;
};
static struct shared *sh;

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static uint64_t rnd(uint64_t *s)
{
	return mix(*s += 0x9e3779b97f4a7c15ULL);
}

/* Bytes of a body follow from connection and number: misrouted or torn ones do not match. */
static void fill(uint8_t *p, size_t n, uint32_t conn, uint32_t num, uint64_t salt)
{
	uint64_t s = mix((uint64_t)conn << 32 | num) ^ salt;
	size_t i = 0;

	for (; i + 8 <= n; i += 8, s += 0x9e3779b97f4a7c15ULL)
		memcpy(p + i, &s, 8);
	memcpy(p + i, &s, n - i);
}

static bool check(const uint8_t *p, size_t n, uint32_t conn, uint32_t num, uint64_t salt)
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

#define die(...)                                              \
	do {                                                  \
		fprintf(stderr, "mux_torture: " __VA_ARGS__); \
		fprintf(stderr, "\n");                        \
		exit(1);                                      \
	} while (0)

/* ---- worker ---- */

static void serve(struct kcm_worker *w, unsigned int id)
{
	static __thread uint8_t out[1 << 20];
	uint64_t s = opt.seed + 1000 + id;
	struct kcm_msg msgs[32];

	for (;;) {
		int n = kcm_recv(w, msgs, 1 + rnd(&s) % 32, 1000);

		if (n == -EPIPE || n == -ESHUTDOWN)
			return;
		if (n < 0)
			die("kcm_recv: %s", strerror(-n));
		while (sh->pause)
			usleep(1000);
		for (int i = 0; i < n; i++) {
			struct head h, r;
			int err;

			if (msgs[i].event != KCM_MESSAGE) {
				__atomic_fetch_add(&sh->events, 1, __ATOMIC_RELAXED);
				continue;
			}
			if (msgs[i].len < sizeof(h)) {
				__atomic_fetch_add(&sh->bad, 1, __ATOMIC_RELAXED);
				fprintf(stderr, "worker: message of %zu bytes\n", msgs[i].len);
				continue;
			}
			memcpy(&h, msgs[i].data, sizeof(h));
			if (ntohl(h.len) + 4 != msgs[i].len ||
			    !check((const uint8_t *)msgs[i].data + sizeof(h),
				   msgs[i].len - sizeof(h), h.conn, h.num, 1)) {
				__atomic_fetch_add(&sh->bad, 1, __ATOMIC_RELAXED);
				fprintf(stderr, "worker: bad message conn %u num %u len %zu\n",
					h.conn, h.num, msgs[i].len);
				continue;
			}
			if (msgs[i].flags & KCM_REDELIVERED)
				__atomic_fetch_add(&sh->redelivered, 1, __ATOMIC_RELAXED);
			if (opt.policy >= KCM_DISPATCH_CONN && !opt.kill) {
				uint32_t l = __atomic_exchange_n(&sh->last[h.conn % 65536], h.num,
								 __ATOMIC_SEQ_CST);

				if (l != h.num - 1)
					__atomic_fetch_add(&sh->order_bad, 1, __ATOMIC_RELAXED);
			}
			r = h;
			r.len = htonl(h.reply + 12);
			memcpy(out, &r, sizeof(r));
			fill(out + sizeof(r), h.reply, h.conn, h.num, 2);
			err = kcm_send(w, msgs[i].conn, out, sizeof(r) + h.reply,
				       KCM_WAIT | (rnd(&s) % 4 ? KCM_MORE : 0));
			if (err && err != -ENOTCONN && err != -EPIPE && err != -ECONNRESET)
				die("kcm_send: %s", strerror(-err));
			__atomic_fetch_add(&sh->served, 1, __ATOMIC_RELAXED);
		}
		kcm_release(w, msgs, (unsigned int)n);
	}
}

static void *worker_thread(void *arg)
{
	struct kcm_worker *w;
	int err = kcm_worker_open_fd((int)(intptr_t)arg, &w);

	if (err)
		die("kcm_worker_open_fd: %s", strerror(-err));
	serve(w, 0);
	kcm_worker_close(w);
	return NULL;
}

static pid_t worker_process(struct kcm_mux *m, unsigned int id)
{
	int fd = kcm_mux_worker_fd(m);
	pid_t pid;

	if (fd < 0)
		die("kcm_mux_worker_fd: %s", strerror(-fd));
	pid = fork();
	if (!pid) {
		struct kcm_worker *w;
		int err;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* What a program that is exec'ed would not have either. */
		for (int i = 3; i < 1024; i++)
			if (i != fd)
				close(i);
		err = kcm_worker_open_fd(fd, &w);
		if (err == -EPIPE)
			_exit(0); /* started while the mux closes */
		if (err)
			die("worker: %s", strerror(-err));
		serve(w, id);
		kcm_worker_close(w);
		_exit(0);
	}
	close(fd);
	return pid;
}

/* ---- client: one thread a group of connections ---- */

struct cconn {
	int fd;
	uint32_t id, sent, got, msgs;
	uint8_t *tx;
	size_t tx_n, tx_off;
	uint8_t *rx;
	size_t rx_n, rx_cap;
	uint8_t *seen;
	bool shut;
	uint64_t s;
};

static int server_port;
static uint64_t answered, asked;
static volatile bool client_lax;

static int dial(void)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6,
				   .sin6_port = htons((uint16_t)server_port),
				   .sin6_addr = in6addr_loopback };
	struct sockaddr_in a4 = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)server_port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(opt.v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 ||
	    connect(fd, opt.v6 ? (void *)&a6 : (void *)&a4, opt.v6 ? sizeof(a6) : sizeof(a4)))
		die("connect: %s", strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static void copen(struct cconn *c, uint32_t id, uint32_t msgs)
{
	memset(c, 0, sizeof(*c));
	c->id = id;
	c->msgs = msgs;
	c->s = opt.seed * 77 + id;
	c->fd = dial();
	c->tx = malloc(sizeof(struct head) + opt.max + 64);
	c->rx_cap = 1 << 17;
	c->rx = malloc(c->rx_cap);
	c->seen = calloc(1, msgs + 1);
}

static void cclose(struct cconn *c)
{
	close(c->fd);
	free(c->tx);
	free(c->rx);
	free(c->seen);
	c->fd = -1;
}

static void cmake(struct cconn *c)
{
	struct head h = { .conn = c->id, .num = ++c->sent };
	uint32_t body = rnd(&c->s) % 8 ? (uint32_t)(rnd(&c->s) % 200)
				       : (uint32_t)(rnd(&c->s) % (opt.max - 12 + 1));

	h.reply = (uint32_t)(rnd(&c->s) % (opt.reply + 1));
	h.len = htonl(body + 12);
	memcpy(c->tx, &h, sizeof(h));
	fill(c->tx + sizeof(h), body, c->id, h.num, 1);
	c->tx_n = sizeof(h) + body;
	c->tx_off = 0;
	__atomic_fetch_add(&asked, 1, __ATOMIC_RELAXED);
}

/* Return: false when the connection is over. */
static bool cwrite(struct cconn *c)
{
	for (int i = 0; i < 64; i++) {
		size_t n;
		ssize_t r;

		if (c->tx_off == c->tx_n) {
			if (c->sent == c->msgs || c->sent - c->got >= opt.depth) {
				if (c->sent == c->msgs && opt.half && !c->shut) {
					shutdown(c->fd, SHUT_WR);
					c->shut = true;
				}
				return true;
			}
			cmake(c);
		}
		n = c->tx_n - c->tx_off;
		if (n > opt.seg)
			n = 1 + rnd(&c->s) % opt.seg;
		r = send(c->fd, c->tx + c->tx_off, n, MSG_NOSIGNAL);
		if (r < 0 && errno == EAGAIN)
			return true;
		if (r < 0) {
			if (!client_lax)
				die("send conn %u: %s", c->id, strerror(errno));
			return false;
		}
		c->tx_off += (size_t)r;
	}
	return true;
}

static bool cread(struct cconn *c)
{
	for (;;) {
		ssize_t r = recv(c->fd, c->rx + c->rx_n, c->rx_cap - c->rx_n, 0);
		size_t at = 0;

		if (r < 0 && errno == EAGAIN)
			return true;
		if (r <= 0) {
			if (c->got < c->msgs && !client_lax)
				die("conn %u ended after %u of %u answers: %s", c->id, c->got,
				    c->msgs, r ? strerror(errno) : "closed");
			return false;
		}
		c->rx_n += (size_t)r;
		while (c->rx_n - at >= sizeof(struct head)) {
			struct head h;
			size_t len;

			memcpy(&h, c->rx + at, sizeof(h));
			len = ntohl(h.len) + 4U;
			if (h.conn != c->id || h.num > c->sent || len != h.reply + sizeof(h))
				die("conn %u: answer of conn %u num %u len %zu", c->id, h.conn,
				    h.num, len);
			if (c->rx_cap < len) {
				c->rx_cap = len * 2;
				c->rx = realloc(c->rx, c->rx_cap);
			}
			if (c->rx_n - at < len)
				break;
			if (!check(c->rx + at + sizeof(h), h.reply, c->id, h.num, 2))
				die("conn %u num %u: bytes of the answer are wrong", c->id, h.num);
			if (c->seen[h.num]++ && !opt.alo)
				die("conn %u num %u: answered twice", c->id, h.num);
			if (opt.policy >= KCM_DISPATCH_CONN && !opt.kill && h.num != c->got + 1)
				die("conn %u: answer %u after %u", c->id, h.num, c->got);
			if (c->seen[h.num] == 1) {
				c->got++;
				__atomic_fetch_add(&answered, 1, __ATOMIC_RELAXED);
			}
			at += len;
		}
		memmove(c->rx, c->rx + at, c->rx_n - at);
		c->rx_n -= at;
	}
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void run_clients(void)
{
	struct cconn *c = calloc(opt.conns, sizeof(*c));
	struct pollfd *p = calloc(opt.conns, sizeof(*p));
	unsigned int live = opt.conns, next = opt.conns;
	uint64_t still = now_ms(), last = 0;
	unsigned int rounds = opt.churn ? opt.conns * 4 : 0;

	for (unsigned int i = 0; i < opt.conns; i++)
		copen(&c[i], i, opt.churn ? 1 + opt.msgs / 5 : opt.msgs);
	while (live) {
		for (unsigned int i = 0; i < opt.conns; i++) {
			p[i].fd = c[i].fd;
			p[i].events = POLLIN;
			if (c[i].tx_off < c[i].tx_n ||
			    (c[i].sent < c[i].msgs && c[i].sent - c[i].got < opt.depth))
				p[i].events |= POLLOUT;
		}
		poll(p, opt.conns, 100);
		for (unsigned int i = 0; i < opt.conns; i++) {
			bool ok = true;

			if (c[i].fd < 0)
				continue;
			if (p[i].revents & POLLOUT)
				ok = cwrite(&c[i]);
			if (ok && p[i].revents & (POLLIN | POLLHUP | POLLERR))
				ok = cread(&c[i]);
			if (ok && (c[i].got < c[i].msgs || (opt.half && c[i].shut)))
				continue;
			cclose(&c[i]);
			if (rounds) {
				rounds--;
				copen(&c[i], next++, 1 + opt.msgs / 5);
			} else {
				live--;
			}
		}
		if (answered != last) {
			last = answered;
			still = now_ms();
		} else if (now_ms() - still > (opt.kill ? 3000 : 20000) + opt.pause_ms) {
			if (opt.kill && !opt.alo)
				break; /* at most once: what the dead had is not answered */
			die("no answer for 20 s: %llu of %llu", (unsigned long long)answered,
			    (unsigned long long)asked);
		}
	}
	free(c);
	free(p);
}

/* ---- server ---- */

struct server {
	struct kcm_mux *m;
	int lfd;
};

static void *acceptor(void *arg)
{
	struct server *s = arg;

	for (;;) {
		int fd = accept4(s->lfd, NULL, NULL, SOCK_CLOEXEC), err;
		uint8_t early[64];
		ssize_t n = 0;

		if (fd < 0)
			return NULL;
		if (opt.early) {
			/* A server that has looked at the stream before: half of them read a
			 * little. */
			usleep(2000);
			if (fd & 1)
				n = recv(fd, early, 1 + (size_t)fd % sizeof(early), 0);
		}
		err = kcm_attach(s->m, fd, early, n > 0 ? (size_t)n : 0, NULL);
		if (err)
			die("kcm_attach: %s", strerror(-err));
	}
}

static int listen_any(void)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6 };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), zero = 0;

	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 4096) ||
	    getsockname(fd, (struct sockaddr *)&a, &len))
		die("listen: %s", strerror(errno));
	server_port = ntohs(a.sin6_port);
	return fd;
}

static void options(int argc, char **argv)
{
	static const struct option o[] = { { "conns", 1, 0, 'c' },
					   { "workers", 1, 0, 'w' },
					   { "msgs", 1, 0, 'n' },
					   { "max", 1, 0, 'm' }, { "min", 1, 0, 'M' }, { "strparser", 0, 0, 'S' },
					   { "seed", 1, 0, 's' },
					   { "policy", 1, 0, 'p' },
					   { "seg", 1, 0, 'g' },
					   { "threads", 0, 0, 't' },
					   { "v6", 0, 0, '6' },
					   { "churn", 0, 0, 'C' },
					   { "kill", 0, 0, 'k' },
					   { "pause", 1, 0, 'P' },
					   { "early", 0, 0, 'e' },
					   { "reply", 1, 0, 'r' },
					   { "depth", 1, 0, 'd' },
					   { "arena", 1, 0, 'a' },
					   { "at-least-once", 0, 0, 'A' },
					   { "half-close", 0, 0, 'h' },
					   { 0 } };
	int ch;

	while ((ch = getopt_long(argc, argv, "", o, NULL)) != -1) {
		switch (ch) {
		case 'c':
			opt.conns = (unsigned)atoi(optarg);
			break;
		case 'w':
			opt.workers = (unsigned)atoi(optarg);
			break;
		case 'n':
			opt.msgs = (unsigned)atoi(optarg);
			break;
		case 'm':
			opt.max = (unsigned)atoi(optarg);
			break;
		case 'S':
			opt.strp = true;
			break;
		case 'M':
			opt.min = (unsigned)atoi(optarg);
			break;
		case 's':
			opt.seed = strtoull(optarg, NULL, 0);
			break;
		case 'p':
			opt.policy = !strcmp(optarg, "robin")  ? KCM_DISPATCH_ROBIN
				     : !strcmp(optarg, "conn") ? KCM_DISPATCH_CONN
				     : !strcmp(optarg, "key")  ? KCM_DISPATCH_KEY
							       : KCM_DISPATCH_LEAST;
			break;
		case 'g':
			opt.seg = (unsigned)atoi(optarg);
			break;
		case 't':
			opt.threads = true;
			break;
		case '6':
			opt.v6 = true;
			break;
		case 'C':
			opt.churn = true;
			break;
		case 'k':
			opt.kill = true;
			break;
		case 'P':
			opt.pause_ms = (unsigned)atoi(optarg);
			break;
		case 'e':
			opt.early = true;
			break;
		case 'r':
			opt.reply = (unsigned)atoi(optarg);
			break;
		case 'd':
			opt.depth = (unsigned)atoi(optarg);
			break;
		case 'a':
			opt.arena = strtoull(optarg, NULL, 0);
			break;
		case 'A':
			opt.alo = true;
			break;
		case 'h':
			opt.half = true;
			break;
		default:
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	struct kcm_mux_opts mo = { .sz = sizeof(mo) };
	struct rlimit rl = { 65536, 65536 };
	char err[256] = "", name[32];
	pid_t pids[64] = { 0 };
	struct server s;
	pthread_t t;
	unsigned int conns, workers;
	uint64_t start, s2;
	int ret, status, client_status = 0, killed = 0;
	pid_t client;

	options(argc, argv);
	setrlimit(RLIMIT_NOFILE, &rl);
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snprintf(name, sizeof(name), "torture-%d", getpid());
	if (kcm_frame_parse("u32be max=64M", &mo.frame, err, sizeof(err)))
		die("%s", err);
	mo.dispatch = (enum kcm_dispatch)opt.policy;
	mo.key_off = 4; /* the connection's number: order is promised as with CONN */
	mo.key_bytes = opt.policy == KCM_DISPATCH_KEY ? 4 : 0;
	mo.conns = opt.conns * 2 + 64;
	mo.workers = 63;
	mo.arena_bytes = opt.arena;
	mo.at_least_once = opt.alo;
	mo.strparser = opt.strp;
	ret = kcm_mux_create(name, &mo, err, sizeof(err));
	if (ret)
		die("create: %s", err);
	ret = kcm_mux_open(name, &s.m);
	if (ret) {
		kcm_mux_delete(name, 1);
		die("open: %s", strerror(-ret));
	}
	s.lfd = listen_any();
	client_lax = opt.kill;
	client = fork();
	if (!client) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run_clients();
		printf("asked %llu answered %llu\n", (unsigned long long)asked,
		       (unsigned long long)answered);
		if (opt.kill && answered < asked / 2)
			die("only %llu of %llu answered", (unsigned long long)answered,
			    (unsigned long long)asked);
		if ((!opt.kill || opt.alo) && answered != asked)
			die("answered %llu of %llu", (unsigned long long)answered,
			    (unsigned long long)asked);
		exit(0);
	}
	start = now_ms();
	pthread_create(&t, NULL, acceptor, &s);
	for (unsigned int i = 0; i < opt.workers; i++) {
		if (opt.threads) {
			pthread_t wt;

			pthread_create(&wt, NULL, worker_thread,
				       (void *)(intptr_t)kcm_mux_worker_fd(s.m));
		} else {
			pids[i] = worker_process(s.m, i);
		}
	}
	s2 = opt.seed + 5;
	if (opt.pause_ms) {
		usleep(200000);
		sh->pause = 1;
		usleep(opt.pause_ms * 1000);
		sh->pause = 0;
	}
	while (waitpid(client, &status, opt.kill ? WNOHANG : 0) == 0) {
		unsigned int i = (unsigned int)(rnd(&s2) % opt.workers);

		usleep(20000 + (useconds_t)(rnd(&s2) % 20000));
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
		pids[i] = worker_process(s.m, 100 + (unsigned int)killed++);
	}
	client_status = WIFEXITED(status) ? WEXITSTATUS(status) : 99;
	/* Every connection must be gone by itself: nothing waits for a release that never comes. */
	for (int i = 0; i < 300; i++) {
		kcm_mux_counts(s.m, &conns, &workers);
		if (!conns)
			break;
		usleep(10000);
	}
	printf("%u conns %u workers served %llu events %llu bad %llu order %llu redelivered %llu killed %d open %u in %llu ms\n",
	       opt.conns, opt.workers, (unsigned long long)sh->served,
	       (unsigned long long)sh->events, (unsigned long long)sh->bad,
	       (unsigned long long)sh->order_bad, (unsigned long long)sh->redelivered, killed,
	       conns, (unsigned long long)(now_ms() - start));
	shutdown(s.lfd, SHUT_RDWR);
	pthread_join(t, NULL);
	kcm_mux_close(s.m);
	for (unsigned int i = 0; i < opt.workers && !opt.threads; i++)
		waitpid(pids[i], NULL, 0);
	ret = kcm_mux_delete(name, 0);
	if (ret)
		die("delete: %s", strerror(-ret));
	if (sh->bad || sh->order_bad || client_status || conns)
		return 1;
	return 0;
}
