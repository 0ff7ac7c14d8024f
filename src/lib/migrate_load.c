// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* migrate_load.c - an instance of migrate: made, looked through again, removed. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include "../util.h"
#include "cgroup.h"
#include "migrate_age.h"
#include "migrate_load.h"
#include "migrate_udp.h"
#include "pin.h"
#include "migrate.skel.h"
#include "migudp.skel.h"

#define PREFIX	"kcm_mg_"
#define LINK	"link_"
#define PATHLEN (KCM_PIN_PATH + 64)

struct attaching {
	const char *name;
	const struct migrate_opts *o;
	struct kcm_pin_txn txn;
	struct bpf_object *obj;
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

/* Also true of a kernel whose release cannot be read: what is for older ones does no harm. */
static bool before(unsigned int major, unsigned int minor)
{
	unsigned int is_major, is_minor;
	struct utsname u;

	return uname(&u) || sscanf(u.release, "%u.%u", &is_major, &is_minor) != 2 ||
	       is_major < major || (is_major == major && is_minor < minor);
}

static void conf_set(struct kcm_mg_conf *conf, const struct attaching *a)
{
	__u64 root = 0;
	char path[PATH_MAX];
	int fd = cgroup_open(NULL, path, &root);

	if (fd >= 0)
		close(fd);
	conf->port = a->o->port;
	conf->protocol = a->o->udp ? IPPROTO_UDP : IPPROTO_TCP;
	conf->cgroup_id = a->cgroup_id == root ? 0 : a->cgroup_id;
	conf->quic = a->o->quic;
}

static struct bpf_object *open_tcp(const struct attaching *a)
{
	const struct migrate_opts *o = a->o;
	struct migrate *s = migrate__open();
	struct bpf_object *obj;

	if (!s)
		return NULL;
	conf_set(&s->rodata->kcm_mg_conf, a);
	bpf_program__set_autoload(s->progs.kcm_mg_bind4, o->reuseport);
	bpf_program__set_autoload(s->progs.kcm_mg_bind6, o->reuseport);
	bpf_program__set_autoload(s->progs.kcm_mg_plain, o->no_mptcp);
	bpf_program__set_autoload(s->progs.kcm_mg_opt, !o->no_setsockopt);
	bpf_program__set_autoload(s->progs.kcm_mg_end, before(6, 12));
	if (o->policy == KCM_MG_CLIENT)
		bpf_map__set_max_entries(s->maps.kcm_mg_sticky, KCM_MG_STICKY);
	obj = TAKE_PTR(s->obj);
	migrate__destroy(s);
	return obj;
}

static struct bpf_object *open_udp(const struct attaching *a)
{
	const struct migrate_opts *o = a->o;
	struct migudp *s = migudp__open();
	struct bpf_object *obj;

