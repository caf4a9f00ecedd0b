/* SPDX-License-Identifier: Apache-2.0
 * From a row to a tensor row: whole runs are converted first; nulls, which are rare, are written over them afterwards.
 */
#include "base/half.h"
#include "snapshot/reader.h"
#include "vector/plan.h"

#include <math.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

/* ---- Conversions: one loop for each pair of types, so that the compiler can vectorise it. */

typedef void convert(const uint8_t *from, uint32_t count, uint8_t *to);

/* clang-format off */
#define DEFINE_CONVERT(name, type, store, value)                         \
    static void name(const uint8_t *from, uint32_t count, uint8_t *to) { \
        for (size_t i = 0; i < count; i++) {                             \
            store(to + i * sizeof(type), (type)(value));                 \
        }                                                                \
    }
#define DEFINE_BOTH(name, value)                               \
    DEFINE_CONVERT(name##_to_f32, float, pil_store_f32, value) \
    DEFINE_CONVERT(name##_to_f64, double, pil_store_f64, value)
DEFINE_BOTH(bool, from[i] != 0)
DEFINE_BOTH(i8_alone, (int8_t)from[i])
DEFINE_BOTH(i32, pil_load_i32(from + i * 4))
DEFINE_BOTH(i64, pil_load_i64(from + i * 8))
DEFINE_BOTH(timestamp, (double)pil_load_i64(from + i * 8) / 1e6) /* seconds */
DEFINE_BOTH(f16_alone, pil_float_from_f16(pil_load_u16(from + i * 2)))
DEFINE_BOTH(bf16, pil_float_from_bf16(pil_load_u16(from + i * 2)))
DEFINE_CONVERT(f32_to_f64, double, pil_store_f64, pil_load_f32(from + i * 4))
DEFINE_CONVERT(f64_to_f32, float, pil_store_f32, pil_load_f64(from + i * 8))
/* clang-format on */

/* For embeddings: eight elements at a time if the processor can; the baseline that the compiler builds for has no such
 * instructions. */
#ifdef __x86_64__
enum { LANES = 8 };
__attribute__((target("avx2,f16c"))) static uint32_t f16_by_lanes(const uint8_t *from, uint32_t count, uint8_t *to) {
    uint32_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        __m256 wide = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)(const void *)(from + (size_t)i * 2)));
        _mm256_storeu_ps((float *)(void *)(to + (size_t)i * 4), wide);
    }
    return i;
}
__attribute__((target("avx2"))) static uint32_t i8_by_lanes(const uint8_t *from, uint32_t count, uint8_t *to) {
    uint32_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i_u *)(const void *)(from + i)));
        _mm256_storeu_ps((float *)(void *)(to + (size_t)i * 4), _mm256_cvtepi32_ps(wide));
    }
    return i;
}
static bool has_lanes(void) {
    return __builtin_cpu_supports("avx2"); /* every processor with AVX2 has F16C */
}
#else
static uint32_t f16_by_lanes(const uint8_t *from, uint32_t count, uint8_t *to) {
    (void)from, (void)count, (void)to;
    return 0;
}
static uint32_t i8_by_lanes(const uint8_t *from, uint32_t count, uint8_t *to) {
    return f16_by_lanes(from, count, to);
}
static bool has_lanes(void) {
    return false;
}
#endif
static void f16_to_f32(const uint8_t *from, uint32_t count, uint8_t *to) {
    uint32_t done = has_lanes() ? f16_by_lanes(from, count, to) : 0;
    f16_alone_to_f32(from + (size_t)done * 2, count - done, to + (size_t)done * 4);
}
static void i8_to_f32(const uint8_t *from, uint32_t count, uint8_t *to) {
    uint32_t done = has_lanes() ? i8_by_lanes(from, count, to) : 0;
    i8_alone_to_f32(from + done, count - done, to + (size_t)done * 4);
}

static void f64_to_f64(const uint8_t *from, uint32_t count, uint8_t *to) {
    memcpy(to, from, (size_t)count * 8);
}

