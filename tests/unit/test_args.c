// SPDX-License-Identifier: GPL-2.0
/* The argument parser, against entries like those of the command table. */
#include "cmocka_all.h"
#include "cmd.h"
#include "lib/suggest.h"

static const struct cmd_opt opts[] = {
	{ .name = "frame", .value = "DESC", .help = "", .required = true },
	{ .name = "mode", .value = "MODE", .help = "", .choices = "ring strparser" },
	{ .name = "workers", .value = "N", .help = "", .dashed = true },
	{ .name = "quiet", .help = "", .letter = 'q' },
	{ 0 }
};

static const struct cmd_opt again_opts[] = {
	{ .name = "cgroup", .value = "DIR", .help = "", .many = true },
	{ .name = "port", .value = "P", .help = "", .many = true },
	{ .name = "once", .value = "X", .help = "" },
	{ 0 }
};

static const struct cmd again = { "sock", "load", NULL, "", 0, NULL, again_opts, NULL };

static const struct cmd create = { "mux", "create", "NAME [EXTRA]", "", 0, NULL, opts, NULL };
static const struct cmd run_cmd = { "mux", "run", "NAME -- PROGRAM [ARG]...", "", 0, NULL,
				    NULL,  NULL };
static const struct cmd many = { NULL, "load", "[SYSTEM]...", "", 0, NULL, NULL, NULL };
static const struct cmd none = { NULL, "status", NULL, "", 0, NULL, NULL, NULL };

#define ARGV(...) ((char *[]){ __VA_ARGS__, NULL })
#define EMPTY	  ((char *[]){ NULL })

static int parse(const struct cmd *cmd, char **argv, struct cmd_args *args)
{
	*args = (struct cmd_args){ 0 };
	return args_parse(cmd, argv, args);
}

static void key_value_and_dashes_are_the_same(void **state)
{
	char **forms[] = {
		ARGV("m1", "frame", "u32be", "mode", "ring", "--workers", "4"),
		ARGV("m1", "--frame", "u32be", "--mode=ring", "--workers=4"),
		ARGV("--workers", "4", "--mode", "ring", "m1", "--frame=u32be"),
	};
	struct cmd_args a;
	uint64_t n;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		assert_int_equal(parse(&create, forms[i], &a), 0);
		assert_int_equal(a.npos, 1);
		assert_string_equal(a.pos[0], "m1");
		assert_string_equal(args_str(&a, "frame", ""), "u32be");
		assert_string_equal(args_str(&a, "mode", ""), "ring");
		assert_int_equal(args_u64(&a, "workers", 1, 63, 16, &n), 0);
		assert_int_equal(n, 4);
		assert_false(args_flag(&a, "quiet"));
		args_free(&a);
	}
}

static void a_letter_is_the_option(void **state)
{
	struct cmd_args a;

	(void)state;
	assert_int_equal(parse(&create, ARGV("m", "frame", "line", "-q"), &a), 0);
	assert_true(args_flag(&a, "quiet"));
	args_free(&a);
	assert_int_equal(parse(&create, ARGV("m", "frame", "line", "-qq"), &a), KCM_EXIT_USAGE);
	args_free(&a);
	assert_int_equal(parse(&create, ARGV("m", "frame", "line", "-q", "-q"), &a),
			 KCM_EXIT_USAGE);
	args_free(&a);
}

static void a_name_may_look_like_an_option(void **state)
{
	struct cmd_args a;

	(void)state;
	assert_int_equal(parse(&create, ARGV("frame", "frame", "line", "quiet"), &a), 0);
	assert_string_equal(a.pos[0], "frame");
	assert_string_equal(args_str(&a, "frame", ""), "line");
	assert_true(args_flag(&a, "quiet"));
	args_free(&a);
}

