/* SPDX-License-Identifier: Apache-2.0
 * A growing byte string for the control plane: messages, JSON, metrics pages. Never used by a worker's request path. */
#pragma once

#include "base/bytes.h"

#include <stdarg.h>

/* Zero-initialised is empty. `data` is always NUL-terminated once something was added. Those who add never check: when
 * there is no memory the text becomes empty, swallows what follows, and `failed` says so; who uses the text looks once,
 * before it leaves his hands. */
struct pil_text {
    char *data;
    size_t len;
    size_t capacity;
    bool failed;
};

void pil_text_append(struct pil_text *text, const void *data, size_t len);
void pil_text_format(struct pil_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Begins anew, in the memory that it has. */
void pil_text_clear(struct pil_text *text);
/* Frees the memory and empties it; fine on an empty one. */
void pil_text_deinit(struct pil_text *text);

static inline struct pil_bytes pil_text_bytes(const struct pil_text *text) {
    return pil_bytes_from(text->data, text->len);
}
/* For people: a text that failed says that it did. */
static inline const char *pil_text_chars(const struct pil_text *text) {
    return text->failed ? "no memory for this text" : text->data != NULL ? text->data : "";
}
