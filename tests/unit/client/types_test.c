/* SPDX-License-Identifier: Apache-2.0
 * Goal: every kind of key finds its row, every type of feature comes out as tensor and as Arrow column, defaults and
 * ages are applied, and mistakes are named. Method: three views with rows written field by field. */
#include "unit/client/fixture.h"
#include "schema/project_read.h"

static const char *const yaml = "project: p\n"
                                "entities:\n"
                                "  - {name: id, type: int32}\n"
                                "  - {name: driver, join_key: driver_id, type: int64}\n"
                                "  - {name: region, type: string}\n"
                                "feature_views:\n"
                                "  - name: narrow\n"
                                "    entities: [id]\n"
                                "    source: {type: parquet, path: x, timestamp_field: t}\n"
                                "    features: [{name: a, type: float32}]\n"
                                "  - name: pair\n"
                                "    entities: [region, driver]\n"
                                "    ttl: 1h\n"
                                "    source: {type: parquet, path: x, timestamp_field: t}\n"
                                "    features: [{name: a, type: float32, default: 0.5}, {name: n, type: int64}]\n"
                                "  - name: types\n"
                                "    entities: [region]\n"
                                "    source: {type: parquet, path: x, timestamp_field: t}\n"
                                "    features:\n"
                                "      - {name: b, type: bool, default: true}\n"
                                "      - {name: i, type: int32}\n"
                                "      - {name: at, type: unix_timestamp, default: 100}\n"
                                "      - {name: s, type: string, default: none}\n"
                                "      - {name: raw, type: bytes, default: AAH/}\n"
                                "      - {name: ints, type: list<int32>, default: [7, 8]}\n"
                                "      - {name: texts, type: list<string>, default: [x, yz]}\n"
                                "      - {name: v, type: \"vector<float16,3>\", default: [1, -2, 0.5]}\n";

enum { NARROW, PAIR, TYPES, VIEWS, LONG_KEY_BYTES = 5000, ROW_BYTES = 256 };

struct row {
    uint8_t bytes[ROW_BYTES], heap[8192];
    size_t heap_len;
};

struct world {
    struct server server;
    struct pil_project *project;
    const struct pil_view *views[VIEWS];
    char path[100], url[128], long_key[LONG_KEY_BYTES + 1];
    struct pillion_client *client;
};

static void put_reference(struct row *row, size_t at, const void *data, size_t len) {
    pil_store_u32(row->bytes + at, (uint32_t)len);
    if (len <= PIL_REF_INLINE_BYTES) {
        memcpy(row->bytes + at + 4, data, len);
        return;
    }
    memcpy(row->bytes + at + 4, data, 4);
    pil_store_u64(row->bytes + at + 8, row->heap_len);
    memcpy(row->heap + row->heap_len, data, len);
    row->heap_len += len;
}

static uint8_t *field(const struct pil_view *view, struct row *row, const char *name) {
    int32_t index = pil_view_feature_find(view, pil_bytes_from_text(name));
    assert_true(index >= 0);
    return row->bytes + view->features[index].offset;
}

static void set_nulls(const struct pil_view *view, struct row *row) {
    memset(row->bytes + view->layout.null_offset, 0xff, view->layout.null_bytes);
    uint32_t rest = view->feature_count % 8;
    if (rest != 0) {
        row->bytes[view->layout.null_offset + view->layout.null_bytes - 1] = (uint8_t)((1u << rest) - 1);
    }
}

static int64_t now_us(void) {
    return pil_clock_wall_us();
}

