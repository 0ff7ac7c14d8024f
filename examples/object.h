/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * object.h - what object_send and object_recv agree on: an object is sent in messages of at most
 * OBJECT_PART bytes and a header each; the last one has no body, and the sum of all bytes.
 */
#ifndef EXAMPLES_OBJECT_H
#define EXAMPLES_OBJECT_H

#include <stdint.h>
#include <string.h>

#define OBJECT_FRAME "len off=0 width=4 be hdr=64 max=2M"
#define OBJECT_PART  (1U << 20)

struct object_head {
	uint32_t body_be; /* bytes behind the header */
	uint32_t number_be;
	uint64_t bytes_be;  /* of the whole object */
	uint64_t offset_be; /* of this body in it */
	uint64_t sum_be;    /* with offset == bytes */
	uint8_t reserved[32];
};

_Static_assert(sizeof(struct object_head) == 64, "on the wire");

/* Bytes in another order, or at another place, have another sum. Pieces may be cut anywhere. */
struct object_sum {
	uint64_t a, b, word;
	unsigned int have;
};

static inline void object_sum_word(struct object_sum *s, uint64_t w)
{
	s->a += w;
	s->b += s->a;
}

static inline void object_sum_add(struct object_sum *s, const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t w;

	for (; n && s->have; n--, p++) {
		s->word |= (uint64_t)*p << 8 * s->have;
		s->have = (s->have + 1) % 8;
		if (!s->have) {
			object_sum_word(s, s->word);
			s->word = 0;
		}
	}
	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&w, p, sizeof(w));
		object_sum_word(s, le64toh(w));
	}
	for (; n; n--, p++)
		s->word |= (uint64_t)*p << 8 * s->have++;
}

static inline uint64_t object_sum_end(struct object_sum *s)
{
	object_sum_word(s, s->word);
	return s->a ^ (s->b << 32 | s->b >> 32);
}

#endif
