/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* listener_part.h - between the files of listener.h. */
#ifndef KCM_LISTENER_PART_H
#define KCM_LISTENER_PART_H

#include "listener.h"
#include "netns.h"

struct listener_list {
	struct kcm_listener *l;
	size_t n, room;
};

/* A sorted set. */
struct listener_ids {
	__u64 *id;
	size_t n, room;
};

/* Whose listeners are asked for. */
struct listener_whose {
	bool any;
	struct listener_ids pids;
	struct listener_ids cgroups;
};

int listener_ids_add(struct listener_ids *s, __u64 id);
void listener_ids_sort(struct listener_ids *s);
bool listener_ids_have(const struct listener_ids *s, __u64 id);

/* Append the listeners of the namespace this thread is in. Return: 0 or -errno. */
int listener_diag(const struct kcm_listener_filter *f, const struct netns *ns,
		  struct listener_list *list);

/* Fill @w. Return: 0, or -errno and a line in @err. Free both sets, also after an error. */
int listener_whose(const struct kcm_listener_filter *f, struct listener_whose *w, char *err,
		   size_t size);
/* Find the owners of all of @list. Return: 0 or -errno. */
int listener_owners(struct listener_list *list, unsigned int *closed);

/* Read what takes a duplicate. */
void listener_options(struct kcm_listener *l);

/*
 * Run @fn in a thread of its own, which may enter namespaces. Return: what @fn does, or -errno.
 */
int listener_thread(int (*fn)(void *arg), void *arg);

#endif
