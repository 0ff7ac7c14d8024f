// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_flow_packet.c - what is seen of frames: written out ones, random ones there and back, and
 * each frame cut at each byte and with each byte changed
 */
#include "cmocka_all.h"
#include "flow_gen_header.h"

/* A copy of exactly @have bytes, so that a sanitizer sees a read beyond it. */
static struct flow_header parse(const uint8_t *frame, size_t have, uint32_t len)
{
	uint8_t *copy = malloc(have + 1);
	struct flow_header h;

	assert_non_null(copy);
	memset(&h, 0x5a, sizeof(h));
	h.ifindex = 77;
	memcpy(copy + 1, frame, have);
	flow_packet_parse(copy + 1, have, len, &h);
	assert_int_equal(h.ifindex, 77);
	assert_int_equal(h.len, len > have ? len : have);
	free(copy);
	return h;
}

static void assert_bad(const struct flow_header *h)
{
	struct flow_header want = { .bad = true, .ifindex = h->ifindex, .len = h->len };

	assert_memory_equal(h, &want, sizeof(want));
}

/* ---- frames in hexadecimal ---- */

#define MACS "020000000001020000000002"
#define IP4(len, frag, proto, rest) \
	"0800 4500" len "1234" frag "40" proto "0000 0a000001 0a000002" rest
#define A6		     "20010db8000000000000000000000001 20010db8000000000000000000000002"
#define IP6(len, next, rest) "86dd 60000000" len next "40" A6 rest
#define TCP		     "0400 0050 00000000 00000000 5012 ffff 00000000"
#define UDP		     "0400 0035 0008 0000"
#define SCTP		     "0400 0050 00000000 00000000"

static size_t from_hex(const char *text, uint8_t *frame)
{
	size_t n = 0;

	for (; *text; text++) {
		static const char digits[] = "0123456789abcdef";

		if (*text == ' ')
			continue;
		frame[n / 2] = (uint8_t)(frame[n / 2] << 4 | (strchr(digits, *text) - digits));
		n++;
	}
	assert_int_equal(n % 2, 0);
	return n / 2;
}

/* What each shows, as words for flow_packet_spec(), or "bad". @needs: bytes without which it is
 * bad. */
