/* SPDX-License-Identifier: Apache-2.0
 * Goal: a build keeps the latest row of each key and nothing else, the same rows give the same bytes however they come
 * and whatever memory there is, and what fails leaves no release. Method: rows by hand or at random (PIL_SEED), built
 * into a store in a temporary folder and read back with the shard reader. */
#include "unit/ingest/build_fixture.h"
#include "base/clock.h"
#include "snapshot/verify.h"

/* ---- Reading back */

struct release {
    struct pil_manifest *manifest;
    uint8_t *files[8];
    struct pil_shard shards[8];
};

static void release_open(struct build *build, struct release *release) {
    struct pil_release_ref ref = {.project = "p", .view = "v"};
    memcpy(ref.release, build->result.release, sizeof build->result.release);
    assert_int_equal(pil_manifest_read(build->store, &ref, &release->manifest, &build->error), PIL_STATUS_OK);
    assert_in_range(release->manifest->shard_count, 1, 8);
    for (uint32_t i = 0; i < release->manifest->shard_count; i++) {
        const struct pil_manifest_shard *shard = &release->manifest->shards[i];
        char name[PIL_STORE_NAME_BYTES];
        size_t len = 0;
        pil_layout_shard(&shard->id, name);
        release->files[i] = malloc(shard->bytes);
        assert_int_equal(pil_store_get_range(build->store,
                                             &(struct pil_store_range){name, 0, release->files[i], shard->bytes}, &len,
                                             &build->error),
                         PIL_STATUS_OK);
        struct pil_bytes file = pil_bytes_from(release->files[i], len);
        const struct pil_verify_options options = {.id = &shard->id, .view = build->view};
        if (pil_verify(file, &options, &build->error) != PIL_STATUS_OK) {
            fail_msg("%s", build->error.text);
        }
        assert_int_equal(pil_shard_open(file, &release->shards[i], &build->error), PIL_STATUS_OK);
    }
}

static void release_close(struct release *release) {
    for (uint32_t i = 0; i < release->manifest->shard_count; i++) {
        pil_shard_close(&release->shards[i]);
        free(release->files[i]);
    }
    pil_manifest_destroy(&release->manifest);
}

/* The row of a key given in RESP text; NULL when missing. *ret_shard is where it lies. */
static const uint8_t *release_find(const struct release *release, const char *text,
                                   const struct pil_shard **ret_shard) {
    uint8_t key[256];
    size_t len;
    uint32_t entity, bits = (uint32_t)__builtin_ctz(release->manifest->shard_count);
    const struct pil_view *view = release->shards[0].view;
    assert_int_equal(pil_view_key_encode_text(view, pil_bytes_from_text(text), key, sizeof key, &len, &entity),
                     PIL_STATUS_OK);
    struct pil_bytes bytes = pil_bytes_from(key, len);
    *ret_shard = &release->shards[pil_shard_of(pil_hash_shard(bytes), bits)];
    return pil_shard_find(*ret_shard, bytes);
}

static void expect_number(struct build *build, const char *key, int32_t number, int64_t event_us) {
    struct release release = {0};
    const struct pil_shard *shard;
    release_open(build, &release);
    const uint8_t *row = release_find(&release, key, &shard);
    assert_non_null(row);
    assert_int_equal(pil_load_i32(row + shard->view->features[0].offset), number);
    assert_int_equal(pil_row_event_ts_us(shard->view, row), event_us);
    release_close(&release);
}

/* ---- Which row wins */

static void newest_event_wins_then_newest_creation(void **state) {
    (void)state;
    const struct row rows[] = {
        {1, 100, 5, 1, "old"}, {1, 200, 1, 2, "new"},         {1, 150, 9, 3, "between"}, {2, 100, 1, 4, NULL},
        {2, 100, 2, 5, NULL},  {2, 100, NO_CREATED, 6, NULL}, {3, 0, 0, 7, ""},
    };
    struct build build;
    build_init(&build);
    build_open_store(&build);
    build_rows(&build, rows, 7, true);
    assert_int_equal(build.counts.rows_out, 3);
    assert_int_equal(build.counts.late, 4); /* an older creation is late, too */
    assert_int_equal(build.counts.duplicates + build.counts.conflicts, 0);
    expect_number(&build, "1", 2, 200);
    expect_number(&build, "2", 5, 100);
    expect_number(&build, "3", 7, 0);
    build_deinit(&build);
}