static void publish(struct world *world, uint32_t number, struct row *rows, uint32_t count) {
    struct pil_writer_row writer_rows[8];
    struct pil_writer_options options = {0};
    struct pil_writer_result result;
    struct pil_error error = {{0}};
    int fd = -1;
    for (uint32_t i = 0; i < count; i++) {
        writer_rows[i] = (struct pil_writer_row){.row = rows[i].bytes, .heap = rows[i].heap};
    }
    pil_status status = pil_writer_finish(world->views[number], &options, writer_rows, count, &result, &error);
    assert_string_equal(error.text, "");
    assert_int_equal(status, PIL_STATUS_OK);
    fd = server_memfd(pil_bytes_from(result.data, result.bytes),
                      F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    pil_writer_result_deinit(&result);
    server_publish(&world->server, number, &fd, 1, "00000000000000aa");
}

static void put_time(const struct pil_view *view, struct row *row, int64_t event_us) {
    pil_store_i64(row->bytes + view->layout.event_ts_offset, event_us);
}

static void publish_narrow(struct world *world) {
    const struct pil_view *view = world->views[NARROW];
    struct row rows[2] = {0};
    for (int32_t i = 0; i < 2; i++) {
        pil_store_i32(rows[i].bytes, i == 0 ? -5 : 70000);
        put_time(view, &rows[i], 1000000 + i);
        pil_store_f32(field(view, &rows[i], "a"), (float)i + 1);
    }
    publish(world, NARROW, rows, 2);
}

/* Keys (eu, 1), fresh; (the long one, 2), two hours old; (eu, 3), all null. */
static void publish_pair(struct world *world) {
    const struct pil_view *view = world->views[PAIR];
    struct row rows[3] = {0};
    for (uint32_t i = 0; i < 3; i++) {
        uint8_t key[LONG_KEY_BYTES + 12];
        size_t len = i == 1 ? LONG_KEY_BYTES : 2;
        pil_store_u32(key, (uint32_t)len);
        memcpy(key + 4, i == 1 ? world->long_key : "eu", len);
        pil_store_i64(key + 4 + len, i + 1);
        put_reference(&rows[i], 0, key, len + 12);
        put_time(view, &rows[i], now_us() - (i == 1 ? 7200000000 : 60000000));
        pil_store_f32(field(view, &rows[i], "a"), (float)i * 10);
        pil_store_i64(field(view, &rows[i], "n"), i * 100);
    }
    set_nulls(view, &rows[2]);
    publish(world, PAIR, rows, 3);
}

/* "eu" with every value; "a region of some length" all null. */
static void publish_types(struct world *world) {
    const struct pil_view *view = world->views[TYPES];
    struct row rows[2] = {0};
    put_reference(&rows[0], 0, "eu", 2);
    put_reference(&rows[1], 0, "a region of some length", 23);
    struct row *row = &rows[0];
    *field(view, row, "b") = 1;
    pil_store_i32(field(view, row, "i"), -7);
    pil_store_i64(field(view, row, "at"), 1500000);
    put_reference(row, (size_t)(field(view, row, "s") - row->bytes), "a string that is long", 21);
    put_reference(row, (size_t)(field(view, row, "raw") - row->bytes), "\0\1", 2);
    int32_t ints[] = {1, -2, 3, -4};
    put_reference(row, (size_t)(field(view, row, "ints") - row->bytes), ints, sizeof ints);
    put_reference(row, (size_t)(field(view, row, "texts") - row->bytes), "\2\0\0\0\2\0\0\0\5\0\0\0abcde", 17);
    static const uint16_t halves[] = {0x3c00, 0x8001, 0x7c00};
    memcpy(field(view, row, "v"), halves, sizeof halves);
    set_nulls(view, &rows[1]);
    for (int i = 0; i < 2; i++) {
        put_time(view, &rows[i], now_us());
    }
    publish(world, TYPES, rows, 2);
}

static int setup_world(void **state) {
    static int number;
    struct world *world = calloc(1, sizeof *world);
    struct pil_text problems = {0};
    assert_int_equal(pil_project_parse_yaml(pil_bytes_from_text(yaml), "test", &world->project, &problems),
                     PIL_STATUS_OK);
    memset(world->long_key, 'x', LONG_KEY_BYTES);
    for (uint32_t i = 0; i < VIEWS; i++) {
        world->views[i] = world->project->views[i].view;
        assert_true(world->views[i]->layout.stride <= ROW_BYTES);
    }
    snprintf(world->path, sizeof world->path, "/tmp/pillion-types-%d-%d.sock", (int)getpid(), number++);
    snprintf(world->url, sizeof world->url, "unix:%s", world->path);
    snprintf(world->server.catalog, sizeof world->server.catalog,
             "{\"views\": [{\"index\": 0, \"project\": \"p\", \"name\": \"narrow\"}, {\"index\": 1, \"project\": "
             "\"p\", \"name\": \"pair\"}, "
             "{\"index\": 2, \"project\": \"p\", \"name\": \"types\"}], \"projects\": []}");
    world->server.view_count = VIEWS;
    server_start(&world->server, world->path);
    publish_narrow(world);
    publish_pair(world);
    publish_types(world);
    struct pillion_options options = {.size = sizeof options, .mapped = world->url};
    struct pillion_error error;
    assert_int_equal(pillion_open(&options, &world->client, &error), PILLION_OK);
    *state = world;
    return 0;
}

static int teardown_world(void **state) {
    struct world *world = *state;
    pillion_close(&world->client);
    server_stop(&world->server);
    pil_project_destroy(&world->project);
    free(world);
    return 0;
}

/* References separated by spaces. */
static struct pillion_plan *plan_of(struct world *world, const char *text, uint32_t flags, int64_t max_age_us) {
    const char *features[16];
    char copy[256];
    uint32_t count = 0;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *at = copy; at != NULL && count < 16; count++) {
        features[count] = at;
        at = strchr(at, ' ');
        if (at != NULL) {
            *at++ = '\0';
        }
    }
    struct pillion_plan_options options = {
        .size = sizeof options, .features = features, .feature_count = count, .flags = flags, .max_age_us = max_age_us};
    return fixture_plan(world->client, &options);
}

