// SPDX-License-Identifier: GPL-2.0
/* migrate attach, detach. */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include "cmd_migrate.h"
#include "keeper.h"
#include "lib/listener.h"
#include "lib/migrate_load.h"
#include "lib/migrate_udp.h"
#include "lib/pin.h"
#include "system.h"

extern const struct kcm_system migrate_system;

const struct cmd_opt migrate_attach_opts[] = {
	{ .name = "port",
	  .value = "PORT",
	  .help = "port of the server",
	  .required = true,
	  .dashed = true },
	{ .name = "cgroup",
	  .value = "DIR",
	  .help = "listeners of this cgroup, the root; relative to the mount point",
	  .dashed = true },
	{ .name = "pid", .value = "PID", .help = "the cgroup of this process", .dashed = true },
	{ .name = "name",
	  .value = "NAME",
	  .help = "of the instance, portPORT or udpPORT",
	  .dashed = true },
	{ .name = "policy",
	  .value = "POLICY",
	  .help = "who gets a new connection: hash, robin, least, cpu, numa, client",
	  .choices = "hash robin least cpu numa client",
	  .dashed = true },
	{ .name = "generation",
	  .value = "auto|manual",
	  .help = "one a start of the server, or by `migrate generation new`",
	  .choices = "auto manual",
	  .dashed = true },
	{ .name = "anchor",
	  .help = "hold a listener of our own: connections wait while the server has none",
	  .dashed = true },
	{ .name = "anchor-backlog",
	  .value = "N",
	  .help = "connections that may wait there, 4096",
	  .dashed = true },
	{ .name = "anchor-time",
	  .value = "SECONDS",
	  .help = "how long they may, 60",
	  .dashed = true },
	{ .name = "reuseport",
	  .help = "set SO_REUSEPORT as servers bind the port; --anchor does",
	  .dashed = true },
	{ .name = "udp",
	  .help = "UDP: flows stay with the socket that has them, new ones go to the newest",
	  .dashed = true },
	{ .name = "flows",
	  .value = "N",
	  .help = "UDP: so many flows are known at a time, 65536",
	  .dashed = true },
	{ .name = "flow-timeout",
	  .value = "SECONDS",
	  .help = "UDP: one that is silent for so long has ended, 120",
	  .dashed = true },
	{ .name = "quic",
	  .help = "UDP: know QUIC connections by their ids, also from another address",
	  .dashed = true },
	{ .name = "no-setsockopt",
	  .help = "leave setsockopt() alone: servers cannot say what their listeners are",
	  .dashed = true },
	{ .name = "no-mptcp",
	  .help = "refuse MPTCP in the cgroup: servers fall back to TCP, which can migrate",
	  .dashed = true },
	{ 0 }
};

struct attach {
	struct migrate_opts o;
	char name[KCM_PIN_NAME + 1]; /* one more: too long is not made good by cutting it */
	char cgroup[PATH_MAX];
	const char *where;
};

static int take_policy(const struct cmd_args *args, struct attach *a)
{
	const char *policy = args_str(args, "policy", "hash");
	const char *generation = args_str(args, "generation", "auto");
	int n = mg_policy_parse(policy);

	if (n < 0)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "--policy",
				      .why = "hash, robin, least, cpu, numa, client are known"),
			      "no policy '%s'", policy);
	if (!streq(generation, "auto") && !streq(generation, "manual"))
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "--generation",
				      .why = "auto or manual"),
			      "no kind of generation '%s'", generation);
	a->o.policy = (unsigned int)n;
	a->o.manual = streq(generation, "manual");
	return 0;
}

/* The cgroup2 of a process: the line that begins with 0:: */
static int cgroup_of(const char *pid, char path[PATH_MAX])
{
	_cleanup_file_ FILE *f = NULL;
	char file[64], line[PATH_MAX + 8];

	snprintf(file, sizeof(file), "/proc/%s/cgroup", pid);
	f = fopen(file, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "0::", 3))
			continue;
		line[strcspn(line, "\n")] = '\0';
		/* Relative to the mount point: without its first slash. */
		snprintf(path, PATH_MAX, "%.*s", PATH_MAX - 1, line + 4);
		return 0;
	}
	return -ENODEV;
}

static int take_place(const struct cmd_args *args, struct attach *a)
{
	const char *pid = args_str(args, "pid", NULL), *cgroup = args_str(args, "cgroup", NULL);
	uint64_t n;
	int err;

	if (pid && cgroup)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .next = "one of them"),
			      "--pid and --cgroup both say where");
	a->o.cgroup = cgroup;
	a->where = cgroup ? cgroup : "the whole machine";
	if (!pid)
		return 0;
	if (!str_to_u64(pid, &n) || !n || n > INT_MAX)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "--pid"),
			      "'%s' is no process number", pid);
	err = cgroup_of(pid, a->cgroup);
	if (err == -ENOENT)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = "--pid",
				      .next = "pgrep, ss -ltnp"),
			      "there is no process %s", pid);
	if (err)
		return report(PROBLEM(.where = "--pid", .err = err, .next = "--cgroup DIR"),
			      "the cgroup of process %s is not known", pid);
	a->o.cgroup = a->cgroup;
	a->where = pid;
	return 0;
}

