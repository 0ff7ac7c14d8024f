// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* attack_stream - streams that stop, overflow, end at the wrong moment, or carry urgent bytes. */
#define _GNU_SOURCE
#include "attack.h"
#include "../../src/lib/owner.h"

/* Next event that is not a message; its connection's messages are checked and counted. */
static enum kcm_event next_event(struct kcm_worker *w, unsigned int *messages)
{
	struct kcm_msg m;

	for (;;) {
		int n = kcm_recv(w, &m, 1, LONG_MS);
		enum kcm_event e = m.event;

		if (n != 1)
			die("nothing comes: %d", n);
		if (e == KCM_MESSAGE) {
			check_msg(m.data, m.len);
			++*messages;
		}
		kcm_release(w, &m, 1);
		if (e != KCM_MESSAGE)
			return e;
	}
}

static void expect(struct kcm_worker *w, enum kcm_event event, unsigned int messages)
{
	unsigned int n = 0;
	enum kcm_event e = next_event(w, &n);

	if (e != event || n != messages)
		die("event %d after %u messages, not %d after %u", e, n, event, messages);
}

/* Half a message of each size class, with and without whole ones before: time is up. */
static void halves(void)
{
	static const uint32_t sizes[] = { 1,	 3,	100,   2047,  2048,  2049,   16383,
					  16384, 16385, 69631, 69632, 69633, 200000, 4000000 };
	static uint8_t msg[4000008], small[64];
	struct kcm_mux_opts o;
	struct kcm_worker *w;
	struct rig r;

	rig_options(&o, "u32be");
	o.asm_timeout_ms = 400; /* 4 MB take less, on a busy machine too */
	rig_open(&r, &o);
	w = rig_worker(&r);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (unsigned int before = 0; before < 3; before++) {
			int c = rig_dial(&r, NULL);
			size_t len = make_msg(msg, 1, sizes[i]);

			for (unsigned int k = 0; k < before; k++)
				send_all(c, small, make_msg(small, k, 20));
			send_all(c, msg, sizes[i] < 4 ? sizes[i] : len - 1);
			expect(w, KCM_TIMEOUT, before);
			close(c);
		}
	must_be_idle(&r);
	kcm_worker_close(w);
	rig_close(&r);
}

struct client {
	int fd;
	uint32_t msgs, body, seg;
	bool half_close;
};

static void *client_thread(void *arg)
{
	struct client *c = arg;
	uint8_t *p = malloc(8 + (size_t)c->body);

	for (uint32_t i = 0; i < c->msgs; i++) {
		size_t len = make_msg(p, i, c->body);

		for (size_t at = 0; at < len; at += c->seg)
			send_all(c->fd, p + at, len - at < c->seg ? len - at : c->seg);
	}
	if (c->half_close)
		shutdown(c->fd, SHUT_WR);
	free(p);
	return NULL;
}

/*
 * Clients send more than the mux can hold while no worker takes anything for @pause_ms. That is
 * not the clients' fault: no message times out or is lost, the ends come when all is read.
 */
static void overload(uint32_t body, uint32_t msgs, uint32_t asm_timeout_ms, int pause_ms,
		     uint64_t big_bytes)
{
	enum { N = 8 };
	struct client c[N];
	struct kcm_mux_opts o;
	struct kcm_worker *w;
	pthread_t t[N];
	struct rig r;

	rig_options(&o, "u32be max=4M");
	o.asm_timeout_ms = asm_timeout_ms;
	o.arena_bytes = 6 << 20;
	o.big_bytes = big_bytes;
	rig_open(&r, &o);
	w = rig_worker(&r);
	for (int i = 0; i < N; i++) {
		c[i] = (struct client){ rig_dial(&r, NULL), msgs, body, 5000, true };
		pthread_create(&t[i], NULL, client_thread, &c[i]);
	}
	usleep((useconds_t)pause_ms * 1000);
	for (unsigned int ends = 0, n = 0; ends < N; ends++) {
		enum kcm_event e = next_event(w, &n);

		if (e != KCM_CLOSED)
			die("event %d after %u messages", e, n);
		if (ends == N - 1 && n != N * msgs)
			die("%u of %u messages", n, N * msgs);
	}
	for (int i = 0; i < N; i++) {
		pthread_join(t[i], NULL);
		close(c[i].fd);
	}
	must_be_idle(&r);
	kcm_worker_close(w);
	rig_close(&r);
}

