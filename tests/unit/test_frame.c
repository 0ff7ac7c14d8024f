// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_frame.c - descriptors that are a length, a varint, a delimiter or a size */
#include "frame_check.h"

static void length_widths(void **state)
{
	(void)state;
	CHECK("len width=1",
	      "\x02"
	      "ab\x00\x01"
	      "c",
	      "3 1 2");
	CHECK("len width=2 be",
	      "\x00\x02"
	      "ab\x00\x00\x00\x01",
	      "4 2 +2/3");
	CHECK("len width=2 le",
	      "\x02\x00"
	      "ab\x00\x01",
	      "4 +2/258");
	CHECK("len width=3 be",
	      "\x00\x00\x02"
	      "ab\x00\x01",
	      "5 +2");
	CHECK("len width=3 le",
	      "\x02\x00\x00"
	      "ab\x00\x01\x00",
	      "5 +3/259");
	CHECK("len width=4 be",
	      "\x00\x00\x00\x02"
	      "ab",
	      "6");
	CHECK("len width=4 le",
	      "\x02\x00\x00\x00"
	      "ab",
	      "6");
	CHECK("len width=5 be",
	      "\x00\x00\x00\x00\x02"
	      "ab",
	      "7");
	CHECK("len width=5 le",
	      "\x02\x00\x00\x00\x00"
	      "ab",
	      "7");
	CHECK("len width=6 be",
	      "\x00\x00\x00\x00\x00\x02"
	      "ab",
	      "8");
	CHECK("len width=7 le",
	      "\x02\x00\x00\x00\x00\x00\x00"
	      "ab",
	      "9");
	CHECK("len width=8 be",
	      "\x00\x00\x00\x00\x00\x00\x00\x02"
	      "ab",
	      "10");
	CHECK("len width=8 le",
	      "\x02\x00\x00\x00\x00\x00\x00\x00"
	      "ab",
	      "10");
}

static void length_place(void **state)
{
	(void)state;
	CHECK("len off=2 width=2 hdr=6", "XX\x00\x03YYabcXX\x00\x00YYXX", "9 6 +2");
	/* the length is known before the header is complete */
	CHECK("len off=2 width=2 hdr=6", "XX\x00\x03", "+4/9");
	CHECK("len width=2 hdr=4 counts-hdr", "\x00\x05HHa\x00\x04HH", "5 4");
	CHECK("len width=2 adj=3",
	      "\x00\x01"
	      "aBBB\x00\x00"
	      "BBB",
	      "6 5");
	CHECK("len width=2 adj=-2",
	      "\x00\x03"
	      "a\x00\x02",
	      "3 2");
}

static void length_bits(void **state)
{
	(void)state;
	CHECK("len width=4 mask=0xffffff",
	      "\xff\x00\x00\x02"
	      "ab",
	      "6");
	CHECK("len width=2 le mask=0xfff0 shift=4",
	      "\x2f\x00"
	      "ab",
	      "4");
	CHECK("len width=2 be mask=0xfff0 shift=4",
	      "\x00\x2f"
	      "ab",
	      "4");
	CHECK("len width=8 be mask=0x7fffffffffffffff",
	      "\x80\x00\x00\x00\x00\x00\x00\x01"
	      "a",
	      "9");
	CHECK("len width=8 le mask=0xff00000000 shift=32", "\1\1\1\1\2\1\1\1ab", "10");
}

static void length_limits(void **state)
{
	(void)state;
	CHECK("len width=2 max=4",
	      "\x00\x02"
	      "ab\x00\x03",
	      "4 EMSGSIZE");
	CHECK("u32be", "\xff\xff\xff\xff", "EMSGSIZE"); /* -1: lengths are unsigned */
	CHECK("u32be", "\x80\x00\x00\x00", "EMSGSIZE");
	CHECK("u32le", "\xff\xff\xff\x7f", "EMSGSIZE");
	CHECK("u32be", "\x00\xff\xff\xfc", "+4/16777216");
	CHECK("u32be", "\x00\xff\xff\xfd", "EMSGSIZE");
	CHECK("u32be max=1G", "\x3f\xff\xff\xfc", "+4/1073741824");
	CHECK("u32be max=1G", "\x3f\xff\xff\xfd", "EMSGSIZE");
	CHECK("u16be", "\xff\xff", "+2/65537");
	CHECK("len width=8", "\xff\xff\xff\xff\xff\xff\xff\xff", "EMSGSIZE");
	CHECK("len width=8 adj=1G", "\xff\xff\xff\xff\xff\xff\xff\xff", "EMSGSIZE");
	CHECK("len width=8 adj=-1G", "\x7f\xff\xff\xff\xff\xff\xff\xff", "EMSGSIZE");
	CHECK("len width=8", "\x80\x00\x00\x00\x00\x00\x00\x00", "EMSGSIZE");
	CHECK("len width=4 adj=-1000000 max=100", "\x00\x0f\x42\x41", "+4/5");
}

