// SPDX-License-Identifier: GPL-2.0
/* Listeners, found among sockets of this very process, in a network namespace of its own. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <string.h>
#include <unistd.h>
#include "cmocka_all.h"
#include "listener.h"

#define PORT 27183 /* that no other program on the machine has: all namespaces are searched */

struct shape {
	int family, type, protocol;
	int reuseport, v6only, backlog, save_syn, fastopen, defer, incoming_cpu;
	const char *dev;
};

static void set(int fd, int level, int name, int value)
{
	assert_int_equal(setsockopt(fd, level, name, &value, sizeof(value)), 0);
}

static int open_socket(const struct shape *s, uint16_t port)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in a4 = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int type = s->type ? s->type : SOCK_STREAM;
	int fd = socket(s->family, type | SOCK_CLOEXEC, s->protocol);

	assert_true(fd >= 0);
	if (s->reuseport)
		set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (s->family == AF_INET6)
		set(fd, IPPROTO_IPV6, IPV6_V6ONLY, s->v6only);
	if (s->dev)
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, s->dev,
					    (socklen_t)strlen(s->dev)),
				 0);
	assert_int_equal(
		bind(fd, s->family == AF_INET6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4,
		     s->family == AF_INET6 ? sizeof(a6) : sizeof(a4)),
		0);
	if (type != SOCK_STREAM)
		return fd;
	if (s->save_syn)
		set(fd, IPPROTO_TCP, TCP_SAVE_SYN, s->save_syn);
	if (s->fastopen)
		set(fd, IPPROTO_TCP, TCP_FASTOPEN, s->fastopen);
	if (s->defer)
		set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, s->defer);
	if (s->incoming_cpu)
		set(fd, SOL_SOCKET, SO_INCOMING_CPU, s->incoming_cpu - 1);
	assert_int_equal(listen(fd, s->backlog ? s->backlog : 10), 0);
	return fd;
}

static size_t find(struct kcm_listener_filter f, struct kcm_listener **l)
{
	char err[128] = "";
	size_t n;

	f.port = f.port ? f.port : PORT;
	f.protocol = f.protocol ? f.protocol : IPPROTO_TCP;
	if (kcm_listeners_find(&f, l, &n, err, sizeof(err)))
		fail_msg("%s", err);
	return n;
}

static __u64 cookie_of(int fd)
{
	__u64 cookie = 0;
	socklen_t len = sizeof(cookie);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len), 0);
	return cookie;
}

