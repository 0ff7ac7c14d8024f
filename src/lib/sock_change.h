/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * sock_change.h - what an operator changes on live sockets. Internal to libkcm and kcmtool.
 */
#ifndef KCM_SOCK_CHANGE_H
#define KCM_SOCK_CHANGE_H

#include <stddef.h>
#include "sock_view.h"

struct sock_change;

/**
 * sock_change_open() - load the programs that do it, on the maps of @v
 * @sockets: how many are to be labelled at a time at most; 0: it is for sock_change_udp()
 * Return: 0; or -errno and one line in @err.
 */
int sock_change_open(struct sock_change **c, const struct sock_view *v, __u32 sockets, char *err,
		     size_t size);
void sock_change_close(struct sock_change *c); /* NULL allowed */

/**
 * sock_change_label() - set a label, or remove it: an empty value
 * @result: for each cookie 0; -ENOENT there is no such socket (any more); -ENOSPC it has no room
 *	for another label; -EAGAIN others change its labels all the time
 * Return: 0 or -errno.
 */
int sock_change_label(struct sock_change *c, const __u64 *cookies, int *result, size_t n,
		      const struct kcm_sk_label *label);

/*
 * Bring UDP sockets under the rules of now, of all network namespaces. For TCP there is
 * kcm_sock_each_netns(SOCK_ITER_RELIMIT). Return: 0 or -errno.
 */
int sock_change_udp(struct sock_change *c);

#endif
