// SPDX-License-Identifier: GPL-2.0
/* Which kernels doctor and load take for safe, by uname's release and version. */
#include "cmocka_all.h"
#include "feature.h"
#include "util.h"

#define DEBIAN(v) "#1 SMP PREEMPT_DYNAMIC Debian " v "-1 (2026-01-01)"
#define OTHER	  "#1 SMP PREEMPT_DYNAMIC"

static void kernels(void **state)
{
	static const struct {
		const char *release, *version;
		enum feature_state state;
	} cases[] = {
		{ "5.10.0-46-amd64", DEBIAN("5.10.262"), FEATURE_MISSING },
		{ "6.0.19", OTHER, FEATURE_MISSING },
		/* 6.1.0-40 is the name of an ABI, the version tells the release */
		{ "6.1.0-37-amd64", DEBIAN("6.1.140"), FEATURE_MISSING },
		{ "6.1.0-38-amd64", DEBIAN("6.1.147"), FEATURE_WARN },
		{ "6.1.0-56-amd64", DEBIAN("6.1.192"), FEATURE_WORKS },
		{ "6.1.146", OTHER, FEATURE_MISSING },
		{ "6.1.192", OTHER, FEATURE_WORKS },
		{ "6.8.0-45-generic", "#45-Ubuntu SMP", FEATURE_WARN },
		{ "6.11.9", OTHER, FEATURE_WARN },
		{ "6.12.34", OTHER, FEATURE_MISSING },
		{ "6.12.35", OTHER, FEATURE_WARN },
		{ "6.12.117+deb13-amd64", DEBIAN("6.12.117"), FEATURE_WORKS },
		{ "6.15.1", OTHER, FEATURE_WARN },
		{ "6.16.0", OTHER, FEATURE_WORKS },
		{ "6.18.15+deb13-amd64", DEBIAN("6.18.15"), FEATURE_WORKS },
		{ "7.3.4+deb13-amd64", DEBIAN("7.3.4"), FEATURE_WORKS },
		{ "7.0-rc1", OTHER, FEATURE_WORKS },
	};
	char why[160];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		enum feature_state got =
			kernel_sockmap_state(cases[i].release, cases[i].version, why, sizeof(why));

		if (got != cases[i].state)
			fail_msg("%s: %s (%s)", cases[i].release, feature_state_name(got), why);
		assert_true(why[0]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kernels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
