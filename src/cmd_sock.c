// SPDX-License-Identifier: GPL-2.0
/* The table of the sock object. */
#include "cmd_sock.h"
#include "cmd_sock_filter.h"

/* What completion offers where a filter may stand, or a field. */
#define SOCK_WORD(id, name, ...) name " "
#define SOCK_WORDS		 SOCK_FIELDS(SOCK_WORD)

#define SOCK_SORT_OPTS                                                                   \
	{ .name = "sort",                                                                \
	  .value = "FIELD[:asc|desc]",                                                   \
	  .help = "by one of sock fields; numbers begin with the greatest",              \
	  .choices = SOCK_WORDS,                                                         \
	  .dashed = true },                                                              \
	{                                                                                \
		.name = "limit", .value = "N", .help = "at most so many", .dashed = true \
	}

static const struct cmd_opt show_opts[] = {
	{ .name = "listeners", .help = "only listening sockets", .dashed = true, .letter = 'l' },
	{ .name = "all",
	  .help = "listening and unconnected ones too",
	  .dashed = true,
	  .letter = 'a' },
	SOCK_SORT_OPTS,
	{ 0 }
};

static const struct cmd_opt top_opts[] = {
	{ .name = "interval", .value = "TIME", .help = "between two looks, 1s", .dashed = true },
	{ .name = "batch", .help = "plain tables, as without a terminal", .dashed = true },
	{ .name = "count", .value = "N", .help = "end after so many", .dashed = true },
	{ .name = "sort",
	  .value = "FIELD[:asc|desc]",
	  .help = "by a rate (bytes_s rx_s tx_s msgs_s retrans_s) or one of sock fields",
	  .choices = "bytes_s rx_s tx_s msgs_s retrans_s " SOCK_WORDS,
	  .dashed = true },
	{ .name = "limit",
	  .value = "N",
	  .help = "at most so many in plain tables, 20",
	  .dashed = true },
	{ 0 }
};

static const struct cmd_opt watch_opts[] = {
	{ .name = "slow", .value = "TIME", .help = "also tell of answers that took longer" },
	{ .name = "count", .value = "N", .help = "end after so many", .dashed = true },
	{ 0 }
};

const struct cmd sock_cmds[] = {
	{ "sock", "load", NULL, "Begin to keep state of sockets, or go on with this version",
	  SOCK_NEEDS_LOAD, sock_load, sock_load_opts, NULL },
	{ "sock", "unload", NULL, "End it, and leave nothing behind", SOCK_NEEDS_WRITE, sock_unload,
	  NULL, NULL },
	{ "sock", "sweep", NULL,
	  "Find sockets that are older than load, and those that went unseen", SOCK_NEEDS_WRITE,
	  sock_sweep, NULL, NULL },
	{ "sock", "frame", "[PORT|list|del] [DESC|PORT]...",
	  "Tell how messages on a port are framed; list that", SOCK_NEEDS_LOAD, sock_frame, NULL,
	  "list del" },
	{ "sock", "show", "[FILTER]...",
	  "List connections with their counters; filters: sock fields", SOCK_NEEDS_READ, sock_show,
	  show_opts, SOCK_WORDS },
	{ "sock", "label", "FILTER... KEY=VALUE...",
	  "Label sockets that are there; KEY= removes a label", SOCK_NEEDS_LOAD, sock_label, NULL,
	  SOCK_WORDS },
	{ "sock", "limit", "[FILTER|list|del]... [rate=RATE|msgs=N/s] [drop]",
	  "Limit what sockets send, those there and new ones; list that", SOCK_NEEDS_LOAD,
	  sock_limit, NULL, "list del rate= msgs= drop " SOCK_WORDS },
	{ "sock", "top", "[FILTER]...", "Show the busiest connections, again and again",
	  SOCK_NEEDS_READ, sock_top, top_opts, SOCK_WORDS },
	{ "sock", "watch", "[FILTER]...",
	  "Tell of each connection that opens, closes, fails or is slow", SOCK_NEEDS_WRITE,
	  sock_watch, watch_opts, SOCK_WORDS },
	{ "sock", "snapshot", NULL, "Make the snapshot for bpftool anew", SOCK_NEEDS_READ,
	  sock_snapshot, NULL, NULL },
	{ "sock", "stats", NULL, "Show every counter of the programs", SOCK_NEEDS_READ, sock_stats,
	  NULL, NULL },
	{ "sock", "fields", NULL, "List what filters and --sort know", 0, sock_fields_list, NULL,
	  NULL },
	{ 0 },
};
