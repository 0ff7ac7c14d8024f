/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cmd_mux.h - the `mux` object of kcmtool.
 *
 *   cmd_mux.c         table                    cmd_mux_open.c   a pinned mux, read-only; errors
 *   cmd_mux_create.c  create, delete, frames   cmd_mux_show.c   show
 *   cmd_mux_stats.c   stats                    cmd_mux_list.c   conns, workers
 *   cmd_mux_sum.c     sums over maps           cmd_mux_watch.c  watch
 *   cmd_mux_attach.c  attach, detach           cmd_mux_bench.c  bench
 *   cmd_mux_run.c     run: owner and its loop  cmd_mux_proc.c   run: worker processes
 *   cmd_mux_listen.c  run: sockets             cmd_mux_spawn.c  run: fork, confine, exec
 *   cmd_mux_bridge.c  bridge                   cmd_mux_client.c bridge: one client
 *   cmd_mux_load.c    bench: clients
 */
#ifndef KCM_CMD_MUX_H
#define KCM_CMD_MUX_H

#include "cmd.h"
#include "feature.h"
#include "lib/kcm.h"
#include "lib/pin.h"
#include "lib/queue.h"
#include "lib/view.h"

#define MUX_NEEDS_READ	 FEAT(CAP_BPF)
#define MUX_NEEDS_OWNER	 (FEAT(CAP_BPF) | FEAT(CAP_NET_ADMIN))
#define MUX_NEEDS_CREATE (MUX_NEEDS_OWNER | FEAT(CAP_PERFMON))

extern const struct cmd mux_cmds[];

/* ---- handlers ---- */
int mux_create(const struct cmd_args *args);
int mux_delete(const struct cmd_args *args);
int mux_frames(const struct cmd_args *args);
int mux_show(const struct cmd_args *args);
int mux_stats(const struct cmd_args *args);
int mux_conns(const struct cmd_args *args);
int mux_workers(const struct cmd_args *args);
int mux_watch(const struct cmd_args *args);
int mux_attach(const struct cmd_args *args);
int mux_detach(const struct cmd_args *args);
int mux_run(const struct cmd_args *args);
int mux_bridge(const struct cmd_args *args);
int mux_bench(const struct cmd_args *args);

/* ---- cmd_mux_open.c ---- */

/* A pinned mux, mapped read-only: whatever is done with it does not disturb the mux. */
struct mux_view {
	const char *name;
	struct view v;
	int owner_pid; /* of the live owner, 0 = none */
	char owner[32];
	const struct kcm_txc *tx; /* memory of the owner; NULL if we may not see it */
	size_t tx_bytes;
	uint64_t tx_mem_bytes, big_mem_bytes; /* what of the owner's memfds is really there */
};

/* Return: 0, or the exit code after an error line. */
int mux_view_open(struct mux_view *mv, const char *name);
void mux_view_close(struct mux_view *mv);
#define _cleanup_view_ _cleanup_(mux_view_close)

/* An error line about mux @name for @err, with what to do next. Return: exit code. */
int mux_report(const char *name, const char *what, int err);
/* Is there such a mux? Return: 0, or the exit code after an error line. */
int mux_check(const char *name);
/* The process that owns a mux now, 0 if none; found without taking its lock. */
int mux_owner(const char *name);
void mux_comm(int pid, char *comm, size_t size);

const char *mux_policy_name(enum kcm_mux_policy policy);
const char *mux_mode_name(enum kcm_mux_mode mode);
const char *mux_conn_state_name(enum kcm_conn_state state);
const char *mux_hold_name(enum kcm_hold hold);
const char *mux_worker_state_name(enum kcm_worker_state state);
const char *mux_event_name(enum kcm_event event);
void mux_addr(const struct kcm_conn *c, bool remote, char *text, size_t size);
#define MUX_ADDR 64

/* "1.5s", "300us": for people. */
void mux_time_text(uint64_t ns, char *text, size_t size);
#define MUX_TIME 16
/*
 * A time with its unit (us, ms, s) given for option @name, in microseconds.
 * Return: 0, or the exit code after an error line.
 */
