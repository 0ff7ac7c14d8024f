// SPDX-License-Identifier: GPL-2.0
/* migrate check: the rules about what becomes of connections that move within a group. */
#include <netinet/in.h>
#include "cmd_migrate_check.h"

#define UNKNOWN KCM_LISTENER_UNKNOWN

/* ---- kinds: listeners of one group that are set to different things ---- */

struct kind {
	const char *what;
	int (*of)(const struct kcm_listener *l);
	enum migrate_severity severity;
	const char *why;
	const char *remedy;
};

static int kind_md5(const struct kcm_listener *l)
{
	return l->md5;
}

static int kind_save_syn(const struct kcm_listener *l)
{
	return l->save_syn;
}

static int kind_fastopen(const struct kcm_listener *l)
{
	return l->fastopen == UNKNOWN ? UNKNOWN : l->fastopen > 0;
}

static int kind_defer(const struct kcm_listener *l)
{
	return l->defer_accept == UNKNOWN ? UNKNOWN : l->defer_accept > 0;
}

static const struct kind kinds[] = {
	{ "md5", kind_md5, MIGRATE_LOSS,
	  "half-open requests that go from one to the other kind fail: signatures do not fit",
	  "the same TCP_MD5SIG keys before listen() on all of them" },
	{ "save_syn", kind_save_syn, MIGRATE_WARN,
	  "all are served, but a connection from one without has no saved SYN where it is read",
	  "the same TCP_SAVE_SYN on all of them" },
	{ "fastopen", kind_fastopen, MIGRATE_WARN,
	  "some clients' data in the SYN is taken, that of others has to be sent again",
	  "the same TCP_FASTOPEN on all of them" },
	{ "defer_accept", kind_defer, MIGRATE_OK,
	  "all are served; a connection may be accepted before its first data",
	  "the same TCP_DEFER_ACCEPT on all of them" },
};

static void mixed(struct migrate_judging *j, const struct migrate_group *g, const struct kind *k)
{
	const struct kcm_listener *odd = NULL;
	struct migrate_finding *f;
	size_t with = 0, without = 0;

	for (size_t i = 0; i < g->n; i++) {
		int value = k->of(&g->l[i]);

		with += value > 0;
		without += value == 0;
	}
	for (size_t i = 0; i < g->n && !odd; i++)
		if (k->of(&g->l[i]) != UNKNOWN && (k->of(&g->l[i]) > 0) == (with <= without))
			odd = &g->l[i];
	if (!with || !without || !odd)
		return;
	f = migrate_add(j->out, k->severity, k->what, k->remedy);
	migrate_where(f, odd);
	migrate_why(f, "%zu of %zu listeners have it: %s", with, with + without, k->why);
}

void migrate_judge_kinds(struct migrate_judging *j, const struct migrate_group *g)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		mixed(j, g, &kinds[i]);
}

/* ---- room in the queues ---- */

static unsigned long long room_of(const struct kcm_listener *l)
{
	return l->queue > l->backlog ? 0 : l->backlog + 1ULL - l->queue;
}

static void backlog_remedy(struct migrate_finding *f, const struct kcm_listener *l,
			   const struct kcm_listener_env *env)
{
	if (env && env->somaxconn >= 0 && l->backlog >= (unsigned int)env->somaxconn)
		snprintf(f->remedy, sizeof(f->remedy),
			 "sysctl -w net.core.somaxconn=4096 (%d now), and listen() with more",
			 env->somaxconn);
	else
		snprintf(f->remedy, sizeof(f->remedy),
			 "listen() with more than %u (nginx: listen ... backlog=4096)", l->backlog);
}

