/* SPDX-License-Identifier: Apache-2.0
 * Goal: the answer of PIL.VECTOR is laid out as schemas/wire.md has it, and a reader accepts nothing else. Method: a
 * golden head byte by byte; every byte of it changed, every length. */
#include "wire/tensor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct pil_tensor_head sample(void) {
    struct pil_tensor_head head = {
        .element_bytes = 4,
        .rows = 3,
        .features = 5,
        .width = 7,
        .view_count = 2,
        .now_us = 0x0102030405060708,
        .views = {{.release = "0123456789abcdef", .generation = 9, .worst_age_us = -1, .not_found = 3, .created_us = 1},
                  {.release = "fedcba9876543210", .generation = 2, .worst_age_us = 77}}};
    pil_tensor_layout(&head);
    return head;
}

static void the_head_has_these_bytes(void **state) {
    (void)state;
    struct pil_tensor_head head = sample();
    uint8_t bytes[PIL_TENSOR_HEAD_BYTES_MAX];
    assert_int_equal(head.statuses_at, 64 + 2 * 56);
    assert_int_equal(head.times_at, 192);  /* 176 + 15 statuses, aligned to 8 */
    assert_int_equal(head.values_at, 256); /* 192 + 3 * 2 * 8 = 240, aligned to 64 */
    assert_int_equal(head.bytes, 256 + 84);
    assert_int_equal(pil_tensor_put_head(&head, bytes), 176);
    static const uint8_t expected[] = {
        'P', 'L', 'V', '1', 176, 0,   4,   0,   3,   0, 0, 0, 5, 0, 0, 0, 7,   0,   0,   0,   2,   0,   0,   0,
        8,   7,   6,   5,   4,   3,   2,   1,   176, 0, 0, 0, 0, 0, 0, 0, 192, 0,   0,   0,   0,   0,   0,   0,
        0,   1,   0,   0,   0,   0,   0,   0,   84,  1, 0, 0, 0, 0, 0, 0, '0', '1', '2', '3', '4', '5', '6', '7',
        '8', '9', 'a', 'b', 'c', 'd', 'e', 'f', 9,   0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255,
        3,   0,   0,   0,   0,   0,   0,   0,   1,   0, 0, 0, 0, 0, 0, 0, 0,   0,   0,   0,   0,   0,   0,   0};
    assert_memory_equal(bytes, expected, sizeof expected);
}

static void answers_come_back_as_they_were(void **state) {
    (void)state;
    struct pil_tensor_head head = sample(), decoded;
    uint8_t *answer = calloc(1, head.bytes);
    assert_non_null(answer);
    (void)pil_tensor_put_head(&head, answer);
    memset(answer + head.statuses_at, 1, (size_t)head.rows * head.features);
    assert_int_equal(pil_tensor_decode(pil_bytes_from(answer, head.bytes), &decoded, NULL), PIL_STATUS_OK);
    assert_memory_equal(&decoded, &head, sizeof head);
    free(answer);
}

static void nothing_else_is_accepted(void **state) {
    (void)state;
    struct pil_tensor_head head = sample(), decoded;
    struct pil_error error;
    uint8_t *answer = calloc(1, head.bytes + 1);
    assert_non_null(answer);
    (void)pil_tensor_put_head(&head, answer);
    memset(answer + head.statuses_at, 1, (size_t)head.rows * head.features);
    for (size_t len = 0; len <= head.bytes + 1; len++) {
        if (len != head.bytes) {
            uint8_t *copy = malloc(len + (len == 0)); /* of this size: the sanitizer sees a byte too far */
            assert_non_null(copy);
            memcpy(copy, answer, len);
            assert_int_equal(pil_tensor_decode(pil_bytes_from(copy, len), &decoded, &error), PIL_STATUS_CORRUPT);
            free(copy);
        }
    }
    for (size_t at = 0; at < PIL_TENSOR_FIXED_BYTES; at++) {
        for (uint32_t value = 0; value < 256; value++) {
            uint8_t before = answer[at], again[PIL_TENSOR_HEAD_BYTES_MAX];
            answer[at] = (uint8_t)value;
            if (pil_tensor_decode(pil_bytes_from(answer, head.bytes), &decoded, &error) == PIL_STATUS_OK) {
                /* Padding hides a few other counts: then it is that answer, whole and inside. */
                assert_int_equal(decoded.bytes, head.bytes);
                (void)pil_tensor_put_head(&decoded, again);
                again[7] = answer[7]; /* reserved */
                assert_memory_equal(again, answer, PIL_TENSOR_FIXED_BYTES);
            }
            answer[at] = before;
        }
    }
    free(answer);
}

