// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_plan.c - what a new set has of the one in force, and what flows must know of the rest. */
#include <errno.h>
#include <string.h>
#include "../util.h"
#include "flow_form.h"
#include "flow_plan.h"

/* ---- which stay ---- */

/* A line of the set in force, to be found by its text or by its policy's name. */
struct known {
	__u64 hash;
	const char *text;
	__u32 len, at;
};

static __u64 hash_of(const char *text, size_t len)
{
	__u64 h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)text[i]) * 0x100000001b3ULL;
	return h;
}

static int by_hash(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

static const struct known *find(const struct known *k, size_t n, const char *text, __u32 len)
{
	__u64 h = hash_of(text, len);
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (k[mid].hash < h)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < n && k[lo].hash == h; lo++)
		if (k[lo].len == len && !memcmp(k[lo].text, text, len))
			return &k[lo];
	return NULL;
}

/* The name in a policy's text: the word behind `name`, which follows the priority. */
static const char *name_in(const char *text, __u32 len, __u32 *n)
{
	static const char word[] = " name ";
	const char *end = text + len, *p = memchr(text, ' ', len);

	if (!p || (size_t)(end - p) < sizeof(word) || memcmp(p, word, sizeof(word) - 1))
		return NULL;
	p += sizeof(word) - 1;
	text = memchr(p, ' ', (size_t)(end - p));
	*n = (__u32)((text ?: end) - p);
	return p;
}

static size_t know(struct known *k, const struct flow_inst *f, bool names)
{
	size_t n = 0;

	for (__u32 i = 0; i < f->conf.policies; i++) {
		const struct kcm_fl_line *l = &f->line[i];
		const char *text = f->text + l->at;
		__u32 len = l->len;

		if (!flow_line_lives(f, i) || l->at > f->conf.text_bytes ||
		    len > f->conf.text_bytes - l->at)
			continue;
		if (names && !(text = name_in(text, len, &len)))
			continue;
		k[n++] = (struct known){ hash_of(text, len), text, len, i };
	}
	qsort(k, n, sizeof(*k), by_hash);
	return n;
}

/* Does the slot say what the policy says? An interface that came anew has another index. */
static bool says_the_same(const struct flow_inst *f, __u32 slot, const struct flow_policy *p)
{
	struct kcm_fl_pol want = { .gen = f->pol[slot].gen };

	flow_pol_fill(&want, p);
	return !memcmp(&want, &f->pol[slot], sizeof(want));
}

/* Is there one that may take over from another? Most large sets have no names. */
static bool names_wanted(const struct flow_plan *plan)
{
	for (size_t i = 0; i < plan->set->n; i++)
		if (!plan->kept[i] && plan->set->policy[i].name[0])
			return true;
	return false;
}

int flow_plan_match(struct flow_plan *plan, const struct flow_inst *f, bool *old_kept)
{
	_cleanup_free_ struct known *k = calloc(f->conf.policies + 1, sizeof(*k));
	size_t n;

	if (!k)
		return -ENOMEM;
	n = know(k, f, false);
	for (size_t i = 0; i < plan->set->n; i++) {
		struct kcm_fl_line *l = &plan->line[i];
		const struct known *same = find(k, n, plan->text + l->at, l->len);

		plan->was[i] = -1;
		if (!same || old_kept[same->at] ||
		    !says_the_same(f, f->line[same->at].slot, &plan->set->policy[i]))
			continue;
		plan->was[i] = (__s32)same->at;
		plan->kept[i] = old_kept[same->at] = true;
		l->slot = f->line[same->at].slot;
		l->gen = f->line[same->at].gen;
		l->packets = f->line[same->at].packets;
		l->bytes = f->line[same->at].bytes;
	}
	n = names_wanted(plan) ? know(k, f, true) : 0;
	for (size_t i = 0; n && i < plan->set->n; i++) {
		const char *name = plan->set->policy[i].name;
		const struct known *same;

		if (plan->kept[i] || !*name)
			continue;
		same = find(k, n, name, (__u32)strlen(name));
		if (same && !old_kept[same->at])
			plan->was[i] = (__s32)same->at;
	}
	return 0;
}

