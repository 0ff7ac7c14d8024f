// SPDX-License-Identifier: GPL-2.0
/*
 * sock_report.c - rows of the sock benchmark: medians, table, goals, JSON.
 */
#include "sock_bench.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

void sb_add(struct sb_series *s, double v)
{
	if (s->n < SB_ROUNDS_MAX && isfinite(v))
		s->v[s->n++] = v;
}

static int cmp_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double sb_quantile(const struct sb_series *s, double q)
{
	double v[SB_ROUNDS_MAX], at = q * (s->n ? s->n - 1 : 0);
	unsigned int i = (unsigned int)at;

	if (!s->n)
		return NAN;
	memcpy(v, s->v, s->n * sizeof(v[0]));
	qsort(v, s->n, sizeof(v[0]), cmp_double);
	return i + 1 < s->n ? v[i] + (at - i) * (v[i + 1] - v[i]) : v[i];
}

struct sb_row *sb_row(struct sb_report *r, const char *group, const char *what, const char *peer,
		      const char *unit)
{
	struct sb_row *row = &r->row[r->n < SB_ROWS_MAX ? r->n++ : SB_ROWS_MAX - 1];

	memset(row, 0, sizeof(*row));
	snprintf(row->group, sizeof(row->group), "%s", group);
	snprintf(row->what, sizeof(row->what), "%s", what);
	snprintf(row->peer, sizeof(row->peer), "%s", peer);
	snprintf(row->unit, sizeof(row->unit), "%s", unit);
	row->value = NAN;
	return row;
}

void sb_goal(struct sb_row *row, enum sb_goal kind, double goal)
{
	row->goal_kind = kind;
	row->goal = goal;
}

double sb_value(const struct sb_row *row)
{
	return isnan(row->value) ? sb_quantile(&row->figure, 0.5) : row->value;
}

static bool met(const struct sb_row *row)
{
	double v = sb_value(row);

	return row->goal_kind == SB_AT_LEAST ? v >= row->goal : v <= row->goal;
}

void sb_print_head(const struct sb_report *r)
{
	printf("%8s  %-15s %-10s %-7s %-34s %-28s %9s %9s\n", "figure", "(quartiles)", "goal",
	       "part", "case", "against", r->ours, "peer");
}

static void print_side(const struct sb_row *row, const struct sb_series *s)
{
	double v = sb_quantile(s, 0.5);

	if (isnan(v))
		printf(" %9s", "");
	else if (v < 1000)
		printf(" %6.4g %-2s", v, row->side_unit);
	else
		printf(" %6.0f %-2s", v, row->side_unit);
}

void sb_print(const struct sb_report *r, unsigned int from)
{
	for (unsigned int i = from; i < r->n; i++) {
		const struct sb_row *row = &r->row[i];
		double v = sb_value(row);
		char spread[40] = "", goal[24] = "", value[24] = "-";

		if (row->figure.n > 1)
			snprintf(spread, sizeof(spread), "(%.3g-%.3g)",
				 sb_quantile(&row->figure, 0.25), sb_quantile(&row->figure, 0.75));
		if (row->goal_kind)
			snprintf(goal, sizeof(goal), "%s %g %s",
				 row->goal_kind == SB_AT_LEAST ? ">=" : "<=", row->goal,
				 isnan(v)   ? ""
				 : met(row) ? "ok"
					    : "NO");
		if (!isnan(v))
			snprintf(value, sizeof(value), "%.*f %s", fabs(v) < 10 ? 2 : fabs(v) < 100,
				 v, row->unit);
		printf("%8s  %-15s %-10s %-7s %-34s %-28s", value, spread, goal, row->group,
		       row->what, row->peer);
		print_side(row, &row->ours);
		print_side(row, &row->theirs);
		printf("%s%s\n", row->note[0] ? "  " : "", row->note);
	}
	fflush(stdout);
}

void sb_print_goals(const struct sb_report *r)
{
	unsigned int goals = 0, good = 0;

	for (unsigned int i = 0; i < r->n; i++) {
		if (!r->row[i].goal_kind)
			continue;
		goals++;
		good += met(&r->row[i]);
	}
	printf("\n%u of %u goals met:", good, goals);
	for (unsigned int i = 0; i < r->n; i++) {
		const struct sb_row *row = &r->row[i];

		if (row->goal_kind && !met(row))
			printf("\n  not: %s %s%s%s: %.3g %s, goal %s %g", row->group, row->what,
			       row->peer[0] ? " against " : "", row->peer, sb_value(row), row->unit,
			       row->goal_kind == SB_AT_LEAST ? ">=" : "<=", row->goal);
	}
	printf("%s\n", good == goals ? " all" : "");
}

static void json_number(FILE *f, const char *key, double v)
{
	if (isfinite(v))
		fprintf(f, ", \"%s\": %.6g", key, v);
	else
		fprintf(f, ", \"%s\": null", key);
}

static void json_side(FILE *f, const char *key, const struct sb_series *s)
{
	char name[32];

	json_number(f, key, sb_quantile(s, 0.5));
	snprintf(name, sizeof(name), "%s_q1", key);
	json_number(f, name, sb_quantile(s, 0.25));
	snprintf(name, sizeof(name), "%s_q3", key);
	json_number(f, name, sb_quantile(s, 0.75));
}

int sb_json(const struct sb_report *r, const char *path)
{
	static const char *const goals[] = { "none", "at least", "at most" };
	FILE *f = fopen(path, "w");
	struct utsname u;
	bool bad;

	if (!f)
		return -errno;
	uname(&u);
	fprintf(f, "[");
	for (unsigned int i = 0; i < r->n; i++) {
		const struct sb_row *row = &r->row[i];

		fprintf(f, "%s\n{\"part\": \"%s\", \"case\": \"%s\", \"peer\": \"%s\"",
			i ? "," : "", row->group, row->what, row->peer);
		json_number(f, "figure", sb_value(row));
		fprintf(f, ", \"unit\": \"%s\"", row->unit);
		json_number(f, "figure_q1", sb_quantile(&row->figure, 0.25));
		json_number(f, "figure_q3", sb_quantile(&row->figure, 0.75));
		fprintf(f, ", \"rounds\": %u, \"goal_is\": \"%s\"", row->figure.n,
			goals[row->goal_kind]);
		json_number(f, "goal", row->goal_kind ? row->goal : NAN);
		fprintf(f, ", \"side_unit\": \"%s\"", row->side_unit);
		json_side(f, r->ours, &row->ours);
		json_side(f, "other", &row->theirs);
		fprintf(f, ", \"note\": \"%s\", \"kernel\": \"%s\", \"cpus\": %ld}", row->note,
			u.release, sysconf(_SC_NPROCESSORS_ONLN));
	}
	fprintf(f, "\n]\n");
	bad = ferror(f);
	return fclose(f) || bad ? -EIO : 0;
}
