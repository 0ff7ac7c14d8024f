// SPDX-License-Identifier: GPL-2.0
/* Which kernels are taken for safe, by uname's release and version, and what follows from it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cmocka_all.h"
#include "kcm.h"
#include "kernel.h"

#define DEBIAN(v) "#1 SMP PREEMPT_DYNAMIC Debian " v "-1 (2026-01-01)"
#define OTHER	  "#1 SMP PREEMPT_DYNAMIC"

static void kernels(void **state)
{
	static const struct {
		const char *release, *version;
		enum kcm_kernel_state state;
	} cases[] = {
		{ "5.10.0-46-amd64", DEBIAN("5.10.262"), KCM_KERNEL_BAD },
		{ "6.0.19", OTHER, KCM_KERNEL_BAD },
		/* 6.1.0-40 is the name of an ABI, the version tells the release */
		{ "6.1.0-37-amd64", DEBIAN("6.1.140"), KCM_KERNEL_BAD },
		{ "6.1.0-38-amd64", DEBIAN("6.1.147"), KCM_KERNEL_DOUBTFUL },
		{ "6.1.0-56-amd64", DEBIAN("6.1.192"), KCM_KERNEL_GOOD },
		{ "6.1.0-13-other", OTHER, KCM_KERNEL_BAD },
		{ "6.1.146", OTHER, KCM_KERNEL_BAD },
		{ "6.1.147", OTHER, KCM_KERNEL_DOUBTFUL },
		{ "6.1.191", OTHER, KCM_KERNEL_DOUBTFUL },
		{ "6.1.192", OTHER, KCM_KERNEL_GOOD },
		{ "6.1", OTHER, KCM_KERNEL_BAD },
		{ "6.2.0", OTHER, KCM_KERNEL_DOUBTFUL },
		{ "6.8.0-45-generic", "#45-Ubuntu SMP", KCM_KERNEL_DOUBTFUL },
		{ "6.11.9", OTHER, KCM_KERNEL_DOUBTFUL },
		{ "6.12.34", OTHER, KCM_KERNEL_BAD },
		{ "6.12.35", OTHER, KCM_KERNEL_DOUBTFUL },
		{ "6.12.105", OTHER, KCM_KERNEL_GOOD },
		{ "6.12.117+deb12-amd64", DEBIAN("6.12.117-1~bpo12+1"), KCM_KERNEL_GOOD },
		{ "6.15.1", OTHER, KCM_KERNEL_DOUBTFUL },
		{ "6.16.0", OTHER, KCM_KERNEL_GOOD },
		{ "6.18.15+deb13-amd64", DEBIAN("6.18.15"), KCM_KERNEL_GOOD },
		{ "7.3.4+deb13-amd64", DEBIAN("7.3.4"), KCM_KERNEL_GOOD },
		{ "7.0-rc1", OTHER, KCM_KERNEL_GOOD },
		{ "7.1.12", OTHER, KCM_KERNEL_GOOD }, /* not 6.1, not 6.12 */
		{ "mine", OTHER, KCM_KERNEL_DOUBTFUL },
		{ "", "", KCM_KERNEL_DOUBTFUL },
		{ "6.12.34", "Debian", KCM_KERNEL_BAD },
		{ "6.12.34", "Debian x", KCM_KERNEL_BAD },
	};
	char why[160];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		enum kcm_kernel_state got =
			kcm_kernel_judge(cases[i].release, cases[i].version, why, sizeof(why));

		if (got != cases[i].state)
			fail_msg("'%s': %d (%s)", cases[i].release, got, why);
		assert_true(why[0]);
	}
}

static void why_fits(void **state)
{
	char why[16];

	(void)state;
	memset(why, 'x', sizeof(why));
	assert_int_equal(kcm_kernel_judge("6.1.2", OTHER, why, sizeof(why)), KCM_KERNEL_BAD);
	assert_int_equal(strlen(why), sizeof(why) - 1);
}

static void environment(void **state)
{
	(void)state;
	unsetenv(KCM_UNSAFE_ENV);
	assert_false(kcm_kernel_accepted());
	setenv(KCM_UNSAFE_ENV, "", 1);
	assert_false(kcm_kernel_accepted());
	setenv(KCM_UNSAFE_ENV, "0", 1);
	assert_false(kcm_kernel_accepted());
	setenv(KCM_UNSAFE_ENV, "1", 1);
	assert_true(kcm_kernel_accepted());
	unsetenv(KCM_UNSAFE_ENV);
}

/*
 * kcm_mux_create() in a process that sees Linux 2.6, without privilege: what comes after the
 * kernel's refusal is that of bpffs or of bpf(). Return: its answer; 0 if UNAME26 hides nothing.
 */
static int create_on_26(bool accept, char *err, size_t size)
{
	struct kcm_mux_opts o = { .sz = sizeof(o) };
	struct utsname u;
	char why[160];

	if (kcm_frame_parse("u32be", &o.frame, err, size) || setgid(65534) || setuid(65534) ||
	    personality(UNAME26) < 0 || uname(&u))
		return -EIO;
	if (kcm_kernel_judge(u.release, u.version, why, sizeof(why)) != KCM_KERNEL_BAD)
		return 0;
	if (accept)
		kcm_kernel_accept();
	return kcm_mux_create("on-26", &o, err, size);
}

static int in_child(bool accept)
{
	char err[256] = "";
	int status, ret;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		ret = create_on_26(accept, err, sizeof(err));
		if (ret == -EOPNOTSUPP && !strstr(err, "older than 6.1"))
			ret = -EIO;
		_exit(-ret);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

static void create_refuses(void **state)
{
	int ret = in_child(false);

	(void)state;
	if (!ret) /* Debian writes the real version beside the false release */
		skip();
	assert_int_equal(ret, -EOPNOTSUPP);
	/* Accepted, it goes on to what an unprivileged process may not. */
	ret = in_child(true);
	assert_int_not_equal(ret, -EOPNOTSUPP);
	assert_int_not_equal(ret, 0);
	assert_int_not_equal(ret, -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kernels),
		cmocka_unit_test(why_fits),
		cmocka_unit_test(environment),
		cmocka_unit_test(create_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
