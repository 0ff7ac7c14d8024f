// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* sock_attach.c - the links of sock: programs on cgroups. */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../util.h"
#include "cgroup.h"
#include "pin.h"
#include "sock_attach.h"

#define PREFIX	"kcm_sk_"
#define HOOKS	16
#define LINKS	(HOOKS * SOCK_CGROUPS)
#define PATHLEN (KCM_PIN_PATH + 64)

struct sock_link {
	int fd;
	int before; /* program it had, to give it back; -1: a new link */
	__u64 cgroup;
	char what[16]; /* program's name without PREFIX */
};

struct sock_links {
	size_t n;
	struct sock_link link[LINKS];
};

struct sock_links *sock_links_new(void)
{
	return calloc(1, sizeof(struct sock_links));
}

void sock_links_free(struct sock_links *l)
{
	for (size_t i = 0; l && i < l->n; i++) {
		close(l->link[i].fd);
		if (l->link[i].before >= 0)
			close(l->link[i].before);
	}
	free(l);
}

/*
 * Programs that count first: they do nothing for sockets that have no state. Then those that take
 * state away, those that make it for new sockets, and those that make it for any.
 */
static int rank(const struct bpf_program *p)
{
	switch (bpf_program__type(p)) {
	case BPF_PROG_TYPE_CGROUP_SKB:
		return 0;
	case BPF_PROG_TYPE_CGROUP_SOCKOPT:
		return 1;
	case BPF_PROG_TYPE_CGROUP_SOCK:
		return bpf_program__expected_attach_type(p) == BPF_CGROUP_INET_SOCK_RELEASE ? 2 : 3;
	case BPF_PROG_TYPE_SOCK_OPS:
		return 4;
	case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
		return 5;
	default:
		return -1; /* not for cgroups */
	}
}

#define RANKS 6

static const char *what_of(const struct bpf_program *p)
{
	const char *name = bpf_program__name(p);

	return strncmp(name, PREFIX, strlen(PREFIX)) ? name : name + strlen(PREFIX);
}

static const struct bpf_program *prog_of(const struct bpf_object *obj, const char *what)
{
	struct bpf_program *p;

	bpf_object__for_each_program (p, obj)
		if (rank(p) >= 0 && streq(what_of(p), what))
			return p;
	return NULL;
}

static struct sock_link *append(struct sock_links *l, const char *what, __u64 cgroup)
{
	struct sock_link *k = l->n < LINKS ? &l->link[l->n++] : NULL;

	if (!k)
		return NULL;
	*k = (struct sock_link){ .fd = -1, .before = -1, .cgroup = cgroup };
	snprintf(k->what, sizeof(k->what), "%s", what);
	return k;
}

static bool has(const struct sock_links *l, const char *what, __u64 cgroup)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->link[i].cgroup == cgroup && streq(l->link[i].what, what))
			return true;
	return false;
}

/* "link_WHAT_ID" */
static bool parse_name(const char *name, char what[16], __u64 *cgroup)
{
	const char *id = strrchr(name, '_');
	size_t n = strlen(SOCK_LINK);
	char *end;

	if (strncmp(name, SOCK_LINK, n) || !id || id < name + n || id - name - n >= 16)
		return false;
	snprintf(what, 16, "%.*s", (int)(id - name - n), name + n);
	*cgroup = strtoull(id + 1, &end, 10);
	return end > id + 1 && !*end;
}

/* Call @fn for each link pinned in @dir. */
static int each(const char *dir, int (*fn)(int fd, const char *what, __u64 cgroup, void *arg),
		void *arg)
{
	_cleanup_dir_ DIR *d = opendir(dir);
	struct dirent *e;
	int err = 0;

	if (!d)
		return -errno;
	while (!err && (e = readdir(d))) {
		char path[PATHLEN * 2], what[16];
		_cleanup_fd_ int fd = -1;
		__u64 cgroup;

		if (!parse_name(e->d_name, what, &cgroup))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		fd = bpf_obj_get(path);
		err = fd < 0 ? -errno : fn(fd, what, cgroup, arg);
	}
	return err;
}

static int link_info(int fd, struct bpf_link_info *info)
{
	__u32 len = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return bpf_obj_get_info_by_fd(fd, info, &len) ? -errno : 0;
}

struct take {
	struct sock_links *l;
	const struct bpf_object *obj;
	const char *dir;
};

/* Not by its id: that needs CAP_SYS_ADMIN. */
static int old_prog(const char *dir, const struct bpf_program *p)
{
	char path[PATHLEN];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, bpf_program__name(p));
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : fd;
}

