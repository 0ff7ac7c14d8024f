// SPDX-License-Identifier: GPL-2.0
/* mux run: own a mux, accept connections, keep workers running, stop without loss. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include "cmd_mux_run.h"
#include "lib/mux_file.h"
#include "lib/owner.h"

#define STOP_TICK_MS	 5
#define LIMIT_DEFAULT_US 10000000ULL
#define FDS_BESIDES	 1024 /* descriptors that are no connections */

void run_say(const struct run *r, const char *format, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	fprintf(stderr, "kcmtool: mux '%s': %s\n", r->name, text);
}

/* ---- the mux ---- */

/*
 * A mux that `run` made is to go with it. A killed one can't see to that: its mark stays, and the
 * next `run` removes a mux that has a mark, is younger than that, and has no owner.
 */
static void mark_path(const struct run *r, char path[static 80])
{
	snprintf(path, 80, MUX_RUN_DIR "/%s.temporary", r->name);
}

static void remove_marked(const struct run *r)
{
	struct kcm_pin_info info;
	char path[80];
	struct stat st;

	mark_path(r, path);
	if (stat(path, &st) || kcm_pin_info("mux", r->name, &info) ||
	    (int64_t)info.created_s < (int64_t)st.st_mtime)
		return;
	kcm_mux_delete(r->name, 0);
}

static void mark(const struct run *r)
{
	char path[80];
	int fd;

	mkdir("/run/kcm", 0755);
	mkdir(MUX_RUN_DIR, 0755);
	mark_path(r, path);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		close(fd);
}

static void unmark(const struct run *r)
{
	char path[80];

	mark_path(r, path);
	unlink(path);
}

static int make_mux(struct run *r, const struct cmd_args *args)
{
	struct kcm_mux_opts o;
	char next[128], path[KCM_PIN_PATH];
	int code = mux_opts_take(args, &o);

	if (code)
		return code;
	/* As many again for a reload, and some for guests such as `mux bridge`. */
	o.workers = 2 * r->nworkers + 2;
	if (o.workers < 16)
		o.workers = 16;
	if (o.workers > KCM_WORKERS_MAX)
		o.workers = KCM_WORKERS_MAX;
	remove_marked(r);
	mark(r);
	code = mux_make(r->name, &o, args_flag(args, "force"));
	if (!code) {
		r->temporary = true;
		return 0;
	}
	unmark(r);
	if (code != -EEXIST)
		return code;
	kcm_pin_path(path, sizeof(path), "mux", r->name, NULL);
	snprintf(next, sizeof(next), "without frame, to use it; or kcmtool mux delete %s", r->name);
	return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = path, .err = EEXIST, .next = next),
		      "cannot create mux '%s'", r->name);
}

/* Options of `create` mean nothing for a mux that is there. */
static int check_unused_opts(const struct cmd_args *args)
{
	static const char *const names[] = { "dispatch", "key",		  "conns",	  "arena",
					     "big",	 "tx-limit",	  "timeout",	  "grace",
					     "mode",	 "at-least-once", "keep-on-error" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (args_str(args, names[i], NULL))
			return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = names[i],
					      .why = "the mux is made already",
					      .next = "frame DESC, to have one made"),
				      "option without effect");
	return 0;
}

static int open_mux(struct run *r, const struct cmd_args *args)
{
	int err, code;

	if (args_str(args, "frame", NULL))
		code = make_mux(r, args);
	else
		code = check_unused_opts(args) ?: mux_check(r->name);
	if (code)
		return code;
	err = kcm_mux_open(r->name, &r->mux);
	if (err)
		return mux_report(r->name, "cannot own", err);
	return 0;
}

static void close_mux(struct run *r)
{
	kcm_mux_close(r->mux);
	if (!r->temporary)
		return;
	kcm_mux_delete(r->name, 0);
	unmark(r);
}

/* ---- the loop ---- */

static void raise_fd_limit(const struct run *r)
{
	struct rlimit l;
	rlim_t want = r->mux->v.cfg.n_conns + FDS_BESIDES;

	if (getrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur >= want)
		return;
	l.rlim_cur = want;
	if (l.rlim_max < want)
		l.rlim_max = want;
	if (!setrlimit(RLIMIT_NOFILE, &l))
		return;
	getrlimit(RLIMIT_NOFILE, &l);
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
	if (l.rlim_cur < want)
		run_say(r, "at most %llu descriptors: fewer connections than the mux could have",
			(unsigned long long)l.rlim_cur);
}

