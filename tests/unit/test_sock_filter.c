// SPDX-License-Identifier: GPL-2.0
/* Filters: how they may be written, what they match, and what is said of wrong ones. */
#include <arpa/inet.h>
#include "cmocka_all.h"
#include "cmd.h"
#include "cmd_sock_filter.h"
#include "cmd_sock_names.h"

#define NOW	   10000000000000000ULL
#define SEC	   1000000000ULL
#define WORDS(...) ((char *[]){ __VA_ARGS__, NULL })

static int parse(struct sock_filter *f, char *const *words, char *err, size_t size)
{
	int n = 0;

	while (words[n])
		n++;
	*err = '\0';
	return sock_filter_parse_quiet(f, words, n, err, size);
}

static struct kcm_sock example(void)
{
	struct kcm_sock s = {
		.cookie = 4711,
		.state = KCM_SK_ESTABLISHED,
		.role = KCM_ROLE_SERVER,
		.proto = KCM_SK_TCP,
		.tx_bytes = 3 << 20,
		.rx_bytes = 1000,
		.rx_msgs = 7,
		.tx_msgs = 5,
		.last_ns = NOW - 30 * SEC,
		.frame = 1,
		.slot = 3,
		.info = { .start_ns = NOW - 3600 * SEC,
			  .pid = 123,
			  .uid = 1000,
			  .comm = "nginx",
			  .family = AF_INET,
			  .lport = 80,
			  .rport = 40000,
			  .srtt_us = 5000,
			  .retrans = 11,
			  .cgroup_id = 99,
			  .netns_cookie = 5,
			  .rate_bytes = 1250000,
			  .lat_n = 4,
			  .lat_ns_sum = 4000000,
			  .lat_ns_max = 3000000,
			  .label = { { "tenant", "gold" }, { "user", "alice" } } },
	};

	memcpy(s.info.laddr, (uint8_t[]){ 192, 168, 1, 1 }, 4);
	memcpy(s.info.raddr, (uint8_t[]){ 10, 1, 2, 3 }, 4);
	s.info.hist[10] = 4; /* 512 us to 1.024 ms */
	return s;
}

static bool matches(char *const *words)
{
	struct kcm_sock s = example();
	struct sock_filter f;
	char err[256];

	if (parse(&f, words, err, sizeof(err)))
		fail_msg("%s...: %s", words[0], err);
	f.now_ns = NOW;
	return sock_filter_match(&f, &s);
}

static void words_may_be_joined_or_apart(void **state)
{
	(void)state;
	assert_true(matches(WORDS("idle>29s")));
	assert_true(matches(WORDS("idle", ">", "29s")));
	assert_true(matches(WORDS("idle >", "29s")));
	assert_true(matches(WORDS("idle", ">29s")));
	assert_true(matches(WORDS("idle > 29s retrans > 10 and port 80")));
	assert_true(matches(WORDS("idle", "gt", "29s", "retrans", "ge", "11")));
	assert_false(matches(WORDS("idle>31s")));
	assert_false(matches(WORDS("idle", "lt", "29s")));
	assert_true(matches(WORDS("port", "80")));
	assert_true(matches(WORDS("port=80")));
	assert_true(matches(WORDS("port == 80")));
	assert_true(matches((char *[]){ NULL }));
}

static void ports_and_addresses(void **state)
{
	(void)state;
	assert_true(matches(WORDS("lport", "80")));
	assert_false(matches(WORDS("rport", "80")));
	assert_true(matches(WORDS("port", "40000")));
	assert_true(matches(WORDS("port", "443,80")));
	assert_false(matches(WORDS("port", "443,8080")));
	assert_false(matches(WORDS("port!=80")));
	assert_true(matches(WORDS("rport>=32768")));
	assert_true(matches(WORDS("peer", "10.0.0.0/8")));
	assert_true(matches(WORDS("peer", "10.1.2.0/23")));
	assert_false(matches(WORDS("peer", "10.1.4.0/23")));
	assert_true(matches(WORDS("peer", "10.1.2.3:40000")));
	assert_false(matches(WORDS("peer", "10.1.2.3:4")));
	assert_false(matches(WORDS("peer", "192.168.0.0/16")));
	assert_true(matches(WORDS("laddr", "192.168.0.0/16")));
	assert_true(matches(WORDS("addr", "192.168.0.0/16")));
	assert_true(matches(WORDS("peer", "0.0.0.0/0")));
	assert_false(matches(WORDS("peer", "::/0")));
	assert_true(matches(WORDS("peer", "::1,10.1.2.3")));
}

