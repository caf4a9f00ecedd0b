/* SPDX-License-Identifier: Apache-2.0
 * Goal: the construction of the perfect hash gives each key its own slot for any number of keys, gives up cleanly on
 * hashes that cannot be placed, and stays within its size. Method: random hashes, and hashes made to share a bucket. */
#include "snapshot/internal.h"
#include "support/shard_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct trial {
    struct pil_index_entry *entries, *scratch, *sorted;
    size_t count;
    struct pil_index index;
};

static struct trial trial_make(size_t count) {
    return (struct trial){
        .entries = fixture_alloc(count * sizeof(struct pil_index_entry)),
        .scratch = fixture_alloc(count * sizeof(struct pil_index_entry)),
        .count = count,
        .index = {.slot_count = pil_index_slots_for(count), .bucket_count = pil_index_buckets_for(count)},
    };
}

static pil_status trial_run(struct trial *trial) {
    trial->sorted = pil_index_sort(trial->entries, trial->scratch, trial->count);
    trial->index.pilots = fixture_alloc(trial->index.bucket_count);
    trial->index.slot_rows = fixture_alloc(trial->index.slot_count * sizeof(uint32_t));
    return pil_index_build(trial->sorted, trial->count, &trial->index);
}

static void trial_deinit(struct trial *trial) {
    free(trial->entries);
    free(trial->scratch);
    free(trial->index.pilots);
    free(trial->index.slot_rows);
}

/* Each entry is alone in the slot that a lookup of its hash ends in. */
static void check_perfect(const struct trial *trial) {
    const struct pil_index *index = &trial->index;
    size_t used = 0;
    for (uint64_t slot = 0; slot < index->slot_count; slot++) {
        used += index->slot_rows[slot] != 0;
    }
    assert_int_equal(used, trial->count);
    for (size_t i = 0; i < trial->count; i++) {
        uint64_t hash = trial->sorted[i].hash;
        uint64_t bucket = pil_index_bucket(hash, index->bucket_count);
        assert_true(bucket < index->bucket_count);
        uint64_t slot = pil_index_slot(hash, index->pilots[bucket], index->slot_count);
        assert_true(slot < index->slot_count);
        assert_int_equal(index->slot_rows[slot], trial->sorted[i].row + 1);
    }
}

static void every_key_has_its_own_slot_for_any_count(void **state) {
    (void)state;
    uint64_t random = fixture_seed(20);
    size_t failures = 0, trials = 0;
    for (size_t count = 0; count < 200000; count = count < 400 ? count + 1 : count * 2) {
        pil_status status = PIL_STATUS_AGAIN;
        for (int attempt = 0; attempt < 8 && status == PIL_STATUS_AGAIN; attempt++) {
            struct trial trial = trial_make(count);
            for (size_t i = 0; i < count; i++) {
                trial.entries[i] = (struct pil_index_entry){.hash = fixture_random(&random), .row = i};
            }
            status = trial_run(&trial);
            if (status == PIL_STATUS_OK) {
                check_perfect(&trial);
            }
            failures += status != PIL_STATUS_OK;
            trials++;
            trial_deinit(&trial);
        }
        assert_int_equal(status, PIL_STATUS_OK);
    }
    assert_true(failures * 20 < trials);
}

static void sort_orders_by_all_64_bits(void **state) {
    (void)state;
    uint64_t random = fixture_seed(30);
    for (size_t count = 0; count < 3000; count += 97) {
        struct trial trial = trial_make(count);
        for (size_t i = 0; i < count; i++) {
            uint64_t hash = fixture_random(&random);
            hash = i % 3 == 0 ? hash : i % 3 == 1 ? hash % 64 : hash | UINT64_MAX << 20;
            trial.entries[i] = (struct pil_index_entry){.hash = hash, .row = i};
        }
        struct pil_index_entry *sorted = pil_index_sort(trial.entries, trial.scratch, count);
        uint64_t rows = 0;
        for (size_t i = 0; i < count; i++) {
            assert_true(i == 0 || sorted[i - 1].hash <= sorted[i].hash);
            rows += sorted[i].row;
        }
        assert_int_equal(rows, count > 0 ? count * (count - 1) / 2 : 0);
        trial_deinit(&trial);
    }
}

static void bucket_never_falls_as_the_hash_rises(void **state) {
    (void)state;
    uint64_t random = fixture_seed(40);
    for (int i = 0; i < 200000; i++) {
        uint64_t buckets = 1 + fixture_below(&random, 4000000),
                 hash = fixture_random(&random) >> fixture_below(&random, 60);
        uint64_t higher = hash + (fixture_random(&random) >> fixture_below(&random, 64));
        higher = higher < hash ? UINT64_MAX : higher;
        assert_true(pil_index_bucket(hash, buckets) <= pil_index_bucket(higher, buckets));
        assert_true(pil_index_bucket(higher, buckets) < buckets);
    }
}

static void too_many_keys_in_one_bucket_end_with_another_seed(void **state) {
    (void)state;
    struct trial trial = trial_make(2000);
    for (size_t i = 0; i < trial.count; i++) {
        trial.entries[i] = (struct pil_index_entry){.hash = i, .row = i};
    }
    assert_int_equal(trial_run(&trial), PIL_STATUS_AGAIN);
    trial_deinit(&trial);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_has_its_own_slot_for_any_count),
        cmocka_unit_test(sort_orders_by_all_64_bits),
        cmocka_unit_test(bucket_never_falls_as_the_hash_rises),
        cmocka_unit_test(too_many_keys_in_one_bucket_end_with_another_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
