// SPDX-License-Identifier: GPL-2.0
/*
 * faults_trace.c - runs a command, has one of its system calls or allocations fail, or kills the
 * process that is about to make one; and tells which BPF objects were made.
 *
 * usage: faults_trace REPORT PRELOAD MODE SET N ERRNO COMMAND...
 *
 * MODE is count, fail or kill; SET one of those below, or alloc. The Nth of SET counts, whichever
 * process of the command makes it. PRELOAD is faults_alloc.so. REPORT has a line for each: `SET N`
 * calls, `hit CALL`, `exit STATUS` or `signal N`, and `prog ID`, `map ID`, `link ID` of what was
 * made. It is complete when the command has ended. We stay until all has ended that it started:
 * the kernel lets the calls we look at fail when nobody does (seccomp(2), SECCOMP_RET_TRACE).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "faults_page.h"
#include "faults_regs.h"
#include "../../src/util.h"

#define TASKS 256

enum set { SET_BPF, SET_OPEN, SET_MMAP, SET_OTHER, SET_TIDY, SETS };

/* Failing calls of `tidy` would keep a command from cleaning up: they are for kill alone. */
static const char *const set_name[SETS] = { "bpf", "open", "mmap", "other", "tidy" };

static const struct call {
	const char *name;
	enum set set;
} calls[] = {
	{ "bpf", SET_BPF },	     { "open", SET_OPEN },
	{ "openat", SET_OPEN },	     { "mmap", SET_MMAP },
	{ "mkdir", SET_OTHER },	     { "mkdirat", SET_OTHER },
	{ "rename", SET_OTHER },     { "renameat", SET_OTHER },
	{ "renameat2", SET_OTHER },  { "symlink", SET_OTHER },
	{ "symlinkat", SET_OTHER },  { "mount", SET_OTHER },
	{ "flock", SET_OTHER },	     { "ftruncate", SET_OTHER },
	{ "pwrite64", SET_OTHER },   { "socket", SET_OTHER },
	{ "bind", SET_OTHER },	     { "listen", SET_OTHER },
	{ "setsockopt", SET_OTHER }, { "sendto", SET_OTHER },
	{ "sendmsg", SET_OTHER },    { "setns", SET_OTHER },
	{ "pipe2", SET_OTHER },	     { "fork", SET_OTHER },
	{ "vfork", SET_OTHER },	     { "clone", SET_OTHER },
	{ "execve", SET_OTHER },     { "epoll_create1", SET_OTHER },
	{ "signalfd4", SET_OTHER },  { "unlink", SET_TIDY },
	{ "unlinkat", SET_TIDY },    { "rmdir", SET_TIDY },
	{ "exit_group", SET_TIDY },
};

static struct task {
	pid_t pid;
	int counts;  /* its main() has begun */
	int waits;   /* for us to be told whose child it is */
	int created; /* bpf() that makes something has been entered */
} tasks[TASKS];

static struct {
	const char *mode, *set;
	unsigned long n, count[SETS], kills;
	int err;
	FILE *report;
	struct faults_page *page;
	pid_t main;
} t;

static void die(const char *what)
{
	perror(what);
	exit(99);
}

static struct task *task_of(pid_t pid)
{
	struct task *free_one = NULL;

	for (struct task *k = tasks; k < tasks + TASKS; k++) {
		if (k->pid == pid)
			return k;
		if (!k->pid && !free_one)
			free_one = k;
	}
	if (!free_one) {
		fprintf(stderr, "faults_trace: more than %d processes\n", TASKS);
		exit(99);
	}
	*free_one = (struct task){ .pid = pid, .waits = 1 };
	return free_one;
}

static void go_on(enum __ptrace_request how, pid_t pid, int sig)
{
	if (ptrace(how, pid, 0, sig) && errno != ESRCH)
		die("ptrace");
}

/* ---- the command ---- */

static void filter(void)
{
	scmp_filter_ctx c = seccomp_init(SCMP_ACT_ALLOW);
	int err = c ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < ARRAY_LEN(calls); i++) {
		int nr = seccomp_syscall_resolve_name(calls[i].name);

		if (nr != __NR_SCMP_ERROR && nr >= 0)
			err = seccomp_rule_add(c, SCMP_ACT_TRACE(0), nr, 0);
	}
	err = err
		      ?: seccomp_rule_add(c, SCMP_ACT_TRACE(0), SCMP_SYS(prctl), 1,
					  SCMP_A0(SCMP_CMP_EQ, FAULTS_MAIN));
	err = err ?: seccomp_load(c);
	if (err) {
		errno = -err;
		die("seccomp");
	}
}

static void start(const char *preload, char **command)
{
	int fd = memfd_create("faults", 0), status;
	char path[64];

	if (fd < 0 || ftruncate(fd, sizeof(*t.page)))
		die("memfd");
	t.page = mmap(NULL, sizeof(*t.page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (t.page == MAP_FAILED)
		die("mmap");
	if (streq(t.mode, "fail") && streq(t.set, "alloc"))
		t.page->fail_at = t.n;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), fd);
	t.main = fork();
	if (t.main < 0)
		die("fork");
	if (!t.main) {
		setenv(FAULTS_PAGE_ENV, path, 1);
		close(fd);
		raise(SIGSTOP);
		filter();
		setenv("LD_PRELOAD", preload, 1);
		execvp(command[0], command);
		die(command[0]);
	}
	if (waitpid(t.main, &status, WUNTRACED) != t.main || !WIFSTOPPED(status))
		die("waitpid");
	if (ptrace(PTRACE_SEIZE, t.main, 0,
		   PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
			   PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL |
			   PTRACE_O_TRACESYSGOOD))
		die("ptrace");
	task_of(t.main)->waits = 0;
	kill(t.main, SIGCONT);
}

