/* SPDX-License-Identifier: Apache-2.0
 * How `pillion` speaks: exit codes, messages, tables, styles, JSON. Messages are "pillion: what; what to do" on stderr.
 */
#pragma once

#include "base/status.h"
#include "base/text.h"

#include <jansson.h>

enum { PIL_EXIT_OK = 0, PIL_EXIT_REFUSED = 1, PIL_EXIT_USAGE = 2, PIL_EXIT_FAILED = 3 };

/* Says why (error->text) and returns the exit code that the status means. */
int pil_report_failure(pil_status status, const struct pil_error *error);
/* Says it and returns PIL_EXIT_USAGE. */
int pil_report_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A remark on stderr. */
void pil_report_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

typedef enum pil_style { PIL_STYLE_PLAIN, PIL_STYLE_BOLD, PIL_STYLE_DIM, PIL_STYLE_GOOD, PIL_STYLE_BAD } pil_style;
/* The escape sequence, or "" when stdout is no terminal, NO_COLOR is set or TERM is dumb. */
const char *pil_report_style(pil_style style);

/* Width of the terminal that stdout is; 0: it is none. */
size_t pil_report_columns(void);

/* One line of JSON. Takes the reference. */
void pil_report_json(json_t *document);

/* "12.3 MiB"; "1,234,567"; "1 release", "1,234 releases". */
enum { PIL_REPORT_NUMBER_BYTES = 32, PIL_REPORT_THINGS_BYTES = 64 };
const char *pil_report_bytes(uint64_t bytes, char ret_text[PIL_REPORT_NUMBER_BYTES]);
const char *pil_report_count(uint64_t count, char ret_text[PIL_REPORT_NUMBER_BYTES]);
const char *pil_report_things(uint64_t count, const char *thing, char ret_text[PIL_REPORT_THINGS_BYTES]);

/* Appends text from outside, at most columns_max characters of it (cut with "…"; 0: all), so that no byte of it can
 * command the terminal: control characters as \xNN, what is not UTF-8 as well. */
void pil_report_append_printable(struct pil_text *text, struct pil_bytes from, size_t columns_max);

/* ---- Tables: cells row by row, columns as wide as their widest cell. The first row is the head. */

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
