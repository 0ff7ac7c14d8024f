/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flowhist_run.h - two pairs of interfaces in a network of their own, an instance of flow on one
 * end of each, and a thread for each of two CPUs that sends packets into the other end and looks
 * at what became of them. One who controls it changes policies meanwhile.
 */
#ifndef KCM_FLOWHIST_RUN_H
#define KCM_FLOWHIST_RUN_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include "flow_edit.h"
#include "flow_load.h"
#include "flow_parse.h"
#include "flow_text.h"
#include "flowhist_check.h"

#define CPUS	  2 /* 0 and 1 */
#define BATCH	  1024
#define PATIENCE  120 /* seconds for what takes milliseconds */
#define HIST_PINS "/sys/fs/bpf/"

__u32 hist_wrong, hist_slow_ns, hist_slow_mask;

struct hist;

struct hist_sender {
	struct hist *h;
	int cpu;
	pthread_t thread;
	struct hist_cursor cursor;
	uint64_t turns; /* batches that were begun and ended */
	bool failed;
};

struct hist {
	struct flow_inst inst;
	struct flowgen *gen;
	struct hist_events events;
	struct hist_sender sender[CPUS];
	struct hist_at *at;
	struct hist_packet *ring;
	uint64_t batch_ns; /* from one batch to the next */
	bool stop;
	uint32_t operations;
	uint64_t call_ns;
};

#define MUST(x)                                                                    \
	do {                                                                       \
		if (!(x)) {                                                        \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #x, \
				strerror(errno));                                  \
			exit(1);                                                   \
		}                                                                  \
	} while (0)

/* ---- where it happens ---- */

static inline void hist_shell(const char *command)
{
	if (system(command)) {
		fprintf(stderr, "failed: %s\n", command);
		exit(1);
	}
}

