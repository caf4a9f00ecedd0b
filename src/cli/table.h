/* SPDX-License-Identifier: Apache-2.0
 * Tables for people: cells are added row by row, and each column is as wide as its widest cell. The first row is the
 * head. When memory is short, the process ends (pil_report_no_memory). */
#pragma once

#include "cli/report.h"

enum { PIL_TABLE_COLUMNS_MAX = 8192 };
struct pil_table {
    uint32_t column_count;
    uint64_t right; /* bit i: column i (of the first 64) is aligned right, as numbers are */
    uint64_t cut;   /* bit i: column i may be truncated if the terminal is too narrow; default: none */
    struct pil_table_cell *cells;
    size_t cell_count;
};
void pil_table_init(struct pil_table *table, uint32_t column_count, uint64_t right);
void pil_table_deinit(struct pil_table *table);
/* Adds a cell; what would steer the terminal is escaped. */
void pil_table_add(struct pil_table *table, pil_style style, const char *text);
void pil_table_format(struct pil_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints to stdout, each line after `indent` blanks. */
void pil_table_print(const struct pil_table *table, int indent);
