/* SPDX-License-Identifier: Apache-2.0
 * Goal: rows are laid out as specified, features are found by name, copies are whole.
 * Method: layouts worked out by hand; random views against the rules (no overlap, aligned, in the row); PIL_SEED=
 * replays. */
#include "unit/schema/sample.h"

#include <time.h>

static void assert_layout(const struct pil_view *view, struct pil_row_layout want) {
    assert_int_equal(view->layout.key_is_fixed, want.key_is_fixed);
    assert_int_equal(view->layout.key_bytes, want.key_bytes);
    assert_int_equal(view->layout.event_ts_offset, want.event_ts_offset);
    assert_int_equal(view->layout.null_offset, want.null_offset);
    assert_int_equal(view->layout.null_bytes, want.null_bytes);
    assert_int_equal(view->layout.stride, want.stride);
    assert_int_equal(view->layout.has_references, want.has_references);
}

static struct pil_view *floats(uint32_t count) {
    static const char *names[PIL_FEATURES_MAX + 1];
    for (uint32_t i = 0; i < count; i++) {
        names[i] = "float32";
    }
    names[count] = NULL;
    return sample_view(SAMPLE_LIST("int64"), names);
}

static void ten_floats_fill_a_cache_line(void **state) {
    (void)state;
    struct pil_view *view = floats(10);
    assert_layout(view, (struct pil_row_layout){true, 8, 8, 16, 2, 64, false});
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(view->features[i].offset, 20 + 4 * i);
        assert_int_equal(view->features[i].null_bit, i);
    }
    pil_view_destroy(&view);
    assert_null(view);
}

static void fifty_floats_waste_nothing(void **state) {
    (void)state;
    struct pil_view *view = floats(50);
    assert_layout(view, (struct pil_row_layout){true, 8, 8, 16, 7, 224, false});
    assert_int_equal(view->features[0].offset, 24);
    assert_int_equal(view->features[49].offset, 220);
    assert_int_equal(view->packing.first_reference, -1);
    assert_int_equal(view->packing.bytes, 207);
    assert_int_equal(view->packing.run_count, 1);
    assert_int_equal(view->packing.runs[0].offset, 24);
    assert_int_equal(view->packing.runs[0].bytes, 200);
    pil_view_destroy(&view);
}

static void fields_fall_in_alignment(void **state) {
    (void)state;
    struct pil_view *view = sample_view(SAMPLE_LIST("int32", "unix_timestamp"),
                                        SAMPLE_LIST("bool", "vector<float16,3>", "int32", "string", "vector<int8,3>",
                                                    "float64", "list<bool>", "float32", "bool"));
    /* key 12, timestamp at 16, nulls at 24..26; 8: string 32, float64 48, list 56; 4: int32 72, float32 76; 2: 80; 1:
     * 86, 87, 90. */
    static const uint32_t offsets[] = {86, 80, 72, 32, 87, 48, 56, 76, 90};
    assert_layout(view, (struct pil_row_layout){true, 12, 16, 24, 2, 96, true});
    for (uint32_t i = 0; i < view->feature_count; i++) {
        assert_int_equal(view->features[i].offset, offsets[i]);
    }
    assert_int_equal(view->packing.first_reference, 3);
    pil_view_destroy(&view);
}

static void rows_are_packed_in_runs_of_neighbours(void **state) {
    (void)state;
    struct pil_view *view = sample_view(
        SAMPLE_LIST("int64"), SAMPLE_LIST("int32", "float32", "float64", "vector<float32,3>", "bool", "bool"));
    /* nulls at 16; float64 24; int32 32, float32 36, vector 40; bools 52, 53. */
    static const uint32_t want[][2] = {{32, 8}, {24, 8}, {40, 14}};
    assert_int_equal(view->packing.bytes, 8 + 8 + 14 + 1);
    assert_int_equal(view->packing.run_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(view->packing.runs[i].offset, want[i][0]);
        assert_int_equal(view->packing.runs[i].bytes, want[i][1]);
    }
    pil_view_destroy(&view);
    const char *types[2 * PIL_PACKING_RUNS_MAX + 1] = {NULL};
    for (int i = 0; i < 2 * PIL_PACKING_RUNS_MAX; i++) {
        types[i] = i % 2 == 0 ? "float32" : "float64";
    }
    view = sample_view(SAMPLE_LIST("int64"), types);
    assert_int_equal(view->packing.run_count, 0); /* too many: field by field */
    assert_int_equal(view->packing.bytes, 12 * PIL_PACKING_RUNS_MAX + 2 * PIL_PACKING_RUNS_MAX / 8);
    pil_view_destroy(&view);
}

