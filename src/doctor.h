/* SPDX-License-Identifier: GPL-2.0 */
#ifndef KCM_DOCTOR_H
#define KCM_DOCTOR_H

#include "cmd.h"

int doctor_run(const struct cmd_args *args);

#endif
