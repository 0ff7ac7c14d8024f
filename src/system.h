/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A system is one subject kcmtool works on (mux, ...): a table of commands, and what `load`,
 * `unload` and `status` do with it. A new system is one more set of files and one line in
 * systems.c.
 */
#ifndef KCM_SYSTEM_H
#define KCM_SYSTEM_H

#include <stdbool.h>
#include "cmd.h"

#define KCM_SYSTEMS_MAX 16

struct kcm_system {
	const char *name; /* the object on the command line and the directory of its pins */
	const char *help;
	uint64_t needs;	 /* bits of enum feature_id that load() relies on */
	uint32_t layout; /* version of what is pinned; an older one is replaced by `load` */
	const struct cmd *cmds;

	/*
	 * Make the instance "default". Return: 0, or -errno and one line in @err; -EEXIST if it
	 * was there already.
	 */
	int (*load)(char *err, size_t size);
	/* Where @load is NULL, for there is no instance to make without being told more: how. */
	const char *load_with;
	/*
	 * For doctor: would load() work? It may change nothing outside of bpffs, which is an empty
	 * one. NULL: load() itself does not (there is one of the two).
	 */
	int (*trial)(char *err, size_t size);
	/* Remove one instance. Return: 0 or -errno; -EBUSY if it is used and not @force. */
	int (*unload)(const char *instance, bool force);
	/* More members for the instance's row of `kcmtool status`, by out_*(); may be NULL. */
	int (*status)(const char *instance, struct out *out);
};

extern const struct kcm_system *const kcm_systems[]; /* NULL-terminated */
const struct kcm_system *kcm_system_find(const char *name);

#endif
