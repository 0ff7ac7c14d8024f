// SPDX-License-Identifier: GPL-2.0
/* sock_diag.c - all TCP sockets of the network namespace by netlink, as ss asks for them. */
#include "sock_diag.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

struct request {
	struct nlmsghdr h;
	struct inet_diag_req_v2 r;
	struct nlattr storages; /* empty: all of them */
};

/* Return: 1 there is more to come, 0 that was all, -EPROTO the kernel refuses. */
static int count(const char *buf, int n, long *sockets)
{
	const struct nlmsghdr *h = (const void *)buf;

	for (; NLMSG_OK(h, (unsigned int)n); h = NLMSG_NEXT(h, n)) {
		if (h->nlmsg_type == NLMSG_DONE)
			return 0;
		if (h->nlmsg_type == NLMSG_ERROR)
			return -EPROTO;
		++*sockets;
	}
	return 1;
}

long sb_diag_dump(bool storages, char *buf, size_t size)
{
	struct request q = {
		.h = { .nlmsg_len = storages ? sizeof(q) : sizeof(q) - sizeof(q.storages),
		       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.r = { .sdiag_family = AF_INET,
		       .sdiag_protocol = IPPROTO_TCP,
		       .idiag_ext = storages ? 0 : 1 << (INET_DIAG_INFO - 1),
		       .idiag_states = ~0U },
		.storages = { .nla_len = sizeof(q.storages),
			      .nla_type = INET_DIAG_REQ_SK_BPF_STORAGES | NLA_F_NESTED },
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG), more = 1;
	long sockets = 0;

	if (fd < 0 || send(fd, &q, q.h.nlmsg_len, 0) < 0)
		more = -errno;
	while (more > 0) {
		ssize_t n = recv(fd, buf, size, 0);

		more = n > 0 ? count(buf, (int)n, &sockets) : n < 0 ? -errno : -EIO;
	}
	close(fd);
	return more < 0 ? more : sockets;
}
