// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_flow_spec.c - packets in words, and packets of captures */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include "cmocka_all.h"
#include "flow_gen_header.h"
#include "lib/flow_pcap.h"

#define PROTOS "tcp, udp, icmp, icmp6, sctp, gre, ... or 0 to 255"

static const struct {
	const char *text, *why;
} bad[] = {
	{ "srv 1.2.3.4", "unknown word 'srv'; did you mean 'src'?" },
	{ "zzzzzzz", "unknown word 'zzzzzzz'; allowed: ip ip6 src dst proto sport dport icmp-type "
		     "icmp-code frag vlan flags in ethertype len" },
	{ "ip ip", "'ip' twice; allowed: once" },
	{ "src", "nothing behind 'src'; allowed: an address" },
	{ "src 10.0.0.0/8", "src '10.0.0.0/8' is many addresses; allowed of a packet: one" },
	{ "src 1.2.3", "src '1.2.3' is no address; allowed: IPv4 or IPv6 with /BITS or without" },
	{ "src 1.2.3.4 dst ::1", "'::1' is of IPv6, and what is before it of IPv4" },
	{ "ip6 dst 1.2.3.4", "'1.2.3.4' is of IPv4, and what is before it of IPv6" },
	{ "ip proto tpc", "no protocol 'tpc'; did you mean 'tcp'?" },
	{ "ip proto 300", "no protocol '300'; allowed: " PROTOS },
	{ "ip dport 80-90", "bad dport '80-90'; allowed of a packet: 0 to 65535" },
	{ "ip icmp-type 256", "bad icmp-type '256'; allowed of a packet: 0 to 255" },
	{ "ip frag yes", "bad frag 'yes'; allowed of a packet: no, first, later" },
	{ "vlan any", "bad vlan 'any'; allowed of a packet: none, ID, ID.ID, 0 to 4095" },
	{ "vlan 1.", "bad vlan '1.'; allowed of a packet: none, ID, ID.ID, 0 to 4095" },
	{ "vlan 1.2.3", "bad vlan '1.2.3'; allowed of a packet: none, ID, ID.ID, 0 to 4095" },
	{ "vlan 4096", "bad vlan '4096'; allowed of a packet: none, ID, ID.ID, 0 to 4095" },
	{ "ip flags !SYN", "no TCP flag '!SYN'; allowed of a packet: FIN SYN RST PSH ACK URG ECE "
			   "CWR, with commas between" },
	{ "ip flags SYN,", "no TCP flag ''; allowed of a packet: FIN SYN RST PSH ACK URG ECE CWR, "
			   "with commas between" },
	{ "len 9217", "bad len '9217'; allowed of a packet: 0 to 9216" },
	{ "in a234567890123456",
	  "'a234567890123456' is no interface; allowed: up to 15 characters" },
	{ "dport 80", "IPv4 or IPv6? allowed: ip, ip6, src" },
	{ "ip ethertype 5", "ethertype and IP; allowed: one of them" },
	{ "ip6 proto 43", "protocol 43 is a header in between; allowed: what follows it" },
	{ "ip proto gre dport 80", "the protocol has no ports; allowed: what such a packet has" },
	{ "ip proto tcp icmp-type 8",
	  "the protocol has no icmp-type and icmp-code; allowed: what such a packet has" },
	{ "ip6 proto icmp icmp-type 8",
	  "the protocol has no icmp-type and icmp-code; allowed: what such a packet has" },
	{ "ip proto udp flags SYN", "the protocol has no flags; allowed: what such a packet has" },
	{ "ip proto tcp dport 80 frag later",
	  "a later fragment has no ports; allowed: what such a packet has" },
};

static void wrong_words(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct flow_packet p;
		char why[512] = "nothing was said";

		if (flow_packet_spec(bad[i].text, &p, why, sizeof(why)) != -EINVAL)
			fail_msg("accepted: %s", bad[i].text);
		assert_string_equal(why, bad[i].why);
	}
}

static struct flow_packet good(const char *text)
{
	struct flow_packet p;
	char why[512];

	if (flow_packet_spec(text, &p, why, sizeof(why)))
		fail_msg("%s: %s", text, why);
	return p;
}

static void every_word(void **state)
{
	struct flow_packet p = good("ip src 10.0.0.1 dst 10.0.0.2 proto tcp sport 1 dport 80 flags "
				    "SYN,ack vlan 100.5 in eth0 len 500 frag first");
	struct flow_packet want = { .h = { .family = 4,
					   .saddr = { 10, 0, 0, 1 },
					   .daddr = { 10, 0, 0, 2 },
					   .proto = IPPROTO_TCP,
					   .has_ports = true,
					   .has_tcp = true,
					   .sport = 1,
					   .dport = 80,
					   .tcp_flags = 18,
					   .frag = FLOW_FRAG_FIRST,
					   .tagged = true,
					   .vlan_id = 100,
					   .len = 500 },
				    .in = "eth0",
				    .qinq = true,
				    .inner_id = 5 };

	(void)state;
	assert_memory_equal(&p, &want, sizeof(p));
	p = good("ethertype 0x88cc");
	assert_int_equal(p.ethertype, 0x88cc);
	assert_int_equal(p.h.family, 0);
}

