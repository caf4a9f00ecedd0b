/* SPDX-License-Identifier: Apache-2.0
 * The pull reader for JSON. Each reader function leaves `at` after the text that it read. */
#include "base/json.h"
#include "base/character.h"
#include "base/panic.h"
#include "base/utf8.h"

static pil_status fail_at(struct pil_json *json, const uint8_t *at, const char *error) {
    json->at = at;
    json->error = error;
    return PIL_STATUS_INVALID;
}

static pil_status fail(struct pil_json *json, const char *error) {
    return fail_at(json, json->at, error);
}

static void rest(const struct pil_json *json) {
    if (json->rest.now != NULL) {
        json->rest.now(json->rest.context);
    }
}

static void count_steps(struct pil_json *json, size_t steps) {
    json->steps += (uint32_t)steps;
    if (json->steps >= PIL_JSON_REST_STEPS) {
        json->steps = 0;
        rest(json);
    }
}

static void skip_space(struct pil_json *json) {
    while (json->at < json->end && (*json->at == ' ' || *json->at == '\n' || *json->at == '\r' || *json->at == '\t')) {
        json->at++;
    }
}

/* Skips white space, and then `byte` if it comes next; returns whether it did. */
static bool take(struct pil_json *json, uint8_t byte) {
    skip_space(json);
    if (json->at == json->end || *json->at != byte) {
        return false;
    }
    json->at++;
    return true;
}

void pil_json_init(struct pil_json *json, struct pil_bytes text, uint8_t *scratch, size_t scratch_bytes) {
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    const uint8_t *data = text.len > 0 ? text.data : mark; /* never NULL */
    *json = (struct pil_json){.begin = data, .at = data, .end = data + text.len, .scratch = scratch};
    json->scratch_end = scratch_bytes > 0 ? scratch + scratch_bytes : scratch;
    if (text.len >= sizeof mark && memcmp(data, mark, sizeof mark) == 0) {
        json->begin = json->at = data + sizeof mark;
    }
}

pil_json_kind pil_json_peek(struct pil_json *json) {
    skip_space(json);
    if (json->at == json->end) {
        return PIL_JSON_END;
    }
    uint8_t byte = *json->at;
    return byte == '"'                                   ? PIL_JSON_STRING
           : byte == '{'                                 ? PIL_JSON_OBJECT
           : byte == '['                                 ? PIL_JSON_ARRAY
           : byte == 'n'                                 ? PIL_JSON_NULL
           : byte == 't' || byte == 'f'                  ? PIL_JSON_BOOL
           : byte == '-' || pil_character_is_digit(byte) ? PIL_JSON_NUMBER
                                                         : PIL_JSON_END;
}

static pil_status read_word(struct pil_json *json, const char *word) {
    size_t len = strlen(word);
    if ((size_t)(json->end - json->at) < len || memcmp(json->at, word, len) != 0) {
        return fail(json, "Expecting value");
    }
    json->at += len;
    return PIL_STATUS_OK;
}

pil_status pil_json_read_null(struct pil_json *json) {
    skip_space(json);
    return read_word(json, "null");
}

pil_status pil_json_read_bool(struct pil_json *json, bool *ret_value) {
    skip_space(json);
    bool value = json->at < json->end && *json->at == 't';
    PIL_TRY(read_word(json, value ? "true" : "false"));
    *ret_value = value;
    return PIL_STATUS_OK;
}

/* ---- Numbers. */

/* A number being read into an int64: the digits so far without trailing zeros, times 10^zeros. Kept negative, because
 * INT64_MIN has no positive counterpart. */
struct whole {
    int64_t negative;
    int64_t zeros;
    bool is_too_large;
};

static void multiply(struct whole *whole, int64_t times) {
    for (; times > 0 && !whole->is_too_large; times--) {
        whole->is_too_large = __builtin_mul_overflow(whole->negative, 10, &whole->negative);
    }
}

static void append_digit(struct whole *whole, uint8_t byte) {
    if (byte == '0') {
        whole->zeros += whole->negative != 0;
        return;
    }
    multiply(whole, whole->zeros + 1);
    whole->zeros = 0;
    whole->is_too_large = whole->is_too_large || __builtin_sub_overflow(whole->negative, byte - '0', &whole->negative);
}

