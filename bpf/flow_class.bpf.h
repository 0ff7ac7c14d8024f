/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_class.bpf.h - which policies a packet meets, by the trees that user space has built.
 *
 * Rules of a leaf are in the order of their ranks, so the first that matches and decides ends it;
 * of several trees the lowest rank decides. A policy that is taken out is dead by its generation
 * before it is out of the trees.
 */
#ifndef KCM_FLOW_CLASS_BPF_H
#define KCM_FLOW_CLASS_BPF_H

static __always_inline struct kcm_fl_pol *pol_at(__u32 slot)
{
	return bpf_map_lookup_elem(&kcm_fl_pol, &slot);
}

static __always_inline void count(__u32 slot, __u32 len)
{
	__u32 at = bpf_get_smp_processor_id() * kcm_fl_conf.slots + slot;
	struct kcm_fl_count *c = bpf_map_lookup_elem(&kcm_fl_cnt, &at);

	if (!c)
		return;
	c->packets++;
	c->bytes += len;
}

/* A policy that does not decide, at its turn. */
static __always_inline void pass_by(struct look *l, __u32 slot, const struct kcm_fl_pol *p)
{
	count(slot, l->len);
	if (p->action != KCM_FL_SAMPLE || (p->arg > 1 && bpf_get_prandom_u32() % p->arg))
		return;
	l->samples++;
	l->sample_slot = slot;
}

/* Return: true if nothing behind this rule matters. */
static __always_inline bool meet(struct look *l, __u64 where)
{
	__u32 rank = KCM_FL_W_RANK(where), slot = KCM_FL_W_SLOT(where);
	struct kcm_fl_pol *p = pol_at(slot);
	__u64 gen;

	if (!p)
		return false;
	gen = *(volatile __u64 *)&p->gen;
	if (!(gen & 1))
		return false;
	if (KCM_FL_W_VLAN(where) & KCM_FL_ON) {
		l->also = slot;
		l->also_gen = gen;
		l->also_rank = rank;
		l->n_also++;
		if (l->counting)
			pass_by(l, slot, p);
		return false;
	}
	if (l->counting)
		return false;
	l->rank = rank;
	l->slot = slot;
	l->gen = gen;
	return true;
}

/* Return: true if the leaf is done with. */
static __always_inline bool try4(struct look *l, __u32 at)
{
	struct kcm_fl_rule4 *r = bpf_map_lookup_elem(&kcm_fl_r4, &at);

	if (!r || KCM_FL_W_RANK(r->c.where) >= l->rank)
		return true;
	return match4(r, l) && meet(l, r->c.where);
}

static __always_inline bool try6(struct look *l, __u32 at)
{
	struct kcm_fl_rule6 *r = bpf_map_lookup_elem(&kcm_fl_r6, &at);

	if (!r || KCM_FL_W_RANK(r->c.where) >= l->rank)
		return true;
	return match6(r, l) && meet(l, r->c.where);
}

/*
 * Functions that are not static are verified once, and not in each state of each caller: that makes
 * the difference between a program that loads and one that is too complex.
 */
__noinline int leaf4(struct look *l, __u32 base, __u32 n)
{
	if (!l)
		return 0;
	for (__u32 i = 0; i < KCM_FL_LEAF; i++)
		if (i >= n || try4(l, base + i))
			break;
	return 0;
}

__noinline int leaf6(struct look *l, __u32 base, __u32 n)
{
	if (!l)
		return 0;
	for (__u32 i = 0; i < KCM_FL_LEAF; i++)
		if (i >= n || try6(l, base + i))
			break;
	return 0;
}

struct leaf {
	struct look *l;
	__u32 base;
};

static long long_leaf4(__u32 i, void *arg)
{
	struct leaf *leaf = arg;

	return try4(leaf->l, leaf->base + i);
}

static long long_leaf6(__u32 i, void *arg)
{
	struct leaf *leaf = arg;

	return try6(leaf->l, leaf->base + i);
}

__noinline int long_leaf(struct look *l, __u32 base, __u32 n)
{
	struct leaf leaf = { l, base };

	if (!l)
		return 0;
	if (l->family == KCM_FL_IP6)
		bpf_loop(n, long_leaf6, &leaf, 0);
	else
		bpf_loop(n, long_leaf4, &leaf, 0);
	return 0;
}

static __always_inline __u64 descend(const struct look *l, __u32 node)
{
	for (int i = 0; i < KCM_FL_DEPTH; i++) {
		__u64 *n = bpf_map_lookup_elem(&kcm_fl_node, &node), v;
		__u32 field;

		if (!n)
			return KCM_FL_N_LEAF;
		v = *n;
		if (v & KCM_FL_N_LEAF)
			return v;
		field = v >> 48 & 15;
		if (field >= KCM_FL_FIELDS)
			return KCM_FL_N_LEAF;
		node = (__u32)v + (l->f[field] >> (v >> 32 & 31) & ((1u << (v >> 40 & 31)) - 1));
	}
	return KCM_FL_N_LEAF;
}

/* All trees of the family. */
__noinline int look_through(struct look *l)
{
	__u32 family;

	if (!l)
		return 0;
	family = *(volatile __u8 *)&l->family;
	if (family >= KCM_FL_FAMILIES)
		return 0;
	for (int g = 0; g < KCM_FL_GROUPS; g++) {
		__u32 root = kcm_fl_conf.root[family][g], n;
		__u64 leaf;

		if (!root || kcm_fl_conf.rank[family][g] >= l->rank)
			continue;
		leaf = descend(l, root);
		n = leaf >> 32 & 0xffffff;
		if (n > KCM_FL_LEAF) {
			l->longs++;
			long_leaf(l, leaf, n);
		} else if (n && family == KCM_FL_IP6) {
			leaf6(l, leaf, n);
		} else if (n) {
			leaf4(l, leaf, n);
		}
	}
	return 0;
}

/* The policies of a packet: @l->slot decides, @l->n_also others are met, maybe on the way to it. */
static __always_inline void search(struct look *l, const struct pk *p)
{
	struct kcm_fl_pol *pol;

	look_at(l, p);
	look_up_lists(l);
	l->len = p->len;
	l->rank = KCM_FL_NO_RANK;
	l->slot = kcm_fl_conf.default_slot;
	pol = pol_at(l->slot);
	l->gen = pol ? pol->gen : 0;
	look_through(l);
}

/*
 * Behind search(). @l->n_also 1: @l->also counts or samples on the way. More: several do.
 * @l->counting: they have done so on return.
 */
static __always_inline void settle(struct look *l)
{
	if (l->n_also == 1) {
		if (l->also_rank > l->rank)
			l->n_also = 0;
	} else if (l->n_also) {
		/* Which of them come before the one that decides is only known now. */
		l->n_also = 0;
		l->counting = true;
		look_through(l);
	}
	if (!l->n_also)
		l->also = l->also_gen = 0;
}

#endif