static void length_impossible(void **state)
{
	(void)state;
	CHECK("len width=2 hdr=4 counts-hdr", "\x00\x03", "EPROTO");
	CHECK("len width=2 hdr=4 counts-hdr", "\x00\x00", "EPROTO");
	CHECK("len width=2 adj=-2", "\x00\x01", "EPROTO");
	CHECK("len width=8 adj=-1", "\0\0\0\0\0\0\0\0", "EPROTO");
}

static void preface(void **state)
{
	(void)state;
	CHECK("u16be skip=3",
	      "PRI\x00\x01"
	      "a\x00\x01"
	      "b",
	      "3 3 3");
	CHECK("u16be skip=3", "PR", "+2");
	CHECK("delim=lf skip=2", "\n\nab\n", "2 3");
	CHECK("varint skip=1",
	      "\x05\x01"
	      "a",
	      "1 2");
	CHECK("fixed=2 skip=3", "abcde", "3 2");
	/* it is the client's */
	CHECK_TOLD("u16be skip=3", KCM_FS_REPLY, "\x00\x02xy\x00", "4 +1");
}

static void untyped(void **state)
{
	(void)state;
	CHECK("len off=1 width=4 hdr=5 adj=-4 zero-untyped",
	      "\x00\x00\x00\x08"
	      "ab12\x00\x00\x00\x05"
	      "aQ\x00\x00\x00\x04",
	      "8 5 5");
	CHECK("len off=1 width=4 hdr=5 adj=-4 zero-untyped", "\x00\x00\x00\x03", "EPROTO");
	CHECK("len off=1 width=4 hdr=5 adj=-4 zero-untyped", "Q\x00\x00\x00\x03", "EPROTO");
	CHECK("len off=1 width=4 hdr=5 adj=-4 zero-untyped", "\x00\x00\x00", "+3");
}

static void untyped_replies(void **state)
{
	(void)state;
	CHECK_TOLD("postgres", KCM_FS_REPLY, "NNR\x00\x00\x00\x04N\x00\x00\x00\x05x", "1 1 5 6");
	CHECK_TOLD("postgres", KCM_FS_REPLY, "R\x00\x00\x00\x04S\x00\x00\x00\x04G\x00\x00\x00\x04",
		   "5 5 5");
	CHECK_TOLD("postgres", KCM_FS_REPLY, "E\x00\x00\x00\x03", "EPROTO");
	CHECK_TOLD("postgres", KCM_FS_REPLY, "NG", "1 1o");
	CHECK_TOLD("postgres", KCM_FS_REPLY, "S", "1o");
	CHECK("postgres", "S\x00\x00\x00\x04", "5");
}

static void varints(void **state)
{
	(void)state;
	CHECK("varint",
	      "\x00\x01"
	      "a\x80\x01",
	      "1 2 +2/130");
	CHECK("varint", "\xff\x7f", "+2/16385");
	CHECK("varint", "\xff\xff\x7f", "+3/2097154");
	CHECK("varint max=1G", "\xff\xff\xff\x7f", "+4/268435459");
	CHECK("varint max=1G", "\xfb\xff\xff\xff\x03", "+5/1073741824");
	CHECK("varint max=1G", "\xfc\xff\xff\xff\x03", "EMSGSIZE");
	CHECK("varint", "\xff\xff\xff\xff\x0f", "EMSGSIZE");
	CHECK("varint",
	      "\x81\x80\x00"
	      "a",
	      "4"); /* longer than need be, as Protocol Buffers allow */
	CHECK("varint", "\xff\xff\xff\xff\xff", "EPROTO");
	CHECK("varint", "\xff\xff\xff\xff", "+4");
	CHECK("varint width=8",
	      "\x81\x80\x80\x80\x80\x80\x80\x00"
	      "a",
	      "9");
	CHECK("varint width=8", "\x80\x80\x80\x80\x80\x80\x80\x01", "EMSGSIZE");
	CHECK("varint width=8", "\xff\xff\xff\xff\xff\xff\xff\xff\x01", "EPROTO");
	CHECK("varint width=1", "\x7f", "+1/128");
	CHECK("varint width=1", "\x80", "EPROTO");
	CHECK("varint off=1 width=4",
	      "\x30\x02"
	      "ab\xc0\x00\xe0",
	      "4 2 +1");
	CHECK("varint adj=-1",
	      "\x01\x02"
	      "a",
	      "1 2");
	CHECK("varint adj=-1", "\x00", "EPROTO");
	CHECK("varint adj=2",
	      "\x00"
	      "ab",
	      "3");
	CHECK("varint max=8",
	      "\x07"
	      "1234567\x08",
	      "8 EMSGSIZE");
}

