// SPDX-License-Identifier: GPL-2.0
/* migrate check: look at the machine, show what a restart would lose. */
#include <errno.h>
#include <netinet/in.h>
#include <sys/utsname.h>
#include "cmd_migrate_check.h"
#include "lib/migrate_view.h"
#include "lib/pin.h"

const struct cmd_opt migrate_check_opts[] = {
	{ .name = "port",
	  .value = "PORT",
	  .help = "of the server",
	  .required = true,
	  .dashed = true },
	{ .name = "cgroup",
	  .value = "DIR",
	  .help = "only listeners of this cgroup; relative to the mount point",
	  .dashed = true },
	{ .name = "pid",
	  .value = "PID",
	  .help = "only those of this process and of what it has started",
	  .dashed = true },
	{ .name = "udp", .help = "UDP instead of TCP", .dashed = true },
	{ 0 }
};

static int take_filter(const struct cmd_args *args, struct kcm_listener_filter *f)
{
	uint64_t port, pid;
	int code = args_u64(args, "port", 1, 65535, 0, &port);

	code = code ?: args_u64(args, "pid", 1, 1 << 22, 0, &pid);
	if (code)
		return code;
	f->port = (__u16)port;
	f->pid = (pid_t)pid;
	f->children = true;
	f->cgroup = args_str(args, "cgroup", NULL);
	f->protocol = args_flag(args, "udp") ? IPPROTO_UDP : IPPROTO_TCP;
	if (f->pid && f->cgroup)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "--pid",
				      .why = "not both it and --cgroup", .next = "one of them"),
			      "cannot check port %u", f->port);
	return 0;
}

static int find_failed(const struct kcm_listener_filter *f, int err, const char *why)
{
	struct problem p = { .err = err, .where = "listeners", .why = why };

	switch (err) {
	case -ESRCH:
		p = (struct problem){ .code = KCM_EXIT_FAILED,
				      .where = "--pid",
				      .why = why,
				      .next = "without it: all listeners on the port" };
		break;
	case -EACCES:
		p.where = "--pid";
		p.next = "as root, or with CAP_SYS_PTRACE";
		break;
	case -ENOENT:
	case -ENOTDIR:
	case -ENOTTY:
	case -ENODEV:
	case -ENAMETOOLONG:
		p.code = KCM_EXIT_CONFIG;
		p.where = "--cgroup";
		p.next = "--cgroup DIR, a directory of cgroup2";
		break;
	case -EPROTONOSUPPORT:
		p.code = KCM_EXIT_KERNEL;
		break;
	}
	return report(&p, "cannot check port %u", f->port);
}

/* ---- what was found ---- */

static void put_known(struct out *o, const char *key, int value, bool flag)
{
	if (value == KCM_LISTENER_UNKNOWN)
		return;
	if (flag)
		out_bool(o, key, value != 0);
	else
		out_i64(o, key, value);
}

static void show_listeners(struct out *o, const struct migrate_check_in *in)
{
	static const struct out_column columns[] = {
		{ "listener", NULL }, { "pid", NULL },	   { "command", NULL },
		{ "queue", NULL },    { "backlog", NULL }, { "half_open", NULL },
	};
	char text[KCM_LISTENER_TEXT];

	out_table(o, "listeners", columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < in->n; i++) {
		const struct kcm_listener *l = &in->l[i];

		out_row(o);
		out_str(o, "listener", kcm_listener_text(l, text));
		if (l->n_owners) {
			out_i64(o, "pid", l->owners[0].pid);
			out_str(o, "command", l->owners[0].comm);
		}
		out_u64(o, "owners", l->n_owners);
		out_u64(o, "cookie", l->cookie);
		out_u64(o, "netns", l->netns_inode);
		out_u64(o, "netns_cookie", l->netns_cookie);
		out_u64(o, "cgroup_id", l->cgroup_id);
		out_u64(o, "uid", l->uid);
		out_u64(o, "queue", l->queue);
		if (in->protocol == IPPROTO_TCP) {
			out_u64(o, "backlog", l->backlog);
			out_u64(o, "half_open", l->half_open);
			put_known(o, "mptcp", l->mptcp, true);
			put_known(o, "md5", l->md5, true);
			put_known(o, "save_syn", l->save_syn, false);
			put_known(o, "fastopen", l->fastopen, false);
			put_known(o, "defer_accept", l->defer_accept, false);
		}
		put_known(o, "reuseport", l->reuseport, true);
		put_known(o, "incoming_cpu", l->incoming_cpu, false);
		out_bool(o, "steered", in->steered && in->steered[i]);
	}
	out_end(o);
}

