// SPDX-License-Identifier: GPL-2.0
/* The table of features, and what is asked of it. The probes are in probe_*.c. */
#include <stdarg.h>
#include <sys/capability.h>
#include "cmd.h"
#include "feature.h"

#define CAPS (FEAT(CAP_BPF) | FEAT(CAP_NET_ADMIN) | FEAT(CAP_PERFMON) | FEAT(CAP_SYS_ADMIN))

#define PROG(p, m) .prog = (p), .maps = (m)

const struct feature features[FEAT_COUNT] = {
	[FEAT_CAP_BPF] = { "cap_bpf", "load programs and create maps", NULL, "5.8", probe_host_cap,
			   .cap = CAP_BPF },
	[FEAT_CAP_NET_ADMIN] = { "cap_net_admin", "load and attach network programs", NULL, NULL,
				 probe_host_cap, .cap = CAP_NET_ADMIN },
	[FEAT_CAP_PERFMON] = { "cap_perfmon", "pointer arithmetic in programs", NULL, "5.8",
			       probe_host_cap, .cap = CAP_PERFMON },
	[FEAT_CAP_SYS_ADMIN] = { "cap_sys_admin", "mount bpffs", NULL, NULL, probe_host_cap,
				 .cap = CAP_SYS_ADMIN },
	[FEAT_KERNEL_SAFE] = { "kernel_safe", "sockmap without known loss of data", NULL, "6.1",
			       probe_host_kernel },
	[FEAT_BTF] = { "btf", "type information that programs are fitted to",
		       "CONFIG_DEBUG_INFO_BTF", "5.2", probe_host_btf },
	[FEAT_BPFFS] = { "bpffs", "pins that outlive a process", "CONFIG_BPF_SYSCALL", "4.4",
			 probe_host_bpffs },
	[FEAT_CGROUP2] = { "cgroup2", "cgroups that programs are attached to", "CONFIG_CGROUP_BPF",
			   "4.5", probe_host_cgroup2 },
	[FEAT_JIT] = { "jit", "programs run as machine code", "CONFIG_BPF_JIT", "3.0",
		       probe_host_jit },
	[FEAT_MEMLOCK] = { "memlock", "memory for maps", NULL, "5.11", probe_host_memlock },
	[FEAT_OPTMEM] = { "optmem", "memory for socket storage", NULL, NULL, probe_host_optmem },
	[FEAT_SOCKHASH] = { "sockhash", "verdict programs on sockets", "CONFIG_BPF_STREAM_PARSER",
			    "5.13", probe_prog_sockhash,
			    PROG("kcm_p_verdict", "kcm_p_socks kcm_p_mmap") },
	[FEAT_STRPARSER] = { "strparser", "the kernel's stream parser on sockets",
			     "CONFIG_BPF_STREAM_PARSER", "4.20", probe_prog_sockhash,
			     PROG("kcm_p_parser", "kcm_p_socks") },
	[FEAT_BPF_LOOP] = { "bpf_loop", "loops in programs", NULL, "5.17", probe_prog_load,
			    PROG("kcm_p_loop", "") },
	[FEAT_RINGBUF] = { "ringbuf", "ring buffers", NULL, "5.8", probe_prog_load,
			   PROG("kcm_p_ringbuf", "kcm_p_ring") },
	[FEAT_RINGBUF_INNER] = { "ringbuf_inner", "one ring buffer for each worker", NULL, "5.8",
				 probe_prog_load, PROG("kcm_p_inner", "kcm_p_rings kcm_p_ring") },
	[FEAT_MMAP_ARRAY] = { "mmap_array", "maps that processes read without system calls", NULL,
			      "5.5", probe_map_mmap, PROG("", "kcm_p_mmap") },
	[FEAT_TIMER] = { "bpf_timer", "timers in programs", NULL, "5.15", probe_prog_load,
			 PROG("kcm_p_timer_use", "kcm_p_timer") },
	[FEAT_CMPXCHG] = { "cmpxchg", "atomic operations that return the old value", NULL, "5.12",
			   probe_prog_load, PROG("kcm_p_cmpxchg", "kcm_p_mmap") },
	[FEAT_SOCKOPS] = { "sockops", "programs at connection establishment", "CONFIG_CGROUP_BPF",
			   "4.13", probe_prog_sockops, PROG("kcm_p_sockops", "kcm_p_socks") },
	[FEAT_SK_MSG] = { "sk_msg", "programs on what sockets send", "CONFIG_BPF_STREAM_PARSER",
			  "4.17", probe_prog_load, PROG("kcm_p_msg", "") },
	[FEAT_REUSEPORT_MIGRATE] = { "reuseport_migrate",
				     "waiting connections move to another listener", "CONFIG_INET",
				     "5.14", probe_prog_reuseport, PROG("kcm_p_migrate", "") },
	[FEAT_SK_STORAGE] = { "sk_storage", "storage of programs on sockets", "CONFIG_BPF_SYSCALL",
			      "5.2", probe_prog_load, PROG("kcm_p_storage", "kcm_p_store") },
	[FEAT_XDP] = { "xdp", "programs at the network card", "CONFIG_NET", "4.8", probe_prog_load,
		       PROG("kcm_p_xdp", "") },
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
		if (r->state == FEATURE_WORKS || r->state == FEATURE_WARN)
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
