/* SPDX-License-Identifier: Apache-2.0
 * Schubfach: of all decimals inside the rounding interval of a number, the shortest; of those, the closest. The names
 * c, q, k, h and g are those of the paper. A number is c * 2^q; its decimal is digits * 10^exponent. */
#include "base/decimal.h"
#include "base/bytes.h"
#include "base/decimal_table.h"
#include "base/panic.h"

#include <math.h>

struct decimal {
    uint64_t digits;
    int exponent;
};

/* floor(q * log10(2)) and floor(log10(3/4 * 2^q)); exact for |q| < 1500. */
static int floor_log10_pow2(int q) {
    return (q * 1262611) >> 22;
}
static int floor_log10_three_quarters_pow2(int q) {
    return (q * 1262611 - 524031) >> 22;
}
/* floor(e * log2(10)); exact for |e| < 1234. */
static int floor_log2_pow10(int e) {
    return (e * 1741647) >> 19;
}

/* The high part of g * cp, with the lowest bit set if the cut-off part is not zero: enough for exact comparisons with
 * boundaries. */
static uint64_t round_to_odd_f64(const uint64_t g[2], uint64_t cp) {
    unsigned __int128 low = (unsigned __int128)g[1] * cp;
    unsigned __int128 product = (unsigned __int128)g[0] * cp + (uint64_t)(low >> 64);
    return (uint64_t)(product >> 64) | ((uint64_t)product > 1);
}
static uint64_t round_to_odd_f32(const uint64_t g[2], uint64_t cp) {
    uint64_t g64 = g[0] + (g[1] != 0);
    unsigned __int128 product = (unsigned __int128)g64 * cp;
    return (uint64_t)(product >> 64) | ((uint64_t)product >> 32 > 1);
}

/* The ends of the interval and the number itself, in quarters of a unit of the last digit. */
struct interval {
    uint64_t lower, value, upper;
};

static struct decimal choose(struct interval v, bool is_even, int k) {
    uint64_t lower = v.lower + !is_even, upper = v.upper - !is_even;
    uint64_t s = v.value / 4;
    if (s >= 10) {
        uint64_t tens = s / 10;
        bool below_inside = lower <= 40 * tens, above_inside = 40 * tens + 40 <= upper;
        if (below_inside != above_inside) {
            return (struct decimal){.digits = tens + above_inside, .exponent = k + 1};
        }
    }
    bool below_inside = lower <= 4 * s, above_inside = 4 * s + 4 <= upper;
    if (below_inside != above_inside) {
        return (struct decimal){.digits = s + above_inside, .exponent = k};
    }
    uint64_t middle = 4 * s + 2;
    bool up = v.value > middle || (v.value == middle && (s & 1) != 0);
    return (struct decimal){.digits = s + up, .exponent = k};
}

/* Whole numbers below 2^53 need no search. */
static bool is_whole(uint64_t c, int q, struct decimal *ret_decimal) {
    if (q > 0 || q <= -53 || (c & ((UINT64_C(1) << -q) - 1)) != 0) {
        return false;
    }
    *ret_decimal = (struct decimal){.digits = c >> -q, .exponent = 0};
    return true;
}

/* `fraction_bits` 52 for doubles, 23 for floats; significand and exponent as stored. */
static struct decimal shortest(uint64_t significand, int exponent, int fraction_bits) {
    const int bias = (fraction_bits == 52 ? 1023 : 127) + fraction_bits;
    uint64_t c = exponent != 0 ? significand | UINT64_C(1) << fraction_bits : significand;
    int q = exponent != 0 ? exponent - bias : 1 - bias;
    struct decimal whole;
    if (exponent != 0 && is_whole(c, q, &whole)) {
        return whole;
    }
    /* At a power of two the neighbour below is only half as far away. */
    bool lower_is_closer = significand == 0 && exponent > 1;
    int k = lower_is_closer ? floor_log10_three_quarters_pow2(q) : floor_log10_pow2(q);
    int h = q + floor_log2_pow10(-k) + 1;
    const uint64_t *g = decimal_powers[-k - DECIMAL_EXPONENT_MIN];
    uint64_t lower = (4 * c - 2 + lower_is_closer) << h, value = (4 * c) << h, upper = (4 * c + 2) << h;
    struct interval interval;
    if (fraction_bits == 52) {
        interval =
            (struct interval){round_to_odd_f64(g, lower), round_to_odd_f64(g, value), round_to_odd_f64(g, upper)};
    } else {
        interval =
            (struct interval){round_to_odd_f32(g, lower), round_to_odd_f32(g, value), round_to_odd_f32(g, upper)};
    }
    return choose(interval, (c & 1) == 0, k);
}

/* The digits of a number, followed by room, so that a copy of constant length may start at any digit. */
enum { DIGIT_COLUMNS = 24, COPY_BYTES = 20 };
struct digits {
    char text[DIGIT_COLUMNS + COPY_BYTES];
    int begin; /* column of the first digit that is not 0 */
    int count; /* digits from there to the last column */
    int zeros; /* trailing zeros among these */
};

/* Eight digits, the first in the lowest byte: splits into groups of four, two and one digits, all groups in parallel.
 * Source: "SWAR" conversion as by Paul Khuong, "How to print integers really fast" (2017). */
