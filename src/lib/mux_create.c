// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* mux_create.c - make, pin and remove the BPF side of a mux. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "../util.h"
#include "kernel.h"
#include "mux_file.h"
#include "pin.h"
#include "queue.h"
#include "mux.skel.h" /* these use types of bpf/mux.h */
#include "muxstrp.skel.h"

#define REGION_BYTES (2ULL << 20)
/* Whole chunks only: positions are masked, one that crossed 2 MiB would go on at the start. */
#define CHUNKS_PER_REGION(size) ((KCM_REGION_MASK + 1) / (size))

static const uint32_t class_bytes[KCM_CLASSES] = { KCM_CHUNK0_BYTES, KCM_CHUNK1_BYTES,
						   KCM_CHUNK2_BYTES };

__attribute__((format(printf, 4, 5))) static int fail(char *err, size_t len, int ret,
						      const char *fmt, ...)
{
	va_list ap;

	if (err && len) {
		va_start(ap, fmt);
		vsnprintf(err, len, fmt, ap);
		va_end(ap);
	}
	return ret;
}

/* How many 2 MiB regions each class gets of @regions: 1/8, 3/8, 1/2, at least one each. */
static void split_regions(uint32_t regions, uint32_t out[KCM_CLASSES])
{
	out[0] = regions / 8 ? regions / 8 : 1;
	out[1] = regions * 3 / 8 ? regions * 3 / 8 : 1;
	out[2] = regions - out[0] - out[1];
}

static int fill_conf(struct kcm_mux_conf *conf, const struct kcm_mux_opts *in,
		     uint32_t regions[KCM_CLASSES], char *err, size_t el)
{
	struct kcm_mux_opts o = { 0 };
	struct kcm_mux_cfg *cfg = &conf->cfg;
	uint32_t n = 0, total, cells;

	if (in->sz < offsetof(struct kcm_mux_opts, dispatch) || in->sz > sizeof(o))
		return fail(err, el, -EINVAL, "kcm_mux_opts of another size (%zu)", in->sz);
	memcpy(&o, in, in->sz);
	if (!o.frame.kind || !o.frame.max_bytes)
		return fail(err, el, -EINVAL, "no frame descriptor");
	if (kcm_frame_check(&o.frame))
		return fail(err, el, -EINVAL, "the frame descriptor contradicts itself");
	if (o.dispatch > KCM_DISPATCH_KEY)
		return fail(err, el, -EINVAL, "dispatch policy %d is not known", (int)o.dispatch);
	if (o.dispatch == KCM_DISPATCH_KEY && (!o.key_bytes || o.key_bytes > 8 || o.key_off > 4096))
		return fail(err, el, -EINVAL, "a key is 1 to 8 bytes at an offset up to 4096");
	if (o.strparser && o.frame.kind != KCM_FRAME_LENGTH && o.frame.kind != KCM_FRAME_VARINT &&
	    o.frame.kind != KCM_FRAME_FIXED)
		return fail(
			err, el, -EINVAL,
			"mode strparser needs a length in a message's first 64 bytes; use ring");
	if (o.strparser && o.frame.max_bytes > KCM_CHUNK2_BYTES) {
		/* The stream parser refuses what is longer than SO_RCVBUF anyway. */
		o.frame.max_bytes = KCM_CHUNK2_BYTES;
	}
	if (!o.conns)
		o.conns = 4096;
	if (o.conns > 1 << 20)
		return fail(err, el, -EINVAL, "%u connections: at most %u", o.conns, 1 << 20);
	if (!o.workers)
		o.workers = 16;
	if (o.workers > KCM_WORKERS_MAX)
		return fail(err, el, -EINVAL, "%u workers: at most %d", o.workers, KCM_WORKERS_MAX);
	if (!o.arena_bytes)
		o.arena_bytes = 16 << 20;
	if (o.arena_bytes < 3 * REGION_BYTES || o.arena_bytes > 1ULL << 30)
		return fail(err, el, -EINVAL, "arena of %llu bytes: 6 MiB to 1 GiB",
			    (unsigned long long)o.arena_bytes);
	if (!o.big_bytes) {
		o.big_bytes = 64 << 20;
		if (o.big_bytes < 2ULL * o.frame.max_bytes)
			o.big_bytes = 2ULL * o.frame.max_bytes;
	}
	if (o.big_bytes < o.frame.max_bytes + 4096ULL)
		return fail(err, el, -EINVAL,
			    "big-message memory of %llu bytes is less than the longest message, %u",
			    (unsigned long long)o.big_bytes, o.frame.max_bytes);
	o.big_bytes = (o.big_bytes + 4095) & ~4095ULL;
	split_regions((uint32_t)((o.arena_bytes + REGION_BYTES - 1) / REGION_BYTES), regions);
	for (int c = 0; c < KCM_CLASSES; c++) {
		cfg->first_chunk[c] = n;
		cfg->n_chunks[c] = regions[c] * CHUNKS_PER_REGION(class_bytes[c]);
		n += cfg->n_chunks[c];
		conf->n_regions += regions[c];
	}
	total = n;
	if (total > KCM_CHUNKS_MAX)
		return fail(err, el, -EINVAL,
			    "arena of %llu bytes: too many chunks, at most 768 MiB",
			    (unsigned long long)o.arena_bytes);
	/* Twice over for redelivered chunks: a lane that everybody empties can't be full. */
	for (cells = 64; cells < 2 * total; cells *= 2)
		;
	cfg->policy = (enum kcm_mux_policy)o.dispatch;
	cfg->mode = o.strparser ? KCM_MODE_STRPARSER : KCM_MODE_RING;
	cfg->n_conns = o.conns;
	cfg->cell_mask = cells - 1;
	cfg->key_off = o.key_off;
	cfg->key_bytes = o.key_bytes;
	cfg->asm_notify = 1;
	cfg->grace_ns = (o.grace_us ? o.grace_us : 200) * 1000;
	cfg->max_bytes = o.frame.max_bytes;
	conf->layout = KCM_MUX_LAYOUT;
	conf->big_bytes = o.big_bytes;
	conf->tx_limit_bytes = o.tx_limit_bytes ? o.tx_limit_bytes : 4 << 20;
	conf->asm_timeout_ms = o.asm_timeout_ms;
	conf->n_workers = o.workers;
	conf->at_least_once = !!o.at_least_once;
	conf->keep_on_error = !!o.keep_on_error;
	conf->frame = o.frame;
	return 0;
}

