// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_flow_model.c - the model of policies against truths in words, and against arithmetic */
#include "cmocka_all.h"
#include "flow_gen_header.h"
#include "lib/flow_model.h"
#include "lib/flow_parse.h"

/* ---- words ---- */

static const struct {
	const char *policy, *packet;
	bool matches;
} truths[] = {
	{ "0 pass", "", true },
	{ "0 pass", "ethertype 0x88cc vlan 5", true },
	{ "0 pass", "ip6 src ::1 proto tcp", true },
	{ "0 ip pass", "ip", true },
	{ "0 ip pass", "ip6", false },
	{ "0 ip pass", "", false },
	{ "0 ip6 pass", "ip6", true },
	{ "0 src 10.0.0.0/8 pass", "src 10.255.255.255", true },
	{ "0 src 10.0.0.0/8 pass", "src 11.0.0.0", false },
	{ "0 src 10.0.0.0/8 pass", "dst 10.0.0.0", false },
	{ "0 src 10.0.0.0/8 pass", "ip6 src a00::", false },
	{ "0 src 10.1.2.128/25 pass", "src 10.1.2.128", true },
	{ "0 src 10.1.2.128/25 pass", "src 10.1.2.127", false },
	{ "0 src not 10.0.0.0/8 pass", "src 10.0.0.1", false },
	{ "0 src not 10.0.0.0/8 pass", "src 11.0.0.1", true },
	{ "0 src not 10.0.0.0/8 pass", "ip6", false },
	{ "0 src not 10.0.0.0/8 pass", "", false },
	{ "0 dst 2001:db8::/33 pass", "dst 2001:db8:7fff::", true },
	{ "0 dst 2001:db8::/33 pass", "dst 2001:db8:8000::", false },
	{ "0 dst ::1 pass", "dst ::1", true },
	{ "0 dst ::1 pass", "dst ::2", false },
	{ "0 src @four pass", "src 1.2.3.4", true },
	{ "0 src @four pass", "src 1.2.3.5", false },
	{ "0 src @four pass", "ip6", false },
	{ "0 src @four pass", "", false },
	{ "0 src not @four pass", "src 1.2.3.5", true },
	{ "0 src not @four pass", "ip6", true },
	{ "0 src not @four pass", "", false },
	{ "0 ip6 src not @four pass", "src 1.2.3.5", false },
	{ "0 dst @both pass", "dst 9.255.0.0", true },
	{ "0 dst @both pass", "dst 2001:db8::5", true },
	{ "0 dst @both pass", "src 9.0.0.0", false },
	{ "0 dst @none pass", "dst 9.0.0.0", false },
	{ "0 dst not @none pass", "dst 9.0.0.0", true },
	{ "0 proto tcp pass", "ip proto tcp", true },
	{ "0 proto tcp pass", "ip6 proto tcp", true },
	{ "0 proto tcp pass", "ip proto udp", false },
	{ "0 proto tcp pass", "ip proto tcp frag later", true },
	{ "0 proto 0 pass", "", false },
	{ "0 proto 0 pass", "ip proto 0", true },
	{ "0 proto tcp dport 80-90 pass", "ip proto tcp dport 80", true },
	{ "0 proto tcp dport 80-90 pass", "ip proto tcp dport 90", true },
	{ "0 proto tcp dport 80-90 pass", "ip proto tcp dport 79", false },
	{ "0 proto tcp dport 80-90 pass", "ip proto tcp dport 91", false },
	{ "0 proto tcp dport 80-90 pass", "ip proto tcp sport 80", false },
	{ "0 proto tcp dport 80-90 pass", "ip proto udp dport 80", false },
	{ "0 proto tcp dport 0-10 pass", "ip proto tcp frag first", true },
	{ "0 proto tcp dport 0-10 pass", "ip proto tcp frag later", false },
	{ "0 proto tcp dport 0-65535 pass", "ip proto tcp frag later", true },
	{ "0 proto sctp sport 7 pass", "ip6 proto sctp sport 7", true },
	{ "0 proto icmp icmp-type 8 pass", "ip icmp-type 8 icmp-code 1", true },
	{ "0 proto icmp icmp-type 8 pass", "ip icmp-type 0", false },
	{ "0 proto icmp icmp-type 0 pass", "ip proto icmp frag later", false },
	{ "0 proto icmp icmp-code 0 pass", "ip icmp-type 8 icmp-code 1", false },
	{ "0 proto icmp6 icmp-type 128 icmp-code 0 pass", "ip6 icmp-type 128", true },
	{ "0 proto icmp icmp-type 0 pass", "ip6 icmp-type 0", false },
	{ "0 proto icmp icmp-type 0 pass", "ip6 proto icmp", false },
	{ "0 proto icmp pass", "ip6 proto icmp", true },
	{ "0 frag no pass", "ip", true },
	{ "0 frag no pass", "ip frag first", false },
	{ "0 frag no pass", "", false },
	{ "0 frag yes pass", "ip frag first", true },
	{ "0 frag yes pass", "ip6 frag later", true },
	{ "0 frag yes pass", "ip6", false },
	{ "0 frag first pass", "ip frag later", false },
	{ "0 frag first pass", "ip frag first", true },
	{ "0 frag later pass", "ip frag later", true },
	{ "0 frag later pass", "ip frag first", false },
	{ "0 vlan none pass", "ip", true },
	{ "0 vlan none pass", "ip vlan 0", false },
	{ "0 vlan any pass", "ip vlan 0", true },
	{ "0 vlan any pass", "ip", false },
	{ "0 vlan 0 pass", "ip", false },
	{ "0 vlan 0 pass", "vlan 0", true },
	{ "0 vlan 7 pass", "ip vlan 7.8", true },
	{ "0 vlan 8 pass", "ip vlan 7.8", false },
	{ "0 proto tcp flags SYN,!ACK pass", "ip flags SYN,ECE", true },
	{ "0 proto tcp flags SYN,!ACK pass", "ip flags SYN,ACK", false },
	{ "0 proto tcp flags SYN,!ACK pass", "ip proto tcp", false },
	{ "0 proto tcp flags !ACK pass", "ip proto tcp", true },
	{ "0 proto tcp flags !ACK pass", "ip proto tcp frag later", false },
	{ "0 proto tcp flags CWR pass", "ip6 flags CWR,FIN", true },
};

