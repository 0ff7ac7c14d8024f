// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_prog.c - from a set of policies to a program that is loaded. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "../util.h"
#include "flow_prog.h"
#include "flow_text.h"
#include "flow_tree.h"
#include "flow.skel.h"

#ifndef BPF_F_XDP_HAS_FRAGS
#define BPF_F_XDP_HAS_FRAGS (1U << 5)
#endif

_Static_assert((int)FLOW_PASS == KCM_FL_PASS && (int)FLOW_DROP == KCM_FL_DROP &&
		       (int)FLOW_COUNT == KCM_FL_COUNT && (int)FLOW_MARK == KCM_FL_MARK &&
		       (int)FLOW_SAMPLE == KCM_FL_SAMPLE && (int)FLOW_LIMIT == KCM_FL_LIMIT &&
		       (int)FLOW_REDIRECT == KCM_FL_REDIRECT &&
		       (int)FLOW_FORWARD == KCM_FL_FORWARD && (int)FLOW_CPU == KCM_FL_CPU,
	       "one numbering of actions");

struct building {
	const struct flow_plan *plan;
	const struct flow_inst *from;
	struct flow_image img;
	struct flow *s;
	char *why;
	size_t why_size;
};

_printf_(3, 4) static int fail(struct building *b, int ret, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(b->why, b->why_size, fmt, ap);
	va_end(ap);
	return ret;
}

void flow_pol_fill(struct kcm_fl_pol *pol, const struct flow_policy *p)
{
	__u64 burst = p->burst;

	/* Not for a moment is the generation another one: programs look at it, and we may be
	 * killed. */
	memset((char *)pol + sizeof(pol->gen), 0, sizeof(*pol) - sizeof(pol->gen));
	pol->action = p->action;
	switch (p->action) {
	case FLOW_MARK:
		pol->arg = p->mark;
		break;
	case FLOW_SAMPLE:
		pol->arg = p->one_in;
		break;
	case FLOW_REDIRECT:
		pol->arg = p->out_ifindex;
		break;
	case FLOW_CPU:
		pol->arg = p->cpu;
		break;
	case FLOW_LIMIT:
		pol->per_flow = p->per_flow;
		pol->by_packets = p->rate_is_packets;
		pol->cost_ns = (p->rate_is_packets ? 1000000000ULL : 1000000000ULL << 16) / p->rate;
		pol->burst_ns = burst ? (__u64)((double)burst * 1e9 / (double)p->rate) : 100000000;
		break;
	}
}

/* ---- text and index ---- */

int flow_plan_text(struct flow_plan *plan)
{
	const struct flow_set *set = plan->set;
	FILE *f = open_memstream(&plan->text, &plan->text_bytes);

	plan->line = calloc(set->n + 1, sizeof(*plan->line));
	plan->was = calloc(set->n + 1, sizeof(*plan->was));
	plan->kept = calloc(set->n + 1, sizeof(*plan->kept));
	if (f)
		flow_text_head(f, set);
	for (size_t i = 0; f && plan->line && i < set->n; i++) {
		struct kcm_fl_line *l = &plan->line[i];

		l->at = (__u32)ftell(f);
		flow_text_policy(f, set, &set->policy[i]);
		l->len = (__u32)ftell(f) - l->at;
		l->prio = set->policy[i].prio;
		fputc('\n', f);
	}
	if (!f || fclose(f) || !plan->line || !plan->was || !plan->kept)
		return -ENOMEM;
	return 0;
}

void flow_plan_free(struct flow_plan *plan)
{
	free(plan->text);
	free(plan->line);
	free(plan->was);
	free(plan->kept);
	plan->text = NULL;
	plan->line = NULL;
	plan->was = NULL;
	plan->kept = NULL;
}

static int compile(struct building *b)
{
	const struct flow_set *set = b->plan->set;
	_cleanup_free_ __u32 *slot = calloc(set->n + 1, sizeof(*slot));

	if (!slot)
		return fail(b, -ENOMEM, "no memory for %zu policies", set->n);
	for (size_t i = 0; i < set->n; i++)
		slot[i] = b->plan->line[i].slot;
	return flow_compile(set, slot, b->plan->conf.ifindex, b->plan->conf.n_if,
			    b->plan->lists_kept, FLOW_TREE_BYTES, &b->img, b->why, b->why_size);
}

