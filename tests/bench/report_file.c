// SPDX-License-Identifier: GPL-2.0
/*
 * report_file.c - the JSON file and the plot of the benchmark.
 */
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NS_PER_US 1000.0

/* Measured figures, or null for each if there are none. */
static void json_number(FILE *f, const char *side, const char *key, bool known, double v)
{
	if (known)
		fprintf(f, ", \"%s_%s\": %.6g", side, key, v);
	else
		fprintf(f, ", \"%s_%s\": null", side, key);
}

static void json_side(FILE *f, const char *side, const struct bench_case *c, const struct score *s)
{
	bool ok = s->ran && !s->error[0], some = ok && s->msgs;
	double per_msg = some ? 1.0 / (double)s->msgs : 0;

	json_number(f, side, "msgs_per_s", ok, score_rate(s));
	json_number(f, side, "p50_us", some, (double)s->p50_ns / NS_PER_US);
	json_number(f, side, "p99_us", some, (double)s->p99_ns / NS_PER_US);
	json_number(f, side, "fast_p99_us", some && s->fast_p99_ns,
		    (double)s->fast_p99_ns / NS_PER_US);
	json_number(f, side, "cpu_ns_per_msg", some, score_cpu_ns(s));
	json_number(f, side, "server_cpu_ns_per_msg", some, (double)s->server_cpu_ns * per_msg);
	json_number(f, side, "client_cpu_ns_per_msg", some, (double)s->client_cpu_ns * per_msg);
	if (c->group == CASE_IDLE)
		json_number(f, side, "idle_cpu_us_per_s", ok,
			    (double)s->server_cpu_ns / NS_PER_US /
				    ((double)s->duration_ns / BENCH_NS_PER_S));
	fprintf(f, ", \"%s_msgs\": %llu, \"%s_wrong\": %llu, \"%s_lost\": %llu", side,
		(unsigned long long)s->msgs, side, (unsigned long long)s->bad, side,
		(unsigned long long)s->lost);
}

static void json_object(FILE *f, const struct report *r, const struct outcome *o, unsigned int peer)
{
	const struct bench_opts *b = &o->what->opts;
	const struct score *m = &o->score[0], *p = &o->score[peer];
	double under = score_rate(p);

	fprintf(f, "{\"case\": \"%s\", \"about\": \"%s\", \"size\": %u, \"reply_size\": %u",
		o->what->name, case_group_about(o->what->group), b->size, b->reply_size);
	fprintf(f, ", \"conns\": %u, \"workers\": %u, \"depth\": %u, \"rate\": %llu", b->conns,
		b->workers, b->depth, (unsigned long long)b->rate);
	fprintf(f, ", \"rounds\": %u, \"peer\": \"%s\"", p->rounds, r->server[peer]->name);
	json_side(f, "mux", o->what, m);
	json_side(f, "peer", o->what, p);
	if (m->ran && !m->error[0] && under > 0)
		fprintf(f, ", \"ratio\": %.4g}", score_rate(m) / under);
	else
		fprintf(f, ", \"ratio\": null}");
}

int report_json(const struct report *r, const char *path)
{
	FILE *f = fopen(path, "w");
	const char *sep = "[\n";
	bool bad;

	if (!f)
		return -errno;
	for (unsigned int i = 0; i < r->nr_outcomes; i++) {
		for (unsigned int peer = 1; peer < r->nr_servers; peer++) {
			if (!r->outcome[i].score[peer].ran)
				continue;
			fputs(sep, f);
			json_object(f, r, &r->outcome[i], peer);
			sep = ",\n";
		}
	}
	fputs(*sep == '[' ? "[]\n" : "\n]\n", f);
	bad = ferror(f);
	return fclose(f) || bad ? -EIO : 0;
}

/* One panel: rows are cases, columns are servers. Nothing if @group has no case of @size. */
static void plot_panel(FILE *f, const struct report *r, enum case_group group, uint32_t size,
		       const char *title)
{
	unsigned int rows = 0;

	for (unsigned int i = 0; i < r->nr_outcomes; i++) {
		const struct outcome *o = &r->outcome[i];

		if (o->what->group != group || o->what->opts.size != size)
			continue;
		if (!rows++)
			fprintf(f, "$d << EOD\n");
		fprintf(f, "\"%ux%u\"", o->what->opts.conns, o->what->opts.workers);
		for (unsigned int s = 0; s < r->nr_servers; s++)
			fprintf(f, " %g", score_rate(&o->score[s]) / 1000);
		fprintf(f, "\n");
	}
	if (!rows)
		return;
	fprintf(f, "EOD\nset title \"%s\"\nplot ", title);
	for (unsigned int s = 0; s < r->nr_servers; s++)
		fprintf(f, "%s$d using %u:xtic(1) title \"%s\"", s ? ", " : "", s + 2,
			r->server[s]->name);
	fprintf(f, "\n");
}

int report_plot(const struct report *r, const char *dir)
{
	static const uint32_t sizes[] = { 64, 1024, 5120, 65536 };
	int status;
	FILE *f;

	if (access("/usr/bin/gnuplot", X_OK)) {
		printf("No plot: gnuplot is not installed (apt install gnuplot-nox).\n");
		return 0;
	}
	f = popen("/usr/bin/gnuplot", "w");
	if (!f)
		return -errno;
	fprintf(f, "set terminal png size 1500,1100\nset output \"%s/mux.png\"\n", dir);
	fprintf(f, "set multiplot layout 3,2\nset style data histograms\n");
	fprintf(f, "set style fill solid 0.8\nset key above horizontal\nset grid ytics\n");
	fprintf(f, "set xtics rotate by -45\nset ylabel \"1000 msg/s\"\nset yrange [0:*]\n");
	fprintf(f, "set xlabel \"connections x workers\"\n");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char title[64];

		snprintf(title, sizeof(title), "%u bytes, pipelined", sizes[i]);
		plot_panel(f, r, CASE_PIPELINED, sizes[i], title);
	}
	plot_panel(f, r, CASE_SLOW, 64, "5 percent of the requests take 5 ms");
	plot_panel(f, r, CASE_BLOCK, 64, "every request blocks 1 ms");
	fprintf(f, "unset multiplot\n");
	status = pclose(f);
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
}
