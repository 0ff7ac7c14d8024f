/* SPDX-License-Identifier: GPL-2.0 */
/* Cleanup attributes and other small things for user space. */
#ifndef KCM_UTIL_H
#define KCM_UTIL_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <dirent.h>

#define _cleanup_(f)   __attribute__((cleanup(f)))
#define _cleanup_free_ _cleanup_(util_freep)
#define _cleanup_fd_   _cleanup_(util_closep)
#define _cleanup_file_ _cleanup_(util_fclosep)
#define _cleanup_dir_  _cleanup_(util_closedirp)
#define _printf_(a, b) __attribute__((format(printf, a, b)))

/* The value leaves its cleanup scope: the variable is emptied, the value returned. */
#define TAKE_PTR(p)                         \
	({                                  \
		__typeof__(p) taken_ = (p); \
		(p) = NULL;                 \
		taken_;                     \
	})
#define TAKE_FD(fd)                \
	({                         \
		int taken_ = (fd); \
		(fd) = -1;         \
		taken_;            \
	})

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* What the kernel calls invalid in a program is no wrong word of the caller's. */
static inline int util_load_err(int err)
{
	return err == -EINVAL ? -EOPNOTSUPP : err;
}

static inline void util_freep(void *p)
{
	free(*(void **)p);
}

static inline void util_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void util_fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void util_closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

static inline int streq(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

#endif
