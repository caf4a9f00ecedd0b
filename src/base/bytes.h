/* SPDX-License-Identifier: Apache-2.0
 * Borrowed byte spans, and little-endian loads and stores from any address. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* For large variables on the request path, which the build would otherwise clear (-ftrivial-auto-var-init): all that is
 * read of them is written before. */
#define PIL_UNINITIALIZED __attribute__((uninitialized))

/* A borrowed span: the function that returns it owns the memory. `data` may be NULL when `len` is 0. */
struct pil_bytes {
    const uint8_t *data;
    size_t len;
};

static inline struct pil_bytes pil_bytes_from(const void *data, size_t len) {
    return (struct pil_bytes){.data = data, .len = len};
}

static inline struct pil_bytes pil_bytes_from_text(const char *text) {
    return (struct pil_bytes){.data = (const uint8_t *)text, .len = strlen(text)};
}

static inline bool pil_bytes_equal(struct pil_bytes a, struct pil_bytes b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool pil_bytes_equal_text(struct pil_bytes a, const char *text) {
    return pil_bytes_equal(a, pil_bytes_from_text(text));
}

static inline bool pil_bytes_are_zero(const uint8_t *data, size_t len) {
    return len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

/* ASCII case folding only, for RESP commands and HTTP field names. */
static inline bool pil_bytes_equal_nocase(struct pil_bytes a, const char *text) {
    size_t i = 0;
    for (; i < a.len && text[i] != '\0'; i++) {
        unsigned char x = a.data[i], y = (unsigned char)text[i];
        x = (unsigned char)(x >= 'A' && x <= 'Z' ? x + 32 : x);
        y = (unsigned char)(y >= 'A' && y <= 'Z' ? y + 32 : y);
        if (x != y) {
            return false;
        }
    }
    return i == a.len && text[i] == '\0';
}

/* The formats are little-endian, and so is every machine that we support (checked in snapshot/format.h). */
#define PIL_BYTES_ACCESSORS(type, name) \
    static inline type pil_load_##name(const void *from) { \
        type value; \
        memcpy(&value, from, sizeof value); \
        return value; \
    } \
    static inline void pil_store_##name(void *to, type value) { \
        memcpy(to, &value, sizeof value); \
    }
PIL_BYTES_ACCESSORS(uint16_t, u16)
PIL_BYTES_ACCESSORS(uint32_t, u32)
PIL_BYTES_ACCESSORS(uint64_t, u64)
PIL_BYTES_ACCESSORS(int32_t, i32)
PIL_BYTES_ACCESSORS(int64_t, i64)
PIL_BYTES_ACCESSORS(float, f32)
PIL_BYTES_ACCESSORS(double, f64)
#undef PIL_BYTES_ACCESSORS

static inline uint64_t pil_align_up(uint64_t value, uint64_t alignment) {
    return (value + alignment - 1) / alignment * alignment;
}
