// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* kernel.c - which kernels have a sockmap that can be trusted with data. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "kernel.h"

/*
 * Stable series that got fixes on the way.
 * lossless: sk_psock_backlog() no longer loses data on EAGAIN, or sends some twice
 * safe: tcp_bpf_send_verdict() and sk_psock_verdict_data_ready() no longer use what was freed
 */
static const struct {
	unsigned int major, minor, lossless, safe;
} series[] = {
	{ 6, 1, 147, 192 },
	{ 6, 12, 35, 105 },
};

/* From here on mainline has the fixes of 2025. */
#define FIXED_MAJOR 6
#define FIXED_MINOR 16

static bool accepted;

/* Debian and some others hide the real version behind an ABI number: 6.1.0-40 is 6.1.153. */
static bool real_version(const char *release, const char *version, unsigned int v[3])
{
	const char *debian = strstr(version, "Debian ");

	v[0] = v[1] = v[2] = 0;
	if (debian && sscanf(debian, "Debian %u.%u.%u", &v[0], &v[1], &v[2]) >= 2)
		return true;
	v[0] = v[1] = v[2] = 0;
	return sscanf(release, "%u.%u.%u", &v[0], &v[1], &v[2]) >= 2;
}

enum kcm_kernel_state kcm_kernel_judge(const char *release, const char *version, char *why,
				       size_t size)
{
	unsigned int v[3];

	if (!real_version(release, version, v)) {
		snprintf(why, size, "'%s' does not tell which Linux this is", release);
		return KCM_KERNEL_DOUBTFUL;
	}
	if (v[0] < 6 || (v[0] == 6 && v[1] < 1)) {
		snprintf(why, size, "Linux %u.%u is older than 6.1", v[0], v[1]);
		return KCM_KERNEL_BAD;
	}
	for (size_t i = 0; i < sizeof(series) / sizeof(*series); i++) {
		if (v[0] != series[i].major || v[1] != series[i].minor)
			continue;
		if (v[2] >= series[i].safe)
			goto good;
		snprintf(why, size, "sockmap of Linux %u.%u.%u can %s, fixed in %u.%u.%u", v[0],
			 v[1], v[2],
			 v[2] < series[i].lossless ? "lose or repeat data" : "use freed memory",
			 v[0], v[1],
			 v[2] < series[i].lossless ? series[i].lossless : series[i].safe);
		return v[2] < series[i].lossless ? KCM_KERNEL_BAD : KCM_KERNEL_DOUBTFUL;
	}
	if (v[0] == FIXED_MAJOR && v[1] < FIXED_MINOR) {
		snprintf(why, size,
			 "whether this %u.%u kernel has the sockmap fixes of 2025 is not known",
			 v[0], v[1]);
		return KCM_KERNEL_DOUBTFUL;
	}
good:
	snprintf(why, size, "Linux %u.%u.%u", v[0], v[1], v[2]);
	return KCM_KERNEL_GOOD;
}

enum kcm_kernel_state kcm_kernel_here(char *why, size_t size)
{
	struct utsname u;

	if (uname(&u)) {
		snprintf(why, size, "uname: %s", strerror(errno));
		return KCM_KERNEL_DOUBTFUL;
	}
	return kcm_kernel_judge(u.release, u.version, why, size);
}

bool kcm_kernel_accepted(void)
{
	const char *env = getenv(KCM_UNSAFE_ENV);

	return accepted || (env && *env && strcmp(env, "0") != 0);
}

void kcm_kernel_accept(void)
{
	accepted = true;
}
