// SPDX-License-Identifier: GPL-2.0
/* sock frame: how messages on a port are framed. */
#include <errno.h>
#include "cmd_sock.h"
#include "lib/pin.h"
#include "lib/sock_frame.h"

#define NEXT "kcmtool sock frame --help"

static int take_port(const char *text, __u16 *port)
{
	uint64_t v;

	if (!str_to_u64(text, &v) || !v || v > 65535)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "port",
				      .why = "a port is 1 to 65535", .next = NEXT),
			      "bad port '%s'", text);
	*port = (__u16)v;
	return 0;
}

static int failed(int err, const char *why, const char *what)
{
	switch (err) {
	case -ENOENT:
		return report(PROBLEM(.code = KCM_EXIT_NOT_LOADED, .where = SOCK_PIN_DIR,
				      .next = "kcmtool sock load"),
			      "sock is not loaded");
	case -ESTALE:
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = SOCK_PIN_DIR,
				      .why = "another version of kcmtool has loaded it",
				      .next = "kcmtool sock load"),
			      "%s", what);
	case -EBUSY:
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = KCM_BPFFS,
				      .why = "another process holds the lock",
				      .next = "again when it is done; lslocks names it"),
			      "%s", what);
	case -ENOSPC:
		return report(
			PROBLEM(.code = KCM_EXIT_FAILED, .why = why,
				.next = "kcmtool sock frame list, kcmtool sock frame del PORT"),
			"%s", what);
	case -EOPNOTSUPP:
		return report(PROBLEM(.code = KCM_EXIT_KERNEL, .why = why,
				      .next = "kcmtool -v sock frame ... shows what it says"),
			      "%s", what);
	}
	return report(PROBLEM(.err = err, .where = SOCK_PIN_DIR, .why = why && *why ? why : NULL,
			      .next = "kcmtool -v sock frame ..."),
		      "%s", what);
}

/* ---- set ---- */

static int join(char *const *words, char *text, size_t size)
{
	size_t at = 0;

	text[0] = '\0';
	for (; *words; words++) {
		int n = snprintf(text + at, size - at, "%s%s", at ? " " : "", *words);

		if (n < 0 || (size_t)n >= size - at)
			return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "frame",
					      .why = "too long", .next = "kcmtool mux frames"),
				      "bad frame '%.40s...'", text);
		at += n;
	}
	return 0;
}

static int frame_set(const struct cmd_args *args)
{
	static const char *const results[] = {
		[SOCK_FRAME_NEW] = "framed",
		[SOCK_FRAME_REPLACED] = "replaced",
		[SOCK_FRAME_SAME] = "framed already",
	};
	char text[KCM_FRAME_TEXT_BYTES], canon[KCM_FRAME_TEXT_BYTES], why[256] = "", what[48];
	struct kcm_frame frame;
	__u16 port = 0;
	int ret, code = take_port(args->pos[0], &port);

	code = code ?: join(args->pos + 1, text, sizeof(text));
	if (code)
		return code;
	ret = sock_frame_parse(text, &frame, why, sizeof(why));
	if (ret)
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "frame", .why = why,
				      .next = "kcmtool mux frames"),
			      "bad frame '%s'", text);
	ret = kcm_sock_frame_set(port, &frame, text, why, sizeof(why));
	snprintf(what, sizeof(what), "cannot frame port %u", port);
	if (ret < 0)
		return failed(ret, why, what);
	if (kcm_frame_format(&frame, canon, sizeof(canon)))
		canon[0] = '\0';
	out_u64(args->out, "port", port);
	out_str(args->out, "frame", text);
	out_str(args->out, "means", canon);
	out_str(args->out, "result", results[ret]);
	if (ret != SOCK_FRAME_SAME)
		out_note(args->out, "Connections established from now on are framed%s.",
			 ret == SOCK_FRAME_NEW ? "" : " so; older ones keep what they had");
	return 0;
}

/* ---- delete ---- */

static int frame_del(const struct cmd_args *args)
{
	char what[48];
	__u16 port = 0;
	int ret, code = take_port(args->pos[1], &port);

	if (code)
		return code;
	ret = kcm_sock_frame_del(port);
	if (ret == -ENODATA)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = args->pos[1],
				      .next = "kcmtool sock frame list"),
			      "this port is not framed");
	snprintf(what, sizeof(what), "cannot end the framing of port %u", port);
	if (ret)
		return failed(ret, NULL, what);
	out_u64(args->out, "deleted", port);
	out_note(args->out, "Connections that are framed stay so until they close.");
	return 0;
}

/* ---- list ---- */

static void put(struct out *o, const struct sock_framed *e)
{
	char canon[KCM_FRAME_TEXT_BYTES];

	if (kcm_frame_format(&e->frame, canon, sizeof(canon)))
		canon[0] = '\0';
	out_row(o);
	if (e->port)
		out_u64(o, "port", e->port);
	else
		out_str(o, "port", NULL);
	out_str(o, "frame", e->text);
	out_str(o, "means", canon);
	out_u64(o, "number", e->number);
	out_u64(o, "conns", e->conns);
	out_u64(o, "lost", e->lost);
	out_u64(o, "rx_msgs", e->rx_msgs);
	out_u64(o, "tx_msgs", e->tx_msgs);
}

static int frame_list(const struct cmd_args *args)
{
	static const struct out_column columns[] = {
		{ "port", NULL }, { "frame", NULL },   { "conns", NULL },
		{ "lost", NULL }, { "rx_msgs", NULL }, { "tx_msgs", NULL },
	};
	_cleanup_free_ struct sock_framed *list = NULL;
	struct sock_view v;
	int n, err = sock_view_open(&v, false);
	__u64 beyond;

	if (err)
		return failed(err, NULL, "cannot list the framings");
	n = sock_frame_list(&v, &list);
	beyond = v.ctl->beyond;
	sock_view_close(&v);
	if (n < 0)
		return failed(n, NULL, "cannot list the framings");
	out_table(args->out, "frames", columns, ARRAY_LEN(columns));
	for (int i = 0; i < n; i++)
		put(args->out, &list[i]);
	out_end(args->out);
	if (beyond)
		out_note(args->out, "Connections beyond the slots are not counted here.");
	return 0;
}

int sock_frame(const struct cmd_args *args)
{
	const char *verb = args->npos ? args->pos[0] : "list";

	if ((streq(verb, "list") || streq(verb, "show")) && args->npos <= 1)
		return frame_list(args);
	if ((streq(verb, "del") || streq(verb, "delete")) && args->npos == 2)
		return frame_del(args);
	if (args->npos >= 2 && !streq(verb, "list") && !streq(verb, "show") &&
	    !streq(verb, "del") && !streq(verb, "delete"))
		return frame_set(args);
	return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = verb,
			      .why = "PORT FRAME, list, or del PORT is expected", .next = NEXT),
		      "bad arguments");
}