static void overload_small(void)
{
	overload(700, 6000, 1500, 4000, 0);
}

static void overload_mid(void)
{
	overload(40000, 200, 1500, 4000, 0);
}

static void overload_big(void)
{
	overload(3000000, 6, 1500, 4000, 10 << 20);
}

/* Longer than an unfinished message is left alone when memory is short. */
static void overload_long(void)
{
	overload(40000, 200, 0, 12500, 0);
}

/* Kept after an error, and then the client goes. */
static void kept(void)
{
	struct kcm_mux_opts o;
	struct kcm_worker *w;
	struct rig r;
	int c;

	rig_options(&o, "u32be max=1M");
	o.keep_on_error = 1;
	rig_open(&r, &o);
	w = rig_worker(&r);
	c = rig_dial(&r, NULL);
	send_all(c, "\xff\xff\xff\xff----", 8);
	expect(w, KCM_TOO_BIG, 0);
	usleep(20000);
	if (send(c, "x", 1, MSG_NOSIGNAL) != 1)
		die("not kept");
	close(c);
	must_be_idle(&r);
	kcm_worker_close(w);
	rig_close(&r);
}

/* Thousands of unfinished messages: what the owner keeps of them is bounded. */
static void unfinished(void)
{
	enum { N = 1500, BODY = 60000 };
	static uint8_t msg[BODY + 8];
	static int c[N];
	struct kcm_mux_opts o;
	uint64_t most = 0;
	struct rig r;
	pid_t p;
	int d;

	rig_options(&o, "u32be");
	o.conns = N + 10;
	o.arena_bytes = 6 << 20;
	rig_open(&r, &o);
	p = rig_process(&r, echo, NULL);
	make_msg(msg, 1, BODY);
	d = rig_dial(&r, NULL);
	for (uint32_t i = 0; i < N; i++) {
		c[i] = rig_dial(&r, NULL);
		send_all(c[i], msg, BODY / 2);
		if (r.m->left_bytes > most)
			most = r.m->left_bytes;
		if (i % 50 == 0) {
			send_msg(d, i, 500);
			if (recv_msg(d, LONG_MS) != i)
				die("an honest client is not served");
		}
	}
	usleep(300000);
	if (r.m->left_bytes > most)
		most = r.m->left_bytes;
	if (most > OWNER_LEFT_MAX + N * 4096ULL)
		die("%llu bytes of unfinished messages", (unsigned long long)most);
	for (uint32_t i = 0; i < N; i++)
		close(c[i]);
	close(d);
	must_be_idle(&r);
	kill(p, SIGKILL);
	rig_close(&r);
}

/* Urgent bytes are bytes of the stream, read by the program or by the owner. */
static void urgent(void)
{
	static uint8_t big[100008];
	struct kcm_mux_opts o;
	struct kcm_worker *w;
	uint8_t p[512];
	struct rig r;
	size_t len;
	int c;

	rig_options(&o, "u32be");
	rig_open(&r, &o);
	w = rig_worker(&r);
	c = rig_dial(&r, NULL);
	for (uint32_t i = 0; i < 50; i++) {
		len = make_msg(p, i, 400);
		must(send(c, p, 200, MSG_OOB));
		must(send(c, p + 200, len - 200, 0));
	}
	make_msg(big, 50, sizeof(big) - 8);
	for (size_t at = 0; at < sizeof(big); at += 10001)
		must(send(c, big + at, sizeof(big) - at < 10001 ? sizeof(big) - at : 10001,
			  MSG_OOB));
	send_msg(c, 51, 10);
	close(c);
	expect(w, KCM_CLOSED, 52);
	must_be_idle(&r);
	kcm_worker_close(w);
	rig_close(&r);
}

int main(int argc, char **argv)
{
	static const struct scenario all[] = {
		{ "halves", halves },
		{ "overload_small", overload_small },
		{ "overload_mid", overload_mid },
		{ "overload_big", overload_big },
		{ "overload_long", overload_long },
		{ "kept", kept },
		{ "unfinished", unfinished },
		{ "urgent", urgent },
		{ 0 },
	};

	return run_scenarios(all, argc, argv);
}
