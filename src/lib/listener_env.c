// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* listener_env.c - sysctls and counters of network namespaces. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include "../util.h"
#include "listener_part.h"

struct env_job {
	struct kcm_listener_env *env;
	size_t n;
};

/* /proc/sys/net is of the namespace of the thread that opens it. */
static int sysctl(const char *path)
{
	_cleanup_file_ FILE *f = fopen(path, "re");
	int value;

	return f && fscanf(f, "%d", &value) == 1 ? value : -1;
}

/* Of "TcpExt: NAME NAME..." and below it "TcpExt: 1 2...". */
static void counters(struct kcm_listener_env *e)
{
	const struct {
		const char *name;
		long long *value;
	} wanted[] = {
		{ "SyncookiesSent", &e->syncookies_sent },
		{ "ListenOverflows", &e->listen_overflows },
		{ "ListenDrops", &e->listen_drops },
		{ "TCPMigrateReqSuccess", &e->migrate_success },
		{ "TCPMigrateReqFailure", &e->migrate_failure },
	};
	_cleanup_file_ FILE *f = fopen("/proc/thread-self/net/netstat", "re");
	_cleanup_free_ char *names = NULL, *values = NULL;
	char *at_name, *at_value, *name, *value;
	size_t size[2] = { 0 };

	while (f && getline(&names, &size[0], f) > 0 && getline(&values, &size[1], f) > 0) {
		if (strncmp(names, "TcpExt:", 7) != 0)
			continue;
		name = strtok_r(names, " \n", &at_name);
		value = strtok_r(values, " \n", &at_value);
		while (name && value) {
			for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
				if (streq(name, wanted[i].name))
					*wanted[i].value = strtoll(value, NULL, 10);
			name = strtok_r(NULL, " \n", &at_name);
			value = strtok_r(NULL, " \n", &at_value);
		}
	}
}

static void read_here(struct kcm_listener_env *e)
{
	e->entered = true;
	e->somaxconn = sysctl("/proc/sys/net/core/somaxconn");
	e->migrate_req = sysctl("/proc/sys/net/ipv4/tcp_migrate_req");
	e->abort_on_overflow = sysctl("/proc/sys/net/ipv4/tcp_abort_on_overflow");
	e->syncookies = sysctl("/proc/sys/net/ipv4/tcp_syncookies");
	e->max_syn_backlog = sysctl("/proc/sys/net/ipv4/tcp_max_syn_backlog");
	e->fastopen = sysctl("/proc/sys/net/ipv4/tcp_fastopen");
	e->synack_retries = sysctl("/proc/sys/net/ipv4/tcp_synack_retries");
	counters(e);
}

static int each(void *arg)
{
	struct env_job *job = arg;
	struct netns_list ns;
	int err = netns_list(&ns);

	if (err)
		return err;
	/* Our own is first: from others there may be no way back to it. */
	for (size_t k = 0; k < ns.n; k++)
		for (size_t i = 0; i < job->n; i++)
			if (job->env[i].netns_inode == ns.ns[k].inode &&
			    (ns.ns[k].fd < 0 || !setns(ns.ns[k].fd, CLONE_NEWNET)))
				read_here(&job->env[i]);
	netns_free(&ns);
	return 0;
}

int kcm_listener_env(struct kcm_listener_env *env, size_t n)
{
	struct env_job job = { env, n };

	for (size_t i = 0; i < n; i++)
		env[i] = (struct kcm_listener_env){
			.netns_inode = env[i].netns_inode,
			.somaxconn = -1,
			.migrate_req = -1,
			.abort_on_overflow = -1,
			.syncookies = -1,
			.max_syn_backlog = -1,
			.fastopen = -1,
			.synack_retries = -1,
			.syncookies_sent = -1,
			.listen_overflows = -1,
			.listen_drops = -1,
			.migrate_success = -1,
			.migrate_failure = -1,
		};
	return n ? listener_thread(each, &job) : 0;
}
