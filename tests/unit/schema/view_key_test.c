/* SPDX-License-Identifier: Apache-2.0
 * Goal: one entity has one key, however a protocol spells it; what cannot be coerced is refused, never a miss.
 * Method: tables of spellings; text → bytes → text for each type; hostile bytes to the formatter; small buffers. */
#include "unit/schema/sample.h"

static struct pil_view *keyed(const char *const *entities) {
    return sample_view(entities, SAMPLE_LIST("float32"));
}

static void assert_text_key(const struct pil_view *view, const char *text, const void *want, size_t want_len) {
    uint8_t buffer[256];
    size_t len = 0;
    uint32_t entity = 99;
    assert_int_equal(pil_view_key_encode_text(view, pil_bytes_from_text(text), buffer, sizeof buffer, &len, &entity),
                     PIL_STATUS_OK);
    assert_int_equal(len, want_len);
    assert_memory_equal(buffer, want, want_len);
    assert_int_equal(entity, 99);
}

static void refuse_text(const struct pil_view *view, const char *text, uint32_t want_entity) {
    uint8_t buffer[256];
    size_t len = 77;
    uint32_t entity = 99;
    assert_int_equal(pil_view_key_encode_text(view, pil_bytes_from_text(text), buffer, sizeof buffer, &len, &entity),
                     PIL_STATUS_INVALID);
    assert_int_equal(entity, want_entity);
    assert_int_equal(len, 77);
}

static void assert_round_trip(const struct pil_view *view, const char *text, const char *canonical) {
    uint8_t key[256];
    char back[256];
    size_t len;
    uint32_t entity;
    assert_int_equal(pil_view_key_encode_text(view, pil_bytes_from_text(text), key, sizeof key, &len, &entity),
                     PIL_STATUS_OK);
    size_t back_len = pil_view_key_format(view, pil_bytes_from(key, len), back, sizeof back);
    assert_int_equal(back_len, strlen(canonical));
    assert_memory_equal(back, canonical, back_len);
}

