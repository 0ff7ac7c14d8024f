/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * sock_iter.h - iterators of sock: load, pin, run. Internal to libkcm and kcmtool.
 *
 * Pinned beside sock's maps and programs: maps of their own (kcm_sk_snap, kcm_sk_sweep, ...) and a
 * file for each iterator, which runs when it is read. Whoever may read the file may run it.
 */
#ifndef KCM_SOCK_ITER_H
#define KCM_SOCK_ITER_H

#include <stdbool.h>
#include <stddef.h>
#include <bpf/libbpf.h>
#include "../../bpf/sockiter.h"

enum sock_iter_file {
	SOCK_ITER_REFRESH, /* make the snapshot anew, in kcm_sk_snap */
	SOCK_ITER_SHOW,	   /* text: sockets in slots, and the rest of them */
	SOCK_ITER_SHOW_REST,
	SOCK_ITER_JSON, /* one object a line */
	SOCK_ITER_JSON_REST,
	SOCK_ITER_PUBLIC, /* those before are for everybody to read */
	/* One network namespace at a time: */
	SOCK_ITER_ADOPT_TCP = SOCK_ITER_PUBLIC, /* sweep: struct kcm_sk_sweep */
	SOCK_ITER_ADOPT_UDP,
	SOCK_ITER_RELIMIT, /* apply kcm_sk_rules to live connections */
	SOCK_ITER_UNLIMIT, /* take away the limits of all */
	SOCK_ITERS,
};

extern const char *const sock_iter_names[SOCK_ITERS]; /* of the pinned files: "refresh", ... */
#define SOCK_ITER_SNAPSHOT "kcm_sk_snap"	      /* the snapshot's map, as pinned */

struct sock_iter;

/*
 * Does the kernel let programs walk the elements of a map? One that does not (EPERM for root) has
 * the public iterators walk the descriptors of all processes instead: they meet no socket that
 * nobody has open. Anything else that is wrong is for load to tell: true.
 */
bool sock_iter_maps_permitted(void);

/* Are those that are pinned in @dir of the second kind? */
bool sock_iter_by_files(const char *dir);

/**
 * sock_iter_load() - load the iterators on the maps of @sock, which is loaded
 * @old_dir: pins of a running version whose own maps are kept; NULL: none
 * Return: 0 and @it; or -errno and a line in @err.
 */
int sock_iter_load(struct sock_iter **it, const struct bpf_object *sock,
		   const struct kcm_sk_cfg *cfg, const char *old_dir, char *err, size_t size);

/* Pin maps and iterators in @dir. Return: 0 or -errno; @err as above. */
int sock_iter_pin(struct sock_iter *it, const char *dir, char *err, size_t size);

void sock_iter_free(struct sock_iter *it); /* NULL allowed */

/**
 * sock_iter_run() - run an iterator to its end
 * @dir: where it is pinned
 * @netns_fd: the network namespace whose sockets are met; -1: our own
 * @text: the end of what it printed, without the newline; NULL: don't keep it
 * Return: 0 or -errno; -ENOENT not pinned.
 */
int sock_iter_run(const char *dir, enum sock_iter_file file, int netns_fd, char *text, size_t size);

struct sock_refreshed {
	__u64 sockets; /* in the snapshot now */
	__u64 removed; /* that had been in it */
	__u64 missed;  /* since load: it was full, or too many refreshed it at a time */
};

/* Make the snapshot in @dir anew. Return: 0 or -errno. */
int sock_iter_refresh(const char *dir, struct sock_refreshed *r);

/**
 * sock_iter_snapshot() - refresh the snapshot in @dir and call @fn for each socket in it
 * A non-zero return of @fn ends it and is returned. Order: none.
 * Return: 0, what @fn returned, or -errno.
 */
int sock_iter_snapshot(const char *dir, int (*fn)(const struct kcm_sock *sock, void *arg),
		       void *arg);

#endif
