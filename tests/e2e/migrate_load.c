// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * migrate_load - short TCP connections, as many as go, each with a request of its own, and each
 * byte of each response checked. Counts every way in which one can fail; prints a line of JSON.
 *
 * Servers close first, so TIME_WAIT is theirs; each connection comes from the next of many source
 * addresses, so that no pair of address and port comes twice in a run. Nothing is reset by us.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "migrate_check.h"
#include "migrate_load_opts.h"

#define SCAN_NS	 100000000ULL
#define PAUSE_NS 2000000ULL /* after a failure: what is refused at once must not be most of it */
#define SOURCES	 4096

static atomic_bool stop;
static atomic_int threads_left;

struct conn {
	int fd; /* -1: none */
	bool sent;
	uint64_t start_ns, not_before;
	struct sockaddr_storage from;
	struct exchange x;
};

struct thread {
	pthread_t thread;
	int ep, busy;
	uint64_t ok, late, max_ns, scan_ns;
	struct conn *conns;
	struct who *who;
	char gen[MSG_GEN + 1]; /* the last one noted */
};

/* ---- one connection ---- */

static void conn_end(struct thread *t, struct conn *c, enum end end, int error)
{
	uint64_t took = now_ns() - c->start_ns;
	char gen[MSG_GEN + 1] = "";
	int pid = 0;

	if (end == END_OK && !right(&c->x, true, gen, &pid))
		end = !c->x.got			       ? END_EMPTY
		      : right(&c->x, false, gen, &pid) ? END_SHORT
						       : END_WRONG;
	else if (c->x.got && !right(&c->x, false, gen, &pid))
		end = END_WRONG;
	if (end == END_OK) {
		t->ok++;
		sum_who(t->who, gen, pid, 1);
		if (strcmp(gen, t->gen)) {
			snprintf(t->gen, sizeof(t->gen), "%s", gen);
			gen_note(gen);
		}
	} else {
		sum_failure(end, error, (void *)&c->from);
		c->not_before = now_ns() + PAUSE_NS;
	}
	t->late += took >= LATE_NS;
	if (took > t->max_ns)
		t->max_ns = took;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	t->busy--;
	sum.good += end == END_OK;
	sum.done++;
}

static void conn_failed(struct thread *t, struct conn *c, int error)
{
	enum end end = END_OTHER;

	if (error == ECONNREFUSED)
		end = END_REFUSED;
	else if (error == ECONNRESET || error == EPIPE)
		end = c->x.got ? END_RST_AFTER : END_RST_BEFORE;
	else if (error == ETIMEDOUT)
		end = END_TIMEOUT;
	else if (error == EADDRNOTAVAIL || error == EMFILE || error == ENFILE ||
		 error == EADDRINUSE || error == ENOMEM)
		end = END_LOCAL;
	conn_end(t, c, end, error);
}

static void conn_source(struct conn *c, uint64_t nth)
{
	uint32_t host = nth % SOURCES + 1;

	c->from = opt.source;
	if (opt.to.ss_family == AF_INET) {
		struct sockaddr_in *a = (void *)&c->from;

		a->sin_addr.s_addr = htonl(ntohl(a->sin_addr.s_addr) + host);
	} else if (opt.many_sources) {
		((struct sockaddr_in6 *)&c->from)->sin6_addr.s6_addr32[3] = htonl(host);
	}
}

static bool conn_send(struct conn *c, int flags)
{
	/* It fits the socket's buffer. */
	ssize_t r = sendto(c->fd, c->x.request, c->x.request_len, flags | MSG_NOSIGNAL,
			   flags ? (void *)&opt.to : NULL, flags ? opt.to_len : 0);

	c->sent = r == (ssize_t)c->x.request_len;
	return c->sent || (r < 0 && (errno == EAGAIN || errno == EINPROGRESS || errno == ENOTCONN));
}

static void conn_start(struct thread *t, struct conn *c, uint64_t nth)
{
	static const int one = 1;
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				  .data.ptr = c };
	int family = opt.to.ss_family, r;
	socklen_t len = sizeof(c->from);

	t->busy++;
	c->start_ns = now_ns();
	c->sent = false;
	exchange_begin(&c->x, sum.start_ns ^ nth * 0x9e3779b97f4a7c15ULL);
	conn_source(c, nth);
	c->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return conn_failed(t, c, errno);
	setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (family == AF_INET6)
		setsockopt(c->fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one));
	if (bind(c->fd, (void *)&c->from, opt.to_len) ||
	    epoll_ctl(t->ep, EPOLL_CTL_ADD, c->fd, &ev)) {
		/* Told apart from what the network says. */
		return conn_end(t, c, END_LOCAL, errno);
	}
	if (opt.fastopen)
		r = conn_send(c, MSG_FASTOPEN) ? 0 : -1;
	else
		r = connect(c->fd, (void *)&opt.to, opt.to_len);
	if (r && errno != EINPROGRESS)
		return conn_failed(t, c, errno);
	getsockname(c->fd, (void *)&c->from, &len);
}

