// SPDX-License-Identifier: GPL-2.0
/*
 * mux attach, detach: kcm_sockops puts connections to a port into the mux when they are
 * established, before any data. Ports are in the pinned kcm_ports; the program is attached by a
 * link that is pinned beside it, one a cgroup, and goes with the mux.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "cmd_mux.h"

#define LINK_PREFIX "cgroup_"

static int open_pin(const char *name, const char *file)
{
	char path[KCM_PIN_PATH];
	int fd, err = kcm_pin_path(path, sizeof(path), "mux", name, file);

	if (err)
		return err;
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : fd;
}

/* Call @fn for each port. Return: how many. */
static int each_port(int fd, void (*fn)(uint32_t port, void *arg), void *arg)
{
	uint32_t key, *at = NULL;
	int n = 0;

	while (!bpf_map_get_next_key(fd, at, &key)) {
		at = &key;
		n++;
		if (fn)
			fn(key, arg);
	}
	return n;
}

struct port_text {
	char *text;
	size_t size;
};

static void add_port(uint32_t port, void *arg)
{
	struct port_text *t = arg;
	size_t used = strlen(t->text);

	snprintf(t->text + used, t->size - used, "%s%u", used ? "," : "", port);
}

void mux_ports_text(const char *name, char *text, size_t size)
{
	_cleanup_fd_ int fd = open_pin(name, "kcm_ports");
	struct port_text t = { text, size };

	*text = '\0';
	if (fd >= 0)
		each_port(fd, add_port, &t);
}

static int open_cgroup(const char *given, char path[PATH_MAX])
{
	const char *root = probe_cgroup2_path();
	struct stat st;
	int fd;

	if (!given || *given != '/')
		snprintf(path, PATH_MAX, "%s%s%s", root, given ? "/" : "", given ? given : "");
	else
		snprintf(path, PATH_MAX, "%s", given);
	if (!*root && *path != '/')
		return -ENODEV;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st)) {
		close(fd);
		return -errno;
	}
	return fd;
}

static int cgroup_report(const char *path, const char *name, int err)
{
	if (err == -ENODEV)
		return report(PROBLEM(.code = KCM_EXIT_KERNEL, .where = "/proc/self/mountinfo",
				      .why = "cgroup2 is not mounted",
				      .next = "mount -t cgroup2 none /sys/fs/cgroup"),
			      "cannot attach mux '%s'", name);
	return report(PROBLEM(.code = err == -ENOENT || err == -ENOTDIR ? KCM_EXIT_CONFIG : 0,
			      .where = path, .err = err, .next = "--cgroup DIRECTORY of cgroup2"),
		      "cannot open the cgroup");
}

/* Attach kcm_sockops to a cgroup unless it is there. Return: 0 or -errno. */
static int attach_cgroup(const char *name, int cgroup)
{
	char path[KCM_PIN_PATH], file[40];
	_cleanup_fd_ int prog = -1, link = -1;
	struct stat st;
	int err;

	if (fstat(cgroup, &st))
		return -errno;
	snprintf(file, sizeof(file), LINK_PREFIX "%llu", (unsigned long long)st.st_ino);
	err = kcm_pin_path(path, sizeof(path), "mux", name, file);
	if (err)
		return err;
	if (!access(path, F_OK))
		return 0;
	prog = open_pin(name, "kcm_sockops");
	if (prog < 0)
		return prog;
	link = bpf_link_create(prog, cgroup, BPF_CGROUP_SOCK_OPS, NULL);
	if (link < 0)
		return -errno;
	return bpf_obj_pin(link, path) ? -errno : 0;
}

int mux_attach(const struct cmd_args *args)
{
	const char *name = args->pos[0];
	char path[PATH_MAX];
	_cleanup_fd_ int ports = -1, cgroup = -1;
	uint64_t port;
	uint32_t key;
	bool added;
	int err, code = args_u64(args, "port", 1, 65535, 0, &port);

	code = code ?: mux_check(name);
	if (code)
		return code;
	cgroup = open_cgroup(args_str(args, "cgroup", NULL), path);
	if (cgroup < 0)
		return cgroup_report(path, name, cgroup);
	ports = open_pin(name, "kcm_ports");
	if (ports < 0)
		return mux_report(name, "cannot attach", ports);
	key = (uint32_t)port;
	/* The port first: the program does nothing for ports that are not there. */
	added = !bpf_map_update_elem(ports, &key, &(uint32_t){ 1 }, BPF_NOEXIST);
	if (!added && errno != EEXIST)
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = "kcm_ports", .err = errno,
				      .next = "kcmtool mux detach of a port that is not used"),
			      "cannot add port %u to mux '%s'", key, name);
	err = attach_cgroup(name, cgroup);
	if (err && added)
		bpf_map_delete_elem(ports, &key);
	if (err == -EBADF || err == -EINVAL)
		return cgroup_report(path, name, -ENOTDIR);
	if (err)
		return mux_report(name, "cannot attach", err);
	out_str(args->out, "attached", name);
	out_u64(args->out, "port", port);
	out_str(args->out, "cgroup", path);
	return 0;
}

static void remove_links(DIR *pins)
{
	struct dirent *e;

	while ((e = readdir(pins)))
		if (!strncmp(e->d_name, LINK_PREFIX, strlen(LINK_PREFIX)))
			unlinkat(dirfd(pins), e->d_name, 0);
}

/* Opened before anything is changed: who can't remove links takes no port away. */
static DIR *open_pins(const char *name)
{
	char path[KCM_PIN_PATH];
	int err = kcm_pin_path(path, sizeof(path), "mux", name, NULL);

	errno = -err;
	return err ? NULL : opendir(path);
}

int mux_detach(const struct cmd_args *args)
{
	const char *name = args->pos[0];
	_cleanup_fd_ int ports = -1;
	_cleanup_dir_ DIR *pins = NULL;
	uint64_t port;
	int left, gone, code = args_u64(args, "port", 1, 65535, 0, &port);
	char text[160];

	code = code ?: mux_check(name);
	if (code)
		return code;
	ports = open_pin(name, "kcm_ports");
	if (ports < 0)
		return mux_report(name, "cannot detach", ports);
	pins = open_pins(name);
	if (!pins)
		return mux_report(name, "cannot detach", -errno);
	gone = bpf_map_delete_elem(ports, &(uint32_t){ (uint32_t)port }) ? errno : 0;
	left = gone && gone != ENOENT ? -1 : each_port(ports, NULL, NULL);
	/* Also where a detach that was killed has taken the last port and left the links. */
	if (!left)
		remove_links(pins);
	if (gone && gone != ENOENT)
		return mux_report(name, "cannot detach", -gone);
	if (gone) {
		mux_ports_text(name, text, sizeof(text));
		return report(PROBLEM(.code = KCM_EXIT_FAILED, .where = "kcm_ports",
				      .why = *text ? text : "no port is attached",
				      .next = "kcmtool mux show NAME"),
			      "port %u is not attached to mux '%s'", (unsigned int)port, name);
	}
	out_str(args->out, "detached", name);
	out_u64(args->out, "port", port);
	out_i64(args->out, "ports_left", left);
	return 0;
}
