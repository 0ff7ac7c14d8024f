// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sockiter.bpf.c - iterators of sock: what reads all sockets, and what changes live ones.
 *
 * Run by reading a pinned file, in the network namespace of the reader where it walks sockets
 * (adopt_tcp, adopt_udp, relimit, unlimit), in all namespaces where it walks our maps or files.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#include "sockiter.h"

/* Iterators are not given the coarse clock. The fine one is never behind it. */
#define bpf_ktime_get_coarse_ns bpf_ktime_get_ns

#include "sock_maps.bpf.h"
#include "sock_find.bpf.h"
#include "sock_pkt.bpf.h"
#include "sock_event.bpf.h"
#include "sock_rule.bpf.h"
#include "sock_pace.bpf.h"
#include "sockiter_maps.bpf.h"
#include "sockiter_adopt.bpf.h"
#include "sockiter_limit.bpf.h"
#include "sockiter_row.bpf.h"
#include "sockiter_snap.bpf.h"
#include "sockiter_text.bpf.h"
#include "file.bpf.h"
#include "sockiter_file.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";
