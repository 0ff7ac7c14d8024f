// SPDX-License-Identifier: GPL-2.0
/*
 * mux run: worker processes come, crash, are replaced and end.
 *
 * A process is retired by receive-disabling its worker: kcm_recv() gives it what it has claimed,
 * and then -ESHUTDOWN, at which most programs leave. One that stays gets SIGTERM when it has
 * nothing in hand and can get nothing any more; one that keeps a message for too long, SIGTERM and
 * SIGKILL.
 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include "cmd_mux_run.h"
#include "lib/owner.h"

#define TICK_MS	       5
#define SLOW_TICK_MS   100
#define SLOW_START_NS  2000000000ULL
#define LEAVE_NS       500000000ULL
#define BACKOFF_MIN_NS 100000000ULL
#define BACKOFF_MAX_NS 5000000000ULL
#define HEALTHY_NS     10000000000ULL /* who lived so long starts afresh */
#define FAILURES_MAX   5	      /* of a program that has never joined */

unsigned int procs_alive(const struct run *r)
{
	unsigned int n = 0;

	for (int i = 0; i < RUN_PROCS; i++)
		n += r->procs[i].state != PROC_NONE;
	return n;
}

/* Another process that has this place. */
static bool place_taken(const struct run *r, unsigned int index)
{
	for (int i = 0; i < RUN_PROCS; i++)
		if ((r->procs[i].state == PROC_STARTING || r->procs[i].state == PROC_ON) &&
		    r->procs[i].index == index)
			return true;
	return false;
}

/* A slot of the mux and a descriptor for it. kcm_mux_worker_fd() does not tell the slot. */
static int take_slot(struct kcm_mux *m, int *slot)
{
	int sv[2], err = wire_pair(sv);

	if (err)
		return err;
	pthread_mutex_lock(&m->lock);
	*slot = member_add(m, sv[0]);
	pthread_mutex_unlock(&m->lock);
	if (*slot >= 0)
		return sv[1];
	close(sv[0]);
	close(sv[1]);
	return *slot;
}

/* Return: 0 or -errno; -ENOSPC: no worker slot of the mux is free. */
static int start_one(struct run *r, unsigned int index)
{
	struct proc *p = r->procs;
	_cleanup_fd_ int fd = -1;
	pid_t pid;

	while (p < r->procs + RUN_PROCS && p->state != PROC_NONE)
		p++;
	if (p == r->procs + RUN_PROCS)
		return -ENOSPC;
	*p = (struct proc){ .index = index };
	fd = take_slot(r->mux, &p->slot);
	if (fd < 0)
		return fd;
	pid = spawn(r, index, fd);
	if (pid < 0)
		return pid; /* the slot is given back when fd is closed */
	p->pid = pid;
	p->start_ns = now_ns();
	p->state = PROC_STARTING;
	return 0;
}

static void retry_later(struct run *r, unsigned int index, uint64_t now)
{
	struct place *pl = &r->places[index];
	uint64_t wait = BACKOFF_MIN_NS << (pl->failures < 6 ? pl->failures : 6);

	pl->failures++;
	pl->retry_ns = now + (wait < BACKOFF_MAX_NS ? wait : BACKOFF_MAX_NS);
}

static int start_failed(struct run *r, int err)
{
	bool config = err == -ENOENT || err == -EACCES || err == -ENOEXEC || err == -ENOTDIR;

	if (err == -ENOSPC)
		return report(PROBLEM(.code = KCM_EXIT_CONFIG, .where = r->name,
				      .why = "all of its worker slots are in use",
				      .next = "fewer workers, or a mux with more"),
			      "cannot start the workers");
	return report(PROBLEM(.code = config ? KCM_EXIT_CONFIG : 0, .where = r->plan.argv[0],
			      .err = err, .next = "the path of a program behind --"),
		      "cannot run the worker program");
}

int procs_start(struct run *r)
{
	for (unsigned int i = 0; i < r->nworkers; i++) {
		int err = start_one(r, i);

		if (err)
			return start_failed(r, err);
	}
	return 0;
}

