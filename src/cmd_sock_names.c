// SPDX-License-Identifier: GPL-2.0
#include <arpa/inet.h>
#include "cmd_sock_names.h"
#include "util.h"

const char *const sock_state_names[] = {
	[KCM_SK_NEW] = "new",
	[KCM_SK_ESTABLISHED] = "established",
	[KCM_SK_SYN_SENT] = "syn-sent",
	[KCM_SK_SYN_RECV] = "syn-recv",
	[KCM_SK_FIN_WAIT1] = "fin-wait-1",
	[KCM_SK_FIN_WAIT2] = "fin-wait-2",
	[KCM_SK_TIME_WAIT] = "time-wait",
	[KCM_SK_CLOSE] = "closed",
	[KCM_SK_CLOSE_WAIT] = "close-wait",
	[KCM_SK_LAST_ACK] = "last-ack",
	[KCM_SK_LISTEN] = "listen",
	[KCM_SK_CLOSING] = "closing",
	[KCM_SK_NEW_SYN_RECV] = "new-syn-recv",
	NULL,
};

const char *const sock_role_names[] = {
	[KCM_ROLE_UNKNOWN] = "unknown",
	[KCM_ROLE_CLIENT] = "client",
	[KCM_ROLE_SERVER] = "server",
	[KCM_ROLE_LISTENER] = "listener",
	NULL,
};

const char *const sock_unframed_names[] = {
	[KCM_UNFRAMED_NO] = "no",
	[KCM_UNFRAMED_PROTO] = "protocol",
	[KCM_UNFRAMED_SIZE] = "size",
	[KCM_UNFRAMED_MISSED] = "missed",
	[KCM_UNFRAMED_STASH] = "reorder",
	[KCM_UNFRAMED_OPAQUE] = "opaque",
	NULL,
};

const char *sock_state_name(uint32_t state)
{
	return state < ARRAY_LEN(sock_state_names) - 1 ? sock_state_names[state] : "?";
}

const char *sock_role_name(uint32_t role)
{
	return role < ARRAY_LEN(sock_role_names) - 1 ? sock_role_names[role] : "?";
}

const char *sock_unframed_name(uint32_t unframed)
{
	return unframed < ARRAY_LEN(sock_unframed_names) - 1 ? sock_unframed_names[unframed] : "?";
}

const char *sock_proto_name(uint32_t proto)
{
	return proto == KCM_SK_TCP ? "tcp" : proto == KCM_SK_UDP ? "udp" : "?";
}

/* Bytes of the UTF-8 character at @p; 0: none, or one of the control characters above ASCII. */
static int utf8_len(const unsigned char *p)
{
	int n = *p >= 0xc2 && *p <= 0xdf   ? 2
		: (*p & 0xf0) == 0xe0	   ? 3
		: *p >= 0xf0 && *p <= 0xf4 ? 4
					   : 0;

	/* Overlong ones, too, are read as control characters by some. */
	if ((*p == 0xc2 || *p == 0xe0) && p[1] < 0xa0)
		return 0;
	if (*p == 0xf0 && p[1] < 0x90)
		return 0;
	for (int i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

void sock_text_clean(char *text)
{
	unsigned char *p = (unsigned char *)text;

	while (*p) {
		int n = *p < 0x80 ? *p >= ' ' && *p < 0x7f : utf8_len(p);

		if (!n)
			*p = '?';
		p += n ? n : 1;
	}
}

static char *put_dec(char *p, unsigned int v)
{
	char digits[8];
	int n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while (v /= 10);
	while (n)
		*p++ = digits[--n];
	return p;
}

/* By hand where there are many: inet_ntop() of 200,000 IPv4 addresses takes 50 ms. */
void sock_addr_text(uint16_t family, const uint8_t addr[16], uint16_t port, char text[SOCK_ADDR])
{
	static const uint8_t any[16];
	char *p = text;

	if (!memcmp(addr, any, family == AF_INET ? 4 : 16)) {
		*p++ = '*';
	} else if (family == AF_INET) {
		for (int i = 0; i < 4; i++) {
			p = put_dec(p, addr[i]);
			if (i < 3)
				*p++ = '.';
		}
	} else {
		*p++ = '[';
		if (!inet_ntop(AF_INET6, addr, p, SOCK_ADDR - 10))
			*p = '\0';
		p += strlen(p);
		*p++ = ']';
	}
	*p++ = ':';
	if (port)
		p = put_dec(p, port);
	else
		*p++ = '*';
	*p = '\0';
}