/* NULL: float32 to float32, which is only copied, and types without a place in a tensor, which occur in no run. */
static convert *const converters[][2] = {
    [PIL_SCALAR_BOOL] = {bool_to_f32, bool_to_f64},
    [PIL_SCALAR_INT32] = {i32_to_f32, i32_to_f64},
    [PIL_SCALAR_INT64] = {i64_to_f32, i64_to_f64},
    [PIL_SCALAR_FLOAT32] = {NULL, f32_to_f64},
    [PIL_SCALAR_FLOAT64] = {f64_to_f32, f64_to_f64},
    [PIL_SCALAR_STRING] = {NULL, NULL},
    [PIL_SCALAR_BYTES] = {NULL, NULL},
    [PIL_SCALAR_UNIX_TIMESTAMP] = {timestamp_to_f32, timestamp_to_f64},
    [PIL_SCALAR_FLOAT16] = {f16_to_f32, f16_alone_to_f64},
    [PIL_SCALAR_BFLOAT16] = {bf16_to_f32, bf16_to_f64},
    [PIL_SCALAR_INT8] = {i8_to_f32, i8_alone_to_f64},
};
PIL_STATIC_ASSERT(sizeof converters / sizeof converters[0] == PIL_SCALAR_COUNT);
PIL_STATIC_ASSERT(PIL_VECTOR_DTYPE_COUNT == sizeof converters[0] / sizeof converters[0][0]);

/* ---- Rows. */

static void put_number(const struct pil_vector_plan *plan, uint32_t element, double value, uint8_t *values) {
    switch (plan->dtype) {
    case PIL_VECTOR_FLOAT32: pil_store_f32(values + (size_t)element * 4, (float)value); return;
    case PIL_VECTOR_FLOAT64: pil_store_f64(values + (size_t)element * 8, value); return;
    }
}

static void put_nothing(const struct pil_vector_plan *plan, const struct pil_vector_column *column, bool use_defaults,
                        uint8_t *values) {
    bool is_default = use_defaults && column->has_default;
    for (uint32_t i = 0; i < column->count; i++) {
        put_number(plan, column->first + i, is_default ? plan->defaults[column->default_first + i] : (double)NAN,
                   values);
    }
}

static bool is_null(const struct pil_vector_view *view, const uint8_t *row, const struct pil_vector_column *column) {
    return (row[view->view->layout.null_offset + column->null_bit / 8] >> (column->null_bit % 8)) & 1;
}

/* Tests the bitmap in words of 8 bytes. The last word may begin before the bitmap, where a row has its key and
 * timestamp. */
static inline bool may_have_nulls(const struct pil_vector_view *view, const uint8_t *row) {
    uint32_t at = view->null_first;
    uint64_t any = 0;
    for (; at + 8 <= view->null_end; at += 8) {
        any |= pil_load_u64(row + at);
    }
    if (at < view->null_end) {
        any |= pil_load_u64(row + view->null_end - 8) >> (64 - 8 * (view->null_end - at));
    }
    return any != 0;
}

uint32_t pil_vector_put_statuses(const struct pil_vector_plan *plan, uint32_t slot, const uint8_t *row,
                                 pil_value_status status_of_row, uint8_t *statuses) {
    const struct pil_vector_view *view = &plan->views[slot];
    const uint32_t *numbers = &plan->by_view[view->column_first];
    if (plan->view_count == 1) {
        memset(statuses, (int)status_of_row, plan->feature_count);
    } else {
        for (uint32_t i = 0; i < view->column_count; i++) {
            statuses[numbers[i]] = (uint8_t)status_of_row;
        }
    }
    uint32_t nulls = 0;
    bool look = row != NULL && may_have_nulls(view, row);
    for (uint32_t i = 0; look && i < view->column_count; i++) {
        if (is_null(view, row, &plan->columns[numbers[i]])) {
            statuses[numbers[i]] = PIL_VALUE_NULL_VALUE;
            nulls++;
        }
    }
    return nulls;
}

void pil_vector_put_values(const struct pil_vector_plan *plan, uint32_t slot, const uint8_t *row, bool use_defaults,
                           void *values) {
    const struct pil_vector_view *view = &plan->views[slot];
    const uint32_t *numbers = &plan->by_view[view->column_first];
    for (uint32_t i = 0; row != NULL && i < view->run_count; i++) {
        const struct pil_vector_run *run = &plan->runs[view->run_first + i];
        uint8_t *to = (uint8_t *)values + (size_t)run->first * pil_vector_dtype_bytes(plan->dtype);
        bool is_copied = run->scalar == PIL_SCALAR_FLOAT32 && plan->dtype == PIL_VECTOR_FLOAT32;
        if (is_copied && run->count == 1) { /* frequent: single features out of many */
            memcpy(to, row + run->offset, sizeof(float));
        } else if (is_copied) {
            memcpy(to, row + run->offset, (size_t)run->count * sizeof(float));
        } else {
            converters[run->scalar][plan->dtype](row + run->offset, run->count, to);
        }
    }
    if (row != NULL && !may_have_nulls(view, row)) {
        return;
    }
    for (uint32_t i = 0; i < view->column_count; i++) {
        const struct pil_vector_column *column = &plan->columns[numbers[i]];
        if (row == NULL || is_null(view, row, column)) {
            put_nothing(plan, column, use_defaults, values);
        }
    }
}
