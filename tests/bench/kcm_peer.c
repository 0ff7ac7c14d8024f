// SPDX-License-Identifier: GPL-2.0
/*
 * kcm_peer.c - AF_KCM as a server: the kernel's multiplexor with a clone for each worker process.
 *
 * AF_KCM tells nobody which connection a message came from, and sends on whichever it likes. So
 * replies carry the client's ids, as requests do, and the client takes them on any connection.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "kcm_bench.h"
#include "kcmparse.skel.h"
#include "../bpf/af_kcm.h"
#include "msg.h"

#define MSGS_PER_TURN 64u

struct kcm_batch {
	struct mmsghdr rx[MSGS_PER_TURN], tx[MSGS_PER_TURN];
	struct iovec rx_iov[MSGS_PER_TURN], tx_iov[MSGS_PER_TURN];
	uint8_t *rx_data, *tx_data; /* BENCH_MAX_SIZE each */
};

static int batch_init(struct kcm_batch *b)
{
	b->rx_data = malloc((size_t)MSGS_PER_TURN * BENCH_MAX_SIZE);
	b->tx_data = malloc((size_t)MSGS_PER_TURN * BENCH_MAX_SIZE);
	if (!b->rx_data || !b->tx_data)
		return -ENOMEM;
	for (uint32_t i = 0; i < MSGS_PER_TURN; i++) {
		b->rx_iov[i] =
			(struct iovec){ b->rx_data + (size_t)i * BENCH_MAX_SIZE, BENCH_MAX_SIZE };
		b->tx_iov[i].iov_base = b->tx_data + (size_t)i * BENCH_MAX_SIZE;
		b->rx[i].msg_hdr = (struct msghdr){ .msg_iov = &b->rx_iov[i], .msg_iovlen = 1 };
		b->tx[i].msg_hdr = (struct msghdr){ .msg_iov = &b->tx_iov[i], .msg_iovlen = 1 };
	}
	return 0;
}

/* All of them leave on one connection: sendmmsg() sets MSG_BATCH on all but the last. */
static int batch_send(struct kcm_batch *b, int kcm, uint32_t n)
{
	for (uint32_t done = 0; done < n;) {
		int sent = sendmmsg(kcm, b->tx + done, n - done, MSG_NOSIGNAL);

		if (sent < 0)
			return -errno;
		done += (uint32_t)sent;
	}
	return 0;
}

static int worker_serve(const struct bench_opts *o, int kcm)
{
	uint32_t per_turn = bench_messages_per_turn(o, MSGS_PER_TURN);
	static struct kcm_batch b;
	int err = batch_init(&b);

	while (!err) {
		int n = recvmmsg(kcm, b.rx, per_turn, MSG_WAITFORONE, NULL);
		uint32_t replies = 0;

		if (n < 0)
			return -errno;
		for (int i = 0; i < n; i++) {
			const uint8_t *msg = b.rx_iov[i].iov_base;
			uint32_t len = b.rx[i].msg_len;

			if (len < BENCH_HDR || bench_frame_len(msg, len) != len)
				return -EBADMSG;
			bench_work(o, msg);
			if (o->one_way) {
				bench_take(o, msg, len);
				continue;
			}
			b.tx_iov[replies].iov_len =
				bench_reply(o, msg, len, b.tx_iov[replies].iov_base);
			replies++;
		}
		err = batch_send(&b, kcm, replies);
	}
	return err;
}

/* Worker @i has one socket of the multiplexor and no other. */
static int fork_worker(const struct bench_opts *o, const int *kcm, uint32_t i)
{
	pid_t pid = fork();
	int err;

	if (pid < 0)
		return -errno;
	if (pid) {
		bench_add_pid(o->shared, pid);
		return 0;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint32_t k = 0; k < o->workers; k++)
		if (k != i)
			close(kcm[k]);
	close(o->listen_fd);
	err = worker_serve(o, kcm[i]);
	fprintf(stderr, "%s: worker of AF_KCM: %s\n", program_invocation_short_name,
		strerror(-err));
	_exit(EXIT_FAILURE);
}

static int open_all(const struct bench_opts *o, int rcvbuf, int *kcm)
{
	for (uint32_t i = 0; i < o->workers; i++) {
		kcm[i] = i ? af_kcm_clone(kcm[0]) : af_kcm_open(SOCK_DGRAM);
		if (kcm[i] < 0)
			return kcm[i];
		if (rcvbuf &&
		    setsockopt(kcm[i], SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof(rcvbuf)))
			return -errno;
	}
	return 0;
}

/* Accept and attach until SIGTERM. Connections stay open here: closing them would end nothing. */
static int accept_all(const struct bench_opts *o, int kcm, int parser, int term_fd)
{
	struct pollfd p[2] = { { .fd = o->listen_fd, .events = POLLIN },
			       { .fd = term_fd, .events = POLLIN } };

	for (;;) {
		int fd, err;

		poll(p, 2, -1);
		if (p[1].revents)
			return 0;
		fd = serve_accept(o->listen_fd);
		err = fd < 0 ? fd : af_kcm_attach(kcm, fd, parser);
		if (err)
			return err;
	}
}

static int kcm_run(const struct bench_opts *o, int rcvbuf)
{
	struct kcmparse *parser;
	int kcm[BENCH_MAX_PIDS], term_fd, err;
	sigset_t term;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	term_fd = signalfd(-1, &term, SFD_CLOEXEC);
	libbpf_set_print(sb_libbpf_print);
	parser = af_kcm_parser(BENCH_HDR);
	if (!parser || term_fd < 0)
		return -errno;
	err = open_all(o, rcvbuf, kcm);
	for (uint32_t i = 0; !err && i < o->workers; i++)
		err = fork_worker(o, kcm, i);
	if (!err)
		err = accept_all(o, kcm[0], bpf_program__fd(parser->progs.kcmp_frame), term_fd);
	if (!err)
		_exit(EXIT_SUCCESS); /* workers die with this process */
	return err;
}

static int run_default(const struct bench_opts *o)
{
	return kcm_run(o, 0);
}

static int run_wide(const struct bench_opts *o)
{
	return kcm_run(o, KB_WIDE_BYTES / 2); /* the kernel doubles it */
}

const struct bench_server bench_peer_kcm = {
	.name = "kcm",
	.label = "",
	.about = "AF_KCM, a clone for each worker process",
	.run = run_default,
};

const struct bench_server bench_peer_kcm_wide = {
	.name = "kcm-8m",
	.label = "",
	.about = "the same with receive buffers of 8 MiB",
	.run = run_wide,
};

const struct bench_server *const kb_side[KB_SIDES] = { &bench_server_mux, &bench_peer_kcm,
						       &bench_peer_kcm_wide };
