/* SPDX-License-Identifier: Apache-2.0
 * Copies shards between memory and a store. Bytes that were read are hostile until pil_verify has accepted them. */
#pragma once

#include "release/manifest.h"

enum { PIL_SHARD_IO_PART_BYTES = 4 << 20 };

/* Puts a shard unless the store has it already. If a collector may run at the same time, the caller must hold a lease
 * on its name (release/lease.h). *ret_new: the shard was written. CORRUPT: the shard in the store has another size. */
pil_status pil_shard_io_put(struct pil_store *store, const struct pil_sha256 *id, struct pil_bytes file, bool *ret_new,
                            struct pil_error *ret_error) PIL_CHECKED;

/* Receives a shard part by part, from its first byte to its last. */
struct pil_shard_io_sink {
    void *context;
    /* Returns memory for the part at `offset`; `bytes` is at most PIL_SHARD_IO_PART_BYTES. */
    uint8_t *(*place)(void *context, uint64_t offset, size_t bytes);
    /* The part was read into that memory. A status other than OK ends the transfer with that status. */
    pil_status (*take)(void *context, uint64_t offset, struct pil_bytes part, struct pil_error *ret_error);
};
/* Reads the shard's object. NOT_FOUND; CORRUPT: the object has another size, or became shorter meanwhile; the first is
 * found before anything is read. */
pil_status pil_shard_io_transfer(struct pil_store *store, const struct pil_manifest_shard *shard,
                                 const struct pil_shard_io_sink *sink, struct pil_error *ret_error) PIL_CHECKED;

/* Reads the whole shard into `buffer`. After each part calls `progress`, which may be NULL, with the number of bytes
 * read so far. Errors: as pil_shard_io_transfer. */
pil_status pil_shard_io_read(struct pil_store *store, const struct pil_manifest_shard *shard, uint8_t *buffer,
                             void (*progress)(void *context, uint64_t bytes_done), void *context,
                             struct pil_error *ret_error) PIL_CHECKED;
