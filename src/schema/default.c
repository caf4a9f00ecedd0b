/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/default.h"
#include "base/base64.h"
#include "base/bounds.h"
#include "base/json_value.h"
#include "base/panic.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>

/* The largest finite values of IEEE 754 binary16 and of bfloat16, which is the high half of a binary32. */
#define FLOAT16_MAX 65504.0
#define BFLOAT16_MAX 0x1.fep127

/* A default that is being built: its block, and the place for the next bytes of the payload. */
struct maker {
    struct pil_type type;
    struct pil_default *made;
    uint8_t *at;
    uint32_t count; /* elements done so far */
};

/* ---- Numbers. */

static pil_status read_integer(const struct pil_json_value *value, int64_t min, int64_t max, int64_t *ret_integer,
                               struct pil_error *error) {
    int64_t integer = 0;
    if (!pil_json_value_integer(value, &integer)) {
        return pil_fail(error, PIL_STATUS_INVALID, "must be a whole number");
    }
    if (integer < min || integer > max) {
        return pil_fail(error, PIL_STATUS_INVALID, "must be from %lld to %lld", (long long)min, (long long)max);
    }
    *ret_integer = integer;
    return PIL_STATUS_OK;
}

/* strtod(3) needs the locale's decimal point and a NUL; the scratch memory has room for the copy. */
static double number_of(const struct pil_json_value *value) {
    PIL_ASSERT(value->scratch_bytes > value->text.len);
    char *text = (char *)value->scratch;
    memcpy(text, value->text.data, value->text.len);
    text[value->text.len] = '\0';
    char *point = strchr(text, '.');
    if (point != NULL) {
        *point = *localeconv()->decimal_point;
    }
    return strtod(text, NULL);
}

static pil_status read_float(const struct pil_json_value *value, double max, double *ret_number,
                             struct pil_error *error) {
    if (!pil_json_value_is(value, PIL_JSON_NUMBER)) {
        return pil_fail(error, PIL_STATUS_INVALID, "must be a number");
    }
    double number = number_of(value);
    if (!(fabs(number) <= max)) {
        return pil_fail(error, PIL_STATUS_INVALID, "must be from -%g to %g", max, max);
    }
    *ret_number = number;
    return PIL_STATUS_OK;
}

/* Rounds to nearest, ties to even (IEEE 754). */
static uint16_t half_of(double value) {
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    double magnitude = fabs(value);
    if (magnitude >= 65520) {
        return sign | 0x7c00;
    }
    int exponent = magnitude < 0x1p-14 ? -14 : ilogb(magnitude);
    uint32_t units = (uint32_t)nearbyint(ldexp(magnitude, 10 - exponent)); /* 1024 or more: a normal number */
    return (uint16_t)(sign + (uint32_t)(exponent + 14) * 1024 + units);
}

