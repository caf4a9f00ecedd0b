/* SPDX-License-Identifier: Apache-2.0
 * Shards between memory and a store. The bytes that come back are hostile until pil_verify has seen them. */
#pragma once

#include "release/manifest.h"

enum { PIL_SHARD_IO_PART_BYTES = 4 << 20 };

/* Puts a shard's bytes, unless it is there already. The caller has a lease on its name (release/lease.h) where a
 * collector may run meanwhile. *ret_new: they were written. CORRUPT when the shard in the store has another
 * size. */
pil_status pil_shard_io_put(struct pil_store *store, const struct pil_sha256 *id, struct pil_bytes file, bool *ret_new,
                            struct pil_error *ret_error) PIL_CHECKED;

/* Where a shard goes, part by part, from its first byte to its last. */
struct pil_shard_io_sink {
    void *context;
    /* Memory for the part at `offset`; `bytes` is at most PIL_SHARD_IO_PART_BYTES. */
    uint8_t *(*place)(void *context, uint64_t offset, size_t bytes);
    /* The part is there. Anything but OK ends the transfer with that status. */
    pil_status (*take)(void *context, uint64_t offset, struct pil_bytes part, struct pil_error *ret_error);
};
/* Reads shard->bytes bytes of the shard's object. NOT_FOUND; CORRUPT when the object is shorter. */
pil_status pil_shard_io_transfer(struct pil_store *store, const struct pil_manifest_shard *shard,
                                 const struct pil_shard_io_sink *sink, struct pil_error *ret_error) PIL_CHECKED;

/* Reads the whole shard into `buffer`. After each part `progress`, when it is not NULL, is told how many bytes are
 * there. NOT_FOUND; CORRUPT when the object has another size. */
pil_status pil_shard_io_read(struct pil_store *store, const struct pil_manifest_shard *shard, uint8_t *buffer,
                             void (*progress)(void *context, uint64_t bytes_done), void *context,
                             struct pil_error *ret_error) PIL_CHECKED;
