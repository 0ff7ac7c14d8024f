/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * sock_optmem.h - memory for storage on sockets: a sysctl, of this network namespace (before
 * Linux 6.8: of all). Internal to libkcm.
 */
#ifndef KCM_SOCK_OPTMEM_H
#define KCM_SOCK_OPTMEM_H

#define SOCK_OPTMEM "net.core.optmem_max"

/* Raise it, and note in kcm_sk_ctl what it was. Return: 0 or -errno. */
int sock_optmem_raise(void);

/* Set it to what was noted, unless somebody else has changed it since. Return: 0 or -errno. */
int sock_optmem_restore(void);

#endif
