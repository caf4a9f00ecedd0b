/* SPDX-License-Identifier: Apache-2.0
 * Goal: a tensor row holds exactly what the row holds, for every type, null and default, in the order asked for.
 * Method: rows written field by field by hand; expected values computed apart from the code under test. */
#include "base/half.h"
#include "schema/project_read.h"
#include "vector/plan.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const char *const yaml = "project: p\n"
                                "entities:\n"
                                "  - {name: driver, join_key: driver_id, type: int64}\n"
                                "  - {name: region, join_key: region, type: string}\n"
                                "feature_views:\n"
                                "  - name: v\n"
                                "    entities: [driver]\n"
                                "    ttl: 1h\n"
                                "    source: {type: parquet, path: x, timestamp_field: t}\n"
                                "    features:\n"
                                "      - {name: b, type: bool, default: true}\n"
                                "      - {name: i32, type: int32, default: -7}\n"
                                "      - {name: i64, type: int64}\n"
                                "      - {name: f32, type: float32, default: 0.5}\n"
                                "      - {name: f64, type: float64}\n"
                                "      - {name: at, type: unix_timestamp, default: 100}\n"
                                "      - {name: s, type: string}\n"
                                "      - {name: l, type: list<float32>}\n"
                                "      - {name: vf, type: \"vector<float32,3>\"}\n"
                                "      - {name: vh, type: \"vector<float16,3>\"}\n"
                                "      - {name: vb, type: \"vector<bfloat16,2>\"}\n"
                                "      - {name: vi, type: \"vector<int8,4>\", default: [1, -2, 3, -4]}\n"
                                "  - name: w\n"
                                "    entities: [region, driver]\n"
                                "    source: {type: parquet, path: x, timestamp_field: t}\n"
                                "    features:\n"
                                "      - {name: x, type: float32}\n"
                                "      - {name: y, type: float32}\n"
                                "      - {name: zh, type: \"vector<float16,19>\"}\n"
                                "      - {name: zi, type: \"vector<int8,19>\"}\n"
                                "feature_services:\n"
                                "  - {name: eta, features: [\"v:f32\", \"w:x\", \"w:y\", \"v:i32\"]}\n";

enum { ROW_BYTES = 512, WIDTH_MAX = 64, NOW_S = 1700000000 };

struct world {
    struct pil_project *project;
    const struct pil_view *views[2];
    uint8_t rows[2][ROW_BYTES];
};

static uint8_t *field(struct world *world, uint32_t view, const char *name) {
    int32_t index = pil_view_feature_find(world->views[view], pil_bytes_from_text(name));
    assert_true(index >= 0);
    return world->rows[view] + world->views[view]->features[index].offset;
}

static void set_null(struct world *world, uint32_t view, const char *name, bool null) {
    int32_t index = pil_view_feature_find(world->views[view], pil_bytes_from_text(name));
    assert_true(index >= 0);
    uint8_t *byte = world->rows[view] + world->views[view]->layout.null_offset + (uint32_t)index / 8;
    uint8_t bit = (uint8_t)(1u << ((uint32_t)index % 8));
    *byte = null ? *byte | bit : *byte & (uint8_t)~bit;
}

