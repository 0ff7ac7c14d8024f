/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* suggest.h - for messages about misspelt words. Internal to libkcm and kcmtool. */
#ifndef KCM_SUGGEST_H
#define KCM_SUGGEST_H

#include <stddef.h>

/* The word of @words (n of them) nearest to @word, or NULL if none is near. */
const char *suggest(const char *word, const char *const *words, size_t n);

#endif
