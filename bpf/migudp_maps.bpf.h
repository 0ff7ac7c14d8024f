/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* migudp_maps.bpf.h - the maps of migrate that are for UDP. */
#ifndef KCM_MIGUDP_MAPS_BPF_H
#define KCM_MIGUDP_MAPS_BPF_H

/*
 * kcm_mg_udps - the sockets. Key: slot; value: socket (for user space: its cookie). Written by the
 * keeper and attach; the kernel removes a socket as it closes. Read by the selector. Not a
 * sockmap, which would change how a UDP socket receives.
 */
struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, KCM_MG_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} kcm_mg_udps SEC(".maps");

/*
 * kcm_mg_flows - who has which flow. Key: its addresses; value: the socket. Written by the
 * selector; the keeper removes flows that have ended. Not an LRU map: where there is no room, a new
 * flow is not kept, and counted, rather than that a flow of an older generation is forgotten
 * without a word. Its size is set at load.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct kcm_mg_flow_key);
	__type(value, struct kcm_mg_flow);
} kcm_mg_flows SEC(".maps");

/*
 * kcm_mg_cids - who has which QUIC connection. Key: a connection id that the server has chosen, as
 * its client has repeated it; value: the socket. Written, emptied and sized as kcm_mg_flows; one
 * entry without --quic.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct kcm_mg_cid_key);
	__type(value, struct kcm_mg_cid);
} kcm_mg_cids SEC(".maps");

#endif
