// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* migrate_anchor.c - open, look at and close a listener of our own in a server's group. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <time.h>
#include <arpa/inet.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <bpf/bpf.h>
#include "../util.h"
#include "migrate_anchor.h"
#include "netns.h"

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#ifndef SO_ATTACH_REUSEPORT_EBPF
#define SO_ATTACH_REUSEPORT_EBPF 52
#endif
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif

#define LOAD(p)	    __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define STORE(p, x) __atomic_store_n(p, x, __ATOMIC_RELEASE)

__u64 anchor_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (__u64)ts.tv_sec * 1000000000ULL + (__u64)ts.tv_nsec;
}

static __u64 sock_u64(int fd, int option)
{
	__u64 value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) ? 0 : value;
}

static int set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) ? -errno : 0;
}

/* ---- namespaces ---- */

int anchor_netns(struct mg_view *v, int group)
{
	struct kcm_mg_group *g = &v->mg->group[group];
	_cleanup_fd_ int probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	__u64 cookie = g->netns_cookie;
	struct netns_list l;
	int fd = -ENOENT, err;

	if (probe >= 0 && sock_u64(probe, SO_NETNS_COOKIE) == cookie)
		return MG_NETNS_OWN;
	err = netns_list(&l);
	if (err)
		return err;
	for (size_t i = 0; i < l.n; i++)
		if (l.ns[i].cookie == cookie && l.ns[i].fd >= 0) {
			fd = TAKE_FD(l.ns[i].fd);
			STORE(&g->netns_inode, l.ns[i].inode);
			break;
		}
	netns_free(&l);
	return fd;
}

/* A socket in namespace @netns; our own is the same afterwards. */
static int socket_in(int netns, int family)
{
	_cleanup_fd_ int own = -1, fd = -1;
	int err = 0;

	if (netns >= 0) {
		own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
		if (own < 0 || setns(netns, CLONE_NEWNET))
			return -errno;
	}
	fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	if (fd < 0)
		err = -errno;
	if (netns >= 0 && setns(own, CLONE_NEWNET))
		return -errno;
	return err ?: TAKE_FD(fd);
}

/* ---- shape ---- */

/*
 * All that the kernel compares before it puts a listener into a group. An address that is not
 * ours, now or any more, was good enough for the server: it is for us.
 */
static int take_shape(int fd, const struct kcm_mg_group *g)
{
	bool v6 = g->family == AF_INET6;
	int err = set(fd, SOL_SOCKET, SO_REUSEPORT, 1);

	/* Connections of former listeners may be in TIME_WAIT. */
	err = err ?: set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (!err && v6)
		err = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, g->v6only)
			      ?: set(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1);
	if (!err && !v6)
		err = set(fd, IPPROTO_IP, IP_FREEBIND, 1);
	if (!err && g->ifindex)
		err = set(fd, SOL_SOCKET, SO_BINDTOIFINDEX, (int)g->ifindex);
	if (!err && fchown(fd, g->uid, (gid_t)-1))
		err = -errno;
	return err;
}

/*
 * TCP_DEFER_ACCEPT is not for us. With it a connection would stay half-open until it has sent
 * something, which is the one state in which migration can fail; without it, it is in the queue,
 * and a server that wants data first finds it there or waits for it.
 */
static int take_kind(int fd, __u32 kind, __u32 backlog)
{
	int err = 0;

	if (kind & MG_ANCHOR_NO_KIND)
		return -EOPNOTSUPP;
	if (kind & (KCM_MG_KIND_SAVE_SYN | KCM_MG_KIND_SAVE_SYN2))
		err = set(fd, IPPROTO_TCP, TCP_SAVE_SYN, kind & KCM_MG_KIND_SAVE_SYN2 ? 2 : 1);
	if (!err && kind & KCM_MG_KIND_FASTOPEN)
		err = set(fd, IPPROTO_TCP, TCP_FASTOPEN, (int)backlog);
	return err;
}

