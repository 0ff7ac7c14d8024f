// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sock_attack.c - rare lives of sockets: each of them must be counted once, exactly, under its own
 * name, and leave nothing behind.
 *
 * usage: sock_attack self | again | listened | udp [beyond]
 *        sock_attack old
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include "sock_kit.h"

static struct kit kit;
static struct kit_watch watch;
static unsigned int bad, conn_slots = 1; /* what a connection has */

#define differ(what, is, want)                                                                     \
	do {                                                                                       \
		unsigned long long is_ = (is), want_ = (want);                                     \
		if (is_ != want_ && ++bad)                                                         \
			fprintf(stderr, "%s: %s is %llu and not %llu (line %d)\n", kit_what, what, \
				is_, want_, __LINE__);                                             \
	} while (0)

/* ---- events ---- */

static struct kcm_sk_event events[64];
static unsigned int n_events;

static int on_event(void *arg, void *data, size_t size)
{
	(void)arg;
	if (size == sizeof(events[0]) && n_events < 64)
		memcpy(&events[n_events++], data, size);
	return 0;
}

static const struct kcm_sk_event *event(uint64_t cookie, enum kcm_sk_event_kind kind, int nth)
{
	ring_buffer__consume(watch.ring);
	for (unsigned int i = 0; i < n_events; i++)
		if (events[i].sock.cookie == cookie && events[i].kind == kind && !nth--)
			return &events[i];
	return NULL;
}

static const struct kcm_sk_event *must_event(uint64_t cookie, enum kcm_sk_event_kind kind, int nth)
{
	const struct kcm_sk_event *e;
	uint64_t until = kit_now_ns() + 20000000000ULL;

	while (!(e = event(cookie, kind, nth))) {
		if (kit_now_ns() > until)
			die("no event %d of kind %d", nth, kind);
		kit_sleep_us(1000);
	}
	return e;
}

/* ---- sockets ---- */

static struct sockaddr_in addr_of(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in a;
	socklen_t n = sizeof(a);

	must(getsockname(fd, (void *)&a, &n));
	return ntohs(a.sin_port);
}

static int bound(int type)
{
	struct sockaddr_in a = addr_of(0);
	int fd = must(socket(AF_INET, type, 0));

	must(bind(fd, (void *)&a, sizeof(a)));
	return fd;
}

static int listening(int backlog)
{
	int fd = bound(SOCK_STREAM);

	must(listen(fd, backlog));
	return fd;
}

static int connect_to(int fd, uint16_t port)
{
	struct sockaddr_in a = addr_of(port);

	return connect(fd, (void *)&a, sizeof(a)) ? errno : 0;
}

static void transfer(int from, int to, size_t bytes)
{
	char buf[5000] = { 0 };

	for (size_t left = bytes; left;)
		left -= must(send(from, buf, left < sizeof(buf) ? left : sizeof(buf), 0));
	for (size_t left = bytes; left;) {
		ssize_t n = must(recv(to, buf, left < sizeof(buf) ? left : sizeof(buf), 0));

		if (!n)
			die("end of stream");
		left -= n;
	}
}

static unsigned int slots_of(uint64_t cookie)
{
	unsigned int n = 0;

	for (uint32_t i = 0; i < kit.slots; i++)
		n += kit.hot[i].tag == cookie;
	return n;
}

static void is_mine(const struct kcm_sk_info *i)
{
	differ("pid", i->pid, getpid());
	differ("comm", !!strcmp(i->comm, "sock_attack"), 0);
	differ("cgroup is known", !!i->cgroup_id, 1);
	differ("netns is known", !!i->netns_cookie, 1);
}

/* ---- both ends of a connection are one socket: both SYNs cross ---- */

