/* SPDX-License-Identifier: Apache-2.0
 * Goal: the answer of PIL.COLUMNS is laid out as schemas/wire.md has it, and a reader accepts nothing else. Method: the
 * golden answer, which an encoder of its own has written, made again and read; every length of it; each thing that can
 * be wrong; every byte changed, for a sanitizer to see what is read. */
#include "wire/columns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { ROWS = 3, COLUMNS = 6, RECORDS_AT = 64 + 2 * 56, BYTES = 760 };

static const struct pil_column_record columns[COLUMNS] = {
    {.type = {.scalar = PIL_SCALAR_INT64}, .value_bytes = 24},
    {.type = {.scalar = PIL_SCALAR_STRING}, .value_bytes = 5},
    {.type = {.scalar = PIL_SCALAR_BOOL, .shape = PIL_SHAPE_LIST}, .value_bytes = 2},
    {.type = {.scalar = PIL_SCALAR_BYTES, .shape = PIL_SHAPE_LIST}, .value_bytes = 4, .child_count = 4},
    {.type = {.scalar = PIL_SCALAR_FLOAT16, .shape = PIL_SHAPE_VECTOR, .dimension = 2}, .value_bytes = 12},
    {.type = {.scalar = PIL_SCALAR_UNIX_TIMESTAMP}, .value_bytes = 24},
};

static int read_golden(void **state) {
    uint8_t *bytes = malloc(BYTES);
    FILE *file = fopen("schemas/golden/columns-1/answer.bin", "rb");
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, BYTES, file), BYTES);
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
    *state = bytes;
    return 0;
}

static int free_golden(void **state) {
    free(*state);
    return 0;
}

static void the_golden_answer_is_written_and_read(void **state) {
    const uint8_t *golden = *state;
    struct pil_columns_head
        head = {.rows = ROWS,
                .columns = COLUMNS,
                .view_count = 2,
                .now_us = 1700086400000000,
                .views = {{.release = "0123456789abcdef",
                           .generation = 3,
                           .worst_age_us = 86400000000,
                           .not_found = 1,
                           .created_us = 1700000000000000},
                          {.release = "fedcba9876543210", .generation = 1, .worst_age_us = -1, .not_found = 3}}},
        decoded;
    struct pil_column_record placed[COLUMNS];
    uint8_t bytes[PIL_TENSOR_HEAD_BYTES_MAX];
    pil_columns_layout(&head);
    head.bytes = head.data_at;
    for (uint32_t i = 0; i < COLUMNS; i++) {
        placed[i] = columns[i];
        head.bytes = pil_column_place(ROWS, &placed[i], head.bytes);
    }
    assert_int_equal(pil_columns_put_head(&head, bytes), RECORDS_AT);
    assert_memory_equal(bytes, golden, RECORDS_AT);
    assert_int_equal(pil_columns_decode(pil_bytes_from(golden, BYTES), &decoded, NULL), PIL_STATUS_OK);
    /* What was read is written the same again: structs have holes, which may hold anything. */
    assert_int_equal(pil_columns_put_head(&decoded, bytes), RECORDS_AT);
    assert_memory_equal(bytes, golden, RECORDS_AT);
    assert_int_equal(decoded.bytes, head.bytes);
    for (uint32_t i = 0; i < COLUMNS; i++) {
        pil_columns_put_record(&placed[i], bytes);
        assert_memory_equal(bytes, golden + RECORDS_AT + i * PIL_COLUMNS_RECORD_BYTES, PIL_COLUMNS_RECORD_BYTES);
        struct pil_column_record record = pil_columns_record(pil_bytes_from(golden, BYTES), &decoded, i);
        assert_int_equal(record.values_at, placed[i].values_at);
        assert_int_equal(record.value_bytes, placed[i].value_bytes);
        pil_columns_put_record(&record, bytes);
        assert_memory_equal(bytes, golden + RECORDS_AT + i * PIL_COLUMNS_RECORD_BYTES, PIL_COLUMNS_RECORD_BYTES);
    }
}

static void no_other_length_is_accepted(void **state) {
    struct pil_columns_head head;
    struct pil_error error;
    for (size_t len = 0; len <= BYTES + 1; len++) {
        uint8_t *copy = calloc(1, len + (len == 0)); /* of this size: the sanitizer sees a byte too far */
        assert_non_null(copy);
        memcpy(copy, *state, len < BYTES ? len : BYTES);
        if (len != BYTES) {
            assert_int_equal(pil_columns_decode(pil_bytes_from(copy, len), &head, &error), PIL_STATUS_CORRUPT);
        }
        free(copy);
    }
}

