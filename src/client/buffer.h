/* SPDX-License-Identifier: Apache-2.0
 * Bytes that grow. When there is no memory, the buffer swallows what follows and `failed` says so: whoever fills it
 * looks once, at the end. For this module only. */
#pragma once

#include "base/bytes.h"

/* Zero-initialised is empty. */
struct pil_buffer {
    uint8_t *data;
    size_t len, capacity;
    bool failed;
};

/* Room for `bytes` more, to be filled before the next call; `len` stays. NULL: no memory. */
uint8_t *pil_buffer_reserve(struct pil_buffer *buffer, size_t bytes);
void pil_buffer_append(struct pil_buffer *buffer, const void *data, size_t len);
/* Empties it, keeps its memory. */
void pil_buffer_clear(struct pil_buffer *buffer);
void pil_buffer_deinit(struct pil_buffer *buffer);