static void order_of_rows_never_decides(void **state) {
    (void)state;
    /* Ties in both times, nulls, strings of all lengths: every one of the 720 orders. */
    struct row rows[] = {{1, 100, 1, 1, "a"},
                         {1, 100, 1, 1, "b"},
                         {1, 100, 1, 2, NULL},
                         {1, 100, 1, 2, "a text that is longer than twelve bytes"},
                         {1, 100, 1, 2, "a text that is longer than twelve bytez"},
                         {2, 1, 1, 1, ""}};
    char first[PIL_RELEASE_ID_CHARS + 1] = "";
    int stack[6] = {0};
    struct build build;
    build_init(&build);
    build.options.memory_bytes = 64 * MIB;
    for (int i = -1; i < 6;) { /* Heap's algorithm; -1 builds the order as it is */
        if (i < 0 || stack[i] < i) {
            if (i >= 0) {
                struct row swapped = rows[i % 2 == 0 ? 0 : stack[i]];
                rows[i % 2 == 0 ? 0 : stack[i]] = rows[i];
                rows[i] = swapped;
                stack[i]++;
            }
            build_rows(&build, rows, 6, true);
            if (first[0] == '\0') {
                memcpy(first, build.result.release, sizeof first);
            }
            assert_string_equal(build.result.release, first);
            assert_int_equal(build.counts.conflicts, 4);
            assert_int_equal(build.counts.duplicates + build.counts.late, 0);
            i = 0;
            continue;
        }
        stack[i++] = 0;
    }
    build_deinit(&build);
}

/* Rows of one time: what wins, in either order, and as what the others count. */
static void a_conflict_is_no_duplicate_and_is_decided_by_values(void **state) {
    (void)state;
    static const struct {
        struct row loser, winner;
        bool is_duplicate;
    } cases[] = {
        {{1, 9, 0, 1, "a"}, {1, 9, 0, 256, "a"}, false}, /* by value, not by little-endian bytes */
        {{1, 9, 0, -1, "a"}, {1, 9, 0, 0, "a"}, false},  /* signed */
        {{1, 9, 0, 1, "z"}, {1, 9, 0, 2, "a"}, false},   /* the first feature decides */
        {{1, 9, 0, 1, NULL}, {1, 9, 0, 1, ""}, false},   /* a value beats a null */
        {{1, 9, 0, 1, "a"}, {1, 9, 0, 1, "a text that is longer than twelve bytes"}, false},
        {{1, 9, 0, 1, "a text that is longer than twelve bytes"}, {1, 9, 0, 1, "b"}, false},
        {{1, 9, 0, 7, NULL}, {1, 9, 0, 7, NULL}, true},
        {{1, 9, 0, 7, "a text that is longer than twelve bytes"},
         {1, 9, 0, 7, "a text that is longer than twelve bytes"},
         true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int order = 0; order < 2; order++) {
            struct build build;
            struct release release = {0};
            const struct pil_shard *shard;
            const struct row *winner = &cases[i].winner;
            struct row rows[2] = {cases[i].loser, cases[i].winner};
            if (order == 1) {
                rows[0] = cases[i].winner;
                rows[1] = cases[i].loser;
            }
            build_init(&build);
            build_open_store(&build);
            build_rows(&build, rows, 2, false);
            assert_int_equal(build.counts.conflicts, !cases[i].is_duplicate);
            assert_int_equal(build.counts.duplicates, cases[i].is_duplicate);
            assert_int_equal(build.conflicts.count, !cases[i].is_duplicate);
            release_open(&build, &release);
            const uint8_t *row = release_find(&release, "1", &shard);
            assert_non_null(row);
            assert_int_equal(pil_load_i32(row + shard->view->features[0].offset), winner->number);
            assert_int_equal(pil_row_is_null(shard->view, row, 1), winner->text == NULL);
            struct pil_bytes text = pil_shard_reference(shard, row + shard->view->features[1].offset);
            assert_true(pil_bytes_equal_text(text, winner->text != NULL ? winner->text : ""));
            release_close(&release);
            build_deinit(&build);
        }
    }
}

