/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * sock_sweep.h - look at every socket of this machine: state for those that are older than the
 * programs, and slots back from those that went without a word. (A connection tells of its end by
 * a callback; another program may have switched that off.) Internal to libkcm and kcmtool.
 */
#ifndef KCM_SOCK_SWEEP_H
#define KCM_SOCK_SWEEP_H

#include <stddef.h>
#include <linux/types.h>

struct sock_sweep {
	__u64 met;		   /* sockets in the cgroups */
	__u64 adopted;		   /* state was made for them */
	__u64 listeners;	   /* of those */
	__u64 unslotted;	   /* of those: without a slot */
	__u64 refused;		   /* state could not be made */
	__u64 swept;		   /* slots given back */
	unsigned int netns;	   /* visited */
	unsigned int netns_closed; /* not permitted */
};

/**
 * kcm_sock_sweep() - sweep every network namespace that can be entered
 * Slots of sockets elsewhere are left alone.
 * @err: one line
 * Return: 0 or -errno; -ENOENT not loaded.
 */
int kcm_sock_sweep(struct sock_sweep *result, char *err, size_t size);

/* What all sweeps since load came to, without the namespaces. Return: 0 or -errno. */
int kcm_sock_swept(struct sock_sweep *total);

/* Run an iterator (enum sock_iter_file) in every namespace. Return: 0 or the first -errno. */
int kcm_sock_each_netns(int file);

#endif
