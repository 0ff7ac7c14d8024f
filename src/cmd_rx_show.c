// SPDX-License-Identifier: GPL-2.0
/* rx show: connections and why their bytes were copied; ports that are tuned. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include "cmd_rx.h"
#include "lib/kcm_rx.h"
#include "lib/pin.h"
#include "lib/rx_tune.h"

#define ADDR 64

struct show {
	struct out *o;
	unsigned int processes, unseen;
};

static void put_addr(struct out *o, const char *key, uint32_t family, const uint8_t *addr,
		     uint16_t port)
{
	char text[INET6_ADDRSTRLEN];

	if (family != AF_INET && family != AF_INET6) {
		out_str(o, key, NULL);
		return;
	}
	inet_ntop((int)family, addr, text, sizeof(text));
	out_fmt(o, key, family == AF_INET ? "%s:%u" : "[%s]:%u", text, port);
}

static const char *mode_name(uint32_t mode)
{
	return mode == KCM_RX_AUTO ? "auto" : mode == KCM_RX_MAP ? "map" : "copy";
}

/* "edge 64.0k, unaligned 1.2M": the greatest first. */
static void put_why(struct out *o, const struct rx_stat_slot *s)
{
	char text[160] = "";
	bool done[RX_STAT_WHYS] = { false };
	size_t at = 0;

	for (int n = 0; n < KCM_RX_WHYS; n++) {
		int top = -1, len;

		for (int i = 0; i < KCM_RX_WHYS; i++)
			if (!done[i] && s->copied_bytes[i] &&
			    (top < 0 || s->copied_bytes[i] > s->copied_bytes[top]))
				top = i;
		if (top < 0)
			break;
		done[top] = true;
		len = snprintf(text + at, sizeof(text) - at, "%s%s %.3g%%", at ? ", " : "",
			       kcm_rx_why_name((enum kcm_rx_why)top),
			       s->bytes ? 100.0 * (double)s->copied_bytes[top] / (double)s->bytes
					: 0.0);
		if (len < 0 || (size_t)len >= sizeof(text) - at)
			break;
		at += (size_t)len;
	}
	out_str(o, "why", text[0] ? text : NULL);
}

static void put_slot(struct out *o, const struct rx_process *p, const struct rx_stat_slot *s)
{
	uint64_t copied = 0;

	out_row(o);
	out_u64(o, "pid", p->pid);
	out_str(o, "command", p->comm);
	out_u64(o, "fd", s->fd);
	put_addr(o, "local", s->family, s->laddr, s->lport);
	put_addr(o, "peer", s->family, s->raddr, s->rport);
	out_str(o, "mode", mode_name(s->mode));
	out_str(o, "now", mode_name(s->now));
	out_str(o, "now_why",
		s->now == KCM_RX_COPY ? kcm_rx_why_name((enum kcm_rx_why)s->why) : NULL);
	out_u64(o, "messages", s->messages);
	out_u64(o, "bytes", s->bytes);
	for (int i = 0; i < KCM_RX_WHYS; i++)
		copied += s->copied_bytes[i];
	out_u64(o, "mapped", s->mapped_bytes);
	out_u64(o, "copied", copied);
	out_u64(o, "mapped_messages", s->mapped_messages);
	out_u64(o, "one_piece", s->one_piece);
	out_u64(o, "calls", s->calls);
	out_u64(o, "waits", s->waits);
	if (s->messages)
		out_double(o, "waits_per_message", (double)s->waits / (double)s->messages);
	else
		out_str(o, "waits_per_message", NULL);
	out_u64(o, "releases", s->releases);
	out_u64(o, "switches", s->switches);
	out_u64(o, "held", s->held_bytes);
	out_u64(o, "limit", s->limit_bytes);
	out_u64(o, "map_ps_per_byte", s->map_ps_per_byte);
	out_u64(o, "copy_ps_per_byte", s->copy_ps_per_byte);
	for (int i = 0; i < KCM_RX_WHYS; i++) {
		char key[32];

		snprintf(key, sizeof(key), "copied_%s", kcm_rx_why_name((enum kcm_rx_why)i));
		out_u64(o, key, s->copied_bytes[i]);
	}
	put_why(o, s);
}

