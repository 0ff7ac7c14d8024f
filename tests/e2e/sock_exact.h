/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sock_exact.h - options of sock_exact, and what its processes tell each other: each end of a
 * connection writes down what it sent and received itself, the parent compares.
 */
#ifndef SOCK_EXACT_H
#define SOCK_EXACT_H

#include <sched.h>
#include <sys/ioctl.h>

#include "sock_stream.h"

enum end_mode {
	END_CLOSE,  /* one closes behind its last bytes, the other reads to the end */
	END_HALF,   /* shutdown(), the other goes on sending */
	END_RST,    /* SO_LINGER 0 */
	END_UNREAD, /* close() with bytes unread: RST */
	END_BOTH,   /* both at once */
	END_STUCK,  /* SO_LINGER 0 with bytes that never left; last, see struct opts.lossy */
	END_MODES,
	END_MIX = END_MODES,
	END_KILL_CLIENT, /* SIGKILL in the middle */
	END_KILL_SERVER,
};

static const char *const end_names[] = { "close", "half", "rst",	 "unread",     "both",
					 "stuck", "mix",  "kill-client", "kill-server" };

struct opts {
	uint32_t conns, msgs, max, family, seed, rcvbuf, port, fill;
	int frame; /* enum stream_frame; counted by the programs only if @framed */
	bool framed, rr, early, fastopen, beyond, migrate, lossy, unframed_ok, alone;
	enum end_mode end;
	const char *server_ns, *client_ns, *addr;
};

/* One end of a connection, as it counted itself. */
struct end_note {
	uint64_t cookie;
	uint64_t tx_bytes, tx_msgs, rx_bytes, rx_msgs;
	uint32_t done;	 /* the four are right; else the process was killed */
	uint32_t beyond; /* its state was not in a slot */
};

struct shared {
	uint32_t port; /* of the server */
	uint32_t listening;
	uint32_t going;		 /* ends in the middle of their traffic */
	uint16_t conn_of[65536]; /* the client's port -> connection + 1 */
	struct {
		struct end_note end[2]; /* client, server */
		uint32_t step;
		uint32_t promised; /* bytes that one end will send at last */
	} conn[];
};

struct side {
	const struct opts *o;
	struct shared *sh;
	struct kit *kit;
	uint32_t c, steps;
	int me; /* 0 client, 1 server */
	int fd;
	struct stream in, out, in_start, out_start;
	struct writer w;
	struct rng rng;
	bool broken; /* the connection was reset */
};

#define NOTE(s)	      (&(s)->sh->conn[(s)->c].end[(s)->me])
#define SEED(o, c, n) ((uint64_t)(o)->seed << 32 | (c) << 4 | (n))

/* Both ends are here. */
static inline void side_step(struct side *s)
{
	uint32_t *step = &s->sh->conn[s->c].step;
	uint64_t until = kit_now_ns() + 120000000000ULL;

	s->steps++;
	__atomic_fetch_add(step, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(step, __ATOMIC_ACQUIRE) < 2 * s->steps) {
		if (kit_now_ns() > until)
			die("connection %u: the other end does not come to step %u", s->c,
			    s->steps);
		kit_sleep_us(300);
	}
}

static inline uint64_t tcp_received(int fd, uint64_t *sent, bool *idle)
{
	struct tcp_info ti = { 0 };
	socklen_t n = sizeof(ti);

	must(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &n));
	if (sent)
		*sent = ti.tcpi_bytes_sent - ti.tcpi_bytes_retrans;
	if (idle)
		*idle = !ti.tcpi_unacked;
	return ti.tcpi_bytes_received;
}

/* ---- traffic ---- */

