// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <bpf/bpf.h>
#include "lib/pin.h"
#include "users.h"
#include "util.h"

#define IDS_MAX 64

struct ids {
	__u32 map[IDS_MAX], prog[IDS_MAX];
	size_t nmaps, nprogs;
};

static void add_pin(struct ids *ids, const char *path)
{
	_cleanup_fd_ int fd = bpf_obj_get(path);
	union {
		struct bpf_map_info map;
		struct bpf_prog_info prog;
	} info = { 0 };
	char link[64], target[64] = "";
	__u32 size;

	if (fd < 0)
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, target, sizeof(target) - 1) < 0)
		return;
	if (streq(target, "anon_inode:bpf-map") && ids->nmaps < IDS_MAX) {
		size = sizeof(info.map);
		if (!bpf_obj_get_info_by_fd(fd, &info.map, &size))
			ids->map[ids->nmaps++] = info.map.id;
	} else if (streq(target, "anon_inode:bpf-prog") && ids->nprogs < IDS_MAX) {
		size = sizeof(info.prog);
		if (!bpf_obj_get_info_by_fd(fd, &info.prog, &size))
			ids->prog[ids->nprogs++] = info.prog.id;
	}
}

static int collect(struct ids *ids, const char *system, const char *instance)
{
	_cleanup_dir_ DIR *d = NULL;
	char path[KCM_PIN_PATH];
	struct dirent *e;
	int err = kcm_pin_path(path, sizeof(path), system, instance, NULL);

	if (err)
		return err;
	d = opendir(path);
	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		if (e->d_type != DT_REG ||
		    kcm_pin_path(path, sizeof(path), system, instance, e->d_name))
			continue;
		add_pin(ids, path);
	}
	return 0;
}

static bool has(const __u32 *ids, size_t n, __u32 id)
{
	for (size_t i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/* A descriptor of a map or program says so in fdinfo; the cheap readlink() sorts out the rest. */
static bool fd_is_ours(int pid_fd, const char *fd, const struct ids *ids)
{
	char path[300], target[32] = "", line[128];
	_cleanup_file_ FILE *f = NULL;
	unsigned int id;
	int info_fd;

	snprintf(path, sizeof(path), "fd/%s", fd);
	if (readlinkat(pid_fd, path, target, sizeof(target) - 1) < 0 ||
	    strncmp(target, "anon_inode:bpf-", 15))
		return false;
	snprintf(path, sizeof(path), "fdinfo/%s", fd);
	info_fd = openat(pid_fd, path, O_RDONLY | O_CLOEXEC);
	f = info_fd < 0 ? NULL : fdopen(info_fd, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "map_id: %u", &id) == 1)
			return has(ids->map, ids->nmaps, id);
		if (sscanf(line, "prog_id: %u", &id) == 1)
			return has(ids->prog, ids->nprogs, id);
	}
	return false;
}

static bool holds(int pid_fd, const struct ids *ids)
{
	_cleanup_dir_ DIR *d = NULL;
	int fd = openat(pid_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;

	d = fd < 0 ? NULL : fdopendir(fd);
	while (d && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]) && fd_is_ours(pid_fd, e->d_name, ids))
			return true;
	return false;
}

static void describe(int pid_fd, const char *pid, int n, char *who, size_t size)
{
	size_t used = strlen(who);
	char comm[32] = "?";
	_cleanup_fd_ int fd = openat(pid_fd, "comm", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, comm, sizeof(comm) - 1);

	if (len > 0)
		comm[len - (comm[len - 1] == '\n')] = '\0';
	if (n <= 5)
		snprintf(who + used, size - used, "%spid %s (%s)", n > 1 ? ", " : "", pid, comm);
	else if (n == 6)
		snprintf(who + used, size - used, ", ...");
}

int users_find(const char *system, const char *instance, char *who, size_t size)
{
	_cleanup_dir_ DIR *proc = NULL;
	struct ids ids = { 0 };
	struct dirent *e;
	int found = 0, err = collect(&ids, system, instance);

	who[0] = '\0';
	if (err)
		return err;
	proc = opendir("/proc");
	if (!proc)
		return -errno;
	while ((e = readdir(proc))) {
		_cleanup_fd_ int pid_fd = -1;

		if (!isdigit((unsigned char)e->d_name[0]) || atoi(e->d_name) == getpid())
			continue;
		pid_fd = openat(dirfd(proc), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (pid_fd >= 0 && holds(pid_fd, &ids))
			describe(pid_fd, e->d_name, ++found, who, size);
	}
	return found;
}
