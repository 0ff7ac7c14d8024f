// SPDX-License-Identifier: GPL-2.0
/*
 * faults_alloc.c - for LD_PRELOAD: counts allocations and has the one that faults_trace.c says
 * fail. glibc's own (strdup, fopen, getline ...) come by here, too.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "faults_page.h"

#define PUBLIC __attribute__((visibility("default")))

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);

static struct faults_page *page;
static void *(*next_malloc)(size_t) = __libc_malloc;
static void *(*next_calloc)(size_t, size_t) = __libc_calloc;
static void *(*next_realloc)(void *, size_t) = __libc_realloc;

static int fails(void)
{
	if (!page || __atomic_add_fetch(&page->allocs, 1, __ATOMIC_RELAXED) !=
			     __atomic_load_n(&page->fail_at, __ATOMIC_RELAXED))
		return 0;
	errno = ENOMEM;
	return 1;
}

PUBLIC void *malloc(size_t size)
{
	return fails() ? NULL : next_malloc(size);
}

PUBLIC void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : next_calloc(n, size);
}

PUBLIC void *realloc(void *p, size_t size)
{
	return fails() ? NULL : next_realloc(p, size);
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv(FAULTS_PAGE_ENV);
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p = MAP_FAILED;

	if (fd >= 0) {
		p = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	}
	/* AddressSanitizer has allocators of its own, behind us. */
	if (dlsym(RTLD_DEFAULT, "__asan_init")) {
		next_malloc = dlsym(RTLD_NEXT, "malloc");
		next_calloc = dlsym(RTLD_NEXT, "calloc");
		next_realloc = dlsym(RTLD_NEXT, "realloc");
	}
	prctl(FAULTS_MAIN, 0, 0, 0, 0);
	page = p == MAP_FAILED ? NULL : p;
}
