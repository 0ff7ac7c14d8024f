/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * kcm_frame.h - frame descriptors: where does a message of a TCP stream end? Included by kcm.h.
 *
 * A descriptor is made from text: a preset ("kafka", "resp max=1M") or a description
 * ("len off=8 width=4 be hdr=24"). The grammar:
 *
 *   len [off=N] [width=1..8] [be|le] [hdr=N] [counts-hdr] [adj=N] [mask=N] [shift=N] [zero-untyped]
 *	a message is a header of hdr bytes (default off + width) and a body of as many bytes as the
 *	field says: ((field & mask) >> shift) + adj, less hdr if the length counts the header
 *   varint [off=N] [width=1..8] [adj=N]
 *	off bytes, a LEB128 length of at most width bytes (default 5), the body
 *   delim=lf|crlf|cr|nul|0xNN|0xNNNN
 *	up to and including the delimiter
 *   fixed=N
 *   websocket | resp | memcached-text | nats | http1
 *
 * and for all of them [max=N] (whole message, default 16M at most), for the first four [skip=N]
 * (the stream begins with N bytes that are a message of their own). Numbers are decimal or 0x...,
 * sizes may end in K, M or G. A preset may be followed by options that replace its own.
 */
#ifndef KCM_KCM_FRAME_H
#define KCM_KCM_FRAME_H

#ifndef __bpf__
#include <stddef.h>
#include <linux/types.h>
#endif

#define KCM_FRAME_PAD	      16U	 /* readable bytes behind every buffer that is framed */
#define KCM_FRAME_MAX_LIMIT   (1U << 30) /* no max_bytes above it: pos + length must fit 32 bits */
#define KCM_FRAME_MAX_DEFAULT (16U << 20)
#define KCM_FRAME_TEXT_BYTES  160 /* enough for what kcm_frame_format() writes */

enum kcm_frame_kind {
	KCM_FRAME_LENGTH = 1, /* a length field at a fixed place of a header */
	KCM_FRAME_VARINT,     /* len_off bytes, then a LEB128 length, then the body */
	KCM_FRAME_DELIM,      /* up to and including a delimiter of 1 or 2 bytes */
	KCM_FRAME_FIXED,      /* always hdr_bytes */
	KCM_FRAME_WEBSOCKET,  /* an HTTP head if the stream begins with one, then frames */
	KCM_FRAME_RESP,	      /* Redis: RESP2, RESP3, inline commands */
	KCM_FRAME_MC_TEXT,    /* memcached text and meta protocol, both directions */
	KCM_FRAME_NATS,	      /* NATS client protocol, both directions */
	KCM_FRAME_HTTP1,      /* HTTP/1: head, then a body by Content-Length or in chunks */
	KCM_FRAME_KINDS,
};

enum kcm_frame_order {
	KCM_FRAME_BE,
	KCM_FRAME_LE,
};

enum kcm_frame_flag {
	KCM_FRAME_COUNTS_HDR = 1, /* the length counts the header: only for formatting, see add */
	/*
	 * A message whose first byte is 0 lacks the len_off bytes before the length field: the
	 * start-up packets of PostgreSQL, which may come several times (SSLRequest, then the real
	 * one). Their first byte is the top of a length below 2^24, a message type is never 0. In
	 * a stream of replies 'N', 'S' and 'G' before the first other message are messages of one
	 * byte: no, TLS or GSSAPI encryption from here.
	 */
	KCM_FRAME_ZERO_UNTYPED = 2,
};

/*
 * Made by kcm_frame_parse() only: the fields are redundant, ready for the fast path, and trusted
 * (see kcm_frame_check()).
 * LENGTH: value = (64 bits at len_off, in order) >> shift & mask; whole message = value + add.
 */
