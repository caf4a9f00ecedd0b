/* SPDX-License-Identifier: Apache-2.0
 * Goal: a batch finds what single lookups find, whatever chains it mixes and whatever its length; what a lookup says of
 * its row is complete; a source is asked block by block, each step after the one before. Method: small releases in
 * memfds; a source that notes how it is asked. */
#include "support/cache_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { KEYS = 777 };

static void a_batch_finds_what_single_lookups_find(void **state) {
    struct pil_project *project = fixture_project(50); /* stride 224: rows do not start on lines */
    const struct pil_view *view = project->views[0].view;
    struct pil_release *releases[3] = {fixture_release(view, 500, 1, 0), fixture_release(view, 300, 2, 3),
                                       fixture_release(view, 0, 3, 0)};
    struct pil_serving servings[3];
    struct pil_lookup *lookups = calloc(KEYS, sizeof *lookups);
    uint64_t *keys = calloc(KEYS, sizeof *keys);
    uint32_t features[2] = {0, 49};
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        pil_serving_init(&servings[i], releases[i]);
    }
    for (uint32_t i = 0; i < KEYS; i++) {
        keys[i] = i;
        lookups[i] = pil_lookup_make(&servings[i % 3].chain, pil_bytes_from(&keys[i], 8), i % 3,
                                     pil_chain_line_mask(view, features, 2));
    }
    pil_chain_lookup(lookups, KEYS);
    for (uint32_t i = 0; i < KEYS; i++) {
        const struct pil_release *release = releases[i % 3];
        const struct pil_row *row = &lookups[i].row;
        struct pil_bytes key = pil_bytes_from(&keys[i], 8);
        const struct pil_shard *shard = &release->shards[pil_shard_of(pil_hash_shard(key), release->shard_bits)];
        assert_ptr_equal(row->fields, pil_shard_find(shard, key));
        assert_int_equal(row->fields != NULL, i < (i % 3 == 0 ? 500u : i % 3 == 1 ? 300u : 0u));
        assert_int_equal(lookups[i].status, row->fields != NULL ? PIL_VALUE_PRESENT : PIL_VALUE_NOT_FOUND);
        assert_ptr_equal(row->view, release->view);
        assert_ptr_equal(row->heap, &shard->heap);
        assert_int_equal(row->source, PIL_ROW_SOURCE_RELEASE);
        assert_int_equal(lookups[i].view_index, i % 3);
        if (row->fields != NULL) {
            struct pil_bytes value = pil_row_value(row, &row->view->features[49]);
            assert_int_equal(value.len, 4);
            assert_true(pil_load_f32(value.data) == fixture_value(i, 49, i % 3 + 1));
        }
    }
    free(keys);
    free(lookups);
    for (uint32_t i = 0; i < 3; i++) {
        pil_cache_release_destroy(&releases[i]);
    }
    pil_project_destroy(&project);
}

/* ---- A source that notes how it is asked. */

struct noter {
    uint32_t calls[3];    /* by step */
    uint32_t at_once_max; /* lookups of one call */
    uint32_t keys_done;
};

static void note(struct noter *noter, uint32_t step, struct pil_lookup *lookups, uint32_t count) {
    noter->calls[step]++;
    noter->at_once_max = count > noter->at_once_max ? count : noter->at_once_max;
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(lookups[i].line_mask, step); /* how many steps it has passed */
        lookups[i].line_mask++;
    }
}
static void note_hash(const void *data, struct pil_lookup *lookups, uint32_t count) {
    note((struct noter *)(uintptr_t)data, 0, lookups, count);
}
static void note_fetch(const void *data, struct pil_lookup *lookups, uint32_t count) {
    note((struct noter *)(uintptr_t)data, 1, lookups, count);
}
static void note_settle(const void *data, struct pil_lookup *lookups, uint32_t count) {
    struct noter *noter = (struct noter *)(uintptr_t)data;
    note(noter, 2, lookups, count);
    noter->keys_done += count;
}
static const struct pil_lookup_source_ops noting = {.hash = note_hash, .fetch = note_fetch, .settle = note_settle};

static void each_lookup_passes_each_step_once_and_in_order(void **state) {
    struct pil_lookup lookups[5 * PIL_SOURCE_BLOCK + 1];
    (void)state;
    for (uint32_t count = 0; count <= sizeof lookups / sizeof lookups[0]; count++) {
        struct noter noter = {.at_once_max = 0};
        struct pil_chain chain = {.release = {.ops = &noting, .data = &noter}};
        for (uint32_t i = 0; i < count; i++) {
            lookups[i] = pil_lookup_make(&chain, pil_bytes_from("", 0), 0, 0);
        }
        pil_chain_lookup(lookups, count);
        uint32_t blocks = (count + PIL_SOURCE_BLOCK - 1) / PIL_SOURCE_BLOCK;
        for (uint32_t step = 0; step < 3; step++) {
            assert_int_equal(noter.calls[step], blocks); /* by block, not by key */
        }
        assert_int_equal(noter.keys_done, count);
        assert_true(noter.at_once_max <= PIL_SOURCE_BLOCK);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(lookups[i].line_mask, 3);
        }
    }
}

static void neighbours_of_one_chain_are_asked_together(void **state) {
    struct noter noters[2] = {{.at_once_max = 0}, {.at_once_max = 0}};
    struct pil_chain chains[2];
    struct pil_lookup lookups[PIL_SOURCE_BLOCK];
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        chains[i] = (struct pil_chain){.release = {.ops = &noting, .data = &noters[i]}};
    }
    for (uint32_t i = 0; i < PIL_SOURCE_BLOCK; i++) {
        lookups[i] = pil_lookup_make(&chains[i >= 3 && i < 6], pil_bytes_from("", 0), 0, 0); /* 3, 3 and 2 */
    }
    pil_chain_lookup(lookups, PIL_SOURCE_BLOCK);
    assert_int_equal(noters[0].calls[0], 2);
    assert_int_equal(noters[1].calls[0], 1);
    assert_int_equal(noters[0].keys_done, 5);
    assert_int_equal(noters[1].keys_done, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_finds_what_single_lookups_find),
        cmocka_unit_test(each_lookup_passes_each_step_once_and_in_order),
        cmocka_unit_test(neighbours_of_one_chain_are_asked_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
