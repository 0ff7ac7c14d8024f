// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * migrate_server - a TCP server that knows nothing of kcmtool: a master and N workers, each with a
 * SO_REUSEPORT listener of its own. Echoes as migrate_msg.h says.
 *
 * Prints "ready PID" when all workers listen. SIGTERM: no listener any more, what is accepted is
 * finished, the end. SIGUSR1: workers that hold begin to accept. A worker that is killed is
 * replaced.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "migrate_msg.h"

#define WORKERS_MAX 1024
#define RECV_MS	    50000 /* longer than clients wait */

static const char usage[] = "usage: migrate_server [OPTION]... PORT\n"
			    "  --gen ID           name of this generation, in every response\n"
			    "  --workers N        processes, default 4\n"
			    "  --shared           one listener for all, without SO_REUSEPORT\n"
			    "  --family 4|6|46    46: [::] for both\n"
			    "  --addr ADDRESS     default 127.0.0.1 or ::1\n"
			    "  --backlog N        default 4096\n"
			    "  --work US          think so long about each request\n"
			    "  --accept-delay MS  accept nothing so long\n"
			    "  --hold             accept nothing until SIGUSR1\n"
			    "  --shutdown         at the end shutdown() listeners, not close()\n"
			    "  --fastopen --defer-accept --save-syn --mptcp --device NAME\n";

static struct {
	const char *gen, *addr, *device;
	int family, workers, backlog, work, accept_delay, port;
	bool v4mapped, shared, hold, shutdown, fastopen, defer_accept, save_syn, mptcp;
} opt = { .gen = "-", .family = AF_INET, .workers = 4, .backlog = 4096 };

static volatile sig_atomic_t ending, go, child;

static void die(const char *what)
{
	fprintf(stderr, "migrate_server: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void on_signal(int sig)
{
	if (sig == SIGTERM)
		ending = 1;
	else if (sig == SIGUSR1)
		go = 1;
	else
		child = 1;
}

static void set(int fd, int level, int name, int value, const char *what)
{
	if (setsockopt(fd, level, name, &value, sizeof(value)))
		die(what);
}

static int open_listener(void)
{
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(opt.port) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(opt.port) };
	bool v6 = opt.family == AF_INET6;
	void *addr = v6 ? (void *)&a6.sin6_addr : (void *)&a4.sin_addr;
	int fd = socket(opt.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			opt.mptcp ? IPPROTO_MPTCP : IPPROTO_TCP);

	if (fd < 0)
		die("socket");
	if (inet_pton(opt.family, opt.addr, addr) != 1)
		die(opt.addr);
	set(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
	if (!opt.shared)
		set(fd, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
	if (v6)
		set(fd, IPPROTO_IPV6, IPV6_V6ONLY, !opt.v4mapped, "IPV6_V6ONLY");
	if (opt.device &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, opt.device, strlen(opt.device)))
		die(opt.device);
	if (opt.fastopen)
		set(fd, IPPROTO_TCP, TCP_FASTOPEN, opt.backlog, "TCP_FASTOPEN");
	if (opt.defer_accept)
		set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 5, "TCP_DEFER_ACCEPT");
	if (opt.save_syn)
		set(fd, IPPROTO_TCP, TCP_SAVE_SYN, 1, "TCP_SAVE_SYN");
	if (bind(fd, v6 ? (void *)&a6 : (void *)&a4, v6 ? sizeof(a6) : sizeof(a4)))
		die("bind");
	if (listen(fd, opt.backlog))
		die("listen");
	return fd;
}

/* ---- one connection ---- */

static bool recv_all(int fd, uint8_t *buf, uint32_t n)
{
	while (n) {
		ssize_t r = recv(fd, buf, n, 0);

		if (r <= 0)
			return false;
		buf += r;
		n -= r;
	}
	return true;
}

static void serve(int fd)
{
	uint8_t in[MSG_SIZE_MAX], out[MSG_SIZE_MAX];
	struct timeval limit = { RECV_MS / 1000, RECV_MS % 1000 * 1000 };
	uint32_t len;
	uint64_t id;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (recv_all(fd, in, MSG_HEAD)) {
		len = msg_length(in, &id);
		if (len && recv_all(fd, in + MSG_HEAD, len - MSG_HEAD)) {
			if (opt.work)
				usleep(opt.work);
			len = msg_response(in, len, opt.gen, getpid(), out);
			/* It fits the socket's buffer; a client that is gone is its own affair. */
			send(fd, out, len, MSG_NOSIGNAL);
		}
	}
	close(fd);
}

/* ---- workers ---- */

/* Signals come only while we wait: what is accepted is finished. */
static void wait_for(int fd, int ms, const sigset_t *open)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };
	struct pollfd p = { fd, POLLIN, 0 };

	ppoll(&p, fd >= 0, ms < 0 ? NULL : &t, open);
}

