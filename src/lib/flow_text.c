// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_text.c - policies as text, each in one form only. */
#include <arpa/inet.h>
#include "../util.h"
#include "flow_text.h"
#include "flow_words.h"

/* ---- conditions ---- */

static void put_addr(FILE *f, const struct flow_set *set, const struct flow_policy *p,
		     const char *what, const struct flow_addr *a)
{
	char text[INET6_ADDRSTRLEN];

	if (!a->is_list && !a->len)
		return;
	fprintf(f, " %s%s", what, a->negate ? " not" : "");
	if (a->is_list) {
		fprintf(f, " @%s", set->list[a->list].name);
		return;
	}
	inet_ntop(p->family == 6 ? AF_INET6 : AF_INET, a->addr, text, sizeof(text));
	fprintf(f, " %s", text);
	if (a->len != (p->family == 6 ? 128 : 32))
		fprintf(f, "/%u", a->len);
}

static void put_proto(FILE *f, uint8_t number)
{
	for (size_t i = 0; i < FLOW_PROTOS; i++) {
		if (flow_protos[i].number != number)
			continue;
		fprintf(f, " proto %s", flow_protos[i].name);
		return;
	}
	fprintf(f, " proto %u", number);
}

static void put_ports(FILE *f, const char *what, const struct flow_ports *p)
{
	if (p->lo == p->hi)
		fprintf(f, " %s %u", what, p->lo);
	else if (p->lo || p->hi != UINT16_MAX)
		fprintf(f, " %s %u-%u", what, p->lo, p->hi);
}

static void put_flags(FILE *f, uint8_t flags, uint8_t mask)
{
	const char *before = " flags ";

	for (int i = 0; i < 8; i++) {
		if (!(mask >> i & 1))
			continue;
		fprintf(f, "%s%s%s", before, flags >> i & 1 ? "" : "!", flow_flag_names[i]);
		before = ",";
	}
}

static void put_conditions(FILE *f, const struct flow_set *set, const struct flow_policy *p)
{
	if (p->in[0])
		fprintf(f, " in %s", p->in);
	if (p->family)
		fputs(p->family == 6 ? " ip6" : " ip", f);
	put_addr(f, set, p, "src", &p->src);
	put_addr(f, set, p, "dst", &p->dst);
	if (p->has_proto)
		put_proto(f, p->proto);
	put_ports(f, "sport", &p->sport);
	put_ports(f, "dport", &p->dport);
	if (p->has_icmp_type)
		fprintf(f, " icmp-type %u", p->icmp_type);
	if (p->has_icmp_code)
		fprintf(f, " icmp-code %u", p->icmp_code);
	if (p->frag)
		fprintf(f, " frag %s", flow_frag_names[p->frag]);
	if (p->vlan == FLOW_VLAN_ID)
		fprintf(f, " vlan %u", p->vlan_id);
	else if (p->vlan)
		fprintf(f, " vlan %s", p->vlan == FLOW_VLAN_NONE ? "none" : "any");
	put_flags(f, p->tcp_flags, p->tcp_mask);
}

/* ---- actions ---- */

/* The largest unit that leaves no fraction. */
static void put_scaled(FILE *f, uint64_t v, const char *unit)
{
	static const char prefix[] = "TGMk";
	uint64_t of = 1000000000000;

	for (const char *c = prefix; *c; c++, of /= 1000) {
		if (v % of)
			continue;
		fprintf(f, " %llu%c%s", (unsigned long long)(v / of), *c, unit);
		return;
	}
	fprintf(f, " %llu%s", (unsigned long long)v, unit);
}

static void put_limit(FILE *f, const struct flow_policy *p)
{
	static const char *const units[] = { "K", "M", "G" };
	uint64_t burst = p->burst;
	const char *unit = "";

	fputs(" limit", f);
	if (p->rate_is_packets)
		put_scaled(f, p->rate, "pps");
	else if (p->rate % 125)
		put_scaled(f, p->rate, "B/s");
	else
		put_scaled(f, p->rate * 8, "bit");
	for (int i = 0; !p->rate_is_packets && burst && burst % 1024 == 0 && i < 3; i++) {
		burst /= 1024;
		unit = units[i];
	}
	if (burst)
		fprintf(f, " burst %llu%s", (unsigned long long)burst, unit);
	if (p->per_flow)
		fputs(" per-flow", f);
}

static void put_action(FILE *f, const struct flow_policy *p)
{
	switch ((enum flow_action)p->action) {
	case FLOW_PASS:
		fputs(" pass", f);
		break;
	case FLOW_DROP:
		fputs(" drop", f);
		break;
	case FLOW_COUNT:
		fputs(" count", f);
		break;
	case FLOW_MARK:
		fprintf(f, " mark %u", p->mark);
		break;
	case FLOW_SAMPLE:
		fprintf(f, " sample 1/%u", p->one_in);
		break;
	case FLOW_LIMIT:
		put_limit(f, p);
		break;
	case FLOW_REDIRECT:
		fprintf(f, " redirect %s", p->out);
		break;
	case FLOW_FORWARD:
		fputs(" forward", f);
		break;
	case FLOW_CPU:
		fprintf(f, " cpu %u", p->cpu);
		break;
	case FLOW_ACTIONS:
		break;
	}
}

/* ---- from outside ---- */

void flow_text_head(FILE *f, const struct flow_set *set)
{
	for (size_t i = 0; i < set->lists; i++) {
		const char *path = set->list[i].path;
		const char *quote = strpbrk(path, " \t\r#") ? "\"" : "";

		fprintf(f, "list %s %s%s%s\n", set->list[i].name, quote, path, quote);
	}
	fprintf(f, "default %s\n", set->default_action == FLOW_DROP ? "drop" : "pass");
}

void flow_text_policy(FILE *f, const struct flow_set *set, const struct flow_policy *p)
{
	fprintf(f, "%u", p->prio);
	if (p->name[0])
		fprintf(f, " name %s", p->name);
	put_conditions(f, set, p);
	put_action(f, p);
}