static int open_loop(struct run *r)
{
	struct epoll_event ev = { .events = EPOLLIN };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	r->sig = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	r->ep = epoll_create1(EPOLL_CLOEXEC);
	ev.data.fd = r->sig;
	if (r->sig < 0 || r->ep < 0 || epoll_ctl(r->ep, EPOLL_CTL_ADD, r->sig, &ev))
		return report(PROBLEM(.err = errno), "cannot wait for events");
	return 0;
}

/* Return: whether to stop. */
static bool take_signals(struct run *r)
{
	struct signalfd_siginfo si;
	bool stop = false;

	while (read(r->sig, &si, sizeof(si)) == sizeof(si)) {
		stop |= si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT;
		if (si.ssi_signo == SIGHUP && !r->stopping)
			procs_reload(r);
	}
	procs_reap(r);
	return stop;
}

/* Return: whether a signal to stop came. */
static bool wait_once(struct run *r, int ms)
{
	struct epoll_event ev[16];
	bool stop = false;
	int n = epoll_wait(r->ep, ev, ARRAY_LEN(ev), ms);

	for (int i = 0; i < n; i++) {
		if (ev[i].data.fd == r->sig)
			stop |= take_signals(r);
		else if (!stop && !r->stopping)
			listen_accept(r, ev[i].data.fd);
	}
	return stop;
}

static void loop(struct run *r)
{
	for (;;) {
		uint64_t now = now_ns();
		int ms = procs_tick(r, now);

		listen_tick(r, now);
		if (r->pause_ns && (ms < 0 || ms > STOP_TICK_MS))
			ms = STOP_TICK_MS;
		if (r->failed || wait_once(r, ms))
			return;
	}
}

/* ---- stop ---- */

/* What came before @since is handled, and replies are on their way. */
static bool settled(struct run *r, uint64_t since)
{
	struct mux_sum s;

	mux_sum(&r->mux->v, r->mux->v.tx, &s);
	return (!s.oldest_ns || s.oldest_ns > since) && !s.tx_queued;
}

/* Return: 0, or 1 if something had to be cut short. */
static int stop(struct run *r)
{
	uint64_t start = now_ns(), end = start + r->limit_ns;
	bool hurry = r->failed != 0, done = false;

	r->stopping = true;
	listen_close(r);
	while (!hurry && !(done = settled(r, start)) && now_ns() < end && procs_alive(r))
		hurry = wait_once(r, STOP_TICK_MS);
	if (!hurry)
		procs_retire_all(r);
	while (!hurry && procs_alive(r) && now_ns() < end + r->limit_ns) {
		procs_tick(r, now_ns());
		hurry = wait_once(r, STOP_TICK_MS);
	}
	procs_kill_all(r);
	while (!hurry && !settled(r, 0) && now_ns() < end)
		hurry = wait_once(r, STOP_TICK_MS);
	if (r->failed)
		return r->failed;
	if (!done)
		run_say(r, "stopped with unfinished messages");
	return done ? 0 : KCM_EXIT_FAILED;
}

int mux_run(const struct cmd_args *args)
{
	struct run *r = calloc(1, sizeof(*r));
	uint64_t n, us;
	int code;

	if (!r)
		return report(PROBLEM(.err = ENOMEM), "cannot run");
	r->name = args->pos[0];
	r->ep = r->sig = r->waiting_fd = -1;
	code = args_u64(args, "workers", 1, KCM_WORKERS_MAX,
			(uint64_t)sysconf(_SC_NPROCESSORS_ONLN), &n);
	r->nworkers = n < KCM_WORKERS_MAX ? (unsigned int)n : KCM_WORKERS_MAX;
	code = code ?: mux_time_us(args, "stop-timeout", 3600000000ULL, LIMIT_DEFAULT_US, &us);
	r->limit_ns = code ? 0 : us * 1000;
	code = code ?: spawn_plan(r, args->rest, args_str(args, "user", NULL));
	/* Before there are threads: they inherit what is blocked. */
	code = code ?: open_loop(r);
	/* Connections wait in the backlog until there is somebody to take them. */
	code = code ?: listen_open(r, args_str(args, "listen", ""));
	code = code ?: open_mux(r, args);
	if (!code) {
		raise_fd_limit(r);
		code = procs_start(r);
		if (!code) {
			listen_say(r);
			loop(r);
			code = stop(r);
		}
		procs_kill_all(r);
		close_mux(r);
	} else if (r->temporary) {
		kcm_mux_delete(r->name, 0);
		unmark(r);
	}
	listen_close(r);
	spawn_plan_free(r);
	if (r->ep >= 0)
		close(r->ep);
	if (r->sig >= 0)
		close(r->sig);
	free(r);
	return code;
}
