// SPDX-License-Identifier: GPL-2.0
/* Conditions against a socket. */
#include <arpa/inet.h>
#include <fnmatch.h>
#include "cmd_sock_filter.h"
#include "cmd_sock_names.h"

static bool compare(uint64_t have, enum sock_op op, uint64_t want)
{
	switch (op) {
	case SOCK_EQ:
		return have == want;
	case SOCK_NE:
		return have != want;
	case SOCK_LT:
		return have < want;
	case SOCK_LE:
		return have <= want;
	case SOCK_GT:
		return have > want;
	case SOCK_GE:
		return have >= want;
	}
	return false;
}

static bool in_prefix(const struct sock_value *v, uint16_t family, const uint8_t addr[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	unsigned int bytes = v->bits / 8, rest = v->bits % 8;

	/* An IPv6 socket that speaks IPv4: found by its IPv4 address. */
	if (family == AF_INET6 && v->family == AF_INET && !memcmp(addr, mapped, 12))
		addr += 12;
	else if (family != v->family)
		return false;
	if (memcmp(addr, v->addr, bytes))
		return false;
	return !rest || !((addr[bytes] ^ v->addr[bytes]) >> (8 - rest));
}

static bool addr_match(const struct sock_value *v, const struct kcm_sk_info *i, bool remote)
{
	if (v->port && v->port != (remote ? i->rport : i->lport))
		return false;
	return in_prefix(v, i->family, remote ? i->raddr : i->laddr);
}

static bool addr_any(enum sock_field_id id, const struct sock_value *v, const struct kcm_sk_info *i)
{
	return (id != SOCK_F_RADDR && addr_match(v, i, false)) ||
	       (id != SOCK_F_LADDR && addr_match(v, i, true));
}

static bool cgroup_match(const struct sock_value *v, uint64_t id)
{
	const char *path;
	size_t n = strlen(v->text);

	if (v->num == id)
		return true;
	if (!n)
		return false;
	path = sock_cgroup_path(id);
	return path && (n == 1 || (!strncmp(path, v->text, n) && path[n] == '/'));
}

static bool label_match(const struct sock_value *v, const struct kcm_sk_info *i)
{
	for (int l = 0; l < KCM_SK_LABELS; l++)
		if (*i->label[l].key && !strncmp(i->label[l].key, v->text, KCM_SK_KEY))
			return !*v->value || fnmatch(v->value, i->label[l].value, 0) == 0;
	return false;
}

static bool comm_match(const struct sock_value *v, const struct kcm_sk_info *i)
{
	char comm[sizeof(i->comm) + 1] = "";

	memcpy(comm, i->comm, sizeof(i->comm));
	return fnmatch(v->text, comm, 0) == 0;
}

/* For an operator that is not "not equal": does the socket have this value? */
static bool value_match(const struct sock_term *t, enum sock_op op, const struct sock_value *v,
			const struct kcm_sock *s, uint64_t now_ns)
{
	uint64_t num;

	switch (t->field->kind) {
	case SOCK_KIND_ADDR:
		return addr_any(t->field->id, v, &s->info);
	case SOCK_KIND_TEXT:
		return comm_match(v, &s->info);
	case SOCK_KIND_LABEL:
		return label_match(v, &s->info);
	case SOCK_KIND_CGROUP:
		return cgroup_match(v, s->info.cgroup_id);
	case SOCK_KIND_PORT:
		if (t->field->id != SOCK_F_RPORT && compare(s->info.lport, op, v->num))
			return true;
		return t->field->id != SOCK_F_LPORT && compare(s->info.rport, op, v->num);
	default:
		return sock_field_num(t->field, s, now_ns, &num) && compare(num, op, v->num);
	}
}

static bool term_match(const struct sock_term *t, const struct kcm_sock *s, uint64_t now_ns)
{
	enum sock_op op = t->op == SOCK_NE ? SOCK_EQ : t->op;
	uint64_t num;

	if (t->field->kind == SOCK_KIND_FLAG)
		return sock_field_num(t->field, s, now_ns, &num) && num;
	for (unsigned int i = 0; i < t->n; i++)
		if (value_match(t, op, &t->value[i], s, now_ns))
			return t->op != SOCK_NE;
	return t->op == SOCK_NE;
}

bool sock_filter_match(const struct sock_filter *f, const struct kcm_sock *s)
{
	for (unsigned int i = 0; i < f->n; i++)
		if (term_match(&f->term[i], s, f->now_ns) == f->term[i].negate)
			return false;
	return true;
}
