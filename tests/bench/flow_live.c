// SPDX-License-Identifier: GPL-2.0
/* flow_live.c - live packets that are dropped: hits, numbers of rules, mixes of flows. */
#include "flow_bench.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "flowsend.skel.h"
#include "flowpeer.skel.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static void goal(struct fb_row *row, enum fb_goal kind, double goal)
{
	if (!row)
		return;
	row->goal_kind = kind;
	row->goal = goal;
}

/* Of rows that were just made, the one against this peer. */
static struct fb_row *against(struct fb *b, struct fb_row *first, const char *peer)
{
	for (struct fb_row *r = first; r && r < b->report.row + b->report.n; r++)
		if (!strcmp(r->peer, peer))
			return r;
	return NULL;
}

/* What flow does, with and without a cache, and what has LRU_HASH instead. */
struct ours {
	struct fb_side flow, always, plain, lru;
};

static int make_ours(struct fb *b, struct ours *o, __u32 rules)
{
	int err = fb_side(b, &o->flow, "flow");

	err = err ?: fb_side(b, &o->always, "flow, always cached");
	err = err ?: fb_side(b, &o->plain, "no cache");
	err = err ?: fb_side(b, &o->lru, "LRU_HASH");
	err = err ?: fb_flow(b, &o->flow, &(struct fb_flow){ rules, FB_CACHE, .action = NULL });
	err = err
		      ?: fb_flow(b, &o->always,
				 &(struct fb_flow){ rules, FB_CACHE, .no_bypass = true });
	err = err ?: fb_flow(b, &o->plain, &(struct fb_flow){ rules, 0, .action = NULL });
	if (!err && !fb_peer(b, &o->lru, &o->flow, FB_CACHE))
		fb_attach(b, &o->lru, bpf_program__fd(o->lru.peer->progs.fp_lru));
	return err;
}

static void end_ours(struct fb *b, struct ours *o)
{
	fb_side_end(b, &o->lru);
	fb_side_end(b, &o->plain);
	fb_side_end(b, &o->always);
	fb_side_end(b, &o->flow);
}

/* ---- hits ---- */

int fb_part_hit(struct fb *b)
{
	static const __u32 flows[] = { 1, 1024, 65536, 1 << 20 };
	struct fb_side empty, parse;
	struct fb_row *row;
	struct ours o;
	int err = make_ours(b, &o, 1000);

	err = err ?: fb_side(b, &empty, "empty XDP_DROP");
	err = err ?: fb_side(b, &parse, "parse, XDP_DROP");
	err = err ?: fb_attach(b, &empty, bpf_program__fd(b->gen->progs.fg_empty));
	err = err ?: fb_peer(b, &parse, &o.flow, 0);
	err = err ?: fb_attach(b, &parse, bpf_program__fd(parse.peer->progs.fp_parse));
	for (unsigned int i = 0; !err && i < LEN(flows); i++) {
		struct fb_side *auto_of[] = { &o.flow, &empty, &parse, &o.plain, &o.lru };
		struct fb_side *always[] = { &o.always, &empty, &o.plain, &o.lru };
		struct fb_load load = { FG_ROUND, flows[i], false };

		row = fb_compare(b, "hit", 1000, &load, auto_of, LEN(auto_of));
		if (flows[i] == 1 || flows[i] == 65536)
			goal(against(b, row, empty.name), FB_AT_LEAST, flows[i] == 1 ? 0.7 : 0.5);
		goal(against(b, row, o.plain.name), FB_AT_LEAST, 0.97);
		fb_compare(b, "hit, always cached", 1000, &load, always, LEN(always));
	}
	fb_side_end(b, &empty);
	fb_side_end(b, &parse);
	end_ours(b, &o);
	return err;
}

/* ---- mixes ---- */

int fb_part_mix(struct fb *b)
{
	static const __u32 rules[] = { 10, 10000 };
	static const struct {
		const char *name;
		struct fb_load load;
	} mix[] = {
		{ "zipf", { FG_ZIPF, 1 << 20, false } },
		{ "flood", { FG_FLOOD, 4096, false } },
		{ "never seen", { FG_NEW, 0, false } },
	};
	int err = 0;

	for (unsigned int k = b->quick; !err && k < LEN(rules); k++) {
		struct ours o;

		err = make_ours(b, &o, rules[k]);
		for (unsigned int i = 0; !err && i < LEN(mix); i++) {
			struct fb_side *side[] = { &o.flow, &o.plain, &o.lru, &o.always };
			struct fb_row *row =
				fb_compare(b, mix[i].name, rules[k], &mix[i].load, side, LEN(side));

			goal(against(b, row, o.plain.name), FB_AT_LEAST, 0.97);
		}
		end_ours(b, &o);
	}
	return err;
}

/* ---- numbers of rules ---- */