/* Has it joined, and is it still there? */
static bool in_mux(struct run *r, struct proc *p)
{
	const struct kcm_wstat *w = &r->mux->v.wstats[p->slot];
	bool in;

	pthread_mutex_lock(&r->mux->lock);
	in = r->mux->members[p->slot].welcomed && (!p->joined_ns || p->joined_ns == w->start_ns);
	if (in)
		p->joined_ns = w->start_ns;
	pthread_mutex_unlock(&r->mux->lock);
	return in;
}

static uint64_t in_hand(struct run *r, struct proc *p)
{
	const struct kcm_wstat *w = &r->mux->v.wstats[p->slot];

	return p->joined_ns && in_mux(r, p) ? LOAD(&w->out) + LOAD(&w->held_msgs) : 0;
}

static void retire(struct run *r, struct proc *p)
{
	p->state = PROC_RETIRING;
	p->deadline_ns = now_ns() + r->limit_ns;
	p->kill_ns = p->deadline_ns + LEAVE_NS;
	if (!in_mux(r, p))
		return;
	pthread_mutex_lock(&r->mux->lock);
	member_retire(r->mux, (uint32_t)p->slot);
	pthread_mutex_unlock(&r->mux->lock);
}

/* Those that were started before @newer, which may not be the newest itself; NULL: all. */
static void retire_place(struct run *r, unsigned int index, const struct proc *newer)
{
	for (int i = 0; i < RUN_PROCS; i++) {
		struct proc *p = &r->procs[i];

		if (p->index == index && (!newer || p->start_ns < newer->start_ns) &&
		    (p->state == PROC_ON || p->state == PROC_STARTING))
			retire(r, p);
	}
}

/* It takes no more messages, and has none. */
static bool idle(struct run *r, struct proc *p)
{
	bool on;

	if (!in_mux(r, p))
		return true;
	pthread_mutex_lock(&r->mux->lock);
	on = r->mux->members[p->slot].on;
	pthread_mutex_unlock(&r->mux->lock);
	return !on && !in_hand(r, p);
}

static void press(struct run *r, struct proc *p, uint64_t now)
{
	uint64_t n;

	if (!p->idle_ns && idle(r, p))
		p->idle_ns = now;
	/* Most leave by themselves within this time. */
	if (!p->termed && ((p->idle_ns && now >= p->idle_ns + LEAVE_NS) || now >= p->deadline_ns)) {
		n = in_hand(r, p);
		if (n)
			run_say(r, "worker %u (pid %d) is ended with %llu messages in hand",
				p->index, p->pid, (unsigned long long)n);
		p->termed = true;
		p->kill_ns = now + LEAVE_NS;
		kill(-p->pid, SIGTERM);
	} else if (p->termed && now >= p->kill_ns) {
		kill(-p->pid, SIGKILL);
	}
}

/* A process of ours ended. */
static void ended(struct run *r, struct proc *p, const siginfo_t *si)
{
	bool retiring = p->state == PROC_RETIRING, joined = p->joined_ns || in_mux(r, p);
	uint64_t now = now_ns();
	char how[64];

	p->state = PROC_NONE;
	if (si->si_code == CLD_EXITED)
		snprintf(how, sizeof(how), "exited with status %d", si->si_status);
	else
		snprintf(how, sizeof(how), "was killed by signal %d (%s)", si->si_status,
			 strsignal(si->si_status));
	if (r->stopping)
		return;
	if (retiring) {
		if (!place_taken(r, p->index))
			r->places[p->index].retry_ns = now;
		return;
	}
	if (place_taken(r, p->index)) {
		run_say(r, "worker %u (pid %d) %s before it joined; the old one goes on", p->index,
			p->pid, how);
		return;
	}
	if (now - p->start_ns >= HEALTHY_NS)
		r->places[p->index].failures = 0;
	if (!joined && !r->ever_joined && r->places[p->index].failures >= FAILURES_MAX - 1) {
		r->failed = report(PROBLEM(.code = KCM_EXIT_FAILED, .where = r->plan.argv[0],
					   .why = how, .next = "a program that uses libkcm"),
				   "no worker joins the mux");
		return;
	}
	retry_later(r, p->index, now);
	run_say(r, "worker %u (pid %d) %s; starting it again in %llu ms", p->index, p->pid, how,
		(unsigned long long)(r->places[p->index].retry_ns - now) / 1000000);
}

