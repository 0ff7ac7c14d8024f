/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* flow_words.h - words of the rule language, for those who read it and who write it. Internal. */
#ifndef KCM_FLOW_WORDS_H
#define KCM_FLOW_WORDS_H

#include <stddef.h>
#include <stdint.h>

/* The first name of a number is the one that is written; others are only read. */
#define FLOW_PROTOS 18
extern const struct flow_proto {
	const char *name;
	uint8_t number;
} flow_protos[FLOW_PROTOS];

/* By bit: FIN, SYN, ... */
extern const char *const flow_flag_names[8];

extern const char *const flow_frag_names[5]; /* by enum flow_frag; ANY: NULL */

#endif
