/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sock_sides.bpf.h - what one direction of a connection must know of the other. HTTP/1: which
 * request a reply answers, for one to HEAD has no body. HTTP/1 and PostgreSQL: where both become
 * another protocol.
 *
 * Each word has one writer: the requests' side marks HEAD in a ring of 64 bits, the replies' side
 * counts the requests that are answered. So no lock is taken, whichever CPUs they are on.
 */
#ifndef KCM_SOCK_SIDES_BPF_H
#define KCM_SOCK_SIDES_BPF_H

#define KCM_HTTP_ON_WAY_MAX 64

/* Results of a run beside -errno: the messages end here, and nothing is wrong. */
enum kcm_side_end {
	KCM_SIDE_OPAQUE = -1,
	KCM_SIDE_TO_CLOSE = -2,
};

struct kcm_sides {
	struct kcm_sk_info *info;
	struct kcm_sk_dir *other;
	__u32 reply; /* this is the server's stream */
};

static __always_inline int sides_http(void)
{
	return kcm_frame.kind == KCM_FRAME_HTTP1;
}

/* Does a message change how the next one is looked at? */
static __always_inline int sides_tell(void)
{
	return sides_http() ||
	       (kcm_frame.kind == KCM_FRAME_LENGTH && (kcm_frame.flags & KCM_FRAME_ZERO_UNTYPED));
}

/* Before a step. Return: 0, or -EPROTO: it is not known any more which request is answered. */
static __always_inline int sides_before(const struct kcm_sides *s, struct kcm_sk_dir *d)
{
	__u32 told = KCM_FS_REPLY, asked, answered;

	if (!s->reply || !(sides_tell() || kcm_frame.skip_bytes))
		return 0;
	if (sides_http()) {
		asked = s->other->msgs;
		answered = s->info->http_answered;
		if (asked - answered > KCM_HTTP_ON_WAY_MAX && (__s32)(asked - answered) > 0 &&
		    s->info->http_head)
			return -EPROTO;
		if ((__s32)(asked - answered) > 0) {
			if (s->info->http_head >> (answered & 63) & 1)
				told |= KCM_FS_NOBODY;
			/* behind CONNECT comes no request before its answer */
			if (asked - answered == 1 && (s->other->fs.reserved & KCM_FS_CONNECT))
				told |= KCM_FS_TUNNEL;
		}
	}
	d->fs.reserved = (d->fs.reserved & ~KCM_FS_TOLD) | told;
	return 0;
}

/* Message number @n of this direction has ended. Return: 0, or enum kcm_side_end. */
static __always_inline int sides_after(const struct kcm_sides *s, struct kcm_sk_dir *d, __u32 n)
{
	__u32 flags = d->fs.reserved;
	__u64 bit = 1ULL << (n & 63);

	if (!s->reply) {
		if (sides_http() && (flags & KCM_FS_HEAD))
			s->info->http_head |= bit;
		else if (sides_http() && (s->info->http_head & bit))
			s->info->http_head &= ~bit;
		return 0;
	}
	if (sides_http() && !(flags & KCM_FS_INTERIM))
		s->info->http_answered++;
	if (flags & KCM_FS_OPAQUE)
		return KCM_SIDE_OPAQUE;
	return flags & KCM_FS_TO_CLOSE ? KCM_SIDE_TO_CLOSE : 0;
}

#endif
