/* SPDX-License-Identifier: Apache-2.0
 * Verifies a shard and prints what our reader finds in it, one JSON object a line, for comparison with readers in other
 * languages. First {"id": HEX, "rows": N}, then for each row, in the order of slots,
 *     {"slot": N, "key": HEX, "found": BOOL, "event_ts_us": N, "values": [V...]}
 * with `found` true when looking its key up ends in this slot. V is null, the value's bytes in hex (the payload of a
 * reference), or a list of such for list<string> and list<bytes>. */
#include "base/sys.h"
#include "snapshot/verify.h"

#include <stdio.h>
#include <stdlib.h>

enum { FILE_BYTES_MAX = 1 << 30 };

static void print_hex(struct pil_bytes bytes) {
    putchar('"');
    for (size_t i = 0; i < bytes.len; i++) {
        printf("%02x", bytes.data[i]);
    }
    putchar('"');
}

static void print_value(const struct pil_shard *shard, const uint8_t *row, uint32_t index) {
    const struct pil_feature *feature = &shard->view->features[index];
    const uint8_t *field = row + feature->offset;
    if (pil_row_is_null(shard->view, row, index)) {
        printf("null");
    } else if (!pil_type_is_reference(feature->type)) {
        print_hex(pil_bytes_from(field, pil_type_row_bytes(feature->type)));
    } else if (feature->type.shape == PIL_SHAPE_LIST && pil_scalar_bytes(feature->type.scalar) == PIL_REF_BYTES) {
        struct pil_bytes payload = pil_shard_reference(shard, field);
        putchar('[');
        for (uint32_t i = 0; i < pil_list_strings_count(payload); i++) {
            fputs(i > 0 ? "," : "", stdout);
            print_hex(pil_list_strings_at(payload, i));
        }
        putchar(']');
    } else {
        print_hex(pil_shard_reference(shard, field));
    }
}

static void print_rows(const struct pil_shard *shard) {
    for (uint64_t slot = 0; slot < shard->slot_count; slot++) {
        const uint8_t *row = pil_shard_row_at(shard, slot);
        if (row == NULL) {
            continue;
        }
        struct pil_bytes key = pil_shard_row_key(shard, row);
        printf("{\"slot\": %llu, \"key\": ", (unsigned long long)slot);
        print_hex(key);
        printf(", \"found\": %s, \"event_ts_us\": %lld, \"values\": [",
               pil_shard_find(shard, key) == row ? "true" : "false", (long long)pil_row_event_ts_us(shard->view, row));
        for (uint32_t i = 0; i < shard->view->feature_count; i++) {
            fputs(i > 0 ? ", " : "", stdout);
            print_value(shard, row, i);
        }
        puts("]}");
    }
}

static pil_status dump(struct pil_bytes file, struct pil_error *error) {
    struct pil_verify_options options = {0};
    struct pil_shard shard;
    PIL_TRY(pil_verify(file, &options, error));
    PIL_TRY(pil_shard_open(file, &shard, error));
    const struct pil_section_entry *ranges = &shard.superblock->sections[PIL_SECTION_RANGE_HASHES];
    struct pil_sha256 id = pil_hash_sha256(pil_bytes_from(file.data + ranges->offset, ranges->bytes));
    printf("{\"id\": ");
    print_hex(pil_bytes_from(id.bytes, sizeof id.bytes));
    printf(", \"rows\": %llu}\n", (unsigned long long)shard.superblock->row_count);
    print_rows(&shard);
    pil_shard_close(&shard);
    return PIL_STATUS_OK;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE\n", argv[0]);
        return 2;
    }
    struct pil_text text = {0};
    struct pil_error error;
    pil_status status = pil_sys_read_file(argv[1], FILE_BYTES_MAX, &text, &error);
    if (status == PIL_STATUS_OK) {
        status = dump(pil_text_bytes(&text), &error);
    }
    if (status != PIL_STATUS_OK) {
        fprintf(stderr, "%s: %s: %s\n", argv[1], pil_status_text(status), error.text);
    }
    pil_text_deinit(&text);
    return status != PIL_STATUS_OK;
}
