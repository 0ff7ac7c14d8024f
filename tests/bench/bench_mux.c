// SPDX-License-Identifier: GPL-2.0
/*
 * bench_mux.c - driver of the mux benchmark. See README.md here for what it measures and how.
 *
 * Built from all tests/bench/[!b]*.c together with this file.
 *
 * For each case all servers and one client per server are started; then short rounds alternate
 * between them, so that whatever else the machine does meets all of them alike.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cases.h"
#include "load.h"
#include "mux_args.h"
#include "report.h"
#include "server.h"

#define STOP_WAIT_NS (5 * BENCH_NS_PER_S)
#define DRAIN_MS     8000u
#define HELLO_MS     200u

struct contender {
	const struct bench_server *server;
	struct bench_opts opts;
	struct score *score;
	struct hist all, fast;
	struct load *load;
	pid_t pid;
};

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

static void fail(struct contender *c, const char *what, int err)
{
	if (!c->score->error[0])
		snprintf(c->score->error, sizeof(c->score->error), "%s: %s", what, strerror(-err));
}

static int listen_loopback(struct bench_opts *o)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	bench_socket_options(fd);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, SOMAXCONN) ||
	    getsockname(fd, (struct sockaddr *)&a, &len)) {
		int err = -errno;

		close(fd);
		return err;
	}
	o->port = ntohs(a.sin_port);
	o->listen_fd = fd;
	return 0;
}

static int server_start(struct contender *c)
{
	struct bench_opts *o = &c->opts;
	pid_t driver = getpid();
	int err = listen_loopback(o);

	if (err)
		return err;
	fflush(NULL);
	c->pid = fork();
	if (!c->pid) {
		signal(SIGINT, SIG_IGN);
		signal(SIGTERM, SIG_DFL);
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != driver)
			_exit(EXIT_FAILED);
		err = c->server->run(o);
		fprintf(stderr, "bench_mux: server %s: %s\n", c->server->name, strerror(-err));
		_exit(EXIT_FAILED);
	}
	err = c->pid < 0 ? -errno : 0;
	close(o->listen_fd);
	if (!err)
		bench_add_pid(o->shared, c->pid);
	return err;
}

static void server_stop(struct contender *c)
{
	uint64_t until = bench_now_ns() + STOP_WAIT_NS;

	if (c->pid <= 0)
		return;
	kill(c->pid, SIGTERM);
	while (!waitpid(c->pid, NULL, WNOHANG)) {
		if (bench_now_ns() > until)
			kill(c->pid, SIGKILL);
		bench_sleep_ns(BENCH_NS_PER_MS);
	}
	c->pid = 0;
}

static void contender_round(struct contender *c, const struct load_round *round, bool keep)
{
	static struct load_result res;
	struct score *s = c->score;
	int err;

	if (s->error[0] || stopped)
		return;
	err = load_run(c->load, round, &res);
	s->bad += res.bad;
	s->lost += res.lost;
	if (err)
		fail(c, "load generator", err);
	else if (res.error[0])
		snprintf(s->error, sizeof(s->error), "%llu wrong, %llu lost; %.100s",
			 (unsigned long long)res.bad, (unsigned long long)res.lost, res.error);
	if (s->error[0] || !keep)
		return;
	s->rate[s->rounds++] = (double)res.msgs * BENCH_NS_PER_S / (double)res.duration_ns;
	s->msgs += res.msgs;
	s->duration_ns += res.duration_ns;
	s->server_cpu_ns += res.server_cpu_ns;
	s->client_cpu_ns += res.client_cpu_ns;
	hist_merge(&c->all, &res.all);
	hist_merge(&c->fast, &res.fast);
}

static void contender_start(struct contender *c)
{
	/* Until the server is up, has accepted everybody and touched the memory it needs. */
	struct load_round hello = { .mode = c->opts.mode,
				    .rate = c->opts.rate,
				    .warm_ms = HELLO_MS,
				    .drain_ms = DRAIN_MS };
	int err;

	if (hello.mode == BENCH_IDLE)
		hello.mode = BENCH_CLOSED;
	memset(&c->all, 0, sizeof(c->all));
	memset(&c->fast, 0, sizeof(c->fast));
	c->score->ran = true;
	c->opts.shared = mmap(NULL, sizeof(*c->opts.shared), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (c->opts.shared == MAP_FAILED) {
		fail(c, "mmap", -errno);
		return;
	}
	err = server_start(c);
	if (err) {
		fail(c, "server", err);
		return;
	}
	c->load = load_start(&c->opts);
	if (!c->load)
		fail(c, "load generator", -ECHILD);
	contender_round(c, &hello, false);
}

