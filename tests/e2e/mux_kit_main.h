/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * main() of a program of mux_kit.h: runs one case in a process group of its own, ends all of it
 * when it takes too long, and sees that no process, pin or file is left.
 */
#ifndef MUX_KIT_MAIN_H
#define MUX_KIT_MAIN_H

#include <dirent.h>

struct kit_case {
	const char *name;
	void (*run)(int argc, char **argv);
};

static pid_t kit_group;

static void kit_stop(int sig)
{
	(void)sig;
	kill(-kit_group, SIGKILL);
}

/* Remove what is named after us in @dir, see kit_name. Return: how many. */
static int kit_sweep(const char *dir, bool mux)
{
	struct dirent *e;
	DIR *d = opendir(dir);
	int n = 0;

	while (d && (e = readdir(d))) {
		char path[512];

		if (strncmp(e->d_name, kit_name, strlen(kit_name)))
			continue;
		n++;
		fprintf(stderr, "left behind: %s/%s\n", dir, e->d_name);
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (mux)
			kcm_mux_delete(e->d_name, 1);
		else
			unlink(path);
	}
	if (d)
		closedir(d);
	return n;
}

/* Does a process of the group live, other than a zombie? */
static bool kit_alive(void)
{
	struct dirent *e;
	DIR *d = opendir("/proc");
	bool any = false;

	while (d && (e = readdir(d))) {
		char path[300], state;
		int pgrp;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
		f = e->d_name[0] >= '0' && e->d_name[0] <= '9' ? fopen(path, "r") : NULL;
		if (!f)
			continue;
		if (fscanf(f, "%*d (%*[^)]) %c %*d %d", &state, &pgrp) == 2)
			any |= pgrp == kit_group && state != 'Z' && state != 'X';
		fclose(f);
	}
	if (d)
		closedir(d);
	return any;
}

static kit_unused int kit_guard(void (*run)(int argc, char **argv), int argc, char **argv,
				unsigned int seconds)
{
	struct rlimit rl = { 65536, 65536 };
	int status, failed;

	if (setrlimit(RLIMIT_NOFILE, &rl)) {
		/* No right to raise the hard limit: what there is. */
		getrlimit(RLIMIT_NOFILE, &rl);
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(kit_name, sizeof(kit_name), "t%d-", getpid());
	kit_group = fork();
	if (!kit_group) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		run(argc, argv);
		_exit(0);
	}
	setpgid(kit_group, kit_group);
	signal(SIGALRM, kit_stop);
	signal(SIGTERM, kit_stop);
	signal(SIGINT, kit_stop);
	alarm(seconds);
	while (waitpid(kit_group, &status, 0) < 0 && errno == EINTR)
		;
	failed = !WIFEXITED(status) || WEXITSTATUS(status);
	if (WIFSIGNALED(status))
		fprintf(stderr, "ended by signal %d%s\n", WTERMSIG(status),
			WTERMSIG(status) == SIGKILL ? " (stuck?)" : "");
	/* Workers end by themselves when their mux does. */
	for (int i = 0; kit_alive() && i < 500; i++)
		usleep(10000);
	if (kit_alive()) {
		fprintf(stderr, "processes are left\n");
		failed = 1;
	}
	kill(-kit_group, SIGKILL);
	failed |= kit_sweep("/sys/fs/bpf/kcm/mux", true) > 0;
	failed |= kit_sweep("/run/kcm/mux", false) > 0;
	return failed ? 1 : 0;
}

static kit_unused int kit_main(int argc, char **argv, const struct kit_case *cases,
			       unsigned int seconds)
{
	for (; cases->name; cases++)
		if (argc > 1 && !strcmp(cases->name, argv[1]))
			return kit_guard(cases->run, argc - 1, argv + 1, seconds);
	fprintf(stderr, "usage: %s CASE\n", argv[0]);
	return 2;
}

#endif
