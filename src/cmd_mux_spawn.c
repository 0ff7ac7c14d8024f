// SPDX-License-Identifier: GPL-2.0
/*
 * mux run: what a worker process is started with. It has no privilege that it does not need, may
 * not do what crashes kernels, and does not outlive us.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "cmd_mux_run.h"

#define OPT_ZEROCOPY_RECEIVE 35 /* TCP_ZEROCOPY_RECEIVE of linux/tcp.h */

/*
 * getsockopt(TCP_ZEROCOPY_RECEIVE) on a socket that is in a sockmap dereferences NULL in the
 * kernel. Level and option are ints: the upper halves of the registers may hold anything.
 */
static int add_rules(scmp_filter_ctx ctx)
{
	const uint64_t low = UINT32_MAX;

	return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(getsockopt), 2,
				SCMP_A1_64(SCMP_CMP_MASKED_EQ, low, IPPROTO_TCP),
				SCMP_A2_64(SCMP_CMP_MASKED_EQ, low, OPT_ZEROCOPY_RECEIVE));
}

/* As instructions, because between fork() and exec() libseccomp may not be called. */
static int make_filter(struct sock_fprog *filter)
{
	_cleanup_fd_ int fd = memfd_create("kcm_seccomp", MFD_CLOEXEC);
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	struct stat st;
	int err = ctx && fd >= 0 ? add_rules(ctx) : -ENOMEM;

	err = err ?: seccomp_export_bpf(ctx, fd);
	seccomp_release(ctx);
	if (err)
		return err;
	if (fstat(fd, &st))
		return -errno;
	filter->filter = malloc((size_t)st.st_size);
	filter->len = (unsigned short)((size_t)st.st_size / sizeof(*filter->filter));
	if (!filter->filter)
		return -ENOMEM;
	if (pread(fd, filter->filter, (size_t)st.st_size, 0) != st.st_size)
		return -EIO;
	return 0;
}

int spawn_plan(struct run *r, char **argv, const char *user)
{
	struct passwd *pw = user ? getpwnam(user) : NULL;
	struct proc_plan *p = &r->plan;
	int err;

	p->argv = argv;
	if (user && !pw)
		return report(PROBLEM(.code = KCM_EXIT_CONFIG, .where = "user",
				      .why = "no such user", .next = "a name of /etc/passwd"),
			      "bad value '%s'", user);
	if (user && geteuid() && pw->pw_uid != geteuid())
		return report(PROBLEM(.code = KCM_EXIT_PRIVILEGE, .where = "user",
				      .why = "only root can run workers as somebody else",
				      .next = "the same with sudo"),
			      "bad value '%s'", user);
	if (user && !geteuid()) {
		p->drop = true;
		p->uid = pw->pw_uid;
		p->gid = pw->pw_gid;
		p->ngroups = RUN_GROUPS;
		if (getgrouplist(user, p->gid, p->groups, &p->ngroups) < 0)
			p->ngroups = RUN_GROUPS; /* in more than that: the first ones */
	}
	err = make_filter(&p->filter);
	if (err)
		return report(PROBLEM(.where = "seccomp", .err = err, .next = "kcmtool doctor"),
			      "cannot make the workers' system call filter");
	return 0;
}

void spawn_plan_free(struct run *r)
{
	free(r->plan.filter.filter);
	r->plan.filter.filter = NULL;
}

/* Only what may be called between fork() and exec() of a process with threads. */
static int confine(const struct proc_plan *p, pid_t parent)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;

	if (setpgid(0, 0))
		return errno;
	for (int i = 1; i < NSIG; i++)
		sigaction(i, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* The library's setuid() would ask threads that do not exist here. */
	if (p->drop && (syscall(SYS_setgroups, p->ngroups, p->groups) ||
			syscall(SYS_setgid, p->gid) || syscall(SYS_setuid, p->uid)))
		return errno;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	/* After setuid(), which clears it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		return errno ? errno : ESRCH;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p->filter))
		return errno;
	return 0;
}

static void become(const struct proc_plan *p, char **env, int fd, int report_fd, pid_t parent)
{
	int err, null = open("/dev/null", O_RDONLY);

	dup2(null, 0);
	close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	fcntl(fd, F_SETFD, 0);
	err = confine(p, parent);
	if (!err) {
		execvpe(p->argv[0], p->argv, env);
		err = errno;
	}
	if (write(report_fd, &err, sizeof(err)) < 0)
		_exit(126);
	_exit(127);
}

/* The environment with our three variables. */
static char **make_env(char vars[3][64])
{
	size_t n = 0, at = 0;
	char **env;

	while (environ[n])
		n++;
	env = calloc(n + 4, sizeof(*env));
	for (size_t i = 0; env && i < n; i++)
		if (strncmp(environ[i], "KCM_WORKER_", 11) && strncmp(environ[i], "KCM_MUX=", 8))
			env[at++] = environ[i];
	for (int i = 0; env && i < 3; i++)
		env[at++] = vars[i];
	return env;
}

pid_t spawn(struct run *r, unsigned int index, int fd)
{
	char vars[3][64];
	_cleanup_free_ char **env = NULL;
	int pipe_fds[2], err = 0;
	pid_t parent = getpid(), pid;

	snprintf(vars[0], sizeof(vars[0]), "KCM_WORKER_FD=%d", fd);
	snprintf(vars[1], sizeof(vars[1]), "KCM_WORKER_INDEX=%u", index);
	snprintf(vars[2], sizeof(vars[2]), "KCM_MUX=%s", r->name);
	env = make_env(vars);
	if (!env)
		return -ENOMEM;
	if (pipe2(pipe_fds, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (!pid)
		become(&r->plan, env, fd, pipe_fds[1], parent);
	if (pid < 0)
		err = errno;
	close(pipe_fds[1]);
	/* Closed by exec(): nothing to read is success. */
	if (pid > 0 && read(pipe_fds[0], &err, sizeof(err)) != sizeof(err))
		err = 0;
	close(pipe_fds[0]);
	if (err && pid > 0)
		waitpid(pid, NULL, 0);
	return err ? -err : pid;
}
