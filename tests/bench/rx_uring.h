/* SPDX-License-Identifier: GPL-2.0 */
#ifndef KCM_TESTS_RX_URING_H
#define KCM_TESTS_RX_URING_H

#include "rx_bench.h"

/* recv by io_uring, one request at a time: submit and wait are one call. */
int rxb_run_uring(int fd, const struct rxb_case *c, struct rxb_result *r);

#endif
