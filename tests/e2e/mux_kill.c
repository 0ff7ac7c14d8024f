// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * mux_kill CASE - SIGKILL and SIGSTOP at random moments under load. Whoever is killed: the rest
 * does not stall, the next one starts at once on the same pinned mux, another mux does not notice,
 * and nothing is left over.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include "mux_kit.h"
#include "owner.h"

#define CLIENTS 8U
#define WORKERS 4U
#define ENOUGH	50U /* round trips that say that it works */

/* A mux and all that belongs to it; in memory that all processes share. */
struct side {
	struct kit k; /* k.m is that of the process */
	bool strict;  /* its connections never end */
	bool by_name; /* its workers come by the socket in /run */
	pid_t server, clients[CLIENTS], workers[WORKERS];
	uint32_t trips[CLIENTS];
	uint32_t opened; /* times that a server was ready */
	uint32_t lost;	 /* connections that ended */
};

static struct side *sides;

static void work(struct kcm_worker *w)
{
	struct kcm_msg msg;
	int n;

	/* SIGCONT ends an epoll_wait(). */
	while ((n = kcm_recv(w, &msg, 1, -1)) >= 0 || n == -EINTR) {
		if (n == 1 && msg.event == KCM_MESSAGE)
			kcm_send(w, msg.conn, msg.data, msg.len, 0);
		if (n == 1)
			kcm_release(w, &msg, 1);
	}
	CHECK_EQ(n, -EPIPE);
	kcm_worker_close(w);
	_exit(0);
}

/* Not kit_fork(): it outlives its parent, and is to find out by itself that this is dead. */
static pid_t worker_start(struct side *s)
{
	int fd = s->by_name ? -1 : kcm_mux_worker_fd(s->k.m), err;
	struct kcm_worker *w;
	pid_t pid = fork();

	if (pid) {
		if (fd >= 0)
			close(fd);
		return pid;
	}
	kit_only_fd(fd < 0 ? 2 : fd);
	err = fd < 0 ? kcm_worker_open(s->k.name, &w) : kcm_worker_open_fd(fd, &w);
	if (err == -EPIPE || err == -ENOENT)
		_exit(0); /* the owner is dead already */
	if (err)
		die("worker: %s", strerror(-err));
	work(w);
	_exit(1);
}

static void server(struct side *s)
{
	int err = kcm_mux_open(s->k.name, &s->k.m);

	if (err)
		die("kcm_mux_open after a kill: %s", strerror(-err));
	for (unsigned int i = 0; i < WORKERS; i++)
		s->workers[i] = worker_start(s);
	__atomic_fetch_add(&s->opened, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		int fd = accept4(s->k.lfd, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			die("accept: %s", strerror(errno));
		err = kcm_attach(s->k.m, fd, NULL, 0, NULL);
		if (err == -ENOTCONN || err == -EINVAL)
			close(fd); /* its client was killed */
		else if (err)
			die("attach: %s", strerror(-err));
	}
}

static void server_start(struct side *s)
{
	uint32_t opened = LOAD(&s->opened);
	pid_t pid = kit_fork();

	if (!pid)
		server(s);
	s->server = pid;
	WAIT_FOR(LOAD(&s->opened) == opened + 1);
}

/* One connection: ask, check the answer. Return: when it ends. */
static void converse(struct side *s, uint32_t i, int fd)
{
	uint8_t ask[3000], answer[3000];
	uint64_t seed = s->trips[i] * 100 + i;

	for (uint32_t num = 0;; num++) {
		size_t len = KIT_HEAD + rnd(&seed) % (sizeof(ask) - KIT_HEAD), got = 0;

		msg_make(ask, i, num, len);
		if (send(fd, ask, len, MSG_NOSIGNAL) != (ssize_t)len)
			return;
		while (got < len) {
			ssize_t r = recv(fd, answer + got, len - got, 0);

			if (r <= 0)
				return;
			got += (size_t)r;
		}
		CHECK(!memcmp(ask, answer, len));
		__atomic_fetch_add(&s->trips[i], 1, __ATOMIC_SEQ_CST);
	}
}

static pid_t client_start(struct side *s, uint32_t i)
{
	pid_t pid = kit_fork();

	if (pid)
		return pid;
	for (;;) {
		int fd = kit_dial(s->k.port, 1);

		converse(s, i, fd);
		close(fd);
		if (s->strict)
			die("client %u: its connection has ended", i);
		__atomic_fetch_add(&s->lost, 1, __ATOMIC_SEQ_CST);
	}
}

/* @but: clients that may be stuck. */
static void goes_on(struct side *s, unsigned int but)
{
	uint32_t from[CLIENTS];
	unsigned int ok = 0;

	for (uint32_t i = 0; i < CLIENTS; i++)
		from[i] = LOAD(&s->trips[i]);
	for (uint64_t end = now_ms() + KIT_WAIT; ok < CLIENTS - but;) {
		ok = 0;
		for (uint32_t i = 0; i < CLIENTS; i++)
			ok += LOAD(&s->trips[i]) - from[i] >= ENOUGH;
		if (now_ms() > end)
			die("only %u of %u clients go on", ok, CLIENTS);
		usleep(1000);
	}
}

static void side_create(struct side *s, bool strict, bool by_name)
{
	kit_open(&s->k, "u32be max=1M");
	kcm_mux_close(s->k.m);
	s->strict = strict;
	s->by_name = by_name;
}

static void side_start(struct side *s)
{
	server_start(s);
	for (uint32_t i = 0; i < CLIENTS; i++)
		s->clients[i] = client_start(s, i);
	goes_on(s, 0);
}

static void reap(pid_t pid)
{
	int status;

	for (uint64_t end = now_ms() + KIT_WAIT; waitpid(pid, &status, WNOHANG) == 0;) {
		if (now_ms() > end)
			die("process %d does not end", pid);
		usleep(1000);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status))
		die("process %d has failed", pid);
}

