/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * Where cgroup2 is, and cgroups in it. A cgroup's id, as BPF programs see it, is the inode of its
 * directory. Internal to libkcm and kcmtool.
 */
#ifndef KCM_CGROUP_H
#define KCM_CGROUP_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

/* Mount point of cgroup2, wherever it is; "" if there is none. */
const char *cgroup_root(void);

/**
 * cgroup_open() - open a cgroup's directory
 * @given: absolute, or relative to the mount point; NULL or "": the root
 * @path: what was opened, or could not be; of PATH_MAX bytes
 * Return: a descriptor; -ENODEV no cgroup2 is mounted; -ENOTTY a directory of something else; or
 * -errno.
 */
int cgroup_open(const char *given, char *path, __u64 *id);

/* Is the cgroup of @fd the one with @id, or below it? As far as this mount shows. */
bool cgroup_inside(int fd, __u64 id);

/* The path of the cgroup with @id, of PATH_MAX bytes. Return: 0, -ENOENT or -errno. */
int cgroup_path(__u64 id, char *path);

/* Open the cgroup with @id. Return: a descriptor, -ENOENT or -errno. */
int cgroup_open_id(__u64 id, char *path);

#endif
