/* SPDX-License-Identifier: GPL-2.0 */
/* What faults_trace.c and faults_alloc.c, which is preloaded, agree on. */
#ifndef FAULTS_PAGE_H
#define FAULTS_PAGE_H

#include <stdint.h>

/* Names the file that has the page, for whatever the command starts, too. */
#define FAULTS_PAGE_ENV "KCM_FAULTS_PAGE"

/* prctl(FAULTS_MAIN) says that the dynamic linker is done: its calls are not the command's. */
#define FAULTS_MAIN 0x6b636d

struct faults_page {
	uint64_t allocs;  /* so far, of all processes */
	uint64_t fail_at; /* 0: none fails */
};

#endif
