// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_words.c - words of the rule language. */
#include <netinet/in.h>
#include "flow_rule.h"
#include "flow_words.h"

/* Not those of /etc/protocols: a file means the same everywhere. */
const struct flow_proto flow_protos[FLOW_PROTOS] = {
	{ "tcp", IPPROTO_TCP },		{ "udp", IPPROTO_UDP },
	{ "icmp", IPPROTO_ICMP },	{ "icmp6", IPPROTO_ICMPV6 },
	{ "icmpv6", IPPROTO_ICMPV6 },	{ "ipv6-icmp", IPPROTO_ICMPV6 },
	{ "sctp", IPPROTO_SCTP },	{ "dccp", IPPROTO_DCCP },
	{ "udplite", IPPROTO_UDPLITE }, { "igmp", IPPROTO_IGMP },
	{ "gre", IPPROTO_GRE },		{ "esp", IPPROTO_ESP },
	{ "ah", IPPROTO_AH },		{ "ipip", IPPROTO_IPIP },
	{ "ipv6", IPPROTO_IPV6 },	{ "ospf", 89 },
	{ "pim", IPPROTO_PIM },		{ "vrrp", 112 },
};

const char *const flow_flag_names[8] = { "FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR" };

const char *const flow_frag_names[5] = {
	[FLOW_FRAG_NO] = "no",
	[FLOW_FRAG_YES] = "yes",
	[FLOW_FRAG_FIRST] = "first",
	[FLOW_FRAG_LATER] = "later",
};