static void ipv6(void **state)
{
	struct kcm_sock s = example();
	struct sock_filter f;
	char err[256];
	static const struct {
		char *text;
		bool match;
	} cases[] = { { "fd00:1::/32", true },	  { "[fd00:1::2]:40000", true },
		      { "[fd00:1::2]:1", false }, { "fd00:1::2", true },
		      { "fd00:2::/32", false },	  { "[fd00::]/17", true } };

	(void)state;
	s.info.family = AF_INET6;
	inet_pton(AF_INET6, "fd00:1::2", s.info.raddr);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(parse(&f, WORDS("peer", cases[i].text), err, sizeof(err)), 0);
		assert_int_equal(sock_filter_match(&f, &s), cases[i].match);
	}
	/* IPv4 through an IPv6 socket */
	inet_pton(AF_INET6, "::ffff:10.1.2.3", s.info.raddr);
	assert_int_equal(parse(&f, WORDS("peer", "10.0.0.0/8"), err, sizeof(err)), 0);
	assert_true(sock_filter_match(&f, &s));
	assert_int_equal(parse(&f, WORDS("peer", "11.0.0.0/8"), err, sizeof(err)), 0);
	assert_false(sock_filter_match(&f, &s));
}

static void words_texts_and_labels(void **state)
{
	(void)state;
	assert_true(matches(WORDS("state", "established", "role", "server", "proto", "tcp")));
	assert_true(matches(WORDS("state", "estab,close-wait")));
	assert_false(matches(WORDS("state!=established")));
	assert_true(matches(WORDS("family", "inet")));
	assert_true(matches(WORDS("comm", "nginx")));
	assert_true(matches(WORDS("comm", "ngi*")));
	assert_false(matches(WORDS("comm", "ngi")));
	assert_true(matches(WORDS("label", "tenant")));
	assert_true(matches(WORDS("label", "tenant=gold")));
	assert_true(matches(WORDS("label", "tenant", "=", "gold")));
	assert_true(matches(WORDS("label", "tenant=g*")));
	assert_false(matches(WORDS("label", "tenant=silver")));
	assert_true(matches(WORDS("label", "tenant!=silver")));
	assert_true(matches(WORDS("label", "tenant", "!=", "silver")));
	assert_false(matches(WORDS("label", "tenant!=gold")));
	assert_false(matches(WORDS("label", "ten")));
	assert_true(matches(WORDS("label", "tenant=gold", "label", "user=alice", "port", "80")));
	assert_true(matches(WORDS("label tenant port 80")));
	assert_true(matches(WORDS("cgroup", "99")));
	assert_false(matches(WORDS("cgroup", "98")));
	assert_true(matches(WORDS("netns", "5")));
	assert_true(matches(WORDS("pid", "123,4")));
	assert_true(matches(WORDS("4711")));
	assert_false(matches(WORDS("4712")));
	assert_true(matches(WORDS("cookie", "4711")));
}

static void numbers_have_units(void **state)
{
	(void)state;
	assert_true(matches(WORDS("rtt>=5ms")));
	assert_true(matches(WORDS("srtt = 5000us")));
	assert_true(matches(WORDS("age", "ge", "1h")));
	assert_true(matches(WORDS("age<61m")));
	assert_true(matches(WORDS("tx_bytes=3M")));
	assert_true(matches(WORDS("tx-bytes>2.5M")));
	assert_true(matches(WORDS("rx_bytes<1K")));
	assert_true(matches(WORDS("msgs=12")));
	assert_true(matches(WORDS("rate=10Mbit")));
	assert_true(matches(WORDS("rate=10mbit/s")));
	assert_true(matches(WORDS("rate>1M")));
	assert_true(matches(WORDS("latency=1ms")));
	assert_true(matches(WORDS("p99>512us p99<1100us")));
	assert_true(matches(WORDS("lat_max=3ms")));
}

