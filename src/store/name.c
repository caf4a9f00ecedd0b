/* SPDX-License-Identifier: Apache-2.0
 * Which names objects may have. */
#include "store/store.h"

#include <limits.h>
#include <string.h>

enum { SEGMENTS_MAX = 16 };

static bool segment_char_ok(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("._=@+-", c) != NULL);
}

bool pil_store_name_ok(const char *name) {
    size_t len = strlen(name), segments = 1, start = 0;
    if (len >= PIL_STORE_NAME_BYTES) {
        return false;
    }
    for (size_t i = 0; i <= len; i++) {
        if (name[i] == '/' || name[i] == '\0') {
            bool empty_or_own = i == start || name[start] == '.';
            if (empty_or_own || i - start > NAME_MAX || segments > SEGMENTS_MAX) {
                return false;
            }
            start = i + 1;
            segments++;
        } else if (!segment_char_ok(name[i])) {
            return false;
        }
    }
    return true;
}

bool pil_store_prefix_ok(const char *prefix) {
    char name[PIL_STORE_NAME_BYTES];
    size_t len = strlen(prefix);
    if (len == 0) {
        return true;
    }
    if (len >= sizeof name || prefix[len - 1] != '/') {
        return false;
    }
    memcpy(name, prefix, len - 1);
    name[len - 1] = '\0';
    return pil_store_name_ok(name);
}
