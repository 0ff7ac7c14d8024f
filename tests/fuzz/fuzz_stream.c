// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_stream.c - the stream parser of sock on hostile bytes: never outside its window, the same
 * messages as whoever sees the whole stream, for every segmentation.
 * Input: one byte that seeds the segments and says of which direction the stream is, the descriptor
 * up to a NUL, the stream.
 */
#include "../../src/lib/frame.c"
#include "../../src/lib/frame_text.c"
#include "../unit/stream_feed.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static const unsigned char fills[] = { 0, 0xff, '\n', '\r', ' ', '7', 0x80, 0x7f };
	static struct stream_result model, got;
	const unsigned char *nul = size > 1 ? memchr(data + 1, '\0', size - 1) : NULL;
	unsigned char *copy;
	struct kcm_frame f;
	struct feed in = { .frame = &f };
	char why[200];

	if (!nul || kcm_frame_parse((const char *)data + 1, &f, NULL, 0))
		return 0;
	in.told = data[0] & (KCM_FS_REPLY | KCM_FS_NOBODY | KCM_FS_TUNNEL);
	in.len = data + size - (nul + 1);
	copy = calloc(1, in.len + KCM_FRAME_PAD);
	memcpy(copy, nul + 1, in.len);
	in.data = copy;
	stream_model(&in, &model);
	for (unsigned int i = 0; i < sizeof(fills); i++) {
		in.seed = i < 2 ? i : data[0] + 256 * i;
		in.fill = fills[i];
		stream_run(&in, &got);
		if (stream_differs(&in, &model, &got, why, sizeof(why))) {
			fprintf(stderr, "seed %u, fill %#x: %s\n", in.seed, in.fill, why);
			abort();
		}
	}
	free(copy);
	return 0;
}
