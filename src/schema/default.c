/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/default.h"
#include "base/bounds.h"
#include "base/panic.h"

#include <float.h>
#include <math.h>

/* Largest finite values of the short floats: IEEE 754 binary16, and bfloat16 = the high half of a binary32. */
#define FLOAT16_MAX 65504.0
#define BFLOAT16_MAX 0x1.fep127

static pil_status check_integer(const json_t *value, int64_t min, int64_t max, struct pil_error *ret_error) {
    if (!json_is_integer(value)) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "must be a whole number");
    }
    if (json_integer_value(value) < min || json_integer_value(value) > max) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "must be from %lld to %lld", (long long)min, (long long)max);
    }
    return PIL_STATUS_OK;
}

static pil_status check_float(const json_t *value, double max, struct pil_error *ret_error) {
    if (!json_is_number(value)) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "must be a number");
    }
    if (!(fabs(json_number_value(value)) <= max)) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "must be from -%g to %g", max, max);
    }
    return PIL_STATUS_OK;
}

static int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648 section 4, padded, with zero bits at the end: one text for each value. */
static bool is_base64(const char *text, size_t len) {
    size_t pads = len > 0 && text[len - 1] == '=' ? (len > 1 && text[len - 2] == '=' ? 2 : 1) : 0;
    if (len % 4 != 0) {
        return false;
    }
    for (size_t i = 0; i < len - pads; i++) {
        if (base64_digit(text[i]) < 0) {
            return false;
        }
    }
    int unused = pads == 2 ? 15 : pads == 1 ? 3 : 0;
    return pads == 0 || (base64_digit(text[len - pads - 1]) & unused) == 0;
}

static pil_status check_text(const json_t *value, bool base64, struct pil_error *ret_error) {
    if (!json_is_string(value)) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, base64 ? "must be base64 text" : "must be text");
    }
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);
    if (len > PIL_DEFAULT_TEXT_BYTES_MAX || strlen(text) != len) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "must be at most %d bytes without a NUL",
                        PIL_DEFAULT_TEXT_BYTES_MAX);
    }
    if (base64 && !is_base64(text, len)) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "must be base64 text (RFC 4648, padded with '=')");
    }
    return PIL_STATUS_OK;
}

static pil_status check_element(pil_scalar scalar, const json_t *value, struct pil_error *ret_error) {
    switch (scalar) {
    case PIL_SCALAR_BOOL:
        return json_is_boolean(value) ? PIL_STATUS_OK
                                      : pil_fail(ret_error, PIL_STATUS_INVALID, "must be true or false");
    case PIL_SCALAR_INT8: return check_integer(value, INT8_MIN, INT8_MAX, ret_error);
    case PIL_SCALAR_INT32: return check_integer(value, INT32_MIN, INT32_MAX, ret_error);
    case PIL_SCALAR_INT64: return check_integer(value, INT64_MIN, INT64_MAX, ret_error);
    case PIL_SCALAR_UNIX_TIMESTAMP: return check_integer(value, INT64_MIN / 1000000, INT64_MAX / 1000000, ret_error);
    case PIL_SCALAR_FLOAT16: return check_float(value, FLOAT16_MAX, ret_error);
    case PIL_SCALAR_BFLOAT16: return check_float(value, BFLOAT16_MAX, ret_error);
    case PIL_SCALAR_FLOAT32: return check_float(value, FLT_MAX, ret_error);
    case PIL_SCALAR_FLOAT64: return check_float(value, DBL_MAX, ret_error);
    case PIL_SCALAR_STRING: return check_text(value, false, ret_error);
    case PIL_SCALAR_BYTES: return check_text(value, true, ret_error);
    case PIL_SCALAR_COUNT: break;
    }
    PIL_UNREACHABLE("scalar");
}

static json_t *canonical(pil_scalar scalar, const json_t *value) {
    switch (scalar) {
    case PIL_SCALAR_FLOAT16:
    case PIL_SCALAR_BFLOAT16:
    case PIL_SCALAR_FLOAT32:
    case PIL_SCALAR_FLOAT64: return json_real(json_number_value(value));
    case PIL_SCALAR_BOOL:
    case PIL_SCALAR_INT8:
    case PIL_SCALAR_INT32:
    case PIL_SCALAR_INT64:
    case PIL_SCALAR_UNIX_TIMESTAMP:
    case PIL_SCALAR_STRING:
    case PIL_SCALAR_BYTES: return json_copy((json_t *)(uintptr_t)value);
    case PIL_SCALAR_COUNT: break;
    }
    PIL_UNREACHABLE("scalar");
}

static pil_status normalize_array(struct pil_type type, const json_t *value, json_t **ret_value,
                                  struct pil_error *ret_error) {
    size_t count = json_array_size(value); /* 0 when it is no array */
    if (!json_is_array(value) || (type.shape == PIL_SHAPE_VECTOR && count != type.dimension)) {
        return type.shape == PIL_SHAPE_VECTOR
                   ? pil_fail(ret_error, PIL_STATUS_INVALID, "must be a list of %u numbers", type.dimension)
                   : pil_fail(ret_error, PIL_STATUS_INVALID, "must be a list");
    }
    if (count > PIL_VECTOR_DIMENSION_MAX) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "must have at most %d elements", PIL_VECTOR_DIMENSION_MAX);
    }
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        const json_t *element = json_array_get(value, i);
        pil_status status = check_element(type.scalar, element, ret_error);
        if (status != PIL_STATUS_OK) {
            json_decref(array);
            return pil_fail_in(ret_error, status, "element %zu", i + 1);
        }
        PIL_ASSERT(json_array_append_new(array, canonical(type.scalar, element)) == 0);
    }
    *ret_value = array;
    return PIL_STATUS_OK;
}

pil_status pil_default_normalize(struct pil_type type, const json_t *value, json_t **ret_value,
                                 struct pil_error *ret_error) {
    if (type.shape != PIL_SHAPE_SCALAR) {
        return normalize_array(type, value, ret_value, ret_error);
    }
    PIL_TRY(check_element(type.scalar, value, ret_error));
    *ret_value = canonical(type.scalar, value);
    return PIL_STATUS_OK;
}
