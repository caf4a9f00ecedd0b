/* SPDX-License-Identifier: Apache-2.0
 * Goal: no shard that breaks a rule gets past the verifier, whoever made its checksums right again. Method: each rule
 * is broken in a good file, the checksums are repaired, and the verifier has to say which rule it was. Damage without
 * repair: every bit, every length, in all samples. */
#include "support/shard_random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define AT(field) offsetof(struct pil_superblock, field)

static struct pil_error error;

struct victim {
    uint8_t *file; /* exactly `bytes` long on the heap */
    size_t bytes;
    struct pil_sha256 id;
    struct pil_superblock block;
    struct pil_view *view;
};

static struct victim victim_of(struct fixture_table *table, const struct pil_writer_options *options) {
    struct pil_writer_result result;
    assert_int_equal(fixture_table_write(table, options, &result, &error), PIL_STATUS_OK);
    struct victim victim = {
        .file = fixture_copy(fixture_result_bytes(&result)), .bytes = result.bytes, .id = result.id};
    memcpy(&victim.block, victim.file, sizeof victim.block);
    victim.view = pil_view_clone(table->view);
    pil_writer_result_deinit(&result);
    fixture_table_deinit(table);
    return victim;
}

static struct victim victim_named(const char *name) {
    const struct sample *sample = sample_named(name);
    struct fixture_table table = sample_table(sample);
    struct pil_writer_options options = sample_options(sample);
    return victim_of(&table, &options);
}

static void victim_deinit(struct victim *victim) {
    free(victim->file);
    pil_view_destroy(&victim->view);
}

static pil_status verify(const struct victim *victim) {
    struct pil_verify_options options = {0};
    return pil_verify(pil_bytes_from(victim->file, victim->bytes), &options, &error);
}

