// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* sock_cgroups.c - which cgroups the programs of sock are attached to. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include "../util.h"
#include "cgroup.h"
#include "sock_cgroups.h"

struct adding {
	struct sock_links *links;
	const struct bpf_object *obj;
	char *err;
	size_t err_size;
};

_printf_(3, 4) static int fail(struct adding *l, int ret, const char *fmt, ...)
{
	va_list ap;

	if (l->err && l->err_size) {
		va_start(ap, fmt);
		vsnprintf(l->err, l->err_size, fmt, ap);
		va_end(ap);
	}
	return ret;
}

static int cgroup_fail(struct adding *l, const char *path, int err)
{
	if (err == -ENODEV)
		return fail(l, err, "cgroup2 is not mounted");
	if (err == -ENOTTY)
		return fail(l, err, "%s is no directory of cgroup2", path);
	return fail(l, err, "cgroup %s: %s", path, strerror(-err));
}

struct given {
	char path[PATH_MAX];
	__u64 id;
	int fd;
};

/* Does one that is there already lie in @g? It would run our programs twice. */
static int check_inner(struct adding *l, const struct given *g, const struct sock_cgroup *has,
		       int n)
{
	char inner[PATH_MAX];

	for (int i = 0; i < n; i++) {
		_cleanup_fd_ int fd = -1;

		if (has[i].gone || has[i].id == g->id)
			continue;
		fd = cgroup_open_id(has[i].id, inner);
		if (fd >= 0 && cgroup_inside(fd, g->id))
			return fail(l, -EXDEV, "%s contains %s, which has them; unload first",
				    g->path, inner);
	}
	return 0;
}

/* Has a cgroup above @g our programs, or will have them? Then there is nothing to add. */
static bool is_covered(const struct given *g, const struct given *all, size_t n_all,
		       const struct sock_cgroup *has, int n)
{
	for (int i = 0; i < n; i++)
		if (!has[i].gone && has[i].id != g->id && cgroup_inside(g->fd, has[i].id))
			return true;
	for (size_t i = 0; i < n_all; i++)
		if (all[i].id != g->id && cgroup_inside(g->fd, all[i].id))
			return true;
	return false;
}

static int add_cgroups(struct adding *l, const struct given *all, size_t n_all,
		       const struct sock_cgroup *has, int n)
{
	for (size_t i = 0; i < n_all; i++) {
		const struct given *g = &all[i];
		int err;

		if (is_covered(g, all, n_all, has, n))
			continue;
		err = check_inner(l, g, has, n);
		if (err)
			return err;
		err = sock_links_add(l->links, l->obj, g->fd, g->id);
		if (err == -EPERM)
			return fail(l, err,
				    "cgroup %s: a program there or above allows none beside it; "
				    "bpftool cgroup tree names it",
				    g->path);
		if (err)
			return cgroup_fail(l, g->path, err);
	}
	return 0;
}

int sock_cgroups_check(const char *const *names, size_t n, char *err, size_t size)
{
	struct adding l = { .err = err, .err_size = size };
	char path[PATH_MAX];

	for (size_t i = 0; i < n; i++) {
		_cleanup_fd_ int fd = cgroup_open(names[i], path, NULL);

		if (fd < 0)
			return cgroup_fail(&l, path, fd);
	}
	return 0;
}

int sock_cgroups_add(struct sock_links *links, const struct bpf_object *obj,
		     const char *const *names, size_t n_names, const struct sock_cgroup *has, int n,
		     char *err, size_t size)
{
	struct adding l = { links, obj, err, size };
	struct given *all = calloc(n_names, sizeof(*all));
	size_t n_all = 0;
	int ret = all || !n_names ? 0 : -ENOMEM;

	for (; n_all < n_names && !ret; n_all++) {
		struct given *g = &all[n_all];

		g->fd = cgroup_open(names[n_all], g->path, &g->id);
		if (g->fd < 0)
			ret = cgroup_fail(&l, g->path, g->fd);
	}
	ret = ret ?: add_cgroups(&l, all, n_all, has, n);
	while (n_all--)
		if (all[n_all].fd >= 0)
			close(all[n_all].fd);
	free(all);
	return ret;
}
