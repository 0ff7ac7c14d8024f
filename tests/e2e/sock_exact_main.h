/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sock_exact_main.h - the parent of sock_exact: options, events, and the comparison at the end. */
#ifndef SOCK_EXACT_MAIN_H
#define SOCK_EXACT_MAIN_H

/* ---- close events ---- */

#define EVENTS_MAX (1 << 16) /* a table by cookie */

struct seen {
	uint64_t cookie;
	uint32_t opens, closes, fails, slow;
	struct kcm_sock last;
};

static struct seen *seen;
static uint64_t events_lost;

static struct seen *seen_of(uint64_t cookie, bool make)
{
	for (uint32_t i = cookie, n = 0; n < EVENTS_MAX; i++, n++) {
		struct seen *e = &seen[i % EVENTS_MAX];

		if (!e->cookie && make)
			e->cookie = cookie;
		if (!e->cookie)
			return NULL;
		if (e->cookie == cookie)
			return e;
	}
	return NULL;
}

static int on_event(void *arg, void *data, size_t size)
{
	const struct kcm_sk_event *ev = data;
	struct seen *e;

	(void)arg;
	if (size < sizeof(*ev))
		die("an event of %zu bytes", size);
	e = seen_of(ev->sock.cookie, true);
	if (!e) {
		events_lost++;
		return 0;
	}
	e->opens += ev->kind == KCM_SKE_OPEN;
	e->closes += ev->kind == KCM_SKE_CLOSE;
	e->fails += ev->kind == KCM_SKE_FAIL;
	e->slow += ev->kind == KCM_SKE_SLOW;
	e->last = ev->sock;
	return 0;
}

/* ---- comparison ---- */

static uint32_t bad, unframed, unframed_why[8];

static void differ(uint32_t c, int me, const char *what, uint64_t is, uint64_t want)
{
	if (is == want || bad++ > 20)
		return;
	fprintf(stderr, "seed %u connection %u side %d: %s in the close record is %llu, not %llu\n",
		o.seed, c, me, what, (unsigned long long)is, (unsigned long long)want);
}

static void compare_msgs(uint32_t c, int me, const struct kcm_sock *k)
{
	struct stream tx, rx;
	uint64_t hist = 0;

	if (k->info.unframed) {
		unframed++;
		unframed_why[k->info.unframed & 7]++;
		if (!o.unframed_ok)
			differ(c, me, "unframed", k->info.unframed, 0);
		return;
	}
	stream_init(&tx, o.frame, o.max, SEED(&o, c, me));
	stream_init(&rx, o.frame, o.max, SEED(&o, c, !me));
	differ(c, me, "tx messages", k->tx_msgs, stream_count(&tx, k->tx_bytes));
	differ(c, me, "rx messages", k->rx_msgs, stream_count(&rx, k->rx_bytes));
	for (int i = 0; i < KCM_SK_HIST; i++)
		hist += k->info.hist[i];
	differ(c, me, "sum of the histogram", hist, k->info.lat_n);
}

static void compare(uint32_t c, int me)
{
	const struct end_note *n = &sh->conn[c].end[me];
	const struct seen *e = seen_of(n->cookie, false);
	const struct kcm_sock *k = &e->last;

	differ(c, me, "times opened", e->opens, 1);
	differ(c, me, "times closed", e->closes, 1);
	differ(c, me, "times failed", e->fails, 0);
	differ(c, me, "role", k->role, me ? KCM_ROLE_SERVER : KCM_ROLE_CLIENT);
	differ(c, me, me ? "local port" : "remote port", me ? k->info.lport : k->info.rport,
	       sh->port);
	if (n->done) {
		differ(c, me, "tx bytes", k->tx_bytes, n->tx_bytes);
		differ(c, me, "rx bytes", k->rx_bytes, n->rx_bytes);
	}
	if (o.framed) {
		compare_msgs(c, me, k);
		if (n->done && !k->info.unframed) {
			differ(c, me, "tx messages", k->tx_msgs, n->tx_msgs);
			differ(c, me, "rx messages", k->rx_msgs, n->rx_msgs);
		}
	}
}