static void what_may_be_given_again_is_kept_in_order(void **state)
{
	const char *v[3] = { "-", "-", "-" };
	struct cmd_args a;

	(void)state;
	assert_int_equal(
		parse(&again,
		      ARGV("cgroup", "a", "--port=1", "--cgroup=b", "--cgroup", "c", "port", "2"),
		      &a),
		0);
	assert_int_equal(args_all(&a, "cgroup", v, 3), 3);
	assert_string_equal(v[0], "a");
	assert_string_equal(v[1], "b");
	assert_string_equal(v[2], "c");
	assert_string_equal(args_str(&a, "cgroup", ""), "a");
	assert_int_equal(args_all(&a, "port", v, 1), 2); /* more than there is room for */
	assert_string_equal(v[0], "1");
	assert_string_equal(v[1], "b");
	assert_int_equal(args_all(&a, "once", v, 3), 0);
	args_free(&a);
	assert_int_equal(parse(&again, ARGV("once", "1", "cgroup", "a", "once", "2"), &a),
			 KCM_EXIT_USAGE);
	args_free(&a);
	assert_int_equal(parse(&again, ARGV("cgroup", "a", "cgroup"), &a), KCM_EXIT_USAGE);
	args_free(&a);
}

static void wrong_usage_exits_2(void **state)
{
	char **wrong[] = {
		EMPTY,				      /* no name */
		ARGV("m"),			      /* required option missing */
		ARGV("m", "frame"),		      /* no value */
		ARGV("m", "--frame=x", "frame", "y"), /* twice */
		ARGV("m", "frame", "x", "y", "z"),    /* too many */
		ARGV("m", "frame", "x", "--nope"),
		ARGV("m", "frame", "x", "-x"),
		ARGV("m", "frame", "x", "--quiet=1"),	      /* flag with a value */
		ARGV("m", "frame", "x", "--", "p"),	      /* no program allowed */
		ARGV("m", "frame", "x", "workers", "4", "5"), /* dashed only with dashes */
	};
	struct cmd_args a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		assert_int_equal(parse(&create, wrong[i], &a), KCM_EXIT_USAGE);
		args_free(&a);
	}
	assert_int_equal(parse(&none, ARGV("x"), &a), KCM_EXIT_USAGE);
	args_free(&a);
}

static void a_program_follows_two_dashes(void **state)
{
	struct cmd_args a;

	(void)state;
	assert_int_equal(parse(&run_cmd, ARGV("m", "--", "prog", "-x", "--frame"), &a), 0);
	assert_string_equal(a.rest[0], "prog");
	assert_string_equal(a.rest[2], "--frame");
	assert_null(a.rest[3]);
	args_free(&a);
	assert_int_equal(parse(&run_cmd, ARGV("m"), &a), KCM_EXIT_USAGE);
	args_free(&a);
	assert_int_equal(parse(&run_cmd, ARGV("m", "--"), &a), KCM_EXIT_USAGE);
	args_free(&a);
}

static void repeated_positionals_have_no_bound(void **state)
{
	struct cmd_args a;

	(void)state;
	assert_int_equal(parse(&many, ARGV("a", "b", "c", "d"), &a), 0);
	assert_int_equal(a.npos, 4);
	args_free(&a);
	assert_int_equal(parse(&many, EMPTY, &a), 0);
	assert_int_equal(a.npos, 0);
	args_free(&a);
}

static void numbers(void **state)
{
	static const struct {
		const char *text;
		bool ok;
		uint64_t value;
	} cases[] = {
		{ "0", true, 0 },
		{ "0x10", true, 16 },
		{ "4k", true, 4096 },
		{ "2M", true, 2 << 20 },
		{ "1G", true, 1 << 30 },
		{ "18446744073709551615", true, UINT64_MAX },
		{ "18446744073709551616", false, 0 },
		{ "17179869184G", false, 0 },
		{ "-1", false, 0 },
		{ "", false, 0 },
		{ " 1", false, 0 },
		{ "1 ", false, 0 },
		{ "4kk", false, 0 },
		{ "4T", false, 0 },
		{ "k", false, 0 },
	};
	uint64_t value;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(str_to_u64(cases[i].text, &value), cases[i].ok);
		if (cases[i].ok)
			assert_true(value == cases[i].value);
	}
}

