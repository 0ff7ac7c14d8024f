// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * migrate.bpf.c - SO_REUSEPORT groups whose listeners come and go without losing a connection.
 *
 *	kcm_mg_ops	sockops: a listener opens or closes
 *	kcm_mg_select	sk_reuseport: who gets a new connection, or one that must move
 *	kcm_mg_owner	iter/task_file, and
 *	kcm_mg_adopt	iter/tcp: listeners that were there before
 *	kcm_mg_bind4/6	SO_REUSEPORT for servers that do not set it
 *	kcm_mg_opt	setsockopt: what servers say themselves
 *	kcm_mg_end	sock_release: older listeners close, on kernels before 6.12
 *	kcm_mg_plain	no MPTCP: the kernel attaches no selector to an MPTCP listener
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#include "migrate.h"

#define KCM_AF_INET  2
#define KCM_AF_INET6 10

#include "migrate_maps.bpf.h"
#include "migrate_socks.bpf.h"
#include "migrate_who.bpf.h"
#include "migrate_log.bpf.h"
#include "migrate_gen.bpf.h"
#include "migrate_table.bpf.h"
#include "migrate_ops.bpf.h"
#include "migrate_select.bpf.h"
#include "file.bpf.h"
#include "migrate_owner.bpf.h"
#include "migrate_adopt.bpf.h"
#include "migrate_bind.bpf.h"
#include "migrate_opt.bpf.h"
#include "migrate_end.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";
