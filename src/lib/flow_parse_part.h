/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * flow_parse_part.h - what the files of the parser share.
 *
 *   flow_parse.c         files: lines, errors, lists, order    flow_parse_match.c   conditions
 *   flow_parse_line.c    words and numbers of a line           flow_parse_action.c  actions
 *   flow_parse_policy.c  a policy, and what can't be in one    flow_parse_addr.c    prefixes,
 * protocols flow_parse_read.c    bytes to lines                        flow_parse_list.c    files
 * of addresses
 */
#ifndef KCM_FLOW_PARSE_PART_H
#define KCM_FLOW_PARSE_PART_H

#include "../util.h"
#include "flow_parse.h"

#define FLOW_WHY   512	/* of a message, with its end */
#define FLOW_WORDS 64	/* of a line */
#define FLOW_LINE  4096 /* bytes of a line, with its end */

/* ---- bytes to lines ---- */

struct flow_reader {
	int fd;		 /* -1: all of it is in @mem */
	const char *mem; /* what is left */
	size_t mem_left;
	size_t at, have;
	uint32_t line; /* number of the last one */
	bool end;
	char buf[1 << 16];
};

/**
 * flow_reader_line() - the next line
 * @text: it, without its end; valid until the next call
 * Return: 1; 0 at the end; -E2BIG the line is longer than FLOW_LINE, the next call gives the one
 * after; -EILSEQ it has a NUL byte, the same; or -errno.
 */
int flow_reader_line(struct flow_reader *r, char **text);

/* ---- words of a line ---- */

struct flow_words {
	const char *word[FLOW_WORDS];
	int n, at;
	char why[FLOW_WHY]; /* one line, also if the words have bytes that are no characters */
	char copy[FLOW_LINE];
};

/* Cut at blanks; "..." is one word, # begins a comment. Return: 0 or -EINVAL. */
int flow_words_cut(struct flow_words *w, const char *text);
/* The next word, or NULL. */
const char *flow_words_next(struct flow_words *w);
/* Is the next word @word? Then it is gone past. */
bool flow_words_is(struct flow_words *w, const char *word);
/* The next word, or NULL and a message that @what wants @allowed. */
const char *flow_words_want(struct flow_words *w, const char *what, const char *allowed);
/* Say what is wrong. Return: -EINVAL. */
_printf_(2, 3) int flow_words_wrong(struct flow_words *w, const char *fmt, ...);

/* Decimal or 0x hexadecimal, up to @max; all of @text. */
bool flow_number(const char *text, uint64_t max, uint64_t *value);
/* Name of a policy or list: begins with a letter, so that it is no priority. */
bool flow_name_ok(const char *name);

/* ---- parts of a policy ---- */

struct flow_given { /* what the policy alone does not tell */
	bool family, ports;
};

struct flow_policy_parse {
	struct flow_words w;
	const struct flow_set *set; /* for its lists */
	struct flow_policy *p;
	struct flow_given given;
};

struct flow_word_of {
	const char *name;
	int (*parse)(struct flow_policy_parse *pp);
};

/* Ended by an entry without a name. */
extern const struct flow_word_of flow_cond_words[], flow_action_words[];

int flow_redirect_parse(struct flow_policy_parse *pp);

/* @text becomes @p. Return: 0, or -EINVAL and @w.why. */
int flow_policy_parse(struct flow_policy_parse *pp, const char *text);

/**
 * flow_prefix_parse() - "10.0.0.0/8", "::1"
 * @why: one line, what is wrong and what is allowed, without @text
 * Return: 0 or -EINVAL.
 */
int flow_prefix_parse(const char *text, struct flow_prefix *prefix, char *why, size_t size);

/* Names of IP protocols. */
bool flow_proto_parse(const char *text, uint8_t *proto, const char **near);

/* ---- files ---- */

struct flow_errors {
	FILE *out;
	size_t n;
};

_printf_(4, 5) void flow_error(struct flow_errors *e, const char *file, uint32_t line,
			       const char *fmt, ...);

/* All prefixes of the file at @path. Return: 0, -EINVAL after errors, or -ENOMEM. */
int flow_list_read(struct flow_list *list, const char *path, struct flow_errors *e);
#endif
