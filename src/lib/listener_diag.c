// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* listener_diag.c - what the kernel lists of listening sockets: NETLINK_SOCK_DIAG. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include "../util.h"
#include "listener_part.h"

#define DIAG_BUFFER 65536

struct request {
	struct nlmsghdr h;
	struct inet_diag_req_v2 r;
};

/* One dump. */
struct dump {
	const struct netns *ns;
	struct listener_list *list;
	size_t first; /* of this namespace */
	__u8 protocol;
	int (*message)(struct dump *d, const struct inet_diag_msg *m, size_t size);
};

static int append(struct listener_list *list, const struct kcm_listener *l)
{
	if (list->n == list->room) {
		size_t room = list->room ? 2 * list->room : 16;
		struct kcm_listener *more = reallocarray(list->l, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		list->l = more;
		list->room = room;
	}
	list->l[list->n++] = *l;
	return 0;
}

static void read_attr(struct kcm_listener *l, int type, const void *data, size_t size)
{
	__u8 byte;

	switch (type) {
	case INET_DIAG_SKV6ONLY:
		if (size >= sizeof(byte)) {
			memcpy(&byte, data, sizeof(byte));
			l->v6only = byte != 0;
		}
		break;
	case INET_DIAG_SKMEMINFO:
		if (l->protocol == IPPROTO_UDP && size >= (SK_MEMINFO_DROPS + 1) * sizeof(l->drops))
			memcpy(&l->drops, (const __u32 *)data + SK_MEMINFO_DROPS, sizeof(l->drops));
		break;
	case INET_DIAG_CGROUP_ID:
		if (size >= sizeof(l->cgroup_id))
			memcpy(&l->cgroup_id, data, sizeof(l->cgroup_id));
		break;
	case INET_DIAG_MARK: /* who is told of marks is told of keys and protocols */
		l->md5 = l->md5 == 1;
		l->mptcp = l->mptcp == 1;
		break;
	case INET_DIAG_MD5SIG:
		l->md5 = size > 0;
		break;
	case INET_DIAG_ULP_INFO: {
		const struct nlattr *a = data;

		if (size >= NLA_HDRLEN + sizeof("mptcp") && a->nla_type == INET_ULP_INFO_NAME &&
		    !memcmp((const char *)data + NLA_HDRLEN, "mptcp", sizeof("mptcp")))
			l->mptcp = 1;
		break;
	}
	}
}

static void read_attrs(struct kcm_listener *l, const struct inet_diag_msg *m, size_t size)
{
	const char *at = (const char *)(m + 1);
	size_t left = size - sizeof(*m);

	while (left >= NLA_HDRLEN) {
		const struct nlattr *a = (const struct nlattr *)at;
		size_t whole = NLA_ALIGN(a->nla_len);

		if (a->nla_len < NLA_HDRLEN || a->nla_len > left)
			return;
		read_attr(l, a->nla_type & NLA_TYPE_MASK, at + NLA_HDRLEN, a->nla_len - NLA_HDRLEN);
		if (whole >= left)
			return;
		at += whole;
		left -= whole;
	}
}

static int listener(struct dump *d, const struct inet_diag_msg *m, size_t size)
{
	struct kcm_listener l = {
		.netns_inode = d->ns->inode,
		.netns_cookie = d->ns->cookie,
		.cookie = (__u64)m->id.idiag_cookie[1] << 32 | m->id.idiag_cookie[0],
		.inode = m->idiag_inode,
		.uid = m->idiag_uid,
		.ifindex = m->id.idiag_if,
		.port = ntohs(m->id.idiag_sport),
		.protocol = d->protocol,
		.family = m->idiag_family,
		.queue = m->idiag_rqueue,
		.backlog = d->protocol == IPPROTO_TCP ? m->idiag_wqueue : 0,
		.mptcp = d->protocol == IPPROTO_TCP ? KCM_LISTENER_UNKNOWN : 0,
		.md5 = d->protocol == IPPROTO_TCP ? KCM_LISTENER_UNKNOWN : 0,
		.reuseport = KCM_LISTENER_UNKNOWN,
		.reuseport_prog = KCM_LISTENER_UNKNOWN,
		.incoming_cpu = KCM_LISTENER_UNKNOWN,
		.save_syn = d->protocol == IPPROTO_TCP ? KCM_LISTENER_UNKNOWN : 0,
		.fastopen = d->protocol == IPPROTO_TCP ? KCM_LISTENER_UNKNOWN : 0,
		.defer_accept = d->protocol == IPPROTO_TCP ? KCM_LISTENER_UNKNOWN : 0,
		.dup_err = -ENOENT,
	};

	memcpy(l.addr, m->id.idiag_src, l.family == AF_INET6 ? 16 : 4);
	if (d->protocol == IPPROTO_UDP && m->id.idiag_dport)
		return 0;
	read_attrs(&l, m, size);
	return append(d->list, &l);
}

/* A request, of which it is not said whose it is: count it for all that may have it. */
static int half_open(struct dump *d, const struct inet_diag_msg *m, size_t size)
{
	static const __u8 any[16];

	(void)size;
	for (size_t i = d->first; i < d->list->n; i++) {
		struct kcm_listener *l = &d->list->l[i];
		size_t len = l->family == AF_INET6 ? 16 : 4;

		if (l->family == m->idiag_family &&
		    (!memcmp(l->addr, any, len) || !memcmp(l->addr, m->id.idiag_src, len)))
			l->half_open++;
	}
	return 0;
}

/* Return: 1 at the end, 0 to go on, or -errno. */
static int messages(struct dump *d, const char *buf, size_t n)
{
	const struct nlmsghdr *h = (const struct nlmsghdr *)buf;
	int err;

	for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
		if (h->nlmsg_type == NLMSG_DONE)
			return 1;
		if (h->nlmsg_type == NLMSG_ERROR)
			return h->nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr))
				       ? -EPROTO
				       : ((const struct nlmsgerr *)NLMSG_DATA(h))->error ?: 1;
		if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
		    h->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
			continue;
		err = d->message(d, NLMSG_DATA(h), h->nlmsg_len - NLMSG_HDRLEN);
		if (err)
			return err;
	}
	return 0;
}