struct kcm_frame {
	enum kcm_frame_kind kind;
	__u32 max_bytes;  /* of a whole message */
	__u32 skip_bytes; /* the stream begins with a preface: a message of its own */
	__u32 hdr_bytes;  /* a message is never shorter */
	__u32 len_off;
	__u32 len_bytes; /* width: LENGTH 1-8, VARINT at most this many (1-8) */
	enum kcm_frame_order order;
	enum kcm_frame_flag flags;
	__u64 mask;
	__s64 add;
	__u32 shift;
	__u32 need_bytes;  /* LENGTH: len_off + len_bytes */
	__u32 delim_bytes; /* 1 or 2 */
	__u8 delim[4];
};

/*
 * What must be known beside the bytes where the two directions of a protocol differ: HTTP/1 and
 * PostgreSQL. A stream of requests (the client's) is the default, and needs none of it.
 */
enum kcm_fstate_flag {
	/* Told by the caller before a message begins. */
	KCM_FS_REPLY = 0x1,  /* the server's stream: it has no preface (kcm_frame.skip_bytes) */
	KCM_FS_NOBODY = 0x2, /* HTTP/1: this reply answers HEAD */
	KCM_FS_TUNNEL = 0x4, /* HTTP/1: this reply answers CONNECT */
	/* Told to the caller, of the message whose length was just returned. */
	KCM_FS_HEAD = 0x100,	 /* HTTP/1 request: HEAD, its reply is KCM_FS_NOBODY */
	KCM_FS_CONNECT = 0x200,	 /* HTTP/1 request: CONNECT, its reply is KCM_FS_TUNNEL */
	KCM_FS_INTERIM = 0x400,	 /* HTTP/1 reply: 1xx, another reply to this request follows */
	KCM_FS_TO_CLOSE = 0x800, /* HTTP/1 reply: the head; the body is all up to the end */
	KCM_FS_OPAQUE = 0x1000,	 /* both streams are of another protocol from here */
	/* For the parsers alone. */
	KCM_FS_EMPTY = 0x10000, /* HTTP/1 reply: without a body whatever its head says */
	KCM_FS_TYPED = 0x20000, /* PostgreSQL: the answers of one byte are over */
};
#define KCM_FS_TOLD 0xffU /* what the caller tells */

/* The place of one stream in its protocol. Zero = start of the stream. */
struct kcm_fstate {
	__u32 w[4];	/* of the current message; 0 when none has begun */
	__u32 started;	/* of the stream: preface seen */
	__u32 reserved; /* enum kcm_fstate_flag */
};

#ifndef __bpf__
#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct kcm_frame_preset {
	const char *name;
	const char *text;  /* what it stands for */
	const char *about; /* one line */
};

/**
 * kcm_frame_parse() - make a descriptor from text
 * @err: one line that says what is wrong with @text, may be NULL
 * Return: 0 or -EINVAL.
 */
int kcm_frame_parse(const char *text, struct kcm_frame *out, char *err, size_t err_len);

/**
 * kcm_frame_format() - the canonical text of a descriptor: kcm_frame_parse() makes it again
 * Return: 0; -ENOSPC @len is too small; -EINVAL not made by kcm_frame_parse().
 */
int kcm_frame_format(const struct kcm_frame *frame, char *buf, size_t len);

/* Is it a descriptor that kcm_frame_parse() could have made? Return: 0 or -EINVAL. */
int kcm_frame_check(const struct kcm_frame *frame);

/* All presets; the last one has no name. */
const struct kcm_frame_preset *kcm_frame_presets(void);

/**
 * kcm_frame_measure() - how long is the message that begins at @data?
 * @state: of the stream, zero at its start
 * @avail: bytes that are here; KCM_FRAME_PAD more must be readable
 * Return: > 0 its whole length, which may exceed @avail; @state is then ready for the message
 *	behind it. 0: more than @avail bytes are needed. -EMSGSIZE, -EPROTO: there is no next
 *message.
 */
int kcm_frame_measure(const struct kcm_frame *frame, struct kcm_fstate *state, const void *data,
		      __u32 avail);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif /* __bpf__ */
#endif
