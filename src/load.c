// SPDX-License-Identifier: GPL-2.0
/* load, unload, status: from no system to a ready one and back, whole or not at all. */
#include <errno.h>
#include <time.h>
#include "feature.h"
#include "lib/kernel.h"
#include "lib/pin.h"
#include "load.h"
#include "system.h"
#include "users.h"

#define INSTANCE "default"

typedef int (*system_fn)(const struct kcm_system *s, const struct cmd_args *args);

/* Call @fn for the systems named, or for all; the first failure ends it. */
static int for_systems(const struct cmd_args *args, system_fn fn)
{
	for (int i = 0; i < args->npos; i++) {
		if (!kcm_system_find(args->pos[i]))
			return report(PROBLEM(.code = KCM_EXIT_USAGE, .next = "kcmtool help"),
				      "unknown system '%s'", args->pos[i]);
	}
	for (const struct kcm_system *const *s = kcm_systems; *s; s++) {
		bool wanted = !args->npos;
		int code;

		for (int i = 0; i < args->npos; i++)
			wanted = wanted || streq(args->pos[i], (*s)->name);
		code = wanted ? fn(*s, args) : 0;
		if (code)
			return code;
	}
	return 0;
}

/* ---- load ---- */

static int check_kernel(const struct kcm_system *s, bool force)
{
	const struct feature_result *r;

	if (!(s->needs & FEAT(KERNEL_SAFE)))
		return 0;
	if (force)
		kcm_kernel_accept();
	r = feature_probe(FEAT_KERNEL_SAFE);
	if (r->state == FEATURE_MISSING)
		return report(PROBLEM(.code = KCM_EXIT_KERNEL, .where = "kernel_safe",
				      .why = r->why, .next = r->remedy),
			      "refusing to load %s", s->name);
	if (r->state != FEATURE_WORKS)
		warn("%s", r->why);
	return 0;
}

static int load_failed(const struct kcm_system *s, int err, const char *detail)
{
	char what[64], path[KCM_PIN_PATH];
	int code;

	snprintf(what, sizeof(what), "cannot load %s", s->name);
	if (err == -ESTALE)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = s->name,
				      .why = "a newer kcmtool has loaded it",
				      .next = "that kcmtool, or: kcmtool unload"),
			      "%s", what);
	if (err == -EBUSY)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = KCM_BPFFS,
				      .why = "another process holds the lock",
				      .next = "again when it is done; lslocks names it"),
			      "%s", what);
	code = feature_explain(s->needs, what);
	if (code)
		return code;
	kcm_pin_path(path, sizeof(path), s->name, INSTANCE, NULL);
	/* Privilege was looked at: what is denied now, the verifier of this kernel denies. */
	code = err == -EACCES ? KCM_EXIT_KERNEL : log_exit_code(err);
	return report(PROBLEM(.code = code, .where = path, .why = *detail ? detail : log_errno(err),
			      .next = "kcmtool -v load, kcmtool doctor"),
		      "%s", what);
}

static int load_one(const struct kcm_system *s, const struct cmd_args *args)
{
	struct kcm_pin_info before;
	int found, err, code = check_kernel(s, args_flag(args, "force"));
	char path[KCM_PIN_PATH], detail[256] = "";

	if (code)
		return code;
	if (!s->load) {
		if (!args->npos)
			return 0;
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .why = "it needs to be told of what",
				      .next = s->load_with),
			      "cannot load %s by its name alone", s->name);
	}
	found = kcm_pin_info(s->name, INSTANCE, &before);
	err = s->load(detail, sizeof(detail));
	if (err && err != -EEXIST)
		return load_failed(s, err, detail);
	kcm_pin_path(path, sizeof(path), s->name, INSTANCE, NULL);
	out_row(args->out);
	out_str(args->out, "system", s->name);
	out_str(args->out, "name", INSTANCE);
	out_str(args->out, "result",
		err		   ? "already loaded"
		: found == -ENOENT ? "loaded"
				   : "upgraded");
	out_u64(args->out, "layout", s->layout);
	out_str(args->out, "path", path);
	return 0;
}

int load_run(const struct cmd_args *args)
{
	static const struct out_column columns[] = {
		{ "system", NULL },
		{ "name", NULL },
		{ "result", NULL },
		{ "path", NULL },
	};
	int code;

	out_table(args->out, "loaded", columns, ARRAY_LEN(columns));
	code = for_systems(args, load_one);
	out_end(args->out);
	return code;
}

/* ---- unload ---- */

struct unload {
	const struct kcm_system *system;
	const struct cmd_args *args;
	bool force;
	int seen;
	int code;
};