/* Bytes that one by one are wrong, and what they are. */
static void what_is_wrong_is_refused(void **state) {
    enum { RECORD = PIL_COLUMNS_RECORD_BYTES, DATA = RECORDS_AT + COLUMNS * RECORD + ROWS * 2 * 8 };
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {
        {0, 'Q'},                           /* magic */
        {4, 0},                             /* bytes of the head */
        {6, 48},                            /* bytes of a record */
        {8, 4},                             /* rows */
        {11, 255},                          /* very many */
        {12, 5},                            /* columns */
        {12, 0},                            /* none */
        {15, 255},                          /* very many */
        {20, 0},                            /* views */
        {20, 17},                           /* too many */
        {32, 0},                            /* where the records are */
        {41, 0},                            /* the times */
        {48, 0},                            /* the columns */
        {56, 0},                            /* the end */
        {RECORDS_AT, 11},                   /* no such scalar */
        {RECORDS_AT, PIL_SCALAR_FLOAT16},   /* which is only of vectors */
        {RECORDS_AT, PIL_SCALAR_INT32},     /* of another width */
        {RECORDS_AT, PIL_SCALAR_STRING},    /* which has offsets */
        {RECORDS_AT + 1, 3},                /* no such shape */
        {RECORDS_AT + 2, 1},                /* reserved */
        {RECORDS_AT + 4, 1},                /* a scalar with elements */
        {RECORDS_AT + 8, 0},                /* where its statuses are */
        {RECORDS_AT + 16, 8},               /* offsets of what has none */
        {RECORDS_AT + 24, 8},               /* children of what has none */
        {RECORDS_AT + 32, 1},               /* the same */
        {RECORDS_AT + 40, 0},               /* where its values are */
        {RECORDS_AT + 48, 16},              /* bytes of them */
        {RECORDS_AT + 55, 255},             /* very many */
        {RECORDS_AT + 3 * RECORD + 32, 0},  /* no children */
        {RECORDS_AT + 3 * RECORD + 39, 64}, /* very many */
        {RECORDS_AT + 4 * RECORD + 4, 0},   /* a vector without elements */
        {DATA, 0},                          /* no such status */
        {DATA, 5},                          /* the same */
        {DATA + 32 + 8, 1},                 /* the first offset of the strings */
        {DATA + 32 + 12, 6},                /* one that falls then */
        {DATA + 32 + 20, 4},                /* the last */
    };
    uint8_t *answer = *state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct pil_columns_head head;
        struct pil_error error = {{0}};
        uint8_t before = answer[wrong[i].at];
        assert_int_not_equal(before, wrong[i].value);
        answer[wrong[i].at] = wrong[i].value;
        if (pil_columns_decode(pil_bytes_from(answer, BYTES), &head, &error) != PIL_STATUS_CORRUPT) {
            fail_msg("case %zu: byte %zu may be %u", i, wrong[i].at, wrong[i].value);
        }
        assert_true(error.text[0] != '\0');
        answer[wrong[i].at] = before;
    }
}

static void values_of_lists_are_checked(void **state) {
    uint8_t *answer = *state;
    struct pil_columns_head head;
    struct pil_bytes bytes = pil_bytes_from(answer, BYTES);
    assert_int_equal(pil_columns_decode(bytes, &head, NULL), PIL_STATUS_OK);
    struct pil_column_record bools = pil_columns_record(bytes, &head, 2), lists = pil_columns_record(bytes, &head, 3);
    const uint64_t places[] = {bools.values_at, bools.offsets_at + 4, lists.offsets_at + 12, lists.children_at + 4,
                               lists.children_at + 12};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        uint8_t before = answer[places[i]];
        answer[places[i]] = 9;
        assert_int_equal(pil_columns_decode(bytes, &head, NULL), PIL_STATUS_CORRUPT);
        answer[places[i]] = before;
    }
}

static void any_byte_may_be_anything(void **state) {
    uint8_t *answer = *state;
    for (size_t at = 0; at < BYTES; at++) {
        uint8_t before = answer[at];
        for (uint32_t value = 0; value < 256; value++) {
            struct pil_columns_head head;
            answer[at] = (uint8_t)value;
            if (pil_columns_decode(pil_bytes_from(answer, BYTES), &head, NULL) == PIL_STATUS_OK) {
                assert_int_equal(head.rows, ROWS);
                assert_int_equal(head.columns, COLUMNS);
            }
        }
        answer[at] = before;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_golden_answer_is_written_and_read),
        cmocka_unit_test(no_other_length_is_accepted),
        cmocka_unit_test(what_is_wrong_is_refused),
        cmocka_unit_test(values_of_lists_are_checked),
        cmocka_unit_test(any_byte_may_be_anything),
    };
    return cmocka_run_group_tests(tests, read_golden, free_golden);
}