static void conflicts_are_reported_with_their_key(void **state) {
    (void)state;
    enum { KEYS = PIL_INGEST_CONFLICTS_SHOWN + 2 };
    struct row rows[3 * KEYS + 2];
    int64_t count = 0;
    for (int64_t key = 0; key < KEYS; key++) {
        for (int32_t number = 0; number < 3; number++) {
            rows[count++] = (struct row){key, 100, 0, number, NULL};
        }
    }
    struct build build;
    build_init(&build);
    build_rows(&build, rows, 3, false);
    assert_int_equal(build.conflicts.count, 1);
    assert_int_equal(build.conflicts.lost, 2);
    assert_int_equal(build.conflicts.event_us, 100);
    assert_string_equal(build.conflicts.key, "0");
    build.conflicts.count = 0;
    build_rows(&build, rows, count, false);
    assert_int_equal(build.conflicts.count, PIL_INGEST_CONFLICTS_SHOWN); /* the first few; all are counted */
    assert_int_equal(build.counts.conflicts, 2 * KEYS);
    /* A newer row settles the conflict of older ones. */
    rows[3] = (struct row){0, 101, 0, 5, NULL};
    build.conflicts.count = 0;
    build_rows(&build, rows, 4, false);
    assert_int_equal(build.counts.late, 3);
    assert_int_equal(build.counts.conflicts + build.conflicts.count, 0);
    build.conflicts.stop = true;
    build_open(&build);
    assert_int_equal(build_feed(&build, batch_of(rows, 3, false), 1), PIL_STATUS_OK);
    assert_int_equal(build_finish(&build), PIL_STATUS_INVALID);
    assert_string_equal(build.error.text, "rows of one key and time have different values");
    build_deinit(&build);
}

/* Two rows within one microsecond, the one with the smaller value later. */
static void nanoseconds_decide_before_values(void **state) {
    (void)state;
    static const char *const names[] = {PIL_INGEST_EVENT_NS_COLUMN, PIL_INGEST_CREATED_NS_COLUMN};
    const struct row rows[] = {{1, 100, 5, 1, NULL}, {1, 100, 5, 2, NULL}};
    for (size_t i = 0; i < 2; i++) {
        struct arrow_batch batch = batch_of(rows, 2, true);
        struct arrow_column *nanoseconds = arrow_column(names[i], "i", NULL);
        ARROW_ADD(nanoseconds, int32_t, 900, 100);
        arrow_finish(nanoseconds, 0);
        arrow_batch_add(&batch, nanoseconds);
        struct build build;
        build_init(&build);
        build_open_store(&build);
        build_open(&build);
        assert_int_equal(build_feed(&build, batch, 1), PIL_STATUS_OK);
        assert_int_equal(build_finish(&build), PIL_STATUS_OK);
        assert_int_equal(build.counts.late, 1);
        assert_int_equal(build.counts.conflicts, 0);
        expect_number(&build, "1", 1, 100);
        build_deinit(&build);
    }
}

static void rows_after_as_of_are_left_out(void **state) {
    (void)state;
    const struct row rows[] = {
        {1, 100, 0, 1, NULL}, {1, 101, 0, 2, NULL}, {2, 101, 0, 3, NULL}, {1, FUTURE_US + 1, 0, 4, NULL}};
    struct build build;
    build_init(&build);
    build_open_store(&build);
    build.options.as_of_us = 100; /* inclusive */
    build_rows(&build, rows, 4, false);
    assert_int_equal(build.flaws.count, 0); /* the future is later, too */
    assert_int_equal(build.counts.after_as_of, 3);
    assert_int_equal(build.counts.rows_out, 1);
    expect_number(&build, "1", 1, 100);
    build_deinit(&build);
}

/* Of numbers, and with the time 100 if `timed`: the rows of a view without entities. */
static struct arrow_batch batch_without_keys(const int32_t *numbers, int64_t count, bool timed) {
    static const int64_t event_us = 100;
    struct arrow_batch batch = {.length = count};
    struct arrow_column *number = arrow_column("f0", "i", NULL),
                        *event = arrow_column("@event_timestamp", "tsu:UTC", NULL);
    for (int64_t i = 0; i < count; i++) {
        arrow_add(number, &numbers[i], 4);
        arrow_add(event, &event_us, 8);
    }
    arrow_finish(number, 0);
    arrow_batch_add(&batch, number);
    if (timed) {
        arrow_finish(event, 0);
        arrow_batch_add(&batch, event);
    } else {
        arrow_column_destroy(event);
    }
    return batch;
}

