// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_flow_packet.c - hostile frames, hostile captures of their beginnings, and hostile words for
 * packets. Whatever is read from a frame is a header that a frame can be made from, that is read as
 * the same.
 */
#include "../../src/lib/suggest.c"
#include "../../src/lib/flow_words.c"
#include "../../src/lib/flow_parse_line.c"
#include "../../src/lib/flow_parse_addr.c"
#include "../../src/lib/flow_packet.c"
#include "../../src/lib/flow_packet_build.c"
#include "../../src/lib/flow_packet_spec.c"

#define ENSURE(cond)                                            \
	do {                                                    \
		if (!(cond)) {                                  \
			fprintf(stderr, "not so: %s\n", #cond); \
			abort();                                \
		}                                               \
	} while (0)

static void there_and_back(const struct flow_packet *p)
{
	static uint8_t frame[FLOW_PACKET_MAX];
	struct flow_header h = { 0 }, want = p->h;
	size_t n = flow_packet_build(p, frame, sizeof(frame));

	/* The headers may not fit into the length that is wanted. */
	if (!n) {
		ENSURE(p->h.len);
		return;
	}
	want.len = (uint32_t)n;
	flow_packet_parse(frame, n, want.len, &h);
	ENSURE(!memcmp(&h, &want, sizeof(h)));
}

static void frame(const unsigned char *data, size_t size)
{
	struct flow_header whole = { 0 }, part = { 0 };
	struct flow_packet p = { 0 };

	flow_packet_parse(data, size, (uint32_t)size, &whole);
	flow_packet_parse(data, size / 2, (uint32_t)size, &part);
	/* With less of it there is nothing else to be seen, only less. */
	ENSURE(part.bad || !memcmp(&part, &whole, sizeof(part)));
	if (whole.bad)
		return;
	p.h = whole;
	p.h.len = 0;
	p.ethertype = 0x88b5;
	there_and_back(&p);
}

static void words(const unsigned char *data, size_t size)
{
	char *text = strndup((const char *)data, size), why[FLOW_WHY] = "";
	struct flow_packet p;

	ENSURE(text);
	if (!flow_packet_spec(text, &p, why, sizeof(why))) {
		/* A number may be that of a kind that is told from this one. */
		if (p.ethertype != ETH_P_IP && p.ethertype != ETH_P_IPV6 && !is_tag(p.ethertype))
			there_and_back(&p);
	} else {
		ENSURE(*why);
		for (char *c = why; *c; c++)
			ENSURE((unsigned char)*c >= ' ' && *c != 127);
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	frame(data, size);
	words(data, size);
	return 0;
}
