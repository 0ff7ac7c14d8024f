// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * migudp.bpf.c - SO_REUSEPORT groups of UDP sockets: a flow stays with the socket that has it, a
 *new one goes to the newest generation.
 *
 *	kcm_mg_bound4/6	post_bind: a socket is opened
 *	kcm_mg_end	sock_release: it is closed
 *	kcm_mg_peer4/6	connect: it is one client's
 *	kcm_mg_select	sk_reuseport: who gets a datagram
 *	kcm_mg_owner	iter/task_file, and
 *	kcm_mg_adopt	iter/udp: sockets that were there before
 *	kcm_mg_bind4/6	SO_REUSEPORT for servers that do not set it
 *	kcm_mg_tell	run by the keeper: that a new generation works goes into the log
 *
 * No program can put a socket into kcm_mg_udps: the keeper does, woken at bind().
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#include "errno.bpf.h"
#include "migrate.h"

#define KCM_AF_INET  2
#define KCM_AF_INET6 10

#include "migrate_maps.bpf.h"
#include "migudp_maps.bpf.h"
#include "migrate_who.bpf.h"
#include "migrate_log.bpf.h"
#include "migrate_gen.bpf.h"
#include "migrate_table.bpf.h"
#include "file.bpf.h"
#include "migrate_owner.bpf.h"
#include "migudp_sock.bpf.h"
#include "migrate_end.bpf.h"
#include "migrate_bind.bpf.h"
#include "migudp_flow.bpf.h"
#include "migudp_select.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";
