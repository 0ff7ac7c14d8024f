// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * mux_overload CASE - more comes than is taken: clients have to wait, memory stays bounded, nothing
 * is lost, and one slow worker or client is no other one's trouble.
 */
#define _GNU_SOURCE
#include <linux/sock_diag.h>
#include "mux_kit.h"
#include "owner.h"

#define CONNS	 8U
#define NUMS	 1000000U
#define SLACK	 (16ULL << 20)
#define STALL_MS 2000

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

/* Between all processes of a case. */
static struct shared {
	volatile bool pause;
	uint64_t served, events;
	uint8_t seen[CONNS][NUMS];
} * sh;

static void shared_make(void)
{
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(sh != MAP_FAILED);
}

static void judge(const struct kcm_msg *msg)
{
	uint32_t c, num;

	if (msg->event != KCM_MESSAGE) {
		CHECK_EQ(msg->event, KCM_CLOSED);
		__atomic_fetch_add(&sh->events, 1, __ATOMIC_SEQ_CST);
		return;
	}
	CHECK(msg_ok(msg->data, msg->len, &c, &num));
	CHECK(c < CONNS && num < NUMS &&
	      !__atomic_fetch_add(&sh->seen[c][num], 1, __ATOMIC_SEQ_CST));
	__atomic_fetch_add(&sh->served, 1, __ATOMIC_SEQ_CST);
}

/* ---- memory ---- */

/* Resident bytes, shared ones divided by their users. */
static uint64_t pss(pid_t pid)
{
	unsigned long long kb = 0;
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	f = fopen(path, "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Pss: %llu kB", &kb) == 1)
			break;
	fclose(f);
	CHECK(kb);
	return kb * 1024;
}

/* Bytes that the kernel holds for the receive side of the mux's sockets. */
static uint64_t socket_bytes(struct kit *k)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < k->m->v.cfg.n_conns; i++) {
		uint32_t mem[SK_MEMINFO_VARS] = { 0 };
		socklen_t len = sizeof(mem);

		if (!k->m->conns[i])
			continue;
		CHECK(!getsockopt(k->m->conns[i]->fd, SOL_SOCKET, SO_MEMINFO, mem, &len));
		sum += mem[SK_MEMINFO_RMEM_ALLOC] + mem[SK_MEMINFO_BACKLOG];
	}
	return sum;
}

static unsigned long long tcp_rmem_max(void)
{
	unsigned long long max = 0;
	FILE *f = fopen("/proc/sys/net/ipv4/tcp_rmem", "r");

	CHECK(f && fscanf(f, "%*u %*u %llu", &max) == 1);
	fclose(f);
	return max;
}

static void print_system(const char *when)
{
	printf("%s: ", when);
	fflush(stdout);
	CHECK(!system("grep -h -e ^TCP: -e ^Slab: /proc/net/sockstat /proc/meminfo | xargs echo"));
}

/* ---- nobody takes anything ---- */

static pid_t paused_worker(struct kit *k)
{
	int fd = kcm_mux_worker_fd(k->m);
	pid_t pid = kit_fork();

	if (!pid) {
		struct kcm_worker *w;
		struct kcm_msg msg;
		int n;

		kit_only_fd(fd);
		CHECK(!kcm_worker_open_fd(fd, &w));
		while ((n = kcm_recv(w, &msg, 1, -1)) >= 0) {
			while (n && sh->pause)
				usleep(1000);
			if (!n)
				continue;
			judge(&msg);
			kcm_release(w, &msg, 1);
		}
		CHECK_EQ(n, -EPIPE);
		kcm_worker_close(w);
		_exit(0);
	}
	close(fd);
	return pid;
}

struct source {
	int fd;
	uint32_t conn, num;
	size_t n, at, max;
	uint64_t s;
	uint8_t *buf;
};

