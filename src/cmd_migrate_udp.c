// SPDX-License-Identifier: GPL-2.0
/* migrate show, of UDP: sockets, and which flows they have. */
#include <arpa/inet.h>
#include <errno.h>
#include "cmd_migrate_show.h"
#include "keeper.h"
#include "lib/migrate_udp.h"

struct udp_show {
	struct migrate_show *s;
	__u32 flows[KCM_MG_SLOTS]; /* of each socket */
};

static bool is_open(const struct kcm_mg_slot *slot)
{
	return (slot->flags & KCM_MG_SLOT_USED) && !(slot->flags & KCM_MG_SLOT_CLOSED);
}

/* Flows and waiting sockets of a generation of @group; of all of them, if @gen is -1. */
static void sum(const struct udp_show *u, int group, int gen, unsigned int *flows,
		unsigned int *waiting)
{
	const struct kcm_mg *mg = u->s->mg;

	*flows = *waiting = 0;
	for (__u32 i = 0; i < mg->ctl.slots && i < KCM_MG_SLOTS; i++) {
		const struct kcm_mg_slot *slot = &mg->slot[i];

		if (!is_open(slot) || slot->group != group || (gen >= 0 && slot->gen != gen))
			continue;
		*flows += u->flows[i];
		*waiting += slot->seat != MG_SEATED;
	}
}

static void put_group(const struct udp_show *u, int i)
{
	const struct migrate_show *s = u->s;
	const struct kcm_mg_group *g = &s->mg->group[i];
	unsigned int flows, waiting;

	sum(u, i, -1, &flows, &waiting);
	migrate_put_group(s, i);
	out_u64(s->o, "waiting", waiting);
	out_u64(s->o, "flows", flows);
	out_u64(s->o, "new", g->flows);
	out_u64(s->o, "moved", g->flows_moved);
	out_u64(s->o, "rebound", g->flows_rebound);
	out_u64(s->o, "full", g->flows_full);
	out_u64(s->o, "cids_full", g->cids_full);
	out_u64(s->o, "fallback", g->fallback);
	out_u64(s->o, "emptied", g->emptied);
}

static void put_groups(const struct udp_show *u)
{
	static const struct out_column columns[] = {
		{ "group", NULL },    { "address", NULL }, { "netns", NULL },
		{ "selector", NULL }, { "works", NULL },   { "listeners", "SOCKETS" },
		{ "waiting", NULL },  { "flows", NULL },   { "new", NULL },
		{ "moved", NULL },    { "rebound", NULL }, { "full", NULL },
		{ "fallback", NULL },
	};

	out_table(u->s->o, "groups", columns, ARRAY_LEN(columns));
	for (int i = 0; i < KCM_MG_GROUPS; i++)
		if (migrate_group_used(u->s->mg, i))
			put_group(u, i);
	out_end(u->s->o);
}

static __u64 datagrams(const struct kcm_mg *mg, int group, int gen)
{
	const struct kcm_mg_gen *g = &mg->group[group].gen[gen];
	__u64 n = 0;

	for (__u32 i = 0; i < mg->ctl.slots && i < KCM_MG_SLOTS; i++) {
		const struct kcm_mg_slot *slot = &mg->slot[i];

		if ((slot->flags & KCM_MG_SLOT_USED) && slot->group == group && slot->gen == gen &&
		    slot->opened_ns >= g->since_ns)
			n += slot->datagrams;
	}
	return n;
}

static void put_generation(const struct udp_show *u, int i, int gi)
{
	const struct migrate_show *s = u->s;
	unsigned int flows, waiting;
	struct mg_totals t;

	mg_gen_totals(s->mg, i, gi, &t);
	sum(u, i, gi, &flows, &waiting);
	migrate_put_generation(s, i, gi);
	out_u64(s->o, "waiting", waiting);
	out_u64(s->o, "flows", flows);
	out_u64(s->o, "given", t.given);
	out_u64(s->o, "in", t.in);
	out_u64(s->o, "out", t.out);
	out_u64(s->o, "datagrams", datagrams(s->mg, i, gi));
}

static void put_generations(const struct udp_show *u)
{
	static const struct out_column columns[] = {
		{ "group", NULL },  { "generation", "GEN" }, { "state", NULL },
		{ "role", NULL },   { "pid", NULL },	     { "command", NULL },
		{ "age_s", "AGE" }, { "weight", NULL },	     { "listeners", "SOCKETS" },
		{ "flows", NULL },  { "given", NULL },	     { "in", NULL },
		{ "out", NULL },    { "datagrams", NULL },
	};

	out_table(u->s->o, "generations", columns, ARRAY_LEN(columns));
	for (int i = 0; i < KCM_MG_GROUPS; i++)
		for (int g = 0; migrate_group_used(u->s->mg, i) && g < KCM_MG_GENS; g++)
			if (u->s->mg->group[i].gen[g].state != KCM_MG_GEN_FREE)
				put_generation(u, i, g);
	out_end(u->s->o);
}

static const char *seat_text(const struct kcm_mg_slot *slot)
{
	if (!is_open(slot))
		return "closed";
	if (slot->seat == MG_SEATED)
		return slot->flags & KCM_MG_SLOT_ADOPTED ? "adopted" : "open";
	return slot->seat ? log_errno(slot->seat) : "waiting";
}