static struct flow_prefix four[] = { { { 1, 2, 3, 4 }, 4, 32 } };
static struct flow_prefix both[] = { { { 0x20, 1, 0xd, 0xb8 }, 6, 32 },
				     { { 8 }, 4, 7 },
				     { { 8 }, 4, 8 } };

static struct flow_set lists(void)
{
	return (struct flow_set){ .lists = 3,
				  .list = { { "four", NULL, four, 1 },
					    { "both", NULL, both, 3 },
					    { "none", NULL, NULL, 0 } } };
}

static void in_words(void **state)
{
	struct flow_set set = lists();
	struct flow_policy p;

	(void)state;
	set.policy = &p;
	set.n = 1;
	set.default_action = FLOW_DROP;
	for (size_t i = 0; i < sizeof(truths) / sizeof(*truths); i++) {
		struct flow_verdict v = { 0 }, big = { 0 };
		struct flow_packet packet;
		struct flow_model *m;
		char why[512];

		if (flow_parse_policy(truths[i].policy, &set, &p, why, sizeof(why)) ||
		    flow_packet_spec(truths[i].packet, &packet, why, sizeof(why)))
			fail_msg("%s, %s: %s", truths[i].policy, truths[i].packet, why);
		if (flow_model_matches(&set, &p, &packet.h) != truths[i].matches)
			fail_msg("'%s' and '%s'", truths[i].policy, truths[i].packet);
		flow_model_judge(&set, &packet.h, &v);
		assert_int_equal(v.policy, truths[i].matches ? 0 : FLOW_NOBODY);
		assert_int_equal(v.action, truths[i].matches ? FLOW_PASS : FLOW_DROP);
		m = flow_model_new(&set);
		flow_model_run(m, &packet.h, &big);
		assert_memory_equal(&v, &big, sizeof(v));
		flow_model_free(m);
		packet.h.bad = true;
		assert_false(flow_model_matches(&set, &p, &packet.h));
	}
}

static void interfaces(void **state)
{
	struct flow_policy p = { .sport.hi = 65535, .dport.hi = 65535, .ifindex = 3 };
	struct flow_header h = { .ifindex = 3 };
	struct flow_set set = { 0 };

	(void)state;
	assert_true(flow_model_matches(&set, &p, &h));
	h.ifindex = 2;
	assert_false(flow_model_matches(&set, &p, &h));
}

/* ---- on the way ---- */