static void integer_keys_come_in_every_form(void **state) {
    struct pillion_plan *plan = plan_of(*state, "narrow:a", 0, 0);
    const int32_t narrow[] = {70000, -5, 6};
    const int64_t wide[] = {70000, -5, 6}, offsets64[] = {0, 5, 7, 8};
    const int32_t offsets[] = {0, 5, 7, 8};
    const struct pillion_key_column forms[] = {
        {.kind = PILLION_KEY_INT32, .values = narrow},
        {.kind = PILLION_KEY_INT64, .values = wide},
        {.kind = PILLION_KEY_BYTES, .values = "70000-56", .offsets = offsets},
        {.kind = PILLION_KEY_BYTES64, .values = "70000-56", .offsets = offsets64},
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        float values[3];
        struct pillion_keys keys = {.size = sizeof keys, .count = 3, .column_count = 1, .columns = {forms[i]}};
        struct pillion_output output = fixture_output(values, sizeof values);
        struct pillion_answer answer = {.size = sizeof answer};
        assert_int_equal(pillion_get(plan, &keys, &output, &answer), PILLION_OK);
        assert_true(values[0] == 2 && values[1] == 1 && isnan(values[2]));
        assert_int_equal(answer.views[0].not_found, 1);
    }
    pillion_plan_free(&plan);
}

