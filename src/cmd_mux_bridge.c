// SPDX-License-Identifier: GPL-2.0
/* mux bridge: hand messages to any program over a SOCK_SEQPACKET UNIX socket. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "cmd_mux_bridge.h"
#include "lib/kcm_bridge.h"
#include "lib/mux_file.h"

#define SNDBUF_BYTES (1 << 20)

struct hello {
	struct bridge *bridge;
	struct kcm_worker *w;
	int fd;
};

static void *client_thread(void *arg)
{
	struct hello h = *(struct hello *)arg;
	uint64_t one = 1;

	free(arg);
	client_serve(h.bridge, h.fd, h.w);
	__atomic_fetch_sub(&h.bridge->clients, 1, __ATOMIC_SEQ_CST);
	if (write(h.bridge->wake, &one, sizeof(one)) < 0)
		return NULL;
	return NULL;
}

/* A worker for a new client. Return: 0 or -errno. */
static int take_worker(struct bridge *b, struct kcm_worker **w)
{
	if (!getenv("KCM_WORKER_FD"))
		return kcm_worker_open(b->name, w);
	if (!b->inherited)
		return -EBUSY;
	*w = TAKE_PTR(b->inherited);
	return kcm_worker_enable(*w, 1);
}

static void take_client(struct bridge *b, int listener)
{
	_cleanup_fd_ int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	int bytes = SNDBUF_BYTES, err;
	struct kcm_worker *w = NULL;
	struct hello *h;
	pthread_t thread;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	err = take_worker(b, &w);
	if (err) {
		fprintf(stderr, "kcmtool: mux '%s': a bridge client is refused: %s\n", b->name,
			err == -ENOSPC ? "all worker slots are in use" : log_errno(err));
		b->owner_gone |= err == -EPIPE || err == -ENOENT;
		return;
	}
	h = malloc(sizeof(*h));
	if (h) {
		*h = (struct hello){ b, w, fd };
		__atomic_fetch_add(&b->clients, 1, __ATOMIC_SEQ_CST);
		if (!pthread_create(&thread, NULL, client_thread, h)) {
			pthread_detach(thread);
			TAKE_FD(fd);
			return;
		}
		__atomic_fetch_sub(&b->clients, 1, __ATOMIC_SEQ_CST);
		free(h);
	}
	kcm_worker_close(w);
}

/* Is somebody listening there? Left by a bridge that was killed: nobody is. */
static bool in_use(const struct sockaddr_un *sa)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	return fd >= 0 && !connect(fd, (const struct sockaddr *)sa, sizeof(*sa));
}

static int open_listener(const struct sockaddr_un *sa)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (!lstat(sa->sun_path, &st)) {
		if (!S_ISSOCK(st.st_mode))
			return -EEXIST;
		if (in_use(sa))
			return -EADDRINUSE;
		unlink(sa->sun_path);
	}
	if (bind(fd, (const struct sockaddr *)sa, sizeof(*sa)) || chmod(sa->sun_path, 0600) ||
	    listen(fd, 64))
		return -errno;
	return TAKE_FD(fd);
}

static int owner_gone(const struct bridge *b)
{
	char next[96];

	snprintf(next, sizeof(next), "kcmtool mux run %s, or start the program that owns it",
		 b->name);
	return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = MUX_RUN_DIR, .why = "no owner",
			      .next = next),
		      "mux '%s' has nobody who serves workers", b->name);
}

static int wait_for_clients(struct bridge *b, int listener, int sig)
{
	bool own = b->inherited != NULL;
	struct pollfd p[3] = { { .fd = sig, .events = POLLIN },
			       { .fd = listener, .events = POLLIN },
			       { .fd = b->wake, .events = POLLIN } };
	uint64_t n;

	for (;;) {
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			return report(PROBLEM(.err = errno), "cannot wait for clients");
		if (p[0].revents)
			return 0;
		if (p[1].revents)
			take_client(b, listener);
		if (p[2].revents && read(b->wake, &n, sizeof(n)) > 0 && own && !b->clients)
			return 0; /* `mux run` starts us again, with a new worker */
		if (__atomic_load_n(&b->owner_gone, __ATOMIC_ACQUIRE))
			return owner_gone(b);
	}
}

