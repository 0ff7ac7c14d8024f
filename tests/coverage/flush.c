// SPDX-License-Identifier: GPL-2.0
/*
 * flush.c - what a process has counted is written before _exit() too: children that are forked end
 * with it. Linked into everything with -Wl,--wrap=_exit.
 */
#include <stdnoreturn.h>

void __gcov_dump(void);
noreturn void __real__exit(int status);
noreturn void __wrap__exit(int status);

noreturn void __wrap__exit(int status)
{
	__gcov_dump();
	__real__exit(status);
}