static int check_unused(const char *name, void *arg)
{
	struct unload *u = arg;
	char who[256];
	int n;

	u->seen++;
	if (u->force)
		return 0;
	n = users_find(u->system->name, name, who, sizeof(who));
	if (n <= 0)
		return 0;
	u->code = report(PROBLEM(.code = KCM_EXIT_FAILED, .where = name, .why = who,
				 .next = "stop them, or: kcmtool unload --force"),
			 "%s is in use", u->system->name);
	return u->code;
}

static int unload_instance(const char *name, void *arg)
{
	struct unload *u = arg;
	int err = u->system->unload(name, u->force);

	if (err == -ENOENT)
		return 0; /* somebody else was faster */
	if (err) {
		u->code =
			report(PROBLEM(.err = err, .where = name, .next = "kcmtool unload --force"),
			       "cannot unload %s", u->system->name);
		return u->code;
	}
	out_row(u->args->out);
	out_str(u->args->out, "system", u->system->name);
	out_str(u->args->out, "name", name);
	out_str(u->args->out, "result", "unloaded");
	return 0;
}

static int unload_one(const struct kcm_system *s, const struct cmd_args *args)
{
	struct unload u = { .system = s, .args = args, .force = args_flag(args, "force") };
	int err = kcm_pin_each(s->name, check_unused, &u);

	/* All of a system's instances or none: every one is looked at before the first goes. */
	if (!err && u.seen)
		err = kcm_pin_each(s->name, unload_instance, &u);
	if (u.code)
		return u.code;
	if (err)
		return report(PROBLEM(.err = err, .where = KCM_PIN_ROOT), "cannot unload %s",
			      s->name);
	if (!u.seen && args->npos)
		return report(PROBLEM(.code = KCM_EXIT_NOT_LOADED, .next = "kcmtool status"),
			      "%s is not loaded", s->name);
	return 0;
}

int unload_run(const struct cmd_args *args)
{
	static const struct out_column columns[] = {
		{ "system", NULL },
		{ "name", NULL },
		{ "result", NULL },
	};
	_cleanup_fd_ int lock_fd = kcm_pin_lock(); /* clears what a killed process left */
	int code;

	if (lock_fd == -EPERM || lock_fd == -EACCES)
		return report(
			PROBLEM(.err = lock_fd, .where = KCM_BPFFS, .next = "sudo kcmtool unload"),
			"cannot unload");
	if (lock_fd >= 0)
		close(TAKE_FD(lock_fd)); /* unloading takes it itself */
	out_table(args->out, "unloaded", columns, ARRAY_LEN(columns));
	code = for_systems(args, unload_one);
	out_end(args->out);
	return code;
}

/* ---- status ---- */

struct status {
	const struct kcm_system *system;
	struct out *out;
	int seen;
};

static int status_instance(const char *name, void *arg)
{
	struct status *st = arg;
	struct kcm_pin_info info = { 0 };
	char who[256], when[32] = "-", path[KCM_PIN_PATH];
	time_t created;
	int users = users_find(st->system->name, name, who, sizeof(who));

	st->seen++;
	kcm_pin_path(path, sizeof(path), st->system->name, name, NULL);
	if (!kcm_pin_info(st->system->name, name, &info)) {
		created = info.created_s;
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime(&created));
	}
	out_row(st->out);
	out_str(st->out, "system", st->system->name);
	out_str(st->out, "name", name);
	out_str(st->out, "state",
		info.layout == st->system->layout  ? "ready"
		: info.layout < st->system->layout ? "older layout"
						   : "newer layout");
	out_u64(st->out, "layout", info.layout);
	out_str(st->out, "version", info.tool);
	out_str(st->out, "created", when);
	out_i64(st->out, "users", users < 0 ? 0 : users);
	out_str(st->out, "used_by", who[0] ? who : NULL);
	out_str(st->out, "path", path);
	return st->system->status ? st->system->status(name, st->out) : 0;
}

int status_run(const struct cmd_args *args)
{
	static const struct out_column columns[] = {
		{ "system", NULL },  { "name", NULL },	{ "state", NULL }, { "layout", NULL },
		{ "created", NULL }, { "users", NULL }, { "path", NULL },
	};
	struct status st = { .out = args->out };
	int err = 0;

	out_table(args->out, "instances", columns, ARRAY_LEN(columns));
	for (const struct kcm_system *const *s = kcm_systems; *s && !err; s++) {
		st.system = *s;
		err = kcm_pin_each((*s)->name, status_instance, &st);
	}
	out_end(args->out);
	if (err)
		return report(PROBLEM(.err = err, .where = KCM_PIN_ROOT), "cannot read the status");
	if (!st.seen)
		return report(PROBLEM(.code = KCM_EXIT_NOT_LOADED, .next = "kcmtool load"),
			      "nothing is loaded");
	return 0;
}
