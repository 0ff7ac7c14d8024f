// SPDX-License-Identifier: GPL-2.0
/*
 * sock_env.c - the machine under the sock benchmark: cgroup, CPU, programs' statistics, commands.
 */
#include "sock_bench.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* Where cgroup v2 is mounted, and where in it this process is. */
static int cgroup_home(char *root, char *home)
{
	char line[1024], place[SB_PATH] = "";
	FILE *f = fopen("/proc/self/mountinfo", "re");
	int err = -ENOENT;

	while (f && fgets(line, sizeof(line), f)) {
		if (strstr(line, " - cgroup2 ") && sscanf(line, "%*s %*s %*s %*s %255s", root) == 1)
			err = 0;
		if (!err)
			break;
	}
	if (f)
		fclose(f);
	f = fopen("/proc/self/cgroup", "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "0::", 3))
			sscanf(line + 3, "%255s", place);
	if (f)
		fclose(f);
	snprintf(home, SB_PATH, "%.120s%.120s", root, place);
	return err;
}

int sb_cgroup_make(struct sb_cgroup *cg, const char *name)
{
	char root[SB_PATH] = "";
	int err = cgroup_home(root, cg->home);

	cg->fd = -1;
	cg->dir[0] = 0;
	if (err)
		return err;
	snprintf(cg->dir, sizeof(cg->dir), "%.120s/%.60s-kcm-%d", root, name, getpid());
	if (mkdir(cg->dir, 0755))
		return -errno;
	cg->fd = open(cg->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return cg->fd < 0 ? -errno : 0;
}

static int cgroup_join(const char *dir)
{
	char path[SB_PATH + 16];

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	return write_text(path, "0");
}

int sb_cgroup_enter(const struct sb_cgroup *cg)
{
	return cgroup_join(cg->dir);
}

int sb_cgroup_leave(const struct sb_cgroup *cg)
{
	return cgroup_join(cg->home);
}

void sb_cgroup_remove(struct sb_cgroup *cg)
{
	if (cg->fd >= 0)
		close(cg->fd);
	cg->fd = -1;
	/* Processes that were waited for a moment ago may still be listed. */
	for (int i = 0; cg->dir[0] && rmdir(cg->dir) && errno == EBUSY && i < 100; i++)
		bench_sleep_ns(10 * BENCH_NS_PER_MS);
	cg->dir[0] = 0;
}

int sb_cgroup_foreign(const struct sb_cgroup *cg)
{
	static const enum bpf_attach_type types[] = { BPF_CGROUP_INET_EGRESS,
						      BPF_CGROUP_INET_INGRESS,
						      BPF_CGROUP_SOCK_OPS };
	int all = 0;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		__u32 ids[64], n = 64;

		if (!bpf_prog_query(cg->fd, types[i], BPF_F_QUERY_EFFECTIVE, NULL, ids, &n))
			all += (int)n;
	}
	return all;
}

int sb_pin_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

void sb_alone(bool on)
{
	struct sched_param p = { .sched_priority = on ? 1 : 0 };

	sched_setscheduler(0, on ? SCHED_FIFO : SCHED_OTHER, &p);
}

int sb_namespaces(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd, err = 0;

	if (unshare(CLONE_NEWNS | CLONE_NEWNET) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL))
		return -errno;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo))
		err = -errno;
	close(fd);
	return err;
}

/* splitmix64: the order of sends only has to be random to a prefetcher. */
uint64_t sb_rand(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

void sb_shuffle(uint32_t *a, size_t n, uint64_t *state)
{
	for (size_t i = n; i > 1; i--) {
		size_t j = sb_rand(state) % i;
		uint32_t t = a[i - 1];

		a[i - 1] = a[j];
		a[j] = t;
	}
}

long sb_meminfo_kib(const char *key)
{
	FILE *f = fopen("/proc/meminfo", "re");
	size_t len = strlen(key);
	char line[128];
	long kib = -1;

	while (f && kib < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, len) && line[len] == ':')
			kib = strtol(line + len + 1, NULL, 10);
	if (f)
		fclose(f);
	return kib;
}

int sb_command(char *const argv[], uint64_t *bytes, uint64_t *ns)
{
	static char buf[1 << 16];
	uint64_t from = bench_now_ns(), sum = 0;
	int out[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (!pid) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		dup2(out[1], 1);
		dup2(null, 2); /* of a command that can't do it: its exit code says so */
		execvp(argv[0], argv);
		_exit(127);
	}
	close(out[1]);
	if (pid < 0) {
		close(out[0]);
		return -EAGAIN;
	}
	while ((n = read(out[0], buf, sizeof(buf))) > 0)
		sum += (uint64_t)n;
	close(out[0]);
	waitpid(pid, &status, 0);
	if (ns)
		*ns = bench_now_ns() - from;
	if (bytes)
		*bytes = sum;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

int sb_prog_read(int fd, uint64_t *ns, uint64_t *runs)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	*ns = info.run_time_ns;
	*runs = info.run_cnt;
	return 0;
}
