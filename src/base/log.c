/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "base/clock.h"
#include "base/hash.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 2048, LINES_PER_SECOND = 20, SITES = 64 };

static struct {
    const char *component;
    pil_log_level level_min;
    pil_log_format format;
} settings = {"pillion", PIL_LOG_INFO, PIL_LOG_FORMAT_LOGFMT};

/* One slot per hash of the event text; a collision only means that two events share a budget. */
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

static void put(struct line *line, char c) {
    if (line->len < LINE_BYTES - 2) {
        line->text[line->len++] = c;
    }
}

static void put_text(struct line *line, const char *text) {
    for (; *text != '\0'; text++) {
        put(line, *text);
    }
}

static void put_quoted(struct line *line, const char *text) {
    put(line, '"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            put(line, '\\');
            put(line, (char)c);
        } else if (c < 0x20 || c == 0x7f) {
            char escape[8];
            snprintf(escape, sizeof escape, "\\u%04x", c);
            put_text(line, escape);
        } else {
            put(line, (char)c);
        }
    }
    put(line, '"');
}

static void put_pair(struct line *line, const char *key, const char *value) {
    if (settings.format == PIL_LOG_FORMAT_JSON) {
        put(line, line->len > 1 ? ',' : ' ');
        put_quoted(line, key);
        put(line, ':');
        put_quoted(line, value);
        return;
    }
    if (line->len > 0) {
        put(line, ' ');
    }
    put_text(line, key);
    put(line, '=');
    if (value[0] == '\0' || strpbrk(value, " \"=\\\n\t") != NULL) {
        put_quoted(line, value);
    } else {
        put_text(line, value);
    }
}

/* Whether this event may be printed now; *ret_suppressed is how many were not since the last that was. */
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
        put(&line, '{');
    }
    put_pair(&line, "time", time_text);
    put_pair(&line, "level", names[level]);
    put_pair(&line, "component", settings.component);
    put_pair(&line, "event", event);
    va_list arguments;
    va_start(arguments, event);
    for (const char *key; (key = va_arg(arguments, const char *)) != NULL;) {
        const char *value = va_arg(arguments, const char *);
        put_pair(&line, key, value != NULL ? value : "");
    }
    va_end(arguments);
    if (suppressed > 0) {
        put_pair(&line, "suppressed", PIL_LOG_NUM(suppressed));
    }
    if (settings.format == PIL_LOG_FORMAT_JSON) {
        line.text[line.len++] = '}';
    }
    line.text[line.len++] = '\n';
    if (write(STDERR_FILENO, line.text, line.len) < 0) {
        return; /* nowhere left to say it */
    }
}
