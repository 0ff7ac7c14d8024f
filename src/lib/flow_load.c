// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_load.c - an instance of flow: made, made anew, removed. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include "../util.h"
#include "flow_edit.h"
#include "flow_load_part.h"
#include "flow_parse.h"
#include "flow.skel.h"

#define PATHLEN	  (KCM_PIN_PATH + 64)
#define TICK_NS	  100000000L /* at most */
#define BUNDLE_NS 10000000L

/* ---- how it will be ---- */

static __u32 power_of_two(__u32 n)
{
	__u32 p = 1;

	while (p < n && p < 1u << 31)
		p *= 2;
	return p;
}

/* What programs count time in follows from HZ, which the coarse clock's steps tell. */
static void set_clock(struct kcm_fl_conf *c, const struct flow_load_opts *o)
{
	struct timespec res = { 0 };
	long jiffy_ns = 4000000, tick_ns;

	if (!clock_getres(CLOCK_MONOTONIC_COARSE, &res) && !res.tv_sec && res.tv_nsec)
		jiffy_ns = res.tv_nsec;
	c->tick_shift = 0;
	while ((jiffy_ns << (c->tick_shift + 1)) <= TICK_NS)
		c->tick_shift++;
	tick_ns = jiffy_ns << c->tick_shift;
	c->idle_ticks = (__u32)((__u64)o->idle_s * 1000000000ULL / (__u64)tick_ns);
	c->closed_ticks = (__u32)((__u64)o->closed_s * 1000000000ULL / (__u64)tick_ns);
	c->bundle_ticks = (__u32)(BUNDLE_NS / jiffy_ns) ?: 1;
}

static int set_conf(struct flow_loading *l)
{
	struct kcm_fl_conf *c = &l->plan.conf;
	const struct flow_load_opts *o = l->o;

	c->n_if = o->n_if;
	c->netns = flow_netns();
	for (__u32 i = 0; i < o->n_if; i++) {
		c->ifindex[i] = if_nametoindex(o->ifname[i]);
		if (!c->ifindex[i])
			return flow_load_fail(l, -ENODEV, "%s: there is no such interface",
					      o->ifname[i]);
	}
	if (getrandom(&c->seed, sizeof(c->seed), 0) != sizeof(c->seed))
		return flow_load_fail(l, -errno, "getrandom: %s", strerror(errno));
	c->genid = 1;
	c->no_cache = !o->cache_entries;
	c->bypass = !o->no_bypass;
#if defined(__x86_64__) || defined(__s390x__)
	c->ordered = true;
#endif
	c->sets4 = c->sets6 = power_of_two((o->cache_entries + KCM_FL_WAYS - 1) / KCM_FL_WAYS);
	c->slots = o->policies + KCM_FL_SLOT_FIRST;
	set_clock(c, o);
	return 0;
}

/* ---- pins ---- */

static int pin_maps(struct flow_loading *l)
{
	char path[PATHLEN];

	for (int m = 0; m < FLOW_SHARED; m++) {
		snprintf(path, sizeof(path), "%s/%s", l->txn.dir, flow_map_name[m]);
		if (bpf_obj_pin(l->new.map_fd[m], path))
			return flow_load_fail(l, -errno, "pin %s: %s", path, strerror(errno));
	}
	return 0;
}

static int pin_link(struct flow_loading *l, const char *ifname, int fd)
{
	char path[PATHLEN], name[64];
	int err = flow_link_name(name, sizeof(name), ifname);

	if (err)
		return flow_load_fail(l, err, "%s: %s", ifname, strerror(-err));
	snprintf(path, sizeof(path), "%s/%s", l->txn.dir, name);
	return bpf_obj_pin(fd, path)
		       ? flow_load_fail(l, -errno, "pin %s: %s", path, strerror(errno))
		       : 0;
}

/* ---- the program ---- */

static int fill_slots(struct flow_loading *l)
{
	for (size_t i = 0; i < l->plan.set->n; i++) {
		int err = flow_fill_slot(&l->new, &l->plan.line[i], &l->plan.set->policy[i]);

		if (err)
			return flow_load_fail(l, err, "slot %u: %s", l->plan.line[i].slot,
					      strerror(-err));
	}
	return 0;
}

