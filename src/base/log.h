/* SPDX-License-Identifier: Apache-2.0
 * Structured logs for the programs (library modules return statuses and never log). One line per event on stderr,
 * logfmt or JSON; no feature values, no raw keys. Thread: any; a line is one write(2) of at most 2 KiB. A value that
 * does not fit ends in "...", and pairs after it are left out; the line is always valid logfmt or JSON. Rate: 20 lines
 * per event and second; "suppressed" in the next line is the number of lines not printed. */
#pragma once

typedef enum pil_log_level { PIL_LOG_DEBUG, PIL_LOG_INFO, PIL_LOG_WARN, PIL_LOG_ERROR } pil_log_level;
typedef enum pil_log_format { PIL_LOG_FORMAT_LOGFMT, PIL_LOG_FORMAT_JSON } pil_log_format;

/* Call before the first log line, and to change level or format at a reload. `component` ("supervisor", "server", …) is
 * kept, not copied. */
void pil_log_init(const char *component, pil_log_level level_min, pil_log_format format);

/* `event` is a short constant phrase; pairs of key (const char *) and value (const char *) follow, terminated by NULL:
 *     pil_log(PIL_LOG_INFO, "release published", "view", view, "release", release, NULL);
 * For numbers use PIL_LOG_NUM(x), whose text is valid in the enclosing block. */
void pil_log(pil_log_level level, const char *event, ...) __attribute__((sentinel));

const char *pil_log_number(char text[24], long long value);
#define PIL_LOG_NUM(value) pil_log_number((char[24]){0}, (long long)(value))
