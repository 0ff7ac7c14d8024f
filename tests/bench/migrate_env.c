// SPDX-License-Identifier: GPL-2.0
/*
 * migrate_env.c - instance, listeners and traffic of the migrate benchmark.
 */
#include "migrate_bench.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/ip.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/migrate_load.h"

#define NAME	 "bench"
#define BATCH	 64
#define FILES	 20000
#define CLIENTS	 1024 /* addresses that segments come from */
#define TTL	 64
#define TCP_SIZE 20

#ifndef SO_DETACH_REUSEPORT_BPF
#define SO_DETACH_REUSEPORT_BPF 68
#endif

int mb_failed(struct mb_env *e, const char *what, int err)
{
	if (!e->error[0]) {
		snprintf(e->error, sizeof(e->error), "%s: %s", what, strerror(-err));
		fprintf(stderr, "bench_migrate: %s\n", e->error);
	}
	return err;
}

int mb_sysctl(const char *name, const char *value)
{
	char path[SB_PATH];
	int fd, err = 0;

	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		err = -errno;
	close(fd);
	return err;
}

int mb_machine(void)
{
	static const char *const set[][2] = {
		{ "core/somaxconn", "32768" },
		{ "ipv4/tcp_max_syn_backlog", "32768" },
		{ "ipv4/tcp_syncookies", "0" },
		{ "ipv4/ip_local_port_range", "10000 65001" },
	};
	struct rlimit lim = { FILES, FILES };
	int err = 0;

	setrlimit(RLIMIT_NOFILE, &lim);
	for (size_t i = 0; i < sizeof(set) / sizeof(set[0]) && !err; i++)
		err = mb_sysctl(set[i][0], set[i][1]);
	return err;
}

/* ---- the instance ---- */

int mb_begin(struct mb_env *e)
{
	struct migrate_opts o = {
		.port = MB_PORT, .policy = KCM_MG_CLIENT, .manual = true, .anchor = true
	};
	struct mg_view none = MG_VIEW_NONE;
	struct migrate_found f;
	char err[160] = "";
	int ret;

	memset(e, 0, sizeof(*e));
	e->view = none;
	e->epoll = epoll_create1(EPOLL_CLOEXEC);
	ret = sb_cgroup_make(&e->cg, "bench-migrate");
	if (ret)
		return mb_failed(e, "cgroup", ret);
	o.cgroup = e->cg.dir;
	ret = kcm_migrate_attach(NAME, &o, &f, err, sizeof(err));
	if (ret)
		return mb_failed(e, err, ret);
	ret = mg_view_open(&e->view, NAME, true);
	return ret ? mb_failed(e, "state", ret) : 0;
}

void mb_end(struct mb_env *e)
{
	char note[200];

	mb_close(e);
	if (e->view.mg) {
		mg_view_close(&e->view);
		kcm_migrate_detach(NAME, note, sizeof(note));
	}
	close(e->epoll);
	sb_cgroup_remove(&e->cg);
}

static int listen_here(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, err;

	if (fd < 0)
		return -errno;
	bench_socket_options(fd);
	if (!setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) &&
	    !bind(fd, (struct sockaddr *)&at, sizeof(at)) && !listen(fd, MB_BACKLOG))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int mb_listener(struct mb_env *e, uint16_t port)
{
	int fd, err = port == MB_PORT ? sb_cgroup_enter(&e->cg) : 0;

	if (err)
		return mb_failed(e, "enter the cgroup", err);
	fd = listen_here(port);
	if (port == MB_PORT)
		sb_cgroup_leave(&e->cg);
	return fd < 0 ? mb_failed(e, "listen", fd) : fd;
}

int mb_open(struct mb_env *e, uint16_t port, unsigned int n)
{
	int err = port == MB_PORT ? mg_generation_new(&e->view) : 0;

	e->port = port;
	if (err < 0)
		return mb_failed(e, "generation", err);
	for (e->n = 0; e->n < n; e->n++) {
		struct epoll_event ev = { .events = EPOLLIN };
		int fd = mb_listener(e, port);

		if (fd < 0)
			return fd;
		e->fd[e->n] = ev.data.fd = fd;
		if (epoll_ctl(e->epoll, EPOLL_CTL_ADD, fd, &ev))
			return mb_failed(e, "epoll", -errno);
	}
	if (n && port == MB_PORT && e->view.mg->group[0].n != n)
		return mb_failed(e, "listeners were not registered", -EIO);
	return 0;
}