/* ---- its calls ---- */

static const struct call *call_of(long nr)
{
	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		if (seccomp_syscall_resolve_name(calls[i].name) == nr)
			return &calls[i];
	return NULL;
}

static int makes(long cmd)
{
	return cmd == BPF_MAP_CREATE || cmd == BPF_PROG_LOAD || cmd == BPF_LINK_CREATE ||
	       cmd == BPF_RAW_TRACEPOINT_OPEN;
}

/* Is it the one? */
static int hits(const struct call *c)
{
	int changes = c->set != SET_OPEN && c->set != SET_MMAP;

	t.count[c->set]++;
	t.kills += changes;
	if (streq(t.mode, "kill"))
		return changes && t.kills == t.n;
	return streq(t.mode, "fail") && streq(t.set, set_name[c->set]) && t.count[c->set] == t.n;
}

static void call_begins(struct task *k)
{
	long nr, arg;
	const struct call *c;

	regs_call(k->pid, &nr, &arg);
	if (nr == SYS_prctl) {
		k->counts = 1;
		regs_skip(k->pid, 0);
		go_on(PTRACE_CONT, k->pid, 0);
		return;
	}
	c = call_of(nr);
	if (c && k->counts && t.report && hits(c)) {
		fprintf(t.report, "hit %s\n", c->name);
		if (streq(t.mode, "kill"))
			kill(k->pid, SIGKILL);
		else
			regs_skip(k->pid, -t.err);
	} else if (nr == SYS_bpf && makes(arg)) {
		k->created = 1;
		go_on(PTRACE_SYSCALL, k->pid, 0);
		return;
	}
	go_on(PTRACE_CONT, k->pid, 0);
}

/* Whatever bpf() has made, by what the kernel says of its descriptor. */
static void call_ends(struct task *k)
{
	static const char *const kinds[] = { "prog", "map", "link" };
	long fd = regs_result(k->pid);
	_cleanup_file_ FILE *f = NULL;
	char path[64], line[128], is[8] = "";
	unsigned int id = 0, got;

	k->created = 0;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%ld", k->pid, fd);
	f = fd >= 0 && t.report ? fopen(path, "re") : NULL;
	while (f && fgets(line, sizeof(line), f))
		for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
			size_t n = strlen(kinds[i]);

			/* A link tells its program, too: what comes first is what it is. */
			if (!id && !strncmp(line, kinds[i], n) &&
			    sscanf(line + n, "_id:\t%u", &got) == 1) {
				id = got;
				snprintf(is, sizeof(is), "%s", kinds[i]);
			}
		}
	if (id)
		fprintf(t.report, "%s %u\n", is, id);
	go_on(PTRACE_CONT, k->pid, 0);
}

static void child_is_there(struct task *parent)
{
	unsigned long pid = 0;
	struct task *k;

	if (ptrace(PTRACE_GETEVENTMSG, parent->pid, 0, &pid) || !pid)
		return;
	k = task_of((pid_t)pid);
	k->counts = parent->counts;
	if (k->waits == 2)
		go_on(PTRACE_CONT, k->pid, 0);
	k->waits = 0;
}

static void stopped(struct task *k, int status)
{
	int event = status >> 16, sig = WSTOPSIG(status);

	if (k->waits) {
		k->waits = 2;
		return;
	}
	if (event == PTRACE_EVENT_SECCOMP) {
		call_begins(k);
		return;
	}
	if (k->created && sig == (SIGTRAP | 0x80)) {
		call_ends(k);
		return;
	}
	if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK ||
	    event == PTRACE_EVENT_CLONE)
		child_is_there(k);
	if (event == PTRACE_EVENT_EXEC)
		k->counts = 0;
	if (event == PTRACE_EVENT_STOP && sig != SIGTRAP && sig != SIGCONT)
		go_on(PTRACE_LISTEN, k->pid, 0);
	else
		go_on(PTRACE_CONT, k->pid, event || sig == (SIGTRAP | 0x80) ? 0 : sig);
}

static void say_end(int status)
{
	for (int i = 0; i < SETS; i++)
		fprintf(t.report, "%s %lu\n", set_name[i], t.count[i]);
	fprintf(t.report, "kill %lu\nalloc %lu\n", t.kills, (unsigned long)t.page->allocs);
	if (t.page->fail_at && t.page->allocs >= t.page->fail_at)
		fprintf(t.report, "hit malloc\n");
	if (WIFSIGNALED(status))
		fprintf(t.report, "signal %d\n", WTERMSIG(status));
	else
		fprintf(t.report, "exit %d\n", WEXITSTATUS(status));
	fclose(t.report);
	t.report = NULL;
	t.page->fail_at = 0;
}

int main(int argc, char **argv)
{
	int status;
	pid_t pid;

	if (argc < 8)
		return 2;
	t.mode = argv[3];
	t.set = argv[4];
	t.n = strtoul(argv[5], NULL, 10);
	t.err = atoi(argv[6]);
	t.report = fopen(argv[1], "we");
	if (!t.report)
		die(argv[1]);
	start(argv[2], argv + 7);
	while ((pid = waitpid(-1, &status, __WALL)) > 0) {
		struct task *k = task_of(pid);

		if (WIFSTOPPED(status)) {
			stopped(k, status);
			continue;
		}
		*k = (struct task){ 0 };
		if (pid == t.main)
			say_end(status);
	}
	return 0;
}
