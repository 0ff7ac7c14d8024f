// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_frame_desc.c - descriptors from text and back */
#include "frame_check.h"

static void check_text(const char *text, const char *canonical)
{
	struct kcm_frame f = frame_of(text), again;
	char buf[KCM_FRAME_TEXT_BYTES];

	assert_int_equal(kcm_frame_format(&f, buf, sizeof(buf)), 0);
	assert_string_equal(buf, canonical);
	again = frame_of(buf);
	assert_memory_equal(&f, &again, sizeof(f));
	assert_int_equal(kcm_frame_format(&f, buf, strlen(canonical)), -ENOSPC);
	assert_int_equal(kcm_frame_format(&f, buf, strlen(canonical) + 1), 0);
}

static void canonical(void **state)
{
	(void)state;
	check_text("len", "len off=0 width=4 be hdr=4 max=16M");
	check_text("u16be", "len off=0 width=2 be hdr=2 max=65537");
	check_text("u32le max=4M", "len off=0 width=4 le hdr=4 max=4M");
	check_text("\tu32le,max=0x400 ", "len off=0 width=4 le hdr=4 max=1K");
	check_text("kafka", "len off=0 width=4 be hdr=4 max=16M");
	check_text("grpc skip=0", "len off=0 width=3 be hdr=9 max=16777224");
	check_text("amqp", "len off=3 width=4 be hdr=7 adj=1 skip=8 max=16M");
	check_text("bgp max=4K", "len off=16 width=2 be hdr=19 counts-hdr max=4K");
	check_text("postgres", "len off=1 width=4 be hdr=5 adj=-4 zero-untyped max=16M");
	check_text("len width=4 mask=0xffffff", "len off=0 width=4 be hdr=4 mask=0xffffff max=16M");
	check_text("len width=2 le mask=0xffff shift=4",
		   "len off=0 width=2 le hdr=2 shift=4 max=4097");
	check_text("len width=2 mask=0xff0 shift=4",
		   "len off=0 width=2 be hdr=2 mask=0xff0 shift=4 max=257");
	check_text("len width=8 mask=18446744073709551615", "len off=0 width=8 be hdr=8 max=16M");
	check_text("varint", "varint off=0 width=5 max=16M");
	check_text("mqtt", "varint off=1 width=4 max=16M");
	check_text("varint adj=-1 skip=2K", "varint off=0 width=5 adj=-1 skip=2K max=16M");
	check_text("line", "delim=0x0a max=16M");
	check_text("delim=0x0D0A max=1k", "delim=0x0d0a max=1K");
	check_text("delim=nul", "delim=0x00 max=16M");
	check_text("fixed=64", "fixed=64");
	check_text("fixed=1K skip=2000", "fixed=1024 skip=2000");
	check_text("resp max=1g", "resp max=1024M");
	check_text("memcached-text", "memcached-text max=16M");
	check_text("len off=4096 width=8 be hdr=4104 counts-hdr adj=-1073741824 shift=62 "
		   "mask=0x8000000000000000 zero-untyped skip=1073741823 max=1073741823",
		   "len off=4096 width=8 be hdr=4104 counts-hdr adj=-1073741824 "
		   "mask=0x8000000000000000 shift=62 zero-untyped skip=1073741823 max=1073741823");
}

static void all_presets(void **state)
{
	const struct kcm_frame_preset *p = kcm_frame_presets();
	char buf[KCM_FRAME_TEXT_BYTES];
	struct kcm_frame f, again;
	int n = 0;

	(void)state;
	for (; p->name; p++, n++) {
		f = frame_of(p->name);
		again = frame_of(p->text);
		assert_memory_equal(&f, &again, sizeof(f));
		assert_int_equal(kcm_frame_format(&f, buf, sizeof(buf)), 0);
		assert_int_equal(kcm_frame_check(&f), 0);
		assert_true(strlen(p->about) > 0 && !strchr(p->about, '\n'));
	}
	assert_true(n > 0);
}

