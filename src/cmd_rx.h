/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cmd_rx.h - the `rx` object of kcmtool.
 *
 *   cmd_rx.c       table            cmd_rx_tune.c  tune, untune
 *   cmd_rx_show.c  show             cmd_rx_find.c  connections of all processes, by their counters
 */
#ifndef KCM_CMD_RX_H
#define KCM_CMD_RX_H

#include "cmd.h"
#include "feature.h"
#include "lib/rx_stat.h"

extern const struct cmd rx_cmds[];
extern const struct cmd_opt rx_tune_opts[];

int rx_tune(const struct cmd_args *args);
int rx_untune(const struct cmd_args *args);
int rx_show(const struct cmd_args *args);

/* ---- cmd_rx_find.c ---- */
struct rx_process {
	unsigned int pid;
	uint64_t inode; /* of its memfd: a child that has not called exec() has the same */
	char comm[17];
	struct rx_stat_page page; /* a copy: whatever the process wrote */
};

/**
 * rx_find() - call @fn for each process that receives with rx
 * @pid: only this one; 0: all
 * @blind: processes that we may not look at
 * Return: 0; what @fn returned if that was not 0; -ESRCH no such process; or -errno.
 */
int rx_find(unsigned int pid, int (*fn)(const struct rx_process *p, void *arg), void *arg,
	    unsigned int *blind);

#endif
