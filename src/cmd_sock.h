/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cmd_sock.h - the `sock` object of kcmtool.
 *
 *   cmd_sock.c         table                 cmd_sock_open.c   what is loaded; errors about it
 *   cmd_sock_show.c    show                  cmd_sock_names.c  names of states, cgroups, netns
 *   cmd_sock_top.c     top                   cmd_sock_watch.c  watch
 *   cmd_sock_stats.c   stats                 cmd_sock_filter.c which sockets: words to conditions
 */
#ifndef KCM_CMD_SOCK_H
#define KCM_CMD_SOCK_H

#include "cmd.h"
#include "feature.h"
#include "lib/sock_view.h"

#define SOCK_NEEDS_READ	 FEAT(CAP_BPF)
#define SOCK_NEEDS_WRITE (FEAT(CAP_BPF) | FEAT(CAP_NET_ADMIN))
#define SOCK_NEEDS_LOAD	 (SOCK_NEEDS_WRITE | FEAT(CAP_PERFMON))

#define SOCK_PIN_DIR "/sys/fs/bpf/kcm/sock/default"

extern const struct cmd sock_cmds[];

extern const struct cmd_opt sock_load_opts[];

/* ---- handlers ---- */
int sock_load(const struct cmd_args *args);
int sock_unload(const struct cmd_args *args);
int sock_show(const struct cmd_args *args);
int sock_top(const struct cmd_args *args);
int sock_watch(const struct cmd_args *args);
int sock_frame(const struct cmd_args *args);
int sock_label(const struct cmd_args *args);
int sock_limit(const struct cmd_args *args);
int sock_snapshot(const struct cmd_args *args);
int sock_sweep(const struct cmd_args *args);
int sock_stats(const struct cmd_args *args);

#endif