static void variable_keys_are_references(void **state) {
    (void)state;
    struct pil_view *view = sample_view(SAMPLE_LIST("int64", "string"), SAMPLE_LIST("bool"));
    assert_layout(view, (struct pil_row_layout){false, 16, 16, 24, 1, 32, true});
    assert_int_equal(view->features[0].offset, 25);
    pil_view_destroy(&view);
}

static void smallest_rows(void **state) {
    (void)state;
    struct pil_view *view = sample_view(SAMPLE_LIST("int32"), SAMPLE_LIST());
    assert_layout(view, (struct pil_row_layout){true, 4, 8, 16, 0, 16, false});
    assert_int_equal(pil_view_feature_find(view, pil_bytes_from_text("f0")), -1);
    pil_view_destroy(&view);
    view = sample_view(SAMPLE_LIST(), SAMPLE_LIST("int32")); /* one row, of no key */
    assert_layout(view, (struct pil_row_layout){true, 0, 0, 8, 1, 16, false});
    pil_view_destroy(&view);
}

static void strides_follow_the_rule(void **state) {
    (void)state;
    /* One int8 vector after 17 bytes: end = 17 + dimension. */
    static const struct {
        uint32_t dimension, stride;
    } table[] = {{15, 32},   {16, 64},   {47, 64},     {48, 72},     {103, 120}, {104, 128},
                 {111, 128}, {112, 136}, {1007, 1024}, {1008, 1088}, {999, 1024}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char type[40];
        snprintf(type, sizeof type, "vector<int8,%u>", table[i].dimension);
        struct pil_view *view = sample_view(SAMPLE_LIST("int64"), SAMPLE_LIST(type));
        assert_int_equal(view->features[0].offset, 17);
        assert_int_equal(view->layout.stride, table[i].stride);
        pil_view_destroy(&view);
    }
}

static void refuses_rows_over_the_limit(void **state) {
    (void)state;
    const char *names[18];
    for (uint32_t i = 0; i < 17; i++) {
        names[i] = "vector<float32,16384>";
    }
    names[17] = NULL;
    struct pil_view *view = sample_view_raw(SAMPLE_LIST("int64"), names + 2);
    assert_int_equal(pil_view_layout(view, NULL), PIL_STATUS_OK);
    pil_view_destroy(&view);
    view = sample_view_raw(SAMPLE_LIST("int64"), names);
    struct pil_error error = {{0}};
    assert_int_equal(pil_view_layout(view, &error), PIL_STATUS_TOO_LARGE);
    assert_non_null(strstr(error.text, "feature view v"));
    assert_int_equal(view->layout.stride, 0);
    pil_view_destroy(&view);
}

static void finds_each_of_4096_features(void **state) {
    (void)state;
    struct pil_view *view = floats(PIL_FEATURES_MAX);
    for (uint32_t i = 0; i < PIL_FEATURES_MAX; i++) {
        assert_int_equal(pil_view_feature_find(view, pil_bytes_from_text(view->features[i].name)), i);
    }
    assert_int_equal(pil_view_feature_find(view, pil_bytes_from_text("f4096")), -1);
    assert_int_equal(pil_view_feature_find(view, pil_bytes_from_text("")), -1);
    assert_int_equal(pil_view_feature_find(view, pil_bytes_from("f1\0", 3)), -1);
    assert_int_equal(view->layout.null_bytes, 512);
    pil_view_destroy(&view);
}

static void copies_share_nothing(void **state) {
    (void)state;
    struct pil_view *raw = sample_view_raw(SAMPLE_LIST("string"), SAMPLE_LIST("list<int32>"));
    sample_default(&raw->features[0], "[1, 2]");
    raw->features[0].tags = calloc(1, sizeof(char *));
    raw->features[0].tags[0] = strdup("pii");
    raw->features[0].tag_count = 1;
    raw->entities[0].description = strdup("who drives");
    assert_int_equal(pil_view_layout(raw, NULL), PIL_STATUS_OK);
    struct pil_view *view = pil_view_clone(raw);
    memset(raw->features[0].default_value->numbers, 0, sizeof(double));
    pil_view_destroy(&raw);
    assert_int_equal(view->features[0].default_value->count, 2);
    assert_true(view->features[0].default_value->numbers[0] == 1);
    assert_string_equal(view->features[0].tags[0], "pii");
    assert_string_equal(view->entities[0].description, "who drives");
    assert_int_equal(pil_view_feature_find(view, pil_bytes_from_text("f0")), 0);
    pil_view_destroy(&view);
    pil_view_destroy(&view);
}