static void met_on_the_way(void **state)
{
	static const char *const texts[] = { "1 count", "2 ip count",  "3 sample 1/9", "4 ip6 drop",
					     "5 count", "6 ip mark 7", "7 count",      "8 drop" };
	struct flow_policy p[8];
	struct flow_set set = { .policy = p, .n = 8 };
	struct flow_header h = { .family = 4, .frag = FLOW_FRAG_NO };
	size_t met[3] = { 0 };
	struct flow_verdict v = { .met = met, .room = 3 };
	char why[512];

	(void)state;
	for (int i = 0; i < 8; i++)
		assert_int_equal(flow_parse_policy(texts[i], &set, &p[i], why, sizeof(why)), 0);
	flow_model_judge(&set, &h, &v);
	assert_int_equal(v.policy, 5);
	assert_int_equal(v.action, FLOW_MARK);
	assert_int_equal(v.n_met, 4);
	assert_int_equal(met[0], 0);
	assert_int_equal(met[1], 1);
	assert_int_equal(met[2], 2);
	h.family = 6;
	flow_model_judge(&set, &h, &v);
	assert_int_equal(v.policy, 3);
	assert_int_equal(v.n_met, 2);
	assert_int_equal(met[1], 2);
	h.bad = true;
	set.default_action = FLOW_DROP;
	flow_model_judge(&set, &h, &v);
	assert_int_equal(v.policy, FLOW_NOBODY);
	assert_int_equal(v.action, FLOW_DROP);
	assert_int_equal(v.n_met, 0);
}

/* ---- arithmetic ---- */

static unsigned __int128 number(const uint8_t *addr, uint8_t family)
{
	unsigned __int128 v = 0;

	for (int i = 0; i < (family == 4 ? 4 : 16); i++)
		v = v << 8 | addr[i];
	return v;
}

/* Addresses of a prefix are those from its first to its last one. */
static void prefixes_are_intervals(void **state)
{
	uint64_t seed = 5;
	int in = 0;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		struct flow_policy p = { .family = i % 2 ? 4 : 6,
					 .sport.hi = 65535,
					 .dport.hi = 65535 };
		struct flow_header h = { .family = p.family };
		unsigned int bits = p.family == 4 ? 32 : 128, bit;
		unsigned __int128 first, size_less_1, x;
		struct flow_set set = { 0 };
		bool inside;

		p.src.len = (uint8_t)(1 + flow_gen_below(&seed, bits));
		flow_gen_fill(p.src.addr, 0, p.family, &seed);
		flow_gen_cut(p.src.addr, p.src.len);
		memcpy(h.saddr, p.src.addr, 16);
		flow_gen_fill(h.saddr, p.src.len, p.family, &seed);
		bit = flow_gen_below(&seed, bits);
		if (flow_gen_one_in(&seed, 2))
			h.saddr[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
		first = number(p.src.addr, p.family);
		size_less_1 =
			p.src.len == bits ? 0 : ((unsigned __int128)1 << (bits - p.src.len)) - 1;
		x = number(h.saddr, p.family);
		inside = x >= first && x - first <= size_less_1;
		in += inside;
		assert_int_equal(flow_model_matches(&set, &p, &h), inside);
	}
	assert_in_range(in, 100000, 199000);
}

/* ---- the one for big sets ---- */

static void check_big(enum flow_gen_kind kind, size_t n, uint8_t family, uint64_t seed)
{
	size_t met[2][64], decided = 0, depth = 0;
	struct flow_model *m;
	struct flow_set set;

	flow_gen_set(&set, kind, n, family, &seed);
	m = flow_model_new(&set);
	assert_non_null(m);
	for (int i = 0; i < 2000; i++) {
		struct flow_verdict v = { .met = met[0], .room = 64 };
		struct flow_verdict big = { .met = met[1], .room = 64 };
		struct flow_header h;

		if (i % 2)
			flow_gen_near(&h, &set, &set.policy[flow_gen_below(&seed, (uint32_t)n)],
				      &seed);
		else
			flow_gen_header(&h, family, &seed);
		flow_model_judge(&set, &h, &v);
		flow_model_run(m, &h, &big);
		assert_int_equal(big.policy, v.policy);
		assert_int_equal(big.action, v.action);
		assert_int_equal(big.n_met, v.n_met);
		for (size_t k = 0; k < v.n_met && k < 64; k++)
			assert_int_equal(met[1][k], met[0][k]);
		if (v.policy == FLOW_NOBODY)
			continue;
		decided++;
		depth += v.policy;
	}
	/* Headers are not from another world, and policies not all behind one that takes all. */
	assert_true(decided > 300);
	assert_true(depth / decided > n / 4);
	flow_model_free(m);
	flow_set_free(&set);
}

static void big_is_the_same(void **state)
{
	static const size_t sizes[] = { 10, 100, 1000, 3000 };

	(void)state;
	for (int kind = 0; kind < FLOW_GEN_KINDS; kind++)
		for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
			for (int f = 0; f < 3; f++)
				check_big(kind, sizes[s], (uint8_t[]){ 0, 4, 6 }[f], s * 7 + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_words),	   cmocka_unit_test(interfaces),
		cmocka_unit_test(met_on_the_way),  cmocka_unit_test(prefixes_are_intervals),
		cmocka_unit_test(big_is_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
