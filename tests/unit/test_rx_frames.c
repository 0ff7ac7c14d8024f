// SPDX-License-Identifier: GPL-2.0
/*
 * rx with the other framings: those whose header's length is not known before it was seen, those
 * whose end has to be looked for, streams that begin with something else.
 */
#include <pthread.h>
#include "cmocka_all.h"
#include "../e2e/rx_kit.h"

#define MESSAGES 24
#define BODY_MAX (600 * 1024)

/* A message as it is sent: what comes before the body, the body, what comes behind. */
struct parts {
	uint8_t head[256], tail[16];
	size_t n_head, n_body, n_tail;
	uint64_t seed;
};

struct framing {
	const char *text;
	unsigned int flags;
	bool maps; /* its pages can be */
	void (*make)(struct parts *p, unsigned int number);
};

static void put_head(struct parts *p, const char *fmt, size_t n)
{
	p->n_head = (size_t)snprintf((char *)p->head, sizeof(p->head), fmt, n);
}

static void make_varint(struct parts *p, unsigned int number)
{
	size_t v = p->n_body;

	(void)number;
	for (p->n_head = 0; v >= 0x80; v >>= 7)
		p->head[p->n_head++] = (uint8_t)(v | 0x80);
	p->head[p->n_head++] = (uint8_t)v;
}

static void make_http(struct parts *p, unsigned int number)
{
	put_head(p,
		 number % 3 ? "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n"
			    : "HTTP/1.1 206 Part\r\nX: a longer one\r\nContent-Length: %zu\r\n\r\n",
		 p->n_body);
}