static void random_rows_keep_their_fields_apart(void **state) {
    (void)state;
    static const char *const types[] = {
        "bool",           "int32",        "int64",   "string",           "vector<float16,5>",
        "vector<int8,9>", "list<string>", "float32", "vector<float32,3>"};
    const char *seed_text = getenv("PIL_SEED");
    unsigned seed = seed_text != NULL ? (unsigned)strtoul(seed_text, NULL, 10) : (unsigned)time(NULL);
    print_message("PIL_SEED=%u\n", seed);
    for (int round = 0; round < 200; round++) {
        const char *names[64] = {NULL};
        size_t count = (size_t)rand_r(&seed) % 60;
        for (size_t i = 0; i < count; i++) {
            names[i] = types[(size_t)rand_r(&seed) % (sizeof types / sizeof types[0])];
        }
        struct pil_view *view =
            sample_view(rand_r(&seed) % 2 ? SAMPLE_LIST("int32") : SAMPLE_LIST("string", "int32"), names);
        uint8_t *used = calloc(view->layout.stride, 1);
        memset(used, 1, view->layout.null_offset + view->layout.null_bytes);
        for (uint32_t i = 0; i < view->feature_count; i++) {
            struct pil_type type = view->features[i].type;
            uint32_t offset = view->features[i].offset, bytes = pil_type_row_bytes(type);
            assert_int_equal(offset % pil_type_alignment(type), 0);
            assert_true(offset + bytes <= view->layout.stride);
            for (uint32_t k = 0; k < bytes; k++) {
                assert_int_equal(used[offset + k]++, 0);
            }
        }
        assert_int_equal(view->layout.stride % 8, 0);
        free(used);
        pil_view_destroy(&view);
    }
}

static struct pil_view *named(const char *const *names, uint32_t count) {
    struct pil_view *raw = sample_view_raw(SAMPLE_LIST("int64"), SAMPLE_LIST("int32", "int32", "int32", "int32"));
    assert_int_equal(raw->feature_count, count);
    for (uint32_t i = 0; i < count; i++) {
        free(raw->features[i].name);
        raw->features[i].name = strdup(names[i]);
    }
    assert_int_equal(pil_view_layout(raw, NULL), PIL_STATUS_OK);
    struct pil_view *view = pil_view_clone(raw);
    pil_view_destroy(&raw);
    return view;
}

/* v:c88425 and v:c117020 have one MurmurHash3. */
static void features_are_found_by_field_and_those_that_share_one_are_marked(void **state) {
    (void)state;
    static const char *const names[] = {"a", "c88425", "ab", "c117020"};
    struct pil_view *view = named(names, 4);
    assert_int_equal(view->features[0].field, 0x197d6756u);
    assert_int_equal(pil_view_feature_find_field(view, 0x197d6756u), 0);
    assert_int_equal(pil_view_feature_find_field(view, 0xa05f7f5du), 2);
    assert_int_equal(pil_view_feature_find_field(view, 0xa05f7f5eu), -1);
    assert_int_equal(pil_view_feature_find_field(view, 0xbdf3d442u), 1);
    for (uint32_t i = 0; i < view->feature_count; i++) {
        assert_int_equal(view->features[i].shares_field, i == 1 || i == 3);
        assert_int_equal(pil_view_feature_find(view, pil_bytes_from_text(names[i])), (int32_t)i);
    }
    pil_view_destroy(&view);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_floats_fill_a_cache_line),
        cmocka_unit_test(fifty_floats_waste_nothing),
        cmocka_unit_test(fields_fall_in_alignment),
        cmocka_unit_test(rows_are_packed_in_runs_of_neighbours),
        cmocka_unit_test(variable_keys_are_references),
        cmocka_unit_test(smallest_rows),
        cmocka_unit_test(strides_follow_the_rule),
        cmocka_unit_test(refuses_rows_over_the_limit),
        cmocka_unit_test(finds_each_of_4096_features),
        cmocka_unit_test(features_are_found_by_field_and_those_that_share_one_are_marked),
        cmocka_unit_test(copies_share_nothing),
        cmocka_unit_test(random_rows_keep_their_fields_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
