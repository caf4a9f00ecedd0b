/* SPDX-License-Identifier: Apache-2.0
 * Goal: keys are read, and values written, byte for byte as Feast 0.67 writes them to Redis. Method: vectors that its
 * own code made (serialize_entity_key, ValueProto, Timestamp); every prefix of every key, and keys with each byte
 * changed, which must be errors or keys of the same length, never a read out of bounds. */
#include "wire/feast_redis.h"
#include "unit/schema/sample.h"
#include "unit/wire/collect.h"

#define BYTES(text) text, sizeof(text) - 1

/* ---- Values. */

static void assert_written(struct collect *out, const void *bytes, size_t len) {
    char head[32];
    int head_len = snprintf(head, sizeof head, "$%zu\r\n", len);
    struct pil_bytes got = collect_bytes(out);
    assert_int_equal(got.len, (size_t)head_len + len + 2);
    assert_memory_equal(got.data, head, (size_t)head_len);
    assert_memory_equal(got.data + head_len, bytes, len);
    assert_memory_equal(got.data + head_len + len, "\r\n", 2);
    collect_deinit(out);
}

static void assert_value(const char *type, struct pil_bytes raw, const void *bytes, size_t len) {
    struct collect out;
    collect_init(&out);
    pil_feast_redis_put_value(&out.sink, sample_type(type), raw);
    assert_written(&out, bytes, len);
}

