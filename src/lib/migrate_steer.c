// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * migrate_steer.c - what an operator tells an instance of migrate.
 *
 * Programs change the same words under a lock that user space can't take. Each of these is one
 * word stored at once, and what depends on it is looked at by the selector at every connection:
 * whoever comes in between, a generation that has listeners gets the connections.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "../util.h"
#include "migrate_view.h"

#define KEEPER_SILENT_NS 15000000000ULL /* it looks every 5 s */

#define STORE(to, value) __atomic_store_n(&(to), (value), __ATOMIC_RELEASE)
#define LOAD(from)	 __atomic_load_n(&(from), __ATOMIC_ACQUIRE)

static const char *const policies[KCM_MG_POLICIES] = {
	[KCM_MG_HASH] = "hash", [KCM_MG_ROBIN] = "robin", [KCM_MG_LEAST] = "least",
	[KCM_MG_CPU] = "cpu",	[KCM_MG_NUMA] = "numa",	  [KCM_MG_CLIENT] = "client",
};

static const char *const states[] = {
	[KCM_MG_GEN_FREE] = "free",   [KCM_MG_GEN_NEW] = "new",
	[KCM_MG_GEN_READY] = "ready", [KCM_MG_GEN_DRAINING] = "draining",
	[KCM_MG_GEN_GONE] = "gone",
};

const char *mg_policy_name(unsigned int policy)
{
	return policy < KCM_MG_POLICIES ? policies[policy] : "?";
}

int mg_policy_parse(const char *name)
{
	for (int i = 0; i < KCM_MG_POLICIES; i++)
		if (streq(policies[i], name))
			return i;
	return -EINVAL;
}

const char *mg_gen_state_name(unsigned int state)
{
	return state < ARRAY_LEN(states) ? states[state] : "?";
}

const char *mg_kind_text(unsigned int kind, char *text, size_t size)
{
	static const struct {
		enum kcm_mg_kind kind;
		const char *name;
	} names[] = {
		{ KCM_MG_KIND_SAVE_SYN, "save_syn" },
		{ KCM_MG_KIND_SAVE_SYN2, "save_syn2" },
		{ KCM_MG_KIND_FASTOPEN, "fastopen" },
		{ KCM_MG_KIND_MD5, "md5" },
		{ KCM_MG_KIND_AO, "ao" },
		{ KCM_MG_KIND_MPTCP, "mptcp" },
		{ KCM_MG_KIND_DEFER, "defer" },
	};
	size_t used = 0;

	snprintf(text, size, "plain");
	for (size_t i = 0; i < ARRAY_LEN(names) && used < size; i++)
		if (kind & names[i].kind)
			used += (size_t)snprintf(text + used, size - used, "%s%s", used ? " " : "",
						 names[i].name);
	return text;
}

int mg_gen_find(const struct kcm_mg_group *g, __u32 id)
{
	for (int i = 0; i < KCM_MG_GENS; i++)
		if (g->gen[i].state != KCM_MG_GEN_FREE && g->gen[i].id == id)
			return i;
	return -1;
}

/* An anchor is there while its keeper says so: one that was killed says nothing of it. */
static bool keeper_lives(const struct kcm_mg *mg)
{
	struct timespec ts;

	pid_t pid = (pid_t)LOAD(mg->ctl.keeper_pid);
	_cleanup_fd_ int pidfd = pid ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	/* One that has ended may be there until somebody asks for its status. */
	if (!pid || (pidfd < 0 && errno == ESRCH) || (pidfd >= 0 && poll(&p, 1, 0) > 0))
		return false;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (__u64)ts.tv_sec * 1000000000ULL + (__u64)ts.tv_nsec <
	       LOAD(mg->ctl.keeper_seen_ns) + KEEPER_SILENT_NS;
}

bool mg_selector_on(const struct kcm_mg *mg, int group)
{
	const struct kcm_mg_group *g = &mg->group[group];

	return (LOAD(g->flags) & KCM_MG_GROUP_SELECTOR) &&
	       (LOAD(g->selector_at) == LOAD(g->emptied) ||
		(LOAD(g->anchor_cookie) && keeper_lives(mg)));
}

/* A place may have been another generation's before: only listeners opened since it began count. */
void mg_gen_totals(const struct kcm_mg *mg, int group, int gen, struct mg_totals *t)
{
	const struct kcm_mg_gen *g = &mg->group[group].gen[gen];

	*t = (struct mg_totals){ g->given, g->in, g->out, g->refused };
	for (__u32 i = 0; i < mg->ctl.slots && i < KCM_MG_SLOTS; i++) {
		const struct kcm_mg_slot *s = &mg->slot[i];

		if (!(s->flags & KCM_MG_SLOT_USED) || s->group != group || s->gen != gen ||
		    s->opened_ns < g->since_ns)
			continue;
		t->given += s->given;
		t->in += s->in;
		t->out += s->out;
		t->refused += s->refused;
	}
}

