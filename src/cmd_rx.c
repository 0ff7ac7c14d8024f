// SPDX-License-Identifier: GPL-2.0
/* The table of the rx object. */
#include "cmd_rx.h"

const struct cmd rx_cmds[] = {
	{ "rx", "tune", NULL,
	  "Let peers of a port send segments of whole pages, which can be mapped",
	  FEAT(CAP_BPF) | FEAT(CAP_NET_ADMIN) | FEAT(CAP_PERFMON), rx_tune, rx_tune_opts, NULL },
	{ "rx", "untune", "NAME", "Leave the port to the kernel again",
	  FEAT(CAP_BPF) | FEAT(CAP_NET_ADMIN), rx_untune, NULL, NULL },
	{ "rx", "show", "[PID]", "Show what connections map and copy, and why; and what is tuned",
	  0, rx_show, NULL, NULL },
	{ 0 },
};
