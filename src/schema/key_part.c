/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/key_part.h"
#include "base/bounds.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/panic.h"
#include "base/utf8.h"

#include <stdio.h>

enum {
    MICROSECONDS = 1000000,
    MICROSECOND_DIGITS = 6,
    INTEGER_TEXT_BYTES_MAX = 64, /* longer texts are refused, also with leading zeros */
    SHOWN_BYTES_MAX = 64,        /* of a text in a message */
};

/* ---- Text to numbers. */

/* Parses an optional sign and digits. Values outside int64 are refused. */
static bool parse_integer(struct pil_bytes text, int64_t *ret_value) {
    size_t at = text.len > 0 && (text.data[0] == '-' || text.data[0] == '+') ? 1 : 0;
    bool negative = at == 1 && text.data[0] == '-';
    if (at == text.len || text.len > INTEGER_TEXT_BYTES_MAX) {
        return false;
    }
    int64_t value = 0;
    for (; at < text.len; at++) {
        if (text.data[at] < '0' || text.data[at] > '9') {
            return false;
        }
        int digit = text.data[at] - '0';
        /* Negative numbers are summed downwards, because -INT64_MIN does not fit. */
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value)) {
            return false;
        }
    }
    *ret_value = value;
    return true;
}

static bool seconds_to_us(int64_t seconds, int64_t *ret_us) {
    return !__builtin_mul_overflow(seconds, (int64_t)MICROSECONDS, ret_us);
}

/* Parses "12", "-12.5": seconds with up to 6 fraction digits. */
static bool parse_seconds(struct pil_bytes text, int64_t *ret_us) {
    const uint8_t *point = text.len > 0 ? memchr(text.data, '.', text.len) : NULL;
    size_t whole_len = point != NULL ? (size_t)(point - text.data) : text.len;
    int64_t seconds, us;
    if (!parse_integer(pil_bytes_from(text.data, whole_len), &seconds) || !seconds_to_us(seconds, &us)) {
        return false;
    }
    if (point != NULL) {
        size_t digits = text.len - whole_len - 1;
        int64_t fraction = 0, unit = MICROSECONDS;
        if (digits < 1 || digits > MICROSECOND_DIGITS) {
            return false;
        }
        for (size_t i = 0; i < digits; i++) {
            if (point[1 + i] < '0' || point[1 + i] > '9') {
                return false;
            }
            unit /= 10;
            fraction += unit * (point[1 + i] - '0');
        }
        if (__builtin_add_overflow(us, text.data[0] == '-' ? -fraction : fraction, &us)) {
            return false;
        }
    }
    *ret_us = us;
    return true;
}

/* ---- Numbers to text. */

/* Writes the digits of `value`, at least `width` of them, before `end`; returns their start. */
static char *format_unsigned(uint64_t value, int width, char *end) {
    while (value > 0 || width > 0) {
        *--end = (char)('0' + value % 10);
        value /= 10;
        width--;
    }
    return end;
}

struct pil_bytes pil_key_part_digits(int64_t value, bool is_time, char digits[PIL_KEY_PART_DIGITS_BYTES]) {
    char *end = digits + PIL_KEY_PART_DIGITS_BYTES, *start = end;
    uint64_t whole = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    if (is_time) {
        uint64_t fraction = whole % MICROSECONDS;
        whole /= MICROSECONDS;
        if (fraction != 0) {
            start = format_unsigned(fraction, MICROSECOND_DIGITS, start);
            *--start = '.';
        }
    }
    start = format_unsigned(whole, 1, start);
    if (value < 0) {
        *--start = '-';
    }
    return pil_bytes_from(start, (size_t)(end - start));
}

/* ---- The rule. */

struct pil_key_part pil_key_part_of_number(struct pil_bytes text, bool is_integral, int64_t integer) {
    char digits[PIL_KEY_PART_DIGITS_BYTES];
    bool is_plain = is_integral && pil_bytes_equal(text, pil_key_part_digits(integer, false, digits));
    return (struct pil_key_part){
        .kind = is_plain ? PIL_KEY_PART_INT : PIL_KEY_PART_NUMBER, .integer = integer, .text = text};
}

static bool to_whole(const struct pil_key_part *part, int64_t *ret_value) {
    switch (part->kind) {
    case PIL_KEY_PART_INT: *ret_value = part->integer; return true;
    case PIL_KEY_PART_NUMBER: return pil_json_number_scaled(part->text, 0, ret_value);
    case PIL_KEY_PART_TEXT: return parse_integer(part->text, ret_value);
    case PIL_KEY_PART_TIME:
    case PIL_KEY_PART_OTHER: break;
    }
    return false;
}

