/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * kcm_sockopt.h - the private socket options that `kcmtool sock load` makes work, for programs
 * that call setsockopt() themselves, in any language. kcm_sock.h has functions for them.
 *
 *	setsockopt(fd, KCM_SOL_KCM, KCM_SO_LABEL, "tenant=acme", 11);
 *
 * Without `kcmtool sock load` they fail with ENOPROTOOPT. They need no privilege. What is set on a
 * listening socket is inherited by what it accepts.
 */
#ifndef KCM_SOCKOPT_H
#define KCM_SOCKOPT_H

#define KCM_SOL_KCM 0x6b636d

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

#endif
