/* SPDX-License-Identifier: Apache-2.0
 * Goal: readers on threads of their own see whole releases while a publisher swaps them, and never memory that was
 * unmapped (that would be a fault, or a report of ThreadSanitizer). Method: each batch must come from one release, no
 * older than the last; each swap waits until every reader has begun a batch after the one before it, so that all read
 * while all is swapped. */
#include "support/cache_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { READERS = 3, SWAPS = 150, ROWS = 500, BATCH = 32 };

struct shared {
    struct pil_cache *cache;
    const struct pil_view *view;
    _Atomic bool stop;
    _Atomic uint64_t wrong;
};

struct reader {
    struct shared *shared;
    uint32_t index;
    _Atomic uint64_t batches;
    uint64_t seed_last;  /* of the release of the last batch */
    uint64_t seeds_seen; /* different ones */
};

static void read_batch(struct reader *reader, uint64_t first) {
    struct shared *shared = reader->shared;
    uint64_t keys[BATCH];
    struct pil_lookup lookups[BATCH];
    const struct pil_serving *serving = pil_cache_serving(pil_cache_view_at(shared->cache, 0));
    uint64_t seed = strtoull(serving->release->id, NULL, 16);
    for (uint32_t i = 0; i < BATCH; i++) {
        keys[i] = (first + i * 7919) % ROWS;
        lookups[i] = pil_lookup_make(&serving->chain, pil_bytes_from(&keys[i], 8), 0, 1);
    }
    pil_chain_lookup(lookups, BATCH);
    for (uint32_t i = 0; i < BATCH; i++) {
        const uint8_t *row = lookups[i].row.fields;
        float value = row != NULL ? pil_load_f32(row + shared->view->features[2].offset) : -1;
        if (value != fixture_value(keys[i], 2, seed)) {
            atomic_fetch_add(&shared->wrong, 1);
        }
    }
    if (seed < reader->seed_last) { /* went back */
        atomic_fetch_add(&shared->wrong, 1);
    }
    reader->seeds_seen += seed != reader->seed_last;
    reader->seed_last = seed;
    atomic_fetch_add(&reader->batches, 1);
}

static void *read_on(void *argument) {
    struct reader *reader = argument;
    struct shared *shared = reader->shared;
    struct pil_qsbr *qsbr = pil_cache_qsbr(shared->cache);
    pil_qsbr_online(qsbr, reader->index);
    for (uint64_t turn = 0; !atomic_load(&shared->stop); turn++) {
        read_batch(reader, turn * (reader->index + 1));
        if (turn % 64 == 0) { /* parks now and then */
            pil_qsbr_offline(qsbr, reader->index);
            pil_qsbr_online(qsbr, reader->index);
        }
        pil_qsbr_quiescent(qsbr, reader->index);
    }
    pil_qsbr_offline(qsbr, reader->index);
    return NULL;
}

/* Until each reader has finished two more batches: the second began after this call. */
static void wait_for_batches(struct reader readers[READERS]) {
    for (uint32_t i = 0; i < READERS; i++) {
        uint64_t begin = atomic_load(&readers[i].batches);
        while (atomic_load(&readers[i].batches) < begin + 2) {
            sched_yield();
        }
    }
}

static void readers_see_whole_releases_while_they_are_swapped(void **state) {
    struct pil_project *project = fixture_project(4);
    struct shared shared = {.cache = pil_cache_create(1, READERS), .view = project->views[0].view};
    struct reader readers[READERS];
    pthread_t threads[READERS];
    (void)state;
    assert_int_equal(pil_cache_view_define(shared.cache, 0, "p", "v", "c"), PIL_STATUS_OK);
    fixture_publish(shared.cache, 0, fixture_release(shared.view, ROWS, 1, 1));
    for (uint32_t i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.shared = &shared, .index = i};
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &readers[i]), 0);
    }
    for (uint64_t swap = 0; swap < SWAPS; swap++) {
        fixture_publish(shared.cache, 0, fixture_release(shared.view, ROWS, swap + 2, (uint32_t)(swap % 3)));
        pil_cache_reclaim(shared.cache, 16384, NULL, NULL);
        wait_for_batches(readers);
        assert_true(pil_cache_validate(shared.cache));
    }
    atomic_store(&shared.stop, true);
    for (uint32_t i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
    }
    while (pil_cache_retired_count(shared.cache) > 0 && pil_cache_reclaim(shared.cache, 1 << 20, NULL, NULL) > 0) {
    }
    assert_int_equal(atomic_load(&shared.wrong), 0);
    for (uint32_t i = 0; i < READERS; i++) {
        assert_int_equal(readers[i].seed_last, SWAPS + 1); /* the newest */
        assert_true(readers[i].seeds_seen >= SWAPS);       /* each, but perhaps the first */
    }
    pil_cache_destroy(&shared.cache);
    pil_project_destroy(&project);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(readers_see_whole_releases_while_they_are_swapped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