static void a_view_without_keys_and_times_is_one_row_at_0(void **state) {
    (void)state;
    const int32_t numbers[] = {7, 9, 9, 8};
    for (int timed = 0; timed < 2; timed++) {
        struct build build;
        build_init(&build);
        build_open_store(&build);
        pil_view_destroy(&build.view);
        build.options.view = build.view = sample_view(SAMPLE_LIST(), SAMPLE_LIST("int32"));
        build.view->is_static = !timed;
        build.options.as_of_us = timed ? 100 : -1; /* which says nothing of rows without times */
        build_open(&build);
        assert_int_equal(build_feed(&build, batch_without_keys(numbers, 4, timed), 1), PIL_STATUS_OK);
        assert_int_equal(build_finish(&build), PIL_STATUS_OK);
        assert_int_equal(build.counts.rows_out, 1);
        assert_int_equal(build.counts.duplicates, 1);
        assert_int_equal(build.counts.conflicts, 2);
        assert_string_equal(build.conflicts.key, "");
        expect_number(&build, "", 9, timed ? 100 : PIL_STATIC_EVENT_US);
        build_open(&build);
        assert_int_equal(build_feed(&build, batch_without_keys(numbers, 4, !timed), 1), PIL_STATUS_INVALID);
        assert_string_equal(build.error.text,
                            timed ? "column @event_timestamp is missing" : "2 columns where feature view v needs 1");
        build_deinit(&build);
    }
}

