// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * rx_guard.c - which sockets have an rx, which are or were in a mux of this process.
 *
 * A socket in a sockhash with a verdict program must never be asked to map its queue: the kernel
 * would crash. Nothing in the kernel refuses it, so both sides do here.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pin.h"
#include "rx_guard.h"

#define BUCKETS 1024U

struct guarded {
	struct guarded *next;
	uint64_t cookie;
	enum rx_guard whose;
};

static struct guarded *bucket[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

int rx_guard_take(uint64_t cookie, enum rx_guard whose)
{
	struct guarded *g = malloc(sizeof(*g)), **at = &bucket[cookie % BUCKETS];
	int err = g ? 0 : -ENOMEM;

	pthread_mutex_lock(&lock);
	for (struct guarded *i = *at; i && !err; i = i->next)
		if (i->cookie == cookie)
			err = whose == RX_GUARD_MUX && i->whose == whose ? 1 : -EBUSY;
	if (!err) {
		*g = (struct guarded){ *at, cookie, whose };
		*at = g;
	}
	pthread_mutex_unlock(&lock);
	if (err)
		free(g);
	return err;
}

void rx_guard_drop(uint64_t cookie, enum rx_guard whose)
{
	struct guarded **at = &bucket[cookie % BUCKETS], *g;

	pthread_mutex_lock(&lock);
	for (; (g = *at); at = &g->next)
		if (g->cookie == cookie && g->whose == whose) {
			*at = g->next;
			free(g);
			break;
		}
	pthread_mutex_unlock(&lock);
}

static int in_mux(const char *name, void *arg)
{
	char path[KCM_PIN_PATH];
	uint32_t slot;
	int fd, found;

	if (kcm_pin_path(path, sizeof(path), "mux", name, "kcm_slots"))
		return 0;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return 0;
	found = !bpf_map_lookup_elem(fd, arg, &slot);
	close(fd);
	return found;
}

bool rx_guard_pinned(uint64_t cookie)
{
	return kcm_pin_each("mux", in_mux, &cookie) == 1;
}

bool rx_guard_lags(int fd)
{
	ssize_t there;
	int said = 0;

	if (ioctl(fd, SIOCINQ, &said) || said <= 0)
		return false;
	/* Counted, not copied. What arrived in between makes it more, never less. */
	there = recv(fd, NULL, INT_MAX, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
	return (there < 0 && errno == EAGAIN) || (there >= 0 && there < said);
}