static int take_bounds(const struct cmd_args *args, struct attach *a)
{
	uint64_t backlog, seconds;
	int code = args_u64(args, "anchor-backlog", 1, 1 << 20, ANCHOR_BACKLOG, &backlog);

	code = code ?: args_u64(args, "anchor-time", 1, 86400, ANCHOR_TIME_S, &seconds);
	if (code)
		return code;
	a->o.anchor = args_flag(args, "anchor");
	a->o.anchor_backlog = (__u32)backlog;
	a->o.anchor_time_ms = (__u32)seconds * 1000;
	a->o.reuseport = a->o.anchor || args_flag(args, "reuseport");
	a->o.no_mptcp = args_flag(args, "no-mptcp");
	a->o.no_setsockopt = args_flag(args, "no-setsockopt");
	return 0;
}

/* Options that are for one protocol only. */
static int take_protocol(const struct cmd_args *args, struct attach *a)
{
	static const char *const tcp[] = { "anchor", "anchor-backlog", "anchor-time", "no-mptcp" };
	static const char *const udp[] = { "flows", "flow-timeout", "quic" };
	bool is_udp = a->o.udp = args_flag(args, "udp");
	const char *const *wrong = is_udp ? tcp : udp;
	size_t n = is_udp ? ARRAY_LEN(tcp) : ARRAY_LEN(udp);
	uint64_t flows, seconds;
	int code;

	for (size_t i = 0; i < n; i++)
		if (args_str(args, wrong[i], NULL))
			return report(PROBLEM(.code = KCM_EXIT_USAGE,
					      .next = is_udp ? "without it"
							     : "attach --udp, if that is meant"),
				      "--%s is for %s", wrong[i], is_udp ? "TCP" : "UDP");
	if (is_udp && a->o.policy == KCM_MG_CLIENT)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "--policy",
				      .why = "flows of UDP stay where they are by themselves"),
			      "client is for TCP");
	code = args_u64(args, "flows", 1, 1 << 24, MG_FLOWS, &flows);
	code = code ?: args_u64(args, "flow-timeout", 1, 86400, MG_FLOW_TIMEOUT_S, &seconds);
	if (code)
		return code;
	a->o.flows_max = (__u32)flows;
	a->o.flow_timeout_ms = (__u32)seconds * 1000;
	a->o.quic = args_flag(args, "quic");
	return 0;
}

/* Somebody may listen, but not so that it would work. Return: is it so? */
static bool why_nobody(const struct attach *a, const char **why, const char **next)
{
	struct kcm_listener_filter f = { .protocol = a->o.udp ? IPPROTO_UDP : IPPROTO_TCP,
					 .port = a->o.port,
					 .cgroup = a->o.cgroup };
	struct kcm_listener *l = NULL;
	bool is = false;
	size_t n = 0;

	if (kcm_listeners_find(&f, &l, &n, NULL, 0) || !n)
		return false;
	if (l[0].mptcp == 1) {
		*why = "MPTCP: the kernel does not migrate it";
		*next = "attach --anchor --no-mptcp, then start the server again";
		is = true;
	} else if (l[0].reuseport == 0) {
		*why = a->o.udp ? "its socket has no SO_REUSEPORT"
				: "its listener has no SO_REUSEPORT";
		*next = a->o.udp ? "attach --udp --reuseport, then start the server again"
				 : "attach --reuseport, then start the server again";
		is = true;
	}
	kcm_listeners_free(l, n);
	return is;
}

static int nobody_to_steer(const struct attach *a, const char *what, const char *why)
{
	const char *next = "kcmtool migrate check; start the server first, or attach --anchor";

	why_nobody(a, &why, &next);
	return report(PROBLEM(.code = KCM_EXIT_CONFIG, .where = a->where, .why = why, .next = next),
		      "%s", what);
}

static int attach_failed(int err, const struct attach *a, const char *why)
{
	char what[64];
	int code;

	snprintf(what, sizeof(what), "cannot attach to %sport %u", a->o.udp ? "UDP " : "",
		 a->o.port);
	switch (err) {
	case -ESRCH:
		return nobody_to_steer(a, what, why);
	case -EEXIST:
	case -EADDRINUSE:
		return report(PROBLEM(.code = KCM_EXIT_CONFIG, .where = a->name, .why = why,
				      .next = "another --name or --cgroup; kcmtool migrate show"),
			      "%s", what);
	case -EINVAL:
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "--name", .why = why), "%s",
			      what);
	case -ENODEV:
	case -ENOTTY:
	case -ENOENT:
		return report(PROBLEM(.code = KCM_EXIT_CONFIG, .where = "--cgroup", .why = why,
				      .next = "--cgroup DIR, a directory of cgroup2"),
			      "%s", what);
	case -ESTALE:
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = a->name,
				      .why = "another version of kcmtool attached it",
				      .next = "that kcmtool, or: kcmtool migrate detach"),
			      "%s", what);
	}
	code = feature_explain(migrate_system.needs, what);
	if (code)
		return code;
	code = err == -EACCES ? KCM_EXIT_KERNEL : log_exit_code(err);
	return report(PROBLEM(.code = code, .where = a->name, .why = why[0] ? why : log_errno(err),
			      .next = "kcmtool -v migrate attach, kcmtool doctor"),
		      "%s", what);
}

