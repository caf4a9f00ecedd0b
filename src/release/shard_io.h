/* SPDX-License-Identifier: Apache-2.0
 * Shards between memory and a store. The bytes that come back are hostile until pil_verify has seen them. */
#pragma once

#include "release/manifest.h"

/* Puts a shard's bytes. When it is there already it is touched or, when it is another user's, replaced by these.
 * *ret_new: they were written. CORRUPT when what is there has another size; DENIED. */
pil_status pil_shard_io_put(struct pil_store *store, const struct pil_sha256 *id, struct pil_bytes file, bool *ret_new,
                            struct pil_error *ret_error) PIL_CHECKED;

/* Reads all shard->bytes bytes into `buffer`, in ranges of a few MiB. After each one progress, when it is not NULL, is
 * told how many bytes are there. NOT_FOUND; CORRUPT when the object has another size. */
pil_status pil_shard_io_read(struct pil_store *store, const struct pil_manifest_shard *shard, uint8_t *buffer,
                             void (*progress)(void *context, uint64_t bytes_done), void *context,
                             struct pil_error *ret_error) PIL_CHECKED;
