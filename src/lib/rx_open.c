// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* rx_open.c - open, close, and what is told of a connection. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rx_conn.h"

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif
#ifndef TCP_INQ
#define TCP_INQ 36
#endif

#define MAP_MIN_BYTES  (64U * 1024)
#define MAP_MIN_LEAST  (2 * RX_PAGE)
#define PREDICT_US     500U
#define LIMIT_MAX      (1ULL << 40)
#define RING_PER_LIMIT 2 /* address space only: what the end of the window wastes */

static int check_socket(int fd, uint64_t *cookie)
{
	struct sockaddr_storage ss;
	char ulp[16] = "";
	socklen_t len = sizeof(int);
	int v;

	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &v, &len))
		return -errno;
	if (v != IPPROTO_TCP)
		return -EOPNOTSUPP;
	len = sizeof(ulp);
	if (!getsockopt(fd, IPPROTO_TCP, TCP_ULP, ulp, &len) && len > 0 && ulp[0])
		return -EOPNOTSUPP; /* kTLS has no pages to give, and more of its own */
	len = sizeof(ss);
	if (getpeername(fd, (struct sockaddr *)&ss, &len) && errno == ENOTCONN) {
		len = sizeof(v);
		/* A listener, or never connected. One whose peer is gone may have bytes left. */
		if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &v, &len) || v)
			return -ENOTCONN;
	}
	len = sizeof(*cookie);
	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &len) ? -errno : 0;
}

static int take_opts(struct kcm_rx *rx, const struct kcm_rx_opts *given)
{
	struct kcm_rx_opts o = { 0 };
	uint64_t longest = rx->frame.max_bytes;

	if (given && (given->sz < sizeof(size_t) || given->sz > sizeof(o)))
		return -EINVAL;
	if (given)
		memcpy(&o, given, given->sz);
	if ((o.flags & ~KCM_RX_REPLY) || (unsigned int)o.mode > KCM_RX_COPY ||
	    o.limit_bytes > LIMIT_MAX)
		return -EINVAL;
	rx->mode = o.mode;
	rx->limit_bytes = o.limit_bytes;
	if (!rx->limit_bytes) {
		rx->limit_bytes = 2 * longest + RX_LIMIT_SPARE;
		if (rx->limit_bytes < RX_LIMIT_BYTES)
			rx->limit_bytes = RX_LIMIT_BYTES;
	}
	if (rx->limit_bytes < longest + RX_LIMIT_SPARE)
		return -EINVAL;
	rx->release_bytes = o.release_bytes ? o.release_bytes : rx->limit_bytes / 4;
	rx->map_min_bytes = o.map_min_bytes ? o.map_min_bytes : MAP_MIN_BYTES;
	if (rx->map_min_bytes < MAP_MIN_LEAST)
		rx->map_min_bytes = MAP_MIN_LEAST;
	rx->predict_us = o.predict_us == UINT32_MAX ? 0 : o.predict_us ? o.predict_us : PREDICT_US;
	if (o.flags & KCM_RX_REPLY)
		rx->fs.reserved |= KCM_FS_REPLY;
	return 0;
}

static int take_frame(struct kcm_rx *rx, const struct kcm_frame *frame)
{
	if (!frame || kcm_frame_check(frame))
		return -EINVAL;
	rx->frame = *frame;
	/* Of others not even the header's length is known before it was seen. */
	rx->exact = frame->kind == KCM_FRAME_LENGTH && !(frame->flags & KCM_FRAME_ZERO_UNTYPED);
	if (rx->exact)
		rx->base_head = rx->head_bytes = frame->hdr_bytes;
	return 0;
}

static int take_window(struct kcm_rx *rx)
{
	rx->window_bytes = RING_PER_LIMIT * ((rx->limit_bytes + RX_PAGE - 1) / RX_PAGE * RX_PAGE);
	rx->kernel_maps = rx->mode != KCM_RX_COPY && rx_map_works();
	return rx->kernel_maps || rx->mode != KCM_RX_MAP ? 0 : -EOPNOTSUPP;
}

