// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * migrate_states CASE - whatever state a connection is in when its listener goes, it is accepted
 * by a listener of the newest generation and of its own kind, with its data.
 *
 *	matrix	{in the accept queue, SYN_RECV by TFO, NEW_SYN_RECV by ACK and by timer}
 *		x {close, shutdown} x {IPv4, IPv6} x {2, 16, 128 listeners}
 *	even	10,000 queued connections over 1 to 7 listeners
 *	kinds	who saves SYNs takes nothing over for who does not, and the other way round
 *	generations	1,000 of them, two listeners closing at once
 *	full	the new listener's queue is full; there is none; the group is made anew
 *
 * Old and new listeners are in this process: generations are told (`manual`), not found out.
 */
#define _GNU_SOURCE
#include "migrate_states.h"

/* ---- cases ---- */

enum state {
	QUEUED,
	FASTOPEN,
	HALF_ACK,
	HALF_TIMER,
	STATES,
};

static uint32_t number;

static void one(enum state state, bool by_shutdown, int family, int n)
{
	struct shape s = { .family = family, .backlog = 4096, .fastopen = state == FASTOPEN };
	int old[MAX], new[MAX], half = n / 2, total = n * 4, fd[MAX * 4];
	uint32_t each[MAX], first = number, least = ~0U, most = 0;

	doing("state %d shutdown %d family %d listeners %d", state, by_shutdown, family, n);
	mg_generation_new(&view);
	listeners(&s, old, half);
	selector();
	if (state != QUEUED)
		acks(false);
	for (int i = 0; i < total; i++)
		fd[i] = client(&s, number++, state == QUEUED);
	CHECK(mg_generation_new(&view) > 0);
	listeners(&s, new, n - half);
	close_all(old, half, by_shutdown);
	if (state == HALF_TIMER)
		/* The first retransmission of a SYN-ACK comes after 1 s. */
		nanosleep(&(struct timespec){ 1, 300000000 }, NULL);
	if (state != QUEUED)
		acks(true);
	for (int i = 0; (state == HALF_ACK || state == HALF_TIMER) && i < total; i++)
		say(fd[i], first + (uint32_t)i);
	accept_all(new, n - half, total, first, each);
	answers(fd, total, first);
	for (int i = 0; i < n - half; i++) {
		least = each[i] < least ? each[i] : least;
		most = each[i] > most ? each[i] : most;
	}
	/* Requests that are half open may be tried by ACK and by timer. */
	CHECK(most - least <=
	      (state == QUEUED || state == FASTOPEN ? 1U : (uint32_t)total / 8 + 2));
	close_all(new, n - half, false);
}

static void matrix(void)
{
	static const int sizes[] = { 2, 16, 128 }, families[] = { AF_INET, AF_INET6 };

	for (int state = 0; state < STATES; state++)
		for (int down = 0; down < 2; down++)
			for (int f = 0; f < 2; f++)
				for (int i = 0; i < 3; i++)
					one((enum state)state, down, families[f], sizes[i]);
	for (int i = 0; i < KCM_MG_GROUPS; i++)
		CHECK(!view.mg->group[i].refused_kind && !view.mg->group[i].refused_none);
}

static void even(void)
{
	enum { TOTAL = 10000 };
	struct shape s = { .family = AF_INET, .backlog = 20000 };
	int *fd = calloc(TOTAL, sizeof(*fd));

	for (int k = 1; k <= 7; k += 2) {
		uint32_t each[MAX], first = number;
		int old, new[MAX];

		doing("even over %d", k);
		mg_generation_new(&view);
		listeners(&s, &old, 1);
		selector();
		for (int i = 0; i < TOTAL; i++)
			fd[i] = client(&s, number++, true);
		mg_generation_new(&view);
		listeners(&s, new, k);
		close(old);
		accept_all(new, k, TOTAL, first, each);
		answers(fd, TOTAL, first);
		for (int i = 0; i < k; i++)
			CHECK(abs((int)each[i] - TOTAL / k) <= TOTAL / k / 100 + 2);
		close_all(new, k, false);
	}
	free(fd);
}

static bool was_reset(int fd)
{
	char c;

	return recv(fd, &c, 1, 0) < 0 && errno == ECONNRESET;
}

