// SPDX-License-Identifier: GPL-2.0
/* Names of flows are written without libc's functions for speed: they must say the same. */
#include <arpa/inet.h>
#include "cmocka_all.h"
#include "cmd_flow.h"

static char *name_of(const struct flow_flow *f)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	struct out *o = out_new(stream, OUT_JSON);

	out_table(o, "flow", NULL, 0);
	flow_put_name(o, f);
	assert_int_equal(out_finish(o), 0);
	fclose(stream);
	return text;
}

static void name_is(const struct flow_flow *f, const char *proto, const char *source,
		    const char *destination)
{
	_cleanup_free_ char *text = name_of(f);
	char want[256];

	snprintf(want, sizeof(want),
		 "{\"schema\":1,\"flow\":[{\"proto\":\"%s\",\"source\":\"%s\","
		 "\"destination\":\"%s\"}]}\n",
		 proto, source, destination);
	assert_string_equal(text, want);
}

static void addresses_are_as_inet_ntop_has_them(void **state)
{
	struct flow_flow f = { .family = 6, .proto = 17 };
	char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];

	(void)state;
	srand(1);
	for (int i = 0; i < 50000; i++) {
		for (int k = 0; k < 16; k += 2) {
			/* Of all lengths, and mostly zeroes. */
			unsigned int kind = (unsigned int)rand() % 8;
			unsigned int v =
				kind < 4 ? 0 : (unsigned int)rand() & 0xffff >> kind % 4 * 4;

			f.saddr[k] = (__u8)(v >> 8);
			f.saddr[k + 1] = (__u8)v;
			f.daddr[15 - k] = (__u8)rand();
		}
		inet_ntop(AF_INET6, f.saddr, source, sizeof(source));
		inet_ntop(AF_INET6, f.daddr, destination, sizeof(destination));
		name_is(&f, "udp", source, destination);
	}
	f.family = 4;
	for (int i = 0; i < 256; i++) {
		memset(f.saddr, i, 4);
		memset(f.daddr, 255 - i, 4);
		inet_ntop(AF_INET, f.saddr, source, sizeof(source));
		inet_ntop(AF_INET, f.daddr, destination, sizeof(destination));
		name_is(&f, "udp", source, destination);
	}
}

static void ports_and_types_have_their_place(void **state)
{
	struct flow_flow f = { .family = 6,
			       .proto = 6,
			       .class = KCM_FL_C_PORTS | KCM_FL_C_TCP,
			       .sport = 65535,
			       .dport = 0 };

	(void)state;
	f.saddr[15] = f.daddr[0] = 1;
	name_is(&f, "tcp", "[::1]:65535", "[100::]:0");
	f.family = 4;
	name_is(&f, "tcp", "0.0.0.0:65535", "1.0.0.0:0");
	f.class = KCM_FL_C_LATER;
	name_is(&f, "tcp frag", "0.0.0.0", "1.0.0.0");
	f.class = KCM_FL_C_ICMP;
	f.sport = 8;
	name_is(&f, "icmp 8/0", "0.0.0.0", "1.0.0.0");
	f.class = 0;
	f.proto = 253;
	name_is(&f, "253", "0.0.0.0", "1.0.0.0");
	f.family = 0;
	name_is(&f, "not-ip", "-", "-");
}

static void ages_and_flags_are_short(void **state)
{
	static const struct {
		__u64 ms;
		const char *text;
	} age[] = {
		{ 0, "0.0s" },	   { 9999, "9.9s" },	 { 10000, "10s" },    { 599999, "599s" },
		{ 600000, "10m" }, { 35999999, "599m" }, { 36000000, "10h" },
	};
	char text[FLOW_ADDR];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(age); i++) {
		flow_text_age(age[i].ms, text);
		assert_string_equal(text, age[i].text);
	}
	flow_text_flags(0, text);
	assert_string_equal(text, "-");
	flow_text_flags(0x12, text);
	assert_string_equal(text, "SA");
	flow_text_flags(0xff, text);
	assert_string_equal(text, "FSRPAUEC");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_as_inet_ntop_has_them),
		cmocka_unit_test(ports_and_types_have_their_place),
		cmocka_unit_test(ages_and_flags_are_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
