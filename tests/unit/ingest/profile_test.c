/* SPDX-License-Identifier: Apache-2.0
 * Goal: the profile says what is in the rows. Method: rows by hand in a view's layout, both passes, the JSON compared
 * with figures that were worked out by other means. */
#include "unit/schema/sample.h"
#include "ingest/profile.h"
#include "snapshot/format.h"

#include <math.h>

struct rows {
    struct pil_view *view;
    uint8_t *data;
    uint32_t count;
};

static struct rows rows_create(struct pil_view *view, uint32_t count) {
    struct rows rows = {.view = view, .data = calloc(count, view->layout.stride), .count = count};
    assert_non_null(rows.data);
    return rows;
}

static uint8_t *field(const struct rows *rows, uint32_t row, uint32_t feature) {
    return rows->data + (size_t)row * rows->view->layout.stride + rows->view->features[feature].offset;
}

static void set_null(const struct rows *rows, uint32_t row, uint32_t feature) {
    rows->data[(size_t)row * rows->view->layout.stride + rows->view->layout.null_offset + feature / 8] |=
        (uint8_t)(1u << (feature % 8));
}

static void set_text(const struct rows *rows, uint32_t row, uint32_t feature, const char *text) {
    pil_store_u32(field(rows, row, feature), (uint32_t)strlen(text));
    memcpy(field(rows, row, feature) + 4, text, strlen(text));
}

/* Profile of all rows; ends their life. The second pass runs in two tallies, as two threads would. */
static json_t *profile_of(struct rows *rows, const struct pil_bytes *heap) {
    uint32_t stride = rows->view->layout.stride;
    struct pil_profile *profile = pil_profile_create(rows->view);
    assert_non_null(profile);
    for (uint32_t i = 0; i < rows->count; i++) {
        pil_profile_row(profile, rows->data + (size_t)i * stride, heap);
    }
    struct pil_tally *even = pil_tally_create(profile), *odd = pil_tally_create(profile);
    for (uint32_t i = 0; i < rows->count; i++) {
        pil_tally_row(i % 2 == 0 ? even : odd, rows->data + (size_t)i * stride, heap);
    }
    pil_tally_merge(even, odd);
    json_t *json = pil_profile_to_json(profile, even);
    pil_tally_destroy(&even);
    pil_tally_destroy(&odd);
    pil_profile_destroy(&profile);
    pil_view_destroy(&rows->view);
    free(rows->data);
    return json;
}