static const struct {
    const char *type, *raw;
    size_t raw_len;
    const char *bytes;
    size_t len;
} values[] = {
    {"bool", BYTES("\x00"), BYTES("\x38\x00")},
    {"bool", BYTES("\x01"), BYTES("\x38\x01")},
    {"int32", BYTES("\x00\x00\x00\x00"), BYTES("\x18\x00")},
    {"int32", BYTES("\x01\x00\x00\x00"), BYTES("\x18\x01")},
    {"int32", BYTES("\xff\xff\xff\xff"), BYTES("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")},
    {"int32", BYTES("\xff\xff\xff\x7f"), BYTES("\x18\xff\xff\xff\xff\x07")},
    {"int32", BYTES("\x00\x00\x00\x80"), BYTES("\x18\x80\x80\x80\x80\xf8\xff\xff\xff\xff\x01")},
    {"int64", BYTES("\x00\x00\x00\x00\x00\x00\x00\x00"), BYTES("\x20\x00")},
    {"int64", BYTES("\x01\x00\x00\x00\x00\x00\x20\x00"), BYTES("\x20\x81\x80\x80\x80\x80\x80\x80\x10")},
    {"int64", BYTES("\xff\xff\xff\xff\xff\xff\xff\xff"), BYTES("\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")},
    {"int64", BYTES("\xff\xff\xff\xff\xff\xff\xff\x7f"), BYTES("\x20\xff\xff\xff\xff\xff\xff\xff\xff\x7f")},
    {"int64", BYTES("\x00\x00\x00\x00\x00\x00\x00\x80"), BYTES("\x20\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")},
    {"float32", BYTES("\x00\x00\x00\x3f"), BYTES("\x35\x00\x00\x00\x3f")},
    {"float32", BYTES("\x00\x00\x00\x80"), BYTES("\x35\x00\x00\x00\x80")},
    {"float32", BYTES("\x00\x00\x80\x7f"), BYTES("\x35\x00\x00\x80\x7f")},
    {"float64", BYTES("\x9a\x99\x99\x99\x99\x99\xb9\x3f"), BYTES("\x29\x9a\x99\x99\x99\x99\x99\xb9\x3f")},
    {"string", BYTES(""), BYTES("\x12\x00")},
    {"string", BYTES("\x6e\x61\xc3\xaf\x76\x65"), BYTES("\x12\x06\x6e\x61\xc3\xaf\x76\x65")},
    {"bytes", BYTES(""), BYTES("\x0a\x00")},
    {"bytes", BYTES("\x00\xff"), BYTES("\x0a\x02\x00\xff")},
    {"unix_timestamp", BYTES("\x00\x00\x00\x00\x00\x00\x00\x00"), BYTES("\x40\x00")},
    {"unix_timestamp", BYTES("\x3f\x82\x2d\x18\x24\x0a\x06\x00"), BYTES("\x40\x80\xe2\xcf\xaa\x06")},
    {"unix_timestamp", BYTES("\xff\xff\xff\xff\xff\xff\xff\xff"),
     BYTES("\x40\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")},
    {"unix_timestamp", BYTES("\xc0\xbd\xf0\xff\xff\xff\xff\xff"),
     BYTES("\x40\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")},
    {"unix_timestamp", BYTES("\xa0\x1c\xe9\xff\xff\xff\xff\xff"),
     BYTES("\x40\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01")},
    {"list<bool>", BYTES("\x01\x00\x01"), BYTES("\x8a\x01\x05\x0a\x03\x01\x00\x01")},
    {"list<int32>", BYTES("\x01\x00\x00\x00\xff\xff\xff\xff\x2c\x01\x00\x00"),
     BYTES("\x6a\x0f\x0a\x0d\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\xac\x02")},
    {"list<int64>", BYTES("\x01\x00\x00\x00\x00\x00\x20\x00\xfe\xff\xff\xff\xff\xff\xff\xff"),
     BYTES("\x72\x14\x0a\x12\x81\x80\x80\x80\x80\x80\x80\x10\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01")},
    {"list<float32>", BYTES("\x00\x00\x00\x3f\x00\x00\x80\xbf"),
     BYTES("\x82\x01\x0a\x0a\x08\x00\x00\x00\x3f\x00\x00\x80\xbf")},
    {"list<float64>", BYTES("\x00\x00\x00\x00\x00\x00\xe0\x3f\x00\x00\x00\x00\x00\x00\xf0\xbf"),
     BYTES("\x7a\x12\x0a\x10\x00\x00\x00\x00\x00\x00\xe0\x3f\x00\x00\x00\x00\x00\x00\xf0\xbf")},
    {"list<unix_timestamp>", BYTES("\x20\xe1\x25\x18\x24\x0a\x06\x00\xe0\x5e\xf8\xff\xff\xff\xff\xff"),
     BYTES("\x92\x01\x11\x0a\x0f\x80\xe2\xcf\xaa\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")},
    {"list<string>", BYTES("\x02\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x78"),
     BYTES("\x62\x05\x0a\x01\x78\x0a\x00")},
    {"list<bytes>", BYTES("\x02\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\xff"),
     BYTES("\x5a\x05\x0a\x01\xff\x0a\x00")},
    {"list<int32>", BYTES(""), BYTES("\x6a\x00")},
    {"list<float32>", BYTES(""), BYTES("\x82\x01\x00")},
    {"list<string>", BYTES("\x00\x00\x00\x00"), BYTES("\x62\x00")},
    {"vector<float32,3>", BYTES("\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40"),
     BYTES("\x82\x01\x0e\x0a\x0c\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40")},
    {"vector<float16,2>", BYTES("\x00\x38\x00\xc0"), BYTES("\x82\x01\x0a\x0a\x08\x00\x00\x00\x3f\x00\x00\x00\xc0")},
    {"vector<bfloat16,2>", BYTES("\x00\x3f\x00\xc0"), BYTES("\x82\x01\x0a\x0a\x08\x00\x00\x00\x3f\x00\x00\x00\xc0")},
    {"vector<int8,3>", BYTES("\x01\xff\x80"),
     BYTES("\x6a\x17\x0a\x15\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x80\xff\xff\xff\xff\xff\xff\xff\xff\x01")},
};

static void values_are_those_of_feast(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        assert_value(values[i].type, pil_bytes_from(values[i].raw, values[i].raw_len), values[i].bytes, values[i].len);
    }
}