static const struct example {
	const char *hex, *spec;
	size_t needs;
} examples[] = {
	{ MACS "0806 0001", "ethertype 0x0806", 14 },
	{ MACS "0026 4242", "ethertype 38", 14 },
	{ MACS IP4("0028", "4000", "06", TCP),
	  "src 10.0.0.1 dst 10.0.0.2 proto tcp sport 1024 dport 80 flags SYN,ACK", 54 },
	{ MACS IP4("001c", "0000", "11", UDP "ffff"),
	  "src 10.0.0.1 dst 10.0.0.2 proto udp sport 1024 dport 53", 42 },
	{ MACS IP4("001c", "0000", "88", UDP),
	  "src 10.0.0.1 dst 10.0.0.2 proto udplite sport 1024 dport 53", 42 },
	{ MACS IP4("0020", "0000", "84", SCTP),
	  "src 10.0.0.1 dst 10.0.0.2 proto sctp sport 1024 dport 80", 46 },
	{ MACS IP4("0020", "0000", "21", SCTP),
	  "src 10.0.0.1 dst 10.0.0.2 proto dccp sport 1024 dport 80", 46 },
	{ MACS IP4("0018", "0000", "01", "08010000"),
	  "src 10.0.0.1 dst 10.0.0.2 icmp-type 8 icmp-code 1", 38 },
	{ MACS IP4("0014", "0000", "2f", ""), "src 10.0.0.1 dst 10.0.0.2 proto gre", 34 },
	{ MACS IP4("0014", "0000", "3a", ""), "src 10.0.0.1 dst 10.0.0.2 proto icmp6", 34 },
	/* an error about a TCP packet: the outer header counts */
	{ MACS IP4("0038", "0000", "01",
		   "0303000000000000"
		   "4500 0028 0000 4000 4006 0000 0a000002 0a000001"
		   "0050 0400 00000000"),
	  "src 10.0.0.1 dst 10.0.0.2 icmp-type 3 icmp-code 3", 70 },
	/* options */
	{ MACS "0800 4600 0020 1234 0000 40 11 0000 0a000001 0a000002 94040000" UDP,
	  "src 10.0.0.1 dst 10.0.0.2 proto udp sport 1024 dport 53", 46 },
	/* fragments */
	{ MACS IP4("001c", "2000", "11", UDP),
	  "src 10.0.0.1 dst 10.0.0.2 proto udp sport 1024 dport 53 frag first", 42 },
	{ MACS IP4("0014", "2001", "11", ""), "src 10.0.0.1 dst 10.0.0.2 proto udp frag later",
	  34 },
	{ MACS IP4("0014", "1fff", "06", ""), "src 10.0.0.1 dst 10.0.0.2 proto tcp frag later",
	  34 },
	/* tags */
	{ MACS "8100 6005" IP4("0014", "0000", "2f", ""),
	  "src 10.0.0.1 dst 10.0.0.2 proto gre vlan 5", 38 },
	{ MACS "88a8 0064 8100 0005" IP4("001c", "0000", "11", UDP),
	  "src 10.0.0.1 dst 10.0.0.2 proto udp sport 1024 dport 53 vlan 100.5", 50 },
	{ MACS "8100 0064 8100 0005" IP6("0000", "3b", ""),
	  "src 2001:db8::1 dst 2001:db8::2 proto 59 vlan 100.5", 62 },
	{ MACS "8100 0001 8100 0002 8100 0003" IP4("0014", "0000", "2f", ""), "vlan 1.2", 22 },
	{ MACS "8100 1fff 0806", "vlan 4095", 18 },
	/* IPv6 */
	{ MACS IP6("0014", "06", TCP),
	  "src 2001:db8::1 dst 2001:db8::2 proto tcp sport 1024 dport 80 flags SYN,ACK", 74 },
	{ MACS IP6("0004", "3a", "80000000"), "src 2001:db8::1 dst 2001:db8::2 icmp-type 128", 58 },
	{ MACS IP6("0000", "01", ""), "src 2001:db8::1 dst 2001:db8::2 proto icmp", 54 },
	{ MACS IP6("0018", "00",
		   "3c00010400000000"
		   "1100010400000000" UDP),
	  "src 2001:db8::1 dst 2001:db8::2 proto udp sport 1024 dport 53", 78 },
	{ MACS IP6("0030", "2b",
		   "3301000000000000 0000000000000000"
		   "1104 0000 00000001 0000000000000000 0000000000000000" UDP),
	  "src 2001:db8::1 dst 2001:db8::2 proto udp sport 1024 dport 53", 102 },
	{ MACS IP6("0020", "87",
		   "8b00000000000000"
		   "8c00000000000000"
		   "1100000000000000" UDP),
	  "src 2001:db8::1 dst 2001:db8::2 proto udp sport 1024 dport 53", 86 },
	{ MACS IP6("0010", "2c", "1100000100000001" UDP),
	  "src 2001:db8::1 dst 2001:db8::2 proto udp sport 1024 dport 53 frag first", 70 },
	{ MACS IP6("0008", "2c", "1100000800000001"),
	  "src 2001:db8::1 dst 2001:db8::2 proto udp frag later", 62 },
	{ MACS IP6("0010", "2c", "1100000000000001" UDP),
	  "src 2001:db8::1 dst 2001:db8::2 proto udp sport 1024 dport 53", 70 },
	/* what follows a later fragment's header is not looked at, not even as a header */
	{ MACS IP6("0008", "2c", "3c00000800000001"),
	  "src 2001:db8::1 dst 2001:db8::2 proto 60 frag later", 62 },
	{ MACS IP6("0040", "3c",
		   "3c00010400000000 3c00010400000000 3c00010400000000"
		   "3c00010400000000 3c00010400000000 3c00010400000000 3c00010400000000"
		   "3b00010400000000"),
	  "src 2001:db8::1 dst 2001:db8::2 proto 59", 118 },
	/* nine of them */
	{ MACS IP6("0048", "3c",
		   "3c00010400000000 3c00010400000000 3c00010400000000"
		   "3c00010400000000 3c00010400000000 3c00010400000000 3c00010400000000"
		   "3c00010400000000 3b00010400000000"),
	  "bad", 0 },
	{ MACS, "bad", 0 },
	{ MACS "8100 0005 08", "bad", 0 },
	{ MACS "0800 5500 0014 1234 0000 40 2f 0000 0a000001 0a000002", "bad", 0 },
	{ MACS "0800 4400 0014 1234 0000 40 2f 0000 0a000001 0a000002", "bad", 0 },
	{ MACS "0800 4600 0014 1234 0000 40 2f 0000 0a000001 0a000002", "bad", 0 },
	{ MACS IP4("0000", "0000", "2f", ""), "bad", 0 },
	{ MACS IP4("0013", "0000", "2f", ""), "bad", 0 },
	{ MACS IP4("0015", "0000", "2f", ""), "bad", 0 },
	/* IP says that there are 19 bytes of TCP, and more are there */
	{ MACS IP4("0027", "0000", "06", TCP), "bad", 0 },
	{ MACS IP4("0027", "2000", "06", TCP), "bad", 0 },
	{ MACS IP4("001b", "0000", "11", UDP), "bad", 0 },
	{ MACS IP4("001f", "0000", "84", SCTP), "bad", 0 },
	{ MACS IP4("0017", "0000", "01", "08010000"), "bad", 0 },
	{ MACS "86dd 50000000 0000 3b 40" A6, "bad", 0 },
	{ MACS IP6("0001", "3b", ""), "bad", 0 },
	{ MACS IP6("0007", "3c", "3b00010400000000"), "bad", 0 },
	{ MACS IP6("0008", "3c", "3b01010400000000 0000000000000000"), "bad", 0 },
	{ MACS IP6("0003", "3a", "80000000"), "bad", 0 },
	/* jumbograms: payload length 0 */
	{ MACS IP6("0000", "00", "3b00c20400010000"), "bad", 0 },
};

