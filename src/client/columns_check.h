/* SPDX-License-Identifier: Apache-2.0
 * Checks of the columns that a caller gives, for reads in this process and over the socket. For this module only. */
#pragma once

#include "client/result.h"
#include "wire/columns.h"

/* Whether the caller's column i has buffers for that form; begins it: nothing is used of it yet. */
pillion_result pil_columns_begin(struct pillion_column *column, uint32_t i, pil_column_form form,
                                 struct pillion_error *error);
pillion_result pil_columns_check_count(uint32_t given, uint32_t features, struct pillion_error *error);
pillion_result pil_columns_too_small(struct pillion_error *error);
