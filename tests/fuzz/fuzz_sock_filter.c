// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz_sock_filter.c - any words as a filter of sockets: what is accepted can be asked of any
 * socket and can be the rule of a limit, whose text makes the same rule; what is refused has a
 * message of one line. Input: the words with a newline behind each.
 */
#include "../../src/cmd_sock_field.c"
#include "../../src/cmd_sock_value.c"
#include "../../src/cmd_sock_filter.c"
#include "../../src/cmd_sock_match.c"
#include "cmd_sock_rule.h"

#define WORDS 24

static void ensure(bool is)
{
	if (!is)
		abort();
}

static int words_parse(struct sock_filter *f, const char *text, size_t size, const char *between)
{
	_cleanup_free_ char *copy = strndup(text, size);
	char *words[WORDS], err[256] = "";
	int n = 0, ret;

	ensure(copy);
	for (char *p = strtok(copy, between); p && n < WORDS; p = strtok(NULL, between))
		words[n++] = p;
	ret = sock_filter_parse_quiet(f, words, n, err, sizeof(err));
	ensure(!ret == !*err);
	ensure(!strchr(err, '\n'));
	return ret;
}

static void ask(const struct sock_filter *f, const uint8_t *data, size_t size)
{
	struct kcm_sock s = { 0 };

	sock_filter_match(f, &s);
	memcpy(&s, data, size < sizeof(s) ? size : sizeof(s));
	/* As whoever fills it in ends them. */
	s.info.comm[sizeof(s.info.comm) - 1] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(s.info.label); i++) {
		s.info.label[i].key[sizeof(s.info.label[i].key) - 1] = '\0';
		s.info.label[i].value[sizeof(s.info.label[i].value) - 1] = '\0';
	}
	sock_filter_match(f, &s);
	for (size_t i = 0; i < ARRAY_LEN(sock_fields); i++)
		ensure(sock_field_cmp(&sock_fields[i], &s, &s, f->now_ns) == 0);
}

static void rule(const struct sock_filter *f)
{
	struct kcm_sk_rule r = { 0 }, again = { 0 };
	struct sock_filter g;
	char text[SOCK_RULE_TEXT];

	if (sock_rule_from(&r, f))
		return;
	sock_rule_text(&r, text);
	/* Names of namespaces and cgroups are this machine's. */
	if (strstr(text, "netns") || strstr(text, "cgroup"))
		return;
	/* A label's key may look like a comparison ("label <===a"): its text is for people. */
	if (r.match & KCM_RULE_LABEL)
		return;
	if (words_parse(&g, text, strlen(text), " ") || sock_rule_from(&again, &g) ||
	    !sock_rule_same(&r, &again)) {
		fprintf(stdout, "'%s' is not the same rule\n", text);
		fflush(stdout);
		abort();
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	stderr = fopen("/dev/null", "w"); /* what is no rule, and there are many */
	return stderr ? 0 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sock_filter f;

	if (words_parse(&f, (const char *)data, size, "\n"))
		return 0;
	ask(&f, data, size);
	/* A rule's text has no quotes: one with a space in a word is for people. */
	for (size_t i = 0; i < size; i++)
		if (data[i] <= ' ' && data[i] != '\n')
			return 0;
	rule(&f);
	return 0;
}
