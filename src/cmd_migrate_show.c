// SPDX-License-Identifier: GPL-2.0
/* migrate show: groups, generations, listeners, and what became of connections. */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <time.h>
#include "cmd_migrate_show.h"
#include "keeper.h"
#include "lib/cgroup.h"
#include "lib/pin.h"

const struct kcm_listener *migrate_live(const struct migrate_show *s, __u64 cookie)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->l[i].cookie == cookie)
			return &s->l[i];
	return NULL;
}

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void put_place(struct out *o, const struct kcm_mg *mg)
{
	char path[PATH_MAX];

	if (cgroup_path(mg->ctl.cgroup_id, path))
		out_fmt(o, "cgroup", "%llu (removed)", (unsigned long long)mg->ctl.cgroup_id);
	else
		out_str(o, "cgroup", path);
}

/* ---- all instances ---- */

static int show_row(const char *name, void *arg)
{
	_cleanup_migrate_ struct mg_view v = MG_VIEW_NONE;
	unsigned int groups = 0, listeners = 0, off = 0;
	struct out *o = arg;

	if (migrate_open(&v, name, false))
		return 0; /* said on stderr; the others are still of interest */
	for (int i = 0; i < KCM_MG_GROUPS; i++) {
		if (!migrate_group_used(v.mg, i))
			continue;
		groups++;
		listeners += v.mg->group[i].n;
		off += v.mg->group[i].n && !mg_selector_on(v.mg, i);
	}
	out_row(o);
	out_str(o, "name", name);
	out_str(o, "protocol", mg_is_udp(v.mg) ? "udp" : "tcp");
	out_u64(o, "port", v.mg->ctl.port);
	put_place(o, v.mg);
	out_str(o, "policy", mg_policy_name(v.mg->ctl.policy));
	out_u64(o, "groups", groups);
	out_u64(o, "listeners", listeners);
	out_u64(o, "without_selector", off);
	return 0;
}

static int show_all(const struct cmd_args *args)
{
	static const struct out_column columns[] = {
		{ "name", NULL },      { "protocol", NULL },
		{ "port", NULL },      { "cgroup", NULL },
		{ "policy", NULL },    { "groups", NULL },
		{ "listeners", NULL }, { "without_selector", "UNSTEERED" },
	};
	int err;

	out_table(args->out, "instances", columns, ARRAY_LEN(columns));
	err = kcm_pin_each(MG_SYSTEM, show_row, args->out);
	out_end(args->out);
	if (err && err != -ENOENT)
		return report(PROBLEM(.err = err, .where = KCM_PIN_ROOT "/" MG_SYSTEM),
			      "cannot list what is attached");
	return 0;
}

/* ---- one ---- */

/* At the anchor, if there is one. */
static void put_waiting(const struct migrate_show *s, const struct kcm_mg_group *g)
{
	const struct kcm_listener *anchor = migrate_live(s, g->anchor_cookie);

	out_bool(s->o, "anchor", g->anchor_cookie != 0);
	out_bool(s->o, "diverted", g->flags & KCM_MG_GROUP_DIVERT);
	if (anchor)
		out_u64(s->o, "waiting", anchor->queue);
	else
		out_str(s->o, "waiting", NULL);
	out_u64(s->o, "parked", g->parked);
	out_u64(s->o, "unparked", g->unparked);
	out_u64(s->o, "expired", g->expired);
}

void migrate_put_group(const struct migrate_show *s, int i)
{
	const struct kcm_mg_group *g = &s->mg->group[i];
	const struct kcm_listener *l = NULL;
	char addr[MIGRATE_ADDR];

	for (__u32 k = 0; k < s->mg->ctl.slots && !l; k++)
		if (s->mg->slot[k].group == i)
			l = migrate_live(s, s->mg->slot[k].cookie);
	out_row(s->o);
	out_i64(s->o, "group", i);
	out_str(s->o, "address", migrate_addr(s->mg, i, addr));
	if (l)
		out_fmt(s->o, "netns", "%llu", (unsigned long long)l->netns_inode);
	else
		out_str(s->o, "netns", NULL);
	out_u64(s->o, "uid", g->uid);
	out_str(s->o, "selector", mg_selector_on(s->mg, i) ? "on" : g->n ? "LOST" : "-");
	if (g->working < KCM_MG_GENS)
		out_u64(s->o, "works", g->gen[g->working].id);
	else
		out_str(s->o, "works", NULL);
	out_bool(s->o, "pinned", g->flags & KCM_MG_GROUP_PINNED);
	out_u64(s->o, "listeners", g->n);
}