/* Reads one or more digits; returns false if there is none. */
static bool take_digits(struct pil_json *json, struct whole *whole) {
    const uint8_t *begin = json->at;
    for (; json->at < json->end && pil_character_is_digit(*json->at); json->at++) {
        append_digit(whole, *json->at);
    }
    return json->at > begin;
}

/* Reads the exponent after 'e'; it saturates far beyond the exponents of int64. Returns false if it has no digits. */
static bool take_exponent(struct pil_json *json, int64_t *ret_exponent) {
    bool is_negative = json->at < json->end && *json->at == '-';
    if (is_negative || (json->at < json->end && *json->at == '+')) {
        json->at++;
    }
    const uint8_t *begin = json->at;
    int64_t exponent = 0;
    for (; json->at < json->end && pil_character_is_digit(*json->at); json->at++) {
        exponent = exponent < INT32_MAX ? exponent * 10 + (*json->at - '0') : exponent;
    }
    *ret_exponent = is_negative ? -exponent : exponent;
    return json->at > begin;
}

static void finish_number(struct pil_json_number *number, struct whole whole, int64_t scale, bool is_negative) {
    scale += whole.zeros;
    if (whole.is_too_large || (whole.negative != 0 && scale < 0)) {
        return;
    }
    if (whole.negative != 0) {
        multiply(&whole, scale);
    }
    if (whole.is_too_large || (!is_negative && whole.negative == INT64_MIN)) {
        return;
    }
    number->is_integral = true;
    number->integer = is_negative ? whole.negative : -whole.negative;
}

/* Reads a number, times 10^scale. */
static pil_status read_scaled(struct pil_json *json, int64_t scale, struct pil_json_number *ret_number) {
    skip_space(json);
    const uint8_t *begin = json->at;
    struct pil_json_number number = {0};
    struct whole whole = {0};
    bool is_negative = json->at < json->end && *json->at == '-';
    json->at += is_negative;
    if (json->at < json->end && *json->at == '0') {
        json->at++; /* no digit may follow a leading zero */
    } else if (!take_digits(json, &whole)) {
        return fail_at(json, begin, "Expecting value");
    }
    if (json->at < json->end && *json->at == '.') {
        const uint8_t *point = json->at++;
        if (!take_digits(json, &whole)) {
            return fail_at(json, point, "Expecting digits after the decimal point");
        }
        scale -= json->at - point - 1;
    }
    if (json->at < json->end && (*json->at == 'e' || *json->at == 'E')) {
        const uint8_t *letter = json->at++;
        int64_t exponent;
        if (!take_exponent(json, &exponent)) {
            return fail_at(json, letter, "Expecting digits of the exponent");
        }
        scale += exponent;
    }
    finish_number(&number, whole, scale, is_negative);
    number.text = pil_bytes_from(begin, (size_t)(json->at - begin));
    *ret_number = number;
    return PIL_STATUS_OK;
}

pil_status pil_json_read_number(struct pil_json *json, struct pil_json_number *ret_number) {
    return read_scaled(json, 0, ret_number);
}

bool pil_json_number_scaled(struct pil_bytes text, int64_t decimals, int64_t *ret_value) {
    struct pil_json json;
    struct pil_json_number number;
    pil_json_init(&json, text, NULL, 0);
    if (read_scaled(&json, decimals, &number) != PIL_STATUS_OK || json.at != json.end || !number.is_integral) {
        return false;
    }
    *ret_value = number.integer;
    return true;
}

/* ---- Strings. */

/* Four hex digits at `at`, or -1. */
static int32_t hex_unit(const struct pil_json *json, const uint8_t *at) {
    if (json->end - at < 4) {
        return -1;
    }
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = pil_character_hex_digit(at[i]);
        if (digit < 0) {
            return -1;
        }
        unit = unit * 16 + digit;
    }
    return unit;
}

static size_t put_utf8(uint8_t *to, uint32_t point) {
    if (point < 0x80) {
        to[0] = (uint8_t)point;
        return 1;
    }
    size_t len = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--) {
        to[i] = (uint8_t)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    to[0] = (uint8_t)(0xf00 >> len | point); /* 110xxxxx, 1110xxxx, 11110xxx */
    return len;
}