static void check_error(const char *text, const char *part)
{
	struct kcm_frame f, untouched;
	char err[256] = "";

	memset(&f, 0x5a, sizeof(f));
	untouched = f;
	assert_int_equal(kcm_frame_parse(text, &f, err, sizeof(err)), -EINVAL);
	assert_memory_equal(&f, &untouched, sizeof(f));
	if (!strstr(err, part) || strchr(err, '\n') || strncmp(err, "frame '", 7) != 0)
		fail_msg("'%s': the message is '%s', it should have '%s'", text, err, part);
	assert_int_equal(kcm_frame_parse(text, &f, NULL, 0), -EINVAL);
	assert_int_equal(kcm_frame_parse(text, &f, err, 4), -EINVAL);
	assert_true(strlen(err) < 4);
}

static void errors(void **state)
{
	(void)state;
	check_error("", "empty");
	check_error(" ,", "empty");
	check_error("u33be", "'u33be' is neither a preset nor");
	check_error("u33be\n", "'u33be?' is neither");
	check_error("u32be foo", "'foo' is no option here; there are: off= width= hdr=");
	check_error("resp off=1", "there are: max=");
	check_error("fixed=4 max=4", "there are: skip=");
	check_error("len off", "'off' is no option");
	check_error("len be=1", "'be' is no option");
	check_error("len off=1 off=2", "'off' is given twice");
	check_error("len be le", "'le' is given twice");
	check_error("len width=0", "width=0 is not a number from 1 to 8");
	check_error("len width=9", "from 1 to 8");
	check_error("len width=", "from 1 to 8");
	check_error("len width=4x", "from 1 to 8");
	check_error("len off=-1", "from 0 to");
	check_error("len off=18446744073709551616", "from 0 to");
	check_error("len max=9223372036854775807G", "max=");
	check_error("len max=2G", "from 1 to 1073741824");
	check_error("len max=0", "from 1 to");
	check_error("len max=0x", "from 1 to");
	check_error("len adj=--1", "adj=--1");
	check_error("len hdr=3", "outside the header of hdr=3");
	check_error("len mask=0", "above 0");
	check_error("len mask=-1", "above 0");
	check_error("len mask=0x1ffffffffffffffff", "above 0");
	check_error("len width=2 mask=0x10000", "beyond width=2");
	check_error("len width=1 mask=0x0f shift=4", "leaves no bit");
	check_error("len width=1 shift=8", "leaves no bit");
	check_error("len zero-untyped", "type byte");
	check_error("len hdr=20 max=19", "does not fit max=19");
	check_error("varint max=4", "does not fit max=4");
	check_error("varint hdr=4", "is no option here; there are: off= width= adj= skip= max=");
	check_error("u16be skip=70000", "skip=70000 is a message above max=65537");
	check_error("delim", "needs a value");
	check_error("delim=", "is not lf, crlf");
	check_error("delim=0x", "is not lf, crlf");
	check_error("delim=0x1", "is not lf, crlf");
	check_error("delim=0x010203", "is not lf, crlf");
	check_error("delim=0xgg", "is not lf, crlf");
	check_error("crlf max=1", "does not fit max=1");
	check_error("fixed", "needs a value");
	check_error("fixed=0", "from 1 to 1G");
	check_error("fixed=2G", "from 1 to 1G");
	check_error("resp max=63", "64 is the least");
	check_error("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		    "a word of 77 characters");
}

/* a descriptor filled by hand is refused unless the parser could have made it */
static void checks(void **state)
{
	struct kcm_frame f = frame_of("u32be");
	unsigned char *bytes = (unsigned char *)&f;
	int refused = 0;

	(void)state;
	f.need_bytes = 100;
	assert_int_equal(kcm_frame_check(&f), -EINVAL);
	f = frame_of("u32be");
	f.max_bytes = ~0U;
	assert_int_equal(kcm_frame_check(&f), -EINVAL);
	memset(&f, 0, sizeof(f));
	assert_int_equal(kcm_frame_check(&f), -EINVAL);
	for (size_t i = 0; i < sizeof(f); i++) {
		for (int v = 1; v < 256; v++) {
			f = frame_of("postgres");
			bytes[i] ^= v;
			refused += kcm_frame_check(&f) == -EINVAL;
		}
	}
	/* the few that pass are other maxima, adjustments and masks */
	assert_in_range(refused, sizeof(f) * 255 / 2, sizeof(f) * 255 - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(canonical),
		cmocka_unit_test(all_presets),
		cmocka_unit_test(errors),
		cmocka_unit_test(checks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
