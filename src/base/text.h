/* SPDX-License-Identifier: Apache-2.0
 * A growing byte string for the control plane: messages, JSON, metrics pages. Never used by a worker's request path. */
#pragma once

#include "base/bytes.h"

#include <stdarg.h>

/* A zero-initialised text is empty. `data` is NUL-terminated once something was appended. Appending needs no check:
 * when memory is short the text becomes empty, `failed` is set, and later appends are ignored. The caller checks
 * `failed` once, before it uses the text. */
struct pil_text {
    char *data;
    size_t len;
    size_t capacity;
    bool failed;
};

void pil_text_append(struct pil_text *text, const void *data, size_t len);
void pil_text_format(struct pil_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void pil_text_format_v(struct pil_text *text, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));
/* Appends foreign text such that it cannot steer a terminal: each byte of a character that pil_text_is_printable
 * refuses becomes \xNN. At most columns_max characters are appended, with "…" at the end if more are left; 0: all. */
void pil_text_append_printable(struct pil_text *text, struct pil_bytes from, size_t columns_max);
/* Whether the `len` bytes at `character`, one character of UTF-8, are shown as they are: no control character (C0, DEL,
 * C1), and nothing that is invisible or changes the direction of what follows. */
bool pil_text_is_printable(const uint8_t *character, size_t len);
/* Empties the text and keeps its memory for what is appended next. */
void pil_text_clear(struct pil_text *text);
/* Frees the memory and empties the text, which may be empty already. */
void pil_text_deinit(struct pil_text *text);

static inline struct pil_bytes pil_text_bytes(const struct pil_text *text) {
    return pil_bytes_from(text->data, text->len);
}
/* For messages to people: a failed text reads as a sentence that says so. Never NULL. */
static inline const char *pil_text_chars(const struct pil_text *text) {
    return text->failed ? "no memory for this text" : text->data != NULL ? text->data : "";
}
