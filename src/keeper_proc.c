// SPDX-License-Identifier: GPL-2.0
/* keeper_proc.c - the keeper as a process: one an instance, in the background or a unit. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include "cmd.h"
#include "keeper.h"

#define RUN_DIR	   "/run/kcm"
#define STOP_MS	   15000
#define LOCK_TRIES 20
#define LOCK_US	   5000
#define READY_FD   "KCM_READY_FD"
#define READY	   "ready\n"

static void lock_path(const char *name, char *path, size_t size)
{
	snprintf(path, size, RUN_DIR "/migrate-%s", name);
}

int keeper_lock(const char *name)
{
	char path[96], pid[16];
	_cleanup_fd_ int fd = -1;
	struct stat a, b;

	if (mkdir(RUN_DIR, 0755) && errno != EEXIST)
		return -errno;
	lock_path(name, path, sizeof(path));
	for (;;) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		if (fd < 0)
			return -errno;
		/* Whoever only asks for the pid has it for a moment: see keeper_pid(). */
		for (int i = 0; flock(fd, LOCK_EX | LOCK_NB); i++) {
			if (errno != EWOULDBLOCK)
				return -errno;
			if (i == LOCK_TRIES)
				return -EBUSY;
			usleep(LOCK_US);
		}
		/* Whoever had it may have removed it meanwhile. */
		if (!fstat(fd, &a) && !stat(path, &b) && a.st_ino == b.st_ino)
			break;
		close(TAKE_FD(fd));
	}
	snprintf(pid, sizeof(pid), "%d\n", getpid());
	if (ftruncate(fd, 0) || pwrite(fd, pid, strlen(pid), 0) < 0) {
		int err = -errno;

		unlink(path);
		return err;
	}
	return TAKE_FD(fd);
}

void keeper_unlock(const char *name, int fd)
{
	char path[96];

	lock_path(name, path, sizeof(path));
	unlink(path);
	close(fd);
}

int keeper_pid(const char *name)
{
	char path[96], text[16] = "";
	_cleanup_fd_ int fd = -1;

	lock_path(name, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!flock(fd, LOCK_SH | LOCK_NB))
		return 0;
	return pread(fd, text, sizeof(text) - 1, 0) > 0 ? atoi(text) : 0;
}

void keeper_tidy(const char *name)
{
	int fd = keeper_lock(name);

	if (fd >= 0)
		keeper_unlock(name, fd);
}

void keeper_wake(const char *name)
{
	int pid = keeper_pid(name);
	_cleanup_fd_ int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

	if (pidfd >= 0 && keeper_pid(name) == pid)
		syscall(SYS_pidfd_send_signal, pidfd, SIGUSR1, NULL, 0);
}

int keeper_stop(const char *name)
{
	int pid = keeper_pid(name);
	_cleanup_fd_ int pidfd = -1;
	struct pollfd p;

	if (pid <= 0)
		return pid ? pid : -ESRCH;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return errno == ESRCH ? 0 : -errno;
	if (keeper_pid(name) != pid)
		return 0; /* it went, and the number may be another's */
	if (syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0))
		return errno == ESRCH ? 0 : -errno;
	p = (struct pollfd){ .fd = pidfd, .events = POLLIN };
	return poll(&p, 1, STOP_MS) > 0 ? 0 : -ETIMEDOUT;
}

/* ---- in the background ---- */

static void child(const char *name, int ready)
{
	char number[16];
	int null = open("/dev/null", O_RDWR);

	setsid();
	dup2(null, 0);
	dup2(null, 1);
	dup2(ready, 2);
	fcntl(2, F_SETFD, 0);
	close_range(3, ~0U, 0); /* a pipe of whoever started us would not end before we do */
	if (chdir("/"))
		_exit(1);
	snprintf(number, sizeof(number), "%d", 2);
	setenv(READY_FD, number, 1);
	execl("/proc/self/exe", "kcmtool", "migrate", "keep", name, (char *)NULL);
	_exit(127);
}

int keeper_spawn(const char *name, char *err, size_t size)
{
	int ends[2], status;
	size_t have = 0;
	pid_t pid;
	ssize_t n;

	if (keeper_pid(name) > 0)
		return -EALREADY;
	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		/* Nobody's child: whoever attached ends, and does not wait for it. */
		if (fork())
			_exit(0);
		child(name, ends[1]);
	}
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return -EAGAIN;
	}
	waitpid(pid, &status, 0);
	err[0] = '\0';
	while (have + 1 < size && (n = read(ends[0], err + have, size - 1 - have)) > 0) {
		have += (size_t)n;
		err[have] = '\0';
		if (strstr(err, READY))
			break;
	}
	close(ends[0]);
	if (strstr(err, READY)) {
		*strstr(err, READY) = '\0';
		return 0;
	}
	err[strcspn(err, "\n")] = '\0';
	return -ECHILD;
}

/* ---- systemd, without its library ---- */

bool keeper_by_systemd(void)
{
	return getenv("NOTIFY_SOCKET") != NULL;
}

static void notify(const char *text, int fd)
{
	const char *path = getenv("NOTIFY_SOCKET");
	_cleanup_fd_ int s = -1;
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct iovec iov = { (void *)text, strlen(text) };
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr m = { .msg_name = &to, .msg_iov = &iov, .msg_iovlen = 1 };

	if (!path || strlen(path) >= sizeof(to.sun_path))
		return;
	memcpy(to.sun_path, path, strlen(path));
	if (path[0] == '@')
		to.sun_path[0] = '\0';
	m.msg_namelen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	if (fd >= 0) {
		m.msg_control = control.bytes;
		m.msg_controllen = sizeof(control.bytes);
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	}
	s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s >= 0 && sendmsg(s, &m, MSG_NOSIGNAL) < 0)
		warn("systemd is not told: %s", log_errno(errno));
}

void keeper_store(int fd, __u64 cookie)
{
	char text[64];

	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=anchor-%llu", (unsigned long long)cookie);
	notify(text, fd);
}

void keeper_unstore(__u64 cookie)
{
	char text[64];

	snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=anchor-%llu",
		 (unsigned long long)cookie);
	notify(text, -1);
}

int keeper_stored(int *fds, int max)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	int n = 0;

	if (!pid || !count || atoi(pid) != getpid())
		return 0;
	for (; n < atoi(count) && n < max; n++) {
		fds[n] = 3 + n;
		fcntl(fds[n], F_SETFD, FD_CLOEXEC);
	}
	return n;
}

void keeper_ready(void)
{
	const char *text = getenv(READY_FD);
	int null;

	notify("READY=1", -1);
	if (!text)
		return;
	if (write(atoi(text), READY, strlen(READY)) < 0)
		return; /* nobody waits any more */
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	dup2(null, 2);
	close(null);
}