static void make_chunked(struct parts *p, unsigned int number)
{
	(void)number;
	put_head(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n", p->n_body);
	memcpy(p->tail, "\r\n0\r\n\r\n", p->n_tail = 7);
	if (!p->n_body) { /* the last chunk, already */
		put_head(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n\r\n", 0);
		p->n_tail = 0;
	}
}

static void make_resp(struct parts *p, unsigned int number)
{
	(void)number;
	put_head(p, "*2\r\n$3\r\nSET\r\n$%zu\r\n", p->n_body);
	memcpy(p->tail, "\r\n", p->n_tail = 2);
}

static void make_websocket(struct parts *p, unsigned int number)
{
	size_t n = p->n_body;

	(void)number;
	p->head[0] = 0x82;
	p->head[1] = 127;
	for (int i = 0; i < 8; i++)
		p->head[2 + i] = (uint8_t)((uint64_t)n >> (56 - 8 * i));
	p->n_head = 10;
}

static void make_fixed(struct parts *p, unsigned int number)
{
	(void)number;
	p->n_head = 0;
	p->n_body = 70000;
}

/* A preface of 10 bytes, shorter than a header, then messages with headers of 40 */
static void make_preface(struct parts *p, unsigned int number)
{
	uint32_t be = htonl((uint32_t)p->n_body);

	if (!number) {
		put_head(p, "%010zu", 0);
		p->n_body = 0;
		return;
	}
	memset(p->head, 7, 40);
	memcpy(p->head, &be, 4);
	p->n_head = 40;
}

/* Of PostgreSQL: the first one is without a type byte. */
static void make_untyped(struct parts *p, unsigned int number)
{
	uint32_t be = htonl((uint32_t)p->n_body + 4);

	p->n_head = 0;
	if (number)
		p->head[p->n_head++] = 'd';
	memcpy(p->head + p->n_head, &be, 4);
	p->n_head += 4;
}

/* The header says less than the sender's program puts in front of its pages. */
static void make_more_head(struct parts *p, unsigned int number)
{
	size_t extra = number % 5 == 4 ? 99 : 100;
	uint32_t be = htonl((uint32_t)(p->n_body + extra));

	memset(p->head, 9, 4 + extra);
	memcpy(p->head, &be, 4);
	p->n_head = 4 + extra;
}

static void make_lines(struct parts *p, unsigned int number)
{
	(void)number;
	p->tail[0] = 0;
	p->n_tail = 1;
}

static const struct framing framings[] = {
	{ "varint", 0, true, make_varint },
	{ "http1", KCM_RX_REPLY, true, make_http },
	{ "http1", KCM_RX_REPLY, false, make_chunked },
	{ "resp", 0, true, make_resp },
	{ "websocket", 0, true, make_websocket },
	{ "fixed=70000", 0, true, make_fixed },
	{ "len off=0 width=4 be hdr=40 skip=10", 0, true, make_preface },
	{ "postgres", 0, true, make_untyped },
	{ "u32be", 0, true, make_more_head },
	{ "delim=nul", 0, false, make_lines },
};

static void make(const struct framing *f, unsigned int number, struct parts *p)
{
	uint64_t dice = number * 77 + 5;

	memset(p, 0, sizeof(*p));
	p->seed = number;
	p->n_body = (size_t)kit_size(&dice, number % 4 ? 100000 : 0, BODY_MAX);
	f->make(p, number);
}

static void fill(const struct framing *f, const struct parts *p, uint8_t *to)
{
	kit_fill(to, p->seed, 0, p->n_body);
	/* Lines have no zeros but at the end. */
	for (size_t i = 0; f->make == make_lines && i < p->n_body; i++)
		if (!to[i])
			to[i] = 1;
}

struct feed {
	const struct framing *f;
	enum kit_how how;
	int fd;
	pthread_t thread;
};

static void *feed_run(void *arg)
{
	struct feed *t = arg;
	struct kit_sender s;
	uint8_t *body;

	kit_sender_open(&s, t->fd, t->how, 1);
	if (posix_memalign((void **)&body, KIT_PAGE, BODY_MAX))
		kit_die("memory");
	for (unsigned int i = 0; i < MESSAGES; i++) {
		struct parts p;

		make(t->f, i, &p);
		fill(t->f, &p, body);
		kit_send(t->fd, p.head, p.n_head, t->how == KIT_PLAIN ? MSG_MORE : MSG_EOR);
		kit_send_body(&s, body, p.n_body);
		kit_send(t->fd, p.tail, p.n_tail, 0);
	}
	free(body);
	kit_sender_close(&s);
	close(t->fd);
	return NULL;
}

static bool is(const struct framing *f, const struct kcm_rx_msg *m, const struct parts *p)
{
	size_t total = p->n_head + p->n_body + p->n_tail, at = 0;
	uint8_t *want = malloc(total + 1);
	bool same = m->len == total;

	memcpy(want, p->head, p->n_head);
	fill(f, p, want + p->n_head);
	memcpy(want + p->n_head + p->n_body, p->tail, p->n_tail);
	for (unsigned int i = 0; same && i < m->iovcnt; i++) {
		same = m->iov[i].iov_len <= total - at &&
		       !memcmp(want + at, m->iov[i].iov_base, m->iov[i].iov_len);
		at += m->iov[i].iov_len;
	}
	free(want);
	return same && at == total;
}

static uint64_t run(const struct framing *f, enum kit_how how, enum kcm_rx_mode mode)
{
	struct kcm_rx_opts o = { .sz = sizeof(o), .mode = mode, .flags = f->flags };
	struct feed t = { .f = f, .how = how };
	struct kcm_rx_stats st;
	struct kcm_rx_msg m;
	struct kcm_frame frame;
	struct kcm_rx *rx;
	int fd[2], r;

	kit_pair(AF_INET, KIT_MSS, fd);
	assert_int_equal(kcm_frame_parse(f->text, &frame, NULL, 0), 0);
	assert_int_equal(kcm_rx_open(fd[0], &frame, &o, &rx), 0);
	t.fd = fd[1];
	pthread_create(&t.thread, NULL, feed_run, &t);
	for (unsigned int i = 0; i < MESSAGES; i++) {
		struct parts p;

		make(f, i, &p);
		r = kcm_rx_recv(rx, &m, -1);
		if (r != 1)
			fail_msg("%s, sender %d, mode %d, message %u: %d", f->text, how, mode, i,
				 r);
		if (!is(f, &m, &p))
			fail_msg("%s, sender %d, mode %d: message %u of %zu bytes is not it",
				 f->text, how, mode, i, m.len);
		assert_int_equal(kcm_rx_release(rx, &m), 0);
	}
	assert_int_equal(kcm_rx_recv(rx, &m, -1), 0);
	pthread_join(t.thread, NULL);
	kcm_rx_stats(rx, &st, sizeof(st));
	kcm_rx_close(rx);
	close(fd[0]);
	return st.mapped_bytes * 100 / st.bytes;
}

static void every_framing(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(framings) / sizeof(framings[0]); i++)
		for (int how = 0; how < KIT_HOWS; how++)
			for (int mode = KCM_RX_AUTO; mode <= KCM_RX_COPY; mode++) {
				const struct framing *f = &framings[i];
				uint64_t share = run(f, (enum kit_how)how, (enum kcm_rx_mode)mode);

				if (how != KIT_PAGES || mode != KCM_RX_MAP)
					continue;
				print_message("# %s: %d%% mapped\n", f->text, (int)share);
				if (f->maps)
					assert_true(share >= 50);
				else
					assert_int_equal(share, 0);
			}
}

static void expect(struct kcm_rx *rx, const char *what)
{
	struct kcm_rx_msg m;

	assert_int_equal(kcm_rx_recv(rx, &m, 20000), 1);
	assert_int_equal(m.len, strlen(what));
	assert_int_equal(m.iovcnt, 1);
	assert_memory_equal(m.iov[0].iov_base, what, m.len);
	kcm_rx_release(rx, &m);
}

/* Both directions of a protocol differ, and some replies depend on the request. */
static void replies(void **state)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
	struct kcm_rx_opts o = { .sz = sizeof(o), .flags = KCM_RX_REPLY };
	struct kcm_frame frame;
	struct kcm_rx *rx;
	int fd[2];

	(void)state;
	for (int mode = KCM_RX_AUTO; mode <= KCM_RX_COPY; mode++) {
		o.mode = (enum kcm_rx_mode)mode;
		kit_pair(AF_INET, 0, fd);
		assert_int_equal(kcm_frame_parse("http1", &frame, NULL, 0), 0);
		assert_int_equal(kcm_rx_open(fd[0], &frame, &o, &rx), 0);
		kit_send(fd[1], head, strlen(head), MSG_MORE);
		kit_send(fd[1], head, strlen(head), MSG_MORE);
		kit_send(fd[1], "abc", 3, 0);
		kcm_rx_tell(rx, KCM_FS_NOBODY);
		expect(rx, head);
		kcm_rx_tell(rx, 0);
		expect(rx, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
		kcm_rx_close(rx);
		close(fd[0]);
		close(fd[1]);
		kit_pair(AF_INET, 0, fd);
		assert_int_equal(kcm_frame_parse("postgres", &frame, NULL, 0), 0);
		assert_int_equal(kcm_rx_open(fd[0], &frame, &o, &rx), 0);
		kit_send(fd[1], "NR\0\0\0\5x", 7, 0);
		expect(rx, "N");
		kcm_rx_close(rx);
		close(fd[0]);
		close(fd[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_framing),
		cmocka_unit_test(replies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
