/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * kcm_sockopt.h - the private socket options that `kcmtool sock load` and `kcmtool migrate attach`
 * make work, for programs that call setsockopt() themselves, in any language. kcm_sock.h and
 * kcm_migrate.h have functions for them.
 *
 *	setsockopt(fd, KCM_SOL_KCM, KCM_SO_LABEL, "tenant=acme", 11);
 *
 * Without the command that makes it work an option fails with ENOPROTOOPT. They need no privilege.
 */
#ifndef KCM_SOCKOPT_H
#define KCM_SOCKOPT_H

#define KCM_SOL_KCM 0x6b636d

/* ---- kcmtool sock load; what is set on a listener is inherited by what it accepts ---- */

/*
 * Set only: "key=value", at most 4 labels a socket. The key has 1 to 11 bytes, without blanks and
 * '='; the value up to 19, and none removes the label. All are printable ASCII.
 * EINVAL: not so. ENOSPC: a fifth label. EAGAIN: others are changing labels, try again.
 */
#define KCM_SO_LABEL 1

/* Set and get, unsigned int: generation of the server process, for hot restarts. */
#define KCM_SO_GENERATION 2

/* Get only: what is known of this socket. Its layout is of one version: use kcm_sock_get(). */
#define KCM_SO_STATE 3

/* ---- kcmtool migrate attach, for listeners; set only, unsigned int; see kcm_migrate.h ---- */

/* Its generation accepts connections: number so and so, or, with 0, the one that it is of. */
#define KCM_SO_LISTENER_REGISTER 16

/* It is of generation number so and so, 1 to 4294967295. */
#define KCM_SO_LISTENER_GENERATION 17

/* 1: no more connections for this listener. */
#define KCM_SO_LISTENER_DRAIN 18

#endif
