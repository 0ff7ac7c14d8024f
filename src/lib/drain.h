/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* drain.h - what the files of the owner's reading side share: drain, drain_big, left, runq. */
#ifndef KCM_DRAIN_H
#define KCM_DRAIN_H

#include "owner.h"

/* Bytes behind or before (@front) what is left. -ENOMEM */
int left_put(struct kcm_mux *m, struct oconn *o, const void *p, size_t n, bool front);
void left_cut(struct kcm_mux *m, struct oconn *o, uint32_t n);
/* Put the unfinished message where BPF can go on with it. False: there is no room. */
bool left_give(struct kcm_mux *m, struct oconn *o);

/* Bytes of the stream. > 0, 0 end, -EAGAIN, -errno */
ssize_t drain_read(struct oconn *o, uint8_t *to, size_t room);
int drain_frame(struct kcm_mux *m, struct kcm_conn *c, const uint8_t *p, uint32_t n);
bool drain_publish(struct kcm_mux *m, struct oconn *o, uint32_t id, uint32_t n, uint64_t bytes,
		   uint64_t lanes);

/* Read on into the big message. As drain_read(); 1 also when it is whole and published. */
ssize_t drain_big_read(struct kcm_mux *m, struct oconn *o);
/* The message that is left is longer than a chunk: go on in big memory. */
int drain_big_start(struct kcm_mux *m, struct oconn *o);

#endif
