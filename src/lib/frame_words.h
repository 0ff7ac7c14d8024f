/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* frame_words.h - names of frame kinds, between frame.c and frame_text.c */
#ifndef KCM_FRAME_WORDS_H
#define KCM_FRAME_WORDS_H

#include "kcm_frame.h"

/* The word that begins a description; 0 if @word is none. */
enum kcm_frame_kind frame_kind_of(const char *word);
const char *frame_kind_name(enum kcm_frame_kind kind);

#endif
