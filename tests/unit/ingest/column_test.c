/* SPDX-License-Identifier: Apache-2.0
 * Goal: each type's cells become exactly the bytes that the row wants, whatever liberty of Arrow the producer takes;
 * what does not fit is named with its column. Method: columns by hand (arrow_fixture.h), one batch, the bytes compared.
 */
#include "unit/ingest/arrow_fixture.h"
#include "ingest/column.h"

#include <math.h>

static struct pil_column bound(const char *type, struct arrow_batch *batch) {
    struct pil_column column = {.name = "f", .type = sample_type(type)};
    struct ArrowSchema schema = arrow_batch_schema(batch);
    struct pil_error error = {{0}};
    if (pil_column_bind(&column, &schema, &error) != PIL_STATUS_OK) {
        fail_msg("%s", error.text);
    }
    struct ArrowArray array = arrow_batch_array(batch);
    if (pil_column_attach(&column, &array, &error) != PIL_STATUS_OK) {
        fail_msg("%s", error.text);
    }
    return column;
}

static void scalars_are_copied_from_slices(void **state) {
    (void)state;
    struct arrow_batch batch = {.offset = 2, .length = 3};
    arrow_batch_add(&batch, arrow_column("f", "i", NULL));
    ARROW_ADD(batch.columns[0], int32_t, 9, 9, 9, 10, -20);
    arrow_add(batch.columns[0], NULL, 4);
    arrow_finish(batch.columns[0], 1); /* its own offset, and the batch's */
    struct pil_column column = bound("int32", &batch);
    struct pil_row_flaw flaws[3] = {0};
    uint8_t rows[3 * 16] = {0};
    pil_column_check(&column, 0, 3, flaws);
    pil_column_put_fixed(&column, 0, 3, rows, 16, flaws);
    assert_int_equal(pil_load_i32(rows), 10);
    assert_int_equal(pil_load_i32(rows + 16), -20);
    assert_false(pil_column_is_null(&column, 1));
    assert_true(pil_column_is_null(&column, 2));
    assert_int_equal(flaws[0].flaw | flaws[1].flaw | flaws[2].flaw, PIL_INGEST_FLAW_NONE);
    arrow_batch_deinit(&batch);
}

static void booleans_come_out_of_bits(void **state) {
    (void)state;
    struct arrow_batch batch = {.length = 10};
    arrow_batch_add(&batch, arrow_column("f", "b", NULL));
    ARROW_ADD(batch.columns[0], uint8_t, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 1, 1);
    arrow_finish(batch.columns[0], 3);
    struct pil_column column = bound("bool", &batch);
    const struct pil_row_flaw flaws[10] = {0};
    uint8_t rows[10];
    pil_column_put_fixed(&column, 0, 10, rows, 1, flaws);
    assert_memory_equal(rows, ((uint8_t[]){1, 0, 1, 1, 0, 0, 0, 0, 1, 1}), 10);
    arrow_batch_deinit(&batch);
}

static void text_has_either_width(void **state) {
    (void)state;
    static const char *const formats[] = {"u", "U"};
    for (size_t i = 0; i < 2; i++) {
        struct arrow_batch batch = {.length = 3};
        arrow_batch_add(&batch, arrow_column("f", formats[i], NULL));
        arrow_add_text(batch.columns[0], "skipped");
        arrow_add_text(batch.columns[0], "");
        arrow_add_text(batch.columns[0], NULL);
        arrow_add_text(batch.columns[0], "Zürich");
        arrow_finish(batch.columns[0], 1);
        struct pil_column column = bound("string", &batch);
        assert_int_equal(pil_column_text(&column, 0).len, 0);
        assert_false(pil_column_is_null(&column, 0));
        assert_true(pil_column_is_null(&column, 1));
        assert_true(pil_bytes_equal_text(pil_column_text(&column, 2), "Zürich"));
        arrow_batch_deinit(&batch);
    }
}