static int setup(void **state) {
    struct world *world = calloc(1, sizeof *world);
    struct pil_text problems = {0};
    assert_int_equal(pil_project_parse_yaml(pil_bytes_from_text(yaml), "test", &world->project, &problems),
                     PIL_STATUS_OK);
    for (uint32_t i = 0; i < 2; i++) {
        world->views[i] = world->project->views[i].view;
        assert_true(world->views[i]->layout.stride <= ROW_BYTES);
        pil_store_i64(world->rows[i] + world->views[i]->layout.event_ts_offset, NOW_S * 1000000ll);
    }
    *field(world, 0, "b") = 1;
    pil_store_i32(field(world, 0, "i32"), -123456789);
    pil_store_i64(field(world, 0, "i64"), 9007199254740993);
    pil_store_f32(field(world, 0, "f32"), 0.1f);
    pil_store_f64(field(world, 0, "f64"), -1e300);
    pil_store_i64(field(world, 0, "at"), -1500000);
    for (uint32_t i = 0; i < 3; i++) {
        pil_store_f32(field(world, 0, "vf") + (size_t)i * 4, (float)i + 0.25f);
    }
    static const uint16_t halves[] = {0x3c00, 0x8001, 0x7c00}, brains[] = {0x3f80, 0xff80};
    memcpy(field(world, 0, "vh"), halves, sizeof halves);
    memcpy(field(world, 0, "vb"), brains, sizeof brains);
    memcpy(field(world, 0, "vi"), "\x7f\x80\x00\xff", 4);
    pil_store_f32(field(world, 1, "x"), 10);
    pil_store_f32(field(world, 1, "y"), 20);
    *state = world;
    return 0;
}

static int teardown(void **state) {
    struct world *world = *state;
    pil_project_destroy(&world->project);
    free(world);
    return 0;
}

/* References separated by spaces. */
static struct pil_vector_spec *spec_of(const char *text) {
    struct pil_bytes references[32];
    struct pil_vector_spec *spec = NULL;
    struct pil_error error;
    uint32_t count = 0;
    for (const char *at = text; *at != '\0'; at += *at == ' ') {
        size_t len = strcspn(at, " ");
        references[count++] = pil_bytes_from(at, len);
        at += len;
    }
    pil_status status = pil_vector_spec_create(references, count, &spec, &error);
    assert_int_equal(status, PIL_STATUS_OK);
    return spec;
}

static pil_status try_plan(const struct world *world, const char *text, pil_vector_dtype dtype, bool need_tensor,
                           struct pil_vector_plan **ret_plan, struct pil_error *error) {
    struct pil_vector_spec *spec = spec_of(text);
    const struct pil_view *views[2];
    for (uint32_t i = 0; i < spec->view_count; i++) {
        views[i] = world->views[spec->views[i][0] == 'w'];
    }
    pil_status status = pil_vector_plan_create(spec, views, dtype, need_tensor, ret_plan, error);
    pil_vector_spec_destroy(&spec);
    return status;
}

static struct pil_vector_plan *plan_of(const struct world *world, const char *text, pil_vector_dtype dtype) {
    struct pil_vector_plan *plan = NULL;
    struct pil_error error = {{0}};
    pil_status status = try_plan(world, text, dtype, true, &plan, &error);
    assert_string_equal(error.text, "");
    assert_int_equal(status, PIL_STATUS_OK);
    return plan;
}

static double element(const struct pil_vector_plan *plan, const uint8_t *values, uint32_t i) {
    return plan->dtype == PIL_VECTOR_FLOAT64 ? pil_load_f64(values + (size_t)i * 8)
                                             : (double)pil_load_f32(values + (size_t)i * 4);
}

/* Longer than what is converted at once, with a rest: every half and every int8. */
static void long_vectors_of_short_numbers_become_floats(void **state) {
    enum { LEN = 19 };
    struct world *world = *state;
    struct pil_vector_plan *plan = plan_of(world, "w:zh w:x w:zi", PIL_VECTOR_FLOAT32);
    uint8_t values[(2 * LEN + 1) * 4];
    for (uint32_t first = 0; first < 1 << 16; first += LEN) {
        for (uint32_t i = 0; i < LEN; i++) {
            pil_store_u16(field(world, 1, "zh") + (size_t)i * 2, (uint16_t)(first + i));
            field(world, 1, "zi")[i] = (uint8_t)(first + i);
        }
        pil_vector_put_values(plan, 0, world->rows[1], false, values);
        for (uint32_t i = 0; i < LEN; i++) {
            float half = pil_float_from_f16((uint16_t)(first + i)), got = pil_load_f32(values + (size_t)i * 4);
            assert_true(isnan(half) ? isnan(got) : half == got && signbit(half) == signbit(got));
            assert_true(pil_load_f32(values + (size_t)(LEN + 1 + i) * 4) == (float)(int8_t)(first + i));
        }
        assert_true(pil_load_f32(values + (size_t)LEN * 4) == 10);
    }
    pil_vector_plan_destroy(&plan);
}