/* The object of a mode, and its constants. Both objects have the same maps. */
struct mux_obj {
	struct mux *ring;
	struct muxstrp *strp;
	struct bpf_object *obj;
	void *cfg, *frame;
};

static int obj_open(struct mux_obj *o, enum kcm_mux_mode mode)
{
	if (mode == KCM_MODE_RING) {
		o->ring = mux__open();
		if (!o->ring)
			return -errno;
		o->obj = o->ring->obj;
		o->cfg = (void *)&o->ring->rodata->kcm_cfg;
		o->frame = (void *)&o->ring->rodata->kcm_frame;
	} else {
		o->strp = muxstrp__open();
		if (!o->strp)
			return -errno;
		o->obj = o->strp->obj;
		o->cfg = (void *)&o->strp->rodata->kcm_cfg;
		o->frame = (void *)&o->strp->rodata->kcm_frame;
	}
	return 0;
}

static int obj_load(struct mux_obj *o)
{
	return o->ring ? mux__load(o->ring) : muxstrp__load(o->strp);
}

static void obj_close(struct mux_obj *o)
{
	mux__destroy(o->ring);
	muxstrp__destroy(o->strp);
}

static int attach_one(const struct bpf_program *p, const struct mux_obj *o,
		      enum bpf_attach_type type)
{
	int map = bpf_object__find_map_fd_by_name(o->obj, "kcm_socks");

	return bpf_prog_attach(bpf_program__fd(p), map, type, 0) ? -errno : 0;
}

static int obj_attach(const struct mux_obj *o)
{
	int err;

	if (o->ring)
		return attach_one(o->ring->progs.kcm_verdict, o, BPF_SK_SKB_VERDICT);
	err = attach_one(o->strp->progs.kcm_parser, o, BPF_SK_SKB_STREAM_PARSER);
	return err ?: attach_one(o->strp->progs.kcm_strp_verd, o, BPF_SK_SKB_STREAM_VERDICT);
}

static int set_size(const struct mux_obj *o, const char *map, uint32_t entries)
{
	return bpf_map__set_max_entries(bpf_object__find_map_by_name(o->obj, map), entries);
}

static int set_sizes(const struct mux_obj *o, const struct kcm_mux_conf *conf)
{
	uint32_t n = 0;
	int err;

	for (int c = 0; c < KCM_CLASSES; c++)
		n += conf->cfg.n_chunks[c];
	err = set_size(o, "kcm_socks", conf->cfg.n_conns);
	err = err ?: set_size(o, "kcm_slots", conf->cfg.n_conns);
	err = err ?: set_size(o, "kcm_conn", conf->cfg.n_conns);
	err = err ?: set_size(o, "kcm_home", conf->cfg.n_conns);
	err = err ?: set_size(o, "kcm_arena", conf->n_regions);
	err = err ?: set_size(o, "kcm_chunk", n);
	err = err ?: set_size(o, "kcm_claim", n);
	err = err ?: set_size(o, "kcm_cell", (conf->cfg.cell_mask + 1) * KCM_LANES);
	if (o->strp)
		err = err ?: set_size(o, "kcm_head", conf->cfg.n_conns);
	return err;
}

