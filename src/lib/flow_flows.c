// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * flow_flows.c - the cache, read from memory that it shares with the programs.
 *
 * An entry is one CPU's, which writes it as packets come. @genid is 0 while its key changes: a copy
 * is whole if genid was not 0 and is the same afterwards, and so is the key.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include "../util.h"
#include "flow_flows.h"

#define TRIES	    4
#define TCP_FIN_RST 5
#define HUGE	    (2UL << 20)

static const __u16 no_tags[KCM_FL_WAYS];

struct walk {
	const struct flow_inst *f;
	__u32 now; /* ticks */
	__u64 tick_us;
	bool all;     /* those that are timed out, too */
	bool new_set; /* the first one of a set */
	int (*fn)(struct walk *w, const struct flow_flow *flow, __u32 *genid);
	void *arg;
};

static __u32 load32(const __u32 *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

/* Return: whether @to is an entry as it was at one moment. Inline, for sizes are constants then. */
static inline __attribute__((always_inline)) bool copy(void *to, const void *from, size_t size,
						       size_t flow_at)
{
	const struct kcm_fl_flow *f = (const void *)((const char *)from + flow_at);

	for (int i = 0; i < TRIES; i++) {
		__u32 genid = load32(&f->genid);

		if (!genid)
			return false;
		memcpy(to, from, size);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		/* Another flow may have come with the same genid: its key would be another one. */
		if (load32(&f->genid) == genid && !memcmp(to, from, flow_at))
			return true;
	}
	return false;
}

static bool is_current(const struct flow_inst *f, const struct kcm_fl_flow *e)
{
	__u64 sum;

	if (e->slot >= f->conf.slots || e->also >= f->conf.slots || e->genid < f->conf.floor)
		return false;
	sum = f->pol[e->slot].gen + (e->also ? f->pol[e->also].gen : 0);
	return sum == e->sum;
}

/* Return: false if it is timed out. */
static bool times(const struct walk *w, const struct kcm_fl_flow *e, struct flow_flow *flow)
{
	__u32 idle = w->now - e->last, age = w->now - e->first;

	/* A packet that came after the clock was read. */
	if ((__s32)idle < 0)
		idle = 0;
	if ((__s32)age < 0)
		age = 0;
	flow->idle_ms = idle * w->tick_us / 1000;
	flow->age_ms = age * w->tick_us / 1000;
	return idle <= w->f->conf.closed_ticks ||
	       (idle <= w->f->conf.idle_ticks && !(e->seen & TCP_FIN_RST));
}

static int meet(struct walk *w, struct flow_flow *flow, const struct kcm_fl_flow *e, __u32 *genid)
{
	if (!times(w, e, flow) && !w->all)
		return 0;
	flow->family = (flow->class & KCM_FL_C_FAMILY) == KCM_FL_IP4   ? 4
		       : (flow->class & KCM_FL_C_FAMILY) == KCM_FL_IP6 ? 6
								       : 0;
	flow->ifnum = e->ifnum;
	flow->tcp = e->tcp;
	flow->seen = e->seen;
	flow->slot = e->slot;
	flow->packets = e->packets;
	flow->bytes = e->bytes;
	flow->current = is_current(w->f, e);
	return w->fn(w, flow, genid);
}

/*
 * Places of a set that an entry was ever put into, a bit each. Heads are a sixteenth of the memory
 * and less, and most of a cache is empty.
 */
static unsigned int used_ways(const struct kcm_fl_head *head)
{
	unsigned int used = 0;

	if (!memcmp(head->tag, no_tags, sizeof(no_tags)))
		return 0;
	for (int way = 0; way < KCM_FL_WAYS; way++)
		used |= (unsigned int)(head->tag[way] != 0) << way;
	return used;
}

static inline int meet4(struct walk *w, struct kcm_fl_ent4 *at)
{
	struct flow_flow flow = { 0 };
	struct kcm_fl_ent4 e;

	if (!copy(&e, at, sizeof(e), offsetof(struct kcm_fl_ent4, f)))
		return 0;
	memcpy(flow.saddr, &e.key.saddr, 4);
	memcpy(flow.daddr, &e.key.daddr, 4);
	flow.sport = ntohs(e.key.sport);
	flow.dport = ntohs(e.key.dport);
	flow.proto = e.key.proto;
	flow.class = e.key.class;
	flow.vlan = e.key.vlan;
	return meet(w, &flow, &e.f, &at->f.genid);
}

static inline int meet6(struct walk *w, struct kcm_fl_ent6 *at)
{
	struct flow_flow flow = { 0 };
	struct kcm_fl_ent6 e;

	if (!copy(&e, at, sizeof(e), offsetof(struct kcm_fl_ent6, f)))
		return 0;
	memcpy(flow.saddr, e.key.saddr, 16);
	memcpy(flow.daddr, e.key.daddr, 16);
	flow.sport = ntohs(e.key.sport);
	flow.dport = ntohs(e.key.dport);
	flow.proto = e.key.proto;
	flow.class = e.key.class;
	flow.vlan = e.key.vlan;
	return meet(w, &flow, &e.f, &at->f.genid);
}

/* The same set of each CPU, and then the next set: see add(). */
static int walk_sets(struct walk *w, bool six, const struct kcm_fl_head *head, size_t sets)
{
	for (size_t set = 0; set < sets; set++) {
		w->new_set = true;
		for (size_t at = set; at < sets * w->f->cpus; at += sets) {
			unsigned int used = used_ways(&head[at]);

			for (int ret; used; used &= used - 1) {
				size_t i = at * KCM_FL_WAYS + (size_t)__builtin_ctz(used);

				ret = six ? meet6(w, &w->f->e6[i]) : meet4(w, &w->f->e4[i]);
				if (ret)
					return ret;
			}
		}
	}
	return 0;
}

static int walk(struct walk *w)
{
	struct timespec res = { 0 };
	__u64 jiffies = 0;
	int err = flow_now(&jiffies);

	if (err)
		return err;
	w->now = (__u32)(jiffies >> w->f->conf.tick_shift);
	clock_getres(CLOCK_MONOTONIC_COARSE, &res);
	w->tick_us = ((__u64)res.tv_nsec << w->f->conf.tick_shift) / 1000;
	/* A family that had no entry when the cache was mapped is not looked at. */
	err = w->f->e4 ? walk_sets(w, false, w->f->h4, w->f->conf.sets4) : 0;
	if (!err && w->f->e6)
		err = walk_sets(w, true, w->f->h6, w->f->conf.sets6);
	return err;
}

/* ---- what several CPUs saw is one flow ---- */

struct found {
	struct flow_flow *flow;
	size_t n, room;
	size_t set; /* place of the first one of the set that is walked through */
};

/* All that tells one flow from another is in the first bytes. */
#define NAME_BYTES offsetof(struct flow_flow, seen)

/* Huge pages where there are any: most of a list's time would be the kernel's, for small ones. */
static int grow(struct found *l, size_t room)
{
	struct flow_flow *flow = aligned_alloc(HUGE, (room * sizeof(*flow) + HUGE) & ~(HUGE - 1));

	if (!flow)
		return -ENOMEM;
	if (room * sizeof(*flow) >= HUGE)
		madvise(flow, room * sizeof(*flow), MADV_HUGEPAGE);
	if (l->n)
		memcpy(flow, l->flow, l->n * sizeof(*flow));
	free(l->flow);
	l->flow = flow;
	l->room = room;
	return 0;
}

/* Each CPU has a flow in the set of the same number, for all of them hash it the same way. */
static struct flow_flow *seen_before(const struct found *l, const struct flow_flow *flow)
{
	for (size_t i = l->set; i < l->n; i++)
		if (!memcmp(&l->flow[i], flow, NAME_BYTES))
			return &l->flow[i];
	return NULL;
}

static int add(struct walk *w, const struct flow_flow *flow, __u32 *genid)
{
	struct found *l = w->arg;
	struct flow_flow *have;

	(void)genid;
	if (w->new_set)
		l->set = l->n;
	w->new_set = false;
	if (l->n == l->room && grow(l, 2 * l->room))
		return -ENOMEM;
	have = seen_before(l, flow);
	if (!have) {
		l->flow[l->n++] = *flow;
		return 0;
	}
	have->packets += flow->packets;
	have->bytes += flow->bytes;
	have->seen |= flow->seen;
	if (flow->age_ms > have->age_ms)
		have->age_ms = flow->age_ms;
	/* The verdict is that of the CPU that saw it last. */
	if (flow->idle_ms < have->idle_ms) {
		have->idle_ms = flow->idle_ms;
		have->slot = flow->slot;
		have->current = flow->current;
	}
	return 0;
}

/* Entries that there may be. */
static size_t used_places(const struct flow_inst *f)
{
	size_t sets4 = (size_t)f->cpus * f->conf.sets4, sets6 = (size_t)f->cpus * f->conf.sets6;
	size_t n = 0;

	for (size_t i = 0; i < sets4; i++)
		n += (size_t)__builtin_popcount(used_ways(&f->h4[i]));
	for (size_t i = 0; i < sets6; i++)
		n += (size_t)__builtin_popcount(used_ways(&f->h6[i]));
	return n;
}

int flow_flows(struct flow_inst *f, struct flow_flow **flows, size_t *n)
{
	struct found l = { 0 };
	struct walk w = { .f = f, .fn = add, .arg = &l };
	int err;

	*flows = NULL;
	*n = 0;
	if (f->conf.no_cache)
		return 0;
	err = flow_inst_cache(f);
	err = err ?: grow(&l, used_places(f) + 64);
	err = err ?: walk(&w);
	if (err) {
		free(l.flow);
		l.flow = NULL;
		l.n = 0;
	}
	*flows = l.flow;
	*n = l.n;
	return err;
}

/* ---- flush ---- */

struct flushing {
	bool (*want)(const struct flow_flow *flow, void *arg);
	void *arg;
	size_t n;
};

/*
 * Its CPU may put another flow in its place meanwhile: then that one is looked up anew once more,
 * and nothing else.
 */
static int flush(struct walk *w, const struct flow_flow *flow, __u32 *genid)
{
	struct flushing *x = w->arg;

	if (x->want && !x->want(flow, x->arg))
		return 0;
	__atomic_store_n(genid, 0, __ATOMIC_RELEASE);
	x->n++;
	return 0;
}

int flow_flush(struct flow_inst *f, bool (*want)(const struct flow_flow *flow, void *arg),
	       void *arg, size_t *n)
{
	struct flushing x = { .want = want, .arg = arg };
	struct walk w = { .f = f, .fn = flush, .arg = &x, .all = true };
	int err = flow_inst_cache(f);

	if (!err && !f->conf.no_cache)
		err = walk(&w);
	*n = x.n;
	return err;
}

/* Entries of one family whose @genid is at @at and each @step bytes from there on. */
static size_t in_use(const struct kcm_fl_head *head, size_t sets, const void *at, size_t step)
{
	size_t n = 0;

	for (size_t i = 0; at && i < sets; i++)
		for (unsigned int ways = used_ways(&head[i]); ways; ways &= ways - 1) {
			size_t k = i * KCM_FL_WAYS + (size_t)__builtin_ctz(ways);

			n += load32((const void *)((const char *)at + k * step)) != 0;
		}
	return n;
}

int flow_fill_level(struct flow_inst *f, size_t *used, size_t *size)
{
	size_t sets4 = (size_t)f->cpus * f->conf.sets4, sets6 = (size_t)f->cpus * f->conf.sets6;
	int err = flow_inst_cache(f);

	*used = *size = 0;
	if (err || f->conf.no_cache)
		return err;
	*size = (sets4 + sets6) * KCM_FL_WAYS;
	*used = in_use(f->h4, sets4, f->e4 ? &f->e4->f.genid : NULL, sizeof(*f->e4)) +
		in_use(f->h6, sets6, f->e6 ? &f->e6->f.genid : NULL, sizeof(*f->e6));
	return 0;
}