static uint16_t brain_of(double value) {
    float narrow = (float)value;
    uint32_t bits = pil_load_u32(&narrow);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* ---- Text. */

static void put(struct maker *maker, const void *data, size_t len) {
    if (len > 0) {
        memcpy(maker->at, data, len);
        maker->at += len;
    }
}

static pil_status put_text(struct maker *maker, const struct pil_json_value *value, struct pil_error *error) {
    bool is_bytes = !pil_scalar_is_utf8(maker->type.scalar);
    if (!pil_json_value_is(value, PIL_JSON_STRING)) {
        return pil_fail(error, PIL_STATUS_INVALID, is_bytes ? "must be base64 text" : "must be text");
    }
    struct pil_bytes text = pil_json_value_text(value);
    if (text.len > PIL_DEFAULT_TEXT_BYTES_MAX || memchr(text.data, '\0', text.len) != NULL) {
        return pil_fail(error, PIL_STATUS_INVALID, "must be at most %d bytes without a NUL",
                        PIL_DEFAULT_TEXT_BYTES_MAX);
    }
    if (!is_bytes) {
        put(maker, text.data, text.len);
        return PIL_STATUS_OK;
    }
    if (!pil_base64_is_valid(text)) {
        return pil_fail(error, PIL_STATUS_INVALID, "must be base64 text (RFC 4648, padded with '=')");
    }
    maker->at += pil_base64_decode(text, maker->at);
    return PIL_STATUS_OK;
}

/* ---- Elements. */

static pil_status put_integer(struct maker *maker, const struct pil_json_value *value, int64_t min, int64_t max,
                              struct pil_error *error) {
    int64_t integer = 0;
    uint8_t bytes[8];
    PIL_TRY(read_integer(value, min, max, &integer, error));
    bool is_time = maker->type.scalar == PIL_SCALAR_UNIX_TIMESTAMP;
    pil_store_i64(bytes, is_time ? integer * 1000000 : integer); /* little-endian: the low bytes come first */
    put(maker, bytes, pil_scalar_bytes(maker->type.scalar));
    maker->made->numbers[maker->count] = (double)integer;
    return PIL_STATUS_OK;
}

static pil_status put_float(struct maker *maker, const struct pil_json_value *value, double max,
                            struct pil_error *error) {
    double number = 0;
    uint8_t bytes[8];
    PIL_TRY(read_float(value, max, &number, error));
    switch (maker->type.scalar) {
    case PIL_SCALAR_FLOAT16: pil_store_u16(bytes, half_of(number)); break;
    case PIL_SCALAR_BFLOAT16: pil_store_u16(bytes, brain_of(number)); break;
    case PIL_SCALAR_FLOAT32: pil_store_f32(bytes, (float)number); break;
    case PIL_SCALAR_FLOAT64: pil_store_f64(bytes, number); break;
    case PIL_SCALAR_BOOL:
    case PIL_SCALAR_INT8:
    case PIL_SCALAR_INT32:
    case PIL_SCALAR_INT64:
    case PIL_SCALAR_UNIX_TIMESTAMP:
    case PIL_SCALAR_STRING:
    case PIL_SCALAR_BYTES:
    case PIL_SCALAR_COUNT: PIL_UNREACHABLE("not a float");
    }
    put(maker, bytes, pil_scalar_bytes(maker->type.scalar));
    maker->made->numbers[maker->count] = number;
    return PIL_STATUS_OK;
}

static pil_status put_bool(struct maker *maker, const struct pil_json_value *value, struct pil_error *error) {
    if (!pil_json_value_is(value, PIL_JSON_BOOL)) {
        return pil_fail(error, PIL_STATUS_INVALID, "must be true or false");
    }
    uint8_t byte = value->text.data[0] == 't';
    put(maker, &byte, 1);
    maker->made->numbers[maker->count] = byte;
    return PIL_STATUS_OK;
}

static pil_status put_element(struct maker *maker, const struct pil_json_value *value, struct pil_error *error) {
    switch (maker->type.scalar) {
    case PIL_SCALAR_BOOL: return put_bool(maker, value, error);
    case PIL_SCALAR_INT8: return put_integer(maker, value, INT8_MIN, INT8_MAX, error);
    case PIL_SCALAR_INT32: return put_integer(maker, value, INT32_MIN, INT32_MAX, error);
    case PIL_SCALAR_INT64: return put_integer(maker, value, INT64_MIN, INT64_MAX, error);
    case PIL_SCALAR_UNIX_TIMESTAMP: return put_integer(maker, value, INT64_MIN / 1000000, INT64_MAX / 1000000, error);
    case PIL_SCALAR_FLOAT16: return put_float(maker, value, FLOAT16_MAX, error);
    case PIL_SCALAR_BFLOAT16: return put_float(maker, value, BFLOAT16_MAX, error);
    case PIL_SCALAR_FLOAT32: return put_float(maker, value, FLT_MAX, error);
    case PIL_SCALAR_FLOAT64: return put_float(maker, value, DBL_MAX, error);
    case PIL_SCALAR_STRING:
    case PIL_SCALAR_BYTES: return put_text(maker, value, error);
    case PIL_SCALAR_COUNT: break;
    }
    PIL_UNREACHABLE("scalar");
}

/* A list of texts begins with its length and the end of each element (schemas/snapshot.md). */
static pil_status put_elements(struct maker *maker, const struct pil_json_value *array, struct pil_error *error) {
    struct pil_json_value_cursor cursor = pil_json_value_elements(array);
    struct pil_json_value element;
    uint8_t *ends = maker->at;
    bool has_ends = pil_scalar_is_text(maker->type.scalar);
    if (has_ends) {
        put(maker, &maker->made->count, sizeof maker->made->count);
        maker->at += (size_t)maker->made->count * 4;
    }
    const uint8_t *begin = maker->at;
    for (; pil_json_value_next(&cursor, &element); maker->count++) {
        PIL_ASSERT(maker->count < maker->made->count);
        pil_status status = put_element(maker, &element, error);
        if (status != PIL_STATUS_OK) {
            return pil_fail_in(error, status, "element %u", maker->count + 1);
        }
        if (has_ends) {
            pil_store_u32(ends + 4 + (size_t)maker->count * 4, (uint32_t)(maker->at - begin));
        }
    }
    return PIL_STATUS_OK;
}

/* ---- The whole. */

static pil_status check_shape(struct pil_type type, const struct pil_json_value *value, size_t count,
                              struct pil_error *error) {
    bool is_vector = type.shape == PIL_SHAPE_VECTOR;
    if (type.shape == PIL_SHAPE_SCALAR) {
        return PIL_STATUS_OK;
    }
    if (!pil_json_value_is(value, PIL_JSON_ARRAY) || (is_vector && count != type.dimension)) {
        return is_vector ? pil_fail(error, PIL_STATUS_INVALID, "must be a list of %u numbers", type.dimension)
                         : pil_fail(error, PIL_STATUS_INVALID, "must be a list");
    }
    return count <= PIL_VECTOR_DIMENSION_MAX
               ? PIL_STATUS_OK
               : pil_fail(error, PIL_STATUS_INVALID, "must have at most %d elements", PIL_VECTOR_DIMENSION_MAX);
}

static pil_status make(struct maker *maker, const struct pil_json_value *value, struct pil_error *error) {
    bool is_scalar = maker->type.shape == PIL_SHAPE_SCALAR;
    maker->at = (uint8_t *)&maker->made->numbers[maker->made->count];
    const uint8_t *begin = maker->at;
    PIL_TRY(is_scalar ? put_element(maker, value, error) : put_elements(maker, value, error));
    maker->made->payload = (uint32_t)(maker->at - begin);
    put(maker, value->text.data, value->text.len);
    maker->made->text = (uint32_t)value->text.len;
    maker->made->bytes = (size_t)(maker->at - (uint8_t *)maker->made);
    return PIL_STATUS_OK;
}

pil_status pil_default_parse(struct pil_type type, struct pil_bytes json, struct pil_default **ret_default,
                             struct pil_error *ret_error) {
    PIL_ASSERT(json.len > 0 && json.len <= UINT32_MAX);
    uint8_t *scratch = malloc(json.len + 1);
    struct pil_json_value value = {.text = json, .scratch = scratch, .scratch_bytes = json.len + 1};
    if (scratch == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for a default");
    }
    size_t count = type.shape == PIL_SHAPE_SCALAR ? 1 : pil_json_value_count(&value);
    pil_status status = check_shape(type, &value, count, ret_error);
    if (status == PIL_STATUS_OK) {
        /* An element takes at most 8 bytes; one of a text type takes at most its JSON and a 4-byte end. */
        size_t bytes = sizeof(struct pil_default) + count * (sizeof(double) + 8) + 8 + 2 * json.len;
        struct maker maker = {.type = type, .made = calloc(1, bytes)};
        status =
            maker.made != NULL ? PIL_STATUS_OK : pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for a default");
        if (status == PIL_STATUS_OK) {
            maker.made->count = (uint32_t)count;
            status = make(&maker, &value, ret_error);
            PIL_ASSERT(status != PIL_STATUS_OK || maker.made->bytes <= bytes);
        }
        if (status == PIL_STATUS_OK) {
            *ret_default = maker.made;
        } else {
            free(maker.made);
        }
    }
    free(scratch);
    return status;
}

struct pil_default *pil_default_copy(const struct pil_default *value) {
    struct pil_default *copy = value != NULL ? malloc(value->bytes) : NULL;
    if (copy != NULL) {
        memcpy(copy, value, value->bytes);
    }
    return copy;
}
