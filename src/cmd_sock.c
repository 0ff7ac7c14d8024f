// SPDX-License-Identifier: GPL-2.0
/* The table of the sock object. */
#include "cmd_sock.h"

const struct cmd sock_cmds[] = {
	{ 0 }
};
