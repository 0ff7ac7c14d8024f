/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * migrate_anchor.h - a listener of our own in a server's reuseport group.
 * Internal to libkcm and kcmtool.
 *
 * It keeps the group and its selector alive while the server has no listener; connections wait in
 * its accept queue until a listener of the server can have them. It must be of the shape that the
 * server's listeners have, else the kernel puts it into a group of its own.
 */
#ifndef KCM_MIGRATE_ANCHOR_H
#define KCM_MIGRATE_ANCHOR_H

#include "migrate_view.h"

struct mg_anchor {
	int fd; /* -1: none */
	__u32 kind;
	__u64 cookie;
	__u64 since_ns; /* CLOCK_MONOTONIC */
};

#define MG_ANCHOR_NONE    \
	{                 \
		.fd = -1, \
	}

/* Kinds that an anchor can't have: keys are known to nobody but the server. */
#define MG_ANCHOR_NO_KIND (KCM_MG_KIND_MD5 | KCM_MG_KIND_AO | KCM_MG_KIND_MPTCP)

/**
 * anchor_netns() - open the network namespace of @group
 * Return: a descriptor; -1 it is our own; or -errno: -ENOENT it is not found.
 */
#define MG_NETNS_OWN (-1)
int anchor_netns(struct mg_view *v, int group);

/**
 * anchor_open() - listen like the listeners of @group, and attach the selector to the group
 * @netns: as from anchor_netns()
 * @kind: enum kcm_mg_kind that it shall have; only what is in KCM_MG_KIND_MUST counts
 * @step: what failed
 * The selector does not choose it before anchor_publish().
 * Maps that the view has not opened are left alone (for tests).
 * Return: 0 or -errno; -EOPNOTSUPP: it can't be of @kind.
 */
int anchor_open(struct mg_view *v, int group, int netns, __u32 kind, struct mg_anchor *a,
		const char **step);

/* Take back an anchor that was open all the time. Return: its group, or -errno: it is none. */
int anchor_adopt(struct mg_view *v, int fd, struct mg_anchor *a);

/* Connections may be parked at @a from now on; NULL: at none. */
void anchor_publish(struct mg_view *v, int group, const struct mg_anchor *a);

/* Connections that wait, and how many may. Return: 0 or -errno. */
int anchor_queue(const struct mg_anchor *a, __u32 *n, __u32 *max);

/* Reset the @n that have waited longest. Return: how many there were. */
__u32 anchor_expire(const struct mg_anchor *a, __u32 n);

/* What still waits goes where the selector says; what goes nowhere is reset. */
void anchor_close(struct mg_view *v, struct mg_anchor *a);

/*
 * Let go of a closed anchor's cookie; not before requests that were half open have come to an end,
 * one way or the other.
 */
#define MG_ANCHOR_REST_NS (65ULL * 1000000000)
void anchor_forget(struct mg_view *v, __u64 cookie);

/* Cookies of all anchors that have not been forgotten. Return: how many. */
size_t anchor_list(struct mg_view *v, __u64 *cookies, size_t max);

__u64 anchor_now(void); /* CLOCK_MONOTONIC */

#endif
