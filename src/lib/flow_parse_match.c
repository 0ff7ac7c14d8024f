// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_parse_match.c - conditions of a policy. */
#include <errno.h>
#include <strings.h>
#include "flow_parse_part.h"
#include "flow_words.h"
#include "suggest.h"

/* ---- names ---- */

static int parse_name(struct flow_policy_parse *pp)
{
	const char *word = flow_words_want(&pp->w, "name", "a name");

	if (!word)
		return -EINVAL;
	if (!flow_name_ok(word))
		return flow_words_wrong(&pp->w,
					"'%.40s' is no name; allowed: a letter, then up to %d of "
					"letters, digits and . _ -",
					word, FLOW_NAME - 2);
	strcpy(pp->p->name, word);
	return 0;
}

/* As the kernel has it, and as it can be written. */
static bool interface_ok(const char *name)
{
	size_t n = strlen(name);

	if (!n || n >= FLOW_IFNAME || streq(name, ".") || streq(name, ".."))
		return false;
	for (; *name; name++)
		if ((unsigned char)*name <= ' ' || *name == 127 || strchr("/:\"#", *name))
			return false;
	return true;
}

static int interface(struct flow_policy_parse *pp, const char *what, char *to)
{
	const char *word = flow_words_want(&pp->w, what, "the name of an interface");

	if (!word)
		return -EINVAL;
	if (!interface_ok(word))
		return flow_words_wrong(&pp->w,
					"'%.40s' is no interface; allowed: up to %d characters, "
					"none of them a blank, / : \" #",
					word, FLOW_IFNAME - 1);
	strcpy(to, word);
	return 0;
}

static int parse_in(struct flow_policy_parse *pp)
{
	return interface(pp, "in", pp->p->in);
}

int flow_redirect_parse(struct flow_policy_parse *pp)
{
	pp->p->action = FLOW_REDIRECT;
	return interface(pp, "redirect", pp->p->out);
}

/* ---- addresses ---- */

static int family(struct flow_policy_parse *pp, const char *word, uint8_t family)
{
	if (pp->given.family)
		return flow_words_wrong(&pp->w, "'%s' behind '%s'; allowed: one of them", word,
					pp->p->family == 4 ? "ip" : "ip6");
	if (pp->p->family && pp->p->family != family)
		return flow_words_wrong(&pp->w, "'%s' and an address of IPv%u; nothing is both",
					word, pp->p->family);
	pp->p->family = family;
	pp->given.family = true;
	return 0;
}

static int parse_ip(struct flow_policy_parse *pp)
{
	return family(pp, "ip", 4);
}

static int parse_ip6(struct flow_policy_parse *pp)
{
	return family(pp, "ip6", 6);
}

static int list(struct flow_policy_parse *pp, const char *name, struct flow_addr *addr)
{
	const char *names[FLOW_LISTS], *near;

	for (size_t i = 0; i < pp->set->lists; i++) {
		names[i] = pp->set->list[i].name;
		if (!streq(name, names[i]))
			continue;
		addr->is_list = true;
		addr->list = (uint8_t)i;
		return 0;
	}
	near = suggest(name, names, pp->set->lists);
	if (near)
		return flow_words_wrong(&pp->w, "no list '%.40s'; did you mean '@%s'?", name, near);
	return flow_words_wrong(
		&pp->w, "no list '%.40s'; allowed: lists of a line 'list NAME FILE' above", name);
}

static int address(struct flow_policy_parse *pp, const char *what, struct flow_addr *addr)
{
	static const char allowed[] = "[not] PREFIX or [not] @LIST";
	struct flow_policy *p = pp->p;
	struct flow_prefix prefix;
	char why[FLOW_WHY];
	const char *word;

	addr->negate = flow_words_is(&pp->w, "not");
	word = flow_words_want(&pp->w, addr->negate ? "not" : what, allowed);
	if (!word)
		return -EINVAL;
	if (*word == '@')
		return list(pp, word + 1, addr);
	if (flow_prefix_parse(word, &prefix, why, sizeof(why)))
		return flow_words_wrong(&pp->w, "%s '%.60s' %s", what, word, why);
	if (p->family && p->family != prefix.family)
		return flow_words_wrong(&pp->w,
					"%s '%s' is of IPv%u, and what is before it of IPv%u; "
					"nothing is both",
					what, word, prefix.family, p->family);
	if (addr->negate && !prefix.len)
		return flow_words_wrong(&pp->w, "%s not '%s' matches nothing; leave the policy out",
					what, word);
	p->family = prefix.family;
	memcpy(addr->addr, prefix.addr, sizeof(addr->addr));
	addr->len = prefix.len;
	return 0;
}

static int parse_src(struct flow_policy_parse *pp)
{
	return address(pp, "src", &pp->p->src);
}

static int parse_dst(struct flow_policy_parse *pp)
{
	return address(pp, "dst", &pp->p->dst);
}

/* ---- protocol, ports, types ---- */

static int parse_proto(struct flow_policy_parse *pp)
{
	static const char allowed[] = "tcp, udp, icmp, icmp6, sctp, gre, ... or 0 to 255";
	const char *word = flow_words_want(&pp->w, "proto", allowed), *near;

	if (!word)
		return -EINVAL;
	pp->p->has_proto = true;
	if (flow_proto_parse(word, &pp->p->proto, &near))
		return 0;
	if (near)
		return flow_words_wrong(&pp->w, "no protocol '%.40s'; did you mean '%s'?", word,
					near);
	return flow_words_wrong(&pp->w, "no protocol '%.40s'; allowed: %s", word, allowed);
}

