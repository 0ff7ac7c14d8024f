// SPDX-License-Identifier: GPL-2.0
#include <jansson.h>
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

static void empty_columns_may_be_left_out(void **state)
{
	static const struct out_column columns[] = { { "a", NULL }, { "b", NULL }, { "c", NULL } };
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	struct out *o = out_new(f, OUT_TEXT);

	(void)state;
	out_table(o, "rows", columns, 3);
	out_sparse(o);
	out_row(o);
	out_str(o, "a", "x");
	out_str(o, "c", NULL);
	out_row(o);
	out_str(o, "b", "y");
	out_end(o);
	assert_int_equal(out_finish(o), 0);
	fclose(f);
	assert_string_equal(text, "A  B\nx  -\n-  y\n");
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

static void pretty_is_indented(void **state)
{
	static const struct out_column columns[] = { { "name", NULL } };
	static const uint32_t numbers[] = { 1, 4294967295U };
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	struct out *o = out_new(f, OUT_JSON_PRETTY);

	(void)state;
	out_table(o, "rows", columns, 1);
	out_row(o);
	out_str(o, "name", "a");
	out_u32s(o, "hist", numbers, 2);
	out_end(o);
	out_table(o, "none", columns, 1);
	out_end(o);
	out_group(o, "empty");
	out_end(o);
	assert_int_equal(out_finish(o), 0);
	fclose(f);
	assert_string_equal(text, "{\n  \"schema\": 1,\n  \"rows\": [\n    {\n"
				  "      \"name\": \"a\",\n      \"hist\": [\n        1,\n"
				  "        4294967295\n      ]\n    }\n  ],\n  \"none\": [],\n"
				  "  \"empty\": {}\n}\n");
}

/* What is escaped, and what is UTF-8. */
static void strings_are_escaped(void **state)
{
	static const struct {
		const char *value, *json;
	} cases[] = {
		{ "a\"b\\c/\b\f\n\r\t\x01\x1f\x7f",
		  "a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0001\\u001F\x7f" },
		{ "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "\xc0\x80", "??" },		/* overlong */
		{ "\xe0\x80\xaf", "???" },	/* overlong */
		{ "\xed\xa0\x80", "???" },	/* a surrogate */
		{ "\xf4\x90\x80\x80", "????" }, /* beyond U+10FFFF */
		{ "x\xe2\x82", "x??" },		/* cut off */
		{ "\xc3\xa4\xff", "???" },	/* all or nothing */
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *text = NULL, *expected = NULL;
		size_t size;
		FILE *f = open_memstream(&text, &size);
		struct out *o = out_new(f, OUT_JSON);

		out_str(o, "s", cases[i].value);
		assert_int_equal(out_finish(o), 0);
		fclose(f);
		assert_true(asprintf(&expected, "{\"schema\":1,\"s\":\"%s\"}\n", cases[i].json) >
			    0);
		assert_string_equal(text, expected);
	}
}

static void numbers_come_back(void **state)
{
	static const double reals[] = { 0, 1, -2, 0.1, 1e300, 5e-324, 1.0 / 3, 123456789.125 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(reals); i++) {
		_cleanup_free_ char *text = NULL;
		size_t size;
		FILE *f = open_memstream(&text, &size);
		struct out *o = out_new(f, OUT_JSON);

		out_double(o, "r", reals[i]);
		out_i64(o, "least", INT64_MIN);
		assert_int_equal(out_finish(o), 0);
		fclose(f);
		assert_true(strtod(strstr(text, "\"r\":") + 4, NULL) == reals[i]);
		assert_non_null(strstr(text, ",\"least\":-9223372036854775808}"));
	}
}

/* A table that no buffer holds, and a string longer than it. */
static void much_is_streamed(void **state)
{
	static const struct out_column columns[] = { { "n", NULL } };
	_cleanup_free_ char *text = NULL, *lengthy = malloc(200001);
	json_t *root, *rows;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	struct out *o = out_new(f, OUT_JSON);

	(void)state;
	memset(lengthy, 'x', 200000);
	lengthy[200000] = '\0';
	out_table(o, "rows", columns, 1);
	for (int i = 0; i < 20000; i++) {
		out_row(o);
		out_u64(o, "n", (uint64_t)i);
		out_str(o, "s", "some text");
	}
	out_end(o);
	out_str(o, "long", lengthy);
	assert_int_equal(out_finish(o), 0);
	fclose(f);
	root = json_loads(text, 0, NULL);
	assert_non_null(root);
	rows = json_object_get(root, "rows");
	assert_int_equal(json_array_size(rows), 20000);
	for (size_t i = 0; i < 20000; i++)
		assert_int_equal(json_integer_value(json_object_get(json_array_get(rows, i), "n")),
				 i);
	assert_string_equal(json_string_value(json_object_get(root, "long")), lengthy);
	json_decref(root);
}

/* Rows fill more than a block of memory; their values come in any order, and again. */
static void a_long_table_is_whole(void **state)
{
	static const struct out_column columns[] = { { "a", NULL }, { "b", NULL }, { "c", NULL } };
	static char lengthy[70001];
	_cleanup_free_ char *text = NULL, *want = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size), *g = open_memstream(&want, &size);
	struct out *o = out_new(f, OUT_TEXT);

	(void)state;
	memset(lengthy, 'x', 70000);
	fprintf(g, "A                   B  C\n");
	out_table(o, "rows", columns, 3);
	for (int i = 0; i < 20000; i++) {
		const char *c = i % 500 ? "\a" : lengthy + i;
		char a[16], b[16] = "-";

		snprintf(a, sizeof(a), "%d", i * i);
		if (i % 5)
			snprintf(b, sizeof(b), "%d", i);
		out_row(o);
		out_str(o, "c", c);
		if (i % 2)
			out_str(o, "a", "for now");
		out_str(o, "a", a);
		if (i % 5)
			out_u64(o, "b", (uint64_t)i);
		fprintf(g, "%-14s  %5s  %s\n", a, b, i % 500 ? "?" : c);
	}
	out_row(o);
	out_str(o, "a", "is this wider?");
	fprintf(g, "is this wider?      -  -\n");
	out_end(o);
	assert_int_equal(out_finish(o), 0);
	fclose(f);
	fclose(g);
	assert_string_equal(text, want);
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
		cmocka_unit_test(empty_columns_may_be_left_out),
		cmocka_unit_test(text_that_is_not_utf8_is_still_json),
		cmocka_unit_test(pretty_is_indented),
		cmocka_unit_test(strings_are_escaped),
		cmocka_unit_test(numbers_come_back),
		cmocka_unit_test(much_is_streamed),
		cmocka_unit_test(a_long_table_is_whole),
		cmocka_unit_test(a_full_stream_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