static void self(void)
{
	int fd = bound(SOCK_STREAM);
	uint64_t cookie = kit_cookie(fd);
	const struct kcm_sk_event *e;
	struct kcm_sk_store st;

	must(-connect_to(fd, port_of(fd)));
	transfer(fd, fd, 100000);
	differ("slots", slots_of(cookie), conn_slots);
	differ("found", kit_find(&kit, cookie, fd, &st) >= 0, 1);
	differ("role", st.hot.role, KCM_ROLE_CLIENT);
	differ("state", st.hot.state, KCM_SK_ESTABLISHED);
	differ("tx bytes", st.hot.tx_bytes, 100000);
	differ("rx bytes", st.in.rx_bytes, 100000);
	is_mine(&st.more.info);
	close(fd);
	e = must_event(cookie, KCM_SKE_CLOSE, 0);
	differ("tx bytes at close", e->sock.tx_bytes, 100000);
	differ("rx bytes at close", e->sock.rx_bytes, 100000);
	differ("opened once", !event(cookie, KCM_SKE_OPEN, 1), 1);
	differ("slots", slots_of(cookie), 0);
}

/* ---- connect() fails, and then does not; the connection is cut, and made again ---- */

static void again(void)
{
	int l = listening(8), fd = must(socket(AF_INET, SOCK_STREAM, 0)), nobody, other;
	uint64_t cookie = kit_cookie(fd), failed = kit.ctl->failed;
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	const struct kcm_sk_event *e;
	uint16_t port;

	nobody = bound(SOCK_STREAM);
	port = port_of(nobody);
	differ("refused", connect_to(fd, port), ECONNREFUSED);
	e = must_event(cookie, KCM_SKE_FAIL, 0);
	differ("err", e->sock.info.err, ECONNREFUSED);
	differ("port", e->sock.info.rport, port);
	differ("failed", kit.ctl->failed - failed, 1);
	is_mine(&e->sock.info);
	differ("slots", slots_of(cookie), 0);
	for (int round = 0; round < 3; round++) {
		must(-connect_to(fd, port_of(l)));
		other = must(accept(l, NULL, NULL));
		e = must_event(cookie, KCM_SKE_OPEN, round);
		is_mine(&e->sock.info);
		differ("err", e->sock.info.err, 0);
		transfer(fd, other, 3000 + round);
		transfer(other, fd, 5000 + round);
		if (round < 2)
			must(connect(fd, &none, sizeof(none)));
		else
			close(fd);
		e = must_event(cookie, KCM_SKE_CLOSE, round);
		is_mine(&e->sock.info);
		differ("tx bytes", e->sock.tx_bytes, 3000 + round);
		differ("rx bytes", e->sock.rx_bytes, 5000 + round);
		differ("slots", slots_of(cookie), 0);
		close(other);
	}
	differ("failed once", kit.ctl->failed - failed, 1);
}

/* ---- a socket that listened becomes a client ---- */

static void listened(void)
{
	int l = listening(8), fd = listening(8), other = must(socket(AF_INET, SOCK_STREAM, 0));
	uint64_t cookie = kit_cookie(fd);
	const struct kcm_sk_event *e;

	must(-connect_to(other, port_of(fd)));
	close(must(accept(fd, NULL, NULL)));
	close(other);
	must(shutdown(fd, SHUT_RDWR));
	must(-connect_to(fd, port_of(l)));
	other = must(accept(l, NULL, NULL));
	transfer(fd, other, 3000);
	transfer(other, fd, 5000);
	e = must_event(cookie, KCM_SKE_OPEN, 0);
	differ("role", e->sock.role, KCM_ROLE_CLIENT);
	close(fd);
	e = must_event(cookie, KCM_SKE_CLOSE, 0);
	differ("tx bytes", e->sock.tx_bytes, 3000);
	differ("rx bytes", e->sock.rx_bytes, 5000);
	is_mine(&e->sock.info);
	differ("slots", slots_of(cookie), 0);
}

/* ---- one UDP socket is connected again and again, with a slot and without ---- */