static void every_setting_is_told(void **state)
{
	const struct shape s = { .family = AF_INET,
				 .reuseport = 1,
				 .backlog = 7,
				 .save_syn = 2,
				 .fastopen = 5,
				 .defer = 3,
				 .incoming_cpu = 1,
				 .dev = "lo" };
	int fd = open_socket(&s, PORT);
	struct kcm_listener_blind blind;
	char text[KCM_LISTENER_TEXT];
	struct kcm_listener *l;
	struct stat st;

	(void)state;
	assert_int_equal(find((struct kcm_listener_filter){ .blind = &blind }, &l), 1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(l->cookie, cookie_of(fd));
	assert_int_equal(l->inode, st.st_ino);
	assert_int_equal(l->uid, 0);
	assert_int_equal(l->ifindex, 1);
	assert_int_equal(l->port, PORT);
	assert_int_equal(l->protocol, IPPROTO_TCP);
	assert_int_equal(l->family, AF_INET);
	assert_memory_equal(l->addr, ((__u8[16]){ 127, 0, 0, 1 }), 16);
	assert_int_equal(l->backlog, 7);
	assert_int_equal(l->queue, 0);
	assert_int_equal(l->half_open, 0);
	assert_int_equal(l->dup_err, 0);
	assert_int_equal(l->reuseport, 1);
	assert_int_equal(l->mptcp, 0);
	assert_int_equal(l->md5, 0);
	assert_int_equal(l->save_syn, 2);
	assert_int_equal(l->fastopen, 5);
	assert_true(l->defer_accept >= 3); /* rounded up to a number of retransmits */
	assert_int_equal(l->incoming_cpu, 0);
	assert_int_equal(l->reuseport_prog, KCM_LISTENER_UNKNOWN);
	assert_int_equal(l->n_owners, 1);
	assert_int_equal(l->owners[0].pid, getpid());
	assert_int_equal(l->owners[0].fd, fd);
	assert_string_equal(l->owners[0].comm, "test_listener");
	assert_true(l->owners[0].start_ns > 0);
	assert_int_equal(blind.netns, 0);
	assert_int_equal(blind.processes, 0);
	assert_int_equal(stat("/proc/self/ns/net", &st), 0);
	assert_int_equal(l->netns_inode, st.st_ino);
	assert_true(l->netns_cookie > 0);
	assert_string_equal(kcm_listener_text(l, text), "127.0.0.1:27183 dev 1");
	kcm_listeners_free(l, 1);
	close(fd);
}

static void groups_are_as_the_kernel_makes_them(void **state)
{
	const struct shape shapes[] = {
		{ .family = AF_INET, .reuseport = 1 },
		{ .family = AF_INET, .reuseport = 1, .dev = "lo" },
		{ .family = AF_INET6, .reuseport = 1, .v6only = 1 },
		{ .family = AF_INET6, .reuseport = 1, .v6only = 0, .dev = "lo" },
		{ .family = AF_INET, .reuseport = 1, .save_syn = 1 },
	};
	struct kcm_listener *l;
	int fd[5];

	(void)state;
	for (size_t i = 0; i < 5; i++)
		fd[i] = open_socket(&shapes[i], PORT);
	assert_int_equal(find((struct kcm_listener_filter){ 0 }, &l), 5);
	/* AF_INET first: no device, twice, in any order; then the device; AF_INET6 by V6ONLY. */
	assert_true(l[0].cookie == cookie_of(fd[0]) || l[0].cookie == cookie_of(fd[4]));
	assert_true(l[1].cookie == cookie_of(fd[0]) || l[1].cookie == cookie_of(fd[4]));
	assert_true(l[0].cookie < l[1].cookie);
	assert_int_equal(l[2].cookie, cookie_of(fd[1]));
	assert_int_equal(l[3].cookie, cookie_of(fd[3]));
	assert_int_equal(l[4].cookie, cookie_of(fd[2]));
	assert_int_equal(l[4].v6only, 1);
	assert_int_equal(l[3].v6only, 0);
	assert_int_equal(kcm_listener_group_cmp(&l[0], &l[1]), 0);
	for (size_t i = 1; i + 1 < 5; i++)
		assert_true(kcm_listener_group_cmp(&l[i], &l[i + 1]) < 0);
	kcm_listeners_free(l, 5);
	for (size_t i = 0; i < 5; i++)
		close(fd[i]);
}

static void mptcp_and_keys_are_told(void **state)
{
	struct tcp_md5sig key = { .tcpm_keylen = 3, .tcpm_key = "key" };
	struct sockaddr_in peer = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct shape s = { .family = AF_INET, .protocol = 262 };
	struct kcm_listener *l;
	int fd = socket(AF_INET, SOCK_STREAM, 262), dup;

	(void)state;
	if (fd < 0)
		skip();
	close(fd);
	fd = open_socket(&s, PORT);
	assert_int_equal(find((struct kcm_listener_filter){ 0 }, &l), 1);
	assert_int_equal(l->mptcp, 1);
	assert_int_equal(l->dup_err, 0);
	dup = kcm_listener_dup(l);
	assert_true(dup >= 0);
	close(dup);
	kcm_listeners_free(l, 1);
	close(fd);
	s.protocol = 0;
	fd = open_socket(&s, PORT);
	memcpy(&key.tcpm_addr, &peer, sizeof(peer));
	if (!setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &key, sizeof(key))) {
		assert_int_equal(find((struct kcm_listener_filter){ 0 }, &l), 1);
		assert_int_equal(l->md5, 1);
		assert_int_equal(l->mptcp, 0);
		kcm_listeners_free(l, 1);
	}
	close(fd);
}

