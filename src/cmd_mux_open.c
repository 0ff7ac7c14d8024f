// SPDX-License-Identifier: GPL-2.0
/* A pinned mux opened to look at it, names of what is seen there, and errors about it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "cmd_mux.h"
#include "lib/mux_file.h"

#define NAME_OF(names, i) ((size_t)(i) < ARRAY_LEN(names) && names[i] ? names[i] : "?")

const char *mux_policy_name(enum kcm_mux_policy policy)
{
	static const char *const names[] = {
		[KCM_POLICY_LEAST] = "least",
		[KCM_POLICY_ROBIN] = "robin",
		[KCM_POLICY_CONN] = "conn",
		[KCM_POLICY_KEY] = "key",
	};

	return NAME_OF(names, policy);
}

const char *mux_mode_name(enum kcm_mux_mode mode)
{
	static const char *const names[] = {
		[KCM_MODE_RING] = "ring",
		[KCM_MODE_STRPARSER] = "strparser",
	};

	return NAME_OF(names, mode);
}

const char *mux_conn_state_name(enum kcm_conn_state state)
{
	static const char *const names[] = {
		[KCM_CONN_FREE] = "free",     [KCM_CONN_NEW] = "new",
		[KCM_CONN_ACTIVE] = "active", [KCM_CONN_HELD] = "held",
		[KCM_CONN_RESUME] = "resume", [KCM_CONN_CLOSING] = "closing",
		[KCM_CONN_RESET] = "reset",
	};

	return NAME_OF(names, state);
}

const char *mux_hold_name(enum kcm_hold hold)
{
	static const char *const names[] = {
		[KCM_HOLD_NONE] = "none",   [KCM_HOLD_SPACE] = "space",
		[KCM_HOLD_BIG] = "big",	    [KCM_HOLD_ERROR] = "error",
		[KCM_HOLD_LANE] = "lane",   [KCM_HOLD_DETACH] = "detach",
		[KCM_HOLD_START] = "start",
	};

	return NAME_OF(names, hold);
}

const char *mux_worker_state_name(enum kcm_worker_state state)
{
	static const char *const names[] = {
		[KCM_WORKER_NONE] = "none",
		[KCM_WORKER_ON] = "on",
		[KCM_WORKER_OFF] = "off",
		[KCM_WORKER_DEAD] = "dead",
	};

	return NAME_OF(names, state);
}

const char *mux_event_name(enum kcm_event event)
{
	static const char *const names[] = {
		[KCM_MESSAGE] = "message",     [KCM_CLOSED] = "closed",
		[KCM_BAD_FRAME] = "bad-frame", [KCM_TOO_BIG] = "too-big",
		[KCM_TRUNCATED] = "truncated", [KCM_TIMEOUT] = "timeout",
	};

	return NAME_OF(names, event);
}

void mux_addr(const struct kcm_conn *c, bool remote, char *text, size_t size)
{
	const uint8_t *addr = remote ? c->raddr : c->laddr;
	unsigned int port = remote ? c->rport : c->lport;
	char ip[INET6_ADDRSTRLEN] = "-";

	if (c->family != AF_INET && c->family != AF_INET6) {
		snprintf(text, size, "-"); /* attached by kcm_sockops, not accepted yet */
		return;
	}
	inet_ntop(c->family, addr, ip, sizeof(ip));
	snprintf(text, size, c->family == AF_INET6 ? "[%s]:%u" : "%s:%u", ip, port);
}

void mux_time_text(uint64_t ns, char *text, size_t size)
{
	if (ns < 10000)
		snprintf(text, size, "%lluns", (unsigned long long)ns);
	else if (ns < 10000000)
		snprintf(text, size, "%lluus", (unsigned long long)ns / 1000);
	else if (ns < 10000000000ULL)
		snprintf(text, size, "%llums", (unsigned long long)ns / 1000000);
	else
		snprintf(text, size, "%llus", (unsigned long long)ns / 1000000000);
}

int mux_time_us(const struct cmd_args *args, const char *name, uint64_t max_us, uint64_t otherwise,
		uint64_t *us)
{
	static const struct {
		const char *unit;
		uint64_t us;
	} units[] = { { "us", 1 }, { "ms", 1000 }, { "s", 1000000 }, { "m", 60000000 } };
	const char *text = args_str(args, name, NULL);
	char number[24], range[80];
	size_t digits;

	*us = otherwise;
	if (!text)
		return 0;
	digits = strspn(text, "0123456789");
	snprintf(number, sizeof(number), "%.*s", (int)(digits < 20 ? digits : 20), text);
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (digits && streq(text + digits, units[i].unit) && str_to_u64(number, us) &&
		    !__builtin_mul_overflow(*us, units[i].us, us) && *us && *us <= max_us)
			return 0;
	snprintf(range, sizeof(range), "a time such as 500us, 20ms or 3s, at most %llus",
		 (unsigned long long)max_us / 1000000);
	return report(PROBLEM(.code = KCM_EXIT_USAGE, .where = name, .why = "no time in its range",
			      .next = range),
		      "bad value '%s'", text);
}

