/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* frame_check.h - cmocka checks on top of frame_feed.h: the same answer for every segmentation. */
#ifndef KCM_FRAME_CHECK_H
#define KCM_FRAME_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "frame_feed.h"

static inline struct kcm_frame frame_of(const char *text)
{
	struct kcm_frame f;
	char err[256] = "";

	if (kcm_frame_parse(text, &f, err, sizeof(err)))
		fail_msg("%s", err);
	return f;
}

static inline void check_told(const char *desc, __u32 told, const void *data, size_t len,
			      const char *expected)
{
	static const unsigned char fills[] = { 0, 0xff, '\n', '\r', ' ', '5', 0x80, 'G' };
	struct kcm_frame f = frame_of(desc);
	struct feed in = { .frame = &f, .data = data, .len = len, .told = told };
	static char text[FEED_TEXT_BYTES];

	for (in.seed = 0; in.seed < 64; in.seed++) {
		in.fill = fills[in.seed / 2 % sizeof(fills)];
		feed_run(&in, text);
		if (strcmp(text, expected) != 0)
			fail_msg("%s, seed %u, fill %#x: got '%s', expected '%s'", desc, in.seed,
				 in.fill, text, expected);
	}
}

static inline void check_bytes(const char *desc, const void *data, size_t len, const char *expected)
{
	check_told(desc, 0, data, len, expected);
}

/* a string literal: may hold NULs, its own is left out */
#define CHECK(desc, literal, expected) CHECK_TOLD(desc, 0, literal, expected)
#define CHECK_TOLD(desc, told, literal, expected) \
	check_told(desc, told, literal, sizeof(literal) - 1, expected)

#endif
