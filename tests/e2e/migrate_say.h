/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * migrate_say.h - what migrate knows of this process's listeners, for migrate_say*.c.
 */
#ifndef KCM_MIGRATE_SAY_H
#define KCM_MIGRATE_SAY_H

#include <bpf/bpf.h>

#include "kcm_migrate.h"
#include "kcm_sock.h"
#include "migrate_states.h"

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

static const struct shape plain = { .family = AF_INET, .backlog = 4096 };
static uint32_t number;

/* Where a listener is; NULL: it is not registered. */
static inline struct kcm_mg_slot *slot_of(int fd)
{
	struct kcm_mg_ref ref;
	socklen_t len = sizeof(uint64_t);
	uint64_t cookie;

	CHECK(!getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len));
	return bpf_map_lookup_elem(view.index_fd, &cookie, &ref) ? NULL : &view.mg->slot[ref.slot];
}

static inline struct kcm_mg_gen *gen_of(int fd)
{
	const struct kcm_mg_slot *s = slot_of(fd);

	CHECK(s);
	return &view.mg->group[s->group].gen[s->gen];
}

static inline bool works(int fd)
{
	const struct kcm_mg_slot *s = slot_of(fd);

	return s && view.mg->group[s->group].working == s->gen;
}

/* Every listener is in its generation once, and in no other; all counts are right. */
static inline void consistent(void)
{
	static uint8_t seen[KCM_MG_SLOTS];
	unsigned int open = 0, n = 0;

	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < KCM_MG_GROUPS; i++) {
		const struct kcm_mg_group *g = &view.mg->group[i];
		unsigned int drained = 0, listeners = 0;

		for (int at = 0; (g->flags & KCM_MG_GROUP_USED) && at < KCM_MG_GENS; at++) {
			const struct kcm_mg_gen *gen = &g->gen[at];
			bool gone = gen->state == KCM_MG_GEN_FREE || gen->state == KCM_MG_GEN_GONE;

			if (gen->state == KCM_MG_GEN_FREE)
				continue;
			CHECK(gone == (gen->n + gen->drained == 0));
			CHECK(gen->n || g->working != at || !g->n || g->drained == g->n);
			for (unsigned int m = 0; m < gen->n + gen->drained; m++) {
				const struct kcm_mg_slot *s = &view.mg->slot[gen->member[m]];

				CHECK(s->pos == m && s->gen == at && s->group == i);
				CHECK(!(s->flags & KCM_MG_SLOT_CLOSED));
				CHECK(!seen[gen->member[m]]++);
			}
			drained += gen->drained;
			listeners += gen->n + gen->drained;
		}
		CHECK(g->n == listeners && g->drained == drained);
		n += listeners;
	}
	for (unsigned int s = 0; s < view.mg->ctl.slots; s++)
		open += (view.mg->slot[s].flags & KCM_MG_SLOT_USED) &&
			!(view.mg->slot[s].flags & KCM_MG_SLOT_CLOSED);
	CHECK(open == n);
}

/* A connection, its message and its answer. Return: which of @fd accepted it. */
static inline int served_by(const int *fd, int n)
{
	struct message m, want = message(number);
	int c = client(&plain, number++, true), s = -1, by = -1;
	struct pollfd p[MAX];

	for (int i = 0; i < n; i++)
		p[i] = (struct pollfd){ .fd = fd[i], .events = POLLIN };
	while (s < 0) {
		CHECK(poll(p, (nfds_t)n, WAIT_MS) > 0);
		for (int i = 0; i < n && s < 0; i++)
			if (p[i].revents) {
				by = i;
				s = accept4(fd[i], NULL, NULL, SOCK_CLOEXEC);
			}
	}
	CHECK(recv(s, &m, sizeof(m), MSG_WAITALL) == sizeof(m));
	CHECK(m.number == want.number && m.check == want.check);
	CHECK(send(s, &m, sizeof(m), MSG_NOSIGNAL) == sizeof(m));
	CHECK(recv(c, &m, sizeof(m), MSG_WAITALL) == sizeof(m));
	CHECK(m.number == want.number && m.check == want.check);
	close(s);
	close(c);
	return by;
}

static inline bool all_served_by(const int *fd, int n, int by)
{
	for (int i = 0; i < 16; i++)
		if (served_by(fd, n) != by)
			return false;
	return true;
}

static inline int bound_at(uint32_t address, int port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
	struct sockaddr_storage ss;
	socklen_t len = addr_any(AF_INET, &ss);

	((struct sockaddr_in *)&ss)->sin_addr.s_addr = htonl(address);
	((struct sockaddr_in *)&ss)->sin_port = htons((uint16_t)port);
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)));
	CHECK(!bind(fd, (void *)&ss, len));
	return fd;
}

static inline int bound_to(int port)
{
	return bound_at(INADDR_LOOPBACK, port);
}

static inline int raw(int fd, int option, const void *value, socklen_t n)
{
	return setsockopt(fd, KCM_SOL_KCM, option, value, n) ? -errno : 0;
}

/* ---- cases ---- */

struct say_case {
	const char *name;
	void (*fn)(void);
	int policy; /* -1: it wants no instance */
};

static inline int run_case(const struct say_case *cases, size_t n, int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < n; i++) {
		if (strcmp(argv[1], cases[i].name))
			continue;
		net_begin();
		if (cases[i].policy >= 0)
			attach(false, (enum kcm_mg_policy)cases[i].policy);
		cases[i].fn();
		if (cases[i].policy >= 0)
			detach();
		return 0;
	}
	fprintf(stderr, "usage: %s CASE, one of", argv[0]);
	for (size_t i = 0; i < n; i++)
		fprintf(stderr, " %s", cases[i].name);
	fprintf(stderr, "\n");
	return 2;
}

#endif
