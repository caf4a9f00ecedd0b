/* SPDX-License-Identifier: Apache-2.0
 * Goal: one event is one line that machines can read, whatever the values hold; floods are counted, not printed.
 * Method: stderr is a pipe while an event is logged; the line is compared (its time is cut off), or parsed. */
#include "base/log.h"
#include "base/utf8.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static int pipe_fds[2], saved_stderr;
static char captured[65536];

static void capture_start(void) {
    assert_int_equal(pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC), 0);
    saved_stderr = dup(STDERR_FILENO);
    assert_true(dup2(pipe_fds[1], STDERR_FILENO) >= 0);
}

static const char *capture_end(void) {
    assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
    close(saved_stderr);
    close(pipe_fds[1]);
    size_t len = 0;
    for (ssize_t got; (got = read(pipe_fds[0], captured + len, sizeof captured - 1 - len)) > 0;) {
        len += (size_t)got;
    }
    close(pipe_fds[0]);
    captured[len] = '\0';
    return captured;
}

static const char *after(const char *line, const char *mark) {
    const char *at = strstr(line, mark);
    assert_non_null(at);
    return at;
}

static void logfmt_quotes_what_needs_it(void **state) {
    (void)state;
    pil_log_init("server", PIL_LOG_INFO, PIL_LOG_FORMAT_LOGFMT);
    capture_start();
    pil_log(PIL_LOG_WARN, "logfmt line", "plain", "a/b:c", "empty", "", "none", (const char *)NULL, "quoted",
            "a \"b\" \\ c\n\x01", "equals", "a=b", "number", PIL_LOG_NUM(-42), NULL);
    const char *line = capture_end();
    assert_memory_equal(line, "time=2", 6);
    assert_string_equal(after(line, " level="),
                        " level=warn component=server event=\"logfmt line\" plain=a/b:c empty=\"\" none=\"\" "
                        "quoted=\"a \\\"b\\\" \\\\ c\\u000a\\u0001\" equals=\"a=b\" number=-42\n");
}

static void json_is_one_object(void **state) {
    (void)state;
    pil_log_init("server", PIL_LOG_DEBUG, PIL_LOG_FORMAT_JSON);
    capture_start();
    pil_log(PIL_LOG_DEBUG, "json line", "value", "a \"b\" \\ \t ü", NULL);
    const char *line = capture_end();
    assert_int_equal(line[0], '{');
    assert_non_null(strstr(line, "\"time\":\"2"));
    assert_string_equal(after(line, ",\"level\""), ",\"level\":\"debug\",\"component\":\"server\",\"event\":\"json "
                                                   "line\",\"value\":\"a \\\"b\\\" \\\\ \\u0009 ü\"}\n");
}

static void levels_below_are_silent(void **state) {
    (void)state;
    pil_log_init("server", PIL_LOG_WARN, PIL_LOG_FORMAT_LOGFMT);
    capture_start();
    pil_log(PIL_LOG_INFO, "quiet", NULL);
    assert_string_equal(capture_end(), "");
}

static void long_values_end_with_the_line(void **state) {
    (void)state;
    static char huge[10000];
    memset(huge, 'h', sizeof huge - 1);
    pil_log_init("server", PIL_LOG_INFO, PIL_LOG_FORMAT_LOGFMT);
    capture_start();
    pil_log(PIL_LOG_INFO, "huge value", "value", huge, "more", huge, NULL);
    const char *line = capture_end();
    assert_true(strlen(line) < 4096);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

/* Behind the string that starts at `at`. */
static const char *expect_json_string(const char *at) {
    assert_int_equal(*at, '"');
    for (at++; *at != '"'; at++) {
        assert_true((unsigned char)*at >= 0x20);
        if (*at == '\\' && *++at == 'u') {
            assert_int_equal(strspn(at + 1, "0123456789abcdef") >= 4, true);
        } else if (at[-1] == '\\') {
            assert_true(*at == '"' || *at == '\\');
        }
    }
    return at + 1;
}

/* One line: an object of strings. */
static void expect_flat_json(const char *line) {
    assert_true(pil_utf8_is_valid(pil_bytes_from_text(line)));
    assert_int_equal(*line, '{');
    do {
        line = expect_json_string(line + 1);
        assert_int_equal(*line, ':');
        line = expect_json_string(line + 1);
    } while (*line == ',');
    assert_string_equal(line, "}\n");
}

/* Each length of a value of each kind of character, so that the line's end falls everywhere inside of it. */
static void json_that_is_cut_is_one_object(void **state) {
    (void)state;
    static const char *const units[] = {"h", "\"", "\x01", "ü", "\xf0\x9f\x98\x80", "\xff"};
    static const char *const events[] = {"cut 1", "cut 2", "cut 3", "cut 4", "cut 5", "cut 6"};
    static char value[4096];
    pil_log_init("server", PIL_LOG_INFO, PIL_LOG_FORMAT_JSON);
    for (size_t unit = 0; unit < sizeof units / sizeof units[0]; unit++) {
        for (size_t pad = 0; pad < 16; pad++) {
            size_t len = pad;
            memset(value, 'x', len);
            while (len + strlen(units[unit]) < sizeof value) {
                memcpy(value + len, units[unit], strlen(units[unit]));
                len += strlen(units[unit]);
            }
            value[len] = '\0';
            capture_start();
            pil_log(PIL_LOG_INFO, events[unit], "first", "1", "value", value, "left out", "2", NULL);
            const char *line = capture_end();
            expect_flat_json(line);
            assert_non_null(strstr(line, ",\"first\":\"1\",\"value\":\""));
            assert_string_equal(line + strlen(line) - 6, "...\"}\n");
            assert_null(strstr(line, "left out"));
        }
    }
}

static void terminals_are_not_spoken_to(void **state) {
    (void)state;
    pil_log_init("server", PIL_LOG_INFO, PIL_LOG_FORMAT_LOGFMT);
    capture_start();
    pil_log(PIL_LOG_INFO, "escape", "value", "a\x1b[2J\r\xffz", NULL);
    assert_string_equal(after(capture_end(), " value="), " value=\"a\\u001b[2J\\u000d\xef\xbf\xbdz\"\n");
    capture_start();
    pil_log(PIL_LOG_INFO, "escape", "value", "\x7f\xc2\x9b\xe2\x80\xae\xf3\xa0\x81\x81 ü", NULL);
    assert_string_equal(after(capture_end(), " value="), " value=\"\\u007f\\u009b\\u202e\\ufffd ü\"\n");
}

static void floods_are_counted(void **state) {
    (void)state;
    pil_log_init("server", PIL_LOG_INFO, PIL_LOG_FORMAT_LOGFMT);
    capture_start();
    for (int i = 0; i < 200; i++) {
        pil_log(PIL_LOG_INFO, "flood", NULL);
    }
    int lines = 0;
    for (const char *at = capture_end(); (at = strchr(at, '\n')) != NULL; at++) {
        lines++;
    }
    assert_in_range(lines, 20, 40); /* a second may end meanwhile */
    capture_start();
    pil_log(PIL_LOG_INFO, "another event", NULL);
    assert_non_null(strstr(capture_end(), "another event"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logfmt_quotes_what_needs_it), cmocka_unit_test(json_is_one_object),
        cmocka_unit_test(levels_below_are_silent),     cmocka_unit_test(long_values_end_with_the_line),
        cmocka_unit_test(floods_are_counted),          cmocka_unit_test(json_that_is_cut_is_one_object),
        cmocka_unit_test(terminals_are_not_spoken_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
