/* SPDX-License-Identifier: Apache-2.0
 * Output for people: messages, styles, numbers and text. */
#include "cli/report.h"
#include "base/nearest.h"

#include "schema/json_text.h"
#include "schema/yaml_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int exit_code_of(pil_status status) {
    switch (status) {
    case PIL_STATUS_OK: return PIL_EXIT_OK;
    case PIL_STATUS_CORRUPT: return PIL_EXIT_DAMAGED;
    case PIL_STATUS_INVALID:
    case PIL_STATUS_UNSUPPORTED:
    case PIL_STATUS_NOT_FOUND:
    case PIL_STATUS_EXISTS:
    case PIL_STATUS_CONFLICT:
    case PIL_STATUS_TOO_LARGE:
    case PIL_STATUS_BUSY: return PIL_EXIT_REFUSED;
    case PIL_STATUS_DENIED:
    case PIL_STATUS_NO_MEMORY:
    case PIL_STATUS_NO_SPACE:
    case PIL_STATUS_AGAIN:
    case PIL_STATUS_CLOSED:
    case PIL_STATUS_TIMEOUT:
    case PIL_STATUS_IO:
    case PIL_STATUS_SYSTEM:
    case PIL_STATUS_COUNT: return PIL_EXIT_FAILED;
    }
    return PIL_EXIT_FAILED;
}

/* ---- Messages */

static bool messages_are_json;

void pil_report_messages_as_json(void) {
    messages_are_json = true;
}

static void put_json(json_t *object, FILE *to) {
    char *text = pil_report_need(pil_json_text(object, JSON_COMPACT | JSON_ENSURE_ASCII));
    fprintf(to, "%s\n", text);
    free(text);
    json_decref(object);
}

/* Takes ownership of `because`, which is NULL when the message says everything. */
static void put_error(const char *text, int exit_code, json_t *because) {
    struct pil_text printable = {0};
    pil_report_printable(text, &printable);
    if (messages_are_json) {
        put_json(json_pack("{s:s, s:i, s:o*}", "error", pil_text_chars(&printable), "exit_code", exit_code, "because",
                           because),
                 stderr);
    } else {
        fprintf(stderr, "pillion: %s\n", pil_text_chars(&printable));
        json_decref(because);
    }
    pil_text_deinit(&printable);
}

int pil_report_failure(pil_status status, const struct pil_error *error) {
    put_error(error->text, exit_code_of(status), NULL);
    return exit_code_of(status);
}

int pil_report_unreadable(pil_status status, const struct pil_error *error) {
    return pil_report_failure(status == PIL_STATUS_NOT_FOUND ? PIL_STATUS_IO : status, error);
}

int pil_report_failure_because(pil_status status, const struct pil_error *error, const struct pil_text *lines) {
    if (!messages_are_json) {
        pil_report_lines(lines, stderr);
    }
    put_error(error->text, exit_code_of(status), pil_report_lines_to_json(lines));
    return exit_code_of(status);
}

int pil_report_usage(const char *format, ...) {
    struct pil_text message = {0};
    va_list arguments;
    va_start(arguments, format);
    pil_text_format_v(&message, format, arguments);
    va_end(arguments);
    put_error(pil_report_text(&message), PIL_EXIT_USAGE, NULL);
    pil_text_deinit(&message);
    return PIL_EXIT_USAGE;
}

void pil_report_note(const char *format, ...) {
    struct pil_text message = {0}, printable = {0};
    va_list arguments;
    va_start(arguments, format);
    pil_text_format_v(&message, format, arguments);
    va_end(arguments);
    pil_report_printable(pil_report_text(&message), &printable);
    if (messages_are_json) {
        put_json(json_pack("{s:s}", "note", pil_text_chars(&printable)), stderr);
    } else {
        fprintf(stderr, "pillion: %s\n", pil_text_chars(&printable));
    }
    pil_text_deinit(&printable);
    pil_text_deinit(&message);
}

void pil_report_lines(const struct pil_text *lines, FILE *to) {
    for (const char *line = pil_report_text(lines); *line != '\0';) {
        size_t len = strcspn(line, "\n");
        struct pil_text text = {0};
        pil_text_append_printable(&text, pil_bytes_from(line, len), 0);
        fprintf(to, "%s\n", pil_report_text(&text));
        pil_text_deinit(&text);
        line += len + (line[len] == '\n');
    }
}

