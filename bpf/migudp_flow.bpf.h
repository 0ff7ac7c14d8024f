/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * migudp_flow.bpf.h - which flow a datagram is of: its addresses, and of QUIC its connection id.
 *
 * A QUIC server chooses the id that its client then puts into each packet. The client's Handshake
 * packets say how long it is (RFC 9000, 17.2.4) and are noted; packets after them don't (17.3.1),
 * and what is in them is looked for, at the lengths that were seen. While all ids are of one
 * length, so is noted what a flow that is known uses: it is older than attach, or has changed its
 * id. Ids that the server hands out are encrypted: nobody but its client knows them before he uses
 * them.
 */
#ifndef KCM_MIGUDP_FLOW_BPF_H
#define KCM_MIGUDP_FLOW_BPF_H

#define MU_TICK_NS	  50000000ULL /* times of flows are that exact: fewer writes */
#define MU_UDP_HEADER	  8
#define MU_QUIC_LONG	  0x80
#define MU_QUIC_FIXED	  0x40
#define MU_QUIC_TYPE	  0x30
#define MU_QUIC_HANDSHAKE 0x20 /* of version 1 */
#define MU_CIDS		  8 /* of a flow, noted because it has used them: there may be nonsense */

enum mu_learn {
	MU_LEARN_NO,
	MU_LEARN,      /* the id in the key is a server's own */
	MU_LEARN_USED, /* the same, if the server's ids are as long as others were */
};

/* Return: 0, or -1 it is too short. */
static __always_inline int flow_key(struct sk_reuseport_md *md, __u32 group,
				    struct kcm_mg_flow_key *key)
{
	__u8 first = 0;
	int err;

	err = bpf_skb_load_bytes_relative(md, 0, &first, 1, BPF_HDR_START_NET);
	if (first >> 4 == 4) {
		key->family = KCM_AF_INET;
		err |= bpf_skb_load_bytes_relative(md, 12, key->remote, 4, BPF_HDR_START_NET);
		err |= bpf_skb_load_bytes_relative(md, 16, key->local, 4, BPF_HDR_START_NET);
	} else {
		key->family = KCM_AF_INET6;
		err |= bpf_skb_load_bytes_relative(md, 8, key->remote, 16, BPF_HDR_START_NET);
		err |= bpf_skb_load_bytes_relative(md, 24, key->local, 16, BPF_HDR_START_NET);
	}
	err |= bpf_skb_load_bytes(md, 0, &key->port, 2);
	key->group = group;
	return err ? -1 : 0;
}

static __always_inline int flow_ended(struct kcm_mg *mg, __u64 last_ns, __u64 now_ns)
{
	return now_ns > last_ns && now_ns - last_ns > mg->ctl.flow_timeout_ms * 1000000ULL;
}

static __always_inline void tick(__u64 *last_ns, __u64 now_ns)
{
	if (now_ns > *last_ns && now_ns - *last_ns >= MU_TICK_NS)
		*last_ns = now_ns;
}

/* ---- QUIC ---- */

/* 6.1 must see that it is not nothing that is read. Return: 0 or -1. */
static __always_inline int cid_load(struct sk_reuseport_md *md, __u32 at,
				    struct kcm_mg_cid_key *key, __u32 bytes)
{
	__u32 last = bytes - 1;

	if (last >= KCM_MG_CID)
		return -1;
	barrier_var(last);
	if (bpf_skb_load_bytes(md, at, key->cid, last + 1))
		return -1;
	key->bytes = bytes;
	return 0;
}

/*
 * The id in a packet with a long header. Return: 0, -1 there is none.
 * @handshake: it is the server's own, not one that the client has made up for its first packets.
 */
static __always_inline int cid_long(struct sk_reuseport_md *md, struct kcm_mg_cid_key *key,
				    int *handshake)
{
	struct {
		__u8 first;
		__u8 version[4];
		__u8 bytes;
	} h;

	if (bpf_skb_load_bytes(md, MU_UDP_HEADER, &h, sizeof(h)) || !(h.first & MU_QUIC_FIXED))
		return -1;
	*handshake = (h.first & MU_QUIC_TYPE) == MU_QUIC_HANDSHAKE && !h.version[0] &&
		     !h.version[1] && !h.version[2] && h.version[3] == 1;
	return cid_load(md, MU_UDP_HEADER + sizeof(h), key, h.bytes);
}

static __always_inline struct kcm_mg_cid *cid_short(struct sk_reuseport_md *md,
						    struct kcm_mg_cid_key *key, __u32 bytes)
{
	__builtin_memset(key->cid, 0, sizeof(key->cid));
	if (cid_load(md, MU_UDP_HEADER + 1, key, bytes))
		return NULL;
	return bpf_map_lookup_elem(&kcm_mg_cids, key);
}

/* Who has the connection, NULL: not known. @learn: is the id in @key to be noted? enum mu_learn */
static __always_inline struct kcm_mg_cid *cid_find(struct sk_reuseport_md *md,
						   struct kcm_mg_group *g, __u32 group,
						   struct kcm_mg_cid_key *key, int *learn)
{
	struct kcm_mg_cid *c;
	__u8 first = 0;

	key->group = group;
	if (bpf_skb_load_bytes(md, MU_UDP_HEADER, &first, 1))
		return NULL;
	if (first & MU_QUIC_LONG) {
		if (cid_long(md, key, learn)) {
			*learn = MU_LEARN_NO;
			return NULL;
		}
		c = bpf_map_lookup_elem(&kcm_mg_cids, key);
		*learn = *learn && !c ? MU_LEARN : MU_LEARN_NO;
		return c;
	}
	if (!(first & MU_QUIC_FIXED))
		return NULL;
	c = cid_short(md, key, g->cid_bytes[0]);
	if (!c && g->cid_bytes[1])
		return cid_short(md, key, g->cid_bytes[1]);
	*learn = !c && key->bytes ? MU_LEARN_USED : MU_LEARN_NO;
	return c;
}

/* The first one who says an id has it: nobody takes a connection from another one. */
static __always_inline void cid_learn(struct kcm_mg_group *g, const struct kcm_mg_cid_key *key,
				      const struct kcm_mg_flow *f, __u64 now_ns)
{
	struct kcm_mg_cid c = {
		.cookie = f->cookie, .last_ns = now_ns, .slot = f->slot, .gen = f->gen
	};
	long err = bpf_map_update_elem(&kcm_mg_cids, key, &c, BPF_NOEXIST);

	if (err && err != -KCM_EEXIST) {
		__sync_fetch_and_add(&g->cids_full, 1);
		return;
	}
	if (g->cid_bytes[0] != key->bytes) {
		g->cid_bytes[1] = g->cid_bytes[0];
		g->cid_bytes[0] = key->bytes;
	}
}

#endif
