/* SPDX-License-Identifier: GPL-2.0 */
/* A place among the watchers of sock: a ring buffer that the programs send events to. */
#ifndef KCM_CMD_SOCK_RING_H
#define KCM_CMD_SOCK_RING_H

#include "cmd_sock.h"

struct ring_buffer;

struct sock_ring {
	const struct sock_view *v; /* mapped for writing */
	int watcher;		   /* index, -1 = none */
	int fd;
	uint64_t slow_ns;
	uint64_t lost, renewed_ns;
	uint64_t drops_base;
};

#define SOCK_RING_NONE                  \
	{                               \
		.watcher = -1, .fd = -1 \
	}
#define SOCK_RING_BYTES (8U << 20)

/**
 * sock_ring_open() - take a place and have events sent there
 * A place whose watcher did not renew it, as one that was killed, is free.
 * @slow_ns: also report answers that take longer; 0 = don't
 * Return: 0; -EUSERS all places are taken; or -errno.
 */
int sock_ring_open(struct sock_ring *r, const struct sock_view *v, uint64_t slow_ns);
void sock_ring_close(struct sock_ring *r);

/**
 * sock_ring_renew() - say that we are still there; to be called at least every second
 * Return: 0, or -ESTALE if we were stopped for so long that events were not sent to us.
 */
int sock_ring_renew(struct sock_ring *r);

/* Events lost since the last call. */
uint64_t sock_ring_lost(struct sock_ring *r);

#endif
