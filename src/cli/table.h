/* SPDX-License-Identifier: Apache-2.0
 * Tables for people: cells row by row, columns as wide as their widest cell. The first row is the head. Without memory
 * for one the process ends (pil_report_no_memory). */
#pragma once

#include "cli/report.h"

enum { PIL_TABLE_COLUMNS_MAX = 8192 };
struct pil_table {
    uint32_t column_count;
    uint64_t right; /* bit i: column i (of the first 64) is a number */
    uint64_t cut;   /* bit i: column i may be cut where the terminal is too narrow for all; default: none */
    struct pil_table_cell *cells;
    size_t cell_count;
};
void pil_table_init(struct pil_table *table, uint32_t column_count, uint64_t right);
void pil_table_deinit(struct pil_table *table);
/* `text` is printable already. */
void pil_table_add(struct pil_table *table, pil_style style, const char *text);
void pil_table_format(struct pil_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* To stdout, each line behind `indent` blanks. */
void pil_table_print(const struct pil_table *table, int indent);