/* ---- The same rows, the same bytes */

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint64_t seed_of_run(void) {
    const char *text = getenv("PIL_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : pil_clock_monotonic_ns();
    printf("PIL_SEED=%llu\n", (unsigned long long)seed);
    return seed | 1;
}

/* Rows over few keys with many ties, some texts out of line; then shuffled `rounds` times. */
static void random_rows(uint64_t seed, struct row *rows, int64_t count, uint64_t keys, int rounds) {
    static const char *const texts[] = {NULL, "", "short", "a text that does not go into twelve bytes",
                                        "another text that is long"};
    uint64_t content = seed;
    for (int64_t i = 0; i < count; i++) {
        rows[i] = (struct row){.key = (int64_t)(next_random(&content) % keys),
                               .event_us = (int64_t)(next_random(&content) % 8),
                               .created_us = (int64_t)(next_random(&content) % 4),
                               .number = (int32_t)(next_random(&content) % 3),
                               .text = texts[next_random(&content) % 5]};
    }
    for (int round = 0; round < rounds; round++) {
        for (int64_t i = count - 1; i > 0; i--) {
            int64_t j = (int64_t)(next_random(&content) % (uint64_t)(i + 1));
            struct row swapped = rows[i];
            rows[i] = rows[j];
            rows[j] = swapped;
        }
    }
}

/* Builds `pieces` batches of random rows, in order or not, with this much memory. */
static void build_random(struct build *build, uint64_t seed, int rounds, size_t memory_bytes, uint64_t keys) {
    enum { ROWS = 60000, PIECES = 8 };
    struct row *rows = malloc(ROWS * sizeof *rows);
    build_init(build);
    build->options.memory_bytes = memory_bytes;
    build_open(build);
    for (uint64_t piece = 0; piece < PIECES; piece++) {
        random_rows(seed + 1000 * (rounds > 0 ? PIECES - 1 - piece : piece), rows, ROWS, keys, rounds);
        assert_int_equal(build_feed(build, batch_of(rows, ROWS, true), 1), PIL_STATUS_OK);
    }
    if (build_finish(build) != PIL_STATUS_OK) {
        fail_msg("%s", build->error.text);
    }
    free(rows);
}

static void memory_and_order_change_nothing(void **state) {
    (void)state;
    uint64_t seed = seed_of_run();
    static const uint64_t keys[] = {100000, 1000, 3};
    for (size_t i = 0; i < 3; i++) {
        struct build roomy, tight, mixed;
        build_random(&roomy, seed, 0, 512 * MIB, keys[i]);
        build_random(&tight, seed, 0, 64 * MIB, keys[i]);
        build_random(&mixed, seed, 2, 64 * MIB, keys[i]);
        assert_int_equal(roomy.result.bytes_spilled, 0);
        assert_true(tight.result.bytes_spilled > 0);
        assert_true(tight.result.memory_bytes_peak <= 64 * MIB);
        assert_string_equal(tight.result.release, roomy.result.release);
        assert_string_equal(mixed.result.release, roomy.result.release);
        assert_memory_equal(&tight.counts, &roomy.counts, sizeof roomy.counts);
        assert_memory_equal(&mixed.counts, &roomy.counts, sizeof roomy.counts);
        build_deinit(&roomy);
        build_deinit(&tight);
        build_deinit(&mixed);
    }
}

/* All rows of one partition, many times what memory holds: it is merged piece by piece, and the counts are those of one
 * piece, also of the rows that had lost to a row that then lost in a conflict. */
static void a_hot_key_larger_than_memory_is_merged_in_pieces(void **state) {
    (void)state;
    enum { ROWS = 50000, TIMES = 30 };
    struct row *rows = malloc(ROWS * sizeof *rows);
    for (int64_t i = 0; i < ROWS; i++) {
        rows[i] = (struct row){.key = 42, .event_us = i % 1000, .number = (int32_t)(i % 1000)};
    }
    struct build build;
    build_init(&build);
    build_open_store(&build);
    build.options.memory_bytes = 64 * MIB;
    build_open(&build);
    for (int32_t half = 0; half < 2; half++) {
        assert_int_equal(build_feed(&build, batch_of(rows, ROWS, false), TIMES / 2), PIL_STATUS_OK);
        for (int64_t i = 0; i < ROWS; i++) {
            rows[i].number++;
        }
    }
    if (build_finish(&build) != PIL_STATUS_OK) {
        fail_msg("%s", build.error.text);
    }
    assert_true(build.result.bytes_spilled > 64 * MIB);
    assert_int_equal(build.counts.rows_out, 1);
    assert_int_equal(build.counts.duplicates, ROWS / 1000 * TIMES / 2 - 1);
    assert_int_equal(build.counts.conflicts, ROWS / 1000 * TIMES / 2);
    assert_int_equal(build.counts.late, ROWS / 1000 * 999 * TIMES);
    expect_number(&build, "42", 1000, 999);
    free(rows);
    build_deinit(&build);
}

/* 2,500 rows of 60 KB are more than two shards hold. Each key must be in the shard that its hash says. */
static void large_releases_are_split_into_shards(void **state) {
    (void)state;
    enum { ROWS = 500, BATCHES = 5, TEXT_BYTES = 60000 };
    static char text[TEXT_BYTES + 1];
    memset(text, 'x', TEXT_BYTES);
    char first[PIL_RELEASE_ID_CHARS + 1] = "";
    for (int round = 0; round < 2; round++) {
        struct build build;
        struct release release = {0};
        build_init(&build);
        build_open_store(&build);
        build.options.memory_bytes = round == 0 ? 1024 * MIB : 240 * MIB;
        build_open(&build);
        for (int64_t start = 0; start < ROWS * BATCHES; start += ROWS) {
            struct row rows[ROWS];
            for (int64_t i = 0; i < ROWS; i++) {
                rows[i] = (struct row){.key = start + i, .number = (int32_t)(start + i), .text = text};
            }
            assert_int_equal(build_feed(&build, batch_of(rows, ROWS, false), 1), PIL_STATUS_OK);
        }
        if (build_finish(&build) != PIL_STATUS_OK) {
            fail_msg("%s", build.error.text);
        }
        assert_int_equal(build.result.bytes_spilled > 0, round == 1);
        assert_int_equal(build.result.shard_count, 4);
        release_open(&build, &release);
        for (int32_t i = 0; i < ROWS * BATCHES; i++) {
            char key[16];
            const struct pil_shard *shard;
            snprintf(key, sizeof key, "%d", i);
            const uint8_t *row = release_find(&release, key, &shard);
            assert_non_null(row);
            assert_int_equal(pil_load_i32(row + shard->view->features[0].offset), i);
        }
        release_close(&release);
        if (round == 0) {
            memcpy(first, build.result.release, sizeof first);
        }
        assert_string_equal(build.result.release, first);
        build_deinit(&build);
    }
}

static void profile_does_not_depend_on_the_order(void **state) {
    (void)state;
    char *texts[2];
    for (int round = 0; round < 2; round++) {
        struct row rows[3000];
        random_rows(77, rows, 3000, 900, round);
        struct build build;
        struct release release = {0};
        build_init(&build);
        build_open_store(&build);
        build_rows(&build, rows, 3000, true);
        release_open(&build, &release);
        texts[round] = json_dumps(json_object_get(release.manifest->document, "profile"), JSON_SORT_KEYS);
        assert_non_null(texts[round]);
        release_close(&release);
        build_deinit(&build);
    }
    assert_string_equal(texts[0], texts[1]);
    free(texts[0]);
    free(texts[1]);
}

/* ---- Every type */

static struct arrow_column *list_of(const char *name, const char *format, const void *items, uint32_t count,
                                    size_t bytes) {
    struct arrow_column *list = arrow_column(name, "+l", arrow_column("item", format, NULL));
    for (uint32_t i = 0; i < count; i++) {
        arrow_add(list->items, (const uint8_t *)items + i * bytes, bytes);
    }
    arrow_end_list(list, false);
    return list;
}

static struct arrow_column *cell_of(const char *name, const char *format, const void *data, size_t bytes) {
    struct arrow_column *column = arrow_column(name, format, NULL);
    arrow_add(column, data, bytes);
    return column;
}

static struct arrow_batch one_of_each(void) {
    struct arrow_batch batch = {.length = 1};
    const int32_t i32 = -7, i32s[] = {1, -2, 3, 4};
    const int64_t i64 = INT64_MIN, time = 1700000000000001;
    const float f32s[] = {1.5f, -0.0f};
    const double f64 = -0.0;
    const uint8_t yes = 1;
    struct arrow_column *strings = arrow_column("f8", "+l", arrow_column("item", "u", NULL));
    arrow_add_text(strings->items, "first");
    arrow_add_text(strings->items, "");
    arrow_add_text(strings->items, "third and long");
    arrow_end_list(strings, false);
    struct arrow_column *const columns[] = {
        cell_of("k0", "u", "Zürich", 7),
        cell_of("k1", "i", &i32, 4),
        cell_of("@event_timestamp", "tsu:UTC", &time, 8),
        cell_of("f0", "b", &yes, 1),
        cell_of("f1", "l", &i64, 8),
        cell_of("f2", "g", &f64, 8),
        cell_of("f3", "u", "", 0),
        cell_of("f4", "Z", "a\0long run of bytes", 19),
        cell_of("f5", "tsu:UTC", &time, 8),
        list_of("f6", "i", i32s, 4, 4),
        list_of("f7", "f", f32s, 2, 4),
        strings,
        list_of("f9", "f", f32s, 2, 4),
        list_of("f10", "f", f32s, 2, 4),
        cell_of("f11", "i", NULL, 4),
    };
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        arrow_finish(columns[i], 0);
        arrow_batch_add(&batch, columns[i]);
    }
    return batch;
}