static void keys_that_cannot_be_are_named(void **state) {
    struct pillion_plan *plan = plan_of(*state, "narrow:a", 0, 0);
    const int64_t wide[] = {1, 1ll << 40};
    const int32_t offsets[] = {0, 1, 3}, falling[] = {2, 3, 1};
    const struct {
        struct pillion_key_column column;
        const char *text;
    } cases[] = {
        {{.kind = PILLION_KEY_INT64, .values = wide}, "join key id, row 1: 1099511627776 is not int32"},
        {{.kind = PILLION_KEY_BYTES, .values = "12x", .offsets = offsets}, "join key id, row 1: '2x' is not int32"},
        {{.kind = PILLION_KEY_BYTES, .values = "123", .offsets = falling}, "join key id, row 1: its offsets fall"},
        {{.kind = PILLION_KEY_BYTES, .values = "123"}, "key column 0 has kind 2 and no offsets"},
        {{.kind = PILLION_KEY_INT64}, "key column 0 has kind 0 and no values"},
        {{.kind = 9, .values = wide}, "key column 0 has kind 9 and no values"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float values[2];
        struct pillion_keys keys = {.size = sizeof keys, .count = 2, .column_count = 1, .columns = {cases[i].column}};
        struct pillion_output output = fixture_output(values, sizeof values);
        struct pillion_answer answer = {.size = sizeof answer};
        assert_int_equal(pillion_get(plan, &keys, &output, &answer), PILLION_INVALID);
        assert_string_equal(answer.error.text, cases[i].text);
    }
    pillion_plan_free(&plan);
}

static void composite_keys_of_any_length_find_their_rows(void **state) {
    struct world *world = *state;
    struct pillion_plan *plan = plan_of(world, "pair:a pair:n", 0, 0);
    struct pillion_plan_info info = {.size = sizeof info};
    assert_int_equal(pillion_plan_describe(plan, &info), PILLION_OK);
    assert_int_equal(info.join_key_count, 2);
    assert_string_equal(info.join_keys[0], "region");
    assert_string_equal(info.join_key_types[1], "int64");
    char bytes[LONG_KEY_BYTES + 8];
    memcpy(bytes, "eu", 2);
    memcpy(bytes + 2, world->long_key, LONG_KEY_BYTES);
    memcpy(bytes + 2 + LONG_KEY_BYTES, "euus", 4);
    const int32_t offsets[] = {0, 2, 2 + LONG_KEY_BYTES, 4 + LONG_KEY_BYTES, 6 + LONG_KEY_BYTES};
    const int64_t drivers[] = {1, 2, 3, 1};
    float values[4][2];
    uint8_t statuses[4][2];
    struct pillion_keys keys = {.size = sizeof keys,
                                .count = 4,
                                .column_count = 2,
                                .columns = {{.kind = PILLION_KEY_BYTES, .values = bytes, .offsets = offsets},
                                            {.kind = PILLION_KEY_INT64, .values = drivers}}};
    struct pillion_output output = fixture_output(&values[0][0], sizeof values);
    output.statuses = &statuses[0][0];
    struct pillion_answer answer = {.size = sizeof answer};
    assert_int_equal(pillion_get(plan, &keys, &output, &answer), PILLION_OK);
    static const uint8_t expected[4][2] = {{1, 1}, {4, 4}, {2, 2}, {3, 3}};
    assert_memory_equal(statuses, expected, sizeof expected);
    assert_true(values[0][0] == 0 && values[0][1] == 0 && values[1][0] == 10 && values[1][1] == 100);
    assert_true(isnan(values[2][0]) && isnan(values[3][1]));
    assert_int_equal(answer.views[0].not_found, 1);
    assert_true(answer.views[0].worst_age_us > 7190000000 && answer.views[0].worst_age_us < 8000000000);
    keys.column_count = 1;
    assert_int_equal(pillion_get(plan, &keys, &output, &answer), PILLION_INVALID);
    assert_string_equal(answer.error.text, "1 key columns were given; the plan has 2 join keys");
    pillion_plan_free(&plan);
}

static void defaults_and_max_age_are_the_plans(void **state) {
    struct pillion_plan *plan = plan_of(*state, "pair:n pair:a", PILLION_USE_DEFAULTS, 1000000);
    const int32_t offsets[] = {0, 2, 4, 6};
    const int64_t drivers[] = {1, 3, 9};
    float values[3][2];
    uint8_t statuses[3][2];
    struct pillion_keys keys = {.size = sizeof keys,
                                .count = 3,
                                .column_count = 2,
                                .columns = {{.kind = PILLION_KEY_BYTES, .values = "eueueu", .offsets = offsets},
                                            {.kind = PILLION_KEY_INT64, .values = drivers}}};
    struct pillion_output output = fixture_output(&values[0][0], sizeof values);
    output.statuses = &statuses[0][0];
    assert_int_equal(pillion_get(plan, &keys, &output, NULL), PILLION_OK);
    static const uint8_t expected[3][2] = {{4, 4}, {2, 2}, {3, 3}}; /* a minute is older than a second */
    assert_memory_equal(statuses, expected, sizeof expected);
    assert_true(values[0][1] == 0 && values[1][1] == 0.5f && values[2][1] == 0.5f && isnan(values[1][0]));
    pillion_plan_free(&plan);
}

/* Room for two rows of every feature of view types. */
struct columns {
    uint8_t b[2], v[2][6];
    int32_t i[2], s_offsets[3], raw_offsets[3], ints_offsets[3], texts_offsets[3], child_offsets[8];
    int64_t at[2];
    char s[64], raw[64], texts[64];
    int32_t ints[16];
    uint8_t statuses[8][2];
    struct pillion_column list[8];
};

static void columns_init(struct columns *columns) {
    const struct pillion_column list[] = {
        {.values = columns->b, .value_bytes = sizeof columns->b},
        {.values = columns->i, .value_bytes = sizeof columns->i},
        {.values = columns->at, .value_bytes = sizeof columns->at},
        {.values = columns->s, .value_bytes = sizeof columns->s, .offsets = columns->s_offsets},
        {.values = columns->raw, .value_bytes = sizeof columns->raw, .offsets = columns->raw_offsets},
        {.values = columns->ints, .value_bytes = sizeof columns->ints, .offsets = columns->ints_offsets},
        {.values = columns->texts,
         .value_bytes = sizeof columns->texts,
         .offsets = columns->texts_offsets,
         .child_offsets = columns->child_offsets,
         .child_capacity = 8},
        {.values = columns->v, .value_bytes = sizeof columns->v},
    };
    memcpy(columns->list, list, sizeof list);
    for (size_t i = 0; i < 8; i++) {
        columns->list[i].statuses = columns->statuses[i];
    }
}

static pillion_result get_columns(struct pillion_plan *plan, struct columns *columns, struct pillion_answer *answer) {
    static const int32_t offsets[] = {0, 2, 25};
    struct pillion_keys keys = {
        .size = sizeof keys,
        .count = 2,
        .column_count = 1,
        .columns = {{.kind = PILLION_KEY_BYTES, .values = "eua region of some length", .offsets = offsets}}};
    struct pillion_columns request = {.size = sizeof request, .columns = columns->list, .column_count = 8};
    return pillion_get_columns(plan, &keys, &request, answer);
}

static const char *const all_types = "types:b types:i types:at types:s types:raw types:ints types:texts types:v";

static void columns_hold_every_type(void **state) {
    struct pillion_plan *plan = plan_of(*state, all_types, PILLION_COLUMNS, 0);
    struct columns columns;
    struct pillion_answer answer = {.size = sizeof answer};
    memset(&columns, 0xee, sizeof columns);
    columns_init(&columns);
    assert_int_equal(get_columns(plan, &columns, &answer), PILLION_OK);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(columns.statuses[i][0], PILLION_PRESENT);
        assert_int_equal(columns.statuses[i][1], PILLION_NULL_VALUE);
    }
    assert_true(columns.b[0] == 1 && columns.b[1] == 0 && columns.i[0] == -7 && columns.i[1] == 0);
    assert_true(columns.at[0] == 1500000 && columns.at[1] == 0);
    static const int32_t s[] = {0, 21, 21}, raw[] = {0, 2, 2}, ints[] = {0, 4, 4}, texts[] = {0, 2, 2},
                         child[] = {0, 2, 5}, elements[] = {1, -2, 3, -4};
    assert_memory_equal(columns.s_offsets, s, sizeof s);
    assert_memory_equal(columns.s, "a string that is long", 21);
    assert_memory_equal(columns.raw_offsets, raw, sizeof raw);
    assert_memory_equal(columns.ints_offsets, ints, sizeof ints);
    assert_memory_equal(columns.ints, elements, sizeof elements);
    assert_memory_equal(columns.texts_offsets, texts, sizeof texts);
    assert_memory_equal(columns.child_offsets, child, sizeof child);
    assert_memory_equal(columns.texts, "abcde", 5);
    assert_int_equal(columns.list[6].ret_child_count, 3);
    assert_memory_equal(columns.v[0], "\x00\x3c\x01\x80\x00\x7c", 6);
    pillion_plan_free(&plan);
}

