// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* sock_view.c - the maps of sock, mapped. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "../util.h"
#include "pin.h"
#include "sock_load.h"
#include "sock_view.h"

#define LABEL_TRIES 1000 /* then the labels are left out */

const char *const sock_map_names[SOCK_MAPS] = {
	[SOCK_CTL] = "kcm_sk_ctl",	   [SOCK_HOT] = "kcm_sk_hot",
	[SOCK_IN] = "kcm_sk_in",	   [SOCK_MORE] = "kcm_sk_more",
	[SOCK_FRAMING] = "kcm_sk_framing", [SOCK_RULES] = "kcm_sk_rules",
	[SOCK_STORE] = "kcm_sk_store",	   [SOCK_PORTS] = "kcm_sk_ports",
	[SOCK_TX] = "kcm_sk_tx",	   [SOCK_RX] = "kcm_sk_rx",
	[SOCK_RINGS] = "kcm_sk_rings",	   [SOCK_STASH] = "kcm_sk_stash",
};

static int open_all(struct sock_view *v)
{
	char path[KCM_PIN_PATH];

	for (int i = 0; i < SOCK_MAPS; i++) {
		int err =
			kcm_pin_path(path, sizeof(path), "sock", SOCK_INSTANCE, sock_map_names[i]);

		if (err)
			return err;
		v->fd[i] = bpf_obj_get(path);
		if (v->fd[i] < 0)
			return -errno;
	}
	return 0;
}

static int map_one(struct sock_view *v, enum sock_map i, size_t elem, size_t n, bool write,
		   void *to)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *p;

	v->bytes[i] = (elem * n + page - 1) / page * page;
	p = mmap(NULL, v->bytes[i], PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, v->fd[i], 0);
	if (p == MAP_FAILED)
		return -errno;
	*(void **)to = p;
	return 0;
}

static int map_all(struct sock_view *v, bool write)
{
	const struct kcm_sk_cfg *cfg;
	int err = map_one(v, SOCK_CTL, sizeof(*v->ctl), 1, write, &v->ctl);

	if (err)
		return err;
	cfg = &v->ctl->cfg;
	err = map_one(v, SOCK_HOT, sizeof(*v->hot), cfg->slots + cfg->cpus, write, &v->hot);
	err = err ?: map_one(v, SOCK_IN, sizeof(*v->in), cfg->slots + cfg->cpus, write, &v->in);
	err = err
		      ?: map_one(v, SOCK_MORE, sizeof(*v->more), cfg->slots + cfg->cpus, write,
				 &v->more);
	err = err
		      ?: map_one(v, SOCK_FRAMING, sizeof(*v->framing), KCM_SK_FRAMES, write,
				 &v->framing);
	return err ?: map_one(v, SOCK_RULES, sizeof(*v->rules), KCM_SK_RULES, write, &v->rules);
}

int sock_view_open(struct sock_view *v, bool write)
{
	struct kcm_pin_info info;
	int err = kcm_pin_info("sock", SOCK_INSTANCE, &info);

	memset(v, 0, sizeof(*v));
	for (int i = 0; i < SOCK_MAPS; i++)
		v->fd[i] = -1;
	if (err)
		return err;
	if (info.layout != KCM_SOCK_LAYOUT)
		return -ESTALE;
	err = open_all(v);
	err = err ?: map_all(v, write);
	if (err)
		sock_view_close(v);
	return err;
}

void sock_view_close(struct sock_view *v)
{
	void *const base[SOCK_MAPPED] = {
		[SOCK_CTL] = v->ctl,   [SOCK_HOT] = v->hot,	    [SOCK_IN] = v->in,
		[SOCK_MORE] = v->more, [SOCK_FRAMING] = v->framing, [SOCK_RULES] = v->rules
	};

	for (int i = 0; i < SOCK_MAPPED; i++)
		if (base[i])
			munmap(base[i], v->bytes[i]);
	for (int i = 0; i < SOCK_MAPS; i++)
		if (v->fd[i] >= 0)
			close(v->fd[i]);
	memset(v, 0, sizeof(*v));
	for (int i = 0; i < SOCK_MAPS; i++)
		v->fd[i] = -1;
}

static __u64 tag_of(const struct kcm_sk_hot *hot)
{
	return __atomic_load_n(&hot->tag, __ATOMIC_ACQUIRE);
}

static void copy(struct kcm_sock *s, const struct kcm_sk_hot *hot, const struct kcm_sk_in *in,
		 const struct kcm_sk_more *more, __u32 slot)
{
	s->state = hot->state;
	s->role = hot->role;
	s->proto = hot->proto;
	s->frame = hot->frame;
	s->tx_bytes = hot->tx_bytes;
	s->rx_bytes = in->rx_bytes;
	s->tx_segs = hot->tx_segs;
	s->rx_segs = in->rx_segs;
	s->tx_msgs = more->tx.msgs;
	s->rx_msgs = more->rx.msgs;
	s->last_ns = in->last_ns;
	s->flags = hot->flags | hot->limit;
	s->slot = slot;
	s->seen = 0;
	memcpy(&s->info, &more->info, sizeof(s->info));
}

/*
 * A slot is given away only KCM_SK_REUSE_NS after it was freed, but a reader may sleep for longer
 * between the first look at the tag and the last: cookies are never used twice, so the same tag at
 * both ends means the same socket all the way. Labels are strings: they are read again where they
 * changed meanwhile. Counters may be of different moments.
 */
int sock_view_read(const struct sock_view *v, __u32 slot, struct kcm_sock *sock)
{
	const struct kcm_sk_hot *hot = &v->hot[slot];
	const struct kcm_sk_more *more = &v->more[slot];
	__u64 tag = tag_of(hot);

	if (!tag || tag & KCM_TAG_BUSY)
		return 0;
	for (int i = 0; i < LABEL_TRIES; i++) {
		__u32 seq = __atomic_load_n(&more->info.label_seq, __ATOMIC_ACQUIRE);

		sock->cookie = tag;
		copy(sock, hot, &v->in[slot], more, slot);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (tag_of(hot) != tag)
			return 0;
		if (!(seq & 1) && __atomic_load_n(&more->info.label_seq, __ATOMIC_RELAXED) == seq)
			return 1;
	}
	/* Whoever changes the labels died in between: show the socket without them. */
	memset(sock->info.label, 0, sizeof(sock->info.label));
	return 1;
}

__u32 sock_view_find(const struct sock_view *v, __u64 cookie)
{
	for (__u32 k = 0; k < KCM_SK_WAYS; k++) {
		__u32 slot = ((__u32)cookie + k) & v->ctl->cfg.slot_mask;

		if (tag_of(&v->hot[slot]) == cookie)
			return slot;
	}
	return KCM_SK_SLOT_NONE;
}
