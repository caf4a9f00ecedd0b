/* SPDX-License-Identifier: Apache-2.0
 * The table of schemes, and opening by it. */
#include "store/scheme.h"

#include "store/directory.h"

#include <string.h>

#define ROW(prefix, value, help, open, may_put) {prefix, value, help, open, may_put},
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

static pil_status find(const char *url, const struct pil_store_scheme **ret_scheme, const char **ret_rest,
                       struct pil_error *error) {
    *ret_scheme = pil_store_scheme_find(url);
    *ret_rest = *ret_scheme != NULL ? url + strlen((*ret_scheme)->prefix) : "";
    if (**ret_rest == '\0') {
        return pil_fail(error, PIL_STATUS_INVALID, "store '%s' is not understood; a store is " PIL_STORE_FORMS, url);
    }
    if (**ret_rest == '~' || **ret_rest == '$') { /* opening would make a folder of that name */
        return pil_fail(error, PIL_STATUS_INVALID,
                        "store '%s': %s not expanded here; write the whole path, or ./%s for a folder of that name",
                        url, **ret_rest == '~' ? "~ is" : "variables are", *ret_rest);
    }
    return PIL_STATUS_OK;
}

pil_status pil_store_open(const char *url, bool create, struct pil_store **ret_store, struct pil_error *ret_error) {
    const struct pil_store_scheme *scheme;
    const char *rest;
    PIL_TRY(find(url, &scheme, &rest, ret_error));
    return scheme->open(rest, create, ret_store, ret_error);
}

pil_status pil_store_may_put(const char *url, const char *name, struct pil_error *ret_error) {
    const struct pil_store_scheme *scheme;
    const char *rest;
    PIL_TRY(find(url, &scheme, &rest, ret_error));
    return scheme->may_put(rest, name, ret_error);
}