static bool to_us(const struct pil_key_part *part, int64_t *ret_us) {
    switch (part->kind) {
    case PIL_KEY_PART_INT: return seconds_to_us(part->integer, ret_us);
    case PIL_KEY_PART_NUMBER: return pil_json_number_scaled(part->text, MICROSECOND_DIGITS, ret_us);
    case PIL_KEY_PART_TEXT: return parse_seconds(part->text, ret_us) || pil_clock_parse_us(part->text, ret_us);
    case PIL_KEY_PART_TIME: *ret_us = part->integer; return true;
    case PIL_KEY_PART_OTHER: break;
    }
    return false;
}

bool pil_key_part_to_integer(const struct pil_key_part *part, pil_scalar type, int64_t *ret_value) {
    int64_t value = 0;
    bool is_exact = false;
    switch (type) {
    case PIL_SCALAR_INT32: is_exact = to_whole(part, &value) && value >= INT32_MIN && value <= INT32_MAX; break;
    case PIL_SCALAR_INT64: is_exact = to_whole(part, &value); break;
    case PIL_SCALAR_UNIX_TIMESTAMP: is_exact = to_us(part, &value); break;
    case PIL_SCALAR_BOOL:
    case PIL_SCALAR_INT8:
    case PIL_SCALAR_FLOAT16:
    case PIL_SCALAR_BFLOAT16:
    case PIL_SCALAR_FLOAT32:
    case PIL_SCALAR_FLOAT64:
    case PIL_SCALAR_STRING:
    case PIL_SCALAR_BYTES:
    case PIL_SCALAR_COUNT: PIL_UNREACHABLE("not a key of fixed width");
    }
    if (is_exact) {
        *ret_value = value;
    }
    return is_exact;
}

bool pil_key_part_to_text(const struct pil_key_part *part, char digits[PIL_KEY_PART_DIGITS_BYTES],
                          struct pil_bytes *ret_text) {
    switch (part->kind) {
    case PIL_KEY_PART_INT: *ret_text = pil_key_part_digits(part->integer, false, digits); return true;
    case PIL_KEY_PART_TEXT: *ret_text = part->text; return true;
    case PIL_KEY_PART_NUMBER:
    case PIL_KEY_PART_TIME:
    case PIL_KEY_PART_OTHER: break;
    }
    return false;
}

/* ---- Messages. */

struct shown {
    char text[4 * SHOWN_BYTES_MAX + 8];
};

static struct shown show_text(struct pil_bytes text, bool is_quoted) {
    struct shown shown = {.text = {0}};
    size_t len = 0, used = 0;
    if (is_quoted) {
        shown.text[len++] = '\'';
    }
    while (used < text.len && used < SHOWN_BYTES_MAX) {
        struct pil_bytes rest = pil_bytes_from(text.data + used, text.len - used);
        size_t sequence = pil_utf8_sequence(rest);
        if (sequence == 0 || *rest.data < 0x20 || *rest.data == 0x7f) {
            len += (size_t)snprintf(shown.text + len, 5, "\\x%02x", *rest.data);
            used++;
        } else {
            memcpy(shown.text + len, rest.data, sequence);
            len += sequence;
            used += sequence;
        }
    }
    if (used < text.len) {
        memcpy(shown.text + len, "...", 3);
        len += 3;
    }
    if (is_quoted) {
        shown.text[len] = '\'';
    }
    return shown;
}

static struct shown show(const struct pil_key_part *part) {
    char digits[PIL_KEY_PART_DIGITS_BYTES], time[PIL_CLOCK_TEXT_BYTES];
    struct shown shown = {.text = {0}};
    switch (part->kind) {
    case PIL_KEY_PART_INT: return show_text(pil_key_part_digits(part->integer, false, digits), false);
    case PIL_KEY_PART_TEXT: return show_text(part->text, true);
    case PIL_KEY_PART_TIME:
        (void)pil_clock_format_us(part->integer, time);
        snprintf(shown.text, sizeof shown.text, "the time %s", time);
        return shown;
    case PIL_KEY_PART_NUMBER:
    case PIL_KEY_PART_OTHER: break;
    }
    return show_text(part->text, false);
}

const char *pil_key_part_explain(const struct pil_key_part *part, struct pil_key_place place,
                                 char ret_text[PIL_KEY_PROBLEM_BYTES]) {
    struct shown shown = show(part);
    bool is_time = place.type == PIL_SCALAR_UNIX_TIMESTAMP;
    char row[32] = "";
    if (place.row != PIL_KEY_PART_ONE_ROW) {
        snprintf(row, sizeof row, ", row %llu", (unsigned long long)place.row);
    }
    int len =
        snprintf(ret_text, PIL_KEY_PROBLEM_BYTES, "join key %.*s%s: %s is not %s%s", PIL_NAME_BYTES_MAX, place.join_key,
                 row, shown.text, pil_scalar_text(place.type), is_time ? " (seconds, or a time with its zone)" : "");
    PIL_ASSERT(len > 0 && len < PIL_KEY_PROBLEM_BYTES);
    return ret_text;
}
