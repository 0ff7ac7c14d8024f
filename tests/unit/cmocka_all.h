/* SPDX-License-Identifier: GPL-2.0 */
/* cmocka wants these headers before its own. */
#ifndef KCM_CMOCKA_ALL_H
#define KCM_CMOCKA_ALL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#endif