static void written_out(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
		const struct example *e = &examples[i];
		uint8_t frame[256];
		struct flow_packet want;
		struct flow_header h;
		size_t n = from_hex(e->hex, frame);
		char why[512];

		h = parse(frame, n, (uint32_t)n);
		if (!strcmp(e->spec, "bad")) {
			if (!h.bad)
				fail_msg("not bad: %s", e->hex);
			assert_bad(&h);
			continue;
		}
		/* headers in between are no packets' protocols, but for later fragments */
		if (strstr(e->spec, "proto 60")) {
			assert_int_equal(h.proto, 60);
			assert_int_equal(h.frag, FLOW_FRAG_LATER);
			continue;
		}
		if (flow_packet_spec(e->spec, &want, why, sizeof(why)))
			fail_msg("%s: %s", e->spec, why);
		want.h.len = (uint32_t)n;
		want.h.ifindex = 77;
		if (memcmp(&h, &want.h, sizeof(h)))
			fail_msg("%s is not %s", e->hex, e->spec);
	}
}

/* A frame that ends early is bad until all that is looked at is there: then it is as the whole. */
static void cut_at_each_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
		uint8_t frame[256];
		size_t n = from_hex(examples[i].hex, frame);
		struct flow_header whole = parse(frame, n, (uint32_t)n);

		for (size_t have = 0; have < n; have++) {
			/* as it was sent, and as the capture of a longer one */
			struct flow_header h = parse(frame, have, (uint32_t)have);
			struct flow_header kept = parse(frame, have, (uint32_t)n);

			if (have < examples[i].needs || whole.bad) {
				assert_bad(&h);
				if (whole.bad || kept.bad)
					assert_bad(&kept);
				else
					assert_memory_equal(&kept, &whole, sizeof(kept));
				continue;
			}
			h.len = (uint32_t)n;
			assert_memory_equal(&h, &whole, sizeof(h));
			assert_memory_equal(&kept, &whole, sizeof(kept));
		}
	}
}

/* Whatever one byte is, a header is one that makes sense, and nothing is read that is not there. */
static void assert_sense(const struct flow_header *h)
{
	struct flow_header normal = *h;

	if (h->bad) {
		assert_bad(h);
		return;
	}
	assert_true(h->family == 0 || h->family == 4 || h->family == 6);
	flow_gen_normal(&normal);
	if (h->family == 6 && h->frag == FLOW_FRAG_LATER)
		normal.proto = h->proto;
	assert_memory_equal(h, &normal, sizeof(normal));
	for (int i = h->family == 4 ? 4 : h->family ? 16 : 0; i < 16; i++)
		assert_true(!h->saddr[i] && !h->daddr[i]);
	assert_true(h->vlan_id < 4096);
}

