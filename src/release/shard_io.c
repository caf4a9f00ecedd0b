/* SPDX-License-Identifier: Apache-2.0 */
#include "release/shard_io.h"

#include "base/panic.h"

static pil_status check_size(struct pil_store *store, const char *name, uint64_t bytes, struct pil_error *error) {
    uint64_t found;
    PIL_TRY(pil_store_stat(store, name, &found, NULL, error));
    if (found != bytes) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "%s in %s has %llu bytes, not %llu; remove it and put it again",
                        name, pil_store_url(store), (unsigned long long)found, (unsigned long long)bytes);
    }
    return PIL_STATUS_OK;
}

pil_status pil_shard_io_put(struct pil_store *store, const struct pil_sha256 *id, struct pil_bytes file, bool *ret_new,
                            struct pil_error *ret_error) {
    char name[PIL_STORE_NAME_BYTES];
    pil_layout_shard(id, name);
    pil_status status = pil_store_put(store, name, file, pil_store_if_absent(), NULL, ret_error);
    bool is_new = status == PIL_STATUS_OK;
    if (status == PIL_STATUS_EXISTS) {
        status = check_size(store, name, file.len, ret_error);
    }
    if (status == PIL_STATUS_OK) {
        *ret_new = is_new;
    }
    return status;
}

pil_status pil_shard_io_transfer(struct pil_store *store, const struct pil_manifest_shard *shard,
                                 const struct pil_shard_io_sink *sink, struct pil_error *ret_error) {
    char name[PIL_STORE_NAME_BYTES];
    pil_layout_shard(&shard->id, name);
    PIL_TRY(check_size(store, name, shard->bytes, ret_error));
    for (uint64_t done = 0; done < shard->bytes;) {
        uint64_t left = shard->bytes - done;
        size_t wanted = left < PIL_SHARD_IO_PART_BYTES ? (size_t)left : PIL_SHARD_IO_PART_BYTES, len = 0;
        struct pil_store_range range = {
            .name = name, .offset = done, .buffer = sink->place(sink->context, done, wanted), .bytes = wanted};
        PIL_ASSERT(range.buffer != NULL);
        PIL_TRY(pil_store_get_range(store, &range, &len, ret_error));
        if (len != wanted) {
            return pil_fail(ret_error, PIL_STATUS_CORRUPT, "%s in %s ends at byte %llu of %llu", name,
                            pil_store_url(store), (unsigned long long)(done + len), (unsigned long long)shard->bytes);
        }
        PIL_TRY(sink->take(sink->context, done, pil_bytes_from(range.buffer, len), ret_error));
        done += len;
    }
    return PIL_STATUS_OK;
}

struct whole {
    uint8_t *buffer;
    void (*progress)(void *context, uint64_t bytes_done);
    void *context;
};

static uint8_t *whole_place(void *context, uint64_t offset, size_t bytes) {
    const struct whole *whole = context;
    (void)bytes;
    return whole->buffer + offset;
}

static pil_status whole_take(void *context, uint64_t offset, struct pil_bytes part, struct pil_error *error) {
    const struct whole *whole = context;
    (void)error;
    if (whole->progress != NULL) {
        whole->progress(whole->context, offset + part.len);
    }
    return PIL_STATUS_OK;
}

pil_status pil_shard_io_read(struct pil_store *store, const struct pil_manifest_shard *shard, uint8_t *buffer,
                             void (*progress)(void *context, uint64_t bytes_done), void *context,
                             struct pil_error *ret_error) {
    struct whole whole = {.buffer = buffer, .progress = progress, .context = context};
    const struct pil_shard_io_sink sink = {.context = &whole, .place = whole_place, .take = whole_take};
    return pil_shard_io_transfer(store, shard, &sink, ret_error);
}