static void say_what_is_missing(const struct attach *a, const struct migrate_found *f)
{
	if (!f->groups && !a->o.anchor && !a->o.udp)
		warn("nobody listens on port %u yet, and without --anchor a new group has no "
		     "selector: attach again when the server has started, or run kcmtool migrate "
		     "keep %s",
		     a->o.port, a->name);
	if (f->refused)
		warn("%u listeners could not be registered; kcmtool migrate watch %s says why",
		     f->refused, a->name);
	if (f->selectors < f->groups && f->selector_err)
		warn("%u of %u groups have no selector (%s): the kernel's hash chooses there",
		     f->groups - f->selectors, f->groups,
		     f->selector_err == -EPERM || f->selector_err == -EACCES
			     ? "CAP_SYS_PTRACE is needed to reach their processes"
			     : log_errno(f->selector_err));
}

/* Without whoever keeps it, --anchor and --udp promise what is not so: then nothing is left. */
static int keep_it(const struct attach *a, const struct migrate_found *f)
{
	char err[256] = "", note[256];
	int ret = keeper_spawn(a->name, err, sizeof(err));

	if (!ret || ret == -EALREADY)
		return 0;
	if (!f->was_there)
		kcm_migrate_detach(a->name, note, sizeof(note));
	return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = a->name,
			      .why = err[0] ? err : log_errno(ret),
			      .next = "kcmtool migrate keep, in the foreground"),
		      a->o.udp ? "no process registers its sockets"
			       : "no process holds its anchor");
}

/* A UDP server may come later; one that is there but cannot be steered is a mistake. */
static int udp_alone(const struct attach *a, const struct migrate_found *f)
{
	const char *why = "", *next = "";
	char note[256];

	if (a->o.reuseport || f->was_there || !why_nobody(a, &why, &next))
		return 0;
	kcm_migrate_detach(a->name, note, sizeof(note));
	return report(PROBLEM(.code = KCM_EXIT_CONFIG, .where = a->where, .why = why, .next = next),
		      "cannot attach to UDP port %u", a->o.port);
}

int migrate_attach(const struct cmd_args *args)
{
	struct attach a = { 0 };
	struct migrate_found f;
	char err[256] = "";
	uint64_t port;
	int ret, code = args_u64(args, "port", 1, 65535, 0, &port);

	code = code ?: take_policy(args, &a);
	code = code ?: take_place(args, &a);
	code = code ?: take_bounds(args, &a);
	code = code ?: take_protocol(args, &a);
	if (code)
		return code;
	a.o.port = (__u16)port;
	snprintf(a.name, sizeof(a.name), a.o.udp ? "udp%u" : "port%u", a.o.port);
	snprintf(a.name, sizeof(a.name), "%s", args_str(args, "name", strdupa(a.name)));
	ret = kcm_migrate_attach(a.name, &a.o, &f, err, sizeof(err));
	if (ret)
		return attach_failed(ret, &a, err);
	if (a.o.udp && !f.groups)
		code = udp_alone(&a, &f);
	if (code)
		return code;
	code = a.o.anchor || a.o.udp ? keep_it(&a, &f) : 0;
	if (code)
		return code;
	say_what_is_missing(&a, &f);
	out_str(args->out, "name", a.name);
	out_str(args->out, "result", f.was_there ? "looked through again" : "attached");
	out_u64(args->out, "port", a.o.port);
	out_u64(args->out, "groups", f.groups);
	out_u64(args->out, "selectors", f.selectors);
	out_u64(args->out, "listeners", f.listeners);
	out_u64(args->out, "refused", f.refused);
	if (a.o.anchor || a.o.udp)
		out_i64(args->out, a.o.udp ? "keeper_pid" : "anchor_pid", keeper_pid(a.name));
	return 0;
}

int migrate_detach(const struct cmd_args *args)
{
	char note[256] = "";
	int err = keeper_stop(args->pos[0]);

	/* Another user's, or busy: it ends by itself when it sees that nothing is attached. */
	if (err && err != -ESRCH && err != -ETIMEDOUT && err != -EPERM && err != -EACCES)
		return report(PROBLEM(.where = args->pos[0], .err = err), "cannot detach");
	if (err && err != -ESRCH)
		warn("the process that holds its anchor does not end: %s", log_errno(err));
	err = kcm_migrate_detach(args->pos[0], note, sizeof(note));
	if (!err)
		keeper_tidy(args->pos[0]);
	if (err == -ENOENT)
		return report(PROBLEM(.code = KCM_EXIT_NOT_LOADED, .next = "kcmtool migrate show"),
			      "'%s' is not attached", args->pos[0]);
	if (err)
		return report(PROBLEM(.where = args->pos[0], .err = err), "cannot detach");
	if (note[0])
		warn("%s", note);
	out_str(args->out, "name", args->pos[0]);
	out_str(args->out, "result", "detached");
	return 0;
}