static void columns_take_defaults(void **state) {
    struct pillion_plan *plan = plan_of(*state, all_types, PILLION_COLUMNS | PILLION_USE_DEFAULTS, 0);
    struct columns columns;
    memset(&columns, 0xee, sizeof columns);
    columns_init(&columns);
    assert_int_equal(get_columns(plan, &columns, NULL), PILLION_OK);
    assert_true(columns.b[1] == 1 && columns.i[1] == 0 && columns.at[1] == 100000000);
    assert_memory_equal(columns.s, "a string that is longnone", 25);
    assert_memory_equal(columns.raw + 2, "\x00\x01\xff", 3);
    assert_true(columns.ints[4] == 7 && columns.ints[5] == 8 && columns.ints_offsets[2] == 6);
    assert_memory_equal(columns.texts, "abcdexyz", 8);
    assert_true(columns.texts_offsets[2] == 4 && columns.child_offsets[3] == 6 && columns.child_offsets[4] == 8);
    assert_memory_equal(columns.v[1], "\x00\x3c\x00\xc0\x00\x38", 6);
    assert_int_equal(columns.statuses[3][1], PILLION_NULL_VALUE);
    pillion_plan_free(&plan);
}

static void columns_say_what_they_need(void **state) {
    struct pillion_plan *plan = plan_of(*state, all_types, PILLION_COLUMNS, 0);
    struct columns columns;
    struct pillion_answer answer = {.size = sizeof answer};
    memset(&columns, 0xee, sizeof columns);
    columns_init(&columns);
    columns.list[2].value_bytes = 8;
    columns.list[3].value_bytes = 20;
    columns.list[6].child_capacity = 2;
    assert_int_equal(get_columns(plan, &columns, &answer), PILLION_TOO_LARGE);
    assert_int_equal(columns.list[2].ret_value_bytes, 16);
    assert_int_equal(columns.list[3].ret_value_bytes, 21);
    assert_int_equal(columns.list[6].ret_child_count, 3);
    assert_true((uint8_t)columns.s[20] == 0xee && columns.child_offsets[2] != 5);
    columns.list[3].offsets = NULL;
    assert_int_equal(get_columns(plan, &columns, &answer), PILLION_INVALID);
    assert_string_equal(answer.error.text, "column 3 lacks values, offsets or child_offsets");
    pillion_plan_free(&plan);
}

