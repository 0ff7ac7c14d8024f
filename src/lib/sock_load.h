/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * sock_load.h - the BPF side of sock: load, attach, pin, replace while it runs, remove.
 * Internal to libkcm and kcmtool.
 *
 * Pinned in sock/default: maps and programs by their names, and for each program and cgroup a
 * link, link_<program without kcm_sk_>_<id of the cgroup>.
 */
#ifndef KCM_SOCK_LOAD_H
#define KCM_SOCK_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#define SOCK_INSTANCE "default"
#define SOCK_LINK     "link_"
#define SOCK_CGROUPS  64

struct sock_sweep;

struct sock_load_opts {
	__u32 slots; /* 0: as many as are loaded, or KCM_SK_SLOTS; rounded up to a power of two */
	const char *const
		*cgroups; /* as for cgroup_open(); none: those that are loaded, or the root */
	size_t n_cgroups;
	bool optmem; /* raise net.core.optmem_max to its default of Linux 6.7 and later */
	bool trial;  /* attach nothing, keep nothing */
	struct sock_sweep *sweep; /* what the sweep at the end of it found; may be NULL */
};

/**
 * kcm_sock_load() - load the programs and attach them
 * Over a running version of the same layout: maps are kept, programs are exchanged one at a time
 * with none missing in between. On failure what was there goes on.
 * @err: one line; "" where the return value says it all
 * The last step is a sweep, see sock_sweep.h; where it fails, @err says so beside success.
 * Return: 0; -EEXIST the same is there already; -ESTALE a newer layout is there; or -errno.
 */
int kcm_sock_load(const struct sock_load_opts *opts, char *err, size_t size);

/**
 * kcm_sock_unload() - take limits away, detach and unpin
 * @note: one line of what could not be restored, or ""
 * Return: 0 or -errno; -ENOENT: it is not there.
 */
int kcm_sock_unload(char *note, size_t size);

/* A cgroup that the programs are attached to. */
struct sock_cgroup {
	__u64 id;
	unsigned int links;
	bool gone; /* it was removed: its links do nothing any more */
};

/* Return: how many of @list, or -errno. */
int kcm_sock_cgroups(struct sock_cgroup *list, size_t n);

#endif