static void put_group(const struct migrate_show *s, int i)
{
	const struct kcm_mg_group *g = &s->mg->group[i];

	migrate_put_group(s, i);
	out_u64(s->o, "fallback", g->fallback);
	out_u64(s->o, "refused_kind", g->refused_kind);
	out_u64(s->o, "refused_none", g->refused_none);
	out_u64(s->o, "emptied", g->emptied);
	put_waiting(s, g);
}

static void put_groups(const struct migrate_show *s)
{
	static const struct out_column columns[] = {
		{ "group", NULL },
		{ "address", NULL },
		{ "netns", NULL },
		{ "selector", NULL },
		{ "works", NULL },
		{ "listeners", NULL },
		{ "fallback", NULL },
		{ "refused_kind", "OTHER-KIND" },
		{ "refused_none", "NOBODY" },
		{ "waiting", NULL },
		{ "parked", NULL },
		{ "expired", NULL },
	};

	out_table(s->o, "groups", columns, ARRAY_LEN(columns));
	for (int i = 0; i < KCM_MG_GROUPS; i++)
		if (migrate_group_used(s->mg, i))
			put_group(s, i);
	out_end(s->o);
}

static const char *role(const struct kcm_mg_group *g, int gen)
{
	return g->working == gen  ? "works"
	       : g->next == gen	  ? "next"
	       : g->before == gen ? "before"
				  : "-";
}

void migrate_put_generation(const struct migrate_show *s, int i, int gi)
{
	const struct kcm_mg_gen *gen = &s->mg->group[i].gen[gi];

	out_row(s->o);
	out_i64(s->o, "group", i);
	out_u64(s->o, "generation", gen->id);
	out_str(s->o, "state", mg_gen_state_name(gen->state));
	out_str(s->o, "role", role(&s->mg->group[i], gi));
	out_u64(s->o, "pid", gen->key.pid);
	out_str(s->o, "command", gen->comm);
	out_u64(s->o, "number", gen->key.number);
	out_u64(s->o, "age_s", (s->now_ns - gen->since_ns) / 1000000000);
	out_u64(s->o, "weight", gen->weight);
	out_u64(s->o, "listeners", gen->n + gen->drained);
}

static void put_generation(const struct migrate_show *s, int i, int gi)
{
	struct mg_totals t;

	mg_gen_totals(s->mg, i, gi, &t);
	migrate_put_generation(s, i, gi);
	out_u64(s->o, "draining", s->mg->group[i].gen[gi].drained);
	out_u64(s->o, "given", t.given);
	out_u64(s->o, "in", t.in);
	out_u64(s->o, "out", t.out);
	out_u64(s->o, "refused", t.refused);
}

static void put_generations(const struct migrate_show *s)
{
	static const struct out_column columns[] = {
		{ "group", NULL },   { "generation", "GEN" }, { "state", NULL },
		{ "role", NULL },    { "pid", NULL },	      { "command", NULL },
		{ "age_s", "AGE" },  { "weight", NULL },      { "listeners", NULL },
		{ "given", NULL },   { "in", NULL },	      { "out", NULL },
		{ "refused", NULL },
	};

	out_table(s->o, "generations", columns, ARRAY_LEN(columns));
	for (int i = 0; i < KCM_MG_GROUPS; i++)
		for (int g = 0; migrate_group_used(s->mg, i) && g < KCM_MG_GENS; g++)
			if (s->mg->group[i].gen[g].state != KCM_MG_GEN_FREE)
				put_generation(s, i, g);
	out_end(s->o);
}

static void put_listener(const struct migrate_show *s, const struct kcm_mg_slot *slot)
{
	const struct kcm_mg_gen *gen = &s->mg->group[slot->group].gen[slot->gen];
	bool closed = slot->flags & KCM_MG_SLOT_CLOSED, known = gen->since_ns <= slot->opened_ns;
	const struct kcm_listener *l = closed ? NULL : migrate_live(s, slot->cookie);
	char kind[64];

	out_row(s->o);
	out_u64(s->o, "group", slot->group);
	/* Its place may be another generation's by now. */
	if (known)
		out_u64(s->o, "generation", gen->id);
	else
		out_str(s->o, "generation", NULL);
	out_str(s->o, "state",
		closed				    ? "closed"
		: known && slot->pos >= gen->n	    ? "draining"
		: slot->flags & KCM_MG_SLOT_ADOPTED ? "adopted"
						    : "open");
	out_u64(s->o, "cookie", slot->cookie);
	out_u64(s->o, "pid", slot->pid);
	out_str(s->o, "command", slot->comm);
	out_str(s->o, "kind", mg_kind_text(slot->kind, kind, sizeof(kind)));
	if (l) {
		out_u64(s->o, "queue", l->queue);
		out_u64(s->o, "backlog", l->backlog);
	} else {
		out_str(s->o, "queue", NULL);
		out_u64(s->o, "backlog", slot->backlog);
	}
	out_u64(s->o, "given", slot->given);
	out_u64(s->o, "in", slot->in);
	out_u64(s->o, "out", slot->out);
	out_u64(s->o, "refused", slot->refused);
}