static void check_every_type(struct world *world, pil_vector_dtype dtype) {
    struct pil_vector_plan *plan = plan_of(world, "v:vi v:b v:i32 v:i64 v:f32 v:f64 v:at v:vf v:vh v:vb v:b", dtype);
    bool wide = dtype == PIL_VECTOR_FLOAT64;
    const double expected[] = {127,
                               -128,
                               0,
                               -1,
                               1,
                               wide ? -123456789 : (double)(float)-123456789,
                               wide ? 9007199254740992.0 : (double)9007199254740992.0f,
                               (double)0.1f,
                               wide ? -1e300 : -(double)INFINITY,
                               -1.5,
                               0.25,
                               1.25,
                               2.25,
                               1,
                               -0x1p-24,
                               (double)INFINITY,
                               1,
                               -(double)INFINITY,
                               1};
    uint8_t values[WIDTH_MAX * 8 + 1], statuses[16];
    assert_int_equal(plan->width, sizeof expected / sizeof expected[0]);
    assert_int_equal(plan->feature_count, 11);
    memset(values, 0xee, sizeof values);
    pil_vector_put_values(plan, 0, world->rows[0], false, values + 1); /* any alignment */
    for (uint32_t i = 0; i < plan->width; i++) {
        assert_true(element(plan, values + 1, i) == expected[i]);
    }
    assert_int_equal(values[1 + plan->width * pil_vector_dtype_bytes(dtype)], 0xee);
    assert_int_equal(pil_vector_put_statuses(plan, 0, world->rows[0], PIL_VALUE_PRESENT, statuses), 0);
    for (uint32_t i = 0; i < plan->feature_count; i++) {
        assert_int_equal(statuses[i], PIL_VALUE_PRESENT);
    }
    pil_vector_plan_destroy(&plan);
}

static void converts_every_type(void **state) {
    check_every_type(*state, PIL_VECTOR_FLOAT32);
    check_every_type(*state, PIL_VECTOR_FLOAT64);
}

static void halves_are_exact_over_their_whole_range(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        int exponent = (int)(bits >> 10 & 31);
        double fraction = (double)(bits & 0x3ff), sign = bits >> 15 != 0 ? -1 : 1;
        float got = pil_float_from_f16((uint16_t)bits);
        if (exponent == 31 && fraction != 0) {
            assert_true(isnan(got));
            continue;
        }
        double expected = exponent == 31  ? (double)INFINITY
                          : exponent == 0 ? ldexp(fraction, -24)
                                          : ldexp(1024 + fraction, exponent - 25);
        assert_true((double)got == sign * expected);
        assert_int_equal(signbit(got) != 0, bits >> 15);
    }
}

static void nulls_are_nan_or_the_default(void **state) {
    struct world *world = *state;
    struct pil_vector_plan *plan = plan_of(world, "v:f64 v:b v:vi v:vf v:at v:f32", PIL_VECTOR_FLOAT32);
    uint8_t values[WIDTH_MAX * 4], statuses[8];
    static const char *const nulls[] = {"b", "vi", "vf", "at"};
    for (uint32_t i = 0; i < 4; i++) {
        set_null(world, 0, nulls[i], true);
    }
    for (uint32_t use_defaults = 0; use_defaults < 2; use_defaults++) {
        pil_vector_put_values(plan, 0, world->rows[0], use_defaults != 0, values);
        static const double defaults[] = {1, 1, -2, 3, -4, (double)NAN, (double)NAN, (double)NAN, 100};
        for (uint32_t i = 0; i < 9; i++) {
            double got = element(plan, values, 1 + i);
            assert_true(use_defaults != 0 && !isnan(defaults[i]) ? got == defaults[i] : isnan(got));
        }
        assert_true(element(plan, values, 10) == (double)0.1f);
    }
    assert_int_equal(pil_vector_put_statuses(plan, 0, world->rows[0], PIL_VALUE_OUTSIDE_MAX_AGE, statuses), 4);
    static const uint8_t expected[] = {PIL_VALUE_OUTSIDE_MAX_AGE, PIL_VALUE_NULL_VALUE, PIL_VALUE_NULL_VALUE,
                                       PIL_VALUE_NULL_VALUE,      PIL_VALUE_NULL_VALUE, PIL_VALUE_OUTSIDE_MAX_AGE};
    assert_memory_equal(statuses, expected, sizeof expected);
    pil_vector_put_values(plan, 0, NULL, true, values);
    assert_true(isnan(element(plan, values, 0)) && element(plan, values, 10) == 0.5);
    assert_int_equal(pil_vector_put_statuses(plan, 0, NULL, PIL_VALUE_NOT_FOUND, statuses), 0);
    for (uint32_t i = 0; i < plan->feature_count; i++) {
        assert_int_equal(statuses[i], PIL_VALUE_NOT_FOUND);
    }
    pil_vector_plan_destroy(&plan);
}

