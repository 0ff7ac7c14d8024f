// SPDX-License-Identifier: GPL-2.0
/* Cgroups and network namespaces: from their numbers to names and back. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "cmd_sock_names.h"
#include "lib/cgroup.h"
#include "util.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#define FILEID_KERNFS 0xfe

/* ---- names that were found; lost with the process ---- */

struct name {
	uint64_t key;
	char *text; /* NULL: there is none */
};

struct names {
	struct name *entry; /* open addressing, a power of two of them */
	size_t size, used;
};

static struct name *names_slot(struct names *t, uint64_t key)
{
	size_t i = (size_t)((key * 0x9e3779b97f4a7c15ULL) >> 32) & (t->size - 1);

	while (t->entry[i].key && t->entry[i].key != key)
		i = (i + 1) & (t->size - 1);
	return &t->entry[i];
}

static struct name *names_get(struct names *t, uint64_t key)
{
	struct name *e = t->size ? names_slot(t, key) : NULL;

	return e && e->key ? e : NULL;
}

/* Takes over @text. */
static void names_put(struct names *t, uint64_t key, char *text)
{
	struct name *e;

	if (2 * t->used >= t->size) {
		struct names bigger = { .size = t->size ? 2 * t->size : 64 };

		bigger.entry = calloc(bigger.size, sizeof(*bigger.entry));
		if (!bigger.entry) {
			free(text);
			return;
		}
		for (size_t i = 0; i < t->size; i++)
			if (t->entry[i].key)
				*names_slot(&bigger, t->entry[i].key) = t->entry[i];
		bigger.used = t->used;
		free(t->entry);
		*t = bigger;
	}
	e = names_slot(t, key);
	t->used += !e->key;
	e->key = key;
	e->text = text;
}

/* ---- cgroups ---- */

/* By handle, which takes CAP_DAC_READ_SEARCH; else all cgroups are searched. */
static bool cgroup_by_handle(uint64_t id, char path[PATH_MAX])
{
	_cleanup_fd_ int mount = open(cgroup_root(), O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
	union {
		struct file_handle h;
		char space[sizeof(struct file_handle) + sizeof(id)];
	} handle = { .h = { .handle_bytes = sizeof(id), .handle_type = FILEID_KERNFS } };
	char link[48];
	ssize_t n;

	memcpy(handle.space + sizeof(handle.h), &id, sizeof(id));
	fd = mount < 0 ? -1 : open_by_handle_at(mount, &handle.h, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, PATH_MAX - 1);
	path[n < 0 ? 0 : n] = '\0';
	return n > 0;
}

static char *cgroup_lookup(uint64_t id)
{
	const char *root = cgroup_root();
	size_t skip = strlen(root);
	char path[PATH_MAX];

	if (!skip || (!cgroup_by_handle(id, path) && cgroup_path(id, path)))
		return NULL;
	if (strncmp(path, root, skip) || strstr(path, " (deleted)"))
		return NULL;
	return strdup(path[skip] ? path + skip : "/");
}

const char *sock_cgroup_path(uint64_t id)
{
	static struct names known;
	struct name *e;

	if (!id)
		return NULL;
	e = names_get(&known, id);
	if (!e) {
		names_put(&known, id, cgroup_lookup(id));
		e = names_get(&known, id);
	}
	return e ? e->text : NULL;
}

int sock_cgroup_find(const char *name, uint64_t *id, char *path, size_t size)
{
	const char *root = cgroup_root();
	size_t n = strlen(root), len;
	char full[PATH_MAX];
	__u64 found;
	int fd;

	/* "/a" is what we print for a cgroup; nothing else of that name is meant. */
	if (!strncmp(name, root, n) && (!name[n] || name[n] == '/'))
		name += n;
	fd = cgroup_open(name + strspn(name, "/"), full, &found);
	if (fd < 0)
		return fd;
	close(fd);
	len = strlen(full);
	while (len > n + 1 && full[len - 1] == '/')
		full[--len] = '\0';
	snprintf(path, size, "%s", full[n] ? full + n : "/");
	*id = found;
	return strlen(path) + 1 == size ? -ENAMETOOLONG : 0;
}

/* ---- network namespaces ---- */

struct ask {
	int fd; /* of the namespace */
	uint64_t cookie;
	int err;
};

static uint64_t cookie_here(void)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len))
		return 0;
	return cookie;
}

/* In a thread of its own, which ends in the other namespace. */
static void *ask_there(void *arg)
{
	struct ask *a = arg;

	a->err = setns(a->fd, CLONE_NEWNET) ? -errno : 0;
	if (!a->err)
		a->cookie = cookie_here();
	return NULL;
}

static int cookie_of(int fd, uint64_t *cookie)
{
	struct ask a = { .fd = fd };
	pthread_t t;
	int err = pthread_create(&t, NULL, ask_there, &a);

	if (err)
		return -err;
	pthread_join(t, NULL);
	*cookie = a.cookie;
	return a.err ? a.err : a.cookie ? 0 : -EOPNOTSUPP;
}

uint64_t sock_netns_own(void)
{
	static uint64_t cookie;

	if (!cookie)
		cookie = cookie_here();
	return cookie;
}

int sock_netns_find(const char *name, uint64_t *cookie)
{
	_cleanup_fd_ int fd = -1;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s%s", strchr(name, '/') ? "" : "/run/netns/", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : cookie_of(fd, cookie);
}

struct netns_walk {
	struct names by_inode; /* namespaces that were asked */
	struct names by_cookie;
	bool done;
};

static void walk_one(struct netns_walk *w, const char *path, const char *label)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	uint64_t cookie = 0;

	if (fd < 0 || fstat(fd, &st) || names_get(&w->by_inode, st.st_ino))
		return;
	names_put(&w->by_inode, st.st_ino, NULL);
	if (cookie_of(fd, &cookie) == 0 && !names_get(&w->by_cookie, cookie))
		names_put(&w->by_cookie, cookie, strdup(label));
}

static void walk_names(struct netns_walk *w)
{
	_cleanup_dir_ DIR *d = opendir("/run/netns");
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char path[sizeof(e->d_name) + 16];

		if (*e->d_name == '.')
			continue;
		snprintf(path, sizeof(path), "/run/netns/%s", e->d_name);
		walk_one(w, path, e->d_name);
	}
}

static void walk_processes(struct netns_walk *w)
{
	_cleanup_dir_ DIR *d = opendir("/proc");
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char path[sizeof(e->d_name) + 16], label[sizeof(e->d_name) + 8];

		if (*e->d_name < '1' || *e->d_name > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/ns/net", e->d_name);
		snprintf(label, sizeof(label), "pid %s", e->d_name);
		walk_one(w, path, label);
	}
}

const char *sock_netns_name(uint64_t cookie)
{
	static struct netns_walk w;
	struct name *e;

	if (!cookie || cookie == sock_netns_own())
		return NULL;
	if (!w.done) { /* once: the walk asks every namespace of the machine */
		walk_names(&w);
		walk_processes(&w);
		w.done = true;
	}
	e = names_get(&w.by_cookie, cookie);
	return e ? e->text : NULL;
}
