// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_frame.c - framing of hostile bytes: never beyond the bytes that are here and their padding,
 * and the same answer for every segmentation and whatever stands in the padding.
 * Input: one byte that seeds the segments and says of which direction the stream is, the descriptor
 * up to a NUL, the stream.
 */
#include "../../src/lib/frame.c"
#include "../../src/lib/frame_text.c"
#include "../unit/frame_feed.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static const unsigned char fills[] = { 0, 0xff, '\n', '\r', ' ', '7', 0x80, 0x7f };
	static char whole[FEED_TEXT_BYTES], cut[FEED_TEXT_BYTES];
	const unsigned char *nul = size > 1 ? memchr(data + 1, '\0', size - 1) : NULL;
	struct kcm_frame f;
	struct feed in = { .frame = &f };

	if (!nul || kcm_frame_parse((const char *)data + 1, &f, NULL, 0))
		return 0;
	in.told = data[0] & (KCM_FS_REPLY | KCM_FS_NOBODY | KCM_FS_TUNNEL);
	in.data = nul + 1;
	in.len = data + size - in.data;
	feed_run(&in, whole);
	for (unsigned int i = 0; i < sizeof(fills); i++) {
		in.seed = i ? data[0] + 256 * i : 1;
		in.fill = fills[i];
		feed_run(&in, cut);
		if (strcmp(whole, cut) != 0) {
			fprintf(stderr, "whole: %s\nseed %u, fill %#x: %s\n", whole, in.seed,
				in.fill, cut);
			abort();
		}
	}
	return 0;
}
