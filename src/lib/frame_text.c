// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* frame_text.c - presets, canonical text of descriptors, and framing of bytes in user space. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "frame.h"
#include "frame_words.h"

static const char *const kind_names[KCM_FRAME_KINDS] = {
	[KCM_FRAME_LENGTH] = "len",
	[KCM_FRAME_VARINT] = "varint",
	[KCM_FRAME_DELIM] = "delim",
	[KCM_FRAME_FIXED] = "fixed",
	[KCM_FRAME_WEBSOCKET] = "websocket",
	[KCM_FRAME_RESP] = "resp",
	[KCM_FRAME_MC_TEXT] = "memcached-text",
	[KCM_FRAME_NATS] = "nats",
	[KCM_FRAME_HTTP1] = "http1",
};

static const struct kcm_frame_preset presets[] = {
	{ "u16be", "len width=2 be", "2-byte big-endian length, then the body" },
	{ "u32be", "len width=4 be", "4-byte big-endian length, then the body" },
	{ "u32le", "len width=4 le", "4-byte little-endian length, then the body" },
	{ "thrift", "len width=4 be", "Thrift framed transport" },
	{ "kafka", "len width=4 be", "Kafka requests and responses" },
	{ "dns-tcp", "len width=2 be", "DNS over TCP" },
	{ "http2", "len off=0 width=3 be hdr=9 skip=24 max=16777224",
	  "HTTP/2 frames as a server reads them, preface first (skip=0: as a client)" },
	{ "grpc", "len off=0 width=3 be hdr=9 skip=24 max=16777224", "the same as http2" },
	{ "memcached-bin", "len off=8 width=4 be hdr=24", "memcached binary protocol" },
	{ "memcached-text", "memcached-text", "memcached text and meta protocol" },
	{ "postgres", "len off=1 width=4 be hdr=5 adj=-4 zero-untyped",
	  "PostgreSQL, start-up and cancel packets included" },
	{ "mysql", "len off=0 width=3 le hdr=4", "MySQL and MariaDB packets" },
	{ "mqtt", "varint off=1 width=4", "MQTT 3 and 5 control packets" },
	{ "amqp", "len off=3 width=4 be hdr=7 adj=1 skip=8",
	  "AMQP 0-9-1 frames as a server reads them, protocol header first (skip=0: as a client)" },
	{ "bgp", "len off=16 width=2 be hdr=19 counts-hdr", "BGP-4 messages" },
	{ "diameter", "len off=1 width=3 be hdr=20 counts-hdr", "Diameter messages" },
	{ "websocket", "websocket", "WebSocket frames, after the HTTP head if there is one" },
	{ "tls", "len off=3 width=2 be hdr=5", "TLS records" },
	{ "resp", "resp", "Redis protocol: RESP2, RESP3 and inline commands" },
	{ "nats", "nats", "NATS client protocol" },
	{ "http1", "http1",
	  "HTTP/1 requests with Content-Length or chunked body; sock: replies too" },
	{ "varint", "varint", "LEB128 length, then the body: delimited Protocol Buffers" },
	{ "line", "delim=lf", "lines that end with LF (or CR LF)" },
	{ "crlf", "delim=crlf", "lines that end with CR LF; a lone LF is data" },
	{ NULL, NULL, NULL },
};

enum kcm_frame_kind frame_kind_of(const char *word)
{
	for (int i = KCM_FRAME_LENGTH; i < KCM_FRAME_KINDS; i++)
		if (strcmp(word, kind_names[i]) == 0)
			return i;
	return 0;
}

const char *frame_kind_name(enum kcm_frame_kind kind)
{
	return kind >= KCM_FRAME_LENGTH && kind < KCM_FRAME_KINDS ? kind_names[kind] : NULL;
}

const struct kcm_frame_preset *kcm_frame_presets(void)
{
	return presets;
}

struct text {
	char *buf;
	size_t len;
	size_t at;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
	va_list ap;
	int n;

