/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cmd_migrate_check.h - `migrate check`: what a restart would lose, and why.
 *
 *   cmd_migrate_check.c   looks at the machine, shows what was judged
 *   cmd_migrate_judge.c   the rules about listeners and their groups
 *   cmd_migrate_kind.c    the rules about what becomes of connections within a group
 *   cmd_migrate_host.c    the rules about the kernel, its settings, and missing privilege
 *
 * The rules look at nothing but their input.
 *
 * Exit code: 0 nothing would be lost, with or without warnings; 1 something would be lost, or
 * --pid is no process; 2 usage; 3 no inet_diag in this kernel; 4 nothing is lost for sure, but
 * some of it takes privilege to know, or --pid is somebody else's; 6 --cgroup is none.
 */
#ifndef KCM_CMD_MIGRATE_CHECK_H
#define KCM_CMD_MIGRATE_CHECK_H

#include "cmd.h"
#include "lib/listener.h"

/* ---- what is judged ---- */

struct migrate_check_in {
	__u16 port;
	__u8 protocol;		      /* IPPROTO_TCP or IPPROTO_UDP */
	const struct kcm_listener *l; /* in the order of kcm_listeners_find() */
	size_t n;
	const bool *steered; /* of each listener: is our selector at work for it? NULL: for none */
	const struct kcm_listener_env *env; /* the namespaces of the listeners */
	size_t n_env;
	struct kcm_listener_blind blind;
	unsigned int major, minor; /* of Linux; 0: not known */
};

/* ---- what was found ---- */

enum migrate_severity {
	MIGRATE_OK,
	MIGRATE_UNKNOWN, /* for lack of privilege */
	MIGRATE_WARN,
	MIGRATE_LOSS,
};

struct migrate_finding {
	enum migrate_severity severity;
	const char *what; /* a word for each rule: see the manual page */
	char where[KCM_LISTENER_TEXT + 64];
	char why[256];
	char remedy[192]; /* "": there is none, or none is needed */
};

struct migrate_findings {
	struct migrate_finding *f; /* the worst first, else in the order of the rules */
	size_t n, room;
	bool full; /* no memory for another one */
};

const char *migrate_severity_name(enum migrate_severity severity);

/**
 * migrate_judge() - predict what a restart of the server loses
 * Return: 0 or -ENOMEM. Free with migrate_findings_free().
 */
int migrate_judge(const struct migrate_check_in *in, struct migrate_findings *out);
void migrate_findings_free(struct migrate_findings *out);

/* The worst of all; MIGRATE_UNKNOWN only if nothing is lost for sure, warnings are below it. */
enum migrate_severity migrate_verdict(const struct migrate_findings *out);

/* ---- between the files ---- */

struct migrate_finding *migrate_add(struct migrate_findings *out, enum migrate_severity severity,
				    const char *what, const char *remedy);
/* Listeners that the kernel takes for one: connections of one of them can go to the others. */
struct migrate_group {
	const struct kcm_listener *l;
	size_t n;
	size_t at;	/* of the first in the list */
	bool explained; /* why it has one listener only was said */
};

struct migrate_judging {
	const struct migrate_check_in *in;
	struct migrate_findings *out;
	struct migrate_group *group;
	size_t n;
};

void migrate_why(struct migrate_finding *f, const char *fmt, ...) _printf_(2, 3);
void migrate_where(struct migrate_finding *f, const struct kcm_listener *l);
void migrate_where_group(struct migrate_finding *f, const struct migrate_group *g);
void migrate_judge_kinds(struct migrate_judging *j, const struct migrate_group *g);
void migrate_judge_backlog(struct migrate_judging *j, const struct migrate_group *g);
void migrate_judge_move(struct migrate_judging *j, const struct migrate_group *g);
void migrate_judge_udp(struct migrate_judging *j, const struct migrate_group *g);
void migrate_judge_host(const struct migrate_check_in *in, struct migrate_findings *out);
const struct kcm_listener_env *migrate_env_of(const struct migrate_check_in *in,
					      const struct kcm_listener *l);

/* ---- for the table ---- */

extern const struct cmd_opt migrate_check_opts[];
int migrate_check(const struct cmd_args *args);

#endif
