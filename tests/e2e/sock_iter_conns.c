// SPDX-License-Identifier: GPL-2.0
/*
 * sock_iter_conns - connections to look at.
 *
 *	sock_iter_conns hold PORT N	open N connections (2 N sockets, and a listener for each
 *					process), print "ready", keep them until stdin ends
 *	sock_iter_conns churn PORT	open and close connections until stdin ends, then print how
 *					many there were
 *
 * The client sends BYTES(its port) at once, the server 2 * BYTES(): a record that is mixed from two
 * connections shows. As many processes share the work as the limit of open files makes necessary.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES(port) ((port) % 1000 + 1)
#define PER_IP	    20000 /* connections from one address: fewer than ephemeral ports */
#define AT_A_TIME   16

static void die(const char *what)
{
	fprintf(stderr, "sock_iter_conns: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct sockaddr_in address(unsigned int ip, unsigned int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons((uint16_t)port),
				     .sin_addr.s_addr = htonl(ip) };
}

static int listen_on(unsigned int port)
{
	struct sockaddr_in a = address(INADDR_LOOPBACK, port);
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (void *)&a, sizeof(a)) || listen(fd, 1024))
		die("listen");
	return fd;
}

static void send_all(int fd, unsigned int n)
{
	static const char bytes[2 * BYTES(999)];

	if (send(fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n)
		die("send");
}

static void receive_all(int fd, unsigned int n)
{
	static char bytes[2 * BYTES(999)];

	if (recv(fd, bytes, n, MSG_WAITALL) != (ssize_t)n)
		die("receive");
}

/* A connection whose two ends have sent what they send. */
static void connect_pair(int listener, unsigned int port, unsigned int ip, int ends[2])
{
	struct sockaddr_in to = address(INADDR_LOOPBACK, port), own = address(ip, 0);
	socklen_t len = sizeof(own);
	int one = 1;

	ends[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (ends[0] < 0 ||
	    setsockopt(ends[0], SOL_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &one, sizeof(one)) ||
	    bind(ends[0], (void *)&own, sizeof(own)) || connect(ends[0], (void *)&to, sizeof(to)) ||
	    getsockname(ends[0], (void *)&own, &len))
		die("connect");
	ends[1] = accept(listener, NULL, NULL);
	if (ends[1] < 0)
		die("accept");
	send_all(ends[0], BYTES(ntohs(own.sin_port)));
	send_all(ends[1], 2 * BYTES(ntohs(own.sin_port)));
	receive_all(ends[1], BYTES(ntohs(own.sin_port)));
	receive_all(ends[0], 2 * BYTES(ntohs(own.sin_port)));
}

static void wait_for_end(void)
{
	char c;

	while (read(STDIN_FILENO, &c, 1) > 0)
		;
}

/* One process's share: the parent waits for its byte. */
static void hold_share(unsigned int port, unsigned int n, unsigned int ip, int ready)
{
	int listener = listen_on(port), ends[2];

	for (unsigned int i = 0; i < n; i++)
		connect_pair(listener, port, ip + i / PER_IP, ends);
	if (write(ready, "", 1) != 1)
		die("write");
	wait_for_end();
	_exit(0);
}

static int hold(unsigned int port, unsigned int n)
{
	struct rlimit files;
	unsigned int share, n_shares = 0;
	int ready[2];
	char c;

	if (getrlimit(RLIMIT_NOFILE, &files) || pipe(ready))
		die("pipe");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files))
		die("setrlimit");
	share = (unsigned int)(files.rlim_max - 32) / 2;
	for (unsigned int done = 0; done < n; done += share, n_shares++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (!pid)
			hold_share(port + n_shares, n - done < share ? n - done : share,
				   INADDR_LOOPBACK + ((1 + 8 * n_shares) << 8), ready[1]);
	}
	close(ready[1]);
	for (unsigned int i = 0; i < n_shares; i++)
		if (read(ready[0], &c, 1) != 1)
			return 1;
	printf("ready\n");
	fflush(stdout);
	while (wait(NULL) > 0)
		;
	return 0;
}

static int churn(unsigned int port)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	int listener = listen_on(port), ends[AT_A_TIME][2];
	struct linger abort = { .l_onoff = 1 };
	unsigned long n = 0;

	printf("ready\n");
	fflush(stdout);
	while (!poll(&in, 1, 0)) {
		unsigned int ip = INADDR_LOOPBACK + 256 + (unsigned int)(n / AT_A_TIME % 60000);

		for (int i = 0; i < AT_A_TIME; i++)
			connect_pair(listener, port, ip, ends[i]);
		/* Some by FIN, some by RST; neither leaves TIME_WAIT: that would use up ports. */
		for (int i = 0; i < AT_A_TIME; i++, n++) {
			if (setsockopt(ends[i][n & 1], SOL_SOCKET, SO_LINGER, &abort,
				       sizeof(abort)))
				die("setsockopt");
			close(ends[i][n & 1]);
			close(ends[i][~n & 1]);
		}
	}
	printf("%lu\n", n);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "hold"))
		return hold((unsigned int)atoi(argv[2]), (unsigned int)atoi(argv[3]));
	if (argc == 3 && !strcmp(argv[1], "churn"))
		return churn((unsigned int)atoi(argv[2]));
	fprintf(stderr, "usage: sock_iter_conns hold PORT N | churn PORT\n");
	return 2;
}
