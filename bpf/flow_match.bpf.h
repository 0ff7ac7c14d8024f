/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow_match.bpf.h - what policies look at, the lists that an address is in, and does a rule match?
 */
#ifndef KCM_FLOW_MATCH_BPF_H
#define KCM_FLOW_MATCH_BPF_H

struct look {
	__u32 f[KCM_FL_FIELDS];
	__u32 tcp;
	__u64 slists, dlists; /* that the addresses are in: bit n + 1; bit 0: no list at all */
	__u32 no_ports, no_icmp, no_tcp; /* all bits where the packet has none */
	__u32 proto;			 /* none: beyond 255 */
	__u16 vlan;			 /* KCM_FL_VLAN_SOME and number, 0: untagged */
	__u8 family, frag;		 /* KCM_FL_FRAG_*; not IP: all */
	__u32 ifnum;			 /* + 1 */
	__u32 counting;			 /* what does not decide does its work, up to @rank */

	__u32 rank, slot; /* decides */
	__u64 gen;
	__u32 also, also_rank, n_also; /* the last that does not decide, and how many */
	__u32 samples, sample_slot;    /* to be taken, when counting */
	__u32 len;		       /* of the packet */
	__u32 longs;		       /* leaves longer than KCM_FL_LEAF */
	__u64 also_gen;
};

static __always_inline void look_at(struct look *l, const struct pk *p)
{
	__u16 sport, dport;
	__u8 class;

	__builtin_memset(l, 0, sizeof(*l));
	l->family = p->family;
	l->tcp = p->tcp;
	l->ifnum = p->ifnum + 1;
	if (p->family == KCM_FL_IP6) {
		for (int i = 0; i < 4; i++) {
			l->f[KCM_FL_F_SADDR + i] = bpf_ntohl(p->k6.saddr[i]);
			l->f[KCM_FL_F_DADDR + i] = bpf_ntohl(p->k6.daddr[i]);
		}
		class = p->k6.class;
		l->proto = p->k6.proto;
		l->vlan = p->k6.vlan;
		sport = p->k6.sport;
		dport = p->k6.dport;
	} else {
		l->f[KCM_FL_F_SADDR] = bpf_ntohl(p->k4.saddr);
		l->f[KCM_FL_F_DADDR] = bpf_ntohl(p->k4.daddr);
		class = p->k4.class;
		l->proto = p->k4.proto;
		l->vlan = p->k4.vlan;
		sport = p->k4.sport;
		dport = p->k4.dport;
	}
	l->f[KCM_FL_F_PORTS] = (__u32)bpf_ntohs(sport) << 16 | bpf_ntohs(dport);
	l->f[KCM_FL_F_MISC] = (__u32)p->ifnum << 28 | l->proto;
	if (class & KCM_FL_C_TAGGED) {
		l->f[KCM_FL_F_MISC] |= (0x1000 | l->vlan) << 8;
		l->vlan |= KCM_FL_VLAN_SOME;
	}
	l->no_ports = class & KCM_FL_C_PORTS ? 0 : ~0u;
	l->no_icmp = class & KCM_FL_C_ICMP ? 0 : ~0u;
	l->no_tcp = class & KCM_FL_C_TCP ? 0 : ~0u;
	if (p->family == KCM_FL_OTHER) {
		l->proto = 256;
		l->frag = KCM_FL_FRAG_NO | KCM_FL_FRAG_FIRST | KCM_FL_FRAG_LATER;
	} else {
		/* With fragments of fragments: what the inner one is. */
		l->frag = class & KCM_FL_C_LATER   ? KCM_FL_FRAG_LATER
			  : class & KCM_FL_C_FIRST ? KCM_FL_FRAG_FIRST
						   : KCM_FL_FRAG_NO;
	}
}

/* ---- lists ---- */