static void contender_stop(struct contender *c)
{
	struct score *s = c->score;

	load_stop(c->load);
	server_stop(c);
	if (c->opts.shared != MAP_FAILED)
		munmap(c->opts.shared, sizeof(*c->opts.shared));
	s->p50_ns = hist_quantile(&c->all, 0.50);
	s->p99_ns = hist_quantile(&c->all, 0.99);
	s->fast_p99_ns = hist_quantile(&c->fast, 0.99);
}

static void run_case(const struct settings *set, const struct report *r, struct outcome *o)
{
	static struct contender c[SERVERS_MAX];
	struct load_round round = { .mode = o->what->opts.mode,
				    .rate = o->what->opts.rate,
				    .warm_ms = set->warm_ms,
				    .measure_ms = set->round_ms,
				    .drain_ms = DRAIN_MS };
	unsigned int n = 0;

	for (unsigned int i = 0; i < r->nr_servers; i++) {
		if (!r->enabled[i])
			continue;
		c[n] = (struct contender){ .server = r->server[i],
					   .opts = o->what->opts,
					   .score = &o->score[i] };
		c[n].opts.threads = set->threads;
		c[n].opts.arena_mib = set->arena_mib;
		contender_start(&c[n++]);
	}
	/* There and back again: nobody is always the one after the warmest, or the last. */
	for (unsigned int k = 0; k < set->rounds; k++)
		for (unsigned int i = 0; i < n; i++)
			contender_round(&c[k % 2 ? n - 1 - i : i], &round, true);
	for (unsigned int i = 0; i < n; i++)
		contender_stop(&c[i]);
}

/* 0 if every reply was right and every request answered. */
static int run_all(const struct settings *set, struct report *r)
{
	static struct bench_case cases[CASES_MAX];
	unsigned int n = cases_make(cases, set->quick), failed = 0;

	for (unsigned int i = 0; i < n && !stopped; i++) {
		struct outcome *o = &r->outcome[r->nr_outcomes];

		if (set->pattern && fnmatch(set->pattern, cases[i].name, 0))
			continue;
		if (set->list) {
			printf("%s\n", cases[i].name);
			continue;
		}
		o->what = &cases[i];
		run_case(set, r, o);
		if (stopped)
			break;
		r->nr_outcomes++;
		report_case(r, o);
		for (unsigned int s = 0; s < r->nr_servers; s++)
			failed += o->score[s].error[0] != '\0';
	}
	if (stopped)
		fprintf(stderr, "bench_mux: interrupted\n");
	return stopped || failed ? -1 : 0;
}

static bool name_in(const char *names, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = names; p; p = strchr(p, ',')) {
		p += *p == ',';
		if (!strncmp(p, name, len) && (!p[len] || p[len] == ','))
			return true;
	}
	return !names;
}

/* How many take part. */
static unsigned int choose_servers(struct report *r, const char *names)
{
	static const struct bench_server *const all[SERVERS_MAX] = {
		&bench_server_mux, &bench_peer_pinned, &bench_peer_oneshot, &bench_peer_queue
	};
	unsigned int n = 0;

	r->nr_servers = SERVERS_MAX;
	for (unsigned int i = 0; i < SERVERS_MAX; i++) {
		r->server[i] = all[i];
		r->enabled[i] = name_in(names, all[i]->name);
		n += r->enabled[i];
	}
	return n;
}

int main(int argc, char **argv)
{
	static struct report r;
	struct settings set = { .dir = "build/bench", .rounds = 3, .warm_ms = 100 };
	struct sigaction sa = { .sa_handler = on_signal };
	const char *servers = NULL;
	struct rlimit files;
	char path[4096];
	int err = settings_parse(argc, argv, &set, &servers);

	if (err)
		return err;
	if (!choose_servers(&r, servers)) {
		fprintf(stderr, "bench_mux: no server is called '%s'\n", servers);
		return EXIT_USAGE;
	}
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	if (!set.list)
		report_head(&r);
	err = run_all(&set, &r);
	if (set.list)
		return 0;
	report_goals(&r);
	snprintf(path, sizeof(path), "%s/mux.json", set.dir);
	if (report_json(&r, path) || report_plot(&r, set.dir)) {
		fprintf(stderr, "bench_mux: cannot write to %s; try: mkdir -p %s\n", set.dir,
			set.dir);
		return EXIT_FAILED;
	}
	return err ? EXIT_FAILED : 0;
}
