// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* rx_recv.c - one message after the other: its length, then its bytes, by the way that was chosen.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "../../bpf/frame.h"
#include "rx_conn.h"

#define READ_MIN  (16U * 1024) /* less room than this is not worth a call */
#define READ_LONG (RX_CHUNK_BYTES / 2)
#define RUN_MIN	  4	  /* messages of one length before the next is expected to be like them */
#define FS_TELLS  0xff00U /* of enum kcm_fstate_flag: what the framing says */

/* Counters for others are written before we sleep, after a long message, after so many short ones.
 */
#define PUT_MESSAGES 64
#define PUT_BYTES    (64U * 1024)

static size_t have(const struct kcm_rx *rx)
{
	return rx->end - rx->start;
}

static bool exact_now(const struct kcm_rx *rx)
{
	return rx->exact && (!rx->frame.skip_bytes || rx->fs.started);
}

static int step_frame(struct kcm_rx *rx, const uint8_t *p, size_t n)
{
	int r;

	if (n > KCM_FRAME_MAX_LIMIT)
		n = KCM_FRAME_MAX_LIMIT;
	do
		r = kcm_frame_step(&rx->frame, &rx->fs, p, 0, (__u32)n);
	while (r == -EAGAIN);
	return r;
}

/* The end of the stream: @r says where. */
static int over(struct kcm_rx *rx, int r)
{
	rx->over = rx->sk_err ? rx->sk_err : r ? r : 1;
	return rx->over;
}

static int failed(struct kcm_rx *rx, int r)
{
	if (r == -EAGAIN || r == -EINTR || r == -ENOBUFS || r == -ENOMEM)
		return r;
	return over(rx, r);
}

static int begin(struct kcm_rx *rx)
{
	if (rx->cur)
		return 0;
	rx->cur = rx_msg_new(rx);
	if (!rx->cur)
		return -ENOMEM;
	rx->got = rx->skip_bytes = rx->first_page = 0;
	rx->tries = rx->stalls = 0;
	rx->give_up = false;
	return 0;
}

/* Why a message that is not mapped is not. */
static enum kcm_rx_why why_copied(const struct kcm_rx *rx)
{
	if (rx->scan)
		return KCM_RX_WHY_FRAMING;
	if (rx->choice.now == KCM_RX_COPY)
		return rx->choice.why;
	if (!rx->kernel_maps)
		return KCM_RX_WHY_KERNEL;
	return rx->len < rx->map_min_bytes ? KCM_RX_WHY_SMALL : KCM_RX_WHY_EDGE;
}

/* Who receives short messages only needs none. */
static bool window(struct kcm_rx *rx)
{
	if (!rx->ring.base && rx_ring_open(&rx->ring, rx->window_bytes))
		rx->kernel_maps = false;
	return rx->kernel_maps;
}

/* Its length is known. */
static int chosen(struct kcm_rx *rx, int len)
{
	size_t n = have(rx), head;
	int err;

	rx->len = (size_t)len;
	rx->step = RX_FILL;
	if (rx->choice.now != KCM_RX_MAP || rx->len <= n || rx->len - n < RX_PAGE ||
	    rx->len < rx->map_min_bytes)
		return 0;
	if (!rx->kernel_maps || !window(rx))
		return 0;
	err = begin(rx);
	if (err)
		return err;
	/* The kernel makes the window so wide that it seldom ends in the middle of a page. */
	if (!rx->widened)
		rx_lowat(rx, 4 * rx->len);
	rx->widened = true;
	rx->step = RX_MAPPING;
	rx->copy_why = KCM_RX_WHY_UNALIGNED;
	err = rx_piece_chunk(rx, n, KCM_RX_WHY_EDGE);
	/* Where the header was only looked at, it is as long as the last one, or the kernel says.
	 */
	head = exact_now(rx) ? 0 : rx->head_bytes;
	if (head > n && head < rx->len)
		rx->skip_bytes = head - n;
	return err;
}

/* Look at the header without taking it, for nobody knows how long it is. */
static int look(struct kcm_rx *rx)
{
	ssize_t n;
	int r = rx_room(rx, RX_PEEK_BYTES);

	if (r)
		return r;
	n = rx_peek(rx, RX_PEEK_BYTES);
	if (n == -EAGAIN)
		rx->want = 1;
	if (n < 0)
		return (int)n;
	if (!n)
		return have(rx) ? -EPIPE : 1;
	r = step_frame(rx, rx->chunk->data + rx->start, have(rx) + (size_t)n);
	if (r > 0)
		return chosen(rx, r);
	if (r < 0)
		return r;
	rx->scan = true;
	return 0;
}

static size_t ahead(const struct kcm_rx *rx)
{
	if (!exact_now(rx))
		return 0;
	return rx->choice.now == KCM_RX_MAP ? rx->head_bytes : rx->base_head;
}

/* More bytes for a message whose length is not known yet. */
static int more(struct kcm_rx *rx, bool block)
{
	size_t n;
	ssize_t r;
	int err;

	if (rx->choice.now == KCM_RX_MAP && !rx->scan) {
		if (!exact_now(rx))
			return look(rx);
		n = rx->head_bytes > have(rx) ? rx->head_bytes - have(rx)
					      : rx->base_head - have(rx);
		err = rx_room(rx, n);
		rx->want = 1;
		/* Nothing is there, as far as we know: wait at once. */
		if (!err && !have(rx) && !rx->inq && !rx->ready)
			return -EAGAIN;
	} else {
		n = rx->chunk ? rx->chunk->bytes - rx->end : 0;
		err = 0;
		if (n < READ_MIN) {
			/* Twice as much each time, but no more than a message can have. */
			size_t grow = have(rx) < RX_CHUNK_BYTES / 2 ? RX_CHUNK_BYTES - have(rx)
								    : have(rx);

			if (grow > rx->frame.max_bytes + READ_MIN)
				grow = rx->frame.max_bytes + READ_MIN;
			err = rx_room(rx, grow);
			n = err ? 0 : rx->chunk->bytes - rx->end;
		}
		rx->want = 1;
	}
	if (err)
		return err;
	r = rx_read(rx, n, block);
	return r > 0 ? 0 : r < 0 ? (int)r : have(rx) ? -EPIPE : 1;
}