/* Of the last interval that starts at @addr or before: the first one starts at 0. */
__noinline __u32 lists4(__u32 addr)
{
	__u32 lo = 0, hi = kcm_fl_conf.iv4, lists = 0;

	for (int i = 0; i < 32 && lo < hi; i++) {
		__u32 mid = lo + (hi - lo) / 2;
		struct kcm_fl_iv4 *iv = bpf_map_lookup_elem(&kcm_fl_iv4, &mid);

		if (!iv)
			break;
		if (iv->start <= addr) {
			lists = iv->lists;
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lists;
}

__noinline __u32 lists6(__u64 a, __u64 b)
{
	__u32 lo = 0, hi = kcm_fl_conf.iv6, lists = 0;

	for (int i = 0; i < 32 && lo < hi; i++) {
		__u32 mid = lo + (hi - lo) / 2;
		struct kcm_fl_iv6 *iv = bpf_map_lookup_elem(&kcm_fl_iv6, &mid);

		if (!iv)
			break;
		if (iv->hi < a || (iv->hi == a && iv->lo <= b)) {
			lists = iv->lists;
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lists;
}

static __always_inline __u64 pair(const __u32 *word)
{
	return (__u64)word[0] << 32 | word[1];
}

static __always_inline void look_up_lists(struct look *l)
{
	__u64 src = 0, dst = 0;

	if (kcm_fl_conf.lists && l->family == KCM_FL_IP4) {
		src = lists4(l->f[KCM_FL_F_SADDR]);
		dst = lists4(l->f[KCM_FL_F_DADDR]);
	} else if (kcm_fl_conf.lists && l->family == KCM_FL_IP6) {
		src = lists6(pair(&l->f[KCM_FL_F_SADDR]), pair(&l->f[KCM_FL_F_SADDR + 2]));
		dst = lists6(pair(&l->f[KCM_FL_F_DADDR]), pair(&l->f[KCM_FL_F_DADDR + 2]));
	}
	l->slists = src << 1 | 1;
	l->dlists = dst << 1 | 1;
}

/* ---- does a rule match? ----
 * Without branches but for one: there is none that a CPU could foresee, and the verifier would go
 * both ways of each. Everything gives 0 for yes.
 */
static __always_inline __u32 some(__u64 x)
{
	return (x | -x) >> 63;
}

/* Are the first @len bits of 32 those of the rule? A shift by 32 is one of a u64. */
static __always_inline __u32 not4(__u32 addr, __u32 rule, __u32 len)
{
	return some((__u64)(addr ^ rule) >> ((32 - len) & 63));
}

/* Of 128: the words where the prefix ends are shifted twice, as no shift is by 64. */
static __always_inline __u32 not6(const __u32 *addr, const __u32 *rule, __u32 len)
{
	__u64 hi = pair(addr) ^ pair(rule), lo = pair(addr + 2) ^ pair(rule + 2);
	__u64 long_one = -(__u64)(len >> 6 != 0);
	__u32 rest = 63 - (len & 63);

	if (len > 127)
		return some(hi | lo);
	return some(((hi >> 1 >> rest) & ~long_one) | (hi & long_one) |
		    ((lo >> 1 >> rest) & long_one));
}

static __always_inline __u32 not_rest(const struct kcm_fl_cond *c, const struct look *l)
{
	__u32 ports = l->f[KCM_FL_F_PORTS], sport = ports >> 16, dport = ports & 0xffff;
	__u32 vlan = KCM_FL_W_VLAN(c->where), flags = c->flags, in = flags >> KCM_FL_IF_SHIFT;
	__u32 icmp = -(vlan / KCM_FL_ICMP & 1), absent, bad;
	__u32 one = vlan >> 12 & 1, two = vlan >> 13 & 1; /* of KCM_FL_VLAN_MODE */

	absent = (l->no_icmp & icmp) | (l->no_ports & ~icmp);
	bad = ((sport - c->splo) | (c->sphi - sport) | (dport - c->dplo) | (c->dphi - dport)) >> 31;
	bad |= absent & (((c->sphi - c->splo) ^ 0xffff) | ((c->dphi - c->dplo) ^ 0xffff));
	bad |= (c->proto ^ l->proto) & -(flags & KCM_FL_HAS_PROTO);
	bad |= (l->no_tcp & c->tcp_mask) | ((l->tcp & c->tcp_mask) ^ c->tcp);
	bad |= (l->slists >> (c->slist & KCM_FL_LIST) ^ c->slist / KCM_FL_LIST_NOT ^ 1) & 1;
	bad |= (l->dlists >> (c->dlist & KCM_FL_LIST) ^ c->dlist / KCM_FL_LIST_NOT ^ 1) & 1;
	bad |= ((flags & l->frag) - 1) >> 31;
	bad |= in * (in ^ l->ifnum);
	bad |= (l->vlan >> 13 ^ two) & (one | two);
	bad |= (l->vlan ^ vlan) & KCM_FL_VLAN_ID & -(one & two);
	return bad;
}

/* What is left of a plain rule but the addresses: no branch, and so is what is made of it. */
static __always_inline __u32 not_plain(const struct kcm_fl_cond *c, const struct look *l)
{
	__u32 ports = l->f[KCM_FL_F_PORTS], sport = ports >> 16, dport = ports & 0xffff;
	__u32 bad = ((sport - c->splo) | (c->sphi - sport) | (dport - c->dplo) | (c->dphi - dport));

	bad = bad >> 31;
	bad |= l->no_ports & (((c->sphi - c->splo) & (c->dphi - c->dplo)) ^ 0xffff);
	return bad | ((c->proto ^ l->proto) & -(c->flags & KCM_FL_HAS_PROTO));
}

static __always_inline bool is_plain(const struct kcm_fl_cond *c)
{
	return !(((c->kind ^ KCM_FL_PLAIN) & KCM_FL_PLAIN_BITS) | (c->where & KCM_FL_PLAIN_WHERE));
}

static __always_inline bool match4_any(const struct kcm_fl_rule4 *r, const struct look *l)
{
	if ((not4(l->f[KCM_FL_F_SADDR], r->saddr, r->c.slen) ^ r->c.slist / KCM_FL_ADDR_NOT) |
	    (not4(l->f[KCM_FL_F_DADDR], r->daddr, r->c.dlen) ^ r->c.dlist / KCM_FL_ADDR_NOT))
		return false;
	return !not_rest(&r->c, l);
}

static __always_inline bool match6_any(const struct kcm_fl_rule6 *r, const struct look *l)
{
	if ((not6(&l->f[KCM_FL_F_SADDR], r->saddr, r->c.slen) ^ r->c.slist / KCM_FL_ADDR_NOT) |
	    (not6(&l->f[KCM_FL_F_DADDR], r->daddr, r->c.dlen) ^ r->c.dlist / KCM_FL_ADDR_NOT))
		return false;
	return !not_rest(&r->c, l);
}

static __always_inline bool match4(const struct kcm_fl_rule4 *r, const struct look *l)
{
	__u64 src = l->f[KCM_FL_F_SADDR] ^ r->saddr, dst = l->f[KCM_FL_F_DADDR] ^ r->daddr;

	if (!is_plain(&r->c))
		return match4_any(r, l);
	return !(src >> ((32 - r->c.slen) & 63) | dst >> ((32 - r->c.dlen) & 63) |
		 not_plain(&r->c, l));
}

static __always_inline bool match6(const struct kcm_fl_rule6 *r, const struct look *l)
{
	if (!is_plain(&r->c))
		return match6_any(r, l);
	return !(not6(&l->f[KCM_FL_F_SADDR], r->saddr, r->c.slen) |
		 not6(&l->f[KCM_FL_F_DADDR], r->daddr, r->c.dlen) | not_plain(&r->c, l));
}

#endif
