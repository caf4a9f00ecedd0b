/* SPDX-License-Identifier: Apache-2.0
 * What the verifier lets through once every checksum is right. The input is a program: its first byte chooses a sample
 * (support/shard_random.h), and bit 7 of it to leave the totals of the superblock as they are. Each step changes one
 * thing in the sample's shard (enum step). Then counts, times, content digest and all checksums are computed anew, so
 * that only the rules about sections, schema and rows stand between the change and acceptance.
 * Invariants: a shard that is accepted has the totals that schemas/snapshot.md specifies; the writer, given its rows,
 * writes the same content digest; each row is found by its key, and by the text of its key; every value is valid as its
 * type says, and can be read as RESP, as JSON, as tensor and as columns. A shard that is refused is read without an
 * access outside of it. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "fuzz/client_reads.h"
#include "support/shard_random.h"

#include "wire/value.h"

#include <jansson.h>

enum { KEEP_TOTALS = 0x80, TEXT_BYTES = 1 << 18 };

/* The steps of a program, each with the bytes that it takes. */
enum step {
    STEP_FIELD,      /* slot, part, at, value: a byte of a feature's field */
    STEP_HEAD,       /* slot, at, value: a byte of the key, the event timestamp or the null bits */
    STEP_KEY,        /* slot, at, value: a byte of a key, and others of it until its lookup ends in this slot again */
    STEP_PAYLOAD,    /* slot, part, at, value: a byte of what a reference refers to, and its prefix with it */
    STEP_REFERENCE,  /* slot, part, word, number: a word of a reference becomes an interesting number */
    STEP_SHORTEN,    /* slot, part, len: a short reference gets another length, and zeros behind its end */
    STEP_MOVE,       /* slot, part, by: a long reference and its prefix move by so many bytes of the heap */
    STEP_NULL,       /* slot, part, clear: a null bit is set; `clear` is odd: the field becomes zero, too */
    STEP_ROW,        /* slot, slot: one row becomes a copy of another */
    STEP_SHARE,      /* slot, part, slot, part: one reference becomes a copy of another */
    STEP_SECTION,    /* section, at, at, value: a byte of a section or of the padding behind it */
    STEP_SUPERBLOCK, /* at, value */
    STEP_COUNT
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A sample's shard, and the copy of it that is changed. */
struct patient {
    struct pil_bytes sound;
    uint8_t *file;
    struct pil_shard shard;      /* the sound one */
    struct pil_superblock block; /* of it */
    const struct pil_view *view;
};

static struct pil_bytes sound_shard(uint32_t index) {
    static struct pil_bytes shards[SAMPLE_COUNT];
    if (shards[index].data == NULL) {
        struct fixture_table table = sample_table(&samples[index]);
        struct pil_writer_options options = sample_options(&samples[index]);
        struct pil_writer_result result;
        struct pil_error error;
        PIL_ASSERT(fixture_table_write(&table, &options, &result, &error) == PIL_STATUS_OK);
        shards[index] = pil_bytes_from(fixture_copy(fixture_result_bytes(&result)), result.bytes);
        pil_writer_result_deinit(&result);
        fixture_table_deinit(&table);
    }
    return shards[index];
}

static uint8_t take_byte(struct pil_bytes *program) {
    struct pil_bytes byte;
    return take(program, 1, &byte) ? byte.data[0] : 0;
}

/* ---- Steps. */

static uint8_t *row_of(const struct patient *patient, uint8_t slot) {
    const struct pil_section_entry *rows = &patient->block.sections[PIL_SECTION_ROWS];
    return patient->file + rows->offset + slot % patient->block.slot_count * patient->block.row_stride;
}

static uint8_t *field_of(const struct patient *patient, uint8_t slot, uint8_t part, uint32_t *ret_bytes) {
    const struct pil_feature *feature = &patient->view->features[part % patient->view->feature_count];
    *ret_bytes = pil_type_row_bytes(feature->type);
    return row_of(patient, slot) + feature->offset;
}

/* The key's reference counts as one part more; NULL: that part is not a reference. */
static uint8_t *reference_of(const struct patient *patient, uint8_t slot, uint8_t part) {
    const struct pil_view *view = patient->view;
    uint32_t index = part % (view->feature_count + 1);
    if (index == view->feature_count) {
        return view->layout.key_is_fixed ? NULL : row_of(patient, slot);
    }
    return pil_type_is_reference(view->features[index].type) ? row_of(patient, slot) + view->features[index].offset
                                                             : NULL;
}

/* The bytes that a reference refers to; empty when they are not all in the heap. */
static struct pil_bytes payload_of(struct pil_bytes heap, const uint8_t *field) {
    uint32_t len = pil_load_u32(field);
    uint64_t at = pil_load_u64(field + 8);
    if (len <= PIL_REF_INLINE_BYTES) {
        return pil_bytes_from(field + 4, len);
    }
    return len <= heap.len && at <= heap.len - len ? pil_bytes_from(heap.data + at, len) : pil_bytes_from(NULL, 0);
}

static void change_payload(const struct patient *patient, uint8_t *field, uint8_t at, uint8_t value) {
    const struct pil_section_entry *heap = &patient->block.sections[PIL_SECTION_HEAP];
    struct pil_bytes payload = payload_of(pil_bytes_from(patient->file + heap->offset, heap->bytes), field);
    if (payload.len > 0) {
        size_t index = at % payload.len;
        patient->file[(size_t)(payload.data - patient->file) + index] = value;
        if (index < 4) {
            field[4 + index] = value;
        }
    }
}

static void change_reference(uint8_t *field, uint8_t word, uint8_t number) {
    static const uint32_t numbers[] = {0, 1, 4, 11, 12, 13, 16, 64, INT32_MAX, UINT32_MAX - 12, UINT32_MAX, 1u << 20};
    pil_store_u32(field + word % 4 * 4, numbers[number % (sizeof numbers / sizeof numbers[0])]);
}

static void shorten(uint8_t *field, uint8_t len) {
    if (pil_load_u32(field) <= PIL_REF_INLINE_BYTES) {
        len %= PIL_REF_INLINE_BYTES + 1;
        pil_store_u32(field, len);
        memset(field + 4 + len, 0, PIL_REF_INLINE_BYTES - len);
    }
}

static void change_key(const struct patient *patient, uint8_t slot, uint8_t at, uint8_t value) {
    enum { LETTERS = '~' - ' ' };
    const struct pil_section_entry *heap = &patient->block.sections[PIL_SECTION_HEAP];
    const struct pil_shard *shard = &patient->shard;
    bool is_fixed = patient->view->layout.key_is_fixed;
    uint8_t *row = row_of(patient, slot);
    struct pil_bytes key = is_fixed ? pil_bytes_from(row, patient->view->layout.key_bytes)
                                    : payload_of(pil_bytes_from(patient->file + heap->offset, heap->bytes), row);
    if (key.len < 3) {
        return;
    }
    uint8_t *bytes = patient->file + (key.data - patient->file);
    bytes[at % key.len] = value;
    for (uint32_t i = 0; i < LETTERS * LETTERS; i++) {
        bytes[(at + 1) % key.len] = (uint8_t)(' ' + i % LETTERS);
        bytes[(at + 2) % key.len] = (uint8_t)(' ' + i / LETTERS);
        uint64_t found = (uint64_t)(pil_shard_candidate(shard, pil_shard_hash(shard, key)) - shard->rows);
        if (found == slot % shard->slot_count * shard->stride &&
            pil_shard_of(pil_hash_shard(key), patient->block.shard_bits) == patient->block.shard_index) {
            break;
        }
    }
    if (!is_fixed) {
        memcpy(row + 4, bytes, key.len < 4 ? key.len : 4);
    }
}

static void move(const struct patient *patient, uint8_t *field, int8_t by) {
    const struct pil_section_entry *heap = &patient->block.sections[PIL_SECTION_HEAP];
    uint64_t at = pil_load_u64(field + 8) + (uint64_t)by;
    if (pil_load_u32(field) > PIL_REF_INLINE_BYTES && at < heap->bytes) {
        pil_store_u64(field + 8, at);
        memcpy(field + 4, patient->file + heap->offset + at, 4); /* sections are behind the heap */
    }
}

static void change_section(const struct patient *patient, uint8_t which, size_t at, uint8_t value) {
    const struct pil_section_entry *section = &patient->block.sections[which % PIL_SECTION_BLOCK_SUMS];
    size_t end = section[1].offset; /* of the section and its padding */
    if (end > section->offset) {
        patient->file[section->offset + at % (end - section->offset)] = value;
    }
}

static void change_row(const struct patient *patient, uint8_t what, const uint8_t bytes[4]) {
    const struct pil_row_layout *layout = &patient->view->layout;
    uint8_t *reference = reference_of(patient, bytes[0], bytes[1]), *other, *field;
    uint32_t field_bytes;
    switch (what) {
    case STEP_HEAD: row_of(patient, bytes[0])[bytes[1] % (layout->null_offset + layout->null_bytes)] = bytes[2]; return;
    case STEP_KEY: change_key(patient, bytes[0], bytes[1], bytes[2]); return;
    case STEP_ROW: memmove(row_of(patient, bytes[0]), row_of(patient, bytes[1]), layout->stride); return;
    case STEP_PAYLOAD: reference != NULL ? change_payload(patient, reference, bytes[2], bytes[3]) : (void)0; return;
    case STEP_REFERENCE: reference != NULL ? change_reference(reference, bytes[2], bytes[3]) : (void)0; return;
    case STEP_MOVE: reference != NULL ? move(patient, reference, (int8_t)bytes[2]) : (void)0; return;
    case STEP_SHORTEN: reference != NULL ? shorten(reference, bytes[2]) : (void)0; return;
    case STEP_SHARE:
        other = reference_of(patient, bytes[2], bytes[3]);
        other != NULL &&reference != NULL ? (void)memmove(reference, other, PIL_REF_BYTES) : (void)0;
        return;
    default: break;
    }
    if (patient->view->feature_count == 0) {
        return;
    }
    field = field_of(patient, bytes[0], bytes[1], &field_bytes);
    if (what == STEP_FIELD) {
        field[bytes[2] % field_bytes] = bytes[3];
        return;
    }
    uint32_t feature = bytes[1] % patient->view->feature_count;
    row_of(patient, bytes[0])[layout->null_offset + feature / 8] |= (uint8_t)(1u << feature % 8);
    memset(field, 0, (bytes[2] & 1) != 0 ? field_bytes : 0);
}

static void run(struct patient *patient, struct pil_bytes program) {
    static const uint8_t sizes[STEP_COUNT] = {4, 3, 3, 4, 4, 3, 3, 3, 2, 4, 4, 2};
    while (program.len > 0) {
        uint8_t what = take_byte(&program) % STEP_COUNT, bytes[4] = {0};
        for (int i = 0; i < sizes[what]; i++) {
            bytes[i] = take_byte(&program);
        }
        if (what == STEP_SECTION) {
            change_section(patient, bytes[0], (size_t)bytes[1] << 8 | bytes[2], bytes[3]);
        } else if (what == STEP_SUPERBLOCK) {
            patient->file[bytes[0]] = bytes[1];
        } else if (patient->block.slot_count > 0) {
            change_row(patient, what, bytes);
        }
    }
}

/* ---- Totals, as schemas/snapshot.md has them. */

struct totals {
    uint64_t row_count, heap_bytes;
    int64_t event_ts_us_min, event_ts_us_max;
    unsigned __int128 digest;
};

/* The bytes behind a long reference go to the end of the image, zeros to where its offset is. */
static void put_reference(struct pil_text *image, size_t at, struct totals *totals, struct pil_bytes payload) {
    if (payload.len > PIL_REF_INLINE_BYTES) {
        memset(image->data + at + 8, 0, 8);
        pil_text_append(image, payload.data, payload.len);
        totals->heap_bytes += payload.len;
    }
}

static void add_row(struct totals *totals, const struct pil_shard *shard, const uint8_t *row) {
    const struct pil_view *view = shard->view;
    int64_t event_ts_us = pil_row_event_ts_us(view, row);
    struct pil_text image = {0};
    /* A reference may lead out of the heap: the digest is to be right even then, and the verifier must look. */
    struct pil_bytes rest =
        pil_bytes_from(shard->heap.data, (size_t)(shard->file.data + shard->file.len - shard->heap.data));
    pil_text_append(&image, row, shard->stride);
    if (!view->layout.key_is_fixed) {
        put_reference(&image, 0, totals, payload_of(rest, row));
    }
    for (uint32_t i = 0; i < view->feature_count; i++) {
        uint32_t at = view->features[i].offset;
        if (pil_type_is_reference(view->features[i].type)) {
            put_reference(&image, at, totals, payload_of(rest, row + at));
        }
    }
    XXH128_hash_t hash = XXH3_128bits(image.data, image.len);
    totals->digest += (unsigned __int128)hash.high64 << 64 | hash.low64;
    totals->row_count++;
    totals->event_ts_us_min = event_ts_us < totals->event_ts_us_min ? event_ts_us : totals->event_ts_us_min;
    totals->event_ts_us_max = event_ts_us > totals->event_ts_us_max ? event_ts_us : totals->event_ts_us_max;
    pil_text_deinit(&image);
}

static struct totals totals_of(const struct pil_shard *shard) {
    struct totals totals = {.event_ts_us_min = INT64_MAX, .event_ts_us_max = INT64_MIN};
    for (uint64_t slot = 0; slot < shard->slot_count; slot++) {
        const uint8_t *row = pil_shard_row_at(shard, slot);
        if (row != NULL) {
            add_row(&totals, shard, row);
        }
    }
    return totals;
}

/* Makes the totals and the checksums right, as far as the file can be opened. */
static void settle(uint8_t *file, size_t bytes, bool keep_totals) {
    struct pil_superblock block;
    struct pil_error error;
    struct pil_shard shard;
    fixture_repair(file, bytes);
    if (keep_totals || pil_shard_open(pil_bytes_from(file, bytes), &shard, &error) != PIL_STATUS_OK) {
        return;
    }
    struct totals totals = totals_of(&shard);
    pil_shard_close(&shard);
    memcpy(&block, file, sizeof block);
    block.row_count = totals.row_count;
    block.event_ts_us_min = totals.event_ts_us_min;
    block.event_ts_us_max = totals.event_ts_us_max;
    memcpy(block.content_digest, &totals.digest, sizeof block.content_digest);
    memcpy(file, &block, sizeof block);
    fixture_repair(file, bytes);
}

/* ---- What is accepted. */

static bool is_text(pil_scalar scalar, struct pil_bytes bytes) {
    json_t *text = pil_scalar_is_utf8(scalar) ? json_stringn((const char *)bytes.data, bytes.len) : json_null();
    bool is_valid = text != NULL; /* jansson takes only UTF-8 */
    json_decref(text);
    return is_valid;
}

static void check_strings(struct pil_type type, struct pil_bytes payload) {
    uint32_t count = pil_list_strings_count(payload);
    size_t bytes = 4 + (size_t)count * 4;
    PIL_ASSERT(payload.len >= 4 && pil_load_u32(payload.data) == count);
    for (uint32_t i = 0; i < count; i++) {
        struct pil_bytes element = pil_list_strings_at(payload, i);
        PIL_ASSERT(is_text(type.scalar, element));
        bytes += element.len;
    }
    PIL_ASSERT(bytes == payload.len);
}

static void check_type(struct pil_type type, struct pil_bytes value) {
    if (pil_scalar_is_text(type.scalar)) {
        PIL_ASSERT(type.shape != PIL_SHAPE_SCALAR || is_text(type.scalar, value));
        if (type.shape == PIL_SHAPE_LIST) {
            check_strings(type, value);
        }
        return;
    }
    PIL_ASSERT(value.len % pil_scalar_bytes(type.scalar) == 0);
    for (size_t i = 0; i < value.len && pil_scalar_is_bool(type.scalar); i++) {
        PIL_ASSERT(value.data[i] <= 1);
    }
}

/* JSON is valid, and RESP is one bulk string of the length that it says. */
static void check_encodings(struct pil_type type, struct pil_bytes value) {
    static uint8_t text[TEXT_BYTES];
    struct pil_sink sink = pil_sink_fixed(text, sizeof text);
    pil_value_put_json(&sink, type, value);
    PIL_ASSERT(!sink.failed);
    json_t *json = json_loadb((const char *)text, (size_t)(sink.at - text), JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    PIL_ASSERT(json != NULL);
    json_decref(json);
    sink = pil_sink_fixed(text, sizeof text);
    pil_value_put_resp_bulk(&sink, type, value);
    PIL_ASSERT(!sink.failed && text[0] == '$');
    char *end;
    size_t len = strtoul((const char *)text + 1, &end, 10), whole = (size_t)(sink.at - text);
    PIL_ASSERT((const uint8_t *)end + 2 + len + 2 == text + whole);
    PIL_ASSERT(memcmp(end, "\r\n", 2) == 0 && memcmp(text + whole - 2, "\r\n", 2) == 0);
}

static void check_key(const struct pil_shard *shard, const uint8_t *row) {
    struct pil_bytes key = pil_shard_row_key(shard, row);
    char text[8192];
    uint8_t again[4096];
    size_t len = pil_view_key_format(shard->view, key, text, sizeof text), again_len;
    uint32_t entity;
    PIL_ASSERT(pil_shard_find(shard, key) == row);
    PIL_ASSERT(pil_shard_of(pil_hash_shard(key), shard->superblock->shard_bits) == shard->superblock->shard_index);
    PIL_ASSERT(len <= sizeof text);
    PIL_ASSERT(pil_view_key_encode_text(shard->view, pil_bytes_from(text, len), again, sizeof again, &again_len,
                                        &entity) == PIL_STATUS_OK);
    PIL_ASSERT(pil_bytes_equal(pil_bytes_from(again, again_len), key));
    for (uint32_t i = 0; i < shard->view->entity_count; i++) {
        PIL_ASSERT(is_text(shard->view->entities[i].type, take_part(shard->view, i, &key)));
    }
    PIL_ASSERT(key.len == 0);
}

/* Adds the row to the table as the reader shows it. */
static void check_row(const struct pil_shard *shard, const uint8_t *row, struct fixture_table *table) {
    struct pil_bytes key = pil_shard_row_key(shard, row);
    struct fixture_row *copy = fixture_table_add(table, key.data, key.len, pil_row_event_ts_us(shard->view, row));
    check_key(shard, row);
    for (uint32_t i = 0; i < shard->view->feature_count; i++) {
        const struct pil_feature *feature = &shard->view->features[i];
        const uint8_t *field = row + feature->offset;
        if (pil_row_is_null(shard->view, row, i)) {
            continue;
        }
        struct pil_bytes value = pil_type_is_reference(feature->type)
                                     ? pil_shard_reference(shard, field)
                                     : pil_bytes_from(field, pil_type_row_bytes(feature->type));
        check_type(feature->type, value);
        check_encodings(feature->type, value);
        fixture_row_set(copy, i, value.data, value.len);
    }
}

/* Nothing is hidden in a slot without a row. */
static void check_empty(const struct pil_shard *shard, const uint8_t *slot) {
    for (uint32_t i = 0; i < shard->stride; i++) {
        PIL_ASSERT(i - shard->event_ts_offset < 8 || slot[i] == 0);
    }
}

static void check_accepted(struct pil_shard *shard) {
    const struct pil_superblock *block = shard->superblock;
    struct totals totals = totals_of(shard);
    PIL_ASSERT(block->row_count == totals.row_count && shard->heap.len == totals.heap_bytes);
    PIL_ASSERT(block->event_ts_us_min == totals.event_ts_us_min && block->event_ts_us_max == totals.event_ts_us_max);
    PIL_ASSERT(memcmp(block->content_digest, &totals.digest, sizeof totals.digest) == 0);
    struct fixture_table table = {.view = pil_view_clone(shard->view)};
    for (uint64_t slot = 0; slot < shard->slot_count; slot++) {
        const uint8_t *row = pil_shard_row_at(shard, slot);
        if (row != NULL) {
            check_row(shard, row, &table);
        } else {
            check_empty(shard, shard->rows + slot * shard->stride);
        }
    }
    /* The writer fills whatever no value covers with zeros, and so must the shard have. */
    struct pil_writer_options options = {.shard_index = block->shard_index, .shard_bits = block->shard_bits};
    struct pil_writer_result result;
    struct pil_error error;
    PIL_ASSERT(fixture_table_write(&table, &options, &result, &error) == PIL_STATUS_OK);
    const struct pil_superblock *again = (const struct pil_superblock *)(const void *)result.data;
    PIL_ASSERT(memcmp(again->content_digest, block->content_digest, sizeof block->content_digest) == 0);
    pil_writer_result_deinit(&result);
    fixture_table_deinit(&table);
}

static void check_other_keys(const struct pil_shard *shard) {
    uint64_t random = pil_hash_block(shard->file) | 1;
    for (int i = 0; i < 16; i++) {
        size_t at = fixture_below(&random, shard->file.len - 64);
        struct pil_bytes key = pil_bytes_from(shard->file.data + at, fixture_below(&random, 64));
        const uint8_t *row = pil_shard_find(shard, key);
        PIL_ASSERT(row == NULL || pil_bytes_equal(pil_shard_row_key(shard, row), key));
    }
}

static void check(struct pil_bytes file) {
    struct pil_verify_options options = {0};
    struct pil_error error;
    struct pil_shard shard;
    bool is_verified = pil_verify(file, &options, &error) == PIL_STATUS_OK;
    if (pil_shard_open(file, &shard, &error) != PIL_STATUS_OK) {
        PIL_ASSERT(!is_verified);
        return;
    }
    fixture_read_everything(&shard);
    struct pil_release release = {.view = shard.view, .shards = &shard, .shard_count = 1};
    if (is_verified) {
        check_other_keys(&shard);
        check_accepted(&shard);
        read_release(&release, true);
    }
    pil_shard_close(&shard);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct pil_bytes program = pil_bytes_from(data, size);
    uint8_t choice = take_byte(&program);
    struct pil_error error;
    struct patient patient = {.sound = sound_shard((choice & ~(unsigned)KEEP_TOTALS) % SAMPLE_COUNT)};
    PIL_ASSERT(pil_shard_open(patient.sound, &patient.shard, &error) == PIL_STATUS_OK);
    patient.view = patient.shard.view;
    patient.block = *patient.shard.superblock;
    patient.file = fixture_copy(patient.sound);
    run(&patient, program);
    settle(patient.file, patient.sound.len, (choice & KEEP_TOTALS) != 0);
    check(pil_bytes_from(patient.file, patient.sound.len));
    pil_shard_close(&patient.shard);
    free(patient.file);
    return 0;
}
