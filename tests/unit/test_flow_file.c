// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_flow_file.c - files of policies and of addresses: order, lists, and all that is wrong in one
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cmocka_all.h"
#include "lib/flow_parse.h"

static char dir[] = "/tmp/kcm-flow-XXXXXX", rules[64];

static int make_dir(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(rules, sizeof(rules), "%s/rules", dir);
	return 0;
}

static int remove_dir(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void put(const char *name, const char *text, size_t n)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static void put_text(const char *name, const char *text)
{
	put(name, text, strlen(text));
}

static void good(const char *text, struct flow_set *set)
{
	char *errors = (char *)1;

	put_text("rules", text);
	if (flow_parse_file(rules, set, &errors))
		fail_msg("%s", errors);
	assert_null(errors);
}

/* What is said, with RULES for the path and DIR for where it is. */
static void bad_bytes(const char *text, size_t n, const char *wanted)
{
	struct flow_set set;
	char *errors = NULL, whole[4096] = "";

	for (const char *p = wanted; *p;) {
		size_t at = strlen(whole);
		bool is_rules = !strncmp(p, "RULES", 5), is_dir = !strncmp(p, "DIR", 3);

		snprintf(whole + at, sizeof(whole) - at, "%.*s", is_rules || is_dir ? 64 : 1,
			 is_rules ? rules
			 : is_dir ? dir
				  : p);
		p += is_rules ? 5 : is_dir ? 3 : 1;
	}
	put("rules", text, n);
	assert_int_equal(flow_parse_file(rules, &set, &errors), -EINVAL);
	assert_string_equal(errors, whole);
	flow_set_free(&set);
	free(errors);
}

static void bad(const char *text, const char *wanted)
{
	bad_bytes(text, strlen(text), wanted);
}

static void a_whole_file(void **state)
{
	struct flow_set set;

	(void)state;
	put_text("l.txt", "10.0.0.0/8 ; sbl 1\n\n# none\n  2001:db8::/32\t# six\n1.2.3.4");
	good("# policies\r\n"
	     "list bad l.txt\r\n"
	     "\tdefault drop # all else\r\n"
	     "\r\n"
	     "30 src @bad drop\r\n"
	     "10 name a proto tcp dport 80 pass\r\n"
	     " 20 count\r\n"
	     "10 name b pass",
	     &set);
	assert_int_equal(set.default_action, FLOW_DROP);
	assert_int_equal(set.lists, 1);
	assert_string_equal(set.list[0].name, "bad");
	assert_int_equal(set.list[0].n, 3);
	assert_int_equal(set.list[0].prefix[0].family, 4);
	assert_int_equal(set.list[0].prefix[0].len, 8);
	assert_int_equal(set.list[0].prefix[1].family, 6);
	assert_int_equal(set.list[0].prefix[1].len, 32);
	assert_int_equal(set.list[0].prefix[2].len, 32);
	assert_memory_equal(set.list[0].prefix[2].addr, "\1\2\3\4\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	/* lowest priority first, then the order of the lines */
	assert_int_equal(set.n, 4);
	assert_string_equal(set.policy[0].name, "a");
	assert_int_equal(set.policy[0].line, 6);
	assert_string_equal(set.policy[1].name, "b");
	assert_int_equal(set.policy[1].line, 8);
	assert_int_equal(set.policy[2].prio, 20);
	assert_int_equal(set.policy[3].line, 5);
	flow_set_free(&set);
	good("", &set);
	assert_int_equal(set.n, 0);
	assert_int_equal(set.default_action, FLOW_PASS);
	flow_set_free(&set);
}

static void lists_are_found_from_anywhere(void **state)
{
	struct flow_set set;
	char text[512], path[256], want[256], *errors;

	(void)state;
	put_text("l x.txt", "::/0\n");
	snprintf(text, sizeof(text), "list a \"l x.txt\"\nlist b \"%s/l x.txt\"\n", dir);
	good(text, &set);
	snprintf(want, sizeof(want), "%s/l x.txt", dir);
	assert_string_equal(set.list[0].path, want);
	assert_string_equal(set.list[1].path, want);
	assert_int_equal(set.list[0].n, 1);
	flow_set_free(&set);
	/* the same through a path that is relative itself */
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(flow_parse_file("rules", &set, &errors), 0);
	assert_string_equal(set.list[0].path, want);
	assert_int_equal(chdir("/"), 0);
	flow_set_free(&set);
	snprintf(path, sizeof(path), "%s/none/rules", dir);
	assert_int_equal(flow_parse_file(path, &set, &errors), -ENOENT);
	assert_null(errors);
	flow_set_free(&set);
	assert_int_equal(flow_parse_file(dir, &set, &errors), -EISDIR);
	assert_null(errors);
	flow_set_free(&set);
}

static void wrong_lines(void **state)
{
	(void)state;
	put_text("l", "1.2.3.4\n");
	put_text("two", "1.2.3.4 1.2.3.5\n10.0.0.1/8\n\nhost\n");
	bad("10 drop\n\n20 dorp\n", "RULES:3: unknown word 'dorp'; did you mean 'drop'?\n");
	bad("foo 1\ndefualt drop\nlits a l\n",
	    "RULES:1: 'foo' begins no line; allowed: PRIO of a policy, list, default\n"
	    "RULES:2: 'defualt' begins no line; did you mean 'default'?\n"
	    "RULES:3: 'lits' begins no line; did you mean 'list'?\n");
	bad("default\ndefault reject\ndefault drop drop\n",
	    "RULES:1: bad default; allowed: default pass, default drop\n"
	    "RULES:2: bad default; allowed: default pass, default drop\n"
	    "RULES:3: bad default; allowed: default pass, default drop\n");
	bad("default drop\ndefault pass\n",
	    "RULES:2: the default is also in line 1; allowed: once\n");
	bad("list a\nlist a l x\nlist 1 l\n",
	    "RULES:1: a list has a name and a file; allowed: list NAME FILE\n"
	    "RULES:2: a list has a name and a file; allowed: list NAME FILE\n"
	    "RULES:3: '1' is no name; allowed: a letter, then up to 14 of letters, digits and . _ "
	    "-\n");
	bad("list a l\nlist a l\n", "RULES:2: list 'a' is also in line 1; allowed: once\n");
	bad("1 src @a drop\nlist a l\n",
	    "RULES:1: no list 'a'; allowed: lists of a line 'list NAME FILE' above\n");
	bad("list a none\n", "RULES:1: list 'a': DIR/none: No such file or directory; allowed: a "
			     "file of addresses, one a line\n");
	bad("list a .\n", "RULES:1: list 'a': DIR/.: Is a directory; allowed: a file of addresses, "
			  "one a line\n");
	bad("\nlist a two\n",
	    "DIR/two:1: more than one word; allowed: an address or a prefix\n"
	    "DIR/two:2: '10.0.0.1/8' has bits set behind the prefix; did you mean 10.0.0.0/8?\n"
	    "DIR/two:4: 'host' is no address; allowed: IPv4 or IPv6 with /BITS or without\n");
	bad("10 name a drop\n5 name a drop\n7 name a drop\n7 name b drop",
	    "RULES:2: the name 'a' is also in line 1; allowed: once\n"
	    "RULES:3: the name 'a' is also in line 2; allowed: once\n");
	bad_bytes("1 drop\n2 dr\0op\n3\n", 17,
		  "RULES:2: a NUL byte; allowed: text\n"
		  "RULES:3: no action; allowed: pass drop count mark sample limit redirect forward "
		  "cpu\n");
}

static void many_errors(void **state)
{
	char text[4096] = "", wanted[4096] = "";

	(void)state;
	for (int i = 1; i <= 25; i++) {
		sprintf(text + strlen(text), "%d\n", i);
		if (i <= FLOW_ERRORS)
			sprintf(wanted + strlen(wanted),
				"RULES:%d: no action; allowed: pass drop count mark sample limit "
				"redirect forward cpu\n",
				i);
	}
	strcat(wanted, "RULES: 5 more errors, 25 in all\n");
	bad(text, wanted);
}

static void too_much(void **state)
{
	static char text[200000];
	char lists[2048] = "";

	(void)state;
	memset(text, '1', sizeof(text));
	text[99999] = '\n';
	strcpy(text + 150000, "\n1 drp\n");
	bad(text, "RULES:1: more than 4095 characters in a line; allowed: fewer\n"
		  "RULES:2: more than 4095 characters in a line; allowed: fewer\n"
		  "RULES:3: unknown word 'drp'; did you mean 'drop'?\n");
	for (int i = 0; i < 65; i++)
		memcpy(text + 2 * i, "1 ", 2);
	strcpy(text + 130, "\n");
	bad(text, "RULES:1: more than 64 words\n");
	put_text("l", "");
	for (int i = 0; i <= FLOW_LISTS; i++)
		sprintf(lists + strlen(lists), "list l%d l\n", i);
	bad(lists, "RULES:33: list 'l32' is one too many; allowed: 32\n");
}

/* Longer than the reader's buffer, and no line's end where the buffer ends. */
static void long_list(void **state)
{
	static char text[1 << 20];
	struct flow_set set;
	size_t n = 0;
	int i;

	(void)state;
	for (i = 0; n < sizeof(text) - 64; i++)
		n += (size_t)sprintf(text + n, i % 3 ? "10.%d.%d.0/24\n" : "2001:db8:%x:%x::/64\n",
				     i >> 8 & 255, i & 255);
	put("long", text, n);
	good("list a long\n", &set);
	assert_int_equal(set.list[0].n, i);
	for (int k = 0; k < i; k++) {
		struct flow_prefix p = { .family = 4, .len = 24 };

		memcpy(p.addr, (uint8_t[]){ 10, (uint8_t)(k >> 8), (uint8_t)k }, 3);
		if (k % 3 == 0) {
			p = (struct flow_prefix){ .family = 6, .len = 64 };
			memcpy(p.addr, "\x20\x01\x0d\xb8", 4);
			p.addr[5] = (uint8_t)(k >> 8);
			p.addr[7] = (uint8_t)k;
		}
		assert_memory_equal(&set.list[0].prefix[k], &p, sizeof(p));
	}
	flow_set_free(&set);
}

static void from_a_pipe(void **state)
{
	struct flow_set set;
	char *errors;
	int fd[2], was = dup(0);

	(void)state;
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(write(fd[1], "5 drop\n6 dorp", 13), 13);
	close(fd[1]);
	dup2(fd[0], 0);
	close(fd[0]);
	assert_int_equal(flow_parse_file("-", &set, &errors), -EINVAL);
	dup2(was, 0);
	close(was);
	assert_string_equal(errors, "stdin:2: unknown word 'dorp'; did you mean 'drop'?\n");
	free(errors);
	flow_set_free(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_file), cmocka_unit_test(lists_are_found_from_anywhere),
		cmocka_unit_test(wrong_lines),	cmocka_unit_test(many_errors),
		cmocka_unit_test(too_much),	cmocka_unit_test(long_list),
		cmocka_unit_test(from_a_pipe),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
