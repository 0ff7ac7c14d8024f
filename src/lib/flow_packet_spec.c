// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_packet_spec.c - a packet in words. */
#include <errno.h>
#include <netinet/in.h>
#include <strings.h>
#include "flow_packet.h"
#include "flow_parse_part.h"
#include "flow_words.h"
#include "suggest.h"

struct spec {
	struct flow_words w;
	struct flow_packet *p;
	bool has_proto, ports, icmp, flags;
	uint32_t seen; /* words, by their places in the table */
};

static int number(struct spec *s, const char *what, uint64_t max, uint64_t *v)
{
	char allowed[48];
	const char *word;

	snprintf(allowed, sizeof(allowed), "0 to %llu", (unsigned long long)max);
	word = flow_words_want(&s->w, what, allowed);
	if (!word)
		return -EINVAL;
	if (flow_number(word, max, v))
		return 0;
	return flow_words_wrong(&s->w, "bad %s '%.40s'; allowed of a packet: %s", what, word,
				allowed);
}

static int set_family(struct spec *s, const char *word, uint8_t family)
{
	struct flow_header *h = &s->p->h;

	if (h->family && h->family != family)
		return flow_words_wrong(&s->w,
					"'%.60s' is of IPv%u, and what is before it of IPv%u", word,
					family, h->family);
	h->family = family;
	return 0;
}

static int spec_ip(struct spec *s)
{
	return set_family(s, "ip", 4);
}

static int spec_ip6(struct spec *s)
{
	return set_family(s, "ip6", 6);
}

static int address(struct spec *s, const char *what, uint8_t *addr)
{
	const char *word = flow_words_want(&s->w, what, "an address");
	struct flow_prefix prefix;
	char why[FLOW_WHY - 96];

	if (!word)
		return -EINVAL;
	if (flow_prefix_parse(word, &prefix, why, sizeof(why)))
		return flow_words_wrong(&s->w, "%s '%.60s' %s", what, word, why);
	if (prefix.len != (prefix.family == 4 ? 32 : 128))
		return flow_words_wrong(&s->w,
					"%s '%.60s' is many addresses; allowed of a packet: one",
					what, word);
	memcpy(addr, prefix.addr, 16);
	return set_family(s, word, prefix.family);
}

static int spec_src(struct spec *s)
{
	return address(s, "src", s->p->h.saddr);
}

static int spec_dst(struct spec *s)
{
	return address(s, "dst", s->p->h.daddr);
}

static int spec_proto(struct spec *s)
{
	static const char allowed[] = "tcp, udp, icmp, icmp6, sctp, gre, ... or 0 to 255";
	const char *word = flow_words_want(&s->w, "proto", allowed), *near;

	if (!word)
		return -EINVAL;
	s->has_proto = true;
	if (flow_proto_parse(word, &s->p->h.proto, &near))
		return 0;
	return flow_words_wrong(&s->w,
				near ? "no protocol '%.40s'; did you mean '%s'?"
				     : "no protocol '%.40s'; allowed: %s",
				word, near ? near : allowed);
}

static int port(struct spec *s, const char *what, uint16_t *to)
{
	uint64_t v = 0;
	int err = number(s, what, 65535, &v);

	*to = (uint16_t)v;
	s->ports = true;
	return err;
}

static int spec_sport(struct spec *s)
{
	return port(s, "sport", &s->p->h.sport);
}

static int spec_dport(struct spec *s)
{
	return port(s, "dport", &s->p->h.dport);
}

static int icmp(struct spec *s, const char *what, uint8_t *to)
{
	uint64_t v = 0;
	int err = number(s, what, 255, &v);

	*to = (uint8_t)v;
	s->icmp = true;
	return err;
}

static int spec_icmp_type(struct spec *s)
{
	return icmp(s, "icmp-type", &s->p->h.icmp_type);
}

static int spec_icmp_code(struct spec *s)
{
	return icmp(s, "icmp-code", &s->p->h.icmp_code);
}

static int spec_frag(struct spec *s)
{
	static const char allowed[] = "no, first, later";
	const char *word = flow_words_want(&s->w, "frag", allowed);

	if (!word)
		return -EINVAL;
	for (int i = FLOW_FRAG_NO; i <= FLOW_FRAG_LATER; i++) {
		if (i == FLOW_FRAG_YES || !streq(word, flow_frag_names[i]))
			continue;
		s->p->h.frag = (uint8_t)i;
		return 0;
	}
	return flow_words_wrong(&s->w, "bad frag '%.40s'; allowed of a packet: %s", word, allowed);
}

/* "5", "100.5", "none". */
static int spec_vlan(struct spec *s)
{
	static const char allowed[] = "none, ID, ID.ID, 0 to 4095";
	const char *word = flow_words_want(&s->w, "vlan", allowed), *dot;
	uint64_t outer, inner = 0;
	char text[16];

	if (!word)
		return -EINVAL;
	if (streq(word, "none"))
		return 0;
	dot = strchr(word, '.');
	snprintf(text, sizeof(text), "%.*s", dot && dot - word < 15 ? (int)(dot - word) : 15, word);
	if (!flow_number(text, 4095, &outer) || (dot && !flow_number(dot + 1, 4095, &inner)))
		return flow_words_wrong(&s->w, "bad vlan '%.40s'; allowed of a packet: %s", word,
					allowed);
	s->p->h.tagged = true;
	s->p->h.vlan_id = (uint16_t)outer;
	s->p->qinq = dot;
	s->p->inner_id = (uint16_t)inner;
	return 0;
}

