// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * muxstrp.bpf.c - mode strparser: the kernel's stream parser assembles each message, the verdict
 * program copies it into a chunk of its own.
 *
 * There is no lossless hold here: a message that the verdict program passes on makes
 * tcp_bpf_recvmsg_parser() and the parser disagree about copied_seq. So overload resets the
 * connection, and says so.
 *
 * Both programs are called with the whole skb, not with the message. Where the message begins
 * follows from TCP sequence numbers: cb[0] is that of the skb's first byte (TCP_SKB_CB survives in
 * sk_skb_cb.data), and we know how many bytes of the stream were messages. strp_msg.offset would
 * say it too, but can be read from 6.2 on only.
 */
#include "../vmlinux/vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define KCM_POS(pos)	      ((pos) & (KCM_STRP_HEAD - 1))
#define KCM_LD8(base, pos)    (((const __u8 *)(base))[KCM_POS(pos)])
#define KCM_LD64(base, pos)   (*(const __u64 *)((const __u8 *)(base) + KCM_POS(pos)))
#define KCM_FRAME_IS_REPLY(s) 0
#define KCM_STRP_HEAD	      64
#include "mux.h"
#include "mux_maps.bpf.h"

const volatile struct kcm_frame kcm_frame = {};

#include "mux_queue.bpf.h"
#include "mux_publish.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

/*
 * kcm_head - the first bytes of the message that is parsed.
 * Key: connection slot. Written and read by kcm_parser, with the socket locked.
 */
struct kcm_head {
	__u8 bytes[KCM_STRP_HEAD + 16];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* set at create */
	__type(key, __u32);
	__type(value, struct kcm_head);
} kcm_head SEC(".maps");

static __always_inline struct kcm_conn *conn_of(struct __sk_buff *skb, __u32 *slot)
{
	__u64 cookie = bpf_get_socket_cookie(skb);
	__u32 *s = bpf_map_lookup_elem(&kcm_slots, &cookie);

	if (!s)
		return NULL;
	*slot = *s;
	return bpf_map_lookup_elem(&kcm_conn, s);
}

/* Offset of the current message in the skb. resume_seq: sequence number of its first byte. */
static __always_inline __u32 msg_offset(struct __sk_buff *skb, struct kcm_conn *c)
{
	__u32 seq = skb->cb[0];

	if (!c->skbs) {
		c->skbs = 1;
		/* Not seq: a retransmission may begin with bytes read before the attach. */
		c->resume_seq = copied_seq(skb, seq);
	}
	return c->resume_seq - seq;
}

/* Length of the current message, as kcm_frame_step(). */
static __always_inline int msg_length(struct __sk_buff *skb, struct kcm_conn *c, __u32 slot)
{
	struct kcm_head *h = bpf_map_lookup_elem(&kcm_head, &slot);
	__u32 off = msg_offset(skb, c), avail;

	if (!h || off >= skb->len)
		return 0;
	/* Not 0, in a way that verifiers before 6.8 follow: see load(). */
	avail = skb->len - off - 1;
	barrier_var(avail);
	if (avail >= KCM_STRP_HEAD)
		avail = KCM_STRP_HEAD - 1;
	avail++;
	if (bpf_skb_load_bytes(skb, off, h->bytes, avail))
		return 0;
	c->fs.w[0] = c->fs.w[1] = c->fs.w[2] = c->fs.w[3] = 0;
	return kcm_frame_step((const struct kcm_frame *)&kcm_frame, &c->fs, h->bytes, 0, avail);
}

SEC("sk_skb/stream_parser")
int kcm_parser(struct __sk_buff *skb)
{
	__u32 slot = 0;
	struct kcm_conn *c = conn_of(skb, &slot);

	if (!c || c->state != KCM_CONN_ACTIVE)
		return skb->len; /* about to be reset: whatever it is, take it away */
	return msg_length(skb, c, slot);
}

static __always_inline int take(struct __sk_buff *skb, struct kcm_conn *c, __u32 slot, __u32 len)
{
	__u32 off = msg_offset(skb, c), id, lane;
	struct kcm_chunk *ch;
	__u8 *region;

	id = kcm_chunk_new(class_of(len));
	if (!id)
		return -1;
	id--;
	ch = bpf_map_lookup_elem(&kcm_chunk, &id);
	if (!ch)
		return -1;
	region = bpf_map_lookup_elem(&kcm_arena, &ch->region);
	if (!region || load(skb, off, region, ch->off, len)) {
		chunk_drop(id);
		return -1;
	}
	ch->msg[0].off = 0;
	ch->msg[0].len = len;
	lane = 0;
	if (kcm_cfg.policy == KCM_POLICY_ROBIN || kcm_cfg.policy == KCM_POLICY_KEY)
		lane = lane_of(c, region, ch->off, len);
	ch->lane[0] = lane;
	if (kcm_publish(id, slot, 1, 1ULL << (lane & 63)))
		return -1;
	c->msgs++;
	c->bytes += len;
	return 0;
}

SEC("sk_skb/stream_verdict")
int kcm_strp_verd(struct __sk_buff *skb)
{
	__u32 slot = 0;
	struct kcm_conn *c = conn_of(skb, &slot);
	int len;

	if (!c || c->state != KCM_CONN_ACTIVE)
		return SK_DROP;
	/* Once more: the parser's answer is where no program can read it on 6.1. */
	len = msg_length(skb, c, slot);
	if (len <= 0 || (__u32)len > KCM_CHUNK2_BYTES)
		goto reset;
	if (take(skb, c, slot, len))
		goto reset;
	c->resume_seq += len;
	if (kcm_cfg.policy == KCM_POLICY_LEAST)
		wake_shared(slot, c->gen);
	return SK_DROP;
reset:
	if (__sync_val_compare_and_swap(&c->state, KCM_CONN_ACTIVE, KCM_CONN_RESET) ==
	    KCM_CONN_ACTIVE)
		kcm_ring(KCM_OWNER_BELL, KCM_BELL_RESET, slot);
	return SK_DROP;
}

#include "mux_sockops.bpf.h"
