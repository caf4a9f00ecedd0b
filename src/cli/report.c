/* SPDX-License-Identifier: Apache-2.0
 * Output for people: messages, styles, numbers and text. */
#include "cli/report.h"

#include "schema/json_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int exit_code_of(pil_status status) {
    switch (status) {
    case PIL_STATUS_OK: return PIL_EXIT_OK;
    case PIL_STATUS_INVALID:
    case PIL_STATUS_CORRUPT:
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

int pil_report_failure(pil_status status, const struct pil_error *error) {
    struct pil_text text = {0};
    pil_report_append_printable(&text, pil_bytes_from_text(error->text), 0);
    fprintf(stderr, "pillion: %s\n", pil_text_chars(&text));
    pil_text_deinit(&text);
    return exit_code_of(status);
}

__attribute__((format(printf, 1, 0))) static void say(const char *format, va_list arguments) {
    fputs("pillion: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
}

int pil_report_usage(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    return PIL_EXIT_USAGE;
}

void pil_report_note(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
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
    fprintf(stderr, "pillion: no memory for the answer\n");
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
    char *text = pil_report_need(pil_json_text(document, JSON_COMPACT)); /* a program would take "null" for an answer */
    printf("%s\n", text);
    free(text);
    json_decref(document);
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

/* The length of the UTF-8 character (RFC 3629) at `at`; 0 if it is not valid or not printable. */
static size_t printable_len(struct pil_bytes at) {
    const uint8_t *s = at.data;
    if (s[0] < 0x80) {
        return s[0] >= 0x20 && s[0] != 0x7f;
    }
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    uint32_t code = s[0] & (0x7fu >> len);
    if (s[0] < 0xc2 || s[0] > 0xf4 || at.len < len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (s[i] & 0x3f);
    }
    bool overlong = code < (len == 2 ? 0x80u : len == 3 ? 0x800u : 0x10000u);
    bool unfit = code < 0xa0 /* C1 controls */ || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff ||
                 (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
                 (code >= 0x2066 && code <= 0x2069); /* invisible, or changing the direction */
    return overlong || unfit ? 0 : len;
}

void pil_report_append_printable(struct pil_text *text, struct pil_bytes from, size_t columns_max) {
    size_t columns = 0;
    while (from.len > 0) {
        size_t len = printable_len(from), width = len > 0 ? 1 : 4;
        bool fits = columns_max == 0 || columns + width < columns_max ||
                    (columns + width == columns_max && from.len == (len > 0 ? len : 1));
        if (!fits) {
            pil_text_format(text, "…");
            return;
        }
        if (len > 0) {
            pil_text_append(text, from.data, len);
        } else {
            pil_text_format(text, "\\x%02x", from.data[0]);
            len = 1;
        }
        from = pil_bytes_from(from.data + len, from.len - len);
        columns += width;
    }
}