static void every_type_reads_back(void **state) {
    (void)state;
    struct build build;
    struct release release = {0};
    const struct pil_shard *shard;
    build_init(&build);
    pil_view_destroy(&build.view);
    build.view = sample_view(SAMPLE_LIST("string", "int32"),
                             SAMPLE_LIST("bool", "int64", "float64", "string", "bytes", "unix_timestamp", "list<int32>",
                                         "vector<float32,2>", "list<string>", "vector<float16,2>", "vector<bfloat16,2>",
                                         "int32"));
    build.options.view = build.view;
    build_open_store(&build);
    build_open(&build);
    assert_int_equal(build_feed(&build, one_of_each(), 1), PIL_STATUS_OK);
    assert_int_equal(build_finish(&build), PIL_STATUS_OK);
    release_open(&build, &release);
    const uint8_t *row = release_find(&release, "Zürich|-7", &shard);
    assert_non_null(row);
    const struct pil_feature *f = shard->view->features;
    assert_int_equal(row[f[0].offset], 1);
    assert_true(pil_load_i64(row + f[1].offset) == INT64_MIN);
    assert_int_equal(pil_load_u64(row + f[2].offset), 1ull << 63);
    assert_int_equal(pil_shard_reference(shard, row + f[3].offset).len, 0);
    assert_false(pil_row_is_null(shard->view, row, 3));
    assert_true(
        pil_bytes_equal(pil_shard_reference(shard, row + f[4].offset), pil_bytes_from("a\0long run of bytes", 19)));
    assert_int_equal(pil_load_i64(row + f[5].offset), 1700000000000001);
    assert_memory_equal(pil_shard_reference(shard, row + f[6].offset).data, ((int32_t[]){1, -2, 3, 4}), 16);
    assert_memory_equal(row + f[7].offset, ((float[]){1.5f, -0.0f}), 8);
    struct pil_bytes strings = pil_shard_reference(shard, row + f[8].offset);
    assert_int_equal(pil_list_strings_count(strings), 3);
    assert_true(pil_bytes_equal_text(pil_list_strings_at(strings, 2), "third and long"));
    assert_memory_equal(row + f[9].offset, ((uint16_t[]){0x3e00, 0x8000}), 4);
    assert_memory_equal(row + f[10].offset, ((uint16_t[]){0x3fc0, 0x8000}), 4);
    assert_true(pil_row_is_null(shard->view, row, 11));
    assert_false(pil_row_is_null(shard->view, row, 10));
    release_close(&release);
    build_deinit(&build);
}