int mux_report(const char *name, const char *what, int err)
{
	char path[KCM_PIN_PATH], next[96], why[96];
	int pid;

	if (kcm_pin_path(path, sizeof(path), "mux", name, NULL))
		return report(PROBLEM(.code = KCM_EXIT_USAGE,
				      .next = "letters, digits, - and _, at most 31"),
			      "'%s' cannot be the name of a mux", name);
	switch (-abs(err)) {
	case -ENOENT:
		snprintf(next, sizeof(next), "kcmtool mux create %s frame u32be", name);
		return report(PROBLEM(.code = KCM_EXIT_NOT_LOADED, .where = path, .err = err,
				      .next = next),
			      "mux '%s' is not loaded", name);
	case -ESTALE:
		snprintf(next, sizeof(next), "kcmtool mux delete %s, and create it again", name);
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = path,
				      .why = "another version of kcmtool made it", .next = next),
			      "%s mux '%s'", what, name);
	case -EBUSY:
		pid = mux_owner(name);
		if (pid) {
			char comm[32];

			mux_comm(pid, comm, sizeof(comm));
			snprintf(why, sizeof(why), "pid %d (%s) is its owner", pid, comm);
		}
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = path,
				      .why = pid ? why : "another process is its owner",
				      .next = "stop that process first"),
			      "%s mux '%s'", what, name);
	case -EPERM:
	case -EACCES:
		return report(PROBLEM(.code = KCM_EXIT_PRIVILEGE, .where = path, .err = err,
				      .next = "the same with sudo; kcmtool doctor"),
			      "%s mux '%s'", what, name);
	default:
		return report(PROBLEM(.where = path, .err = err, .next = "kcmtool doctor"),
			      "%s mux '%s'", what, name);
	}
}

int mux_check(const char *name)
{
	char path[KCM_PIN_PATH];
	struct stat st;
	int err = kcm_pin_path(path, sizeof(path), "mux", name, NULL);

	if (!err && stat(path, &st))
		err = -errno;
	return err ? mux_report(name, "cannot open", err) : 0;
}

/*
 * An owner locks the pin directory. To try that lock would make an owner that starts at this very
 * moment fail; /proc/locks tells without a try.
 */
int mux_owner(const char *name)
{
	_cleanup_file_ FILE *f = fopen("/proc/locks", "re");
	char path[KCM_PIN_PATH], line[160];
	struct stat st;

	if (!f || kcm_pin_path(path, sizeof(path), "mux", name, NULL) || stat(path, &st))
		return 0;
	while (fgets(line, sizeof(line), f)) {
		unsigned int maj, min;
		unsigned long ino;
		int pid;

		if (sscanf(line, "%*d: FLOCK %*s WRITE %d %x:%x:%lu", &pid, &maj, &min, &ino) ==
			    4 &&
		    maj == major(st.st_dev) && min == minor(st.st_dev) && ino == st.st_ino)
			return pid;
	}
	return 0;
}

void mux_comm(int pid, char *comm, size_t size)
{
	char path[32];
	_cleanup_file_ FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "re");
	if (!f || !fgets(comm, (int)size, f))
		snprintf(comm, size, "?");
	comm[strcspn(comm, "\n")] = '\0';
}

/* The reply side of connections is in memfds of the owner. Being allowed to see them is a bonus. */
static void open_memfds(struct mux_view *mv)
{
	char dir[32], target[64];
	_cleanup_dir_ DIR *d = NULL;
	struct dirent *e;

	snprintf(dir, sizeof(dir), "/proc/%d/fd", mv->owner_pid);
	d = opendir(dir);
	while (d && (e = readdir(d))) {
		_cleanup_fd_ int fd = -1;
		struct stat st;
		ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1);
		bool tx;

		if (n <= 0)
			continue;
		target[n] = '\0';
		tx = !strncmp(target, "/memfd:kcm_tx", 13);
		if (!tx && strncmp(target, "/memfd:kcm_big", 14))
			continue;
		fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st))
			continue;
		if (!tx) {
			mv->big_mem_bytes = (uint64_t)st.st_blocks * 512;
			continue;
		}
		mv->tx_mem_bytes = (uint64_t)st.st_blocks * 512;
		if (mv->tx || (uint64_t)st.st_size < sizeof(*mv->tx) * mv->v.cfg.n_conns)
			continue; /* of another mux of the same process */
		mv->tx_bytes = (size_t)st.st_size;
		mv->tx = mmap(NULL, mv->tx_bytes, PROT_READ, MAP_SHARED, fd, 0);
		if (mv->tx == MAP_FAILED)
			mv->tx = NULL;
	}
}

int mux_view_open(struct mux_view *mv, const char *name)
{
	int fds[VIEW_MAPS], err;

	memset(mv, 0, sizeof(*mv));
	mv->name = name;
	err = kcm_pin_name_ok(name) ? mux_open_maps(name, fds, VIEW_CONF) : -EINVAL;
	if (err)
		return mux_report(name, "cannot open", err);
	/* Mapped without PROT_WRITE: a descriptor opened read-only can't be mapped at all. */
	err = view_map(&mv->v, fds, VIEW_MAPS);
	mux_close_maps(fds);
	if (err)
		return mux_report(name, "cannot read", err);
	mv->owner_pid = mux_owner(name);
	if (mv->owner_pid) {
		mux_comm(mv->owner_pid, mv->owner, sizeof(mv->owner));
		open_memfds(mv);
	}
	return 0;
}

void mux_view_close(struct mux_view *mv)
{
	view_unmap(&mv->v);
	if (mv->tx)
		munmap((void *)mv->tx, mv->tx_bytes);
	mv->tx = NULL;
}
