// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_flow_parse.c - one policy: each way to write it, and what is said of each wrong one */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include "cmocka_all.h"
#include "lib/flow_parse.h"

#define ALLOWED_WORDS                                                                         \
	"name in ip ip6 src dst proto sport dport icmp-type icmp-code frag vlan flags, then " \
	"pass drop count mark sample limit redirect forward cpu"
#define ACTIONS "pass drop count mark sample limit redirect forward cpu"
#define RATES	"1pps to 1Gpps, 8bit to 8Tbit, 1B/s to 1TB/s"
#define PROTOS	"tcp, udp, icmp, icmp6, sctp, gre, ... or 0 to 255"

static const struct {
	const char *text, *why;
} bad[] = {
	{ "", "no policy; allowed: PRIO CONDITION... ACTION" },
	{ "# nothing", "no policy; allowed: PRIO CONDITION... ACTION" },
	{ "x drop", "'x' is no priority; a policy begins with one, 0 to 4294967295" },
	{ "-1 drop", "'-1' is no priority; a policy begins with one, 0 to 4294967295" },
	{ "4294967296 drop",
	  "'4294967296' is no priority; a policy begins with one, 0 to 4294967295" },
	{ "1", "no action; allowed: " ACTIONS },
	{ "1 ip", "no action; allowed: " ACTIONS },
	{ "1 srv 1.2.3.4 drop", "unknown word 'srv'; did you mean 'src'?" },
	{ "1 dorp", "unknown word 'dorp'; did you mean 'drop'?" },
	{ "1 icmptype 8 drop", "unknown word 'icmptype'; did you mean 'icmp-type'?" },
	{ "1 zzzzzzzz drop", "unknown word 'zzzzzzzz'; allowed: " ALLOWED_WORDS },
	{ "1 \x1b[2Jzzzzzzzzz drop", "unknown word '?[2Jzzzzzzzzz'; allowed: " ALLOWED_WORDS },
	{ "1 drop pass", "'pass' behind the action; allowed: nothing, conditions come before it" },
	{ "1 drop src ::1",
	  "'src' behind the action; allowed: nothing, conditions come before it" },
	{ "1 limit 1pps x", "'x' behind the action; allowed: nothing, conditions come before it" },
	{ "1 ip ip drop", "'ip' twice; allowed: once" },
	{ "1 dst ::1 dst ::2 drop", "'dst' twice; allowed: once" },
	{ "1 src \"::1 drop",
	  "bad quotes at \"::1 drop; a word in quotes begins and ends with one" },
	{ "1 src \"::1\"x drop",
	  "bad quotes at \"::1\"x drop; a word in quotes begins and ends with one" },
	/* names */
	{ "1 name", "nothing behind 'name'; allowed: a name" },
	{ "1 name 5 drop",
	  "'5' is no name; allowed: a letter, then up to 14 of letters, digits and . _ -" },
	{ "1 name a1234567890123456 drop",
	  "'a1234567890123456' is no name; allowed: a letter, then "
	  "up to 14 of letters, digits and . _ -" },
	{ "1 name a/b drop",
	  "'a/b' is no name; allowed: a letter, then up to 14 of letters, digits and . _ -" },
	{ "1 in", "nothing behind 'in'; allowed: the name of an interface" },
	{ "1 in a2345678901234567 drop", "'a2345678901234567' is no interface; allowed: up to 15 "
					 "characters, none of them a blank, / : \" #" },
	{ "1 redirect a/b", "'a/b' is no interface; allowed: up to 15 characters, none of them a "
			    "blank, / : \" #" },
	{ "1 redirect", "nothing behind 'redirect'; allowed: the name of an interface" },
	/* addresses */
	{ "1 src", "nothing behind 'src'; allowed: [not] PREFIX or [not] @LIST" },
	{ "1 src not", "nothing behind 'not'; allowed: [not] PREFIX or [not] @LIST" },
	{ "1 src 1.2.3 drop",
	  "src '1.2.3' is no address; allowed: IPv4 or IPv6 with /BITS or without" },
	{ "1 src 1.2.3.256 drop",
	  "src '1.2.3.256' is no address; allowed: IPv4 or IPv6 with /BITS or without" },
	{ "1 src 1.2.3.04 drop",
	  "src '1.2.3.04' is no address; allowed: IPv4 or IPv6 with /BITS or without" },
	{ "1 src 1.2.3.4.5 drop",
	  "src '1.2.3.4.5' is no address; allowed: IPv4 or IPv6 with /BITS or without" },
	{ "1 dst :::1 drop",
	  "dst ':::1' is no address; allowed: IPv4 or IPv6 with /BITS or without" },
	{ "1 src 1.2.3.4/33 drop",
	  "src '1.2.3.4/33' has a wrong length; allowed of IPv4: /0 to /32" },
	{ "1 src 1.2.3.4/ drop", "src '1.2.3.4/' has a wrong length; allowed of IPv4: /0 to /32" },
	{ "1 src 1.2.3.4/0x8 drop", "src '1.2.3.4/0x8' has a wrong length; allowed of IPv4: /0 to "
				    "/32" },
	{ "1 src ::/129 drop", "src '::/129' has a wrong length; allowed of IPv6: /0 to /128" },
	{ "1 src 10.1.2.3/8 drop",
	  "src '10.1.2.3/8' has bits set behind the prefix; did you mean 10.0.0.0/8?" },
	{ "1 dst 10.0.0.1/31 drop",
	  "dst '10.0.0.1/31' has bits set behind the prefix; did you mean 10.0.0.0/31?" },
	{ "1 dst 2001:db8::1/64 drop",
	  "dst '2001:db8::1/64' has bits set behind the prefix; did you mean 2001:db8::/64?" },
	{ "1 src not 0.0.0.0/0 drop", "src not '0.0.0.0/0' matches nothing; leave the policy out" },
	{ "1 src @nosuch drop",
	  "no list 'nosuch'; allowed: lists of a line 'list NAME FILE' above" },
	{ "1 dst not @bolck drop", "no list 'bolck'; did you mean '@block'?" },
	/* families */
	{ "1 ip ip6 drop", "'ip6' behind 'ip'; allowed: one of them" },
	{ "1 src ::1 ip drop", "'ip' and an address of IPv6; nothing is both" },
	{ "1 ip6 src 1.2.3.4 drop",
	  "src '1.2.3.4' is of IPv4, and what is before it of IPv6; nothing is both" },
	{ "1 src 1.2.3.4 dst ::1 drop",
	  "dst '::1' is of IPv6, and what is before it of IPv4; nothing is both" },
	{ "1 ip6 proto icmp drop", "IPv6 with proto icmp; did you mean 'icmp6'?" },
	{ "1 ip proto icmp6 drop", "IPv4 with proto icmp6; did you mean 'icmp'?" },
	/* protocols */
	{ "1 proto", "nothing behind 'proto'; allowed: " PROTOS },
	{ "1 proto tpc drop", "no protocol 'tpc'; did you mean 'tcp'?" },
	{ "1 proto 256 drop", "no protocol '256'; allowed: " PROTOS },
	{ "1 proto zzzzzzz drop", "no protocol 'zzzzzzz'; allowed: " PROTOS },
	{ "1 dport 80 drop", "ports without a protocol that has them; allowed: proto tcp, udp, "
			     "udplite, sctp, dccp" },
	{ "1 proto gre sport 80 drop",
	  "ports without a protocol that has them; allowed: proto tcp, "
	  "udp, udplite, sctp, dccp" },
	{ "1 proto tcp dport 65536 drop",
	  "dport '65536' is no port; allowed: N or N-M, 0 to 65535" },
	{ "1 proto tcp dport 1- drop", "dport '1-' is no port; allowed: N or N-M, 0 to 65535" },
	{ "1 proto tcp dport -1 drop", "dport '-1' is no port; allowed: N or N-M, 0 to 65535" },
	{ "1 proto tcp sport 1-2-3 drop",
	  "sport '1-2-3' is no port; allowed: N or N-M, 0 to 65535" },
	{ "1 proto tcp sport http drop", "sport 'http' is no port; allowed: N or N-M, 0 to 65535" },
	{ "1 proto tcp sport 9-1 drop", "sport '9-1' is empty; did you mean 1-9?" },
	{ "1 proto tcp sport", "nothing behind 'sport'; allowed: N or N-M, 0 to 65535" },
	{ "1 icmp-type 8 drop",
	  "icmp-type or icmp-code without ICMP; allowed: proto icmp for IPv4, "
	  "proto icmp6 for IPv6" },
	{ "1 proto tcp icmp-code 8 drop",
	  "icmp-type or icmp-code without ICMP; allowed: proto icmp "
	  "for IPv4, proto icmp6 for IPv6" },
	{ "1 proto icmp icmp-type 256 drop", "bad icmp-type '256'; allowed: 0 to 255" },
	{ "1 proto icmp icmp-code x drop", "bad icmp-code 'x'; allowed: 0 to 255" },
	{ "1 flags SYN drop", "flags without TCP; allowed: proto tcp" },
	{ "1 proto udp flags SYN drop", "flags without TCP; allowed: proto tcp" },
	{ "1 proto tcp flags SYN,SYM drop",
	  "no TCP flag 'SYM'; allowed: FIN SYN RST PSH ACK URG ECE CWR, with ! if it is not set, "
	  "and commas between" },
	{ "1 proto tcp flags SYN, drop",
	  "no TCP flag ''; allowed: FIN SYN RST PSH ACK URG ECE CWR, with ! if it is not set, "
	  "and commas between" },
	{ "1 proto tcp flags SYN,!syn drop", "flag SYN twice; allowed: once" },
	{ "1 proto tcp flags", "nothing behind 'flags'; allowed: SYN,!ACK or the like" },
	/* the rest */
	{ "1 frag maybe drop", "bad frag 'maybe'; allowed: no, yes, first, later" },
	{ "1 proto udp dport 53 frag later drop", "frag later with ports, icmp-type, icmp-code or "
						  "flags; only the first fragment has them" },
	{ "1 vlan 4096 drop", "bad vlan '4096'; allowed: none, any, 0 to 4095" },
	{ "1 vlan", "nothing behind 'vlan'; allowed: none, any, 0 to 4095" },
	{ "1 mark 4294967296", "bad mark '4294967296'; allowed: 0 to 4294967295" },
	{ "1 mark 0x", "bad mark '0x'; allowed: 0 to 4294967295" },
	{ "1 mark", "nothing behind 'mark'; allowed: 0 to 4294967295" },
	{ "1 cpu 65536", "bad cpu '65536'; allowed: 0 to 65535" },
	{ "1 sample 5", "bad sample '5'; allowed: 1/N, 1/1 to 1/4294967295" },
	{ "1 sample 1/0", "bad sample '1/0'; allowed: 1/N, 1/1 to 1/4294967295" },
	{ "1 limit", "nothing behind 'limit'; allowed: " RATES },
	{ "1 limit 5", "bad rate '5'; allowed: " RATES },
	{ "1 limit 0pps", "bad rate '0pps'; allowed: " RATES },
	{ "1 limit 1.5pps", "bad rate '1.5pps'; allowed: " RATES },
	{ "1 limit 2Gpps", "bad rate '2Gpps'; allowed: " RATES },
	{ "1 limit 7bit", "bad rate '7bit'; allowed: " RATES },
	{ "1 limit 8.1Tbit", "bad rate '8.1Tbit'; allowed: " RATES },
	{ "1 limit .5Mbit", "bad rate '.5Mbit'; allowed: " RATES },
	{ "1 limit 1.Mbit", "bad rate '1.Mbit'; allowed: " RATES },
	{ "1 limit 99999999999999999999Tbit",
	  "bad rate '99999999999999999999Tbit'; allowed: " RATES },
	{ "1 limit 1pps burst 0", "bad burst '0'; allowed: 1 to 4294967295 packets" },
	{ "1 limit 1pps burst 1K", "bad burst '1K'; allowed: 1 to 4294967295 packets" },
	{ "1 limit 1Mbit burst 4G", "bad burst '4G'; allowed: 1 to 4294967295 bytes, 64K, 1M, 1G" },
	{ "1 limit 1Mbit burst", "nothing behind 'burst'; allowed: 1 to 4294967295 bytes, 64K, 1M, "
				 "1G" },
};

