// SPDX-License-Identifier: GPL-2.0
/* migrate keep, park, unpark: hold the anchors of an instance; send new connections there. */
#include <bpf/libbpf.h>
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include "cmd_migrate.h"
#include "keeper.h"

#define HEARTBEAT_NS 5000000000ULL
#define PARK_S	     10

static int on_wake(void *ctx, void *data, size_t size)
{
	(void)ctx, (void)data, (void)size; /* what happened is in the state */
	return 0;
}

/* Look at all groups. Return: milliseconds until the next look. */
static int look(struct keeper *k)
{
	__u64 now_ns = anchor_now(), next = now_ns + HEARTBEAT_NS;

	if (mg_is_udp(k->v.mg))
		next = keeper_udp_look(k, now_ns);
	for (int i = 0; i < KCM_MG_GROUPS && !mg_is_udp(k->v.mg); i++) {
		__u64 at = keeper_look(k, i, now_ns);

		if (at && at < next)
			next = at;
	}
	__atomic_store_n(&k->v.mg->ctl.keeper_seen_ns, now_ns, __ATOMIC_RELEASE);
	return next <= now_ns ? 1 : (int)((next - now_ns) / 1000000) + 1;
}

static bool detached(const struct keeper *k)
{
	struct stat st;

	return stat(k->v.dir, &st) && errno == ENOENT;
}

static int loop(struct keeper *k, int signals)
{
	struct ring_buffer *rb = ring_buffer__new(k->v.wake_fd, on_wake, NULL, NULL);
	_cleanup_fd_ int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev = { .events = EPOLLIN }, got;
	int err = rb && ep >= 0 ? 0 : -errno;

	if (!err && (epoll_ctl(ep, EPOLL_CTL_ADD, ring_buffer__epoll_fd(rb), &ev) ||
		     epoll_ctl(ep, EPOLL_CTL_ADD, signals, &ev)))
		err = -errno;
	for (bool first = true; !err && !detached(k); first = false) {
		struct signalfd_siginfo si;
		int wait_ms = look(k);

		if (first)
			keeper_ready();
		if (epoll_wait(ep, &got, 1, wait_ms) < 0 && errno != EINTR)
			err = -errno;
		ring_buffer__consume(rb);
		if (read(signals, &si, sizeof(si)) == sizeof(si) && si.ssi_signo != SIGUSR1)
			break;
	}
	ring_buffer__free(rb);
	return err;
}

/* What a keeper that was killed has left, and what systemd has kept for us. */
static void take_over(struct keeper *k)
{
	int fds[KCM_MG_GROUPS * 2], n = keeper_stored(fds, ARRAY_LEN(fds));
	__u64 old[64];
	size_t n_old;

	for (int i = 0; i < n; i++) {
		struct mg_anchor a = MG_ANCHOR_NONE;
		int group = anchor_adopt(&k->v, fds[i], &a);

		if (group < 0 || k->group[group].anchor.fd >= 0) {
			close(fds[i]); /* what waits there migrates */
			continue;
		}
		k->group[group].anchor = a;
		anchor_publish(&k->v, group, &a);
	}
	n_old = anchor_list(&k->v, old, ARRAY_LEN(old));
	for (size_t i = 0; i < n_old; i++) {
		bool ours = false;

		for (int g = 0; g < KCM_MG_GROUPS; g++)
			ours |= k->group[g].anchor.fd >= 0 && k->group[g].anchor.cookie == old[i];
		if (!ours)
			anchor_forget(&k->v, old[i]);
	}
	for (int i = 0; i < KCM_MG_GROUPS; i++)
		if (k->group[i].anchor.fd < 0)
			anchor_publish(&k->v, i, NULL);
}

