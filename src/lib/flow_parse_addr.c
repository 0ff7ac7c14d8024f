// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_parse_addr.c - prefixes of addresses, and names of protocols. */
#include <arpa/inet.h>
#include <errno.h>
#include "flow_parse_part.h"
#include "flow_words.h"
#include "suggest.h"

/* Clear the bits behind @len. Return: were any set? */
static bool clear_host_bits(uint8_t *addr, unsigned int len)
{
	bool any = false;

	for (unsigned int i = len; i < 128; i = (i | 7) + 1) {
		uint8_t mask = (uint8_t)(0xff >> (i & 7));

		any |= (addr[i / 8] & mask) != 0;
		addr[i / 8] &= (uint8_t)~mask;
	}
	return any;
}

/* inet_pton() of dotted decimals, which block lists have a million of. */
static bool parse4(const char *text, size_t n, uint8_t *addr)
{
	const char *end = text + n;

	for (int i = 0; i < 4; i++) {
		unsigned int v = 0;
		const char *begin = text;

		while (text < end && *text >= '0' && *text <= '9' && text - begin < 3)
			v = v * 10 + (unsigned int)(*text++ - '0');
		if (text == begin || v > 255 || (*begin == '0' && text - begin > 1))
			return false;
		addr[i] = (uint8_t)v;
		if (i < 3 && (text == end || *text++ != '.'))
			return false;
	}
	return text == end;
}

static bool parse6(const char *text, size_t n, uint8_t *addr)
{
	char copy[INET6_ADDRSTRLEN];

	if (n >= sizeof(copy))
		return false;
	memcpy(copy, text, n);
	copy[n] = '\0';
	return inet_pton(AF_INET6, copy, addr) == 1;
}

int flow_prefix_parse(const char *text, struct flow_prefix *prefix, char *why, size_t size)
{
	size_t n = strcspn(text, "/");
	uint64_t len, max;
	char good[INET6_ADDRSTRLEN];

	memset(prefix, 0, sizeof(*prefix));
	prefix->family = memchr(text, ':', n) ? 6 : 4;
	if (prefix->family == 4 ? !parse4(text, n, prefix->addr) : !parse6(text, n, prefix->addr)) {
		snprintf(why, size, "is no address; allowed: IPv4 or IPv6 with /BITS or without");
		return -EINVAL;
	}
	max = len = prefix->family == 4 ? 32 : 128;
	if (text[n] && (!flow_number(text + n + 1, max, &len) || strpbrk(text + n, "xX"))) {
		snprintf(why, size, "has a wrong length; allowed of IPv%u: /0 to /%llu",
			 prefix->family, (unsigned long long)max);
		return -EINVAL;
	}
	prefix->len = (uint8_t)len;
	if (!clear_host_bits(prefix->addr, prefix->len))
		return 0;
	inet_ntop(prefix->family == 4 ? AF_INET : AF_INET6, prefix->addr, good, sizeof(good));
	snprintf(why, size, "has bits set behind the prefix; did you mean %s/%u?", good,
		 prefix->len);
	return -EINVAL;
}

bool flow_proto_parse(const char *text, uint8_t *proto, const char **near)
{
	const char *names[FLOW_PROTOS];
	uint64_t v;

	*near = NULL;
	if (flow_number(text, 255, &v)) {
		*proto = (uint8_t)v;
		return true;
	}
	for (size_t i = 0; i < FLOW_PROTOS; i++) {
		names[i] = flow_protos[i].name;
		if (!streq(text, names[i]))
			continue;
		*proto = flow_protos[i].number;
		return true;
	}
	*near = suggest(text, names, FLOW_PROTOS);
	return false;
}
