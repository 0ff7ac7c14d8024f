// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* netns.c - find network namespaces by their processes and by the files they are bound to. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <linux/magic.h>
#include <linux/types.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include "../util.h"
#include "netns.h"

#define NETNS_DIR "/run/netns"

struct seen {
	struct {
		dev_t dev;
		ino_t ino;
	} * ns;
	size_t n, room;
};

/* Return: 1 for the first time, 0 seen before, or -errno. */
static int first_time(struct seen *s, const struct stat *st)
{
	for (size_t i = s->n; i-- > 0;) /* neighbours in /proc are often in the same one */
		if (s->ns[i].ino == st->st_ino && s->ns[i].dev == st->st_dev)
			return 0;
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 64;
		void *more = realloc(s->ns, room * sizeof(*s->ns));

		if (!more)
			return -ENOMEM;
		s->ns = more;
		s->room = room;
	}
	s->ns[s->n].dev = st->st_dev;
	s->ns[s->n++].ino = st->st_ino;
	return 1;
}

/* Every name in @dir that begins as asked for, with @tail behind it, is a namespace (or not). */
static int each_in(const char *dir, bool pids, const char *tail, struct seen *seen,
		   int (*fn)(int fd, void *arg), void *arg)
{
	_cleanup_dir_ DIR *d = opendir(dir);
	struct dirent *e;
	int ret = 0;

	while (d && !ret && (e = readdir(d))) {
		char path[PATH_MAX];
		_cleanup_fd_ int fd = -1;
		struct statfs fs;
		struct stat st;

		if (e->d_name[0] == '.' || (pids && !isdigit((unsigned char)e->d_name[0])))
			continue;
		snprintf(path, sizeof(path), "%s/%s%s", dir, e->d_name, tail);
		/* Processes come and go, and what is in /run/netns is not always bound. */
		if (stat(path, &st))
			continue;
		ret = first_time(seen, &st);
		if (ret <= 0)
			continue;
		ret = 0;
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || fstatfs(fd, &fs) || fs.f_type != NSFS_MAGIC)
			continue;
		ret = fn(fd, arg);
	}
	return ret;
}

int netns_each(int (*fn)(int netns_fd, void *arg), void *arg)
{
	struct seen seen = { 0 };
	struct stat own;
	int ret = stat("/proc/thread-self/ns/net", &own) ? -errno : first_time(&seen, &own);

	if (ret >= 0)
		ret = fn(-1, arg);
	ret = ret ?: each_in("/proc", true, "/ns/net", &seen, fn, arg);
	ret = ret ?: each_in(NETNS_DIR, false, "", &seen, fn, arg);
	free(seen.ns);
	return ret;
}