/* Nothing arrives that was not sent. */
static void compare_ends(uint32_t c)
{
	for (int me = 0; me < 2; me++) {
		const struct seen *a = seen_of(sh->conn[c].end[me].cookie, false);
		const struct seen *b = seen_of(sh->conn[c].end[!me].cookie, false);

		if (b->last.rx_bytes > a->last.tx_bytes)
			differ(c, me, "tx bytes below the peer's rx bytes", a->last.tx_bytes,
			       b->last.rx_bytes);
	}
}

static bool all_closed(void)
{
	for (uint32_t i = 0; i < 2 * o.conns; i++) {
		uint64_t cookie = sh->conn[i / 2].end[i & 1].cookie;
		const struct seen *e = cookie ? seen_of(cookie, false) : NULL;

		if (!e || !e->closes)
			return false;
	}
	return true;
}

/* ---- idle sockets that take the slots ---- */

static int fill_slots(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l, ready[2];

	if (!o.fill)
		return 0;
	/* The slots of sockets that have just gone rest for a moment. */
	while (kit_slots_used(&kit))
		kit_sleep_us(1000);
	kit_sleep_us(2 * KCM_SK_REUSE_NS / 1000);
	must(pipe(ready));
	if (!must(fork())) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		l = must(socket(AF_INET, SOCK_STREAM, 0));
		must(bind(l, (void *)&a, len));
		must(listen(l, 4096));
		must(getsockname(l, (void *)&a, &len));
		for (uint32_t i = 0; i < o.fill; i++) {
			must(connect(must(socket(AF_INET, SOCK_STREAM, 0)), (void *)&a, len));
			must(accept(l, NULL, NULL));
		}
		must(write(ready[1], "", 1));
		close(ready[1]);
		for (;;)
			pause();
	}
	close(ready[1]);
	return must(read(ready[0], &(char){ 0 }, 1)) == 1 ? ready[0] : -1;
}

/* ---- options ---- */

static int name_in(const char *const *names, int n, const char *what, const char *s)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(names[i], s))
			return i;
	die("%s: no such %s", s, what);
}

static void options(int argc, char **argv)
{
	const struct {
		const char *name;
		uint32_t *n;
		bool *on;
		const char **text;
	} all[] = {
		{ "conns", .n = &o.conns },
		{ "msgs", .n = &o.msgs },
		{ "max", .n = &o.max },
		{ "family", .n = &o.family },
		{ "seed", .n = &o.seed },
		{ "rcvbuf", .n = &o.rcvbuf },
		{ "port", .n = &o.port },
		{ "fill", .n = &o.fill },
		{ "framed", .on = &o.framed },
		{ "rr", .on = &o.rr },
		{ "early", .on = &o.early },
		{ "fastopen", .on = &o.fastopen },
		{ "beyond", .on = &o.beyond },
		{ "migrate", .on = &o.migrate },
		{ "lossy", .on = &o.lossy },
		{ "alone", .on = &o.alone },
		{ "unframed-ok", .on = &o.unframed_ok },
		{ "addr", .text = &o.addr },
		{ "server-ns", .text = &o.server_ns },
		{ "client-ns", .text = &o.client_ns },
	};

	for (int i = 1; i < argc; i++) {
		char *value = strchr(argv[i], '=');
		size_t k;

		if (!value)
			die("%s: not NAME=VALUE", argv[i]);
		*value++ = 0;
		for (k = 0; k < sizeof(all) / sizeof(*all); k++)
			if (!strcmp(all[k].name, argv[i]))
				break;
		if (!strcmp(argv[i], "frame"))
			o.frame = name_in(stream_frame_names, FRAMES, "frame", value);
		else if (!strcmp(argv[i], "end"))
			o.end = name_in(end_names, END_KILL_SERVER + 1, "end", value);
		else if (k == sizeof(all) / sizeof(*all))
			die("%s: no such option", argv[i]);
		else if (all[k].n)
			*all[k].n = strtoul(value, NULL, 0);
		else if (all[k].on)
			*all[k].on = atoi(value);
		else
			*all[k].text = value;
	}
}

