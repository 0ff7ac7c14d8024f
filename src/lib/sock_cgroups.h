/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* sock_cgroups.h - which cgroups the programs of sock are attached to. Internal to libkcm. */
#ifndef KCM_SOCK_CGROUPS_H
#define KCM_SOCK_CGROUPS_H

#include "sock_attach.h"

/* Can all of them be opened? Return: 0, or -errno and a line in @err. */
int sock_cgroups_check(const char *const *names, size_t n, char *err, size_t size);

/**
 * sock_cgroups_add() - attach to more cgroups, of which none may lie in another: both would count
 * @names: as for cgroup_open(). One inside another of them, or of @has, needs nothing.
 * @has: those that are attached to already
 * Return: 0; -EXDEV one of them contains one of @has; or -errno and a line in @err.
 */
int sock_cgroups_add(struct sock_links *links, const struct bpf_object *obj,
		     const char *const *names, size_t n_names, const struct sock_cgroup *has, int n,
		     char *err, size_t size);

#endif
