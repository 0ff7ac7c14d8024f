// SPDX-License-Identifier: GPL-2.0
/* Rules of `sock limit`: from conditions, to text, and applied. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include "cmd_sock.h"
#include "cmd_sock_names.h"
#include "cmd_sock_rule.h"
#include "lib/sock_change.h"
#include "lib/sock_iter.h"
#include "lib/sock_sweep.h"

#define NEXT                                                                                       \
	"port, lport, rport, peer, laddr, cgroup, netns, pid, uid, role, proto, label KEY=VALUE, " \
	"or a cookie"

/* ---- from conditions ---- */

static int refuse(const struct sock_field *field, const char *why)
{
	return report(
		PROBLEM(.code = KCM_EXIT_USAGE, .where = field->name, .why = why, .next = NEXT),
		"cannot limit by that");
}

/* A match bit may be used once: a second condition on the same field would replace the first. */
static const char *take(struct kcm_sk_rule *r, __u32 bits)
{
	if (r->match & bits)
		return "it is given twice";
	r->match |= bits;
	return NULL;
}

static const char *take_lport(struct kcm_sk_rule *r, __u16 port)
{
	if (r->match & KCM_RULE_PORT)
		return "together with port it is not known to limits";
	r->lport = port;
	return take(r, KCM_RULE_LPORT);
}

static const char *take_rport(struct kcm_sk_rule *r, __u16 port)
{
	r->rport = port;
	return take(r, KCM_RULE_RPORT);
}

static const char *take_addr(struct kcm_sk_rule *r, const struct sock_value *v, bool remote)
{
	const char *why = take(r, remote ? KCM_RULE_RADDR : KCM_RULE_LADDR);

	if (why)
		return why;
	if (r->family && r->family != v->family)
		return "both addresses must be of one family";
	r->family = v->family;
	memcpy(remote ? r->raddr : r->laddr, v->addr, 16);
	*(remote ? &r->raddr_bits : &r->laddr_bits) = v->bits;
	if (!v->port)
		return NULL;
	return remote ? take_rport(r, v->port) : take_lport(r, v->port);
}

static const char *take_label(struct kcm_sk_rule *r, const struct sock_value *v)
{
	if (strpbrk(v->value, "*?["))
		return "a limit knows no wildcards";
	if (strlen(v->text) >= KCM_SK_KEY || strlen(v->value) >= KCM_SK_VALUE)
		return "no socket can have such a label";
	memcpy(r->label.key, v->text, strlen(v->text));
	memcpy(r->label.value, v->value, strlen(v->value));
	return take(r, KCM_RULE_LABEL);
}

static const char *take_term(struct kcm_sk_rule *r, enum sock_field_id id,
			     const struct sock_value *v)
{
	switch (id) {
	case SOCK_F_COOKIE:
		r->cookie = v->num;
		return take(r, KCM_RULE_COOKIE);
	case SOCK_F_PORT:
		if (r->match & KCM_RULE_LPORT)
			return "together with lport it is not known to limits";
		r->lport = (__u16)v->num;
		return take(r, KCM_RULE_PORT);
	case SOCK_F_LPORT:
		return take_lport(r, (__u16)v->num);
	case SOCK_F_RPORT:
		return take_rport(r, (__u16)v->num);
	case SOCK_F_LADDR:
		return take_addr(r, v, false);
	case SOCK_F_RADDR:
		return take_addr(r, v, true);
	case SOCK_F_CGROUP:
		r->cgroup_id = v->num;
		return take(r, KCM_RULE_CGROUP);
	case SOCK_F_NETNS:
		r->netns_cookie = v->num;
		return take(r, KCM_RULE_NETNS);
	case SOCK_F_PID:
		r->pid = (__u32)v->num;
		return take(r, KCM_RULE_PID);
	case SOCK_F_UID:
		r->uid = (__u32)v->num;
		return take(r, KCM_RULE_UID);
	case SOCK_F_ROLE:
		r->role = (enum kcm_sk_role)v->num;
		return v->num == KCM_ROLE_LISTENER ? "listeners send nothing"
						   : take(r, KCM_RULE_ROLE);
	case SOCK_F_PROTO:
		r->proto = (__u32)v->num;
		return take(r, KCM_RULE_PROTO);
	case SOCK_F_LABEL:
		return take_label(r, v);
	default:
		return "it changes while a connection lives, or limits do not know it";
	}
}

