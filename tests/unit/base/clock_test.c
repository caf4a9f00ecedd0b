/* SPDX-License-Identifier: Apache-2.0
 * Goal: wall times print as RFC 3339 and are read from it, for every day of ten thousand years, with as many fraction
 * digits as they need. Method: known instants; each day of years 0 to 9999 against libc's gmtime_r; the ends of the
 * range. */
#include "base/clock.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void assert_time(int64_t us, const char *want) {
    char text[PIL_CLOCK_TEXT_BYTES];
    assert_int_equal(pil_clock_format_us(us, text), strlen(want));
    assert_string_equal(text, want);
}

static void known_instants(void **state) {
    (void)state;
    assert_time(0, "1970-01-01T00:00:00Z");
    assert_time(1795232710000000, "2026-11-21T03:45:10Z");
    assert_time(951782400000000, "2000-02-29T00:00:00Z");
    assert_time(951868800000000, "2000-03-01T00:00:00Z");
    assert_time(4107542400000000, "2100-03-01T00:00:00Z"); /* 2100 has no 29 February */
    assert_time(4107542399000000, "2100-02-28T23:59:59Z");
    assert_time(1709251199999999, "2024-02-29T23:59:59.999999Z");
}

static void fractions_take_3_or_6_digits(void **state) {
    (void)state;
    assert_time(500000, "1970-01-01T00:00:00.500Z");
    assert_time(1000, "1970-01-01T00:00:00.001Z");
    assert_time(1, "1970-01-01T00:00:00.000001Z");
    assert_time(120034, "1970-01-01T00:00:00.120034Z");
}

static void times_before_1970_count_backwards(void **state) {
    (void)state;
    assert_time(-1, "1969-12-31T23:59:59.999999Z");
    assert_time(-1000000, "1969-12-31T23:59:59Z");
    assert_time(-86400000000, "1969-12-31T00:00:00Z");
    assert_time(-86400000001, "1969-12-30T23:59:59.999999Z");
    assert_time(-62135596800000000, "0001-01-01T00:00:00Z");
}

static void years_outside_are_clamped(void **state) {
    (void)state;
    assert_time(-62167219200000000, "0000-01-01T00:00:00Z");
    assert_time(-62167219200000001, "0000-01-01T00:00:00Z");
    assert_time(INT64_MIN, "0000-01-01T00:00:00Z");
    assert_time(253402300799999999, "9999-12-31T23:59:59.999999Z");
    assert_time(253402300800000000, "9999-12-31T23:59:59.999999Z");
    assert_time(INT64_MAX, "9999-12-31T23:59:59.999999Z");
}

static void assert_read(const char *text, int64_t want) {
    int64_t us = 7;
    if (!pil_clock_parse_us(pil_bytes_from_text(text), &us) || us != want) {
        fail_msg("%s was read as %lld", text, (long long)us);
    }
}

static void reads_rfc_3339_with_its_zone(void **state) {
    (void)state;
    assert_read("1970-01-01T00:00:00Z", 0);
    assert_read("2026-11-21T03:45:10Z", 1795232710000000);
    assert_read("2026-11-21 04:45:10.5+01:00", 1795232710500000);
    assert_read("2026-11-20T22:15:10.000001-05:30", 1795232710000001);
    assert_read("2026-11-21T03:45:10.123456000Z", 1795232710123456);
    assert_read("1969-12-31T23:59:59.999999Z", -1);
    assert_read("0000-01-01T00:00:00Z", -62167219200000000);
    assert_read("9999-12-31T23:59:59.999999Z", 253402300799999999);
    assert_read("2000-02-29T00:00:00-00:00", 951782400000000);
    static const char *const bad[] = {
        "",
        "2026-11-21",
        "2026-11-21T03:45:10",
        "2026-11-21T03:45:10.Z",
        "2026-11-21T03:45:10.1234567Z",
        "2026-11-21T03:45:10ZZ",
        " 2026-11-21T03:45:10Z",
        "2026-11-21t03:45:10Z",
        "2026-11-21T03:45Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+01:60",
        "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00+1:00",
        "26-01-01T00:00:00Z",
        "+2026-01-01T00:00:00Z",
        "2026-1-01T00:00:00Z",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t us = 7;
        if (pil_clock_parse_us(pil_bytes_from_text(bad[i]), &us) || us != 7) {
            fail_msg("%s was read as %lld", bad[i], (long long)us);
        }
    }
}

static void every_day_is_read_back(void **state) {
    (void)state;
    for (int64_t day = -719528; day < 2932897; day++) {
        char text[PIL_CLOCK_TEXT_BYTES];
        (void)pil_clock_format_us(day * 86400000000 + 1, text);
        assert_read(text, day * 86400000000 + 1);
    }
}

static void every_day_agrees_with_libc(void **state) {
    (void)state;
    for (int64_t day = -719528; day < 2932897; day++) { /* 0000-01-01 to 9999-12-31 */
        time_t seconds = day * 86400 + (day & 0xffff);
        struct tm tm;
        char want[64], text[PIL_CLOCK_TEXT_BYTES];
        assert_non_null(gmtime_r(&seconds, &tm));
        int len = pil_clock_format_us(seconds * 1000000, text);
        /* Digits by hand: snprintf of 3.6 million dates is most of the time otherwise. */
        int values[] = {tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec};
        int at = 0;
        for (int i = 0; i < 6; i++) {
            for (int unit = i == 0 ? 1000 : 10; unit > 0; unit /= 10) {
                want[at++] = (char)('0' + values[i] / unit % 10);
            }
            want[at++] = "--T::Z"[i];
        }
        if (len != at || memcmp(text, want, (size_t)at) != 0) {
            fail_msg("%s is not %.*s", text, at, want);
        }
    }
}

static void clocks_run(void **state) {
    (void)state;
    uint64_t before = pil_clock_monotonic_ns();
    assert_true(pil_clock_monotonic_ns() >= before);
    assert_true(pil_clock_wall_us() / 1000000 >= time(NULL) - 5);
    assert_true(pil_clock_wall_us() / 1000000 <= time(NULL) + 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_instants),
        cmocka_unit_test(fractions_take_3_or_6_digits),
        cmocka_unit_test(times_before_1970_count_backwards),
        cmocka_unit_test(years_outside_are_clamped),
        cmocka_unit_test(reads_rfc_3339_with_its_zone),
        cmocka_unit_test(every_day_is_read_back),
        cmocka_unit_test(every_day_agrees_with_libc),
        cmocka_unit_test(clocks_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
