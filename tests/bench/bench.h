/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bench.h - what the driver, the load generator and every server of the benchmark share:
 * options of one case, clocks, the memory a case's processes share.
 */
#ifndef KCM_TESTS_BENCH_H
#define KCM_TESTS_BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

#define BENCH_MAX_PIDS	64
#define BENCH_MAX_SIZE	(64 * 1024)
#define BENCH_NS_PER_MS 1000000ULL
#define BENCH_NS_PER_S	1000000000ULL

/* What a worker does with a message before it replies. */
enum bench_work_kind {
	BENCH_WORK_NONE,  /* read the message, nothing else */
	BENCH_WORK_SLOW,  /* slow_pct of the requests sleep work_ns, the others are free */
	BENCH_WORK_BLOCK, /* every request sleeps work_ns: a downstream call */
	BENCH_WORK_SPIN,  /* every request burns work_ns of CPU */
};

/* How the load generator paces itself. */
enum bench_mode {
	BENCH_CLOSED, /* depth messages in flight on each connection; depth 1 = request/response */
	BENCH_OPEN,   /* a fixed schedule; latency counts from the scheduled time */
	BENCH_IDLE,   /* connected and silent */
};

struct bench_shared;

struct bench_opts {
	enum bench_work_kind work;
	uint64_t work_ns;
	double slow_pct;
	enum bench_mode mode;
	uint64_t rate;	     /* BENCH_OPEN: messages per second over all connections */
	uint32_t size;	     /* whole message on the wire, prefix included */
	uint32_t reply_size; /* whole reply on the wire, <= size */
	uint32_t conns;
	uint32_t depth;
	uint32_t workers;
	uint32_t client_threads;
	bool threads;	    /* mux: workers are threads, not processes */
	bool one_way;	    /* no replies: workers count what they took, see bench_take() */
	bool any_conn;	    /* replies may come by any connection; one client thread only */
	uint32_t arena_mib; /* mux: memory for messages, 0 = the library's default */
	int listen_fd;	    /* bound and listening when a server starts */
	uint16_t port;
	struct bench_shared *shared;
};

/* What one worker took where nobody is answered; in a cache line of its own. */
struct bench_taken {
	_Alignas(64) _Atomic uint64_t msgs;
	_Atomic uint64_t bad;
};

/* One contiguous anonymous mapping, made before the fork of the server and of its client. */
struct bench_shared {
	_Atomic uint32_t nr_pids; /* processes whose CPU time is the server's */
	_Atomic pid_t pids[BENCH_MAX_PIDS];
	_Atomic uint32_t nr_takers;
	struct bench_taken taken[BENCH_MAX_PIDS];
};

/* One more process belongs to the server; threads of a listed process are counted with it. */
static inline void bench_add_pid(struct bench_shared *sh, pid_t pid)
{
	uint32_t i = atomic_fetch_add(&sh->nr_pids, 1);

	if (i < BENCH_MAX_PIDS)
		atomic_store(&sh->pids[i], pid);
}

/* A process of the server ended and was waited for: its id may be reused by a stranger. */
static inline void bench_del_pid(struct bench_shared *sh, pid_t pid)
{
	for (uint32_t i = 0; i < BENCH_MAX_PIDS; i++)
		if (atomic_load(&sh->pids[i]) == pid)
			atomic_store(&sh->pids[i], 0);
}

static inline uint64_t bench_clock_ns(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts))
		return 0;
	return (uint64_t)ts.tv_sec * BENCH_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static inline uint64_t bench_now_ns(void)
{
	return bench_clock_ns(CLOCK_MONOTONIC);
}

static inline void bench_sleep_ns(uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / BENCH_NS_PER_S),
			       .tv_nsec = (long)(ns % BENCH_NS_PER_S) };

	while (nanosleep(&ts, &ts))
		;
}

/*
 * Options of every socket on both sides; accepted ones inherit the listener's. Reno, because the
 * machine's default may be one that paces by timers (BBR): loopback loses nothing to adapt to.
 */
static inline void bench_socket_options(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}

/* CPU time of all threads, living and ended, of all processes of the server. */
static inline uint64_t bench_server_cpu_ns(const struct bench_shared *sh)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < BENCH_MAX_PIDS; i++) {
		pid_t pid = atomic_load(&sh->pids[i]);
		clockid_t id;

		if (pid > 0 && !clock_getcpuclockid(pid, &id))
			sum += bench_clock_ns(id);
	}
	return sum;
}

#endif
