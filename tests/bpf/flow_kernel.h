/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow_kernel.h - a random set of policies, compiled, in a program of its own. */
#ifndef KCM_TEST_FLOW_KERNEL_H
#define KCM_TEST_FLOW_KERNEL_H

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../../bpf/flow.h"
#include "flow_model.h"
#include "flow_sets.h"
#include "flow_tree.h"
#include "flow.skel.h"

#define MAX_BYTES (64u << 20)
#define LO	  1 /* the interface that test runs come in by */

/* A set in the kernel. */
struct kernel_set {
	struct flow_set set;
	struct flow_image img;
	uint32_t *slot;	    /* of each policy */
	uint32_t *place_of; /* of a slot: policy + 1 */
	uint32_t slots;
	bool *dead;
	struct flow_set live; /* the same without them; */
	uint32_t *live_place; /* and which they are in set */
	struct flow_model *model;
	struct flow *skel;
};

static inline size_t kernel_pages(size_t bytes)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return (bytes + page - 1) / page * page;
}

static inline void *kernel_map(struct bpf_map *map, size_t bytes)
{
	void *p = mmap(NULL, kernel_pages(bytes), PROT_READ | PROT_WRITE, MAP_SHARED,
		       bpf_map__fd(map), 0);

	if (p == MAP_FAILED)
		fail_msg("mmap of %s: %m", bpf_map__name(map));
	return p;
}

static inline void kernel_fill(struct bpf_map *map, const void *from, size_t bytes)
{
	void *to;

	if (!bytes)
		return;
	to = kernel_map(map, bytes);
	memcpy(to, from, bytes);
	munmap(to, kernel_pages(bytes));
}

/* An own slot for each policy, in no order, and some of the policies are dead. */
static inline void kernel_give_slots(struct kernel_set *l, struct sets *s, uint32_t dead_percent)
{
	size_t n = l->set.n;

	l->slots = KCM_FL_SLOT_FIRST + n;
	l->slot = calloc(n + 1, sizeof(*l->slot));
	l->place_of = calloc(l->slots, sizeof(*l->place_of));
	l->dead = calloc(n + 1, sizeof(*l->dead));
	for (size_t i = 0; i < n; i++)
		l->slot[i] = KCM_FL_SLOT_FIRST + i;
	for (size_t i = n; i > 1; i--) {
		size_t other = sets_below(s, i);
		uint32_t slot = l->slot[i - 1];

		l->slot[i - 1] = l->slot[other];
		l->slot[other] = slot;
	}
	for (size_t i = 0; i < n; i++) {
		l->place_of[l->slot[i]] = i + 1;
		l->dead[i] = sets_chance(s, dead_percent);
	}
}

static inline void kernel_make_model(struct kernel_set *l)
{
	l->live = l->set;
	l->live.n = 0;
	l->live.policy = calloc(l->set.n + 1, sizeof(*l->live.policy));
	l->live_place = calloc(l->set.n + 1, sizeof(*l->live_place));
	for (size_t i = 0; i < l->set.n; i++) {
		if (l->dead[i])
			continue;
		l->live_place[l->live.n] = i;
		l->live.policy[l->live.n++] = l->set.policy[i];
	}
	l->model = flow_model_new(&l->live);
	assert_non_null(l->model);
}

static inline void kernel_fill_policies(struct kernel_set *l)
{
	struct kcm_fl_pol *pol =
		kernel_map(l->skel->maps.kcm_fl_pol, l->slots * sizeof(struct kcm_fl_pol));

	pol[KCM_FL_SLOT_PASS] = (struct kcm_fl_pol){ .gen = 1, .action = KCM_FL_PASS };
	pol[KCM_FL_SLOT_DROP] = (struct kcm_fl_pol){ .gen = 1, .action = KCM_FL_DROP };
	for (size_t i = 0; i < l->set.n; i++) {
		struct kcm_fl_pol *p = &pol[l->slot[i]];

		p->gen = 7 + 2 * i + l->dead[i];
		p->action = l->set.policy[i].action;
	}
	munmap(pol, kernel_pages(l->slots * sizeof(struct kcm_fl_pol)));
}