static void put_listener(const struct udp_show *u, __u32 i)
{
	const struct migrate_show *s = u->s;
	const struct kcm_mg_slot *slot = &s->mg->slot[i];
	const struct kcm_mg_gen *gen = &s->mg->group[slot->group].gen[slot->gen];
	const struct kcm_listener *l = is_open(slot) ? migrate_live(s, slot->cookie) : NULL;

	out_row(s->o);
	out_u64(s->o, "group", slot->group);
	if (gen->since_ns <= slot->opened_ns)
		out_u64(s->o, "generation", gen->id);
	else
		out_str(s->o, "generation", NULL);
	out_str(s->o, "state", seat_text(slot));
	out_u64(s->o, "cookie", slot->cookie);
	out_u64(s->o, "pid", slot->pid);
	out_str(s->o, "command", slot->comm);
	if (l) {
		out_u64(s->o, "queue_bytes", l->queue);
		out_u64(s->o, "dropped", l->drops);
	} else {
		out_str(s->o, "queue_bytes", NULL);
		out_str(s->o, "dropped", NULL);
	}
	out_u64(s->o, "flows", is_open(slot) ? u->flows[i] : 0);
	out_u64(s->o, "given", slot->given);
	out_u64(s->o, "in", slot->in);
	out_u64(s->o, "out", slot->out);
	out_u64(s->o, "datagrams", slot->datagrams);
}

static void put_listeners(const struct udp_show *u)
{
	static const struct out_column columns[] = {
		{ "group", NULL }, { "generation", "GEN" }, { "state", NULL },
		{ "pid", NULL },   { "command", NULL },	    { "queue_bytes", "QUEUE" },
		{ "flows", NULL }, { "given", NULL },	    { "in", NULL },
		{ "out", NULL },   { "datagrams", NULL },   { "dropped", NULL },
	};
	const struct kcm_mg *mg = u->s->mg;

	out_table(u->s->o, "listeners", columns, ARRAY_LEN(columns));
	for (__u32 i = 0; i < mg->ctl.slots && i < KCM_MG_SLOTS; i++)
		if (mg->slot[i].flags & KCM_MG_SLOT_USED)
			put_listener(u, i);
	out_end(u->s->o);
}

/* ---- flows ---- */

static void put_flow(const struct kcm_mg_flow_key *key, const struct kcm_mg_flow *f, void *arg)
{
	const struct migrate_show *s = arg;
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
	const struct kcm_mg_slot *slot = &s->mg->slot[f->slot % KCM_MG_SLOTS];

	if (!f->cookie || mg_flow_ended(s->mg, f, s->now_ns))
		return;
	inet_ntop(key->family, key->remote, from, sizeof(from));
	inet_ntop(key->family, key->local, to, sizeof(to));
	out_row(s->o);
	out_u64(s->o, "group", key->group);
	out_fmt(s->o, "remote", key->family == AF_INET ? "%s:%u" : "[%s]:%u", from,
		ntohs(key->port));
	out_str(s->o, "local", to);
	out_u64(s->o, "generation", f->gen);
	out_u64(s->o, "pid", slot->pid);
	out_u64(s->o, "cookie", f->cookie);
	out_u64(s->o, "age_s", (s->now_ns - f->since_ns) / 1000000000);
	out_u64(s->o, "silent_s",
		s->now_ns > f->last_ns ? (s->now_ns - f->last_ns) / 1000000000 : 0);
	out_u64(s->o, "datagrams", f->datagrams);
}

static int put_flows(struct migrate_show *s)
{
	static const struct out_column columns[] = {
		{ "group", NULL },	  { "remote", NULL },	 { "local", NULL },
		{ "generation", "GEN" },  { "pid", NULL },	 { "age_s", "AGE" },
		{ "silent_s", "SILENT" }, { "datagrams", NULL },
	};
	int err;

	out_table(s->o, "flow_table", columns, ARRAY_LEN(columns));
	err = mg_flows_each(s->v, put_flow, s);
	out_end(s->o);
	return err;
}

/* ---- */

static void put_keeper(const struct migrate_show *s, const char *name)
{
	int pid = keeper_pid(name), err;
	unsigned int waiting = mg_unseated(s->mg, &err);

	if (pid > 0)
		out_i64(s->o, "keeper_pid", pid);
	else
		out_str(s->o, "keeper_pid", NULL);
	if (pid == 0)
		warn("no process registers its new sockets; try: kcmtool migrate keep %s", name);
	else if (err)
		warn("%u sockets are not registered (%s), and get no new flows", waiting,
		     err == -EPERM || err == -EACCES ? "CAP_SYS_PTRACE is needed" : log_errno(err));
}

int migrate_show_udp(struct migrate_show *s, const char *name)
{
	static struct udp_show u;
	int n = mg_flows_count(s->v, u.flows, s->now_ns), err = 0;

	u.s = s;
	put_keeper(s, name);
	out_u64(s->o, "flow_timeout_s", s->mg->ctl.flow_timeout_ms / 1000);
	out_bool(s->o, "quic", s->mg->ctl.quic);
	out_u64(s->o, "flows", n < 0 ? 0 : (uint64_t)n);
	out_u64(s->o, "flows_max", s->mg->ctl.flows_max);
	out_u64(s->o, "flows_expired", s->mg->ctl.flows_expired);
	out_u64(s->o, "flows_early", s->mg->ctl.flows_early);
	put_groups(&u);
	put_generations(&u);
	if (s->listeners)
		put_listeners(&u);
	if (s->flows)
		err = put_flows(s);
	if (n < 0 || err)
		return report(PROBLEM(.err = n < 0 ? n : err, .where = name),
			      "cannot read its flows");
	return 0;
}
