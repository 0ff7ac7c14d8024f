// SPDX-License-Identifier: GPL-2.0
/* migrate attach, detach. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include "cmd_migrate.h"
#include "lib/migrate_load.h"
#include "lib/migrate_view.h"
#include "lib/pin.h"
#include "system.h"

#define ANCHOR_BACKLOG 4096
#define ANCHOR_TIME_MS 60000

const struct cmd_opt migrate_attach_opts[] = {
	{ .name = "port",
	  .value = "PORT",
	  .help = "TCP port of the server",
	  .required = true,
	  .dashed = true },
	{ .name = "cgroup",
	  .value = "DIR",
	  .help = "listeners of this cgroup, the root; relative to the mount point",
	  .dashed = true },
	{ .name = "pid", .value = "PID", .help = "the cgroup of this process", .dashed = true },
	{ .name = "name", .value = "NAME", .help = "of the instance, portPORT", .dashed = true },
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
	{ .name = "no-mptcp",
	  .help = "refuse MPTCP in the cgroup: servers fall back to TCP, which can migrate",
	  .dashed = true },
	{ 0 }
};

struct attach {
	struct migrate_opts o;
	char name[KCM_PIN_NAME];
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
		snprintf(path, PATH_MAX, "%s", line + 4);
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

	code = code ?: args_u64(args, "anchor-time", 1, 86400, ANCHOR_TIME_MS / 1000, &seconds);
	if (code)
		return code;
	a->o.anchor = args_flag(args, "anchor");
	a->o.anchor_backlog = (__u32)backlog;
	a->o.anchor_time_ms = (__u32)seconds * 1000;
	a->o.reuseport = a->o.anchor || args_flag(args, "reuseport");
	a->o.no_mptcp = args_flag(args, "no-mptcp");
	return 0;
}

static int attach_failed(int err, const struct attach *a, const char *why)
{
	char what[64];
	int code;

	snprintf(what, sizeof(what), "cannot attach to port %u", a->o.port);
	switch (err) {
	case -ESRCH:
		return report(PROBLEM(.code = KCM_EXIT_CONFIG, .where = a->where, .why = why,
				      .next = "kcmtool migrate check --port; start the server "
					      "first; or attach --anchor, before it starts"),
			      "%s", what);
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
	code = feature_explain(MIGRATE_NEEDS_LOAD_ALL, what);
	if (code)
		return code;
	code = err == -EACCES ? KCM_EXIT_KERNEL : log_exit_code(err);
	return report(PROBLEM(.code = code, .where = a->name, .why = why[0] ? why : log_errno(err),
			      .next = "kcmtool -v migrate attach, kcmtool doctor"),
		      "%s", what);
}

static void say_what_is_missing(const struct attach *a, const struct migrate_found *f)
{
	if (f->refused)
		warn("%u listeners could not be registered; kcmtool migrate watch %s says why",
		     f->refused, a->name);
	if (f->selectors < f->groups && f->selector_err)
		warn("%u of %u groups have no selector (%s): the kernel's hash chooses there",
		     f->groups - f->selectors, f->groups,
		     f->selector_err == -EPERM ? "CAP_SYS_PTRACE is needed to reach their processes"
					       : log_errno(f->selector_err));
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
	if (code)
		return code;
	a.o.port = (__u16)port;
	snprintf(a.name, sizeof(a.name), "port%u", a.o.port);
	snprintf(a.name, sizeof(a.name), "%s", args_str(args, "name", strdupa(a.name)));
	ret = kcm_migrate_attach(a.name, &a.o, &f, err, sizeof(err));
	if (ret)
		return attach_failed(ret, &a, err);
	if (a.o.anchor) {
		ret = keeper_spawn(a.name, err, sizeof(err));
		if (ret && !f.was_there)
			kcm_migrate_detach(a.name, err + strlen(err), 0);
		if (ret)
			return report(PROBLEM(.where = a.name, .why = err[0] ? err : log_errno(ret),
					      .next = "kcmtool migrate keep, in the foreground"),
				      "no process to hold the anchor");
	}
	say_what_is_missing(&a, &f);
	out_str(args->out, "name", a.name);
	out_str(args->out, "result", f.was_there ? "looked through again" : "attached");
	out_u64(args->out, "port", a.o.port);
	out_u64(args->out, "groups", f.groups);
	out_u64(args->out, "selectors", f.selectors);
	out_u64(args->out, "listeners", f.listeners);
	out_u64(args->out, "refused", f.refused);
	out_bool(args->out, "anchor", a.o.anchor);
	return 0;
}

int migrate_detach(const struct cmd_args *args)
{
	char note[256] = "";
	int err = 0;

	err = keeper_stop(args->pos[0]);
	if (err && err != -ENOENT && err != -ESRCH)
		warn("the process that holds its anchor does not end: %s", log_errno(err));
	err = kcm_migrate_detach(args->pos[0], note, sizeof(note));
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
