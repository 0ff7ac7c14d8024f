/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* netns.h - the network namespaces of this machine. Internal to libkcm and kcmtool. */
#ifndef KCM_NETNS_H
#define KCM_NETNS_H

#include <stddef.h>
#include <linux/types.h>

struct netns {
	int fd; /* for setns(); -1: our own */
	__u64 inode;
	__u64 cookie; /* as BPF programs see it; 0: not known, setns() is not permitted */
};

struct netns_list {
	struct netns *ns; /* the first is our own */
	size_t n;
};

/**
 * netns_list() - namespaces that a thread is in, and those that are mounted somewhere
 * Not found: those that only a descriptor keeps, or only a mount in another mount namespace.
 * Return: 0 or -errno. Free with netns_free().
 */
int netns_list(struct netns_list *l);
void netns_free(struct netns_list *l);

#endif