void migrate_judge_backlog(struct migrate_judging *j, const struct migrate_group *g)
{
	const struct kcm_listener *tight = NULL, *full = NULL;
	const struct kcm_listener_env *env = migrate_env_of(j->in, g->l);
	bool reset = env && env->abort_on_overflow == 1;
	unsigned int n_full = 0, half_open = g->l->half_open;
	unsigned long long room = 0;
	struct migrate_finding *f;

	for (size_t i = 0; i < g->n; i++) {
		room += room_of(&g->l[i]);
		n_full += !room_of(&g->l[i]);
		full = full ?: room_of(&g->l[i]) ? NULL : &g->l[i];
	}
	for (size_t i = 0; i < g->n; i++)
		if ((unsigned long long)g->l[i].queue + half_open > room - room_of(&g->l[i]) &&
		    (!tight || g->l[i].queue > tight->queue))
			tight = &g->l[i];
	if (full) {
		f = migrate_add(j->out, MIGRATE_LOSS, "backlog", NULL);
		migrate_where(f, full);
		migrate_why(
			f,
			"%u of %zu queues are full (%u, backlog %u): half-open requests that go "
			"there fail (%u now)%s",
			n_full, g->n, full->queue, full->backlog, half_open,
			reset ? ", with a reset" : "");
		backlog_remedy(f, full, env);
	} else if (tight && g->n > 1) {
		f = migrate_add(j->out, half_open ? MIGRATE_LOSS : MIGRATE_WARN, "backlog", NULL);
		migrate_where(f, tight);
		migrate_why(
			f,
			"%u connections and %u half-open ones would go to queues that have room "
			"for %llu: %s",
			tight->queue, half_open, room - room_of(tight),
			half_open ? "what is half-open fails"
				  : "they are served, new ones wait or fail meanwhile");
		backlog_remedy(f, tight, env);
	}
}

/* ---- does anything migrate them? ---- */

void migrate_judge_move(struct migrate_judging *j, const struct migrate_group *g)
{
	const struct kcm_listener_env *env = migrate_env_of(j->in, g->l);
	struct migrate_finding *f;
	char remedy[96];
	size_t steered = 0;

	if (g->l->mptcp == 1)
		return;
	for (size_t i = 0; i < g->n; i++)
		steered += j->in->steered && j->in->steered[g->at + i];
	snprintf(remedy, sizeof(remedy), "kcmtool migrate attach --port %u", g->l->port);
	if (steered == g->n) {
		f = migrate_add(j->out, MIGRATE_OK, "migration", NULL);
		migrate_why(f, "our selector is attached: connections go to the newest generation");
	} else if (steered) {
		f = migrate_add(j->out, MIGRATE_WARN, "migration", remedy);
		migrate_why(f, "our selector knows %zu of %zu listeners: none goes to the others",
			    steered, g->n);
	} else if (env && env->migrate_req == 1) {
		f = migrate_add(j->out, MIGRATE_WARN, "migration", remedy);
		migrate_why(f, "net.ipv4.tcp_migrate_req=1 alone: the kernel chooses by hash, old "
			       "generations and other kinds too");
	} else if (env && env->migrate_req == 0) {
		f = migrate_add(j->out, MIGRATE_LOSS, "migration", remedy);
		migrate_why(
			f,
			"no selector of ours, net.ipv4.tcp_migrate_req=0: what waits in a closing "
			"listener is reset (%u half-open now), unless another selector migrates it",
			g->l->half_open);
	} else {
		return; /* the namespace is closed to us, or the kernel cannot: said elsewhere */
	}
	migrate_where_group(f, g);
}

void migrate_judge_udp(struct migrate_judging *j, const struct migrate_group *g)
{
	struct migrate_finding *f;
	unsigned long long bytes = 0;
	size_t steered = 0;

	for (size_t i = 0; i < g->n; i++) {
		bytes += g->l[i].queue;
		steered += j->in->steered && j->in->steered[g->at + i];
	}
	f = migrate_add(j->out,
			bytes		  ? MIGRATE_LOSS
			: steered == g->n ? MIGRATE_OK
					  : MIGRATE_WARN,
			"udp",
			steered == g->n
				? "have the old generation serve its flows until they end"
				: "kcmtool migrate attach --udp, and have the old generation serve "
				  "its flows until they end");
	migrate_where_group(f, g);
	migrate_why(
		f,
		"UDP does not migrate: datagrams in a closing socket (%llu bytes now) are lost, "
		"flows %s",
		bytes,
		steered == g->n ? "stay with it until then, and go to the newest generation"
				: "go to another by hash, also while it is there");
}
