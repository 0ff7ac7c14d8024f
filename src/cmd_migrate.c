// SPDX-License-Identifier: GPL-2.0
/* The table of the migrate object. */
#include "cmd_migrate.h"
#include "cmd_migrate_check.h"

static const struct cmd_opt show_opts[] = {
	{ .name = "listeners", .help = "each listener, too", .dashed = true, .letter = 'l' },
	{ .name = "flows", .help = "UDP: each flow, too", .dashed = true },
	{ 0 }
};

static const struct cmd_opt group_opts[] = { { .name = "group",
					       .value = "N",
					       .help = "of this group only, as show counts them",
					       .dashed = true },
					     { 0 } };

static const struct cmd_opt watch_opts[] = {
	{ .name = "count", .value = "N", .help = "end after so many", .dashed = true }, { 0 }
};

const struct cmd migrate_cmds[] = {
	{ "migrate", "attach", NULL,
	  "Steer the connections or flows of a port, and move them when a listener closes",
	  MIGRATE_NEEDS_LOAD, migrate_attach, migrate_attach_opts, NULL },
	{ "migrate", "detach", "NAME", "Leave the port to the kernel again", MIGRATE_NEEDS_WRITE,
	  migrate_detach, NULL, NULL },
	{ "migrate", "show", "[NAME]", "Show groups, generations and listeners, and what they had",
	  MIGRATE_NEEDS_READ, migrate_show, show_opts, NULL },
	{ "migrate", "generation", "new|promote|drain|rollback|release NAME [GENERATION]",
	  "Begin a generation, say which one works, or let the newest", MIGRATE_NEEDS_WRITE,
	  migrate_generation, group_opts, "new promote drain rollback release" },
	{ "migrate", "weight", "NAME GENERATION PERCENT",
	  "Give so many of the new connections to a generation: a canary", MIGRATE_NEEDS_WRITE,
	  migrate_weight, group_opts, NULL },
	{ "migrate", "policy", "NAME POLICY", "Choose listeners for new connections in another way",
	  MIGRATE_NEEDS_WRITE, migrate_policy, NULL, "hash robin least cpu numa client" },
	{ "migrate", "watch", "NAME", "Tell of each listener and generation that comes or goes",
	  MIGRATE_NEEDS_READ, migrate_watch, watch_opts, NULL },
	{ "migrate", "park", "NAME",
	  "Let new connections wait at the anchor: for the moment before a stop",
	  MIGRATE_NEEDS_WRITE, migrate_park, migrate_park_opts, NULL },
	{ "migrate", "unpark", "NAME", "Give new connections to the server again",
	  MIGRATE_NEEDS_WRITE, migrate_unpark, NULL, NULL },
	{ "migrate", "keep", "NAME",
	  "Hold anchors, register UDP sockets, in the foreground: "
	  "what attach --anchor or --udp starts",
	  MIGRATE_NEEDS_WRITE, migrate_keep, NULL, NULL },
	{ "migrate", "check", NULL, "Tell what a restart of a server would lose, and why", 0,
	  migrate_check, migrate_check_opts, NULL },
	{ 0 },
};
