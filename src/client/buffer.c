/* SPDX-License-Identifier: Apache-2.0 */
#include "client/buffer.h"
#include "base/panic.h"

#include <stdlib.h>

uint8_t *pil_buffer_reserve(struct pil_buffer *buffer, size_t bytes) {
    PIL_ASSERT(buffer->len <= buffer->capacity);
    size_t wanted = 0;
    if (buffer->failed || __builtin_add_overflow(buffer->len, bytes, &wanted)) {
        buffer->failed = true;
        return NULL;
    }
    if (wanted > buffer->capacity || buffer->data == NULL) {
        size_t capacity = buffer->capacity > wanted / 2 ? buffer->capacity * 2 : wanted + 64;
        uint8_t *data = realloc(buffer->data, capacity);
        if (data == NULL) {
            buffer->failed = true;
            return NULL;
        }
        buffer->data = data;
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->len;
}

void pil_buffer_append(struct pil_buffer *buffer, const void *data, size_t len) {
    uint8_t *to = pil_buffer_reserve(buffer, len);
    if (to != NULL && len > 0) {
        memcpy(to, data, len);
        buffer->len += len;
    }
}

void pil_buffer_clear(struct pil_buffer *buffer) {
    buffer->len = 0;
    buffer->failed = false;
}

void pil_buffer_deinit(struct pil_buffer *buffer) {
    free(buffer->data);
    *buffer = (struct pil_buffer){0};
}
