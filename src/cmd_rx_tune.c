// SPDX-License-Identifier: GPL-2.0
/* rx tune, untune. */
#include <errno.h>
#include <stdio.h>
#include "cmd_rx.h"
#include "lib/pin.h"
#include "lib/rx_tune.h"
#include "system.h"

extern const struct kcm_system rx_system;

/* A window this large is told in units of 4,096 bytes: its edges are those of pages. */
#define WHOLE_WINDOW_BYTES (128LL << 20)

const struct cmd_opt rx_tune_opts[] = {
	{ .name = "port",
	  .value = "PORT",
	  .help = "TCP port of the server that receives",
	  .required = true,
	  .dashed = true },
	{ .name = "connect",
	  .help = "also clients that connect to the port, for what they receive",
	  .dashed = true },
	{ .name = "pages", .value = "N", .help = "of a segment, 1", .dashed = true },
	{ .name = "cgroup",
	  .value = "DIR",
	  .help = "sockets of this cgroup, the root; relative to the mount point",
	  .dashed = true },
	{ .name = "name", .value = "NAME", .help = "of the instance, portPORT", .dashed = true },
	{ 0 }
};

/* The @nth number of a file; -1: not known. */
static long long number(const char *path, int nth)
{
	_cleanup_file_ FILE *f = fopen(path, "re");
	long long v = -1;

	for (int i = 0; f && i <= nth; i++)
		if (fscanf(f, "%lld", &v) != 1)
			return -1;
	return v;
}

static void say_what_helps(const struct rx_tune_opts *o)
{
	long long window = number("/proc/sys/net/ipv4/tcp_rmem", 2),
		  most = number("/proc/sys/net/core/rmem_max", 0);

	if (window < WHOLE_WINDOW_BYTES && most < WHOLE_WINDOW_BYTES)
		warn("windows of new connections may end in the middle of a page, and mapping "
		     "stops there; try: sysctl -w net.core.rmem_max=%lld",
		     WHOLE_WINDOW_BYTES);
	if (!o->timestamps)
		warn("net.ipv4.tcp_timestamps is off: segments are %u bytes without them",
		     o->pages * KCM_RX_PAGE);
}

static int failed(int err, const char *name, unsigned int port, const char *why)
{
	char what[64];
	int code;

	snprintf(what, sizeof(what), "cannot tune port %u", port);
	switch (err) {
	case -EEXIST:
		return report(PROBLEM(.code = KCM_EXIT_CONFIG, .where = name, .why = why,
				      .next = "kcmtool rx untune, or another --name"),
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
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = name,
				      .why = "another version of kcmtool tuned it",
				      .next = "that kcmtool, or: kcmtool rx untune"),
			      "%s", what);
	}
	code = feature_explain(rx_system.needs, what);
	if (code)
		return code;
	return report(PROBLEM(.code = err == -EACCES ? KCM_EXIT_KERNEL : log_exit_code(err),
			      .where = name, .why = why[0] ? why : log_errno(err),
			      .next = "kcmtool -v rx tune, kcmtool doctor"),
		      "%s", what);
}

int rx_tune(const struct cmd_args *args)
{
	struct rx_tune_opts o = { .cgroup = args_str(args, "cgroup", NULL),
				  .connect = args_flag(args, "connect"),
				  .timestamps =
					  number("/proc/sys/net/ipv4/tcp_timestamps", 0) != 0 };
	char plain[16], name[KCM_PIN_NAME + 1], err[256] = "";
	struct kcm_rx_tune t;
	uint64_t port, pages;
	int code = args_u64(args, "port", 1, 65535, 0, &port), ret;

	code = code ?: args_u64(args, "pages", 1, KCM_RX_PAGES_MAX, 1, &pages);
	if (code)
		return code;
	o.port = (__u16)port;
	o.pages = (unsigned int)pages;
	snprintf(plain, sizeof(plain), "port%u", o.port);
	snprintf(name, sizeof(name), "%s", args_str(args, "name", plain));
	ret = kcm_rx_tune(name, &o, err, sizeof(err));
	if (ret)
		return failed(ret, name, o.port, err);
	say_what_helps(&o);
	out_str(args->out, "name", name);
	out_str(args->out, "result", "tuned");
	out_u64(args->out, "port", port);
	if (!kcm_rx_tune_read(name, &t)) {
		out_u64(args->out, "mss", t.mss);
		out_u64(args->out, "listeners", t.adopted);
	}
	return 0;
}

int rx_untune(const struct cmd_args *args)
{
	int err = kcm_rx_untune(args->pos[0], false);

	if (err == -ENOENT || err == -EINVAL || err == -ENAMETOOLONG)
		return report(PROBLEM(.code = KCM_EXIT_NOT_LOADED, .next = "kcmtool rx show"),
			      "'%s' is not tuned", args->pos[0]);
	if (err)
		return report(PROBLEM(.where = args->pos[0], .err = err,
				      .next = "again; if need be kcmtool unload rx --force"),
			      "cannot untune");
	out_str(args->out, "name", args->pos[0]);
	out_str(args->out, "result", "untuned");
	return 0;
}
