// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * migrate_say_race CASE - whatever is said in whatever order: every listener is in its generation
 * once, and connections are served by those that take some.
 *
 *	random SEED	20,000 times something is said, opened or closed; all is as it must be each
 *time race		four threads say what they like of the same listeners, and open and close
 *others
 */
#define _GNU_SOURCE
#include "migrate_say.h"

#define LISTENERS 24
#define NUMBERS	  5

static uint32_t pick(uint64_t *state, uint32_t n)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return (uint32_t)((z ^ z >> 31) % n);
}

/* ---- random ---- */

static int fds[LISTENERS];
static bool drains[LISTENERS];

static bool drains_now(int i)
{
	return slot_of(fds[i])->pos >= gen_of(fds[i])->n;
}

static int taking(int but)
{
	int n = 0;

	for (int i = 0; i < LISTENERS; i++)
		n += i != but && fds[i] >= 0 && !drains[i];
	return n;
}

static void open_one(int i, uint32_t n, uint32_t how)
{
	fds[i] = bound_to(PORT);
	if (how)
		CHECK(!(how == 1 ? kcm_listener_generation(fds[i], n ? n : 1)
				 : kcm_listener_register(fds[i], n)));
	CHECK(!listen(fds[i], 128));
	drains[i] = false;
}

/* The first stays open: the selector goes with the last listener. */
static void close_one(int i, bool by_shutdown)
{
	if (by_shutdown)
		CHECK(!shutdown(fds[i], SHUT_RD));
	close(fds[i]);
	fds[i] = -1;
	if (taking(-1))
		return;
	/* Nobody else: some that drain take connections again. */
	for (int j = 0; j < LISTENERS; j++)
		drains[j] = fds[j] >= 0 && drains_now(j);
	CHECK(taking(-1));
}

static void one(uint64_t *state)
{
	int i = (int)pick(state, LISTENERS), ret;
	uint32_t n = pick(state, NUMBERS + 1), op = pick(state, 6);

	doing("op %u of listener %d, number %u", op, i, n);
	if (fds[i] < 0) {
		open_one(i, n, op % 3);
	} else if (op == 0 && i) {
		close_one(i, n & 1);
	} else if (op < 3) {
		ret = op == 1 ? kcm_listener_register(fds[i], n)
			      : kcm_listener_generation(fds[i], n ? n : 1);
		CHECK(!ret);
		drains[i] = false;
		CHECK(!n || gen_of(fds[i])->key.number == n);
	} else {
		ret = kcm_listener_drain(fds[i]);
		CHECK(ret == (taking(i) || drains[i] ? 0 : -ENOENT));
		drains[i] |= !ret;
	}
}

static void serve_one(void)
{
	int at[LISTENERS], fd[LISTENERS], n = 0;

	for (int i = 0; i < LISTENERS; i++)
		if (fds[i] >= 0) {
			at[n] = i;
			fd[n++] = fds[i];
		}
	CHECK(!drains[at[served_by(fd, n)]]);
}

static void random_ops(uint64_t seed)
{
	memset(fds, -1, sizeof(fds));
	open_one(0, 0, 0);
	selector();
	for (int k = 0; k < 20000; k++) {
		one(&seed);
		consistent();
		for (int i = 0; i < LISTENERS; i++)
			CHECK(fds[i] < 0 || drains[i] == drains_now(i));
		if (k % 4 == 0)
			serve_one();
	}
}

/* ---- race ---- */

enum {
	SHARED = 6,
	THREADS = 4,
	OPS = 20000,
};

static int shared[SHARED];
static int left = THREADS;

static void *say_things(void *arg)
{
	uint64_t state = (uint64_t)(long)arg;
	int own = -1;

	for (int k = 0; k < OPS; k++) {
		int fd = shared[pick(&state, SHARED)], ret = 0;
		uint32_t n = pick(&state, NUMBERS);

		switch (pick(&state, 8)) {
		case 0:
			if (own >= 0)
				close(own);
			/* No connections: close() of the kernel may reset one that is just made. */
			own = own >= 0 ? -1 : bound_at(INADDR_LOOPBACK + 1, PORT);
			if (own >= 0)
				CHECK(!kcm_listener_register(own, n) && !listen(own, 128));
			break;
		case 1:
		case 2:
			ret = kcm_listener_register(fd, n);
			break;
		case 3:
			ret = kcm_listener_generation(fd, n + 1);
			break;
		case 4:
			ret = kcm_listener_register(fd, 0);
			break;
		default:
			ret = kcm_listener_drain(fd);
			ret = ret == -ENOENT ? 0 : ret;
		}
		if (ret)
			fprintf(stderr, "said: %s\n", strerror(-ret));
		CHECK(!ret);
	}
	if (own >= 0)
		close(own);
	__atomic_sub_fetch(&left, 1, __ATOMIC_ACQ_REL);
	return NULL;
}

static void race(void)
{
	pthread_t t[THREADS];
	unsigned int served = 0;

	listeners(&plain, shared, SHARED);
	selector();
	for (long i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&t[i], NULL, say_things, (void *)(i + 1)));
	for (; __atomic_load_n(&left, __ATOMIC_ACQUIRE); served++)
		served_by(shared, SHARED);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	consistent();
	CHECK(view.mg->group[0].n == SHARED && served);
	for (int i = 0; i < SHARED; i++)
		CHECK(!kcm_listener_register(shared[i], 77));
	CHECK(gen_of(shared[0])->n == SHARED && !view.mg->group[0].drained);
	served_by(shared, SHARED);
	printf("%u connections served meanwhile\n", served);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "random")) {
		net_begin();
		attach(false, KCM_MG_HASH);
		random_ops(strtoull(argv[2], NULL, 0));
	} else if (argc == 2 && !strcmp(argv[1], "race")) {
		net_begin();
		attach(false, KCM_MG_HASH);
		race();
	} else {
		fprintf(stderr, "usage: migrate_say_race random SEED | race\n");
		return 2;
	}
	detach();
	return 0;
}
