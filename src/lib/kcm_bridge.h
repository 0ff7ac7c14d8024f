/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * kcm_bridge.h - what `kcmtool mux bridge` speaks on its SOCK_SEQPACKET UNIX socket.
 *
 * Every datagram is one struct kcm_bridge_hdr and the bytes behind it, all numbers in host byte
 * order. In Python: struct.Struct("=QQQIiIHHHH16sI"), 64 bytes.
 *
 * From the bridge: messages and events of connections. A message longer than KCM_BRIDGE_BYTES
 * comes in several datagrams in a row; all but the last have KCM_BRIDGE_MORE.
 *
 * To the bridge: bytes for the connection `conn`, likewise in parts; they are written as one
 * message, never mixed with others. If `id` is that of a message, the message is done with the
 * last part and its memory is free for new ones; KCM_BRIDGE_KEEP leaves it open for more replies.
 * No bytes: nothing is sent, and the message is done. `id` 0: sent without a request. Events have
 * id 0 and need no answer.
 *
 * A client has at most `--window` messages that are not done; it gets no more until it is done
 * with one. What a client has when it goes away is redelivered (KCM_BRIDGE_AGAIN) if the mux was
 * made with at-least-once, and lost (and counted) otherwise.
 */
#ifndef KCM_BRIDGE_H
#define KCM_BRIDGE_H

#include <stdint.h>

#define KCM_BRIDGE_BYTES 65536 /* behind the header of one datagram, at most */

enum kcm_bridge_flag {
	KCM_BRIDGE_MORE = 1,  /* the next datagram goes on with this message */
	KCM_BRIDGE_KEEP = 2,  /* to the bridge: not done with the message yet */
	KCM_BRIDGE_AGAIN = 4, /* another client or worker may have handled it */
	KCM_BRIDGE_FAILED = 8 /* from the bridge: what came for `conn` was not sent, see error */
};

struct kcm_bridge_hdr {
	uint64_t conn;	    /* never used again for another connection of the same owner */
	uint64_t id;	    /* of a message, 0 = none */
	uint64_t queued_ns; /* CLOCK_MONOTONIC when the message was whole */
	uint32_t total;	    /* bytes of the whole message */
	int32_t error;	    /* errno of an event, positive; of KCM_BRIDGE_FAILED */
	uint32_t offset;    /* of these bytes in the message */
	uint16_t event;	    /* enum kcm_event of kcm.h, 0 = message */
	uint16_t flags;	    /* enum kcm_bridge_flag */
	uint16_t family;    /* of the peer: AF_INET, AF_INET6, 0 = not known */
	uint16_t port;	    /* of the peer, host order */
	uint8_t addr[16];   /* of the peer, network order; IPv4 in the first four */
	uint32_t reserved;
};

_Static_assert(sizeof(struct kcm_bridge_hdr) == 64, "kcm_bridge_hdr layout");

#endif
