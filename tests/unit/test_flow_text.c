// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_flow_text.c - text that was written is read as the same policies, and written the same again
 */
#include <errno.h>
#include "cmocka_all.h"
#include "flow_gen.h"
#include "lib/flow_parse.h"
#include "lib/flow_text.h"

static char *text_of(const struct flow_set *set, size_t *bytes)
{
	char *text;
	FILE *f = open_memstream(&text, bytes);

	assert_non_null(f);
	flow_text_head(f, set);
	for (size_t i = 0; i < set->n; i++) {
		flow_text_policy(f, set, &set->policy[i]);
		fputc('\n', f);
	}
	assert_int_equal(fclose(f), 0);
	return text;
}

/* Indices of interfaces are not in a text. */
static struct flow_policy in_text(const struct flow_policy *p)
{
	struct flow_policy q = *p;

	q.ifindex = q.out_ifindex = 0;
	return q;
}

static void check(enum flow_gen_kind kind, size_t n, uint8_t family, uint64_t seed)
{
	struct flow_set set, again;
	char why[512] = "", *text, *text_again;
	size_t bytes, bytes_again;

	flow_gen_set(&set, kind, n, family, &seed);
	assert_int_equal(set.n, n);
	text = text_of(&set, &bytes);
	if (flow_text_read(text, bytes, &again, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(again.n, set.n);
	assert_int_equal(again.lists, set.lists);
	assert_int_equal(again.default_action, set.default_action);
	for (size_t i = 0; i < set.lists; i++) {
		assert_string_equal(again.list[i].name, set.list[i].name);
		assert_string_equal(again.list[i].path, set.list[i].path);
		assert_int_equal(again.list[i].n, 0);
	}
	for (size_t i = 0; i < set.n; i++) {
		struct flow_policy p = in_text(&set.policy[i]);

		assert_memory_equal(&again.policy[i], &p, sizeof(p));
	}
	text_again = text_of(&again, &bytes_again);
	assert_string_equal(text_again, text);
	flow_set_free(&set);
	flow_set_free(&again);
	free(text);
	free(text_again);
}

static void random_sets(void **state)
{
	(void)state;
	for (int kind = 0; kind < FLOW_GEN_KINDS; kind++)
		for (uint8_t family = 0; family <= 6; family += family ? 2 : 4)
			for (uint64_t seed = 1; seed < 6; seed++)
				check(kind, kind == FLOW_GEN_MIXED ? 4000 : 500, family, seed);
}

static const struct {
	const char *text, *again;
} forms[] = {
	{ "1 drop", "1 drop" },
	{ "5 src 10.0.0.0/8 name a in e0 drop", "5 name a in e0 ip src 10.0.0.0/8 drop" },
	{ "5 src 10.0.0.1/32 pass", "5 ip src 10.0.0.1 pass" },
	{ "5 src 0.0.0.0/0 pass", "5 ip pass" },
	{ "5 dst 2001:DB8:0:0::/64 pass", "5 ip6 dst 2001:db8::/64 pass" },
	{ "5 flags !ACK,SYN proto 6 count", "5 proto tcp flags SYN,!ACK count" },
	{ "5 proto icmpv6 icmp-type 1 forward", "5 proto icmp6 icmp-type 1 forward" },
	{ "5 proto 200 mark 0x10", "5 proto 200 mark 16" },
	{ "5 proto udp dport 0-65535 sport 7-7 pass", "5 proto udp sport 7 pass" },
	{ "5 limit 1000kbit per-flow burst 2048", "5 limit 1Mbit burst 2K per-flow" },
	{ "5 limit 1000B/s", "5 limit 8kbit" },
	{ "5 limit 1001B/s burst 1025", "5 limit 1001B/s burst 1025" },
	{ "5 limit 2000pps burst 1024", "5 limit 2kpps burst 1024" },
	{ "5 limit 1Tbit burst 1G", "5 limit 1Tbit burst 1G" },
	{ "5 src not @l dst @l vlan any frag yes drop",
	  "5 src not @l dst @l frag yes vlan any drop" },
};

static void one_form_each(void **state)
{
	struct flow_set set = { .lists = 1, .list[0].name = "l" };

	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		char why[512], *text;
		struct flow_policy p;
		size_t bytes;
		FILE *f;

		if (flow_parse_policy(forms[i].text, &set, &p, why, sizeof(why)))
			fail_msg("%s: %s", forms[i].text, why);
		f = open_memstream(&text, &bytes);
		flow_text_policy(f, &set, &p);
		fclose(f);
		assert_string_equal(text, forms[i].again);
		free(text);
	}
}

static void not_a_text(void **state)
{
	static const char text[] = "default drop\n10 drop\n20 srv ::1 pass\n30 x\n";
	static const char lists[] = "list a /nowhere/at/all\n1 src @a drop";
	struct flow_set set;
	char why[128] = "";

	(void)state;
	assert_int_equal(flow_text_read(text, sizeof(text) - 1, &set, why, sizeof(why)), -EINVAL);
	assert_string_equal(why, "unknown word 'srv'; did you mean 'src'?");
	flow_set_free(&set);
	/* no lists are read: that they were is long ago */
	assert_int_equal(flow_text_read(lists, sizeof(lists) - 1, &set, why, sizeof(why)), 0);
	assert_int_equal(set.n, 1);
	assert_true(set.policy[0].src.is_list);
	flow_set_free(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_sets),
		cmocka_unit_test(one_form_each),
		cmocka_unit_test(not_a_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
