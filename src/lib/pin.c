// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "../util.h"
#include "pin.h"
#include "layout.skel.h"

#define LOCK_WAIT_MS  10000
#define LOCK_RETRY_MS 10

bool kcm_pin_name_ok(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");

	return n && n < KCM_PIN_NAME && !name[n] && name[0] != '-';
}

int kcm_pin_path(char *path, size_t size, const char *system, const char *name, const char *file)
{
	int n;

	if (!kcm_pin_name_ok(system) || (name && !kcm_pin_name_ok(name)))
		return -EINVAL;
	n = snprintf(path, size, KCM_PIN_ROOT "/%s%s%s%s%s", system, name ? "/" : "",
		     name ? name : "", name && file ? "/" : "", name && file ? file : "");
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static bool is_bpffs(void)
{
	struct statfs fs;

	return statfs(KCM_BPFFS, &fs) == 0 && fs.f_type == BPF_FS_MAGIC;
}

static int make_dir(const char *path)
{
	return mkdir(path, 0755) && errno != EEXIST ? -errno : 0;
}

static int mount_bpffs(void)
{
	/* Two mounts on top of each other would hide pins: the bare directory serves as lock. */
	_cleanup_fd_ int fd = open(KCM_BPFFS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX))
		return -errno;
	if (!is_bpffs() && mount("bpf", KCM_BPFFS, "bpf", 0, "mode=1777"))
		return -errno;
	return 0;
}

int kcm_pin_mount(void)
{
	return is_bpffs() ? 0 : mount_bpffs();
}

/* Unlink everything under @name, then @name. bpffs has no hard links and no symlink loops. */
static int remove_tree(int parent_fd, const char *name)
{
	_cleanup_dir_ DIR *d = NULL;
	struct dirent *e;
	int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		int err = -errno;

		close(fd);
		return err;
	}
	while ((e = readdir(d))) {
		int err = 0;

		if (streq(e->d_name, ".") || streq(e->d_name, ".."))
			continue;
		if (e->d_type == DT_DIR)
			err = remove_tree(fd, e->d_name);
		else if (unlinkat(fd, e->d_name, 0))
			err = -errno;
		if (err && err != -ENOENT)
			return err;
	}
	return unlinkat(parent_fd, name, AT_REMOVEDIR) ? -errno : 0;
}

/* -errno if it was for lack of something; what is not ours to clean is no error. */
static int shortage(void)
{
	return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : 0;
}

/* Unlink links to what is not there any more, and the directory if that was all. */
static int clean_system(int root_fd, const char *name)
{
	_cleanup_dir_ DIR *d = NULL;
	struct dirent *e;
	int fd = openat(root_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return shortage();
	d = fdopendir(fd);
	if (!d) {
		int err = shortage();

		close(fd);
		return err;
	}
	while ((e = readdir(d)))
		if (e->d_type == DT_LNK && faccessat(fd, e->d_name, F_OK, 0) && errno == ENOENT)
			unlinkat(fd, e->d_name, 0);
	unlinkat(root_fd, name, AT_REMOVEDIR);
	return 0;
}

static int clean_systems(void)
{
	_cleanup_dir_ DIR *d = opendir(KCM_PIN_ROOT);
	struct dirent *e;
	int err = 0;

	if (!d)
		return shortage();
	while (!err && (e = readdir(d)))
		if (kcm_pin_name_ok(e->d_name))
			err = clean_system(dirfd(d), e->d_name);
	return err;
}

/*
 * Remove what is staged, links to nothing and directories that are empty: after this there is
 * nothing but whole instances. The lock is held. A moment's shortage must not leave it so: what is
 * staged is still attached, and links are what people look at.
 */
static int clean(void)
{
	int err = remove_tree(AT_FDCWD, KCM_PIN_STAGE), links;

	if (err && err != -ENOENT)
		err = remove_tree(AT_FDCWD, KCM_PIN_STAGE);
	if (err == -ENOENT)
		err = 0;
	links = clean_systems();
	if (links)
		links = clean_systems();
	rmdir(KCM_PIN_ROOT);
	return err ?: links;
}

int kcm_pin_lock(void)
{
	_cleanup_fd_ int fd = -1;
	int err;

	if (!is_bpffs())
		return -ENOENT;
	/* The root of bpffs is locked, not our directory: it is never removed under a waiter. */
	fd = open(KCM_BPFFS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB); waited += LOCK_RETRY_MS) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (waited >= LOCK_WAIT_MS)
			return -EBUSY;
		nanosleep(&(struct timespec){ .tv_nsec = LOCK_RETRY_MS * 1000000L }, NULL);
	}
	err = clean();
	return err ? err : TAKE_FD(fd);
}

static int check_existing(struct kcm_pin_txn *txn, const char *system, const char *name,
			  bool replace)
{
	struct kcm_pin_info info;
	int err = kcm_pin_info(system, name, &info);

	if (err == -ENOENT)
		return 0;
	if (err && err != -ENODATA)
		return err;
	if (!err && info.layout > txn->layout)
		return -ESTALE;
	if (!err && info.layout == txn->layout && !replace)
		return -EEXIST;
	txn->replaces = true;
	return 0;
}

