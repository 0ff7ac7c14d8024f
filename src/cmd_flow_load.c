// SPDX-License-Identifier: GPL-2.0
/* flow load, unload; flow as one of the systems. */
#include <errno.h>
#include "cmd_flow.h"
#include "lib/flow_load.h"
#include "lib/flow_parse.h"
#include "system.h"

#define CACHE_MAX    (1u << 22)
#define POLICIES_MAX (1u << 20)

extern const struct kcm_system flow_system;

const struct cmd_opt flow_load_opts[] = {
	{ .name = "mode",
	  .value = "MODE",
	  .help = "native: by the driver; generic: by the stack, slower; auto: what works",
	  .choices = "auto native generic",
	  .dashed = true },
	{ .name = "file",
	  .value = "FILE",
	  .help = "policies that are in force from the start",
	  .dashed = true,
	  .letter = 'f' },
	{ .name = "cache-entries",
	  .value = "N",
	  .help = "flows that a CPU keeps, 32k of IPv4 and as many of IPv6; 0: no cache",
	  .dashed = true },
	{ .name = "policies", .value = "N", .help = "room for so many, 16k", .dashed = true },
	{ .name = "idle", .value = "S", .help = "time-out of a flow, 300", .dashed = true },
	{ .name = "closed", .value = "S", .help = "time-out after FIN or RST, 10", .dashed = true },
	{ .name = "no-bypass",
	  .help = "count every flow, even where the cache costs more than it saves",
	  .dashed = true },
	{ 0 }
};

static int take_mode(const struct cmd_args *args, enum flow_mode *mode)
{
	const char *text = args_str(args, "mode", "auto");

	*mode = streq(text, "native")	 ? FLOW_NATIVE
		: streq(text, "generic") ? FLOW_GENERIC
					 : FLOW_AUTO;
	if (*mode != FLOW_AUTO || streq(text, "auto"))
		return 0;
	return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "--mode",
			      .next = "auto, native or generic"),
		      "'%s' is no mode", text);
}

static int load_failed(const struct cmd_args *args, int err, const char *why)
{
	const char *ifname = args->pos[0];
	int code;

	switch (err) {
	case -ENOMEM:
	case -E2BIG:
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = ifname, .why = why,
				      .next = "kcmtool flow policy check -f FILE"),
			      "cannot load flow");
	case -ENODEV:
		return report(PROBLEM(.code = KCM_EXIT_CONFIG, .why = why, .next = "ip link"),
			      "cannot load flow");
	case -EXDEV:
		return report(PROBLEM(.code = KCM_EXIT_CONFIG, .where = ifname, .why = why,
				      .next = "kcmtool flow show; kcmtool flow unload IFACE"),
			      "cannot load flow");
	case -EOPNOTSUPP:
		return report(PROBLEM(.code = KCM_EXIT_KERNEL, .why = why,
				      .next = "--mode generic, or a smaller MTU"),
			      "cannot load flow");
	case -EBUSY:
	case -ESTALE:
	case -ENOSPC:
		return flow_failed("cannot load flow", ifname, err, why);
	}
	code = feature_explain(flow_system.needs, "cannot load flow");
	if (code)
		return code;
	/* Privilege was looked at: what is denied now, the verifier of this kernel denies. */
	code = err == -EACCES ? KCM_EXIT_KERNEL : log_exit_code(err);
	return report(PROBLEM(.code = code, .where = ifname, .why = *why ? why : log_errno(err),
			      .next = "kcmtool -v flow load, kcmtool doctor"),
		      "cannot load flow");
}

int flow_load(const struct cmd_args *args)
{
	struct flow_load_opts o = { .ifname = (const char *const *)args->pos,
				    .n_if = (__u32)args->npos };
	const char *file = args_str(args, "file", NULL);
	_cleanup_set_ struct flow_set set = { 0 };
	struct flow_loaded done;
	uint64_t entries, policies, idle, closed;
	char why[512] = "";
	int err, code = take_mode(args, &o.mode);

	code = code ?: args_u64(args, "cache-entries", 0, CACHE_MAX, FLOW_CACHE_ENTRIES, &entries);
	code = code ?: args_u64(args, "policies", 1, POLICIES_MAX, FLOW_POLICIES, &policies);
	code = code ?: args_u64(args, "idle", 1, 1000000, FLOW_IDLE_S, &idle);
	code = code ?: args_u64(args, "closed", 1, 1000000, FLOW_CLOSED_S, &closed);
	if (code)
		return code;
	if (args->npos > KCM_FL_IFS)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .next = "kcmtool flow load twice"),
			      "more than %d interfaces with one set of policies", KCM_FL_IFS);
	code = file ? flow_set_read(file, &set) : 0;
	if (code)
		return code;
	o.set = file ? &set : NULL;
	o.cache_entries = (__u32)entries;
	o.policies = (__u32)policies;
	o.idle_s = (__u32)idle;
	o.closed_s = (__u32)closed;
	o.no_bypass = args_flag(args, "no-bypass");
	err = kcm_flow_load(&o, &done, why, sizeof(why));
	if (err)
		return load_failed(args, err, why);
	if (done.note[0])
		warn("%s", done.note);
	out_str(args->out, "name", done.name);
	out_str(args->out, "result",
		!done.was_there ? "loaded"
		: done.anew	? "loaded anew; counters of policies go on, flows begin anew"
				: "program replaced; counters and flows go on");
	if (!done.was_there)
		for (__u32 i = 0; i < o.n_if; i++)
			out_str(args->out, o.ifname[i],
				!done.native[i] ? "generic"
				: done.frags	? "native, packets of several buffers"
						: "native");
	out_str(args->out, "attached",
		"by bpf_link, alone on the interface (no libxdp dispatcher)");
	return 0;
}

int flow_unload(const struct cmd_args *args)
{
	char name[KCM_PIN_NAME];
	int err = flow_inst_find(args->pos[0], name, sizeof(name));

	if (err == -ENOENT)
		kcm_pin_tidy(); /* an unload that was killed may have come so far */
	err = err ?: kcm_flow_unload(name);
	if (err)
		return flow_failed("cannot unload", args->pos[0], err, "");
	out_str(args->out, "name", name);
	out_str(args->out, "result", "unloaded");
	return 0;
}

/* ---- as one of the systems ---- */

static int system_unload(const char *instance, bool force)
{
	(void)force;
	return kcm_flow_unload(instance);
}

static int system_status(const char *instance, struct out *out)
{
	_cleanup_flow_ struct flow_inst f = FLOW_INST_NONE;
	int err = flow_inst_open_name(&f, instance, FLOW_READ);
	__u32 n = 0;

	if (err)
		return err;
	for (__u32 i = 0; i < f.conf.policies; i++)
		n += flow_line_lives(&f, i);
	out_u64(out, "policies", n);
	out_u64(out, "interfaces", f.links);
	return 0;
}

const struct kcm_system flow_system = {
	.name = "flow",
	.help = "Judge packets in XDP by policies, with a cache of verdicts",
	.needs = FLOW_NEEDS_LOAD,
	.layout = KCM_FLOW_LAYOUT,
	.cmds = flow_cmds,
	.load_with = "kcmtool flow load IFACE",
	.trial = kcm_flow_trial,
	.unload = system_unload,
	.status = system_status,
};