static void udp(void)
{
	int a = bound(SOCK_DGRAM), fd = must(socket(AF_INET, SOCK_DGRAM, 0));
	uint64_t cookie = kit_cookie(fd), opened = kit.ctl->opened, closed = kit.ctl->closed;
	const struct kcm_sk_event *e;

	for (int i = 0; i < 5; i++) {
		must(-connect_to(fd, port_of(a)));
		transfer(fd, a, 100);
	}
	close(fd);
	e = must_event(cookie, KCM_SKE_CLOSE, 0);
	differ("tx bytes", e->sock.tx_bytes, 500);
	differ("datagrams", e->sock.tx_segs, 5);
	is_mine(&e->sock.info);
	differ("opened", kit.ctl->opened - opened, 1);
	differ("closed", kit.ctl->closed - closed, 1);
	differ("slots", slots_of(cookie), 0);
}

/* ---- connect() before the programs are loaded, established afterwards ---- */

static int tcp_state(int fd)
{
	struct tcp_info ti;
	socklen_t n = sizeof(ti);

	must(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &n));
	return ti.tcpi_state;
}

static void old(void)
{
	int l = listening(0), fds[8], n = 0, other, on = 1;
	const struct kcm_sk_event *e;
	uint64_t cookie;

	/* Until one finds the queue full: its SYN is sent again a second later. */
	do {
		if (n == 8)
			die("the queue of accept() does not fill");
		fds[n] = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
		connect_to(fds[n], port_of(l));
		kit_sleep_us(20000);
	} while (tcp_state(fds[n++]) != KCM_SK_SYN_SENT);
	cookie = kit_cookie(fds[--n]);
	must(puts("ready"));
	must(fflush(stdout));
	must(getchar());
	kit_open(&kit);
	kit_watch(&watch, &kit, 1 << 20, on_event, NULL);
	do
		other = must(accept(l, NULL, NULL));
	while (n--);
	e = must_event(cookie, KCM_SKE_OPEN, 0);
	differ("adopted", !!(e->sock.flags & KCM_SKF_ADOPTED), 1);
	differ("role", e->sock.role, KCM_ROLE_CLIENT);
	differ("microseconds to connect, which nobody knows", e->sock.info.connect_us, 0);
	for (n = 0; fds[n] >= 0 && kit_cookie(fds[n]) != cookie; n++)
		;
	must(fcntl(fds[n], F_SETFL, 0));
	setsockopt(fds[n], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	transfer(fds[n], other, 3000);
	transfer(other, fds[n], 5000);
	close(fds[n]);
	e = must_event(cookie, KCM_SKE_CLOSE, 0);
	differ("tx bytes", e->sock.tx_bytes, 3000);
	differ("rx bytes", e->sock.rx_bytes, 5000);
	differ("pid", e->sock.info.pid, getpid());
	differ("slots", slots_of(cookie), 0);
}

/* Take all slots: each by a socket whose cookie fits one. */
static void fill(void)
{
	struct sockaddr_in a = addr_of(9);
	struct rlimit lim;

	must(getrlimit(RLIMIT_NOFILE, &lim));
	lim.rlim_cur = lim.rlim_max;
	must(setrlimit(RLIMIT_NOFILE, &lim));
	for (uint64_t until = kit_now_ns() + 20000000000ULL; kit_slots_used(&kit) < kit.slots;) {
		int fd = must(socket(AF_INET, SOCK_DGRAM, 0));

		must(connect(fd, (void *)&a, sizeof(a)));
		if (!slots_of(kit_cookie(fd)))
			close(fd);
		ring_buffer__consume(watch.ring);
		n_events = 0;
		if (kit_now_ns() > until)
			die("%u of %u slots are taken", kit_slots_used(&kit), kit.slots);
	}
	conn_slots = 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*fn)(void);
	} all[] = {
		{ "self", self }, { "again", again }, { "listened", listened }, { "udp", udp }
	};

	kit_what = argc > 1 ? argv[1] : "sock_attack";
	if (argc > 1 && !strcmp(argv[1], "old")) {
		old();
	} else {
		kit_open(&kit);
		kit_watch(&watch, &kit, 1 << 20, on_event, NULL);
	}
	if (argc > 2)
		fill();
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (argc > 1 && !strcmp(argv[1], all[i].name))
			all[i].fn();
	kit_unwatch(&watch);
	return bad ? 1 : 0;
}
