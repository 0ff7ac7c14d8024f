// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sock_exact.c - are the counters of sock exact? A client and a server, a process each, exchange
 * known streams over many connections and count themselves; at rest and in the record of each
 * close the system must have counted the same.
 *
 * usage: sock_exact [NAME=VALUE]...   (see options below; the names are those of struct opts)
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "sock_exact.h"

static struct opts o = {
	.conns = 8,
	.msgs = 1000,
	.max = 200000,
	.family = 4,
	.seed = 1,
	.end = END_MIX,
	.addr = NULL,
};
static struct shared *sh;
static struct kit kit;

/* ---- while it is open ---- */

static bool same_u64(const char *what, uint64_t is, uint64_t want, bool last, char *why, size_t n)
{
	if (is == want)
		return true;
	/* What comes too early may be counted late, but nothing is ever counted twice. */
	if (is > want || last)
		snprintf(why, n, "%s is %llu and not %llu", what, (unsigned long long)is,
			 (unsigned long long)want);
	return false;
}

/* All requests are timed, but not more than KCM_LAT_BUDGET a tick; each is in the histogram. */
static bool latencies(const struct kcm_sk_info *info, bool last, char *why, size_t size)
{
	__u64 sum = 0, least = o.msgs < KCM_LAT_BUDGET ? o.msgs : KCM_LAT_BUDGET;

	for (int i = 0; i < KCM_SK_HIST; i++)
		sum += info->hist[i];
	if (info->lat_n < least || info->lat_n > o.msgs)
		return same_u64("latencies", info->lat_n, o.msgs, last, why, size);
	return same_u64("histogram", sum, info->lat_n, last, why, size);
}

static void check_open(struct side *s)
{
	struct kcm_sk_store st;
	struct end_note *n = NOTE(s);
	char why[160] = "";

	for (int tries = 1000;; tries--) {
		int64_t slot = kit_find(&kit, n->cookie, s->fd, &st);
		bool ok, last = !tries;

		if (slot < 0)
			die("connection %u side %d: no state while open", s->c, s->me);
		n->beyond = slot == KCM_SK_SLOT_NONE;
		ok = same_u64("tx bytes", st.hot.tx_bytes, n->tx_bytes, last, why, sizeof(why)) &&
		     same_u64("rx bytes", st.in.rx_bytes, n->rx_bytes, last, why, sizeof(why));
		if (ok && o.framed && !st.more.info.unframed)
			ok = same_u64("tx messages", st.more.tx.msgs, n->tx_msgs, last, why,
				      sizeof(why)) &&
			     same_u64("rx messages", st.more.rx.msgs, n->rx_msgs, last, why,
				      sizeof(why));
		if (ok && o.rr && o.framed && !st.more.info.unframed)
			ok = latencies(&st.more.info, last, why, sizeof(why));
		if (ok)
			break;
		if (*why)
			die("connection %u side %d open, slot %lld, unframed %d: %s", s->c, s->me,
			    (long long)slot, st.more.info.unframed, why);
		kit_sleep_us(2000);
	}
	if (st.hot.role != (s->me ? KCM_ROLE_SERVER : KCM_ROLE_CLIENT) ||
	    st.hot.state != KCM_SK_ESTABLISHED)
		die("connection %u side %d: role %d state %d", s->c, s->me, st.hot.role,
		    st.hot.state);
	if (o.beyond && !n->beyond)
		die("connection %u side %d has a slot, there should be none", s->c, s->me);
}

/* ---- one end ---- */

static void *send_all(void *arg)
{
	struct side *s = arg;

	side_write(s, UINT32_MAX, o.msgs);
	side_push(s);
	return NULL;
}

static void exchange(struct side *s)
{
	pthread_t sender;

	if (!o.rr) {
		must(-pthread_create(&sender, NULL, send_all, s));
		if (side_read(s, o.msgs, UINT64_MAX) != 1 && o.end < END_KILL_CLIENT)
			die("connection %u: ended early", s->c);
		pthread_join(sender, NULL);
		return;
	}
	for (uint64_t i = 1; i <= o.msgs; i++) {
		if (s->me && side_read(s, i, UINT64_MAX) != 1)
			die("connection %u: ended early", s->c);
		side_write(s, UINT32_MAX, i);
		side_push(s);
		if (!s->me && side_read(s, i, UINT64_MAX) != 1)
			die("connection %u: ended early", s->c);
	}
}

/* The other process was killed: what TCP says of this end is the truth. */
static void survive(struct side *s)
{
	struct end_note *n = NOTE(s);
	uint64_t sent, received;
	int end;

	while ((end = side_read(s, UINT64_MAX, UINT64_MAX)) == 1)
		;
	received = tcp_received(s->fd, &sent, NULL);
	/* TCP may have counted a FIN as a byte. */
	n->rx_bytes = end ? received : s->in.bytes;
	if (received - n->rx_bytes > 1 || s->in.bytes > n->rx_bytes)
		die("connection %u: read %llu of %llu", s->c, (unsigned long long)s->in.bytes,
		    (unsigned long long)received);
	n->tx_bytes = sent;
	n->rx_msgs = stream_count(&s->in_start, n->rx_bytes);
	n->tx_msgs = stream_count(&s->out_start, n->tx_bytes);
	writer_end(&s->w);
	close(s->fd);
	__atomic_store_n(&n->done, 1, __ATOMIC_RELEASE);
}

