// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* flow_parse_list.c - files of addresses: one prefix a line, IPv4 and IPv6, # and ; for comments.
 */
#include <errno.h>
#include <fcntl.h>
#include "flow_parse_part.h"

static int add_prefix(struct flow_list *list, size_t *room, const struct flow_prefix *prefix)
{
	if (list->n == *room) {
		size_t more = *room ? *room * 2 : 64;
		struct flow_prefix *p = reallocarray(list->prefix, more, sizeof(*p));

		if (!p)
			return -ENOMEM;
		list->prefix = p;
		*room = more;
	}
	list->prefix[list->n++] = *prefix;
	return 0;
}

/* The only word of @line, cut off from what is around it; "" if there is none. NULL: several. */
static char *only_word(char *line)
{
	char *end;

	line[strcspn(line, "#;")] = '\0';
	line += strspn(line, " \t");
	end = line + strcspn(line, " \t");
	if (end[strspn(end, " \t")])
		return NULL;
	*end = '\0';
	return line;
}

static int add_line(struct flow_list *list, size_t *room, char *text, char *why)
{
	struct flow_prefix prefix;
	char reason[FLOW_WHY - 64];
	char *word = only_word(text);

	if (!word) {
		snprintf(why, FLOW_WHY, "more than one word; allowed: an address or a prefix");
		return -EINVAL;
	}
	if (!*word)
		return 0;
	if (!flow_prefix_parse(word, &prefix, reason, sizeof(reason)))
		return add_prefix(list, room, &prefix);
	snprintf(why, FLOW_WHY, "'%.48s' %s", word, reason);
	return -EINVAL;
}

/* Of reading: the file's own fault or not. */
static int bad_line(int err, char *why)
{
	if (err == -E2BIG)
		snprintf(why, FLOW_WHY, "more than %d characters; allowed: an address or a prefix",
			 FLOW_LINE - 1);
	else
		snprintf(why, FLOW_WHY, "a NUL byte; allowed: text");
	return -EINVAL;
}

static int read_all(struct flow_list *list, struct flow_reader *r, const char *path,
		    struct flow_errors *e)
{
	size_t room = 0, before = e->n;
	char why[FLOW_WHY], *text;
	int err;

	while ((err = flow_reader_line(r, &text))) {
		if (err == -E2BIG || err == -EILSEQ)
			err = bad_line(err, why);
		else if (err < 0)
			return err;
		else
			err = add_line(list, &room, text, why);
		if (err == -ENOMEM)
			return err;
		if (err)
			flow_error(e, path, r->line, "%s", why);
	}
	return e->n == before ? 0 : -EINVAL;
}

int flow_list_read(struct flow_list *list, const char *path, struct flow_errors *e)
{
	_cleanup_free_ struct flow_reader *r = calloc(1, sizeof(*r));
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct flow_prefix *p;
	int err;

	if (!r)
		return -ENOMEM;
	if (fd < 0)
		return -errno;
	r->fd = fd;
	err = read_all(list, r, path, e);
	/* Half of it may be room that nothing is in. */
	p = list->n ? reallocarray(list->prefix, list->n, sizeof(*p)) : NULL;
	list->prefix = p ?: list->prefix;
	return err;
}
