// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* suggest.c - "Did you mean ...?" */
#include <stdint.h>
#include <string.h>
#include "suggest.h"

/* Edit distance, where swapping two neighbours counts once. */
static size_t distance(const char *a, const char *b)
{
	size_t d[24][24], n = strlen(a), m = strlen(b);

	if (n > 23 || m > 23)
		return SIZE_MAX;
	for (size_t i = 0; i <= n; i++) {
		for (size_t j = 0; j <= m; j++) {
			if (!i || !j) {
				d[i][j] = i + j;
				continue;
			}
			d[i][j] = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (d[i - 1][j] + 1 < d[i][j])
				d[i][j] = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < d[i][j])
				d[i][j] = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < d[i][j])
				d[i][j] = d[i - 2][j - 2] + 1;
		}
	}
	return d[n][m];
}

const char *suggest(const char *word, const char *const *words, size_t n)
{
	size_t len = strlen(word), best = len > 5 ? 3 : len > 2 ? 2 : 1;
	const char *found = NULL;

	for (size_t i = 0; i < n; i++) {
		size_t d = distance(word, words[i]);

		if (len > 1 && !strncmp(word, words[i], len))
			d = 0;
		if (d < best || (d == best && !found)) {
			best = d;
			found = words[i];
		}
	}
	return found;
}
