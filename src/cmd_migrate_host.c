// SPDX-License-Identifier: GPL-2.0
/* migrate check: the rules about the kernel, its settings, and missing privilege. */
#include <errno.h>
#include <netinet/in.h>
#include "cmd_migrate_check.h"
#include "log.h"

#define MIGRATES_MAJOR 5
#define MIGRATES_MINOR 14
#define OURS_MAJOR     6
#define OURS_MINOR     1

const struct kcm_listener_env *migrate_env_of(const struct migrate_check_in *in,
					      const struct kcm_listener *l)
{
	for (size_t i = 0; i < in->n_env; i++)
		if (in->env[i].netns_inode == l->netns_inode && in->env[i].entered)
			return &in->env[i];
	return NULL;
}

static bool older(const struct migrate_check_in *in, unsigned int major, unsigned int minor)
{
	return in->major && (in->major < major || (in->major == major && in->minor < minor));
}

static void kernel(const struct migrate_check_in *in, struct migrate_findings *out)
{
	struct migrate_finding *f;

	if (in->protocol != IPPROTO_TCP || !older(in, OURS_MAJOR, OURS_MINOR))
		return;
	if (older(in, MIGRATES_MAJOR, MIGRATES_MINOR)) {
		f = migrate_add(out, MIGRATE_LOSS, "kernel", "Linux 6.1 or newer");
		migrate_why(f, "connections migrate since Linux 5.14: here they end with their "
			       "listener");
	} else {
		f = migrate_add(out, MIGRATE_WARN, "kernel",
				"Linux 6.1 or newer; until then sysctl -w "
				"net.ipv4.tcp_migrate_req=1");
		migrate_why(f,
			    "our selector needs Linux 6.1: here only the kernel's hash migrates");
	}
	snprintf(f->where, sizeof(f->where), "Linux %u.%u", in->major, in->minor);
}

static void nobody(const struct migrate_check_in *in, struct migrate_findings *out)
{
	struct migrate_finding *f;

	if (in->n)
		return;
	f = migrate_add(out, MIGRATE_LOSS, "listener",
			"start the server; is it this port, and --udp?");
	snprintf(f->where, sizeof(f->where), "%s port %u",
		 in->protocol == IPPROTO_TCP ? "TCP" : "UDP", in->port);
	migrate_why(f, "nobody listens there: clients are refused now");
}

/* ---- settings of a namespace; @l is a listener in it ---- */

static void where_env(struct migrate_finding *f, const struct kcm_listener_env *e)
{
	snprintf(f->where, sizeof(f->where), "net:[%llu]", (unsigned long long)e->netns_inode);
}

static void syncookies(const struct migrate_check_in *in, const struct kcm_listener_env *e,
		       struct migrate_findings *out)
{
	static const char text[] = "a handshake by cookie leaves no request that could migrate: it "
				   "fails if the group is gone when its ACK comes";
	const struct kcm_listener *full = NULL;
	struct migrate_finding *f;

	for (size_t i = 0; i < in->n && !full; i++)
		if (in->l[i].netns_inode == e->netns_inode &&
		    in->l[i].half_open >= in->l[i].backlog && in->l[i].half_open)
			full = &in->l[i];
	if (e->syncookies == 2) {
		f = migrate_add(out, MIGRATE_WARN, "syncookies",
				"sysctl -w net.ipv4.tcp_syncookies=1");
		migrate_why(f, "net.ipv4.tcp_syncookies=2: %s", text);
	} else if (e->syncookies == 1 && full) {
		f = migrate_add(out, MIGRATE_WARN, "syncookies", "listen() with a larger backlog");
		migrate_why(f, "%u half-open requests at a backlog of %u, cookies are sent: %s",
			    full->half_open, full->backlog, text);
	} else if (e->syncookies == 1 && e->syncookies_sent > 0) {
		f = migrate_add(out, MIGRATE_OK, "syncookies", "listen() with a larger backlog");
		migrate_why(f, "%lld cookies were sent since boot, none seem to be now: %s",
			    e->syncookies_sent, text);
	} else {
		return;
	}
	where_env(f, e);
}

