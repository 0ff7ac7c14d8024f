// SPDX-License-Identifier: GPL-2.0
/* flow list, flow flush. */
#include <errno.h>
#include "cmd_flow.h"

static int by_bytes(const void *a, const void *b)
{
	const struct flow_flow *x = a, *y = b;

	return x->bytes == y->bytes ? 0 : x->bytes < y->bytes ? 1 : -1;
}

static int by_packets(const void *a, const void *b)
{
	const struct flow_flow *x = a, *y = b;

	return x->packets == y->packets ? 0 : x->packets < y->packets ? 1 : -1;
}

static int by_age(const void *a, const void *b)
{
	const struct flow_flow *x = a, *y = b;

	return x->age_ms == y->age_ms ? 0 : x->age_ms < y->age_ms ? 1 : -1;
}

static int by_idle(const void *a, const void *b)
{
	const struct flow_flow *x = a, *y = b;

	return x->idle_ms == y->idle_ms ? 0 : x->idle_ms < y->idle_ms ? -1 : 1;
}

typedef int (*compare_fn)(const void *a, const void *b);

static const struct {
	const char *name;
	compare_fn fn;
} sorts[] = {
	{ "bytes", by_bytes },
	{ "packets", by_packets },
	{ "age", by_age },
	{ "idle", by_idle },
};

static int take_sort(const struct cmd_args *args, compare_fn *fn)
{
	const char *name = args_str(args, "sort", NULL);

	*fn = NULL;
	if (!name)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(sorts); i++)
		if (streq(sorts[i].name, name))
			*fn = sorts[i].fn;
	return *fn ? 0
		   : report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "--sort",
				    .next = "bytes, packets, age or idle"),
			    "'%s' is nothing to sort by", name);
}

/* Links come in any order; a flow knows the place of its interface in the program's data. */
static const char *interface_of(const struct flow_inst *f, __u8 ifnum)
{
	for (__u32 i = 0; i < f->links; i++)
		if (f->link[i].ifindex == f->conf.ifindex[ifnum % KCM_FL_IFS])
			return f->link[i].ifname;
	return "-";
}

static void show_flow(struct out *o, struct flow_labels *l, const struct flow_flow *f)
{
	const struct flow_inst *inst = l->f;
	char text[FLOW_ADDR];

	flow_put_name(o, f);
	if (f->class & KCM_FL_C_TAGGED)
		out_u64(o, "vlan", f->vlan);
	out_str(o, "policy", f->current ? flow_label(l, f->slot) : "(changed)");
	out_u64(o, "packets", f->packets);
	out_u64(o, "bytes", f->bytes);
	flow_text_flags(f->seen, text);
	out_str(o, "tcp", f->class & KCM_FL_C_TCP ? text : "-");
	if (out_format(o) == OUT_TEXT) {
		flow_text_age(f->idle_ms, text);
		out_figure(o, "idle", text);
		flow_text_age(f->age_ms, text);
		out_figure(o, "age", text);
	} else {
		out_u64(o, "idle_ms", f->idle_ms);
		out_u64(o, "age_ms", f->age_ms);
		out_bool(o, "current", f->current);
		out_str(o, "interface", interface_of(inst, f->ifnum));
	}
}

static const struct out_column columns[] = {
	{ "proto", NULL },  { "source", NULL },	 { "destination", NULL }, { "vlan", NULL },
	{ "policy", NULL }, { "packets", NULL }, { "bytes", NULL },	  { "tcp", NULL },
	{ "idle", NULL },   { "age", NULL },
};

static int list(const struct cmd_args *args, struct flow_inst *f, compare_fn sort)
{
	_cleanup_labels_ struct flow_labels labels = { .f = f };
	_cleanup_free_ struct flow_flow *flows = NULL;
	struct flow_want want;
	uint64_t limit;
	size_t n, kept = 0;
	int err, code = args_u64(args, "limit", 1, UINT32_MAX, UINT32_MAX, &limit);

	code = code ?: flow_want_take(&want, args, f);
	code = code ?: flow_labels_make(&labels, f);
	if (code)
		return code;
	err = flow_flows(f, &flows, &n);
	if (err)
		return flow_failed("cannot list flows", args->pos[0], err, "");
	for (size_t i = 0; i < n; i++)
		if (flow_wanted(&flows[i], &want))
			flows[kept++] = flows[i];
	if (sort)
		qsort(flows, kept, sizeof(*flows), sort);
	out_u64(args->out, "flows", kept);
	out_table(args->out, "flow", columns, ARRAY_LEN(columns));
	out_sparse(args->out);
	for (size_t i = 0; i < kept && i < limit; i++)
		show_flow(args->out, &labels, &flows[i]);
	out_end(args->out);
	return 0;
}

int flow_list(const struct cmd_args *args)
{
	_cleanup_flow_ struct flow_inst f = FLOW_INST_NONE;
	compare_fn sort;
	int code = take_sort(args, &sort);

	code = code ?: flow_open(&f, args->pos[0], FLOW_READ);
	if (code)
		return code;
	if (f.conf.no_cache)
		warn("%s: loaded without a cache, so no flow is known; try: kcmtool flow load %s "
		     "--cache-entries N",
		     args->pos[0], args->pos[0]);
	return list(args, &f, sort);
}

int flow_flush_cmd(const struct cmd_args *args)
{
	_cleanup_flow_ struct flow_inst f = FLOW_INST_NONE;
	struct flow_want want;
	int err, code = flow_open(&f, args->pos[0], FLOW_WRITE);
	size_t n;

	code = code ?: flow_want_take(&want, args, &f);
	if (code)
		return code;
	err = flow_flush(&f, want.any ? flow_wanted : NULL, want.any ? &want : NULL, &n);
	if (err)
		return flow_failed("cannot flush flows", args->pos[0], err, "");
	out_u64(args->out, "flushed", n);
	return 0;
}
