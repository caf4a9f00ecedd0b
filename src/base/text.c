/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "base/panic.h"

#include <stdio.h>
#include <stdlib.h>

static void fail(struct pil_text *text) {
    free(text->data);
    *text = (struct pil_text){.failed = true};
}

/* Makes room for `more` bytes and a NUL; returns false if memory is short, now or earlier. */
static bool reserve(struct pil_text *text, size_t more) {
    size_t wanted = text->len + more + 1;
    if (text->failed) {
        return false;
    }
    if (wanted <= text->capacity) {
        return true;
    }
    size_t capacity = text->capacity < 128 ? 128 : text->capacity;
    while (capacity < wanted) {
        capacity *= 2;
    }
    char *grown = realloc(text->data, capacity);
    if (grown == NULL) {
        fail(text);
        return false;
    }
    text->data = grown;
    text->capacity = capacity;
    return true;
}

void pil_text_append(struct pil_text *text, const void *data, size_t len) {
    if (!reserve(text, len)) {
        return;
    }
    if (len > 0) {
        memcpy(text->data + text->len, data, len);
    }
    text->len += len;
    PIL_ASSERT(text->len < text->capacity);
    text->data[text->len] = '\0';
}

void pil_text_format(struct pil_text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int needed = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (needed < 0) { /* vsnprintf had no memory, or the result exceeds INT_MAX */
        fail(text);
    } else if (reserve(text, (size_t)needed)) {
        va_start(arguments, format);
        vsnprintf(text->data + text->len, (size_t)needed + 1, format, arguments);
        va_end(arguments);
        text->len += (size_t)needed;
        PIL_ASSERT(text->len < text->capacity);
    }
}

void pil_text_clear(struct pil_text *text) {
    text->len = 0;
    text->failed = false;
    if (text->data != NULL) {
        text->data[0] = '\0';
    }
}

void pil_text_deinit(struct pil_text *text) {
    free(text->data);
    *text = (struct pil_text){0};
}
