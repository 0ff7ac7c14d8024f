/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flowhist_test.h - what tests of histories have in common: chance, failures, deaths, the setup. */
#ifndef KCM_FLOWHIST_TEST_H
#define KCM_FLOWHIST_TEST_H

#include <signal.h>
#include <sys/syscall.h>
#include "util.h"

#define RATE   400000 /* packets a second and CPU, if there is time */
#define CACHE  4096
#define ALWAYS (1ull << 62 | 1ull << 63)

/* ---- what the linker puts between the library and what it calls ---- */

static int graces_until_death __attribute__((unused)), updates_until_death; /* 0: never */

int __real_flow_grace(void);
int __wrap_flow_grace(void);
int __wrap_flow_grace(void)
{
	if (graces_until_death && !--graces_until_death)
		raise(SIGKILL);
	return hist_wrong == HIST_NO_GRACE ? 0 : __real_flow_grace();
}

static int updates_until_failure;    /* 0: none fails */
static void (*before_failure)(void); /* what happens with some interfaces changed */

int __real_bpf_link_update(int link_fd, int prog_fd, const struct bpf_link_update_opts *opts);
int __wrap_bpf_link_update(int link_fd, int prog_fd, const struct bpf_link_update_opts *opts);
int __wrap_bpf_link_update(int link_fd, int prog_fd, const struct bpf_link_update_opts *opts)
{
	if (updates_until_death && !--updates_until_death)
		raise(SIGKILL);
	if (updates_until_failure && !--updates_until_failure) {
		before_failure();
		errno = ENOMEM;
		return -1;
	}
	return __real_bpf_link_update(link_fd, prog_fd, opts);
}

/* As where CPUs run without a tick: membarrier is refused, and time passes in another way. */
static bool refuse_membarrier;
static uint32_t refused;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	if (refuse_membarrier && number == __NR_membarrier) {
		refused++;
		errno = EINVAL;
		return -1;
	}
	return __real_syscall(number, a, b, c, d, e, f);
}

/* ---- chance ---- */

static uint64_t chance_state;

static inline uint32_t chance(uint32_t n)
{
	chance_state ^= chance_state << 13;
	chance_state ^= chance_state >> 7;
	chance_state ^= chance_state << 17;
	return (uint32_t)(chance_state >> 32) % n;
}

static int group_setup(void **state)
{
	const char *seed = getenv("KCM_SEED");

	(void)state;
	chance_state = (seed ? strtoull(seed, NULL, 0) : hist_now()) | 1;
	print_message("# KCM_SEED=%llu\n", (unsigned long long)chance_state);
	hist_world();
	return 0;
}

static inline int hist_main(const struct CMUnitTest *tests, size_t n)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) || !CPU_ISSET(0, &set) || !CPU_ISSET(1, &set)) {
		printf("1..1\nok 1 - histories # skip needs CPUs 0 and 1\n");
		return 0;
	}
	cmocka_set_test_filter(getenv("KCM_TEST"));
	return _cmocka_run_group_tests("histories", tests, n, group_setup, NULL);
}

#endif
