/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* view.h - the memory of one mux as a process sees it: maps of the BPF side, and memfds. */
#ifndef KCM_VIEW_H
#define KCM_VIEW_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../bpf/mux.h"

/* Maps of a mux that user space opens, in the order in which a worker gets them. */
enum view_map {
	VIEW_CONF,
	VIEW_CONN,
	VIEW_ARENA,
	VIEW_CHUNK,
	VIEW_CELL,
	VIEW_PROD, /* up to here: read-only for workers */
	VIEW_CLAIM,
	VIEW_LANE,
	VIEW_CTL,
	VIEW_WSTAT,
	VIEW_HOME,
	VIEW_MAPS,
};
#define VIEW_FIRST_SHARED VIEW_CLAIM

/* Reply side of a connection, in a memfd: a futex does not work in the memory of a BPF map. */
struct kcm_txc {
	__u32 lock;	    /* 0; slot + 1 of the sender; KCM_TX_OWNER; | KCM_TX_WAITERS */
	__u32 pending;	    /* the owner has bytes for it: hand over, don't send */
	__u32 seq;	    /* of the next hand-over, under lock */
	__u32 gen;	    /* of the connection, set by the owner */
	__u64 queued_bytes; /* with the owner or on the way to it */
	__u64 released;	    /* messages and events that were released, see txc_released() */
	__u64 msgs;
	__u64 bytes;
	__u64 written; /* bytes given to TCP, but for those of a send under way ... */
	__u64 sending; /* ... which is so long */
};
_Static_assert(sizeof(struct kcm_txc) == 64, "one cache line");

/*
 * The generation of the connection is in the upper 16 bits: a worker that counts late, after the
 * connection was given up, does not count for the next one of the slot.
 */
#define TXC_RELEASED0(gen) ((__u64)((gen)&0xffff) << 48)

static inline __u64 txc_released(const struct kcm_txc *t)
{
	return __atomic_load_n(&t->released, __ATOMIC_SEQ_CST) & ~(0xffffULL << 48);
}

static inline void txc_count_released(struct kcm_txc *t, __u32 gen, __u32 n)
{
	__u64 v = __atomic_load_n(&t->released, __ATOMIC_RELAXED);

	while (v >> 48 == (gen & 0xffff) &&
	       !__atomic_compare_exchange_n(&t->released, &v, v + n, false, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED))
		;
}

#define KCM_TX_OWNER   64U
#define KCM_TX_WAITERS 128U

struct view {
	struct kcm_mux_conf *conf;
	struct kcm_conn *conns;
	uint8_t *arena;
	size_t region_bytes;
	struct kcm_chunk *chunks;
	struct kcm_claim *claims;
	__u64 *cells;
	struct kcm_prod *prod;
	struct kcm_lane *lanes;
	struct kcm_ctl *ctl;
	struct kcm_wstat *wstats;
	__u64 *home;
	struct kcm_txc *tx;
	uint8_t *big;
	void *base[VIEW_MAPS];
	size_t bytes[VIEW_MAPS];
	size_t tx_bytes, big_bytes;
	uint32_t n_chunks;
	struct kcm_mux_cfg cfg; /* a copy: workers of another layout can't change it under us */
};

extern const char *const view_map_names[VIEW_MAPS];

/* Map what @fds (VIEW_MAPS of them) describe. @shared_rw: first map to be mapped writable. */
int view_map(struct view *v, const int *fds, enum view_map shared_rw);
int view_map_mem(struct view *v, int tx_fd, int big_fd, size_t big_bytes, bool big_write);
void view_unmap(struct view *v);

static inline uint8_t *view_chunk_data(const struct view *v, const struct kcm_chunk *ch)
{
	return v->arena + ch->region * v->region_bytes + ch->off;
}

#endif
