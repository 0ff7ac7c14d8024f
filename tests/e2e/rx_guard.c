// SPDX-License-Identifier: GPL-2.0
/*
 * rx_guard.c - a socket is in a mux, or has an rx: never both. Nothing here maps anything: were a
 * refusal missing, the test would fail, not the kernel.
 */
#include <sys/wait.h>
#include "kcm.h"
#include "rx_kit.h"

#define CHECK(x)                                                                  \
	do {                                                                      \
		if (!(x)) {                                                       \
			fprintf(stderr, "rx_guard: line %d: %s\n", __LINE__, #x); \
			exit(1);                                                  \
		}                                                                 \
	} while (0)

static struct kcm_frame frame;

static int open_rx(int fd, struct kcm_rx **rx)
{
	/* COPY: refused all the same. */
	struct kcm_rx_opts o = { .sz = sizeof(o), .mode = KCM_RX_COPY };

	return kcm_rx_open(fd, &frame, &o, rx);
}

/* In a new program, which knows of the socket by what is pinned alone. */
static int other_process(int fd)
{
	struct kcm_rx *rx;

	return open_rx(fd, &rx) == -EBUSY ? 0 : 3;
}

int main(int argc, char **argv)
{
	struct kcm_mux_opts o = { .sz = sizeof(o) };
	char err[256] = "";
	struct kcm_mux *mux;
	struct kcm_rx *rx;
	size_t rest_bytes = 0;
	kcm_conn_id id;
	int a[2], b[2], fd, status;
	void *rest = NULL;
	pid_t pid;

	CHECK(!kcm_frame_parse("u32be", &frame, err, sizeof(err)));
	if (argc == 2)
		return other_process(atoi(argv[1]));
	o.frame = frame;
	if (kcm_mux_create("guard", &o, err, sizeof(err))) {
		fprintf(stderr, "rx_guard: %s\n", err);
		return 1;
	}
	CHECK(!kcm_mux_open("guard", &mux));
	kit_pair(AF_INET, 0, a);
	kit_pair(AF_INET, 0, b);
	/* rx first: the mux refuses, and takes it afterwards. */
	CHECK(!open_rx(a[0], &rx));
	CHECK(kcm_attach(mux, a[0], NULL, 0, &id) == -EBUSY);
	kcm_rx_close(rx);
	CHECK(!kcm_attach(mux, a[0], NULL, 0, &id));
	/* The mux first: rx refuses, by another descriptor, and in another process too. */
	CHECK(open_rx(a[0], &rx) == -EBUSY);
	fd = dup(a[0]);
	CHECK(open_rx(fd, &rx) == -EBUSY);
	pid = fork();
	if (!pid) {
		char text[16];

		snprintf(text, sizeof(text), "%d", fd);
		fcntl(fd, F_SETFD, 0);
		execl("/proc/self/exe", "rx_guard", text, (char *)NULL);
		_exit(9);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status));
	/* Nor when it was detached: its queue was read behind TCP's back. */
	close(fd);
	fd = kcm_detach(mux, id, &rest, &rest_bytes);
	CHECK(fd >= 0);
	free(rest);
	CHECK(open_rx(fd, &rx) == -EBUSY);
	/* Others are not concerned. */
	CHECK(!open_rx(b[0], &rx));
	kcm_rx_close(rx);
	kcm_mux_close(mux);
	CHECK(!kcm_mux_delete("guard", 0));
	puts("good");
	return 0;
}
