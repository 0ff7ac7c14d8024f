/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* torture_worker.h - check every byte of a request, answer it. */
#ifndef TORTURE_WORKER_H
#define TORTURE_WORKER_H

#include "torture.h"

#define LEFT 7 /* exit code of a worker that left before the end */

/* Return: false when the mux is closed, true when it is time to leave. */
static bool serve(struct kcm_worker *w, unsigned int id)
{
	static __thread uint8_t out[1 << 20];
	uint64_t s = opt.seed + 1000 + id;
	uint64_t left = opt.leave ? 1 + rnd(&s) % (2 * opt.leave) : UINT64_MAX;
	struct kcm_msg msgs[32];

	for (;;) {
		int n = kcm_recv(w, msgs, 1 + rnd(&s) % 32, 1000);

		if (n == -EPIPE || n == -ESHUTDOWN)
			return false;
		if (n < 0)
			die("kcm_recv: %s", strerror(-n));
		while (sh->pause)
			usleep(1000);
		for (int i = 0; i < n; i++) {
			struct head h, r;
			int err;

			if (msgs[i].event != KCM_MESSAGE) {
				__atomic_fetch_add(&sh->events, 1, __ATOMIC_RELAXED);
				continue;
			}
			if (msgs[i].len < sizeof(h)) {
				__atomic_fetch_add(&sh->bad, 1, __ATOMIC_RELAXED);
				fprintf(stderr, "worker: message of %zu bytes\n", msgs[i].len);
				continue;
			}
			memcpy(&h, msgs[i].data, sizeof(h));
			if (ntohl(h.len) + 4 != msgs[i].len ||
			    !check((const uint8_t *)msgs[i].data + sizeof(h),
				   msgs[i].len - sizeof(h), h.conn, h.num, 1)) {
				__atomic_fetch_add(&sh->bad, 1, __ATOMIC_RELAXED);
				fprintf(stderr, "worker: bad message conn %u num %u len %zu\n",
					h.conn, h.num, msgs[i].len);
				continue;
			}
			if (msgs[i].flags & KCM_REDELIVERED)
				__atomic_fetch_add(&sh->redelivered, 1, __ATOMIC_RELAXED);
			if (opt.policy >= KCM_DISPATCH_CONN && !opt.kill) {
				uint32_t l = __atomic_exchange_n(&sh->last[h.conn % 65536], h.num,
								 __ATOMIC_SEQ_CST);

				if (l != h.num - 1)
					__atomic_fetch_add(&sh->order_bad, 1, __ATOMIC_RELAXED);
			}
			r = h;
			r.len = htonl(h.reply + 12);
			memcpy(out, &r, sizeof(r));
			fill(out + sizeof(r), h.reply, h.conn, h.num, 2);
			err = kcm_send(w, msgs[i].conn, out, sizeof(r) + h.reply,
				       KCM_WAIT | (rnd(&s) % 16 ? KCM_MORE : 0));
			if (err && err != -ENOTCONN && err != -EPIPE && err != -ECONNRESET)
				die("kcm_send: %s", strerror(-err));
			__atomic_fetch_add(&sh->served, 1, __ATOMIC_RELAXED);
		}
		kcm_release(w, msgs, (unsigned int)n);
		if ((uint64_t)n >= left)
			return true;
		left -= (uint64_t)n;
	}
}

static void *worker_thread(void *arg)
{
	struct kcm_worker *w;
	bool again = true;

	while (again) {
		int fd = kcm_mux_worker_fd(arg), err = fd < 0 ? fd : kcm_worker_open_fd(fd, &w);

		if (err)
			die("worker: %s", strerror(-err));
		again = serve(w, (unsigned int)fd);
		kcm_worker_close(w);
	}
	return NULL;
}

static pid_t worker_process(struct kcm_mux *m, unsigned int id)
{
	int fd = kcm_mux_worker_fd(m);
	pid_t pid;

	if (fd < 0)
		die("kcm_mux_worker_fd: %s", strerror(-fd));
	pid = kit_fork();
	if (!pid) {
		struct kcm_worker *w;
		bool again;
		int err;

		/* What a program that is exec'ed would not have either. */
		for (int i = 3; i < 1024; i++)
			if (i != fd)
				close(i);
		err = kcm_worker_open_fd(fd, &w);
		if (err == -EPIPE)
			_exit(0); /* started while the mux closes */
		if (err)
			die("worker: %s", strerror(-err));
		again = serve(w, id);
		kcm_worker_close(w);
		_exit(again ? LEFT : 0);
	}
	close(fd);
	return pid;
}

#endif