static void put_listeners(const struct migrate_show *s)
{
	static const struct out_column columns[] = {
		{ "group", NULL }, { "generation", "GEN" }, { "state", NULL },
		{ "pid", NULL },   { "command", NULL },	    { "kind", NULL },
		{ "queue", NULL }, { "backlog", NULL },	    { "given", NULL },
		{ "in", NULL },	   { "out", NULL },	    { "refused", NULL },
	};

	out_table(s->o, "listeners", columns, ARRAY_LEN(columns));
	for (__u32 i = 0; i < s->mg->ctl.slots && i < KCM_MG_SLOTS; i++)
		if (s->mg->slot[i].flags & KCM_MG_SLOT_USED)
			put_listener(s, &s->mg->slot[i]);
	out_end(s->o);
}

static void warn_losses(const struct migrate_show *s, const char *name)
{
	char addr[MIGRATE_ADDR];

	for (int i = 0; i < KCM_MG_GROUPS; i++) {
		const struct kcm_mg_group *g = &s->mg->group[i];

		if (migrate_group_used(s->mg, i) && g->n && !mg_selector_on(s->mg, i))
			warn("%s has no selector, which goes with a group's last listener: the "
			     "kernel's hash chooses there; try: kcmtool migrate attach %s--port %u "
			     "--name %s",
			     migrate_addr(s->mg, i, addr), mg_is_udp(s->mg) ? "--udp " : "",
			     s->mg->ctl.port, name);
	}
	if (s->mg->ctl.refused_listeners)
		warn("%llu listeners could not be registered; kcmtool migrate watch %s says why",
		     (unsigned long long)s->mg->ctl.refused_listeners, name);
}

/* Who holds the anchors, and their bounds. */
static void put_anchor(const struct migrate_show *s, const char *name)
{
	int pid = keeper_pid(name);

	if (!s->mg->ctl.anchor && pid <= 0)
		return;
	if (pid > 0)
		out_i64(s->o, "anchor_pid", pid);
	else
		out_str(s->o, "anchor_pid", NULL);
	out_u64(s->o, "anchor_backlog", s->mg->ctl.anchor_backlog);
	out_u64(s->o, "anchor_time_s", s->mg->ctl.anchor_time_ms / 1000);
	if (pid == 0)
		warn("no process holds its anchors; try: kcmtool migrate keep %s", name);
}

static int show_one(const struct cmd_args *args, const char *name)
{
	_cleanup_migrate_ struct mg_view v = MG_VIEW_NONE;
	struct migrate_show s = { .o = args->out, .now_ns = clock_ns() };
	struct kcm_listener_filter f = { 0 };
	int code = migrate_open(&v, name, false);

	if (code)
		return code;
	s.mg = v.mg;
	s.v = &v;
	f.protocol = mg_is_udp(v.mg) ? IPPROTO_UDP : IPPROTO_TCP;
	f.port = (__u16)v.mg->ctl.port;
	/* Without it, queues are not known: everything else is. */
	if (kcm_listeners_find(&f, &s.l, &s.n, NULL, 0))
		s.n = 0;
	out_str(s.o, "name", name);
	out_str(s.o, "protocol", mg_is_udp(v.mg) ? "udp" : "tcp");
	out_u64(s.o, "port", v.mg->ctl.port);
	put_place(s.o, v.mg);
	out_str(s.o, "policy", mg_policy_name(v.mg->ctl.policy));
	out_str(s.o, "generations_by",
		v.mg->ctl.manual || v.mg->ctl.manual_number ? "operator" : "process");
	s.listeners = args_flag(args, "listeners") || out_format(s.o) != OUT_TEXT;
	s.flows = args_flag(args, "flows");
	if (mg_is_udp(v.mg)) {
		code = migrate_show_udp(&s, name);
	} else {
		put_anchor(&s, name);
		put_groups(&s);
		put_generations(&s);
		if (s.listeners)
			put_listeners(&s);
	}
	warn_losses(&s, name);
	if (s.n)
		kcm_listeners_free(s.l, s.n);
	return code;
}

int migrate_show(const struct cmd_args *args)
{
	return args->npos ? show_one(args, args->pos[0]) : show_all(args);
}
