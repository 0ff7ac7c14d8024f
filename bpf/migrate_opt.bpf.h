/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * migrate_opt.bpf.h - servers that say themselves which generation a listener is of, that it is
 * ready, and that it shall get no more: see kcm_migrate.h.
 *
 * Several instances may be attached to a socket's cgroup and those above it. Before a socket is
 * bound, each of them keeps what is said; later only the one of its port does, and the others let
 * it pass. The kernel holds the socket's lock meanwhile (__cgroup_bpf_run_filter_setsockopt()): it
 * neither begins to listen nor closes.
 */
#ifndef KCM_MIGRATE_OPT_BPF_H
#define KCM_MIGRATE_OPT_BPF_H

#include "opt.bpf.h"

#define MG_PROTO_TCP 6

/* ---- under kcm_mg_lock ---- */

/* Where a listener is. */
struct mg_place {
	struct kcm_mg_slot *s;
	struct kcm_mg_group *g;
	struct kcm_mg_gen *gen;
	__u32 slot, group, at;
};

static __always_inline void place_of(struct kcm_mg *mg, struct mg_place *p)
{
	p->s = slot_at(mg, p->slot);
	p->group = mg_forget(mg, p->s->group) & (KCM_MG_GROUPS - 1);
	p->g = group_at(mg, p->group);
	p->at = mg_forget(mg, p->s->gen) & (KCM_MG_GENS - 1);
	p->gen = gen_at(p->g, p->at);
}

/* It takes connections again, if it did not. */
static __always_inline void table_undrain(struct kcm_mg *mg, const struct mg_place *p)
{
	if (p->s->pos < p->gen->n)
		return;
	member_drain(mg, p->g, p->gen, p->s->pos, 0);
	if (p->gen->n == 1)
		gen_opens(p->g, p->gen, p->at, 0);
}

/* What it has counted stays with the generation that it was of. */
static __always_inline void slot_leaves(struct kcm_mg_slot *s, struct kcm_mg_gen *was)
{
	was->given += __sync_lock_test_and_set(&s->given, 0);
	was->in += __sync_lock_test_and_set(&s->in, 0);
	was->out += __sync_lock_test_and_set(&s->out, 0);
	was->refused += __sync_lock_test_and_set(&s->refused, 0);
}

/* It becomes generation @number's. Return: 0; -ENOSPC too many of them. */
static __always_inline int table_renumber(struct kcm_mg *mg, struct mg_place *p, __u32 number,
					  __u64 now_ns)
{
	struct kcm_mg_slot *s = p->s;
	struct kcm_mg_gen *was = p->gen;
	struct kcm_mg_key key = was->key;
	__u32 was_at = p->at, was_pos = s->pos, pos;
	int at, is;

	if (key.number == number)
		return 0;
	key.number = number;
	at = gen_find(p->g, &key, 1, &is);
	if (at < 0)
		return -KCM_ENOSPC;
	p->at = mg_forget(mg, at) & (KCM_MG_GENS - 1);
	is = mg_forget(mg, is);
	p->gen = gen_at(p->g, p->at);
	if (!is)
		gen_begin(p->g, p->gen, p->at, &key, s->comm, now_ns);
	else if (p->gen->n + p->gen->drained >= KCM_MG_MEMBERS)
		return -KCM_ENOSPC;
	slot_leaves(s, was);
	/* Into the one before it leaves the other: somebody has it at all times. */
	member_add(mg, p->gen, p->slot);
	pos = s->pos;
	if (p->gen->n == 1)
		gen_opens(p->g, p->gen, p->at, 0);
	member_remove(mg, p->g, was, was_pos);
	s->pos = pos;
	s->gen = p->at;
	s->opened_ns = now_ns;
	if (!is)
		log_add(mg, KCM_MGE_GEN_NEW, p->group, p->slot, p->gen, now_ns, 0);
	if (!was->n)
		gen_empties(mg, p->g, was, was_at, p->slot, now_ns);
	return 0;
}

/* Its generation is ready. Which one works an operator has said, or a later one does. */
static __always_inline void table_ready(struct kcm_mg *mg, const struct mg_place *p, __u64 now_ns)
{
	__u32 w = p->g->working & (KCM_MG_GENS - 1);

	if (p->gen->state == KCM_MG_GEN_DRAINING)
		return;
	p->gen->state = KCM_MG_GEN_READY;
	if (p->g->working == p->at || (p->g->flags & KCM_MG_GROUP_PINNED) ||
	    (p->g->working != KCM_MG_NONE && gen_at(p->g, w)->n &&
	     gen_at(p->g, w)->id > p->gen->id))
		return;
	gen_works(p->g, p->gen, p->at);
	log_add(mg, KCM_MGE_GEN_WORKS, p->group, p->slot, p->gen, now_ns, 0);
}

