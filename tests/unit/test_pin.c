// SPDX-License-Identifier: GPL-2.0
/* Names and paths of pins. What happens in bpffs is in tests/e2e/load.bats. */
#include <errno.h>
#include "cmocka_all.h"
#include "pin.h"

static void names(void **state)
{
	(void)state;
	assert_true(kcm_pin_name_ok("default"));
	assert_true(kcm_pin_name_ok("a-B_9"));
	assert_true(kcm_pin_name_ok("0123456789012345678901234567890")); /* 31 */
	assert_false(kcm_pin_name_ok("01234567890123456789012345678901"));
	assert_false(kcm_pin_name_ok(""));
	assert_false(kcm_pin_name_ok("-x"));
	assert_false(kcm_pin_name_ok("a.b")); /* bpffs refuses dots */
	assert_false(kcm_pin_name_ok(".."));
	assert_false(kcm_pin_name_ok("a/b"));
	assert_false(kcm_pin_name_ok("stage+"));
	assert_false(kcm_pin_name_ok("a\n"));
}

static void paths(void **state)
{
	char path[KCM_PIN_PATH], small[12];

	(void)state;
	assert_int_equal(kcm_pin_path(path, sizeof(path), "mux", NULL, NULL), 0);
	assert_string_equal(path, "/sys/fs/bpf/kcm/mux");
	assert_int_equal(kcm_pin_path(path, sizeof(path), "mux", "a", NULL), 0);
	assert_string_equal(path, "/sys/fs/bpf/kcm/mux/a");
	assert_int_equal(kcm_pin_path(path, sizeof(path), "mux", "a", "layout"), 0);
	assert_string_equal(path, "/sys/fs/bpf/kcm/mux/a/layout");
	assert_int_equal(kcm_pin_path(path, sizeof(path), "mux", "../x", NULL), -EINVAL);
	assert_int_equal(kcm_pin_path(path, sizeof(path), "", "x", NULL), -EINVAL);
	assert_int_equal(kcm_pin_path(small, sizeof(small), "mux", "a", NULL), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