/* Send as much as goes, about a megabyte at most. Return: bytes. */
static size_t pump(struct source *c)
{
	size_t all = 0;

	while (all < 1 << 20) {
		ssize_t r;

		if (c->at == c->n) {
			CHECK(c->num < NUMS);
			c->n = msg_make(c->buf, c->conn, c->num++,
					KIT_HEAD + rnd(&c->s) % (c->max - KIT_HEAD));
			c->at = 0;
		}
		r = send(c->fd, c->buf + c->at, c->n - c->at, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (r < 0) {
			CHECK_EQ(errno, EAGAIN);
			return all;
		}
		c->at += (size_t)r;
		all += (size_t)r;
	}
	return all;
}

static void flood(size_t max, uint64_t arena, uint64_t big)
{
	struct kit k = { .o.arena_bytes = arena, .o.big_bytes = big };
	uint64_t before, after, sockets, bound, bytes = 0, msgs = 0;
	struct source c[CONNS] = { 0 };
	pid_t w[3];

	shared_make();
	sh->pause = true;
	kit_open(&k, "u32be max=1M");
	for (int i = 0; i < 3; i++)
		w[i] = paused_worker(&k);
	for (uint32_t i = 0; i < CONNS; i++) {
		c[i] = (struct source){ .conn = i, .max = max, .s = i, .buf = malloc(max) };
		c[i].fd = kit_conn(&k, NULL);
	}
	WAIT_FOR(LOAD(&k.m->n_members) == 3);
	before = pss(getpid());
	for (int i = 0; i < 3; i++)
		before += pss(w[i]);
	print_system("before");
	for (uint64_t still = now_ms(); now_ms() - still < STALL_MS;) {
		size_t n = 0;

		for (uint32_t i = 0; i < CONNS; i++)
			n += pump(&c[i]);
		bytes += n;
		if (n)
			still = now_ms();
		else
			usleep(1000);
		/* Whatever the bound is, this is beyond it: somebody takes without end. */
		CHECK(bytes < (4ULL << 30));
	}
	print_system("stalled");
	after = pss(getpid());
	for (int i = 0; i < 3; i++)
		after += pss(w[i]);
	sockets = socket_bytes(&k);
	bound = k.m->v.conf->n_regions * KCM_REGION_BYTES + k.m->v.conf->big_bytes +
		CONNS * tcp_rmem_max() + SLACK;
	printf("clients stalled after %llu bytes; processes +%lld, sockets %llu, bound %llu\n",
	       (unsigned long long)bytes, (long long)(after - before), (unsigned long long)sockets,
	       (unsigned long long)bound);
	CHECK((int64_t)(after - before) + (int64_t)sockets < (int64_t)bound);
	CHECK((int64_t)(after - before) < (int64_t)(k.m->v.conf->n_regions * KCM_REGION_BYTES +
						    k.m->v.conf->big_bytes + SLACK));
	CHECK(sh->served < 3);
	CHECK_EQ(k.m->v.conf->resets + k.m->v.conf->events, 0);
	/* Now they work: every message arrives, once. */
	sh->pause = false;
	for (uint32_t i = 0; i < CONNS; i++) {
		send_all(c[i].fd, c[i].buf + c[i].at, c[i].n - c[i].at);
		close(c[i].fd);
		msgs += c[i].num;
		free(c[i].buf);
	}
	WAIT_FOR(LOAD(&k.m->n_conns) == 0);
	CHECK_EQ(sh->served, msgs);
	CHECK_EQ(sh->events, CONNS);
	for (uint32_t i = 0; i < CONNS; i++)
		for (uint32_t n = 0; n < c[i].num; n++)
			CHECK_EQ(sh->seen[i][n], 1);
	CHECK_EQ(k.m->big_used, 0);
	kit_close(&k);
	for (int i = 0; i < 3; i++)
		waitpid(w[i], NULL, 0);
}

static void stalled(kit_args)
{
	flood(9000, 6 << 20, 0);
}

static void stalled_big(kit_args)
{
	flood(1 << 20, 0, 4 << 20);
}

/* ---- one worker is stuck in a message ---- */

struct worker_arg {
	struct kit *k;
	struct kcm_worker *w;
	unsigned int batch;
	bool stuck;
	volatile bool *go;
};

static void *echo(void *arg)
{
	struct worker_arg *a = arg;
	struct kcm_msg msgs[32];
	int n;

	while ((n = kcm_recv(a->w, msgs, a->batch, -1)) >= 0) {
		for (int i = 0; i < n; i++) {
			while (a->stuck && !*a->go)
				usleep(1000);
			if (msgs[i].event == KCM_MESSAGE)
				kcm_send(a->w, msgs[i].conn, msgs[i].data, msgs[i].len, 0);
		}
		kcm_release(a->w, msgs, (unsigned int)n);
	}
	kcm_worker_close(a->w);
	return NULL;
}

/* Read echoes of small messages of @conn until @total were read. */
static void read_echoes(int fd, uint32_t conn, uint8_t *seen, uint32_t total)
{
	uint8_t buf[600];

	for (uint32_t i = 0; i < total; i++) {
		uint32_t len, c, num;

		CHECK_EQ(recv_all(fd, buf, 4), 4);
		memcpy(&len, buf, 4);
		len = ntohl(len);
		CHECK(len <= 500);
		CHECK_EQ(recv_all(fd, buf + 4, len), len);
		CHECK(msg_ok(buf, len + 4, &c, &num) && c == conn && !seen[num]++);
	}
}

static void one_stuck(unsigned int batch)
{
	enum { MSGS = 2000, CLIENTS = 4 };
	static uint8_t seen[CLIENTS][MSGS];
	struct worker_arg a[3];
	volatile bool go = false;
	uint8_t buf[600];
	struct kit k = { 0 };
	int fd[CLIENTS];
	pthread_t t[3];
	uint32_t left = 0;

	memset(seen, 0, sizeof(seen));
	kit_open(&k, "u32be max=1M");
	for (int i = 0; i < 3; i++) {
		a[i] = (struct worker_arg){ &k, kit_worker(&k), batch, i == 0, &go };
		pthread_create(&t[i], NULL, echo, &a[i]);
	}
	for (int i = 0; i < CLIENTS; i++)
		fd[i] = kit_conn(&k, NULL);
	for (uint32_t n = 0; n < MSGS; n++)
		for (uint32_t i = 0; i < CLIENTS; i++)
			send_all(fd[i], buf, msg_make(buf, i, n, 12 + n % 400));
	/* All but what it has in hand is answered meanwhile. */
	WAIT_FOR((left = (uint32_t)(LOAD(&k.m->v.wstats[1].tx_msgs) +
				    LOAD(&k.m->v.wstats[2].tx_msgs))) >= MSGS * CLIENTS - batch);
	CHECK(LOAD(&k.m->v.wstats[0].tx_msgs) == 0);
	printf("batches of %u: %u of %d answered beside the stuck worker\n", batch, left,
	       MSGS * CLIENTS);
	go = true;
	for (uint32_t i = 0; i < CLIENTS; i++) {
		read_echoes(fd[i], i, seen[i], MSGS);
		close(fd[i]);
	}
	WAIT_FOR(LOAD(&k.m->n_conns) == 0);
	kit_close(&k);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
}

static void slow_worker(kit_args)
{
	one_stuck(1);
	one_stuck(32);
}

/* ---- one client never reads ---- */

static void slow_reader(kit_args)
{
	enum { LIMIT = 1 << 20, MSGS = 3000, REPLY = 20000 };
	struct kit k = { .o.tx_limit_bytes = LIMIT };
	static uint8_t seen[MSGS];
	struct worker_arg a[2];
	struct source bad = { .max = REPLY, .buf = malloc(REPLY), .conn = 7 };
	kcm_conn_id bad_id;
	uint8_t buf[600];
	uint64_t before;
	pthread_t t[2];
	int fd;

	kit_open(&k, "u32be max=1M");
	for (int i = 0; i < 2; i++) {
		a[i] = (struct worker_arg){ &k, kit_worker(&k), 8, false, NULL };
		pthread_create(&t[i], NULL, echo, &a[i]);
	}
	bad.fd = kit_conn(&k, &bad_id);
	fd = kit_conn(&k, NULL);
	before = pss(getpid());
	/* Its requests are taken; the answers pile up until they are refused. */
	while (LOAD(&k.m->v.wstats[0].tx_again) + LOAD(&k.m->v.wstats[1].tx_again) < 1000)
		pump(&bad);
	CHECK(LOAD(&k.m->v.tx[(uint32_t)bad_id].queued_bytes) <= LIMIT);
	CHECK((int64_t)(pss(getpid()) - before) <
	      (int64_t)(k.m->v.conf->n_regions * KCM_REGION_BYTES + LIMIT + SLACK));
	/* Others have their answers, and it goes on meanwhile. */
	for (uint32_t n = 0; n < MSGS; n++) {
		if (n % 50 == 0)
			pump(&bad);
		send_all(fd, buf, msg_make(buf, 1, n, 12 + n % 400));
		read_echoes(fd, 1, seen, 1);
		CHECK(LOAD(&k.m->v.tx[(uint32_t)bad_id].queued_bytes) <= LIMIT);
	}
	close(bad.fd);
	close(fd);
	WAIT_FOR(LOAD(&k.m->n_conns) == 0);
	kit_close(&k);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	free(bad.buf);
}

int main(int argc, char **argv)
{
	static const struct kit_case cases[] = {
		{ "stalled", stalled },
		{ "stalled-big", stalled_big },
		{ "slow-worker", slow_worker },
		{ "slow-reader", slow_reader },
		{ 0 },
	};

	return kit_main(argc, argv, cases, 400);
}
