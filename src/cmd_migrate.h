/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cmd_migrate.h - the `migrate` object of kcmtool.
 *
 *   cmd_migrate.c         table              cmd_migrate_open.c        instances; errors about them
 *   cmd_migrate_attach.c  attach, detach     cmd_migrate_generation.c  generation, weight, policy
 *   cmd_migrate_show.c    show               cmd_migrate_watch.c       watch
 *   cmd_migrate_udp.c     show, of UDP
 *   cmd_migrate_check.c   check, see cmd_migrate_check.h; keeper.c: keep, park, unpark
 */
#ifndef KCM_CMD_MIGRATE_H
#define KCM_CMD_MIGRATE_H

#include "cmd.h"
#include "feature.h"
#include "lib/migrate_view.h"

#define MIGRATE_NEEDS_READ  FEAT(CAP_BPF)
#define MIGRATE_NEEDS_WRITE (FEAT(CAP_BPF) | FEAT(CAP_NET_ADMIN))
#define MIGRATE_NEEDS_LOAD  (MIGRATE_NEEDS_WRITE | FEAT(CAP_PERFMON))

extern const struct cmd migrate_cmds[];
extern const struct cmd_opt migrate_attach_opts[];
extern const struct cmd_opt migrate_park_opts[];

#define ANCHOR_BACKLOG 4096
#define ANCHOR_TIME_S  60

/* ---- cmd_migrate_open.c ---- */

/* Open instance @name. Return: 0, or the exit code after an error line. */
int migrate_open(struct mg_view *v, const char *name, bool write);
#define _cleanup_migrate_ _cleanup_(mg_view_close)
/* "10.0.0.1:80", "[::]:443%eth0". Return: @text, of MIGRATE_ADDR bytes. */
#define MIGRATE_ADDR 80
const char *migrate_addr(const struct kcm_mg *mg, int group, char *text);
bool migrate_group_used(const struct kcm_mg *mg, int group);

/* ---- handlers ---- */
int migrate_attach(const struct cmd_args *args);
int migrate_detach(const struct cmd_args *args);
int migrate_show(const struct cmd_args *args);
int migrate_generation(const struct cmd_args *args);
int migrate_weight(const struct cmd_args *args);
int migrate_policy(const struct cmd_args *args);
int migrate_watch(const struct cmd_args *args);
int migrate_keep(const struct cmd_args *args);
int migrate_park(const struct cmd_args *args);
int migrate_unpark(const struct cmd_args *args);

#endif
