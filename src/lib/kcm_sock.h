/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * kcm_sock - a program and the state that `kcmtool sock load` keeps of its sockets.
 *
 *	kcm_sock_set(fd, "tenant", "acme");	seen by `kcmtool sock show label tenant=acme`
 *
 * For TCP and UDP sockets, IPv4 and IPv6; no privilege is needed. What is set on a listening
 * socket is inherited by what it accepts. Nothing is lost when `sock load` is repeated; it is all
 * gone with `sock unload`. In other languages: setsockopt() with what is in kcm_sockopt.h.
 *
 * All functions return 0 on success and -errno on failure, and print nothing. -EOPNOTSUPP: no
 * `sock load`, not for this cgroup, or no TCP or UDP socket. Any thread may call them, for the
 * same socket too.
 */
#ifndef KCM_SOCK_API_H
#define KCM_SOCK_API_H

#include <stddef.h>
#include <stdint.h>

#include "kcm_sockopt.h"

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define KCM_SOCK_LABELS 4
#define KCM_SOCK_KEY	12 /* bytes with the NUL */
#define KCM_SOCK_VALUE	20
#define KCM_SOCK_HIST	24

/**
 * kcm_sock_set() - label a socket
 * @key: 1 to 11 bytes of printable ASCII without blanks and '='
 * @value: up to 19 bytes of printable ASCII; "" or NULL removes the label
 * Return: 0; -EINVAL not so; -ENOSPC it has 4 labels already; -EAGAIN others change its labels all
 *	the time; -ENOMEM net.core.optmem_max; -EBADF, -ENOTSOCK, -EOPNOTSUPP.
 */
int kcm_sock_set(int fd, const char *key, const char *value);

/* The generation of the server process, for operators that watch a restart. */
int kcm_sock_generation(int fd, uint32_t generation);

struct kcm_sock_label {
	char key[KCM_SOCK_KEY]; /* ends with NUL; "": not used */
	char value[KCM_SOCK_VALUE];
};

/**
 * struct kcm_sock_stats - what is known of a socket
 * @sz: sizeof(struct kcm_sock_stats): lets later versions add fields
 * @cookie: its number, as in `kcmtool sock show` and ss -e
 * @start_ns: CLOCK_MONOTONIC when it was opened; 0 = before `sock load`
 * @last_ns: of the last segment
 * @tx_bytes, @rx_bytes: payload, without retransmissions
 * @tx_msgs, @rx_msgs: whole messages; 0 unless a framing is known: `kcmtool sock frame`
 * @framed: messages are counted
 * @retrans: segments sent again
 * @cwnd: congestion window, segments
 * @rate_bytes: a second, as the kernel measures delivery
 * @answers, @answer_ns_sum, @answer_ns_max: one request at a time is timed, from its last byte to
 *	the last byte of its answer
 * @hist: of those times, [i] counts those below 1 us << i, the last one all above
 * @limit_bytes, @limit_msgs: a second; 0 = no limit
 * @limit_hits: segments that a limit with `drop` dropped
 */
struct kcm_sock_stats {
	size_t sz;
	uint64_t cookie;
	uint64_t start_ns, last_ns;
	uint64_t tx_bytes, rx_bytes;
	uint64_t tx_msgs, rx_msgs;
	uint32_t tx_segs, rx_segs;
	uint32_t framed;
	uint32_t generation;
	uint32_t srtt_us, min_rtt_us;
	uint32_t retrans, cwnd;
	uint64_t rate_bytes;
	uint64_t answers, answer_ns_sum, answer_ns_max;
	uint32_t hist[KCM_SOCK_HIST];
	uint64_t limit_bytes, limit_hits;
	uint32_t limit_msgs, reserved;
	struct kcm_sock_label label[KCM_SOCK_LABELS];
};

/**
 * kcm_sock_get() - what is known of a socket
 * @stats: sz is set by the caller; fields that this version does not know are zeroed
 * Return: 0; -EINVAL sz; -ENODATA nothing is known, as of one older than `sock load`; -ESTALE
 *	another version of kcmtool has loaded it; -EAGAIN, -EBADF, -ENOTSOCK, -EOPNOTSUPP.
 */
int kcm_sock_get(int fd, struct kcm_sock_stats *stats);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
