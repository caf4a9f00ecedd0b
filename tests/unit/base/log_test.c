/* SPDX-License-Identifier: Apache-2.0
 * Goal: one event is one line that machines can read, whatever the values hold; floods are counted, not printed.
 * Method: stderr is a pipe while an event is logged; the line is compared (its time is cut off). */
#include "base/log.h"

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
        cmocka_unit_test(floods_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
