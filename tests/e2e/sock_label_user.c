// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sock_label_user - a program that labels its own sockets, checks what it is told, and fights.
 *
 * usage: sock_label_user api	every function and option, right and wrong
 *	  sock_label_user none	the same where nothing is loaded
 *	  sock_label_user race SECONDS	prints cookies of a listener and a connection, then four
 *		threads change their labels while others read them and accept connections
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "kcm_sock.h"

#define CHECK(x)                                                                          \
	do {                                                                              \
		if (!(x)) {                                                               \
			fprintf(stderr, "line %d: %s (errno %d)\n", __LINE__, #x, errno); \
			exit(1);                                                          \
		}                                                                         \
	} while (0)

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

static struct sockaddr_in address = { .sin_family = AF_INET };
static int listener, client, server;

static void connect_pair(int *a, int *b)
{
	*a = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(!connect(*a, (void *)&address, sizeof(address)));
	*b = accept(listener, NULL, NULL);
	CHECK(*b >= 0);
}

static void listen_up(void)
{
	socklen_t len = sizeof(address);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(!bind(listener, (void *)&address, sizeof(address)) && !listen(listener, 64));
	CHECK(!getsockname(listener, (void *)&address, &len));
}

static const char *value_of(const struct kcm_sock_stats *s, const char *key)
{
	for (int i = 0; i < KCM_SOCK_LABELS; i++)
		if (!strcmp(s->label[i].key, key))
			return s->label[i].value;
	return NULL;
}

static struct kcm_sock_stats get(int fd)
{
	struct kcm_sock_stats s = { .sz = sizeof(s) };

	CHECK(!kcm_sock_get(fd, &s));
	return s;
}

static int raw(int fd, const char *text, socklen_t n)
{
	return setsockopt(fd, KCM_SOL_KCM, KCM_SO_LABEL, text, n) ? -errno : 0;
}

/* What others ask of the same socket is as if nothing were loaded. */
static void check_others(void)
{
	static char big[8192] = "reno";
	int size = 0, one = 1;
	socklen_t len = sizeof(big);

	CHECK(!setsockopt(client, IPPROTO_TCP, TCP_CONGESTION, big, sizeof(big)));
	memset(big, 0, sizeof(big));
	CHECK(!getsockopt(client, IPPROTO_TCP, TCP_CONGESTION, big, &len) && !strcmp(big, "reno"));
	CHECK(!setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	len = sizeof(size);
	CHECK(!getsockopt(client, SOL_SOCKET, SO_RCVBUF, &size, &len) && size > 1000);
	CHECK(setsockopt(client, SOL_SOCKET, 9999, &one, sizeof(one)) && errno == ENOPROTOOPT);
	CHECK(setsockopt(client, KCM_SOL_KCM, 99, &one, sizeof(one)) && errno == ENOPROTOOPT);
	CHECK(setsockopt(client, KCM_SOL_KCM, KCM_SO_STATE, &one, sizeof(one)) &&
	      errno == ENOPROTOOPT);
	CHECK(getsockopt(client, KCM_SOL_KCM, KCM_SO_LABEL, &one, &len) &&
	      (errno == ENOPROTOOPT || errno == EOPNOTSUPP));
}

static void check_wrong(void)
{
	static char page[8192];
	int unix_fd = socket(AF_UNIX, SOCK_STREAM, 0), null_fd = open("/dev/null", 0);
	struct kcm_sock_stats s = { .sz = 4 };

	CHECK(kcm_sock_set(client, "", "x") == -EINVAL);
	CHECK(kcm_sock_set(client, NULL, "x") == -EINVAL);
	CHECK(kcm_sock_set(client, "a=b", "x") == -EINVAL);
	CHECK(kcm_sock_set(client, "a b", "x") == -EINVAL);
	CHECK(kcm_sock_set(client, "a", "\n") == -EINVAL);
	CHECK(kcm_sock_set(client, "a", "\xc3\xa4") == -EINVAL);
	CHECK(kcm_sock_set(client, "123456789012", "x") == -EINVAL);
	CHECK(kcm_sock_set(client, "k", "12345678901234567890") == -EINVAL);
	CHECK(raw(client, "noequals", 8) == -EINVAL && raw(client, "=v", 2) == -EINVAL);
	CHECK(raw(client, "a", 0) == -EINVAL && raw(client, "a\0=b", 4) == -EINVAL);
	memset(page, 'x', sizeof(page));
	memcpy(page, "k=", 2);
	for (socklen_t n = 23; n <= sizeof(page); n = n < 64 ? n + 1 : 2 * n)
		CHECK(raw(client, page, n) == -EINVAL);
	CHECK(setsockopt(client, KCM_SOL_KCM, KCM_SO_GENERATION, page, 3) && errno == EINVAL);
	CHECK(kcm_sock_set(-1, "a", "b") == -EBADF);
	CHECK(kcm_sock_set(null_fd, "a", "b") == -ENOTSOCK);
	CHECK(kcm_sock_set(unix_fd, "a", "b") == -EOPNOTSUPP);
	CHECK(kcm_sock_get(unix_fd, &(struct kcm_sock_stats){ .sz = sizeof(s) }) == -EOPNOTSUPP);
	CHECK(kcm_sock_get(client, &s) == -EINVAL && kcm_sock_get(client, NULL) == -EINVAL);
	close(unix_fd);
	close(null_fd);
}

static void check_labels(void)
{
	struct kcm_sock_stats s;
	char byte = 'x';
	unsigned int n = 0;
	socklen_t len = sizeof(n);
	int a, b;

	CHECK(!kcm_sock_set(client, "12345678901", "1234567890123456789"));
	CHECK(!raw(client, "k=v", 4)); /* with the NUL */
	CHECK(!kcm_sock_set(client, "k", "a = b"));
	CHECK(!kcm_sock_set(client, "c", "d") && !kcm_sock_set(client, "e", "f"));
	CHECK(kcm_sock_set(client, "fifth", "x") == -ENOSPC);
	CHECK(!kcm_sock_set(client, "fifth", NULL)); /* it is not there already */
	s = get(client);
	CHECK(!strcmp(value_of(&s, "12345678901"), "1234567890123456789"));
	CHECK(!strcmp(value_of(&s, "k"), "a = b") && !strcmp(value_of(&s, "e"), "f"));
	CHECK(!kcm_sock_set(client, "c", "") && !kcm_sock_set(client, "fifth", "x"));
	s = get(client);
	CHECK(!value_of(&s, "c") && !strcmp(value_of(&s, "fifth"), "x"));

	/* A listener's are inherited, and a connection's own afterwards. */
	CHECK(!kcm_sock_set(listener, "svc", "web") && !kcm_sock_generation(listener, 7));
	connect_pair(&a, &b);
	s = get(b);
	CHECK(!strcmp(value_of(&s, "svc"), "web") && s.generation == 7);
	CHECK(!kcm_sock_set(b, "svc", "api") && !kcm_sock_generation(b, 8));
	CHECK(!getsockopt(b, KCM_SOL_KCM, KCM_SO_GENERATION, &n, &len) && n == 8 && len == 4);
	s = get(listener);
	CHECK(!strcmp(value_of(&s, "svc"), "web") && s.generation == 7);
	s = get(a);
	CHECK(!value_of(&s, "svc") && s.cookie);
	CHECK(write(a, &byte, 1) == 1 && read(b, &byte, 1) == 1);
	CHECK(get(b).rx_bytes == 1 && get(a).tx_bytes == 1);
	close(a);
	close(b);

	/* From the first moment on, and over connect(). */
	a = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(!kcm_sock_set(a, "early", "yes"));
	CHECK(!connect(a, (void *)&address, sizeof(address)));
	b = accept(listener, NULL, NULL);
	s = get(a);
	CHECK(!strcmp(value_of(&s, "early"), "yes"));
	close(a);
	close(b);

	/* UDP: not connected, connected; and what an older program asks for. */
	a = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(!kcm_sock_set(a, "u", "1") && !connect(a, (void *)&address, sizeof(address)));
	s.sz = 64;
	memset((char *)&s + 64, 0x55, sizeof(s) - 64);
	CHECK(!kcm_sock_get(a, &s) && s.sz == 64 && ((char *)&s)[64] == 0x55);
	s = get(a);
	CHECK(!strcmp(value_of(&s, "u"), "1"));
	close(a);
}

/* ---- race ---- */

static volatile int stop;
static unsigned long changed, seen;

/* Values of nine equal letters: torn ones have two kinds. */
static void *changer(void *arg)
{
	char key[16], value[10] = "";
	int id = (int)(long)arg;

	for (unsigned int i = 0; !stop; i++) {
		int fd = i & 1 ? server : listener, err;

		/* Two threads each share a key. */
		snprintf(key, sizeof(key), "key%d", id / 2);
		memset(value, 'a' + (int)(i % 26), sizeof(value) - 1);
		err = kcm_sock_set(fd, key, i % 5 ? value : "");
		CHECK(!err);
		__atomic_fetch_add(&changed, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void check_whole(int fd)
{
	struct kcm_sock_stats s = get(fd);

	for (int i = 0; i < KCM_SOCK_LABELS; i++) {
		const char *v = s.label[i].value;

		if (!*s.label[i].key || !strncmp(s.label[i].key, "op", 2))
			continue;
		CHECK(!strncmp(s.label[i].key, "key", 3));
		CHECK(strlen(v) == 9 && strspn(v, (char[]){ v[0], 0 }) == 9);
		for (int k = 0; k < i; k++)
			CHECK(strcmp(s.label[i].key, s.label[k].key));
	}
	__atomic_fetch_add(&seen, 1, __ATOMIC_RELAXED);
}

static void *reader(void *arg)
{
	(void)arg;
	while (!stop) {
		int a, b;

		check_whole(listener);
		check_whole(server);
		connect_pair(&a, &b);
		check_whole(b);
		CHECK(!kcm_sock_set(b, "key0", "zzzzzzzzz")); /* nobody holds what it inherited */
		close(b);
		close(a);
	}
	return NULL;
}

static unsigned long long cookie_of(int fd)
{
	unsigned long long cookie = 0;
	socklen_t len = sizeof(cookie);

	CHECK(!getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len));
	return cookie;
}

static void race(int seconds)
{
	pthread_t threads[5];

	printf("%llu %llu\n", cookie_of(listener), cookie_of(server));
	fflush(stdout);
	for (long i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, changer, (void *)i));
	CHECK(!pthread_create(&threads[4], NULL, reader, NULL));
	sleep((unsigned int)seconds);
	stop = 1;
	for (int i = 0; i < 5; i++)
		pthread_join(threads[i], NULL);
	CHECK(!kcm_sock_set(server, "key0", "") && !kcm_sock_set(listener, "key0", ""));
	CHECK(changed > 100 && seen > 100);
	printf("%lu changes, %lu looks\n", changed, seen);
}

int main(int argc, char **argv)
{
	CHECK(argc > 1);
	listen_up();
	connect_pair(&client, &server);
	if (!strcmp(argv[1], "none")) {
		struct kcm_sock_stats s = { .sz = sizeof(s) };

		CHECK(kcm_sock_set(client, "a", "b") == -EOPNOTSUPP);
		CHECK(kcm_sock_generation(client, 1) == -EOPNOTSUPP);
		CHECK(kcm_sock_get(client, &s) == -EOPNOTSUPP);
	} else if (!strcmp(argv[1], "race")) {
		race(argc > 2 ? atoi(argv[2]) : 2);
	} else {
		check_others();
		check_wrong();
		check_labels();
	}
	return 0;
}
