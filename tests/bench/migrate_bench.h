/* SPDX-License-Identifier: GPL-2.0 */
/*
 * migrate_bench.h - what the parts of the migrate benchmark share: an instance of migrate on a
 * port, listeners with and without it, segments and connections for them.
 *
 * Rows, medians, cgroups and namespaces are those of the sock benchmark.
 */
#ifndef KCM_TESTS_MIGRATE_BENCH_H
#define KCM_TESTS_MIGRATE_BENCH_H

#include "sock_bench.h"
#include "lib/migrate_view.h"

#define MB_PORT	      7777 /* of the instance */
#define MB_PORT_PLAIN 7778 /* nobody steers it */
#define MB_LISTENERS  KCM_MG_MEMBERS
#define MB_BACKLOG    20000

struct mb_env {
	struct sb_cgroup cg; /* of the servers; clients are outside */
	struct mg_view view;
	int fd[MB_LISTENERS], epoll;
	unsigned int n;
	uint16_t port;
	char error[160];
};

/* Prints what failed, once. Return: @err. */
int mb_failed(struct mb_env *e, const char *what, int err);

/* Many descriptors, long queues, no cookies. */
int mb_machine(void);
int mb_sysctl(const char *name, const char *value);

/* An instance on MB_PORT in a cgroup of its own. Any policy can be set in its state. */
int mb_begin(struct mb_env *e);
void mb_end(struct mb_env *e);

/* A listener of @port; those of MB_PORT in the instance's cgroup. Return: it or -errno. */
int mb_listener(struct mb_env *e, uint16_t port);
/*
 * @n listeners of @port, a generation of their own, in e->fd and e->epoll. With none, those that
 * open next are one.
 */
int mb_open(struct mb_env *e, uint16_t port, unsigned int n);
void mb_close(struct mb_env *e);
/* Which program chooses among them; -1: none. */
int mb_program(struct mb_env *e, int prog);

/* ---- traffic ---- */

#define MB_PACKETS 4096

#define MB_FLOWS_HOT 16

struct mb_flood;

/*
 * Segments that a listener is looked up for and that it drops at once. Of @flows pairs of address
 * and port, at most MB_PACKETS.
 */
struct mb_flood *mb_flood_make(uint16_t port, unsigned int flows);
int mb_flood_send(struct mb_flood *f, unsigned int n);
void mb_flood_free(struct mb_flood *f);

/* Connect, accept, close, one after the other. */
int mb_connections(struct mb_env *e, unsigned int n);
/* Return: a connected socket or -errno. It is reset as it is closed. */
int mb_connect(uint16_t port);

/* ---- parts ---- */

int mb_cost(const struct sb_opts *o);
int mb_ops(const struct sb_opts *o);
int mb_rate(const struct sb_opts *o);
int mb_move(const struct sb_opts *o);

#endif