static void worker(int fd, int told, const sigset_t *open)
{
	char c = 0;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (fd < 0)
		fd = open_listener();
	if (write(told, &c, 1) != 1)
		exit(1);
	close(told);
	while (opt.hold && !go && !ending)
		wait_for(-1, -1, open);
	if (opt.accept_delay)
		wait_for(-1, opt.accept_delay, open);
	while (!ending) {
		int s = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (s >= 0)
			serve(s);
		/* A descriptor that is ready would keep signals away. */
		wait_for(s < 0 ? fd : -1, s < 0 ? -1 : 0, open);
	}
	if (opt.shutdown)
		shutdown(fd, SHUT_RDWR);
	close(fd);
	exit(0);
}

static pid_t pids[WORKERS_MAX];

static void start(int i, int fd, int told, const sigset_t *open)
{
	pids[i] = fork();
	if (pids[i] < 0)
		die("fork");
	if (!pids[i])
		worker(fd, told, open);
}

static void tell_all(int sig)
{
	for (int i = 0; i < opt.workers; i++)
		if (pids[i] > 0)
			kill(pids[i], sig);
}

/* Return: whether any worker is left. */
static bool reap(int fd, int told, const sigset_t *open)
{
	bool any = false;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < opt.workers; i++)
			if (pids[i] == pid) {
				pids[i] = 0;
				if (!ending && WIFSIGNALED(status))
					start(i, fd, told, open);
			}
	for (int i = 0; i < opt.workers; i++)
		any |= pids[i] > 0;
	return any;
}

static void master(void)
{
	struct sigaction sa = { .sa_handler = on_signal };
	int told[2], fd = -1;
	sigset_t open, all;
	char c;

	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGCHLD, &sa, NULL);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &open);
	if (pipe(told))
		die("pipe");
	if (opt.shared)
		fd = open_listener();
	for (int i = 0; i < opt.workers; i++)
		start(i, fd, told[1], &open);
	for (int i = 0; i < opt.workers; i++) {
		struct pollfd p = { told[0], POLLIN, 0 };

		/* A worker that fails has said why. */
		while (poll(&p, 1, 100) != 1)
			if (waitpid(-1, NULL, WNOHANG) > 0)
				exit(1);
		if (read(told[0], &c, 1) != 1)
			die("read");
	}
	printf("ready %d\n", getpid());
	fflush(stdout);
	while (reap(fd, told[1], &open)) {
		wait_for(-1, -1, &open);
		if (go)
			tell_all(SIGUSR1);
		if (ending) {
			if (fd >= 0 && opt.shutdown)
				shutdown(fd, SHUT_RDWR);
			close(fd);
			fd = -1;
			tell_all(SIGTERM);
		}
		go = 0;
	}
}

/* ---- options ---- */

enum {
	GEN = 1,
	WORKERS,
	SHARED,
	FAMILY,
	ADDR,
	BACKLOG,
	WORK,
	DELAY,
	HOLD,
	SHUT,
	FASTOPEN,
	DEFER,
	SAVE_SYN,
	MPTCP,
	DEVICE
};

static const struct option options[] = {
	{ "gen", 1, NULL, GEN },	   { "workers", 1, NULL, WORKERS },
	{ "shared", 0, NULL, SHARED },	   { "family", 1, NULL, FAMILY },
	{ "addr", 1, NULL, ADDR },	   { "backlog", 1, NULL, BACKLOG },
	{ "work", 1, NULL, WORK },	   { "accept-delay", 1, NULL, DELAY },
	{ "hold", 0, NULL, HOLD },	   { "shutdown", 0, NULL, SHUT },
	{ "fastopen", 0, NULL, FASTOPEN }, { "defer-accept", 0, NULL, DEFER },
	{ "save-syn", 0, NULL, SAVE_SYN }, { "mptcp", 0, NULL, MPTCP },
	{ "device", 1, NULL, DEVICE },	   { 0 },
};

static void option(int c)
{
	switch (c) {
	case GEN:
		opt.gen = optarg;
		break;
	case WORKERS:
		opt.workers = atoi(optarg);
		break;
	case SHARED:
		opt.shared = true;
		break;
	case FAMILY:
		opt.family = *optarg == '6' || optarg[1] ? AF_INET6 : AF_INET;
		opt.v4mapped = !strcmp(optarg, "46");
		break;
	case ADDR:
		opt.addr = optarg;
		break;
	case BACKLOG:
		opt.backlog = atoi(optarg);
		break;
	case WORK:
		opt.work = atoi(optarg);
		break;
	case DELAY:
		opt.accept_delay = atoi(optarg);
		break;
	case HOLD:
		opt.hold = true;
		break;
	case SHUT:
		opt.shutdown = true;
		break;
	case FASTOPEN:
		opt.fastopen = true;
		break;
	case DEFER:
		opt.defer_accept = true;
		break;
	case SAVE_SYN:
		opt.save_syn = true;
		break;
	case MPTCP:
		opt.mptcp = true;
		break;
	case DEVICE:
		opt.device = optarg;
		break;
	default:
		fputs(usage, stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
		option(c);
	if (optind + 1 != argc || opt.workers < 1 || opt.workers > WORKERS_MAX) {
		fputs(usage, stderr);
		return 2;
	}
	opt.port = atoi(argv[optind]);
	if (!opt.addr)
		opt.addr = opt.v4mapped ? "::" : opt.family == AF_INET6 ? "::1" : "127.0.0.1";
	master();
	return 0;
}