static int set_up(struct kcm_rx *rx, int fd, const struct kcm_frame *frame,
		  const struct kcm_rx_opts *opts)
{
	int err = check_socket(fd, &rx->cookie), one = 1;
	socklen_t len = sizeof(int);
	int lowat = 1, flags;

	err = err ?: take_frame(rx, frame);
	err = err ?: take_opts(rx, opts);
	if (!err && (rx_guard_lags(fd) || rx_guard_pinned(rx->cookie)))
		err = -EBUSY;
	err = err ?: take_window(rx);
	if (err)
		return err;
	flags = fcntl(fd, F_GETFL);
	rx->nonblock = flags < 0 || (flags & O_NONBLOCK);
	if (!getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &lowat, &len) && lowat > 0)
		rx->lowat = (uint32_t)lowat;
	/* An urgent byte is one of the stream, whichever way it comes. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_INQ, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one)))
		return -errno;
	rx_choice_init(rx);
	return rx_guard_take(rx->cookie, RX_GUARD_RX);
}

int kcm_rx_open(int fd, const struct kcm_frame *frame, const struct kcm_rx_opts *opts,
		struct kcm_rx **out)
{
	struct kcm_rx *rx = calloc(1, sizeof(*rx));
	int err;

	if (!rx)
		return -ENOMEM;
	rx->fd = fd;
	rx->pid = getpid();
	err = set_up(rx, fd, frame, opts);
	if (err) {
		rx_ring_close(&rx->ring);
		free(rx);
		return err;
	}
	rx->slot = rx_stat_open(rx);
	rx_stat_put(rx);
	*out = rx;
	return 0;
}

static void free_all(struct kcm_rx *rx)
{
	struct rx_msg *m;

	while ((m = rx->all)) {
		rx->all = m->next_all;
		for (unsigned int i = 0; i < m->n_bufs; i++)
			rx_buf_put(rx, m->bufs[i]);
		free(m);
	}
	rx_buf_put(rx, rx->chunk);
	rx_buf_drop_cache(rx);
}

void kcm_rx_close(struct kcm_rx *rx)
{
	int one = 1, zero = 0;
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	if (!rx)
		return;
	if (rx->pid == getpid()) {
		rx_ring_close(&rx->ring);
		rx_guard_drop(rx->cookie, RX_GUARD_RX);
		rx_stat_close(rx->slot);
		getsockopt(rx->fd, SOL_SOCKET, SO_COOKIE, &cookie, &len);
	}
	/* The descriptor may be another socket's by now. */
	if (cookie == rx->cookie) {
		setsockopt(rx->fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
		setsockopt(rx->fd, IPPROTO_TCP, TCP_INQ, &zero, sizeof(zero));
	}
	free_all(rx);
	free(rx);
}

int kcm_rx_stats(const struct kcm_rx *rx, struct kcm_rx_stats *stats, size_t sz)
{
	struct kcm_rx_stats st = rx->st;

	if (sz < sizeof(uint64_t))
		return -EINVAL;
	st.held_bytes = rx_held(rx);
	st.now = rx->choice.now;
	st.why = rx->choice.now == KCM_RX_COPY ? rx->choice.why : KCM_RX_WHY_EDGE;
	st.map_ps_per_byte = rx->choice.map_ps;
	st.copy_ps_per_byte = rx->choice.copy_ps;
	if (sz > sizeof(st)) {
		memset(stats, 0, sz);
		sz = sizeof(st);
	}
	memcpy(stats, &st, sz);
	return 0;
}

const char *kcm_rx_why_name(enum kcm_rx_why why)
{
	static const char *const names[KCM_RX_WHYS] = {
		[KCM_RX_WHY_EDGE] = "edge",	      [KCM_RX_WHY_SMALL] = "small",
		[KCM_RX_WHY_UNALIGNED] = "unaligned", [KCM_RX_WHY_COST] = "cost",
		[KCM_RX_WHY_FRAMING] = "framing",     [KCM_RX_WHY_ROOM] = "room",
		[KCM_RX_WHY_KERNEL] = "kernel",	      [KCM_RX_WHY_FORCED] = "forced",
	};

	return (unsigned int)why < KCM_RX_WHYS ? names[why] : "unknown";
}
