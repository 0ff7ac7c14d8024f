// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_parse_action.c - what a policy does. */
#include <ctype.h>
#include <errno.h>
#include "flow_parse_part.h"

/* The program's clock has nanoseconds: a packet, and 1/1024 of a byte's time, is one at least. */
#define PACKETS_MAX 1000000000ULL
#define BYTES_MAX   1000000000000ULL
#define BURST_MAX   0xffffffffULL

#define RATES "1pps to 1Gpps, 8bit to 8Tbit, 1B/s to 1TB/s"

static int parse_pass(struct flow_policy_parse *pp)
{
	pp->p->action = FLOW_PASS;
	return 0;
}

static int parse_drop(struct flow_policy_parse *pp)
{
	pp->p->action = FLOW_DROP;
	return 0;
}

static int parse_count(struct flow_policy_parse *pp)
{
	pp->p->action = FLOW_COUNT;
	return 0;
}

static int parse_forward(struct flow_policy_parse *pp)
{
	pp->p->action = FLOW_FORWARD;
	return 0;
}

/* A number from @min to @max. */
static int number(struct flow_policy_parse *pp, const char *what, uint64_t min, uint64_t max,
		  uint64_t *v)
{
	char allowed[64];
	const char *word;

	snprintf(allowed, sizeof(allowed), "%llu to %llu", (unsigned long long)min,
		 (unsigned long long)max);
	word = flow_words_want(&pp->w, what, allowed);
	if (!word)
		return -EINVAL;
	if (flow_number(word, max, v) && *v >= min)
		return 0;
	return flow_words_wrong(&pp->w, "bad %s '%.40s'; allowed: %s", what, word, allowed);
}

static int parse_mark(struct flow_policy_parse *pp)
{
	uint64_t v = 0;
	int err = number(pp, "mark", 0, UINT32_MAX, &v);

	pp->p->action = FLOW_MARK;
	pp->p->mark = (uint32_t)v;
	return err;
}

static int parse_cpu(struct flow_policy_parse *pp)
{
	uint64_t v = 0;
	int err = number(pp, "cpu", 0, UINT16_MAX, &v);

	pp->p->action = FLOW_CPU;
	pp->p->cpu = (uint32_t)v;
	return err;
}

static int parse_sample(struct flow_policy_parse *pp)
{
	static const char allowed[] = "1/N, 1/1 to 1/4294967295";
	const char *word = flow_words_want(&pp->w, "sample", allowed);
	uint64_t v;

	if (!word)
		return -EINVAL;
	if (strncmp(word, "1/", 2) || !flow_number(word + 2, UINT32_MAX, &v) || !v)
		return flow_words_wrong(&pp->w, "bad sample '%.40s'; allowed: %s", word, allowed);
	pp->p->action = FLOW_SAMPLE;
	pp->p->one_in = (uint32_t)v;
	return 0;
}

/* ---- limits ---- */

static const struct unit {
	const char *name;
	uint64_t of; /* packets or bits */
	bool packets;
} units[] = {
	{ "pps", 1, true },
	{ "kpps", 1000, true },
	{ "Mpps", 1000000, true },
	{ "Gpps", 1000000000, true },
	{ "bit", 1, false },
	{ "kbit", 1000, false },
	{ "Mbit", 1000000, false },
	{ "Gbit", 1000000000, false },
	{ "Tbit", 1000000000000, false },
	{ "B/s", 8, false },
	{ "kB/s", 8000, false },
	{ "MB/s", 8000000, false },
	{ "GB/s", 8000000000, false },
	{ "TB/s", 8000000000000, false },
};

/* "1.5": @v / @scale. At most nine digits on either side of the point: nothing overflows. */
static const char *decimal(const char *text, uint64_t *v, uint64_t *scale)
{
	int digits = 0, places = 0;

	*v = 0;
	*scale = 1;
	for (; isdigit((unsigned char)*text); text++, digits++)
		*v = *v * 10 + (uint64_t)(*text - '0');
	if (!digits || digits > 13)
		return NULL;
	if (*text != '.')
		return text;
	for (text++; isdigit((unsigned char)*text); text++, places++) {
		*v = *v * 10 + (uint64_t)(*text - '0');
		*scale *= 10;
	}
	return places && digits + places <= 13 ? text : NULL;
}

static bool rate(const char *text, struct flow_policy *p)
{
	uint64_t v, scale;
	const char *unit;

	if (strnlen(text, 32) == 32)
		return false;
	unit = decimal(text, &v, &scale);
	for (size_t i = 0; unit && i < ARRAY_LEN(units); i++) {
		unsigned __int128 n = (unsigned __int128)v * units[i].of;
		unsigned int per = units[i].packets ? 1 : 8;

		if (strcmp(unit, units[i].name))
			continue;
		if (n % (scale * per) || n / scale / per > BYTES_MAX)
			return false;
		p->rate = (uint64_t)(n / scale / per);
		p->rate_is_packets = units[i].packets;
		return p->rate && p->rate <= (p->rate_is_packets ? PACKETS_MAX : BYTES_MAX);
	}
	return false;
}

/* Packets, or bytes with K, M, G of 1024. */
static int burst(struct flow_policy_parse *pp)
{
	const char *allowed = pp->p->rate_is_packets ? "1 to 4294967295 packets"
						     : "1 to 4294967295 bytes, 64K, 1M, 1G";
	const char *word = flow_words_want(&pp->w, "burst", allowed);
	size_t n = word ? strlen(word) : 0;
	char text[16];
	uint64_t v;
	int shift = 0;

	if (!word)
		return -EINVAL;
	snprintf(text, sizeof(text), "%.*s", n < sizeof(text) ? (int)n : 0, word);
	n = strlen(text);
	if (n && !pp->p->rate_is_packets) {
		const char *k = strchr("KMG", text[n - 1]);

		shift = !k ? 0 : *k == 'K' ? 10 : *k == 'M' ? 20 : 30;
		if (k)
			text[n - 1] = '\0';
	}
	if (!flow_number(text, BURST_MAX, &v) || !v || v << shift > BURST_MAX)
		return flow_words_wrong(&pp->w, "bad burst '%.40s'; allowed: %s", word, allowed);
	pp->p->burst = v << shift;
	return 0;
}

static int parse_limit(struct flow_policy_parse *pp)
{
	const char *word = flow_words_want(&pp->w, "limit", RATES);

	if (!word)
		return -EINVAL;
	if (!rate(word, pp->p))
		return flow_words_wrong(&pp->w, "bad rate '%.40s'; allowed: %s", word, RATES);
	pp->p->action = FLOW_LIMIT;
	if (flow_words_is(&pp->w, "per-flow"))
		pp->p->per_flow = true;
	if (flow_words_is(&pp->w, "burst") && burst(pp))
		return -EINVAL;
	if (!pp->p->per_flow)
		pp->p->per_flow = flow_words_is(&pp->w, "per-flow");
	return 0;
}

const struct flow_word_of flow_action_words[] = {
	{ "pass", parse_pass },
	{ "drop", parse_drop },
	{ "count", parse_count },
	{ "mark", parse_mark },
	{ "sample", parse_sample },
	{ "limit", parse_limit },
	{ "redirect", flow_redirect_parse },
	{ "forward", parse_forward },
	{ "cpu", parse_cpu },
	{ NULL, NULL },
};
