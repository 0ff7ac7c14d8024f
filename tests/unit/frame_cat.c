// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * frame_cat.c - frame standard input: one line per message with its length and first bytes.
 *
 * frame_cat DESCRIPTOR [SEED] < BYTES
 * SEED: 0 = all at once (default), 1 = byte by byte, other = random pieces.
 * Exit status: 0 if the last message ends with the input, 1 if not, 2 usage.
 */
#include "frame_feed.h"

enum { SHOWN_BYTES = 16 };

static unsigned char *read_all(FILE *in, size_t *len)
{
	unsigned char *data = NULL;
	size_t room = 0;

	for (*len = 0;; *len += fread(data + *len, 1, room - *len, in)) {
		if (*len < room)
			return data;
		room = room ? 2 * room : 65536;
		data = realloc(data, room);
		if (!data)
			abort();
	}
}

static void show(const unsigned char *data, size_t len)
{
	printf("%zu ", len);
	for (size_t i = 0; i < len && i < SHOWN_BYTES; i++)
		printf("%02x", data[i]);
	putchar('\n');
}

int main(int argc, char **argv)
{
	static char text[FEED_TEXT_BYTES];
	struct kcm_frame f;
	struct feed in = { .frame = &f, .message = show };
	unsigned char *data;
	char err[256], *last;

	if (argc < 2 || argc > 3 || kcm_frame_parse(argv[1], &f, err, sizeof(err))) {
		fprintf(stderr, "frame_cat: %s\n", argc < 2 || argc > 3 ? "usage" : err);
		return 2;
	}
	in.seed = argc > 2 ? strtoul(argv[2], NULL, 0) : 0;
	data = read_all(stdin, &in.len);
	in.data = data;
	feed_run(&in, text);
	free(data);
	last = strrchr(text, ' ');
	last = last ? last + 1 : text;
	if (*last == '+' || *last == 'E') {
		printf("end %s\n", last);
		return 1;
	}
	return 0;
}