/* Refused with a sentence that has `words`; or accepted, when there are none. */
static void check(const struct victim *victim, pil_status expected, const char *words) {
    error.text[0] = '\0';
    assert_int_equal(verify(victim), expected);
    if (words != NULL && strstr(error.text, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", error.text, words);
    }
}

static void every_flipped_bit_is_refused(void **state) {
    (void)state;
    static const char *const names[] = {"empty", "string_keys", "lists"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct victim victim = victim_named(names[i]);
        for (size_t bit = 0; bit < victim.bytes * 8; bit++) {
            victim.file[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            assert_int_not_equal(verify(&victim), PIL_STATUS_OK);
            victim.file[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
        check(&victim, PIL_STATUS_OK, NULL);
        victim_deinit(&victim);
    }
}

static void every_other_length_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        struct victim victim = victim_named(samples[i].name);
        uint8_t *whole = victim.file;
        size_t bytes = victim.bytes;
        for (victim.bytes = 0; victim.bytes < bytes + 3; victim.bytes++) {
            victim.file = fixture_alloc(victim.bytes);
            memcpy(victim.file, whole, victim.bytes < bytes ? victim.bytes : bytes);
            assert_int_equal(verify(&victim), victim.bytes == bytes ? PIL_STATUS_OK : PIL_STATUS_CORRUPT);
            free(victim.file);
        }
        victim.file = whole;
        victim_deinit(&victim);
    }
}

struct number_case {
    size_t at;
    int width;
    uint64_t value;
    pil_status status;
    const char *words;
};

static void numbers_of_the_superblock_are_checked(void **state) {
    (void)state;
    static const struct number_case cases[] = {
        {AT(magic), 8, 0, PIL_STATUS_CORRUPT, "not a shard file"},
        {AT(major), 2, 2, PIL_STATUS_UNSUPPORTED, "format version 2.0, this program reads 1.x"},
        {AT(endian_tag), 4, 0x04030201, PIL_STATUS_UNSUPPORTED, "byte order tag 04030201"},
        {AT(incompat), 4, 4, PIL_STATUS_UNSUPPORTED, "unknown incompatible features 00000004"},
        {AT(section_count), 4, 7, PIL_STATUS_CORRUPT, "section_count is 7, expected 6"},
        {AT(file_bytes), 8, 5000, PIL_STATUS_CORRUPT, "offset 32: file_bytes is 5000"},
        {AT(body_bytes), 8, UINT64_MAX, PIL_STATUS_CORRUPT, "body_bytes"},
        {AT(body_bytes), 8, 4096, PIL_STATUS_CORRUPT, "body_bytes"},
        {AT(row_count), 8, 0, PIL_STATUS_CORRUPT, "slot_count"},
        {AT(row_count), 8, 2000001, PIL_STATUS_TOO_LARGE, "row_count is 2000001, the limit is 2000000"},
        {AT(row_count), 8, 39, PIL_STATUS_CORRUPT, "section ROWS holds 40 rows, the superblock says 39"},
        {AT(slot_count), 8, 0, PIL_STATUS_CORRUPT, "slot_count is 0"},
        {AT(slot_count), 8, UINT64_MAX, PIL_STATUS_TOO_LARGE, "slot_count"},
        {AT(slot_count), 8, 41, PIL_STATUS_CORRUPT, "section ROWS has"},
        {AT(bucket_count), 8, 0, PIL_STATUS_CORRUPT, "bucket_count is 0"},
        {AT(bucket_count), 8, UINT64_MAX, PIL_STATUS_TOO_LARGE, "bucket_count"},
        {AT(bucket_count), 8, 1, PIL_STATUS_CORRUPT, "section PILOTS has"},
        {AT(row_stride), 4, 0, PIL_STATUS_TOO_LARGE, "row_stride is 0"},
        {AT(row_stride), 4, UINT32_MAX, PIL_STATUS_TOO_LARGE, "row_stride"},
        {AT(row_stride), 4, 8, PIL_STATUS_CORRUPT, "section ROWS has"},
        {AT(shard_bits), 4, 17, PIL_STATUS_TOO_LARGE, "shard_bits is 17, the limit is 16"},
        {AT(shard_bits), 4, 16, PIL_STATUS_CORRUPT, "has a key of another shard"},
        {AT(shard_index), 4, 1, PIL_STATUS_TOO_LARGE, "shard_index is 1, the limit is 0"},
        {AT(hash_seed), 8, 77, PIL_STATUS_CORRUPT, "is not where its key's hash says"},
        {AT(event_ts_us_min), 8, 0, PIL_STATUS_CORRUPT, "event timestamps in section ROWS"},
        {AT(event_ts_us_max), 8, INT64_MAX, PIL_STATUS_CORRUPT, "event timestamps in section ROWS"},
        {AT(content_digest), 8, 0, PIL_STATUS_CORRUPT, "content digest"},
        {AT(zeros) + 8, 8, 1, PIL_STATUS_CORRUPT, "reserved bytes are not zero"},
        {AT(sections), 8, 4097, PIL_STATUS_CORRUPT, "section SCHEMA at 4097"},
        {AT(sections), 8, 0, PIL_STATUS_CORRUPT, "section SCHEMA at 0"},
        {AT(sections) + 8, 8, UINT64_MAX, PIL_STATUS_TOO_LARGE, "SCHEMA bytes"},
        {AT(sections) + 8, 8, 8000000, PIL_STATUS_CORRUPT, "section SCHEMA"},
        {AT(sections) + 3 * 16, 8, UINT64_MAX - 63, PIL_STATUS_CORRUPT, "section HEAP"},
        {AT(sections) + 3 * 16 + 8, 8, UINT64_MAX - 63, PIL_STATUS_CORRUPT, "section HEAP"},
        {AT(sections) + 4 * 16 + 8, 8, 0, PIL_STATUS_CORRUPT, "section BLOCK_SUMS has 0 bytes, expected 8"},
        {AT(sections) + 5 * 16, 8, 4160, PIL_STATUS_CORRUPT, "section RANGE_HASHES at 4160"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct victim victim = victim_named("scalars");
        memcpy(victim.file + cases[i].at, &cases[i].value, (size_t)cases[i].width);
        fixture_repair(victim.file, victim.bytes);
        check(&victim, cases[i].status, cases[i].words);
        victim_deinit(&victim);
    }
}

static void what_newer_minor_versions_add_is_ignored(void **state) {
    (void)state;
    struct victim victim = victim_named("scalars");
    victim.file[AT(minor)] = 1;
    victim.file[AT(compat)] = 1;
    victim.file[AT(ro_compat)] = 1;
    victim.file[AT(zeros)] = 1;
    fixture_repair(victim.file, victim.bytes);
    check(&victim, PIL_STATUS_OK, NULL);
    victim_deinit(&victim);
}

static void checksums_and_ids_are_compared(void **state) {
    (void)state;
    struct victim victim = victim_named("scalars");
    struct pil_verify_options options = {.id = &victim.id};
    struct pil_bytes file = pil_bytes_from(victim.file, victim.bytes);
    assert_int_equal(pil_verify(file, &options, &error), PIL_STATUS_OK);
    victim.file[victim.block.sections[PIL_SECTION_RANGE_HASHES].offset] ^= 1;
    check(&victim, PIL_STATUS_CORRUPT, "section RANGE_HASHES does not match the bytes at offset 0");
    victim.file[victim.block.sections[PIL_SECTION_RANGE_HASHES].offset] ^= 1;
    victim.file[victim.block.sections[PIL_SECTION_ROWS].offset] ^= 1;
    check(&victim, PIL_STATUS_CORRUPT, "section BLOCK_SUMS does not match the bytes at offset 0");
    victim.file[victim.block.sections[PIL_SECTION_ROWS].offset] ^= 1;
    victim.file[AT(hash_attempts)] ^= 1; /* nobody depends on it: still another file */
    check(&victim, PIL_STATUS_CORRUPT, "superblock offset 4088: the checksum does not match");
    fixture_repair(victim.file, victim.bytes);
    check(&victim, PIL_STATUS_OK, NULL);
    assert_int_equal(pil_verify(file, &options, &error), PIL_STATUS_CORRUPT);
    assert_non_null(strstr(error.text, "the shard is "));
    victim_deinit(&victim);
}

static void schemas_are_compared(void **state) {
    (void)state;
    struct victim victim = victim_named("scalars"), other = victim_named("lists");
    struct pil_verify_options options = {.view = victim.view};
    assert_int_equal(pil_verify(pil_bytes_from(victim.file, victim.bytes), &options, &error), PIL_STATUS_OK);
    options.view = other.view;
    assert_int_equal(pil_verify(pil_bytes_from(victim.file, victim.bytes), &options, &error), PIL_STATUS_CORRUPT);
    assert_non_null(strstr(error.text, "section SCHEMA: not the schema that was expected"));
    size_t schema = victim.block.sections[PIL_SECTION_SCHEMA].offset;
    victim.file[schema] = 'x';
    fixture_repair(victim.file, victim.bytes);
    check(&victim, PIL_STATUS_CORRUPT, "section SCHEMA at offset 4096");
    victim_deinit(&victim);
    victim_deinit(&other);
}

static void a_known_schema_is_not_parsed_again(void **state) {
    (void)state;
    struct victim victim = victim_named("scalars");
    struct pil_bytes file = pil_bytes_from(victim.file, victim.bytes);
    struct pil_shard first, sibling;
    assert_int_equal(pil_shard_open(file, &first, &error), PIL_STATUS_OK);
    struct pil_shard_schema known = pil_shard_schema_of(&first);
    assert_int_equal(pil_shard_open_known(file, &known, &sibling, &error), PIL_STATUS_OK);
    assert_ptr_equal(sibling.view, first.view);
    assert_null(sibling.own_view);
    pil_shard_close(&sibling);
    known.text.len--;
    assert_int_equal(pil_shard_open_known(file, &known, &sibling, &error), PIL_STATUS_OK);
    assert_ptr_not_equal(sibling.view, first.view);
    pil_shard_close(&sibling);
    pil_shard_close(&first);
    /* A section without bytes is not the schema of which no text is known. */
    struct pil_superblock *block = (struct pil_superblock *)(void *)victim.file;
    struct pil_section_entry *schema = &block->sections[PIL_SECTION_SCHEMA];
    memset(victim.file + schema->offset, 0, schema->bytes);
    schema->bytes = 0;
    fixture_repair(victim.file, victim.bytes);
    struct pil_verify_options options = {.view = victim.view};
    assert_int_equal(pil_verify(file, &options, &error), PIL_STATUS_CORRUPT);
    assert_non_null(strstr(error.text, "section SCHEMA"));
    victim_deinit(&victim);
}

/* A sound shard in the place of another one, of a release with more or fewer shards, or with other rows. */
static void a_shard_is_what_its_manifest_means(void **state) {
    (void)state;
    struct victim victim = victim_named("scalars");
    struct pil_bytes file = pil_bytes_from(victim.file, victim.bytes);
    const struct pil_superblock *block = (const struct pil_superblock *)(const void *)victim.file;
    const struct pil_verify_place right = {block->shard_index, 1u << block->shard_bits, block->row_count};
    struct pil_verify_place places[4] = {right, right, right, right};
    places[1].shard_index++;
    places[2].shard_count *= 2;
    places[3].row_count--;
    for (size_t i = 0; i < 4; i++) {
        const struct pil_verify_options options = {.place = &places[i]};
        pil_status wanted = i == 0 ? PIL_STATUS_OK : PIL_STATUS_CORRUPT;
        assert_int_equal(pil_verify(file, &options, &error), wanted);
        assert_int_equal(pil_verify_place(victim.file, victim.bytes, &places[i], &error), wanted);
        assert_true(i == 0 || strstr(error.text, "and the manifest means shard") != NULL);
    }
    victim_deinit(&victim);
}

static void padding_between_sections_is_zero(void **state) {
    (void)state;
    struct victim victim = victim_named("composite_keys");
    size_t found = 0;
    for (int i = 0; i + 1 < PIL_SECTION_COUNT; i++) {
        const struct pil_section_entry *section = &victim.block.sections[i];
        for (uint64_t at = section->offset + section->bytes; at < victim.block.sections[i + 1].offset; at++, found++) {
            victim.file[at] ^= 0x10;
            fixture_repair(victim.file, victim.bytes);
            check(&victim, PIL_STATUS_CORRUPT, "the padding at offset");
            victim.file[at] ^= 0x10;
        }
    }
    assert_true(found > 0);
    victim_deinit(&victim);
}

/* ---- Rows: one change, one sentence. */

/* A row with a key in the heap and with values that each rule can be broken in. */
static struct victim victim_with_one_row(uint8_t **ret_row) {
    struct fixture_table table =
        fixture_table_make("string", "string;bool;list<bool>;list<int32>;list<string>;int32;bytes;int64;int32");
    struct fixture_row *row = fixture_table_add(&table, "a key of 20 letters.", 20, 1000);
    fixture_row_set_text(row, 0, "text in the heap");
    fixture_row_set(row, 1, "\1", 1);
    fixture_row_set(row, 2, "\0\1", 2);
    fixture_row_set(row, 3, "12345678", 8);
    fixture_row_set(row, 4, "\2\0\0\0\1\0\0\0\3\0\0\0abc", 15);
    fixture_row_set_text(row, 6, "inline");
    struct pil_writer_options options = {0};
    struct victim victim = victim_of(&table, &options);
    struct pil_shard shard;
    assert_int_equal(pil_shard_open(pil_bytes_from(victim.file, victim.bytes), &shard, &error), PIL_STATUS_OK);
    const uint8_t *found = pil_shard_find(&shard, pil_bytes_from_text("a key of 20 letters."));
    *ret_row = victim.file + (found - victim.file);
    pil_shard_close(&shard);
    return victim;
}

enum place { IN_KEY, IN_TS, IN_NULLS, IN_FIELD, IN_HEAP, IN_TAIL };
struct row_case {
    enum place place;
    uint32_t feature, delta; /* bytes from there */
    uint64_t value;
    int width;
    const char *words;
};

static uint8_t *place_of(const struct victim *victim, uint8_t *row, const struct row_case *one) {
    const struct pil_row_layout *layout = &victim->view->layout;
    switch (one->place) {
    case IN_KEY: return row + one->delta;
    case IN_TS: return row + layout->event_ts_offset;
    case IN_NULLS: return row + layout->null_offset + one->delta;
    case IN_FIELD: return row + victim->view->features[one->feature].offset + one->delta;
    case IN_HEAP: return victim->file + victim->block.sections[PIL_SECTION_HEAP].offset + one->delta;
    case IN_TAIL: return row + layout->stride - 1;
    }
    return NULL;
}

static void rules_for_rows_are_checked(void **state) {
    (void)state;
    static const struct row_case cases[] = {
        {IN_KEY, 0, 8, UINT64_MAX, 8, "the row or its key refers outside of section HEAP"},
        {IN_KEY, 0, 8, 1 << 20, 8, "the row or its key refers outside of section HEAP"},
        {IN_KEY, 0, 0, UINT32_MAX, 4, "the row or its key refers outside of section HEAP"},
        {IN_KEY, 0, 4, 'b', 1, "the row or its key has a prefix that its bytes do not have"},
        {IN_KEY, 0, 0, 3, 4, "the row or its key has bytes after its end"},
        {IN_KEY, 0, 0, 19, 4, "is not where its key's hash says"},
        {IN_HEAP, 0, 9, 0xff, 1, "the row or its key is not valid UTF-8"},
        {IN_HEAP, 0, 9, 'x', 1, "is not where its key's hash says"},
        {IN_TS, 0, 0, 1001, 8, "event timestamps in section ROWS"},
        {IN_TS, 0, 0, 1ull << 63, 8, "is empty but not zero"},
        {IN_NULLS, 0, 1, 2, 1, "has a null bit of no feature"},
        {IN_NULLS, 0, 0, 1 << 0 | 1 << 5 | 1 << 7, 1, "the value of f0 is null but not zero"},
        {IN_NULLS, 0, 0, 1 << 1 | 1 << 5 | 1 << 7, 1, "the value of f1 is null but not zero"},
        {IN_NULLS, 0, 0, 1 << 5, 1, "content digest"},
        {IN_NULLS, 0, 2, 1, 1, "has padding that is not zero"},
        {IN_TAIL, 0, 0, 1, 1, "has padding that is not zero"},
        {IN_FIELD, 0, 8, UINT64_MAX - 8, 8, "the value of f0 refers outside of section HEAP"},
        {IN_FIELD, 0, 0, 65, 4, "the value of f0 refers outside of section HEAP"},
        {IN_FIELD, 0, 5, 0, 1, "the value of f0 has a prefix"},
        {IN_HEAP, 0, 25, 0x80, 1, "the value of f0 is not valid UTF-8"},
        {IN_FIELD, 1, 0, 2, 1, "the value of f1 is neither 0 nor 1"},
        {IN_FIELD, 2, 5, 2, 1, "the value of f2 has an element that is neither 0 nor 1"},
        {IN_FIELD, 3, 0, 7, 4, "the value of f3 has bytes after its end"},
        {IN_FIELD, 3, 0, 9, 4, "the value of f3 has a length that is not a multiple"},
        {IN_HEAP, 0, 44, 2, 1, "the value of f4 has bytes after its last element"},
        {IN_HEAP, 0, 40, 4, 1, "the value of f4 has element ends that fall or leave the value"},
        {IN_HEAP, 0, 44, 4, 1, "the value of f4 has element ends that fall or leave the value"},
        {IN_HEAP, 0, 48, 0xe4, 1, "the value of f4 has an element that is not valid UTF-8"},
        {IN_FIELD, 5, 0, 1, 4, "the value of f5 is null but not zero"},
        {IN_FIELD, 6, 4 + 7, 1, 1, "the value of f6 has bytes after its end"},
        {IN_FIELD, 6, 4, 'I', 1, "content digest"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *row;
        struct victim victim = victim_with_one_row(&row);
        check(&victim, PIL_STATUS_OK, NULL);
        memcpy(place_of(&victim, row, &cases[i]), &cases[i].value, (size_t)cases[i].width);
        fixture_repair(victim.file, victim.bytes);
        check(&victim, PIL_STATUS_CORRUPT, cases[i].words);
        victim_deinit(&victim);
    }
}

/* Two values of a row refer to the same bytes, or to half of the heap only. */
static void rows_of_static_views_have_their_one_time(void **state) {
    (void)state;
    struct fixture_table table = fixture_table_make("int64", "int32");
    table.view->is_static = true;
    table.view->ttl_us = 0;
    fixture_table_add(&table, "8 bytes.", 8, PIL_STATIC_EVENT_US);
    const struct pil_writer_options options = {0};
    struct victim victim = victim_of(&table, &options);
    check(&victim, PIL_STATUS_OK, NULL);
    pil_store_i64(victim.file + victim.block.sections[PIL_SECTION_ROWS].offset + victim.view->layout.event_ts_offset,
                  1);
    fixture_repair(victim.file, victim.bytes);
    check(&victim, PIL_STATUS_CORRUPT, "has an event timestamp, and the view is static");
    victim_deinit(&victim);
}

static void a_heap_is_neither_shared_nor_left_over(void **state) {
    (void)state;
    static const char text[] = "the same twenty bytes";
    const uint32_t bytes = sizeof text - 1;
    struct fixture_table table = fixture_table_make("int64", "string;string");
    struct fixture_row *row = fixture_table_add(&table, "\1\0\0\0\0\0\0", 8, 1000);
    fixture_row_set_text(row, 0, text);
    fixture_row_set_text(row, 1, text);
    struct pil_writer_options options = {0};
    struct victim victim = victim_of(&table, &options);
    const struct pil_section_entry *heap = &victim.block.sections[PIL_SECTION_HEAP];
    assert_int_equal(heap->bytes, 2 * bytes);
    check(&victim, PIL_STATUS_OK, NULL);
    uint8_t *rows = victim.file + victim.block.sections[PIL_SECTION_ROWS].offset;
    for (uint64_t slot = 0; slot < victim.block.slot_count; slot++) { /* an empty slot stays zero */
        uint8_t *field = rows + slot * victim.block.row_stride + victim.view->features[1].offset;
        if (pil_load_u32(field) != 0) {
            memset(field, 0, PIL_REF_BYTES);
        }
    }
    fixture_repair(victim.file, victim.bytes);
    check(&victim, PIL_STATUS_CORRUPT, "section HEAP has 42 bytes, its rows refer to 21");
    for (uint64_t slot = 0; slot < victim.block.slot_count; slot++) {
        uint8_t *one = rows + slot * victim.block.row_stride + victim.view->features[0].offset;
        uint8_t *other = rows + slot * victim.block.row_stride + victim.view->features[1].offset;
        if (pil_load_u32(one) != 0) { /* 42 bytes from the first, and the first 21 of these again */
            pil_store_u32(one, 2 * bytes);
            pil_store_u64(one + 8, 0);
            memcpy(other, one, PIL_REF_BYTES);
            pil_store_u32(other, bytes);
        }
    }
    fixture_repair(victim.file, victim.bytes);
    check(&victim, PIL_STATUS_CORRUPT, "the value of f1 shares bytes of section HEAP with another");
    victim_deinit(&victim);
}

static void rows_in_the_wrong_slots_are_refused(void **state) {
    (void)state;
    struct victim victim = victim_named("scalars");
    uint32_t stride = victim.block.row_stride;
    uint8_t *rows = victim.file + victim.block.sections[PIL_SECTION_ROWS].offset, swap[512];
    memcpy(swap, rows, stride);
    memcpy(rows, rows + stride, stride);
    memcpy(rows + stride, swap, stride);
    fixture_repair(victim.file, victim.bytes);
    check(&victim, PIL_STATUS_CORRUPT, "section ROWS, slot 0 at offset");
    victim_deinit(&victim);
    victim = victim_named("scalars");
    victim.file[victim.block.sections[PIL_SECTION_PILOTS].offset]++;
    fixture_repair(victim.file, victim.bytes);
    check(&victim, PIL_STATUS_CORRUPT, "is not where its key's hash says");
    victim_deinit(&victim);
}

struct progress {
    uint64_t done, calls;
};

static void note_progress(void *context, uint64_t bytes_done, uint64_t bytes_total) {
    struct progress *progress = context;
    assert_true(bytes_done > progress->done && bytes_done <= bytes_total);
    progress->done = bytes_done;
    progress->calls++;
}

static void progress_goes_up_to_the_end(void **state) {
    (void)state;
    struct fixture_table table = fixture_table_make("int64", "vector<float32,16384>");
    uint64_t random = 1;
    random_rows(&random, &table, 160, 0);
    struct pil_writer_options options = {0};
    struct victim victim = victim_of(&table, &options);
    struct progress progress = {0};
    struct pil_verify_options verify_options = {
        .id = &victim.id, .progress = note_progress, .progress_context = &progress};
    assert_int_equal(pil_verify(pil_bytes_from(victim.file, victim.bytes), &verify_options, &error), PIL_STATUS_OK);
    assert_int_equal(progress.done, victim.bytes);
    assert_true(progress.calls >= 11);
    for (size_t at = 3; at < victim.bytes; at += 1111111) { /* damage in any block and range */
        victim.file[at] ^= 1;
        assert_int_not_equal(verify(&victim), PIL_STATUS_OK);
        victim.file[at] ^= 1;
    }
    victim_deinit(&victim);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(every_other_length_is_refused),
        cmocka_unit_test(numbers_of_the_superblock_are_checked),
        cmocka_unit_test(what_newer_minor_versions_add_is_ignored),
        cmocka_unit_test(checksums_and_ids_are_compared),
        cmocka_unit_test(schemas_are_compared),
        cmocka_unit_test(a_known_schema_is_not_parsed_again),
        cmocka_unit_test(a_shard_is_what_its_manifest_means),
        cmocka_unit_test(padding_between_sections_is_zero),
        cmocka_unit_test(rules_for_rows_are_checked),
        cmocka_unit_test(rows_of_static_views_have_their_one_time),
        cmocka_unit_test(a_heap_is_neither_shared_nor_left_over),
        cmocka_unit_test(rows_in_the_wrong_slots_are_refused),
        cmocka_unit_test(progress_goes_up_to_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