/* Workers find out that their owner is dead, and end by themselves. */
static void server_kill(struct side *s, bool wait_for_workers)
{
	pid_t workers[WORKERS];

	memcpy(workers, s->workers, sizeof(workers));
	kill(s->server, SIGKILL);
	CHECK(waitpid(s->server, NULL, 0) == s->server);
	if (!wait_for_workers)
		server_start(s);
	for (unsigned int i = 0; i < WORKERS; i++)
		reap(workers[i]);
	if (wait_for_workers)
		server_start(s);
}

static void side_stop(struct side *s)
{
	for (uint32_t i = 0; i < CLIENTS; i++) {
		kill(s->clients[i], SIGKILL);
		reap(s->clients[i]);
	}
	kill(s->server, SIGKILL);
	reap(s->server);
	for (unsigned int i = 0; i < WORKERS; i++)
		reap(s->workers[i]);
}

/* No socket of this port but those that wait for time to pass. */
static bool port_quiet(int port)
{
	static const char *const files[] = { "/proc/net/tcp", "/proc/net/tcp6" };
	char line[512];
	bool quiet = true;

	for (int i = 0; i < 2; i++) {
		FILE *f = fopen(files[i], "r");
		unsigned int lport, rport, state;

		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, " %*d: %*[^:]:%x %*[^:]:%x %x", &lport, &rport, &state) ==
			    3)
				quiet &= (lport != (unsigned)port && rport != (unsigned)port) ||
					 state == 6 || state == 10;
		if (f)
			fclose(f);
	}
	return quiet;
}

static bool map_gone(uint32_t id)
{
	int fd = bpf_map_get_fd_by_id(id);

	if (fd >= 0)
		close(fd);
	return fd < 0;
}

/* Pins, maps, sockets: none is left. */
static void side_delete(struct side *s)
{
	uint32_t ids[VIEW_MAPS];

	for (int i = 0; i < VIEW_MAPS; i++) {
		struct bpf_map_info info = { 0 };
		uint32_t len = sizeof(info);
		char path[256];
		int fd;

		snprintf(path, sizeof(path), "/sys/fs/bpf/kcm/mux/%s/%s", s->k.name,
			 view_map_names[i]);
		fd = bpf_obj_get(path);
		CHECK(fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len));
		ids[i] = info.id;
		close(fd);
	}
	WAIT_FOR(port_quiet(s->k.port));
	close(s->k.lfd);
	CHECK_EQ(kcm_mux_delete(s->k.name, 0), 0);
	for (int i = 0; i < VIEW_MAPS; i++)
		WAIT_FOR(map_gone(ids[i]));
	/* A killed owner can't remove its socket. The next owner would have; here there is none. */
	char path[256];
	snprintf(path, sizeof(path), "/run/kcm/mux/%s.sock", s->k.name);
	unlink(path);
}

static void sides_make(void)
{
	/* What a killed server leaves becomes our child. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sides = mmap(NULL, 2 * sizeof(*sides), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		     -1, 0);
	CHECK(sides != MAP_FAILED);
}

static void owner(bool by_name)
{
	uint64_t s = by_name;

	sides_make();
	side_create(&sides[0], false, by_name);
	side_create(&sides[1], true, false);
	side_start(&sides[0]);
	side_start(&sides[1]);
	for (int i = 0; i < 25; i++) {
		usleep((useconds_t)(rnd(&s) % 20000));
		if (i % 5 == 4) {
			/* Clients die too. */
			kill(sides[0].clients[i % CLIENTS], SIGKILL);
			reap(sides[0].clients[i % CLIENTS]);
			sides[0].clients[i % CLIENTS] = client_start(&sides[0], i % CLIENTS);
		}
		server_kill(&sides[0], i % 2);
		goes_on(&sides[0], 0);
		goes_on(&sides[1], 0);
	}
	printf("%u servers, %u connections lost\n", sides[0].opened, sides[0].lost);
	CHECK(sides[0].lost >= 25);
	CHECK_EQ(sides[1].lost, 0);
	side_stop(&sides[0]);
	side_stop(&sides[1]);
	side_delete(&sides[0]);
	side_delete(&sides[1]);
}

/* Workers with descriptors of their parent, as `kcmtool mux run` starts them. */
static void owner_parent(kit_args)
{
	owner(false);
}

static void owner_named(kit_args)
{
	owner(true);
}

/* The server stays; a client loses at most the answer that a dead worker had in hand. */
static void stopped_worker(kit_args)
{
	uint64_t s = 3;

	sides_make();
	side_create(&sides[0], true, true);
	side_start(&sides[0]);
	for (int i = 0; i < 30; i++) {
		pid_t pid = sides[0].workers[rnd(&s) % WORKERS];

		usleep((useconds_t)(rnd(&s) % 5000));
		kill(pid, SIGSTOP);
		goes_on(&sides[0], 1);
		kill(pid, SIGCONT);
		goes_on(&sides[0], 0);
	}
	side_stop(&sides[0]);
	side_delete(&sides[0]);
}

int main(int argc, char **argv)
{
	static const struct kit_case cases[] = {
		{ "owner-parent", owner_parent },
		{ "owner-named", owner_named },
		{ "stopped-worker", stopped_worker },
		{ 0 },
	};

	return kit_main(argc, argv, cases, 400);
}