static int make_program(struct flow_loading *l)
{
	const struct flow_set *set = l->plan.set;
	int err = 0, fd;

	flow__destroy(l->skel);
	l->skel = NULL;
	if (set->n + KCM_FL_SLOT_FIRST > l->plan.conf.slots)
		return flow_load_fail(l, -ENOSPC, "%zu policies, and room for %u", set->n,
				      l->plan.conf.slots - KCM_FL_SLOT_FIRST);
	flow_plan_free(&l->plan);
	if (flow_plan_text(&l->plan))
		return flow_load_fail(l, -ENOMEM, "no memory for %zu policies", set->n);
	for (size_t i = 0; i < set->n; i++) {
		l->plan.line[i].slot = KCM_FL_SLOT_FIRST + (__u32)i;
		l->plan.line[i].gen = 1;
	}
	err = flow_prog_load(&l->plan, l->old.links ? &l->old : NULL, &l->skel, l->why,
			     l->why_size);
	if (err)
		return err;
	fd = dup(bpf_program__fd(l->skel->progs.kcm_fl_xdp));
	if (fd < 0)
		return flow_load_fail(l, -errno, "dup: %s", strerror(errno));
	l->new.writes = true;
	err = flow_inst_program(&l->new, fd);
	return err ? flow_load_fail(l, err, "maps of the program: %s", strerror(-err))
		   : fill_slots(l);
}

/* ---- a new instance ---- */

static int make(struct flow_loading *l)
{
	int err = make_program(l);

	err = err ?: flow_link_all(l);
	if (err == -EAGAIN) {
		l->plan.conf.frags = l->done->frags = true;
		err = make_program(l);
		err = err ?: flow_link_all(l);
	}
	err = err ?: pin_maps(l);
	for (__u32 i = 0; !err && i < l->o->n_if; i++)
		err = pin_link(l, l->o->ifname[i], l->link_fd[i]);
	if (err)
		return err;
	err = kcm_pin_commit(&l->txn);
	return err ? flow_load_fail(l, err, "rename %s: %s", l->txn.dir, strerror(-err)) : 0;
}

/* ---- over one that is there ---- */

static bool same_interfaces(const struct flow_loading *l)
{
	if (l->old.links != l->o->n_if || l->old.conf.netns != l->plan.conf.netns)
		return false;
	for (__u32 i = 0; i < l->o->n_if; i++) {
		bool found = false;

		for (__u32 k = 0; k < l->old.links; k++)
			found = found || (streq(l->o->ifname[i], l->old.link[k].ifname) &&
					  l->old.link[k].ifindex == l->plan.conf.ifindex[i]);
		if (!found)
			return false;
	}
	return true;
}

static void carry_counters(struct flow_loading *l)
{
	__u32 at = 0;

	for (__u32 i = 0; i < l->old.conf.policies; i++) {
		struct kcm_fl_count had = flow_line_count(&l->old, i);

		/* The new set is the old one without what was taken out. */
		if (!flow_line_lives(&l->old, i))
			continue;
		l->new.line[at].packets = had.packets;
		l->new.line[at++].bytes = had.bytes;
	}
}

/* With other sizes. Whoever is killed in between leaves one program or the other in force. */
static int anew(struct flow_loading *l)
{
	int err;

	l->plan.anew = l->plan.lists_kept = l->done->anew = true;
	l->plan.conf.frags = l->done->frags = l->old.conf.frags;
	l->plan.conf.iv4 = l->old.conf.iv4;
	l->plan.conf.iv6 = l->old.conf.iv6;
	err = make_program(l);
	err = err ?: pin_maps(l);
	for (__u32 i = 0; !err && i < l->old.links; i++)
		err = pin_link(l, l->old.link[i].ifname, l->old.link[i].fd);
	for (__u32 i = 0; !err && i < l->old.links; i++)
		if (bpf_link_update(l->old.link[i].fd, l->new.prog_fd, NULL))
			err = flow_load_fail(l, -errno, "bpf_link_update: %s", strerror(errno));
	if (!err) {
		err = flow_grace();
		if (err)
			flow_load_fail(l, err, "waiting for programs that run: %s", strerror(-err));
	}
	if (!err) {
		carry_counters(l);
		err = kcm_pin_commit(&l->txn);
		if (err)
			flow_load_fail(l, err, "rename %s: %s", l->txn.dir, strerror(-err));
	}
	for (__u32 i = 0; err && i < l->old.links; i++)
		bpf_link_update(l->old.link[i].fd, l->old.prog_fd, NULL);
	return err;
}

