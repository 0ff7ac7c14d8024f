// SPDX-License-Identifier: GPL-2.0
/* The table of features, and what is asked of it. The probes are in probe_*.c. */
#include <stdarg.h>
#include <sys/capability.h>
#include "cmd.h"
#include "feature.h"

#define CAPS (FEAT(CAP_BPF) | FEAT(CAP_NET_ADMIN) | FEAT(CAP_PERFMON) | FEAT(CAP_SYS_ADMIN))

#define CAPABILITY(n, w, s, c)                               \
	{                                                    \
		n, w, NULL, s, probe_host_cap, NULL, NULL, c \
	}
#define HOST(n, w, c, s, fn)                               \
	{                                                  \
		n, w, c, s, probe_host_##fn, NULL, NULL, 0 \
	}
#define PROG(n, w, c, s, fn, p, m)                   \
	{                                            \
		n, w, c, s, probe_prog_##fn, p, m, 0 \
	}

#define STREAM_PARSER "CONFIG_BPF_STREAM_PARSER"

const struct feature features[FEAT_COUNT] = {
	[FEAT_CAP_BPF] = CAPABILITY("cap_bpf", "load programs and create maps", "5.8", CAP_BPF),
	[FEAT_CAP_NET_ADMIN] = CAPABILITY("cap_net_admin", "load and attach network programs", NULL,
					  CAP_NET_ADMIN),
	[FEAT_CAP_PERFMON] =
		CAPABILITY("cap_perfmon", "pointer arithmetic in programs", "5.8", CAP_PERFMON),
	[FEAT_CAP_SYS_ADMIN] = CAPABILITY("cap_sys_admin", "mount bpffs", NULL, CAP_SYS_ADMIN),
	[FEAT_KERNEL_SAFE] =
		HOST("kernel_safe", "sockmap without known loss of data", NULL, "6.1", kernel),
	[FEAT_BTF] = HOST("btf", "type information that programs are fitted to",
			  "CONFIG_DEBUG_INFO_BTF", "5.2", btf),
	[FEAT_BPFFS] =
		HOST("bpffs", "pins that outlive a process", "CONFIG_BPF_SYSCALL", "4.4", bpffs),
	[FEAT_CGROUP2] = HOST("cgroup2", "cgroups that programs are attached to",
			      "CONFIG_CGROUP_BPF", "4.5", cgroup2),
	[FEAT_JIT] = HOST("jit", "programs run as machine code", "CONFIG_BPF_JIT", "3.0", jit),
	[FEAT_MEMLOCK] = HOST("memlock", "memory for maps", NULL, "5.11", memlock),
	[FEAT_OPTMEM] = HOST("optmem", "memory for socket storage", NULL, NULL, optmem),
	[FEAT_SOCKHASH] = PROG("sockhash", "verdict programs on sockets", STREAM_PARSER, "5.13",
			       sockhash, "kcm_p_verdict", "kcm_p_socks kcm_p_mmap"),
	[FEAT_STRPARSER] = PROG("strparser", "the kernel's stream parser on sockets", STREAM_PARSER,
				"4.20", sockhash, "kcm_p_parser", "kcm_p_socks"),
	[FEAT_BPF_LOOP] =
		PROG("bpf_loop", "loops in programs", NULL, "5.17", load, "kcm_p_loop", ""),
	[FEAT_RINGBUF] =
		PROG("ringbuf", "ring buffers", NULL, "5.8", load, "kcm_p_ringbuf", "kcm_p_ring"),
	[FEAT_RINGBUF_INNER] = PROG("ringbuf_inner", "one ring buffer for each worker", NULL, "5.8",
				    load, "kcm_p_inner", "kcm_p_rings kcm_p_ring"),
	[FEAT_MMAP_ARRAY] = PROG("mmap_array", "maps that processes read without system calls",
				 NULL, "5.5", mmap, "", "kcm_p_mmap"),
	[FEAT_TIMER] = PROG("bpf_timer", "timers in programs", NULL, "5.15", load,
			    "kcm_p_timer_use", "kcm_p_timer"),
	[FEAT_CMPXCHG] = PROG("cmpxchg", "atomic operations that return the old value", NULL,
			      "5.12", load, "kcm_p_cmpxchg", "kcm_p_mmap"),
	[FEAT_SOCKOPS] = PROG("sockops", "programs at connection establishment",
			      "CONFIG_CGROUP_BPF", "4.13", sockops, "kcm_p_sockops", "kcm_p_socks"),
	[FEAT_SK_MSG] = PROG("sk_msg", "programs on what sockets send", STREAM_PARSER, "4.17", load,
			     "kcm_p_msg", ""),
	[FEAT_REUSEPORT_MIGRATE] =
		PROG("reuseport_migrate", "waiting connections move to another listener",
		     "CONFIG_INET", "5.14", reuseport, "kcm_p_migrate", ""),
	[FEAT_SK_STORAGE] = PROG("sk_storage", "storage of programs on sockets",
				 "CONFIG_BPF_SYSCALL", "5.2", load, "kcm_p_storage", "kcm_p_store"),
	[FEAT_CGROUP_SKB] = PROG("cgroup_skb", "programs on what the sockets of a cgroup send",
				 "CONFIG_CGROUP_BPF", "5.7", cgroup, "kcm_p_egress", "kcm_p_store"),
	[FEAT_CGROUP_SOCK] =
		PROG("cgroup_sock", "programs when a socket is made", "CONFIG_CGROUP_BPF", "5.9",
		     cgroup, "kcm_p_create", "kcm_p_store"),
	[FEAT_CGROUP_CONNECT] = PROG("cgroup_connect", "programs at connect()", "CONFIG_CGROUP_BPF",
				     "5.8", cgroup, "kcm_p_connect", "kcm_p_store"),
	[FEAT_ITER_TCP] = PROG("iter_tcp", "programs that look at every TCP socket",
			       "CONFIG_BPF_SYSCALL", "6.1", iter, "kcm_p_iter_tcp", "kcm_p_live"),
	[FEAT_ITER_MAP] = PROG("iter_map", "programs that look at every element of a map",
			       "CONFIG_BPF_SYSCALL", "5.9", iter, "kcm_p_iter_map", "kcm_p_mmap"),
	[FEAT_LIVE_SOCKOPS] = PROG("live_sockops", "fast slots for connections older than load",
				   NULL, "6.12", live, "kcm_p_iter_live", "kcm_p_live"),
	[FEAT_TCP_ZEROCOPY] = HOST("tcp_zerocopy", "pages of a receive queue are mapped",
				   "CONFIG_MMU", "4.18", zerocopy),
	[FEAT_XDP] = PROG("xdp", "programs at the network card", "CONFIG_NET", "4.8", load,
			  "kcm_p_xdp", ""),
};