static void show_findings(struct out *o, const struct migrate_findings *found)
{
	static const struct out_column columns[] = {
		{ "severity", NULL }, { "what", NULL },	  { "where", NULL },
		{ "why", NULL },      { "remedy", NULL },
	};

	out_table(o, "findings", columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < found->n; i++) {
		const struct migrate_finding *f = &found->f[i];

		out_row(o);
		out_str(o, "severity", migrate_severity_name(f->severity));
		out_str(o, "what", f->what);
		if (f->where[0])
			out_str(o, "where", f->where);
		out_str(o, "why", f->why);
		if (f->remedy[0])
			out_str(o, "remedy", f->remedy);
	}
	out_end(o);
}

static int show(struct out *o, const struct migrate_check_in *in,
		const struct migrate_findings *found)
{
	static const char *const words[] = {
		[MIGRATE_OK] = "nothing would be lost",
		[MIGRATE_WARN] = "nothing would be lost, with warnings",
		[MIGRATE_UNKNOWN] = "not known without more privilege",
		[MIGRATE_LOSS] = "a restart would lose connections",
	};
	enum migrate_severity verdict = migrate_verdict(found);

	out_u64(o, "port", in->port);
	out_str(o, "protocol", in->protocol == IPPROTO_TCP ? "tcp" : "udp");
	out_str(o, "verdict", words[verdict]);
	out_bool(o, "loss", verdict == MIGRATE_LOSS);
	show_listeners(o, in);
	show_findings(o, found);
	return verdict == MIGRATE_LOSS	    ? KCM_EXIT_FAILED
	       : verdict == MIGRATE_UNKNOWN ? KCM_EXIT_PRIVILEGE
					    : KCM_EXIT_OK;
}

/* ---- look ---- */

/* One for each namespace; the listeners are in the order of these. */
static int look_env(const struct kcm_listener *l, size_t n, struct kcm_listener_env **env,
		    size_t *n_env)
{
	*env = calloc(n + 1, sizeof(**env));
	*n_env = 0;
	if (!*env)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (!i || l[i].netns_inode != l[i - 1].netns_inode)
			(*env)[(*n_env)++].netns_inode = l[i].netns_inode;
	return kcm_listener_env(*env, *n_env);
}

/* Which of them an instance of ours steers. */
struct steered {
	const struct migrate_check_in *in;
	bool *is;
};

static int look_instance(const char *name, void *arg)
{
	struct mg_view v = MG_VIEW_NONE;
	struct steered *s = arg;

	if (mg_view_open(&v, name, false))
		return 0;
	for (__u32 k = 0; k < v.mg->ctl.slots && k < KCM_MG_SLOTS; k++) {
		const struct kcm_mg_slot *slot = &v.mg->slot[k];

		if (!(slot->flags & KCM_MG_SLOT_USED) || (slot->flags & KCM_MG_SLOT_CLOSED) ||
		    slot->group >= KCM_MG_GROUPS || !mg_selector_on(v.mg, slot->group))
			continue;
		for (size_t i = 0; i < s->in->n; i++)
			s->is[i] |= s->in->l[i].cookie == slot->cookie;
	}
	/* Our own listener in a group is no stranger. */
	for (int g = 0; g < KCM_MG_GROUPS; g++)
		for (size_t i = 0; i < s->in->n; i++)
			s->is[i] |= s->in->l[i].cookie == v.mg->group[g].anchor_cookie;
	mg_view_close(&v);
	return 0;
}

static int check(const struct cmd_args *args, struct migrate_check_in *in)
{
	_cleanup_free_ struct kcm_listener_env *env = NULL;
	struct steered steered = { .in = in };
	struct migrate_findings found;
	struct utsname u;
	int err = look_env(in->l, in->n, &env, &in->n_env), code;

	in->env = env;
	steered.is = calloc(in->n + 1, sizeof(*steered.is));
	err = steered.is ? err : -ENOMEM;
	if (!err)
		kcm_pin_each(MG_SYSTEM, look_instance, &steered); /* none, or no right: none is */
	in->steered = steered.is;
	if (!uname(&u) && sscanf(u.release, "%u.%u", &in->major, &in->minor) != 2)
		in->major = 0;
	err = err ?: migrate_judge(in, &found);
	if (err) {
		free(steered.is);
		return report(PROBLEM(.err = err), "cannot check port %u", in->port);
	}
	code = show(args->out, in, &found);
	migrate_findings_free(&found);
	free(steered.is);
	return code;
}

int migrate_check(const struct cmd_args *args)
{
	struct kcm_listener_filter f = { 0 };
	struct migrate_check_in in = { 0 };
	struct kcm_listener *l;
	char why[256];
	size_t n;
	int code = take_filter(args, &f), err;

	if (code)
		return code;
	f.blind = &in.blind;
	err = kcm_listeners_find(&f, &l, &n, why, sizeof(why));
	if (err)
		return find_failed(&f, err, why);
	in.port = f.port;
	in.protocol = f.protocol;
	in.l = l;
	in.n = n;
	code = check(args, &in);
	kcm_listeners_free(l, n);
	return code;
}