/* Lengths of 128 and more have two bytes, of 16384 and more three. */
static void lengths_grow_with_what_they_count(void **state) {
    (void)state;
    static const size_t lengths[] = {127, 128, 16383, 16384};
    static uint8_t raw[16384], want[16384 + 4];
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t len = lengths[i], at = 0;
        want[at++] = 0x12;
        want[at++] = (uint8_t)(len >= 128 ? len | 0x80 : len);
        if (len >= 128) {
            want[at++] = (uint8_t)(len >= 16384 ? len >> 7 | 0x80 : len >> 7);
        }
        if (len >= 16384) {
            want[at++] = (uint8_t)(len >> 14);
        }
        memset(raw, 'x', len);
        memcpy(want + at, raw, len);
        assert_value("string", pil_bytes_from(raw, len), want, at + len);
    }
}

static void damaged_lists_end_early(void **state) {
    (void)state;
    assert_value("list<string>", pil_bytes_from("\1", 1), BYTES("\x62\x00"));
    assert_value("list<string>", pil_bytes_from(BYTES("\xff\xff\xff\xff\0\0\0\0")), BYTES("\x62\x00"));
    assert_value("list<string>", pil_bytes_from(BYTES("\2\0\0\0\1\0\0\0\3\0\0\0xy")), BYTES("\x62\x03\x0a\x01x"));
    assert_value("list<string>", pil_bytes_from(BYTES("\2\0\0\0\1\0\0\0\0\0\0\0xy")), BYTES("\x62\x03\x0a\x01x"));
    assert_value("list<int32>", pil_bytes_from(BYTES("\1\0\0\0\2\0")), BYTES("\x6a\x03\x0a\x01\x01"));
}

static void assert_empty(const char *type, const void *bytes, size_t len) {
    struct collect out;
    collect_init(&out);
    pil_feast_redis_put_null(&out.sink, sample_type(type));
    assert_written(&out, bytes, len);
}

static void nulls_are_empty_but_for_times(void **state) {
    (void)state;
    assert_empty("int64", BYTES(""));
    assert_empty("list<unix_timestamp>", BYTES(""));
    assert_empty("vector<float32,3>", BYTES(""));
    assert_empty("unix_timestamp", BYTES("\x40\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"));
}

static void assert_time(int64_t us, const void *bytes, size_t len) {
    struct collect out;
    collect_init(&out);
    pil_feast_redis_put_time(&out.sink, us);
    assert_written(&out, bytes, len);
}

