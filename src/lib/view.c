// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "view.h"

const char *const view_map_names[VIEW_MAPS] = {
	[VIEW_CONF] = "kcm_conf",   [VIEW_CONN] = "kcm_conn", [VIEW_ARENA] = "kcm_arena",
	[VIEW_CHUNK] = "kcm_chunk", [VIEW_CELL] = "kcm_cell", [VIEW_PROD] = "kcm_prod",
	[VIEW_CLAIM] = "kcm_claim", [VIEW_LANE] = "kcm_lane", [VIEW_CTL] = "kcm_ctl",
	[VIEW_WSTAT] = "kcm_wstat", [VIEW_HOME] = "kcm_home",
};

static size_t page_up(size_t n)
{
	size_t p = (size_t)sysconf(_SC_PAGESIZE);

	return (n + p - 1) / p * p;
}

static int map_one(struct view *v, enum view_map i, int fd, size_t elem, size_t n, bool write)
{
	void *p;

	v->bytes[i] = page_up(elem * n);
	p = mmap(NULL, v->bytes[i], PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	v->base[i] = p;
	return 0;
}

/*
 * Sizes come from kcm_conf and not from bpf(BPF_OBJ_GET_INFO_BY_FD): a worker without privilege
 * may not call bpf() at all.
 */
int view_map(struct view *v, const int *fds, enum view_map shared_rw)
{
	size_t n[VIEW_MAPS], elem[VIEW_MAPS] = {
		[VIEW_CONN] = sizeof(struct kcm_conn),	 [VIEW_ARENA] = KCM_REGION_BYTES,
		[VIEW_CHUNK] = sizeof(struct kcm_chunk), [VIEW_CELL] = sizeof(__u64),
		[VIEW_PROD] = sizeof(struct kcm_prod),	 [VIEW_CLAIM] = sizeof(struct kcm_claim),
		[VIEW_LANE] = sizeof(struct kcm_lane),	 [VIEW_CTL] = sizeof(struct kcm_ctl),
		[VIEW_WSTAT] = sizeof(struct kcm_wstat), [VIEW_HOME] = sizeof(__u64),
	};
	int err;

	memset(v, 0, sizeof(*v));
	err = map_one(v, VIEW_CONF, fds[VIEW_CONF], sizeof(struct kcm_mux_conf), 1,
		      shared_rw <= VIEW_CONF);
	if (err)
		return err;
	v->conf = v->base[VIEW_CONF];
	if (v->conf->layout != KCM_MUX_LAYOUT) {
		view_unmap(v);
		return -ESTALE;
	}
	v->cfg = v->conf->cfg;
	for (int c = 0; c < KCM_CLASSES; c++)
		v->n_chunks += v->cfg.n_chunks[c];
	n[VIEW_CONN] = n[VIEW_HOME] = v->cfg.n_conns;
	n[VIEW_ARENA] = v->conf->n_regions;
	n[VIEW_CHUNK] = n[VIEW_CLAIM] = v->n_chunks;
	n[VIEW_CELL] = (size_t)(v->cfg.cell_mask + 1) * KCM_LANES;
	n[VIEW_PROD] = n[VIEW_CTL] = 1;
	n[VIEW_LANE] = KCM_LANES;
	n[VIEW_WSTAT] = KCM_WORKERS_MAX;
	for (enum view_map i = VIEW_CONF + 1; i < VIEW_MAPS; i++) {
		err = map_one(v, i, fds[i], elem[i], n[i], i >= shared_rw);
		if (err) {
			view_unmap(v);
			return err;
		}
	}
	v->conns = v->base[VIEW_CONN];
	v->arena = v->base[VIEW_ARENA];
	v->region_bytes = KCM_REGION_BYTES;
	v->chunks = v->base[VIEW_CHUNK];
	v->cells = v->base[VIEW_CELL];
	v->prod = v->base[VIEW_PROD];
	v->claims = v->base[VIEW_CLAIM];
	v->lanes = v->base[VIEW_LANE];
	v->ctl = v->base[VIEW_CTL];
	v->wstats = v->base[VIEW_WSTAT];
	v->home = v->base[VIEW_HOME];
	return 0;
}

int view_map_mem(struct view *v, int tx_fd, int big_fd, size_t big_bytes, bool big_write)
{
	v->tx_bytes = page_up(sizeof(struct kcm_txc) * v->cfg.n_conns);
	v->big_bytes = big_bytes;
	v->tx = mmap(NULL, v->tx_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, tx_fd, 0);
	if (v->tx == MAP_FAILED) {
		v->tx = NULL;
		return -errno;
	}
	v->big = mmap(NULL, big_bytes, PROT_READ | (big_write ? PROT_WRITE : 0), MAP_SHARED, big_fd,
		      0);
	if (v->big == MAP_FAILED) {
		v->big = NULL;
		return -errno;
	}
	return 0;
}

void view_unmap(struct view *v)
{
	for (int i = 0; i < VIEW_MAPS; i++) {
		if (v->base[i])
			munmap(v->base[i], v->bytes[i]);
		v->base[i] = NULL;
	}
	if (v->tx)
		munmap(v->tx, v->tx_bytes);
	if (v->big)
		munmap(v->big, v->big_bytes);
	v->tx = NULL;
	v->big = NULL;
}
