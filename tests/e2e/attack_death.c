// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * attack_death - a worker dies between two instructions that belong together. It does by hand what
 * the library does up to there. Afterwards another worker serves the same connection, whole, and
 * nothing is left behind.
 */
#define _GNU_SOURCE
#include "attack.h"
#include "../../src/lib/owner.h"
#include "../../src/lib/txlock.h"
#include "../../src/lib/worker.h"

enum point {
	P_GIVEN,       /* message in hand */
	P_DONE,	       /* released, chunk not freed */
	P_FREED,       /* chunk freed, not marked */
	P_UNCOUNTED,   /* chunk marked, message not counted */
	P_KEPT,	       /* released and a reply kept back */
	P_LOCKED,      /* connection locked */
	P_SENT,	       /* reply sent, not accounted */
	P_SENT_PART,   /* part of a reply sent */
	P_HANDING,     /* hand-over announced, not sent */
	P_HANDED_PART, /* part of a hand-over sent */
};

struct plan {
	enum point point;
	bool resets; /* the stream can't go on: the client must see that */
	int answers; /* of the one message */
};

static uint8_t *own_byte(struct kcm_worker *w, const struct kcm_msg *m)
{
	return (uint8_t *)&w->v.claims[m->priv >> 8 & 0xffff].own[0] + (m->priv & 0xff);
}

static void die_at(struct kcm_worker *w, void *arg)
{
	enum point point = ((struct plan *)arg)->point;
	uint8_t reply[64], big[2 * WIRE_DATA_MAX];
	struct kcm_txc *t;
	struct kcm_msg m;
	uint32_t chunk;
	size_t len;
	int fd;

	if (kcm_recv(w, &m, 1, LONG_MS) != 1 || m.event != KCM_MESSAGE)
		die("no message");
	chunk = m.priv >> 8 & 0xffff;
	t = &w->v.tx[id_slot(m.conn)];
	len = make_msg(reply, check_msg(m.data, m.len), 20);
	fd = (int)ok(worker_conn_fd(w, m.conn));
	switch (point) {
	case P_GIVEN:
		break;
	case P_DONE:
	case P_FREED:
	case P_UNCOUNTED:
		*own_byte(w, &m) = KCM_OWN_DONE;
		if (point == P_DONE)
			break;
		STORE(&w->v.claims[chunk].state, KCM_STATE(w->v.chunks[chunk].gen, KCM_CHUNK_FREE));
		if (point == P_UNCOUNTED)
			w->v.ctl->free[chunk / 64] |= 1ULL << (chunk % 64);
		break;
	case P_KEPT:
		ok(kcm_send(w, m.conn, reply, len, KCM_MORE));
		kcm_release(w, &m, 1);
		break;
	case P_LOCKED:
		txlock_get(t, w->own, w->ctl);
		break;
	case P_SENT:
	case P_SENT_PART:
		txlock_get(t, w->own, w->ctl);
		t->sending = len;
		must(send(fd, reply, point == P_SENT ? len : 10, MSG_NOSIGNAL));
		break;
	case P_HANDING:
		txlock_get(t, w->own, w->ctl);
		t->queued_bytes += len;
		t->pending = 1;
		break;
	case P_HANDED_PART: {
		struct wire_rec rec = { .type = WIRE_TX, .a = t->seq, .conn = m.conn };

		/* As if the owner had the connection for a slow client. */
		make_msg(big, 1, sizeof(big) - 8);
		txlock_get(t, w->own, w->ctl);
		t->queued_bytes += sizeof(big);
		t->pending = 1;
		ok(wire_send(w->ctl, &rec, big, WIRE_DATA_MAX, NULL, 0, 0));
		t->seq++;
		break;
	}
	}
	_exit(0);
}

static void run(const struct plan *plan)
{
	struct kcm_mux_opts o;
	struct rig r;
	pid_t p, q;
	int c;

	rig_options(&o, "u32be");
	rig_open(&r, &o);
	c = rig_dial(&r, NULL);
	p = rig_process(&r, die_at, (void *)plan);
	send_msg(c, 5, 30);
	must(waitpid(p, NULL, 0));
	q = rig_process(&r, echo, NULL);
	if (plan->resets) {
		struct pollfd pf = { .fd = c, .events = POLLRDHUP };
		uint8_t b[4096];
		ssize_t n;

		while ((n = recv(c, b, sizeof(b), 0)) > 0)
			;
		if (n == 0 || errno != ECONNRESET)
			die("a torn reply, and the connection is not reset");
		if (poll(&pf, 1, LONG_MS) != 1)
			die("not reset");
	} else {
		if (plan->answers && recv_msg(c, LONG_MS) != 5)
			die("the answer is lost");
		send_msg(c, 6, 3000);
		if (recv_msg(c, LONG_MS) != 6)
			die("the connection does not go on");
	}
	close(c);
	must_be_idle(&r);
	kill(q, SIGKILL);
	waitpid(q, NULL, 0);
	rig_close(&r);
}

static volatile bool storm_over;