static void delimiters(void **state)
{
	(void)state;
	CHECK("line", "a\n\nbc\r\nd", "2 1 4 +1");
	CHECK("crlf", "a\r\n\r\nb\nc\rd\r\r\ne\r", "3 2 8 +2");
	CHECK("delim=0x4141", "AAAAAxAA", "2 2 4");
	CHECK("delim=nul", "ab\0\0", "3 1");
	CHECK("delim=0xff", "ab\xff\x80\x7f\xff", "3 3");
	CHECK("delim=0x00ff", "a\x00\x01\xff\x00\x00\xff", "7");
	CHECK("line max=4", "abc\nabcd", "4 EMSGSIZE");
	CHECK("line max=4", "abcd\n", "EMSGSIZE");
	CHECK("line max=4", "abc", "+3");
	CHECK("crlf max=4", "ab\r\nabc\r\n", "4 EMSGSIZE");
	CHECK("crlf max=2", "\r\n\r\r", "2 EMSGSIZE");
	CHECK("line max=1", "\n\na", "1 1 EMSGSIZE");
}

/* lines around the number of bytes one step looks at, delimiter at every place of a word */
static void delimiter_places(void **state)
{
	unsigned char data[600];
	char expected[64];

	(void)state;
	for (int n = 1; n < 290; n++) {
		memset(data, 'x', sizeof(data));
		data[n - 1] = '\n';
		data[n + 1] = '\r';
		data[n + 2] = '\n';
		snprintf(expected, sizeof(expected), "%d 3 +%d", n, 600 - n - 3);
		check_bytes("line", data, sizeof(data), expected);
		snprintf(expected, sizeof(expected), "%d +%d", n + 3, 600 - n - 3);
		check_bytes("crlf", data, sizeof(data), expected);
	}
}

static void fixed_size(void **state)
{
	(void)state;
	CHECK("fixed=4", "abcdefghij", "4 4 +2/4");
	CHECK("fixed=1", "abc", "1 1 1");
}

/* header, body and next header cut at every place, bodies up to some hundred bytes */
static void many_messages(void **state)
{
	unsigned char data[8192];
	static char expected[FEED_TEXT_BYTES];
	size_t at = 0;
	char word[16];

	(void)state;
	expected[0] = '\0';
	for (unsigned int n = 0; at + n + 4 <= sizeof(data); n = (n * 7 + 3) % 613) {
		memset(data + at, 0xff, n + 4);
		data[at] = 0;
		data[at + 1] = 0;
		data[at + 2] = n >> 8;
		data[at + 3] = n;
		at += n + 4;
		snprintf(word, sizeof(word), "%u", n + 4);
		feed_add(expected, word);
	}
	check_bytes("u32be", data, at, expected);
}

/* whatever was told about a message can be asked again */
static void restart(void **state)
{
	struct kcm_frame f = frame_of("crlf skip=3");
	unsigned char data[9 + KCM_FRAME_PAD] = "PRIab\r\nc";
	struct kcm_fstate s = { 0 }, before = s;

	(void)state;
	assert_int_equal(kcm_frame_measure(&f, &s, data, 2), 0);
	assert_memory_equal(&s, &before, sizeof(s));
	assert_int_equal(kcm_frame_measure(&f, &s, data, 5), 3);
	kcm_frame_restart(&s, 1);
	assert_int_equal(kcm_frame_measure(&f, &s, data, 5), 3);
	assert_int_equal(kcm_frame_measure(&f, &s, data + 3, 3), 0);
	kcm_frame_restart(&s, 0);
	assert_int_equal(kcm_frame_measure(&f, &s, data + 3, 5), 4);
	kcm_frame_restart(&s, 0);
	assert_int_equal(kcm_frame_measure(&f, &s, data + 3, 5), 4);
	assert_int_equal(kcm_frame_measure(&f, &s, data + 7, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(length_widths),     cmocka_unit_test(length_place),
		cmocka_unit_test(length_bits),	     cmocka_unit_test(length_limits),
		cmocka_unit_test(length_impossible), cmocka_unit_test(preface),
		cmocka_unit_test(untyped),	     cmocka_unit_test(varints),
		cmocka_unit_test(delimiters),	     cmocka_unit_test(delimiter_places),
		cmocka_unit_test(fixed_size),	     cmocka_unit_test(many_messages),
		cmocka_unit_test(restart),	     cmocka_unit_test(untyped_replies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
