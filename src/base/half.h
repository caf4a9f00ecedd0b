/* SPDX-License-Identifier: Apache-2.0
 * IEEE 754 binary16 and bfloat16 to float: exact, without branches on the common path, and correct in processes that
 * flush subnormal numbers to zero. */
#pragma once

#include "base/bytes.h"

static inline float pil_float_from_bits(uint32_t bits) {
    return pil_load_f32(&bits);
}

static inline float pil_float_from_f16(uint16_t half) {
    uint32_t magnitude = half & 0x7fffu, sign = (uint32_t)(half & 0x8000u) << 16;
    /* Normal numbers: the exponent is rebased by 127 - 15; infinities and NaNs keep an exponent of all ones. */
    uint32_t normal = (magnitude << 13) + (magnitude >= 0x7c00u ? 0x70000000u : 0x38000000u);
    float subnormal_value = (float)magnitude * 0x1p-24f;
    uint32_t subnormal = pil_load_u32(&subnormal_value);
    return pil_float_from_bits((magnitude < 0x400u ? subnormal : normal) | sign);
}

/* A bfloat16 is the upper half of a float. */
static inline float pil_float_from_bf16(uint16_t half) {
    return pil_float_from_bits((uint32_t)half << 16);
}