static int bind_to(int fd, const struct kcm_mg_group *g, __u32 port)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons((__u16)port) };
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons((__u16)port) };

	if (g->family == AF_INET6) {
		memcpy(&a6.sin6_addr, g->addr, 16);
		if (IN6_IS_ADDR_LINKLOCAL(&a6.sin6_addr))
			a6.sin6_scope_id = g->ifindex;
		return bind(fd, (struct sockaddr *)&a6, sizeof(a6)) ? -errno : 0;
	}
	memcpy(&a4.sin_addr, g->addr, 4);
	return bind(fd, (struct sockaddr *)&a4, sizeof(a4)) ? -errno : 0;
}

/* ---- open ---- */

static int index_set(struct mg_view *v, __u64 cookie, int group)
{
	struct kcm_mg_ref ref = { .slot = KCM_MG_NONE, .group = (__u16)group };

	if (v->index_fd < 0)
		return 0;
	return bpf_map_update_elem(v->index_fd, &cookie, &ref, BPF_ANY) ? -errno : 0;
}

/* After listen(): before that a socket has no group, or one that it leaves to join the server's. */
static int attach_selector(struct mg_view *v, int fd, struct kcm_mg_group *g)
{
	__u64 emptied = LOAD(&g->emptied);
	int err;

	if (v->select_fd < 0)
		return 0;
	err = set(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, v->select_fd);
	if (err)
		return err;
	STORE(&g->selector_at, emptied);
	__atomic_fetch_or(&g->flags, KCM_MG_GROUP_SELECTOR, __ATOMIC_ACQ_REL);
	return 0;
}

static int socks_add(struct mg_view *v, const struct mg_anchor *a)
{
	__u64 fd = (__u64)a->fd;

	if (v->socks_fd < 0)
		return 0;
	return bpf_map_update_elem(v->socks_fd, &a->cookie, &fd, BPF_ANY) ? -errno : 0;
}

int anchor_open(struct mg_view *v, int group, int netns, __u32 kind, struct mg_anchor *a,
		const char **step)
{
	struct kcm_mg_group *g = &v->mg->group[group];
	__u32 backlog = LOAD(&v->mg->ctl.anchor_backlog);
	int err;

	*a = (struct mg_anchor)MG_ANCHOR_NONE;
	*step = "socket";
	a->fd = socket_in(netns, g->family);
	if (a->fd < 0)
		return TAKE_FD(a->fd);
	a->kind = kind & KCM_MG_KIND_MUST;
	a->cookie = sock_u64(a->fd, SO_COOKIE);
	*step = "options of the socket";
	err = take_shape(a->fd, g) ?: take_kind(a->fd, kind, backlog);
	if (!err) {
		*step = "bind";
		err = bind_to(a->fd, g, LOAD(&v->mg->ctl.port));
	}
	if (!err) {
		/* The sockops program looks there as listen() runs it. */
		*step = "kcm_mg_index";
		err = index_set(v, a->cookie, group);
	}
	if (!err) {
		*step = "listen";
		err = listen(a->fd, (int)backlog) ? -errno : 0;
		a->since_ns = anchor_now();
	}
	if (!err) {
		*step = "kcm_mg_select";
		err = attach_selector(v, a->fd, g);
	}
	if (!err) {
		*step = "kcm_mg_socks";
		err = socks_add(v, a);
	}
	if (err) {
		anchor_close(v, a);
		anchor_forget(v, a->cookie);
	}
	return err;
}

static int get(int fd, int level, int option)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, level, option, &value, &len) ? 0 : value;
}

static __u32 kind_of(int fd)
{
	int syn = get(fd, IPPROTO_TCP, TCP_SAVE_SYN);

	return (syn == 1 ? KCM_MG_KIND_SAVE_SYN : 0) | (syn == 2 ? KCM_MG_KIND_SAVE_SYN2 : 0) |
	       (get(fd, IPPROTO_TCP, TCP_FASTOPEN) ? KCM_MG_KIND_FASTOPEN : 0);
}

