/* SPDX-License-Identifier: Apache-2.0 */
#include "release/object.h"

enum { ATTEMPTS_MAX = 3 };

/* By compare-and-swap: a collector may remove it meanwhile. */
static pil_status replace(struct pil_store *store, const char *name, const struct pil_bytes *content,
                          struct pil_error *error) {
    struct pil_text text = {0};
    struct pil_store_tag tag;
    uint64_t bytes;
    struct pil_bytes same = {0};
    if (content != NULL) {
        same = *content;
        PIL_TRY(store->ops->stat(store, name, &bytes, &tag, error));
    } else {
        PIL_TRY(store->ops->get(store, name, SIZE_MAX, &text, &tag, error));
        same = pil_text_bytes(&text);
    }
    pil_status status = store->ops->put_if_match(store, name, same, &tag, error);
    pil_text_deinit(&text);
    return status;
}

pil_status pil_object_refresh(struct pil_store *store, const char *name, const struct pil_bytes *content,
                              bool *ret_replaced, struct pil_error *ret_error) {
    pil_status status = PIL_STATUS_CONFLICT; /* others replaced or removed it meanwhile */
    bool replaced = false;
    for (uint32_t attempt = 0; attempt < ATTEMPTS_MAX && status == PIL_STATUS_CONFLICT; attempt++) {
        status = store->ops->touch(store, name, ret_error);
        if (status == PIL_STATUS_DENIED) {
            status = replace(store, name, content, ret_error);
            replaced = status == PIL_STATUS_OK;
        }
    }
    if (status == PIL_STATUS_DENIED) {
        return pil_fail_in(ret_error, status,
                           "all who write have to be able to write to all of %s (one group for its files and folders, "
                           "umask 002)",
                           store->url);
    }
    PIL_TRY(status);
    *ret_replaced = replaced;
    return PIL_STATUS_OK;
}
