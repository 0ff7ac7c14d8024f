// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sock_churn.c - very many connections: opened and closed as fast as it goes while their records
 * are read, or all at once.
 *
 * Each connection can be recognised: its client has the address 127.N.H.L where H.L is its port,
 * and sends a number of bytes that follows from the port. A record that mixes two is found.
 *
 * usage: sock_churn churn SECONDS    open and close, with a reader of the mapped slots
 *        sock_churn herd SOCKETS     open all, say "ready", close them at the end of stdin
 *        sock_churn few CONNECTIONS  one after the other; says the port of the server first
 *        sock_churn slots            how many slots are in use
 */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "sock_kit.h"

#define PORT_FIRST 10000
#define PORT_LAST  60000

static struct kit kit;
static bool stop;
static uint64_t opened, looked, records;
static uint16_t server_port;

static uint32_t bytes_of(uint16_t client_port)
{
	return 1 + client_port % 997;
}

static int listen_any(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY) };
	socklen_t n = sizeof(a);
	int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

	must(bind(fd, (void *)&a, n));
	must(listen(fd, 4096));
	must(getsockname(fd, (void *)&a, &n));
	server_port = ntohs(a.sin_port);
	return fd;
}

/* The client of connection @i. Return: the socket, or -1 where its address is taken. */
static int connect_nth(uint64_t i)
{
	uint32_t port = PORT_FIRST + i % (PORT_LAST - PORT_FIRST);
	uint32_t net = 1 + i / (PORT_LAST - PORT_FIRST) % 250;
	struct sockaddr_in me = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(127U << 24 | net << 16 | port) };
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(server_port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), one = 1;

	must(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	if (bind(fd, (void *)&me, sizeof(me)) || connect(fd, (void *)&to, sizeof(to))) {
		close(fd);
		return -1;
	}
	return fd;
}

static void read_all(int fd, uint32_t n)
{
	char buf[4096];

	while (n) {
		ssize_t r = must(recv(fd, buf, n < sizeof(buf) ? n : sizeof(buf), 0));

		if (!r)
			die("a connection ended early");
		n -= r;
	}
}

/* Connections stay open until so many came after them: there is something to read. */
#define OPEN_MAX 64

static int open_fd[OPEN_MAX][2];

static void close_nth(uint64_t i)
{
	struct linger reset = { 1, 0 };
	int *fd = open_fd[i % OPEN_MAX];

	if (!fd[0])
		return;
	if (i % 4)
		must(setsockopt(fd[0], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)));
	close(fd[i & 1]);
	close(fd[!(i & 1)]);
	fd[0] = 0;
}

/* A request of n bytes, an answer of 2 n; and the end of an older connection. */
static void one_connection(int l, uint64_t i)
{
	static const char data[2000];
	struct sockaddr_in peer;
	socklen_t len = sizeof(peer);
	int c, s;
	uint32_t n;

	close_nth(i);
	c = connect_nth(i);
	if (c < 0)
		return;
	s = must(accept4(l, (void *)&peer, &len, SOCK_CLOEXEC));
	n = bytes_of(ntohs(peer.sin_port));
	must(send(c, data, n, MSG_NOSIGNAL));
	read_all(s, n);
	must(send(s, data, 2 * n, MSG_NOSIGNAL));
	read_all(c, 2 * n);
	open_fd[i % OPEN_MAX][0] = c;
	open_fd[i % OPEN_MAX][1] = s;
	opened++;
}

static void close_rest(void)
{
	for (uint64_t i = 0; i < OPEN_MAX; i++)
		close_nth(i);
}

/* ---- the reader ---- */

static void check_record(const struct kcm_sk_hot *h, const struct kcm_sk_in *n,
			 const struct kcm_sk_info *i)
{
	bool server = h->role == KCM_ROLE_SERVER;
	const uint8_t *addr = server ? i->raddr : i->laddr;
	uint16_t port = server ? i->rport : i->lport;
	uint64_t in = server ? n->rx_bytes : h->tx_bytes;
	uint64_t out = server ? h->tx_bytes : n->rx_bytes;

	if ((server ? i->lport : i->rport) != server_port)
		return; /* somebody else's */
	if (h->proto != KCM_SK_TCP || h->role == KCM_ROLE_UNKNOWN || h->role == KCM_ROLE_LISTENER ||
	    i->pid != (uint32_t)getpid() || strcmp(i->comm, "sock_churn") || addr[0] != 127 ||
	    (addr[2] << 8 | addr[3]) != port || (in && in != bytes_of(port)) ||
	    (out && out != 2 * bytes_of(port)))
		die("torn: cookie %llu role %d state %d pid %u '%s' port %u address %u.%u.%u.%u "
		    "bytes %llu %llu",
		    (unsigned long long)h->tag, h->role, h->state, i->pid, i->comm, port, addr[0],
		    addr[1], addr[2], addr[3], (unsigned long long)in, (unsigned long long)out);
	records++;
}

