/* SPDX-License-Identifier: GPL-2.0 */
/*
 * sock_bench.h - what the parts of the sock benchmark share: rounds and their spread, rows of the
 * report, the machine (cgroup, CPU, statistics of programs).
 */
#ifndef KCM_TESTS_SOCK_BENCH_H
#define KCM_TESTS_SOCK_BENCH_H

#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "bench.h"

#define SB_ROUNDS_MAX 64
#define SB_ROWS_MAX   256
#define SB_PATH	      256

/* One measured value a round. */
struct sb_series {
	double v[SB_ROUNDS_MAX];
	unsigned int n;
};

void sb_add(struct sb_series *s, double v);
/* @q of 0.5: the median. NAN if there is nothing. */
double sb_quantile(const struct sb_series *s, double q);

enum sb_goal {
	SB_NO_GOAL,
	SB_AT_LEAST,
	SB_AT_MOST,
};

/* One line of the report: a figure that is compared, and what it was made of. */
struct sb_row {
	char group[12];		 /* "lookup", "tcp", "read" */
	char what[48];		 /* the case */
	char peer[40];		 /* what sock is compared with, "" = nothing */
	char unit[8];		 /* of the figure: "x", "%", "ns", "ms", "B" */
	struct sb_series figure; /* a value a round */
	double value;		 /* what is judged; NAN = the median of @figure */
	enum sb_goal goal_kind;
	double goal;
	char side_unit[8];
	struct sb_series ours, theirs;
	char note[112];
};

struct sb_report {
	struct sb_row row[SB_ROWS_MAX];
	unsigned int n;
	unsigned int rounds;
	bool quick;
	const char *ours; /* what is measured: a heading */
};

/* The next row, or the last one again if there are too many. */
struct sb_row *sb_row(struct sb_report *r, const char *group, const char *what, const char *peer,
		      const char *unit);
void sb_goal(struct sb_row *row, enum sb_goal kind, double goal);
double sb_value(const struct sb_row *row);
void sb_print_head(const struct sb_report *r);
/* Rows from @from on, sorted as they were made. */
void sb_print(const struct sb_report *r, unsigned int from);
void sb_print_goals(const struct sb_report *r);
int sb_json(const struct sb_report *r, const char *path);

/* ---- the machine ---- */

struct sb_cgroup {
	char dir[SB_PATH];
	char home[SB_PATH]; /* where this process was */
	int fd;
};

/* A cgroup of this benchmark below the cgroup v2 hierarchy; enter: this process joins it. */
int sb_cgroup_make(struct sb_cgroup *cg, const char *name);
int sb_cgroup_enter(const struct sb_cgroup *cg);
int sb_cgroup_leave(const struct sb_cgroup *cg);
void sb_cgroup_remove(struct sb_cgroup *cg);
/* Programs of others that run for sockets of the cgroup too: they would be measured with ours. */
int sb_cgroup_foreign(const struct sb_cgroup *cg);

/* A mount namespace with a bpffs of its own, a network namespace with loopback. */
int sb_namespaces(void);
int sb_pin_cpu(int cpu);
/* While a round is measured nobody else gets this CPU (if the kernel lets us). */
void sb_alone(bool on);
uint64_t sb_rand(uint64_t *state);
void sb_shuffle(uint32_t *a, size_t n, uint64_t *state);
/* Value of a line "NAME value" of /proc/NAME in KiB, or -1. */
long sb_meminfo_kib(const char *key);

/* Run a command, read what it prints. Return: its exit code or -errno. */
int sb_command(char *const argv[], uint64_t *bytes, uint64_t *ns);

/* ---- statistics of programs ---- */

int sb_prog_read(int fd, uint64_t *ns, uint64_t *runs);

struct sockbench; /* tests/bpf/sockbench.bpf.c */
struct sockbench *sb_bench_load(uint32_t slots, size_t n);

/* ---- parts ---- */

struct sb_opts {
	struct sb_report *report;
	const char *kcmtool;
	unsigned int rounds;
	int cpu;
	bool quick;
};

struct sb_part {
	const char *name;
	int (*run)(const struct sb_opts *o);
};

struct sb_args {
	const char *only; /* a part; NULL: all */
	const char *dir;  /* where results go */
};

/**
 * sb_args_take() - the command line
 * @o: @rounds and @kcmtool are what they are by default; a NULL @kcmtool: there is no such option
 * Return: -1, or the exit status where there is nothing to measure.
 */
int sb_args_take(int argc, char **argv, const char *usage, unsigned int rounds_quick,
		 struct sb_opts *o, struct sb_args *a);
/* All parts, or the one that was asked for; the report, named after what is measured. Exit status.
 */
int sb_run(const struct sb_part *parts, size_t n, const struct sb_opts *o, const struct sb_args *a);
/* For libbpf_set_print(): warnings only. */
int sb_libbpf_print(enum libbpf_print_level level, const char *format, va_list args);

int sb_lookup(const struct sb_opts *o);
int sb_tcp(const struct sb_opts *o);
int sb_memory(const struct sb_opts *o);
int sb_read(const struct sb_opts *o);

#endif
