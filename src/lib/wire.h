/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * wire.h - what an owner and its workers say over their SOCK_SEQPACKET pair. One record a
 * datagram, struct wire_rec first. Descriptors travel as SCM_RIGHTS.
 */
#ifndef KCM_WIRE_H
#define KCM_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "view.h"

#define WIRE_VERSION  1
#define WIRE_DATA_MAX (32 * 1024) /* bytes of a reply in one record */

enum wire_type {
	WIRE_HELLO,   /* w->o: a = WIRE_VERSION */
	WIRE_WELCOME, /* o->w: a = slot, b = n_workers, c = bytes of big memory; descriptors:
		       * VIEW_MAPS maps, tx memfd, big memfd, own bell, one eventfd a slot, owner's
		       * eventfd */
	WIRE_REFUSED, /* o->w: a = errno */
	WIRE_GETFD,   /* w->o: conn */
	WIRE_FD,      /* o->w: conn, a = errno or 0 and a descriptor */
	WIRE_GONE,    /* o->w: conn has ended, close its descriptor */
	WIRE_TX,      /* w->o: conn, a = seq, b = 1 for the last part; bytes follow */
	WIRE_ENABLE,  /* w->o: a = on; answered by WIRE_ENABLED */
	WIRE_ENABLED, /* o->w */
	WIRE_BYE,     /* w->o: leaves by itself: not a death */
};

struct wire_rec {
	uint32_t type;
	uint32_t a;
	uint32_t b;
	uint32_t pad;
	uint64_t conn;
	uint64_t c;
};

#define WIRE_FDS_MAX (VIEW_MAPS + 3 + KCM_WORKERS_MAX + 1)

int wire_pair(int sv[2]);
int wire_tune(int fd);
/* Send a record with bytes and descriptors. Return: 0, -EPIPE, -EAGAIN (only when non-blocking). */
int wire_send(int fd, const struct wire_rec *rec, const void *data, size_t len, const int *fds,
	      int n, int flags);
/*
 * Receive a record. @data, @len: room for bytes, and how many came. @fds, @n: likewise.
 * Return: 0; -EPIPE peer is gone; -EAGAIN; -EPROTO.
 */
int wire_recv(int fd, struct wire_rec *rec, void *data, size_t *len, int *fds, int *n, int flags);

/* Doorbells: the consumer side of a BPF ring buffer, usable without bpf(). */
struct bell {
	int fd;
	uint64_t *cons;
	const uint64_t *prod;
	const uint8_t *data;
	size_t bytes;
};

int bell_map(struct bell *b, int fd, size_t bytes);
void bell_unmap(struct bell *b);
/* Next record, or NULL. bell_next() again frees it. */
bool bell_next(struct bell *b, struct kcm_bell_rec *rec);

#endif
