/* SPDX-License-Identifier: Apache-2.0
 * The packed row that peers store, and its conversion to float32 by a caller that uses the machine's own
 * instructions. */
#include "embed/embed.h"

#include "base/half.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { MODULUS = 1000003, LANES = 8 };

static uint32_t number_of(const struct embed_options *options, uint64_t key, uint32_t at, uint64_t seed) {
    switch (options->type) {
    case EMBED_FLOAT32: return (uint32_t)((key * 31 + at * 7 + seed) % MODULUS);
    case EMBED_FLOAT16: return (uint32_t)(((key * 31 + seed) % MODULUS + at) % 1024);
    case EMBED_INT8: return (uint32_t)(((key * 31 + seed) % MODULUS + at) % 128);
    }
    return 0;
}

float embed_value(const struct embed_options *options, uint64_t key, uint32_t at, uint64_t seed) {
    return (float)number_of(options, key, at, seed);
}

static size_t value_bytes(embed_type type) {
    return type == EMBED_FLOAT32 ? 4 : type == EMBED_FLOAT16 ? 2 : 1;
}

size_t embed_row_bytes(const struct embed_options *options) {
    return options->width * value_bytes(options->type);
}

/* Whole numbers below 2048 are exact. */
static uint16_t half_of(uint32_t value) {
    if (value == 0) {
        return 0;
    }
    uint32_t exponent = 31 - (uint32_t)__builtin_clz(value);
    return (uint16_t)((exponent + 15) << 10 | ((value << (10 - exponent)) & 0x3ff));
}

void embed_row_pack(const struct embed_options *options, uint64_t key, void *row) {
    for (uint32_t at = 0; at < options->width; at++) {
        uint32_t number = number_of(options, key, at, options->fill_seed);
        switch (options->type) {
        case EMBED_FLOAT32: pil_store_f32((char *)row + at * sizeof(float), (float)number); break;
        case EMBED_FLOAT16: pil_store_u16((char *)row + at * sizeof(uint16_t), half_of(number)); break;
        case EMBED_INT8: ((int8_t *)row)[at] = (int8_t)number; break;
        }
    }
}

/* ---- Whole rows of short values */

#ifdef __x86_64__
__attribute__((target("avx2,f16c"))) static uint32_t f16_by_lanes(const uint8_t *from, uint32_t count, float *to) {
    uint32_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)(from + i * sizeof(uint16_t)))));
    }
    return i;
}
__attribute__((target("avx2"))) static uint32_t int8_by_lanes(const uint8_t *from, uint32_t count, float *to) {
    uint32_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i_u *)(from + i)));
        _mm256_storeu_ps(to + i, _mm256_cvtepi32_ps(wide));
    }
    return i;
}
/* Every processor with AVX2 has F16C; clang 14 cannot test for F16C. */
static bool has_lanes(void) {
    return __builtin_cpu_supports("avx2");
}
#else
static uint32_t f16_by_lanes(const uint8_t *from, uint32_t count, float *to) {
    (void)from, (void)count, (void)to;
    return 0;
}
static uint32_t int8_by_lanes(const uint8_t *from, uint32_t count, float *to) {
    (void)from, (void)count, (void)to;
    return 0;
}
static bool has_lanes(void) {
    return false;
}
#endif

static float value_at(const struct embed_shape *shape, const uint8_t *row, uint32_t at) {
    switch (shape->type) {
    case EMBED_FLOAT32: return pil_load_f32(row + at * sizeof(float));
    case EMBED_FLOAT16: return pil_float_from_f16(pil_load_u16(row + at * sizeof(uint16_t)));
    case EMBED_INT8: return (float)((const int8_t *)row)[at];
    }
    return 0;
}

struct embed_shape embed_shape_of(const struct embed_options *options) {
    struct embed_shape shape = {.type = options->type,
                                .is_whole = options->features == options->width,
                                .has_lanes = has_lanes(),
                                .features = options->features,
                                .row_bytes = embed_row_bytes(options)};
    for (uint32_t f = 0; f < options->features; f++) {
        shape.picks[f] = (uint16_t)embed_pick(options, f);
    }
    return shape;
}

void embed_row_unpack(const struct embed_shape *shape, const void *row, float *values) {
    uint32_t done = 0;
    if (shape->is_whole && shape->type == EMBED_FLOAT32) {
        memcpy(values, row, shape->row_bytes);
        return;
    }
    if (shape->is_whole && shape->has_lanes) {
        done = (shape->type == EMBED_FLOAT16 ? f16_by_lanes : int8_by_lanes)(row, shape->features, values);
    }
    for (uint32_t f = done; f < shape->features; f++) {
        values[f] = value_at(shape, row, shape->picks[f]);
    }
}
