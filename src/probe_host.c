// SPDX-License-Identifier: GPL-2.0
/* Probes of the kernel release, mounts, sysctls and the caller's capabilities. */
#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include "feature.h"
#include "lib/cgroup.h"
#include "lib/kernel.h"
#include "lib/pin.h"
#include "log.h"
#include "util.h"

#define CAPS_NEEDED "cap_bpf,cap_net_admin,cap_perfmon"

static bool effective(cap_value_t cap)
{
	cap_t caps = cap_get_proc();
	cap_flag_value_t set = CAP_CLEAR;

	if (!caps)
		return false;
	cap_get_flag(caps, cap, CAP_EFFECTIVE, &set);
	cap_free(caps);
	return set == CAP_SET;
}

int probe_host_cap(const struct feature *f, struct feature_result *r)
{
	bool optional = f->cap == CAP_SYS_ADMIN;

	if (effective(f->cap))
		return feature_set(r, FEATURE_WORKS, NULL, "the caller has it");
	/* The kernel takes CAP_SYS_ADMIN where it asks for these two. */
	if ((f->cap == CAP_BPF || f->cap == CAP_PERFMON) && effective(CAP_SYS_ADMIN))
		return feature_set(r, FEATURE_WORKS, NULL, "the caller has CAP_SYS_ADMIN");
	r->err = EPERM;
	return feature_set(r, optional ? FEATURE_WARN : FEATURE_MISSING,
			   optional ? "sudo"
				    : "sudo, or: setcap " CAPS_NEEDED "+ep on the kcmtool binary",
			   "the caller does not have %s%s%s", f->name,
			   optional ? ", needed only to " : "", optional ? f->what : "");
}

int probe_host_kernel(const struct feature *f, struct feature_result *r)
{
	char why[160];
	enum kcm_kernel_state state = kcm_kernel_here(why, sizeof(why));

	(void)f;
	if (state == KCM_KERNEL_GOOD)
		return feature_set(r, FEATURE_WORKS, NULL, "%s", why);
	if (state == KCM_KERNEL_BAD && !kcm_kernel_accepted())
		return feature_set(r, FEATURE_MISSING,
				   "update the kernel; --force or " KCM_UNSAFE_ENV "=1 overrides",
				   "%s", why);
	return feature_set(r, FEATURE_WARN, "ask the vendor, or use 6.1.192+, 6.12.105+ or 6.16+",
			   "%s", why);
}

int probe_host_btf(const struct feature *f, struct feature_result *r)
{
	if (access("/sys/kernel/btf/vmlinux", R_OK) == 0)
		return feature_set(r, FEATURE_WORKS, NULL, "/sys/kernel/btf/vmlinux");
	r->err = errno;
	return feature_set(r, FEATURE_MISSING, f->config, "/sys/kernel/btf/vmlinux: %s",
			   strerror(r->err));
}

int probe_host_bpffs(const struct feature *f, struct feature_result *r)
{
	struct statfs fs;

	(void)f;
	if (statfs(KCM_BPFFS, &fs)) {
		r->err = errno;
		return feature_set(r, FEATURE_MISSING, "mount -t sysfs sysfs /sys",
				   KCM_BPFFS ": %s", strerror(r->err));
	}
	if (fs.f_type == BPF_FS_MAGIC) {
		if (access(KCM_PIN_ROOT, W_OK) == 0 || access(KCM_BPFFS, W_OK) == 0)
			return feature_set(r, FEATURE_WORKS, NULL, "mounted at " KCM_BPFFS);
		if (errno == EROFS)
			return feature_set(r, FEATURE_UNKNOWN, "mount -o remount,rw " KCM_BPFFS,
					   KCM_BPFFS " is mounted read-only");
		return feature_set(r, FEATURE_UNKNOWN, "chmod 1777 " KCM_BPFFS,
				   KCM_BPFFS " is not writable for the caller");
	}
	if (effective(CAP_SYS_ADMIN))
		return feature_set(r, FEATURE_WORKS, NULL, "not mounted yet; load mounts it");
	return feature_set(r, FEATURE_UNKNOWN, "sudo mount -t bpf -o mode=1777 bpf " KCM_BPFFS,
			   "no bpffs at " KCM_BPFFS ", and mounting it needs CAP_SYS_ADMIN");
}