static void *reader(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		for (uint32_t s = 0; s < kit.slots; s++) {
			uint64_t tag = __atomic_load_n(&kit.hot[s].tag, __ATOMIC_ACQUIRE);
			struct kcm_sk_hot hot;
			struct kcm_sk_in in;
			struct kcm_sk_info info;

			if (!tag || (tag & KCM_TAG_BUSY))
				continue;
			hot = *(volatile struct kcm_sk_hot *)&kit.hot[s];
			in = *(volatile struct kcm_sk_in *)&kit.in[s];
			memcpy(&info, &kit.more[s].info, sizeof(info));
			__atomic_thread_fence(__ATOMIC_ACQUIRE);
			if (__atomic_load_n(&kit.hot[s].tag, __ATOMIC_ACQUIRE) == tag)
				check_record(&hot, &in, &info);
		}
		looked++;
		kit_sleep_us(500);
	}
	return NULL;
}

/* ---- modes ---- */

/* Everything of ours is closed and counted. */
static void settled(const struct kcm_sk_ctl *before)
{
	uint64_t until = kit_now_ns() + 30000000000ULL;

	for (;;) {
		uint64_t o = kit.ctl->opened - before->opened;
		uint64_t c = kit.ctl->closed;
		uint32_t used = kit_slots_used(&kit);

		if (o == 2 * opened && c == kit.ctl->opened && !used)
			break;
		if (kit_now_ns() > until)
			die("%llu connections, %llu ends opened, %llu closed, %u slots in use",
			    (unsigned long long)opened, (unsigned long long)o,
			    (unsigned long long)c, used);
		kit_sleep_us(10000);
	}
}

static void churn(unsigned int seconds)
{
	uint64_t start = kit_now_ns(), until = start + seconds * 1000000000ULL;
	struct kcm_sk_ctl before = *kit.ctl;
	int l = listen_any();
	pthread_t t;

	must(-pthread_create(&t, NULL, reader, NULL));
	for (uint64_t i = 0; kit_now_ns() < until; i++)
		one_connection(l, i);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
	close_rest();
	close(l);
	printf("%llu connections in %u s, %llu records looked at in %llu rounds, %llu beyond\n",
	       (unsigned long long)opened, seconds, (unsigned long long)records,
	       (unsigned long long)looked, (unsigned long long)(kit.ctl->beyond - before.beyond));
	settled(&before);
}

/* One process's part of the herd: told by a byte that all are open, closes at the end of stdin. */
static void herd_part(unsigned int part, unsigned int sockets, int told)
{
	struct linger reset = { 1, 0 };
	int l = listen_any(), *fd = calloc(sockets, sizeof(*fd));
	unsigned int n = 0;
	char c = 0;

	for (uint64_t i = (uint64_t)part * (PORT_LAST - PORT_FIRST); n + 1 < sockets; i++) {
		fd[n] = connect_nth(i);
		if (fd[n] < 0)
			continue;
		fd[n + 1] = must(accept4(l, NULL, NULL, SOCK_CLOEXEC));
		n += 2;
	}
	must(write(told, &c, 1));
	while (read(0, &c, 1) > 0)
		;
	for (unsigned int i = 0; i < n; i++) {
		must(setsockopt(fd[i], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)));
		close(fd[i]);
	}
	exit(0);
}

static void herd(unsigned int sockets)
{
	struct kcm_sk_ctl before = *kit.ctl;
	struct rlimit files;
	unsigned int part, left = sockets, most;
	int told[2], status, failed = 0;
	char c;

	must(getrlimit(RLIMIT_NOFILE, &files));
	files.rlim_cur = files.rlim_max;
	must(setrlimit(RLIMIT_NOFILE, &files));
	most = files.rlim_max > 200000 ? 200000 : (files.rlim_max - 100) & ~1U;
	must(pipe(told));
	for (part = 0; left; part++) {
		unsigned int n = left < most ? left : most;

		if (!must(fork()))
			herd_part(part, n, told[1]);
		left -= n;
	}
	close(told[1]);
	for (unsigned int i = 0; i < part; i++)
		if (must(read(told[0], &c, 1)) != 1)
			die("not all sockets could be opened");
	printf("ready\n");
	fflush(stdout);
	while (wait(&status) > 0)
		failed |= status;
	if (failed)
		die("a process of the herd ended with status %x", failed);
	opened = sockets / 2;
	settled(&before);
}

static void few(unsigned int connections)
{
	int l = listen_any();

	for (uint64_t i = 0; opened < connections; i++)
		one_connection(l, i);
	close_rest();
	printf("%llu connections\n", (unsigned long long)opened);
}

int main(int argc, char **argv)
{
	unsigned int n = argc > 2 ? atoi(argv[2]) : 0;

	kit_what = "sock_churn";
	kit_open(&kit);
	if (argc < 2)
		die("which?");
	if (!strcmp(argv[1], "churn"))
		churn(n);
	else if (!strcmp(argv[1], "herd"))
		herd(n);
	else if (!strcmp(argv[1], "few"))
		few(n);
	else if (!strcmp(argv[1], "slots"))
		printf("%u\n", kit_slots_used(&kit));
	else
		die("%s: no such mode", argv[1]);
	return 0;
}
