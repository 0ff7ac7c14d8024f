// SPDX-License-Identifier: GPL-2.0
#include "cmocka_all.h"
#include "out.h"

/* Everything the API can say, to check both forms against the same calls. */
static char *render(enum out_format format)
{
	static const struct out_column columns[] = { { "name", NULL }, { "rx_bytes", "BYTES" } };
	size_t size;
	char *text = NULL;
	FILE *f = open_memstream(&text, &size);
	struct out *o = out_new(f, format);

	out_str(o, "kernel", "6.1");
	out_bool(o, "ready", true);
	out_group(o, "limits");
	out_i64(o, "low", -5);
	out_end(o);
	out_table(o, "rows", columns, 2);
	out_row(o);
	out_str(o, "name", "a\"b");
	out_u64(o, "rx_bytes", 12345);
	out_double(o, "hidden", 0.5);
	out_group(o, "nested");
	out_u64(o, "deep", 1);
	out_end(o);
	out_row(o);
	out_str(o, "name", "long-name");
	out_end(o);
	out_note(o, "a note");
	assert_int_equal(out_finish(o), 0);
	fclose(f);
	return text;
}

static void text_is_aligned(void **state)
{
	_cleanup_free_ char *text = render(OUT_TEXT);

	(void)state;
	assert_string_equal(text, "kernel                6.1\n"
				  "ready                 yes\n"
				  "limits:\n"
				  "  low                 -5\n"
				  "NAME       BYTES\n"
				  "a\"b        12345\n"
				  "long-name      -\n"
				  "a note\n");
}

static void json_has_the_same_and_a_schema(void **state)
{
	_cleanup_free_ char *text = render(OUT_JSON);

	(void)state;
	assert_string_equal(
		text, "{\"schema\":1,\"kernel\":\"6.1\",\"ready\":true,\"limits\":{\"low\":-5},"
		      "\"rows\":[{\"name\":\"a\\\"b\",\"rx_bytes\":12345,\"hidden\":0.5,"
		      "\"nested\":{\"deep\":1}},{\"name\":\"long-name\"}]}\n");
}

static void empty_table_prints_no_heading(void **state)
{
	static const struct out_column columns[] = { { "name", NULL } };
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	struct out *o = out_new(f, OUT_TEXT);

	(void)state;
	out_table(o, "rows", columns, 1);
	out_end(o);
	assert_int_equal(out_finish(o), 0);
	fclose(f);
	assert_string_equal(text, "");
}

static void text_that_is_not_utf8_is_still_json(void **state)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	struct out *o = out_new(f, OUT_JSON);

	(void)state;
	out_str(o, "bad", "a\xff");
	out_str(o, "none", NULL);
	out_double(o, "nan", 0.0 / 0.0);
	out_u64(o, "huge", UINT64_MAX);
	assert_int_equal(out_finish(o), 0);
	fclose(f);
	assert_string_equal(text, "{\"schema\":1,\"bad\":\"a?\",\"none\":null,\"nan\":null,"
				  "\"huge\":9223372036854775807}\n");
}

static void a_full_stream_is_reported(void **state)
{
	_cleanup_file_ FILE *f = fopen("/dev/full", "w");
	struct out *o;

	(void)state;
	assert_non_null(f);
	o = out_new(f, OUT_JSON);
	assert_true(out_finish(o) < 0);
	o = out_new(f, OUT_TEXT);
	out_str(o, "x", "y");
	assert_true(out_finish(o) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_aligned),
		cmocka_unit_test(json_has_the_same_and_a_schema),
		cmocka_unit_test(empty_table_prints_no_heading),
		cmocka_unit_test(text_that_is_not_utf8_is_still_json),
		cmocka_unit_test(a_full_stream_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
