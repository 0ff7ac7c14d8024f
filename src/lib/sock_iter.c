// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* sock_iter.c - iterators of sock: load, pin. Running them: sock_iter_run.c. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <bpf/bpf.h>
#include "../util.h"
#include "pin.h"
#include "sock_iter.h"
#include "sockiter.skel.h"

const char *const sock_iter_names[SOCK_ITERS] = {
	[SOCK_ITER_REFRESH] = "refresh",     [SOCK_ITER_SHOW] = "show",
	[SOCK_ITER_SHOW_REST] = "show_rest", [SOCK_ITER_JSON] = "json",
	[SOCK_ITER_JSON_REST] = "json_rest", [SOCK_ITER_ADOPT_TCP] = "adopt_tcp",
	[SOCK_ITER_ADOPT_UDP] = "adopt_udp", [SOCK_ITER_RELIMIT] = "relimit",
	[SOCK_ITER_UNLIMIT] = "unlimit",
};

struct sock_iter {
	struct sockiter *skel;
	bool by_files; /* the kernel lets no program walk a map */
	struct bpf_link *links[SOCK_ITERS];
};

_printf_(4, 5) static int fail(char *err, size_t size, int ret, const char *fmt, ...)
{
	va_list ap;

	if (err && size) {
		va_start(ap, fmt);
		vsnprintf(err, size, fmt, ap);
		va_end(ap);
	}
	return ret;
}

/* The maps that only the iterators have. */
static bool own_map(const char *name)
{
	static const char *const own[] = { SOCK_ITER_SNAPSHOT, "kcm_sk_sweep",	 "kcm_sk_cgroups",
					   "kcm_sk_lports",    "kcm_sk_scratch", "kcm_sk_owners",
					   "kcm_sk_met" };

	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		if (streq(own[i], name))
			return true;
	return false;
}

/* A running version's map, if it fits. What is in it can be had again, but not its readers. */
static int take_old(struct bpf_map *m, const char *old_dir)
{
	char path[KCM_PIN_PATH + 64];
	_cleanup_fd_ int fd = -1;
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	snprintf(path, sizeof(path), "%s/%s", old_dir, bpf_map__name(m));
	fd = bpf_obj_get(path);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) || info.type != bpf_map__type(m) ||
	    info.key_size != bpf_map__key_size(m) || info.value_size != bpf_map__value_size(m) ||
	    info.max_entries != bpf_map__max_entries(m))
		return 0;
	return bpf_map__reuse_fd(m, fd);
}

static int take_maps(struct sockiter *skel, const struct bpf_object *sock, const char *old_dir)
{
	struct bpf_map *m;

	bpf_object__for_each_map (m, skel->obj) {
		const char *name = bpf_map__name(m);
		int fd, err = 0;

		if (bpf_map__is_internal(m))
			continue;
		fd = bpf_object__find_map_fd_by_name(sock, name);
		if (fd >= 0)
			err = bpf_map__reuse_fd(m, fd);
		else if (!own_map(name)) /* declared with the others, and not used here */
			err = bpf_map__set_autocreate(m, false);
		else if (old_dir)
			err = take_old(m, old_dir);
		if (err)
			return err;
	}
	return 0;
}

static const struct bpf_map *map_of(const struct sockiter *s, enum sock_iter_file file)
{
	switch (file) {
	case SOCK_ITER_SHOW:
	case SOCK_ITER_JSON:
		return s->maps.kcm_sk_hot;
	case SOCK_ITER_REFRESH:
	case SOCK_ITER_SHOW_REST:
	case SOCK_ITER_JSON_REST:
		return s->maps.kcm_sk_store;
	default:
		return NULL;
	}
}

static struct bpf_program *prog_of(const struct sockiter *s, enum sock_iter_file file, bool files)
{
	char name[32];

	snprintf(name, sizeof(name), "kcm_%s_%s", files ? "sf" : "sk", sock_iter_names[file]);
	return bpf_object__find_program_by_name(s->obj, name);
}

