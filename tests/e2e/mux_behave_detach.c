// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * mux_behave_detach CASE - take a connection out of the mux while its client sends numbered
 * messages. What workers got and what the caller reads from then on make up the stream, with no
 * byte missing or doubled, and the second part begins at a message's first byte.
 */
#define _GNU_SOURCE
#include "mux_kit.h"
#include "owner.h"

struct load {
	struct kit k;
	int fd;
	uint32_t msgs, max, seg;
	uint64_t seed;
	uint8_t *seen;	 /* by workers */
	uint32_t n_seen; /* of those */
	volatile bool detached;
	uint32_t again; /* times that kcm_detach() said -EAGAIN */
};

static void *sender(void *arg)
{
	struct load *l = arg;
	uint8_t *buf = malloc(l->max);
	uint64_t s = l->seed;

	for (uint32_t i = 0; i < l->msgs; i++) {
		/* Not the end before the detach. */
		while (i == l->msgs - 10 && !l->detached)
			usleep(1000);
		send_cut(l->fd, buf, msg_make(buf, 1, i, KIT_HEAD + rnd(&s) % (l->max - 11)),
			 l->seg, &s);
	}
	shutdown(l->fd, SHUT_WR);
	free(buf);
	return NULL;
}

struct worker_arg {
	struct load *l;
	struct kcm_worker *w;
};

static void *worker(void *arg)
{
	struct worker_arg *a = arg;
	struct load *l = a->l;
	struct kcm_worker *w = a->w;
	struct kcm_msg msgs[16];
	int n;

	while ((n = kcm_recv(w, msgs, 16, -1)) >= 0) {
		for (int i = 0; i < n; i++) {
			uint32_t c, num;

			/* A connection that was detached has no event. */
			CHECK_EQ(msgs[i].event, KCM_MESSAGE);
			CHECK(msg_ok(msgs[i].data, msgs[i].len, &c, &num));
			CHECK(num < l->msgs &&
			      !__atomic_fetch_add(&l->seen[num], 1, __ATOMIC_SEQ_CST));
			__atomic_fetch_add(&l->n_seen, 1, __ATOMIC_SEQ_CST);
		}
		kcm_release(w, msgs, (unsigned int)n);
	}
	kcm_worker_close(w);
	return NULL;
}

/* Bytes of @rest first, then of the socket. Return: bytes, fewer at the end. */
struct plain {
	int fd;
	uint8_t *rest;
	size_t n, at;
};

static size_t plain_read(struct plain *p, uint8_t *to, size_t n)
{
	size_t some = p->n - p->at < n ? p->n - p->at : n;
	ssize_t r;

	if (some)
		memcpy(to, p->rest + p->at, some);
	p->at += some;
	r = recv_all(p->fd, to + some, n - some);
	CHECK(r >= 0);
	return some + (size_t)r;
}

/* Return: number of the first message that comes the plain way, @msgs if none does. */
static uint32_t read_plain(struct plain *p, const struct load *l)
{
	uint8_t *buf = malloc(l->max + 4);
	uint32_t first = l->msgs, expect = 0, len, c, num;

	for (;;) {
		size_t n = plain_read(p, buf, 4);

		if (!n)
			break;
		CHECK_EQ(n, 4);
		memcpy(&len, buf, 4);
		len = ntohl(len);
		CHECK(len + 4 <= l->max);
		CHECK_EQ(plain_read(p, buf + 4, len), len);
		CHECK(msg_ok(buf, len + 4, &c, &num));
		if (first == l->msgs)
			first = expect = num;
		CHECK_EQ(num, expect);
		expect++;
	}
	CHECK(first == l->msgs || expect == l->msgs);
	free(buf);
	return first;
}

