/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * frame_feed.h - feed bytes to kcm_frame_step() cut into segments, and tell what came out as text:
 * "9 12 +3" = messages of 9 and 12 bytes, then 3 bytes of one whose length is not known yet;
 * "9 +3/12" = 3 of 12 bytes are here; "9 EPROTO" = the second message is impossible. What a flag
 * says of a message is a letter behind its length: "62h" = a HEAD request, see feed_flags().
 */
#ifndef KCM_FRAME_FEED_H
#define KCM_FRAME_FEED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"

enum { FEED_TEXT_BYTES = 4096 };

struct feed {
	const struct kcm_frame *frame;
	const unsigned char *data;
	size_t len;
	unsigned int seed;  /* 0 = all at once, 1 = byte by byte, else random pieces */
	unsigned char fill; /* what stands behind the bytes that are here */
	__u32 told;	    /* KCM_FS_REPLY, ...: of all messages of the stream */
	void (*message)(const unsigned char *data, size_t len); /* may be NULL */
};

static inline unsigned int feed_random(unsigned int *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static inline size_t feed_piece(const struct feed *in, unsigned int *state, size_t left)
{
	size_t n;

	if (in->seed == 0)
		return left;
	if (in->seed == 1)
		return left ? 1 : 0;
	n = feed_random(state) % (feed_random(state) % 4 ? 9 : 300) + 1;
	return n < left ? n : left;
}

/* One call of the step as a caller makes it, with the promises of its contract checked. */
static inline int feed_step(const struct kcm_frame *f, struct kcm_fstate *s, const void *base,
			    __u32 pos, __u32 avail)
{
	struct kcm_fstate before = *s;
	unsigned int calls = 0;
	int r;

	do {
		r = kcm_frame_step(f, s, base, pos, avail);
		if (++calls > avail + 4U) {
			fprintf(stderr, "kcm_frame_step() makes no progress\n");
			abort();
		}
	} while (r == -EAGAIN);
	if (r > 0 && (__u32)r > f->max_bytes) {
		fprintf(stderr, "%d bytes, above max_bytes\n", r);
		abort();
	}
	if (r == 0 && avail >= f->max_bytes) {
		fprintf(stderr, "asks for more than max_bytes\n");
		abort();
	}
	if (r < 0 && r != -EPROTO && r != -EMSGSIZE) {
		fprintf(stderr, "unknown answer %d\n", r);
		abort();
	}
	if (!avail && (r || memcmp(&before, s, sizeof(before)) != 0)) {
		fprintf(stderr, "no bytes, but an answer\n");
		abort();
	}
	if (r > 0 && (s->w[0] | s->w[1] | s->w[2] | s->w[3])) {
		fprintf(stderr, "state of a finished message is left\n");
		abort();
	}
	return r;
}

static inline const char *feed_flags(__u32 flags)
{
	static const struct {
		__u32 flag;
		const char *letter;
	} names[] = {
		{ KCM_FS_HEAD, "h" },	  { KCM_FS_CONNECT, "t" }, { KCM_FS_INTERIM, "i" },
		{ KCM_FS_TO_CLOSE, "c" }, { KCM_FS_OPAQUE, "o" },
	};
	static char text[8];

	text[0] = '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (flags & names[i].flag)
			strcat(text, names[i].letter);
	return text;
}

static inline void feed_add(char *text, const char *word)
{
	size_t at = strlen(text);

	if (at > FEED_TEXT_BYTES - 64) /* very many messages: the end is what matters */
		at = (size_t)snprintf(text, FEED_TEXT_BYTES, "...");
	snprintf(text + at, FEED_TEXT_BYTES - at, "%s%s", at ? " " : "", word);
}

static inline void feed_run(const struct feed *in, char *text)
{
	unsigned char *copy = malloc(in->len + KCM_FRAME_PAD);
	struct kcm_fstate s = { .reserved = in->told };
	unsigned int state = in->seed;
	size_t have = 0, pos = 0;
	int whole = 0;
	char word[48];

	text[0] = '\0';
	if (!copy)
		abort();
	for (;;) {
		size_t piece = feed_piece(in, &state, in->len - have);

		memcpy(copy + have, in->data + have, piece);
		have += piece;
		memset(copy + have, in->fill, KCM_FRAME_PAD);
		while (whole >= 0) {
			/* a caller that gives a message back must be told the same again */
			if (in->seed > 1 && feed_random(&state) % 8 == 0) {
				kcm_frame_restart(&s, pos == 0);
				whole = 0;
			}
			if (!whole)
				whole = feed_step(in->frame, &s, copy, pos, have - pos);
			if (whole <= 0 || (size_t)whole > have - pos)
				break;
			if (in->message)
				in->message(copy + pos, whole);
			snprintf(word, sizeof(word), "%d%s", whole, feed_flags(s.reserved));
			feed_add(text, word);
			pos += whole;
			whole = 0;
		}
		if (whole < 0 || have == in->len)
			break;
	}
	if (whole < 0)
		feed_add(text, whole == -EPROTO ? "EPROTO" : "EMSGSIZE");
	else if (whole > 0)
		snprintf(word, sizeof(word), "+%zu/%d", have - pos, whole), feed_add(text, word);
	else if (have > pos)
		snprintf(word, sizeof(word), "+%zu", have - pos), feed_add(text, word);
	free(copy);
}

#endif
