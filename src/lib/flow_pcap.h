/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * flow_pcap.h - frames of a capture. libpcap is looked for when the first one is opened: it brings
 * ten other libraries with it, which no other command is to wait for. Internal to libkcm and
 * kcmtool.
 */
#ifndef KCM_FLOW_PCAP_H
#define KCM_FLOW_PCAP_H

#include <stddef.h>
#include <stdint.h>

struct flow_pcap;

struct flow_frame {
	const uint8_t *data; /* until the next call */
	size_t have;	     /* bytes that were captured */
	uint32_t len;	     /* that the frame had */
	uint64_t time_ns;    /* since 1970 */
};

/**
 * flow_pcap_open() - pcap or pcapng, of Ethernet
 * @path: "-" is standard input
 * @why: one line, on any failure
 * Return: 0; -ENOENT, -EACCES, ... from opening it; -ENOSYS: there is no libpcap; -EINVAL: it is no
 * capture; -EPROTONOSUPPORT: it is not of Ethernet.
 */
int flow_pcap_open(struct flow_pcap **pcap, const char *path, char *why, size_t size);

/* Return: 1; 0 at the end; -EINVAL: what follows is broken, and @why. */
int flow_pcap_next(struct flow_pcap *p, struct flow_frame *f, char *why, size_t size);

void flow_pcap_close(struct flow_pcap *p);

#endif