/* ---- maps ---- */

static bool shares(const struct building *b)
{
	return b->from && !b->plan->anew;
}

static __u32 at_least_1(__u32 n)
{
	return n ? n : 1;
}

static struct bpf_map *map_of(struct building *b, enum flow_map m)
{
	return bpf_object__find_map_by_name(b->s->obj, flow_map_name[m]);
}

static int size_shared(struct building *b)
{
	const struct kcm_fl_conf *c = &b->plan->conf;
	__u32 cpus = (__u32)libbpf_num_possible_cpus();

	bpf_map__set_max_entries(b->s->maps.kcm_fl_h4, cpus * c->sets4);
	bpf_map__set_max_entries(b->s->maps.kcm_fl_e4, cpus * c->sets4 * KCM_FL_WAYS);
	bpf_map__set_max_entries(b->s->maps.kcm_fl_h6, cpus * c->sets6);
	bpf_map__set_max_entries(b->s->maps.kcm_fl_e6, cpus * c->sets6 * KCM_FL_WAYS);
	bpf_map__set_max_entries(b->s->maps.kcm_fl_pol, c->slots);
	bpf_map__set_max_entries(b->s->maps.kcm_fl_cnt, cpus * c->slots);
	bpf_map__set_max_entries(b->s->maps.kcm_fl_stat, cpus);
	bpf_map__set_max_entries(b->s->maps.kcm_fl_lim, c->slots);
	bpf_map__set_max_entries(b->s->maps.kcm_fl_bun, cpus * KCM_FL_BUNDLES);
	bpf_map__set_max_entries(b->s->maps.kcm_fl_cpus, cpus);
	return 0;
}

static int share(struct building *b)
{
	for (int i = 0; i < FLOW_SHARED; i++) {
		int err = bpf_map__reuse_fd(map_of(b, i), b->from->map_fd[i]);

		if (err)
			return fail(b, err, "map %s: %s", flow_map_name[i], strerror(-err));
	}
	return 0;
}

static int size_own(struct building *b)
{
	struct flow *s = b->s;
	int err = 0;

	bpf_map__set_max_entries(s->maps.kcm_fl_node, at_least_1(b->img.nodes));
	bpf_map__set_max_entries(s->maps.kcm_fl_r4, at_least_1(b->img.n_r4));
	bpf_map__set_max_entries(s->maps.kcm_fl_r6, at_least_1(b->img.n_r6));
	bpf_map__set_max_entries(s->maps.kcm_fl_idx, at_least_1((__u32)b->plan->set->n));
	bpf_map__set_max_entries(s->maps.kcm_fl_src,
				 (__u32)(b->plan->text_bytes / KCM_FL_PAGE + 1));
	if (b->plan->lists_kept) {
		err = bpf_map__reuse_fd(s->maps.kcm_fl_iv4, b->from->map_fd[FLOW_IV4]);
		err = err ?: bpf_map__reuse_fd(s->maps.kcm_fl_iv6, b->from->map_fd[FLOW_IV6]);
	} else {
		bpf_map__set_max_entries(s->maps.kcm_fl_iv4, at_least_1(b->img.n_iv4));
		bpf_map__set_max_entries(s->maps.kcm_fl_iv6, at_least_1(b->img.n_iv6));
	}
	return err ? fail(b, err, "lists of the set before: %s", strerror(-err)) : 0;
}

static void fill_conf(struct building *b)
{
	struct kcm_fl_conf *c = &b->s->rodata->kcm_fl_conf;

	*c = b->plan->conf;
	memcpy(c->root, b->img.root, sizeof(c->root));
	memcpy(c->rank, b->img.rank, sizeof(c->rank));
	c->tcp_mask = b->img.tcp_mask;
	c->policies = (__u32)b->plan->set->n;
	c->text_bytes = (__u32)b->plan->text_bytes;
	c->default_slot =
		b->plan->set->default_action == FLOW_DROP ? KCM_FL_SLOT_DROP : KCM_FL_SLOT_PASS;
	c->lists = b->plan->set->lists != 0;
	if (!b->plan->lists_kept) {
		c->iv4 = b->img.n_iv4;
		c->iv6 = b->img.n_iv6;
	}
}