/* @reader: workers take messages; else they wait in the mux, or in TCP, until after the detach. */
static uint32_t detach_once(struct load *l, bool reader, uint32_t delay_us)
{
	struct plain p = { 0 };
	struct worker_arg args[2];
	pthread_t s, w[2];
	uint32_t first, i;
	kcm_conn_id id;

	l->seen = calloc(1, l->msgs);
	l->n_seen = 0;
	kit_open(&l->k, "u32be max=1M");
	for (int j = 0; reader && j < 2; j++) {
		args[j] = (struct worker_arg){ l, kit_worker(&l->k) };
		pthread_create(&w[j], NULL, worker, &args[j]);
	}
	l->fd = kit_conn(&l->k, &id);
	pthread_create(&s, NULL, sender, l);
	usleep(delay_us);
	/* A client that never pauses may make it fail, and nothing has happened then. */
	for (uint64_t end = now_ms() + KIT_WAIT;;) {
		p.fd = kcm_detach(l->k.m, id, (void **)&p.rest, &p.n);
		if (p.fd != -EAGAIN)
			break;
		l->again++;
		if (now_ms() > end)
			die("still -EAGAIN after %u times", l->again);
		usleep(1000);
	}
	if (p.fd < 0)
		die("kcm_detach: %s", strerror(-p.fd));
	l->detached = true;
	for (int j = 0; !reader && j < 2; j++) {
		args[j] = (struct worker_arg){ l, kit_worker(&l->k) };
		pthread_create(&w[j], NULL, worker, &args[j]);
	}
	first = read_plain(&p, l);
	pthread_join(s, NULL);
	WAIT_FOR(LOAD(&l->n_seen) == first);
	for (i = 0; i < l->msgs; i++)
		CHECK_EQ(l->seen[i], i < first);
	/* The slot is free when the last of its messages is released. */
	WAIT_FOR(LOAD(&l->k.m->n_conns) == 0);
	CHECK_EQ(l->k.m->v.conf->detached, 1);
	/* It is a plain socket: a reply goes out, the end is the end. */
	CHECK_EQ(send(p.fd, "plain", 5, MSG_NOSIGNAL), 5);
	close(p.fd);
	CHECK_EQ(recv_end(l->fd), 5);
	close(l->fd);
	free(p.rest);
	free(l->seen);
	kit_close(&l->k);
	for (int j = 0; j < 2; j++)
		pthread_join(w[j], NULL);
	return first;
}

static void under_load(const struct load *like, bool reader, int times)
{
	uint32_t first = 0, all = 0, again = 0;
	uint64_t s = like->seed;

	for (int i = 0; i < times; i++) {
		struct load l = *like;

		l.seed = rnd(&s);
		l.k.o.dispatch = (enum kcm_dispatch)(i % 4);
		l.k.o.key_bytes = i % 4 == KCM_DISPATCH_KEY;
		first += detach_once(&l, reader, (uint32_t)(rnd(&s) % 20000));
		all += l.msgs;
		again += l.again;
	}
	printf("%d times: %u messages to workers, %u the plain way, %u tries again\n", times, first,
	       all - first, again);
	CHECK(first && first < all);
}

static void small(kit_args)
{
	under_load(&(struct load){ .msgs = 60000, .max = 300, .seg = 3000, .seed = 1 }, true, 30);
}

static void pieces(kit_args)
{
	under_load(&(struct load){ .msgs = 4000, .max = 900, .seg = 50, .seed = 2 }, true, 15);
}

/* Messages that only the owner can take, and half of one in its hands. */
static void big(kit_args)
{
	under_load(&(struct load){ .msgs = 150, .max = 1 << 20, .seg = 200000, .seed = 3 }, true,
		   15);
}

/* A mux without room: the stream waits in TCP and in the owner. */
static void held(kit_args)
{
	under_load(&(struct load){ .msgs = 20000,
				   .max = 9000,
				   .seg = 20000,
				   .seed = 4,
				   .k.o.arena_bytes = 6 << 20 },
		   false, 15);
}

int main(int argc, char **argv)
{
	static const struct kit_case cases[] = {
		{ "small", small }, { "pieces", pieces }, { "big", big }, { "held", held }, { 0 },
	};

	return kit_main(argc, argv, cases, 400);
}
