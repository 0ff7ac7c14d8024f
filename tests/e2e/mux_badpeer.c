// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * mux_badpeer CASE - clients that send garbage, lengths that are lies, a byte a second, or half a
 * header on ten thousand connections. Eight good connections go on all the while, each bad one
 * gets the one event that it deserves, memory stays bounded, all slots are free afterwards.
 */
#define _GNU_SOURCE
#include "mux_kit.h"
#include "owner.h"

#define GOOD	8U
#define WORKERS 2
#define ROUNDS	50U /* of each good connection, while the bad ones are there */
#define PER	10U
#define SLACK	(16ULL << 20)
#define EVENTS	(KCM_TIMEOUT + 1)

static struct kit k;
static uint32_t events[EVENTS];
static uint32_t rounds[GOOD];
static volatile bool stop;
static size_t good_max = 3000;

static void *echo(void *arg)
{
	struct kcm_worker *w = arg;
	struct kcm_msg msgs[16];
	int n;

	while ((n = kcm_recv(w, msgs, 16, -1)) >= 0) {
		for (int i = 0; i < n; i++) {
			CHECK(msgs[i].event < EVENTS);
			__atomic_fetch_add(&events[msgs[i].event], 1, __ATOMIC_SEQ_CST);
			if (msgs[i].event == KCM_MESSAGE)
				CHECK_EQ(kcm_send(w, msgs[i].conn, msgs[i].data, msgs[i].len,
						  KCM_WAIT),
					 0);
		}
		kcm_release(w, msgs, (unsigned int)n);
	}
	kcm_worker_close(w);
	return NULL;
}

/* Some messages, their echoes in any order, and again. */
static void *good_client(void *arg)
{
	uint32_t c = (uint32_t)(uintptr_t)arg;
	uint8_t *buf = malloc(good_max), seen[PER];
	int fd = kit_conn(&k, NULL);
	uint64_t s = c;

	while (!stop) {
		memset(seen, 0, sizeof(seen));
		for (uint32_t i = 0; i < PER; i++)
			send_all(fd, buf,
				 msg_make(buf, c, i, KIT_HEAD + rnd(&s) % (good_max - KIT_HEAD)));
		for (uint32_t i = 0; i < PER; i++) {
			uint32_t len, from, num;

			CHECK_EQ(recv_all(fd, buf, 4), 4);
			memcpy(&len, buf, 4);
			len = ntohl(len);
			CHECK(len + 4 <= good_max);
			CHECK_EQ(recv_all(fd, buf + 4, len), len);
			CHECK(msg_ok(buf, len + 4, &from, &num));
			CHECK(from == c && num < PER && !seen[num]++);
		}
		__atomic_fetch_add(&rounds[c], 1, __ATOMIC_SEQ_CST);
	}
	close(fd);
	free(buf);
	return NULL;
}

static pthread_t good_thread[GOOD], worker_thread[WORKERS];

static void begin(const char *frame)
{
	k.o.conns = 11000;
	kit_open(&k, frame);
	for (int i = 0; i < WORKERS; i++)
		pthread_create(&worker_thread[i], NULL, echo, kit_worker(&k));
	for (uintptr_t i = 0; i < GOOD; i++)
		pthread_create(&good_thread[i], NULL, good_client, (void *)i);
	/* kit_conn() is for one thread at a time: from here on ours. */
	WAIT_FOR(LOAD(&k.m->v.conf->attached) == GOOD);
}

/* All good connections do some more rounds, from now on. */
static void good_go_on(void)
{
	uint32_t from[GOOD];

	for (uint32_t i = 0; i < GOOD; i++)
		from[i] = LOAD(&rounds[i]);
	for (uint32_t i = 0; i < GOOD; i++)
		WAIT_FOR(LOAD(&rounds[i]) - from[i] >= ROUNDS);
}

static void end(uint32_t bad, enum kcm_event event)
{
	uint32_t others = 0;

	WAIT_FOR(LOAD(&events[event]) == bad);
	WAIT_FOR(LOAD(&k.m->n_conns) == GOOD);
	good_go_on();
	for (int i = KCM_CLOSED; i < (int)EVENTS; i++)
		others += i == (int)event ? 0 : events[i];
	CHECK_EQ(others, 0);
	stop = true;
	for (uint32_t i = 0; i < GOOD; i++)
		pthread_join(good_thread[i], NULL);
	WAIT_FOR(LOAD(&k.m->n_conns) == 0);
	/* Not before: until now the owner might have held half a message of a good connection. */
	CHECK_EQ(k.m->left_bytes, 0);
	for (uint32_t i = 0; i < k.m->v.cfg.n_conns; i++)
		WAIT_FOR(LOAD(&k.m->v.conns[i].state) == KCM_CONN_FREE);
	CHECK_EQ(k.m->big_used, 0);
	for (int i = 0; i < KCM_CLASSES; i++)
		CHECK_EQ(k.m->v.prod->n_asm[i], 0);
	CHECK_EQ(k.m->v.conf->attached, k.m->v.conf->closed);
	CHECK_EQ(k.m->v.conf->attached, k.m->v.conf->events);
	kit_close(&k);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(worker_thread[i], NULL);
}

