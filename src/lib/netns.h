/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* netns.h - the network namespaces of this machine. Internal to libkcm and kcmtool. */
#ifndef KCM_NETNS_H
#define KCM_NETNS_H

/**
 * netns_each() - call @fn once for each network namespace that a process is in, or that is bound
 * to a file in /run/netns; our own comes first, with -1 for @netns_fd
 * A non-zero return of @fn ends it and is returned. Namespaces that only a descriptor keeps are
 * not found, nor are those that we may not see.
 * Return: 0, what @fn returned, or -errno.
 */
int netns_each(int (*fn)(int netns_fd, void *arg), void *arg);

#endif
