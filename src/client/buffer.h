/* SPDX-License-Identifier: Apache-2.0
 * A growing byte buffer. When memory is short, it ignores everything appended afterwards and sets `failed`, so that its
 * user checks once, at the end. For this module only. */
#pragma once

#include "base/bytes.h"

/* A zero-initialised buffer is empty. */
struct pil_buffer {
    uint8_t *data;
    size_t len, capacity;
    bool failed;
};

/* Room for `bytes` more bytes, to be filled before the next call; `len` does not count them. NULL when memory is
 * short. */
uint8_t *pil_buffer_reserve(struct pil_buffer *buffer, size_t bytes);
void pil_buffer_append(struct pil_buffer *buffer, const void *data, size_t len);
/* Empties the buffer but keeps its memory. */
void pil_buffer_clear(struct pil_buffer *buffer);
void pil_buffer_deinit(struct pil_buffer *buffer);