static double real_at(json_t *json, const char *feature, const char *member) {
    json_t *value = json_object_get(json_object_get(json_object_get(json, "features"), feature), member);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static json_int_t integer_at(json_t *json, const char *feature, const char *member) {
    json_t *value = json_object_get(json_object_get(json_object_get(json, "features"), feature), member);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static void numbers_have_range_moments_and_histogram(void **state) {
    (void)state;
    struct rows rows = rows_create(sample_view(SAMPLE_LIST("int64"), SAMPLE_LIST("float64", "int64")), 1001);
    for (uint32_t i = 0; i < 1000; i++) {
        pil_store_f64(field(&rows, i, 0), 1e9 + i); /* far from zero: naive sums of squares would cancel */
        pil_store_i64(field(&rows, i, 1), INT64_MAX - (int64_t)i);
    }
    set_null(&rows, 1000, 0);
    set_null(&rows, 1000, 1);
    json_t *json = profile_of(&rows, NULL);
    assert_int_equal(json_integer_value(json_object_get(json, "rows")), 1001);
    assert_int_equal(integer_at(json, "f0", "count"), 1000);
    assert_int_equal(integer_at(json, "f0", "nulls"), 1);
    assert_true(real_at(json, "f0", "min") == 1e9 && real_at(json, "f0", "max") == 1e9 + 999);
    assert_true(fabs(real_at(json, "f0", "mean") - (1e9 + 499.5)) < 1e-6);
    assert_true(fabs(real_at(json, "f0", "stddev") - sqrt((1000.0 * 1000 - 1) / 12)) < 1e-6);
    assert_true(integer_at(json, "f1", "max") == INT64_MAX && integer_at(json, "f1", "min") == INT64_MAX - 999);
    json_t *histogram = json_object_get(json_object_get(json_object_get(json, "features"), "f0"), "histogram");
    json_t *counts = json_object_get(histogram, "counts");
    json_int_t sum = 0;
    assert_int_equal(json_array_size(counts), PIL_PROFILE_BUCKETS);
    for (size_t i = 0; i < json_array_size(counts); i++) {
        json_int_t count = json_integer_value(json_array_get(counts, i));
        assert_in_range(count, 15, 16); /* 1000 / 64 */
        sum += count;
    }
    assert_int_equal(sum, 1000);
    json_decref(json);
}

static void numbers_that_are_none_are_counted_apart(void **state) {
    (void)state;
    const double values[] = {NAN, INFINITY, -INFINITY, NAN, -1.7e308, 1.7e308, 0};
    struct rows rows = rows_create(sample_view(SAMPLE_LIST("int64"), SAMPLE_LIST("float64")), 7);
    for (uint32_t i = 0; i < 7; i++) {
        pil_store_f64(field(&rows, i, 0), values[i]);
    }
    json_t *json = profile_of(&rows, NULL);
    assert_int_equal(integer_at(json, "f0", "count"), 7);
    assert_int_equal(integer_at(json, "f0", "nan"), 2);
    assert_int_equal(integer_at(json, "f0", "infinite"), 2);
    assert_true(real_at(json, "f0", "min") == -1.7e308);
    json_t *f0 = json_object_get(json_object_get(json, "features"), "f0");
    assert_true(json_is_null(json_object_get(f0, "stddev"))); /* JSON has no infinity */
    json_t *counts = json_object_get(json_object_get(f0, "histogram"), "counts");
    assert_int_equal(json_integer_value(json_array_get(counts, 0)), 1);
    assert_int_equal(json_integer_value(json_array_get(counts, 32)), 1);
    assert_int_equal(json_integer_value(json_array_get(counts, 63)), 1);
    json_decref(json);
}

static void frequent_values_are_exact_and_ordered(void **state) {
    (void)state;
    static const char *const words[] = {"rome", "oslo", "rome", "bern", "rome", "oslo", ""};
    struct rows rows = rows_create(sample_view(SAMPLE_LIST("int64"), SAMPLE_LIST("string", "bool", "int32")), 7);
    for (uint32_t i = 0; i < 7; i++) {
        set_text(&rows, i, 0, words[i]);
        *field(&rows, i, 1) = i < 2;
        pil_store_i32(field(&rows, i, 2), -5);
    }
    json_t *json = profile_of(&rows, NULL), *features = json_object_get(json, "features");
    json_t *top = json_object_get(json_object_get(features, "f0"), "top");
    static const char *const order[] = {"rome", "oslo", "", "bern"};
    static const int counts[] = {3, 2, 1, 1};
    assert_int_equal(json_array_size(top), 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(json_string_value(json_object_get(json_array_get(top, i), "value")), order[i]);
        assert_int_equal(json_integer_value(json_object_get(json_array_get(top, i), "count")), counts[i]);
    }
    assert_string_equal(json_string_value(json_object_get(json_object_get(features, "f0"), "measure")), "length");
    assert_int_equal(integer_at(json, "f0", "max"), 4);
    assert_int_equal(integer_at(json, "f0", "distinct"), 4);
    top = json_object_get(json_object_get(features, "f1"), "top");
    assert_true(json_is_false(json_object_get(json_array_get(top, 0), "value")));
    top = json_object_get(json_object_get(features, "f2"), "top");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(top, 0), "value")), -5);
    json_decref(json);
}