static void times_are_timestamps(void **state) {
    (void)state;
    assert_time(1640991600000000, BYTES("\x08\xf0\x96\xbe\x8e\x06"));
    assert_time(0, BYTES(""));
    assert_time(-500000, BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\x80\xca\xb5\xee\x01"));
    assert_time(1793534400000001, BYTES("\x08\xc0\xd3\x9c\xd7\x06\x10\xe8\x07"));
}

/* ---- Keys. */

static struct pil_view *view_of(const char *const *types, const char *const *join_keys) {
    struct pil_view *view = sample_view_raw(types, SAMPLE_LIST("int32"));
    for (uint32_t i = 0; i < view->entity_count; i++) {
        free(view->entities[i].join_key);
        view->entities[i].join_key = strdup(join_keys[i]);
    }
    return view;
}

static const char *const driver[] = {"driver_id", NULL}, *const trip[] = {"driver_id", "city_name", NULL},
                         *const four[] = {"d", "c", "b", "a", NULL}, *const none[] = {"__dummy_id", NULL};
static const char *const of_driver[] = {"int64", NULL}, *const of_trip[] = {"int64", "string", NULL},
                         *const of_four[] = {"string", "unix_timestamp", "bytes", "int32", NULL},
                         *const of_none[] = {"string", NULL};

/* What Feast's _redis_key gave, and the canonical key of the view. Join keys of `four` are not in the order of keys. */
static const struct key {
    const char *const *types, *const *join_keys;
    const char *bytes;
    size_t len;
    const char *canonical;
    size_t canonical_len;
} keys[] = {
    {of_driver, driver, BYTES("\1\0\0\0\2\0\0\0\11\0\0\0driver_id\4\0\0\0\10\0\0\0\xe9\3\0\0\0\0\0\0my_project"),
     BYTES("\xe9\3\0\0\0\0\0\0")},
    {of_driver, driver, BYTES("\2\0\0\0driver_id\4\0\0\0\10\0\0\0\xe9\3\0\0\0\0\0\0my_project"),
     BYTES("\xe9\3\0\0\0\0\0\0")},
    {of_trip, trip,
     BYTES("\2\0\0\0\2\0\0\0\11\0\0\0city_name\2\0\0\0\11\0\0\0driver_id\2\0\0\0\5\0\0\0K\xc3\xb6ln\4\0\0\0\10\0\0\0"
           "\xff\xff\xff\xff\xff\xff\xff\xffmy_project"),
     BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\5\0\0\0K\xc3\xb6ln")},
    {of_trip, trip,
     BYTES("\2\0\0\0city_name\2\0\0\0driver_id\2\0\0\0\5\0\0\0K\xc3\xb6ln\4\0\0\0\10\0\0\0"
           "\xff\xff\xff\xff\xff\xff\xff\xffmy_project"),
     BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\5\0\0\0K\xc3\xb6ln")},
    {of_four, four,
     BYTES("\4\0\0\0\2\0\0\0\1\0\0\0a\2\0\0\0\1\0\0\0b\2\0\0\0\1\0\0\0c\2\0\0\0\1\0\0\0d\3\0\0\0\4\0\0\0\xf9\xff\xff"
           "\xff\1\0\0\0\2\0\0\0\0\xff\10\0\0\0\10\0\0\0\0\xf1\x53\x65\0\0\0\0\2\0\0\0\0\0\0\0my_project"),
     BYTES("\0\0\0\0\0\x40\x1e\x18\x24\x0a\6\0\2\0\0\0\0\xff\xf9\xff\xff\xff")},
    {of_four, four,
     BYTES("\2\0\0\0a\2\0\0\0b\2\0\0\0c\2\0\0\0d\3\0\0\0\4\0\0\0\xf9\xff\xff"
           "\xff\1\0\0\0\2\0\0\0\0\xff\10\0\0\0\10\0\0\0\0\xf1\x53\x65\0\0\0\0\2\0\0\0\0\0\0\0my_project"),
     BYTES("\0\0\0\0\0\x40\x1e\x18\x24\x0a\6\0\2\0\0\0\0\xff\xf9\xff\xff\xff")},
    {of_none, none, BYTES("\1\0\0\0\2\0\0\0\12\0\0\0__dummy_id\2\0\0\0\0\0\0\0my_project"), BYTES("")},
    {of_none, none, BYTES("\2\0\0\0__dummy_id\2\0\0\0\0\0\0\0my_project"), BYTES("")},
};
enum { KEY_COUNT = sizeof keys / sizeof *keys };

static bool is_version_3(const struct key *key) {
    return key->bytes[4] == 2;
}

static void keys_are_read_as_feast_writes_them(void **state) {
    (void)state;
    for (size_t i = 0; i < KEY_COUNT; i++) {
        struct pil_view *view = view_of(keys[i].types, keys[i].join_keys);
        struct pil_bytes key = pil_bytes_from(keys[i].bytes, keys[i].len), project = {0};
        struct pil_key_part parts[PIL_ENTITIES_MAX];
        uint8_t buffer[128];
        size_t len = 0;
        uint32_t entity = 0;
        assert_true(pil_feast_redis_is_key(key));
        assert_int_equal(pil_feast_redis_parts(key, view, parts, &project), PIL_STATUS_OK);
        assert_true(pil_bytes_equal_text(project, "my_project"));
        assert_int_equal(pil_view_key_encode(view, parts, view->entity_count, buffer, sizeof buffer, &len, &entity),
                         PIL_STATUS_OK);
        assert_int_equal(len, keys[i].canonical_len);
        assert_memory_equal(buffer, keys[i].canonical, len);
        project = (struct pil_bytes){0};
        bool is_3 = is_version_3(&keys[i]);
        assert_int_equal(pil_feast_redis_project(key, &project), is_3 ? PIL_STATUS_OK : PIL_STATUS_NOT_FOUND);
        assert_true(!is_3 || pil_bytes_equal_text(project, "my_project"));
        pil_view_destroy(&view);
    }
}

/* Feast gives such views an entity of its own. */
static void views_without_entities_have_the_key_of_the_dummy(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        pil_status wanted;
    } cases[] = {
        {BYTES("\1\0\0\0\2\0\0\0\12\0\0\0__dummy_id\2\0\0\0\0\0\0\0my_project"), PIL_STATUS_OK},
        {BYTES("\2\0\0\0__dummy_id\2\0\0\0\0\0\0\0my_project"), PIL_STATUS_OK},
        {BYTES("\1\0\0\0\2\0\0\0\12\0\0\0__dummy_id\2\0\0\0\1\0\0\0xmy_project"), PIL_STATUS_INVALID},
        {BYTES("\1\0\0\0\2\0\0\0\12\0\0\0__dummy_id\1\0\0\0\0\0\0\0my_project"), PIL_STATUS_INVALID},
        {BYTES("\1\0\0\0\2\0\0\0\11\0\0\0driver_id\2\0\0\0\0\0\0\0my_project"), PIL_STATUS_CONFLICT},
        {BYTES("\0\0\0\0\2\0\0\0my_project"), PIL_STATUS_CONFLICT},
    };
    struct pil_view *view = view_of(SAMPLE_LIST(), SAMPLE_LIST());
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pil_key_part parts[PIL_ENTITIES_MAX];
        struct pil_bytes project = {0};
        assert_int_equal(pil_feast_redis_parts(pil_bytes_from(cases[i].bytes, cases[i].len), view, parts, &project),
                         cases[i].wanted);
        assert_true(cases[i].wanted != PIL_STATUS_OK || pil_bytes_equal_text(project, "my_project"));
    }
    char names[PIL_FEAST_REDIS_NAMES_BYTES];
    pil_feast_redis_view_names(view, names);
    assert_string_equal(names, "__dummy_id");
    pil_view_destroy(&view);
}

/* The part of one value of a key, read with a view of one int64. */
static pil_status part_of(uint32_t type, struct pil_bytes value, struct pil_key_part *ret_part) {
    static uint8_t bytes[128] = "\1\0\0\0\2\0\0\0\1\0\0\0k";
    size_t len = 13;
    uint32_t value_len = (uint32_t)value.len;
    pil_store_u32(bytes + len, type);
    pil_store_u32(bytes + len + 4, value_len);
    memcpy(bytes + len + 8, value.data, value.len);
    struct pil_key_part parts[PIL_ENTITIES_MAX];
    struct pil_bytes project;
    struct pil_view *view = view_of(of_driver, SAMPLE_LIST("k"));
    pil_status status = pil_feast_redis_parts(pil_bytes_from(bytes, len + 8 + value.len), view, parts, &project);
    *ret_part = parts[0];
    pil_view_destroy(&view);
    return status;
}

static void values_of_keys_become_parts_of_their_kind(void **state) {
    (void)state;
    struct pil_key_part part;
    const uint8_t eight[8] = {1, 2, 3, 4, 5, 6, 7, 0}, most[8] = {0, 0, 0, 0, 0, 0, 0, 0x7f};
    assert_int_equal(part_of(3, pil_bytes_from(eight, 4), &part), PIL_STATUS_OK);
    assert_true(part.kind == PIL_KEY_PART_INT && part.integer == 0x04030201);
    assert_int_equal(part_of(4, pil_bytes_from(eight, 8), &part), PIL_STATUS_OK);
    assert_true(part.kind == PIL_KEY_PART_INT && part.integer == 0x0007060504030201);
    assert_int_equal(part_of(8, pil_bytes_from("\5\0\0\0\0\0\0\0", 8), &part), PIL_STATUS_OK);
    assert_true(part.kind == PIL_KEY_PART_TIME && part.integer == 5000000);
    assert_int_equal(part_of(2, pil_bytes_from("x", 1), &part), PIL_STATUS_OK);
    assert_true(part.kind == PIL_KEY_PART_TEXT && pil_bytes_equal_text(part.text, "x"));
    assert_int_equal(part_of(8, pil_bytes_from(most, 8), &part), PIL_STATUS_OK); /* beyond any time in microseconds */
    assert_int_equal(part.kind, PIL_KEY_PART_OTHER);
    assert_int_equal(part_of(7, pil_bytes_from(eight, 1), &part), PIL_STATUS_OK); /* a bool */
    assert_int_equal(part.kind, PIL_KEY_PART_OTHER);
    static const uint32_t numbers[] = {3, 4, 8};
    for (size_t i = 0; i < 3; i++) { /* a length that is not that of the type, such as int64 of version 1 */
        assert_int_equal(part_of(numbers[i], pil_bytes_from(eight, numbers[i] == 3 ? 8 : 4), &part),
                         PIL_STATUS_INVALID);
        assert_int_equal(part_of(numbers[i], pil_bytes_from(eight, 0), &part), PIL_STATUS_INVALID);
    }
}

static void other_join_keys_are_a_conflict(void **state) {
    (void)state;
    struct pil_key_part parts[PIL_ENTITIES_MAX];
    struct pil_bytes project;
    char names[PIL_FEAST_REDIS_NAMES_BYTES];
    struct pil_view *other = view_of(of_driver, SAMPLE_LIST("other_id")), *two = view_of(of_trip, trip);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        struct pil_bytes key = pil_bytes_from(keys[i].bytes, keys[i].len);
        assert_int_equal(pil_feast_redis_parts(key, other, parts, &project), PIL_STATUS_CONFLICT);
        if (keys[i].types != of_trip) {
            assert_int_equal(pil_feast_redis_parts(key, two, parts, &project), PIL_STATUS_CONFLICT);
        }
    }
    static const char swapped[] = "\2\0\0\0\2\0\0\0\11\0\0\0driver_id\2\0\0\0\11\0\0\0city_name\4\0\0\0\10\0\0\0"
                                  "\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0p";
    struct pil_bytes key = pil_bytes_from(swapped, sizeof swapped - 1);
    assert_int_equal(pil_feast_redis_parts(key, two, parts, &project), PIL_STATUS_CONFLICT);
    pil_feast_redis_key_names(key, names);
    assert_string_equal(names, "driver_id, city_name");
    pil_feast_redis_view_names(two, names);
    assert_string_equal(names, "city_name, driver_id");
    pil_view_destroy(&other);
    pil_view_destroy(&two);
}

