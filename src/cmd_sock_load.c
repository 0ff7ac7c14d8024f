// SPDX-License-Identifier: GPL-2.0
/* sock load, unload, sweep. */
#include <errno.h>
#include "cmd_sock.h"
#include "lib/pin.h"
#include "lib/sock_load.h"
#include "lib/sock_sweep.h"
#include "system.h"

extern const struct kcm_system sock_system;

const struct cmd_opt sock_load_opts[] = {
	{ .name = "cgroup",
	  .value = "DIR",
	  .help = "sockets of this cgroup, the root; relative to the mount point",
	  .many = true },
	{ .name = "sockets",
	  .value = "N",
	  .help = "slots, 16k, rounded up to a power of two; twice the connections is good" },
	{ .name = "optmem",
	  .help = "raise net.core.optmem_max to 128 KiB until unload",
	  .dashed = true },
	{ 0 }
};

static int load_failed(int err, const char *why)
{
	int code;

	switch (err) {
	case -ESTALE:
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = SOCK_PIN_DIR,
				      .why = "a newer kcmtool has loaded it",
				      .next = "that kcmtool, or: kcmtool sock unload"),
			      "cannot load sock");
	case -EBUSY:
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = KCM_BPFFS,
				      .why = "another process holds the lock",
				      .next = "again when it is done; lslocks names it"),
			      "cannot load sock");
	case -EXDEV:
	case -EUCLEAN:
		return report(PROBLEM(.code = KCM_EXIT_CONFIG, .where = SOCK_PIN_DIR, .why = why,
				      .next = "kcmtool sock unload"),
			      "cannot load sock");
	case -ENOENT:
	case -ENOTDIR:
	case -ENOTTY:
		return report(PROBLEM(.code = KCM_EXIT_CONFIG, .why = why, .where = "cgroup",
				      .next = "--cgroup DIR, a directory of cgroup2"),
			      "cannot load sock");
	}
	if (err == -ENOMEM || err == -E2BIG)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = SOCK_PIN_DIR,
				      .why = why[0] ? why : log_errno(err),
				      .next = "free memory, or load --sockets with less"),
			      "cannot load sock");
	code = feature_explain(sock_system.needs, "cannot load sock");
	if (code)
		return code;
	/* Privilege was looked at: what is denied now, the verifier of this kernel denies. */
	code = err == -EACCES ? KCM_EXIT_KERNEL : log_exit_code(err);
	return report(PROBLEM(.code = code, .where = SOCK_PIN_DIR,
			      .why = why[0] ? why : log_errno(err),
			      .next = "kcmtool -v sock load, kcmtool doctor"),
		      "cannot load sock");
}

static void show_sweep(struct out *o, const struct sock_sweep *s)
{
	out_u64(o, "sockets", s->met);
	out_u64(o, "adopted", s->adopted);
	out_u64(o, "adopted_listeners", s->listeners);
	out_u64(o, "adopted_without_slot", s->unslotted);
	out_u64(o, "adoption_refused", s->refused);
	out_u64(o, "swept", s->swept);
	out_u64(o, "namespaces", s->netns);
	out_u64(o, "namespaces_closed", s->netns_closed);
}

int sock_load(const struct cmd_args *args)
{
	const char *cgroups[SOCK_CGROUPS];
	struct sock_sweep sweep = { 0 };
	struct sock_load_opts o = { .cgroups = cgroups, .sweep = &sweep };
	struct kcm_pin_info before;
	char why[512] = "";
	uint64_t slots;
	int found, err, code = args_u64(args, "sockets", 1, KCM_SK_SLOTS_MAX, 0, &slots);

	if (code)
		return code;
	o.n_cgroups = args_all(args, "cgroup", cgroups, SOCK_CGROUPS);
	if (o.n_cgroups > SOCK_CGROUPS)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "cgroup",
				      .next = "--cgroup DIR that contains them"),
			      "more than %d cgroups", SOCK_CGROUPS);
	o.slots = (__u32)slots;
	o.optmem = args_flag(args, "optmem");
	found = kcm_pin_info("sock", SOCK_INSTANCE, &before);
	err = kcm_sock_load(&o, why, sizeof(why));
	if (err && err != -EEXIST)
		return load_failed(err, why);
	if (why[0])
		warn("%s", why);
	out_str(args->out, "system", "sock");
	out_str(args->out, "result",
		err		   ? "already loaded"
		: found == -ENOENT ? "loaded"
				   : "upgraded");
	out_str(args->out, "path", SOCK_PIN_DIR);
	show_sweep(args->out, &sweep);
	return 0;
}

int sock_sweep(const struct cmd_args *args)
{
	struct sock_sweep sweep;
	char why[256];
	int err = kcm_sock_sweep(&sweep, why, sizeof(why));

	if (err == -ENOENT)
		return report(PROBLEM(.code = KCM_EXIT_NOT_LOADED, .where = SOCK_PIN_DIR,
				      .next = "kcmtool sock load"),
			      "sock is not loaded");
	if (err == -ESTALE)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = SOCK_PIN_DIR,
				      .why = "another version of kcmtool has loaded it",
				      .next = "kcmtool sock load"),
			      "cannot sweep");
	if (err)
		return report(PROBLEM(.code = log_exit_code(err), .where = SOCK_PIN_DIR, .why = why,
				      .next = "kcmtool -v sock sweep"),
			      "cannot sweep");
	show_sweep(args->out, &sweep);
	return 0;
}

int sock_unload(const struct cmd_args *args)
{
	char note[160];
	int err = kcm_sock_unload(note, sizeof(note));

	if (note[0])
		warn("%s", note);
	if (err == -ENOENT)
		return report(PROBLEM(.code = KCM_EXIT_NOT_LOADED, .where = SOCK_PIN_DIR,
				      .next = "kcmtool status"),
			      "sock is not loaded");
	if (err)
		return report(PROBLEM(.err = err, .where = SOCK_PIN_DIR), "cannot unload sock");
	out_str(args->out, "unloaded", "sock");
	return 0;
}
