// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* listener_owner.c - processes: who has a socket, and whose sockets are asked for. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include "../util.h"
#include "cgroup.h"
#include "listener_part.h"

static DIR *open_dir(int at, const char *path)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	return d;
}

/* ---- owners ---- */

static int by_inode(const void *a, const void *b)
{
	const struct kcm_listener *const *x = a, *const *y = b;

	return ((*x)->inode > (*y)->inode) - ((*x)->inode < (*y)->inode);
}

static int by_pid(const void *a, const void *b)
{
	const struct kcm_listener_owner *x = a, *y = b;

	return x->pid != y->pid ? x->pid - y->pid : x->fd - y->fd;
}

/* The name, in parentheses and with any characters in it, then the start as the 20th number. */
static void read_process(int proc, struct kcm_listener_owner *o)
{
	_cleanup_fd_ int fd = openat(proc, "stat", O_RDONLY | O_CLOEXEC);
	char buf[1024], *open, *close;
	unsigned long long ticks;
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	buf[n > 0 ? n : 0] = '\0';
	open = strchr(buf, '(');
	close = strrchr(buf, ')');
	if (!open || !close || close < open)
		return;
	*close = '\0';
	snprintf(o->comm, sizeof(o->comm), "%s", open + 1);
	if (sscanf(close + 1,
		   " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
		   "%llu",
		   &ticks) == 1)
		o->start_ns = ticks * (1000000000ULL / (unsigned long long)sysconf(_SC_CLK_TCK));
}

static int add_owner(struct kcm_listener *l, const struct kcm_listener_owner *o)
{
	struct kcm_listener_owner *more =
		reallocarray(l->owners, l->n_owners + 1, sizeof(*l->owners));

	if (!more)
		return -ENOMEM;
	l->owners = more;
	more[l->n_owners++] = *o;
	return 0;
}

/* Two namespaces' lists never share an inode: sockfs is one. */
static int one_fd(struct kcm_listener **sorted, size_t n, int proc, int fds, const char *name,
		  struct kcm_listener_owner *o)
{
	struct kcm_listener key, *k = &key, **found;
	unsigned long long inode;
	char target[48];
	ssize_t len = readlinkat(fds, name, target, sizeof(target) - 1);

	target[len > 0 ? len : 0] = '\0';
	if (sscanf(target, "socket:[%llu]", &inode) != 1)
		return 0;
	key.inode = (__u32)inode;
	found = bsearch(&k, sorted, n, sizeof(*sorted), by_inode);
	if (!found)
		return 0;
	if (!o->comm[0])
		read_process(proc, o);
	o->fd = atoi(name);
	return add_owner(*found, o);
}

static int one_process(struct kcm_listener **sorted, size_t n, int at, const char *pid,
		       unsigned int *closed)
{
	_cleanup_fd_ int proc = openat(at, pid, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct kcm_listener_owner o = { .pid = atoi(pid) };
	_cleanup_dir_ DIR *d = NULL;
	struct dirent *e;
	int err = 0;

	d = proc < 0 ? NULL : open_dir(proc, "fd");
	if (!d && (errno == EACCES || errno == EPERM))
		++*closed;
	while (d && !err && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]))
			err = one_fd(sorted, n, proc, dirfd(d), e->d_name, &o);
	return err;
}

int listener_owners(struct listener_list *list, unsigned int *closed)
{
	_cleanup_free_ struct kcm_listener **sorted = calloc(list->n + 1, sizeof(*sorted));
	_cleanup_dir_ DIR *d = opendir("/proc");
	struct dirent *e;
	int err = 0;

	*closed = 0;
	if (!sorted || !d)
		return sorted ? -errno : -ENOMEM;
	for (size_t i = 0; i < list->n; i++)
		sorted[i] = &list->l[i];
	qsort(sorted, list->n, sizeof(*sorted), by_inode);
	while (list->n && !err && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]))
			err = one_process(sorted, list->n, dirfd(d), e->d_name, closed);
	for (size_t i = 0; i < list->n; i++)
		if (list->l[i].n_owners)
			qsort(list->l[i].owners, list->l[i].n_owners, sizeof(*list->l[i].owners),
			      by_pid);
	return err;
}

/* ---- whose listeners are asked for ---- */