static void udp_is_found_unless_it_has_a_peer(void **state)
{
	const struct shape s = { .family = AF_INET6, .type = SOCK_DGRAM, .reuseport = 1 };
	int bound = open_socket(&s, PORT), flow = open_socket(&s, PORT);
	struct sockaddr_in6 a = { .sin6_family = AF_INET6,
				  .sin6_port = htons(PORT),
				  .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct kcm_listener *l;

	(void)state;
	assert_int_equal(connect(flow, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(find((struct kcm_listener_filter){ .protocol = IPPROTO_UDP }, &l), 1);
	assert_int_equal(l->cookie, cookie_of(bound));
	assert_int_equal(l->protocol, IPPROTO_UDP);
	assert_int_equal(l->reuseport, 1);
	kcm_listeners_free(l, 1);
	assert_int_equal(find((struct kcm_listener_filter){ 0 }, &l), 0);
	kcm_listeners_free(l, 0);
	close(bound);
	close(flow);
}

static void queued_connections_are_counted(void **state)
{
	const struct shape s = { .family = AF_INET, .backlog = 4 };
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(PORT),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = open_socket(&s, PORT), client[3];
	struct kcm_listener *l;

	(void)state;
	for (int i = 0; i < 3; i++) {
		client[i] = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(connect(client[i], (struct sockaddr *)&a, sizeof(a)), 0);
	}
	assert_int_equal(find((struct kcm_listener_filter){ 0 }, &l), 1);
	assert_int_equal(l->queue, 3);
	assert_int_equal(l->backlog, 4);
	kcm_listeners_free(l, 1);
	for (int i = 0; i < 3; i++)
		close(client[i]);
	close(fd);
}

/* A child that makes its own listener in another namespace, and waits. Return: its pid. */
static pid_t child(const struct shape *s, bool own_namespace)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (own_namespace && unshare(CLONE_NEWNET))
			_exit(1);
		open_socket(s, PORT);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(0);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void processes_and_namespaces_are_told_apart(void **state)
{
	const struct shape s = { .family = AF_INET, .reuseport = 1 };
	int fd = open_socket(&s, PORT);
	pid_t here = child(&s, false), there = child(&s, true);
	struct kcm_listener_env env[2] = { 0 };
	struct kcm_listener *l, *mine, *theirs;
	struct stat st;

	(void)state;
	assert_int_equal(find((struct kcm_listener_filter){ 0 }, &l), 3);
	mine = &l[l[0].cookie != cookie_of(fd)];
	theirs = &l[l[0].cookie == cookie_of(fd)];
	assert_int_equal(mine->cookie, cookie_of(fd));
	assert_int_equal(mine->n_owners, 3); /* both children have it, too */
	assert_int_equal(theirs->n_owners, 1);
	assert_int_equal(theirs->owners[0].pid, here);
	assert_int_equal(l[2].owners[0].pid, there);
	assert_true(l[2].netns_cookie && l[2].netns_cookie != l[1].netns_cookie);
	env[0].netns_inode = l[0].netns_inode;
	env[1].netns_inode = l[2].netns_inode;
	assert_int_equal(kcm_listener_env(env, 2), 0);
	for (int i = 0; i < 2; i++) {
		assert_true(env[i].entered);
		assert_true(env[i].somaxconn > 0);
		assert_int_equal(env[i].syncookies_sent, 0);
	}
	assert_int_equal(stat("/proc/self/ns/net", &st), 0);
	assert_int_equal(st.st_ino, env[0].netns_inode); /* we are where we were */
	kcm_listeners_free(l, 3);

	assert_int_equal(find((struct kcm_listener_filter){ .pid = there }, &l), 2);
	kcm_listeners_free(l, 2); /* its own, and what it has from us */
	assert_int_equal(find((struct kcm_listener_filter){ .pid = getpid() }, &l), 1);
	kcm_listeners_free(l, 1);
	assert_int_equal(
		find((struct kcm_listener_filter){ .pid = getpid(), .children = true }, &l), 3);
	end(there);
	end(here);
	assert_int_equal(kcm_listener_dup(&l[2]), -ENOENT);
	close(fd);
	for (int i = 0; i < 2; i++)
		assert_int_equal(kcm_listener_dup(&l[i]), -ENOENT);
	kcm_listeners_free(l, 3);
	assert_int_equal(find((struct kcm_listener_filter){ 0 }, &l), 0);
	kcm_listeners_free(l, 0);
}

static void bad_filters_are_refused(void **state)
{
	const struct {
		struct kcm_listener_filter f;
		int err;
	} cases[] = {
		{ { .protocol = IPPROTO_TCP }, -EINVAL },
		{ { .port = PORT }, -EINVAL },
		{ { .port = PORT, .protocol = IPPROTO_SCTP }, -EINVAL },
		{ { .port = PORT, .protocol = IPPROTO_TCP, .pid = 0x3fffffff }, -ESRCH },
		{ { .port = PORT, .protocol = IPPROTO_TCP, .pid = -1 }, -ESRCH },
		{ { .port = PORT, .protocol = IPPROTO_TCP, .cgroup = "/proc" }, -ENOTTY },
		{ { .port = PORT, .protocol = IPPROTO_TCP, .cgroup = "no/such" }, -ENOENT },
		{ { .port = PORT, .protocol = IPPROTO_TCP, .cgroup_id = ~0ULL }, -ENOENT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct kcm_listener *l = (void *)1;
		char err[128] = "";
		size_t n = 1;

		assert_int_equal(kcm_listeners_find(&cases[i].f, &l, &n, err, sizeof(err)),
				 cases[i].err);
		assert_true(*err && !strchr(err, '\n'));
		assert_null(l);
		assert_int_equal(n, 0);
		assert_int_equal(kcm_listeners_find(&cases[i].f, &l, &n, NULL, 0), cases[i].err);
	}
}

static int own_namespace(void **state)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd;

	(void)state;
	if (unshare(CLONE_NEWNET))
		return -1;
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo))
		return -1;
	return close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_setting_is_told),
		cmocka_unit_test(groups_are_as_the_kernel_makes_them),
		cmocka_unit_test(mptcp_and_keys_are_told),
		cmocka_unit_test(udp_is_found_unless_it_has_a_peer),
		cmocka_unit_test(queued_connections_are_counted),
		cmocka_unit_test(processes_and_namespaces_are_told_apart),
		cmocka_unit_test(bad_filters_are_refused),
	};

	return cmocka_run_group_tests(tests, own_namespace, NULL);
}