static void statuses_and_release_ids_are_checked(void **state) {
    (void)state;
    static const char *const wrong[] = {"0123456789abcdeF", "0123456789abcdeg", "0123456789abcd", "\x1b[2Jxxxxxxxxxxx"};
    struct pil_tensor_head head = sample(), decoded;
    struct pil_error error;
    uint8_t *answer = calloc(1, head.bytes);
    size_t statuses = (size_t)head.rows * head.features;
    assert_non_null(answer);
    (void)pil_tensor_put_head(&head, answer);
    memset(answer + head.statuses_at, 1, statuses);
    for (uint32_t value = 0; value < 256; value++) {
        answer[head.statuses_at + statuses - 1] = (uint8_t)value;
        pil_status status = pil_tensor_decode(pil_bytes_from(answer, head.bytes), &decoded, &error);
        assert_int_equal(status, value >= 1 && value <= 4 ? PIL_STATUS_OK : PIL_STATUS_CORRUPT);
    }
    answer[head.statuses_at + statuses - 1] = 1;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        memset(head.views[1].release, 0, sizeof head.views[1].release);
        memcpy(head.views[1].release, wrong[i], strlen(wrong[i]));
        (void)pil_tensor_put_head(&head, answer);
        assert_int_equal(pil_tensor_decode(pil_bytes_from(answer, head.bytes), &decoded, &error), PIL_STATUS_CORRUPT);
        assert_string_equal(error.text, "view 1 of an answer has no release id");
    }
    free(answer);
}

static void the_golden_answer_is_written_and_read(void **state) {
    (void)state;
    uint8_t golden[512], bytes[PIL_TENSOR_HEAD_BYTES_MAX];
    FILE *file = fopen("schemas/golden/vector-1/answer.bin", "rb");
    assert_non_null(file);
    size_t len = fread(golden, 1, sizeof golden, file);
    fclose(file);
    struct pil_tensor_head
        head = {.element_bytes = 4,
                .rows = 2,
                .features = 3,
                .width = 4,
                .view_count = 2,
                .now_us = 1700086400000000,
                .views = {{.release = "0123456789abcdef",
                           .generation = 3,
                           .worst_age_us = 86400000000,
                           .not_found = 1,
                           .created_us = 1700000000000000},
                          {.release = "fedcba9876543210", .generation = 1, .worst_age_us = -1, .not_found = 2}}},
        decoded;
    pil_tensor_layout(&head);
    assert_int_equal(head.bytes, len);
    assert_memory_equal(bytes, golden, pil_tensor_put_head(&head, bytes));
    assert_int_equal(pil_tensor_decode(pil_bytes_from(golden, len), &decoded, NULL), PIL_STATUS_OK);
    assert_memory_equal(&decoded, &head, sizeof head);
}

/* Among `count` statuses, each value of the one at `at`. */
static void check_each_value(size_t count, size_t at) {
    uint8_t statuses[19];
    assert_true(count <= sizeof statuses);
    for (size_t i = 0; i < count; i++) {
        statuses[i] = (uint8_t)(1 + i % 4);
    }
    for (unsigned value = 0; value <= UINT8_MAX; value++) {
        statuses[at] = (uint8_t)value;
        assert_int_equal(pil_tensor_are_statuses(statuses, count), value >= 1 && value <= 4);
    }
}

static void every_byte_that_is_no_status_is_found(void **state) {
    (void)state;
    assert_true(pil_tensor_are_statuses(NULL, 0));
    for (size_t count = 1; count <= 19; count++) {
        for (size_t at = 0; at < count; at++) {
            check_each_value(count, at);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_that_is_no_status_is_found),
        cmocka_unit_test(the_head_has_these_bytes),
        cmocka_unit_test(answers_come_back_as_they_were),
        cmocka_unit_test(nothing_else_is_accepted),
        cmocka_unit_test(statuses_and_release_ids_are_checked),
        cmocka_unit_test(the_golden_answer_is_written_and_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