static uint64_t eight_digits(uint32_t value) {
    uint64_t fours = value / 10000 | (uint64_t)(value % 10000) << 32;
    uint64_t upper = ((fours * 10486) >> 20) & 0x7f0000007f; /* / 100 */
    uint64_t twos = upper | (fours - 100 * upper) << 16;
    uint64_t tens = ((twos * 103) >> 10) & 0x000f000f000f000f; /* / 10 */
    return tens | (twos - 10 * tens) << 8;
}

/* At most 17 digits, in columns 7 to 23. */
static void split_digits(uint64_t value, struct digits *digits) {
    const uint64_t eight = 100000000, ascii = 0x3030303030303030;
    uint64_t low = eight_digits((uint32_t)(value % eight)), middle = 0;
    unsigned high = 0;
    if (value >= eight) {
        value /= eight;
        high = (unsigned)(value / eight);
        middle = eight_digits((uint32_t)(value % eight));
    }
    pil_store_u64(digits->text + 16, low | ascii);
    pil_store_u64(digits->text + 8, middle | ascii);
    digits->text[7] = (char)('0' + high);
    digits->begin = high != 0     ? 7
                    : middle != 0 ? 8 + (__builtin_ctzll(middle) >> 3)
                    : low != 0    ? 16 + (__builtin_ctzll(low) >> 3)
                                  : 23;
    digits->count = DIGIT_COLUMNS - digits->begin;
    digits->zeros = low != 0      ? __builtin_clzll(low) >> 3
                    : middle != 0 ? 8 + (__builtin_clzll(middle) >> 3)
                    : high != 0   ? 16
                                  : 0;
}

static char *put_exponent(char *at, int exponent) {
    *at++ = 'e';
    *at++ = exponent < 0 ? '-' : '+';
    unsigned value = (unsigned)(exponent < 0 ? -exponent : exponent);
    if (value >= 100) {
        *at++ = (char)('0' + value / 100);
        value %= 100;
    }
    *at++ = (char)('0' + value / 10);
    *at++ = (char)('0' + value % 10);
    return at;
}

/* The sign, 16 digits and the point may precede the last copy. */
PIL_STATIC_ASSERT((int)PIL_DECIMAL_BYTES >= 18 + (int)COPY_BYTES);

/* Like Python, writes an exponent unless the point comes after the 1st to 16th digit or at most three zeros before the
 * first digit. Copies have a constant length and may write beyond the text; PIL_DECIMAL_BYTES has room for that. */
static char *put_decimal(char *at, struct decimal decimal) {
    struct digits digits;
    split_digits(decimal.digits, &digits);
    const char *first = digits.text + digits.begin;
    int point = digits.count + decimal.exponent, significant = digits.count - digits.zeros;
    if (point > 16 || point <= -4) {
        at[0] = first[0];
        at[1] = '.';
        memcpy(at + 2, first + 1, COPY_BYTES);
        return put_exponent(at + (significant > 1 ? 1 + significant : 1), point - 1);
    }
    if (point <= 0) {
        memcpy(at, "0.0000", 6);
        memcpy(at + 2 - point, first, COPY_BYTES);
        return at + 2 - point + significant;
    }
    memcpy(at, first, COPY_BYTES);
    if (significant <= point) {
        memset(at + significant, '0', (size_t)(point - significant));
        memcpy(at + point, ".0", 2);
        return at + point + 2;
    }
    at[point] = '.';
    memcpy(at + point + 1, first + point, COPY_BYTES);
    return at + significant + 1;
}

static int put_special(char *at, bool is_nan, bool is_negative) {
    const char *text = is_nan ? "nan" : is_negative ? "-inf" : "inf";
    size_t len = strlen(text);
    memcpy(at, text, len);
    return (int)len;
}

static int put_finite(char *text, bool is_negative, struct decimal decimal) {
    char *at = text;
    if (is_negative) {
        *at++ = '-';
    }
    return (int)(put_decimal(at, decimal) - text);
}

int pil_decimal_f64(double value, char ret_text[PIL_DECIMAL_BYTES]) {
    if (!isfinite(value)) {
        return put_special(ret_text, isnan(value), value < 0);
    }
    uint64_t bits = pil_load_u64(&value);
    uint64_t significand = bits & ((UINT64_C(1) << 52) - 1);
    int exponent = (int)(bits >> 52 & 0x7ff);
    bool is_zero = (bits & ~(UINT64_C(1) << 63)) == 0;
    return put_finite(ret_text, bits >> 63 != 0, is_zero ? (struct decimal){0} : shortest(significand, exponent, 52));
}

int pil_decimal_f32(float value, char ret_text[PIL_DECIMAL_BYTES]) {
    if (!isfinite(value)) {
        return put_special(ret_text, isnan(value), value < 0);
    }
    uint32_t bits = pil_load_u32(&value);
    bool is_zero = (bits & ~(UINT32_C(1) << 31)) == 0;
    struct decimal decimal = {0};
    if (!is_zero) {
        decimal = shortest(bits & ((UINT32_C(1) << 23) - 1), (int)(bits >> 23 & 0xff), 23);
    }
    return put_finite(ret_text, bits >> 31 != 0, decimal);
}