/* Decodes the escape at json->at, which is a backslash. */
static pil_status read_escape(struct pil_json *json, uint8_t to[4], size_t *ret_len) {
    static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    const uint8_t *at = json->at;
    const char *found = json->end - at > 1 ? memchr(letters, at[1], sizeof letters - 1) : NULL;
    if (found != NULL) {
        *to = (uint8_t)bytes[found - letters];
        *ret_len = 1;
        json->at += 2;
        return PIL_STATUS_OK;
    }
    if (json->end - at < 2 || at[1] != 'u') {
        return fail(json, "Invalid \\escape");
    }
    int32_t unit = hex_unit(json, at + 2);
    if (unit < 0) {
        return fail_at(json, at + 1, "Invalid \\uXXXX escape");
    }
    json->at += 6;
    uint32_t point = (uint32_t)unit;
    if (unit >= 0xd800 && unit < 0xe000) {
        int32_t low =
            json->end - json->at >= 6 && json->at[0] == '\\' && json->at[1] == 'u' ? hex_unit(json, json->at + 2) : -1;
        if (unit >= 0xdc00 || low < 0xdc00 || low >= 0xe000) {
            return fail_at(json, at, "Unpaired surrogate escape");
        }
        json->at += 6;
        point = 0x10000 + ((point - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
    }
    *ret_len = put_utf8(to, point);
    return PIL_STATUS_OK;
}

/* Checks and skips characters that need no decoding, up to `end` or one or two bytes behind it; stops at a quote or a
 * backslash. */
static pil_status pass_part(struct pil_json *json, const uint8_t *end) {
    while (json->at < end) {
        uint8_t byte = *json->at;
        if (byte == '"' || byte == '\\') {
            return PIL_STATUS_OK;
        }
        if (byte < 0x20) {
            return fail(json, "Invalid control character at");
        }
        size_t len = byte < 0x80 ? 1 : pil_utf8_sequence(pil_bytes_from(json->at, (size_t)(json->end - json->at)));
        if (len == 0) {
            json->is_not_utf8 = true;
            return fail(json, "Invalid UTF-8");
        }
        json->at += len;
    }
    return PIL_STATUS_OK;
}

static pil_status pass_plain(struct pil_json *json, const uint8_t *string) {
    while (json->at < json->end) {
        size_t left = (size_t)(json->end - json->at);
        const uint8_t *end = json->at + (left < PIL_JSON_REST_BYTES ? left : PIL_JSON_REST_BYTES);
        PIL_TRY(pass_part(json, end));
        if (json->at < end) {
            return PIL_STATUS_OK;
        }
        if (json->at < json->end) {
            rest(json);
        }
    }
    return fail_at(json, string, "Unterminated string starting at");
}

static pil_status append(struct pil_json *json, uint8_t **scratch, const uint8_t *from, size_t len) {
    if ((size_t)(json->scratch_end - *scratch) < len) {
        json->error = "too many characters in strings with escapes";
        return PIL_STATUS_TOO_LARGE;
    }
    if (len > 0) {
        memcpy(*scratch, from, len);
        *scratch += len;
    }
    return PIL_STATUS_OK;
}

pil_status pil_json_read_string(struct pil_json *json, struct pil_bytes *ret_string) {
    skip_space(json);
    const uint8_t *string = json->at;
    if (!take(json, '"')) {
        return fail(json, "Expecting value");
    }
    uint8_t *scratch = json->scratch;
    for (bool is_first = true;; is_first = false) {
        const uint8_t *run = json->at;
        PIL_TRY(pass_plain(json, string));
        size_t run_len = (size_t)(json->at - run);
        if (*json->at == '"' && is_first) {
            *ret_string = pil_bytes_from(run, run_len);
            json->at++;
            return PIL_STATUS_OK;
        }
        PIL_TRY(append(json, &scratch, run, run_len));
        if (*json->at == '"') {
            break;
        }
        uint8_t escaped[4];
        size_t escaped_len;
        count_steps(json, 1);
        PIL_TRY(read_escape(json, escaped, &escaped_len));
        PIL_TRY(append(json, &scratch, escaped, escaped_len));
    }
    json->at++;
    *ret_string = pil_bytes_from(json->scratch, (size_t)(scratch - json->scratch));
    json->scratch = scratch;
    return PIL_STATUS_OK;
}

/* ---- Arrays and objects. */

pil_status pil_json_enter(struct pil_json *json, pil_json_kind kind) {
    if (!take(json, kind == PIL_JSON_OBJECT ? '{' : '[')) {
        return fail(json, "Expecting value");
    }
    if (json->depth == PIL_JSON_DEPTH_MAX) {
        json->error = "arrays and objects are nested too deep";
        return PIL_STATUS_TOO_LARGE;
    }
    json->depth++;
    return PIL_STATUS_OK;
}

/* Reads the comma before the next element or member, or the closing bracket. */
static pil_status next(struct pil_json *json, uint8_t close, bool *first, bool *ret_more) {
    count_steps(json, 1);
    if (take(json, close)) {
        json->depth--;
        *ret_more = false;
        return PIL_STATUS_OK;
    }
    if (!*first && !take(json, ',')) {
        return fail(json, "Expecting ',' delimiter");
    }
    *first = false;
    *ret_more = true;
    return PIL_STATUS_OK;
}

pil_status pil_json_next_element(struct pil_json *json, bool *first, bool *ret_more) {
    PIL_TRY(next(json, ']', first, ret_more));
    return !*ret_more || pil_json_peek(json) != PIL_JSON_END ? PIL_STATUS_OK : fail(json, "Expecting value");
}

pil_status pil_json_next_member(struct pil_json *json, bool *first, struct pil_bytes *ret_name, bool *ret_more) {
    PIL_TRY(next(json, '}', first, ret_more));
    if (!*ret_more) {
        return PIL_STATUS_OK;
    }
    if (pil_json_peek(json) != PIL_JSON_STRING) {
        return fail(json, "Expecting property name enclosed in double quotes");
    }
    PIL_TRY(pil_json_read_string(json, ret_name));
    return take(json, ':') ? PIL_STATUS_OK : fail(json, "Expecting ':' delimiter");
}

static pil_status skip_scalar(struct pil_json *json, pil_json_kind kind) {
    bool flag;
    struct pil_json_number number;
    struct pil_bytes string;
    uint8_t *scratch = json->scratch;
    switch (kind) {
    case PIL_JSON_NULL: return pil_json_read_null(json);
    case PIL_JSON_BOOL: return pil_json_read_bool(json, &flag);
    case PIL_JSON_NUMBER: return pil_json_read_number(json, &number);
    case PIL_JSON_STRING:
        PIL_TRY(pil_json_read_string(json, &string));
        json->scratch = scratch; /* the decoded string is not kept */
        return PIL_STATUS_OK;
    case PIL_JSON_END: return fail(json, "Expecting value");
    case PIL_JSON_ARRAY:
    case PIL_JSON_OBJECT: break;
    }
    PIL_UNREACHABLE("not a scalar");
}

pil_status pil_json_skip(struct pil_json *json, struct pil_bytes *ret_raw) {
    pil_json_kind kind = pil_json_peek(json);
    const uint8_t *begin = json->at;
    uint32_t depth = json->depth;
    bool is_object[PIL_JSON_DEPTH_MAX + 1]; /* by depth */
    bool first = false;
    for (;;) {
        if (kind == PIL_JSON_ARRAY || kind == PIL_JSON_OBJECT) {
            PIL_TRY(pil_json_enter(json, kind));
            is_object[json->depth] = kind == PIL_JSON_OBJECT;
            first = true;
        } else {
            PIL_TRY(skip_scalar(json, kind));
        }
        bool more = false;
        while (json->depth > depth && !more) {
            uint8_t *scratch = json->scratch;
            struct pil_bytes name;
            PIL_TRY(is_object[json->depth] ? pil_json_next_member(json, &first, &name, &more)
                                           : pil_json_next_element(json, &first, &more));
            json->scratch = scratch;
            first = false;
        }
        if (json->depth == depth) {
            *ret_raw = pil_bytes_from(begin, (size_t)(json->at - begin));
            return PIL_STATUS_OK;
        }
        kind = pil_json_peek(json);
    }
}

void pil_json_work(struct pil_json *json, size_t bytes) {
    count_steps(json, 1 + bytes / (PIL_JSON_REST_BYTES / PIL_JSON_REST_STEPS));
}

pil_status pil_json_finish(struct pil_json *json) {
    skip_space(json);
    return json->at == json->end ? PIL_STATUS_OK : fail(json, "Extra data");
}
