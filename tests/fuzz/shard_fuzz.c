/* SPDX-License-Identifier: Apache-2.0
 * The verifier and the reader on hostile bytes: as they are, and with all checksums made right, which no fuzzer would
 * guess. What is accepted must be readable in full, must find each of its own rows, and must stand any other key. */
#include "support/shard_fixture.h"

enum { RANDOM_KEYS = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_up(const struct pil_shard *shard, struct pil_bytes file) {
    for (uint64_t slot = 0; slot < shard->slot_count; slot++) {
        const uint8_t *row = pil_shard_row_at(shard, slot);
        PIL_ASSERT(row == NULL || pil_shard_find(shard, pil_shard_row_key(shard, row)) == row);
    }
    uint64_t random = pil_hash_block(file) | 1;
    for (int i = 0; i < RANDOM_KEYS; i++) {
        size_t at = fixture_below(&random, file.len), len = fixture_below(&random, file.len - at + 1);
        struct pil_bytes key = pil_bytes_from(file.data + at, len < 64 ? len : len % 64);
        const uint8_t *row = pil_shard_find(shard, key);
        PIL_ASSERT(row == NULL || pil_bytes_equal(pil_shard_row_key(shard, row), key));
    }
}

static void check(struct pil_bytes file) {
    struct pil_verify_options options = {0};
    struct pil_error error;
    struct pil_shard shard;
    bool verified = pil_verify(file, &options, &error) == PIL_STATUS_OK;
    if (pil_shard_open(file, &shard, &error) != PIL_STATUS_OK) {
        PIL_ASSERT(!verified);
        return;
    }
    /* Opened but not verified: nobody may hand out its values, but reading them is still no read outside. */
    fixture_read_everything(&shard);
    if (verified) {
        look_up(&shard, file);
    }
    pil_shard_close(&shard);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check(pil_bytes_from(data, size));
    uint8_t *repaired = fixture_copy(pil_bytes_from(data, size));
    fixture_repair(repaired, size);
    check(pil_bytes_from(repaired, size));
    free(repaired);
    return 0;
}
