// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * kcm_side - the same test of AF_KCM and of libkcm, behaviour by behaviour. What each is known to
 * do is in rows[], with the reason where the two differ; anything else fails.
 *
 *   kcm_side judge [ROW...]       on both sides, as TAP
 *   kcm_side mux                  the same of the mux alone, on any kernel
 *   kcm_side af|mux ROW           what it does
 *   kcm_side table                the rows, for README.md
 */
#define _GNU_SOURCE
#include "kcm_side.h"
#include "kcmparse.skel.h"
#include "kcm_side_af.h"
#include "kcm_side_mux.h"
#include "kcm_side_end.h"
#include "kcm_side_send.h"

#define ROW_SECONDS 300

struct row {
	const char *name, *what;
	void (*run)(row_args);
	const char *af;
	const char *mux, *why; /* NULL: the same */
};

#define TOLD_IN_ORDER "told behind the messages; the mux closes, unless keep_on_error"

static const struct row rows[] = {
	{ "whole", "messages in pieces of 1 to 999 bytes", whole, "200 of 200", NULL, NULL },
	{ "mixed", "twelve lengths in one segment", mixed, "12 of 12", NULL, NULL },
	{ "documented",
	  "twelve lengths in one segment, by the program of the kernel's documentation", documented,
	  "cut at wrong places", "12 of 12",
	  "it looks at the front of the segment, which is all that AF_KCM tells it" },
	{ "early", "sent before the connection is attached", early, "5 of 5", NULL, NULL },
	{ "origin", "which connection a message came from", origin, "not told", "told",
	  "without it no server can answer" },
	{ "answer", "replies to one of two clients", answer, "some go astray", "8 of 8",
	  "AF_KCM sends on any connection" },
	{ "readable", "poll: before, with, and after a message", readable, "no, yes, no", NULL,
	  NULL },
	{ "truncated", "a buffer that is too small", truncated,
	  "16 of 100, MSG_TRUNC, then the next", "100 of 100, in place",
	  "libkcm copies nothing, so there is no buffer" },
	{ "partial", "a buffer that is too small, SOCK_SEQPACKET", partial,
	  "16 of 100, then the next", "100 of 100, in place",
	  "AF_KCM drops the rest, though SOCK_SEQPACKET promises it" },
	{ "peek", "MSG_PEEK", peek, "100 bytes, and again without it",
	  "100 bytes, there until they are released",
	  "a message is read where it is; there is no such call" },
	{ "in-turn", "three workers, messages apart", in_turn, "4, 4, 4", NULL, NULL },
	{ "in-turn-segment", "three workers, in one segment", in_turn_segment, "12, 0, 0",
	  "4, 4, 4", "AF_KCM chooses a worker a wake-up, the mux (robin) a message" },
	{ "idle", "what an idle worker gets of a busy one's", idle, "0 of 5", "5 of 5",
	  "least: workers pull from one queue" },
	{ "disabled", "KCM_RECV_DISABLE: its queue goes to another", disabled, "6 of 6", NULL,
	  NULL },
	{ "all-disabled", "all disabled, then enabled", all_disabled, "0, then 6 of 6", NULL,
	  NULL },
	{ "leaves", "a worker leaves: its queue goes to another", leaves, "6 of 6", NULL, NULL },
	{ "last-leaves", "the last worker leaves", last_leaves,
	  "the multiplexor is gone, and they with it", "4 of 4 for who comes next",
	  "the owner holds the mux, not its workers" },
	{ "counted", "50 messages by its statistics", counted, "50", NULL, NULL },
	{ "bad-length", "a length that can't be", bad_length,
	  "5, EPROTO on the TCP socket; stays open", "5, EPROTO, an event; closed", TOLD_IN_ORDER },
	{ "too-big", "a message of 8 MiB", too_big, "5, EMSGSIZE on the TCP socket; stays open",
	  "5, EMSGSIZE, an event; closed",
	  "AF_KCM's most is the receive buffer; the mux's what its frame says" },
	{ "half", "half a message, then the end", half, "5, EPIPE on the TCP socket",
	  "5, EPIPE, an event", TOLD_IN_ORDER },
	{ "closed", "the client closes", closed, "5, EPIPE on the TCP socket",
	  "5, closed, an event", "AF_KCM can't tell it from half a message" },
	{ "late", "an unfinished message and SO_RCVTIMEO", late,
	  "5, ETIMEDOUT on the TCP socket; stays open", "5, ETIMEDOUT, an event; closed",
	  TOLD_IN_ORDER },
	{ "silent", "SO_RCVTIMEO and no message begun", silent, "3 of 3", NULL, NULL },
	{ "others", "after a bad length: other connections", others, "20 of 20", NULL, NULL },
	{ "backpressure", "nobody receives", backpressure, "the sender stops, nothing lost", NULL,
	  NULL },
	{ "endless", "a message without an end", endless, "8 MiB taken, in buffers of 64 KiB",
	  "EMSGSIZE, an event", "AF_KCM's program asks for more by 0, without a bound" },
	{ "attach-twice", "attached a second time", attach_twice, "EALREADY", "EBUSY",
	  "libkcm's name for it" },
	{ "attach-udp", "attach: UDP", attach_udp, "EOPNOTSUPP", NULL, NULL },
	{ "attach-listener", "attach: a listener", attach_listener, "EOPNOTSUPP", NULL, NULL },
	{ "detach", "detached between messages", detach, "all of the next message", NULL, NULL },
	{ "detach-half", "detached in the midst of a message", detach_half,
	  "what was begun is lost", "all of the next message",
	  "kcm_detach() gives back what it had read" },
	{ "send-whole", "two workers send long messages", send_whole, "200 of 200", NULL, NULL },
	{ "send-more", "MSG_BATCH, KCM_MORE: held, then together", send_more, "held, then both",
	  NULL, NULL },
	{ "send-parts", "a message in two parts, another worker's between", send_parts,
	  "the parts together", NULL, NULL },
	{ "send-any", "ten to anybody, one of two is reset", send_any, "10 of 10", NULL, NULL },
};