int anchor_adopt(struct mg_view *v, int fd, struct mg_anchor *a)
{
	__u64 cookie = sock_u64(fd, SO_COOKIE);
	struct kcm_mg_ref ref;
	int err;

	if (!get(fd, SOL_SOCKET, SO_ACCEPTCONN))
		return -EINVAL;
	if (bpf_map_lookup_elem(v->index_fd, &cookie, &ref))
		return -errno;
	if (ref.slot != KCM_MG_NONE || ref.group >= KCM_MG_GROUPS)
		return -EINVAL;
	*a = (struct mg_anchor){
		.fd = fd,
		.cookie = cookie,
		.kind = kind_of(fd),
		.since_ns = anchor_now(),
	};
	err = attach_selector(v, fd, &v->mg->group[ref.group]) ?: socks_add(v, a);
	return err ?: ref.group;
}

void anchor_publish(struct mg_view *v, int group, const struct mg_anchor *a)
{
	struct kcm_mg_group *g = &v->mg->group[group];

	if (!a) {
		__atomic_fetch_and(&g->flags, ~(__u32)KCM_MG_GROUP_PARK, __ATOMIC_ACQ_REL);
		STORE(&g->anchor_cookie, 0);
		STORE(&g->anchor_sk, 0);
		return;
	}
	if (LOAD(&g->anchor_cookie) != a->cookie)
		STORE(&g->anchor_sk, 0);
	STORE(&g->anchor_kind, a->kind);
	STORE(&g->anchor_since_ns, a->since_ns);
	STORE(&g->anchor_cookie, a->cookie);
	__atomic_fetch_or(&g->flags, KCM_MG_GROUP_PARK, __ATOMIC_ACQ_REL);
}

/* ---- the queue ---- */

/* Of a listener the kernel gives its accept queue and the bound of that in two other fields. */
int anchor_queue(const struct mg_anchor *a, __u32 *n, __u32 *max)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(a->fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		return -errno;
	*n = info.tcpi_unacked;
	if (max)
		*max = info.tcpi_sacked;
	return 0;
}

__u32 anchor_expire(const struct mg_anchor *a, __u32 n)
{
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	__u32 done = 0;

	while (done < n) {
		_cleanup_fd_ int fd = accept4(a->fd, NULL, NULL, SOCK_CLOEXEC);

		/* One that its client has given up is in the queue all the same. */
		if (fd < 0 && errno != ECONNABORTED)
			break;
		if (fd >= 0)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		done++;
	}
	return done;
}

/* ---- close ---- */

/*
 * Out of kcm_mg_socks first: a selector that runs now must not find a listener that takes nothing
 * any more. Then shutdown(): its queue migrates at once, whoever else has the descriptor; and
 * unlike close() it does not mark the socket as shut down while it still is in state LISTEN, where
 * a child that is made at that moment would inherit the mark. It stays in kcm_mg_index: what is
 * half open migrates later, and the selector must know whose it was; see anchor_forget().
 */
void anchor_close(struct mg_view *v, struct mg_anchor *a)
{
	if (a->fd < 0)
		return;
	if (v->socks_fd >= 0)
		bpf_map_delete_elem(v->socks_fd, &a->cookie);
	shutdown(a->fd, SHUT_RD);
	close(TAKE_FD(a->fd));
}

void anchor_forget(struct mg_view *v, __u64 cookie)
{
	if (v->index_fd >= 0)
		bpf_map_delete_elem(v->index_fd, &cookie);
}

size_t anchor_list(struct mg_view *v, __u64 *cookies, size_t max)
{
	bool more;
	__u64 key;
	size_t n = 0;

	more = v->index_fd >= 0 && !bpf_map_get_next_key(v->index_fd, NULL, &key);
	while (more && n < max) {
		struct kcm_mg_ref ref;
		__u64 at = key;

		if (!bpf_map_lookup_elem(v->index_fd, &at, &ref) && ref.slot == KCM_MG_NONE)
			cookies[n++] = at;
		more = !bpf_map_get_next_key(v->index_fd, &at, &key);
	}
	return n;
}