static int block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int keep(struct keeper *k)
{
	_cleanup_fd_ int signals = block_signals();
	unsigned int lost;
	int err;

	if (signals < 0)
		return report(PROBLEM(.err = errno), "cannot wait for signals");
	__atomic_store_n(&k->v.mg->ctl.keeper_pid, (__u32)getpid(), __ATOMIC_RELEASE);
	if (!mg_is_udp(k->v.mg)) {
		__atomic_store_n(&k->v.mg->ctl.anchor, 1ULL, __ATOMIC_RELEASE);
		take_over(k);
	}
	err = loop(k, signals);
	__atomic_store_n(&k->v.mg->ctl.keeper_pid, 0U, __ATOMIC_RELEASE);
	/* A unit that starts again gets them back; one that does not, systemd closes them. */
	if (keeper_by_systemd() && !detached(k))
		return err ? report(PROBLEM(.err = err, .where = k->name), "cannot keep anchors")
			   : 0;
	lost = keeper_end(k);
	if (lost)
		warn("%u connections waited, and nobody listens: they were reset", lost);
	return err ? report(PROBLEM(.err = err, .where = k->name), "cannot keep anchors") : 0;
}

int migrate_keep(const struct cmd_args *args)
{
	static struct keeper k;
	int lock, code;

	prctl(PR_SET_NAME, "kcmtool"); /* it was started as /proc/self/exe */
	k.v = (struct mg_view)MG_VIEW_NONE;
	k.name = args->pos[0];
	for (int i = 0; i < KCM_MG_GROUPS; i++) {
		k.group[i].anchor = (struct mg_anchor)MG_ANCHOR_NONE;
		k.group[i].retiring = (struct mg_anchor)MG_ANCHOR_NONE;
	}
	code = migrate_open(&k.v, k.name, true);
	if (code)
		return code;
	lock = keeper_lock(k.name);
	if (lock < 0) {
		int pid = keeper_pid(k.name);

		mg_view_close(&k.v);
		if (lock == -EBUSY)
			return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = k.name,
					      .next = "kcmtool migrate show"),
				      "process %d holds its anchors", pid);
		return report(PROBLEM(.err = lock, .where = "/run/kcm"), "cannot keep anchors");
	}
	if (!k.v.mg->ctl.anchor_backlog) {
		k.v.mg->ctl.anchor_backlog = ANCHOR_BACKLOG;
		k.v.mg->ctl.anchor_time_ms = ANCHOR_TIME_S * 1000;
	}
	code = keep(&k);
	keeper_unlock(k.name, lock);
	mg_view_close(&k.v);
	return code;
}

/* ---- park ---- */

const struct cmd_opt migrate_park_opts[] = {
	{ .name = "time",
	  .value = "SECONDS",
	  .help = "at most so long, 10; or until a new generation listens, or the last listener "
		  "has closed",
	  .dashed = true },
	{ 0 }
};

static int park(const char *name, uint64_t seconds)
{
	_cleanup_migrate_ struct mg_view v = MG_VIEW_NONE;
	int code = migrate_open(&v, name, true), n = 0;

	if (code)
		return code;
	if (mg_is_udp(v.mg))
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = name,
				      .why = "UDP has no connections that could wait",
				      .next = "kcmtool migrate generation drain"),
			      "nothing to park");
	if (seconds && keeper_pid(name) <= 0)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = name,
				      .next = "kcmtool migrate keep, or attach --anchor"),
			      "nobody holds an anchor to park at");
	for (int i = 0; i < KCM_MG_GROUPS; i++) {
		struct kcm_mg_group *g = &v.mg->group[i];

		if (!migrate_group_used(v.mg, i))
			continue;
		n++;
		if (!seconds) {
			__atomic_fetch_and(&g->flags, ~(__u32)KCM_MG_GROUP_DIVERT,
					   __ATOMIC_ACQ_REL);
			continue;
		}
		g->divert_id = g->last_id;
		g->divert_emptied = g->emptied;
		__atomic_store_n(&g->divert_until_ns, anchor_now() + seconds * 1000000000ULL,
				 __ATOMIC_RELEASE);
		__atomic_fetch_or(&g->flags, KCM_MG_GROUP_DIVERT, __ATOMIC_ACQ_REL);
	}
	keeper_wake(name); /* it sleeps until something happens */
	return n ? 0
		 : report(PROBLEM(.code = KCM_EXIT_FAILED, .where = name), "it has no group yet");
}

int migrate_park(const struct cmd_args *args)
{
	uint64_t seconds;
	int code = args_u64(args, "time", 1, 3600, PARK_S, &seconds);

	return code ?: park(args->pos[0], seconds);
}

int migrate_unpark(const struct cmd_args *args)
{
	return park(args->pos[0], 0);
}