static void list_payloads_are_as_specified(void **state) {
    (void)state;
    static const char *const formats[] = {"+l", "+L"};
    for (size_t i = 0; i < 2; i++) {
        struct arrow_batch batch = {.length = 3};
        struct arrow_column *items = arrow_column("item", i == 0 ? "u" : "U", NULL);
        arrow_batch_add(&batch, arrow_column("f", formats[i], items));
        arrow_add_text(items, "x");
        arrow_end_list(batch.columns[0], false);
        arrow_add_text(items, "ab");
        arrow_add_text(items, "");
        arrow_add_text(items, "c");
        arrow_end_list(batch.columns[0], false);
        arrow_end_list(batch.columns[0], false);
        arrow_end_list(batch.columns[0], true);
        arrow_finish(batch.columns[0], 1);
        struct pil_column column = bound("list<string>", &batch);
        const uint8_t expected[] = {3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 'a', 'b', 'c'};
        uint8_t payload[sizeof expected];
        assert_int_equal(pil_column_payload_bytes(&column, 0), sizeof expected);
        pil_column_payload_write(&column, 0, payload);
        assert_memory_equal(payload, expected, sizeof expected);
        assert_int_equal(pil_column_payload_bytes(&column, 1), 4);
        assert_true(pil_column_is_null(&column, 2));
        arrow_batch_deinit(&batch);
    }
}

static void lists_of_numbers_are_packed(void **state) {
    (void)state;
    struct arrow_batch batch = {.length = 1};
    struct arrow_column *items = arrow_column("item", "b", NULL);
    arrow_batch_add(&batch, arrow_column("f", "+l", items));
    ARROW_ADD(items, uint8_t, 1, 0, 1);
    arrow_end_list(batch.columns[0], false);
    arrow_finish(batch.columns[0], 0);
    struct pil_column column = bound("list<bool>", &batch);
    uint8_t payload[3];
    assert_int_equal(pil_column_payload_bytes(&column, 0), 3);
    pil_column_payload_write(&column, 0, payload);
    assert_memory_equal(payload, ((uint8_t[]){1, 0, 1}), 3);
    arrow_batch_deinit(&batch);
}

static void vectors_come_from_fixed_and_variable_lists(void **state) {
    (void)state;
    static const char *const formats[] = {"+w:2", "+l"};
    for (size_t i = 0; i < 2; i++) {
        struct arrow_batch batch = {.offset = 1, .length = 2};
        struct arrow_column *items = arrow_column("item", "f", NULL);
        arrow_batch_add(&batch, arrow_column("f", formats[i], items));
        for (float x = 0; x < 6; x += 2) {
            ARROW_ADD(items, float, x, x + 1);
            arrow_end_list(batch.columns[0], false);
        }
        arrow_finish(batch.columns[0], 0);
        struct pil_column column = bound("vector<float32,2>", &batch);
        struct pil_row_flaw flaws[2] = {0};
        float rows[4];
        pil_column_check(&column, 0, 2, flaws);
        pil_column_put_fixed(&column, 0, 2, (uint8_t *)rows, 8, flaws);
        assert_memory_equal(rows, ((float[]){2, 3, 4, 5}), sizeof rows);
        arrow_batch_deinit(&batch);
    }
}

static void flaws_name_what_was_found(void **state) {
    (void)state;
    struct arrow_batch batch = {.length = 4};
    struct arrow_column *items = arrow_column("item", "f", NULL);
    arrow_batch_add(&batch, arrow_column("f", "+l", items));
    ARROW_ADD(items, float, 1);
    arrow_end_list(batch.columns[0], false); /* too short */
    ARROW_ADD(items, float, 1);
    arrow_add(items, NULL, sizeof(float));
    arrow_end_list(batch.columns[0], false); /* null element 1 */
    ARROW_ADD(items, float, 1, 70000);
    arrow_end_list(batch.columns[0], false); /* beyond float16 */
    ARROW_ADD(items, float, 1, INFINITY);
    arrow_end_list(batch.columns[0], false); /* fine */
    arrow_finish(batch.columns[0], 0);
    struct pil_column column = bound("vector<float16,2>", &batch);
    struct pil_row_flaw flaws[4] = {0};
    pil_column_check(&column, 0, 4, flaws);
    assert_int_equal(flaws[0].flaw, PIL_INGEST_FLAW_VECTOR_LENGTH);
    assert_int_equal(flaws[0].found, 1);
    assert_int_equal(flaws[1].flaw, PIL_INGEST_FLAW_NULL_ELEMENT);
    assert_int_equal(flaws[1].found, 1);
    assert_int_equal(flaws[2].flaw, PIL_INGEST_FLAW_OUT_OF_RANGE);
    assert_int_equal(flaws[2].found, 1);
    assert_int_equal(flaws[3].flaw, PIL_INGEST_FLAW_NONE);
    arrow_batch_deinit(&batch);
}