static inline void sides_move(struct side *s)
{
	cpu_set_t set;

	/* From CPU to CPU between writes: segments overtake each other on loopback. */
	CPU_ZERO(&set);
	CPU_SET(rng_below(&s->w.rng, sysconf(_SC_NPROCESSORS_ONLN)), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Write up to @max_bytes and up to message @msgs. A reset is noted, not an error. */
static inline void side_write(struct side *s, uint32_t max_bytes, uint64_t msgs)
{
	char buf[STREAM_PIECE];

	while (max_bytes && !s->broken) {
		uint32_t want = max_bytes < sizeof(buf) ? max_bytes : sizeof(buf);
		uint32_t n = stream_take(&s->out, buf, want, msgs);

		if (!n)
			break;
		if (max_bytes != UINT32_MAX)
			max_bytes -= n;
		for (uint32_t at = 0; at < n;) {
			ssize_t r = writer_some(&s->w, buf + at, n - at);

			if (s->o->migrate && !rng_below(&s->w.rng, 4))
				sides_move(s);
			if (r >= 0) {
				at += r;
				continue;
			}
			if (errno != ECONNRESET && errno != EPIPE)
				die("connection %u: write: %s", s->c, strerror(errno));
			s->broken = true;
			break;
		}
	}
}

/* Nothing of it is held back by MSG_MORE or TCP_CORK. */
static inline void side_push(struct side *s)
{
	int on = 1, off = 0;

	s->w.corked = false;
	setsockopt(s->fd, IPPROTO_TCP, TCP_CORK, &off, sizeof(off));
	setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/*
 * Read up to message @msgs or up to @bytes of the stream, or to its end; every byte must be the
 * right one. Return: 1 all of it, 0 end of stream, -1 reset.
 */
static inline int side_read(struct side *s, uint64_t msgs, uint64_t bytes)
{
	static __thread char got[STREAM_PIECE], want[STREAM_PIECE];

	while ((s->in.msgs < msgs || s->in.at) && s->in.bytes < bytes) {
		uint32_t n = rng_log(&s->rng, 16);
		ssize_t r = recv(s->fd, got, n < sizeof(got) ? n : sizeof(got), 0);

		if (!r)
			return 0;
		if (r < 0) {
			if (errno == ECONNRESET)
				return -1;
			die("connection %u: read: %s", s->c, strerror(errno));
		}
		if (stream_take(&s->in, want, r, UINT64_MAX) != r || memcmp(got, want, r))
			die("connection %u: other bytes came than were sent", s->c);
	}
	return 1;
}

static inline void side_note(struct side *s)
{
	struct end_note *n = NOTE(s);

	n->tx_bytes = s->out.bytes;
	n->tx_msgs = s->out.msgs;
	n->rx_bytes = s->in.bytes;
	n->rx_msgs = s->in.msgs;
}

/* ---- ends ---- */

static inline void side_reset(struct side *s)
{
	must(setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 },
			sizeof(struct linger)));
}

static inline void side_read_reset(struct side *s)
{
	char c;

	if (recv(s->fd, &c, 1, 0) != -1 || errno != ECONNRESET)
		die("connection %u: not reset", s->c);
}

static inline uint32_t side_waiting(struct side *s)
{
	int n = 0;

	must(ioctl(s->fd, FIONREAD, &n));
	return n;
}

static inline void end_unread(struct side *s, bool first)
{
	uint32_t *promised = &s->sh->conn[s->c].promised;

	if (!first) {
		*promised = 1 + rng_below(&s->rng, 1500);
		side_write(s, *promised, UINT64_MAX);
		side_push(s);
		side_step(s);
		side_read_reset(s);
		return;
	}
	side_step(s);
	while (side_waiting(s) < *promised)
		kit_sleep_us(300);
	stream_skip(&s->in, *promised); /* they came, though nobody read them */
}

/* One end writes until nothing leaves any more, and resets. What came is what counts. */
static inline void end_stuck(struct side *s, bool first)
{
	uint32_t *promised = &s->sh->conn[s->c].promised;
	struct stream out = s->out;
	uint64_t sent = 0;
	char buf[STREAM_PIECE];

	if (!first) {
		struct pollfd p = { .fd = s->fd };

		side_step(s);
		must(poll(&p, 1, -1)); /* for POLLERR: the reset is here, nothing more comes */
		*promised = tcp_received(s->fd, NULL, NULL) - s->in.bytes;
		if (side_read(s, UINT64_MAX, s->in.bytes + *promised) != 1)
			die("connection %u: lost what was sent before the reset", s->c);
		side_read_reset(s);
		side_step(s);
		return;
	}
	side_push(s);
	for (bool full = false; !full;) {
		uint32_t n = stream_take(&out, buf, sizeof(buf), UINT64_MAX);

		for (uint32_t at = 0; at < n && !full;) {
			ssize_t r = send(s->fd, buf + at, n - at, MSG_DONTWAIT | MSG_NOSIGNAL);

			full = r < 0;
			at += full ? 0 : r;
		}
	}
	for (int same = 0; same < 20;) {
		uint64_t now;
		bool idle;

		tcp_received(s->fd, &now, &idle);
		same = idle && now == sent ? same + 1 : 0;
		sent = now;
		kit_sleep_us(10000);
	}
	side_reset(s);
	close(s->fd);
	side_step(s);
	side_step(s);
	stream_skip(&s->out, *promised);
}

/* End the connection this way and close it. */
static inline void side_finish(struct side *s, enum end_mode mode, bool first)
{
	uint32_t *promised = &s->sh->conn[s->c].promised;
	uint32_t extra = rng_below(&s->rng, 3) ? rng_log(&s->rng, 14) : 0;

	switch (mode) {
	case END_CLOSE:
		if (first)
			side_write(s, extra, UINT64_MAX);
		else if (side_read(s, UINT64_MAX, UINT64_MAX))
			die("connection %u: no end of stream", s->c);
		break;
	case END_HALF:
		if (!first && side_read(s, UINT64_MAX, UINT64_MAX))
			die("connection %u: no end of stream", s->c);
		side_write(s, extra, UINT64_MAX);
		side_push(s);
		if (first) {
			shutdown(s->fd, SHUT_WR);
			if (side_read(s, UINT64_MAX, UINT64_MAX))
				die("connection %u: no end of stream", s->c);
		}
		break;
	case END_RST:
		if (first) {
			*promised = extra;
			side_write(s, extra, UINT64_MAX);
			side_push(s);
			side_reset(s);
		}
		side_step(s);
		if (!first && side_read(s, UINT64_MAX, s->in.bytes + *promised) != 1)
			die("connection %u: %u bytes did not come", s->c, *promised);
		side_step(s);
		if (!first)
			side_read_reset(s);
		break;
	case END_UNREAD:
		end_unread(s, first);
		break;
	case END_STUCK:
		end_stuck(s, first);
		break;
	default:
		side_step(s);
	}
	side_note(s);
	writer_end(&s->w);
	if (mode != END_STUCK || !first)
		close(s->fd);
	__atomic_store_n(&NOTE(s)->done, 1, __ATOMIC_RELEASE);
}

#endif
