// SPDX-License-Identifier: GPL-2.0
/* flow_rules.c - the same rules in the words of flow and its peers. */
#include "flow_bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- plain: a prefix and a range of ports each; the last one is what packets meet ---- */

struct plain {
	__u32 net;
	unsigned int len, lo, hi;
};

static struct plain plain_at(const struct fb_text *t, __u32 i)
{
	if (i + 1 == t->rules)
		return (struct plain){ FB_SADDR, 16, FB_DPORT, FB_DPORT + 999 };
	i += t->shift;
	return (struct plain){ (11u << 24) + (i << 8), 24, 1000 + i * 37 % 50000,
			       1100 + i * 37 % 50000 };
}

static const char *dotted(__u32 addr)
{
	struct in_addr in = { htonl(addr) };

	return inet_ntoa(in);
}

static void write_plain(FILE *f, const struct fb_text *t, __u32 i)
{
	struct plain r = plain_at(t, i);
	bool last = i + 1 == t->rules;

	switch (t->form) {
	case FB_POLICIES:
		fprintf(f, "%u ip src %s/%u proto udp dport %u-%u %s\n", i + 1, dotted(r.net),
			r.len, r.lo, r.hi, last && t->action ? t->action : "drop");
		break;
	case FB_NFT_FLAT:
		fprintf(f, "ip saddr %s/%u udp dport %u-%u drop\n", dotted(r.net), r.len, r.lo,
			r.hi);
		break;
	case FB_NFT_HASH:
		fprintf(f, "%s%s . %u", i ? "," : "", dotted(r.net), r.lo);
		break;
	case FB_NFT_RANGES:
		fprintf(f, "%s%s/%u . %u-%u", i ? "," : "", dotted(r.net), r.len, r.lo, r.hi);
		break;
	case FB_IPTABLES:
		fprintf(f, "-A %s -s %s/%u -p udp -m udp --dport %u:%u -j DROP\n", t->dev,
			dotted(r.net), r.len, r.lo, r.hi);
	}
}

static void write_head(FILE *f, const struct fb_text *t)
{
	if (t->form == FB_IPTABLES)
		fprintf(f, "*raw\n:%s - [0:0]\n-A PREROUTING -i %s -j %s\n", t->dev, t->dev,
			t->dev);
	else if (t->form != FB_POLICIES)
		fprintf(f, "table netdev %s {\n", t->dev);
	if (t->form == FB_NFT_HASH)
		fprintf(f, "set s { type ipv4_addr . inet_service; elements = {");
	else if (t->form == FB_NFT_RANGES)
		fprintf(f, "set s { type ipv4_addr . inet_service; flags interval; elements = {");
	else if (t->form == FB_NFT_FLAT)
		fprintf(f, "chain c { type filter hook ingress device %s priority 0;\n", t->dev);
}

static void write_tail(FILE *f, const struct fb_text *t)
{
	if (t->form == FB_IPTABLES)
		fprintf(f, "COMMIT\n");
	else if (t->form == FB_NFT_FLAT)
		fprintf(f, "}\n}\n");
	else if (t->form != FB_POLICIES)
		fprintf(f,
			"} }\nchain c { type filter hook ingress device %s priority 0;\n"
			"ip saddr . udp dport @s drop\n}\n}\n",
			t->dev);
}

/*
 * ---- mixed: as access lists are: from anywhere or a network, to a network or a host, a port ----
 */

struct mixed {
	__u32 saddr, daddr;
	unsigned int slen, dlen, proto; /* 0: any */
	unsigned int sport, dlo, dhi;	/* 0: any */
};

static struct mixed mixed_at(__u32 i)
{
	static const unsigned char slen[] = { 0,  0,  0,  0,  0,  8,  16, 16,
					      20, 22, 24, 24, 28, 32, 32, 32 };
	static const unsigned char dlen[] = { 16, 20, 22, 24, 24, 24, 27, 28,
					      30, 32, 32, 32, 32, 32, 32, 32 };
	uint64_t seed = 0x9e3779b9u * (i + 1ull), r = sb_rand(&seed), q = sb_rand(&seed);
	struct mixed m = { .slen = slen[r & 15], .dlen = dlen[r >> 8 & 15] };

