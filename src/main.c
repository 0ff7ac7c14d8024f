// SPDX-License-Identifier: GPL-2.0
#include <signal.h>
#include "cmd.h"

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN); /* seen as EPIPE where output is written */
	return cmd_run(argc - 1, argv + 1);
}
