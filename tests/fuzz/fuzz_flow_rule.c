// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_flow_rule.c - hostile files of policies. What is accepted is written and read as the same
 * again; what is refused has messages of a line each, without anything that moves a cursor.
 */
#include "../../src/lib/suggest.c"
#include "../../src/lib/flow_words.c"
#include "../../src/lib/flow_parse_line.c"
#include "../../src/lib/flow_parse_addr.c"
#include "../../src/lib/flow_parse_match.c"
#include "../../src/lib/flow_parse_action.c"
#include "../../src/lib/flow_parse_policy.c"
#include "../../src/lib/flow_parse_read.c"
#include "../../src/lib/flow_parse_list.c"
#include "../../src/lib/flow_parse.c"
#include "../../src/lib/flow_text.c"

#define ENSURE(cond)                                            \
	do {                                                    \
		if (!(cond)) {                                  \
			fprintf(stderr, "not so: %s\n", #cond); \
			abort();                                \
		}                                               \
	} while (0)

static char *text_of(const struct flow_set *set, size_t *bytes)
{
	char *text;
	FILE *f = open_memstream(&text, bytes);

	ENSURE(f);
	flow_text_head(f, set);
	for (size_t i = 0; i < set->n; i++) {
		flow_text_policy(f, set, &set->policy[i]);
		fputc('\n', f);
	}
	ENSURE(!fclose(f));
	return text;
}

static void check_message(const char *why)
{
	ENSURE(*why && strlen(why) < FLOW_WHY);
	for (; *why; why++)
		ENSURE((unsigned char)*why >= ' ' && *why != 127);
}

static void round_trip(const struct flow_set *set)
{
	size_t bytes, bytes_again;
	char *text = text_of(set, &bytes), *text_again, why[FLOW_WHY];
	struct flow_set again;

	ENSURE(!flow_text_read(text, bytes, &again, why, sizeof(why)));
	ENSURE(again.n == set->n && again.lists == set->lists);
	ENSURE(again.default_action == set->default_action);
	for (size_t i = 0; i < set->n; i++)
		ENSURE(!memcmp(&again.policy[i], &set->policy[i], sizeof(again.policy[i])));
	text_again = text_of(&again, &bytes_again);
	ENSURE(bytes == bytes_again && !memcmp(text, text_again, bytes));
	free(text);
	free(text_again);
	flow_set_free(&again);
}

static void rules(const char *data, size_t size)
{
	char why[FLOW_WHY] = "";
	struct flow_set set;
	int err = flow_text_read(data, size, &set, why, sizeof(why));

	ENSURE(!err || err == -EINVAL);
	if (err)
		check_message(why);
	else
		round_trip(&set);
	flow_set_free(&set);
}

/* The same bytes as a list of addresses: prefixes have no bit behind their length. */
static void addresses(const char *data, size_t size)
{
	struct flow_reader *r = calloc(1, sizeof(*r));
	struct flow_list list = { .name = "l" };
	struct flow_errors e = { 0 };
	char *text;
	size_t bytes;

	ENSURE(r);
	e.out = open_memstream(&text, &bytes);
	ENSURE(e.out);
	r->fd = -1;
	r->mem = data;
	r->mem_left = size;
	ENSURE((read_all(&list, r, "f", &e) == 0) == (e.n == 0));
	ENSURE(!fclose(e.out));
	for (size_t i = 0; i < list.n; i++) {
		struct flow_prefix *p = &list.prefix[i];

		ENSURE(p->len <= (p->family == 4 ? 32 : 128));
		ENSURE(!clear_host_bits(p->addr, p->len));
	}
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		ENSURE(!strncmp(line, "f:", 2));
		check_message(line);
	}
	free(text);
	free(list.prefix);
	free(r);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	rules((const char *)data, size);
	addresses((const char *)data, size);
	return 0;
}
