// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_desc.c - descriptors from hostile text and from hostile memory. What is accepted has a
 * canonical text that makes the same descriptor; what is refused has a message of one line.
 */
#include "../../src/lib/frame.c"
#include "../../src/lib/frame_text.c"

#define ENSURE(cond)                                            \
	do {                                                    \
		if (!(cond)) {                                  \
			fprintf(stderr, "not so: %s\n", #cond); \
			abort();                                \
		}                                               \
	} while (0)

static void round_trip(const struct kcm_frame *f)
{
	static const unsigned char bytes[64 + KCM_FRAME_PAD];
	char canonical[KCM_FRAME_TEXT_BYTES], again[KCM_FRAME_TEXT_BYTES];
	struct kcm_fstate s = { 0 };
	struct kcm_frame g;

	ENSURE(kcm_frame_check(f) == 0);
	ENSURE(kcm_frame_format(f, canonical, sizeof(canonical)) == 0);
	ENSURE(kcm_frame_parse(canonical, &g, NULL, 0) == 0);
	ENSURE(memcmp(f, &g, sizeof(g)) == 0);
	ENSURE(kcm_frame_format(&g, again, sizeof(again)) == 0);
	ENSURE(strcmp(canonical, again) == 0);
	ENSURE(f->max_bytes >= 1 && f->max_bytes <= KCM_FRAME_MAX_LIMIT);
	ENSURE(kcm_frame_measure(f, &s, bytes, 64) <= (int)f->max_bytes);
}

static void text(const unsigned char *data, size_t size)
{
	char *copy = malloc(size + 1), err[512] = "";
	struct kcm_frame f;

	ENSURE(copy);
	memcpy(copy, data, size);
	copy[size] = '\0';
	if (kcm_frame_parse(copy, &f, err, sizeof(err)) == 0) {
		ENSURE(err[0] == '\0');
		round_trip(&f);
	} else {
		ENSURE(strncmp(err, "frame '", 7) == 0);
		for (const char *c = err; *c; c++)
			ENSURE(*c != '\n');
	}
	free(copy);
}

static void memory(const unsigned char *data, size_t size)
{
	struct kcm_frame f;

	if (size < sizeof(f))
		return;
	memcpy(&f, data, sizeof(f));
	if (kcm_frame_check(&f) == 0)
		round_trip(&f);
}

/* a good descriptor with one byte changed is nearer to being accepted than random bytes are */
static void damaged(const unsigned char *data, size_t size)
{
	size_t n = 0;
	struct kcm_frame f;

	if (size < 3)
		return;
	while (kcm_frame_presets()[n].name)
		n++;
	ENSURE(kcm_frame_parse(kcm_frame_presets()[data[0] % n].name, &f, NULL, 0) == 0);
	((unsigned char *)&f)[data[1] % sizeof(f)] = data[2];
	if (kcm_frame_check(&f) == 0)
		round_trip(&f);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	text(data, size);
	memory(data, size);
	damaged(data, size);
	return 0;
}
