/* SPDX-License-Identifier: Apache-2.0
 * What is asked: (a) all features of view 0 by int64 keys, (b) some of both views in one call, by int64 and string
 * keys, (c) as (a) in float64 with defaults, (d) as (a) as columns. Rows 0 .. truth->rows - 1 exist; others are asked
 * for, too, and rows of view 1 with a zone that they are not in. What a value must be: tests/support/make_release.c. */
#include "soak/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH_MAX = 1000, WIDTH_MAX = 64, ZONE_BYTES = 4, ZONES = 7, BOTH_FEATURES = 7, MODULUS = 1000003 };
static const int64_t event_us_first = 1700000000000000;

typedef enum kind { KIND_TENSOR, KIND_BOTH, KIND_DOUBLES, KIND_COLUMNS, KIND_COUNT } kind;

struct checker {
    const struct truth *truth;
    struct truth_score *score;
    struct pillion_plan *plans[KIND_COUNT];
    uint32_t features[KIND_COUNT];
    uint64_t random;
    uint64_t generations[TRUTH_VIEWS][2]; /* the last, over the socket and mapped */
    uint64_t server_ends[TRUTH_VIEWS][2]; /* when it last went backwards */
    /* Of the call at hand. */
    kind kind;
    size_t count;
    int64_t keys[BATCH_MAX];
    char zones[BATCH_MAX * ZONE_BYTES];
    int32_t zone_offsets[BATCH_MAX + 1];
    bool in_zone[BATCH_MAX];
    double values[BATCH_MAX * WIDTH_MAX]; /* room for float32, too */
    uint8_t statuses[BATCH_MAX * WIDTH_MAX];
    int64_t event_us[BATCH_MAX * TRUTH_VIEWS];
    struct pillion_answer answer;
};

