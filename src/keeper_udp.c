// SPDX-License-Identifier: GPL-2.0
/*
 * keeper_udp.c - what an instance of UDP needs a process for: each socket that is opened goes into
 * the map that the selector chooses from, a group that has begun anew gets the selector, and flows
 * that have ended make room.
 *
 * Between bind() and that moment, a fraction of a millisecond, a socket gets nothing while the
 * selector is there, and what the kernel's hash gives it in a group that is new.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include "cmd.h"
#include "keeper.h"
#include "lib/migrate_load.h"
#include "lib/migrate_udp.h"

#define SWEEP_NS      2000000000ULL
#define SWEEP_MANY_NS 500000000ULL /* when little room is left */
#define RETRY_NS      100000000ULL
#define RETRIES	      50
#define ETH_BYTES     64

#define LOAD(from) __atomic_load_n(&(from), __ATOMIC_ACQUIRE)

/* Sockets that were opened. A process may not yet, or never, have what it has bound where we look.
 */
static void seat(struct keeper *k, __u64 now_ns)
{
	bool retry = now_ns >= k->retry_ns && k->tries < RETRIES;
	unsigned int before = k->unseated;
	int err;

	k->unseated = mg_seat_all(&k->v, retry);
	if (k->unseated > before)
		k->tries = 0;
	if (!k->unseated)
		return;
	if (retry) {
		k->retry_ns = now_ns + RETRY_NS;
		k->tries++;
	}
	mg_unseated(k->v.mg, &err);
	if (err && err != k->err && k->tries == RETRIES)
		warn("%u sockets of %s cannot be registered (%s): they get no new flows",
		     k->unseated, k->name,
		     err == -EPERM || err == -EACCES ? "CAP_SYS_PTRACE is needed" : log_errno(err));
	if (k->tries == RETRIES)
		k->err = err;
}

/* A group goes with its last socket, and its selector too. */
static void select_new(struct keeper *k)
{
	struct migrate_found f = { 0 };

	for (int i = 0; i < KCM_MG_GROUPS; i++) {
		const struct kcm_mg_group *g = &k->v.mg->group[i];

		if ((LOAD(g->flags) & KCM_MG_GROUP_USED) && LOAD(g->n) &&
		    !mg_selector_on(k->v.mg, i)) {
			migrate_select_all(&k->v, &f);
			return;
		}
	}
}

/* The selector writes no log, as it takes no lock. */
static void tell(const struct keeper *k)
{
	unsigned char packet[ETH_BYTES] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = packet, .data_size_in = sizeof(packet));

	if (LOAD(k->v.mg->ctl.announce) && bpf_prog_test_run_opts(k->v.tell_fd, &run))
		warn("a new generation of %s works, which watch does not tell: %s", k->name,
		     log_errno(errno));
}

__u64 keeper_udp_look(struct keeper *k, __u64 now_ns)
{
	const struct kcm_mg_ctl *ctl = &k->v.mg->ctl;
	__u64 every_ns = LOAD(ctl->flows_known) > ctl->flows_max / 2 ? SWEEP_MANY_NS : SWEEP_NS;
	int left;

	seat(k, now_ns);
	select_new(k);
	tell(k);
	if (now_ns >= k->swept_ns + every_ns) {
		k->swept_ns = now_ns;
		left = mg_flows_sweep(&k->v, now_ns);
		if (left < 0 && left != k->err)
			warn("flows of %s that have ended are not removed: %s", k->name,
			     log_errno(left));
		if (left < 0)
			k->err = left;
	}
	return k->unseated && k->tries < RETRIES ? now_ns + RETRY_NS : k->swept_ns + every_ns;
}
