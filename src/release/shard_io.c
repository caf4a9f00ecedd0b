/* SPDX-License-Identifier: Apache-2.0 */
#include "release/shard_io.h"

#include "release/object.h"

enum { RANGE_BYTES = 8 << 20, ATTEMPTS_MAX = 3 };

static pil_status check_size(struct pil_store *store, const char *name, uint64_t bytes, struct pil_error *error) {
    uint64_t found;
    PIL_TRY(store->ops->stat(store, name, &found, NULL, error));
    if (found != bytes) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "%s in %s has %llu bytes, not %llu; remove it and put it again",
                        name, store->url, (unsigned long long)found, (unsigned long long)bytes);
    }
    return PIL_STATUS_OK;
}

pil_status pil_shard_io_put(struct pil_store *store, const struct pil_sha256 *id, struct pil_bytes file, bool *ret_new,
                            struct pil_error *ret_error) {
    char name[PIL_STORE_NAME_BYTES];
    pil_layout_shard(id, name);
    pil_status status = PIL_STATUS_NOT_FOUND;
    bool replaced = false;
    /* A collector that looked earlier spares it; when the collector was first, it is put again. */
    for (uint32_t attempt = 0; attempt < ATTEMPTS_MAX && status == PIL_STATUS_NOT_FOUND; attempt++) {
        status = store->ops->put_if_absent(store, name, file, ret_error);
        if (status == PIL_STATUS_OK) {
            *ret_new = true;
            return status;
        }
        if (status == PIL_STATUS_EXISTS) {
            status = pil_object_refresh(store, name, &file, &replaced, ret_error);
        }
    }
    PIL_TRY(status);
    PIL_TRY(check_size(store, name, file.len, ret_error));
    *ret_new = replaced;
    return PIL_STATUS_OK;
}

pil_status pil_shard_io_read(struct pil_store *store, const struct pil_manifest_shard *shard, uint8_t *buffer,
                             void (*progress)(void *context, uint64_t bytes_done), void *context,
                             struct pil_error *ret_error) {
    char name[PIL_STORE_NAME_BYTES];
    pil_layout_shard(&shard->id, name);
    PIL_TRY(check_size(store, name, shard->bytes, ret_error));
    for (uint64_t done = 0; done < shard->bytes;) {
        uint64_t wanted = shard->bytes - done < RANGE_BYTES ? shard->bytes - done : RANGE_BYTES;
        size_t len;
        PIL_TRY(store->ops->get_range(store, name, done, buffer + done, (size_t)wanted, &len, ret_error));
        if (len != wanted) {
            return pil_fail(ret_error, PIL_STATUS_CORRUPT, "%s in %s ends at byte %llu of %llu", name, store->url,
                            (unsigned long long)(done + len), (unsigned long long)shard->bytes);
        }
        done += wanted;
        if (progress != NULL) {
            progress(context, done);
        }
    }
    return PIL_STATUS_OK;
}
