/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cmd_sock.h - the `sock` object of kcmtool.
 *
 *   cmd_sock.c         table                 cmd_sock_open.c   what is loaded; errors about it
 *   cmd_sock_list.c    sockets, in order     cmd_sock_mux.c    which of them are in a mux
 *   cmd_sock_show.c    show, fields          cmd_sock_json.c   every field of a socket
 *   cmd_sock_top.c     top: rates            cmd_sock_screen.c top: keys and terminal
 *   cmd_sock_draw.c    top: what is seen     cmd_sock_watch.c  watch
 *   cmd_sock_ring.c    watch: its place
 *   cmd_sock_stats.c   stats                 cmd_sock_filter.c which sockets: words to conditions
 *   cmd_sock_value.c   values of those       cmd_sock_match.c  conditions against a socket
 *   cmd_sock_field.c   fields of a socket    cmd_sock_text.c   times, sizes, rates
 *   cmd_sock_names.c   names of numbers      cmd_sock_place.c  names of cgroups and netns
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

/* ---- cmd_sock_open.c ---- */

/* A view that was not opened, for _cleanup_sock_. */
#define SOCK_VIEW_NONE                               \
	{                                            \
		.fd = { [0 ... SOCK_MAPS - 1] = -1 } \
	}
/* Open and map what is loaded. Return: 0, or the exit code after an error line. */
int sock_open(struct sock_view *v, bool write);
#define _cleanup_sock_ _cleanup_(sock_view_close)
/* An error line that begins with @what for @err. Return: exit code. */
int sock_report(int err, const char *what);
/* On stderr: what is not seen, or not where it should be. */
void sock_warn_losses(const struct kcm_sk_ctl *ctl);

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
int sock_fields_list(const struct cmd_args *args);

#endif