/* Threads look at it some times a second. */
static void stop_clients(struct bridge *b)
{
	__atomic_store_n(&b->stopping, true, __ATOMIC_RELEASE);
	while (__atomic_load_n(&b->clients, __ATOMIC_SEQ_CST)) {
		struct pollfd p = { .fd = b->wake, .events = POLLIN };
		uint64_t n;

		if (poll(&p, 1, -1) > 0 && read(b->wake, &n, sizeof(n)) < 0)
			return;
	}
}

static int prepare(struct bridge *b, const struct cmd_args *args, struct sockaddr_un *sa)
{
	const char *listen = args_str(args, "listen", NULL), *index = getenv("KCM_WORKER_INDEX");
	char sock[KCM_PIN_PATH];
	uint64_t window;
	int n, err, code = args_u64(args, "window", 1, 4096, 16, &window);

	if (code)
		return code;
	b->window = (unsigned int)window;
	if (!kcm_pin_name_ok(b->name))
		return mux_report(b->name, "", -EINVAL);
	n = listen ? snprintf(sa->sun_path, sizeof(sa->sun_path), "%s", listen)
		   : snprintf(sa->sun_path, sizeof(sa->sun_path), MUX_RUN_DIR "/%s.bridge",
			      b->name);
	/* Several copies run by `mux run` listen at PATH.0, PATH.1 ... */
	if (getenv("KCM_WORKER_FD") && index && n < (int)sizeof(sa->sun_path))
		n += snprintf(sa->sun_path + n, sizeof(sa->sun_path) - (size_t)n, ".%s", index);
	if (n >= (int)sizeof(sa->sun_path))
		return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = "listen",
				      .err = ENAMETOOLONG, .next = "a path of at most 107 bytes"),
			      "bad value '%s'", listen);
	if (getenv("KCM_WORKER_FD")) {
		err = kcm_worker_open(NULL, &b->inherited);
		err = err ?: kcm_worker_enable(b->inherited, 0);
		return err ? report(PROBLEM(.where = "KCM_WORKER_FD", .err = err),
				    "cannot join mux '%s'", b->name)
			   : 0;
	}
	snprintf(sock, sizeof(sock), MUX_RUN_DIR "/%s.sock", b->name);
	if (!access(sock, R_OK | W_OK))
		return 0;
	if (errno == EACCES)
		return report(PROBLEM(.where = sock, .err = EACCES, .next = "the same with sudo"),
			      "cannot join mux '%s'", b->name);
	return owner_gone(b);
}

int mux_bridge(const struct cmd_args *args)
{
	struct bridge b = { .name = args->pos[0] };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_fd_ int listener = -1, sig = -1, wake = -1;
	int code = prepare(&b, args, &sa);
	sigset_t set;

	if (code)
		return code;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sig = signalfd(-1, &set, SFD_CLOEXEC);
	b.wake = wake = eventfd(0, EFD_CLOEXEC);
	if (sig < 0 || wake < 0)
		return report(PROBLEM(.err = errno), "cannot wait for clients");
	listener = open_listener(&sa);
	if (listener < 0)
		return report(PROBLEM(.where = sa.sun_path, .err = listener,
				      .next = "another --listen PATH"),
			      "cannot listen");
	fprintf(stderr, "kcmtool: mux '%s': bridge at %s\n", b.name, sa.sun_path);
	code = wait_for_clients(&b, listener, sig);
	unlink(sa.sun_path);
	stop_clients(&b);
	if (b.inherited)
		kcm_worker_close(b.inherited);
	return code;
}
