// SPDX-License-Identifier: GPL-2.0
/* mux create, delete, frames. */
#include <errno.h>
#include "cmd_mux.h"
#include "lib/kernel.h"
#include "lib/kernel.h"
#include "lib/mux_file.h"
#include "system.h"
#include "users.h"

#define HOUR_US 3600000000ULL

static int bad_value(const char *option, const char *value, const char *next)
{
	return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = option, .why = "not understood",
			      .next = next),
		      "bad value '%s'", value);
}

/* "OFF:BYTES" */
static int take_key(const char *text, struct kcm_mux_opts *o)
{
	const char *colon = text ? strchr(text, ':') : NULL;
	char off[24];
	uint64_t at, bytes;

	if (!text)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "dispatch",
				      .why = "no key is given", .next = "key OFF:BYTES"),
			      "bad value 'key'");
	snprintf(off, sizeof(off), "%.*s", colon ? (int)(colon - text) : 0, text);
	if (!colon || !str_to_u64(off, &at) || !str_to_u64(colon + 1, &bytes) || at > 4096 ||
	    !bytes || bytes > 8)
		return bad_value("key", text, "OFF:BYTES, 1 to 8 bytes from 0 to 4096 on");
	o->dispatch = KCM_DISPATCH_KEY;
	o->key_off = (uint32_t)at;
	o->key_bytes = (uint32_t)bytes;
	return 0;
}

static int take_dispatch(const struct cmd_args *args, struct kcm_mux_opts *o)
{
	static const char *const names[] = { "least", "robin", "conn" };
	const char *who = args_str(args, "dispatch", NULL), *key = args_str(args, "key", NULL);

	if (!who && !key)
		return 0;
	if (who && !strncmp(who, "key:", 4) && !key)
		return take_key(who + 4, o);
	if (!who || streq(who, "key"))
		return take_key(key, o);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (streq(who, names[i])) {
			o->dispatch = (enum kcm_dispatch)i;
			return key ? report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "key",
						    .why = "only dispatch key has a key",
						    .next = "leave out dispatch or key"),
					    "bad value '%s'", key)
				   : 0;
		}
	return bad_value("dispatch", who, "least, robin, conn or key:OFF:BYTES");
}

static int take_u32(const struct cmd_args *args, const char *name, uint64_t min, uint64_t max,
		    uint32_t *to)
{
	uint64_t value;
	int code = args_u64(args, name, min, max, 0, &value);

	*to = (uint32_t)value;
	return code;
}

int mux_opts_take(const struct cmd_args *args, struct kcm_mux_opts *o)
{
	const char *mode = args_str(args, "mode", "ring"), *frame = args_str(args, "frame", "");
	char err[160];
	uint64_t us;
	int code;

	*o = (struct kcm_mux_opts){ .sz = sizeof(*o) };
	if (kcm_frame_parse(frame, &o->frame, err, sizeof(err)))
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "frame", .why = err,
				      .next = "kcmtool mux frames"),
			      "bad frame '%s'", frame);
	if (!streq(mode, "ring") && !streq(mode, "strparser"))
		return bad_value("mode", mode, "ring or strparser");
	o->strparser = streq(mode, "strparser");
	o->at_least_once = args_flag(args, "at-least-once");
	o->keep_on_error = args_flag(args, "keep-on-error");
	code = take_dispatch(args, o);
	code = code ?: take_u32(args, "conns", 1, 1 << 20, &o->conns);
	code = code ?: take_u32(args, "workers", 1, KCM_WORKERS_MAX, &o->workers);
	code = code ?: args_u64(args, "arena", 6 << 20, 1ULL << 30, 0, &o->arena_bytes);
	code = code ?: args_u64(args, "big", 4096, 1ULL << 40, 0, &o->big_bytes);
	code = code ?: args_u64(args, "tx-limit", 1, 1ULL << 40, 0, &o->tx_limit_bytes);
	code = code ?: mux_time_us(args, "timeout", 24 * HOUR_US, 0, &us);
	if (!code)
		o->asm_timeout_ms = (uint32_t)((us + 999) / 1000);
	code = code ?: mux_time_us(args, "grace", 1000000, 0, &us);
	if (!code)
		o->grace_us = (uint32_t)us;
	return code;
}

static int check_kernel(const char *name, bool force)
{
	const struct feature_result *r;

	if (force)
		kcm_kernel_accept();
	r = feature_probe(FEAT_KERNEL_SAFE);
	if (r->state == FEATURE_MISSING)
		return report(PROBLEM(.code = KCM_EXIT_KERNEL, .where = "kernel_safe",
				      .why = r->why, .next = r->remedy),
			      "refusing to create mux '%s'", name);
	if (r->state != FEATURE_WORKS)
		warn("%s", r->why);
	return 0;
}

