// SPDX-License-Identifier: GPL-2.0
/*
 * mux bench: the two modes of a mux side by side, with the same clients and workers in this very
 * process. Numbers of a machine that does nothing else are comparable, others are not.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include "cmd_mux.h"
#include "cmd_mux_bench.h"
#include "lib/owner.h"

#define WORKERS_MAX 16
#define BATCH	    32

struct bench {
	struct kcm_mux *mux;
	int listener;
	unsigned int nworkers;
	pthread_t acceptor, workers[WORKERS_MAX];
	int worker_fds[WORKERS_MAX];
};

struct result {
	const char *mode;
	uint32_t size;
	uint64_t msgs_s, p50_ns, p99_ns, cpu_ns, resets, holds;
};

static void *worker_thread(void *arg)
{
	const uint8_t reply[LOAD_REPLY_BYTES] = { 0, 0, 0, LOAD_REPLY_BYTES - 4 };
	struct kcm_msg msgs[BATCH];
	struct kcm_worker *w;
	int n;

	if (kcm_worker_open_fd((int)(intptr_t)arg, &w)) {
		close((int)(intptr_t)arg);
		return NULL;
	}
	while ((n = kcm_recv(w, msgs, BATCH, -1)) >= 0 || n == -EINTR) {
		for (int i = 0; i < n; i++)
			if (msgs[i].event == KCM_MESSAGE)
				kcm_send(w, msgs[i].conn, reply, sizeof(reply), KCM_MORE);
		if (n > 0)
			kcm_release(w, msgs, (unsigned int)n);
	}
	kcm_worker_close(w);
	return NULL;
}

static void *accept_thread(void *arg)
{
	struct bench *b = arg;
	int fd;

	/* Ends when the listener is shut down. */
	while ((fd = accept4(b->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		if (kcm_attach(b->mux, fd, NULL, 0, NULL))
			close(fd);
	return NULL;
}

static int open_listener(int *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(a);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, SOMAXCONN) ||
	    getsockname(fd, (struct sockaddr *)&a, &len))
		return -errno;
	*port = ntohs(a.sin_port);
	return TAKE_FD(fd);
}

static void close_bench(struct bench *b)
{
	shutdown(b->listener, SHUT_RDWR);
	pthread_join(b->acceptor, NULL);
	kcm_mux_close(b->mux); /* workers see -EPIPE */
	for (unsigned int i = 0; i < b->nworkers; i++)
		pthread_join(b->workers[i], NULL);
	close(b->listener);
}

static int open_bench(struct bench *b, const char *name, unsigned int workers, int *port)
{
	int err = kcm_mux_open(name, &b->mux);

	if (err)
		return err;
	b->listener = open_listener(port);
	if (b->listener < 0 || pthread_create(&b->acceptor, NULL, accept_thread, b)) {
		kcm_mux_close(b->mux);
		return b->listener < 0 ? b->listener : -EAGAIN;
	}
	for (b->nworkers = 0; b->nworkers < workers; b->nworkers++) {
		int fd = kcm_mux_worker_fd(b->mux);

		if (fd >= 0 && !pthread_create(&b->workers[b->nworkers], NULL, worker_thread,
					       (void *)(intptr_t)fd))
			continue;
		close_bench(b);
		return fd < 0 ? fd : -EAGAIN;
	}
	return 0;
}

static uint64_t cpu_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return ((uint64_t)u.ru_utime.tv_sec + (uint64_t)u.ru_stime.tv_sec) * 1000000000 +
	       ((uint64_t)u.ru_utime.tv_usec + (uint64_t)u.ru_stime.tv_usec) * 1000;
}

/* While connections and workers are still there. */
static void take_stats(const struct view *v, struct result *r)
{
	__u64 hist[KCM_HIST] = { 0 };
	uint64_t max_ns = 0;
	struct mux_sum s;

	mux_sum(v, v->tx, &s);
	r->holds = s.holds;
	for (int i = 0; i < KCM_WORKERS_MAX; i++) {
		const struct kcm_wstat *w = &v->wstats[i];

		for (int j = 0; j < KCM_HIST; j++)
			hist[j] += w->hist[j];
		max_ns = w->lat_max_ns > max_ns ? w->lat_max_ns : max_ns;
	}
	r->p50_ns = mux_hist_quantile(hist, 0.5, max_ns);
	r->p99_ns = mux_hist_quantile(hist, 0.99, max_ns);
}

