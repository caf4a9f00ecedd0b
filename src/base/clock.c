/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

static uint64_t system_monotonic_ns(void *context) {
    (void)context;
    return pil_clock_monotonic_ns();
}

static int64_t system_wall_us(void *context) {
    (void)context;
    return pil_clock_wall_us();
}

const struct pil_clock pil_clock_system = {.monotonic_ns = system_monotonic_ns, .wall_us = system_wall_us};

static char *put_digits(char *at, unsigned value, int count) {
    for (int i = count - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return at + count;
}

/* Days to civil date without libc: gmtime_r takes a lock in glibc, and this runs on workers.
 * Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms". */
int pil_clock_format_us(int64_t wall_us, char ret_text[PIL_CLOCK_TEXT_BYTES]) {
    const int64_t year_zero_us = -62167219200000000, year_ten_thousand_us = 253402300800000000;
    if (wall_us < year_zero_us) {
        wall_us = year_zero_us;
    } else if (wall_us >= year_ten_thousand_us) {
        wall_us = year_ten_thousand_us - 1;
    }
    int64_t seconds = wall_us / 1000000, fraction = wall_us % 1000000;
    if (fraction < 0) {
        fraction += 1000000;
        seconds--;
    }
    int64_t days = seconds / 86400, in_day = seconds % 86400;
    if (in_day < 0) {
        in_day += 86400;
        days--;
    }
    int64_t shifted = days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    unsigned day_of_era = (unsigned)(shifted - era * 146097);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month_shifted = (5 * day_of_year + 2) / 153;
    unsigned day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    unsigned month = month_shifted < 10 ? month_shifted + 3 : month_shifted - 9;
    int64_t year = (int64_t)year_of_era + era * 400 + (month <= 2);

    char *at = put_digits(ret_text, (unsigned)year, 4);
    *at++ = '-';
    at = put_digits(at, month, 2);
    *at++ = '-';
    at = put_digits(at, day, 2);
    *at++ = 'T';
    at = put_digits(at, (unsigned)(in_day / 3600), 2);
    *at++ = ':';
    at = put_digits(at, (unsigned)(in_day / 60 % 60), 2);
    *at++ = ':';
    at = put_digits(at, (unsigned)(in_day % 60), 2);
    if (fraction != 0) {
        *at++ = '.';
        at = fraction % 1000 == 0 ? put_digits(at, (unsigned)(fraction / 1000), 3)
                                  : put_digits(at, (unsigned)fraction, 6);
    }
    *at++ = 'Z';
    *at = '\0';
    return (int)(at - ret_text);
}
