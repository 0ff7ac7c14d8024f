// SPDX-License-Identifier: GPL-2.0
/* kcm_tx: what is sent arrives, is mapped where it can be, and its memory is free when told so. */
#include <pthread.h>
#include <sys/mman.h>
#include "cmocka_all.h"
#include "../e2e/rx_kit.h"
#include "kcm_tx.h"
#include "tx_done.h"

#define MIB (1U << 20)

static void completions_in_any_order(void **state)
{
	struct tx_done d = { .next = 0xfffffffeULL + 10, .upto = 0xfffffffeULL };

	(void)state;
	/* Over the end of 32 bits: 0xfffffffe, 0xffffffff, 0, 1 ... 7 are out. */
	assert_int_equal(tx_done_add(&d, 0, 1), 0);
	assert_int_equal(d.upto, 0xfffffffeULL);
	assert_true(tx_done_is(&d, 0x100000000ULL) && tx_done_is(&d, 0x100000001ULL));
	assert_false(tx_done_is(&d, 0xffffffffULL) || tx_done_is(&d, 0x100000002ULL));
	assert_int_equal(tx_done_add(&d, 4, 4), 0);
	assert_int_equal(tx_done_add(&d, 0xfffffffe, 0xffffffff), 0);
	assert_int_equal(d.upto, 0x100000002ULL);
	assert_int_equal(d.n, 1);
	assert_int_equal(tx_done_add(&d, 2, 3), 0);
	assert_int_equal(d.upto, 0x100000005ULL);
	assert_int_equal(d.n, 0);
	/* One that nobody gave is not believed. */
	assert_int_equal(tx_done_add(&d, 5, 8), 0);
	assert_int_equal(d.upto, 0x100000005ULL);
	assert_int_equal(tx_done_add(&d, 5, 7), 0);
	assert_int_equal(d.upto, d.next);
	free(d.range);
}

struct out {
	int fd, file;
	unsigned int flags;
	bool padded;
	uint64_t messages;
	struct kcm_tx_stats st;
	pthread_t thread;
};

/* The body of message i, which both sides know. */
static size_t body_of(uint64_t i)
{
	uint64_t s = i;

	return (size_t)kit_size(&s, 0, 2 * MIB);
}

static void *send_all(void *arg)
{
	struct kcm_tx_opts o = { .sz = sizeof(o) };
	struct out *t = arg;
	uint8_t *buf[4];
	uint64_t id[4] = { 0 };
	struct kcm_tx *tx;
	struct kit_head h;
	socklen_t len = sizeof(int);
	int v = 1;

	o.flags = t->flags;
	assert_int_equal(kcm_tx_open(t->fd, &o, &tx), 0);
	for (int i = 0; i < 4; i++)
		buf[i] = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			      -1, 0);
	for (uint64_t i = 0; i < t->messages; i++) {
		uint8_t *body = buf[i % 4];
		size_t n = body_of(i);
		int err;

		/* Its last message is out, or nobody could know what arrives. */
		while (!(err = kcm_tx_done(tx, id[i % 4])))
			assert_int_equal(kcm_tx_drain(tx, 20000), 0);
		assert_int_equal(err, 1);
		kit_fill(body, i, 0, n);
		kit_head(&h, i, i, (uint32_t)n);
		if (t->padded) {
			err = kcm_tx_send_padded(tx, &h, sizeof(h), body, n, &id[i % 4]);
		} else if (t->file >= 0) {
			assert_int_equal(pwrite(t->file, body, n, 0), n);
			err = kcm_tx_sendfile(tx, &h, sizeof(h), t->file, 0, n);
			/* Its pages are what is sent: not to be changed either. */
			assert_int_equal(ftruncate(t->file, 0), 0);
		} else {
			err = kcm_tx_send(tx, &h, sizeof(h), body, n, &id[i % 4]);
		}
		assert_int_equal(err, 0);
		/* Nothing is kept back for what comes next. */
		err = getsockopt(t->fd, IPPROTO_TCP, TCP_CORK, &v, &len);
		assert_true(!err && !v);
	}
	assert_int_equal(kcm_tx_drain(tx, 20000), 0);
	assert_int_equal(kcm_tx_stats(tx, &t->st, sizeof(t->st)), 0);
	for (int i = 0; i < 4; i++)
		munmap(buf[i], 2 * MIB);
	kcm_tx_close(tx);
	close(t->fd);
	return NULL;
}

/* Of all that could be. */
static uint64_t whole_pages(const struct out *t)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < t->messages; i++)
		if (body_of(i) >= 64 * 1024)
			sum += body_of(i) / KIT_PAGE * KIT_PAGE;
	return sum;
}

/* The header's page and the filling are taken away: what is left is a message as of kit_check(). */
static bool check_padded(const struct kcm_rx_msg *m, uint64_t number)
{
	uint8_t *flat = malloc(m->len), *at = flat;
	struct kit_head want;
	const void *head;
	size_t head_bytes;
	uint64_t body;
	bool good;

	for (unsigned int i = 0; i < m->iovcnt; i++) {
		memcpy(at, m->iov[i].iov_base, m->iov[i].iov_len);
		at += m->iov[i].iov_len;
	}
	good = !kcm_tx_padded_parse(flat, m->len, &head, &head_bytes, &body) &&
	       body == body_of(number) && head_bytes == sizeof(want);
	kit_head(&want, number, number, (uint32_t)body_of(number));
	good = good && !memcmp(head, &want, sizeof(want)) &&
	       kit_same(flat + KCM_TX_PADDED_BYTES, number, 0, body);
	/* A header that says something else is none. */
	flat[4] ^= 1;
	good = good && kcm_tx_padded_parse(flat, m->len, &head, &head_bytes, &body) == -EPROTO;
	free(flat);
	return good;
}