static pid_t start(void (*role)(void))
{
	pid_t pid = must(fork());

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	role();
	exit(1);
}

static void wait_for(struct kit_watch *w, pid_t pid, bool killed)
{
	int status = 0;

	while (!must(waitpid(pid, &status, WNOHANG)))
		ring_buffer__poll(w->ring, 5);
	if (killed ? !WIFSIGNALED(status) : status)
		die("a process ended with status %x (seed %u)", status, o.seed);
}

int main(int argc, char **argv)
{
	struct kit_watch w;
	struct kcm_sk_ctl before;
	struct rng rng;
	pid_t srv, cli;
	uint64_t msgs = 0, bytes = 0, until;
	uint32_t beyond = 0;

	kit_what = "sock_exact";
	setlinebuf(stderr);
	signal(SIGPIPE, SIG_IGN);
	options(argc, argv);
	if (o.end >= END_KILL_CLIENT)
		o.msgs = UINT32_MAX;
	seen = calloc(EVENTS_MAX, sizeof(*seen));
	sh = mmap(NULL, sizeof(*sh) + o.conns * sizeof(sh->conn[0]), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED || !seen)
		die("no memory");
	kit_open(&kit);
	if (fill_slots() < 0)
		die("the sockets to fill the slots did not come");
	before = *kit.ctl;
	kit_watch(&w, &kit, 16 << 20, on_event, NULL);
	rng.s = o.seed;
	srv = start(server);
	cli = start(client);
	if (o.end >= END_KILL_CLIENT) {
		while (__atomic_load_n(&sh->going, __ATOMIC_RELAXED) < 2 * o.conns)
			ring_buffer__poll(w.ring, 5);
		until = kit_now_ns() + rng_below(&rng, 400) * 1000000ULL;
		while (kit_now_ns() < until)
			ring_buffer__poll(w.ring, 5);
		must(kill(o.end == END_KILL_CLIENT ? cli : srv, SIGKILL));
	}
	wait_for(&w, cli, o.end == END_KILL_CLIENT);
	wait_for(&w, srv, o.end == END_KILL_SERVER);
	/* What is left of it ends by itself: FIN_WAIT, orphans with retransmissions. */
	until = kit_now_ns() + 60000000000ULL;
	while (!all_closed()) {
		if (kit_now_ns() > until)
			die("connections have not closed after a minute (seed %u)", o.seed);
		ring_buffer__poll(w.ring, 20);
	}
	ring_buffer__consume(w.ring);
	if (kit.ctl->watch_drops[w.watcher] || events_lost)
		die("%llu events dropped",
		    (unsigned long long)(kit.ctl->watch_drops[w.watcher] + events_lost));
	kit_unwatch(&w);
	for (uint32_t c = 0; c < o.conns; c++) {
		for (int me = 0; me < 2; me++) {
			struct kcm_sk_store st;
			const struct end_note *n = &sh->conn[c].end[me];

			compare(c, me);
			if (kit_find(&kit, n->cookie, -1, &st) >= 0)
				differ(c, me, "slots in use", 1, 0);
			bytes += seen_of(n->cookie, false)->last.tx_bytes;
			msgs += seen_of(n->cookie, false)->last.tx_msgs;
			beyond += n->beyond;
		}
		compare_ends(c);
	}
	if (o.alone) {
		differ(0, 0, "opened", kit.ctl->opened - before.opened, 2 * o.conns);
		differ(0, 0, "closed", kit.ctl->closed - before.closed, 2 * o.conns);
	}
	differ(0, 0, "sockets without storage", kit.ctl->no_storage, before.no_storage);
	differ(0, 0, "unparsed", kit.ctl->unparsed, before.unparsed);
	printf("%u connections, %llu bytes, %llu messages, %u ends beyond the slots, %u unframed\n",
	       o.conns, (unsigned long long)bytes, (unsigned long long)msgs, beyond, unframed);
	for (int i = 0; i < 8; i++)
		if (unframed_why[i])
			printf("unframed for reason %d: %u\n", i, unframed_why[i]);
	return bad ? 1 : 0;
}

#endif
