/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel, the machine and the caller can do, found out by doing it: each probe loads
 * (and where loading is not enough, attaches) a tiny program of bpf/probe.bpf.c.
 */
#ifndef KCM_FEATURE_H
#define KCM_FEATURE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum feature_id {
	FEAT_CAP_BPF,
	FEAT_CAP_NET_ADMIN,
	FEAT_CAP_PERFMON,
	FEAT_CAP_SYS_ADMIN,
	FEAT_KERNEL_SAFE, /* no known message loss in sockmap */
	FEAT_BTF,
	FEAT_BPFFS,
	FEAT_CGROUP2,
	FEAT_JIT,
	FEAT_MEMLOCK,
	FEAT_OPTMEM,
	FEAT_SOCKHASH,	/* sk_skb verdict program attached to a sockhash */
	FEAT_STRPARSER, /* stream parser and stream verdict attached to a sockhash */
	FEAT_BPF_LOOP,
	FEAT_RINGBUF,
	FEAT_RINGBUF_INNER,
	FEAT_MMAP_ARRAY,
	FEAT_TIMER,
	FEAT_CMPXCHG,
	FEAT_SOCKOPS,
	FEAT_SK_MSG,
	FEAT_REUSEPORT_MIGRATE,
	FEAT_SK_STORAGE,
	FEAT_XDP,
	FEAT_CGROUP_SKB,     /* with storage of the socket */
	FEAT_CGROUP_SOCK,    /* when a socket is made */
	FEAT_CGROUP_CONNECT, /* at connect() */
	FEAT_ITER_TCP,
	FEAT_ITER_MAP,
	FEAT_LIVE_SOCKOPS, /* callbacks asked for on sockets that live already */
	FEAT_TCP_ZEROCOPY, /* pages of a receive queue are mapped */
	FEAT_COUNT,
};

#define FEAT(x) (1ULL << FEAT_##x)

enum feature_state {
	FEATURE_WORKS,
	FEATURE_WARN, /* works, with a danger or a limit that is worth knowing */
	FEATURE_MISSING,
	FEATURE_UNKNOWN, /* could not be tried, for lack of privilege */
};

struct feature_result {
	enum feature_state state;
	int err; /* errno of the attempt, 0 if it was something else */
	char why[192];
	char remedy[192];
};

struct feature {
	const char *name;
	const char *what;
	const char *config; /* kernel configuration it needs */
	const char *since;  /* kernel version */
	int (*probe)(const struct feature *f, struct feature_result *r);
	const char *prog; /* for program probes: program and maps of probe.bpf.c */
	const char *maps;
	int cap; /* for capability probes */
};

extern const struct feature features[FEAT_COUNT];
const char *feature_state_name(enum feature_state state);

/* Run one probe. Results are kept: the second call costs nothing. */
const struct feature_result *feature_probe(enum feature_id f);

/* Names of the features in @set, separated by blanks. */
void feature_list_print(FILE *f, uint64_t set);

struct cmd;
/* Print an error line and return its exit code if @cmd needs a capability that is not there. */
int feature_check_caps(const struct cmd *cmd);

/**
 * feature_explain() - say which of the features in @set is missing
 * Return: 0 if none is; else the exit code after one error line that begins with @what.
 */
int feature_explain(uint64_t set, const char *what);

/* ---- probes, by file ---- */
int probe_prog_load(const struct feature *f, struct feature_result *r);
int probe_prog_sockhash(const struct feature *f, struct feature_result *r);
int probe_prog_sockops(const struct feature *f, struct feature_result *r);
int probe_prog_reuseport(const struct feature *f, struct feature_result *r);
int probe_prog_cgroup(const struct feature *f, struct feature_result *r);
int probe_prog_iter(const struct feature *f, struct feature_result *r);
int probe_prog_live(const struct feature *f, struct feature_result *r);
int probe_prog_mmap(const struct feature *f, struct feature_result *r);
int probe_host_cap(const struct feature *f, struct feature_result *r);
int probe_host_kernel(const struct feature *f, struct feature_result *r);
int probe_host_btf(const struct feature *f, struct feature_result *r);
int probe_host_bpffs(const struct feature *f, struct feature_result *r);
int probe_host_cgroup2(const struct feature *f, struct feature_result *r);
int probe_host_jit(const struct feature *f, struct feature_result *r);
int probe_host_memlock(const struct feature *f, struct feature_result *r);
int probe_host_zerocopy(const struct feature *f, struct feature_result *r);
int probe_host_optmem(const struct feature *f, struct feature_result *r);

/* Why and remedy of one result; return @state for a probe to return. */
int feature_set(struct feature_result *r, enum feature_state state, const char *remedy,
		const char *why, ...) __attribute__((format(printf, 4, 5)));

/* Mount point of cgroup2; "" if there is none. */
const char *probe_cgroup2_path(void);

#endif
