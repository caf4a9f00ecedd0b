/* SPDX-License-Identifier: Apache-2.0
 * Which store a URL means, and which names objects may have. */
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

pil_status pil_store_open(const char *url, bool create, struct pil_store **ret_store, struct pil_error *ret_error) {
    static const char directory_scheme[] = "dir:";
    size_t scheme_len = sizeof directory_scheme - 1;
    if (strncmp(url, directory_scheme, scheme_len) != 0 || url[scheme_len] == '\0') {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "store '%s' is not understood; a store is dir:PATH", url);
    }
    return pil_directory_open(url + scheme_len, create, ret_store, ret_error);
}

void pil_store_close(struct pil_store **store) {
    if (*store != NULL) {
        (*store)->ops->close(*store);
        *store = NULL;
    }
}