/* Sends messages of all sizes, reads what comes, dials again when it is reset. */
static void *storm_client(void *arg)
{
	static const uint32_t sizes[] = { 0, 10, 100, 1500, 2040, 16384, 60000, 69624, 200000 };
	struct rig *r = arg;
	uint8_t zero[4096] = { 0 };
	uint32_t n = 0;
	int c = -1;

	while (!storm_over) {
		uint32_t len = sizes[n % 9] + 4;
		uint8_t b[65536];
		struct timeval tv = { .tv_usec = 20000 };

		if (c < 0) {
			c = rig_dial(r, NULL);
			setsockopt(c, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
		}
		memcpy(zero, &(uint32_t){ htonl(len) }, 4);
		for (uint32_t at = 0; c >= 0 && at < len + 4;) {
			uint32_t k = len + 4 - at < sizeof(zero) ? len + 4 - at : sizeof(zero);
			ssize_t w = send(c, at ? zero + 8 : zero, at && k > 4000 ? 4000 : k,
					 MSG_NOSIGNAL);

			if (w > 0)
				at += (uint32_t)w;
			else if (errno != EAGAIN || storm_over) {
				close(c);
				c = -1;
			}
			while (c >= 0 && recv(c, b, sizeof(b), MSG_DONTWAIT) > 0)
				;
		}
		n++;
		if (n % 97 == 0 && c >= 0) {
			close(c);
			c = -1;
		}
	}
	if (c >= 0)
		close(c);
	return NULL;
}

static void storm_worker(struct kcm_worker *w, void *arg)
{
	struct kcm_msg msgs[16];
	int n, k = 0;

	(void)arg;
	while ((n = kcm_recv(w, msgs, 16, -1)) >= 0) {
		for (int i = 0; i < n; i++)
			if (msgs[i].event == KCM_MESSAGE)
				kcm_send(w, msgs[i].conn, msgs[i].data, msgs[i].len,
					 k++ % 3 ? KCM_MORE : 0);
		kcm_release(w, msgs, (unsigned int)n);
	}
}

static int count_sockets(void)
{
	char path[64], to[64];
	int n = 0;

	for (int fd = 0; fd < 16384; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n += readlink(path, to, sizeof(to)) > 7 && !memcmp(to, "socket:", 7);
	}
	return n;
}

/* Workers are killed at any moment under load. Nothing is left behind by the hundreds of them. */
static void storm(void)
{
	enum { CLIENTS = 4, WORKERS = 3, KILLS = 200 };
	struct kcm_mux_opts o;
	pthread_t t[CLIENTS];
	pid_t p[WORKERS];
	struct rig r;
	int sockets;

	rig_options(&o, "u32be");
	o.arena_bytes = 6 << 20;
	o.conns = 1024;
	o.tx_limit_bytes = 200000;
	rig_open(&r, &o);
	for (int i = 0; i < WORKERS; i++)
		p[i] = rig_process(&r, storm_worker, NULL);
	sockets = count_sockets();
	for (int i = 0; i < CLIENTS; i++)
		pthread_create(&t[i], NULL, storm_client, &r);
	for (int i = 0; i < KILLS; i++) {
		usleep((useconds_t)(1000 + i * 7919 % 9000));
		kill(p[i % WORKERS], SIGKILL);
		waitpid(p[i % WORKERS], NULL, 0);
		p[i % WORKERS] = rig_process(&r, storm_worker, NULL);
	}
	storm_over = true;
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(t[i], NULL);
	must_be_idle(&r);
	if (r.m->big || r.m->left_bytes)
		die("memory of messages left behind");
	for (uint64_t end = clock_ms() + LONG_MS; count_sockets() != sockets; usleep(10000))
		if (clock_ms() > end)
			die("%d sockets before, %d after", sockets, count_sockets());
	for (int i = 0; i < WORKERS; i++)
		kill(p[i], SIGKILL);
	rig_close(&r);
}

#define SCENARIO(name, ...)                               \
	static void name(void)                            \
	{                                                 \
		run(&(const struct plan){ __VA_ARGS__ }); \
	}

SCENARIO(given, .point = P_GIVEN)
SCENARIO(done, .point = P_DONE)
SCENARIO(freed, .point = P_FREED)
SCENARIO(uncounted, .point = P_UNCOUNTED)
SCENARIO(kept, .point = P_KEPT)
SCENARIO(locked, .point = P_LOCKED)
SCENARIO(sent, .point = P_SENT, .answers = 1)
SCENARIO(sent_part, .point = P_SENT_PART, .resets = true)
SCENARIO(handing, .point = P_HANDING)
SCENARIO(handed_part, .point = P_HANDED_PART, .resets = true)

int main(int argc, char **argv)
{
	static const struct scenario all[] = {
		{ "given", given },	{ "done", done },
		{ "freed", freed },	{ "uncounted", uncounted },
		{ "kept", kept },	{ "locked", locked },
		{ "sent", sent },	{ "sent_part", sent_part },
		{ "handing", handing }, { "handed_part", handed_part },
		{ "storm", storm },	{ 0 },
	};

	return run_scenarios(all, argc, argv);
}
