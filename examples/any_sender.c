// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * any_sender - a client that spreads its requests over servers: "to any connection of this mux".
 *
 * usage: any_sender REQUESTS ADDR:PORT...
 *
 * The same mux, the other way round: the connections are ours, to one or more rpc_servers. Each
 * request goes to the connection that has the least waiting; answers come from all of them.
 */
#include <arpa/inet.h>

#include "common.h"
#include "kcm.h"

#define AHEAD 64 /* requests without an answer */

static unsigned long long asked, answered;
static unsigned char *seen;

/* "ID upper any-ID" */
static void ask(struct kcm_worker *worker)
{
	char text[128];
	int n = snprintf(text + 4, sizeof(text) - 4, "%llu upper any-%llu", asked, asked), err;
	uint32_t head = htonl((uint32_t)n);

	memcpy(text, &head, 4);
	err = kcm_send_any(worker, text, (size_t)n + 4, KCM_WAIT, NULL);
	if (err)
		die(err, "send to any of the servers");
	asked++;
}

static void check(const struct kcm_msg *msg)
{
	char want[128], text[128] = "";
	unsigned long long id;

	if (msg->event != KCM_MESSAGE)
		die(0, "a connection ended with %llu of %llu answers: %s", answered, asked,
		    msg->error ? strerror(msg->error) : "closed by the server");
	if (msg->len < 4 || msg->len - 4 >= sizeof(text))
		die(0, "an answer of %zu bytes", msg->len);
	memcpy(text, (const char *)msg->data + 4, msg->len - 4);
	id = strtoull(text, NULL, 10);
	snprintf(want, sizeof(want), "%llu ok ANY-%llu", id, id);
	if (id >= asked || strcmp(text, want))
		die(0, "wrong answer '%s'", text);
	if (seen[id]++)
		return; /* answered by two workers: the first died, see KCM_REDELIVERED */
	answered++;
}

/* The mux goes however the program ends. */
static struct kcm_mux *mux;
static char name[32];

static void cleanup(void)
{
	kcm_mux_close(mux);
	kcm_mux_delete(name, 0);
}

static void run(unsigned long long requests)
{
	struct kcm_worker *worker;
	struct kcm_msg msgs[32];
	int n, fd = kcm_mux_worker_fd(mux);

	if (fd < 0)
		die(fd, "make a worker");
	n = kcm_worker_open_fd(fd, &worker);
	if (n)
		die(n, "become a worker");
	while (answered < requests) {
		while (asked < requests && asked - answered < AHEAD)
			ask(worker);
		n = kcm_recv(worker, msgs, 32, 10000);
		if (n <= 0 && n != -EINTR)
			die(n ?: -ETIMEDOUT, "receive");
		for (int i = 0; i < n; i++)
			check(&msgs[i]);
		if (n > 0)
			kcm_release(worker, msgs, (unsigned int)n);
	}
	kcm_worker_close(worker);
}

int main(int argc, char **argv)
{
	struct kcm_mux_opts opts = { .sz = sizeof(opts), .workers = 1 };
	unsigned long long requests = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
	char why[256];
	int err;

	if (argc < 3 || !requests || requests > 100000000)
		die(0, "usage: any_sender REQUESTS ADDR:PORT...");
	seen = calloc(1, requests);
	err = kcm_frame_parse("u32be max=1M", &opts.frame, why, sizeof(why));
	if (err || !seen)
		die(0, "%s", seen ? why : "out of memory");
	snprintf(name, sizeof(name), "any-%d", getpid());
	err = kcm_mux_create(name, &opts, why, sizeof(why));
	if (err)
		die(0, "%s", why);
	atexit(cleanup);
	err = kcm_mux_open(name, &mux);
	if (err)
		die(err, "open mux '%s'", name);
	for (int i = 2; i < argc; i++) {
		err = kcm_attach(mux, tcp_open(argv[i], 0), NULL, 0, NULL);
		if (err)
			die(err, "attach the connection to %s", argv[i]);
	}
	run(requests);
	printf("%llu requests to %d connections, all answered\n", requests, argc - 2);
	return 0;
}
