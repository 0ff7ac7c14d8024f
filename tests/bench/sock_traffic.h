/* SPDX-License-Identifier: GPL-2.0 */
/* sock_traffic.h - one TCP connection under load, both ends on one CPU. */
#ifndef KCM_TESTS_SOCK_TRAFFIC_H
#define KCM_TESTS_SOCK_TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define TRAFFIC_BATCH 65536 /* bytes of a write where messages are pipelined */

struct traffic_case {
	const char *what;
	uint32_t size;	/* whole message, with its 4-byte big-endian length */
	bool reply;	/* one request in flight, the reply as long; else one way */
	bool pipelined; /* many messages a write */
};

struct traffic_shared;

struct traffic {
	struct traffic_shared *shared;
	pid_t server, client;
	uint16_t port;
};

/* What both processes did so far. */
struct traffic_count {
	uint64_t msgs; /* that arrived; with a reply: pairs */
	uint64_t cpu_ns;
};

/* In the caller's cgroup and on its CPU. Messages flow when it returns. Return: 0 or -errno. */
int traffic_start(struct traffic *t, const struct traffic_case *c, uint16_t port);
void traffic_read(const struct traffic *t, struct traffic_count *c);
/* Ends both. Return: 0, or -EIO if something that arrived was not what was sent. */
int traffic_stop(struct traffic *t);

#endif
