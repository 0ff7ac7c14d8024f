/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * stream_feed.h - the stream parser of sock (sock_stream.h), fed with segments, against
 * kcm_frame_step() that sees the whole stream at once: the same messages must end at the same
 * bytes, and both must find the same fault.
 */
#ifndef KCM_STREAM_FEED_H
#define KCM_STREAM_FEED_H

#include "frame_feed.h"
#include "sock.h"
#include "sock_stream.h"

enum { STREAM_MSGS_MAX = 1 << 16 };

struct stream_result {
	__u32 n;
	int err;
	__u32 end[STREAM_MSGS_MAX]; /* offset behind each message */
	__u32 flags[STREAM_MSGS_MAX];
};

/* @data has KCM_FRAME_PAD readable bytes behind it. */
static inline void stream_model(const struct feed *in, struct stream_result *out)
{
	struct kcm_fstate s = { .reserved = in->told };
	size_t pos = 0;
	int r;

	out->n = 0;
	out->err = 0;
	for (;;) {
		r = feed_step(in->frame, &s, in->data, pos, in->len - pos);
		if (r <= 0 || (size_t)r > in->len - pos)
			break;
		pos += r;
		out->flags[out->n] = s.reserved;
		out->end[out->n++] = pos;
		if (out->n == STREAM_MSGS_MAX)
			return;
	}
	out->err = r < 0 ? r : 0;
}

static inline void stream_segment(const struct feed *in, struct kcm_sk_dir *d, struct kcm_sk_win *w,
				  size_t at, size_t bytes, struct stream_result *out)
{
	__u64 steps = 64 * (__u64)bytes + 64;

	stream_begin(w, bytes);
	for (;;) {
		int r = stream_step(in->frame, d, w);
		__u32 n;

		if (!steps--) {
			fprintf(stderr, "stream_step() makes no progress\n");
			abort();
		}
		switch (r) {
		case KCM_STREAM_DONE:
			if (w->off != w->end) {
				fprintf(stderr, "%u of %u bytes, and done\n", w->off, w->end);
				abort();
			}
			return;
		case KCM_STREAM_MORE:
			break;
		case KCM_STREAM_LOAD:
			n = stream_load_begin(in->frame, d, w);
			if (!n || n > KCM_SK_WINDOW || w->have > KCM_SK_CARRY ||
			    n > w->end - w->off) {
				fprintf(stderr, "wants %u bytes behind %u\n", n, w->have);
				abort();
			}
			memcpy(w->bytes + w->have, in->data + at + w->off, n);
			memset(w->bytes + w->have + n, in->fill, KCM_FRAME_PAD);
			w->have += n;
			w->off += n;
			break;
		case KCM_STREAM_MSG:
			out->flags[out->n] = d->fs.reserved;
			out->end[out->n++] = at + w->off - (w->have - w->at);
			if (out->n == STREAM_MSGS_MAX)
				return;
			break;
		default:
			out->err = r;
			return;
		}
	}
}

static inline void stream_run(const struct feed *in, struct stream_result *out)
{
	static struct kcm_sk_win w;
	struct kcm_sk_dir d = { .fs.reserved = in->told };
	unsigned int state = in->seed;
	size_t at = 0;

	memset(&w, in->fill, sizeof(w));
	out->n = 0;
	out->err = 0;
	while (at < in->len && !out->err && out->n < STREAM_MSGS_MAX) {
		size_t bytes = feed_piece(in, &state, in->len - at);

		stream_segment(in, &d, &w, at, bytes, out);
		at += bytes;
	}
}

/*
 * Return: 1 and a line in @why if they differ. That a message will be too long is told when so many
 * of its bytes have come, at the latest; the model may know it sooner.
 */
static inline int stream_differs(const struct feed *in, const struct stream_result *model,
				 const struct stream_result *got, char *why, size_t size)
{
	__u32 i, n = model->n < got->n ? model->n : got->n;
	size_t rest = in->len - (got->n ? got->end[got->n - 1] : 0);
	int late = model->err == -EMSGSIZE && !got->err && rest < in->frame->max_bytes;

	for (i = 0; i < n; i++)
		if (model->end[i] != got->end[i] || ((model->flags[i] ^ got->flags[i]) & 0xffff))
			break;
	if (i == model->n && i == got->n && (late || model->err == got->err))
		return 0;
	snprintf(why, size,
		 "message %u ends at %u (flags %#x), found at %u (%#x); of %u and %u; "
		 "errors %d and %d",
		 i, i < model->n ? model->end[i] : 0, i < model->n ? model->flags[i] : 0,
		 i < got->n ? got->end[i] : 0, i < got->n ? got->flags[i] : 0, model->n, got->n,
		 model->err, got->err);
	return 1;
}

#endif
