// SPDX-License-Identifier: GPL-2.0
/*
 * A UDP server with sessions, for migrate_udp.bats: worker processes with SO_REUSEPORT sockets
 *each, that answer requests of sessions that they know. See migrate_udp_msg.h.
 *
 *	migrate_udp_server [OPTION]... PORT
 *	--gen NAME  --workers N  --sockets N (of a worker)  --family 4|6|46  --no-reuseport
 *	--cid N		QUIC's headers around requests and answers, with ids of N bytes
 *	--hold FILE	workers read nothing before FILE is there
 *	--connect PORT	one more socket of each worker, that has 127.0.0.1:PORT as its peer
 *
 * "ready PID..." is printed when all sockets are bound. SIGTERM ends it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "migrate_udp_msg.h"

#define SESSIONS 65536 /* of a worker, a power of two */
#define CID_MAX	 20
#define HEADER	 64

static struct {
	const char *gen, *hold;
	int workers, sockets, family, cid, connect;
	int reuseport;
	uint16_t port;
} opt = { .gen = "g1", .workers = 1, .sockets = 1, .family = 4, .reuseport = 1 };

struct session {
	uint64_t flow, seq, token;
	uint32_t sock;
	uint32_t used;
	uint8_t cid[CID_MAX];
};

static struct session *sessions;
static struct pollfd *fds;
static uint64_t secret;

static void die(const char *what)
{
	fprintf(stderr, "migrate_udp_server: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static struct session *session_of(uint64_t flow, uint32_t sock, int create)
{
	uint64_t at = mix(flow + sock);

	for (int i = 0; i < SESSIONS; i++, at++) {
		struct session *s = &sessions[at & (SESSIONS - 1)];

		if (s->used && s->flow == flow && s->sock == sock)
			return s;
		if (s->used)
			continue;
		if (!create)
			return NULL;
		*s = (struct session){ .flow = flow, .sock = sock, .used = 1 };
		if (getrandom(s->cid, sizeof(s->cid), 0) < 0)
			die("getrandom");
		return s;
	}
	return NULL;
}

static uint32_t serve(const struct udp_request *q, uint32_t sock, struct udp_answer *a,
		      struct session **session)
{
	struct session *s = session_of(q->flow, sock, q->flags & UDP_OPEN);

	*session = s;
	for (int i = 0; i < UDP_PAD; i++)
		if (q->pad[i] != (uint8_t)(q->flow + q->seq + (uint64_t)i))
			return UDP_WRONG_PAD;
	if (!s)
		return UDP_NO_SESSION;
	if (q->flags & UDP_OPEN) {
		s->seq = 0;
		s->token = 0;
	}
	if (q->seq != s->seq + 1 || q->token != s->token)
		return UDP_WRONG_TOKEN;
	s->seq = q->seq;
	s->token = mix(s->token ^ mix(secret + sock) ^ q->seq);
	a->token = s->token;
	return UDP_OK;
}

/*
 * Headers as in RFC 8999 and 9000: of long ones type, version and both ids, of short ones the
 * client's or the server's id; nothing else. Return: bytes of the header, 0 it is none.
 */
static size_t header_skip(const uint8_t *p, size_t n, int *is_long)
{
	size_t at = 6;

	*is_long = 0;
	if (!opt.cid)
		return 0;
	if (!(p[0] & 0x80))
		return 1 + (size_t)opt.cid;
	*is_long = 1;
	if (n < 7)
		return 0;
	at += p[5];
	if (at >= n)
		return 0;
	return at + 1 + p[at];
}

/* To a client that has an id of no bytes. */
static size_t header_put(uint8_t *p, const struct session *s, int is_long)
{
	static const uint8_t first[] = { 0xe0, 0, 0, 0, 1, 0 };

	if (!opt.cid)
		return 0;
	if (!is_long || !s) {
		p[0] = 0x40;
		return 1;
	}
	memcpy(p, first, sizeof(first));
	p[6] = (uint8_t)opt.cid;
	memcpy(p + 7, s->cid, (size_t)opt.cid);
	return 7 + (size_t)opt.cid;
}

static void answer(uint32_t sock)
{
	uint8_t in[2048], out[HEADER + sizeof(struct udp_answer)];
	struct udp_request q;
	struct udp_answer a = { .magic = UDP_MAGIC, .pid = (uint32_t)getpid(), .sock = sock };
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	struct session *s;
	size_t head;
	int is_long;
	ssize_t n = recvfrom(fds[sock].fd, in, sizeof(in), MSG_DONTWAIT, (void *)&from, &len);

	if (n < (ssize_t)sizeof(q))
		return;
	head = header_skip(in, (size_t)n, &is_long);
	if ((size_t)n != head + sizeof(q))
		return;
	memcpy(&q, in + head, sizeof(q));
	if (q.magic != UDP_MAGIC)
		return;
	a.flow = q.flow;
	a.seq = q.seq;
	a.status = serve(&q, sock, &a, &s);
	snprintf(a.gen, sizeof(a.gen), "%s", opt.gen);
	for (int i = 0; i < UDP_PAD; i++)
		a.pad[i] = (uint8_t)((q.flow ^ q.seq) + (uint64_t)i);
	head = header_put(out, s, is_long);
	memcpy(out + head, &a, sizeof(a));
	if (sendto(fds[sock].fd, out, head + sizeof(a), 0, (void *)&from, len) < 0)
		die("sendto");
}

static int open_one(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(opt.port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(opt.port) };
	int fd = socket(opt.family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int v6only = opt.family == 6, one = 1, big = 8 << 20;

	if (fd < 0)
		die("socket");
	if (opt.family != 4 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)))
		die("IPV6_V6ONLY");
	if (opt.reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)))
		die("SO_REUSEPORT");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
	if (opt.family == 4 ? bind(fd, (void *)&in, sizeof(in))
			    : bind(fd, (void *)&in6, sizeof(in6)))
		die("bind");
	return fd;
}

