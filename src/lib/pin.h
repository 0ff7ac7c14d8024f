/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Pins of an instance: /sys/fs/bpf/kcm/<system>/<name>/. Internal to libkcm and kcmtool.
 *
 * An instance appears and disappears whole. It is built in a stage directory and renamed to its
 * place; to remove it, it is renamed to the stage directory first. Both happen under one lock, so
 * a stage that the holder of the lock finds is left over from a process that was killed, and is
 * removed. (bpffs: rename of a directory, RENAME_EXCHANGE and flock() work; a dot in a name and
 * rename onto a directory that is not empty do not.)
 *
 * All functions return 0 or -errno and print nothing.
 */
#ifndef KCM_PIN_H
#define KCM_PIN_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>
#include "../../bpf/layout.h"

#define KCM_BPFFS      "/sys/fs/bpf"
#define KCM_PIN_ROOT   KCM_BPFFS "/kcm"
#define KCM_PIN_STAGE  KCM_PIN_ROOT "/stage+" /* `+` is not allowed in names of systems */
#define KCM_PIN_LAYOUT "layout"
#define KCM_PIN_PATH   128
#define KCM_PIN_NAME   32

struct kcm_pin_txn {
	int lock_fd;
	bool replaces; /* @final holds an older layout (or is replaced by order) */
	__u32 layout;
	char dir[KCM_PIN_PATH];	  /* pin maps, programs and links here */
	char final[KCM_PIN_PATH]; /* where dir goes at commit */
};

/* Letters, digits, `-` and `_`; at most KCM_PIN_NAME - 1; no leading `-`. */
bool kcm_pin_name_ok(const char *name);

/* "/sys/fs/bpf/kcm/SYSTEM/NAME/FILE"; @name and @file may be NULL. -EINVAL, -ENAMETOOLONG. */
int kcm_pin_path(char *path, size_t size, const char *system, const char *name, const char *file);

/* Mount bpffs at /sys/fs/bpf if it is not there (needs CAP_SYS_ADMIN). */
int kcm_pin_mount(void);

/**
 * kcm_pin_lock() - lock out other processes that load or unload
 * Removes what killed processes left.
 * Return: a descriptor to close, or -errno; -ENOENT without bpffs, -EBUSY after 10 seconds.
 */
int kcm_pin_lock(void);

/**
 * kcm_pin_begin() - begin to build an instance
 * Mounts bpffs where needed and locks until kcm_pin_commit() or kcm_pin_abort().
 * @replace: replace an instance of the same layout too, not only an older one
 * Return: 0; -EEXIST if this layout is there already; -ESTALE if a newer one is; or -errno.
 */
int kcm_pin_begin(struct kcm_pin_txn *txn, const char *system, const char *name, __u32 layout,
		  bool replace);

/*
 * Make the staged @file known as "/sys/fs/bpf/kcm/SYSTEM/@alias" too, by a symbolic link. The link
 * leads nowhere before kcm_pin_commit(), and is removed with what it leads to.
 */
int kcm_pin_alias(const struct kcm_pin_txn *txn, const char *alias, const char *file);

/*
 * Record the layout and rename the stage to its place, atomically. What it replaces is unpinned;
 * processes that hold its maps keep them. On failure nothing is left, as after kcm_pin_abort().
 */
int kcm_pin_commit(struct kcm_pin_txn *txn);
void kcm_pin_abort(struct kcm_pin_txn *txn);

/* Remove what killed processes left, if nobody holds the lock. */
void kcm_pin_tidy(void);

/* Unpin a whole instance. -ENOENT if it is not there. */
int kcm_pin_remove(const char *system, const char *name);

/* -ENOENT: no such instance; -ENODATA: it has no readable layout map. */
int kcm_pin_info(const char *system, const char *name, struct kcm_pin_info *info);

/* Call @fn for each instance. A non-zero return of @fn ends the walk and is returned. */
int kcm_pin_each(const char *system, int (*fn)(const char *name, void *arg), void *arg);

#endif