static int flag(struct spec *s, const char *text, size_t n)
{
	for (int i = 0; i < 8; i++) {
		if (strlen(flow_flag_names[i]) != n || strncasecmp(text, flow_flag_names[i], n))
			continue;
		s->p->h.tcp_flags |= (uint8_t)(1 << i);
		return 0;
	}
	return flow_words_wrong(&s->w,
				"no TCP flag '%.*s'; allowed of a packet: FIN SYN RST PSH ACK URG "
				"ECE CWR, with commas between",
				n < 40 ? (int)n : 40, text);
}

static int spec_flags(struct spec *s)
{
	const char *word = flow_words_want(&s->w, "flags", "SYN,ACK or the like");
	int err = word ? 0 : -EINVAL;

	s->flags = true;
	while (!err) {
		size_t n = strcspn(word, ",");

		err = flag(s, word, n);
		if (!word[n])
			break;
		word += n + 1;
	}
	return err;
}

static int spec_ethertype(struct spec *s)
{
	uint64_t v = 0;
	int err = number(s, "ethertype", 65535, &v);

	s->p->ethertype = (uint16_t)v;
	return err;
}

static int spec_len(struct spec *s)
{
	uint64_t v = 0;
	int err = number(s, "len", FLOW_PACKET_MAX, &v);

	s->p->h.len = (uint32_t)v;
	return err;
}

static int spec_in(struct spec *s)
{
	const char *word = flow_words_want(&s->w, "in", "the name of an interface");

	if (!word)
		return -EINVAL;
	if (strlen(word) >= FLOW_IFNAME)
		return flow_words_wrong(&s->w,
					"'%.40s' is no interface; allowed: up to %d "
					"characters",
					word, FLOW_IFNAME - 1);
	strcpy(s->p->in, word);
	return 0;
}

static const struct {
	const char *name;
	int (*parse)(struct spec *s);
} spec_words[] = {
	{ "ip", spec_ip },
	{ "ip6", spec_ip6 },
	{ "src", spec_src },
	{ "dst", spec_dst },
	{ "proto", spec_proto },
	{ "sport", spec_sport },
	{ "dport", spec_dport },
	{ "icmp-type", spec_icmp_type },
	{ "icmp-code", spec_icmp_code },
	{ "frag", spec_frag },
	{ "vlan", spec_vlan },
	{ "flags", spec_flags },
	{ "in", spec_in },
	{ "ethertype", spec_ethertype },
	{ "len", spec_len },
};

static int one_word(struct spec *s, const char *word)
{
	const char *names[ARRAY_LEN(spec_words)], *near;

	for (size_t i = 0; i < ARRAY_LEN(spec_words); i++) {
		names[i] = spec_words[i].name;
		if (!streq(word, names[i]))
			continue;
		if (s->seen >> i & 1)
			return flow_words_wrong(&s->w, "'%s' twice; allowed: once", word);
		s->seen |= 1U << i;
		return spec_words[i].parse(s);
	}
	near = suggest(word, names, ARRAY_LEN(names));
	if (near)
		return flow_words_wrong(&s->w, "unknown word '%.40s'; did you mean '%s'?", word,
					near);
	return flow_words_wrong(&s->w,
				"unknown word '%.40s'; allowed: ip ip6 src dst proto sport dport "
				"icmp-type icmp-code frag vlan flags in ethertype len",
				word);
}

/* What was said makes one packet: its protocol and what that has. */
static int complete(struct spec *s)
{
	struct flow_header *h = &s->p->h;
	bool of_ip = s->has_proto || s->ports || s->icmp || s->flags || h->frag, later;
	uint8_t icmp = h->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;

	if (!h->family)
		return !of_ip ? 0 : flow_words_wrong(&s->w, "IPv4 or IPv6? allowed: ip, ip6, src");
	if (s->p->ethertype)
		return flow_words_wrong(&s->w, "ethertype and IP; allowed: one of them");
	if (!s->has_proto)
		h->proto = s->flags ? IPPROTO_TCP : s->icmp ? icmp : IPPROTO_UDP;
	if (h->family == 6 && flow_packet_is_extension(h->proto))
		return flow_words_wrong(&s->w,
					"protocol %u is a header in between; allowed: what "
					"follows it",
					h->proto);
	if (!h->frag)
		h->frag = FLOW_FRAG_NO;
	later = h->frag == FLOW_FRAG_LATER;
	h->has_tcp = !later && h->proto == IPPROTO_TCP;
	h->has_icmp = !later && h->proto == icmp;
	h->has_ports = !later && (h->proto == IPPROTO_TCP || h->proto == IPPROTO_UDP ||
				  h->proto == IPPROTO_UDPLITE || h->proto == IPPROTO_SCTP ||
				  h->proto == IPPROTO_DCCP);
	if ((s->ports && !h->has_ports) || (s->icmp && !h->has_icmp) || (s->flags && !h->has_tcp))
		return flow_words_wrong(&s->w, "%s has no %s; allowed: what such a packet has",
					later ? "a later fragment" : "the protocol",
					s->ports && !h->has_ports ? "ports"
					: s->icmp && !h->has_icmp ? "icmp-type and icmp-code"
								  : "flags");
	return 0;
}

int flow_packet_spec(const char *text, struct flow_packet *p, char *why, size_t size)
{
	struct spec s = { .p = p };
	int err = flow_words_cut(&s.w, text);
	const char *word;

	memset(p, 0, sizeof(*p));
	while (!err && (word = flow_words_next(&s.w)))
		err = one_word(&s, word);
	err = err ?: complete(&s);
	if (err)
		snprintf(why, size, "%s", s.w.why);
	return err;
}