static int nft(struct fb *b, struct fb_side *s, const char *name, enum fb_form form, __u32 rules)
{
	char path[FB_DIR + 32];
	int err = fb_side(b, s, name);
	struct fb_text text = { form, rules, 0, s->rx, NULL, false };

	if (err)
		return err;
	snprintf(path, sizeof(path), "%s/rules", b->dir);
	err = fb_rules(path, &text) ?: fb_stack(b, s);
	if (!err &&
	    fb_sh(b, form == FB_IPTABLES ? "iptables-nft-restore --noflush %s" : "nft -f %s",
		  path)) {
		fprintf(stderr, "bench_flow: %s: not measured: %s\n", name, b->why);
		s->off = true;
	}
	return err;
}

static int xdp_filter(struct fb *b, struct fb_side *s)
{
	int err = fb_side(b, s, "xdp-filter");

	if (!err && fb_sh(b,
			  "xdp-filter load %s -m native -f ipv4 -p allow && "
			  "xdp-filter ip 10.200.0.0 -m src && for i in 1 2 3 4 5 6 7 8 9; do "
			  "xdp-filter ip 11.0.0.$i -m src || exit 1; done",
			  s->rx)) {
		fprintf(stderr, "bench_flow: xdp-filter: not measured: %s\n", b->why);
		s->off = true;
	}
	return err;
}

struct peers {
	struct fb_side flow, plain, flat, iptables, hash, ranges;
};

static int make_peers(struct fb *b, struct peers *p, __u32 rules)
{
	int err;

	memset(p, 0, sizeof(*p));
	err = fb_side(b, &p->flow, "flow");
	err = err ?: fb_flow(b, &p->flow, &(struct fb_flow){ rules, FB_CACHE, .action = NULL });
	err = err ?: fb_side(b, &p->plain, "no cache");
	err = err ?: fb_flow(b, &p->plain, &(struct fb_flow){ rules, 0, .action = NULL });
	p->flat.off = p->iptables.off = rules > 10000;
	/* A packet takes a millisecond, and to put them in takes long. */
	if (rules <= 10000) {
		err = err ?: nft(b, &p->flat, "nft ingress, flat", FB_NFT_FLAT, rules);
		err = err ?: nft(b, &p->iptables, "iptables-nft raw", FB_IPTABLES, rules);
	}
	err = err ?: nft(b, &p->hash, "nft ingress, hash set", FB_NFT_HASH, rules);
	return err ?: nft(b, &p->ranges, "nft ingress, interval set", FB_NFT_RANGES, rules);
}

static void end_peers(struct fb *b, struct peers *p)
{
	fb_sh(b, "nft flush ruleset");
	fb_side_end(b, &p->ranges);
	fb_side_end(b, &p->hash);
	fb_side_end(b, &p->iptables);
	fb_side_end(b, &p->flat);
	fb_side_end(b, &p->plain);
	fb_side_end(b, &p->flow);
}

static void rules_goals(struct fb *b, struct fb_row *row, __u32 rules)
{
	goal(against(b, row, "no cache"), FB_AT_LEAST, 0.97);
	goal(against(b, row, "xdp-filter"), FB_AT_LEAST, 1);
	if (rules == 1000)
		goal(against(b, row, "nft ingress, flat"), FB_AT_LEAST, 180);
	if (rules == 10000) {
		goal(against(b, row, "nft ingress, flat"), FB_AT_LEAST, 2000);
		goal(against(b, row, "nft ingress, hash set"), FB_AT_LEAST, 2.5);
		goal(against(b, row, "nft ingress, interval set"), FB_AT_LEAST, 25);
	}
	if (rules == 100000)
		goal(against(b, row, "flow, 10 rules"), FB_AT_LEAST, 0.95);
}

int fb_part_rules(struct fb *b)
{
	static const __u32 rules[] = { 10, 1000, 10000, 100000 }, flows[] = { 1, 65536 };
	struct fb_side ten, filter;
	int err = fb_side(b, &ten, "flow, 10 rules");

	err = err ?: fb_flow(b, &ten, &(struct fb_flow){ 10, FB_CACHE, .action = NULL });
	err = err ?: xdp_filter(b, &filter);
	for (unsigned int k = 0; !err && k < LEN(rules); k++) {
		struct peers p;

		err = make_peers(b, &p, rules[k]);
		for (unsigned int i = 0; !err && i < LEN(flows); i++) {
			struct fb_side *side[] = { &p.flow, &p.plain, &filter,	 &ten,
						   &p.flat, &p.hash,  &p.ranges, &p.iptables };
			struct fb_load load = { FG_ROUND, flows[i], false };

			rules_goals(b, fb_compare(b, "rules", rules[k], &load, side, LEN(side)),
				    rules[k]);
		}
		end_peers(b, &p);
	}
	fb_sh(b, "xdp-filter unload %s", filter.rx);
	fb_side_end(b, &filter);
	fb_side_end(b, &ten);
	return err;
}