static int ask(int fd, struct dump *d, const struct kcm_listener_filter *f, int family,
	       __u32 states)
{
	struct request q = {
		.h = { .nlmsg_len = sizeof(q),
		       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.r = { .sdiag_family = (__u8)family,
		       .sdiag_protocol = f->protocol,
		       /* Keys and protocols come with it, not without. */
		       .idiag_ext = 1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_SKMEMINFO - 1),
		       .idiag_states = states,
		       .id.idiag_sport = htons(f->port) },
	};
	_cleanup_free_ char *buf = malloc(DIAG_BUFFER);
	int err = 0;

	if (!buf)
		return -ENOMEM;
	if (send(fd, &q, sizeof(q), 0) < 0)
		return -errno;
	while (!err) {
		ssize_t n = recv(fd, buf, DIAG_BUFFER, 0);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n >= 0)
			err = n ? messages(d, buf, (size_t)n) : -EPROTO;
	}
	/* No handler, or a kernel without this family. */
	if (err == -ENOENT || err == -EINVAL)
		err = family == AF_INET6 ? 1 : -EPROTONOSUPPORT;
	return err == 1 ? 0 : err;
}

int listener_diag(const struct kcm_listener_filter *f, const struct netns *ns,
		  struct listener_list *list)
{
	_cleanup_fd_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	struct dump d = { .ns = ns, .list = list, .first = list->n, .protocol = f->protocol };
	__u32 states = f->protocol == IPPROTO_TCP ? 1 << TCP_LISTEN : 1 << TCP_CLOSE;
	int err;

	if (fd < 0)
		return errno == EPROTONOSUPPORT || errno == EAFNOSUPPORT ? -EPROTONOSUPPORT
									 : -errno;
	d.message = listener;
	err = ask(fd, &d, f, AF_INET, states);
	err = err ?: ask(fd, &d, f, AF_INET6, states);
	if (err || f->protocol != IPPROTO_TCP || list->n == d.first)
		return err;
	d.message = half_open;
	err = ask(fd, &d, f, AF_INET, 1 << TCP_SYN_RECV);
	return err ?: ask(fd, &d, f, AF_INET6, 1 << TCP_SYN_RECV);
}