/* Of two programs for a file load the one that the kernel permits. */
static int choose(struct sock_iter *it)
{
	int err = 0;

	it->by_files = !sock_iter_maps_permitted();
	for (int i = 0; i < SOCK_ITER_PUBLIC; i++) {
		bpf_program__set_autoload(prog_of(it->skel, i, true), it->by_files);
		bpf_program__set_autoload(prog_of(it->skel, i, false), !it->by_files);
	}
	if (!it->by_files)
		err = bpf_map__set_autocreate(it->skel->maps.kcm_sk_met, false);
	return err;
}

static int attach(struct sock_iter *it, char *err, size_t size)
{
	for (int i = 0; i < SOCK_ITERS; i++) {
		bool files = it->by_files && i < SOCK_ITER_PUBLIC;
		const struct bpf_map *m = files ? NULL : map_of(it->skel, i);
		union bpf_iter_link_info info = { .map.map_fd = m ? (__u32)bpf_map__fd(m) : 0 };
		LIBBPF_OPTS(bpf_iter_attach_opts, o, .link_info = &info,
			    .link_info_len = sizeof(info));
		struct bpf_program *p = prog_of(it->skel, i, files);

		if (!p)
			return fail(err, size, -ENOENT, "no iterator %s", sock_iter_names[i]);
		it->links[i] = bpf_program__attach_iter(p, m ? &o : NULL);
		if (!it->links[i])
			return fail(err, size, -errno, "attach iterator %s: %s", sock_iter_names[i],
				    strerror(errno));
	}
	return 0;
}

int sock_iter_load(struct sock_iter **out, const struct bpf_object *sock,
		   const struct kcm_sk_cfg *cfg, const char *old_dir, char *err, size_t size)
{
	struct sock_iter *it = calloc(1, sizeof(*it));
	int ret;

	if (!it)
		return -ENOMEM;
	it->skel = sockiter__open();
	if (!it->skel) {
		ret = fail(err, size, -errno, "open BPF object: %s", strerror(errno));
		goto out;
	}
	memcpy((void *)&it->skel->rodata->kcm_sk_cfg, cfg, sizeof(*cfg));
	ret = 0;
	if (cfg->slots > KCM_SK_SNAPSHOT / 2)
		ret = bpf_map__set_max_entries(it->skel->maps.kcm_sk_snap, cfg->slots * 2);
	ret = ret ?: choose(it);
	ret = ret ?: take_maps(it->skel, sock, old_dir);
	if (ret) {
		fail(err, size, ret, "maps of iterators: %s", strerror(-ret));
		goto out;
	}
	ret = sockiter__load(it->skel);
	if (ret) {
		fail(err, size, ret, "load iterators: %s", strerror(-ret));
		goto out;
	}
	ret = attach(it, err, size);
	if (!ret)
		*out = TAKE_PTR(it);
out:
	sock_iter_free(it);
	return ret;
}

int sock_iter_pin(struct sock_iter *it, const char *dir, char *err, size_t size)
{
	char path[KCM_PIN_PATH + 64];
	struct bpf_map *m;

	bpf_object__for_each_map (m, it->skel->obj) {
		if (!own_map(bpf_map__name(m)) || bpf_map__fd(m) < 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, bpf_map__name(m));
		/* Not bpf_map__pin(): it refuses a map that is pinned elsewhere too. */
		if (bpf_obj_pin(bpf_map__fd(m), path))
			return fail(err, size, -errno, "pin %s: %s", path, strerror(errno));
	}
	for (int i = 0; i < SOCK_ITERS; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, sock_iter_names[i]);
		if (bpf_obj_pin(bpf_link__fd(it->links[i]), path))
			return fail(err, size, -errno, "pin %s: %s", path, strerror(errno));
	}
	return 0;
}

void sock_iter_free(struct sock_iter *it)
{
	if (!it)
		return;
	for (int i = 0; i < SOCK_ITERS; i++)
		bpf_link__destroy(it->links[i]);
	sockiter__destroy(it->skel);
	free(it);
}
