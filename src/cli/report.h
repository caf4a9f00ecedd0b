/* SPDX-License-Identifier: Apache-2.0
 * The output of `pillion`: exit codes, messages, styles, JSON. Messages are "pillion: what; what to do" on stderr, and
 * JSON objects if the command was given --json. */
#pragma once

#include "base/status.h"
#include "base/text.h"

#include <jansson.h>
#include <stdio.h>

enum { PIL_EXIT_OK = 0, PIL_EXIT_REFUSED = 1, PIL_EXIT_USAGE = 2, PIL_EXIT_FAILED = 3, PIL_EXIT_DAMAGED = 4 };

/* From now on each message is one JSON object on a line of stderr: {"error": TEXT, "exit_code": N}, or {"note": TEXT}.
 */
void pil_report_messages_as_json(void);
/* Prints error->text and returns the exit code for the status. */
int pil_report_failure(pil_status status, const struct pil_error *error);
/* The same for a file, a store or a server that was to be opened: one that is not there cannot be read. */
int pil_report_unreadable(pil_status status, const struct pil_error *error);
/* The same as the first, after the lines that say why; in JSON they are the member "because". */
int pil_report_failure_because(pil_status status, const struct pil_error *error, const struct pil_text *lines);
/* Prints lines; they quote files and stores, so unprintable characters are escaped. */
void pil_report_lines(const struct pil_text *lines, FILE *to);
/* A list of strings, one for each line. */
json_t *pil_report_lines_to_json(const struct pil_text *lines);
/* Prints the message and returns PIL_EXIT_USAGE. */
int pil_report_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints that memory is short and ends the process with PIL_EXIT_FAILED, so that output is either complete or followed
 * by this message. A command changes a store before it prints, or not at all, so no change is left half done. */
_Noreturn void pil_report_no_memory(void);
/* Returns `memory`; ends the process if it is NULL. */
void *pil_report_need(void *memory);
/* Returns the characters of a text; ends the process if the text has failed. */
const char *pil_report_text(const struct pil_text *text);
/* "; did you mean NAME?" for the name that a mistyped word is near to, or "". The text is in `room`, which the caller
 * frees. */
const char *pil_report_hint(const char *word, const char *const *names, uint32_t count, struct pil_text *room);
/* Prints a remark on stderr. */
void pil_report_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

typedef enum pil_style { PIL_STYLE_PLAIN, PIL_STYLE_BOLD, PIL_STYLE_DIM, PIL_STYLE_GOOD, PIL_STYLE_BAD } pil_style;
/* The escape sequence of a style, or "" if stdout is not a terminal, NO_COLOR is set or TERM is dumb. */
const char *pil_report_style(pil_style style);

/* The width of the terminal on stdout; 0: stdout is not a terminal. */
size_t pil_report_columns(void);

/* Prints one line of JSON and takes ownership of the document. NULL means that memory ran out while the document was
 * made, and ends the process. */
void pil_report_json(json_t *document);

/* Format "12.3 MiB"; "1,234,567"; "1 release" or "1,234 releases". */
enum { PIL_REPORT_NUMBER_BYTES = 32, PIL_REPORT_THINGS_BYTES = 64 };
const char *pil_report_bytes(uint64_t bytes, char ret_text[PIL_REPORT_NUMBER_BYTES]);
const char *pil_report_count(uint64_t count, char ret_text[PIL_REPORT_NUMBER_BYTES]);
const char *pil_report_things(uint64_t count, const char *thing, char ret_text[PIL_REPORT_THINGS_BYTES]);

/* ---- Foreign text: names and reasons from stores, daemons, files and arguments must not steer the terminal. Tables,
 * and messages on stderr, take care of it themselves. */

/* The text as pil_text_append_printable makes it, in `room`, which the caller frees. */
const char *pil_report_printable(const char *foreign, struct pil_text *room);
/* Does that to every string of a document that is to be printed for people. Cost: its size. Depth: as it was parsed. */
void pil_report_make_printable(json_t *document);