static void what_is_no_key_is_told_from_one(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } others[] = {{BYTES("driver_stats:1001")},
                  {BYTES("p/v:\1\0\0\0\2\0\0\0")},
                  {BYTES("v:\0\0\0\0\0\0")},
                  {BYTES("")},
                  {BYTES("\1\0\0\0\2\0\0")}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_false(pil_feast_redis_is_key(pil_bytes_from(others[i].bytes, others[i].len)));
    }
    struct pil_bytes project, names = pil_bytes_from(BYTES("\1\0\0\0\3\0\0\0\1\0\0\0k\2\0\0\0\0\0\0\0p"));
    assert_int_equal(pil_feast_redis_project(names, &project), PIL_STATUS_INVALID); /* a name that is no string */
}

/* Each prefix, in memory of its length. */
static void check_prefixes(const struct key *whole, const struct pil_view *view) {
    struct pil_key_part parts[PIL_ENTITIES_MAX];
    char names[PIL_FEAST_REDIS_NAMES_BYTES];
    size_t values_end = whole->len - strlen("my_project");
    for (size_t len = 0; len < whole->len; len++) {
        uint8_t *copy = malloc(len + 1);
        struct pil_bytes key = pil_bytes_from(memcpy(copy, whole->bytes, len), len), project = {0};
        pil_status status = pil_feast_redis_parts(key, view, parts, &project);
        assert_int_equal(status == PIL_STATUS_OK, len >= values_end);
        assert_true(status != PIL_STATUS_OK || project.len == len - values_end);
        status = pil_feast_redis_project(key, &project);
        assert_true(!is_version_3(whole) || (status == PIL_STATUS_OK) == (len >= values_end));
        pil_feast_redis_key_names(key, names);
        assert_true(strlen(names) < sizeof names);
        free(copy);
    }
}