/* Own network, own pins: whatever happens, they end with us. */
static inline void hist_world(void)
{
	MUST(!unshare(CLONE_NEWNET | CLONE_NEWNS));
	MUST(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	MUST(!mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=0700"));
	hist_shell("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 "
		   "net.ipv6.conf.default.disable_ipv6=1");
	for (int i = 0; i < CPUS; i++) {
		char cmd[256];

		snprintf(cmd, sizeof(cmd),
			 "ip link add a%d numtxqueues 1 numrxqueues 1 type veth peer name b%d "
			 "numtxqueues 1 numrxqueues 1 && ip link set a%d up && ip link set b%d up",
			 i, i, i, i);
		hist_shell(cmd);
	}
	hist_shell("ip link set lo up");
}

static inline void *hist_map(const char *name, size_t bytes)
{
	char path[64];
	void *p;
	int fd;

	snprintf(path, sizeof(path), HIST_PINS "%s", name);
	fd = bpf_obj_get(path);
	MUST(fd >= 0);
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(p != MAP_FAILED);
	close(fd);
	return p;
}

/* ---- packets ---- */

static inline bool hist_send(struct hist_sender *s)
{
	static const unsigned char frame[HIST_BYTES];
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = BATCH, .flags = BPF_F_TEST_XDP_LIVE_FRAMES);
	struct hist_at *at = &s->h->at[s->cpu];

	/* What nobody has looked at yet would be lost. */
	if (__atomic_load_n(&at->head, __ATOMIC_ACQUIRE) - at->tail > HIST_RING - 4 * BATCH)
		return true;
	return !bpf_prog_test_run_opts(bpf_program__fd(s->h->gen->progs.hist_send), &o);
}

static inline void *hist_sender(void *arg)
{
	struct hist_sender *s = arg;
	struct hist *h = s->h;
	uint64_t next_ns = hist_now();
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(s->cpu, &set);
	MUST(!sched_setaffinity(0, sizeof(set), &set));
	while (!__atomic_load_n(&h->stop, __ATOMIC_ACQUIRE) && !s->failed) {
		struct timespec t;
		uint64_t now;

		__atomic_add_fetch(&s->turns, 1, __ATOMIC_SEQ_CST);
		s->failed = !hist_send(s);
		__atomic_add_fetch(&s->turns, 1, __ATOMIC_SEQ_CST);
		hist_look_all(&h->events, &s->cursor, &h->at[s->cpu],
			      h->ring + (size_t)s->cpu * HIST_RING, s->cpu);
		next_ns += h->batch_ns;
		now = hist_now();
		if (next_ns < now)
			next_ns = now;
		t = (struct timespec){ (time_t)(next_ns / 1000000000),
				       (long)(next_ns % 1000000000) };
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
	}
	return NULL;
}

/* Send these flows only, and of each so many. Packets of others are not under way on return. */
static inline void hist_only(struct hist *h, uint64_t on, uint32_t sport_mask)
{
	for (int i = 0; i < CPUS; i++) {
		struct hist_gen *g = &h->gen->bss->hist_gen[i];

		g->sport_mask = sport_mask;
		__atomic_store_n(&g->on, on, __ATOMIC_SEQ_CST);
	}
	for (int i = 0; i < CPUS; i++) {
		uint64_t turns = __atomic_load_n(&h->sender[i].turns, __ATOMIC_SEQ_CST);
		uint64_t sent;

		while (__atomic_load_n(&h->sender[i].turns, __ATOMIC_SEQ_CST) < turns + 2 &&
		       !h->sender[i].failed)
			usleep(200);
		sent = __atomic_load_n(&h->gen->bss->hist_gen[i].sent, __ATOMIC_ACQUIRE);
		for (int n = 0; n < PATIENCE * 1000; n++) {
			if (__atomic_load_n(&h->at[i].head, __ATOMIC_ACQUIRE) + h->at[i].lost >=
			    sent)
				break;
			usleep(1000);
		}
	}
}

/* Until each CPU has judged @n packets more. Return: false if it takes too long. */
static inline bool hist_more(struct hist *h, uint64_t n)
{
	for (int i = 0; i < CPUS; i++) {
		uint64_t until = __atomic_load_n(&h->at[i].head, __ATOMIC_ACQUIRE) + n;

		for (int tries = 0; __atomic_load_n(&h->at[i].head, __ATOMIC_ACQUIRE) < until;
		     tries++) {
			if (tries == PATIENCE * 1000 || h->sender[i].failed)
				return false;
			/* Nothing is changed meanwhile: what was judged may be looked at. */
			hist_known(&h->events, hist_now());
			usleep(1000);
		}
	}
	return true;
}

/* ---- begin and end ---- */

static inline int hist_load(struct flow_set *set, uint32_t cache_entries)
{
	static const char *const ifs[CPUS] = { "b0", "b1" };
	const struct flow_load_opts o = { .ifname = ifs,
					  .n_if = CPUS,
					  .mode = FLOW_NATIVE,
					  .cache_entries = cache_entries,
					  .policies = 512,
					  .idle_s = FLOW_IDLE_S,
					  .closed_s = FLOW_CLOSED_S,
					  .no_bypass = true,
					  .set = set };
	struct flow_loaded done;
	char why[256] = "";
	int err = kcm_flow_load(&o, &done, why, sizeof(why));

	if (err)
		fprintf(stderr, "load: %s (%d)\n", why, err);
	return err;
}

static inline void hist_open_inst(struct hist *h)
{
	MUST(!flow_inst_open(&h->inst, "b0", FLOW_WRITE));
}

static inline void hist_begin(struct hist *h, uint32_t cache, uint32_t operations,
			      uint32_t packets_per_s)
{
	*h = (struct hist){ .inst = FLOW_INST_NONE };
	MUST(hist_events_open(&h->events, operations));
	MUST(!hist_load(NULL, cache));
	hist_open_inst(h);
	h->at = hist_map("hist_at", CPUS * sizeof(*h->at));
	h->ring = hist_map("hist_ring", (size_t)CPUS * HIST_RING * sizeof(*h->ring));
	h->batch_ns = 1000000000ull * BATCH / packets_per_s;
	h->gen = flowgen__open_and_load();
	MUST(h->gen);
	for (int i = 0; i < HIST_FLOWS; i++)
		hist_event(&h->events, i, 0, 0, false);
	for (int i = 0; i < CPUS; i++) {
		struct hist_gen *g = &h->gen->bss->hist_gen[i];
		char name[8];

		snprintf(name, sizeof(name), "a%d", i);
		g->ifindex = if_nametoindex(name);
		g->on = ~0ull;
		h->sender[i].h = h;
		h->sender[i].cpu = i;
		MUST(!pthread_create(&h->sender[i].thread, NULL, hist_sender, &h->sender[i]));
	}
}

/* All that was judged is looked at. Return: false if not all of it was kept. */
static inline bool hist_end(struct hist *h)
{
	bool ok = true;

	__atomic_store_n(&h->stop, true, __ATOMIC_RELEASE);
	for (int i = 0; i < CPUS; i++)
		pthread_join(h->sender[i].thread, NULL);
	flow_inst_close(&h->inst);
	for (int i = 0; i < CPUS; i++) {
		struct hist_gen *g = &h->gen->bss->hist_gen[i];

		for (int n = 0; n < PATIENCE * 1000 && h->at[i].head + h->at[i].lost < g->sent; n++)
			usleep(1000);
		hist_known(&h->events, UINT64_MAX);
		hist_look_all(&h->events, &h->sender[i].cursor, &h->at[i],
			      h->ring + (size_t)i * HIST_RING, i);
		if (h->at[i].lost || h->sender[i].failed)
			fprintf(stderr, "CPU %d: %llu packets lost, sender %s\n", i,
				(unsigned long long)h->at[i].lost,
				h->sender[i].failed ? "failed" : "is well");
		ok = ok && !h->at[i].lost && !h->sender[i].failed;
	}
	munmap(h->at, CPUS * sizeof(*h->at));
	munmap(h->ring, (size_t)CPUS * HIST_RING * sizeof(*h->ring));
	flowgen__destroy(h->gen);
	hist_events_close(&h->events);
	unlink(HIST_PINS "hist_at");
	unlink(HIST_PINS "hist_ring");
	return ok;
}

static inline void hist_unload(void)
{
	char name[KCM_PIN_NAME];

	MUST(!flow_inst_find("b0", name, sizeof(name)));
	MUST(!kcm_flow_unload(name));
}

/* ---- operations: what is done in between is one ---- */

static inline void hist_call(struct hist *h)
{
	h->call_ns = hist_now();
	hist_known(&h->events, h->call_ns);
}

/* @drop: of each flow, how it is judged from now on. */
static inline void hist_return(struct hist *h, const bool *drop)
{
	uint64_t now_ns = hist_now();

	for (int i = 0; i < HIST_FLOWS; i++)
		hist_event(&h->events, i, h->call_ns, now_ns, drop[i]);
	hist_known(&h->events, now_ns);
	h->operations++;
}

#endif