static void integers_of_many_values_have_no_top(void **state) {
    (void)state;
    struct rows rows = rows_create(sample_view(SAMPLE_LIST("int64"), SAMPLE_LIST("int32")), 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        pil_store_i32(field(&rows, i, 0), (int32_t)i);
    }
    json_t *json = profile_of(&rows, NULL);
    assert_null(json_object_get(json_object_get(json_object_get(json, "features"), "f0"), "top"));
    assert_in_range(integer_at(json, "f0", "distinct"), 940, 1060);
    json_decref(json);
}

static void vectors_and_lists_are_measured_by_element_and_length(void **state) {
    (void)state;
    struct rows rows = rows_create(sample_view(SAMPLE_LIST("int64"), SAMPLE_LIST("vector<float16,2>", "list<int32>",
                                                                                 "list<string>", "vector<bfloat16,1>")),
                                   2);
    uint8_t heap[20] = {0};
    for (uint32_t i = 0; i < 2; i++) {
        pil_store_u16(field(&rows, i, 0), 0x3c00);     /* 1 */
        pil_store_u16(field(&rows, i, 0) + 2, 0xc200); /* -3 */
        pil_store_u16(field(&rows, i, 3), 0x4040);     /* 3 */
        pil_store_u32(field(&rows, i, 1), 20);         /* five int32, out of line */
        pil_store_u64(field(&rows, i, 1) + 8, 0);
        pil_store_u32(field(&rows, i, 2), 4); /* list<string> without elements: its count alone */
    }
    json_t *json = profile_of(&rows, &(struct pil_bytes){.data = heap, .len = sizeof heap});
    assert_true(real_at(json, "f0", "min") == -3 && real_at(json, "f0", "max") == 1 &&
                real_at(json, "f0", "mean") == -1);
    assert_true(real_at(json, "f3", "max") == 3);
    assert_int_equal(integer_at(json, "f1", "max"), 5);
    assert_int_equal(integer_at(json, "f2", "max"), 0);
    assert_int_equal(integer_at(json, "f1", "distinct"), 1);
    json_decref(json);
}

static void personal_features_show_no_values(void **state) {
    (void)state;
    struct pil_view *raw = sample_view_raw(SAMPLE_LIST("int64"), SAMPLE_LIST("string"));
    raw->features[0].tags = calloc(1, sizeof(char *));
    raw->features[0].tags[raw->features[0].tag_count++] = strdup("pii");
    assert_int_equal(pil_view_layout(raw, NULL), PIL_STATUS_OK);
    struct rows rows = rows_create(pil_view_clone(raw), 3);
    pil_view_destroy(&raw);
    set_text(&rows, 0, 0, "Ada");
    set_text(&rows, 1, 0, "Ada");
    set_null(&rows, 2, 0);
    json_t *json = profile_of(&rows, NULL), *f0 = json_object_get(json_object_get(json, "features"), "f0");
    assert_int_equal(integer_at(json, "f0", "count"), 2);
    assert_int_equal(integer_at(json, "f0", "distinct"), 1);
    assert_null(json_object_get(f0, "top"));
    assert_null(json_object_get(f0, "min"));
    assert_null(json_object_get(f0, "histogram"));
    json_decref(json);
}

static void nothing_gives_a_profile_without_figures(void **state) {
    (void)state;
    struct rows rows = rows_create(sample_view(SAMPLE_LIST("int64"), SAMPLE_LIST("float32", "string")), 1);
    rows.count = 0;
    json_t *json = profile_of(&rows, NULL);
    assert_int_equal(integer_at(json, "f0", "count"), 0);
    assert_null(json_object_get(json_object_get(json_object_get(json, "features"), "f0"), "min"));
    json_decref(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_range_moments_and_histogram),
        cmocka_unit_test(numbers_that_are_none_are_counted_apart),
        cmocka_unit_test(frequent_values_are_exact_and_ordered),
        cmocka_unit_test(integers_of_many_values_have_no_top),
        cmocka_unit_test(vectors_and_lists_are_measured_by_element_and_length),
        cmocka_unit_test(personal_features_show_no_values),
        cmocka_unit_test(nothing_gives_a_profile_without_figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
