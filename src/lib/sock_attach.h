/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* sock_attach.h - the links of sock: programs on cgroups. Internal to libkcm. */
#ifndef KCM_SOCK_ATTACH_H
#define KCM_SOCK_ATTACH_H

#include <bpf/libbpf.h>
#include "sock_load.h"

struct sock_links; /* links, old ones with the program they had before */

struct sock_links *sock_links_new(void);

/* Close all. Those that are pinned stay attached. */
void sock_links_free(struct sock_links *l);

/*
 * Take over the links pinned in @dir, exchanging their programs for those of @obj. Links of
 * cgroups that are gone are left out.
 */
int sock_links_take(struct sock_links *l, const struct bpf_object *obj, const char *dir);

/* Attach every program of @obj to a cgroup, unless a link taken over does. */
int sock_links_add(struct sock_links *l, const struct bpf_object *obj, int cgroup, __u64 id);

/*
 * Attach to the cgroups of the links taken over what has no link there: programs that the former
 * version did not have, or that a killed process had not come to.
 */
int sock_links_fill(struct sock_links *l, const struct bpf_object *obj);

size_t sock_links_count(const struct sock_links *l);

/* Pin all in @dir. */
int sock_links_pin(struct sock_links *l, const char *dir);

/* Give the links that were taken over their former programs back. */
void sock_links_undo(struct sock_links *l);

/* Open what is pinned in @dir, to detach it. */
int sock_links_open(struct sock_links *l, const char *dir);

/* Detach all: at once, also if somebody holds a link. */
void sock_links_detach(const struct sock_links *l);

/* Return: how many cgroups the links in @dir are on, or -errno. */
int sock_links_cgroups(const char *dir, struct sock_cgroup *list, size_t n);

#endif