int sock_rule_from(struct kcm_sk_rule *rule, const struct sock_filter *f)
{
	memset(rule, 0, sizeof(*rule));
	for (unsigned int i = 0; i < f->n; i++) {
		const struct sock_term *t = &f->term[i];
		const char *why;

		if (t->negate || t->op != SOCK_EQ)
			return refuse(t->field,
				      "only what is equal, not what is less, more or not");
		if (t->n != 1)
			return refuse(t->field, "one value; give a rule for each");
		why = take_term(rule, t->field->id, &t->value[0]);
		if (why)
			return refuse(t->field, why);
	}
	return 0;
}

bool sock_rule_same(const struct kcm_sk_rule *a, const struct kcm_sk_rule *b)
{
	return a->match == b->match && a->cookie == b->cookie && a->cgroup_id == b->cgroup_id &&
	       a->pid == b->pid && a->lport == b->lport && a->rport == b->rport &&
	       a->family == b->family && a->raddr_bits == b->raddr_bits &&
	       a->laddr_bits == b->laddr_bits && a->proto == b->proto && a->uid == b->uid &&
	       a->role == b->role && a->netns_cookie == b->netns_cookie &&
	       !memcmp(a->raddr, b->raddr, 16) && !memcmp(a->laddr, b->laddr, 16) &&
	       !memcmp(&a->label, &b->label, sizeof(a->label));
}

/* ---- to text ---- */

_printf_(2, 3) static void add(char text[SOCK_RULE_TEXT], const char *format, ...)
{
	size_t n = strlen(text);
	va_list ap;

	if (n && n < SOCK_RULE_TEXT - 1)
		text[n++] = ' ';
	va_start(ap, format);
	vsnprintf(text + n, SOCK_RULE_TEXT - n, format, ap);
	va_end(ap);
}

static void add_addr(char text[SOCK_RULE_TEXT], const char *name, __u16 family, const __u8 *addr,
		     unsigned int bits)
{
	char ip[INET6_ADDRSTRLEN] = "?";

	inet_ntop(family, addr, ip, sizeof(ip));
	if (bits == (family == AF_INET ? 32 : 128))
		add(text, "%s %s", name, ip);
	else
		add(text, "%s %s/%u", name, ip, bits);
}

static void add_names(const struct kcm_sk_rule *r, char text[SOCK_RULE_TEXT])
{
	const char *name;

	if (r->match & KCM_RULE_CGROUP) {
		name = sock_cgroup_path(r->cgroup_id);
		if (name)
			add(text, "cgroup %s", name);
		else
			add(text, "cgroup %llu", (unsigned long long)r->cgroup_id);
	}
	if (r->match & KCM_RULE_NETNS)
		add(text, "netns %llu", (unsigned long long)r->netns_cookie);
	if (r->match & KCM_RULE_ROLE)
		add(text, "role %s", sock_role_name(r->role));
	if (r->match & KCM_RULE_PROTO)
		add(text, "proto %s", sock_proto_name(r->proto));
	if (r->match & KCM_RULE_LABEL)
		add(text, "label %.*s%s%.*s", KCM_SK_KEY, r->label.key, *r->label.value ? "=" : "",
		    KCM_SK_VALUE, r->label.value);
}

void sock_rule_text(const struct kcm_sk_rule *r, char text[SOCK_RULE_TEXT])
{
	text[0] = '\0';
	if (r->match & KCM_RULE_COOKIE)
		add(text, "cookie %llu", (unsigned long long)r->cookie);
	if (r->match & KCM_RULE_PORT)
		add(text, "port %u", r->lport);
	if (r->match & KCM_RULE_LPORT)
		add(text, "lport %u", r->lport);
	if (r->match & KCM_RULE_RPORT)
		add(text, "rport %u", r->rport);
	if (r->match & KCM_RULE_LADDR)
		add_addr(text, "laddr", r->family, r->laddr, r->laddr_bits);
	if (r->match & KCM_RULE_RADDR)
		add_addr(text, "peer", r->family, r->raddr, r->raddr_bits);
	if (r->match & KCM_RULE_PID)
		add(text, "pid %u", r->pid);
	if (r->match & KCM_RULE_UID)
		add(text, "uid %u", r->uid);
	add_names(r, text);
}

/* ---- applied ---- */

int sock_rules_apply(const struct sock_view *v, char *err, size_t size)
{
	struct sock_change *c = NULL;
	int ret = kcm_sock_each_netns(SOCK_ITER_RELIMIT);

	*err = '\0';
	if (ret) {
		snprintf(err, size, "live TCP connections: %s", strerror(-ret));
		return ret;
	}
	ret = sock_change_open(&c, v, 0, err, size);
	ret = ret ?: sock_change_udp(c);
	sock_change_close(c);
	return ret;
}