static void flags_and_not(void **state)
{
	(void)state;
	assert_false(matches(WORDS("adopted")));
	assert_true(matches(WORDS("not", "adopted")));
	assert_true(matches(WORDS("not adopted and framed")));
	assert_true(matches(WORDS("not", "port", "443")));
	assert_false(matches(WORDS("not", "port", "80")));
	assert_true(matches(WORDS("not", "not", "port", "80")));
	assert_false(matches(WORDS("beyond")));
	assert_false(matches(WORDS("limited")));
	assert_true(matches(WORDS("not", "unframed")));
}

/* What is not known is neither more nor less than anything. */
static void unknown_matches_no_comparison(void **state)
{
	struct kcm_sock s = example();
	struct sock_filter f;
	char err[256];
	char *texts[] = { "rtt<1h", "p99<1h", "age<1d", "connect<1d", "rate<1G" };

	(void)state;
	s.info.srtt_us = 0;
	s.info.lat_n = 0;
	s.info.start_ns = 0;
	s.info.rate_bytes = 0;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		assert_int_equal(parse(&f, WORDS(texts[i]), err, sizeof(err)), 0);
		f.now_ns = NOW;
		assert_false(sock_filter_match(&f, &s));
	}
}

static void wrong_ones_say_what_is_expected(void **state)
{
	static const struct {
		char *text;
		const char *said;
	} cases[] = {
		{ "idel > 3s", "unknown filter 'idel'; try: idle" },
		{ "zzzzzzzzzz", "unknown filter 'zzzzzzzzzz'; try: kcmtool sock fields" },
		{ "=", "unknown filter '='; try: kcmtool sock fields" },
		{ "idle >", "no value for 'idle': it needs a value; try: \"idle > 30s\"" },
		{ "idle", "no value for 'idle': it needs a value; try: \"idle > 30s\"" },
		{ "idle > 30",
		  "bad value '30' for 'idle': no time with its unit: ns us ms s m h d; "
		  "try: \"idle > 30s\"" },
		{ "idle > -1s", "bad value '-1s' for 'idle': no time with its unit: ns us ms s m h "
				"d; try: \"idle > 30s\"" },
		{ "port http", "bad value 'http' for 'port': no port from 0 to 65535; try: port "
			       "80,443" },
		{ "port 65536", "bad value '65536' for 'port': no port from 0 to 65535; try: port "
				"80,443" },
		{ "port > 1,2", "bad condition for 'port': one value only; try: port 80,443" },
		{ "comm > a", "bad condition for 'comm': it is equal or not; try: comm 'nginx*'" },
		{ "peer 10.0.0", "bad value '10.0.0' for 'peer': no address, ADDRESS/BITS or "
				 "ADDRESS:PORT; try: peer 10.0.0.0/8" },
		{ "peer 10.0.0.0/33", "bad value '10.0.0.0/33' for 'peer': no address, "
				      "ADDRESS/BITS or ADDRESS:PORT; try: peer 10.0.0.0/8" },
		{ "role boss", "bad value 'boss' for 'role': not one of those there are; try: "
			       "unknown client server listener" },
		{ "proto sctp",
		  "bad value 'sctp' for 'proto': not one of those there are; try: tcp "
		  "udp" },
		{ "label = =x", "bad value '=x' for 'label': no KEY or KEY=VALUE of a label; try: "
				"label tenant=gold" },
		{ "label a > b", "bad condition for 'label': labels are equal to a value, or not; "
				 "try: label tenant=gold" },
		{ "rx_bytes > many", "bad value 'many' for 'rx_bytes': no size such as 500, 64K or "
				     "1M; try: \"rx_bytes > 1M\"" },
		{ "netns nosuchns", "bad value 'nosuchns' for 'netns': No such file or directory; "
				    "try: netns blue" },
		{ "not", "nothing behind 'not'; try: not adopted" },
		{ "4711x", "bad value '4711x' for 'cookie': no number; try: cookie 4711" },
	};
	struct sock_filter f;
	char err[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (!parse(&f, WORDS(cases[i].text), err, sizeof(err)))
			fail_msg("'%s' is taken", cases[i].text);
		assert_string_equal(err, cases[i].said);
	}
}

