// SPDX-License-Identifier: GPL-2.0
/*
 * keeper_group.c - the anchor of one group.
 *
 * Where connections wait at it and the server is back, a second anchor is opened and chosen from
 * then on; a moment later the first one is closed, and what waits there migrates to the server. Not
 * at the first listener that opens: all would go to it, while its siblings are about to come.
 */
#include <errno.h>
#include "cmd.h"
#include "keeper.h"

#define MS	  1000000ULL
#define SETTLE_NS (50 * MS)
#define GRACE_NS  (30 * MS) /* for handshakes that are on their way to the one that closes */
#define RETRY_NS  (1000 * MS)
#define BUSY_NS	  (20 * MS)

#define LOAD(from) __atomic_load_n(&(from), __ATOMIC_ACQUIRE)

/* As the newest of the server's listeners is: they are of one kind, or the anchor is of one. */
static __u32 kind_of_group(const struct kcm_mg *mg, int group)
{
	__u64 newest = 0;
	__u32 kind = (__u32)mg->group[group].anchor_kind;

	for (__u32 i = 0; i < mg->ctl.slots && i < KCM_MG_SLOTS; i++) {
		const struct kcm_mg_slot *s = &mg->slot[i];

		if (s->group != group || !(s->flags & KCM_MG_SLOT_USED) || s->opened_ns < newest)
			continue;
		newest = s->opened_ns;
		kind = s->kind;
	}
	return kind;
}

static void retire_cookie(struct keeper *k, struct keeper_group *kg, __u64 cookie, __u64 now_ns)
{
	/* The oldest makes room. */
	if (kg->n_retired == ARRAY_LEN(kg->retired)) {
		anchor_forget(&k->v, kg->retired[0]);
		kg->n_retired--;
		memmove(kg->retired, kg->retired + 1, kg->n_retired * sizeof(*kg->retired));
		memmove(kg->retired_ns, kg->retired_ns + 1,
			kg->n_retired * sizeof(*kg->retired_ns));
	}
	kg->retired[kg->n_retired] = cookie;
	kg->retired_ns[kg->n_retired++] = now_ns;
}

static void forget_rested(struct keeper *k, struct keeper_group *kg, __u64 now_ns)
{
	while (kg->n_retired && now_ns - kg->retired_ns[0] >= MG_ANCHOR_REST_NS) {
		anchor_forget(&k->v, kg->retired[0]);
		kg->n_retired--;
		memmove(kg->retired, kg->retired + 1, kg->n_retired * sizeof(*kg->retired));
		memmove(kg->retired_ns, kg->retired_ns + 1,
			kg->n_retired * sizeof(*kg->retired_ns));
	}
}

static void close_retiring(struct keeper *k, struct keeper_group *kg, __u64 now_ns)
{
	if (kg->retiring.fd < 0)
		return;
	keeper_unstore(kg->retiring.cookie);
	anchor_close(&k->v, &kg->retiring);
	retire_cookie(k, kg, kg->retiring.cookie, now_ns);
}

/* Open one and let it be chosen. Return: 0 or -errno. */
static int open_one(struct keeper *k, int i, struct mg_anchor *a, __u64 now_ns)
{
	struct keeper_group *kg = &k->group[i];
	const char *step;
	int netns = anchor_netns(&k->v, i);
	int err = netns < 0 && netns != MG_NETNS_OWN ? netns : 0;

	step = "its network namespace";
	err = err ?: anchor_open(&k->v, i, netns, kind_of_group(k->v.mg, i), a, &step);
	if (netns >= 0)
		close(netns);
	if (!err) {
		kg->err = 0;
		keeper_store(a->fd, a->cookie);
		anchor_publish(&k->v, i, a);
		return 0;
	}
	if (err != kg->err)
		warn("no anchor for group %d of %s (%s: %s); trying again every second", i, k->name,
		     step, log_errno(err));
	kg->err = err;
	kg->retry_ns = now_ns + RETRY_NS;
	return err;
}

/* What is known of when connections began to wait begins anew. */
static void history_begin(struct keeper_group *kg, __u64 now_ns)
{
	kg->samples = 0;
	kg->sample_ns = now_ns;
	kg->expired = 0;
}

/*
 * The queue is first in, first out, and only we take from it: those that wait for longer than
 * allowed are those that had entered by then, less those already sent away.
 */
static void expire(struct keeper *k, int i, __u32 waiting, __u64 now_ns)
{
	struct keeper_group *kg = &k->group[i];
	__u64 step = LOAD(k->v.mg->ctl.anchor_time_ms) * MS / (KEEPER_SAMPLES - 1);
	__u64 then;
	__u32 n;

	if (!kg->samples || now_ns - kg->sample_ns >= step) {
		if (kg->samples == KEEPER_SAMPLES)
			memmove(kg->entered, kg->entered + 1,
				(KEEPER_SAMPLES - 1) * sizeof(*kg->entered));
		else
			kg->samples++;
		kg->entered[kg->samples - 1] = kg->expired + waiting;
		kg->sample_ns = now_ns;
	}
	if (kg->samples < KEEPER_SAMPLES)
		return;
	then = kg->entered[0];
	if (then <= kg->expired)
		return;
	n = anchor_expire(&kg->anchor, (__u32)(then - kg->expired));
	kg->expired += n;
	__atomic_fetch_add(&k->v.mg->group[i].expired, n, __ATOMIC_RELAXED);
}