static void overflow(const struct kcm_listener_env *e, struct migrate_findings *out)
{
	struct migrate_finding *f;

	if (e->abort_on_overflow != 1)
		return;
	f = migrate_add(out, MIGRATE_WARN, "abort_on_overflow",
			"sysctl -w net.ipv4.tcp_abort_on_overflow=0");
	where_env(f, e);
	migrate_why(f, "net.ipv4.tcp_abort_on_overflow=1: a handshake that meets a full queue is "
		       "reset, where it could be tried again");
}

static void fastopen(const struct migrate_check_in *in, const struct kcm_listener_env *e,
		     struct migrate_findings *out)
{
	struct migrate_finding *f;

	for (size_t i = 0; i < in->n; i++) {
		if (in->l[i].netns_inode != e->netns_inode || in->l[i].fastopen <= 0 ||
		    e->fastopen < 0 || e->fastopen & 2)
			continue;
		f = migrate_add(out, MIGRATE_WARN, "tcp_fastopen",
				"sysctl -w net.ipv4.tcp_fastopen=3");
		migrate_where(f, &in->l[i]);
		migrate_why(f,
			    "it asks for TCP_FASTOPEN, net.ipv4.tcp_fastopen=%d denies it: data "
			    "in a SYN is sent again",
			    e->fastopen);
		return;
	}
}

/* ---- privilege ---- */

static void hidden(const struct migrate_check_in *in, const struct kcm_listener *l,
		   struct migrate_findings *out)
{
	struct migrate_finding *f;

	if (l->dup_err == -ENOENT && l->n_owners)
		return; /* it ended meanwhile */
	if (l->dup_err && (l->dup_err != -ENOENT || in->blind.processes)) {
		f = migrate_add(out, MIGRATE_UNKNOWN, "settings",
				"as root, or with CAP_SYS_PTRACE");
		migrate_where(f, l);
		migrate_why(f,
			    "no duplicate of the socket (pidfd_getfd: %s): SO_REUSEPORT, "
			    "TCP_SAVE_SYN, TCP_FASTOPEN, TCP_DEFER_ACCEPT are not known",
			    l->n_owners ? log_errno(l->dup_err) : "its process is hidden");
	} else if (l->dup_err) {
		f = migrate_add(out, MIGRATE_WARN, "owner", NULL);
		migrate_where(f, l);
		migrate_why(f, "no process is seen to have it: it is the kernel's, or in another "
			       "pid namespace");
	}
	if (l->md5 == KCM_LISTENER_UNKNOWN) {
		f = migrate_add(out, MIGRATE_UNKNOWN, "md5", "as root, or with CAP_NET_ADMIN");
		migrate_where(f, l);
		migrate_why(f, "whether it has TCP_MD5SIG keys is told with CAP_NET_ADMIN only");
	}
}

static void blind(const struct migrate_check_in *in, struct migrate_findings *out)
{
	struct migrate_finding *f;

	if (in->blind.netns) {
		f = migrate_add(out, MIGRATE_UNKNOWN, "netns", "as root, or with CAP_SYS_ADMIN");
		migrate_why(f, "%u network namespaces could not be entered", in->blind.netns);
	}
	if (!in->n && in->blind.processes) {
		f = migrate_add(out, MIGRATE_UNKNOWN, "processes",
				"as root, or with CAP_SYS_PTRACE");
		migrate_why(f, "the descriptors of %u processes could not be read",
			    in->blind.processes);
	}
}

void migrate_judge_host(const struct migrate_check_in *in, struct migrate_findings *out)
{
	nobody(in, out);
	if (in->n)
		kernel(in, out);
	for (size_t i = 0; i < in->n_env && in->protocol == IPPROTO_TCP; i++) {
		if (!in->env[i].entered)
			continue;
		syncookies(in, &in->env[i], out);
		overflow(&in->env[i], out);
		fastopen(in, &in->env[i], out);
	}
	for (size_t i = 0; i < in->n; i++)
		hidden(in, &in->l[i], out);
	blind(in, out);
}