static void plans_that_cannot_be_are_refused(void **state) {
    struct world *world = *state;
    const struct {
        const char *feature;
        uint32_t dtype, flags;
        int64_t max_age_us;
        const char *min_release;
        pillion_result result;
        const char *text;
    } cases[] = {
        {"types:s", 0, 0, 0, NULL, PILLION_UNSUPPORTED, "p/types:s is string, which has no place in a tensor"},
        {"types:none", 0, 0, 0, NULL, PILLION_NOT_FOUND, "view p/types has no feature none"},
        {"other:a", 0, 0, 0, NULL, PILLION_NOT_FOUND, "view other is not served here"},
        {"pair", 0, 0, 0, NULL, PILLION_INVALID, "'pair' is not view:feature"},
        {"pair:a", 7, 0, 0, NULL, PILLION_INVALID, "dtype 7 is neither"},
        {"pair:a", 0, 64, 0, NULL, PILLION_UNSUPPORTED, "flags 0x40"},
        {"pair:a", 0, 0, -1, NULL, PILLION_INVALID, "max_age_us is negative"},
        {"pair:a", 0, 0, 0, "xyz", PILLION_INVALID, "min_release 'xyz' is not 16 hex digits"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pillion_plan_options options = {.size = sizeof options,
                                               .features = &cases[i].feature,
                                               .feature_count = 1,
                                               .dtype = cases[i].dtype,
                                               .flags = cases[i].flags,
                                               .max_age_us = cases[i].max_age_us,
                                               .min_release = cases[i].min_release};
        struct pillion_plan *plan = NULL;
        struct pillion_error error = {{0}};
        assert_int_equal(pillion_plan(world->client, &options, &plan, &error), cases[i].result);
        assert_non_null(strstr(error.text, cases[i].text));
        assert_null(plan);
    }
}

/* What programs built against the first header pass: nothing behind these members is read. */
static void older_and_smaller_structs_work(void **state) {
    struct world *world = *state;
    struct {
        size_t size;
        const char *mapped;
    } options = {.size = sizeof options, .mapped = world->url};
    const char *feature = "narrow:a";
    struct {
        size_t size;
        const char *service;
        const char *const *features;
        uint32_t feature_count;
    } what = {.size = offsetof(struct pillion_plan_options, dtype), .features = &feature, .feature_count = 1};
    struct pillion_client *client = NULL;
    struct pillion_plan *plan = NULL;
    struct pillion_error error;
    assert_int_equal(pillion_open((const struct pillion_options *)&options, &client, &error), PILLION_OK);
    assert_int_equal(pillion_plan(client, (const struct pillion_plan_options *)&what, &plan, &error), PILLION_OK);
    int32_t id = -5;
    float value = 0;
    struct {
        size_t size, count;
        uint32_t column_count;
        struct pillion_key_column columns[1];
    } keys = {
        .size = sizeof keys, .count = 1, .column_count = 1, .columns = {{.kind = PILLION_KEY_INT32, .values = &id}}};
    struct {
        size_t size;
        void *values;
        size_t value_bytes;
        uint8_t *statuses;
        int64_t *event_ts_us;
    } output = {.size = sizeof output, .values = &value, .value_bytes = sizeof value};
    assert_int_equal(
        pillion_get(plan, (const struct pillion_keys *)&keys, (const struct pillion_output *)&output, NULL),
        PILLION_OK);
    assert_true(value == 1);
    pillion_close(&client);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integer_keys_come_in_every_form),
        cmocka_unit_test(keys_that_cannot_be_are_named),
        cmocka_unit_test(composite_keys_of_any_length_find_their_rows),
        cmocka_unit_test(defaults_and_max_age_are_the_plans),
        cmocka_unit_test(columns_hold_every_type),
        cmocka_unit_test(columns_take_defaults),
        cmocka_unit_test(columns_say_what_they_need),
        cmocka_unit_test(plans_that_cannot_be_are_refused),
        cmocka_unit_test(older_and_smaller_structs_work),
    };
    return cmocka_run_group_tests(tests, setup_world, teardown_world);
}
