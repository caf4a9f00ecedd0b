/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/value.h"
#include "base/half.h"
#include "base/panic.h"
#include "snapshot/reader.h"

#include <math.h>

/* ---- Finding and reading */

struct pil_bytes pil_value_of(const struct pil_feature *feature, const uint8_t *row, const struct pil_bytes *heap) {
    const uint8_t *field = row + feature->offset;
    return pil_type_is_reference(feature->type) ? pil_row_reference(heap, field)
                                                : pil_bytes_from(field, pil_type_row_bytes(feature->type));
}

double pil_value_number_at(pil_scalar scalar, const uint8_t *at) {
    switch (scalar) {
    case PIL_SCALAR_BOOL: return *at;
    case PIL_SCALAR_INT8: return (int8_t)*at;
    case PIL_SCALAR_INT32: return pil_load_i32(at);
    case PIL_SCALAR_INT64:
    case PIL_SCALAR_UNIX_TIMESTAMP: return (double)pil_load_i64(at);
    case PIL_SCALAR_FLOAT32: return (double)pil_load_f32(at);
    case PIL_SCALAR_FLOAT64: return pil_load_f64(at);
    case PIL_SCALAR_FLOAT16: return (double)pil_float_from_f16(pil_load_u16(at));
    case PIL_SCALAR_BFLOAT16: return (double)pil_float_from_bf16(pil_load_u16(at));
    case PIL_SCALAR_STRING:
    case PIL_SCALAR_BYTES:
    case PIL_SCALAR_COUNT: break;
    }
    PIL_UNREACHABLE("not a number");
}

bool pil_value_is_integer(pil_scalar scalar) {
    switch (pil_scalar_kind(scalar)) {
    case PIL_KIND_INTEGER:
    case PIL_KIND_TIME: return true;
    case PIL_KIND_BOOL:
    case PIL_KIND_FLOAT:
    case PIL_KIND_TEXT:
    case PIL_KIND_BYTES: break;
    }
    return false;
}

int64_t pil_value_integer_at(pil_scalar scalar, const uint8_t *at) {
    switch (scalar) {
    case PIL_SCALAR_INT8: return (int8_t)*at;
    case PIL_SCALAR_INT32: return pil_load_i32(at);
    case PIL_SCALAR_INT64:
    case PIL_SCALAR_UNIX_TIMESTAMP: return pil_load_i64(at);
    case PIL_SCALAR_BOOL:
    case PIL_SCALAR_FLOAT16:
    case PIL_SCALAR_BFLOAT16:
    case PIL_SCALAR_FLOAT32:
    case PIL_SCALAR_FLOAT64:
    case PIL_SCALAR_STRING:
    case PIL_SCALAR_BYTES:
    case PIL_SCALAR_COUNT: break;
    }
    PIL_UNREACHABLE("not an integer");
}

/* ---- Order */

int pil_value_compare_bytes(struct pil_bytes a, struct pil_bytes b) {
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.data, b.data, len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_fixed(pil_scalar scalar, const uint8_t *a, const uint8_t *b) {
    if (pil_value_is_integer(scalar)) {
        int64_t x = pil_value_integer_at(scalar, a), y = pil_value_integer_at(scalar, b);
        return (x > y) - (x < y);
    }
    double x = pil_value_number_at(scalar, a), y = pil_value_number_at(scalar, b);
    return isnan(x) || isnan(y) ? isnan(y) - isnan(x) : (x > y) - (x < y);
}

static int compare_texts(struct pil_bytes a, struct pil_bytes b) {
    uint32_t count_a = pil_list_strings_count(a), count_b = pil_list_strings_count(b);
    int order = 0;
    for (uint32_t i = 0; order == 0 && i < count_a && i < count_b; i++) {
        order = pil_value_compare_bytes(pil_list_strings_at(a, i), pil_list_strings_at(b, i));
    }
    return order != 0 ? order : (count_a > count_b) - (count_a < count_b);
}

int pil_value_compare(struct pil_type type, struct pil_bytes a, struct pil_bytes b) {
    if (pil_scalar_is_text(type.scalar)) {
        return type.shape == PIL_SHAPE_SCALAR ? pil_value_compare_bytes(a, b) : compare_texts(a, b);
    }
    size_t width = pil_scalar_bytes(type.scalar);
    PIL_ASSERT(a.len % width == 0 && b.len % width == 0);
    int order = 0;
    for (size_t at = 0; order == 0 && at < a.len && at < b.len; at += width) {
        order = compare_fixed(type.scalar, a.data + at, b.data + at);
    }
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}
