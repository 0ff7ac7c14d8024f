// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* netns.c - find the network namespaces of this machine. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "../util.h"
#include "netns.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

#define OWN "/proc/thread-self/ns/net"

static bool known(const struct netns_list *l, __u64 inode)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->ns[i].inode == inode)
			return true;
	return false;
}

static int append(struct netns_list *l, int fd, __u64 inode)
{
	struct netns *ns = realloc(l->ns, (l->n + 1) * sizeof(*ns));

	if (!ns)
		return -ENOMEM;
	l->ns = ns;
	ns[l->n++] = (struct netns){ .fd = fd, .inode = inode };
	return 0;
}

/* What is not permitted, or gone by now, is left out. */
static int look(struct netns_list *l, int dir, const char *path)
{
	_cleanup_fd_ int fd = -1;
	struct stat st;
	int err;

	if (fstatat(dir, path, &st, 0) || known(l, st.st_ino))
		return 0;
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	/* Another process may have this number by now: what was opened counts. */
	if (fd < 0 || fstat(fd, &st) || known(l, st.st_ino))
		return 0;
	err = append(l, fd, st.st_ino);
	if (!err)
		TAKE_FD(fd);
	return err;
}

static DIR *open_dir(int dir, const char *path)
{
	int fd = openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	return d;
}

/* A thread may have left its process's namespace. */
static int look_threads(struct netns_list *l, int proc, const char *pid)
{
	_cleanup_dir_ DIR *d = NULL;
	struct dirent *e;
	char path[300];
	int err = 0;

	snprintf(path, sizeof(path), "%s/task", pid);
	d = open_dir(proc, path);
	while (d && !err && (e = readdir(d))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "%s/ns/net", e->d_name);
		err = look(l, dirfd(d), path);
	}
	return err;
}

static int look_processes(struct netns_list *l)
{
	_cleanup_dir_ DIR *d = open_dir(AT_FDCWD, "/proc");
	struct dirent *e;
	int err = 0;

	while (d && !err && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]))
			err = look_threads(l, dirfd(d), e->d_name);
	return err;
}

/* Namespaces that `ip netns` and container managers keep: nsfs, mounted on a file. */
static int look_mounts(struct netns_list *l)
{
	_cleanup_file_ FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	char root[32], path[512];
	size_t size = 0;
	int err = 0;

	while (f && !err && getline(&line, &size, f) > 0)
		if (strstr(line, " - nsfs ") &&
		    sscanf(line, "%*s %*s %*s %31s %511s", root, path) == 2 &&
		    !strncmp(root, "net:", 4))
			err = look(l, AT_FDCWD, path);
	return err;
}

static __u64 cookie_here(void)
{
	/* Not AF_INET: that would be a socket for other programs to count. */
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	__u64 cookie = 0;
	socklen_t len = sizeof(cookie);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len))
		return 0;
	return cookie;
}

static int find_cookies(struct netns_list *l)
{
	_cleanup_fd_ int own = open(OWN, O_RDONLY | O_CLOEXEC);
	int err = 0;

	if (own < 0)
		return -errno;
	l->ns[0].cookie = cookie_here();
	for (size_t i = 1; i < l->n && !err; i++) {
		if (setns(l->ns[i].fd, CLONE_NEWNET))
			continue;
		l->ns[i].cookie = cookie_here();
		err = setns(own, CLONE_NEWNET) ? -errno : 0;
	}
	return err;
}

int netns_list(struct netns_list *l)
{
	struct stat st;
	int err;

	*l = (struct netns_list){ 0 };
	err = stat(OWN, &st) ? -errno : append(l, -1, st.st_ino);
	err = err ?: look_processes(l);
	err = err ?: look_mounts(l);
	err = err ?: find_cookies(l);
	if (err)
		netns_free(l);
	return err;
}

void netns_free(struct netns_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->ns[i].fd >= 0)
			close(l->ns[i].fd);
	free(l->ns);
	*l = (struct netns_list){ 0 };
}
