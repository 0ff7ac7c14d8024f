// SPDX-License-Identifier: GPL-2.0
/* The table of the mux object. */
#include "cmd_mux.h"

static const struct cmd_opt create_opts[] = {
	{ .name = "frame",
	  .value = "DESC",
	  .help = "how messages are delineated, see kcmtool mux frames",
	  .required = true },
	{ .name = "workers", .value = "N", .help = "most workers at a time, 16" },
	MUX_CREATE_OPTS,
	{ 0 }
};

static const struct cmd_opt delete_opts[] = {
	{ .name = "force", .dashed = true, .help = "also while an owner runs" }, { 0 }
};

static const struct cmd_opt conns_opts[] = {
	{ .name = "state",
	  .value = "STATE",
	  .help = "only those in this state",
	  .choices = "new active held resume closing reset" },
	{ .name = "peer", .value = "ADDR", .help = "only those of this address, or ADDR:PORT" },
	{ .name = "port", .value = "P", .help = "only those to this local port" },
	{ .name = "held", .help = "only those that wait in the TCP socket" },
	{ .name = "partial", .help = "only those with an unfinished message" },
	{ .name = "limit", .value = "N", .help = "at most so many" },
	{ 0 }
};

static const struct cmd_opt attach_opts[] = {
	{ .name = "port", .value = "P", .help = "local TCP port", .required = true },
	{ .name = "cgroup",
	  .value = "DIR",
	  .help = "processes of this cgroup, the root; relative to the mount point" },
	{ 0 }
};

static const struct cmd_opt detach_opts[] = {
	{ .name = "port", .value = "P", .help = "local TCP port", .required = true }, { 0 }
};

static const struct cmd_opt run_opts[] = {
	{ .name = "listen",
	  .value = "ADDR:PORT[,...]",
	  .help = "accept TCP connections there; [V6]:PORT, *:PORT",
	  .required = true },
	{ .name = "workers", .value = "N", .help = "copies of PROGRAM, one a CPU" },
	{ .name = "user", .value = "USER", .help = "run them as this user" },
	{ .name = "stop-timeout",
	  .value = "TIME",
	  .help = "for what must finish at a reload or stop, 10s" },
	{ .name = "frame",
	  .value = "DESC",
	  .help = "make the mux, and remove it at the end; with options of create" },
	MUX_CREATE_OPTS,
	{ 0 }
};

static const struct cmd_opt bridge_opts[] = {
	{ .name = "listen",
	  .value = "PATH",
	  .help = "socket for clients, /run/kcm/mux/NAME.bridge",
	  .dashed = true },
	{ .name = "window",
	  .value = "N",
	  .help = "most messages a client has at a time, 16",
	  .dashed = true },
	{ 0 }
};

static const struct cmd_opt watch_opts[] = {
	{ .name = "interval", .value = "TIME", .help = "between two looks, 1s", .dashed = true },
	{ .name = "count", .value = "N", .help = "end after so many", .dashed = true },
	{ 0 }
};

static const struct cmd_opt bench_opts[] = {
	{ .name = "conns", .value = "N", .help = "connections, 16" },
	{ .name = "workers", .value = "N", .help = "worker threads, 2" },
	{ .name = "depth", .value = "N", .help = "messages on their way per connection, 32" },
	{ .name = "time", .value = "TIME", .help = "for each case, 1s" },
	{ 0 }
};

const struct cmd mux_cmds[] = {
	{ "mux", "create", "NAME", "Make a multiplexor", MUX_NEEDS_CREATE, mux_create, create_opts,
	  NULL },
	{ "mux", "delete", "NAME", "Remove a multiplexor that nobody uses", MUX_NEEDS_OWNER,
	  mux_delete, delete_opts, "@mux" },
	{ "mux", "show", "[NAME]", "List multiplexors, or show one", MUX_NEEDS_READ, mux_show, NULL,
	  "@mux" },
	{ "mux", "conns", "NAME", "List the connections", MUX_NEEDS_READ, mux_conns, conns_opts,
	  "@mux" },
	{ "mux", "workers", "NAME", "List the workers with their latencies", MUX_NEEDS_READ,
	  mux_workers, NULL, "@mux" },
	{ "mux", "stats", "NAME", "Show every counter", MUX_NEEDS_READ, mux_stats, NULL, "@mux" },
	{ "mux", "watch", "NAME", "Show rates of workers and connections, again and again",
	  MUX_NEEDS_READ, mux_watch, watch_opts, "@mux" },
	{ "mux", "run", "NAME -- PROGRAM [ARG]...",
	  "Accept connections and have their messages handled by copies of a program",
	  MUX_NEEDS_OWNER, mux_run, run_opts, "@mux" },
	{ "mux", "bridge", "NAME", "Hand messages to any program over a UNIX socket", 0, mux_bridge,
	  bridge_opts, "@mux" },
	{ "mux", "attach", "NAME", "Take connections to a port in when they are established",
	  MUX_NEEDS_OWNER | FEAT(SOCKOPS), mux_attach, attach_opts, "@mux" },
	{ "mux", "detach", "NAME", "Undo attach", MUX_NEEDS_OWNER, mux_detach, detach_opts,
	  "@mux" },
	{ "mux", "bench", NULL, "Measure the modes ring and strparser side by side",
	  MUX_NEEDS_CREATE, mux_bench, bench_opts, NULL },
	{ "mux", "frames", NULL, "List the frame presets", 0, mux_frames, NULL, NULL },
	{ 0 }
};
