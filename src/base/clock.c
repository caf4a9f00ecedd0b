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

/* ---- Reading. */

/* Takes exactly `count` digits; returns false if there are fewer. */
static bool take_digits(struct pil_bytes *text, size_t count, int64_t *ret_value) {
    int64_t value = 0;
    if (text->len < count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (text->data[i] < '0' || text->data[i] > '9') {
            return false;
        }
        value = value * 10 + (text->data[i] - '0');
    }
    *text = pil_bytes_from(text->data + count, text->len - count);
    *ret_value = value;
    return true;
}

static bool take(struct pil_bytes *text, const char *choice) {
    bool is_there = text->len > 0 && text->data[0] != '\0' && strchr(choice, text->data[0]) != NULL;
    if (is_there) {
        *text = pil_bytes_from(text->data + 1, text->len - 1);
    }
    return is_there;
}

/* Civil date to days since 1970; same source as above. Returns false if the calendar has no such day. */
static bool days_of(int64_t year, int64_t month, int64_t day, int64_t *ret_days) {
    static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (month < 1 || month > 12 || day < 1 || day > lengths[month - 1] + (month == 2 && is_leap)) {
        return false;
    }
    int64_t shifted = year + 400 - (month <= 2); /* never negative */
    int64_t era = shifted / 400, year_of_era = shifted % 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    *ret_days = (era - 1) * 146097 + day_of_era - 719468;
    return true;
}

/* The digits after the point; *ret_us is left alone when there is no point. */
static bool take_fraction(struct pil_bytes *text, int64_t *ret_us) {
    int64_t unit = 100000, us = 0;
    if (!take(text, ".")) {
        return true;
    }
    const uint8_t *begin = text->data;
    for (int64_t digit; take_digits(text, 1, &digit); unit /= 10) {
        if (unit == 0 && digit != 0) {
            return false;
        }
        us += digit * unit;
    }
    *ret_us = us;
    return text->data > begin;
}

static bool take_zone(struct pil_bytes *text, int64_t *ret_seconds) {
    int64_t hours, minutes;
    if (take(text, "Z")) {
        *ret_seconds = 0;
        return true;
    }
    bool is_negative = text->len > 0 && text->data[0] == '-';
    if (!take(text, "+-") || !take_digits(text, 2, &hours) || !take(text, ":") || !take_digits(text, 2, &minutes) ||
        hours > 23 || minutes > 59) {
        return false;
    }
    *ret_seconds = (is_negative ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

bool pil_clock_parse_us(struct pil_bytes text, int64_t *ret_wall_us) {
    int64_t year, month, day, days, hour, minute, second, us = 0, zone;
    bool is_date = take_digits(&text, 4, &year) && take(&text, "-") && take_digits(&text, 2, &month) &&
                   take(&text, "-") && take_digits(&text, 2, &day) && days_of(year, month, day, &days);
    bool is_time = is_date && take(&text, "T ") && take_digits(&text, 2, &hour) && take(&text, ":") &&
                   take_digits(&text, 2, &minute) && take(&text, ":") && take_digits(&text, 2, &second) && hour < 24 &&
                   minute < 60 && second < 60;
    if (!is_time || !take_fraction(&text, &us) || !take_zone(&text, &zone) || text.len > 0) {
        return false;
    }
    *ret_wall_us = (((days * 24 + hour) * 60 + minute) * 60 + second - zone) * 1000000 + us;
    return true;
}
