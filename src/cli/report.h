/* SPDX-License-Identifier: Apache-2.0
 * How `pillion` speaks: exit codes, messages, styles, JSON. Messages are "pillion: what; what to do" on stderr.
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
/* Ends the process with PIL_EXIT_FAILED, and says that memory is why: what is printed is whole, or this is said. What a
 * command changes in a store it has changed before it prints, or not at all, so that nothing is left half done. */
_Noreturn void pil_report_no_memory(void);
/* The memory; ends the process when it is NULL. */
void *pil_report_need(void *memory);
/* The characters of a text; ends the process when it failed. */
const char *pil_report_text(const struct pil_text *text);
/* A remark on stderr. */
void pil_report_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

typedef enum pil_style { PIL_STYLE_PLAIN, PIL_STYLE_BOLD, PIL_STYLE_DIM, PIL_STYLE_GOOD, PIL_STYLE_BAD } pil_style;
/* The escape sequence, or "" when stdout is no terminal, NO_COLOR is set or TERM is dumb. */
const char *pil_report_style(pil_style style);

/* Width of the terminal that stdout is; 0: it is none. */
size_t pil_report_columns(void);

/* One line of JSON. Takes the reference; NULL is a document that there was no memory for, which ends the process. */
void pil_report_json(json_t *document);

/* "12.3 MiB"; "1,234,567"; "1 release", "1,234 releases". */
enum { PIL_REPORT_NUMBER_BYTES = 32, PIL_REPORT_THINGS_BYTES = 64 };
const char *pil_report_bytes(uint64_t bytes, char ret_text[PIL_REPORT_NUMBER_BYTES]);
const char *pil_report_count(uint64_t count, char ret_text[PIL_REPORT_NUMBER_BYTES]);
const char *pil_report_things(uint64_t count, const char *thing, char ret_text[PIL_REPORT_THINGS_BYTES]);

/* Appends text from outside, at most columns_max characters of it (cut with "…"; 0: all), so that no byte of it can
 * command the terminal: control characters as \xNN, what is not UTF-8 as well. */
void pil_report_append_printable(struct pil_text *text, struct pil_bytes from, size_t columns_max);
