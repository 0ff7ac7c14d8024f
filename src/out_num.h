/* SPDX-License-Identifier: GPL-2.0 */
/* Numbers as text where there are so many that printf() would be most of the time. */
#ifndef KCM_OUT_NUM_H
#define KCM_OUT_NUM_H

#include <stdint.h>

#define NUM_U64 20 /* digits at most */

/* Digits, and no end of a string. Return: behind the last one. */
static inline char *num_u64(char *at, uint64_t value)
{
	char digits[NUM_U64];
	int n = 0;

	do
		digits[n++] = (char)('0' + value % 10);
	while (value /= 10);
	while (n)
		*at++ = digits[--n];
	return at;
}

#endif