/* With one byte changed. */
static void check_changed(const struct key *whole, const struct pil_view *view, size_t at, int byte) {
    struct pil_key_part parts[PIL_ENTITIES_MAX];
    char names[PIL_FEAST_REDIS_NAMES_BYTES];
    uint8_t *copy = malloc(whole->len);
    struct pil_bytes key = pil_bytes_from(memcpy(copy, whole->bytes, whole->len), whole->len), project;
    copy[at] = (uint8_t)byte;
    if (pil_feast_redis_parts(key, view, parts, &project) == PIL_STATUS_OK) {
        assert_true(project.data >= copy && project.data + project.len == copy + whole->len);
    }
    if (pil_feast_redis_project(key, &project) == PIL_STATUS_OK) {
        assert_true(project.data >= copy && project.data + project.len == copy + whole->len);
    }
    pil_feast_redis_key_names(key, names);
    free(copy);
}

static void broken_keys_are_never_read_out_of_bounds(void **state) {
    (void)state;
    for (size_t i = 0; i < KEY_COUNT; i++) {
        struct pil_view *view = view_of(keys[i].types, keys[i].join_keys);
        check_prefixes(&keys[i], view);
        for (size_t n = 0; n < keys[i].len * 256; n += 5) {
            check_changed(&keys[i], view, n / 256, n % 256);
        }
        pil_view_destroy(&view);
    }
}

static void fields_that_name_a_view_are_times(void **state) {
    (void)state;
    struct pil_bytes view;
    assert_true(pil_feast_redis_is_time(pil_bytes_from_text("_ts:v"), &view));
    assert_true(pil_bytes_equal_text(view, "v"));
    assert_false(pil_feast_redis_is_time(pil_bytes_from_text("_ts:"), &view)); /* four bytes are a hash */
    assert_false(pil_feast_redis_is_time(pil_bytes_from_text("_tsx:v"), &view));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_feast),
        cmocka_unit_test(lengths_grow_with_what_they_count),
        cmocka_unit_test(damaged_lists_end_early),
        cmocka_unit_test(nulls_are_empty_but_for_times),
        cmocka_unit_test(times_are_timestamps),
        cmocka_unit_test(keys_are_read_as_feast_writes_them),
        cmocka_unit_test(views_without_entities_have_the_key_of_the_dummy),
        cmocka_unit_test(values_of_keys_become_parts_of_their_kind),
        cmocka_unit_test(other_join_keys_are_a_conflict),
        cmocka_unit_test(what_is_no_key_is_told_from_one),
        cmocka_unit_test(broken_keys_are_never_read_out_of_bounds),
        cmocka_unit_test(fields_that_name_a_view_are_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
