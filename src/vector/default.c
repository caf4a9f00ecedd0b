/* SPDX-License-Identifier: Apache-2.0
 * Defaults of features as payloads, in the form that rows have them. The schema has checked that they fit the type. */
#include "vector/default.h"
#include "base/panic.h"

#include <math.h>
#include <stdlib.h>

/* To nearest, ties to even, as IEEE 754 has it. */
static uint16_t half_of(double value) {
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    double magnitude = fabs(value);
    if (isnan(value)) {
        return sign | 0x7e00;
    }
    if (magnitude >= 65520) {
        return sign | 0x7c00;
    }
    int exponent = magnitude < 0x1p-14 ? -14 : ilogb(magnitude);
    uint32_t units = (uint32_t)nearbyint(ldexp(magnitude, 10 - exponent)); /* 1024 and more: normal */
    return (uint16_t)(sign + (uint32_t)(exponent + 14) * 1024 + units);
}

static uint16_t brain_of(double value) {
    float narrow = (float)value;
    uint32_t bits = pil_load_u32(&narrow);
    return isnan(value) ? 0x7fc0 : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static int base64_digit(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

static void put_base64(const char *text, struct pil_text *payload) {
    uint32_t bits = 0, count = 0;
    for (; base64_digit(*text) >= 0; text++) {
        bits = bits << 6 | (uint32_t)base64_digit(*text);
        count += 6;
        if (count >= 8) {
            count -= 8;
            uint8_t byte = (uint8_t)(bits >> count);
            pil_text_append(payload, &byte, 1);
        }
    }
}

static void put_scalar(pil_scalar scalar, const json_t *value, struct pil_text *payload) {
    uint8_t bytes[8];
    double number = json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
    switch (scalar) {
    case PIL_SCALAR_BOOL: bytes[0] = number != 0; break;
    case PIL_SCALAR_INT8: bytes[0] = (uint8_t)json_integer_value(value); break;
    case PIL_SCALAR_INT32: pil_store_i32(bytes, (int32_t)json_integer_value(value)); break;
    case PIL_SCALAR_INT64: pil_store_i64(bytes, json_integer_value(value)); break;
    case PIL_SCALAR_UNIX_TIMESTAMP: pil_store_i64(bytes, json_integer_value(value) * 1000000); break;
    case PIL_SCALAR_FLOAT16: pil_store_u16(bytes, half_of(number)); break;
    case PIL_SCALAR_BFLOAT16: pil_store_u16(bytes, brain_of(number)); break;
    case PIL_SCALAR_FLOAT32: pil_store_f32(bytes, (float)number); break;
    case PIL_SCALAR_FLOAT64: pil_store_f64(bytes, number); break;
    case PIL_SCALAR_STRING: pil_text_append(payload, json_string_value(value), json_string_length(value)); return;
    case PIL_SCALAR_BYTES: put_base64(json_string_value(value), payload); return;
    case PIL_SCALAR_COUNT: return;
    }
    pil_text_append(payload, bytes, pil_scalar_bytes(scalar));
}

static void put_list_of_texts(pil_scalar scalar, const json_t *value, struct pil_text *payload) {
    struct pil_text bytes = {0};
    uint32_t count = (uint32_t)json_array_size(value);
    pil_text_append(payload, &count, sizeof count);
    for (uint32_t i = 0; i < count; i++) {
        put_scalar(scalar, json_array_get(value, i), &bytes);
        uint32_t end = (uint32_t)bytes.len;
        pil_text_append(payload, &end, sizeof end);
    }
    pil_text_append(payload, pil_text_chars(&bytes), bytes.len);
    pil_text_deinit(&bytes);
}

struct pil_vector_default *pil_vector_defaults_create(const struct pil_vector_plan *plan) {
    struct pil_vector_default *defaults = calloc(plan->feature_count, sizeof defaults[0]);
    PIL_ASSERT(defaults != NULL);
    for (uint32_t i = 0; i < plan->feature_count; i++) {
        const struct pil_vector_column *column = &plan->columns[i];
        const json_t *value = plan->views[column->view].view->features[column->feature].default_value;
        pil_scalar scalar = column->type.scalar;
        defaults[i].is_there = value != NULL;
        if (value == NULL) {
            continue;
        }
        if (column->type.shape == PIL_SHAPE_LIST && (scalar == PIL_SCALAR_STRING || scalar == PIL_SCALAR_BYTES)) {
            put_list_of_texts(scalar, value, &defaults[i].payload);
            continue;
        }
        size_t count = json_is_array(value) ? json_array_size(value) : 1;
        for (size_t k = 0; k < count; k++) {
            put_scalar(scalar, json_is_array(value) ? json_array_get(value, k) : value, &defaults[i].payload);
        }
    }
    return defaults;
}

void pil_vector_defaults_destroy(struct pil_vector_default **defaults, uint32_t count) {
    for (uint32_t i = 0; *defaults != NULL && i < count; i++) {
        pil_text_deinit(&(*defaults)[i].payload);
    }
    free(*defaults);
    *defaults = NULL;
}
