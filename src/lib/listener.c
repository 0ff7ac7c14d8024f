// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* listener.c - find listening sockets in all namespaces. */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include "../util.h"
#include "listener_part.h"

/* ---- a thread for what enters namespaces ---- */

struct thread_job {
	int (*fn)(void *arg);
	void *arg;
	int ret;
};

static void *thread_run(void *arg)
{
	struct thread_job *job = arg;

	job->ret = job->fn(job->arg);
	return NULL;
}

int listener_thread(int (*fn)(void *arg), void *arg)
{
	struct thread_job job = { fn, arg, 0 };
	sigset_t all, before;
	pthread_t thread;
	int err;

	/* Signals are the caller's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&thread, NULL, thread_run, &job);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return -err;
	pthread_join(thread, NULL);
	return job.ret;
}

/* ---- find ---- */

struct finding {
	const struct kcm_listener_filter *f;
	struct listener_whose whose;
	struct listener_list list;
	struct kcm_listener_blind blind;
	char *err;
	size_t size;
};

_printf_(3, 4) static int fail(struct finding *s, int ret, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->err, s->size, fmt, ap);
	va_end(ap);
	return ret;
}

static int visit(struct finding *s)
{
	struct netns_list ns;
	int err = netns_list(&ns);

	if (err)
		return fail(s, err, "network namespaces: %s", strerror(-err));
	/* Our own is first: from others there may be no way back to it. */
	for (size_t i = 0; i < ns.n && !err; i++) {
		if (ns.ns[i].fd >= 0 && setns(ns.ns[i].fd, CLONE_NEWNET)) {
			s->blind.netns++;
			continue;
		}
		err = listener_diag(s->f, &ns.ns[i], &s->list);
	}
	netns_free(&ns);
	if (err == -EPROTONOSUPPORT)
		return fail(s, err, "this kernel has no %s_diag",
			    s->f->protocol == IPPROTO_TCP ? "tcp" : "udp");
	return err ? fail(s, err, "sock_diag: %s", strerror(-err)) : 0;
}

static bool asked_for(const struct listener_whose *w, const struct kcm_listener *l)
{
	if (w->any)
		return true;
	for (size_t i = 0; i < l->n_owners; i++)
		if (listener_ids_have(&w->pids, (__u64)l->owners[i].pid))
			return true;
	return !l->n_owners && listener_ids_have(&w->cgroups, l->cgroup_id);
}

static void choose(struct finding *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->list.n; i++) {
		if (asked_for(&s->whose, &s->list.l[i]))
			s->list.l[kept++] = s->list.l[i];
		else
			free(s->list.l[i].owners);
	}
	s->list.n = kept;
}

static int find(void *arg)
{
	struct finding *s = arg;
	int err = listener_whose(s->f, &s->whose, s->err, s->size);

	err = err ?: visit(s);
	if (err)
		return err;
	err = listener_owners(&s->list, &s->blind.processes);
	if (err)
		return fail(s, err, "/proc: %s", strerror(-err));
	choose(s);
	for (size_t i = 0; i < s->list.n; i++)
		listener_options(&s->list.l[i]);
	return 0;
}

int kcm_listener_group_cmp(const struct kcm_listener *a, const struct kcm_listener *b)
{
#define COMPARE(field)            \
	if (a->field != b->field) \
		return a->field < b->field ? -1 : 1;
	COMPARE(netns_inode)
	COMPARE(protocol)
	COMPARE(port)
	COMPARE(family)
	COMPARE(v6only)
	if (memcmp(a->addr, b->addr, sizeof(a->addr)) != 0)
		return memcmp(a->addr, b->addr, sizeof(a->addr));
	COMPARE(ifindex)
	COMPARE(uid)
	COMPARE(mptcp)
#undef COMPARE
	return 0;
}

static int by_group(const void *a, const void *b)
{
	const struct kcm_listener *x = a, *y = b;
	int order = kcm_listener_group_cmp(x, y);

	return order ?: (x->cookie > y->cookie) - (x->cookie < y->cookie);
}

/* Namespaces stay in the order they were visited in. */
static void sort(struct listener_list *list)
{
	for (size_t from = 0, to; from < list->n; from = to) {
		for (to = from; to < list->n; to++)
			if (list->l[to].netns_inode != list->l[from].netns_inode)
				break;
		qsort(&list->l[from], to - from, sizeof(*list->l), by_group);
	}
}

int kcm_listeners_find(const struct kcm_listener_filter *f, struct kcm_listener **list, size_t *n,
		       char *err, size_t size)
{
	char unheard[1];
	struct finding s = {
		.f = f,
		.err = err && size ? err : unheard,
		.size = err && size ? size : sizeof(unheard),
	};
	int ret;

	*list = NULL;
	*n = 0;
	*s.err = '\0';
	if (!f->port || (f->protocol != IPPROTO_TCP && f->protocol != IPPROTO_UDP))
		return fail(&s, -EINVAL, "a port of TCP or UDP is wanted");
	ret = listener_thread(find, &s);
	free(s.whose.pids.id);
	free(s.whose.cgroups.id);
	if (f->blind)
		*f->blind = s.blind;
	if (ret) {
		if (!*s.err)
			fail(&s, ret, "%s", strerror(-ret));
		kcm_listeners_free(s.list.l, s.list.n);
		return ret;
	}
	sort(&s.list);
	*list = s.list.l;
	*n = s.list.n;
	return 0;
}

void kcm_listeners_free(struct kcm_listener *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i].owners);
	free(list);
}

const char *kcm_listener_text(const struct kcm_listener *l, char *text)
{
	char addr[INET6_ADDRSTRLEN], dev[24] = "";

	inet_ntop(l->family, l->addr, addr, sizeof(addr));
	if (l->ifindex)
		snprintf(dev, sizeof(dev), " dev %u", l->ifindex);
	snprintf(text, KCM_LISTENER_TEXT, l->family == AF_INET6 ? "[%s]:%u%s%s" : "%s:%u%s%s", addr,
		 l->port, l->v6only ? " v6only" : "", dev);
	return text;
}
