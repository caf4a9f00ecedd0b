/* SPDX-License-Identifier: Apache-2.0
 * Goal: whatever is done to a shard, it is refused or safe: 100,000 changes to the places that matter (superblock
 * numbers, section table, pilots, references, nulls, timestamps, schema, heap), one to four at a time. As it is, each
 * must be refused; with all checksums made right again it may pass, but then everything in it can be read, and with the
 * id given it is refused. Method: random changes with a printed seed; copies of exact size, so that ASan sees any read
 * outside. */
#include "support/shard_random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { MUTATIONS = 100000 };

static struct pil_error error;

struct original {
    struct pil_writer_result result;
    struct pil_superblock block;
    struct pil_view *view;
};

/* A number that is likely to hurt, near what was there or near a border. */
static uint64_t nasty_number(uint64_t *random, uint64_t was, uint64_t bytes) {
    const uint64_t numbers[] = {0,
                                1,
                                was + 1,
                                was - 1,
                                was * 2,
                                was ^ 1ull << fixture_below(random, 64),
                                UINT64_MAX,
                                UINT64_MAX - 63,
                                1ull << 63,
                                UINT32_MAX,
                                bytes,
                                bytes - 1,
                                bytes + 1,
                                12,
                                13,
                                64,
                                4096,
                                fixture_random(random),
                                fixture_below(random, bytes)};
    return numbers[fixture_below(random, sizeof numbers / sizeof *numbers)];
}

static void change_number(uint64_t *random, uint8_t *file, size_t bytes, size_t at, size_t width) {
    uint64_t value = 0;
    if (at + width <= bytes) {
        memcpy(&value, file + at, width);
        value = nasty_number(random, value, bytes);
        memcpy(file + at, &value, width);
    }
}

static size_t in_section(uint64_t *random, const struct original *original, pil_section section) {
    const struct pil_section_entry *entry = &original->block.sections[section];
    return entry->offset + (entry->bytes > 0 ? fixture_below(random, entry->bytes) : 0);
}

static size_t in_row(uint64_t *random, const struct original *original, size_t offset) {
    uint64_t slot = original->block.slot_count > 0 ? fixture_below(random, original->block.slot_count) : 0;
    return original->block.sections[PIL_SECTION_ROWS].offset + slot * original->block.row_stride + offset;
}

static void mutate(uint64_t *random, const struct original *original, uint8_t *file) {
    const struct pil_row_layout *layout = &original->view->layout;
    size_t bytes = original->result.bytes, at;
    switch (fixture_below(random, 10)) {
    case 0: /* a number of the superblock */
        at = fixture_below(random, offsetof(struct pil_superblock, zeros) / 4) * 4;
        change_number(random, file, bytes, at, at % 8 == 0 && fixture_below(random, 2) == 0 ? 8 : 4);
        break;
    case 1: /* the section table */
        at = offsetof(struct pil_superblock, sections) + fixture_below(random, 2 * PIL_SECTION_COUNT) * 8;
        change_number(random, file, bytes, at, 8);
        break;
    case 2: /* a pilot */
        change_number(random, file, bytes, in_section(random, original, PIL_SECTION_PILOTS), 1);
        break;
    case 3: /* the key, or the length and offset of its reference */
        change_number(random, file, bytes, in_row(random, original, fixture_below(random, 2) * 8), 4);
        break;
    case 4: /* timestamp or nulls */
        at = fixture_below(random, 2) == 0 ? layout->event_ts_offset : layout->null_offset;
        change_number(random, file, bytes, in_row(random, original, at), 1 + fixture_below(random, 8));
        break;
    case 5: /* a field, or length and offset of a reference */
        if (original->view->feature_count > 0) {
            at = original->view->features[fixture_below(random, original->view->feature_count)].offset;
            change_number(random, file, bytes, in_row(random, original, at + fixture_below(random, 2) * 8), 4);
        }
        break;
    case 6:
        change_number(random, file, bytes, in_section(random, original, PIL_SECTION_HEAP),
                      1 + fixture_below(random, 4));
        break;
    case 7: change_number(random, file, bytes, in_section(random, original, PIL_SECTION_SCHEMA), 1); break;
    case 8: { /* one row over another */
        size_t from = in_row(random, original, 0), to = in_row(random, original, 0);
        if (original->block.slot_count > 0) {
            memmove(file + to, file + from, original->block.row_stride);
        }
        break;
    }
    case 9: file[fixture_below(random, bytes)] ^= (uint8_t)(1u << fixture_below(random, 8)); break;
    }
}

static void check_mutant(const struct original *original, uint8_t *file, size_t *accepted) {
    struct pil_bytes bytes = pil_bytes_from(file, original->result.bytes);
    struct pil_verify_options options = {0};
    assert_int_not_equal(pil_verify(bytes, &options, &error), PIL_STATUS_OK);
    fixture_repair(file, bytes.len);
    if (pil_verify(bytes, &options, &error) == PIL_STATUS_OK) {
        struct pil_shard shard;
        assert_int_equal(pil_shard_open(bytes, &shard, &error), PIL_STATUS_OK);
        fixture_read_everything(&shard);
        pil_shard_close(&shard);
        ++*accepted;
    }
    if (memcmp(file, original->result.data, bytes.len) != 0) {
        options.id = &original->result.id;
        assert_int_not_equal(pil_verify(bytes, &options, &error), PIL_STATUS_OK);
    }
}

static void every_mutant_is_refused_or_safe(void **state) {
    (void)state;
    uint64_t random = fixture_seed(0xbadc0de);
    size_t accepted = 0;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        struct fixture_table table = sample_table(&samples[i]);
        struct pil_writer_options options = sample_options(&samples[i]);
        struct original original = {.view = table.view};
        assert_int_equal(fixture_table_write(&table, &options, &original.result, &error), PIL_STATUS_OK);
        memcpy(&original.block, original.result.data, sizeof original.block);
        for (size_t made = 0; made < MUTATIONS / SAMPLE_COUNT;) {
            uint8_t *file = fixture_copy(fixture_result_bytes(&original.result));
            for (size_t times = 1 + fixture_below(&random, 4); times > 0; times--) {
                mutate(&random, &original, file);
            }
            if (memcmp(file, original.result.data, original.result.bytes) != 0) {
                check_mutant(&original, file, &accepted);
                made++;
            }
            free(file);
        }
        pil_writer_result_deinit(&original.result);
        fixture_table_deinit(&table);
    }
    printf("%d mutants, %zu accepted once their checksums were right\n", MUTATIONS, accepted);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_mutant_is_refused_or_safe)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