int kcm_pin_begin(struct kcm_pin_txn *txn, const char *system, const char *name, __u32 layout,
		  bool replace)
{
	char parent[KCM_PIN_PATH];
	int err;

	*txn = (struct kcm_pin_txn){ .lock_fd = -1, .layout = layout, .dir = KCM_PIN_STAGE };
	err = kcm_pin_path(parent, sizeof(parent), system, NULL, NULL);
	if (!err)
		err = kcm_pin_path(txn->final, sizeof(txn->final), system, name, NULL);
	if (!err)
		err = kcm_pin_mount();
	if (err)
		return err;
	txn->lock_fd = kcm_pin_lock();
	if (txn->lock_fd < 0)
		return txn->lock_fd;
	err = check_existing(txn, system, name, replace);
	if (!err)
		err = make_dir(KCM_PIN_ROOT);
	if (!err)
		err = make_dir(parent);
	if (!err && mkdir(txn->dir, 0755))
		err = -errno;
	if (err)
		kcm_pin_abort(txn);
	return err;
}

int kcm_pin_alias(const struct kcm_pin_txn *txn, const char *alias, const char *file)
{
	const char *name = strrchr(txn->final, '/');
	char target[KCM_PIN_PATH * 2], before[KCM_PIN_PATH * 2], path[KCM_PIN_PATH * 2];
	ssize_t n;

	if (!name || !kcm_pin_name_ok(alias))
		return -EINVAL;
	snprintf(target, sizeof(target), "%s/%s", name + 1, file);
	snprintf(path, sizeof(path), "%.*s/%s", (int)(name - txn->final), txn->final, alias);
	if (!symlink(target, path))
		return 0;
	if (errno != EEXIST)
		return -errno;
	n = readlink(path, before, sizeof(before) - 1);
	if (n < 0)
		return -errno;
	before[n] = '\0';
	if (streq(before, target))
		return 0;
	return unlink(path) || symlink(target, path) ? -errno : 0;
}

static int pin_info(const struct kcm_pin_txn *txn)
{
	struct kcm_pin_info info = {
		.layout = txn->layout,
		.creator_pid = getpid(),
		.created_s = time(NULL),
	};
	char path[KCM_PIN_PATH + sizeof(KCM_PIN_LAYOUT) + 1];
	struct layout *skel = layout__open_and_load();
	__u32 key = 0;
	int err;

	if (!skel)
		return -errno;
	snprintf(info.tool, sizeof(info.tool), "%s", KCM_VERSION);
	snprintf(path, sizeof(path), "%s/" KCM_PIN_LAYOUT, txn->dir);
	err = bpf_map__update_elem(skel->maps.kcm_layout, &key, sizeof(key), &info, sizeof(info),
				   0);
	if (!err)
		err = bpf_map__pin(skel->maps.kcm_layout, path);
	layout__destroy(skel);
	return err;
}

int kcm_pin_commit(struct kcm_pin_txn *txn)
{
	unsigned int how = txn->replaces ? RENAME_EXCHANGE : RENAME_NOREPLACE;
	int err = pin_info(txn);

	if (!err && renameat2(AT_FDCWD, txn->dir, AT_FDCWD, txn->final, how))
		err = -errno;
	kcm_pin_abort(txn); /* nothing is staged now, or what was replaced */
	return err;
}

void kcm_pin_abort(struct kcm_pin_txn *txn)
{
	if (txn->lock_fd < 0)
		return;
	clean();
	close(TAKE_FD(txn->lock_fd));
}

void kcm_pin_tidy(void)
{
	int fd = kcm_pin_lock();

	if (fd >= 0)
		close(fd);
}

int kcm_pin_remove(const char *system, const char *name)
{
	char path[KCM_PIN_PATH];
	_cleanup_fd_ int lock_fd = -1;
	int err = kcm_pin_path(path, sizeof(path), system, name, NULL);

	if (err)
		return err;
	lock_fd = kcm_pin_lock();
	if (lock_fd < 0)
		return lock_fd;
	if (renameat2(AT_FDCWD, path, AT_FDCWD, KCM_PIN_STAGE, RENAME_NOREPLACE))
		return -errno;
	return clean();
}

int kcm_pin_info(const char *system, const char *name, struct kcm_pin_info *info)
{
	_cleanup_fd_ int fd = -1;
	struct bpf_map_info map = { 0 };
	__u32 key = 0, size = sizeof(map);
	char path[KCM_PIN_PATH];
	int err = kcm_pin_path(path, sizeof(path), system, name, NULL);

	if (err)
		return err;
	if (access(path, F_OK))
		return -errno;
	err = kcm_pin_path(path, sizeof(path), system, name, KCM_PIN_LAYOUT);
	if (err)
		return err;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == ENOENT ? -ENODATA : -errno;
	if (bpf_obj_get_info_by_fd(fd, &map, &size))
		return -errno;
	/* The kernel writes value_size bytes: a foreign map must not overrun @info. */
	if (map.type != BPF_MAP_TYPE_ARRAY || map.value_size != sizeof(*info))
		return -ENODATA;
	return bpf_map_lookup_elem(fd, &key, info) ? -errno : 0;
}

int kcm_pin_each(const char *system, int (*fn)(const char *name, void *arg), void *arg)
{
	_cleanup_dir_ DIR *d = NULL;
	char path[KCM_PIN_PATH];
	struct dirent *e;
	int err = kcm_pin_path(path, sizeof(path), system, NULL, NULL);

	if (err)
		return err;
	d = opendir(path);
	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while ((e = readdir(d)))
		if (e->d_type == DT_DIR && kcm_pin_name_ok(e->d_name) && (err = fn(e->d_name, arg)))
			return err;
	return 0;
}
