// SPDX-License-Identifier: GPL-2.0
/* flow_report.c - rows of the flow benchmark: table, goals, JSON. */
#include "flow_bench.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char *const unit_name[] = { "Mpps", "ns", "ms" };

struct fb_row *fb_row(struct fb_report *r, const char *name, const char *peer, __u32 rules,
		      __u32 flows)
{
	struct fb_row *row = &r->row[r->n < FB_ROWS ? r->n++ : FB_ROWS - 1];

	*row = (struct fb_row){ .rules = rules,
				.flows = flows,
				.ours = NAN,
				.theirs = NAN,
				.ratio = NAN,
				.ratio_q1 = NAN,
				.ratio_q3 = NAN };
	snprintf(row->name, sizeof(row->name), "%s", name);
	snprintf(row->peer, sizeof(row->peer), "%s", peer);
	return row;
}

/* What the goal is of: the ratio, or where there is no peer the figure itself. */
static double judged(const struct fb_row *r)
{
	return isnan(r->ratio) ? r->ours : r->ratio;
}

static bool met(const struct fb_row *r)
{
	double v = judged(r);

	return r->goal_kind == FB_AT_LEAST ? v >= r->goal : v <= r->goal;
}

static void number(double v, const char *unit)
{
	if (isnan(v))
		printf(" %13s", "");
	else
		printf(" %8.*f %-4s", v < 0.1 ? 4 : v < 1000 ? 2 : 0, v, unit);
}

static void head(void)
{
	printf("%-26s %7s %8s %-27s %13s %13s %9s %-17s %s\n", "case", "rules", "flows", "peer",
	       "flow", "peer", "ratio", "(quartiles)", "goal");
}

void fb_print(struct fb_report *r)
{
	if (!r->printed)
		head();
	for (; r->printed < r->n; r->printed++) {
		const struct fb_row *w = &r->row[r->printed];

		printf("%-26s %7u ", w->name, w->rules);
		if (w->flows)
			printf("%8u", w->flows);
		else
			printf("%8s", "-");
		printf(" %-27s", w->peer);
		number(w->ours, unit_name[w->unit]);
		number(w->theirs, unit_name[w->unit]);
		if (isnan(w->ratio))
			printf(" %9s", "");
		else
			printf(" %8.*fx", w->ratio < 100 ? 2 : 0, w->ratio);
		if (w->rounds > 1)
			printf(" (%.3g-%.3g)", w->ratio_q1, w->ratio_q3);
		printf("%s%s\n", w->note[0] ? "  " : "", w->note);
	}
	fflush(stdout);
}

void fb_print_goals(const struct fb_report *r)
{
	unsigned int goals = 0, good = 0;

	printf("\nGoals:\n");
	for (unsigned int i = 0; i < r->n; i++) {
		const struct fb_row *w = &r->row[i];

		if (!w->goal_kind)
			continue;
		goals++;
		good += met(w);
		printf("  %-3s %s, %u rules", met(w) ? "ok" : "NO", w->name, w->rules);
		if (w->flows)
			printf(", %u flows", w->flows);
		printf("%s%s: %.3g%s, goal %s %g\n", w->peer[0] ? " against " : "", w->peer,
		       judged(w), isnan(w->ratio) ? unit_name[w->unit] : "x",
		       w->goal_kind == FB_AT_LEAST ? ">=" : "<=", w->goal);
	}
	printf("%u of %u met\n", good, goals);
}

static void json_number(FILE *f, const char *key, double v)
{
	if (isfinite(v))
		fprintf(f, ", \"%s\": %.6g", key, v);
	else
		fprintf(f, ", \"%s\": null", key);
}

static void json_side(FILE *f, const struct fb_row *w, const char *whose, double v)
{
	char key[16];

	for (unsigned int unit = FB_MPPS; unit <= FB_MS; unit++) {
		snprintf(key, sizeof(key), "%s_%s", whose,
			 unit == FB_MPPS ? "mpps" : unit_name[unit]);
		if (unit == FB_MPPS || unit == w->unit)
			json_number(f, key, unit == w->unit ? v : NAN);
	}
}

int fb_json(const struct fb_report *r, const char *path)
{
	static const char *const goals[] = { "none", "at least", "at most" };
	FILE *f = fopen(path, "we");
	struct utsname u;
	bool bad;

	if (!f)
		return -errno;
	uname(&u);
	fprintf(f, "[");
	for (unsigned int i = 0; i < r->n; i++) {
		const struct fb_row *w = &r->row[i];

		fprintf(f, "%s\n{\"case\": \"%s\", \"rules\": %u, \"flows\": %u", i ? "," : "",
			w->name, w->rules, w->flows);
		json_side(f, w, "ours", w->ours);
		fprintf(f, ", \"peer\": \"%s\"", w->peer);
		json_side(f, w, "peer", w->theirs);
		json_number(f, "ratio", w->ratio);
		json_number(f, "ratio_q1", w->ratio_q1);
		json_number(f, "ratio_q3", w->ratio_q3);
		fprintf(f, ", \"rounds\": %u, \"goal_is\": \"%s\"", w->rounds, goals[w->goal_kind]);
		json_number(f, "goal", w->goal_kind ? w->goal : NAN);
		fprintf(f, ", \"note\": \"%s\", \"kernel\": \"%s\", \"cpus\": %ld}", w->note,
			u.release, sysconf(_SC_NPROCESSORS_ONLN));
	}
	fprintf(f, "\n]\n");
	bad = ferror(f);
	return fclose(f) || bad ? -EIO : 0;
}
