// SPDX-License-Identifier: GPL-2.0
/* migrate check: the rules about listeners and their SO_REUSEPORT groups. */
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include "cmd_migrate_check.h"

/* ---- findings ---- */

struct migrate_finding *migrate_add(struct migrate_findings *out, enum migrate_severity severity,
				    const char *what, const char *remedy)
{
	static struct migrate_finding lost; /* written to, never read */

	if (out->n == out->room) {
		size_t room = out->room ? 2 * out->room : 16;
		struct migrate_finding *more = reallocarray(out->f, room, sizeof(*more));

		out->full = out->full || !more;
		if (!more)
			return &lost;
		out->f = more;
		out->room = room;
	}
	out->f[out->n] = (struct migrate_finding){ .severity = severity, .what = what };
	snprintf(out->f[out->n].remedy, sizeof(out->f->remedy), "%s", remedy ? remedy : "");
	return &out->f[out->n++];
}

void migrate_why(struct migrate_finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->why, sizeof(f->why), fmt, ap);
	va_end(ap);
}

/* "127.0.0.1:80 (nginx 12)", "... (nginx 12 and 3 more)". */
void migrate_where(struct migrate_finding *f, const struct kcm_listener *l)
{
	char text[KCM_LISTENER_TEXT];

	kcm_listener_text(l, text);
	if (!l->n_owners)
		snprintf(f->where, sizeof(f->where), "%s", text);
	else if (l->n_owners == 1)
		snprintf(f->where, sizeof(f->where), "%s (%s %d)", text, l->owners[0].comm,
			 l->owners[0].pid);
	else
		snprintf(f->where, sizeof(f->where), "%s (%s %d and %zu more)", text,
			 l->owners[0].comm, l->owners[0].pid, l->n_owners - 1);
}

void migrate_where_group(struct migrate_finding *f, const struct migrate_group *g)
{
	char text[KCM_LISTENER_TEXT];

	if (g->n == 1)
		migrate_where(f, g->l);
	else
		snprintf(f->where, sizeof(f->where), "%s, %zu listeners",
			 kcm_listener_text(g->l, text), g->n);
}

const char *migrate_severity_name(enum migrate_severity severity)
{
	static const char *const names[] = { "ok", "unknown", "warn", "loss" };

	return names[severity];
}

/* ---- one listener ---- */

static bool has_reuseport(const struct migrate_group *g)
{
	/* Two at one place cannot be without. */
	return g->n > 1 || g->l->reuseport == 1;
}

static void no_reuseport(struct migrate_judging *j, struct migrate_group *g)
{
	struct migrate_finding *f;

	if (g->n > 1 || g->l->reuseport != 0)
		return;
	g->explained = true;
	f = migrate_add(j->out, MIGRATE_LOSS, "reuseport",
			"`listen ... reuseport` or SO_REUSEPORT in the server; or migrate attach "
			"--anchor, which sets it as a server binds, then restart once");
	migrate_where(f, g->l);
	if (j->in->protocol == IPPROTO_UDP)
		migrate_why(f, "without SO_REUSEPORT: what waits in it (%u bytes now) ends with %s",
			    g->l->queue,
			    g->l->n_owners > 1 ? "the last of its processes" : "its process");
	else
		migrate_why(
			f,
			"without SO_REUSEPORT: connections in its queue (%u now, and %u half-open) "
			"end with %s",
			g->l->queue, g->l->half_open,
			g->l->n_owners > 1 ? "the last of its processes" : "its process");
}

static void is_mptcp(struct migrate_judging *j, struct migrate_group *g)
{
	struct migrate_finding *f;

	if (g->l->mptcp != 1)
		return;
	g->explained = true;
	f = migrate_add(j->out, MIGRATE_LOSS, "mptcp",
			"plain TCP (Go: GODEBUG=multipathtcp=0); or migrate attach --no-mptcp, "
			"then restart once");
	migrate_where_group(f, g);
	migrate_why(f,
		    "MPTCP: a selector cannot be attached, and MPTCP connections do not migrate");
}

static void alone(struct migrate_judging *j, struct migrate_group *g)
{
	struct migrate_finding *f;

	if (g->explained || g->l->reuseport == KCM_LISTENER_UNKNOWN)
		return;
	if (g->n > 1) {
		f = migrate_add(j->out, MIGRATE_OK, "group",
				"to stop before the start: migrate attach --anchor");
		migrate_where_group(f, g);
		migrate_why(f,
			    "%zu listeners: as one closes others can take over, while one is open",
			    g->n);
		return;
	}
	f = migrate_add(j->out, MIGRATE_LOSS, "alone",
			"start the new one before the old one stops; or migrate attach --anchor");
	migrate_where_group(f, g);
	migrate_why(
		f,
		"the only listener: its queue (%u now, and %u half-open) has nowhere to go, and "
		"clients are refused until the next one opens",
		g->l->queue, g->l->half_open);
}

/* ---- two groups that look like one ---- */

static bool any_address(const struct kcm_listener *l)
{
	static const __u8 any[16];

	return !memcmp(l->addr, any, sizeof(any));
}

static bool same_place(const struct kcm_listener *a, const struct kcm_listener *b)
{
	return a->netns_inode == b->netns_inode && a->family == b->family &&
	       !memcmp(a->addr, b->addr, sizeof(a->addr));
}

/* Serve both IPv4, one of them by an IPv6 socket? */
static bool dual(const struct kcm_listener *a, const struct kcm_listener *b)
{
	if (a->family == b->family || a->netns_inode != b->netns_inode)
		return false;
	return any_address(a) && any_address(b) && !a->v6only && !b->v6only;
}