void procs_reap(struct run *r)
{
	for (int i = 0; i < RUN_PROCS; i++) {
		struct proc *p = &r->procs[i];
		siginfo_t si = { 0 };

		if (p->state == PROC_NONE ||
		    waitid(P_PID, (id_t)p->pid, &si, WEXITED | WNOHANG | WNOWAIT) || !si.si_pid)
			continue;
		/* Its pid is not used again before it is reaped: this is its own group. */
		kill(-p->pid, SIGKILL);
		waitid(P_PID, (id_t)p->pid, &si, WEXITED);
		ended(r, p, &si);
	}
}

void procs_reload(struct run *r)
{
	run_say(r, "reloading");
	for (unsigned int i = 0; i < r->nworkers; i++) {
		int err = start_one(r, i);

		if (!err)
			continue;
		if (err != -ENOSPC) {
			run_say(r, "cannot run '%s': %s; the old workers go on", r->plan.argv[0],
				log_errno(err));
			return;
		}
		/* No slot for both: one after the other. */
		retire_place(r, i, NULL);
	}
}

static void start_due(struct run *r, unsigned int index, uint64_t now)
{
	struct place *pl = &r->places[index];
	int err;

	pl->retry_ns = 0;
	err = start_one(r, index);
	if (!err)
		return;
	if (err == -ENOSPC) { /* the old one's slot is not free yet */
		pl->retry_ns = now + TICK_MS * 1000000ULL;
		return;
	}
	retry_later(r, index, now);
	run_say(r, "worker %u cannot be started: %s; trying again", index, log_errno(err));
}

int procs_tick(struct run *r, uint64_t now)
{
	uint64_t next = UINT64_MAX;
	int tick = -1;

	/* First, so that what is started here is looked at again soon. */
	for (unsigned int i = 0; !r->stopping && i < r->nworkers; i++) {
		if (r->places[i].retry_ns && r->places[i].retry_ns <= now)
			start_due(r, i, now);
		if (r->places[i].retry_ns && r->places[i].retry_ns < next)
			next = r->places[i].retry_ns;
	}
	for (int i = 0; i < RUN_PROCS; i++) {
		struct proc *p = &r->procs[i];

		if (p->state == PROC_STARTING && in_mux(r, p)) {
			p->state = PROC_ON;
			r->ever_joined = true;
			retire_place(r, p->index, p);
			tick = TICK_MS; /* for those that were looked at already */
		}
		if (p->state == PROC_RETIRING)
			press(r, p, now);
		if (p->state == PROC_RETIRING || p->state == PROC_STARTING)
			tick = p->state == PROC_RETIRING || now - p->start_ns < SLOW_START_NS ||
					       tick == TICK_MS
				       ? TICK_MS
				       : SLOW_TICK_MS;
	}
	if (next != UINT64_MAX) {
		int ms = next > now ? (int)((next - now) / 1000000) + 1 : 0;

		tick = tick < 0 || ms < tick ? ms : tick;
	}
	return tick;
}

void procs_retire_all(struct run *r)
{
	for (int i = 0; i < RUN_PROCS; i++)
		if (r->procs[i].state == PROC_STARTING || r->procs[i].state == PROC_ON)
			retire(r, &r->procs[i]);
}

void procs_kill_all(struct run *r)
{
	for (int i = 0; i < RUN_PROCS; i++) {
		struct proc *p = &r->procs[i];

		if (p->state == PROC_NONE)
			continue;
		kill(-p->pid, SIGKILL);
		waitid(P_PID, (id_t)p->pid, &(siginfo_t){ 0 }, WEXITED);
		p->state = PROC_NONE;
	}
}
