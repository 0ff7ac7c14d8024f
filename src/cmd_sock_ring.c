// SPDX-License-Identifier: GPL-2.0
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>
#include "cmd_sock_ring.h"

#define AHEAD_NS 5000000000ULL /* longer than anything but SIGSTOP holds a watcher up */

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

/* Only ever raised: who lowers it could cut off one who just came. It runs out by itself. */
static void raise_any(struct kcm_sk_ctl *ctl, uint64_t until_ns)
{
	__u64 was = __atomic_load_n(&ctl->watch_any_until_ns, __ATOMIC_RELAXED);

	while (was < until_ns &&
	       !__atomic_compare_exchange_n(&ctl->watch_any_until_ns, &was, until_ns, false,
					    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		;
}

/* Of those that are there. Two at a time may get it wrong: the next renewal puts it right. */
static void least_slow(struct kcm_sk_ctl *ctl, uint64_t now)
{
	__u64 least = 0;

	for (int i = 0; i < KCM_SK_WATCHERS; i++) {
		__u64 slow = __atomic_load_n(&ctl->watch_slow_ns[i], __ATOMIC_RELAXED);

		if (slow && __atomic_load_n(&ctl->watch_until_ns[i], __ATOMIC_RELAXED) > now &&
		    (!least || slow < least))
			least = slow;
	}
	__atomic_store_n(&ctl->watch_min_slow_ns, least, __ATOMIC_SEQ_CST);
}

/* Places are taken and left one after the other. Return: a descriptor to close, or -errno. */
static int lock(void)
{
	_cleanup_fd_ int fd = open(SOCK_PIN_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX))
		return -errno;
	return TAKE_FD(fd);
}

static int take_place(struct kcm_sk_ctl *ctl, uint64_t now)
{
	for (int i = 0; i < KCM_SK_WATCHERS; i++) {
		if (ctl->watch_pid[i] && ctl->watch_until_ns[i] > now)
			continue;
		__atomic_store_n(&ctl->watch_pid[i], (__u32)getpid(), __ATOMIC_SEQ_CST);
		return i;
	}
	return -1;
}

/* Locked. */
static void leave(struct sock_ring *r)
{
	struct kcm_sk_ctl *ctl = r->v ? r->v->ctl : NULL;

	if (ctl && r->watcher >= 0 && ctl->watch_pid[r->watcher] == (__u32)getpid()) {
		__u32 key = (__u32)r->watcher;

		__atomic_store_n(&ctl->watch_until_ns[key], 0, __ATOMIC_SEQ_CST);
		__atomic_store_n(&ctl->watch_slow_ns[key], 0, __ATOMIC_RELAXED);
		least_slow(ctl, clock_ns());
		bpf_map_delete_elem(r->v->fd[SOCK_RINGS], &key);
		__atomic_store_n(&ctl->watch_pid[key], 0, __ATOMIC_SEQ_CST);
	}
	r->watcher = -1;
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

int sock_ring_open(struct sock_ring *r, const struct sock_view *v, uint64_t slow_ns)
{
	_cleanup_fd_ int locked = lock();
	struct kcm_sk_ctl *ctl = v->ctl;
	__u32 key;
	int err;

	*r = (struct sock_ring){ .v = v, .watcher = -1, .fd = -1, .slow_ns = slow_ns };
	if (locked < 0)
		return locked;
	r->fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "kcm_sk_watch", 0, 0, SOCK_RING_BYTES, NULL);
	if (r->fd < 0)
		return -errno;
	r->watcher = take_place(ctl, clock_ns());
	key = (__u32)r->watcher;
	if (r->watcher < 0)
		err = -EUSERS;
	else
		err = bpf_map_update_elem(v->fd[SOCK_RINGS], &key, &r->fd, BPF_ANY) ? -errno : 0;
	if (err) {
		leave(r);
		return err;
	}
	__atomic_store_n(&ctl->watch_slow_ns[key], slow_ns, __ATOMIC_RELAXED);
	r->drops_base = __atomic_load_n(&ctl->watch_drops[key], __ATOMIC_RELAXED);
	return sock_ring_renew(r);
}

int sock_ring_renew(struct sock_ring *r)
{
	struct kcm_sk_ctl *ctl = r->v->ctl;
	uint64_t now = clock_ns();

	/* Who was stopped for so long was sent nothing, even if nobody took the place. */
	if (r->renewed_ns && now > r->renewed_ns + AHEAD_NS)
		return -ESTALE;
	if (__atomic_load_n(&ctl->watch_pid[r->watcher], __ATOMIC_ACQUIRE) != (__u32)getpid())
		return -ESTALE;
	__atomic_store_n(&ctl->watch_until_ns[r->watcher], now + AHEAD_NS, __ATOMIC_SEQ_CST);
	raise_any(ctl, now + AHEAD_NS);
	least_slow(ctl, now);
	r->renewed_ns = now;
	return 0;
}

uint64_t sock_ring_lost(struct sock_ring *r)
{
	uint64_t drops = __atomic_load_n(&r->v->ctl->watch_drops[r->watcher], __ATOMIC_RELAXED);
	uint64_t lost = drops - r->drops_base;

	r->drops_base = drops;
	r->lost += lost;
	return lost;
}

void sock_ring_close(struct sock_ring *r)
{
	int locked = r->v ? lock() : -1;

	leave(r);
	if (locked >= 0)
		close(locked);
}
