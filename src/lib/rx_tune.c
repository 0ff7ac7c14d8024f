// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* rx_tune.c - an instance of rx's programs: made, read, removed. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../util.h"
#include "cgroup.h"
#include "netns.h"
#include "pin.h"
#include "rx_tune.h"
#include "rx.skel.h"

#define PATHLEN (KCM_PIN_PATH + 64)

struct tuning {
	const struct rx_tune_opts *o;
	struct kcm_pin_txn txn;
	struct rx *skel;
	int cgroup_fd;
	__u64 cgroup_id;
	bool was_there;
	char *err;
	size_t err_size;
};

_printf_(3, 4) static int fail(struct tuning *t, int ret, const char *fmt, ...)
{
	va_list ap;

	if (t->err && t->err_size) {
		va_start(ap, fmt);
		vsnprintf(t->err, t->err_size, fmt, ap);
		va_end(ap);
	}
	return ret;
}

static int load(struct tuning *t)
{
	int err;

	t->skel = rx__open();
	if (!t->skel)
		return fail(t, -errno, "open BPF object: %s", strerror(errno));
	err = rx__load(t->skel);
	return err ? fail(t, util_load_err(err), "load BPF programs: %s", strerror(-err)) : 0;
}

static int open_cgroup(struct tuning *t)
{
	char path[PATH_MAX];

	t->cgroup_fd = cgroup_open(t->o->cgroup, path, &t->cgroup_id);
	if (t->cgroup_fd == -ENODEV)
		return fail(t, -ENODEV, "cgroup2 is not mounted");
	if (t->cgroup_fd == -ENOTTY)
		return fail(t, -ENOTTY, "%s is no directory of cgroup2", path);
	if (t->cgroup_fd < 0)
		return fail(t, t->cgroup_fd, "cgroup %s: %s", path, strerror(-t->cgroup_fd));
	return 0;
}

static struct kcm_rx_tune wanted(const struct tuning *t)
{
	const struct rx_tune_opts *o = t->o;
	char path[PATH_MAX];
	__u64 root = 0;
	int fd = cgroup_open(NULL, path, &root);
	struct kcm_rx_tune v = {
		.port = o->port,
		.mss = o->pages * KCM_RX_PAGE + (o->timestamps ? KCM_RX_TIMESTAMPS : 0),
		.pages = o->pages,
		.connect = o->connect,
		.cgroup_id = t->cgroup_id == root ? 0 : t->cgroup_id,
	};

	if (fd >= 0)
		close(fd);
	return v;
}

static int fill(struct tuning *t)
{
	struct kcm_rx_tune v = wanted(t);
	__u32 zero = 0;

	if (bpf_map_update_elem(bpf_map__fd(t->skel->maps.kcm_rx), &zero, &v, BPF_ANY))
		return fail(t, -errno, "map kcm_rx: %s", strerror(errno));
	return 0;
}

static int pin(struct tuning *t, int fd, const char *name)
{
	char path[PATHLEN];

	snprintf(path, sizeof(path), "%s/%s", t->txn.dir, name);
	return bpf_obj_pin(fd, path) ? fail(t, -errno, "pin %s: %s", path, strerror(errno)) : 0;
}

static int pin_all(struct tuning *t)
{
	_cleanup_fd_ int iter = bpf_link_create(bpf_program__fd(t->skel->progs.kcm_rx_adopt), 0,
						BPF_TRACE_ITER, NULL);
	_cleanup_fd_ int ops = -1;
	int err;

	if (iter < 0)
		return fail(t, -errno, "kcm_rx_adopt: %s", strerror(errno));
	err = pin(t, bpf_map__fd(t->skel->maps.kcm_rx), "kcm_rx");
	err = err ?: pin(t, iter, "kcm_rx_adopt");
	if (err)
		return err;
	ops = bpf_link_create(bpf_program__fd(t->skel->progs.kcm_rx_ops), t->cgroup_fd,
			      BPF_CGROUP_SOCK_OPS, NULL);
	if (ops < 0)
		return fail(t, -errno, "attach kcm_rx_ops to the cgroup: %s", strerror(errno));
	return pin(t, ops, "link_ops");
}

static int read_all(const char *path)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char buf[512];
	ssize_t n;

	if (fd < 0)
		return -errno;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		;
	return n < 0 ? -errno : 0;
}

/* Listeners that are there, of all network namespaces that we may enter. */
static int adopt(const char *name)
{
	_cleanup_fd_ int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	char path[KCM_PIN_PATH];
	struct netns_list l = { 0 };
	int err = kcm_pin_path(path, sizeof(path), RX_SYSTEM, name, "kcm_rx_adopt"), ret = 0;

	err = err ?: own < 0 ? -errno : netns_list(&l);
	if (err)
		return err;
	for (size_t i = 0; i < l.n && !ret; i++) {
		if (l.ns[i].fd >= 0 && setns(l.ns[i].fd, CLONE_NEWNET)) {
			ret = errno == EPERM ? 0 : -errno;
			continue;
		}
		ret = read_all(path);
		if (l.ns[i].fd >= 0 && setns(own, CLONE_NEWNET))
			ret = -errno;
	}
	netns_free(&l);
	return ret;
}

