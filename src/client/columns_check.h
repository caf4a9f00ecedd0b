/* SPDX-License-Identifier: Apache-2.0
 * Checks of the caller's columns, for reads in this process and over the socket. For this module only. */
#pragma once

#include "client/result.h"
#include "wire/columns.h"

/* Checks that the caller's column i has the buffers that the form needs, and sets its ret_ members to their start. */
pillion_result pil_columns_begin(struct pillion_column *column, uint32_t i, pil_column_form form,
                                 struct pillion_error *error);
pillion_result pil_columns_check_count(uint32_t given, uint32_t features, struct pillion_error *error);
pillion_result pil_columns_too_small(struct pillion_error *error);
