// SPDX-License-Identifier: GPL-2.0
/* The table of the sock object. */
#include "cmd_sock.h"

const struct cmd sock_cmds[] = {
	{ "sock", "load", NULL, "Begin to keep state of sockets, or go on with this version",
	  SOCK_NEEDS_LOAD, sock_load, sock_load_opts, NULL },
	{ "sock", "unload", NULL, "End it, and leave nothing behind", SOCK_NEEDS_WRITE, sock_unload,
	  NULL, NULL },
	{ "sock", "frame", "[PORT|list|del] [DESC|PORT]...",
	  "Tell how messages on a port are framed; list that", SOCK_NEEDS_LOAD, sock_frame, NULL,
	  "list del" },
	{ 0 }
};
