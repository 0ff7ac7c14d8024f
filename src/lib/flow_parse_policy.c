// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_parse_policy.c - one policy: its words in order, and what can't be together. */
#include <errno.h>
#include <netinet/in.h>
#include "flow_parse_part.h"
#include "suggest.h"

#define WORDS_MAX 32 /* of the language */

static const struct flow_word_of *find(const struct flow_word_of *words, const char *word)
{
	for (; words->name; words++)
		if (streq(words->name, word))
			return words;
	return NULL;
}

static int unknown(struct flow_policy_parse *pp, const char *word)
{
	const char *words[WORDS_MAX], *near;
	size_t n = 0;

	for (const struct flow_word_of *w = flow_cond_words; w->name; w++)
		words[n++] = w->name;
	for (const struct flow_word_of *w = flow_action_words; w->name; w++)
		words[n++] = w->name;
	near = suggest(word, words, n);
	if (near)
		return flow_words_wrong(&pp->w, "unknown word '%.40s'; did you mean '%s'?", word,
					near);
	return flow_words_wrong(&pp->w,
				"unknown word '%.40s'; allowed: name in ip ip6 src dst proto sport "
				"dport icmp-type icmp-code frag vlan flags, then pass drop count "
				"mark sample limit redirect forward cpu",
				word);
}

static bool has_ports(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP ||
	       proto == IPPROTO_DCCP || proto == IPPROTO_UDPLITE;
}

/* What no packet can be. */
static int check(struct flow_policy_parse *pp)
{
	const struct flow_policy *p = pp->p;
	struct flow_words *w = &pp->w;
	uint8_t proto = p->has_proto ? p->proto : 0;
	bool icmp = p->has_icmp_type || p->has_icmp_code;

	if (pp->given.ports && !has_ports(proto))
		return flow_words_wrong(w, "ports without a protocol that has them; allowed: proto "
					   "tcp, udp, udplite, sctp, dccp");
	if (icmp && proto != IPPROTO_ICMP && proto != IPPROTO_ICMPV6)
		return flow_words_wrong(w,
					"icmp-type or icmp-code without ICMP; allowed: proto icmp "
					"for IPv4, proto icmp6 for IPv6");
	if (p->tcp_mask && proto != IPPROTO_TCP)
		return flow_words_wrong(w, "flags without TCP; allowed: proto tcp");
	if (p->family == 6 && proto == IPPROTO_ICMP && p->has_proto)
		return flow_words_wrong(w, "IPv6 with proto icmp; did you mean 'icmp6'?");
	if (p->family == 4 && proto == IPPROTO_ICMPV6)
		return flow_words_wrong(w, "IPv4 with proto icmp6; did you mean 'icmp'?");
	if (p->frag == FLOW_FRAG_LATER && (pp->given.ports || icmp || p->tcp_mask))
		return flow_words_wrong(w, "frag later with ports, icmp-type, icmp-code or flags; "
					   "only the first fragment has them");
	return 0;
}

/* Conditions up to the action. */
static int parse_words(struct flow_policy_parse *pp)
{
	uint32_t seen = 0;
	const char *word;

	while ((word = flow_words_next(&pp->w))) {
		const struct flow_word_of *cond = find(flow_cond_words, word), *action;
		int err;

		if (cond) {
			uint32_t bit = 1U << (cond - flow_cond_words);

			if (seen & bit)
				return flow_words_wrong(&pp->w, "'%s' twice; allowed: once", word);
			seen |= bit;
			err = cond->parse(pp);
			if (err)
				return err;
			continue;
		}
		action = find(flow_action_words, word);
		if (!action)
			return unknown(pp, word);
		err = action->parse(pp);
		word = err ? NULL : flow_words_next(&pp->w);
		if (word)
			return flow_words_wrong(&pp->w,
						"'%.40s' behind the action; allowed: nothing, "
						"conditions come before it",
						word);
		return err;
	}
	return flow_words_wrong(&pp->w, "no action; allowed: pass drop count mark sample limit "
					"redirect forward cpu");
}

int flow_policy_parse(struct flow_policy_parse *pp, const char *text)
{
	struct flow_policy *p = pp->p;
	const char *word;
	uint64_t prio;
	int err;

	memset(p, 0, sizeof(*p));
	memset(&pp->given, 0, sizeof(pp->given));
	p->sport.hi = p->dport.hi = UINT16_MAX;
	err = flow_words_cut(&pp->w, text);
	if (err)
		return err;
	word = flow_words_next(&pp->w);
	if (!word)
		return flow_words_wrong(&pp->w, "no policy; allowed: PRIO CONDITION... ACTION");
	if (!flow_number(word, FLOW_PRIO_MAX, &prio))
		return flow_words_wrong(&pp->w,
					"'%.40s' is no priority; a policy begins with one, 0 to %u",
					word, FLOW_PRIO_MAX);
	p->prio = (uint32_t)prio;
	err = parse_words(pp);
	return err ?: check(pp);
}

int flow_parse_policy(const char *text, const struct flow_set *set, struct flow_policy *p,
		      char *why, size_t size)
{
	struct flow_policy_parse pp = { .set = set, .p = p };
	int err = flow_policy_parse(&pp, text);

	if (err)
		snprintf(why, size, "%s", pp.w.why);
	return err;
}
