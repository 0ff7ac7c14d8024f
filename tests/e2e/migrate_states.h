/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * migrate_states.h - listeners, clients and an instance of migrate in one process, for
 * migrate_states.c and migrate_say.c.
 */
#ifndef KCM_MIGRATE_STATES_H
#define KCM_MIGRATE_STATES_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/migrate_load.h"
#include "lib/migrate_view.h"

#define PORT	7777
#define MAX	128
#define NAME	"states"
#define WAIT_MS 60000

#define CHECK(x)                                                                              \
	do {                                                                                  \
		if (!(x)) {                                                                   \
			fprintf(stderr, "%s:%d: %s (errno %d), %s\n", __FILE__, __LINE__, #x, \
				errno, now_doing);                                            \
			exit(1);                                                              \
		}                                                                             \
	} while (0)

static char now_doing[128] = "begin";
static struct mg_view view = MG_VIEW_NONE;

static inline void doing(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(now_doing, sizeof(now_doing), fmt, ap);
	va_end(ap);
}

static inline void run(const char *command)
{
	if (system(command)) {
		fprintf(stderr, "migrate_states: failed: %s\n", command);
		exit(1);
	}
}

static inline void net_begin(void)
{
	struct rlimit lim = { 65536, 65536 };
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd;

	CHECK(!unshare(CLONE_NEWNET));
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK(!ioctl(fd, SIOCSIFFLAGS, &ifr));
	close(fd);
	setrlimit(RLIMIT_NOFILE, &lim);
	run("sysctl -qw net.ipv4.tcp_fastopen=0x603 net.core.somaxconn=32768 "
	    "net.ipv4.tcp_max_syn_backlog=32768 net.ipv4.tcp_syncookies=0");
}

/* ---- listeners ---- */

static inline socklen_t addr_any(int family, struct sockaddr_storage *ss)
{
	struct sockaddr_in *in = (void *)ss;
	struct sockaddr_in6 *in6 = (void *)ss;

	memset(ss, 0, sizeof(*ss));
	ss->ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		in->sin_port = htons(PORT);
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof(*in);
	}
	in6->sin6_port = htons(PORT);
	in6->sin6_addr = in6addr_loopback;
	return sizeof(*in6);
}

struct shape {
	int family;
	int backlog;
	bool fastopen, save_syn;
};

static inline int listener(const struct shape *s)
{
	int fd = socket(s->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
	struct sockaddr_storage ss;
	socklen_t len = addr_any(s->family, &ss);

	CHECK(fd >= 0);
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)));
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	if (s->save_syn)
		CHECK(!setsockopt(fd, IPPROTO_TCP, TCP_SAVE_SYN, &one, sizeof(one)));
	CHECK(!bind(fd, (void *)&ss, len));
	CHECK(!listen(fd, s->backlog));
	if (s->fastopen) /* behind listen(), as nginx does it */
		CHECK(!setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &(int){ 1024 }, sizeof(int)));
	return fd;
}

static inline void listeners(const struct shape *s, int *fd, int n)
{
	for (int i = 0; i < n; i++)
		fd[i] = listener(s);
}

static inline void close_all(int *fd, int n, bool by_shutdown)
{
	for (int i = 0; i < n; i++)
		if (by_shutdown)
			CHECK(!shutdown(fd[i], SHUT_RD));
	for (int i = 0; i < n; i++)
		close(fd[i]);
}

/* ---- clients ---- */

struct message {
	uint32_t number;
	uint32_t check;
};

static inline struct message message(uint32_t number)
{
	return (struct message){ number, number * 2654435761U ^ 0x5a5a5a5a };
}

static inline int client(const struct shape *s, uint32_t number, bool say)
{
	int fd = socket(s->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct message m = message(number);
	struct sockaddr_storage ss;
	socklen_t len = addr_any(s->family, &ss);

	CHECK(fd >= 0);
	if (s->fastopen) {
		CHECK(sendto(fd, &m, sizeof(m), MSG_FASTOPEN, (void *)&ss, len) == sizeof(m));
		return fd;
	}
	CHECK(!connect(fd, (void *)&ss, len));
	if (say)
		CHECK(send(fd, &m, sizeof(m), MSG_NOSIGNAL) == sizeof(m));
	return fd;
}

static inline void say(int fd, uint32_t number)
{
	struct message m = message(number);

	CHECK(send(fd, &m, sizeof(m), MSG_NOSIGNAL) == sizeof(m));
}

/* Accept @total connections on @n listeners, each with its message. @each counts per listener. */
static inline void accept_all(int *fd, int n, int total, uint32_t first, uint32_t *each)
{
	uint8_t *seen = calloc(1, (size_t)total);
	struct pollfd p[MAX];

	memset(each, 0, (size_t)n * sizeof(*each));
	for (int i = 0; i < n; i++)
		p[i] = (struct pollfd){ .fd = fd[i], .events = POLLIN };
	for (int have = 0; have < total;) {
		CHECK(poll(p, (nfds_t)n, WAIT_MS) > 0);
		for (int i = 0; i < n; i++) {
			struct message m;
			int c = p[i].revents ? accept4(fd[i], NULL, NULL, SOCK_CLOEXEC) : -1;

			if (c < 0)
				continue;
			CHECK(recv(c, &m, sizeof(m), MSG_WAITALL) == sizeof(m));
			CHECK(m.number - first < (uint32_t)total && !seen[m.number - first]);
			CHECK(m.check == message(m.number).check);
			seen[m.number - first] = 1;
			CHECK(send(c, &m, sizeof(m), MSG_NOSIGNAL) == sizeof(m));
			close(c);
			each[i]++;
			have++;
		}
	}
	free(seen);
}

static inline void answers(int *fd, int n, uint32_t first)
{
	for (int i = 0; i < n; i++) {
		struct message m;

		CHECK(recv(fd[i], &m, sizeof(m), MSG_WAITALL) == sizeof(m));
		CHECK(m.number == first + (uint32_t)i && m.check == message(m.number).check);
		close(fd[i]);
	}
}

/* What remains of handshakes does not reach the server: no ACK without SYN. */
static inline void acks(bool pass)
{
	run(pass ? "nft delete table inet hold"
		 : "nft 'add table inet hold; add chain inet hold in { type filter hook input "
		   "priority 0; }; add rule inet hold in tcp dport 7777 tcp flags & (syn|ack) == "
		   "ack drop'");
}

/* ---- the instance ---- */

static inline void attach(bool manual, enum kcm_mg_policy policy)
{
	struct migrate_opts o = {
		.port = PORT, .manual = manual, .policy = policy, .anchor = true
	};
	struct migrate_found f;
	char err[256] = "";
	int ret = kcm_migrate_attach(NAME, &o, &f, err, sizeof(err));

	if (ret) {
		fprintf(stderr, "migrate_states: attach: %d %s\n", ret, err);
		exit(1);
	}
	CHECK(!mg_view_open(&view, NAME, true));
}

static inline void detach(void)
{
	char note[200];

	mg_view_close(&view);
	CHECK(!kcm_migrate_detach(NAME, note, sizeof(note)));
}

static inline void selector(void)
{
	struct migrate_found f = { 0 };

	migrate_select_all(&view, &f);
	CHECK(!f.selector_err && f.selectors);
}

static inline struct kcm_mg_group *group_of(int family)
{
	for (int i = 0; i < KCM_MG_GROUPS; i++)
		if ((view.mg->group[i].flags & KCM_MG_GROUP_USED) &&
		    view.mg->group[i].family == family)
			return &view.mg->group[i];
	CHECK(!"group");
	return NULL;
}

#endif
