/* SPDX-License-Identifier: GPL-2.0 */
/*
 * migrate_udp_msg.h - what migrate_udp_load.py and migrate_udp_server say to each other: little
 * endian, no holes.
 *
 * A session is in one socket of one process only. Its state is a token that the server makes of a
 * secret of that socket, the one before it and the number of the request; the client sends it back.
 */
#ifndef KCM_MIGRATE_UDP_MSG_H
#define KCM_MIGRATE_UDP_MSG_H

#include <stdint.h>

#define UDP_MAGIC 0x3155434bU /* "KCU1" */
#define UDP_PAD	  256

enum udp_flag {
	UDP_OPEN = 1, /* begin a session */
};

enum udp_status {
	UDP_OK,
	UDP_NO_SESSION,	 /* this socket knows nothing of the flow */
	UDP_WRONG_TOKEN, /* another request is missing, or came twice */
	UDP_WRONG_PAD,
};

struct udp_request {
	uint32_t magic, flags;
	uint64_t flow, seq, token; /* of the answer before; 0: first */
	uint8_t pad[UDP_PAD];	   /* (flow + seq + i) & 255 */
};

struct udp_answer {
	uint32_t magic, status;
	uint64_t flow, seq, token;
	uint32_t pid, sock; /* who, and its how manieth socket */
	char gen[16];
	uint8_t pad[UDP_PAD]; /* (flow ^ seq) + i, & 255 */
};

_Static_assert(sizeof(struct udp_request) == 32 + UDP_PAD, "as in migrate_udp_load.py");
_Static_assert(sizeof(struct udp_answer) == 56 + UDP_PAD, "as in migrate_udp_load.py");

#endif