int mux_time_us(const struct cmd_args *args, const char *name, uint64_t max_us, uint64_t otherwise,
		uint64_t *us);

/* ---- cmd_mux_create.c ---- */

/* Options that say what a mux is made like: `create` and `run` have them. */
#define MUX_CREATE_OPTS                                                                            \
	{ .name = "dispatch",                                                                      \
	  .value = "WHO",                                                                          \
	  .help = "who gets a message; key:OFF:BYTES is like the option key",                      \
	  .choices = "least robin conn key" },                                                     \
		{ .name = "key",                                                                   \
		  .value = "OFF:BYTES",                                                            \
		  .help = "dispatch by key: 1 to 8 bytes of the message from OFF on" },            \
		{ .name = "conns", .value = "N", .help = "most connections, 4096" },               \
		{ .name = "arena",                                                                 \
		  .value = "SIZE",                                                                 \
		  .help = "memory for messages up to 68 KiB, 16M" },                               \
		{ .name = "big", .value = "SIZE", .help = "memory for longer messages, 64M" },     \
		{ .name = "tx-limit",                                                              \
		  .value = "SIZE",                                                                 \
		  .help = "replies that may wait for one connection, 4M" },                        \
		{ .name = "timeout",                                                               \
		  .value = "TIME",                                                                 \
		  .help = "longest time from first to last byte of a message" },                   \
		{ .name = "grace",                                                                 \
		  .value = "TIME",                                                                 \
		  .help = "a busy worker is given so long before a sleeping one is woken, 50us" }, \
		{ .name = "mode",                                                                  \
		  .value = "MODE",                                                                 \
		  .help = "strparser: overload resets connections",                                \
		  .choices = "ring strparser" },                                                   \
		{ .name = "at-least-once", .help = "what a dead worker had goes to another one" }, \
		{ .name = "keep-on-error",                                                         \
		  .help = "leave a connection open after a framing error, unread" },               \
	{                                                                                          \
		.name = "force", .dashed = true,                                                   \
		.help = "also on a kernel that is known to lose data"                              \
	}

/* @slots: worker slots. Return: 0, or the exit code after an error line. */
int mux_opts_take(const struct cmd_args *args, struct kcm_mux_opts *opts);
/* Create, and report what failed. -EEXIST is returned as it is, and not reported. */
int mux_make(const char *name, const struct kcm_mux_opts *opts, bool force);

/* ---- cmd_mux_sum.c ---- */

struct mux_sum {
	uint64_t conns, active, held, closing, partial; /* connections by state */
	uint64_t rx_msgs, rx_bytes;			/* since create: ended ones and live ones */
	uint64_t holds, skbs;				/* of live connections */
	uint64_t held_by[KCM_HOLD_MAX];			/* connections that are held now */
	uint64_t waiting, in_hand;			/* messages */
	uint64_t events_waiting;			/* published, not released */
	uint64_t oldest_ns;				/* published then, the oldest; 0 = none */
	uint64_t chunks[KCM_CLASSES], used[KCM_CLASSES], class_bytes[KCM_CLASSES];
	uint64_t arena_bytes, used_bytes;
	uint64_t workers, workers_off, sleepers;
	uint64_t w_msgs, w_bytes, w_events, w_out, w_tx_msgs, w_tx_bytes, w_tx_handed, w_tx_again;
	uint64_t w_sleeps, w_wakes, w_claims; /* of workers that are here now */
	uint64_t tx_queued, tx_pending;	      /* bytes, connections; 0 where unseen */
};

void mux_sum(const struct view *v, const struct kcm_txc *tx, struct mux_sum *s);

/* Time below which @share (0 to 1) of the messages in a histogram were released, in ns. */
uint64_t mux_hist_quantile(const __u64 *hist, double share, uint64_t max_ns);

/* ---- cmd_mux_attach.c ---- */

/* "8080,9090": ports that kcm_sockops attaches; "" if none. */
void mux_ports_text(const char *name, char *text, size_t size);
/* Bytes of kernel memory of everything that is pinned for the mux; 0 if not known. */
uint64_t mux_map_bytes(const char *name);

#endif