/* Return: 0; -ENOENT nobody else would take connections. */
static __always_inline int table_drain(struct kcm_mg *mg, const struct mg_place *p, __u64 now_ns)
{
	if (p->s->pos >= p->gen->n)
		return 0;
	if (p->gen->n == 1 && !group_parks(p->g) &&
	    mg_forget(mg, gen_best(p->g, p->at)) == KCM_MG_NONE)
		return -KCM_ENOENT;
	member_drain(mg, p->g, p->gen, p->s->pos, 1);
	log_add(mg, KCM_MGE_DRAIN, p->group, p->slot, p->gen, now_ns, 0);
	if (!p->gen->n)
		gen_empties(mg, p->g, p->gen, p->at, p->slot, now_ns);
	return 0;
}

static __always_inline int table_say(struct kcm_mg *mg, __u32 slot, __u64 cookie, __u32 option,
				     __u32 value, __u64 now_ns)
{
	struct mg_place p = { .slot = slot };
	int err = 0;

	place_of(mg, &p);
	if (p.s->cookie != cookie || (p.s->flags & KCM_MG_SLOT_CLOSED))
		return -KCM_ESRCH;
	if (option == KCM_SO_LISTENER_DRAIN)
		return table_drain(mg, &p, now_ns);
	table_undrain(mg, &p);
	if (value)
		err = table_renumber(mg, &p, value, now_ns);
	if (!err && option == KCM_SO_LISTENER_REGISTER)
		table_ready(mg, &p, now_ns);
	return err;
}

/* ---- the options ---- */

static __always_inline int say_now(struct kcm_mg *mg, __u32 slot, __u64 cookie, __u32 option,
				   __u32 value)
{
	__u64 now_ns = bpf_ktime_get_ns();
	struct kcm_mg_lock *lock;
	__u32 zero = 0;
	int err;

	lock = bpf_map_lookup_elem(&kcm_mg_lock, &zero);
	if (!lock)
		return -KCM_ENOMEM;
	bpf_spin_lock(&lock->lock);
	err = table_say(mg, slot, cookie, option, value, now_ns);
	bpf_spin_unlock(&lock->lock);
	wake_keeper();
	return err;
}

static __always_inline int say_before(struct bpf_sock *sk, __u32 option, __u32 value)
{
	struct kcm_mg_said *said =
		bpf_sk_storage_get(&kcm_mg_said, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!said)
		return -KCM_ENOMEM;
	if (value)
		said->number = value;
	if (option == KCM_SO_LISTENER_REGISTER)
		said->ready = 1;
	return 0;
}

static __always_inline int say(struct bpf_sockopt *ctx, struct bpf_sock *sk)
{
	__u8 *p = ctx->optval, *end = ctx->optval_end;
	struct kcm_mg *mg = mg_state();
	__u32 option = ctx->optname, value;
	struct kcm_mg_ref *ref;
	__u64 cookie;

	/* Below 0: another instance has kept it already. */
	if (!mg || (ctx->optlen != 4 && ctx->optlen >= 0) || p + 4 > end)
		return -KCM_EINVAL;
	value = *(__u32 *)p;
	if ((option == KCM_SO_LISTENER_DRAIN && value != 1) ||
	    (option == KCM_SO_LISTENER_GENERATION && !value))
		return -KCM_EINVAL;
	/* Not before it is bound: it may be for another instance. */
	if (option != KCM_SO_LISTENER_DRAIN && value && sk->src_port &&
	    (mg->ctl.manual || mg->ctl.manual_number))
		return -KCM_EPERM;
	if (sk->state == BPF_TCP_CLOSE && option != KCM_SO_LISTENER_DRAIN)
		return say_before(sk, option, value);
	if (sk->state != BPF_TCP_LISTEN)
		return -KCM_EINVAL;
	cookie = BPF_CORE_READ((struct sock *)addr_of_sk(sk), __sk_common.skc_cookie.counter);
	ref = bpf_map_lookup_elem(&kcm_mg_index, &cookie);
	if (!ref || ref->slot == KCM_MG_NONE)
		return -KCM_ESRCH;
	return say_now(mg, ref->slot, cookie, option, value);
}

SEC("cgroup/setsockopt")
int kcm_mg_opt(struct bpf_sockopt *ctx)
{
	struct bpf_sock *sk;
	int err;

	if (ctx->level != KCM_SOL_KCM) {
		opt_pass(ctx);
		return 1;
	}
	sk = ctx->sk;
	if (!sk || (sk->family != KCM_AF_INET && sk->family != KCM_AF_INET6) ||
	    sk->protocol != MG_PROTO_TCP || ctx->optname < KCM_SO_LISTENER_REGISTER ||
	    ctx->optname > KCM_SO_LISTENER_DRAIN ||
	    (sk->src_port && sk->src_port != kcm_mg_conf.port))
		return 1; /* the kernel says ENOPROTOOPT, unless another program knows it */
	/* Another instance has refused it. */
	if (ctx->optlen < 0 && bpf_get_retval())
		return 1;
	err = say(ctx, sk);
	if (err)
		opt_result(err);
	ctx->optlen = -1; /* not for the kernel */
	return 1;
}

#endif
