// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* sock_load.c - the BPF side of sock: load, pin, replace while it runs, remove. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include "../../bpf/sock.h"
#include "../util.h"
#include "pin.h"
#include "sock_attach.h"
#include "sock_cgroups.h"
#include "sock_iter.h"
#include "sock_load.h"
#include "sock_optmem.h"
#include "sock_sweep.h"
#include "sock.skel.h" /* uses types of bpf/sock.h */

#define SYSTEM	"sock"
#define PATHLEN (KCM_PIN_PATH + 64)

struct loading {
	struct sock *skel;
	struct sock_iter *iter;
	struct sock_links *links;
	struct kcm_pin_txn txn;
	__u32 slots;
	struct kcm_sk_cfg cfg; /* the skeleton lets go of its copy when it is loaded */
	bool over;	       /* over a running version: its maps are kept */
	bool same;	       /* and its programs are the same */
	bool switched;
	bool added;
	char *err;
	size_t err_size;
};

_printf_(3, 4) static int fail(struct loading *l, int ret, const char *fmt, ...)
{
	va_list ap;

	if (l->err && l->err_size) {
		va_start(ap, fmt);
		vsnprintf(l->err, l->err_size, fmt, ap);
		va_end(ap);
	}
	return ret;
}

static __u32 round_slots(__u32 n)
{
	__u32 p = KCM_SK_SLOTS_MIN;

	while (p < n && p < KCM_SK_SLOTS_MAX)
		p *= 2;
	return p;
}

/* What a running version was loaded with. */
static int running_cfg(const char *dir, struct kcm_sk_cfg *cfg)
{
	char path[PATHLEN];
	_cleanup_fd_ int fd = -1;
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info), key = 0;
	struct kcm_sk_ctl ctl;

	snprintf(path, sizeof(path), "%s/kcm_sk_ctl", dir);
	fd = bpf_obj_get(path);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	if (info.value_size != sizeof(ctl)) /* the kernel would write beyond ctl */
		return -ESTALE;
	if (bpf_map_lookup_elem(fd, &key, &ctl))
		return -errno;
	*cfg = ctl.cfg;
	return 0;
}

/* Take the maps of the running version. They must be what the programs were built for. */
static int reuse_maps(struct loading *l)
{
	struct bpf_map *m;

	bpf_object__for_each_map (m, l->skel->obj) {
		char path[PATHLEN];
		struct bpf_map_info info = { 0 };
		__u32 len = sizeof(info);
		_cleanup_fd_ int fd = -1;
		int err;

		if (bpf_map__is_internal(m))
			continue;
		snprintf(path, sizeof(path), "%s/%s", l->txn.final, bpf_map__name(m));
		fd = bpf_obj_get(path);
		if (fd < 0 && errno == ENOENT)
			continue; /* this version has a map more */
		if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
			return fail(l, -errno, "%s: %s", path, strerror(errno));
		if (info.type != bpf_map__type(m) || info.key_size != bpf_map__key_size(m) ||
		    info.value_size != bpf_map__value_size(m) ||
		    info.max_entries != bpf_map__max_entries(m))
			return fail(l, -EUCLEAN,
				    "%s is of another build of the same version; unload it first",
				    bpf_map__name(m));
		err = bpf_map__reuse_fd(m, fd);
		if (err)
			return fail(l, err, "%s: %s", path, strerror(-err));
	}
	return 0;
}

/* The programs' constants, and sizes of maps that follow from them. */
static int configure(struct loading *l)
{
	int cpus = libbpf_num_possible_cpus(), err;

	if (cpus < 0)
		return fail(l, cpus, "number of CPUs: %s", strerror(-cpus));
	l->skel = sock__open();
	if (!l->skel)
		return fail(l, -errno, "open BPF object: %s", strerror(errno));
	l->cfg = (struct kcm_sk_cfg){
		.slots = l->slots,
		.slot_mask = l->slots - 1,
		.cpus = (__u32)cpus,
	};
	memcpy((void *)&l->skel->rodata->kcm_sk_cfg, &l->cfg, sizeof(l->cfg));
	err = bpf_map__set_max_entries(l->skel->maps.kcm_sk_hot, l->cfg.slots + l->cfg.cpus);
	err = err ?: bpf_map__set_max_entries(l->skel->maps.kcm_sk_in, l->cfg.slots + l->cfg.cpus);
	err = err
		      ?: bpf_map__set_max_entries(l->skel->maps.kcm_sk_more,
						  l->cfg.slots + l->cfg.cpus);
	if (err)
		return fail(l, err, "size maps: %s", strerror(-err));
	return l->over ? reuse_maps(l) : 0;
}