static void integers_are_little_endian(void **state) {
    (void)state;
    struct pil_view *view = keyed(SAMPLE_LIST("int64"));
    assert_text_key(view, "1001", "\xe9\x03\0\0\0\0\0\0", 8);
    assert_text_key(view, "+1001", "\xe9\x03\0\0\0\0\0\0", 8);
    assert_text_key(view, "0001001", "\xe9\x03\0\0\0\0\0\0", 8);
    assert_text_key(view, "-1", "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
    assert_text_key(view, "-9223372036854775808", "\0\0\0\0\0\0\0\x80", 8);
    assert_text_key(view, "9223372036854775807", "\xff\xff\xff\xff\xff\xff\xff\x7f", 8);
    static const char *const bad[] = {"",
                                      "-",
                                      "+",
                                      "12x",
                                      " 12",
                                      "12 ",
                                      "1.0",
                                      "1e3",
                                      "0x10",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "--1",
                                      "99999999999999999999999999999999",
                                      "1|2",
                                      "00000000000000000000000000000000000000000000000000000000000000000000000001"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        refuse_text(view, bad[i], 0);
    }
    pil_view_destroy(&view);
    view = keyed(SAMPLE_LIST("int32"));
    assert_text_key(view, "-2147483648", "\0\0\0\x80", 4);
    assert_text_key(view, "2147483647", "\xff\xff\xff\x7f", 4);
    refuse_text(view, "2147483648", 0);
    refuse_text(view, "-2147483649", 0);
    pil_view_destroy(&view);
}

static void timestamps_are_seconds_outside_and_microseconds_inside(void **state) {
    (void)state;
    struct pil_view *view = keyed(SAMPLE_LIST("unix_timestamp"));
    int64_t us = 1500000;
    assert_text_key(view, "1.5", &us, 8);
    assert_text_key(view, "1.500000", &us, 8);
    us = -500000;
    assert_text_key(view, "-0.5", &us, 8);
    us = -62135596800000000;
    assert_text_key(view, "-62135596800", &us, 8);
    us = INT64_MAX;
    assert_text_key(view, "9223372036854.775807", &us, 8);
    us = INT64_MIN;
    assert_text_key(view, "-9223372036854.775808", &us, 8);
    static const char *const bad[] = {
        "1.", ".5", "-.5", "1.1234567", "1.5x", "1.-5", "9223372036854.775808", "9223372036855", "1.5.5", ""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        refuse_text(view, bad[i], 0);
    }
    assert_round_trip(view, "1700000000", "1700000000");
    assert_round_trip(view, "1700000000.25", "1700000000.250000");
    assert_round_trip(view, "-0.000001", "-0.000001");
    assert_round_trip(view, "-9223372036854.775808", "-9223372036854.775808");
    assert_round_trip(view, "0", "0");
    pil_view_destroy(&view);
}

static void one_string_is_itself(void **state) {
    (void)state;
    struct pil_view *view = keyed(SAMPLE_LIST("string"));
    assert_text_key(view, "a|b\\c", "a|b\\c", 5);
    assert_text_key(view, "", "", 0);
    assert_round_trip(view, "a|b\\", "a|b\\");
    pil_view_destroy(&view);
}

static void composites_escape_and_measure(void **state) {
    (void)state;
    struct pil_view *view = keyed(SAMPLE_LIST("string", "int32", "bytes"));
    assert_text_key(view, "ab|7|z", "\2\0\0\0ab\7\0\0\0\1\0\0\0z", 15);
    assert_text_key(view, "a\\|b\\\\|7|", "\4\0\0\0a|b\\\7\0\0\0\0\0\0\0", 16);
    refuse_text(view, "ab", 1);
    refuse_text(view, "ab|7", 2);
    refuse_text(view, "ab|7|z|", 3);
    refuse_text(view, "ab|7x|z", 1);
    refuse_text(view, "ab||z", 1);
    refuse_text(view, "a\\b|7|z", 0);
    refuse_text(view, "a|7|z\\", 2);
    refuse_text(view, "a|\\|7|z", 1);
    assert_round_trip(view, "a\\|b\\\\|-7|\\|", "a\\|b\\\\|-7|\\|");
    assert_round_trip(view, "|0|", "|0|");
    pil_view_destroy(&view);
    view = keyed(SAMPLE_LIST("int32", "int64"));
    assert_text_key(view, "1|2", "\1\0\0\0\2\0\0\0\0\0\0\0", 12);
    pil_view_destroy(&view);
}

static void parts_and_text_agree(void **state) {
    (void)state;
    struct pil_view *view = keyed(SAMPLE_LIST("string", "unix_timestamp", "int64", "bytes"));
    const struct pil_key_part parts[] = {
        {.kind = PIL_KEY_PART_INT, .integer = INT64_MIN},
        {.kind = PIL_KEY_PART_INT, .integer = -3},
        {.kind = PIL_KEY_PART_TEXT, .text = pil_bytes_from_text("+12")},
        {.kind = PIL_KEY_PART_TEXT, .text = pil_bytes_from_text("x|y")},
    };
    uint8_t key[128];
    size_t len = 0;
    uint32_t entity = 99;
    assert_int_equal(pil_view_key_encode(view, parts, 4, key, sizeof key, &len, &entity), PIL_STATUS_OK);
    assert_text_key(view, "-9223372036854775808|-3|12|x\\|y", key, len);
    assert_int_equal(pil_view_key_encode(view, parts, 3, key, sizeof key, &len, &entity), PIL_STATUS_INVALID);
    assert_int_equal(entity, 3);
    assert_int_equal(pil_view_key_encode(view, parts, 5, key, sizeof key, &len, &entity), PIL_STATUS_INVALID);
    assert_int_equal(entity, 4);
    struct pil_key_part late[4];
    memcpy(late, parts, sizeof late);
    late[1].integer = INT64_MAX / 1000000 + 1;
    assert_int_equal(pil_view_key_encode(view, late, 4, key, sizeof key, &len, &entity), PIL_STATUS_INVALID);
    assert_int_equal(entity, 1);
    pil_view_destroy(&view);
}

static void views_without_entities_have_the_empty_key(void **state) {
    (void)state;
    struct pil_view *view = keyed(SAMPLE_LIST());
    const struct pil_key_part part = {.kind = PIL_KEY_PART_INT, .integer = 1};
    uint8_t key[1];
    char text[4];
    size_t len = 99;
    uint32_t entity = 99;
    assert_text_key(view, "", "", 0);
    refuse_text(view, "1", 0);
    refuse_text(view, "|", 0);
    assert_int_equal(pil_view_key_encode(view, NULL, 0, key, 0, &len, &entity), PIL_STATUS_OK);
    assert_int_equal(len, 0);
    assert_int_equal(pil_view_key_encode(view, &part, 1, key, sizeof key, &len, &entity), PIL_STATUS_INVALID);
    assert_int_equal(entity, 0);
    assert_int_equal(pil_view_key_format(view, pil_bytes_from("", 0), text, sizeof text), 0);
    assert_int_equal(pil_view_key_format(view, pil_bytes_from("x", 1), text, sizeof text), 1); /* not canonical */
    pil_view_destroy(&view);
}

static void integers_out_of_int32_are_refused(void **state) {
    (void)state;
    struct pil_view *view = keyed(SAMPLE_LIST("int32"));
    struct pil_key_part part = {.kind = PIL_KEY_PART_INT, .integer = (int64_t)1 << 40};
    uint8_t key[8];
    size_t len;
    uint32_t entity = 99;
    assert_int_equal(pil_view_key_encode(view, &part, 1, key, sizeof key, &len, &entity), PIL_STATUS_INVALID);
    assert_int_equal(entity, 0);
    pil_view_destroy(&view);
}

static void too_small_buffers_are_told(void **state) {
    (void)state;
    struct pil_view *view = keyed(SAMPLE_LIST("string", "int64"));
    const char *text = "a\\|bcd|5";
    uint8_t *exact = malloc(17);
    size_t len = 77;
    uint32_t entity;
    for (size_t bytes = 0; bytes < 17; bytes++) {
        uint8_t *buffer = malloc(bytes > 0 ? bytes : 1); /* exact, so that ASan sees a write outside */
        assert_int_equal(pil_view_key_encode_text(view, pil_bytes_from_text(text), buffer, bytes, &len, &entity),
                         PIL_STATUS_TOO_LARGE);
        assert_int_equal(len, 77);
        free(buffer);
    }
    assert_int_equal(pil_view_key_encode_text(view, pil_bytes_from_text(text), exact, 17, &len, &entity),
                     PIL_STATUS_OK);
    assert_int_equal(len, 17);
    free(exact);
    pil_view_destroy(&view);
}

static void keys_end_at_64_kib(void **state) {
    (void)state;
    struct pil_view *view = keyed(SAMPLE_LIST("string"));
    size_t room = PIL_KEY_BYTES_MAX + 16, len = 0;
    char *text = malloc(room);
    uint8_t *buffer = malloc(room);
    uint32_t entity;
    memset(text, 'k', room);
    assert_int_equal(
        pil_view_key_encode_text(view, pil_bytes_from(text, PIL_KEY_BYTES_MAX), buffer, room, &len, &entity),
        PIL_STATUS_OK);
    assert_int_equal(len, PIL_KEY_BYTES_MAX);
    assert_int_equal(
        pil_view_key_encode_text(view, pil_bytes_from(text, PIL_KEY_BYTES_MAX + 1), buffer, room, &len, &entity),
        PIL_STATUS_TOO_LARGE);
    pil_view_destroy(&view);
    view = keyed(SAMPLE_LIST("string", "string"));
    memset(text, '|', room);
    for (size_t i = 0; i < room; i += 2) {
        text[i] = '\\';
    }
    text[PIL_KEY_BYTES_MAX] = '|';
    text[PIL_KEY_BYTES_MAX + 1] = 'x';
    assert_int_equal(
        pil_view_key_encode_text(view, pil_bytes_from(text, PIL_KEY_BYTES_MAX + 2), buffer, room, &len, &entity),
        PIL_STATUS_OK);
    assert_int_equal(len, 4 + PIL_KEY_BYTES_MAX / 2 + 4 + 1);
    free(text);
    free(buffer);
    pil_view_destroy(&view);
}

static void formats_any_bytes_without_reading_outside(void **state) {
    (void)state;
    struct pil_view *view = keyed(SAMPLE_LIST("int32", "string", "unix_timestamp"));
    static const uint8_t good[] = {1, 0, 0, 0, 2, 0, 0, 0, 'a', '|', 0x40, 0x42, 0x0f, 0, 0, 0, 0, 0};
    for (size_t len = 0; len <= sizeof good; len++) {
        uint8_t *exact = malloc(len > 0 ? len : 1);
        memcpy(exact, good, len);
        char text[64];
        size_t text_len = pil_view_key_format(view, pil_bytes_from(exact, len), text, sizeof text);
        assert_true(text_len > 0 && text_len <= sizeof text);
        bool whole = len == sizeof good;
        assert_int_equal(memchr(text, '?', text_len) == NULL, whole);
        if (whole) {
            assert_memory_equal(text, "1|a\\||1", text_len);
            for (size_t room = 0; room < text_len; room++) {
                char *small = malloc(room > 0 ? room : 1);
                assert_int_equal(pil_view_key_format(view, pil_bytes_from(exact, len), small, room), text_len);
                assert_memory_equal(small, text, room);
                free(small);
            }
        }
        free(exact);
    }
    uint8_t huge[] = {1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 'a'};
    char text[64];
    assert_int_equal(pil_view_key_format(view, pil_bytes_from(huge, sizeof huge), text, sizeof text), 4);
    assert_memory_equal(text, "1|??", 4);
    pil_view_destroy(&view);
}

static void parts_come_off_a_text_one_by_one(void **state) {
    (void)state;
    static const char *const want[] = {"a|b", "", "c\\", "plain"};
    struct pil_bytes text = pil_bytes_from_text("a\\|b||c\\\\|plain"), part;
    uint8_t buffer[8];
    bool is_last = false;
    for (uint32_t i = 0; i < 4; i++) {
        assert_false(is_last);
        assert_int_equal(pil_view_key_text_next(&text, buffer, sizeof buffer, &part, &is_last), PIL_STATUS_OK);
        assert_true(pil_bytes_equal_text(part, want[i]));
    }
    assert_true(is_last);
    text = pil_bytes_from_text("\\x");
    assert_int_equal(pil_view_key_text_next(&text, buffer, sizeof buffer, &part, &is_last), PIL_STATUS_INVALID);
    text = pil_bytes_from_text("123456789\\|");
    assert_int_equal(pil_view_key_text_next(&text, buffer, sizeof buffer, &part, &is_last), PIL_STATUS_TOO_LARGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_little_endian),
        cmocka_unit_test(timestamps_are_seconds_outside_and_microseconds_inside),
        cmocka_unit_test(one_string_is_itself),
        cmocka_unit_test(composites_escape_and_measure),
        cmocka_unit_test(parts_and_text_agree),
        cmocka_unit_test(views_without_entities_have_the_empty_key),
        cmocka_unit_test(integers_out_of_int32_are_refused),
        cmocka_unit_test(too_small_buffers_are_told),
        cmocka_unit_test(parts_come_off_a_text_one_by_one),
        cmocka_unit_test(keys_end_at_64_kib),
        cmocka_unit_test(formats_any_bytes_without_reading_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
