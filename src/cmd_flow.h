/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cmd_flow.h - the `flow` object of kcmtool.
 *
 *   cmd_flow.c         table                 cmd_flow_open.c    instances; errors about them
 *   cmd_flow_load.c    load, unload          cmd_flow_policy.c  policy add, del, replace, ...
 *   cmd_flow_show.c    show, stat            cmd_flow_list.c    list, flush
 *   cmd_flow_filter.c  which flows           cmd_flow_top.c     top
 *   cmd_flow_test.c    test-packet           cmd_flow_watch.c   watch: samples
 *   cmd_flow_text.c    addresses, flags, actions
 */
#ifndef KCM_CMD_FLOW_H
#define KCM_CMD_FLOW_H

#include "cmd.h"
#include "feature.h"
#include "lib/flow_flows.h"
#include "lib/flow_inst.h"
#include "lib/flow_rule.h"

/* Maps are found by their ids, from the program that is in force: that takes CAP_SYS_ADMIN. */
#define FLOW_NEEDS_READ	 (FEAT(CAP_BPF) | FEAT(CAP_SYS_ADMIN))
#define FLOW_NEEDS_WRITE (FLOW_NEEDS_READ | FEAT(CAP_NET_ADMIN))
#define FLOW_NEEDS_LOAD                                                               \
	(FLOW_NEEDS_WRITE | FEAT(CAP_PERFMON) | FEAT(BTF) | FEAT(BPFFS) | FEAT(XDP) | \
	 FEAT(MMAP_ARRAY) | FEAT(BPF_LOOP) | FEAT(RINGBUF) | FEAT(CMPXCHG))

extern const struct cmd flow_cmds[];
extern const struct cmd_opt flow_load_opts[];
extern const struct cmd_opt flow_filter_opts[]; /* of flush */

/* ---- cmd_flow_open.c ---- */

/* Return: 0, or the exit code after an error line. */
int flow_open(struct flow_inst *f, const char *ifname, enum flow_open how);
/* An error line that begins with @what; @why may be "". Return: exit code. */
int flow_failed(const char *what, const char *ifname, int err, const char *why);
/* The set in force. Return: 0, or the exit code after an error line. */
int flow_set_open(const struct flow_inst *f, const char *ifname, struct flow_set *set);
/* The policies of a file, resolved. Return: 0, or the exit code after error lines. */
int flow_set_read(const char *file, struct flow_set *set);
/* Interfaces and CPUs of new policies. Return: 0, or the exit code after an error line. */
int flow_set_resolve(struct flow_set *set, const char *file);

/* ---- cmd_flow_text.c ---- */

#define FLOW_ADDR 64 /* bytes that are enough for each of these */
/* The row of a flow begins: its protocol, source and destination. */
void flow_put_name(struct out *o, const struct flow_flow *f);
/* "SA", "-". */
void flow_text_flags(__u8 flags, char *text);
/* "12s", "3m", "1h". */
void flow_text_age(__u64 ms, char *text);
/* What decides: the policy's priority and name, or the default; of each slot found once. */
struct flow_labels {
	const struct flow_inst *f;
	__u32 *line; /* of a slot, + 1 */
	char **text;
};

int flow_labels_make(struct flow_labels *l, const struct flow_inst *f);
const char *flow_label(struct flow_labels *l, __u32 slot);
void flow_labels_free(struct flow_labels *l);
#define _cleanup_labels_ _cleanup_(flow_labels_free)
/* A policy's text, of a line of the set in force. */
char *flow_line_text(const struct flow_inst *f, __u32 at);
/* Its name, or "". @name has FLOW_NAME bytes. */
const char *flow_line_name(const struct flow_inst *f, __u32 at, char *name);

/* ---- cmd_flow_filter.c ---- */

struct flow_want {
	const struct flow_inst *f;
	bool has_src, has_dst, has_host;
	struct flow_prefix src, dst, host;
	bool has_proto, has_port, has_slot, stale;
	__u8 proto, family;
	__u16 port;
	__u32 slot;
	bool any; /* anything at all was asked for */
};

int flow_want_take(struct flow_want *w, const struct cmd_args *args, const struct flow_inst *f);
bool flow_wanted(const struct flow_flow *flow, void *want);
/* "10.0.0.0/8", "::1". Return: false if it is none. */
bool flow_prefix_take(const char *text, struct flow_prefix *p);
bool flow_in_prefix(const struct flow_prefix *p, const struct flow_flow *f, const __u8 *addr);
/* The policy that is called so, by its priority or name. Return: its line, or -1. */
__s64 flow_find_policy(const struct flow_inst *f, const char *text);

/* ---- handlers ---- */
int flow_load(const struct cmd_args *args);
int flow_unload(const struct cmd_args *args);
int flow_show(const struct cmd_args *args);
int flow_policy(const struct cmd_args *args);
int flow_list(const struct cmd_args *args);
int flow_flush_cmd(const struct cmd_args *args);
int flow_top(const struct cmd_args *args);
int flow_stat(const struct cmd_args *args);
int flow_test(const struct cmd_args *args);
int flow_watch(const struct cmd_args *args);

#endif
