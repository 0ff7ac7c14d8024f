// SPDX-License-Identifier: GPL-2.0
/* sock watch: one line for each connection that opens, closes, fails or answers slowly. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <signal.h>
#include <time.h>
#include "cmd_sock_list.h"
#include "cmd_sock_names.h"
#include "cmd_sock_ring.h"

#define POLL_MS	 200
#define RENEW_NS 1000000000ULL

struct watch {
	struct sock_view v;
	struct sock_filter filter;
	struct sock_ring ring;
	enum out_format format;
	uint64_t count, shown; /* count: 0 = no end */
	uint64_t lost;
	int64_t wall_ns; /* to be added to CLOCK_MONOTONIC for the time of day */
	int err;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static const char *kind_name(enum kcm_sk_event_kind kind)
{
	static const char *const names[] = {
		[KCM_SKE_OPEN] = "open",
		[KCM_SKE_CLOSE] = "close",
		[KCM_SKE_FAIL] = "fail",
		[KCM_SKE_SLOW] = "slow",
	};

	return kind < ARRAY_LEN(names) ? names[kind] : "?";
}

static void time_of(const struct watch *w, uint64_t ts_ns, bool date, char text[40])
{
	uint64_t ns = ts_ns + (uint64_t)w->wall_ns;
	time_t s = (time_t)(ns / 1000000000ULL);
	struct tm tm;
	size_t n;

	localtime_r(&s, &tm);
	n = strftime(text, 32, date ? "%Y-%m-%dT%H:%M:%S" : "%H:%M:%S", &tm);
	snprintf(text + n, 40 - n, ".%03u", (unsigned int)(ns / 1000000 % 1000));
}

static void heading(const struct watch *w)
{
	if (w->format == OUT_TEXT)
		printf("%-12s  %-5s  %-6s  %-24s  %-24s  %8s  %7s  %7s  %7s  %7s  %7s  %7s  %s\n",
		       "TIME", "EVENT", "ROLE", "LOCAL", "PEER", "LIFE", "RX", "TX", "RX-MSGS",
		       "TX-MSGS", "RTT", "RETRANS", "PROCESS");
}

static void field_text(const struct kcm_sock *s, enum sock_field_id id, uint64_t now_ns,
		       void (*fn)(uint64_t, char *), char text[SOCK_TEXT])
{
	uint64_t num;

	strcpy(text, "-");
	if (sock_field_num(&sock_fields[id], s, now_ns, &num))
		fn(num, text);
}

static void put_text(const struct watch *w, const struct kcm_sk_event *e, const struct kcm_sock *s)
{
	char when[40], local[SOCK_ADDR], peer[SOCK_ADDR], life[SOCK_TEXT], rx[SOCK_TEXT],
		tx[SOCK_TEXT], rtt[SOCK_TEXT], rx_msgs[SOCK_TEXT] = "-", tx_msgs[SOCK_TEXT] = "-",
					       retrans[SOCK_TEXT], slow[SOCK_TEXT],
					       comm[sizeof(s->info.comm) + 1] = "";

	time_of(w, e->ts_ns, false, when);
	sock_addr_text(s->info.family, s->info.laddr, s->info.lport, local);
	sock_addr_text(s->info.family, s->info.raddr, s->info.rport, peer);
	field_text(s, SOCK_F_AGE, e->ts_ns, sock_time_text, life);
	field_text(s, SOCK_F_RX_BYTES, e->ts_ns, sock_bytes_text, rx);
	field_text(s, SOCK_F_TX_BYTES, e->ts_ns, sock_bytes_text, tx);
	field_text(s, SOCK_F_RTT, e->ts_ns, sock_time_text, rtt);
	field_text(s, SOCK_F_RETRANS, e->ts_ns, sock_count_text, retrans);
	if (s->frame || s->proto == KCM_SK_UDP) {
		sock_count_text(s->rx_msgs, rx_msgs);
		sock_count_text(s->tx_msgs, tx_msgs);
	}
	memcpy(comm, s->info.comm, sizeof(s->info.comm));
	sock_text_clean(comm);
	printf("%-12s  %-5s  %-6s  %-24s  %-24s  %8s  %7s  %7s  %7s  %7s  %7s  %7s  %s/%u", when,
	       kind_name(e->kind), sock_role_name(s->role), local, peer, life, rx, tx, rx_msgs,
	       tx_msgs, rtt, retrans, *comm ? comm : "-", s->info.pid);
	if (e->kind == KCM_SKE_SLOW) {
		sock_time_text(e->slow_ns, slow);
		printf("  answered after %s", slow);
	}
	if (e->kind == KCM_SKE_FAIL && s->info.err)
		printf("  %s", strerror((int)s->info.err));
	for (int l = 0; l < KCM_SK_LABELS; l++)
		if (*s->info.label[l].key)
			printf("  %.*s=%.*s", KCM_SK_KEY, s->info.label[l].key, KCM_SK_VALUE,
			       s->info.label[l].value);
	putchar('\n');
}

static void put_json(const struct watch *w, const struct kcm_sk_event *e, const struct kcm_sock *s)
{
	struct out *o = out_new(stdout, w->format);
	char when[40];

	if (!o)
		return;
	time_of(w, e->ts_ns, true, when);
	out_str(o, "event", kind_name(e->kind));
	out_str(o, "time", when);
	out_u64(o, "ts_ns", e->ts_ns);
	if (e->kind == KCM_SKE_SLOW)
		out_u64(o, "slow_ns", e->slow_ns);
	sock_json(o, &w->v, s, e->ts_ns);
	out_finish(o);
}