/* Write the fixed parts of the maps: where chunks are, where lanes begin. */
static int fill_maps(const struct mux_obj *o, const struct kcm_mux_conf *conf,
		     const uint32_t regions[KCM_CLASSES])
{
	int fds[VIEW_MAPS];
	struct view v;
	uint32_t region = 0, id = 0;
	int err;

	for (int i = 0; i < VIEW_MAPS; i++)
		fds[i] = bpf_object__find_map_fd_by_name(o->obj, view_map_names[i]);
	err = bpf_map_update_elem(fds[VIEW_CONF], &(uint32_t){ 0 }, conf, BPF_ANY);
	if (err)
		return -errno;
	err = view_map(&v, fds, VIEW_CONF);
	if (err)
		return err;
	for (int c = 0; c < KCM_CLASSES; c++)
		for (uint32_t r = 0; r < regions[c]; r++, region++)
			for (uint32_t i = 0; i < CHUNKS_PER_REGION(class_bytes[c]); i++, id++) {
				v.chunks[id].region = region;
				v.chunks[id].off = i * class_bytes[c];
				v.chunks[id].size_bytes = class_bytes[c];
			}
	mux_reset_lanes(&v);
	view_unmap(&v);
	return 0;
}

static int pin_all(const struct mux_obj *o, const char *dir)
{
	char path[KCM_PIN_PATH * 2];
	struct bpf_program *p;
	struct bpf_map *m;
	int err;

	bpf_object__for_each_map (m, o->obj) {
		if (bpf_map__is_internal(m))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, bpf_map__name(m));
		err = bpf_map__pin(m, path);
		if (err)
			return err;
	}
	bpf_object__for_each_program (p, o->obj) {
		if (bpf_program__fd(p) < 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, bpf_program__name(p));
		err = bpf_program__pin(p, path);
		if (err)
			return err;
	}
	return 0;
}

int kcm_mux_create(const char *name, const struct kcm_mux_opts *opts, char *err, size_t el)
{
	struct kcm_mux_conf conf = { 0 };
	uint32_t regions[KCM_CLASSES];
	struct kcm_pin_txn txn;
	struct mux_obj o = { 0 };
	char why[160];
	int ret;

	if (!kcm_pin_name_ok(name))
		return fail(err, el, -EINVAL,
			    "'%s' is not a name: letters, digits, - and _, at most 31", name);
	ret = fill_conf(&conf, opts, regions, err, el);
	if (ret)
		return ret;
	if (kcm_kernel_here(why, sizeof(why)) == KCM_KERNEL_BAD && !kcm_kernel_accepted())
		return fail(err, el, -EOPNOTSUPP, "%s; " KCM_UNSAFE_ENV "=1 overrides", why);
	ret = kcm_pin_begin(&txn, "mux", name, KCM_MUX_LAYOUT, false);
	if (ret)
		return fail(err, el, ret, "%s: %s", KCM_PIN_ROOT "/mux", strerror(-ret));
	ret = obj_open(&o, conf.cfg.mode);
	if (ret) {
		fail(err, el, ret, "open BPF object: %s", strerror(-ret));
		goto out;
	}
	/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): it has one, or errno */
	memcpy(o.cfg, &conf.cfg, sizeof(conf.cfg));
	memcpy(o.frame, &conf.frame, sizeof(conf.frame));
	ret = set_sizes(&o, &conf);
	ret = ret ?: obj_load(&o);
	if (ret) {
		fail(err, el, ret, "load BPF programs: %s", strerror(-ret));
		ret = util_load_err(ret);
		goto out;
	}
	ret = fill_maps(&o, &conf, regions);
	if (ret) {
		fail(err, el, ret, "fill maps: %s", strerror(-ret));
		goto out;
	}
	ret = obj_attach(&o);
	if (ret) {
		fail(err, el, ret, "attach programs to kcm_socks: %s", strerror(-ret));
		goto out;
	}
	ret = pin_all(&o, txn.dir);
	if (ret) {
		ret = fail(err, el, ret, "pin under %s: %s", txn.dir, strerror(-ret));
		goto out;
	}
	ret = kcm_pin_commit(&txn);
	if (ret)
		fail(err, el, ret, "rename %s: %s", txn.dir, strerror(-ret));
	obj_close(&o);
	return ret;
out:
	obj_close(&o);
	kcm_pin_abort(&txn);
	return ret;
}
