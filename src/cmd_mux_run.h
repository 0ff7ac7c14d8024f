/* SPDX-License-Identifier: GPL-2.0 */
/* Inside of `mux run`: the owner of a mux that accepts connections and keeps workers running. */
#ifndef KCM_CMD_MUX_RUN_H
#define KCM_CMD_MUX_RUN_H

#include <linux/filter.h>
#include <sys/types.h>
#include "cmd_mux.h"

#define RUN_LISTENERS 16
#define RUN_PROCS     (2 * KCM_WORKERS_MAX) /* old and new ones during a reload */
#define RUN_GROUPS    64

enum proc_state {
	PROC_NONE,
	PROC_STARTING, /* has not joined the mux yet */
	PROC_ON,
	PROC_RETIRING, /* asked to end; another one has its place */
};

struct proc {
	enum proc_state state;
	pid_t pid; /* leader of a process group of its own */
	unsigned int index;
	int slot;
	uint64_t joined_ns; /* kcm_wstat.start_ns: tells our use of the slot from a later one */
	uint64_t start_ns;
	/* PROC_RETIRING */
	uint64_t deadline_ns; /* for what it has in hand */
	uint64_t idle_ns;     /* since then it has nothing and gets nothing */
	uint64_t kill_ns;
	bool termed; /* has got SIGTERM */
};

/* One of the N workers, whichever process it is at the time. */
struct place {
	unsigned int failures; /* in a row */
	uint64_t retry_ns;     /* start it then; 0: nothing to start */
};

/* What a worker process gets. */
struct proc_plan {
	char **argv;
	bool drop;
	uid_t uid;
	gid_t gid, groups[RUN_GROUPS];
	int ngroups;
	struct sock_fprog filter;
};

struct run {
	const char *name;
	struct kcm_mux *mux;
	bool temporary; /* made by us, removed at the end */
	unsigned int nworkers;
	uint64_t limit_ns; /* for what must end */
	struct proc_plan plan;
	struct proc procs[RUN_PROCS];
	struct place places[KCM_WORKERS_MAX];
	bool ever_joined;
	bool stopping;
	int failed; /* exit code: no use in going on */
	int listeners[RUN_LISTENERS];
	int nlisteners;
	int ep, sig;
	int waiting_fd;	   /* accepted, and no room in the mux yet */
	uint64_t pause_ns; /* accept again then; 0: accepting */
	bool warned_full, warned_accept;
};

/* A line on stderr about what happens, that is no error of the command. */
void run_say(const struct run *r, const char *format, ...) _printf_(2, 3);

/* ---- cmd_mux_listen.c ---- */
/* Open the sockets of "ADDR:PORT[,ADDR:PORT]...". Return: 0 or an exit code. */
int listen_open(struct run *r, const char *text);
void listen_say(const struct run *r);
void listen_close(struct run *r);
void listen_accept(struct run *r, int fd);
/* Go on after a pause. */
void listen_tick(struct run *r, uint64_t now);

/* ---- cmd_mux_spawn.c ---- */
/* Prepare @r->plan. Return: 0 or an exit code. */
int spawn_plan(struct run *r, char **argv, const char *user);
void spawn_plan_free(struct run *r);
/* Start a worker process that inherits @fd. Return: its pid, or -errno (also of exec). */
pid_t spawn(struct run *r, unsigned int index, int fd);

/* ---- cmd_mux_proc.c ---- */
/* Start all workers. Return: 0 or an exit code. */
int procs_start(struct run *r);
/* Look after workers: who joined, who is due. Return: ms until it has to be called again, or -1. */
int procs_tick(struct run *r, uint64_t now);
void procs_reap(struct run *r);
void procs_reload(struct run *r);
/* Ask all to end. */
void procs_retire_all(struct run *r);
void procs_kill_all(struct run *r);
unsigned int procs_alive(const struct run *r);

#endif