	/* Not for everybody to everywhere: a list has few of these. */
	if (m.slen < 16 && m.dlen < 24)
		m.dlen = 24;
	/* Networks of 64 sites, so that prefixes nest. */
	m.saddr = (10u << 24 | (__u32)(q & 0x3f) << 18 | (__u32)(q >> 8 & 0x3ffff));
	m.daddr = (172u << 24 | 1u << 20 | (__u32)(q >> 26 & 0xfffff));
	m.saddr &= m.slen ? ~0u << (32 - m.slen) : 0;
	m.daddr &= m.dlen ? ~0u << (32 - m.dlen) : 0;
	m.proto = r >> 16 & 3 ? (r >> 18 & 1 ? IPPROTO_TCP : IPPROTO_UDP) : 0;
	if (!m.proto)
		return m;
	switch (r >> 24 & 7) {
	case 0:
		m.sport = 1 + (q >> 46 & 1023);
		break;
	case 1:
	case 2:
		m.dlo = 1024;
		m.dhi = 65535;
		break;
	case 3:
		m.dlo = 1 + (q >> 46 & 0x3fff);
		m.dhi = m.dlo + (r >> 32 & 255);
		break;
	default:
		m.dlo = m.dhi = 1 + (q >> 46 & 1023);
	}
	return m;
}

static void write_mixed(FILE *f, __u32 i)
{
	struct mixed m = mixed_at(i);

	fprintf(f, "%u ip", i + 1);
	if (m.slen)
		fprintf(f, " src %s/%u", dotted(m.saddr), m.slen);
	if (m.dlen)
		fprintf(f, " dst %s/%u", dotted(m.daddr), m.dlen);
	if (m.proto)
		fprintf(f, " proto %s", m.proto == IPPROTO_TCP ? "tcp" : "udp");
	if (m.sport)
		fprintf(f, " sport %u", m.sport);
	if (m.dlo)
		fprintf(f, " dport %u-%u", m.dlo, m.dhi);
	fprintf(f, " %s\n", i % 3 ? "pass" : "drop");
}

void fb_heads(struct fg_head *head, __u32 rules)
{
	uint64_t seed = 42;

	for (__u32 i = 0; i < FG_HEADS; i++) {
		struct mixed m = mixed_at((__u32)(sb_rand(&seed) % rules));
		uint64_t r = sb_rand(&seed), q = sb_rand(&seed);
		__u32 s = m.slen ? (__u32)((r & 0xffffffff) >> m.slen) : (__u32)r;
		__u32 d = m.dlen ? (__u32)((r >> 32) >> m.dlen) : (__u32)(r >> 32);

		head[i] = (struct fg_head){ htonl(m.saddr | (m.slen < 32 ? s : 0)),
					    htonl(m.daddr | (m.dlen < 32 ? d : 0)),
					    htons(m.sport ?: (q & 0xffff)),
					    htons(m.dlo ? m.dlo + (q >> 16 & 0xffff) %
									  (m.dhi - m.dlo + 1)
							: q >> 16 & 0xffff),
					    (__u8)(m.proto ?: IPPROTO_UDP),
					    { 0 } };
	}
}

int fb_rules(const char *path, const struct fb_text *t)
{
	FILE *f = fopen(path, "we");
	bool bad;

	if (!f)
		return -errno;
	write_head(f, t);
	for (__u32 i = 0; i < t->rules; i++) {
		if (t->mixed)
			write_mixed(f, i);
		else
			write_plain(f, t, i);
	}
	write_tail(f, t);
	bad = ferror(f);
	return fclose(f) || bad ? -EIO : 0;
}