const char *probe_cgroup2_path(void)
{
	return cgroup_root();
}

int probe_host_cgroup2(const struct feature *f, struct feature_result *r)
{
	const char *path;

	(void)f;
	errno = 0;
	path = probe_cgroup2_path();
	if (*path)
		return feature_set(r, FEATURE_WORKS, NULL, "mounted at %s", path);
	if (log_scarce(errno)) {
		r->err = errno;
		return feature_set(r, FEATURE_UNKNOWN, "again, with more of it",
				   "/proc/self/mountinfo: %s", strerror(r->err));
	}
	return feature_set(r, FEATURE_MISSING, "mount -t cgroup2 none /sys/fs/cgroup",
			   "no cgroup2 is mounted");
}

static bool read_number(const char *path, int64_t *value)
{
	_cleanup_file_ FILE *f = fopen(path, "re");

	return f && fscanf(f, "%" SCNd64, value) == 1;
}

int probe_host_jit(const struct feature *f, struct feature_result *r)
{
	int64_t on;

	(void)f;
	if (!read_number("/proc/sys/net/core/bpf_jit_enable", &on))
		return feature_set(r, FEATURE_UNKNOWN, "CONFIG_BPF_JIT",
				   "net.core.bpf_jit_enable cannot be read");
	if (on)
		return feature_set(r, FEATURE_WORKS, NULL, "net.core.bpf_jit_enable = %" PRId64,
				   on);
	return feature_set(r, FEATURE_WARN, "sysctl -w net.core.bpf_jit_enable=1",
			   "programs are interpreted, many times slower");
}

int probe_host_memlock(const struct feature *f, struct feature_result *r)
{
	struct rlimit limit;

	(void)f;
	if (getrlimit(RLIMIT_MEMLOCK, &limit))
		return feature_set(r, FEATURE_UNKNOWN, NULL, "%s", strerror(errno));
	/* Since 5.11 maps are charged to the memory cgroup and this limit no longer counts. */
	return feature_set(r, FEATURE_WORKS, NULL,
			   "maps are charged to the memory cgroup, not to the locked-memory limit");
}

int probe_host_optmem(const struct feature *f, struct feature_result *r)
{
	const int64_t enough_bytes = 16384;
	int64_t bytes;

	(void)f;
	if (!read_number("/proc/sys/net/core/optmem_max", &bytes))
		return feature_set(r, FEATURE_UNKNOWN, NULL, "net.core.optmem_max cannot be read");
	if (bytes >= enough_bytes)
		return feature_set(r, FEATURE_WORKS, NULL, "net.core.optmem_max = %" PRId64, bytes);
	return feature_set(r, FEATURE_WARN, "sysctl -w net.core.optmem_max=131072",
			   "net.core.optmem_max = %" PRId64 " leaves little for socket storage",
			   bytes);
}

/* No TCP_ZEROCOPY_RECEIVE here: that there is a mapping says it all. */
int probe_host_zerocopy(const struct feature *f, struct feature_result *r)
{
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	long page = sysconf(_SC_PAGESIZE);
	void *p;

	(void)f;
	if (fd < 0)
		return feature_set(r, FEATURE_UNKNOWN, NULL, "no TCP socket: %s", strerror(errno));
	p = mmap(NULL, (size_t)page, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		r->err = errno;
		return feature_set(r, FEATURE_MISSING, NULL, "mmap() of a TCP socket: %s",
				   strerror(errno));
	}
	munmap(p, (size_t)page);
	if (page != 4096)
		return feature_set(r, FEATURE_WARN, NULL, "pages of %ld bytes: rx copies", page);
	return feature_set(r, FEATURE_WORKS, NULL,
			   "never ask for it on a socket that is in a sockmap with a verdict "
			   "program: the kernel crashes");
}