/* ---- What cannot be taken */

static const struct row FLAWED[] = {
    {1, 100, 0, 1, NULL},       {-1, 100, 0, 2, NULL},  {2, -1, 0, 3, NULL},
    {3, INT64_MAX, 0, 4, NULL}, {4, 100, 0, 5, "\xff"}, {5, 100, 0, 6, "fine"},
};

static void the_first_flaw_stops_the_build(void **state) {
    (void)state;
    struct build build;
    build_init(&build);
    build_open(&build);
    assert_int_equal(build_feed(&build, batch_of(FLAWED, 6, false), 1), PIL_STATUS_INVALID);
    assert_string_equal(build.error.text, "row 1: column k0 is null");
    assert_string_equal(build.flaws.last, "null_key k0 is null");
    build_deinit(&build);
}

static void skipped_flaws_are_counted_by_kind(void **state) {
    (void)state;
    struct build build;
    build_init(&build);
    build.flaws.skip = true;
    build_rows(&build, FLAWED, 6, false);
    assert_int_equal(build.counts.rows_in, 6);
    assert_int_equal(build.counts.rows_out, 2);
    assert_int_equal(build.counts.null_keys, 1);
    assert_int_equal(build.counts.bad_rows, 3);
    assert_int_equal(build.flaws.count, 4);
    assert_int_equal(build.flaws.last_row, 4);
    assert_string_equal(build.flaws.last, "invalid_utf8 f1 is not UTF-8 (1 bytes)");
    build_deinit(&build);
}

