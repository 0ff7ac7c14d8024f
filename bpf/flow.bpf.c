// SPDX-License-Identifier: GPL-2.0
/*
 * flow.bpf.c - policies for packets as they come in, with a cache of verdicts in front.
 *
 * kcm_fl_xdp judges; kcm_fl_try says which policy would decide, and changes nothing.
 */
#include <stdbool.h>
#include <stddef.h>
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "flow.h"

const volatile struct kcm_fl_conf kcm_fl_conf = { .genid = 1 };

/* The test of histories builds wrong programs, too: see tests/bpf/flowhist.bpf.c. */
#ifndef KCM_FL_WRONG
#define KCM_FL_WRONG(how) false
#endif

#include "flow_maps.bpf.h"
#include "flow_parse.bpf.h"
#include "flow_match.bpf.h"
#include "flow_class.bpf.h"
#include "flow_cache.bpf.h"
#include "flow_bypass.bpf.h"
#include "flow_fib.bpf.h"
#include "flow_act.bpf.h"

#define TCP_FIN_RST 5
#define FLOOD	    16 /* packets in a row that are not in the cache */

/* Does any change since @genid concern this flow? */
__noinline int changed(const struct look *l, __u32 genid, __u32 slot, __u32 also)
{
	if (!l || genid < kcm_fl_conf.floor || genid > kcm_fl_conf.genid)
		return true;
	for (__u32 i = 0; i < KCM_FL_CHANGES; i++) {
		const struct kcm_fl_change *c = (const void *)&kcm_fl_conf.change[i];

		if (i >= kcm_fl_conf.changes)
			break;
		/* What is there now is not what is there when it runs. */
		asm volatile("" : "+r"(c));
		if (c->genid <= genid)
			continue;
		if (c->dead) {
			if (c->dead == slot || c->dead == also)
				return true;
			continue;
		}
		if (!(c->families & 1 << l->family))
			continue;
		if (l->family == KCM_FL_IP6 ? match6(&c->r6, l) : match4(&c->r4, l))
			return true;
	}
	return false;
}

static __always_inline void account(struct kcm_fl_flow *f, const struct pk *p, __u32 tick)
{
	__u32 idle = tick - f->last;

	if (idle > kcm_fl_conf.closed_ticks &&
	    (idle > kcm_fl_conf.idle_ticks || (f->seen & TCP_FIN_RST))) {
		/* Its end was not worth an event: this is another flow of the same name. */
		f->packets = f->bytes = 0;
		f->seen = 0;
		f->first = tick;
	}
	f->packets++;
	f->bytes += p->len;
	f->last = tick;
	f->seen |= p->tcp;
}

static __always_inline __u8 ifnum_of(__u32 ifindex)
{
	__u8 n = 0;

	for (__u32 i = 1; i < KCM_FL_IFS; i++)
		if (i < kcm_fl_conf.n_if && kcm_fl_conf.ifindex[i] == ifindex)
			n = i;
	return n;
}

static __always_inline void read_packet(struct xdp_md *ctx, struct pk *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	__builtin_memset(p, 0, sizeof(*p));
	p->len = kcm_fl_conf.frags ? bpf_xdp_get_buff_len(ctx) : (__u64)(end - data);
	if (kcm_fl_conf.n_if > 1)
		p->ifnum = ifnum_of(ctx->ingress_ifindex);
	parse(ctx, p);
}

/* What an entry holds of a policy's generation, and is compared with. */
static __always_inline __u64 mark_of(__u64 gen)
{
	return KCM_FL_WRONG(BOOLEAN) ? gen & 1 : gen;
}

/* The entry is what this program's rules say. */
static __always_inline void stamp(struct kcm_fl_flow *f)
{
	struct kcm_fl_pol *newest = KCM_FL_WRONG(LATE) ? pol_at(0) : NULL;

	*(volatile __u32 *)&f->genid = newest ? newest->genid : kcm_fl_conf.genid;
}

/*
 * Find the policies by the trees, unless @l has them, and keep the verdict in @f, or in a new entry
 * at @at if there is one. That comes last: what find_place() found to be missing is on its way from
 * memory meanwhile.
 */
static __always_inline int judge(struct xdp_md *ctx, struct look *l, const struct pk *p,
				 struct kcm_fl_flow *f, const struct place *at,
				 struct kcm_fl_stat *st, __u32 tick, __u64 since_ns, bool searched)
{
	__u64 begin_ns = time_plain(st);
	struct kcm_fl_pol *pol;