static void too_many_are_refused(void **state)
{
	char *words[2 * SOCK_TERMS + 3] = { NULL };
	char values[256] = "port 1";
	struct sock_filter f;
	char err[256];

	(void)state;
	for (int i = 0; i < 2 * SOCK_TERMS; i += 2) {
		words[i] = "port";
		words[i + 1] = "80";
	}
	assert_int_equal(parse(&f, words, err, sizeof(err)), 0);
	words[2 * SOCK_TERMS] = "adopted";
	assert_int_not_equal(parse(&f, words, err, sizeof(err)), 0);
	for (int i = 0; i < SOCK_VALUES; i++)
		strcat(values, ",2");
	assert_int_not_equal(parse(&f, WORDS(values), err, sizeof(err)), 0);
}

/* Every example that help and error lines give is a filter (of a cgroup and netns that exist). */
static void examples_work(void **state)
{
	struct sock_filter f;
	char err[256], text[80];

	(void)state;
	for (size_t i = 0; i < SOCK_F_COUNT; i++) {
		size_t n = 0;

		if (sock_fields[i].kind == SOCK_KIND_CGROUP ||
		    sock_fields[i].kind == SOCK_KIND_NETNS)
			continue;
		for (const char *p = sock_fields[i].example; *p; p++)
			if (*p != '"')
				text[n++] = *p;
		text[n] = '\0';
		if (parse(&f, WORDS(text), err, sizeof(err)))
			fail_msg("%s: %s", text, err);
		assert_ptr_equal(f.term[0].field, &sock_fields[i]);
	}
}

static void names_are_not_ambiguous(void **state)
{
	(void)state;
	for (size_t i = 0; i < SOCK_F_COUNT; i++) {
		const struct sock_field *f = &sock_fields[i];

		assert_ptr_equal(sock_field_find(f->name, strlen(f->name)), f);
		if (f->alias)
			assert_ptr_equal(sock_field_find(f->alias, strlen(f->alias)), f);
	}
}

static void order_puts_the_unknown_first(void **state)
{
	struct kcm_sock a = example(), b = example();
	const struct sock_field *rtt = sock_field_find("rtt", 3);

	(void)state;
	a.info.srtt_us = 0;
	assert_true(sock_field_cmp(rtt, &a, &b, NOW) < 0);
	assert_true(sock_field_cmp(rtt, &b, &a, NOW) > 0);
	a.info.srtt_us = 6000;
	assert_true(sock_field_cmp(rtt, &a, &b, NOW) > 0);
	assert_int_equal(sock_field_cmp(rtt, &a, &a, NOW), 0);
	strcpy(a.info.comm, "zsh");
	assert_true(sock_field_cmp(sock_field_find("comm", 4), &a, &b, NOW) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_may_be_joined_or_apart),
		cmocka_unit_test(ports_and_addresses),
		cmocka_unit_test(ipv6),
		cmocka_unit_test(words_texts_and_labels),
		cmocka_unit_test(numbers_have_units),
		cmocka_unit_test(flags_and_not),
		cmocka_unit_test(unknown_matches_no_comparison),
		cmocka_unit_test(wrong_ones_say_what_is_expected),
		cmocka_unit_test(too_many_are_refused),
		cmocka_unit_test(examples_work),
		cmocka_unit_test(names_are_not_ambiguous),
		cmocka_unit_test(order_puts_the_unknown_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
