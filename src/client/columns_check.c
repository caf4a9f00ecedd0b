/* SPDX-License-Identifier: Apache-2.0 */
#include "client/columns_check.h"

pillion_result pil_columns_check_count(uint32_t given, uint32_t features, struct pillion_error *error) {
    return given == features ? PILLION_OK
                             : pil_result_fail(error, PILLION_INVALID,
                                               "%u columns were given; the plan has %u features", given, features);
}

pillion_result pil_columns_begin(struct pillion_column *column, uint32_t i, pil_column_form form,
                                 struct pillion_error *error) {
    bool has_offsets = form != PIL_COLUMN_FIXED, has_children = form == PIL_COLUMN_LISTS;
    bool has_all = (column->values != NULL || column->value_bytes == 0) && (!has_offsets || column->offsets != NULL) &&
                   (!has_children || (column->child_offsets != NULL && column->child_capacity > 0));
    if (!has_all) {
        return pil_result_fail(error, PILLION_INVALID, "column %u lacks values, offsets or child_offsets", i);
    }
    column->ret_value_bytes = 0;
    column->ret_child_count = has_children;
    if (has_offsets) {
        column->offsets[0] = 0;
    }
    if (has_children) {
        column->child_offsets[0] = 0;
    }
    return PILLION_OK;
}

pillion_result pil_columns_too_small(struct pillion_error *error) {
    return pil_result_fail(error, PILLION_TOO_LARGE,
                           "a column is too small: ret_value_bytes and ret_child_count say what is needed");
}