static void kinds(void)
{
	struct shape plain = { .family = AF_INET, .backlog = 128 }, saves = plain;
	struct kcm_mg_group *g;
	int old, new[4], fd[32];
	uint32_t each[4], first;

	saves.save_syn = true;
	for (int other_way = 0; other_way < 2; other_way++) {
		const struct shape *a = other_way ? &saves : &plain;
		const struct shape *b = other_way ? &plain : &saves;

		doing("kinds, a listener of the same: %d", other_way);
		mg_generation_new(&view);
		old = listener(a);
		selector();
		first = number;
		for (int i = 0; i < 32; i++)
			fd[i] = client(a, number++, true);
		mg_generation_new(&view);
		listeners(b, new, 3);
		new[3] = listener(a);
		close(old);
		accept_all(&new[3], 1, 32, first, each);
		answers(fd, 32, first);
		close_all(new, 4, false);

		doing("kinds, none of the same: %d", other_way);
		g = group_of(AF_INET);
		mg_generation_new(&view);
		old = listener(a);
		selector();
		for (int i = 0; i < 32; i++)
			fd[i] = client(a, number++, true);
		mg_generation_new(&view);
		listeners(b, new, 4);
		g->refused_kind = 0;
		close(old);
		for (int i = 0; i < 32; i++) {
			CHECK(was_reset(fd[i]));
			close(fd[i]);
		}
		CHECK(g->refused_kind == 32);
		for (int i = 0; i < 4; i++)
			CHECK(accept(new[i], NULL, NULL) < 0 && errno == EAGAIN);
		close_all(new, 4, false);
	}
}

/* ---- races ---- */

/*
 * Generation after generation: two listeners of the old one go at once, from two threads, with
 * connections in their queues.
 */
static void *close_one(void *arg)
{
	close(*(int *)arg);
	return NULL;
}

static void generations(void)
{
	enum { ROUNDS = 1000, QUEUE = 8 };
	struct shape s = { .family = AF_INET, .backlog = 512 };
	int mine[2];
	struct kcm_mg_group *g;

	mg_generation_new(&view);
	listeners(&s, mine, 2);
	selector();
	g = group_of(AF_INET);
	for (int r = 0; r < ROUNDS; r++) {
		uint32_t each[2], first = number;
		int fd[QUEUE], new[2];
		pthread_t t[2];

		doing("generation %d", r);
		for (int i = 0; i < QUEUE; i++)
			fd[i] = client(&s, number++, true);
		CHECK(mg_generation_new(&view) > 0);
		listeners(&s, new, 2);
		for (int i = 0; i < 2; i++)
			pthread_create(&t[i], NULL, close_one, &mine[i]);
		for (int i = 0; i < 2; i++)
			pthread_join(t[i], NULL);
		accept_all(new, 2, QUEUE, first, each);
		answers(fd, QUEUE, first);
		memcpy(mine, new, sizeof(new));
		CHECK(g->n == 2);
	}
	CHECK(!g->refused_none && !g->refused_kind);
	close_all(mine, 2, false);
	CHECK(g->n == 0);
}

static void full(void)
{
	enum { TOTAL = 50 };
	struct shape s = { .family = AF_INET, .backlog = 128 }, small = s;
	uint32_t each[2], first = number;
	int fd[TOTAL], old, new;

	small.backlog = 3;
	doing("the target's backlog is full");
	mg_generation_new(&view);
	old = listener(&s);
	selector();
	for (int i = 0; i < TOTAL; i++)
		fd[i] = client(&s, number++, true);
	mg_generation_new(&view);
	new = listener(&small);
	close(old);
	accept_all(&new, 1, TOTAL, first, each);
	answers(fd, TOTAL, first);

	doing("nobody is left");
	for (int i = 0; i < TOTAL; i++)
		fd[i] = i < 3 ? client(&small, number++, true) : -1;
	close(new);
	for (int i = 0; i < 3; i++) {
		CHECK(was_reset(fd[i]));
		close(fd[i]);
	}

	doing("the group anew");
	for (int round = 0; round < 20; round++) {
		first = number;
		mg_generation_new(&view);
		old = listener(&s);
		selector();
		fd[0] = client(&s, number++, true);
		mg_generation_new(&view);
		new = listener(&s);
		close(old);
		accept_all(&new, 1, 1, first, each);
		answers(fd, 1, first);
		close(new);
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*fn)(void);
	} cases[] = {
		{ "matrix", matrix },		{ "even", even }, { "kinds", kinds },
		{ "generations", generations }, { "full", full },
	};

	for (size_t i = 0; argc == 2 && i < sizeof(cases) / sizeof(*cases); i++) {
		if (strcmp(argv[1], cases[i].name))
			continue;
		net_begin();
		attach(true, KCM_MG_HASH);
		cases[i].fn();
		detach();
		return 0;
	}
	fprintf(stderr, "usage: migrate_states matrix|even|kinds|generations|full\n");
	return 2;
}