static int ports(struct flow_policy_parse *pp, const char *what, struct flow_ports *ports)
{
	static const char allowed[] = "N or N-M, 0 to 65535";
	const char *word = flow_words_want(&pp->w, what, allowed), *dash;
	char lo_text[16];
	uint64_t lo, hi;
	size_t n;

	if (!word)
		return -EINVAL;
	dash = strchr(word, '-');
	n = dash ? (size_t)(dash - word) : strlen(word);
	snprintf(lo_text, sizeof(lo_text), "%.*s", n < sizeof(lo_text) ? (int)n : 0, word);
	if (!flow_number(lo_text, 65535, &lo) ||
	    !flow_number(dash ? dash + 1 : lo_text, 65535, &hi))
		return flow_words_wrong(&pp->w, "%s '%.40s' is no port; allowed: %s", what, word,
					allowed);
	if (lo > hi)
		return flow_words_wrong(&pp->w, "%s '%s' is empty; did you mean %llu-%llu?", what,
					word, (unsigned long long)hi, (unsigned long long)lo);
	*ports = (struct flow_ports){ (uint16_t)lo, (uint16_t)hi };
	pp->given.ports = true;
	return 0;
}

static int parse_sport(struct flow_policy_parse *pp)
{
	return ports(pp, "sport", &pp->p->sport);
}

static int parse_dport(struct flow_policy_parse *pp)
{
	return ports(pp, "dport", &pp->p->dport);
}

static int byte(struct flow_policy_parse *pp, const char *what, uint8_t *to)
{
	const char *word = flow_words_want(&pp->w, what, "0 to 255");
	uint64_t v;

	if (!word)
		return -EINVAL;
	if (!flow_number(word, 255, &v))
		return flow_words_wrong(&pp->w, "bad %s '%.40s'; allowed: 0 to 255", what, word);
	*to = (uint8_t)v;
	return 0;
}

static int parse_icmp_type(struct flow_policy_parse *pp)
{
	pp->p->has_icmp_type = true;
	return byte(pp, "icmp-type", &pp->p->icmp_type);
}

static int parse_icmp_code(struct flow_policy_parse *pp)
{
	pp->p->has_icmp_code = true;
	return byte(pp, "icmp-code", &pp->p->icmp_code);
}

/* ---- fragments, VLANs, flags ---- */

static int parse_frag(struct flow_policy_parse *pp)
{
	static const char allowed[] = "no, yes, first, later";
	const char *word = flow_words_want(&pp->w, "frag", allowed);

	if (!word)
		return -EINVAL;
	for (int i = FLOW_FRAG_NO; i <= FLOW_FRAG_LATER; i++) {
		if (!streq(word, flow_frag_names[i]))
			continue;
		pp->p->frag = (uint8_t)i;
		return 0;
	}
	return flow_words_wrong(&pp->w, "bad frag '%.40s'; allowed: %s", word, allowed);
}

static int parse_vlan(struct flow_policy_parse *pp)
{
	static const char allowed[] = "none, any, 0 to 4095";
	const char *word = flow_words_want(&pp->w, "vlan", allowed);
	uint64_t id = 0;

	if (!word)
		return -EINVAL;
	if (streq(word, "none"))
		pp->p->vlan = FLOW_VLAN_NONE;
	else if (streq(word, "any"))
		pp->p->vlan = FLOW_VLAN_SOME;
	else if (flow_number(word, 4095, &id))
		pp->p->vlan = FLOW_VLAN_ID;
	else
		return flow_words_wrong(&pp->w, "bad vlan '%.40s'; allowed: %s", word, allowed);
	pp->p->vlan_id = (uint16_t)id;
	return 0;
}

/* One of `SYN,!ACK`. */
static int one_flag(struct flow_policy_parse *pp, const char *text, size_t n)
{
	bool off = n && *text == '!';
	char name[16];

	text += off;
	n -= off;
	snprintf(name, sizeof(name), "%.*s", n < sizeof(name) ? (int)n : 0, text);
	for (int i = 0; i < 8; i++) {
		uint8_t bit = (uint8_t)(1 << i);

		if (strcasecmp(name, flow_flag_names[i]))
			continue;
		if (pp->p->tcp_mask & bit)
			return flow_words_wrong(&pp->w, "flag %s twice; allowed: once",
						flow_flag_names[i]);
		pp->p->tcp_mask |= bit;
		pp->p->tcp_flags |= off ? 0 : bit;
		return 0;
	}
	return flow_words_wrong(&pp->w,
				"no TCP flag '%.*s'; allowed: FIN SYN RST PSH ACK URG ECE CWR, "
				"with ! if it is not set, and commas between",
				n < 40 ? (int)n : 40, text);
}

static int parse_flags(struct flow_policy_parse *pp)
{
	const char *word = flow_words_want(&pp->w, "flags", "SYN,!ACK or the like");

	while (word) {
		size_t n = strcspn(word, ",");
		int err = one_flag(pp, word, n);

		if (err)
			return err;
		if (!word[n])
			return 0;
		word += n + 1;
	}
	return -EINVAL;
}

const struct flow_word_of flow_cond_words[] = {
	{ "name", parse_name },
	{ "in", parse_in },
	{ "ip", parse_ip },
	{ "ip6", parse_ip6 },
	{ "src", parse_src },
	{ "dst", parse_dst },
	{ "proto", parse_proto },
	{ "sport", parse_sport },
	{ "dport", parse_dport },
	{ "icmp-type", parse_icmp_type },
	{ "icmp-code", parse_icmp_code },
	{ "frag", parse_frag },
	{ "vlan", parse_vlan },
	{ "flags", parse_flags },
	{ NULL, NULL },
};
