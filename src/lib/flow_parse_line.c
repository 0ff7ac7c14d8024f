// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_parse_line.c - words and numbers of a line, and messages about them. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include "flow_parse_part.h"

/* Whatever was in a file, it can't move the cursor of a terminal. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if (iscntrl((unsigned char)*text))
			*text = '?';
}

int flow_words_wrong(struct flow_words *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->why, sizeof(w->why), fmt, ap);
	va_end(ap);
	make_printable(w->why);
	return -EINVAL;
}

void flow_error(struct flow_errors *e, const char *file, uint32_t line, const char *fmt, ...)
{
	char text[FLOW_WHY + 512];
	va_list ap;

	if (++e->n > FLOW_ERRORS)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	make_printable(text);
	if (file)
		fprintf(e->out, "%s:%u: %s\n", file, line, text);
	else
		fprintf(e->out, "%s\n", text);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The word at @p ends where? NULL: a quote that is not closed, or text right behind one. */
static char *end_of_word(char *p)
{
	if (*p != '"')
		return p + strcspn(p, " \t");
	p = strchr(p + 1, '"');
	return p && (!p[1] || is_blank(p[1])) ? p : NULL;
}

int flow_words_cut(struct flow_words *w, const char *text)
{
	char *p = w->copy;

	w->n = w->at = 0;
	w->why[0] = '\0';
	if (strlen(text) >= sizeof(w->copy))
		return flow_words_wrong(w, "more than %d characters", FLOW_LINE - 1);
	strcpy(w->copy, text);
	for (;;) {
		char *end;

		while (is_blank(*p))
			p++;
		if (!*p || *p == '#')
			return 0;
		if (w->n == FLOW_WORDS)
			return flow_words_wrong(w, "more than %d words", FLOW_WORDS);
		end = end_of_word(p);
		if (!end)
			return flow_words_wrong(w,
						"bad quotes at %.40s; a word in quotes begins "
						"and ends with one",
						p);
		w->word[w->n++] = *p == '"' ? p + 1 : p;
		p = end;
		if (*p)
			*p++ = '\0';
	}
}

const char *flow_words_next(struct flow_words *w)
{
	return w->at < w->n ? w->word[w->at++] : NULL;
}

bool flow_words_is(struct flow_words *w, const char *word)
{
	if (w->at == w->n || strcmp(w->word[w->at], word))
		return false;
	w->at++;
	return true;
}

const char *flow_words_want(struct flow_words *w, const char *what, const char *allowed)
{
	const char *word = flow_words_next(w);

	if (!word)
		flow_words_wrong(w, "nothing behind '%s'; allowed: %s", what, allowed);
	return word;
}

bool flow_number(const char *text, uint64_t max, uint64_t *value)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	unsigned int base = hex ? 16 : 10;
	uint64_t v = 0;

	if (hex)
		text += 2;
	if (!*text)
		return false;
	for (; *text; text++) {
		unsigned int digit = isdigit((unsigned char)*text) ? (unsigned int)(*text - '0')
				     : hex && isxdigit((unsigned char)*text)
					     ? (unsigned int)((*text | 32) - 'a') + 10
					     : 16;

		if (digit >= base || __builtin_mul_overflow(v, (uint64_t)base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)digit, &v) || v > max)
			return false;
	}
	*value = v;
	return true;
}

bool flow_name_ok(const char *name)
{
	size_t n = strlen(name);

	if (!n || n >= FLOW_NAME || !(isalpha((unsigned char)*name) || *name == '_'))
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("._-", *name))
			return false;
	return true;
}