static const struct row *row_find(const char *name)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (!strcmp(rows[i].name, name))
			return &rows[i];
	return NULL;
}

/* In a process of its own, guarded: prints what side argv[1] does in row argv[2]. */
static void observe(int argc, char **argv)
{
	char text[SIDE_TEXT] = "";

	(void)argc;
	row_find(argv[2])->run(strcmp(argv[1], "af") ? &side_mux : &side_af, text);
	printf("%s\n", text);
}

/* Run this program for one side. Return: whether it said @want; else @said is what it did. */
static bool does(const char *self, const char *which, const struct row *r, const char *want,
		 char *said, size_t size)
{
	char cmd[512];
	FILE *p;
	int status;

	snprintf(cmd, sizeof(cmd), "'%s' %s %s 2>&1", self, which, r->name);
	p = popen(cmd, "re");
	CHECK(p);
	said[0] = '\0';
	if (fgets(said, (int)size, p))
		said[strcspn(said, "\n")] = '\0';
	while (fgets(cmd, sizeof(cmd), p))
		printf("# %s", cmd);
	status = pclose(p);
	if (status && !said[0])
		snprintf(said, size, "status %#x", status);
	return !status && !strcmp(said, want);
}

/* @af: AF_KCM too, not the mux alone. */
static bool judge(const char *self, unsigned int n, const struct row *r, bool af)
{
	const char *mux = r->mux ? r->mux : r->af;
	char af_said[256] = "-", mux_said[256];
	bool af_ok = !af || does(self, "af", r, r->af, af_said, sizeof(af_said));
	bool mux_ok = does(self, "mux", r, mux, mux_said, sizeof(mux_said));

	printf("%sok %u - %s: AF_KCM: %s; mux: %s\n", af_ok && mux_ok ? "" : "not ", n, r->name,
	       af_said, mux_said);
	if (!af_ok)
		printf("# AF_KCM is known for: %s\n", r->af);
	if (!mux_ok)
		printf("# the mux is known for: %s\n", mux);
	fflush(stdout);
	return af_ok && mux_ok;
}

/* Of the rows that are named, or of all. */
static int judge_all(const char *self, int argc, char **argv, bool af)
{
	unsigned int n = 0, bad = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool named = !argc;

		for (int k = 0; k < argc; k++)
			named |= !strcmp(argv[k], rows[i].name);
		if (named)
			bad += !judge(self, ++n, &rows[i], af);
	}
	printf("1..%u\n", n);
	if (argc && n != (unsigned int)argc)
		printf("not ok %u - a row that is named is not there\n", n + 1);
	return bad || !n || (argc && n != (unsigned int)argc) ? 1 : 0;
}

static bool have_af_kcm(void)
{
	for (int i = 0; i < 2; i++) {
		int fd = socket(AF_KCM, SOCK_DGRAM, 0);

		if (fd >= 0)
			return !close(fd);
		if (!i && system("modprobe -q kcm"))
			break;
	}
	return false;
}

static int table(void)
{
	const char *sep = "";

	printf("| | AF_KCM | mux | why |\n|---|---|---|---|\n");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].mux)
			printf("| %s | %s | %s | %s |\n", rows[i].what, rows[i].af, rows[i].mux,
			       rows[i].why);
	printf("\nThe same of both: ");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (!rows[i].mux) {
			printf("%s%s (%s)", sep, rows[i].what, rows[i].af);
			sep = "; ";
		}
	printf(".\n");
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "judge")) {
		if (have_af_kcm())
			return judge_all(argv[0], argc - 2, argv + 2, true);
		printf("not ok 1 - this kernel has no AF_KCM\n1..1\n");
		return 1;
	}
	if (!strcmp(what, "mux") && argc == 2)
		return judge_all(argv[0], 0, NULL, false);
	if (!strcmp(what, "table"))
		return table();
	if (argc == 3 && (!strcmp(what, "af") || !strcmp(what, "mux")) && row_find(argv[2]))
		return kit_guard(observe, argc, argv, ROW_SECONDS);
	fprintf(stderr, "usage: kcm_side judge [ROW...] | mux | table | af ROW | mux ROW\n");
	return 2;
}