int mux_make(const char *name, const struct kcm_mux_opts *opts, bool force)
{
	char err[256] = "", what[80], path[KCM_PIN_PATH];
	int code, ret;

	if (kcm_pin_path(path, sizeof(path), "mux", name, NULL))
		return mux_report(name, "", -EINVAL);
	code = check_kernel(name, force);
	if (code)
		return code;
	ret = kcm_mux_create(name, opts, err, sizeof(err));
	if (!ret || ret == -EEXIST)
		return ret;
	snprintf(what, sizeof(what), "cannot create mux '%s'", name);
	if (ret == -EINVAL)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .why = err,
				      .next = "kcmtool mux create --help"),
			      "%s", what);
	if (ret == -ESTALE)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = path,
				      .why = "a newer kcmtool made the one that is there",
				      .next = "that kcmtool, or: kcmtool mux delete"),
			      "%s", what);
	if (ret == -EBUSY)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = KCM_BPFFS,
				      .why = "another process holds the lock",
				      .next = "again when it is done; lslocks names it"),
			      "%s", what);
	code = feature_explain(kcm_system_find("mux")->needs, what);
	if (code)
		return code;
	if (opts->strparser && (ret == -EOPNOTSUPP || ret == -ENOSYS))
		return report(PROBLEM(.code = KCM_EXIT_KERNEL, .where = "mode strparser",
				      .why = *err ? err : log_errno(ret), .next = "mode ring"),
			      "%s", what);
	/* Privilege was looked at: what is denied now, the verifier of this kernel denies. */
	return report(PROBLEM(.code = ret == -EACCES ? KCM_EXIT_KERNEL : log_exit_code(ret),
			      .where = path, .why = *err ? err : log_errno(ret),
			      .next = "the same with -v; kcmtool doctor"),
		      "%s", what);
}

int mux_create(const struct cmd_args *args)
{
	const char *name = args->pos[0];
	char path[KCM_PIN_PATH], frame[KCM_FRAME_TEXT_BYTES] = "", next[96];
	struct kcm_mux_opts o;
	int code = mux_opts_take(args, &o);

	code = code ?: mux_make(name, &o, args_flag(args, "force"));
	if (code == -EEXIST) {
		kcm_pin_path(path, sizeof(path), "mux", name, NULL);
		snprintf(next, sizeof(next), "kcmtool mux show %s, or kcmtool mux delete %s", name,
			 name);
		return report(
			PROBLEM(.code = KCM_EXIT_FAILED, .where = path, .err = code, .next = next),
			"cannot create mux '%s'", name);
	}
	if (code)
		return code;
	kcm_pin_path(path, sizeof(path), "mux", name, NULL);
	kcm_frame_format(&o.frame, frame, sizeof(frame));
	out_str(args->out, "created", name);
	out_str(args->out, "frame", frame);
	out_str(args->out, "path", path);
	return 0;
}

int mux_delete(const struct cmd_args *args)
{
	const char *name = args->pos[0];
	bool force = args_flag(args, "force");
	char who[256] = "", path[KCM_PIN_PATH];
	int err = kcm_pin_name_ok(name) ? 0 : -EINVAL;

	if (!err && !force && !mux_owner(name) && users_find("mux", name, who, sizeof(who)) > 0)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = name, .why = who,
				      .next = "stop them, or add --force"),
			      "mux is in use");
	err = err ?: kcm_mux_delete(name, force);
	if (err == -EBUSY && !force) {
		kcm_pin_path(path, sizeof(path), "mux", name, NULL);
		users_find("mux", name, who, sizeof(who));
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = path,
				      .why = *who ? who : "it has an owner",
				      .next = "stop it, or add --force"),
			      "mux '%s' is in use", name);
	}
	if (err)
		return mux_report(name, "cannot delete", err);
	if (!force) { /* left by an owner that was killed: nobody listens there */
		snprintf(path, sizeof(path), MUX_RUN_DIR "/%s.sock", name);
		unlink(path);
	}
	out_str(args->out, "deleted", name);
	return 0;
}

int mux_frames(const struct cmd_args *args)
{
	static const struct out_column columns[] = {
		{ "name", NULL },
		{ "text", "STANDS FOR" },
		{ "about", NULL },
	};

	out_table(args->out, "frames", columns, ARRAY_LEN(columns));
	for (const struct kcm_frame_preset *p = kcm_frame_presets(); p->name; p++) {
		out_row(args->out);
		out_str(args->out, "name", p->name);
		out_str(args->out, "text", p->text);
		out_str(args->out, "about", p->about);
	}
	out_end(args->out);
	return 0;
}