static void views_fill_only_their_own_columns(void **state) {
    struct world *world = *state;
    struct pil_vector_plan *plan = plan_of(world, "w:y v:f32 w:x v:i32", PIL_VECTOR_FLOAT32);
    uint8_t values[4 * 4], statuses[4];
    assert_int_equal(plan->view_count, 2);
    memset(statuses, 0, sizeof statuses);
    pil_vector_put_values(plan, 0, world->rows[1], false, values);
    (void)pil_vector_put_statuses(plan, 0, world->rows[1], PIL_VALUE_PRESENT, statuses);
    pil_vector_put_values(plan, 1, NULL, true, values);
    (void)pil_vector_put_statuses(plan, 1, NULL, PIL_VALUE_NOT_FOUND, statuses);
    static const float expected[] = {20, 0.5f, 10, -7};
    static const uint8_t expected_statuses[] = {1, 3, 1, 3};
    assert_memory_equal(values, expected, sizeof expected);
    assert_memory_equal(statuses, expected_statuses, sizeof expected_statuses);
    pil_vector_plan_destroy(&plan);
}

static void join_keys_are_shared_between_views(void **state) {
    struct world *world = *state;
    struct pil_vector_plan *plan = plan_of(world, "v:f32 w:x", PIL_VECTOR_FLOAT32);
    assert_int_equal(plan->join_key_count, 2);
    assert_string_equal(plan->join_keys[0]->join_key, "driver_id");
    assert_string_equal(plan->join_keys[1]->join_key, "region");
    struct pil_key_part parts[] = {{.kind = PIL_KEY_PART_INT, .integer = 5},
                                   {.kind = PIL_KEY_PART_TEXT, .text = pil_bytes_from_text("eu")}};
    uint8_t key[64];
    size_t len = 0;
    uint32_t bad = UINT32_MAX;
    assert_int_equal(pil_vector_key_encode(plan, 0, parts, key, sizeof key, &len, &bad), PIL_STATUS_OK);
    assert_int_equal(len, 8);
    assert_int_equal(pil_load_i64(key), 5);
    assert_int_equal(pil_vector_key_encode(plan, 1, parts, key, sizeof key, &len, &bad), PIL_STATUS_OK);
    assert_int_equal(len, 4 + 2 + 8); /* region, then driver: the view's own order */
    assert_memory_equal(key, "\2\0\0\0eu\5\0\0\0\0\0\0\0", 14);
    parts[0] = (struct pil_key_part){.kind = PIL_KEY_PART_TEXT, .text = pil_bytes_from_text("5x")};
    assert_int_equal(pil_vector_key_encode(plan, 1, parts, key, sizeof key, &len, &bad), PIL_STATUS_INVALID);
    assert_int_equal(bad, 0);
    pil_vector_plan_destroy(&plan);
}