	if (!s)
		return NULL;
	conf_set(&s->rodata->kcm_mg_conf, a);
	bpf_program__set_autoload(s->progs.kcm_mg_bind4, o->reuseport);
	bpf_program__set_autoload(s->progs.kcm_mg_bind6, o->reuseport);
	bpf_map__set_max_entries(s->maps.kcm_mg_flows, o->flows_max);
	bpf_map__set_max_entries(s->maps.kcm_mg_cids, o->quic ? o->flows_max : 1);
	obj = TAKE_PTR(s->obj);
	migudp__destroy(s);
	return obj;
}

static int load(struct attaching *a)
{
	int err;

	a->obj = a->o->udp ? open_udp(a) : open_tcp(a);
	if (!a->obj)
		return fail(a, -errno, "open BPF object: %s", strerror(errno));
	err = bpf_object__load(a->obj);
	return err ? fail(a, util_load_err(err), "load BPF programs: %s", strerror(-err)) : 0;
}

static int fill(struct attaching *a)
{
	struct bpf_map *sticky = bpf_object__find_map_by_name(a->obj, "kcm_mg_sticky");
	int fd = bpf_object__find_map_fd_by_name(a->obj, "kcm_mg");
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
	mg->ctl.sticky = sticky ? bpf_map__max_entries(sticky) : 0;
	mg->ctl.protocol = a->o->udp ? IPPROTO_UDP : IPPROTO_TCP;
	mg->ctl.flow_timeout_ms = a->o->flow_timeout_ms;
	mg->ctl.flows_max = a->o->flows_max;
	mg->ctl.quic = a->o->quic;
	munmap(mg, sizeof(*mg));
	return 0;
}

static bool for_cgroup(const struct bpf_program *p)
{
	enum bpf_prog_type type = bpf_program__type(p);

	return bpf_program__fd(p) >= 0 &&
	       (type == BPF_PROG_TYPE_SOCK_OPS || type == BPF_PROG_TYPE_CGROUP_SOCK ||
		type == BPF_PROG_TYPE_CGROUP_SOCK_ADDR || type == BPF_PROG_TYPE_CGROUP_SOCKOPT);
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

static int pin_iter(struct attaching *a, const char *name)
{
	struct bpf_program *p = bpf_object__find_program_by_name(a->obj, name);
	_cleanup_fd_ int link = bpf_link_create(bpf_program__fd(p), 0, BPF_TRACE_ITER, NULL);
	char path[PATHLEN];

	if (link < 0)
		return fail(a, -errno, "%s: %s", name, strerror(errno));
	snprintf(path, sizeof(path), "%s/%s", a->txn.dir, name);
	return bpf_obj_pin(link, path) ? fail(a, -errno, "pin %s: %s", path, strerror(errno)) : 0;
}

static int pin_prog(struct attaching *a, const char *name)
{
	struct bpf_program *p = bpf_object__find_program_by_name(a->obj, name);
	char path[PATHLEN];

	snprintf(path, sizeof(path), "%s/%s", a->txn.dir, name);
	return bpf_obj_pin(bpf_program__fd(p), path)
		       ? fail(a, -errno, "pin %s: %s", path, strerror(errno))
		       : 0;
}

static int pin_all(struct attaching *a)
{
	char path[PATHLEN];
	struct bpf_program *p;
	struct bpf_map *m;
	int err = 0;

	bpf_object__for_each_map (m, a->obj) {
		if (bpf_map__is_internal(m))
			continue;
		snprintf(path, sizeof(path), "%s/%s", a->txn.dir, bpf_map__name(m));
		if (bpf_map__pin(m, path))
			return fail(a, -errno, "pin %s: %s", path, strerror(errno));
	}
	err = pin_prog(a, "kcm_mg_select");
	err = err ?: a->o->udp ? pin_prog(a, "kcm_mg_tell") : 0;
	err = err ?: pin_iter(a, "kcm_mg_owner");
	err = err ?: pin_iter(a, "kcm_mg_adopt");
	/* Last: from here on listeners that open are registered. */
	bpf_object__for_each_program (p, a->obj)
		if (!err && for_cgroup(p))
			err = attach_one(a, p);
	return err;
}

/* ---- who listens already ---- */

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
	err = migrate_adopt(v.dir);
	if (!err && mg_is_udp(v.mg))
		mg_settle(&v);
	else if (!err && !f->was_there)
		mg_number_listeners(&v);
	if (!err) {
		migrate_select_all(&v, f);
		f->listeners = (unsigned int)(v.mg->ctl.adopted - adopted);
		f->refused = (unsigned int)(v.mg->ctl.refused_listeners - refused);
	}
	migrate_forget_owners(v.dir);
	mg_view_close(&v);
	return err ? fail(a, err, "look for listeners: %s", strerror(-err)) : 0;
}

/* What can be changed without a new instance. */
static void take_options(struct mg_view *v, const struct migrate_opts *o)
{
	if (o->udp)
		v->mg->ctl.flow_timeout_ms = o->flow_timeout_ms;
	if (!o->anchor)
		return;
	v->mg->ctl.anchor_backlog = o->anchor_backlog;
	v->mg->ctl.anchor_time_ms = o->anchor_time_ms;
}

static int same_port(struct attaching *a)
{
	struct mg_view v = MG_VIEW_NONE;
	int err = mg_view_open(&v, a->name, true);
	bool udp = !err && mg_is_udp(v.mg);
	__u64 cgroup_id = err ? 0 : v.mg->ctl.cgroup_id;
	__u32 port = err ? 0 : v.mg->ctl.port;

	if (!err && udp == a->o->udp && port == a->o->port && cgroup_id == a->cgroup_id)
		take_options(&v, a->o);
	mg_view_close(&v);
	if (err)
		return fail(a, err, "%s/" MG_SYSTEM "/%s: %s", KCM_PIN_ROOT, a->name,
			    strerror(-err));
	if (port != a->o->port)
		return fail(a, -EEXIST, "'%s' is there for port %u", a->name, port);
	if (udp != a->o->udp)
		return fail(a, -EEXIST, "'%s' is there for %s", a->name, udp ? "UDP" : "TCP");
	return cgroup_id == a->cgroup_id
		       ? 0
		       : fail(a, -EEXIST, "'%s' is there for another cgroup", a->name);
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
	if (v.mg->ctl.port == a->o->port && mg_is_udp(v.mg) == a->o->udp) {
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

	if (err)
		return err;
	err = kcm_pin_begin(&a->txn, MG_SYSTEM, a->name, KCM_MIGRATE_LAYOUT, false);
	if (err == -EEXIST) {
		f->was_there = true;
		return same_port(a);
	}
	if (err)
		return fail(a, err, "%s/" MG_SYSTEM ": %s", KCM_PIN_ROOT, strerror(-err));
	/* Under the lock: of two that begin at the same time one finds the other. */
	err = kcm_pin_each(MG_SYSTEM, check_other, a);
	if (err)
		return err;
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
	bpf_object__close(a.obj);
	if (a.cgroup_fd >= 0)
		close(a.cgroup_fd);
	if (ret)
		return ret;
	ret = look_through(name, f, &a);
	if (!ret && !f->groups && !o->anchor && !o->reuseport && !o->udp)
		ret = fail(&a, -ESRCH, "nobody listens on port %u", o->port);
	if (ret && !f->was_there)
		kcm_migrate_detach(name, note, sizeof(note));
	return ret;
}

static int trial(const struct migrate_opts *o, char *err, size_t size)
{
	struct attaching a = {
		.o = o, .txn.lock_fd = -1, .cgroup_fd = -1, .err = err, .err_size = size
	};
	int ret = load(&a);

	bpf_object__close(a.obj);
	return ret;
}

int kcm_migrate_trial(char *err, size_t size)
{
	static const struct migrate_opts all[] = {
		{ .port = 1, .reuseport = true, .no_mptcp = true },
		{ .port = 1, .reuseport = true, .udp = true, .quic = true, .flows_max = 1 },
	};

	return trial(&all[0], err, size) ?: trial(&all[1], err, size);
}