static void streams_that_do_not_fit_are_refused(void **state) {
    (void)state;
    const struct row row = {1, 1, 0, 1, NULL};
    struct build build;
    build_init(&build);
    static const struct {
        const char *column, *renamed, *says;
    } cases[] = {
        {"k0", "other", "column k0 is missing"},
        {"f1", "f2", "column f1 is missing"},
        {"@event_timestamp", "time", "column @event_timestamp is missing"},
        {"@created_timestamp", "surplus", "5 columns where feature view v needs 4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arrow_batch batch = batch_of(&row, 1, true);
        for (int64_t j = 0; j < batch.column_count; j++) {
            if (strcmp(batch.columns[j]->name, cases[i].column) == 0) {
                snprintf(batch.columns[j]->name, sizeof batch.columns[j]->name, "%s", cases[i].renamed);
            }
        }
        build_open(&build);
        assert_int_equal(build_feed(&build, batch, 1), PIL_STATUS_INVALID);
        assert_string_equal(build.error.text, cases[i].says);
        pil_ingest_destroy(&build.ingest);
    }
    build_deinit(&build);
}

static void an_error_of_the_stream_keeps_its_text(void **state) {
    (void)state;
    const struct row row = {1, 1, 0, 1, NULL};
    struct arrow_batch batch = batch_of(&row, 1, false);
    struct arrow_stream source = {.batch = &batch, .times = 1, .fails = true};
    struct ArrowArrayStream stream = arrow_stream(&source);
    struct build build;
    build_init(&build);
    build_open(&build);
    assert_int_equal(pil_ingest_stream(build.ingest, &stream, &build.error), PIL_STATUS_IO);
    assert_string_equal(build.error.text, "the producer gave up");
    assert_true(source.released);
    arrow_batch_deinit(&batch);
    build_deinit(&build);
}

static bool cancel(void *context, pil_ingest_phase phase, uint64_t done, uint64_t total) {
    struct build *build = context;
    (void)done;
    (void)total;
    return phase != (pil_ingest_phase)build->flaws.last_row;
}

static void progress_may_cancel_in_each_phase(void **state) {
    (void)state;
    const struct row row = {1, 1, 0, 1, NULL};
    for (uint64_t phase = 0; phase < PIL_INGEST_PHASE_COUNT; phase++) {
        struct build build;
        build_init(&build);
        build_open_store(&build);
        build.options.on_progress = cancel;
        build.flaws.last_row = phase;
        build_open(&build);
        pil_status status = build_feed(&build, batch_of(&row, 1, false), 1);
        if (status == PIL_STATUS_OK) {
            status = build_finish(&build);
        }
        assert_int_equal(status, PIL_STATUS_CLOSED);
        char path[64];
        snprintf(path, sizeof path, "%s/store/views", build.folder);
        assert_int_not_equal(access(path, F_OK), 0); /* no release */
        build_deinit(&build);
    }
}

static void memory_under_the_minimum_is_refused(void **state) {
    (void)state;
    struct build build;
    build_init(&build);
    build.options.memory_bytes = PIL_INGEST_MEMORY_MIN - 1;
    assert_int_equal(pil_ingest_create(&build.options, &build.ingest, &build.error), PIL_STATUS_INVALID);
    assert_non_null(strstr(build.error.text, "64 MiB"));
    build_deinit(&build);
}

/* ---- The store */

static void a_second_build_puts_nothing(void **state) {
    (void)state;
    const struct row rows[] = {{1, 1, 0, 1, NULL}, {2, 1, 0, 1, "x"}}, more[] = {{1, 2, 0, 9, NULL}};
    struct build build;
    build_init(&build);
    build_open_store(&build);
    build_rows(&build, rows, 2, false);
    char first[PIL_RELEASE_ID_CHARS + 1];
    memcpy(first, build.result.release, sizeof first);
    assert_int_equal(build.result.shards_uploaded, 1);
    assert_false(build.result.existed);
    assert_string_equal(build.result.previous, "");
    build_rows(&build, rows, 2, false);
    assert_string_equal(build.result.release, first);
    assert_int_equal(build.result.shards_uploaded, 0);
    assert_true(build.result.existed);
    build_rows(&build, more, 1, false);
    assert_string_equal(build.result.previous, first);
    build_deinit(&build);
}

static void a_dry_run_finds_the_same_release(void **state) {
    (void)state;
    const struct row rows[] = {{1, 1, 0, 1, NULL}};
    struct build build;
    build_init(&build);
    build_rows(&build, rows, 1, false);
    char dry[PIL_RELEASE_ID_CHARS + 1];
    memcpy(dry, build.result.release, sizeof dry);
    build_open_store(&build);
    build_rows(&build, rows, 1, false);
    assert_string_equal(build.result.release, dry);
    build_deinit(&build);
}

static void no_rows_make_an_empty_release(void **state) {
    (void)state;
    struct build build;
    struct release release = {0};
    const struct pil_shard *shard;
    build_init(&build);
    build_open_store(&build);
    build_rows(&build, NULL, 0, false);
    assert_int_equal(build.counts.rows_out, 0);
    release_open(&build, &release);
    assert_null(release_find(&release, "1", &shard));
    release_close(&release);
    build_deinit(&build);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newest_event_wins_then_newest_creation),
        cmocka_unit_test(order_of_rows_never_decides),
        cmocka_unit_test(a_conflict_is_no_duplicate_and_is_decided_by_values),
        cmocka_unit_test(conflicts_are_reported_with_their_key),
        cmocka_unit_test(nanoseconds_decide_before_values),
        cmocka_unit_test(rows_after_as_of_are_left_out),
        cmocka_unit_test(a_view_without_keys_and_times_is_one_row_at_0),
        cmocka_unit_test(memory_and_order_change_nothing),
        cmocka_unit_test(a_hot_key_larger_than_memory_is_merged_in_pieces),
        cmocka_unit_test(large_releases_are_split_into_shards),
        cmocka_unit_test(profile_does_not_depend_on_the_order),
        cmocka_unit_test(every_type_reads_back),
        cmocka_unit_test(the_first_flaw_stops_the_build),
        cmocka_unit_test(skipped_flaws_are_counted_by_kind),
        cmocka_unit_test(streams_that_do_not_fit_are_refused),
        cmocka_unit_test(an_error_of_the_stream_keeps_its_text),
        cmocka_unit_test(progress_may_cancel_in_each_phase),
        cmocka_unit_test(memory_under_the_minimum_is_refused),
        cmocka_unit_test(a_second_build_puts_nothing),
        cmocka_unit_test(a_dry_run_finds_the_same_release),
        cmocka_unit_test(no_rows_make_an_empty_release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
