/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps of sock, mapped. Internal to libkcm and kcmtool.
 *
 * Slots are read while the programs write them: sock_view_read() gives a record that belongs to
 * one socket, whole, or none.
 */
#ifndef KCM_SOCK_VIEW_H
#define KCM_SOCK_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include "../../bpf/sock.h"

enum sock_map {
	SOCK_CTL,
	SOCK_HOT,
	SOCK_IN,
	SOCK_MORE,
	SOCK_FRAMING,
	SOCK_RULES,
	SOCK_MAPPED, /* those before are mapped */
	SOCK_STORE = SOCK_MAPPED,
	SOCK_PORTS,
	SOCK_TX,
	SOCK_RX,
	SOCK_RINGS,
	SOCK_STASH,
	SOCK_MAPS,
};

extern const char *const sock_map_names[SOCK_MAPS]; /* "kcm_sk_ctl", ... */

struct sock_view {
	int fd[SOCK_MAPS];
	size_t bytes[SOCK_MAPPED];
	struct kcm_sk_ctl *ctl;
	struct kcm_sk_hot *hot;
	struct kcm_sk_in *in;
	struct kcm_sk_more *more;
	struct kcm_sk_framing *framing; /* KCM_SK_FRAMES */
	struct kcm_sk_rule *rules;	/* KCM_SK_RULES */
};

/**
 * sock_view_open() - open and map what `kcmtool sock load` pinned
 * @write: map for writing
 * Return: 0; -ENOENT not loaded; -ESTALE another layout; or -errno.
 */
int sock_view_open(struct sock_view *v, bool write);
void sock_view_close(struct sock_view *v);

/**
 * sock_view_read() - the socket in @slot
 * Return: 1 and @sock; 0 the slot is free (or its socket just changed).
 */
int sock_view_read(const struct sock_view *v, __u32 slot, struct kcm_sock *sock);

/* The slot of @cookie, or KCM_SK_SLOT_NONE. */
__u32 sock_view_find(const struct sock_view *v, __u64 cookie);

#endif
