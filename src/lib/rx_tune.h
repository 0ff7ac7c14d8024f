/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * rx_tune.h - the BPF side of rx: a port whose peers send whole pages. Internal to libkcm and
 * kcmtool.
 *
 * Pinned in rx/NAME: the map kcm_rx, the iterator kcm_rx_adopt, and link_ops on the cgroup.
 */
#ifndef KCM_RX_TUNE_H
#define KCM_RX_TUNE_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>
#include "../../bpf/rx.h"

#define RX_SYSTEM "rx"

struct rx_tune_opts {
	__u16 port;
	unsigned int pages; /* of a segment */
	bool timestamps;    /* segments have the option */
	bool connect;
	const char *cgroup; /* as for cgroup_open() */
};

/**
 * kcm_rx_tune() - begin; or look for listeners again where the same is there
 * @err: one line
 * Return: 0; -EEXIST @name does something else; -ESTALE another version's; or -errno. On failure
 * nothing is left.
 */
int kcm_rx_tune(const char *name, const struct rx_tune_opts *o, char *err, size_t size);

/*
 * Listeners get the kernel's value again; connections keep theirs. Return: 0; -ENOENT; or -errno,
 * and all is as it was. @force: end it even if listeners keep what they have.
 */
int kcm_rx_untune(const char *name, bool force);

/* What an instance did. 0, -ENOENT, -ESTALE, -errno */
int kcm_rx_tune_read(const char *name, struct kcm_rx_tune *t);

/* Do the programs load here? Nothing is kept. Return: 0, or -errno and one line in @err. */
int kcm_rx_tune_trial(char *err, size_t size);

#endif