/* The newest one that has listeners and is not draining, beside @but; or -1. */
static int newest(const struct kcm_mg_group *g, int but)
{
	int best = -1;

	for (int i = 0; i < KCM_MG_GENS; i++)
		if (i != but && LOAD(g->gen[i].n) && g->gen[i].state != KCM_MG_GEN_DRAINING &&
		    (best < 0 || g->gen[i].id > g->gen[best].id))
			best = i;
	return best;
}

static void work(struct kcm_mg_group *g, int gen)
{
	__u16 was = LOAD(g->working);

	STORE(g->gen[gen].state, KCM_MG_GEN_READY);
	STORE(g->gen[gen].weight, 0U);
	if (was != gen)
		STORE(g->before, was);
	STORE(g->working, (__u16)gen);
	STORE(g->settled_ns, 0ULL);
	if (LOAD(g->next) == gen)
		STORE(g->next, (__u16)KCM_MG_NONE);
}

int mg_promote(struct mg_view *v, int group, int gen)
{
	struct kcm_mg_group *g = &v->mg->group[group];

	if (!LOAD(g->gen[gen].n))
		return -ESRCH;
	work(g, gen);
	if (newest(g, -1) == gen)
		__atomic_fetch_and(&g->flags, ~(__u32)KCM_MG_GROUP_PINNED, __ATOMIC_ACQ_REL);
	else
		__atomic_fetch_or(&g->flags, KCM_MG_GROUP_PINNED, __ATOMIC_ACQ_REL);
	return 0;
}

int mg_rollback(struct mg_view *v, int group)
{
	struct kcm_mg_group *g = &v->mg->group[group];
	__u16 before = LOAD(g->before);

	if (before >= KCM_MG_GENS)
		return -ENOENT;
	if (!LOAD(g->gen[before].n))
		return -ESRCH;
	work(g, before);
	__atomic_fetch_or(&g->flags, KCM_MG_GROUP_PINNED, __ATOMIC_ACQ_REL);
	return 0;
}

int mg_release(struct mg_view *v, int group)
{
	struct kcm_mg_group *g = &v->mg->group[group];
	int best = newest(g, -1);

	__atomic_fetch_and(&g->flags, ~(__u32)(KCM_MG_GROUP_PINNED | KCM_MG_GROUP_WEIGHTED),
			   __ATOMIC_ACQ_REL);
	for (int i = 0; i < KCM_MG_GENS; i++)
		STORE(g->gen[i].weight, 0U);
	if (best < 0 || best == LOAD(g->working))
		return 0;
	/* While others were kept from taking over, nobody asked whether they accept. */
	if (LOAD(g->working) < KCM_MG_GENS && LOAD(g->gen[LOAD(g->working)].n)) {
		STORE(g->gen[best].state, KCM_MG_GEN_NEW);
		STORE(g->next, (__u16)best);
	} else {
		work(g, best);
	}
	return 0;
}

int mg_drain(struct mg_view *v, int group, int gen)
{
	struct kcm_mg_group *g = &v->mg->group[group];
	int other = newest(g, gen);

	if (!LOAD(g->gen[gen].n))
		return -ESRCH;
	if (LOAD(g->working) == gen) {
		if (other < 0)
			return -ENOENT;
		work(g, other);
	}
	if (LOAD(g->next) == gen)
		STORE(g->next, (__u16)KCM_MG_NONE);
	STORE(g->gen[gen].state, KCM_MG_GEN_DRAINING);
	return 0;
}

int mg_weight(struct mg_view *v, int group, int gen, __u32 percent)
{
	struct kcm_mg_group *g = &v->mg->group[group];
	__u32 sum = percent;

	if (!LOAD(g->gen[gen].n))
		return -ESRCH;
	if (LOAD(g->working) == gen)
		return -EBUSY; /* it has what the others leave */
	for (int i = 0; i < KCM_MG_GENS; i++)
		sum += i != gen && LOAD(g->gen[i].n) ? LOAD(g->gen[i].weight) : 0;
	if (sum > 100)
		return -EINVAL;
	STORE(g->gen[gen].weight, percent);
	/* A canary is no successor: it does not take over by itself. */
	if (percent) {
		__atomic_fetch_or(&g->flags, KCM_MG_GROUP_WEIGHTED | KCM_MG_GROUP_PINNED,
				  __ATOMIC_ACQ_REL);
		if (LOAD(g->next) == gen)
			STORE(g->next, (__u16)KCM_MG_NONE);
		STORE(g->gen[gen].state, KCM_MG_GEN_READY);
	} else if (!sum) {
		__atomic_fetch_and(&g->flags, ~(__u32)KCM_MG_GROUP_WEIGHTED, __ATOMIC_ACQ_REL);
	}
	return 0;
}

int mg_generation_new(struct mg_view *v)
{
	return (int)__atomic_add_fetch(&v->mg->ctl.manual_number, 1, __ATOMIC_ACQ_REL);
}