static int fill(struct building *b, enum flow_map m, const void *data, size_t bytes)
{
	int fd = bpf_map__fd(map_of(b, m));
	void *p;

	if (!bytes)
		return 0;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return fail(b, -errno, "map %s: %s", flow_map_name[m], strerror(errno));
	memcpy(p, data, bytes);
	munmap(p, bytes);
	return 0;
}

static int fill_all(struct building *b)
{
	const struct flow_image *i = &b->img;
	int err = fill(b, FLOW_NODE, i->node, i->nodes * sizeof(*i->node));

	err = err ?: fill(b, FLOW_R4, i->r4, i->n_r4 * sizeof(*i->r4));
	err = err ?: fill(b, FLOW_R6, i->r6, i->n_r6 * sizeof(*i->r6));
	if (!b->plan->lists_kept) {
		err = err ?: fill(b, FLOW_IV4, i->iv4, i->n_iv4 * sizeof(*i->iv4));
		err = err ?: fill(b, FLOW_IV6, i->iv6, i->n_iv6 * sizeof(*i->iv6));
	}
	err = err ?: fill(b, FLOW_SRC, b->plan->text, b->plan->text_bytes);
	return err ?: fill(b, FLOW_IDX, b->plan->line, b->plan->set->n * sizeof(*b->plan->line));
}

/* Slots 0 and 1 are no policies but what happens where none matches. */
static int fill_default_slots(struct building *b)
{
	static const struct kcm_fl_pol pol[KCM_FL_SLOT_FIRST] = {
		[KCM_FL_SLOT_PASS] = { .gen = 1, .action = KCM_FL_PASS },
		[KCM_FL_SLOT_DROP] = { .gen = 1, .action = KCM_FL_DROP },
	};

	return shares(b) ? 0 : fill(b, FLOW_POL, pol, sizeof(pol));
}

static int bind_map(struct building *b, enum flow_map m)
{
	int fd = bpf_map__fd(map_of(b, m));

	if (bpf_prog_bind_map(bpf_program__fd(b->s->progs.kcm_fl_xdp), fd, NULL))
		return fail(b, -errno, "bind %s: %s", flow_map_name[m], strerror(errno));
	return 0;
}

static int steer(struct building *b, const struct flow_policy *p)
{
	struct bpf_cpumap_val val = { .qsize = 2048 };

	if (p->action != FLOW_CPU)
		return 0;
	if (bpf_map_update_elem(bpf_map__fd(b->s->maps.kcm_fl_cpus), &p->cpu, &val, BPF_ANY))
		return fail(b, -errno, "policy %u, to CPU %u: %s", p->prio, p->cpu,
			    strerror(errno));
	return 0;
}

static int build(struct building *b)
{
	int err = compile(b);

	if (err)
		return err;
	b->s = flow__open();
	if (!b->s)
		return fail(b, -errno, "open BPF object: %s", strerror(errno));
	bpf_program__set_autoload(b->s->progs.kcm_fl_try, false);
	if (b->plan->conf.frags)
		bpf_program__set_flags(b->s->progs.kcm_fl_xdp, BPF_F_XDP_HAS_FRAGS);
	err = shares(b) ? share(b) : size_shared(b);
	err = err ?: size_own(b);
	if (err)
		return err;
	fill_conf(b);
	err = flow__load(b->s);
	if (err)
		return fail(b, err, "load BPF program: %s", strerror(-err));
	err = fill_default_slots(b);
	err = err ?: fill_all(b);
	err = err ?: bind_map(b, FLOW_SRC);
	err = err ?: bind_map(b, FLOW_IDX);
	for (size_t i = 0; !err && i < b->plan->set->n; i++)
		err = steer(b, &b->plan->set->policy[i]);
	return err;
}

int flow_prog_load(const struct flow_plan *plan, const struct flow_inst *from, struct flow **skel,
		   char *why, size_t size)
{
	struct building b = { .plan = plan, .from = from, .why = why, .why_size = size };
	int err = build(&b);

	flow_image_free(&b.img);
	if (err)
		flow__destroy(b.s);
	else
		*skel = b.s;
	return err;
}
