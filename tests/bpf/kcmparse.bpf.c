// SPDX-License-Identifier: GPL-2.0
/*
 * kcmparse.bpf.c - framing for AF_KCM: a big-endian 32-bit length that does not count itself.
 *
 * For tests/bpf/af_kcm.h.
 */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

#define PREFIX 4U
#define EPROTO 71

/* struct sk_skb_cb of the kernel: strp.full_len at 24, strp.offset at 28. */
#define STRP_OFFSET 28

const volatile __u32 kcmp_min_bytes = PREFIX; /* of a whole message; below: -EPROTO */

static int frame_len(struct __sk_buff *skb, __u32 at)
{
	__u32 be, len;

	if (bpf_skb_load_bytes(skb, at, &be, sizeof(be)))
		return 0;
	len = bpf_ntohl(be);
	/* Nothing so long is a message, and it must not become a negative number of success. */
	if (len > 0x7fffffff - PREFIX || len + PREFIX < kcmp_min_bytes)
		return -EPROTO;
	return len + PREFIX;
}

/*
 * The kernel's parser runs this on the whole skb, of which the message begins at strp_msg.offset.
 * No field of __sk_buff has that (cb[] ends four bytes before it), so it is read as memory.
 */
SEC("socket")
int kcmp_frame(struct __sk_buff *skb)
{
	__u32 at = 0;

	if (bpf_probe_read_kernel(&at, sizeof(at),
				  (void *)skb + bpf_core_field_offset(struct sk_buff, cb) +
					  STRP_OFFSET))
		return -EPROTO;
	return frame_len(skb, at);
}

/* As the kernel's documentation has it: the length is at the front of the skb. */
SEC("socket")
int kcmp_documented(struct __sk_buff *skb)
{
	return frame_len(skb, 0);
}

/* A message of which the end is never seen. */
SEC("socket")
int kcmp_endless(struct __sk_buff *skb)
{
	return 0;
}