static uint64_t next(struct checker *checker) {
    uint64_t x = checker->random += 0x9e3779b97f4a7c15u; /* splitmix64 */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Words that another process writes. */
static uint64_t load(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}
static void add(uint64_t *word, uint64_t count) {
    __atomic_fetch_add(word, count, __ATOMIC_RELAXED);
}

/* ---- Plans. */

static struct pillion_plan *make_plan(struct pillion_client *client, const char *const *features, uint32_t count,
                                      uint32_t dtype, uint32_t flags) {
    struct pillion_plan_options options = {
        .size = sizeof options, .features = features, .feature_count = count, .dtype = dtype, .flags = flags};
    struct pillion_plan *plan = NULL;
    struct pillion_error error;
    pillion_result result = pillion_plan(client, &options, &plan, &error);
    if (result != PILLION_OK) {
        fprintf(stderr, "pillion-soak: plan: %s: %s\n", pillion_result_text(result), error.text);
        exit(2);
    }
    return plan;
}

struct checker *checker_create(const struct truth *truth, struct truth_score *score, struct pillion_client *client,
                               uint64_t seed) {
    struct checker *checker = calloc(1, sizeof *checker);
    char texts[2][WIDTH_MAX][32];
    const char *names[2][WIDTH_MAX];
    uint32_t count = (uint32_t)truth->features;
    if (checker == NULL || count > WIDTH_MAX) {
        fprintf(stderr, "pillion-soak: no memory, or over %d features\n", WIDTH_MAX);
        exit(2);
    }
    for (uint32_t i = 0; i < count; i++) {
        snprintf(texts[0][i], sizeof texts[0][i], "soak/plain:f%u", i);
        names[0][i] = texts[0][i];
    }
    for (uint32_t i = 0; i < BOTH_FEATURES; i++) { /* the views in turns, features from behind */
        snprintf(texts[1][i], sizeof texts[1][i], "%s:f%u", i % 2 == 0 ? "pairs/zones" : "soak/plain", count - 1 - i);
        names[1][i] = texts[1][i];
    }
    checker->truth = truth;
    checker->score = score;
    checker->random = seed;
    checker->plans[KIND_TENSOR] = make_plan(client, names[0], count, PILLION_FLOAT32, 0);
    checker->plans[KIND_BOTH] = make_plan(client, names[1], BOTH_FEATURES, PILLION_FLOAT32, 0);
    checker->plans[KIND_DOUBLES] = make_plan(client, names[0], count, PILLION_FLOAT64, PILLION_USE_DEFAULTS);
    checker->plans[KIND_COLUMNS] = make_plan(client, names[0], count, PILLION_FLOAT32, PILLION_COLUMNS);
    for (int i = 0; i < KIND_COUNT; i++) {
        checker->features[i] = i == KIND_BOTH ? BOTH_FEATURES : count;
    }
    return checker;
}

void checker_destroy(struct checker **checker) {
    free(*checker);
    *checker = NULL;
}

/* ---- Keys. */

static void choose_keys(struct checker *checker) {
    static const uint32_t sizes[] = {1, 1, 8, 33, 100, 256, BATCH_MAX};
    uint64_t dice = next(checker);
    checker->kind = dice % 100 < 88   ? KIND_TENSOR
                    : dice % 100 < 95 ? KIND_BOTH
                    : dice % 100 < 98 ? KIND_DOUBLES
                                      : KIND_COLUMNS;
    checker->count = sizes[dice / 100 % (sizeof sizes / sizeof sizes[0])];
    bool is_skewed = dice >> 63 != 0;
    uint64_t range = checker->truth->rows + checker->truth->rows / 50 + 1; /* some are missing */
    for (size_t i = 0; i < checker->count; i++) {
        uint64_t random = next(checker);
        for (uint64_t j = 0; is_skewed && j < 2; j++) { /* u⁴: Zipf's law with the exponent 3/4 */
            random = (uint64_t)(((unsigned __int128)random * random) >> 64);
        }
        uint64_t key = (uint64_t)(((unsigned __int128)random * range) >> 64);
        checker->keys[i] = (int64_t)key;
        checker->in_zone[i] = random % 16 != 0;
        uint64_t zone = (key + !checker->in_zone[i]) % ZONES;
        memcpy(&checker->zones[2 * i], (const char[]){'z', (char)('0' + zone)}, 2);
        checker->zone_offsets[i + 1] = (int32_t)(2 * (i + 1));
    }
}

static bool exists(const struct checker *checker, uint32_t view, size_t row) {
    return (uint64_t)checker->keys[row] < checker->truth->rows && (view == 0 || checker->in_zone[row]);
}

/* ---- Checks. */

static void tell(const struct checker *checker, uint64_t *count, const char *what, const char *detail) {
    if (__atomic_fetch_add(count, 1, __ATOMIC_RELAXED) == 0) {
        fprintf(stderr, "pillion-soak: %s: %s; %s, %zu rows, %s, release %.16s generation %llu\n", what, detail,
                checker->kind == KIND_COLUMNS ? "columns" : "tensor", checker->count,
                checker->answer.is_mapped ? "mapped" : "socket", checker->answer.views[0].release,
                (unsigned long long)checker->answer.views[0].generation);
    }
}

/* Index of a view's release; -1: nobody has made it. */
static int32_t release_of(const struct checker *checker, uint32_t view, const char *id) {
    for (uint32_t i = 0; i < checker->truth->release_count[view]; i++) {
        if (memcmp(checker->truth->releases[view][i].id, id, sizeof checker->truth->releases[view][i].id) == 0) {
            return (int32_t)i;
        }
    }
    return -1;
}

static double expected(uint64_t key, uint32_t feature, uint64_t seed) {
    return (double)((key * 31 + feature * 7 + seed) % MODULUS);
}

static void wrong_number(struct checker *checker, uint32_t view, size_t row, uint32_t feature, double got,
                         int32_t release) {
    char detail[160];
    uint64_t key = (uint64_t)checker->keys[row];
    snprintf(detail, sizeof detail, "key %llu feature %u is %.9g, expected %.9g", (unsigned long long)key, feature, got,
             expected(key, feature, checker->truth->releases[view][release].seed));
    for (uint32_t i = 0; i < checker->truth->release_count[view]; i++) {
        if ((int32_t)i != release && expected(key, feature, checker->truth->releases[view][i].seed) == got) {
            tell(checker, &checker->score->mixed, "of another release", detail);
            return;
        }
    }
    tell(checker, &checker->score->wrong, "wrong number", detail);
}

static double value_at(const struct checker *checker, size_t row, uint32_t column) {
    uint32_t features = checker->features[checker->kind];
    if (checker->kind == KIND_DOUBLES) {
        return checker->values[row * features + column];
    }
    size_t at = checker->kind == KIND_COLUMNS ? column * checker->count + row : row * features + column;
    return (double)((const float *)(const void *)checker->values)[at];
}

static uint8_t status_at(const struct checker *checker, size_t row, uint32_t column) {
    return checker->statuses[checker->kind == KIND_COLUMNS ? column * checker->count + row
                                                           : row * checker->features[checker->kind] + column];
}

/* Slot: the view's place in the plan. */
static void check_row(struct checker *checker, uint32_t view, uint32_t slot, size_t row, int32_t release) {
    uint64_t seed = checker->truth->releases[view][release].seed;
    uint32_t features = checker->features[checker->kind], views = checker->answer.view_count;
    bool is_there = exists(checker, view, row);
    int64_t event_us = is_there ? event_us_first + checker->keys[row] * 1000 : INT64_MIN;
    if (checker->event_us[row * views + slot] != event_us) {
        tell(checker, &checker->score->wrong, "wrong time", "event_ts_us");
    }
    uint64_t base = (uint64_t)checker->keys[row] * 31 + seed;
    for (uint32_t column = 0; column < features; column++) {
        uint32_t feature = column;
        if (checker->kind == KIND_BOTH) {
            feature = (uint32_t)checker->truth->features - 1 - column;
            if (column % 2 == (view == 0 ? 0 : 1)) {
                continue; /* of the other view */
            }
        }
        double got = value_at(checker, row, column);
        if (status_at(checker, row, column) != (is_there ? PILLION_PRESENT : PILLION_NOT_FOUND_KEY)) {
            tell(checker, &checker->score->wrong, "wrong status", is_there ? "of a row" : "of no row");
        } else if (is_there && got != (double)((base + feature * 7) % MODULUS)) {
            wrong_number(checker, view, row, feature, got, release);
        } else if (!is_there && checker->kind != KIND_COLUMNS && !isnan(got)) {
            tell(checker, &checker->score->wrong, "wrong number", "a missing row has one");
        }
    }
}

/* Whether the release is one that a call from begin_us to now may have seen: one of those promoted from the last on
 * whose bound had passed at the time as of which the answer says that it is current. */
static void check_age(struct checker *checker, uint32_t view, int32_t release, uint64_t begin_us) {
    const struct truth *truth = checker->truth;
    uint64_t count = load(&truth->promotion_count[view]);
    uint64_t as_of_us = begin_us - (uint64_t)checker->answer.staleness_us, late_us = 0;
    for (uint64_t i = count; i-- > 0;) {
        const struct truth_promotion *promotion = &truth->promotions[view][i];
        uint64_t served_us = load(&promotion->served_us);
        if (promotion->release == (uint64_t)release) {
            if (late_us > __atomic_load_n(&checker->score->stale_us_max, __ATOMIC_RELAXED)) {
                __atomic_store_n(&checker->score->stale_us_max, late_us, __ATOMIC_RELAXED); /* nearly the most */
            }
            return;
        }
        if (served_us != 0 && served_us + promotion->bound_us <= as_of_us) {
            char detail[160];
            snprintf(detail, sizeof detail, "release %.16s, the one after it is served since %.1f ms",
                     truth->releases[view][release].id, (double)(as_of_us - served_us) / 1e3);
            tell(checker, &checker->score->stale, "stale", detail);
            return;
        }
        if (served_us != 0 && served_us < as_of_us) {
            late_us = as_of_us - served_us;
        }
    }
    tell(checker, &checker->score->wrong, "wrong release", "was never promoted");
}

/* Within one server process generations never go backwards. After another has taken its place, a plan of views that
 * this one does not have yet reads on in the old one's memory, and says how stale that is. */
static void check_generation(struct checker *checker, uint32_t view, uint64_t generation) {
    if (checker->answer.staleness_us > 0) {
        return;
    }
    uint32_t way = checker->answer.is_mapped != 0;
    uint64_t ends = load(&checker->truth->server_ends);
    if (generation < checker->generations[view][way]) {
        if (ends == checker->server_ends[view][way]) {
            tell(checker, &checker->score->wrong, "wrong generation", "went backwards in a server process");
        }
        checker->server_ends[view][way] = ends;
    }
    checker->generations[view][way] = generation;
}

static void check_answer(struct checker *checker, uint64_t begin_us) {
    uint32_t views = checker->kind == KIND_BOTH ? 2 : 1;
    if (checker->answer.view_count != views) {
        tell(checker, &checker->score->wrong, "wrong answer", "number of views");
        return;
    }
    for (uint32_t slot = 0; slot < views; slot++) {
        uint32_t view = checker->kind == KIND_BOTH ? 1 - slot : 0; /* the zones come first */
        int32_t release = release_of(checker, view, checker->answer.views[slot].release);
        if (release < 0) {
            tell(checker, &checker->score->wrong, "wrong release", "nobody has made it");
            continue;
        }
        check_age(checker, view, release, begin_us);
        check_generation(checker, view, checker->answer.views[slot].generation);
        uint64_t missing = 0;
        for (size_t row = 0; row < checker->count; row++) {
            check_row(checker, view, slot, row, release);
            missing += !exists(checker, view, row);
        }
        if (missing != checker->answer.views[slot].not_found) {
            tell(checker, &checker->score->wrong, "wrong answer", "not_found");
        }
    }
    add(&checker->score->reads, views * checker->count);
    add(&checker->score->values, checker->features[checker->kind] * checker->count);
    add(&checker->score->mapped_calls, checker->answer.is_mapped);
}

/* ---- Calls. */

static pillion_result get(struct checker *checker, const struct pillion_keys *keys) {
    struct pillion_output output = {.size = sizeof output,
                                    .values = checker->values,
                                    .value_bytes = sizeof checker->values,
                                    .statuses = checker->statuses,
                                    .event_ts_us = checker->event_us};
    return pillion_get(checker->plans[checker->kind], keys, &output, &checker->answer);
}

static pillion_result get_columns(struct checker *checker, const struct pillion_keys *keys) {
    struct pillion_column columns[WIDTH_MAX] = {{0}};
    uint32_t features = checker->features[checker->kind];
    for (uint32_t i = 0; i < features; i++) {
        columns[i].values = (float *)(void *)checker->values + i * checker->count;
        columns[i].value_bytes = checker->count * sizeof(float);
        columns[i].statuses = checker->statuses + i * checker->count;
    }
    struct pillion_columns what = {
        .size = sizeof what, .columns = columns, .column_count = features, .event_ts_us = checker->event_us};
    return pillion_get_columns(checker->plans[checker->kind], keys, &what, &checker->answer);
}

void checker_run(struct checker *checker) {
    choose_keys(checker);
    struct pillion_keys keys = {.size = sizeof keys,
                                .count = checker->count,
                                .column_count = 1,
                                .columns = {{.kind = PILLION_KEY_INT64, .values = checker->keys}}};
    if (checker->kind == KIND_BOTH) {
        keys.column_count = 2;
        keys.columns[1] = (struct pillion_key_column){
            .kind = PILLION_KEY_BYTES, .values = checker->zones, .offsets = checker->zone_offsets};
    }
    checker->answer.size = sizeof checker->answer;
    uint64_t begin_us = now_us();
    pillion_result result = checker->kind == KIND_COLUMNS ? get_columns(checker, &keys) : get(checker, &keys);
    add(&checker->score->calls, 1);
    if (result != PILLION_OK) {
        tell(checker, &checker->score->failed[result % TRUTH_RESULTS], pillion_result_text(result),
             checker->answer.error.text);
        struct timespec pause = {.tv_nsec = 1000000};
        nanosleep(&pause, NULL); /* a server that is gone */
        return;
    }
    check_answer(checker, begin_us);
}
