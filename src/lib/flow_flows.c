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
#include <time.h>
#include "../util.h"
#include "flow_flows.h"

#define TRIES	    4
#define TCP_FIN_RST 5

struct walk {
	const struct flow_inst *f;
	__u32 now; /* ticks */
	__u64 tick_us;
	bool all; /* those that are timed out, too */
	int (*fn)(struct walk *w, const struct flow_flow *flow, __u32 *genid);
	void *arg;
};

static __u32 load32(const __u32 *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

/* Return: whether @to is an entry as it was at one moment. */
static bool copy(void *to, const void *from, size_t size, size_t flow_at)
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

static int walk4(struct walk *w)
{
	size_t n = (size_t)w->f->cpus * w->f->conf.sets4 * KCM_FL_WAYS;

	for (size_t i = 0; i < n; i++) {
		struct kcm_fl_ent4 *at = &w->f->e4[i], e;
		struct flow_flow flow = { 0 };
		int ret;

		if (!copy(&e, at, sizeof(e), offsetof(struct kcm_fl_ent4, f)))
			continue;
		memcpy(flow.saddr, &e.key.saddr, 4);
		memcpy(flow.daddr, &e.key.daddr, 4);
		flow.sport = ntohs(e.key.sport);
		flow.dport = ntohs(e.key.dport);
		flow.proto = e.key.proto;
		flow.class = e.key.class;
		flow.vlan = e.key.vlan;
		ret = meet(w, &flow, &e.f, &at->f.genid);
		if (ret)
			return ret;
	}
	return 0;
}

static int walk6(struct walk *w)
{
	size_t n = (size_t)w->f->cpus * w->f->conf.sets6 * KCM_FL_WAYS;

	for (size_t i = 0; i < n; i++) {
		struct kcm_fl_ent6 *at = &w->f->e6[i], e;
		struct flow_flow flow = { 0 };
		int ret;

		if (!copy(&e, at, sizeof(e), offsetof(struct kcm_fl_ent6, f)))
			continue;
		memcpy(flow.saddr, e.key.saddr, 16);
		memcpy(flow.daddr, e.key.daddr, 16);
		flow.sport = ntohs(e.key.sport);
		flow.dport = ntohs(e.key.dport);
		flow.proto = e.key.proto;
		flow.class = e.key.class;
		flow.vlan = e.key.vlan;
		ret = meet(w, &flow, &e.f, &at->f.genid);
		if (ret)
			return ret;
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
	err = walk4(w);
	return err ?: walk6(w);
}

/* ---- what several CPUs saw is one flow ---- */

struct found {
	struct flow_flow *flow;
	size_t n, room;
	__u32 *table; /* place in @flow + 1 */
	size_t slots; /* a power of two, more than twice @n */
};

/* All that tells one flow from another is in the first bytes. */
#define NAME_BYTES offsetof(struct flow_flow, seen)

static size_t hash_of(const struct flow_flow *f)
{
	const char *p = (const void *)f;
	__u64 h = 0, word;
	size_t i;

	for (i = 0; i + sizeof(word) <= NAME_BYTES; i += sizeof(word)) {
		memcpy(&word, p + i, sizeof(word));
		h = (h ^ word) * 0x9e3779b97f4a7c15ULL;
		h ^= h >> 29;
	}
	word = 0;
	memcpy(&word, p + i, NAME_BYTES - i);
	h = (h ^ word) * 0x9e3779b97f4a7c15ULL;
	return (size_t)(h ^ h >> 32);
}

static __u32 *place_of(struct found *l, const struct flow_flow *f)
{
	size_t at = hash_of(f) & (l->slots - 1);

	while (l->table[at] && memcmp(&l->flow[l->table[at] - 1], f, NAME_BYTES))
		at = (at + 1) & (l->slots - 1);
	return &l->table[at];
}

/* Room for @least flows. */
static int grow(struct found *l, size_t least)
{
	size_t room = l->room ? l->room * 2 : 1024;
	struct flow_flow *flow;

	while (room < least)
		room *= 2;
	flow = realloc(l->flow, room * sizeof(*flow));
	if (flow)
		l->flow = flow;
	free(l->table);
	l->table = calloc(room * 4, sizeof(*l->table));
	if (!flow || !l->table)
		return -ENOMEM;
	l->room = room;
	l->slots = room * 4;
	for (size_t i = 0; i < l->n; i++)
		*place_of(l, &l->flow[i]) = (__u32)i + 1;
	return 0;
}

static int add(struct walk *w, const struct flow_flow *flow, __u32 *genid)
{
	struct found *l = w->arg;
	struct flow_flow *have;
	__u32 *at;

	(void)genid;
	if (l->n == l->room && grow(l, 0))
		return -ENOMEM;
	at = place_of(l, flow);
	if (!*at) {
		l->flow[l->n++] = *flow;
		*at = (__u32)l->n;
		return 0;
	}
	have = &l->flow[*at - 1];
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

int flow_flows(const struct flow_inst *f, struct flow_flow **flows, size_t *n)
{
	struct found l = { 0 };
	struct walk w = { .f = f, .fn = add, .arg = &l };
	size_t used, size;
	int err;

	flow_fill_level(f, &used, &size);
	err = f->conf.no_cache ? 0 : grow(&l, used);
	if (!err && !f->conf.no_cache)
		err = walk(&w);

	free(l.table);
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

size_t flow_flush(struct flow_inst *f, bool (*want)(const struct flow_flow *flow, void *arg),
		  void *arg)
{
	struct flushing x = { .want = want, .arg = arg };
	struct walk w = { .f = f, .fn = flush, .arg = &x, .all = true };

	if (!f->conf.no_cache)
		walk(&w);
	return x.n;
}

void flow_fill_level(const struct flow_inst *f, size_t *used, size_t *size)
{
	size_t n4 = (size_t)f->cpus * f->conf.sets4 * KCM_FL_WAYS;
	size_t n6 = (size_t)f->cpus * f->conf.sets6 * KCM_FL_WAYS;

	*used = 0;
	*size = f->conf.no_cache ? 0 : n4 + n6;
	for (size_t i = 0; *size && i < n4; i++)
		*used += load32(&f->e4[i].f.genid) != 0;
	for (size_t i = 0; *size && i < n6; i++)
		*used += load32(&f->e6[i].f.genid) != 0;
}