void mb_close(struct mb_env *e)
{
	while (e->n)
		close(e->fd[--e->n]);
}

int mb_program(struct mb_env *e, int prog)
{
	int one = 1;

	if (prog >= 0 &&
	    setsockopt(e->fd[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &prog, sizeof(prog)))
		return mb_failed(e, "attach a selector", -errno);
	if (prog < 0 &&
	    setsockopt(e->fd[0], SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &one, sizeof(one)) &&
	    errno != ENOENT)
		return mb_failed(e, "detach the selector", -errno);
	return 0;
}

/* ---- segments ---- */

struct packet {
	struct iphdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

struct mb_flood {
	int fd;
	unsigned int at;
	struct sockaddr_in to;
	struct packet packet[MB_PACKETS];
	struct iovec iov[MB_PACKETS];
	struct mmsghdr msg[MB_PACKETS];
};

static uint32_t add_words(uint32_t sum, const void *data, size_t n)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < n; i += 2)
		sum += (uint32_t)(p[i] << 8 | p[i + 1]);
	return sum;
}

static uint16_t checksum(const struct packet *p)
{
	uint32_t sum = add_words(IPPROTO_TCP + TCP_SIZE, &p->ip.saddr, 8);

	sum = add_words(sum, &p->tcp, TCP_SIZE);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

/* A RST that belongs to no connection: a listener is looked up for it, and drops it. */
static void fill(struct packet *p, const struct sockaddr_in *to, uint64_t *seed)
{
	uint64_t r = sb_rand(seed);

	p->ip = (struct iphdr){ .version = 4,
				.ihl = 5,
				.tot_len = htons(sizeof(*p)),
				.ttl = TTL,
				.protocol = IPPROTO_TCP,
				.saddr = htonl(0x7f020000 + (uint32_t)(r % CLIENTS)),
				.daddr = to->sin_addr.s_addr };
	p->tcp = (struct tcphdr){ .source = htons((uint16_t)(1024 + (r >> 20) % 60000)),
				  .dest = to->sin_port,
				  .seq = htonl((uint32_t)(r >> 32)),
				  .doff = 5,
				  .rst = 1 };
	p->tcp.check = checksum(p);
}

struct mb_flood *mb_flood_make(uint16_t port, unsigned int flows)
{
	struct mb_flood *f = calloc(1, sizeof(*f));
	uint64_t seed = 1;

	if (!f)
		return NULL;
	f->to = (struct sockaddr_in){ .sin_family = AF_INET,
				      .sin_port = htons(port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	f->fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	if (f->fd < 0) {
		free(f);
		return NULL;
	}
	for (size_t i = 0; i < MB_PACKETS; i++) {
		if (i < flows)
			fill(&f->packet[i], &f->to, &seed);
		else
			f->packet[i] = f->packet[i % flows];
		f->iov[i] = (struct iovec){ &f->packet[i], sizeof(f->packet[i]) };
		f->msg[i].msg_hdr = (struct msghdr){ .msg_name = &f->to,
						     .msg_namelen = sizeof(f->to),
						     .msg_iov = &f->iov[i],
						     .msg_iovlen = 1 };
	}
	return f;
}

int mb_flood_send(struct mb_flood *f, unsigned int n)
{
	while (n) {
		unsigned int some = n < BATCH ? n : BATCH;
		int done;

		if (some > MB_PACKETS - f->at)
			some = MB_PACKETS - f->at;
		done = sendmmsg(f->fd, &f->msg[f->at], some, 0);
		if (done <= 0)
			return -errno;
		f->at = (f->at + (unsigned int)done) % MB_PACKETS;
		n -= (unsigned int)done;
	}
	return 0;
}

void mb_flood_free(struct mb_flood *f)
{
	if (f)
		close(f->fd);
	free(f);
}

/* ---- connections ---- */

int mb_connect(uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct linger reset = { 1, 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	bench_socket_options(fd);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	if (!connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int mb_connections(struct mb_env *e, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct epoll_event ev;
		int fd = mb_connect(e->port), c;

		if (fd < 0)
			return mb_failed(e, "connect", fd);
		c = epoll_wait(e->epoll, &ev, 1, 1000) == 1
			    ? accept4(ev.data.fd, NULL, NULL, SOCK_CLOEXEC)
			    : -1;
		close(fd);
		if (c < 0)
			return mb_failed(e, "accept", -errno);
		close(c);
	}
	return 0;
}
