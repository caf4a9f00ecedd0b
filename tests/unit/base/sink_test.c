/* SPDX-License-Identifier: Apache-2.0
 * Goal: what is written comes out whole over any runs; when there is no more room, writing is harmless and `failed`
 * says so. Method: a sink over a list of runs of chosen sizes, which records where each run ended. */
#include "base/sink.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { RUN_BYTES = PIL_SINK_RESERVE_MAX, RUNS_MAX = 64 };

struct runs {
    struct pil_sink sink;
    uint8_t *start;
    uint8_t *memory[RUNS_MAX]; /* each malloc'ed, so that ASan sees a write outside */
    int count, count_max;
    uint8_t out[RUNS_MAX * RUN_BYTES];
    size_t len;
};

static void collect(struct runs *runs) {
    size_t used = (size_t)(runs->sink.at - runs->start);
    if (used > 0) {
        memcpy(runs->out + runs->len, runs->start, used);
        runs->len += used;
    }
}

static bool grow(struct pil_sink *sink) {
    struct runs *runs = (struct runs *)sink;
    if (runs->count == runs->count_max) {
        return false;
    }
    collect(runs);
    runs->start = runs->memory[runs->count++] = malloc(RUN_BYTES);
    sink->at = runs->start;
    sink->end = sink->at + RUN_BYTES;
    return true;
}

static struct runs *runs_create(int count_max) {
    struct runs *runs = calloc(1, sizeof *runs);
    runs->count_max = count_max;
    runs->sink.grow = grow;
    return runs;
}

static void runs_destroy(struct runs *runs) {
    for (int i = 0; i < runs->count; i++) {
        free(runs->memory[i]);
    }
    free(runs);
}

static void writes_go_on_in_the_next_run(void **state) {
    (void)state;
    struct runs *runs = runs_create(RUNS_MAX);
    uint8_t data[5 * RUN_BYTES];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 7 + i / 256);
    }
    size_t at = 0;
    for (size_t len = 0; at + len <= sizeof data; at += len, len += 13) {
        pil_sink_write_bytes(&runs->sink, pil_bytes_from(data + at, len));
    }
    pil_sink_put(&runs->sink, 'x');
    collect(runs);
    assert_false(runs->sink.failed);
    assert_int_equal(runs->len, at + 1);
    assert_memory_equal(runs->out, data, at);
    assert_int_equal(runs->out[at], 'x');
    runs_destroy(runs);
}

static void reserving_gives_contiguous_bytes(void **state) {
    (void)state;
    struct runs *runs = runs_create(RUNS_MAX);
    for (int i = 0; i < 20; i++) {
        uint8_t *to = pil_sink_reserve(&runs->sink, 300);
        memset(to, 'a' + i, 300);
        pil_sink_advance(&runs->sink, 250);
    }
    collect(runs);
    assert_int_equal(runs->len, 20 * 250);
    for (int i = 0; i < 20 * 250; i++) {
        assert_int_equal(runs->out[i], 'a' + i / 250);
    }
    runs_destroy(runs);
}

static void numbers_are_decimal(void **state) {
    (void)state;
    static const int64_t values[] = {0, 1, -1, 9, 10, -10, 99, 100, 1234567890, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct runs *runs = runs_create(1);
        char want[64];
        pil_sink_write_i64(&runs->sink, values[i]);
        pil_sink_write_text(&runs->sink, "|");
        pil_sink_write_u64(&runs->sink, (uint64_t)values[i]);
        collect(runs);
        snprintf(want, sizeof want, "%" PRId64 "|%" PRIu64, values[i], (uint64_t)values[i]);
        assert_int_equal(runs->len, strlen(want));
        assert_memory_equal(runs->out, want, runs->len);
        runs_destroy(runs);
    }
}

static void when_growing_fails_writes_are_swallowed(void **state) {
    (void)state;
    for (int runs_max = 0; runs_max < 3; runs_max++) {
        struct runs *runs = runs_create(runs_max);
        char text[100];
        memset(text, 'y', sizeof text);
        for (int i = 0; i < 100; i++) {
            pil_sink_write(&runs->sink, text, sizeof text);
            pil_sink_write_i64(&runs->sink, INT64_MIN);
            pil_sink_put(&runs->sink, 'z');
            memset(pil_sink_reserve(&runs->sink, PIL_SINK_RESERVE_MAX), 'w', PIL_SINK_RESERVE_MAX);
            pil_sink_advance(&runs->sink, PIL_SINK_RESERVE_MAX);
        }
        assert_true(runs->sink.failed);
        assert_int_equal(runs->count, runs_max);
        assert_ptr_equal(runs->sink.end, runs->sink.overflow + PIL_SINK_RESERVE_MAX);
        runs_destroy(runs);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_go_on_in_the_next_run),
        cmocka_unit_test(reserving_gives_contiguous_bytes),
        cmocka_unit_test(numbers_are_decimal),
        cmocka_unit_test(when_growing_fails_writes_are_swallowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