static int write_ctl(struct loading *l)
{
	struct kcm_sk_ctl ctl = { .cfg = l->cfg };

	if (bpf_map_update_elem(bpf_map__fd(l->skel->maps.kcm_sk_ctl), &(__u32){ 0 }, &ctl,
				BPF_ANY))
		return fail(l, -errno, "kcm_sk_ctl: %s", strerror(errno));
	return 0;
}

static int load(struct loading *l)
{
	int err = sock__load(l->skel);

	if (err == -ENOMEM || err == -E2BIG)
		return fail(l, err, "%u slots: %s", l->slots, strerror(-err));
	if (err)
		return fail(l, err, "load BPF programs: %s", strerror(-err));
	err = l->over ? 0 : write_ctl(l);
	if (err)
		return err;
	return sock_iter_load(&l->iter, l->skel->obj, &l->cfg, l->over ? l->txn.final : NULL,
			      l->err, l->err_size);
}

static int pin_objects(struct loading *l)
{
	char path[PATHLEN];
	struct bpf_program *p;
	struct bpf_map *m;

	bpf_object__for_each_map (m, l->skel->obj) {
		if (bpf_map__is_internal(m))
			continue;
		snprintf(path, sizeof(path), "%s/%s", l->txn.dir, bpf_map__name(m));
		/* Not bpf_map__pin(): it refuses a map that is pinned elsewhere too. */
		if (bpf_obj_pin(bpf_map__fd(m), path))
			return fail(l, -errno, "pin %s: %s", path, strerror(errno));
	}
	bpf_object__for_each_program (p, l->skel->obj) {
		snprintf(path, sizeof(path), "%s/%s", l->txn.dir, bpf_program__name(p));
		if (bpf_obj_pin(bpf_program__fd(p), path))
			return fail(l, -errno, "pin %s: %s", path, strerror(errno));
	}
	return sock_iter_pin(l->iter, l->txn.dir, l->err, l->err_size);
}

/* What people read: known without the name of the instance. */
static int make_aliases(struct loading *l)
{
	int err = kcm_pin_alias(&l->txn, "snapshot", SOCK_ITER_SNAPSHOT);

	for (int i = 0; i < SOCK_ITER_PUBLIC && !err; i++)
		err = kcm_pin_alias(&l->txn, sock_iter_names[i], sock_iter_names[i]);
	return err ? fail(l, err, "links in %s/" SYSTEM ": %s", KCM_PIN_ROOT, strerror(-err)) : 0;
}

/*
 * The digest of a pinned program, or of an iterator's; "" of other pins. From fdinfo: a link's
 * program can be had by its id only, for which one needs CAP_SYS_ADMIN.
 */
static void read_tag(const char *dir, const char *file, char tag[32])
{
	char path[PATHLEN + 256], line[128];
	_cleanup_fd_ int fd = -1;
	_cleanup_file_ FILE *f = NULL;

	tag[0] = '\0';
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "prog_tag: %31s", tag) == 1)
			return;
}

/* Are the programs that are staged the same as those that run? */
static bool all_same(const struct loading *l)
{
	_cleanup_dir_ DIR *d = opendir(l->txn.dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char old[32], new[32];

		if (e->d_type != DT_REG)
			continue;
		read_tag(l->txn.final, e->d_name, old);
		read_tag(l->txn.dir, e->d_name, new);
		if (strcmp(old, new))
			return false;
	}
	return d != NULL;
}