static void conn_event(struct thread *t, struct conn *c, uint32_t events)
{
	socklen_t len = sizeof(int);
	int error = 0;
	ssize_t r;

	if (!c->sent && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
		if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) || error)
			return conn_failed(t, c, error);
		if (!conn_send(c, 0))
			return conn_failed(t, c, errno);
	}
	if (!(events & ~EPOLLOUT))
		return;
	while ((r = recv(c->fd, c->x.buf + c->x.got, c->x.cap - c->x.got, 0)) > 0)
		c->x.got += r;
	if (!r)
		conn_end(t, c, END_OK, 0);
	else if (errno != EAGAIN)
		conn_failed(t, c, errno);
}

/* ---- threads ---- */

/* Return: whether all is done. */
static bool start_more(struct thread *t, bool *paused)
{
	uint64_t now = now_ns(), nth;

	*paused = false;
	for (int i = 0; i < opt.conc; i++) {
		struct conn *c = &t->conns[i];

		if (c->fd >= 0) {
			if (now - t->scan_ns >= SCAN_NS && now > c->start_ns &&
			    now - c->start_ns >= opt.timeout_ns)
				conn_end(t, c, END_TIMEOUT, 0);
			continue;
		}
		if (stop)
			continue;
		if (c->not_before > now) {
			*paused = true;
			continue;
		}
		nth = sum.started++;
		if (opt.count && nth >= opt.count)
			stop = true;
		else
			conn_start(t, c, nth);
	}
	if (now - t->scan_ns >= SCAN_NS)
		t->scan_ns = now;
	return stop && !t->busy;
}

static void *run(void *arg)
{
	struct thread *t = arg;
	struct epoll_event ev[128];
	bool paused;

	while (!start_more(t, &paused)) {
		int n = epoll_wait(t->ep, ev, 128, paused ? 1 : t->busy ? 50 : 1);

		for (int i = 0; i < n; i++) {
			struct conn *c = ev[i].data.ptr;

			if (c->fd >= 0)
				conn_event(t, c, ev[i].events);
		}
	}
	pthread_mutex_lock(&sum.lock);
	sum.ok += t->ok;
	sum.late += t->late;
	if (t->max_ns > sum.max_ns)
		sum.max_ns = t->max_ns;
	for (int i = 0; i < WHO_MAX; i++)
		if (t->who[i].n)
			sum_who(sum.who, t->who[i].gen, t->who[i].pid, t->who[i].n);
	pthread_mutex_unlock(&sum.lock);
	threads_left--;
	return NULL;
}

static void thread_start(struct thread *t)
{
	t->ep = epoll_create1(EPOLL_CLOEXEC);
	t->conns = calloc(opt.conc, sizeof(*t->conns));
	t->who = calloc(WHO_MAX, sizeof(*t->who));
	if (t->ep < 0 || !t->conns || !t->who)
		die("cannot start");
	for (int i = 0; i < opt.conc; i++) {
		t->conns[i].fd = -1;
		exchange_init(&t->conns[i].x);
	}
	if (pthread_create(&t->thread, NULL, run, t))
		die("cannot start");
}

static void on_signal(int sig)
{
	(void)sig;
	stop = true;
}

static void load(void)
{
	static struct thread threads[THREADS_MAX];

	sum.start_ns = now_ns();
	threads_left = opt.threads;
	progress(opt.progress);
	for (int i = 0; i < opt.threads; i++)
		thread_start(&threads[i]);
	while (threads_left) {
		usleep(10000);
		progress(opt.progress);
		if (opt.seconds > 0 && now_ns() - sum.start_ns >= opt.seconds * 1e9)
			stop = true;
	}
	for (int i = 0; i < opt.threads; i++)
		pthread_join(threads[i].thread, NULL);
	progress(opt.progress);
	report(opt.lists, opt.log);
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };

	options_read(argc, argv);
	sigaction(SIGTERM, &sa, NULL);
	load();
	return 0;
}
