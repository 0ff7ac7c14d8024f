// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* migrate_load.c - an instance of migrate: made, looked through again, removed. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include "../util.h"
#include "cgroup.h"
#include "migrate_load.h"
#include "migrate_view.h"
#include "netns.h"
#include "pin.h"
#include "migrate.skel.h"

#define PREFIX	"kcm_mg_"
#define LINK	"link_"
#define PATHLEN (KCM_PIN_PATH + 64)

#ifndef SO_DETACH_REUSEPORT_BPF
#define SO_DETACH_REUSEPORT_BPF 68
#endif

struct attaching {
	const char *name;
	const struct migrate_opts *o;
	struct kcm_pin_txn txn;
	struct migrate *skel;
	int cgroup_fd;
	__u64 cgroup_id;
	char *err;
	size_t err_size;
};

_printf_(3, 4) static int fail(struct attaching *a, int ret, const char *fmt, ...)
{
	va_list ap;

	if (a->err && a->err_size) {
		va_start(ap, fmt);
		vsnprintf(a->err, a->err_size, fmt, ap);
		va_end(ap);
	}
	return ret;
}

static int open_cgroup(struct attaching *a)
{
	char path[PATH_MAX];

	a->cgroup_fd = cgroup_open(a->o->cgroup, path, &a->cgroup_id);
	if (a->cgroup_fd == -ENODEV)
		return fail(a, -ENODEV, "cgroup2 is not mounted");
	if (a->cgroup_fd == -ENOTTY)
		return fail(a, -ENOTTY, "%s is no directory of cgroup2", path);
	if (a->cgroup_fd < 0)
		return fail(a, a->cgroup_fd, "cgroup %s: %s", path, strerror(-a->cgroup_fd));
	return 0;
}

static int load(struct attaching *a)
{
	const struct migrate_opts *o = a->o;
	struct migrate *s = a->skel = migrate__open();
	__u64 root = 0;
	char path[PATH_MAX];
	int fd, err;

	if (!s)
		return fail(a, -errno, "open BPF object: %s", strerror(errno));
	fd = cgroup_open(NULL, path, &root);
	if (fd >= 0)
		close(fd);
	s->rodata->kcm_mg_conf.port = o->port;
	s->rodata->kcm_mg_conf.cgroup_id = a->cgroup_id == root ? 0 : a->cgroup_id;
	bpf_program__set_autoload(s->progs.kcm_mg_bind4, o->reuseport);
	bpf_program__set_autoload(s->progs.kcm_mg_bind6, o->reuseport);
	bpf_program__set_autoload(s->progs.kcm_mg_plain, o->no_mptcp);
	if (o->policy == KCM_MG_CLIENT)
		bpf_map__set_max_entries(s->maps.kcm_mg_sticky, KCM_MG_STICKY);
	err = migrate__load(s);
	return err ? fail(a, err, "load BPF programs: %s", strerror(-err)) : 0;
}