static struct kcm_rx_stats transfer(struct out *t)
{
	struct kcm_rx_opts o = { .sz = sizeof(o), .mode = KCM_RX_MAP };
	struct kcm_rx_stats st;
	struct kcm_rx_msg m;
	struct kcm_frame f;
	struct kcm_rx *rx;
	int fd[2];

	kit_pair(AF_INET, KIT_MSS, fd);
	t->fd = fd[1];
	o.limit_bytes = 3ULL << 30;
	assert_int_equal(kcm_frame_parse(t->padded ? KCM_TX_PADDED_FRAME : KIT_FRAME, &f, NULL, 0),
			 0);
	assert_int_equal(kcm_rx_open(fd[0], &f, &o, &rx), 0);
	pthread_create(&t->thread, NULL, send_all, t);
	for (uint64_t i = 0; i < t->messages; i++) {
		int r = kcm_rx_recv(rx, &m, -1);

		if (r != 1)
			fail_msg("message %llu: %d", (unsigned long long)i, r);
		assert_true(t->padded ? check_padded(&m, i) : kit_check(&m, i));
		assert_int_equal(m.len,
				 t->padded ? (body_of(i) + 2 * KIT_PAGE - 1) / KIT_PAGE * KIT_PAGE
					   : KIT_HEAD + body_of(i));
		kcm_rx_release(rx, &m);
	}
	assert_int_equal(kcm_rx_recv(rx, &m, -1), 0);
	pthread_join(t->thread, NULL);
	kcm_rx_stats(rx, &st, sizeof(st));
	kcm_rx_close(rx);
	close(fd[0]);
	assert_int_equal(t->st.messages, t->messages);
	assert_int_equal(t->st.bytes, st.bytes);
	assert_int_equal(t->st.outstanding, 0);
	return st;
}

static void tight(void **state)
{
	struct out t = { .messages = 120, .file = -1 };
	struct kcm_rx_stats st = transfer(&t);

	(void)state;
	/* Loopback copies it, to pages that can be mapped. */
	assert_true(t.st.zerocopy_bytes > t.st.bytes / 2);
	assert_true(t.st.kernel_copies > 0);
	assert_true(st.mapped_bytes >= whole_pages(&t) / 10 * 9);
}

static void padded(void **state)
{
	struct out t = { .messages = 120, .file = -1, .padded = true };
	struct kcm_rx_stats st = transfer(&t);

	(void)state;
	assert_true(st.mapped_bytes >= whole_pages(&t) / 10 * 9);
}

static void copied(void **state)
{
	struct out t = { .messages = 60, .file = -1, .flags = KCM_TX_NO_ZEROCOPY };
	struct kcm_rx_stats st = transfer(&t);

	(void)state;
	assert_int_equal(t.st.zerocopy_bytes, 0);
	assert_int_equal(st.messages, 60);
}

static void from_a_file(void **state)
{
	struct out t = { .messages = 60, .file = memfd_create("tx", MFD_CLOEXEC) };

	(void)state;
	transfer(&t);
	assert_true(t.st.file_bytes > 0);
	close(t.file);
}

static void errors(void **state)
{
	struct kcm_tx_opts o = { .sz = sizeof(o), .flags = 6 };
	struct kcm_tx *tx;
	int fd[2], p[2];
	char big[KCM_TX_PADDED_HEAD + 1] = "";

	(void)state;
	kit_pair(AF_INET, 0, fd);
	assert_int_equal(pipe(p), 0);
	assert_int_equal(kcm_tx_open(p[0], NULL, &tx), -ENOTSOCK);
	assert_int_equal(kcm_tx_open(fd[1], &o, &tx), -EINVAL);
	assert_int_equal(kcm_tx_open(fd[1], NULL, &tx), 0);
	assert_int_equal(kcm_tx_send_padded(tx, big, sizeof(big), "", 0, NULL), -EMSGSIZE);
	assert_int_equal(kcm_tx_send_padded(tx, big, 0, big, 1U << 30, NULL), -EMSGSIZE);
	/* An empty file is no megabyte. */
	assert_int_equal(kcm_tx_sendfile(tx, big, 4, memfd_create("", MFD_CLOEXEC), 0, MIB),
			 -ENODATA);
	close(fd[0]);
	for (int i = 0, err = 0; !err; i++) {
		err = kcm_tx_send(tx, big, 4, big, sizeof(big), NULL);
		assert_true(!err || err == -EPIPE || err == -ECONNRESET);
		assert_true(i < 100000);
	}
	kcm_tx_close(tx);
	close(fd[1]);
	close(p[0]);
	close(p[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(completions_in_any_order),
		cmocka_unit_test(tight),
		cmocka_unit_test(padded),
		cmocka_unit_test(copied),
		cmocka_unit_test(from_a_file),
		cmocka_unit_test(errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