static void neighbours_become_one_run(void **state) {
    struct world *world = *state;
    struct pil_vector_plan *plan = plan_of(world, "w:x w:y", PIL_VECTOR_FLOAT32);
    assert_int_equal(plan->views[0].run_count, 1);
    assert_int_equal(plan->runs[0].count, 2);
    pil_vector_plan_destroy(&plan);
    plan = plan_of(world, "w:y w:x", PIL_VECTOR_FLOAT32);
    assert_int_equal(plan->views[0].run_count, 2);
    pil_vector_plan_destroy(&plan);
}

static void services_name_their_features_in_order(void **state) {
    struct world *world = *state;
    struct pil_vector_spec *spec = NULL;
    struct pil_error error;
    const struct pil_service *service = pil_project_service_find(world->project, pil_bytes_from_text("eta"));
    assert_int_equal(pil_vector_spec_of_service(world->project, service, &spec, &error), PIL_STATUS_OK);
    assert_int_equal(spec->view_count, 2);
    assert_string_equal(spec->views[0], "p/v");
    assert_string_equal(spec->views[1], "p/w");
    static const char *const expected[] = {"f32", "x", "y", "i32"};
    assert_int_equal(spec->name_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_string_equal(spec->names[i].feature, expected[i]);
        assert_int_equal(spec->names[i].view, i == 1 || i == 2);
    }
    pil_vector_spec_destroy(&spec);
}

static void mistakes_are_named(void **state) {
    struct world *world = *state;
    struct pil_vector_plan *plan = NULL;
    struct pil_vector_spec *spec = NULL;
    struct pil_error error;
    assert_int_equal(try_plan(world, "v:f32 v:nosuch", PIL_VECTOR_FLOAT32, true, &plan, &error), PIL_STATUS_NOT_FOUND);
    assert_string_equal(error.text, "view v has no feature nosuch");
    assert_int_equal(try_plan(world, "v:l", PIL_VECTOR_FLOAT32, true, &plan, &error), PIL_STATUS_UNSUPPORTED);
    assert_non_null(strstr(error.text, "v:l is list<float32>"));
    assert_int_equal(try_plan(world, "v:l v:f32 v:s", PIL_VECTOR_FLOAT32, false, &plan, &error), PIL_STATUS_OK);
    assert_int_equal(plan->width, 1);
    pil_vector_plan_destroy(&plan);
    static const char *const bad[] = {"v", ":f", "v:", ""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct pil_bytes reference = pil_bytes_from_text(bad[i]);
        assert_int_equal(pil_vector_spec_create(&reference, 1, &spec, &error), PIL_STATUS_INVALID);
        assert_non_null(strstr(error.text, "is not view:feature"));
    }
    assert_int_equal(pil_vector_spec_create(NULL, 0, &spec, &error), PIL_STATUS_INVALID);
    struct pil_bytes many[PIL_VECTOR_VIEWS_MAX + 1];
    char texts[PIL_VECTOR_VIEWS_MAX + 1][8];
    for (uint32_t i = 0; i <= PIL_VECTOR_VIEWS_MAX; i++) {
        snprintf(texts[i], sizeof texts[i], "v%u:f", i);
        many[i] = pil_bytes_from_text(texts[i]);
    }
    assert_int_equal(pil_vector_spec_create(many, PIL_VECTOR_VIEWS_MAX + 1, &spec, &error), PIL_STATUS_INVALID);
    assert_null(spec);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(long_vectors_of_short_numbers_become_floats, setup, teardown),
        cmocka_unit_test_setup_teardown(converts_every_type, setup, teardown),
        cmocka_unit_test(halves_are_exact_over_their_whole_range),
        cmocka_unit_test_setup_teardown(nulls_are_nan_or_the_default, setup, teardown),
        cmocka_unit_test_setup_teardown(views_fill_only_their_own_columns, setup, teardown),
        cmocka_unit_test_setup_teardown(join_keys_are_shared_between_views, setup, teardown),
        cmocka_unit_test_setup_teardown(neighbours_become_one_run, setup, teardown),
        cmocka_unit_test_setup_teardown(services_name_their_features_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(mistakes_are_named, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