static int measure(const char *name, unsigned int workers, struct load *l, struct result *r)
{
	struct bench b = { 0 };
	uint64_t cpu = cpu_ns();
	pthread_t thread;
	int err = open_bench(&b, name, workers, &l->port);

	if (err)
		return err;
	err = -pthread_create(&thread, NULL, load_thread, l);
	if (!err) {
		pthread_join(thread, NULL);
		take_stats(&b.mux->v, r);
		err = l->err;
	}
	close_bench(&b);
	if (err || !l->answered)
		return err ? err : -ENODATA;
	r->msgs_s = (uint64_t)((double)l->answered * 1e9 / (double)l->elapsed_ns);
	r->cpu_ns = (cpu_ns() - cpu) / l->answered;
	r->resets = l->resets;
	return 0;
}

static void put_result(struct out *o, const struct load *l, unsigned int workers,
		       const struct result *r)
{
	out_row(o);
	out_str(o, "mode", r->mode);
	out_u64(o, "size", r->size);
	out_u64(o, "conns", l->conns);
	out_u64(o, "workers", workers);
	out_u64(o, "msgs_per_s", r->msgs_s);
	out_double(o, "p50_us", (double)r->p50_ns / 1000);
	out_double(o, "p99_us", (double)r->p99_ns / 1000);
	out_u64(o, "cpu_ns_per_msg", r->cpu_ns);
	out_u64(o, "holds", r->holds);
	out_u64(o, "resets", r->resets);
}

/* All sizes in one mode. Return: 0 or an exit code. */
static int bench_mode(const struct cmd_args *args, const char *mode, const struct load *plan,
		      unsigned int workers)
{
	static const uint32_t sizes[] = { 64, 1024, 5120, 65536 };
	struct kcm_mux_opts o = { .sz = sizeof(o), .strparser = streq(mode, "strparser") };
	char name[KCM_PIN_NAME], err[256] = "";
	int ret;

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct load l = *plan;
		struct result r = { .mode = mode, .size = sizes[i] };

		snprintf(name, sizeof(name), "bench-%d", getpid());
		kcm_frame_parse("u32be", &o.frame, NULL, 0);
		o.workers = workers;
		l.size = sizes[i];
		ret = kcm_mux_create(name, &o, err, sizeof(err));
		if (ret && o.strparser) {
			warn("mode strparser is not available: %s", *err ? err : log_errno(ret));
			return 0;
		}
		if (ret)
			return report(PROBLEM(.where = name, .err = ret,
					      .why = *err ? err : log_errno(ret),
					      .next = "kcmtool doctor"),
				      "cannot create a mux");
		ret = measure(name, workers, &l, &r);
		kcm_mux_delete(name, 0);
		if (ret)
			return report(PROBLEM(.where = mode, .err = ret, .next = "kcmtool doctor"),
				      "cannot measure messages of %u bytes", sizes[i]);
		put_result(args->out, &l, workers, &r);
	}
	return 0;
}

int mux_bench(const struct cmd_args *args)
{
	static const struct out_column columns[] = {
		{ "mode", NULL },	    { "size", NULL },
		{ "conns", NULL },	    { "workers", NULL },
		{ "msgs_per_s", "MSGS/S" }, { "p50_us", NULL },
		{ "p99_us", NULL },	    { "cpu_ns_per_msg", "CPU-NS/MSG" },
		{ "holds", NULL },	    { "resets", NULL },
	};
	static const char *const modes[] = { "ring", "strparser" };
	uint64_t conns, workers, depth, us;
	struct load plan = { 0 };
	int code = args_u64(args, "conns", 1, 1000, 16, &conns);

	code = code ?: args_u64(args, "workers", 1, WORKERS_MAX, 2, &workers);
	code = code ?: args_u64(args, "depth", 1, 4096, 32, &depth);
	code = code ?: mux_time_us(args, "time", 600000000ULL, 1000000, &us);
	if (code)
		return code;
	plan.conns = (unsigned int)conns;
	plan.depth = (unsigned int)depth;
	plan.duration_ns = us * 1000;
	out_table(args->out, "results", columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < ARRAY_LEN(modes) && !code; i++)
		code = bench_mode(args, modes[i], &plan, (unsigned int)workers);
	out_end(args->out);
	return code;
}
