/* SPDX-License-Identifier: Apache-2.0
 * Goal: whatever the order of publishing, rolling back, looking up, parking and reclaiming, every lookup answers from
 * the release that was live when it began, and nothing that a worker still holds is unmapped. Method: random operations
 * on one thread that plays all workers, against a naive model: the seed of the live release and of what each worker
 * holds. PIL_SEED repeats a run. */
#include "support/cache_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

enum { WORKERS = 3, VIEWS = 2, OPERATIONS = 4000, KEYS_MAX = 400 };

static uint64_t random_state;

static uint64_t random_below(uint64_t bound) { /* splitmix64 */
    uint64_t z = (random_state += 0x9e3779b97f4a7c15ull);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return (z ^ z >> 31) % bound;
}

struct model_worker {
    bool online;
    const struct pil_serving *held[VIEWS]; /* borrowed since the last quiescent state */
    uint64_t seed[VIEWS], rows[VIEWS];
};

struct model_view {
    uint64_t seed, rows;
};

static void look_up(const struct pil_view *view, const struct model_worker *worker, uint32_t v) {
    uint64_t keys[64];
    struct pil_lookup lookups[64];
    for (uint32_t i = 0; i < 64; i++) {
        keys[i] = random_below(KEYS_MAX + 100);
        lookups[i] = pil_lookup_make(&worker->held[v]->chain, pil_bytes_from(&keys[i], 8), v, 1);
    }
    pil_chain_lookup(lookups, 64);
    for (uint32_t i = 0; i < 64; i++) {
        assert_int_equal(lookups[i].row.fields != NULL, keys[i] < worker->rows[v]);
        for (uint32_t f = 0; lookups[i].row.fields != NULL && f < view->feature_count; f++) {
            assert_true(pil_load_f32(lookups[i].row.fields + view->features[f].offset) ==
                        fixture_value(keys[i], f, worker->seed[v]));
        }
    }
}

static void turn(struct pil_cache *cache, const struct pil_view *view, struct model_worker *worker, uint32_t index,
                 const struct model_view *views) {
    struct pil_qsbr *qsbr = pil_cache_qsbr(cache);
    uint32_t v = (uint32_t)random_below(VIEWS);
    switch (random_below(5)) {
    case 0:
        worker->online ? pil_qsbr_offline(qsbr, index) : pil_qsbr_online(qsbr, index);
        worker->online = !worker->online;
        memset(worker->held, 0, sizeof worker->held);
        break;
    case 1:
        if (worker->online) {
            pil_qsbr_quiescent(qsbr, index);
            memset(worker->held, 0, sizeof worker->held);
        }
        break;
    default:
        if (worker->online && worker->held[v] == NULL) {
            worker->held[v] = pil_cache_serving(pil_cache_view_at(cache, v));
            worker->seed[v] = views[v].seed;
            worker->rows[v] = views[v].rows;
        }
        if (worker->held[v] != NULL) {
            look_up(view, worker, v);
        }
    }
}

static void every_lookup_answers_from_the_release_that_it_began_with(void **state) {
    const char *seed_text = getenv("PIL_SEED");
    random_state = seed_text != NULL ? strtoull(seed_text, NULL, 10) : (uint64_t)time(NULL);
    printf("PIL_SEED=%llu\n", (unsigned long long)random_state);
    struct pil_project *project = fixture_project(5);
    const struct pil_view *view = project->views[0].view;
    struct pil_cache *cache = pil_cache_create(VIEWS, WORKERS);
    struct model_worker workers[WORKERS] = {0};
    struct model_view views[VIEWS] = {0};
    uint64_t seed = 0;
    (void)state;
    assert_int_equal(pil_cache_view_define(cache, 0, "p", "v", "c"), PIL_STATUS_OK);
    assert_int_equal(pil_cache_view_define(cache, 1, "p", "w", "c"), PIL_STATUS_OK);
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        uint32_t v = (uint32_t)random_below(VIEWS);
        if (random_below(20) == 0) {
            uint64_t chosen = random_below(3) == 0 && views[v].seed > 1 ? views[v].seed - 1 : ++seed; /* back, or on */
            views[v] = (struct model_view){.seed = chosen, .rows = chosen * 37 % KEYS_MAX};
            fixture_publish(cache, v, fixture_release(view, views[v].rows, chosen, (uint32_t)random_below(3)));
        } else if (random_below(4) == 0) {
            pil_cache_reclaim(cache, 4096 * (1 + random_below(8)), NULL, NULL);
        } else {
            uint32_t index = (uint32_t)random_below(WORKERS);
            turn(cache, view, &workers[index], index, views);
        }
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        pil_qsbr_offline(pil_cache_qsbr(cache), i);
    }
    while (pil_cache_retired_count(cache) > 0 && pil_cache_reclaim(cache, 1 << 20, NULL, NULL) > 0) {
    }
    pil_cache_destroy(&cache);
    pil_project_destroy(&project);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_lookup_answers_from_the_release_that_it_began_with)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
