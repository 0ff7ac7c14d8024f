/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * sock_frame.h - which framing the connections of a port get. Internal to libkcm and kcmtool.
 *
 * A framing is a number, its descriptor, and two programs made for it (sockframe.bpf.c). Ports with
 * equal descriptors share it. A connection gets the number of its port when it is established and
 * keeps it: a number is given away again only when no port and no connection has it.
 */
#ifndef KCM_SOCK_FRAME_H
#define KCM_SOCK_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include "sock_view.h"

enum sock_frame_done {
	SOCK_FRAME_NEW,	     /* the port had no framing */
	SOCK_FRAME_REPLACED, /* it had another one, which its connections keep */
	SOCK_FRAME_SAME,
};

/**
 * sock_frame_parse() - a descriptor as sock uses it
 * As kcm_frame_parse(); text protocols may have messages up to KCM_FRAME_MAX_LIMIT if @text does
 * not say otherwise, for nothing is stored.
 * @err: one line
 * Return: 0; -EINVAL it is none; -EOPNOTSUPP sock can't use it.
 */
int sock_frame_parse(const char *text, struct kcm_frame *frame, char *err, size_t size);

/**
 * kcm_sock_frame_set() - frame connections of @port that are established from now on
 * @text: what the user calls it
 * @err: one line; "" where the return value says it all
 * Return: enum sock_frame_done; -ENOENT sock is not loaded; -ENOSPC no number is free; -EBUSY the
 *	lock is held; -EOPNOTSUPP the kernel's verifier refuses the programs; or -errno.
 */
int kcm_sock_frame_set(__u16 port, const struct kcm_frame *frame, const char *text, char *err,
		       size_t size);

/* Its connections keep theirs. Return: 0; -ENODATA the port has none; or as above. */
int kcm_sock_frame_del(__u16 port);

/* One port, or what connections still have without one. */
struct sock_framed {
	__u16 port; /* 0: taken away, or replaced */
	__u32 number;
	char text[KCM_FRAME_TEXT_BYTES];
	struct kcm_frame frame;
	/* of the connections in slots: */
	__u32 conns;
	__u32 lost; /* of these, framing lost */
	__u64 rx_msgs, tx_msgs;
};

/**
 * sock_frame_list() - all of them, by port
 * Return: how many, in *@list, to be freed; or -errno.
 */
int sock_frame_list(const struct sock_view *v, struct sock_framed **list);

#endif