const char *feature_state_name(enum feature_state state)
{
	static const char *const names[] = {
		[FEATURE_WORKS] = "works",
		[FEATURE_WARN] = "warning",
		[FEATURE_MISSING] = "missing",
		[FEATURE_UNKNOWN] = "unknown",
	};

	return names[state];
}

int feature_set(struct feature_result *r, enum feature_state state, const char *remedy,
		const char *why, ...)
{
	va_list ap;

	va_start(ap, why);
	vsnprintf(r->why, sizeof(r->why), why, ap);
	va_end(ap);
	snprintf(r->remedy, sizeof(r->remedy), "%s", remedy ? remedy : "");
	r->state = state;
	return state;
}

const struct feature_result *feature_probe(enum feature_id f)
{
	static struct feature_result results[FEAT_COUNT];
	static bool known[FEAT_COUNT];

	if (!known[f]) {
		/* A probe that fails is an answer, not an error. */
		enum log_mode before = log_libbpf_mode(LOG_DISCARD);

		if (before == LOG_SILENT)
			log_libbpf_mode(LOG_SILENT);
		known[f] = true;
		features[f].probe(&features[f], &results[f]);
		log_libbpf_mode(before);
	}
	return &results[f];
}

void feature_list_print(FILE *f, uint64_t set)
{
	const char *sep = "";

	for (int i = 0; i < FEAT_COUNT; i++) {
		if (set & (1ULL << i)) {
			fprintf(f, "%s%s", sep, features[i].name);
			sep = " ";
		}
	}
}

int feature_check_caps(const struct cmd *cmd)
{
	for (int i = 0; i < FEAT_COUNT; i++) {
		const struct feature_result *r;

		if (!(cmd->needs & CAPS & (1ULL << i)))
			continue;
		r = feature_probe(i);
		if (r->state == FEATURE_WORKS)
			continue;
		return report(PROBLEM(.code = KCM_EXIT_PRIVILEGE, .where = features[i].name,
				      .why = r->why, .next = r->remedy),
			      "'kcmtool %s%s%s' is not permitted", cmd->object ? cmd->object : "",
			      cmd->object ? " " : "", cmd->verb);
	}
	return 0;
}

static int explain(uint64_t set, const char *what)
{
	for (int i = 0; i < FEAT_COUNT; i++) {
		const struct feature_result *r;
		bool privilege;

		if (!(set & (1ULL << i)))
			continue;
		r = feature_probe(i);
		/* What ran out for the probe ran out for the command: it has the better words. */
		if (r->state == FEATURE_WORKS || r->state == FEATURE_WARN || log_scarce(r->err))
			continue;
		privilege = (CAPS & (1ULL << i)) || r->state == FEATURE_UNKNOWN;
		return report(PROBLEM(.code = privilege ? KCM_EXIT_PRIVILEGE : KCM_EXIT_KERNEL,
				      .where = features[i].name, .why = r->why,
				      .next = r->remedy[0] ? r->remedy : "kcmtool doctor"),
			      "%s", what);
	}
	return 0;
}

int feature_explain(uint64_t set, const char *what)
{
	enum log_mode before = log_libbpf_mode(LOG_SILENT);
	int code = explain(set, what);

	log_libbpf_mode(before);
	return code;
}
