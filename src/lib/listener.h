/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * listener.h - the listening sockets of a port: who has them, and what they are set to. Internal
 * to libkcm and kcmtool.
 *
 *   listener.c        find, free, text     listener_diag.c   what the kernel lists of them
 *   listener_owner.c  processes            listener_dup.c    a descriptor of one, its options
 *   listener_env.c    sysctls and counters of their network namespaces
 *
 * Thread safety: no state is kept, any number of threads may call these at once. The namespaces of
 * other sockets are entered by a thread of the call's own: the caller's thread stays in its.
 *
 * Everything is what was so at one time of the call. A process, socket or namespace that vanishes
 * meanwhile is left out, which is no error.
 */
#ifndef KCM_LISTENER_H
#define KCM_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <linux/types.h>

/* An int below that could not be found out. (-1 is a value of SO_INCOMING_CPU.) */
#define KCM_LISTENER_UNKNOWN (-2)

#define KCM_LISTENER_TEXT 80

struct kcm_listener_owner {
	pid_t pid;	/* of the process, in our pid namespace */
	int fd;		/* its number there; one entry for each */
	__u64 start_ns; /* when the process began, after boot, in steps of 10 ms; 0: not known */
	char comm[16];
};

struct kcm_listener {
	/* From the kernel's list: always known. */
	__u64 netns_inode;
	__u64 netns_cookie; /* as BPF programs see it; 0: not known */
	__u64 cookie;	    /* SO_COOKIE; of MPTCP: of the TCP socket below it */
	__u64 cgroup_id;    /* where it was made; 0: not known (Linux before 5.9) */
	__u32 inode;	    /* of the file, in sockfs */
	__u32 uid;	    /* of the file: those of one SO_REUSEPORT group are the same */
	__u32 ifindex;	    /* of SO_BINDTODEVICE; 0: none */
	__u16 port;	    /* host byte order */
	__u8 protocol;	    /* IPPROTO_TCP (also of MPTCP) or IPPROTO_UDP */
	__u8 family;	    /* AF_INET or AF_INET6 */
	__u8 addr[16];	    /* network byte order; the first 4 of AF_INET, zeros behind them */
	int v6only;	    /* of AF_INET6; of AF_INET 0 */
	/*
	 * TCP: connections in the accept queue, and how many of them it holds before it is full,
	 * which is when there are more than that. UDP: bytes that wait in it, and 0.
	 */
	__u32 queue;
	__u32 backlog;
	__u32 drops; /* UDP: datagrams that the socket had no room for */
	/* TCP: half-open requests at its address and port, its own and those of others there. */
	__u32 half_open;

	/* Known with CAP_NET_ADMIN, or of a socket that could be duplicated. 0 or 1. */
	int mptcp;
	int md5; /* with CAP_NET_ADMIN only */

	/* Known of a socket that could be duplicated. */
	int reuseport;	    /* 0 or 1 */
	int reuseport_prog; /* the kernel does not tell: 0 if it can have none, else unknown */
	int incoming_cpu;   /* SO_INCOMING_CPU; -1: not set */
	int save_syn;	    /* TCP_SAVE_SYN, 0 to 2 */
	int fastopen;	    /* TCP_FASTOPEN: length of its queue, 0: off */
	int defer_accept;   /* TCP_DEFER_ACCEPT, seconds */
	int dup_err;	    /* 0, or why it was not: -errno of kcm_listener_dup() */

	struct kcm_listener_owner *owners; /* by pid and fd; those that may be seen */
	size_t n_owners;
};

/* What could not be looked at, for lack of privilege. */
struct kcm_listener_blind {
	unsigned int netns;	/* network namespaces: without CAP_SYS_ADMIN */
	unsigned int processes; /* their descriptors: of other users, without CAP_SYS_PTRACE */
};