int listener_ids_add(struct listener_ids *s, __u64 id)
{
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 64;
		__u64 *more = reallocarray(s->id, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		s->id = more;
		s->room = room;
	}
	s->id[s->n++] = id;
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const __u64 *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

void listener_ids_sort(struct listener_ids *s)
{
	if (s->n)
		qsort(s->id, s->n, sizeof(*s->id), by_id);
}

bool listener_ids_have(const struct listener_ids *s, __u64 id)
{
	return s->n && bsearch(&id, s->id, s->n, sizeof(*s->id), by_id);
}

static pid_t parent_of(int proc, const char *pid)
{
	char path[300], buf[512], *close;
	_cleanup_fd_ int fd = -1;
	int parent = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/stat", pid);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	buf[n > 0 ? n : 0] = '\0';
	close = strrchr(buf, ')');
	return close && sscanf(close + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

/* As often as a walk finds more: a child may have a lower number than its parent. */
static int add_children(struct listener_ids *pids)
{
	for (bool more = true; more;) {
		_cleanup_dir_ DIR *d = opendir("/proc");
		struct dirent *e;

		more = false;
		while (d && (e = readdir(d))) {
			__u64 pid = isdigit((unsigned char)e->d_name[0])
					    ? strtoull(e->d_name, NULL, 10)
					    : 0;
			int err;

			if (!pid || listener_ids_have(pids, pid) ||
			    !listener_ids_have(pids, (__u64)parent_of(dirfd(d), e->d_name)))
				continue;
			err = listener_ids_add(pids, pid);
			if (err)
				return err;
			listener_ids_sort(pids);
			more = true;
		}
	}
	return 0;
}

static int of_pid(const struct kcm_listener_filter *f, struct listener_whose *w, char *err,
		  size_t size)
{
	_cleanup_dir_ DIR *d = NULL;
	char path[48];
	int ret;

	snprintf(path, sizeof(path), "/proc/%d/fd", f->pid);
	d = f->pid > 0 ? opendir(path) : NULL;
	if (!d) {
		ret = f->pid < 0 || errno == ENOENT ? -ESRCH : -errno;
		if (ret == -ESRCH)
			snprintf(err, size, "/proc/%d: no such process", f->pid);
		else
			snprintf(err, size, "%s: %s", path, strerror(-ret));
		return ret == -EPERM ? -EACCES : ret;
	}
	ret = listener_ids_add(&w->pids, (__u64)f->pid);
	return ret || !f->children ? ret : add_children(&w->pids);
}

/* A threaded cgroup does not tell of its processes: the domain above it does. */
static int read_procs(int dir, struct listener_ids *pids)
{
	int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC), err = 0;
	_cleanup_file_ FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	unsigned long long pid;

	if (!f && fd >= 0)
		close(fd);
	while (f && !err && fscanf(f, "%llu", &pid) == 1)
		err = listener_ids_add(pids, pid); /* 0: not in our pid namespace */
	return err;
}

/* Takes over @fd. */
static int walk_cgroup(int fd, struct listener_whose *w)
{
	_cleanup_dir_ DIR *d = fdopendir(fd);
	struct dirent *e;
	struct stat st;
	int err;

	if (!d) {
		close(fd);
		return -errno;
	}
	err = fstat(fd, &st) ? 0 : listener_ids_add(&w->cgroups, st.st_ino);
	err = err ?: read_procs(fd, &w->pids);
	while (!err && (e = readdir(d))) {
		int sub;

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		sub = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		err = sub < 0 ? 0 : walk_cgroup(sub, w);
	}
	return err;
}

static int of_cgroup(const struct kcm_listener_filter *f, struct listener_whose *w, char *err,
		     size_t size)
{
	char path[PATH_MAX] = "";
	int fd =
		f->cgroup ? cgroup_open(f->cgroup, path, NULL) : cgroup_open_id(f->cgroup_id, path);

	if (fd >= 0)
		return walk_cgroup(fd, w);
	if (!f->cgroup)
		snprintf(err, size, "no cgroup has the id %llu", (unsigned long long)f->cgroup_id);
	else if (fd == -ENODEV)
		snprintf(err, size, "no cgroup2 is mounted");
	else if (fd == -ENOTTY)
		snprintf(err, size, "%s is not in cgroup2", path);
	else
		snprintf(err, size, "%s: %s", path, strerror(-fd));
	return fd;
}

/* Both conditions: the processes of the cgroup that are the process, or its children. */
static void intersect(struct listener_ids *to, const struct listener_ids *with)
{
	size_t kept = 0;

	for (size_t i = 0; i < to->n; i++)
		if (listener_ids_have(with, to->id[i]))
			to->id[kept++] = to->id[i];
	to->n = kept;
}

int listener_whose(const struct kcm_listener_filter *f, struct listener_whose *w, char *err,
		   size_t size)
{
	struct listener_whose group = { 0 };
	int ret = f->pid ? of_pid(f, w, err, size) : 0;

	w->any = !f->pid && !f->cgroup && !f->cgroup_id;
	listener_ids_sort(&w->pids);
	if (ret || (!f->cgroup && !f->cgroup_id))
		return ret;
	ret = of_cgroup(f, &group, err, size);
	listener_ids_sort(&group.pids);
	listener_ids_sort(&group.cgroups);
	if (f->pid) {
		intersect(&w->pids, &group.pids);
		free(group.pids.id);
		free(group.cgroups.id);
	} else {
		*w = group;
	}
	return ret;
}
