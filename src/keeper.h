/* SPDX-License-Identifier: GPL-2.0 */
/*
 * keeper.h - the process that holds the anchors of an instance of migrate, and of UDP registers its
 * sockets.
 *
 *   keeper.c        its loop           keeper_group.c   anchors of a group: open, hand over, expire
 *   keeper_udp.c    UDP: sockets that were opened, flows that have ended
 *   keeper_proc.c   start and stop it, only one an instance; systemd's notifications and
 * descriptors
 *
 * A listener can't be pinned: somebody must have it. And no program can put a UDP socket into the
 * map that selectors take one from. That is all this process is for. It sleeps until a listener
 * opens or closes, or a connection waits.
 */
#ifndef KCM_KEEPER_H
#define KCM_KEEPER_H

#include "lib/migrate_anchor.h"

#define KEEPER_SAMPLES 64

struct keeper_group {
	struct mg_anchor anchor;
	struct mg_anchor retiring; /* not chosen any more, closed at retire_ns */
	__u64 retire_ns;
	__u64 retired[8]; /* cookies whose half-open requests may still come to something */
	__u64 retired_ns[8];
	unsigned int n_retired;
	__u32 opened; /* kcm_mg_group.opened as it was at ... */
	__u64 opened_ns;
	__u64 retry_ns;		       /* an anchor could not be opened: not before */
	int err;		       /* why */
	__u64 expired;		       /* since the anchor was opened */
	__u64 entered[KEEPER_SAMPLES]; /* connections that ever waited, at sample_ns + i steps */
	__u64 sample_ns;
	unsigned int samples;
};

struct keeper {
	struct mg_view v;
	const char *name;
	struct keeper_group group[KCM_MG_GROUPS];
	/* UDP */
	__u64 swept_ns; /* the table of flows was */
	__u64 retry_ns; /* sockets that could not be seated are tried again, not before ... */
	unsigned int tries;
	unsigned int unseated; /* ... so many */
	int err;	       /* why, or why a group has no selector: said once */
};

/* ---- keeper_udp.c: instances of UDP ---- */

/* Look at all groups. Return: when to look again, CLOCK_MONOTONIC. */
__u64 keeper_udp_look(struct keeper *k, __u64 now_ns);

/* ---- keeper_group.c ---- */

/* Look at group @i. Return: when to look again, CLOCK_MONOTONIC; 0: when something happens. */
__u64 keeper_look(struct keeper *k, int i, __u64 now_ns);
/* Let go of all anchors. Return: connections that had nobody to go to. */
unsigned int keeper_end(struct keeper *k);

/* ---- keeper_proc.c ---- */

/* Be the keeper of @name. Return: a descriptor to hold; -EBUSY another process is; or -errno. */
int keeper_lock(const char *name);
void keeper_unlock(const char *name, int fd);
/* Pid of the keeper of @name; 0 there is none; or -errno. */
int keeper_pid(const char *name);

/**
 * keeper_spawn() - start a keeper in the background
 * @err: what it said, if it failed
 * Return: 0 when its anchors are open; -EALREADY one runs; or -errno.
 */
int keeper_spawn(const char *name, char *err, size_t size);
/* Have it look at once. */
void keeper_wake(const char *name);
/* Remove what a keeper that was killed has left. */
void keeper_tidy(const char *name);
/* End it and wait. Return: 0; -ESRCH: there is none; -ETIMEDOUT. */
int keeper_stop(const char *name);

/* Tell whoever started it that it is ready. */
void keeper_ready(void);
bool keeper_by_systemd(void);
/* Keep @fd over a restart of the unit, or no longer. */
void keeper_store(int fd, __u64 cookie);
void keeper_unstore(__u64 cookie);
/* Descriptors that systemd kept. Return: how many. */
int keeper_stored(int *fds, int max);

#endif