static bool same_sizes(const struct kcm_fl_conf *a, const struct kcm_fl_conf *b)
{
	return a->sets4 == b->sets4 && a->sets6 == b->sets6 && a->slots == b->slots &&
	       a->no_cache == b->no_cache;
}

static int over(struct flow_loading *l)
{
	int err = flow_inst_open_name(&l->old, l->done->name, FLOW_LOCKED);

	l->done->was_there = true;
	if (err)
		return flow_load_fail(l, err, "what is loaded: %s", strerror(-err));
	if (!same_interfaces(l))
		return flow_load_fail(l, -EXDEV, "it is loaded for other interfaces");
	for (__u32 i = 0; i < l->o->n_if; i++)
		l->done->native[i] = true;
	err = flow_set_of(&l->old, &l->was, l->why, l->why_size);
	if (err)
		return err;
	/* The places of interfaces are in rules, and the order may be another one. */
	memcpy(l->plan.conf.ifindex, l->old.conf.ifindex, sizeof(l->plan.conf.ifindex));
	l->plan.set = &l->was;
	if (!same_sizes(&l->plan.conf, &l->old.conf)) {
		err = anew(l);
		if (err || !l->o->set)
			return err;
		flow_inst_close(&l->old);
		err = flow_inst_open_name(&l->old, l->done->name, FLOW_WRITE);
		if (err)
			return flow_load_fail(l, err, "what is loaded: %s", strerror(-err));
	}
	l->old.conf.idle_ticks = l->plan.conf.idle_ticks;
	l->old.conf.closed_ticks = l->plan.conf.closed_ticks;
	l->old.conf.bypass = l->plan.conf.bypass;
	return flow_replace(&l->old, l->o->set ?: &l->was, !l->o->set, l->why, l->why_size);
}

/* ---- both ---- */

static int load(struct flow_loading *l)
{
	int err = set_conf(l);

	err = err ?: flow_load_begin(l);
	if (err)
		return err;
	if (l->done->was_there)
		return over(l);
	l->plan.set = l->o->set ?: &l->empty;
	return make(l);
}

int kcm_flow_load(const struct flow_load_opts *o, struct flow_loaded *done, char *why, size_t size)
{
	struct flow_loading l = { .o = o,
				  .done = done,
				  .txn.lock_fd = -1,
				  .old = FLOW_INST_NONE,
				  .new = FLOW_INST_NONE,
				  .link_fd = { -1, -1, -1, -1, -1, -1, -1, -1 },
				  .why = why,
				  .why_size = size };
	int err;

	*done = (struct flow_loaded){ 0 };
	why[0] = 0;
	err = load(&l);
	kcm_pin_abort(&l.txn); /* nothing after a commit */
	flow_unlink_all(&l);
	flow_inst_close(&l.old);
	flow_inst_close(&l.new);
	flow__destroy(l.skel);
	flow_plan_free(&l.plan);
	flow_set_free(&l.was);
	return err;
}

int kcm_flow_unload(const char *name)
{
	return kcm_pin_remove(FLOW_SYSTEM, name);
}

int kcm_flow_trial(char *why, size_t size)
{
	static const struct flow_load_opts o = { .policies = 1, .cache_entries = 8 };
	struct flow_loaded done = { 0 };
	struct flow_loading l = { .o = &o,
				  .done = &done,
				  .txn.lock_fd = -1,
				  .old = FLOW_INST_NONE,
				  .new = FLOW_INST_NONE,
				  .why = why,
				  .why_size = size };
	int err = set_conf(&l);

	l.plan.set = &l.empty;
	err = err ?: make_program(&l);
	flow_inst_close(&l.new);
	flow__destroy(l.skel);
	flow_plan_free(&l.plan);
	return err;
}