static int on_event(void *arg, void *data, size_t size)
{
	const struct kcm_sk_event *e = data;
	struct watch *w = arg;
	struct kcm_sock s;

	if (size < sizeof(*e))
		return 0;
	s = e->sock;
	if (s.proto == KCM_SK_UDP) {
		s.rx_msgs = s.rx_segs;
		s.tx_msgs = s.tx_segs;
	}
	w->filter.now_ns = e->ts_ns;
	if (!sock_filter_match(&w->filter, &s))
		return 0;
	if (w->format == OUT_TEXT)
		put_text(w, e, &s);
	else
		put_json(w, e, &s);
	/* Any negative number ends the round of libbpf. */
	return ++w->shown == w->count ? -ECANCELED : 0;
}

static void say_lost(struct watch *w)
{
	uint64_t lost = sock_ring_lost(&w->ring);

	if (!lost)
		return;
	w->lost += lost;
	fflush(stdout);
	if (w->format == OUT_TEXT) {
		warn("%llu events were lost: they came faster than they were read",
		     (unsigned long long)lost);
	} else {
		struct out *o = out_new(stdout, w->format);

		if (!o)
			return;
		out_str(o, "event", "lost");
		out_u64(o, "lost", lost);
		out_finish(o);
	}
}

static __u32 map_id(int fd)
{
	struct bpf_map_info info = { 0 };
	__u32 n = sizeof(info);

	return fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &n) ? 0 : info.id;
}

/* `load` over a running version keeps the maps; after unload nothing is sent to us any more. */
static bool unloaded(const struct watch *w)
{
	_cleanup_fd_ int fd = bpf_obj_get(SOCK_PIN_DIR "/kcm_sk_ctl");

	return map_id(fd) != map_id(w->v.fd[SOCK_CTL]);
}

static int watch_loop(struct watch *w)
{
	struct ring_buffer *rb = ring_buffer__new(w->ring.fd, on_event, w, NULL);
	int err = rb ? 0 : -errno;

	heading(w);
	fflush(stdout);
	while (!err && !interrupted) {
		int n = ring_buffer__poll(rb, POLL_MS);

		if (n < 0 && n != -EINTR && n != -EAGAIN)
			err = n;
		say_lost(w);
		if (fflush(stdout) || ferror(stdout)) { /* as at the end of `| head` */
			err = errno == EPIPE ? -ECANCELED : -errno;
			break;
		}
		if (clock_ns(CLOCK_MONOTONIC) - w->ring.renewed_ns < RENEW_NS)
			continue;
		if (unloaded(w))
			err = err ?: -ENOENT;
		else if (sock_ring_renew(&w->ring))
			err = err ?: -ESTALE;
	}
	ring_buffer__free(rb);
	return err;
}

static int open_ring(struct watch *w, uint64_t slow_ns)
{
	int err = sock_ring_open(&w->ring, &w->v, slow_ns);

	if (err == -EUSERS)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = SOCK_PIN_DIR,
				      .why = "all 8 places are taken",
				      .next = "end another kcmtool sock watch"),
			      "cannot watch");
	return err ? sock_report(err, "cannot watch") : 0;
}

static int slow_of(const struct cmd_args *args, uint64_t *slow_ns)
{
	const char *text = args_str(args, "slow", NULL);

	*slow_ns = 0;
	if (!text || (sock_text_time(text, slow_ns) && *slow_ns))
		return 0;
	return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "slow",
			      .why = "no time with its unit: ns us ms s m h d", .next = "slow 5ms"),
		      "bad value '%s'", text);
}

int sock_watch(const struct cmd_args *args)
{
	struct watch w = { .v = SOCK_VIEW_NONE,
			   .ring = SOCK_RING_NONE,
			   .format = out_format(args->out) };
	struct sigaction sa = { .sa_handler = on_signal };
	uint64_t slow_ns;
	int err, code = sock_filter_parse(&w.filter, args->pos, args->npos);

	code = code ?: slow_of(args, &slow_ns);
	code = code ?: args_u64(args, "count", 1, UINT64_MAX, 0, &w.count);
	code = code ?: sock_open(&w.v, true);
	code = code ?: open_ring(&w, slow_ns);
	if (!code) {
		out_raw(args->out); /* each event is a document of its own */
		w.wall_ns = (int64_t)(clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC));
		sigaction(SIGINT, &sa, NULL);
		sigaction(SIGTERM, &sa, NULL);
		sigaction(SIGHUP, &sa, NULL);
		sa.sa_handler = SIG_IGN;
		sigaction(SIGPIPE, &sa, NULL);
		do {
			err = watch_loop(&w);
			sock_ring_close(&w.ring);
			if (err == -ESTALE)
				warn("events were lost: this watch was stopped for some time");
		} while (err == -ESTALE && !(code = open_ring(&w, slow_ns)));
		if (!code && err && err != -ECANCELED)
			code = sock_report(err, "cannot watch");
		if (w.lost && w.format == OUT_TEXT)
			warn("%llu events were lost in all", (unsigned long long)w.lost);
	}
	sock_view_close(&w.v);
	return code;
}