static int fill(struct attaching *a)
{
	int fd = bpf_map__fd(a->skel->maps.kcm_mg);
	struct kcm_mg *mg = mmap(NULL, sizeof(*mg), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (mg == MAP_FAILED)
		return fail(a, -errno, "map kcm_mg: %s", strerror(errno));
	mg->ctl.port = a->o->port;
	mg->ctl.policy = a->o->policy;
	mg->ctl.manual = a->o->manual;
	mg->ctl.manual_number = a->o->manual;
	mg->ctl.cgroup_id = a->cgroup_id;
	mg->ctl.anchor = a->o->anchor;
	mg->ctl.anchor_backlog = a->o->anchor_backlog;
	mg->ctl.anchor_time_ms = a->o->anchor_time_ms;
	mg->ctl.sticky = bpf_map__max_entries(a->skel->maps.kcm_mg_sticky);
	munmap(mg, sizeof(*mg));
	return 0;
}

static bool for_cgroup(const struct bpf_program *p)
{
	enum bpf_prog_type type = bpf_program__type(p);

	return bpf_program__fd(p) >= 0 &&
	       (type == BPF_PROG_TYPE_SOCK_OPS || type == BPF_PROG_TYPE_CGROUP_SOCK ||
		type == BPF_PROG_TYPE_CGROUP_SOCK_ADDR);
}

static int attach_one(struct attaching *a, const struct bpf_program *p)
{
	const char *name = bpf_program__name(p);
	_cleanup_fd_ int link = bpf_link_create(bpf_program__fd(p), a->cgroup_fd,
						bpf_program__type(p) == BPF_PROG_TYPE_SOCK_OPS
							? BPF_CGROUP_SOCK_OPS
							: bpf_program__expected_attach_type(p),
						NULL);
	char path[PATHLEN];

	if (link < 0)
		return fail(a, -errno, "attach %s to the cgroup: %s", name, strerror(errno));
	snprintf(path, sizeof(path), "%s/" LINK "%s", a->txn.dir, name + strlen(PREFIX));
	return bpf_obj_pin(link, path) ? fail(a, -errno, "pin %s: %s", path, strerror(errno)) : 0;
}

static int pin_iter(struct attaching *a, const struct bpf_program *p)
{
	_cleanup_fd_ int link = bpf_link_create(bpf_program__fd(p), 0, BPF_TRACE_ITER, NULL);
	char path[PATHLEN];

	if (link < 0)
		return fail(a, -errno, "%s: %s", bpf_program__name(p), strerror(errno));
	snprintf(path, sizeof(path), "%s/%s", a->txn.dir, bpf_program__name(p));
	return bpf_obj_pin(link, path) ? fail(a, -errno, "pin %s: %s", path, strerror(errno)) : 0;
}

static int pin_all(struct attaching *a)
{
	char path[PATHLEN];
	struct bpf_program *p;
	struct bpf_map *m;
	int err = 0;

	bpf_object__for_each_map (m, a->skel->obj) {
		if (bpf_map__is_internal(m))
			continue;
		snprintf(path, sizeof(path), "%s/%s", a->txn.dir, bpf_map__name(m));
		if (bpf_map__pin(m, path))
			return fail(a, -errno, "pin %s: %s", path, strerror(errno));
	}
	snprintf(path, sizeof(path), "%s/kcm_mg_select", a->txn.dir);
	if (bpf_obj_pin(bpf_program__fd(a->skel->progs.kcm_mg_select), path))
		return fail(a, -errno, "pin %s: %s", path, strerror(errno));
	err = pin_iter(a, a->skel->progs.kcm_mg_owner);
	err = err ?: pin_iter(a, a->skel->progs.kcm_mg_adopt);
	/* Last: from here on listeners that open are registered. */
	bpf_object__for_each_program (p, a->skel->obj)
		if (!err && for_cgroup(p))
			err = attach_one(a, p);
	return err;
}

/* ---- who listens already ---- */

static int read_all(const char *dir, const char *file)
{
	char path[PATHLEN], buf[4096];
	_cleanup_fd_ int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	do {
		n = read(fd, buf, sizeof(buf));
	} while (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)));
	return n < 0 ? -errno : 0;
}

static int adopt_everywhere(const char *dir)
{
	_cleanup_fd_ int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	struct netns_list l;
	int err = own < 0 ? -errno : netns_list(&l), ret;

	if (err)
		return err;
	ret = read_all(dir, "kcm_mg_owner");
	for (size_t i = 0; i < l.n && !ret; i++) {
		if (l.ns[i].fd >= 0 && setns(l.ns[i].fd, CLONE_NEWNET))
			continue; /* not permitted: `show` lists what is registered */
		ret = read_all(dir, "kcm_mg_adopt");
		if (l.ns[i].fd >= 0 && setns(own, CLONE_NEWNET))
			ret = -errno;
	}
	netns_free(&l);
	return ret;
}

static void forget_seeds(const char *dir)
{
	char path[PATHLEN];
	_cleanup_fd_ int fd = -1;
	__u64 key;

	snprintf(path, sizeof(path), "%s/kcm_mg_seed", dir);
	fd = bpf_obj_get(path);
	while (fd >= 0 && !bpf_map_get_next_key(fd, NULL, &key))
		if (bpf_map_delete_elem(fd, &key))
			break;
}

/* Register who listens, give groups their selector. */
static int look_through(const char *name, struct migrate_found *f, struct attaching *a)
{
	struct mg_view v = MG_VIEW_NONE;
	__u64 adopted, refused;
	int err = mg_view_open(&v, name, true);

	if (err)
		return fail(a, err, "%s/" MG_SYSTEM "/%s: %s", KCM_PIN_ROOT, name, strerror(-err));
	adopted = v.mg->ctl.adopted;
	refused = v.mg->ctl.refused_listeners;
	err = adopt_everywhere(v.dir);
	forget_seeds(v.dir);
	if (!err) {
		migrate_select_all(&v, f);
		f->listeners = (unsigned int)(v.mg->ctl.adopted - adopted);
		f->refused = (unsigned int)(v.mg->ctl.refused_listeners - refused);
	}
	mg_view_close(&v);
	return err ? fail(a, err, "look for listeners: %s", strerror(-err)) : 0;
}

