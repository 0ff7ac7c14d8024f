// SPDX-License-Identifier: GPL-2.0
/* Which flows: conditions that must all hold. */
#include <arpa/inet.h>
#include <netdb.h>
#include "cmd_flow.h"
#include "lib/flow_words.h"

bool flow_prefix_take(const char *text, struct flow_prefix *p)
{
	const char *slash = strchr(text, '/');
	char addr[INET6_ADDRSTRLEN];
	uint64_t len;
	size_t n = slash ? (size_t)(slash - text) : strlen(text);

	memset(p, 0, sizeof(*p));
	if (n >= sizeof(addr))
		return false;
	memcpy(addr, text, n);
	addr[n] = 0;
	if (inet_pton(AF_INET, addr, p->addr) == 1)
		p->family = 4;
	else if (inet_pton(AF_INET6, addr, p->addr) == 1)
		p->family = 6;
	else
		return false;
	len = p->family == 4 ? 32 : 128;
	if (slash) {
		uint64_t most = len;

		if (!str_to_u64(slash + 1, &len) || len > most)
			return false;
	}
	p->len = (__u8)len;
	return true;
}

bool flow_in_prefix(const struct flow_prefix *p, const struct flow_flow *f, const __u8 *addr)
{
	int whole = p->len / 8, rest = p->len % 8;

	if (f->family != p->family || memcmp(addr, p->addr, (size_t)whole))
		return false;
	return !rest || !((addr[whole] ^ p->addr[whole]) >> (8 - rest));
}

__s64 flow_find_policy(const struct flow_inst *f, const char *text)
{
	char name[FLOW_NAME];
	uint64_t prio = 0;
	bool number = str_to_u64(text, &prio);

	for (__u32 i = 0; i < f->conf.policies; i++) {
		if (number ? f->line[i].prio != prio : !streq(flow_line_name(f, i, name), text))
			continue;
		if (flow_line_lives(f, i))
			return i;
	}
	return -1;
}

static int take_prefix(const struct cmd_args *args, const char *opt, bool *has,
		       struct flow_prefix *p)
{
	const char *text = args_str(args, opt, NULL);

	*has = text;
	if (!text || flow_prefix_take(text, p))
		return 0;
	return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = opt,
			      .next = "10.0.0.0/8, 192.0.2.1, 2001:db8::/32"),
		      "'%s' is no address and no prefix", text);
}

static int take_proto(struct flow_want *w, const char *text)
{
	const struct protoent *p;
	uint64_t n;

	w->has_proto = text;
	if (!text)
		return 0;
	if (str_to_u64(text, &n) && n < 256) {
		w->proto = (__u8)n;
		return 0;
	}
	for (size_t i = 0; i < FLOW_PROTOS; i++) {
		if (!streq(flow_protos[i].name, text))
			continue;
		w->proto = flow_protos[i].number;
		return 0;
	}
	p = getprotobyname(text);
	if (!p)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "proto",
				      .next = "tcp, udp, icmp, icmp6, sctp, or 0 to 255"),
			      "'%s' is no protocol", text);
	w->proto = (__u8)p->p_proto;
	return 0;
}

static int take_policy(struct flow_want *w, const char *text)
{
	__s64 at;

	w->has_slot = text;
	if (!text)
		return 0;
	if (streq(text, "default")) {
		w->slot = w->f->conf.default_slot;
		return 0;
	}
	at = flow_find_policy(w->f, text);
	if (at < 0)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = "policy",
				      .next = "kcmtool flow policy show IFACE"),
			      "there is no policy '%s'", text);
	w->slot = w->f->line[at].slot;
	return 0;
}

int flow_want_take(struct flow_want *w, const struct cmd_args *args, const struct flow_inst *f)
{
	const char *family = args_str(args, "family", NULL);
	uint64_t port = 0;
	int code;

	*w = (struct flow_want){ .f = f };
	code = take_prefix(args, "src", &w->has_src, &w->src);
	code = code ?: take_prefix(args, "dst", &w->has_dst, &w->dst);
	code = code ?: take_prefix(args, "host", &w->has_host, &w->host);
	code = code ?: take_proto(w, args_str(args, "proto", NULL));
	code = code ?: take_policy(w, args_str(args, "policy", NULL));
	code = code ?: args_u64(args, "port", 0, 65535, 0, &port);
	if (code)
		return code;
	w->has_port = args_str(args, "port", NULL);
	w->port = (__u16)port;
	w->stale = args_flag(args, "stale");
	if (family && !streq(family, "4") && !streq(family, "6"))
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "family", .next = "4 or 6"),
			      "'%s' is no family", family);
	w->family = family ? (__u8)(*family - '0') : 0;
	w->any = w->has_src || w->has_dst || w->has_host || w->has_proto || w->has_slot ||
		 w->has_port || w->stale || w->family;
	return 0;
}

bool flow_wanted(const struct flow_flow *flow, void *want)
{
	const struct flow_want *w = want;

	if (w->has_src && !flow_in_prefix(&w->src, flow, flow->saddr))
		return false;
	if (w->has_dst && !flow_in_prefix(&w->dst, flow, flow->daddr))
		return false;
	if (w->has_host && !flow_in_prefix(&w->host, flow, flow->saddr) &&
	    !flow_in_prefix(&w->host, flow, flow->daddr))
		return false;
	if (w->has_proto && (!flow->family || flow->proto != w->proto))
		return false;
	if (w->has_port &&
	    (!(flow->class & KCM_FL_C_PORTS) || (flow->sport != w->port && flow->dport != w->port)))
		return false;
	if (w->has_slot && (flow->slot != w->slot || !flow->current))
		return false;
	if (w->family && flow->family != w->family)
		return false;
	return !w->stale || !flow->current;
}
