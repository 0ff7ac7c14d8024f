/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* flow_try.h - which policy would decide on a packet, by the program's own trees. Internal. */
#ifndef KCM_FLOW_TRY_H
#define KCM_FLOW_TRY_H

#include "flow_inst.h"

struct flow_try;

/**
 * flow_try_open() - a program that looks at the maps of the one in force, and changes nothing
 * Return: 0 or -errno. Close with flow_try_close().
 */
int flow_try_open(struct flow_try **t, const struct flow_inst *f);
void flow_try_close(struct flow_try *t);

/**
 * flow_try_packet() - ask
 * @frame: from its Ethernet header on, at least 14 bytes
 * @ifindex: that it would come in by; one of the instance's
 * @slot: that would decide; of the default action if no policy matches
 * Return: 0; -EBADMSG: it is malformed, so no policy matches; or -errno.
 */
int flow_try_packet(struct flow_try *t, const void *frame, size_t len, __u32 ifindex, __u32 *slot);

#endif