static int same_port(struct attaching *a)
{
	struct mg_view v = MG_VIEW_NONE;
	int err = mg_view_open(&v, a->name, false);
	__u32 port = err ? 0 : v.mg->ctl.port;

	mg_view_close(&v);
	if (err)
		return fail(a, err, "%s/" MG_SYSTEM "/%s: %s", KCM_PIN_ROOT, a->name,
			    strerror(-err));
	return port == a->o->port ? 0
				  : fail(a, -EEXIST, "'%s' is there for port %u", a->name, port);
}

/* Two selectors on a group: the later one would take it from the earlier one. */
static int check_other(const char *name, void *arg)
{
	struct mg_view v = MG_VIEW_NONE;
	struct attaching *a = arg;
	char path[PATH_MAX];
	int fd, ret = 0;

	if (streq(name, a->name) || mg_view_open(&v, name, false))
		return 0;
	if (v.mg->ctl.port == a->o->port) {
		fd = cgroup_open_id(v.mg->ctl.cgroup_id, path);
		if (v.mg->ctl.cgroup_id == a->cgroup_id ||
		    cgroup_inside(a->cgroup_fd, v.mg->ctl.cgroup_id) ||
		    (fd >= 0 && cgroup_inside(fd, a->cgroup_id)))
			ret = fail(a, -EADDRINUSE, "'%s' steers port %u there", name, a->o->port);
		if (fd >= 0)
			close(fd);
	}
	mg_view_close(&v);
	return ret;
}

static int make(struct attaching *a, struct migrate_found *f)
{
	int err = open_cgroup(a);

	err = err ?: kcm_pin_each(MG_SYSTEM, check_other, a);
	if (err)
		return err;
	err = kcm_pin_begin(&a->txn, MG_SYSTEM, a->name, KCM_MIGRATE_LAYOUT, false);
	if (err == -EEXIST) {
		f->was_there = true;
		return same_port(a);
	}
	if (err)
		return fail(a, err, "%s/" MG_SYSTEM ": %s", KCM_PIN_ROOT, strerror(-err));
	err = load(a);
	err = err ?: fill(a);
	err = err ?: pin_all(a);
	if (err)
		return err;
	err = kcm_pin_commit(&a->txn);
	return err ? fail(a, err, "rename %s: %s", a->txn.dir, strerror(-err)) : 0;
}

int kcm_migrate_attach(const char *name, const struct migrate_opts *o, struct migrate_found *f,
		       char *err, size_t size)
{
	struct attaching a = { .name = name,
			       .o = o,
			       .txn.lock_fd = -1,
			       .cgroup_fd = -1,
			       .err = err,
			       .err_size = size };
	char note[160];
	int ret;

	memset(f, 0, sizeof(*f));
	if (!kcm_pin_name_ok(name))
		return fail(&a, -EINVAL, "'%s' is not a name: letters, digits, - and _, at most 31",
			    name);
	ret = make(&a, f);
	kcm_pin_abort(&a.txn); /* nothing after a commit */
	migrate__destroy(a.skel);
	if (a.cgroup_fd >= 0)
		close(a.cgroup_fd);
	if (ret)
		return ret;
	ret = look_through(name, f, &a);
	if (!ret && !f->groups && !o->anchor)
		ret = fail(&a, -ESRCH, "nobody listens on port %u", o->port);
	if (ret && !f->was_there)
		kcm_migrate_detach(name, note, sizeof(note));
	return ret;
}

/* ---- and back ---- */

static bool selector_off(struct mg_view *v, unsigned int i)
{
	int one = 1;

	for (__u32 s = 0; s < v->mg->ctl.slots && s < KCM_MG_SLOTS; s++) {
		const struct kcm_mg_slot *slot = &v->mg->slot[s];
		_cleanup_fd_ int fd = -1;

		if (slot->group != i || !(slot->flags & KCM_MG_SLOT_USED) ||
		    (slot->flags & KCM_MG_SLOT_CLOSED))
			continue;
		fd = migrate_dup(slot->pid, slot->cookie);
		if (fd >= 0 &&
		    (!setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &one, sizeof(one)) ||
		     errno == ENOENT))
			return true;
	}
	return false;
}

int kcm_migrate_detach(const char *name, char *note, size_t size)
{
	struct mg_view v = MG_VIEW_NONE;
	int err = mg_view_open(&v, name, true);

	if (size)
		note[0] = '\0';
	for (unsigned int i = 0; !err && i < KCM_MG_GROUPS; i++) {
		struct kcm_mg_group *g = &v.mg->group[i];

		if ((g->flags & KCM_MG_GROUP_SELECTOR) && g->n && !selector_off(&v, i))
			snprintf(note, size,
				 "a group of %u listeners keeps the selector, which from now on "
				 "does as the kernel's hash: no right to its processes",
				 g->n);
	}
	mg_view_close(&v);
	err = kcm_pin_remove(MG_SYSTEM, name);
	return err;
}