static inline void kernel_set_size(struct bpf_map *map, uint32_t n)
{
	assert_int_equal(bpf_map__set_max_entries(map, n ? n : 1), 0);
}

static inline void kernel_load(struct kernel_set *l, const struct sets *s, bool judge)
{
	const struct flow_image *img = &l->img;
	struct flow *f = l->skel = flow__open();
	struct kcm_fl_conf *conf;

	assert_non_null(f);
	bpf_program__set_autoload(f->progs.kcm_fl_xdp, judge);
	kernel_set_size(f->maps.kcm_fl_node, img->nodes);
	kernel_set_size(f->maps.kcm_fl_r4, img->n_r4);
	kernel_set_size(f->maps.kcm_fl_r6, img->n_r6);
	kernel_set_size(f->maps.kcm_fl_iv4, img->n_iv4);
	kernel_set_size(f->maps.kcm_fl_iv6, img->n_iv6);
	kernel_set_size(f->maps.kcm_fl_pol, l->slots);
	kernel_set_size(f->maps.kcm_fl_stat, libbpf_num_possible_cpus());
	if (judge)
		kernel_set_size(f->maps.kcm_fl_cnt, libbpf_num_possible_cpus() * l->slots);
	conf = (struct kcm_fl_conf *)&f->rodata->kcm_fl_conf;
	conf->n_if = s->n_if;
	memcpy(conf->ifindex, s->ifindex, sizeof(conf->ifindex));
	conf->no_cache = true;
	conf->slots = l->slots;
	conf->default_slot =
		l->set.default_action == FLOW_DROP ? KCM_FL_SLOT_DROP : KCM_FL_SLOT_PASS;
	conf->lists = l->set.lists > 0;
	conf->iv4 = img->n_iv4;
	conf->iv6 = img->n_iv6;
	conf->tcp_mask = img->tcp_mask;
	memcpy(conf->root, img->root, sizeof(conf->root));
	memcpy(conf->rank, img->rank, sizeof(conf->rank));
	if (flow__load(f))
		fail_msg("the kernel refuses the program: %m");
	kernel_fill(f->maps.kcm_fl_node, img->node, img->nodes * sizeof(*img->node));
	kernel_fill(f->maps.kcm_fl_r4, img->r4, img->n_r4 * sizeof(*img->r4));
	kernel_fill(f->maps.kcm_fl_r6, img->r6, img->n_r6 * sizeof(*img->r6));
	kernel_fill(f->maps.kcm_fl_iv4, img->iv4, img->n_iv4 * sizeof(*img->iv4));
	kernel_fill(f->maps.kcm_fl_iv6, img->iv6, img->n_iv6 * sizeof(*img->iv6));
	kernel_fill_policies(l);
}

/* @judge: load kcm_fl_xdp too, without a cache. */
static inline void kernel_make(struct kernel_set *l, struct sets *s, enum sets_style style,
			       size_t n, size_t max_bytes, bool judge)
{
	char why[256] = "";
	int ret;

	memset(l, 0, sizeof(*l));
	s->n_if = sets_chance(s, 50) ? 1 + sets_below(s, KCM_FL_IFS) : KCM_FL_IFS;
	for (uint32_t i = 0; i < KCM_FL_IFS; i++)
		s->ifindex[i] = LO + 1 + i;
	s->ifindex[sets_chance(s, 50) ? sets_below(s, s->n_if) : s->n_if - 1] = LO;
	sets_make(s, &l->set, style, n);
	kernel_give_slots(l, s, sets_below(s, 3) * 10);
	kernel_make_model(l);
	ret = flow_compile(&l->set, l->slot, s->ifindex, s->n_if, false, max_bytes, &l->img, why,
			   sizeof(why));
	if (ret)
		fail_msg("%zu policies do not compile: %d, %s", n, ret, why);
	assert_true(l->img.depth <= KCM_FL_DEPTH);
	kernel_load(l, s, judge);
}

static inline void kernel_drop(struct kernel_set *l)
{
	flow__destroy(l->skel);
	flow_model_free(l->model);
	free(l->live.policy);
	free(l->live_place);
	flow_image_free(&l->img);
	sets_free(&l->set);
	free(l->slot);
	free(l->place_of);
	free(l->dead);
}

#endif