	if (t->at >= t->len)
		return;
	va_start(ap, format);
	n = vsnprintf(t->buf + t->at, t->len - t->at, format, ap);
	va_end(ap);
	t->at = n < 0 ? t->len : t->at + (size_t)n;
}

static void add_bytes(struct text *t, const char *name, __u32 bytes)
{
	if (bytes && bytes % (1U << 20) == 0)
		add(t, "%s=%uM", name, bytes >> 20);
	else if (bytes && bytes % (1U << 10) == 0)
		add(t, "%s=%uK", name, bytes >> 10);
	else
		add(t, "%s=%u", name, bytes);
}

static int format_length(const struct kcm_frame *f, struct text *t)
{
	int le = f->order == KCM_FRAME_LE;
	__u32 width = f->len_bytes, padding, shift;
	__u64 ones, mask;
	__s64 adj;

	if (width < 1 || width > 8)
		return -EINVAL;
	padding = le ? 0 : 64 - 8 * width;
	if (f->shift < padding || f->shift - padding > 63)
		return -EINVAL;
	shift = f->shift - padding;
	ones = ~0ULL >> (64 - 8 * width);
	mask = f->mask << shift;
	adj = f->flags & KCM_FRAME_COUNTS_HDR ? f->add : (__s64)((__u64)f->add - f->hdr_bytes);
	add(t, " off=%u width=%u %s hdr=%u", f->len_off, width, le ? "le" : "be", f->hdr_bytes);
	if (f->flags & KCM_FRAME_COUNTS_HDR)
		add(t, " counts-hdr");
	if (adj)
		add(t, " adj=%lld", (long long)adj);
	if (f->mask != ones >> shift)
		add(t, " mask=0x%llx", (unsigned long long)mask);
	if (shift)
		add(t, " shift=%u", shift);
	if (f->flags & KCM_FRAME_ZERO_UNTYPED)
		add(t, " zero-untyped");
	return 0;
}

static int format(const struct kcm_frame *f, struct text *t)
{
	const char *name = frame_kind_name(f->kind);
	int r = 0;

	if (!name)
		return -EINVAL;
	add(t, "%s", name);
	switch (f->kind) {
	case KCM_FRAME_LENGTH:
		r = format_length(f, t);
		break;
	case KCM_FRAME_VARINT:
		add(t, " off=%u width=%u", f->len_off, f->len_bytes);
		if (f->add)
			add(t, " adj=%lld", (long long)f->add);
		break;
	case KCM_FRAME_DELIM:
		if (f->delim_bytes == 2)
			add(t, "=0x%02x%02x", f->delim[0], f->delim[1]);
		else
			add(t, "=0x%02x", f->delim[0]);
		break;
	case KCM_FRAME_FIXED:
		add(t, "=%u", f->hdr_bytes);
		break;
	default:
		break;
	}
	if (f->skip_bytes)
		add_bytes(t, " skip", f->skip_bytes);
	if (f->kind != KCM_FRAME_FIXED)
		add_bytes(t, " max", f->max_bytes);
	return r;
}

int kcm_frame_format(const struct kcm_frame *frame, char *buf, size_t len)
{
	char whole[KCM_FRAME_TEXT_BYTES];
	struct text t = { .buf = whole, .len = sizeof(whole) };
	struct kcm_frame again;

	if (format(frame, &t) || t.at >= t.len || kcm_frame_parse(whole, &again, NULL, 0) ||
	    memcmp(frame, &again, sizeof(again)) != 0)
		return -EINVAL;
	if (t.at >= len)
		return -ENOSPC;
	memcpy(buf, whole, t.at + 1);
	return 0;
}

int kcm_frame_check(const struct kcm_frame *frame)
{
	char text[KCM_FRAME_TEXT_BYTES];

	return kcm_frame_format(frame, text, sizeof(text));
}

int kcm_frame_measure(const struct kcm_frame *frame, struct kcm_fstate *state, const void *data,
		      __u32 avail)
{
	int r;

	do
		r = kcm_frame_step(frame, state, data, 0, avail);
	while (r == -EAGAIN);
	return r;
}