static void each_byte_changed(void **state)
{
	size_t bad = 0, same = 0, all = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
		uint8_t frame[256];
		size_t n = from_hex(examples[i].hex, frame);
		struct flow_header whole = parse(frame, n, (uint32_t)n);

		for (size_t at = 0; at < n; at++)
			for (int x = 1; x < 256; x++) {
				struct flow_header h;

				frame[at] ^= (uint8_t)x;
				h = parse(frame, n, (uint32_t)n);
				frame[at] ^= (uint8_t)x;
				assert_sense(&h);
				bad += h.bad;
				same += !memcmp(&h, &whole, sizeof(h));
				all++;
			}
	}
	assert_true(bad > all / 50 && same > all / 50);
}

/* ---- there and back ---- */

static unsigned int ip_sum(const uint8_t *p, size_t n, uint32_t sum)
{
	for (size_t i = 0; i < n; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* A sum over what has a right checksum is all ones. */
static void check_sums(const uint8_t *frame, const struct flow_packet *p)
{
	const uint8_t *ip = frame + 14 + (p->h.tagged ? 4 : 0) + (p->qinq ? 4 : 0), *l4;
	unsigned int n;

	if (p->h.family == 4)
		assert_int_equal(ip_sum(ip, 20, 0), 0xffff);
	if (!p->h.family || p->h.frag != FLOW_FRAG_NO ||
	    !(p->h.has_tcp || p->h.has_icmp || (p->h.has_ports && p->h.proto == IPPROTO_UDP)))
		return;
	n = p->h.family == 4 ? (ip[2] << 8 | ip[3]) - 20U : (unsigned int)(ip[4] << 8 | ip[5]);
	l4 = ip + (p->h.family == 4 ? 20 : 40);
	if (p->h.proto == IPPROTO_ICMP)
		assert_int_equal(ip_sum(l4, n, 0), 0xffff);
	else
		assert_int_equal(
			ip_sum(l4, n,
			       ip_sum(p->h.saddr, 16, ip_sum(p->h.daddr, 16, n + p->h.proto))),
			0xffff);
}

static void there_and_back(void **state)
{
	static uint8_t frame[FLOW_PACKET_MAX];
	uint64_t seed = 9;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		struct flow_packet p = { .h.ifindex = 0 };
		struct flow_header h;
		size_t n;

		flow_gen_header(&p.h, 0, &seed);
		p.h.len = flow_gen_one_in(&seed, 2) ? 0 : 130 + flow_gen_below(&seed, 1400);
		p.qinq = p.h.tagged && flow_gen_one_in(&seed, 2);
		p.inner_id = 5;
		n = flow_packet_build(&p, frame, sizeof(frame));
		assert_true(n >= 60);
		if (p.h.len)
			assert_int_equal(n, p.h.len);
		check_sums(frame, &p);
		h = parse(frame, n, (uint32_t)n);
		p.h.len = (uint32_t)n;
		p.h.ifindex = 77;
		assert_memory_equal(&h, &p.h, sizeof(h));
	}
}

static void no_room(void **state)
{
	struct flow_packet p = { .h = { .family = 6,
					.proto = IPPROTO_TCP,
					.has_ports = true,
					.has_tcp = true,
					.frag = FLOW_FRAG_NO } };
	uint8_t frame[80];

	(void)state;
	for (size_t room = 0; room < 74; room++)
		assert_int_equal(flow_packet_build(&p, frame, room), 0);
	assert_int_equal(flow_packet_build(&p, frame, 74), 74);
	p.h.len = 73;
	assert_int_equal(flow_packet_build(&p, frame, sizeof(frame)), 0);
	p.h.len = 80;
	assert_int_equal(flow_packet_build(&p, frame, sizeof(frame)), 80);
	p.h.len = FLOW_PACKET_MAX + 1;
	assert_int_equal(flow_packet_build(&p, frame, sizeof(frame)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_out),	     cmocka_unit_test(cut_at_each_byte),
		cmocka_unit_test(each_byte_changed), cmocka_unit_test(there_and_back),
		cmocka_unit_test(no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
