/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* sock_owner.h - which process has a socket, found in /proc. Internal to libkcm. */
#ifndef KCM_SOCK_OWNER_H
#define KCM_SOCK_OWNER_H

/*
 * Fill @map (kcm_sk_owners) with the processes that have sockets open, by inode of the socket. Of
 * several the one with the lowest pid counts: most often it made the socket, and the others have
 * it by fork().
 * Return: 0 or -errno.
 */
int sock_owners_write(int map);
void sock_owners_clear(int map);

#endif
