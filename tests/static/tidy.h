/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tidy.h - included before all else by clang-tidy: what its analyzer cannot know.
 *
 * errno is never 0 after a call that failed. Without that, each `return -errno;` would be followed
 * as a success too, with all variables unset that are set in case of success.
 */
#include <errno.h>

static inline int *tidy_errno(void)
{
	int *e = __errno_location();

	if (*e <= 0)
		__builtin_unreachable();
	return e;
}

#undef errno
#define errno (*tidy_errno())
