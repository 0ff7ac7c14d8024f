// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sock_exact_udp.c - connected UDP sockets: datagrams and bytes, with several threads that send on
 * one socket at once.
 * usage: sock_exact_udp SOCKETS THREADS DATAGRAMS FAMILY(4|6)
 */
#include <arpa/inet.h>
#include <linux/sock_diag.h>
#include <pthread.h>

#include "sock_kit.h"

static unsigned int datagrams;
static uint64_t tx_bytes[1024], tx_n[1024];

struct sender {
	int fd, socket, thread;
};

static void *send_many(void *arg)
{
	struct sender *s = arg;
	struct rng r = { (uint64_t)s->socket << 32 | s->thread };
	char buf[1500] = "";

	for (unsigned int i = 0; i < datagrams; i++) {
		uint32_t n = rng_below(&r, sizeof(buf));

		if (send(s->fd, buf, n, 0) != (ssize_t)n)
			continue;
		__atomic_fetch_add(&tx_bytes[s->socket], n, __ATOMIC_RELAXED);
		__atomic_fetch_add(&tx_n[s->socket], 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* A connected pair: a sends to b. */
static void pair(int family, int *a, int *b)
{
	struct sockaddr_in6 at[2];
	socklen_t n;
	int fd[2];

	for (int i = 0; i < 2; i++) {
		memset(&at[i], 0, sizeof(at[i]));
		at[i].sin6_family = family;
		if (family == AF_INET6)
			at[i].sin6_addr = in6addr_loopback;
		else
			((struct sockaddr_in *)&at[i])->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		n = family == AF_INET6 ? sizeof(at[i]) : sizeof(struct sockaddr_in);
		fd[i] = must(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
		must(bind(fd[i], (void *)&at[i], n));
		must(getsockname(fd[i], (void *)&at[i], &n));
	}
	must(connect(fd[0], (void *)&at[1], n));
	must(connect(fd[1], (void *)&at[0], n));
	*a = fd[0];
	*b = fd[1];
}

/* What came is counted, also what the socket had no room for: the kernel counts that. */
static void receive(const struct kit *kit, int socket, int fd)
{
	uint64_t n = 0, bytes = 0, until = kit_now_ns() + 5000000000ULL;
	uint32_t mem[SK_MEMINFO_VARS];
	struct kcm_sk_store st;
	socklen_t len;
	char buf[2000];

	do {
		ssize_t r;

		while ((r = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) >= 0) {
			n++;
			bytes += r;
		}
		len = sizeof(mem);
		must(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, mem, &len));
		if (kit_find(kit, kit_cookie(fd), fd, &st) < 0)
			die("socket %d: the peer has no state", socket);
		if (st.in.rx_segs == n + mem[SK_MEMINFO_DROPS] &&
		    (mem[SK_MEMINFO_DROPS] ? st.in.rx_bytes >= bytes : st.in.rx_bytes == bytes))
			return;
		kit_sleep_us(1000);
	} while (kit_now_ns() < until);
	die("socket %d: %llu datagrams of %llu bytes came, %u found no room, counted %u of %llu",
	    socket, (unsigned long long)n, (unsigned long long)bytes, mem[SK_MEMINFO_DROPS],
	    st.in.rx_segs, (unsigned long long)st.in.rx_bytes);
}

int main(int argc, char **argv)
{
	static int a[1024], b[1024];
	unsigned int sockets, threads, used;
	uint64_t opened, closed;
	struct kit kit;
	pthread_t *t;

	kit_what = "sock_exact_udp";
	if (argc != 5)
		die("SOCKETS THREADS DATAGRAMS FAMILY");
	sockets = atoi(argv[1]);
	threads = atoi(argv[2]);
	datagrams = atoi(argv[3]);
	if (sockets > 1024)
		die("1024 sockets at most");
	kit_open(&kit);
	used = kit_slots_used(&kit);
	opened = kit.ctl->opened;
	closed = kit.ctl->closed;
	t = calloc(sockets * threads, sizeof(*t));
	for (unsigned int i = 0; i < sockets; i++)
		pair(atoi(argv[4]) == 6 ? AF_INET6 : AF_INET, &a[i], &b[i]);
	for (unsigned int i = 0; i < sockets * threads; i++) {
		struct sender *s = calloc(1, sizeof(*s));

		*s = (struct sender){ a[i / threads], i / threads, i % threads };
		must(-pthread_create(&t[i], NULL, send_many, s));
	}
	for (unsigned int i = 0; i < sockets * threads; i++)
		pthread_join(t[i], NULL);
	for (unsigned int i = 0; i < sockets; i++) {
		struct kcm_sk_store st;

		if (kit_find(&kit, kit_cookie(a[i]), a[i], &st) < 0)
			die("socket %u: no state", i);
		if (st.hot.tx_bytes != tx_bytes[i] || st.hot.tx_segs != tx_n[i])
			die("socket %u: sent %llu datagrams of %llu bytes, counted %u of %llu", i,
			    (unsigned long long)tx_n[i], (unsigned long long)tx_bytes[i],
			    st.hot.tx_segs, (unsigned long long)st.hot.tx_bytes);
		receive(&kit, i, b[i]);
		close(a[i]);
		close(b[i]);
	}
	if (kit_slots_used(&kit) != used)
		die("%u slots are in use, %u were", kit_slots_used(&kit), used);
	if (kit.ctl->opened - opened != 2 * sockets || kit.ctl->closed - closed != 2 * sockets)
		die("%llu opened, %llu closed", (unsigned long long)(kit.ctl->opened - opened),
		    (unsigned long long)(kit.ctl->closed - closed));
	return 0;
}
