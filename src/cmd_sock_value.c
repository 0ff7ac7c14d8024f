// SPDX-License-Identifier: GPL-2.0
/* Values of a filter: what each kind of field is compared with. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include "cmd.h"
#include "cmd_sock_names.h"
#include "cmd_sock_value.h"

int sock_wrong(struct sock_wrong *w, const char *why, const char *next, const char *what, ...)
{
	va_list ap;

	va_start(ap, what);
	vsnprintf(w->what, sizeof(w->what), what, ap);
	va_end(ap);
	snprintf(w->why, sizeof(w->why), "%s", why ? why : "");
	snprintf(w->next, sizeof(w->next), "%s", next ? next : "");
	return -EINVAL;
}

static bool read_number(const char *text, uint64_t *num)
{
	return str_to_u64(text, num);
}

static bool read_port(const char *text, uint64_t *num)
{
	return str_to_u64(text, num) && *num <= 65535;
}

/* ADDR, ADDR/BITS, ADDR:PORT, [V6], [V6]/BITS, [V6]:PORT. */
static bool read_addr(const char *text, struct sock_value *v)
{
	char copy[80], *addr = copy, *end, *bits, *port = NULL;
	uint64_t n;
	bool v6;

	if (strlen(text) >= sizeof(copy))
		return false;
	strcpy(copy, text);
	if (*copy == '[') {
		addr = copy + 1;
		end = strchr(addr, ']');
		if (!end)
			return false;
		*end++ = '\0';
		bits = *end == '/' ? end + 1 : NULL;
		port = *end == ':' ? end + 1 : NULL;
		if (*end && !bits && !port)
			return false;
	} else {
		bits = strchr(copy, '/');
		if (bits)
			*bits++ = '\0';
		end = strchr(copy, ':');
		if (end && !strchr(end + 1, ':') && !bits) {
			*end = '\0';
			port = end + 1;
		}
	}
	v6 = inet_pton(AF_INET6, addr, v->addr) == 1;
	if (!v6 && inet_pton(AF_INET, addr, v->addr) != 1)
		return false;
	v->family = v6 ? AF_INET6 : AF_INET;
	n = v6 ? 128 : 32;
	if (bits && (!str_to_u64(bits, &n) || n > (v6 ? 128 : 32)))
		return false;
	v->bits = (uint8_t)n;
	n = 0;
	if (port && (!read_port(port, &n) || !n))
		return false;
	v->port = (uint16_t)n;
	return true;
}

static const char *const *words_of(enum sock_field_id id, const uint8_t **numbers)
{
	static const char *const protos[] = { "tcp", "udp", NULL };
	static const uint8_t proto_numbers[] = { KCM_SK_TCP, KCM_SK_UDP };
	static const char *const families[] = { "inet", "inet6", NULL };
	static const uint8_t family_numbers[] = { AF_INET, AF_INET6 };

	*numbers = NULL;
	if (id == SOCK_F_STATE)
		return sock_state_names;
	if (id == SOCK_F_ROLE)
		return sock_role_names;
	*numbers = id == SOCK_F_PROTO ? proto_numbers : family_numbers;
	return id == SOCK_F_PROTO ? protos : families;
}

static int read_word(struct sock_wrong *w, const struct sock_field *f, const char *text,
		     struct sock_value *v)
{
	const uint8_t *numbers;
	const char *const *names = words_of(f->id, &numbers);
	char all[96] = "";
	size_t used = 0;

	if (f->id == SOCK_F_STATE && (streq(text, "estab") || streq(text, "est")))
		text = "established";
	for (size_t i = 0; names[i]; i++) {
		if (streq(names[i], text)) {
			v->num = numbers ? numbers[i] : i;
			return 0;
		}
		used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s", i ? " " : "",
					 names[i]);
		if (used >= sizeof(all))
			used = sizeof(all) - 1;
	}
	return sock_wrong(w, "not one of those there are", all, "bad value '%s' for '%s'", text,
			  f->name);
}

static int read_place(struct sock_wrong *w, const struct sock_field *f, const char *text,
		      struct sock_value *v)
{
	bool cgroup = f->kind == SOCK_KIND_CGROUP;
	int err;

	if (read_number(text, &v->num) && *text != '/') {
		const char *path = cgroup ? sock_cgroup_path(v->num) : NULL;

		snprintf(v->text, sizeof(v->text), "%s", path ? path : "");
		return 0;
	}
	err = cgroup ? sock_cgroup_find(text, &v->num, v->text, sizeof(v->text))
		     : sock_netns_find(text, &v->num);
	if (!err)
		return 0;
	return sock_wrong(w, log_errno(err), f->example, "bad value '%s' for '%s'", text, f->name);
}

static bool read_label(const char *text, struct sock_value *v)
{
	const char *equals = strchr(text, '=');
	size_t n = equals ? (size_t)(equals - text) : strlen(text);

	if (!n || n >= KCM_SK_KEY || (equals && strlen(equals + 1) >= KCM_SK_VALUE))
		return false;
	snprintf(v->text, sizeof(v->text), "%.*s", (int)n, text);
	snprintf(v->value, sizeof(v->value), "%s", equals ? equals + 1 : "");
	return true;
}

int sock_value_read(const struct sock_field *f, const char *text, struct sock_value *v,
		    struct sock_wrong *w)
{
	static const char *const expected[] = {
		[SOCK_KIND_NUMBER] = "no number",
		[SOCK_KIND_BYTES] = "no size such as 500, 64K or 1M",
		[SOCK_KIND_RATE] = "no rate such as 10Mbit or 1M",
		[SOCK_KIND_TIME] = "no time with its unit: ns us ms s m h d",
		[SOCK_KIND_PORT] = "no port from 0 to 65535",
		[SOCK_KIND_ADDR] = "no address, ADDRESS/BITS or ADDRESS:PORT",
		[SOCK_KIND_LABEL] = "no KEY or KEY=VALUE of a label",
	};
	bool ok = true;

	memset(v, 0, sizeof(*v));
	switch (f->kind) {
	case SOCK_KIND_NUMBER:
		ok = read_number(text, &v->num);
		break;
	case SOCK_KIND_BYTES:
		ok = sock_text_bytes(text, &v->num);
		break;
	case SOCK_KIND_RATE:
		ok = sock_text_rate(text, &v->num);
		break;
	case SOCK_KIND_TIME:
		ok = sock_text_time(text, &v->num);
		break;
	case SOCK_KIND_PORT:
		ok = read_port(text, &v->num);
		break;
	case SOCK_KIND_ADDR:
		ok = read_addr(text, v);
		break;
	case SOCK_KIND_LABEL:
		ok = read_label(text, v);
		break;
	case SOCK_KIND_TEXT:
		snprintf(v->text, sizeof(v->text), "%s", text);
		break;
	case SOCK_KIND_WORD:
		return read_word(w, f, text, v);
	case SOCK_KIND_CGROUP:
	case SOCK_KIND_NETNS:
		return read_place(w, f, text, v);
	case SOCK_KIND_FLAG:
		break;
	}
	if (ok)
		return 0;
	return sock_wrong(w, expected[f->kind], f->example, "bad value '%s' for '%s'", text,
			  f->name);
}
