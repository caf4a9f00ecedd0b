/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "base/panic.h"

#include <stdio.h>
#include <stdlib.h>

static void reserve(struct pil_text *text, size_t more) {
    size_t wanted = text->len + more + 1;
    if (wanted <= text->capacity) {
        return;
    }
    size_t capacity = text->capacity < 128 ? 128 : text->capacity;
    while (capacity < wanted) {
        capacity *= 2;
    }
    text->data = realloc(text->data, capacity);
    PIL_ASSERT(text->data != NULL);
    text->capacity = capacity;
}

void pil_text_append(struct pil_text *text, const void *data, size_t len) {
    reserve(text, len);
    if (len > 0) {
        memcpy(text->data + text->len, data, len);
    }
    text->len += len;
    text->data[text->len] = '\0';
}

void pil_text_format(struct pil_text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int needed = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    PIL_ASSERT(needed >= 0);
    reserve(text, (size_t)needed);
    va_start(arguments, format);
    vsnprintf(text->data + text->len, (size_t)needed + 1, format, arguments);
    va_end(arguments);
    text->len += (size_t)needed;
}

void pil_text_clear(struct pil_text *text) {
    text->len = 0;
    if (text->data != NULL) {
        text->data[0] = '\0';
    }
}

void pil_text_deinit(struct pil_text *text) {
    free(text->data);
    *text = (struct pil_text){0};
}
