// SPDX-License-Identifier: GPL-2.0
/*
 * migrate watch: the instance's log as it grows. The log is memory that programs write and anybody
 * may read: any number of watches, and what went round before it was read is counted.
 */
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include "cmd_migrate.h"

#define POLL_NS 50000000

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

struct watch {
	struct mg_view v;
	enum out_format format;
	uint64_t next, count, shown, lost;
	int64_t wall_ns; /* CLOCK_REALTIME - CLOCK_MONOTONIC */
};

static const char *kind_name(unsigned int kind)
{
	static const char *const names[] = {
		[KCM_MGE_LISTEN] = "listen",   [KCM_MGE_CLOSE] = "close",
		[KCM_MGE_GEN_NEW] = "new",     [KCM_MGE_GEN_WORKS] = "works",
		[KCM_MGE_GEN_GONE] = "gone",   [KCM_MGE_EMPTY] = "empty",
		[KCM_MGE_REFUSED] = "refused", [KCM_MGE_ANCHOR] = "anchor",
		[KCM_MGE_DRAIN] = "drain",
	};

	return kind < ARRAY_LEN(names) && names[kind] ? names[kind] : "?";
}

static const char *why_text(unsigned int why)
{
	static const char *const texts[] = {
		[KCM_MGW_MPTCP] = "MPTCP: the kernel does not migrate it; attach --no-mptcp",
		[KCM_MGW_GROUPS] = "no room for another group",
		[KCM_MGW_SLOTS] = "no room for another listener",
		[KCM_MGW_GENS] = "no room for another generation: counted with the working one",
		[KCM_MGW_SOCKS] = "the kernel refused the socket in its map",
		[KCM_MGW_ALONE] = "it has no SO_REUSEPORT; attach --reuseport sets it",
	};

	return why < ARRAY_LEN(texts) && texts[why] ? texts[why] : "";
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* A process names itself as it likes: nothing of that is for the terminal. */
static const char *plain(const char *from, char to[16])
{
	size_t n = 0;

	for (; n < 15 && from[n]; n++)
		to[n] = from[n] >= ' ' && from[n] < 127 ? from[n] : '?';
	to[n] = '\0';
	return to;
}

static void put_text(const struct watch *w, const struct kcm_mg_event *e, const char *addr)
{
	int64_t at = (int64_t)e->ts_ns + w->wall_ns;
	time_t second = (time_t)(at / 1000000000);
	char when[16], comm[sizeof(e->comm)];

	strftime(when, sizeof(when), "%H:%M:%S", localtime(&second));
	printf("%s.%03d %-8s %-24s", when, (int)(at / 1000000 % 1000), kind_name(e->kind), addr);
	if (e->gen)
		printf(" generation %u, %u listeners", e->gen, e->n);
	if (e->pid)
		printf(", pid %u %s", e->pid, plain(e->comm, comm));
	if (e->why)
		printf(" (%s)", why_text(e->why));
	putchar('\n');
}

static void put_json(const struct watch *w, const struct kcm_mg_event *e, const char *addr)
{
	struct out *o = out_new(stdout, w->format);

	if (!o)
		return;
	out_str(o, "event", kind_name(e->kind));
	out_double(o, "time", (double)((int64_t)e->ts_ns + w->wall_ns) / 1e9);
	out_str(o, "address", addr);
	out_u64(o, "generation", e->gen);
	out_u64(o, "listeners", e->n);
	out_u64(o, "pid", e->pid);
	out_str(o, "command", e->pid ? e->comm : NULL);
	out_str(o, "why", e->why ? why_text(e->why) : NULL);
	out_finish(o);
}

static void put(struct watch *w, const struct kcm_mg_event *e)
{
	char addr[MIGRATE_ADDR] = "-";

	if (e->group < KCM_MG_GROUPS)
		migrate_addr(w->v.mg, e->group, addr);
	if (w->format == OUT_TEXT)
		put_text(w, e, addr);
	else
		put_json(w, e, addr);
	w->shown++;
}

/* Event @seq. Return: it was read; else it was written over. */
static bool take(const struct kcm_mg *mg, uint64_t seq, struct kcm_mg_event *e)
{
	const struct kcm_mg_event *from = &mg->log[seq % KCM_MG_LOG];
	uint64_t before = __atomic_load_n(&from->seq, __ATOMIC_ACQUIRE);

	memcpy(e, from, sizeof(*e));
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return before == seq && __atomic_load_n(&from->seq, __ATOMIC_RELAXED) == seq;
}

static void drain(struct watch *w)
{
	uint64_t last = __atomic_load_n(&w->v.mg->ctl.log_next, __ATOMIC_ACQUIRE);

	for (; w->next <= last && (!w->count || w->shown < w->count); w->next++) {
		struct kcm_mg_event e;
		int tries = 0;

		/* It is counted before it is written. */
		while (!take(w->v.mg, w->next, &e) && tries < 1000 && last - w->next < KCM_MG_LOG)
			tries++;
		if (last - w->next >= KCM_MG_LOG || tries == 1000)
			w->lost++;
		else
			put(w, &e);
	}
}

static bool detached(const struct watch *w)
{
	struct stat st;

	return stat(w->v.dir, &st) && errno == ENOENT;
}

int migrate_watch(const struct cmd_args *args)
{
	struct watch w = { .v = MG_VIEW_NONE, .format = out_format(args->out) };
	struct timespec pause = { .tv_nsec = POLL_NS };
	struct sigaction sa = { .sa_handler = on_signal };
	uint64_t lost = 0;
	int code = args_u64(args, "count", 1, UINT64_MAX, 0, &w.count);

	code = code ?: migrate_open(&w.v, args->pos[0], false);
	if (code)
		return code;
	out_raw(args->out); /* each event is a document of its own */
	w.wall_ns = (int64_t)(clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC));
	w.next = w.v.mg->ctl.log_next + 1;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sa.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &sa, NULL);
	while (!interrupted && (!w.count || w.shown < w.count)) {
		drain(&w);
		if (w.lost != lost)
			warn("%llu events were lost: they came faster than they were read",
			     (unsigned long long)(w.lost - lost));
		lost = w.lost;
		if (fflush(stdout) || ferror(stdout))
			break; /* as at the end of `| head` */
		if (detached(&w)) {
			code = report(PROBLEM(.code = KCM_EXIT_NOT_LOADED), "'%s' was detached",
				      args->pos[0]);
			break;
		}
		if (!w.count || w.shown < w.count)
			nanosleep(&pause, NULL);
	}
	mg_view_close(&w.v);
	return code;
}