static int attach(struct loading *l, const struct sock_load_opts *o)
{
	static const char *const root[] = { NULL };
	struct sock_cgroup has[SOCK_CGROUPS];
	const char *const *add = o->n_cgroups ? o->cgroups : l->over ? NULL : root;
	size_t n_add = o->n_cgroups ? o->n_cgroups : l->over ? 0 : 1, before;
	int n = 0, err;

	l->links = sock_links_new();
	if (!l->links)
		return -ENOMEM;
	if (l->over) {
		n = sock_links_cgroups(l->txn.final, has, SOCK_CGROUPS);
		if (n < 0)
			return fail(l, n, "links in %s: %s", l->txn.final, strerror(-n));
		l->switched = true;
		err = sock_links_take(l->links, l->skel->obj, l->txn.final);
		if (err)
			return fail(l, err, "exchange programs: %s", strerror(-err));
	}
	before = sock_links_count(l->links);
	if (l->over && !before && !n_add)
		return fail(l, -EXDEV,
			    "every cgroup it was on has been removed; unload first, "
			    "or give --cgroup");
	err = l->over ? sock_links_fill(l->links, l->skel->obj) : 0;
	err = err
		      ?: sock_cgroups_add(l->links, l->skel->obj, add, n_add, has, n, l->err,
					  l->err_size);
	l->added = sock_links_count(l->links) != before;
	if (err)
		return err;
	err = sock_links_pin(l->links, l->txn.dir);
	return err ? fail(l, err, "pin links: %s", strerror(-err)) : 0;
}

static int begin(struct loading *l, const struct sock_load_opts *o)
{
	struct kcm_pin_info info;
	struct kcm_sk_cfg cfg = { 0 };
	int err = kcm_pin_begin(&l->txn, SYSTEM, SOCK_INSTANCE, KCM_SOCK_LAYOUT, true);

	if (err)
		return err == -ESTALE
			       ? err
			       : fail(l, err, "%s/" SYSTEM ": %s", KCM_PIN_ROOT, strerror(-err));
	l->over = l->txn.replaces && !kcm_pin_info(SYSTEM, SOCK_INSTANCE, &info) &&
		  info.layout == KCM_SOCK_LAYOUT;
	if (l->over) {
		err = running_cfg(l->txn.final, &cfg);
		if (err)
			return fail(l, err, "%s/kcm_sk_ctl: %s", l->txn.final, strerror(-err));
	}
	l->slots = o->slots ? round_slots(o->slots) : cfg.slots ? cfg.slots : KCM_SK_SLOTS;
	if (l->over && l->slots != cfg.slots)
		return fail(l, -EXDEV, "it runs with %u slots, %u are asked for; unload first",
			    cfg.slots, l->slots);
	return 0;
}

static int try_load(struct loading *l, const struct sock_load_opts *o)
{
	/* First what takes no time: the verifier does. */
	int err = sock_cgroups_check(o->cgroups, o->n_cgroups, l->err, l->err_size);

	err = err ?: begin(l, o);
	err = err ?: configure(l);
	err = err ?: load(l);
	if (err || o->trial)
		return err;
	err = pin_objects(l);
	if (err)
		return err;
	l->same = l->over && all_same(l);
	err = attach(l, o);
	if (err)
		return err;
	if (l->same && !l->added)
		return -EEXIST;
	err = make_aliases(l);
	if (err)
		return err;
	err = kcm_pin_commit(&l->txn);
	return err ? fail(l, err, "rename %s: %s", l->txn.dir, strerror(-err)) : 0;
}

int kcm_sock_load(const struct sock_load_opts *opts, char *err, size_t size)
{
	struct loading l = { .txn.lock_fd = -1, .err = err, .err_size = size };
	struct sock_sweep sweep;
	int ret = try_load(&l, opts), late;

	if (ret && l.switched)
		sock_links_undo(l.links);
	kcm_pin_abort(&l.txn); /* nothing after a commit */
	sock_links_free(l.links);
	sock_iter_free(l.iter);
	sock__destroy(l.skel);
	if ((ret && ret != -EEXIST) || opts->trial)
		return ret;
	/* What fails from here on is tried by the next load, too: no reason to take it all back. */
	if (kcm_sock_sweep(opts->sweep ? opts->sweep : &sweep, err, size) || !opts->optmem)
		return ret;
	late = sock_optmem_raise();
	if (late)
		fail(&l, 0, SOCK_OPTMEM ": %s", strerror(-late));
	return ret;
}