json_t *pil_report_lines_to_json(const struct pil_text *lines) {
    json_t *list = json_array();
    for (const char *line = pil_report_text(lines); *line != '\0';) {
        size_t len = strcspn(line, "\n");
        pil_json_append(&list, json_stringn(line, len));
        line += len + (line[len] == '\n');
    }
    return pil_report_need(list);
}

const char *pil_report_hint(const char *word, const char *const *names, uint32_t count, struct pil_text *room) {
    const char *nearest = pil_nearest(word, names, count);
    pil_text_clear(room);
    if (nearest != NULL) {
        pil_text_format(room, "; did you mean %s?", nearest);
    }
    return pil_report_text(room);
}

size_t pil_report_columns(void) {
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static bool wants_colour(void) {
    const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM"); /* no-color.org */
    return isatty(STDOUT_FILENO) == 1 && (no_color == NULL || no_color[0] == '\0') &&
           (terminal == NULL || strcmp(terminal, "dumb") != 0);
}

const char *pil_report_style(pil_style style) {
    if (!wants_colour()) {
        return "";
    }
    switch (style) {
    case PIL_STYLE_PLAIN: return "\033[0m";
    case PIL_STYLE_BOLD: return "\033[1m";
    case PIL_STYLE_DIM: return "\033[2m";
    case PIL_STYLE_GOOD: return "\033[32m";
    case PIL_STYLE_BAD: return "\033[31m";
    }
    return "";
}

void pil_report_no_memory(void) {
    fputs(messages_are_json ? "{\"error\":\"no memory for the answer\",\"exit_code\":3}\n"
                            : "pillion: no memory for the answer\n",
          stderr);
    exit(exit_code_of(PIL_STATUS_NO_MEMORY));
}

void *pil_report_need(void *memory) {
    if (memory == NULL) {
        pil_report_no_memory();
    }
    return memory;
}

const char *pil_report_text(const struct pil_text *text) {
    if (text->failed) {
        pil_report_no_memory();
    }
    return pil_text_chars(text);
}

void pil_report_json(json_t *document) {
    /* A program would take "null" for an answer. Jansson leaves C1 controls and marks of direction as they are. */
    put_json(document, stdout);
}

const char *pil_report_bytes(uint64_t bytes, char ret_text[PIL_REPORT_NUMBER_BYTES]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1024 && unit + 1 < sizeof units / sizeof units[0]; unit++) {
        value /= 1024;
    }
    snprintf(ret_text, PIL_REPORT_NUMBER_BYTES, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return ret_text;
}

const char *pil_report_count(uint64_t count, char ret_text[PIL_REPORT_NUMBER_BYTES]) {
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)count), at = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) {
            ret_text[at++] = ',';
        }
        ret_text[at++] = digits[i];
    }
    ret_text[at] = '\0';
    return ret_text;
}

const char *pil_report_things(uint64_t count, const char *thing, char ret_text[PIL_REPORT_THINGS_BYTES]) {
    char number[PIL_REPORT_NUMBER_BYTES];
    size_t len = strlen(thing);
    bool is_y = len > 0 && thing[len - 1] == 'y';
    snprintf(ret_text, PIL_REPORT_THINGS_BYTES, "%s %.*s%s", pil_report_count(count, number),
             (int)(is_y && count != 1 ? len - 1 : len), thing,
             count == 1 ? ""
             : is_y     ? "ies"
                        : "s");
    return ret_text;
}

const char *pil_report_printable(const char *foreign, struct pil_text *room) {
    pil_text_clear(room);
    pil_text_append_printable(room, pil_bytes_from_text(foreign), 0);
    return pil_report_text(room);
}

static json_t *printable_string(const json_t *string) {
    struct pil_text room = {0};
    json_t *printable = pil_report_need(json_string(pil_report_printable(json_string_value(string), &room)));
    pil_text_deinit(&room);
    return printable;
}

void pil_report_make_printable(json_t *document) {
    const char *key;
    json_t *value;
    size_t index;
    json_object_foreach(document, key, value) {
        if (json_is_string(value)) { /* of a key that exists: setting it keeps the iteration valid */
            pil_report_need(json_object_set_new(document, key, printable_string(value)) == 0 ? document : NULL);
        } else {
            pil_report_make_printable(value);
        }
    }
    json_array_foreach(document, index, value) {
        if (json_is_string(value)) {
            pil_report_need(json_array_set_new(document, index, printable_string(value)) == 0 ? document : NULL);
        } else {
            pil_report_make_printable(value);
        }
    }
}