/* More bytes for one that becomes whole in the chunk. */
static int fill(struct kcm_rx *rx, bool block)
{
	size_t need = rx->len - have(rx), n = need + ahead(rx);
	ssize_t r;
	int err;

	/* Many short ones come with one call, unless what follows may be mapped. */
	if (rx->choice.now == KCM_RX_COPY && rx->len < READ_LONG && n < READ_MIN)
		n = READ_MIN;
	err = rx_room(rx, n);
	if (err)
		return err;
	if (rx->choice.now == KCM_RX_COPY && rx->len < READ_LONG)
		n = rx->chunk->bytes - rx->end;
	rx->want = need < RX_CHUNK_BYTES ? need : RX_CHUNK_BYTES;
	r = rx_read(rx, n, block);
	return r > 0 ? 0 : r < 0 ? (int)r : -EPIPE;
}

static void learn(struct kcm_rx *rx)
{
	const struct rx_msg *m = rx->cur;

	if (rx->len == rx->last_len) {
		if (rx->same_run < RUN_MIN)
			rx->same_run++;
	} else {
		rx->same_run = 0;
		rx->predict = 0;
	}
	rx->last_len = rx->len;
	if (rx->step != RX_MAPPING)
		return;
	if (m->mapped_bytes && rx->first_page <= RX_AHEAD_MAX && rx->first_page >= rx->base_head)
		rx->head_bytes = (uint32_t)rx->first_page;
	else
		rx->head_bytes = rx->base_head;
	if (rx->same_run == RUN_MIN && rx->predict_us)
		rx->predict = (uint32_t)(rx->len - rx->head_bytes);
}

static int deliver(struct kcm_rx *rx, struct kcm_rx_msg *msg)
{
	struct rx_msg *m;
	int err = begin(rx);

	if (err)
		return err;
	m = rx->cur;
	if (rx->step != RX_MAPPING) {
		err = rx_piece_chunk(rx, rx->len, why_copied(rx));
		if (err)
			return err;
	}
	learn(rx);
	rx_ring_trim(rx, m);
	rx->st.messages++;
	rx->st.bytes += rx->len;
	rx->st.mapped_bytes += m->mapped_bytes;
	rx->st.mapped_messages += m->mapped_bytes != 0;
	rx->st.one_piece += m->mapped_pieces == 1;
	m->out = true;
	rx->n_out++;
	msg->iov = m->iov;
	msg->iovcnt = m->n_iov;
	msg->len = rx->len;
	msg->mapped_bytes = m->mapped_bytes;
	msg->fs_told = rx->fs.reserved & FS_TELLS;
	msg->priv = m;
	if (rx->mode == KCM_RX_AUTO)
		rx_choice_note(rx, rx->len, m->mapped_bytes);
	rx->cur = NULL;
	rx->step = RX_FRAME;
	rx->scan = false;
	if (rx->len >= PUT_BYTES || !(rx->st.messages % PUT_MESSAGES))
		rx_stat_put(rx);
	return 1;
}

static int frame_next(struct kcm_rx *rx, bool block)
{
	int r = rx->chunk && have(rx) ? step_frame(rx, rx->chunk->data + rx->start, have(rx)) : 0;

	if (r > 0)
		return chosen(rx, r);
	return r ? r : more(rx, block);
}

/* In place, when nobody else needs what is before it. */
static void rewind_chunk(struct kcm_rx *rx)
{
	if (rx->chunk && rx->start == rx->end && rx->chunk->refs == 1)
		rx->start = rx->end = 0;
}

static int step(struct kcm_rx *rx, bool sleep)
{
	if (rx->step == RX_FRAME)
		return frame_next(rx, sleep);
	if (rx->step == RX_MAPPING)
		return rx_map_step(rx);
	return have(rx) < rx->len ? fill(rx, sleep) : 1;
}

int kcm_rx_recv(struct kcm_rx *rx, struct kcm_rx_msg *msg, int timeout_ms)
{
	bool block = timeout_ms < 0 && !rx->nonblock;
	int r;

	if (rx->over)
		return rx->over == 1 ? 0 : rx->over;
	rewind_chunk(rx);
	for (;;) {
		/* recv() may sleep itself, where nothing is to be done meanwhile. */
		bool sleep = block && rx->choice.now == KCM_RX_COPY && !rx->ring.pending_bytes;

		r = step(rx, sleep);
		if (r == 1 && rx->step != RX_FRAME)
			return deliver(rx, msg);
		if (r == 1)
			return over(rx, 0) == 1 ? 0 : rx->over;
		if (r == -EAGAIN)
			r = rx_wait(rx, timeout_ms);
		if (r < 0)
			return failed(rx, r);
	}
}

void kcm_rx_tell(struct kcm_rx *rx, unsigned int fs_flags)
{
	rx->fs.reserved = (rx->fs.reserved & ~(KCM_FS_NOBODY | KCM_FS_TUNNEL)) |
			  (fs_flags & (KCM_FS_NOBODY | KCM_FS_TUNNEL));
}