static int put_process(const struct rx_process *p, void *arg)
{
	struct show *s = arg;

	s->processes++;
	s->unseen += p->page.head.unseen;
	for (int i = 0; i < RX_STAT_SLOTS; i++)
		if (p->page.slot[i].cookie)
			put_slot(s->o, p, &p->page.slot[i]);
	return 0;
}

static int put_connections(struct show *s, unsigned int pid)
{
	static const struct out_column columns[] = {
		{ "pid", NULL },    { "command", NULL },     { "local", NULL },
		{ "peer", NULL },   { "now", "WAY" },	     { "messages", NULL },
		{ "mapped", NULL }, { "copied", NULL },	     { "waits_per_message", "WAITS/MSG" },
		{ "held", NULL },   { "why", "WHY-COPIED" },
	};
	unsigned int blind;
	int err;

	out_table(s->o, "connections", columns, ARRAY_LEN(columns));
	err = rx_find(pid, put_process, s, &blind);
	out_end(s->o);
	if (err == -ESRCH)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .next = "kcmtool rx show"),
			      "there is no process %u", pid);
	if (err)
		return report(PROBLEM(.where = "/proc", .err = err), "cannot look for connections");
	if (pid && blind)
		return report(PROBLEM(.code = KCM_EXIT_PRIVILEGE, .next = "the same with sudo"),
			      "no right to look at process %u", pid);
	if (blind)
		warn("%u processes cannot be looked at; as root, or as their user, they can",
		     blind);
	if (s->unseen)
		warn("%u connections are not shown: a process has room for %d", s->unseen,
		     RX_STAT_SLOTS);
	return 0;
}

static int put_tuning(const char *name, void *arg)
{
	struct kcm_rx_tune t;
	struct out *o = arg;
	int err = kcm_rx_tune_read(name, &t);

	if (err) {
		warn("%s/" RX_SYSTEM "/%s cannot be read: %s", KCM_PIN_ROOT, name, log_errno(err));
		return 0;
	}
	out_row(o);
	out_str(o, "name", name);
	out_u64(o, "port", t.port);
	out_u64(o, "mss", t.mss);
	out_bool(o, "connect", t.connect);
	out_u64(o, "cgroup_id", t.cgroup_id);
	out_u64(o, "listeners", t.listeners + t.adopted);
	out_u64(o, "connections", t.connections);
	out_u64(o, "connects", t.connects);
	out_u64(o, "refused", t.refused);
	return 0;
}

static int put_tunings(struct out *o)
{
	static const struct out_column columns[] = {
		{ "name", NULL },      { "port", NULL },	{ "mss", NULL },
		{ "listeners", NULL }, { "connections", NULL }, { "connects", NULL },
		{ "refused", NULL },
	};
	int err;

	out_table(o, "tuned", columns, ARRAY_LEN(columns));
	err = kcm_pin_each(RX_SYSTEM, put_tuning, o);
	out_end(o);
	/* Without the right to look there, connections are of interest nevertheless. */
	if (err && err != -ENOENT && err != -EACCES && err != -EPERM)
		return report(PROBLEM(.err = err, .where = KCM_PIN_ROOT "/" RX_SYSTEM),
			      "cannot list what is tuned");
	return 0;
}

int rx_show(const struct cmd_args *args)
{
	struct show s = { .o = args->out };
	uint64_t pid = 0;
	int code;

	if (args->npos && (!str_to_u64(args->pos[0], &pid) || !pid || pid > INT_MAX))
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .next = "kcmtool rx show PID"),
			      "'%s' is no process number", args->pos[0]);
	code = put_connections(&s, (unsigned int)pid);
	if (!code && !pid)
		code = put_tunings(args->out);
	return code;
}