struct kcm_listener_filter {
	__u16 port;    /* host byte order, not 0 */
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	bool children; /* of @pid: of what it has started, too */
	pid_t pid;     /* a descriptor of this process; 0: of any */
	/*
	 * A descriptor of a process in this cgroup or below; of a socket that no process is seen
	 * to have, the cgroup in which it was made counts. A path as cgroup_open() takes it, or an
	 * id; NULL and 0: any.
	 */
	const char *cgroup;
	__u64 cgroup_id;
	struct kcm_listener_blind *blind; /* filled, if not NULL */
};

/**
 * kcm_listeners_find() - find listening sockets (UDP: bound ones without a peer)
 * @f: all of its conditions hold
 * @list: what was found, of @n; by namespace, our own first, then by group, then by cookie
 * (which is no age). Free with kcm_listeners_free().
 * @err: one line if it fails; may be NULL
 *
 * In all network namespaces that netns_list() finds and that may be entered.
 *
 * Return: 0, also if nothing was found; -EINVAL no port, or another protocol; -ESRCH no process
 * has @f->pid; -EACCES its descriptors may not be read; -ENOENT, -ENOTTY, -ENODEV no such cgroup,
 * as cgroup_open(); -EPROTONOSUPPORT this kernel has no inet_diag; -ENOMEM; or -errno.
 */
int kcm_listeners_find(const struct kcm_listener_filter *f, struct kcm_listener **list, size_t *n,
		       char *err, size_t size);
void kcm_listeners_free(struct kcm_listener *list, size_t n);

/**
 * kcm_listener_dup() - a descriptor of this very socket, by pidfd_getfd() from one of its owners
 * Setting an option by it sets it for the owner, shutdown() shuts it down for the owner: close()
 * alone does nothing to it, and the last of all descriptors ends it.
 * Return: a descriptor, close-on-exec; -EPERM no owner may be traced (that takes the same user,
 * no more privilege and Yama's consent, or CAP_SYS_PTRACE); -ENOENT nobody is seen to have it (any
 * more); -ENOSYS Linux before 5.6; or -errno.
 */
int kcm_listener_dup(const struct kcm_listener *l);

/**
 * kcm_listener_group_cmp() - order by what makes a SO_REUSEPORT group
 * That is namespace, protocol, port, family, V6ONLY, address, device, uid; and plain TCP or
 * MPTCP, which the kernel does mix, though neither can serve the other's connections.
 * Return: 0 if the kernel puts both in one group, provided that both have SO_REUSEPORT.
 */
int kcm_listener_group_cmp(const struct kcm_listener *a, const struct kcm_listener *b);

/* "127.0.0.1:80", "[::]:80 v6only dev 3". Return: @text, of KCM_LISTENER_TEXT bytes. */
const char *kcm_listener_text(const struct kcm_listener *l, char *text);

/* Settings and counters of a network namespace; -1: this kernel has none, or it was not entered. */
struct kcm_listener_env {
	__u64 netns_inode;
	bool entered;
	int somaxconn;	       /* net.core.somaxconn */
	int migrate_req;       /* net.ipv4.tcp_migrate_req */
	int abort_on_overflow; /* net.ipv4.tcp_abort_on_overflow */
	int syncookies;	       /* net.ipv4.tcp_syncookies */
	int max_syn_backlog;   /* net.ipv4.tcp_max_syn_backlog */
	int fastopen;	       /* net.ipv4.tcp_fastopen: bit 0 clients, bit 1 servers */
	int synack_retries;    /* net.ipv4.tcp_synack_retries */
	/* Since the namespace began, of all sockets in it. */
	long long syncookies_sent;
	long long listen_overflows;
	long long listen_drops;
	long long migrate_success;
	long long migrate_failure;
};

/**
 * kcm_listener_env() - fill @env, @n of them, whose netns_inode the caller has set
 * A namespace that is gone or may not be entered stays with @entered false.
 * Return: 0 or -errno.
 */
int kcm_listener_env(struct kcm_listener_env *env, size_t n);

#endif