/* What is not said. */
static void what_goes_without_saying(void **state)
{
	(void)state;
	assert_int_equal(good("").h.family, 0);
	assert_int_equal(good("").h.frag, FLOW_FRAG_ANY);
	assert_int_equal(good("ip").h.proto, IPPROTO_UDP);
	assert_int_equal(good("ip").h.frag, FLOW_FRAG_NO);
	assert_true(good("ip").h.has_ports);
	assert_int_equal(good("dst ::1 dport 53").h.proto, IPPROTO_UDP);
	assert_int_equal(good("dst ::1 dport 53 flags SYN").h.proto, IPPROTO_TCP);
	assert_int_equal(good("dst ::1 icmp-type 1").h.proto, IPPROTO_ICMPV6);
	assert_int_equal(good("dst 1.2.3.4 icmp-code 1").h.proto, IPPROTO_ICMP);
	assert_true(good("dst 1.2.3.4 icmp-code 1").h.has_icmp);
	assert_false(good("ip proto tcp frag later").h.has_tcp);
	assert_false(good("vlan none").h.tagged);
}

/* ---- captures ---- */

static char path[] = "/tmp/kcm-pcap-XXXXXX";

static void put_file(const void *data, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static int make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

/* pcap's own header: magic, version 2.4, zone, figures, length kept, link type */
static const uint32_t head[6] = { 0xa1b2c3d4, 4 << 16 | 2, 0, 0, 65535, 1 };

static size_t make_pcap(uint8_t *file, uint32_t link, uint32_t kept)
{
	size_t n = 0;

	memcpy(file, head, sizeof(head));
	memcpy(file + 20, &link, 4);
	n = sizeof(head);
	for (uint32_t i = 0; i < 3; i++) {
		struct flow_packet p = good(i % 2 ? "dst ::1 dport 53" : "dst 10.0.0.1 flags SYN");
		uint8_t frame[128];
		uint32_t len = (uint32_t)flow_packet_build(&p, frame, sizeof(frame));
		uint32_t have = len < kept ? len : kept, record[4] = { 1000 + i, 7, have, len };

		memcpy(file + n, record, sizeof(record));
		memcpy(file + n + sizeof(record), frame, have);
		n += sizeof(record) + have;
	}
	return n;
}

static void captures(void **state)
{
	uint8_t file[1024];
	char why[512] = "";
	struct flow_pcap *p;
	struct flow_frame f;
	struct flow_header h = { 0 };
	size_t n;

	(void)state;
	put_file(file, make_pcap(file, 1, 65535));
	assert_int_equal(flow_pcap_open(&p, path, why, sizeof(why)), 0);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(flow_pcap_next(p, &f, why, sizeof(why)), 1);
		assert_int_equal(f.time_ns, (1000 + i) * 1000000000ULL + 7000);
		assert_int_equal(f.have, f.len);
		flow_packet_parse(f.data, f.have, f.len, &h);
		assert_int_equal(h.family, i % 2 ? 6 : 4);
		assert_int_equal(h.dport, i % 2 ? 53 : 0);
	}
	assert_int_equal(flow_pcap_next(p, &f, why, sizeof(why)), 0);
	flow_pcap_close(p);

	put_file(file, make_pcap(file, 1, 40));
	assert_int_equal(flow_pcap_open(&p, path, why, sizeof(why)), 0);
	assert_int_equal(flow_pcap_next(p, &f, why, sizeof(why)), 1);
	assert_int_equal(f.have, 40);
	assert_int_equal(f.len, 60);
	flow_packet_parse(f.data, f.have, f.len, &h);
	assert_true(h.bad); /* 20 bytes of TCP are not there */
	flow_pcap_close(p);

	n = make_pcap(file, 1, 65535);
	put_file(file, n - 1);
	assert_int_equal(flow_pcap_open(&p, path, why, sizeof(why)), 0);
	assert_int_equal(flow_pcap_next(p, &f, why, sizeof(why)), 1);
	assert_int_equal(flow_pcap_next(p, &f, why, sizeof(why)), 1);
	assert_int_equal(flow_pcap_next(p, &f, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "truncated"));
	flow_pcap_close(p);
}

static void no_captures(void **state)
{
	uint8_t file[1024];
	char why[512] = "";
	struct flow_pcap *p = (struct flow_pcap *)1;

	(void)state;
	put_file(file, make_pcap(file, 113, 65535)); /* tcpdump -i any */
	assert_int_equal(flow_pcap_open(&p, path, why, sizeof(why)), -EPROTONOSUPPORT);
	assert_null(p);
	assert_string_equal(why, "captured from LINUX_SLL; allowed: Ethernet, as of tcpdump -i "
				 "IFACE, not any");
	put_file("no capture at all, as anybody can see", 37);
	assert_int_equal(flow_pcap_open(&p, path, why, sizeof(why)), -EINVAL);
	assert_string_equal(why, "unknown file format; allowed: pcap or pcapng, as tcpdump -w "
				 "writes it");
	assert_int_equal(flow_pcap_open(&p, "/nowhere/at/all", why, sizeof(why)), -ENOENT);
	assert_string_equal(why, "No such file or directory");
	flow_pcap_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_words),
		cmocka_unit_test(every_word),
		cmocka_unit_test(what_goes_without_saying),
		cmocka_unit_test(captures),
		cmocka_unit_test(no_captures),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
