// SPDX-License-Identifier: GPL-2.0
/* The table of the flow object. */
#include "cmd_flow.h"

#define FILTERS                                                                                    \
	{ .name = "src", .value = "PREFIX", .help = "from there" },                                \
		{ .name = "dst", .value = "PREFIX", .help = "to there" },                          \
		{ .name = "host", .value = "PREFIX", .help = "from or to there" },                 \
		{ .name = "proto",                                                                 \
		  .value = "PROTO",                                                                \
		  .help = "tcp, udp, icmp, ... or its number" },                                   \
		{ .name = "port", .value = "N", .help = "source or destination" },                 \
		{ .name = "family", .value = "4|6", .help = "IPv4 or IPv6", .choices = "4 6" },    \
		{ .name = "policy", .value = "PRIO|NAME", .help = "that this policy decides on" }, \
	{                                                                                          \
		.name = "stale", .help = "whose policy has changed: judged anew next time"         \
	}

static const struct cmd_opt list_opts[] = {
	FILTERS,
	{ .name = "sort",
	  .value = "BY",
	  .help = "bytes, packets, age or idle",
	  .choices = "bytes packets age idle",
	  .dashed = true },
	{ .name = "limit", .value = "N", .help = "the first so many", .dashed = true },
	{ 0 }
};

const struct cmd_opt flow_filter_opts[] = { FILTERS, { 0 } };

static const struct cmd_opt top_opts[] = {
	FILTERS,
	{ .name = "sort",
	  .value = "BY",
	  .help = "bytes or packets",
	  .choices = "bytes packets",
	  .dashed = true },
	{ .name = "limit", .value = "N", .help = "so many, 20", .dashed = true },
	{ .name = "interval", .value = "MS", .help = "between two looks, 1000", .dashed = true },
	{ .name = "count", .value = "N", .help = "end after so many looks", .dashed = true },
	{ 0 }
};

static const struct cmd_opt policy_opts[] = {
	{ .name = "file", .value = "FILE", .help = "of policies", .dashed = true, .letter = 'f' },
	{ 0 }
};

static const struct cmd_opt test_opts[] = {
	{ .name = "pcap", .value = "FILE", .help = "packets of a capture", .dashed = true },
	{ .name = "spec",
	  .value = "TEXT",
	  .help = "a packet in words of policies: \"ip src 10.0.0.1 proto tcp dport 80\"",
	  .dashed = true },
	{ 0 }
};

static const struct cmd_opt watch_opts[] = {
	{ .name = "count", .value = "N", .help = "end after so many", .dashed = true },
	{ .name = "pcap", .value = "FILE", .help = "write them there", .dashed = true },
	{ 0 }
};

const struct cmd flow_cmds[] = {
	{ "flow", "load", "IFACE...", "Judge what comes in by these interfaces", FLOW_NEEDS_LOAD,
	  flow_load, flow_load_opts, NULL },
	{ "flow", "unload", "IFACE", "Let everything pass again, and forget policies and flows",
	  FLOW_NEEDS_WRITE, flow_unload, NULL, NULL },
	{ "flow", "show", "[IFACE]", "Show mode, policies, and how the cache does", FLOW_NEEDS_READ,
	  flow_show, NULL, NULL },
	{ "flow", "policy", "add|del|default|replace|check|show|save [IFACE] [WORD]...",
	  "Change policies, or show them", 0, flow_policy, policy_opts,
	  "add del default replace check show save" },
	{ "flow", "list", "IFACE", "Show flows, and which policy decides on each", FLOW_NEEDS_READ,
	  flow_list, list_opts, NULL },
	{ "flow", "top", "IFACE", "Show the busiest flows, again and again", FLOW_NEEDS_READ,
	  flow_top, top_opts, NULL },
	{ "flow", "flush", "IFACE", "Judge flows (all) anew with their next packet",
	  FLOW_NEEDS_WRITE, flow_flush_cmd, flow_filter_opts, NULL },
	{ "flow", "stat", "IFACE", "Show every counter of the programs", FLOW_NEEDS_READ, flow_stat,
	  NULL, NULL },
	{ "flow", "test-packet", "IFACE",
	  "Tell which policy would decide on a packet, and send none", FLOW_NEEDS_READ, flow_test,
	  test_opts, NULL },
	{ "flow", "watch", "IFACE", "Show the packets that policies sample", FLOW_NEEDS_READ,
	  flow_watch, watch_opts, NULL },
	{ 0 },
};
