// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include "lib/pin.h"
#include "trial.h"

/* What the child sends back. */
struct answer {
	enum trial_result result;
	char why[256];
};

static bool enter_namespace(void)
{
	return !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount("bpf", KCM_BPFFS, "bpf", 0, NULL);
}

static void child(const struct kcm_system *s, struct answer *a)
{
	int err;

	if (!enter_namespace()) {
		a->result = TRIAL_NOT_TRIED;
		return;
	}
	log_libbpf_mode(LOG_DISCARD);
	err = (s->trial ? s->trial : s->load)(a->why, sizeof(a->why));
	a->result = err ? TRIAL_FAILED : TRIAL_WORKS;
	if (err && !a->why[0])
		snprintf(a->why, sizeof(a->why), "%s", log_errno(err));
}

enum trial_result trial_load(const struct kcm_system *s, char *why, size_t size)
{
	struct answer a = { .result = TRIAL_FAILED, .why = "the trial died" };
	int ends[2];
	pid_t pid;

	why[0] = '\0';
	if (pipe(ends))
		return TRIAL_NOT_TRIED;
	fflush(NULL); /* or the child's exit would print what is buffered a second time */
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		a = (struct answer){ 0 };
		child(s, &a);
		_exit(write(ends[1], &a, sizeof(a)) != sizeof(a));
	}
	close(ends[1]);
	if (pid > 0) {
		if (read(ends[0], &a, sizeof(a)) != sizeof(a))
			a = (struct answer){ .result = TRIAL_FAILED, .why = "the trial died" };
		waitpid(pid, NULL, 0);
	} else {
		a.result = TRIAL_NOT_TRIED;
	}
	close(ends[0]);
	if (a.result == TRIAL_FAILED)
		snprintf(why, size, "%s", a.why);
	return a.result;
}
