/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "base/utf8.h"
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

void pil_text_format_v(struct pil_text *text, const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int needed = vsnprintf(NULL, 0, format, arguments);
    if (needed < 0) { /* vsnprintf had no memory, or the result exceeds INT_MAX */
        fail(text);
    } else if (reserve(text, (size_t)needed)) {
        vsnprintf(text->data + text->len, (size_t)needed + 1, format, again);
        text->len += (size_t)needed;
        PIL_ASSERT(text->len < text->capacity);
    }
    va_end(again);
}

void pil_text_format(struct pil_text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    pil_text_format_v(text, format, arguments);
    va_end(arguments);
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

bool pil_text_is_printable(const uint8_t *character, size_t len) {
    if (len == 1) {
        return character[0] >= 0x20 && character[0] != 0x7f;
    }
    uint32_t code = character[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        code = code << 6 | (character[i] & 0x3f);
    }
    static const struct {
        uint32_t first, last;
    } refused[] = {{0x80, 0x9f},     {0xad, 0xad},     {0x61c, 0x61c},   {0x180e, 0x180e}, {0x200b, 0x200f},
                   {0x2028, 0x202e}, {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe0fff}};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (code >= refused[i].first && code <= refused[i].last) {
            return false;
        }
    }
    return true;
}

void pil_text_append_printable(struct pil_text *text, struct pil_bytes from, size_t columns_max) {
    size_t columns = 0;
    while (from.len > 0) {
        size_t len = pil_utf8_sequence(from);
        bool is_printable = len > 0 && pil_text_is_printable(from.data, len);
        size_t taken = is_printable ? len : 1, width = is_printable ? 1 : 4;
        bool fits =
            columns_max == 0 || columns + width < columns_max || (columns + width == columns_max && from.len == taken);
        if (!fits) {
            pil_text_format(text, "…");
            return;
        }
        if (is_printable) {
            pil_text_append(text, from.data, len);
        } else {
            pil_text_format(text, "\\x%02x", from.data[0]);
        }
        from = pil_bytes_from(from.data + taken, from.len - taken);
        columns += width;
    }
}