static int take_one(int fd, const char *what, __u64 cgroup, void *arg)
{
	struct take *t = arg;
	const struct bpf_program *p = prog_of(t->obj, what);
	struct bpf_link_info info;
	struct sock_link *k;
	int err = link_info(fd, &info);

	if (err)
		return err;
	if (!info.cgroup.cgroup_id || !p)
		return 0; /* the cgroup is gone; or this version has no such program */
	k = append(t->l, what, cgroup);
	if (!k)
		return -E2BIG;
	k->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	k->before = old_prog(t->dir, p);
	if (k->fd < 0 || k->before < 0)
		return k->fd < 0 ? -errno : k->before;
	if (!bpf_link_update(k->fd, bpf_program__fd(p), NULL))
		return 0;
	err = -errno;
	close(k->fd);
	close(k->before);
	t->l->n--;
	return err == -ENOLINK ? 0 : err; /* its cgroup went just now */
}

int sock_links_take(struct sock_links *l, const struct bpf_object *obj, const char *dir)
{
	struct take t = { l, obj, dir };

	return each(dir, take_one, &t);
}

int sock_links_add(struct sock_links *l, const struct bpf_object *obj, int cgroup, __u64 id)
{
	struct bpf_program *p;

	for (int r = 0; r < RANKS; r++) {
		bpf_object__for_each_program (p, obj) {
			struct sock_link *k;

			if (rank(p) != r || has(l, what_of(p), id))
				continue;
			k = append(l, what_of(p), id);
			if (!k)
				return -E2BIG;
			k->fd = bpf_link_create(bpf_program__fd(p), cgroup,
						bpf_program__expected_attach_type(p), NULL);
			if (k->fd < 0) {
				l->n--;
				return -errno;
			}
		}
	}
	return 0;
}

int sock_links_fill(struct sock_links *l, const struct bpf_object *obj)
{
	size_t n = l->n; /* what is added is for cgroups that are there already */
	char path[PATH_MAX];

	for (size_t i = 0; i < n; i++) {
		__u64 id = l->link[i].cgroup;
		_cleanup_fd_ int fd = cgroup_open_id(id, path);
		int err;

		if (fd < 0)
			continue; /* not in this mount, or it went just now */
		err = sock_links_add(l, obj, fd, id);
		if (err)
			return err;
	}
	return 0;
}

size_t sock_links_count(const struct sock_links *l)
{
	return l->n;
}

int sock_links_pin(struct sock_links *l, const char *dir)
{
	char path[PATHLEN];

	for (size_t i = 0; i < l->n; i++) {
		snprintf(path, sizeof(path), "%s/" SOCK_LINK "%s_%llu", dir, l->link[i].what,
			 (unsigned long long)l->link[i].cgroup);
		if (bpf_obj_pin(l->link[i].fd, path))
			return -errno;
	}
	return 0;
}

void sock_links_undo(struct sock_links *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->link[i].before >= 0)
			bpf_link_update(l->link[i].fd, l->link[i].before, NULL);
}

static int open_one(int fd, const char *what, __u64 cgroup, void *arg)
{
	struct sock_links *l = arg;
	struct sock_link *k = append(l, what, cgroup);

	if (!k)
		return -E2BIG;
	k->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (k->fd >= 0)
		return 0;
	l->n--;
	return -errno;
}

int sock_links_open(struct sock_links *l, const char *dir)
{
	return each(dir, open_one, l);
}

void sock_links_detach(const struct sock_links *l)
{
	for (size_t i = 0; i < l->n; i++)
		bpf_link_detach(l->link[i].fd); /* fails if the cgroup is gone */
}

struct cgroups {
	struct sock_cgroup *list;
	size_t n, max;
};

static int note_cgroup(int fd, const char *what, __u64 cgroup, void *arg)
{
	struct cgroups *c = arg;
	struct bpf_link_info info;
	size_t i = 0;
	int err = link_info(fd, &info);

	(void)what;
	if (err)
		return err;
	while (i < c->n && c->list[i].id != cgroup)
		i++;
	if (i == c->max)
		return -E2BIG;
	if (i == c->n)
		c->list[c->n++] = (struct sock_cgroup){ .id = cgroup };
	c->list[i].links++;
	c->list[i].gone |= !info.cgroup.cgroup_id;
	return 0;
}

int sock_links_cgroups(const char *dir, struct sock_cgroup *list, size_t n)
{
	struct cgroups c = { list, 0, n };
	int err = each(dir, note_cgroup, &c);

	return err ? err : (int)c.n;
}