static void text_that_is_not_utf8_is_flawed_and_bytes_are_not(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct arrow_batch batch = {.length = 2};
        arrow_batch_add(&batch, arrow_column("f", i == 0 ? "u" : "z", NULL));
        arrow_add_text(batch.columns[0], "ok");
        arrow_add_text(batch.columns[0], "\xff\xfe");
        arrow_finish(batch.columns[0], 0);
        struct pil_column column = bound(i == 0 ? "string" : "bytes", &batch);
        struct pil_row_flaw flaws[2] = {0};
        pil_column_check(&column, 0, 2, flaws);
        assert_int_equal(flaws[0].flaw, PIL_INGEST_FLAW_NONE);
        assert_int_equal(flaws[1].flaw, i == 0 ? PIL_INGEST_FLAW_INVALID_UTF8 : PIL_INGEST_FLAW_NONE);
        arrow_batch_deinit(&batch);
    }
}

static void other_formats_are_refused_with_the_column(void **state) {
    (void)state;
    static const struct {
        const char *type, *format, *item;
    } cases[] = {
        {"int32", "l", NULL},
        {"int64", "i", NULL},
        {"float32", "g", NULL},
        {"float64", "f", NULL},
        {"bool", "C", NULL},
        {"string", "z", NULL},
        {"bytes", "u", NULL},
        {"unix_timestamp", "tsn:UTC", NULL},
        {"unix_timestamp", "l", NULL},
        {"list<int32>", "i", NULL},
        {"list<int32>", "+l", "l"},
        {"list<int32>", "+w:2", "i"},
        {"vector<float32,3>", "+w:2", "f"},
        {"vector<float32,3>", "+l", "g"},
        {"vector<int8,3>", "+l", "f"},
        {"string", "vu", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arrow_batch batch = {.length = 0};
        arrow_batch_add(&batch, arrow_column("f", cases[i].format,
                                             cases[i].item != NULL ? arrow_column("item", cases[i].item, NULL) : NULL));
        if (cases[i].item != NULL || cases[i].format[0] != '+') {
            arrow_finish(batch.columns[0], 0);
        }
        struct pil_column column = {.name = "f", .type = sample_type(cases[i].type)};
        struct ArrowSchema schema = arrow_batch_schema(&batch);
        struct pil_error error = {{0}};
        assert_int_equal(pil_column_bind(&column, &schema, &error), PIL_STATUS_INVALID);
        assert_non_null(strstr(error.text, "column f has"));
        assert_non_null(
            strstr(error.text, cases[i].item != NULL && cases[i].format[1] == 'l' ? cases[i].item : cases[i].format));
        assert_non_null(strstr(error.text, cases[i].type));
        arrow_batch_deinit(&batch);
    }
}

static void dictionaries_and_twins_are_refused(void **state) {
    (void)state;
    struct arrow_batch batch = {.length = 0};
    arrow_batch_add(&batch, arrow_column("f", "i", NULL));
    arrow_batch_add(&batch, arrow_column("f", "i", NULL));
    arrow_finish(batch.columns[0], 0);
    arrow_finish(batch.columns[1], 0);
    struct pil_column column = {.name = "f", .type = sample_type("int32")};
    struct ArrowSchema schema = arrow_batch_schema(&batch);
    struct pil_error error = {{0}};
    assert_int_equal(pil_column_bind(&column, &schema, &error), PIL_STATUS_INVALID);
    assert_string_equal(error.text, "column f is there twice");
    schema.n_children = 1;
    batch.columns[0]->schema.dictionary = &batch.columns[1]->schema;
    assert_int_equal(pil_column_bind(&column, &schema, &error), PIL_STATUS_INVALID);
    assert_string_equal(error.text, "column f is dictionary-encoded; decode it first");
    schema.n_children = 0;
    assert_int_equal(pil_column_bind(&column, &schema, &error), PIL_STATUS_NOT_FOUND);
    arrow_batch_deinit(&batch);
}

static void lengths_that_contradict_each_other_are_refused(void **state) {
    (void)state;
    struct arrow_batch batch = {.length = 1};
    struct arrow_column *items = arrow_column("item", "i", NULL);
    arrow_batch_add(&batch, arrow_column("f", "+l", items));
    ARROW_ADD(items, int32_t, 1, 2);
    arrow_end_list(batch.columns[0], false);
    arrow_finish(batch.columns[0], 0);
    struct pil_column column = {.name = "f", .type = sample_type("list<int32>")};
    struct ArrowSchema schema = arrow_batch_schema(&batch);
    struct ArrowArray array = arrow_batch_array(&batch);
    struct pil_error error = {{0}};
    assert_int_equal(pil_column_bind(&column, &schema, &error), PIL_STATUS_OK);
    items->array.length = 1;
    assert_int_equal(pil_column_attach(&column, &array, &error), PIL_STATUS_CORRUPT);
    items->array.length = 2;
    assert_int_equal(pil_column_attach(&column, &array, &error), PIL_STATUS_OK);
    array.length = 2;
    assert_int_equal(pil_column_attach(&column, &array, &error), PIL_STATUS_CORRUPT);
    assert_non_null(strstr(error.text, "column f"));
    arrow_batch_deinit(&batch);
}

static void half_precisions_round_to_nearest_even(void **state) {
    (void)state;
    static const struct {
        float value;
        uint16_t half, brain;
    } cases[] = {
        {0, 0, 0},
        {-0.0f, 0x8000, 0x8000},
        {1, 0x3c00, 0x3f80},
        {-2, 0xc000, 0xc000},
        {65504, 0x7bff, 0x4780},
        {65519.996f, 0x7bff, 0x4780},
        {65520, 0x7c00, 0x4780},
        {INFINITY, 0x7c00, 0x7f80},
        {-INFINITY, 0xfc00, 0xff80},
        {0x1p-24f, 1, 0x3380},
        {0x1p-25f, 0, 0x3300},
        {0x1.8p-25f, 1, 0x3340},
        {0x1p-14f, 0x0400, 0x3880},
        {0x1.ffcp-15f, 0x0400, 0x3880},
        {0x1.ff8p-15f, 0x03ff, 0x3880},
        {1 + 0x1p-11f, 0x3c00, 0x3f80},
        {1 + 0x1.8p-10f, 0x3c02, 0x3f80},
        {0x1.01p0f, 0x3c04, 0x3f80},
        {0x1.03p0f, 0x3c0c, 0x3f82},
        {3.4028235e38f, 0x7c00, 0x7f80},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(pil_float16_from(cases[i].value), cases[i].half);
        assert_int_equal(pil_bfloat16_from(cases[i].value), cases[i].brain);
    }
    assert_int_equal(pil_float16_from(NAN) & 0x7e00, 0x7e00);
    assert_int_equal(pil_bfloat16_from(NAN) & 0x7fc0, 0x7fc0);
}

/* The compiler's own half type is an independent answer. */
static void halves_agree_with_the_compiler(void **state) {
    (void)state;
#ifdef __FLT16_MANT_DIG__
    for (uint64_t bits = 0; bits < 1ull << 32; bits += 49999) {
        uint32_t narrow = (uint32_t)bits;
        float value;
        memcpy(&value, &narrow, sizeof value);
        _Float16 expected = (_Float16)value;
        uint16_t expected_bits;
        memcpy(&expected_bits, &expected, sizeof expected_bits);
        if (value == value) {
            assert_int_equal(pil_float16_from(value), expected_bits);
        }
    }
#else
    print_message("skipped: this compiler has no _Float16\n");
    skip();
#endif
}

static void utf8_is_checked_as_the_rfc_says(void **state) {
    (void)state;
    static const char *const good[] = {"",
                                       "a",
                                       "abcdefgh",
                                       "abcdefghi",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "12345678\xc3\xa9z2345678"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "12345678\xe2\x82",
                                      "abcdefg\xc3(",
                                      "\xe2(\xa1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(pil_utf8_ok(pil_bytes_from_text(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(pil_utf8_ok(pil_bytes_from_text(bad[i])));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_are_copied_from_slices),
        cmocka_unit_test(booleans_come_out_of_bits),
        cmocka_unit_test(text_has_either_width),
        cmocka_unit_test(list_payloads_are_as_specified),
        cmocka_unit_test(lists_of_numbers_are_packed),
        cmocka_unit_test(vectors_come_from_fixed_and_variable_lists),
        cmocka_unit_test(flaws_name_what_was_found),
        cmocka_unit_test(text_that_is_not_utf8_is_flawed_and_bytes_are_not),
        cmocka_unit_test(other_formats_are_refused_with_the_column),
        cmocka_unit_test(dictionaries_and_twins_are_refused),
        cmocka_unit_test(lengths_that_contradict_each_other_are_refused),
        cmocka_unit_test(half_precisions_round_to_nearest_even),
        cmocka_unit_test(halves_agree_with_the_compiler),
        cmocka_unit_test(utf8_is_checked_as_the_rfc_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
