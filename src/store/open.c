/* SPDX-License-Identifier: Apache-2.0
 * The table of schemes, and opening by it. */
#include "store/scheme.h"

#include "store/directory.h"

#include <string.h>

#define ROW(prefix, value, help, open) {prefix, value, help, open},
const struct pil_store_scheme pil_store_schemes[] = {PIL_STORE_SCHEME_TABLE(ROW, )};
const uint32_t pil_store_scheme_count = sizeof pil_store_schemes / sizeof pil_store_schemes[0];

const struct pil_store_scheme *pil_store_scheme_find(const char *url) {
    for (uint32_t i = 0; i < pil_store_scheme_count; i++) {
        if (strncmp(url, pil_store_schemes[i].prefix, strlen(pil_store_schemes[i].prefix)) == 0) {
            return &pil_store_schemes[i];
        }
    }
    return NULL;
}

pil_status pil_store_open(const char *url, bool create, struct pil_store **ret_store, struct pil_error *ret_error) {
    const struct pil_store_scheme *scheme = pil_store_scheme_find(url);
    const char *rest = scheme != NULL ? url + strlen(scheme->prefix) : "";
    if (rest[0] == '\0') {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "store '%s' is not understood; a store is " PIL_STORE_FORMS,
                        url);
    }
    if (rest[0] == '~' || rest[0] == '$') { /* opening would make a folder of that name */
        return pil_fail(ret_error, PIL_STATUS_INVALID,
                        "store '%s': %s not expanded here; write the whole path, or ./%s for a folder of that name",
                        url, rest[0] == '~' ? "~ is" : "variables are", rest);
    }
    return scheme->open(rest, create, ret_store, ret_error);
}
