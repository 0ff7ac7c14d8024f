// SPDX-License-Identifier: GPL-2.0
/* flow show, flow stat. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include "cmd_flow.h"

#define SUM(f, member)                                                                      \
	({                                                                                  \
		__u64 sum_ = 0;                                                             \
		for (__u32 cpu_ = 0; cpu_ < (f)->cpus; cpu_++)                              \
			sum_ += __atomic_load_n(&(f)->stat[cpu_].member, __ATOMIC_RELAXED); \
		sum_;                                                                       \
	})

static const char *mode_of(const struct flow_link *l)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, q);

	if (!l->ifindex || bpf_xdp_query((int)l->ifindex, 0, &q))
		return "interface is gone";
	switch (q.attach_mode) {
	case XDP_ATTACHED_DRV:
		return "native";
	case XDP_ATTACHED_SKB:
		return "generic";
	case XDP_ATTACHED_HW:
		return "hardware";
	case XDP_ATTACHED_MULTI:
		return "several";
	default:
		return "not attached";
	}
}

static __u64 memory_of(const struct flow_inst *f)
{
	__u64 sum = 0;

	for (int i = 0; i < FLOW_MAPS; i++) {
		struct bpf_map_info info = { 0 };
		__u32 len = sizeof(info);

		if (!bpf_obj_get_info_by_fd(f->map_fd[i], &info, &len))
			sum += (__u64)info.max_entries * ((info.value_size + 7u) & ~7u);
	}
	return sum;
}

static void show_links(struct out *o, const struct flow_inst *f)
{
	static const struct out_column columns[] = { { "interface", NULL }, { "mode", NULL } };

	out_table(o, "interfaces", columns, ARRAY_LEN(columns));
	for (__u32 i = 0; i < f->links; i++) {
		out_row(o);
		out_str(o, "interface", f->link[i].ifname);
		out_str(o, "mode", mode_of(&f->link[i]));
	}
	out_end(o);
}

static int show_one(struct out *o, struct flow_inst *f)
{
	__u64 hits = SUM(f, hits), misses = SUM(f, misses) + SUM(f, stale) + SUM(f, bypassed);
	size_t used, size;
	int err = flow_fill_level(f, &used, &size);
	__u32 n = 0;

	if (err)
		return flow_failed("cannot read the cache", f->link[0].ifname, err, "");
	for (__u32 i = 0; i < f->conf.policies; i++)
		n += flow_line_lives(f, i);
	out_str(o, "name", f->name);
	out_u64(o, "policies", n);
	out_u64(o, "room", f->conf.slots - KCM_FL_SLOT_FIRST);
	out_str(o, "default", f->conf.default_slot == KCM_FL_SLOT_DROP ? "drop" : "pass");
	out_u64(o, "genid", f->conf.genid);
	out_u64(o, "cache_entries", size);
	out_u64(o, "cache_used", used);
	if (hits + misses)
		out_double(o, "hit_percent", 100.0 * (double)hits / (double)(hits + misses));
	else
		out_str(o, "hit_percent", NULL);
	out_str(o, "bypass",
		f->conf.no_cache ? "no cache"
		: f->conf.bypass ? "where it pays"
				 : "never");
	out_u64(o, "cpus_bypassing", SUM(f, bypassing));
	out_u64(o, "memory_bytes", memory_of(f));
	show_links(o, f);
	return 0;
}

static const struct out_column row_columns[] = {
	{ "name", NULL },     { "interfaces", NULL },	 { "modes", NULL },
	{ "policies", NULL }, { "hit_percent", "HIT%" },
};

static int show_row(const char *name, void *arg)
{
	_cleanup_flow_ struct flow_inst f = FLOW_INST_NONE;
	char names[KCM_FL_IFS * (IF_NAMESIZE + 1)] = "", modes[KCM_FL_IFS * 20] = "";
	struct out *o = arg;
	__u64 hits, all;
	__u32 n = 0;
	int err = flow_inst_open_name(&f, name, FLOW_READ);

	if (err == -ENOENT)
		return 0; /* it has just been unloaded */
	if (err)
		return err;
	for (__u32 i = 0; i < f.links; i++) {
		if (i) {
			strcat(names, ",");
			strcat(modes, ",");
		}
		strcat(names, f.link[i].ifname);
		strcat(modes, mode_of(&f.link[i]));
	}
	for (__u32 i = 0; i < f.conf.policies; i++)
		n += flow_line_lives(&f, i);
	hits = SUM(&f, hits);
	all = hits + SUM(&f, misses) + SUM(&f, stale) + SUM(&f, bypassed);
	out_row(o);
	out_str(o, "name", name);
	out_str(o, "interfaces", names);
	out_str(o, "modes", modes);
	out_u64(o, "policies", n);
	out_u64(o, "hit_percent", all ? 100 * hits / all : 0);
	return 0;
}

int flow_show(const struct cmd_args *args)
{
	_cleanup_flow_ struct flow_inst f = FLOW_INST_NONE;
	int code, err;

	if (!args->npos) {
		out_table(args->out, "instances", row_columns, ARRAY_LEN(row_columns));
		err = kcm_pin_each(FLOW_SYSTEM, show_row, args->out);
		out_end(args->out);
		return err ? flow_failed("cannot show them", NULL, err, "") : 0;
	}
	code = flow_open(&f, args->pos[0], FLOW_READ);
	return code ?: show_one(args->out, &f);
}

int flow_stat(const struct cmd_args *args)
{
	_cleanup_flow_ struct flow_inst f = FLOW_INST_NONE;
	int code = flow_open(&f, args->pos[0], FLOW_READ);
	struct out *o = args->out;

	if (code)
		return code;
#define SHOW(member) out_u64(o, #member, SUM(&f, member))
	SHOW(hits);
	SHOW(misses);
	SHOW(stale);
	SHOW(restamped);
	SHOW(inserted);
	SHOW(evicted);
	SHOW(refused);
	SHOW(uncached);
	SHOW(bypassed);
	SHOW(long_leaves);
	SHOW(bad);
	SHOW(limited);
	SHOW(sampled);
	SHOW(samples_lost);
	SHOW(fib_hits);
	SHOW(fib_asked);
	SHOW(fib_kernel);
	SHOW(mark_failed);
#undef SHOW
	return 0;
}