static void garbage(kit_args)
{
	enum { BAD = 300 };
	uint8_t junk[20000];
	uint64_t s = 1;
	int fd[BAD];

	begin("u32be max=4M");
	for (int i = 0; i < BAD; i++) {
		for (size_t n = 0; n < sizeof(junk); n += 8)
			memcpy(junk + n, &(uint64_t){ rnd(&s) }, 8);
		junk[0] |= 0x80; /* no length that could be */
		fd[i] = kit_conn(&k, NULL);
		send_cut(fd[i], junk, 1 + rnd(&s) % 4, 3, &s);
	}
	for (int i = 0; i < BAD; i++) {
		/* It may have been thrown out after the fourth byte. */
		send(fd[i], junk, sizeof(junk), MSG_NOSIGNAL);
		recv_end(fd[i]);
		close(fd[i]);
	}
	end(BAD, KCM_TOO_BIG);
}

/* Lengths that are allowed and never come: the memory for long messages is theirs for a while. */
static void promises(kit_args)
{
	enum { BAD = 30 };
	uint32_t head = htonl((4 << 20) - 4);
	static uint8_t some[100000];
	int fd[BAD];

	k.o.asm_timeout_ms = 1000;
	k.o.big_bytes = 16 << 20;
	good_max = 150000;
	begin("u32be max=4M");
	for (int i = 0; i < BAD; i++) {
		fd[i] = kit_conn(&k, NULL);
		send_all(fd[i], &head, 4);
		send_all(fd[i], some, i % 2 ? sizeof(some) : 100);
	}
	good_go_on();
	for (int i = 0; i < BAD; i++) {
		recv_end(fd[i]);
		close(fd[i]);
	}
	end(BAD, KCM_TIMEOUT);
}

static void byte_a_second(kit_args)
{
	enum { BAD = 200 };
	uint8_t msg[100];
	int fd[BAD];

	k.o.asm_timeout_ms = 2500;
	begin("u32be max=4M");
	msg_make(msg, 0, 0, sizeof(msg));
	for (int i = 0; i < BAD; i++)
		fd[i] = kit_conn(&k, NULL);
	for (int at = 0; LOAD(&events[KCM_TIMEOUT]) < BAD; at++) {
		CHECK(at < (int)sizeof(msg));
		for (int i = 0; i < BAD; i++)
			send(fd[i], msg + at, 1, MSG_NOSIGNAL);
		good_go_on();
		sleep(1);
	}
	for (int i = 0; i < BAD; i++)
		close(fd[i]);
	end(BAD, KCM_TIMEOUT);
}

static uint64_t own_pss(void)
{
	unsigned long long kb = 0;
	char line[256];
	FILE *f = fopen("/proc/self/smaps_rollup", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Pss: %llu kB", &kb) == 1)
			break;
	CHECK(f && kb);
	fclose(f);
	return kb * 1024;
}

enum { TEN_THOUSAND = 10000 };

/* A process with the near ends, from ten addresses: two bytes each. Closed when @pipe is. */
static void half_header_clients(int pipe_fd)
{
	char c;

	for (unsigned int i = 0; i < TEN_THOUSAND; i++)
		send_all(kit_dial(k.port, 1 + i % 10), "\0\1", 2);
	CHECK_EQ(read(pipe_fd, &c, 1), 0);
	_exit(0);
}

static void half_headers(bool time_out)
{
	uint64_t before;
	int p[2], status;
	pid_t pid;

	k.o.asm_timeout_ms = time_out ? 10000 : 0;
	begin("u32be max=4M");
	before = own_pss();
	CHECK(!pipe(p));
	pid = kit_fork();
	if (!pid) {
		close(p[1]);
		half_header_clients(p[0]);
	}
	for (int i = 0; i < TEN_THOUSAND; i++) {
		int fd = accept4(k.lfd, NULL, NULL, SOCK_CLOEXEC);
		int ret = fd < 0 ? -errno : kcm_attach(k.m, fd, NULL, 0, NULL);

		if (ret)
			die("connection %d: %s", i, strerror(-ret));
	}
	printf("%d half headers: %+lld bytes, %llu of them unfinished in the owner\n", TEN_THOUSAND,
	       (long long)(own_pss() - before), (unsigned long long)k.m->left_bytes);
	CHECK((int64_t)(own_pss() - before) <
	      (int64_t)(k.m->v.conf->n_regions * KCM_REGION_BYTES + SLACK));
	if (!time_out)
		CHECK_EQ(LOAD(&k.m->n_conns), TEN_THOUSAND + GOOD);
	good_go_on();
	if (time_out)
		WAIT_FOR(LOAD(&events[KCM_TIMEOUT]) == TEN_THOUSAND);
	close(p[0]);
	close(p[1]);
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status));
	end(TEN_THOUSAND, time_out ? KCM_TIMEOUT : KCM_TRUNCATED);
}

static void ten_thousand(kit_args)
{
	half_headers(false);
}

static void ten_thousand_timed(kit_args)
{
	half_headers(true);
}

int main(int argc, char **argv)
{
	static const struct kit_case cases[] = {
		{ "garbage", garbage },
		{ "promises", promises },
		{ "byte-a-second", byte_a_second },
		{ "ten-thousand", ten_thousand },
		{ "ten-thousand-timed", ten_thousand_timed },
		{ 0 },
	};

	return kit_main(argc, argv, cases, 400);
}