static void *run_side(void *arg)
{
	struct side *s = arg;
	struct rng common = { SEED(&o, s->c, 9) };
	enum end_mode end = o.end;
	bool first;

	NOTE(s)->cookie = kit_cookie(s->fd);
	writer_init(&s->w, s->fd, SEED(&o, s->c, 2 + s->me));
	s->rng.s = SEED(&o, s->c, 4 + s->me);
	s->in = s->in_start;
	if (!s->out.bytes)
		s->out = s->out_start;
	__atomic_fetch_add(&sh->going, 1, __ATOMIC_RELAXED);
	exchange(s);
	if (o.end >= END_KILL_CLIENT) {
		survive(s);
		return NULL;
	}
	side_step(s);
	side_note(s);
	check_open(s);
	side_step(s);
	if (end == END_MIX)
		end = rng_below(&common, o.lossy ? END_STUCK : END_MODES);
	first = rng_below(&common, 2) == (uint32_t)s->me;
	side_finish(s, end, first);
	return NULL;
}

static struct side *side_new(uint32_t c, int me, int fd)
{
	struct side *s = calloc(1, sizeof(*s));

	*s = (struct side){ .o = &o, .sh = sh, .kit = &kit, .c = c, .me = me, .fd = fd };
	stream_init(&s->out_start, o.frame, o.max, SEED(&o, c, me));
	stream_init(&s->in_start, o.frame, o.max, SEED(&o, c, !me));
	return s;
}

/* ---- processes ---- */

static socklen_t address(struct sockaddr_storage *ss, bool server, uint32_t port)
{
	struct sockaddr_in *in = (void *)ss;
	struct sockaddr_in6 *in6 = (void *)ss;
	const char *addr = o.addr;
	char mapped[64];

	memset(ss, 0, sizeof(*ss));
	if (!addr)
		addr = o.family == 6 ? "::1" : "127.0.0.1";
	/* family=46: the server listens on [::], both ends see each other's IPv4 address */
	if (o.family == 4) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		inet_pton(AF_INET, addr, &in->sin_addr);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	if (o.family == 46 && !server) {
		snprintf(mapped, sizeof(mapped), "::ffff:%s", addr);
		inet_pton(AF_INET6, mapped, &in6->sin6_addr);
	} else if (o.family == 6) {
		inet_pton(AF_INET6, addr, &in6->sin6_addr);
	}
	return sizeof(*in6);
}

static void enter_ns(const char *name)
{
	char path[128];
	int fd;

	if (!name)
		return;
	snprintf(path, sizeof(path), "/run/netns/%s", name);
	fd = must(open(path, O_RDONLY | O_CLOEXEC));
	must(setns(fd, CLONE_NEWNET));
	close(fd);
}

static int sock_new(void)
{
	int fd = must(socket(o.family == 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));

	if (o.rcvbuf)
		must(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &o.rcvbuf, sizeof(o.rcvbuf)));
	return fd;
}

static void server(void)
{
	pthread_t *t = calloc(o.conns, sizeof(*t));
	struct sockaddr_storage ss;
	struct sockaddr_in6 peer;
	socklen_t len;
	int one = 1, five = 5, l;

	enter_ns(o.server_ns);
	l = sock_new();
	must(setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	if (o.early && (o.seed & 1))
		must(setsockopt(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, &five, sizeof(five)));
	if (o.fastopen)
		must(setsockopt(l, IPPROTO_TCP, TCP_FASTOPEN, &(int){ 4096 }, sizeof(int)));
	len = address(&ss, true, o.port);
	must(bind(l, (void *)&ss, len));
	must(listen(l, 4096));
	len = sizeof(peer);
	must(getsockname(l, (void *)&peer, &len));
	sh->port = ntohs(peer.sin6_port);
	__atomic_store_n(&sh->listening, 1, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < o.conns; i++) {
		uint32_t c;
		int fd;

		len = sizeof(peer);
		fd = must(accept4(l, (void *)&peer, &len, SOCK_CLOEXEC));
		c = sh->conn_of[ntohs(peer.sin6_port)] - 1;
		if (c >= o.conns)
			die("a connection from port %u, of somebody else", ntohs(peer.sin6_port));
		must(-pthread_create(&t[i], NULL, run_side, side_new(c, 1, fd)));
	}
	close(l);
	for (uint32_t i = 0; i < o.conns; i++)
		pthread_join(t[i], NULL);
	exit(0);
}

static void *client_one(void *arg)
{
	struct side *s = arg;
	struct sockaddr_storage ss;
	struct sockaddr_in6 me;
	socklen_t len;
	int zero = 0, one = 1;

	memset(&ss, 0, sizeof(ss));
	ss.ss_family = o.family == 4 ? AF_INET : AF_INET6;
	must(bind(s->fd, (void *)&ss, o.family == 4 ? sizeof(struct sockaddr_in) : sizeof(me)));
	len = sizeof(me);
	must(getsockname(s->fd, (void *)&me, &len));
	sh->conn_of[ntohs(me.sin6_port)] = s->c + 1;
	if (o.early)
		must(setsockopt(s->fd, IPPROTO_TCP, TCP_QUICKACK, &zero, sizeof(zero)));
	if (o.fastopen)
		must(setsockopt(s->fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one)));
	len = address(&ss, false, sh->port);
	must(connect(s->fd, (void *)&ss, len));
	return run_side(s);
}

static void client(void)
{
	pthread_t *t = calloc(o.conns, sizeof(*t));

	enter_ns(o.client_ns);
	while (!__atomic_load_n(&sh->listening, __ATOMIC_ACQUIRE))
		kit_sleep_us(1000);
	for (uint32_t i = 0; i < o.conns; i++)
		must(-pthread_create(&t[i], NULL, client_one, side_new(i, 0, sock_new())));
	for (uint32_t i = 0; i < o.conns; i++)
		pthread_join(t[i], NULL);
	exit(0);
}

#include "sock_exact_main.h"