static int state(const char *name)
{
	struct kcm_pin_info info;
	char path[KCM_PIN_PATH];
	int err = kcm_pin_info(RX_SYSTEM, name, &info), fd;

	if (err)
		return err;
	if (info.layout != KCM_RX_LAYOUT)
		return -ESTALE;
	err = kcm_pin_path(path, sizeof(path), RX_SYSTEM, name, "kcm_rx");
	if (err)
		return err;
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : fd;
}

int kcm_rx_tune_read(const char *name, struct kcm_rx_tune *t)
{
	_cleanup_fd_ int fd = state(name);
	__u32 zero = 0;

	if (fd < 0)
		return fd;
	return bpf_map_lookup_elem(fd, &zero, t) ? -errno : 0;
}

/* 0: listeners that have what was set get the kernel's value. */
static int set_mss(const char *name, struct kcm_rx_tune *t, __u32 mss)
{
	_cleanup_fd_ int fd = state(name);
	__u32 zero = 0;

	if (fd < 0)
		return fd;
	if (t->mss)
		t->was = t->mss;
	t->mss = mss;
	return bpf_map_update_elem(fd, &zero, t, BPF_ANY) ? -errno : 0;
}

/* What is asked for is there: one that was killed may not have looked for listeners. */
static int same(struct tuning *t, const char *name)
{
	struct kcm_rx_tune want = wanted(t), is;
	int err = kcm_rx_tune_read(name, &is);

	if (err)
		return fail(t, err, KCM_PIN_ROOT "/" RX_SYSTEM "/%s: %s", name, strerror(-err));
	if (is.port != want.port || is.pages != want.pages || is.connect != want.connect ||
	    is.cgroup_id != want.cgroup_id || (is.mss && is.mss != want.mss))
		return fail(t, -EEXIST, "'%s' is there already, and does something else", name);
	t->was_there = true;
	return is.mss ? 0 : set_mss(name, &is, want.mss); /* an untune that was killed */
}

static int make(struct tuning *t, const char *name)
{
	int err = open_cgroup(t);

	if (err)
		return err;
	err = kcm_pin_begin(&t->txn, RX_SYSTEM, name, KCM_RX_LAYOUT, false);
	if (err == -EEXIST)
		return same(t, name);
	if (err)
		return fail(t, err, KCM_PIN_ROOT "/" RX_SYSTEM ": %s", strerror(-err));
	err = load(t);
	err = err ?: fill(t);
	err = err ?: pin_all(t);
	if (err)
		return err;
	err = kcm_pin_commit(&t->txn);
	return err ? fail(t, err, "rename %s: %s", t->txn.dir, strerror(-err)) : 0;
}

int kcm_rx_tune(const char *name, const struct rx_tune_opts *o, char *err, size_t size)
{
	struct tuning t = {
		.o = o, .txn.lock_fd = -1, .cgroup_fd = -1, .err = err, .err_size = size
	};
	int ret;

	if (!kcm_pin_name_ok(name))
		return fail(&t, -EINVAL, "'%s' is not a name: letters, digits, - and _, at most 31",
			    name);
	ret = make(&t, name);
	kcm_pin_abort(&t.txn); /* nothing after a commit */
	rx__destroy(t.skel);
	if (t.cgroup_fd >= 0)
		close(t.cgroup_fd);
	if (ret)
		return ret;
	ret = adopt(name);
	if (ret && !t.was_there)
		kcm_rx_untune(name, true);
	return ret ? fail(&t, ret, "look for listeners: %s", strerror(-ret)) : 0;
}

int kcm_rx_untune(const char *name, bool force)
{
	struct kcm_rx_tune t;
	int err = kcm_rx_tune_read(name, &t), ret;
	__u32 mss = err ? 0 : t.mss ?: t.was;
	/* Listeners of another version are not known; of what is not there kcm_pin_remove() tells.
	 */
	bool known = !err;

	if (err == -ESTALE || err == -ENODATA || err == -ENOENT)
		err = 0;
	if (known)
		err = set_mss(name, &t, 0);
	if (known && !err)
		err = adopt(name);
	ret = err && !force ? err : kcm_pin_remove(RX_SYSTEM, name);
	/* All of it or nothing, so that it can be tried again. */
	if (ret && known && !set_mss(name, &t, mss)) {
		adopt(name);
		set_mss(name, &t, mss); /* and counters */
	}
	return ret;
}

int kcm_rx_tune_trial(char *err, size_t size)
{
	struct tuning t = { .txn.lock_fd = -1, .cgroup_fd = -1, .err = err, .err_size = size };
	int ret = load(&t);

	rx__destroy(t.skel);
	return ret;
}