static void connect_one(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)opt.connect),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	if (connect(open_one(), (void *)&to, sizeof(to)))
		die("connect");
}

static void work(int ready)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sessions = calloc(SESSIONS, sizeof(*sessions));
	fds = calloc((size_t)opt.sockets, sizeof(*fds));
	if (!sessions || !fds || getrandom(&secret, sizeof(secret), 0) != sizeof(secret))
		die("memory");
	for (int i = 0; i < opt.sockets; i++)
		fds[i] = (struct pollfd){ .fd = open_one(), .events = POLLIN };
	if (opt.connect)
		connect_one();
	if (write(ready, "x", 1) != 1)
		die("write");
	while (opt.hold && access(opt.hold, F_OK))
		usleep(10000);
	for (;;) {
		if (poll(fds, (nfds_t)opt.sockets, -1) < 0)
			die("poll");
		for (int i = 0; i < opt.sockets; i++)
			if (fds[i].revents)
				answer((uint32_t)i);
	}
}

static void options(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "gen", 1, NULL, 'g' },
		{ "workers", 1, NULL, 'w' },
		{ "sockets", 1, NULL, 's' },
		{ "family", 1, NULL, 'f' },
		{ "cid", 1, NULL, 'c' },
		{ "no-reuseport", 0, NULL, 'n' },
		{ "hold", 1, NULL, 'h' },
		{ "connect", 1, NULL, 'p' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'g':
			opt.gen = optarg;
			break;
		case 'w':
			opt.workers = atoi(optarg);
			break;
		case 's':
			opt.sockets = atoi(optarg);
			break;
		case 'f':
			opt.family = atoi(optarg);
			break;
		case 'c':
			opt.cid = atoi(optarg);
			break;
		case 'n':
			opt.reuseport = 0;
			break;
		case 'h':
			opt.hold = optarg;
			break;
		case 'p':
			opt.connect = atoi(optarg);
			break;
		default:
			exit(2);
		}
	}
	if (optind + 1 != argc || opt.cid < 0 || opt.cid > CID_MAX || opt.sockets < 1) {
		fprintf(stderr, "usage: migrate_udp_server [OPTION]... PORT\n");
		exit(2);
	}
	opt.port = (uint16_t)atoi(argv[optind]);
}

int main(int argc, char **argv)
{
	int ends[2];
	char byte;

	options(argc, argv);
	if (pipe(ends))
		die("pipe");
	/* One after the other: their sockets are in the group in that order. */
	for (int i = 0; i < opt.workers; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (!pid)
			work(ends[1]);
		if (read(ends[0], &byte, 1) != 1)
			die("read");
		printf(i ? " %d" : "ready %d", pid);
	}
	printf("\n");
	fflush(stdout);
	/* Workers go with us; one that was killed is not replaced. */
	for (;;) {
		wait(NULL);
		if (errno == ECHILD)
			pause();
	}
}