/* Another anchor, of the kind that the listeners have by now; this one is closed soon. */
static void hand_over(struct keeper *k, int i, __u64 now_ns)
{
	struct keeper_group *kg = &k->group[i];
	struct mg_anchor next = MG_ANCHOR_NONE;

	if (open_one(k, i, &next, now_ns))
		return;
	kg->retiring = kg->anchor;
	kg->retire_ns = now_ns + GRACE_NS;
	kg->anchor = next;
	history_begin(kg, now_ns);
}

static void end_divert(struct kcm_mg_group *g, __u64 now_ns)
{
	if (!(LOAD(g->flags) & KCM_MG_GROUP_DIVERT))
		return;
	if (now_ns < LOAD(g->divert_until_ns) && LOAD(g->last_id) == g->divert_id &&
	    LOAD(g->emptied) == g->divert_emptied)
		return;
	__atomic_fetch_and(&g->flags, ~(__u32)KCM_MG_GROUP_DIVERT, __ATOMIC_ACQ_REL);
}

/* Listeners that take connections: one that has said to take no more is as good as none. */
static bool taken(const struct kcm_mg_group *g)
{
	return LOAD(g->n) > LOAD(g->drained);
}

/* Connections wait: to the server with them, if it is back. */
static void look_queue(struct keeper *k, int i, __u32 waiting, __u64 now_ns)
{
	struct kcm_mg_group *g = &k->v.mg->group[i];
	struct keeper_group *kg = &k->group[i];

	/* Nobody is to have them, or can: no longer than allowed. */
	if ((LOAD(g->flags) & KCM_MG_GROUP_DIVERT) || !taken(g)) {
		expire(k, i, waiting, now_ns);
		return;
	}
	if (now_ns - kg->opened_ns >= SETTLE_NS && kg->retiring.fd < 0 && now_ns >= kg->retry_ns)
		hand_over(k, i, now_ns);
}

__u64 keeper_look(struct keeper *k, int i, __u64 now_ns)
{
	struct kcm_mg_group *g = &k->v.mg->group[i];
	struct keeper_group *kg = &k->group[i];
	__u32 waiting = 0, max;

	if (!(LOAD(g->flags) & KCM_MG_GROUP_USED))
		return 0;
	if (kg->anchor.fd < 0) {
		if (now_ns < kg->retry_ns)
			return kg->retry_ns;
		if (open_one(k, i, &kg->anchor, now_ns))
			return kg->retry_ns;
		history_begin(kg, now_ns);
	}
	/* With an anchor the selector stays as the last listener closes. */
	__atomic_store_n(&g->selector_at, LOAD(g->emptied), __ATOMIC_RELEASE);
	if (kg->opened != LOAD(g->opened)) {
		kg->opened = LOAD(g->opened);
		kg->opened_ns = now_ns;
	}
	end_divert(g, now_ns);
	if (kg->retiring.fd >= 0 && now_ns >= kg->retire_ns)
		close_retiring(k, kg, now_ns);
	forget_rested(k, kg, now_ns);
	if (!anchor_queue(&kg->anchor, &waiting, &max) && waiting)
		look_queue(k, i, waiting, now_ns);
	if (taken(g) && kg->retiring.fd < 0 && now_ns >= kg->retry_ns &&
	    (kind_of_group(k->v.mg, i) & KCM_MG_KIND_MUST) != kg->anchor.kind)
		hand_over(k, i, now_ns);
	/* An empty queue may fill without a word while nobody listens, or while it is diverted to.
	 */
	if (kg->retiring.fd >= 0 || waiting || !taken(g) ||
	    (LOAD(g->flags) & KCM_MG_GROUP_DIVERT) || now_ns - kg->opened_ns < 2 * SETTLE_NS)
		return now_ns + BUSY_NS;
	return kg->n_retired ? kg->retired_ns[0] + MG_ANCHOR_REST_NS : 0;
}

unsigned int keeper_end(struct keeper *k)
{
	unsigned int lost = 0;

	for (int i = 0; i < KCM_MG_GROUPS; i++) {
		struct keeper_group *kg = &k->group[i];
		struct kcm_mg_group *g = &k->v.mg->group[i];
		__u32 waiting = 0;

		if (kg->anchor.fd < 0 && kg->retiring.fd < 0)
			continue;
		anchor_publish(&k->v, i, NULL);
		if (!taken(g) && !anchor_queue(&kg->anchor, &waiting, NULL))
			lost += waiting;
		close_retiring(k, kg, 0);
		anchor_close(&k->v, &kg->anchor);
		anchor_forget(&k->v, kg->anchor.cookie);
		for (unsigned int r = 0; r < kg->n_retired; r++)
			anchor_forget(&k->v, kg->retired[r]);
		if (!LOAD(g->n))
			__atomic_fetch_and(&g->flags, ~(__u32)KCM_MG_GROUP_SELECTOR,
					   __ATOMIC_ACQ_REL);
	}
	return lost;
}
