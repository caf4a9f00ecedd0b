/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/panic.h"
#include "base/text.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    LINE_BYTES = 2048,
    BODY_BYTES = LINE_BYTES - 2 /* for "}\n" */,
    KEY_BYTES = 128,
    LINES_PER_SECOND = 20,
    SITES = 64
};
#define CUT "...\""                /* ends a value that did not fit */
#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* Atomic because a reload changes the settings while other threads log. */
static struct {
    const char *_Atomic component;
    _Atomic pil_log_level level_min;
    _Atomic pil_log_format format;
} settings = {"pillion", PIL_LOG_INFO, PIL_LOG_FORMAT_LOGFMT};

/* One slot per hash of the event text; on a collision two events share a budget. */
static struct {
    _Atomic uint64_t second;
    _Atomic uint32_t count;
    _Atomic uint32_t suppressed;
} sites[SITES];

struct line {
    char text[LINE_BYTES];
    size_t len;
};

void pil_log_init(const char *component, pil_log_level level_min, pil_log_format format) {
    settings.component = component;
    settings.level_min = level_min;
    settings.format = format;
}

const char *pil_log_number(char text[24], long long value) {
    snprintf(text, 24, "%lld", value);
    return text;
}

/* Appends `data` unless it does not fit with `room_behind` bytes after it; returns whether it was appended. The end of
 * the line has reserved room. */
static bool put(struct line *line, const char *data, size_t len, size_t room_behind) {
    if (len + room_behind > BODY_BYTES - line->len) {
        return false;
    }
    memcpy(line->text + line->len, data, len);
    line->len += len;
    return true;
}

/* Takes one character off *text, escaped if JSON requires it or if it could affect a terminal. A byte that is not UTF-8
 * becomes U+FFFD, as does a character above U+FFFF that is not printable. Returns the length of *ret_character. */
static size_t take_character(struct pil_bytes *text, char ret_character[8]) {
    size_t taken = pil_utf8_sequence(*text), len = taken;
    unsigned char c = text->data[0];
    if (taken == 0) {
        taken = 1;
        len = sizeof REPLACEMENT - 1;
        memcpy(ret_character, REPLACEMENT, len);
    } else if (c == '"' || c == '\\') {
        ret_character[0] = '\\';
        ret_character[1] = (char)c;
        len = 2;
    } else if (!pil_text_is_printable(text->data, taken)) {
        const uint8_t *s = text->data;
        unsigned code = taken == 1   ? c
                        : taken == 2 ? (c & 0x1fu) << 6 | (s[1] & 0x3fu)
                        : taken == 3 ? (c & 0xfu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu)
                                     : 0xfffd;
        len = (size_t)snprintf(ret_character, 8, "\\u%04x", code);
    } else {
        memcpy(ret_character, text->data, taken);
    }
    *text = pil_bytes_from(text->data + taken, text->len - taken);
    return len;
}

/* Appends the value in quotes, cut and ended with "..." if it does not fit. The caller ensures room for quotes and
 * dots. */
static void put_quoted(struct line *line, const char *value) {
    struct pil_bytes text = pil_bytes_from_text(value);
    bool fits = put(line, "\"", 1, sizeof CUT - 1);
    while (fits && text.len > 0) {
        char character[8];
        size_t len = take_character(&text, character);
        fits = put(line, character, len, text.len > 0 ? sizeof CUT - 1 : 1);
    }
    put(line, fits ? "\"" : CUT, fits ? 1 : sizeof CUT - 1, 0);
}

static bool is_plain(const char *value) {
    size_t i = 0;
    for (; value[i] != '\0'; i++) {
        unsigned char c = (unsigned char)value[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\') {
            return false;
        }
    }
    return i > 0;
}

/* Appends a pair, or nothing if there is no room even for a cut value. `key` is a constant of the program and needs no
 * escapes. */
static void put_pair(struct line *line, const char *key, const char *value) {
    bool is_json = settings.format == PIL_LOG_FORMAT_JSON;
    const char *separator = line->len <= 1 ? "" : is_json ? "," : " ";
    char head[KEY_BYTES];
    int len = snprintf(head, sizeof head, is_json ? "%s\"%s\":" : "%s%s=", separator, key);
    PIL_ASSERT(len > 0 && (size_t)len < sizeof head);
    if (!put(line, head, (size_t)len, 1 + sizeof CUT - 1)) { /* room for at least "..." */
        return;
    }
    if (is_json || !is_plain(value) || !put(line, value, strlen(value), 0)) {
        put_quoted(line, value);
    }
}

/* Whether the rate limit allows to print this event; *ret_suppressed is the number of lines suppressed since the last
 * printed one. */
static bool admit(const char *event, int64_t wall_us, uint32_t *ret_suppressed) {
    unsigned slot = (unsigned)(pil_hash_block(pil_bytes_from_text(event)) % SITES);
    uint64_t second = (uint64_t)(wall_us / 1000000);
    if (atomic_exchange_explicit(&sites[slot].second, second, memory_order_relaxed) != second) {
        atomic_store_explicit(&sites[slot].count, 0, memory_order_relaxed);
    }
    if (atomic_fetch_add_explicit(&sites[slot].count, 1, memory_order_relaxed) >= LINES_PER_SECOND) {
        atomic_fetch_add_explicit(&sites[slot].suppressed, 1, memory_order_relaxed);
        return false;
    }
    *ret_suppressed = atomic_exchange_explicit(&sites[slot].suppressed, 0, memory_order_relaxed);
    return true;
}

void pil_log(pil_log_level level, const char *event, ...) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    int64_t wall_us = pil_clock_wall_us();
    uint32_t suppressed = 0;
    if (level < settings.level_min || !admit(event, wall_us, &suppressed)) {
        return;
    }
    struct line line = {.len = 0};
    char time_text[PIL_CLOCK_TEXT_BYTES];
    pil_clock_format_us(wall_us, time_text);
    if (settings.format == PIL_LOG_FORMAT_JSON) {
        line.text[line.len++] = '{';
    }
    put_pair(&line, "time", time_text);
    put_pair(&line, "level", names[level]);
    put_pair(&line, "component", settings.component);
    put_pair(&line, "event", event);
    if (suppressed > 0) { /* before the event's own pairs, which may be cut: the count is reported only once */
        put_pair(&line, "suppressed", PIL_LOG_NUM(suppressed));
    }
    va_list arguments;
    va_start(arguments, event);
    for (const char *key; (key = va_arg(arguments, const char *)) != NULL;) {
        const char *value = va_arg(arguments, const char *);
        put_pair(&line, key, value != NULL ? value : "");
    }
    va_end(arguments);
    if (settings.format == PIL_LOG_FORMAT_JSON) {
        line.text[line.len++] = '}';
    }
    line.text[line.len++] = '\n';
    if (write(STDERR_FILENO, line.text, line.len) < 0) {
        return; /* there is no other place to report the failure */
    }
}
