// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* tx_done.c - completions of MSG_ZEROCOPY. */
#include <time.h> /* before linux/errqueue.h, which wants struct timespec */

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tx_done.h"

#ifndef SO_EE_ORIGIN_ZEROCOPY
#define SO_EE_ORIGIN_ZEROCOPY 5
#endif
#ifndef SO_EE_CODE_ZEROCOPY_COPIED
#define SO_EE_CODE_ZEROCOPY_COPIED 1
#endif

/* 64 bits of one that is not done yet, and was given. */
static uint64_t widen(const struct tx_done *d, uint32_t n)
{
	return d->upto + (uint32_t)(n - (uint32_t)d->upto);
}

static void advance(struct tx_done *d)
{
	bool again = true;

	while (again) {
		again = false;
		for (unsigned int i = 0; i < d->n; i++) {
			if (d->range[i].first > d->upto)
				continue;
			if (d->range[i].last >= d->upto)
				d->upto = d->range[i].last + 1;
			d->range[i] = d->range[--d->n];
			again = true;
			break;
		}
	}
}

int tx_done_add(struct tx_done *d, uint32_t first, uint32_t last)
{
	struct tx_range r = { widen(d, first), 0 };

	r.last = r.first + (uint32_t)(last - first);
	if (r.last >= d->next) /* nobody gave it: not a number of ours */
		return 0;
	if (d->n == d->room) {
		unsigned int room = d->room ? 2 * d->room : 16;
		struct tx_range *more = realloc(d->range, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		d->range = more;
		d->room = room;
	}
	d->range[d->n++] = r;
	advance(d);
	return 0;
}

bool tx_done_is(const struct tx_done *d, uint64_t number)
{
	if (number < d->upto)
		return true;
	for (unsigned int i = 0; i < d->n; i++)
		if (number >= d->range[i].first && number <= d->range[i].last)
			return true;
	return false;
}

static int take(struct tx_done *d, struct cmsghdr *c)
{
	struct sock_extended_err e;

	if (!(c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR) &&
	    !(c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_RECVERR))
		return 0;
	memcpy(&e, CMSG_DATA(c), sizeof(e));
	if (e.ee_origin != SO_EE_ORIGIN_ZEROCOPY || e.ee_errno)
		return 0;
	if (e.ee_code & SO_EE_CODE_ZEROCOPY_COPIED)
		d->copies += (uint64_t)(e.ee_data - e.ee_info) + 1;
	return tx_done_add(d, e.ee_info, e.ee_data);
}

int tx_done_read(struct tx_done *d, int fd)
{
	int n = 0, err;

	while (d->upto < d->next) {
		union {
			struct cmsghdr hdr;
			char space[256];
		} control;
		struct msghdr h = { .msg_control = &control, .msg_controllen = sizeof(control) };

		if (recvmsg(fd, &h, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
			if (errno == EINTR)
				continue;
			return errno == EAGAIN ? n : -errno;
		}
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
			err = take(d, c);
			if (err)
				return err;
		}
		n++;
	}
	return n;
}