	if (!searched)
		search(l, p);
	settle(l);
	st->long_leaves += l->longs;
	if (begin_ns)
		note_ns(&st->plain_ns, begin_ns);
	pol = pol_at(l->slot);
	if (!pol)
		return XDP_ABORTED;
	if (at && !f) {
		f = put_in(at, p, st);
		if (f)
			f->first = f->last = tick;
	}
	if (f) {
		f->slot = l->slot;
		f->also = l->also;
		f->sum = mark_of(l->gen) + mark_of(l->also_gen);
		account(f, p, tick);
		if (l->n_also > 1)
			*(volatile __u32 *)&f->genid = 0;
		else
			stamp(f);
	}
	if (since_ns)
		note_ns(&st->cached_ns, since_ns);
	if (l->samples)
		sample(ctx, st, l->sample_slot, p->len);
	if (l->samples > 1)
		st->samples_lost += l->samples - 1;
	if (l->n_also > 1)
		st->uncached++;
	else if (l->also && !l->counting)
		act_also(ctx, st, l->also, p->len);
	return act(ctx, p, pol, l->slot, st);
}

/* What the packet would have cost without the cache. */
static __always_inline void try_plain(struct look *l, const struct pk *p, struct kcm_fl_stat *st)
{
	__u64 begin_ns = time_plain(st);

	search(l, p);
	if (begin_ns)
		note_ns(&st->plain_ns, begin_ns);
}

static __always_inline int on_packet(struct xdp_md *ctx)
{
	__u32 tick = bpf_jiffies64() >> (kcm_fl_conf.tick_shift & 31), key;
	__u32 cpu = bpf_get_smp_processor_id();
	struct kcm_fl_stat *st = bpf_map_lookup_elem(&kcm_fl_stat, &cpu);
	struct kcm_fl_flow *f;
	struct kcm_fl_pol *pol;
	struct place at;
	__u64 since_ns;
	struct look l;
	bool searched;
	struct pk p;

	if (!st)
		return XDP_ABORTED;
	read_packet(ctx, &p);
	if (p.bad) {
		st->bad++;
		key = kcm_fl_conf.default_slot;
		pol = pol_at(key);
		return pol ? act(ctx, &p, pol, key, st) : XDP_ABORTED;
	}
	if (kcm_fl_conf.no_cache || bypass(st)) {
		st->bypassed++;
		return judge(ctx, &l, &p, NULL, NULL, st, tick, 0, false);
	}
	since_ns = time_cached(st);
	find_place(&at, &p, cpu, tick);
	/* In a flood of new flows the cache's memory is far away: search while it comes. */
	searched = st->missed >= FLOOD && !is_plain_turn(st);
	if (searched) {
		fetch(&at, p.family);
		search(&l, &p);
	}
	f = p.family == KCM_FL_IP6 ? find6(&at, &p.k6) : find4(&at, &p.k4);
	if (f && f->genid) {
		__u64 sum;

		pol = pol_at(f->slot);
		if (!pol)
			return XDP_ABORTED;
		sum = mark_of(*(volatile __u64 *)&pol->gen);
		if (f->also) {
			struct kcm_fl_pol *also = pol_at(f->also);

			sum += also ? mark_of(*(volatile __u64 *)&also->gen) : 0;
		}
		if (sum != f->sum && !KCM_FL_WRONG(UNCHECKED))
			goto stale;
		st->missed = 0;
		if (f->genid != kcm_fl_conf.genid) {
			look_at(&l, &p);
			look_up_lists(&l);
			if (changed(&l, f->genid, f->slot, f->also) && !KCM_FL_WRONG(BLIND))
				goto stale;
			stamp(f);
			st->restamped++;
		}
		st->hits++;
		if (!is_hot(f, tick))
			hot(&at, p.family);
		account(f, &p, tick);
		if (since_ns)
			note_ns(&st->cached_ns, since_ns);
		if (is_plain_turn(st))
			try_plain(&l, &p, st);
		if (f->also)
			act_also(ctx, st, f->also, p.len);
		return act(ctx, &p, pol, f->slot, st);
stale:
		searched = false;
		st->stale++;
		hot(&at, p.family);
	} else {
		st->misses++;
		st->missed++;
		if (f) {
			f->packets = f->bytes = 0;
			f->first = f->last = tick;
		}
	}
	return judge(ctx, &l, &p, f, &at, st, tick, since_ns, searched);
}

#ifndef KCM_FL_HISTORY
SEC("xdp")
int kcm_fl_xdp(struct xdp_md *ctx)
{
	return on_packet(ctx);
}
#endif

/* Return: the slot that decides. What counts or samples on the way does nothing. */
SEC("xdp")
int kcm_fl_try(struct xdp_md *ctx)
{
	struct look l;
	struct pk p;

	read_packet(ctx, &p);
	if (p.bad)
		return -1;
	search(&l, &p);
	return l.slot;
}

char LICENSE[] SEC("license") = "GPL";
