// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* cgroup.c - find cgroup2 and cgroups in it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include "../util.h"
#include "cgroup.h"

/* Octal escapes of /proc/self/mountinfo. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		unsigned int c;

		if (*s == '\\' && sscanf(s + 1, "%3o", &c) == 1) {
			*to++ = (char)c;
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

const char *cgroup_root(void)
{
	static char path[256];
	_cleanup_file_ FILE *f = path[0] ? NULL : fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	while (!path[0] && f && getline(&line, &size, f) > 0) {
		const char *type = strstr(line, " - ");

		if (!type || strncmp(type + 3, "cgroup2 ", 8) ||
		    sscanf(line, "%*s %*s %*s %*s %255s", path) != 1)
			continue;
		unescape(path);
	}
	return path;
}

int cgroup_open(const char *given, char *path, __u64 *id)
{
	const char *root = cgroup_root();
	_cleanup_fd_ int fd = -1;
	struct statfs fs;
	struct stat st;
	int n;

	if (given && *given == '/')
		n = snprintf(path, PATH_MAX, "%s", given);
	else
		n = snprintf(path, PATH_MAX, "%s%s%s", root, given && *given ? "/" : "",
			     given ? given : "");
	if (n >= PATH_MAX)
		return -ENAMETOOLONG;
	if (!*root)
		return -ENODEV;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstatfs(fd, &fs) || fstat(fd, &st))
		return -errno;
	if (fs.f_type != CGROUP2_SUPER_MAGIC)
		return -ENOTTY;
	if (id)
		*id = st.st_ino;
	return TAKE_FD(fd);
}

bool cgroup_inside(int fd, __u64 id)
{
	_cleanup_fd_ int at = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	struct stat st, before = { 0 };

	while (at >= 0 && !fstat(at, &st)) {
		int up;

		if (before.st_ino && (st.st_dev != before.st_dev || st.st_ino == before.st_ino))
			return false;
		if (st.st_ino == id)
			return true;
		before = st;
		up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close(at);
		at = up;
	}
	return false;
}

/* Search below @path, which ends at @len. */
static int find(int dir, __u64 id, char *path, size_t len)
{
	_cleanup_dir_ DIR *d = fdopendir(dir);
	struct dirent *e;

	if (!d) {
		close(dir);
		return -errno;
	}
	while ((e = readdir(d))) {
		int fd, n, err;

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		n = snprintf(path + len, PATH_MAX - len, "/%s", e->d_name);
		if ((size_t)n >= PATH_MAX - len)
			continue;
		if (e->d_ino == id)
			return 0;
		fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		err = fd < 0 ? -errno : find(fd, id, path, len + n);
		if (!err)
			return 0;
	}
	path[len] = '\0';
	return -ENOENT;
}

int cgroup_path(__u64 id, char *path)
{
	__u64 root = 0;
	int fd = cgroup_open(NULL, path, &root);

	if (fd < 0)
		return fd;
	if (root == id) {
		close(fd);
		return 0;
	}
	return find(fd, id, path, strlen(path));
}

int cgroup_open_id(__u64 id, char *path)
{
	char found[PATH_MAX];
	int err = cgroup_path(id, found), fd;
	__u64 opened = 0;

	if (err)
		return err;
	fd = cgroup_open(found, path, &opened);
	if (fd < 0 || opened == id)
		return fd;
	close(fd);
	return -ENOENT; /* another one has this name by now */
}