static struct flow_set lists(void)
{
	struct flow_set set = { .lists = 2 };

	strcpy(set.list[0].name, "allow");
	strcpy(set.list[1].name, "block");
	return set;
}

static void wrong_lines(void **state)
{
	struct flow_set set = lists();

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct flow_policy p;
		char why[512] = "nothing was said";

		if (flow_parse_policy(bad[i].text, &set, &p, why, sizeof(why)) != -EINVAL)
			fail_msg("accepted: %s", bad[i].text);
		if (strcmp(why, bad[i].why))
			fail_msg("'%s':\n  %s\nand not\n  %s", bad[i].text, why, bad[i].why);
	}
}

static struct flow_policy good(const char *text)
{
	struct flow_set set = lists();
	struct flow_policy p;
	char why[512];

	if (flow_parse_policy(text, &set, &p, why, sizeof(why)))
		fail_msg("'%s': %s", text, why);
	return p;
}

static void every_condition(void **state)
{
	struct flow_policy p = good("7 name web-1 in eth0 src not 10.0.0.0/9 dst @block proto tcp "
				    "sport 1024-65535 dport 80 frag no vlan 4095 flags syn,!ACK "
				    "drop # why not");

	(void)state;
	assert_int_equal(p.prio, 7);
	assert_string_equal(p.name, "web-1");
	assert_string_equal(p.in, "eth0");
	assert_int_equal(p.family, 4);
	assert_true(p.src.negate && !p.src.is_list && !p.dst.negate && p.dst.is_list);
	assert_int_equal(p.src.len, 9);
	assert_memory_equal(p.src.addr, "\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_int_equal(p.dst.list, 1);
	assert_int_equal(p.dst.len, 0);
	assert_true(p.has_proto && p.proto == IPPROTO_TCP);
	assert_int_equal(p.sport.lo, 1024);
	assert_int_equal(p.sport.hi, 65535);
	assert_int_equal(p.dport.lo, 80);
	assert_int_equal(p.dport.hi, 80);
	assert_int_equal(p.frag, FLOW_FRAG_NO);
	assert_int_equal(p.vlan, FLOW_VLAN_ID);
	assert_int_equal(p.vlan_id, 4095);
	assert_int_equal(p.tcp_mask, 2 | 16);
	assert_int_equal(p.tcp_flags, 2);
	assert_int_equal(p.action, FLOW_DROP);
	p = good("1 icmp-code 3 icmp-type 0x80 proto ipv6-icmp ip6 dst ::ffff:1.2.3.4 pass");
	assert_int_equal(p.family, 6);
	assert_true(p.has_icmp_type && p.has_icmp_code);
	assert_int_equal(p.icmp_type, 128);
	assert_int_equal(p.icmp_code, 3);
	assert_int_equal(p.proto, IPPROTO_ICMPV6);
	assert_int_equal(p.dst.len, 128);
	assert_memory_equal(p.dst.addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\1\2\3\4", 16);
}

static void no_condition(void **state)
{
	struct flow_policy p = good("0 pass"), zero = { .sport.hi = 65535, .dport.hi = 65535 };

	(void)state;
	assert_memory_equal(&p, &zero, sizeof(p));
	p = good("0 src not @allow pass");
	assert_int_equal(p.family, 0);
	assert_true(p.src.negate && p.src.is_list && p.src.list == 0);
	p = good("0 dst ::/0 proto tcp dport 0-65535 pass");
	zero.family = 6;
	zero.has_proto = true;
	zero.proto = IPPROTO_TCP;
	assert_memory_equal(&p, &zero, sizeof(p));
}

static void every_action(void **state)
{
	(void)state;
	assert_int_equal(good("1 pass").action, FLOW_PASS);
	assert_int_equal(good("1 count").action, FLOW_COUNT);
	assert_int_equal(good("1 forward").action, FLOW_FORWARD);
	assert_int_equal(good("1 mark 0xfF").action, FLOW_MARK);
	assert_int_equal(good("1 mark 0xfF").mark, 255);
	assert_int_equal(good("1 sample 1/1000").action, FLOW_SAMPLE);
	assert_int_equal(good("1 sample 1/1000").one_in, 1000);
	assert_int_equal(good("1 cpu 3").action, FLOW_CPU);
	assert_int_equal(good("1 cpu 3").cpu, 3);
	assert_int_equal(good("1 redirect veth0.5").action, FLOW_REDIRECT);
	assert_string_equal(good("1 redirect veth0.5").out, "veth0.5");
}

static void every_rate(void **state)
{
	static const struct {
		const char *text;
		uint64_t rate;
		bool packets;
		uint64_t burst;
		bool per_flow;
	} rates[] = {
		{ "1pps", 1, true, 0, false },
		{ "1Gpps", 1000000000, true, 0, false },
		{ "2.5kpps burst 7", 2500, true, 7, false },
		{ "1.5Mbit", 187500, false, 0, false },
		{ "8Tbit per-flow", 1000000000000, false, 0, true },
		{ "64B/s per-flow burst 64K", 64, false, 65536, true },
		{ "1.000001MB/s burst 1M per-flow", 1000001, false, 1 << 20, true },
		{ "1TB/s burst 3G", 1000000000000, false, 3ULL << 30, false },
		{ "8bit burst 1", 1, false, 1, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
		char text[64];
		struct flow_policy p;

		snprintf(text, sizeof(text), "1 limit %s", rates[i].text);
		p = good(text);
		assert_int_equal(p.action, FLOW_LIMIT);
		assert_int_equal(p.rate, rates[i].rate);
		assert_int_equal(p.rate_is_packets, rates[i].packets);
		assert_int_equal(p.burst, rates[i].burst);
		assert_int_equal(p.per_flow, rates[i].per_flow);
	}
}

static void protocols(void **state)
{
	(void)state;
	assert_int_equal(good("1 proto 0 pass").proto, 0);
	assert_true(good("1 proto 0 pass").has_proto);
	assert_int_equal(good("1 proto 255 pass").proto, 255);
	assert_int_equal(good("1 proto icmp6 pass").proto, IPPROTO_ICMPV6);
	assert_int_equal(good("1 proto dccp dport 1 pass").proto, IPPROTO_DCCP);
	assert_int_equal(good("1 proto udplite dport 1 pass").proto, IPPROTO_UDPLITE);
	assert_int_equal(good("1 proto 132 dport 1 pass").proto, IPPROTO_SCTP);
	assert_int_equal(good("1 proto vrrp pass").proto, 112);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_lines),	cmocka_unit_test(every_condition),
		cmocka_unit_test(no_condition), cmocka_unit_test(every_action),
		cmocka_unit_test(every_rate),	cmocka_unit_test(protocols),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