static void a_number_out_of_range_exits_2(void **state)
{
	struct cmd_args a;
	uint64_t n;

	(void)state;
	assert_int_equal(parse(&create, ARGV("m", "frame", "x", "--workers", "64"), &a), 0);
	assert_int_equal(args_u64(&a, "workers", 1, 63, 16, &n), KCM_EXIT_USAGE);
	assert_int_equal(args_u64(&a, "workers", 1, 64, 16, &n), 0);
	args_free(&a);
}

static void globals_are_taken_anywhere_before_two_dashes(void **state)
{
	char **argv = ARGV("-j", "mux", "--verbose", "run", "--", "prog", "-p");
	struct cmd_globals g = { .format = OUT_TEXT };

	(void)state;
	assert_int_equal(cmd_globals_take(argv, &g), 5);
	assert_int_equal(g.format, OUT_JSON);
	assert_true(g.verbose);
	assert_false(g.help);
	assert_string_equal(argv[0], "mux");
	assert_string_equal(argv[4], "-p");
	assert_null(argv[5]);
}

static void letters_of_globals_may_be_one_word(void **state)
{
	static const struct {
		char *word;
		struct cmd_globals want;
	} cases[] = {
		{ "-jp", { .format = OUT_JSON_PRETTY } },
		{ "-pj", { .format = OUT_JSON_PRETTY } },
		{ "-jv", { .format = OUT_JSON, .verbose = true } },
		{ "-vh", { .verbose = true, .help = true } },
		{ "-jV", { .format = OUT_JSON, .version = true } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char **argv = ARGV(cases[i].word, "show");
		struct cmd_globals g = { .format = OUT_TEXT };

		assert_int_equal(cmd_globals_take(argv, &g), 1);
		assert_string_equal(argv[0], "show");
		assert_int_equal(g.format, cases[i].want.format);
		assert_int_equal(g.verbose, cases[i].want.verbose);
		assert_int_equal(g.help, cases[i].want.help);
		assert_int_equal(g.version, cases[i].want.version);
	}
}

static void other_words_are_no_globals(void **state)
{
	char **argv = ARGV("-", "-jq", "-l", "jp", "-j4", "--jp", "-");
	struct cmd_globals g = { .format = OUT_TEXT };

	(void)state;
	assert_int_equal(cmd_globals_take(argv, &g), 7);
	assert_int_equal(g.format, OUT_TEXT);
	assert_false(g.verbose || g.help || g.version);
}

static void the_nearest_word_is_suggested(void **state)
{
	static const char *const words[] = { "load", "unload", "status", "doctor", "version" };

	(void)state;
	assert_string_equal(suggest("laod", words, 5), "load");
	assert_string_equal(suggest("lod", words, 5), "load");
	assert_string_equal(suggest("ver", words, 5), "version");
	assert_string_equal(suggest("docter", words, 5), "doctor");
	assert_null(suggest("zebra", words, 5));
	assert_null(suggest("a-word-that-is-longer-than-any-command", words, 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(key_value_and_dashes_are_the_same),
		cmocka_unit_test(a_letter_is_the_option),
		cmocka_unit_test(a_name_may_look_like_an_option),
		cmocka_unit_test(what_may_be_given_again_is_kept_in_order),
		cmocka_unit_test(wrong_usage_exits_2),
		cmocka_unit_test(a_program_follows_two_dashes),
		cmocka_unit_test(repeated_positionals_have_no_bound),
		cmocka_unit_test(numbers),
		cmocka_unit_test(a_number_out_of_range_exits_2),
		cmocka_unit_test(globals_are_taken_anywhere_before_two_dashes),
		cmocka_unit_test(letters_of_globals_may_be_one_word),
		cmocka_unit_test(other_words_are_no_globals),
		cmocka_unit_test(the_nearest_word_is_suggested),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