static void split(struct migrate_judging *j, struct migrate_group *a, struct migrate_group *b,
		  const char *what, const char *remedy, const char *text)
{
	bool lost = a->n < 2 || b->n < 2;
	struct migrate_finding *f;

	f = migrate_add(j->out, lost ? MIGRATE_LOSS : MIGRATE_WARN, what, remedy);
	migrate_where_group(f, a->n <= b->n ? a : b);
	migrate_why(f, "%s: connections of one (%zu %s) never go to the other (%zu)", text, a->n,
		    a->n == 1 ? "listener" : "listeners", b->n);
	a->explained = a->explained || a->n < 2;
	b->explained = b->explained || b->n < 2;
}

/* One of them was given to another user after listen(): until then bind() refuses that. */
static void other_user(struct migrate_judging *j, struct migrate_group *a, struct migrate_group *b)
{
	struct migrate_finding *f =
		migrate_add(j->out, MIGRATE_LOSS, "uid", "one user opens all of them");

	migrate_where_group(f, a->n <= b->n ? a : b);
	migrate_why(f,
		    "sockets of users %u and %u: SO_REUSEPORT is for one user, the next listener's "
		    "bind() fails while both are open",
		    a->l->uid, b->l->uid);
	a->explained = a->explained || a->n < 2;
	b->explained = b->explained || b->n < 2;
}

static void compare(struct migrate_judging *j, struct migrate_group *a, struct migrate_group *b)
{
	const struct kcm_listener *x = a->l, *y = b->l;
	char text[160];

	if (!has_reuseport(a) || !has_reuseport(b) || x->mptcp != y->mptcp)
		return;
	if (dual(x, y)) {
		split(j, a, b, "family",
		      "bind both in the same way: [::] without V6ONLY, or 0.0.0.0 and [::] V6ONLY",
		      "IPv4 is served by an IPv6 listener and by an IPv4 one");
	} else if (!same_place(x, y)) {
		return;
	} else if (x->v6only != y->v6only) {
		split(j, a, b, "v6only", "the same IPV6_V6ONLY (nginx: ipv6only=) for both",
		      "IPV6_V6ONLY differs");
	} else if (x->ifindex != y->ifindex) {
		snprintf(text, sizeof(text), "bound to devices %u and %u", x->ifindex, y->ifindex);
		split(j, a, b, "device", "the same SO_BINDTODEVICE for both, or none",
		      x->ifindex && y->ifindex ? text : "one is bound to a device, one is not");
	} else if (x->uid != y->uid) {
		other_user(j, a, b);
	}
}

/* ---- all of them ---- */

static void judge_group(struct migrate_judging *j, struct migrate_group *g)
{
	no_reuseport(j, g);
	is_mptcp(j, g);
	alone(j, g);
	if (!has_reuseport(g))
		return;
	if (j->in->protocol == IPPROTO_UDP) {
		migrate_judge_udp(j, g);
		return;
	}
	migrate_judge_move(j, g);
	migrate_judge_kinds(j, g);
	migrate_judge_backlog(j, g);
}

static int make_groups(struct migrate_judging *j)
{
	j->group = calloc(j->in->n + 1, sizeof(*j->group));
	if (!j->group)
		return -ENOMEM;
	for (size_t i = 0; i < j->in->n; i++) {
		struct migrate_group *last = j->n ? &j->group[j->n - 1] : NULL;

		if (last && !kcm_listener_group_cmp(last->l, &j->in->l[i]))
			last->n++;
		else
			j->group[j->n++] =
				(struct migrate_group){ .l = &j->in->l[i], .n = 1, .at = i };
	}
	return 0;
}

static int worse_first(const void *a, const void *b)
{
	const struct migrate_finding *const *x = a, *const *y = b;

	if ((*x)->severity != (*y)->severity)
		return (*x)->severity > (*y)->severity ? -1 : 1;
	return (*x > *y) - (*x < *y); /* as they were found */
}

static int sort(struct migrate_findings *out)
{
	_cleanup_free_ const struct migrate_finding **by = calloc(out->n + 1, sizeof(*by));
	struct migrate_finding *sorted = calloc(out->n + 1, sizeof(*sorted));

	if (!by || !sorted) {
		free(sorted);
		return -ENOMEM;
	}
	for (size_t i = 0; i < out->n; i++)
		by[i] = &out->f[i];
	qsort(by, out->n, sizeof(*by), worse_first);
	for (size_t i = 0; i < out->n; i++)
		sorted[i] = *by[i];
	free(out->f);
	out->f = sorted;
	out->room = out->n + 1;
	return 0;
}

int migrate_judge(const struct migrate_check_in *in, struct migrate_findings *out)
{
	struct migrate_judging j = { .in = in, .out = out };
	int err = make_groups(&j);

	*out = (struct migrate_findings){ 0 };
	if (err)
		return err;
	for (size_t a = 0; a < j.n; a++)
		for (size_t b = a + 1; b < j.n; b++)
			compare(&j, &j.group[a], &j.group[b]);
	for (size_t i = 0; i < j.n; i++)
		judge_group(&j, &j.group[i]);
	migrate_judge_host(in, out);
	free(j.group);
	err = out->full ? -ENOMEM : sort(out);
	if (err)
		migrate_findings_free(out);
	return err;
}

void migrate_findings_free(struct migrate_findings *out)
{
	free(out->f);
	*out = (struct migrate_findings){ 0 };
}

enum migrate_severity migrate_verdict(const struct migrate_findings *out)
{
	enum migrate_severity worst = MIGRATE_OK;
	bool unknown = false;

	for (size_t i = 0; i < out->n; i++) {
		unknown = unknown || out->f[i].severity == MIGRATE_UNKNOWN;
		if (out->f[i].severity > worst)
			worst = out->f[i].severity;
	}
	return worst != MIGRATE_LOSS && unknown ? MIGRATE_UNKNOWN : worst;
}
