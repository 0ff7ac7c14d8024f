/* SPDX-License-Identifier: GPL-2.0 */
/* Handlers of load, unload and status. */
#ifndef KCM_LOAD_H
#define KCM_LOAD_H

#include "cmd.h"

#define LOAD_NEEDS (FEAT(CAP_BPF) | FEAT(CAP_NET_ADMIN))

int load_run(const struct cmd_args *args);
int unload_run(const struct cmd_args *args);
int status_run(const struct cmd_args *args);

#endif