/* ---- slots ---- */

int flow_plan_slots(struct flow_plan *plan, const struct flow_inst *f)
{
	_cleanup_free_ bool *used = calloc(f->conf.slots, sizeof(*used));
	__u32 slot = KCM_FL_SLOT_FIRST;

	if (!used)
		return -ENOMEM;
	/* Also those of policies that were taken out: the program in force still meets them. */
	for (__u32 i = 0; i < f->conf.policies; i++)
		if (f->line[i].slot < f->conf.slots)
			used[f->line[i].slot] = true;
	for (size_t i = 0; i < plan->set->n; i++) {
		if (plan->kept[i])
			continue;
		while (slot < f->conf.slots && (used[slot] || (f->pol[slot].gen & 1)))
			slot++;
		if (slot == f->conf.slots)
			return -ENOSPC;
		plan->line[i].slot = slot;
		plan->line[i].gen = f->pol[slot].gen + 1;
		slot++;
	}
	return 0;
}

/* ---- changes ---- */

static bool add_change(struct kcm_fl_conf *c, const struct kcm_fl_change *change)
{
	if (c->changes == KCM_FL_CHANGES) {
		/* Who has not heard of the oldest can't be told any more. */
		if (c->change[0].genid == c->genid)
			return false;
		c->floor = c->change[0].genid;
		memmove(&c->change[0], &c->change[1], (KCM_FL_CHANGES - 1) * sizeof(*c->change));
		c->changes--;
	}
	c->change[c->changes++] = *change;
	return true;
}

static bool all_changes(struct flow_plan *plan, const struct flow_inst *f, const bool *old_kept)
{
	struct kcm_fl_conf *c = &plan->conf;

	for (__u32 i = 0; i < f->conf.policies; i++) {
		struct kcm_fl_change change = { .genid = c->genid, .dead = f->line[i].slot };

		if (flow_line_lives(f, i) && !old_kept[i] && !add_change(c, &change))
			return false;
	}
	for (size_t i = 0; i < plan->set->n; i++) {
		struct kcm_fl_change change = { .genid = c->genid };

		if (plan->kept[i])
			continue;
		change.families =
			(__u8)flow_forms(&plan->set->policy[i], c->ifindex, c->n_if,
					 plan->line[i].slot, (__u32)i, &change.r4, &change.r6);
		if (!add_change(c, &change))
			return false;
	}
	return true;
}

/* Did any two that stay change places? Then which of them comes first may have changed. */
static bool in_order(const struct flow_plan *plan)
{
	__s32 last = -1;

	for (size_t i = 0; i < plan->set->n; i++) {
		if (!plan->kept[i])
			continue;
		if (plan->was[i] < last)
			return false;
		last = plan->was[i];
	}
	return true;
}

void flow_plan_changes(struct flow_plan *plan, const struct flow_inst *f, const bool *old_kept)
{
	__u32 default_slot =
		plan->set->default_action == FLOW_DROP ? KCM_FL_SLOT_DROP : KCM_FL_SLOT_PASS;
	bool lists = !plan->lists_kept && (plan->set->lists || f->conf.lists);
	__u32 newest = f->pol[KCM_FL_SLOT_PASS].genid;
	bool failed = newest > f->conf.genid;

	/*
	 * A program that could not be put in force everywhere, and was taken back, has judged
	 * packets: its genid is not given again, and what it found is found anew.
	 */
	plan->conf.genid = (failed ? newest : f->conf.genid) + 1;
	if (!failed && default_slot == f->conf.default_slot && !lists && in_order(plan) &&
	    all_changes(plan, f, old_kept))
		return;
	plan->conf.changes = 0;
	plan->conf.floor = plan->conf.genid;
}
