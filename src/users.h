/* SPDX-License-Identifier: GPL-2.0 */
/* Which processes hold maps or programs of an instance, whatever system it belongs to. */
#ifndef KCM_USERS_H
#define KCM_USERS_H

#include <stddef.h>

/**
 * users_find() - look through /proc for holders of what the instance has pinned
 * @who: "pid 12 (server), pid 13 (worker)", cut short with "..."
 * Without privilege only the caller's own processes are seen.
 * Return: number of processes, or -errno; -ENOENT no such instance.
 */
int users_find(const char *system, const char *instance, char *who, size_t size);

#endif
