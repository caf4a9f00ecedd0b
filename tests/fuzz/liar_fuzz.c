/* SPDX-License-Identifier: Apache-2.0
 * libpillion with a server that changes its mind: descriptions, catalogs, grants, tensors and columns that contradict
 * the plan, each other, or themselves, over both listeners. The caller lays its buffers out by what the plan was
 * described as, each of exactly that size, so that a sanitizer sees the first byte written outside. A call ends within
 * its timeout, says what went wrong, and succeeds as long as the server does not lie. */
#include "liar_world.h"

enum { PLANS = 3, STEPS_MAX = 48, ROWS_MAX = 5, COLUMN_BYTES = 256, CHILDREN = 8 };
#define TIMEOUT_NS 1000000000ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct caller {
    struct pillion_client *client;
    struct pillion_plan *plans[PLANS];
    struct pillion_plan_info infos[PLANS]; /* as first described */
    bool is_columns[PLANS], is_described[PLANS];
    uint32_t dtypes[PLANS];
};

static int64_t ids[ROWS_MAX] = {1, 2, 3, 4, 5};

/* ---- Checks. */

/* `timeouts`: how many questions the call may ask one after another. */
static void check_result(pillion_result result, const struct pillion_error *error, uint64_t begin_ns,
                         uint32_t timeouts) {
    PIL_ASSERT(liar.now_ns - begin_ns <= timeouts * TIMEOUT_NS + TIMEOUT_NS / 2);
    PIL_ASSERT((uint32_t)result <= PILLION_NO_MEMORY);
    PIL_ASSERT(memchr(error->text, '\0', sizeof error->text) != NULL);
    if (result != PILLION_OK && (liar.lies == 0 || error->text[0] == '\0')) {
        fprintf(stderr, "result %d of an honest server, or without a sentence: '%s'\n", (int)result, error->text);
        abort();
    }
}

static void check_statuses(const uint8_t *statuses, size_t count) {
    for (size_t i = 0; i < count; i++) {
        PIL_ASSERT(statuses[i] >= PILLION_PRESENT && statuses[i] <= PILLION_OUTSIDE_MAX_AGE);
    }
}

/* ---- Calls. */

static struct pillion_keys keys_of(const struct pillion_plan_info *info, size_t rows) {
    struct pillion_keys keys = {.size = sizeof keys, .count = rows, .column_count = info->join_key_count};
    for (uint32_t i = 0; i < info->join_key_count; i++) {
        keys.columns[i] = (struct pillion_key_column){.kind = PILLION_KEY_INT64, .values = ids};
    }
    return keys;
}

/* Of one byte when it has none, so that it can be freed. */
static void *room(size_t bytes) {
    void *memory = malloc(bytes > 0 ? bytes : 1);
    PIL_ASSERT(memory != NULL);
    return memory;
}

static void get_tensor(struct caller *caller, uint32_t i, size_t rows) {
    const struct pillion_plan_info *info = &caller->infos[i];
    size_t value_bytes = rows * info->width * (caller->dtypes[i] == PILLION_FLOAT64 ? 8 : 4);
    size_t status_count = rows * info->feature_count;
    void *values = room(value_bytes);
    uint8_t *statuses = room(status_count);
    int64_t *times = room(rows * info->view_count * sizeof times[0]);
    struct pillion_keys keys = keys_of(info, rows);
    struct pillion_output output = {.size = sizeof output,
                                    .values = values,
                                    .value_bytes = value_bytes,
                                    .statuses = statuses,
                                    .event_ts_us = times};
    struct pillion_answer answer = {.size = sizeof answer};
    uint64_t begin_ns = liar.now_ns;
    pillion_result result = pillion_get(caller->plans[i], &keys, &output, &answer);
    check_result(result, &answer.error, begin_ns, 1);
    if (result == PILLION_OK) {
        check_statuses(statuses, status_count);
        PIL_ASSERT(answer.view_count == info->view_count);
        PIL_ASSERT(strspn(answer.views[0].release, "0123456789abcdef") == PIL_RELEASE_ID_CHARS);
    }
    free(values);
    free(statuses);
    free(times);
}

/* As its type asks for; what it does not need is NULL. */
static struct pillion_column make_column(const char *type, size_t rows) {
    bool is_list = strncmp(type, "list<", 5) == 0,
         is_text = strstr(type, "string") != NULL || strstr(type, "bytes") != NULL;
    struct pillion_column column = {.values = room(COLUMN_BYTES), .value_bytes = COLUMN_BYTES, .statuses = room(rows)};
    if (is_list || is_text) {
        column.offsets = room((rows + 1) * sizeof column.offsets[0]);
    }
    if (is_list && is_text) {
        column.child_offsets = room(CHILDREN * sizeof column.child_offsets[0]);
        column.child_capacity = CHILDREN;
    }
    return column;
}

static void check_column(const struct pillion_column *column, size_t rows) {
    PIL_ASSERT(column->ret_value_bytes <= column->value_bytes);
    check_statuses(column->statuses, rows);
    for (size_t k = 0; column->offsets != NULL && k < rows && column->child_offsets == NULL; k++) {
        PIL_ASSERT(column->offsets[k] >= 0 && column->offsets[k] <= column->offsets[k + 1]);
        PIL_ASSERT((size_t)column->offsets[k + 1] <= column->ret_value_bytes);
    }
}

static void get_columns(struct caller *caller, uint32_t i, size_t rows) {
    const struct pillion_plan_info *info = &caller->infos[i];
    struct pillion_feature_info *features = room(info->feature_count * sizeof features[0]);
    struct pillion_column *columns = room(info->feature_count * sizeof columns[0]);
    int64_t *times = room(rows * info->view_count * sizeof times[0]);
    uint64_t begin_ns = liar.now_ns;
    PIL_ASSERT(pillion_plan_features(caller->plans[i], features, info->feature_count) == PILLION_OK);
    PIL_ASSERT(liar.now_ns - begin_ns <= TIMEOUT_NS + TIMEOUT_NS / 2);
    for (uint32_t k = 0; k < info->feature_count; k++) {
        columns[k] = make_column(features[k].type, rows);
    }
    struct pillion_keys keys = keys_of(info, rows);
    struct pillion_columns request = {
        .size = sizeof request, .columns = columns, .column_count = info->feature_count, .event_ts_us = times};
    struct pillion_answer answer = {.size = sizeof answer};
    begin_ns = liar.now_ns;
    pillion_result result = pillion_get_columns(caller->plans[i], &keys, &request, &answer);
    check_result(result, &answer.error, begin_ns, 1);
    for (uint32_t k = 0; k < info->feature_count; k++) {
        if (result == PILLION_OK) {
            check_column(&columns[k], rows);
        }
        free(columns[k].values);
        free(columns[k].statuses);
        free(columns[k].offsets);
        free(columns[k].child_offsets);
    }
    free(features);
    free(columns);
    free(times);
}

static void make_plan(struct caller *caller, uint32_t i, uint8_t kind) {
    static const char *const lists[][4] = {{"p/v:f0", "p/v:f1", "p/w:f2", "p/v:f0"},
                                           {"v:f2", "p/v:f1", "v:f3", "w:f0"},
                                           {"p/v:f6", "p/v:f5", "p/v:f4", "p/v:f3"}};
    struct pillion_plan_options options = {.size = sizeof options};
    struct pillion_error error = {{0}};
    options.features = lists[kind % 4 % 3];
    options.feature_count = 1 + kind / 4 % 4;
    if (kind % 4 == 3) {
        options.service = "s";
        options.features = NULL;
        options.feature_count = 0;
    }
    options.dtype = (kind & 16) != 0 ? PILLION_FLOAT64 : PILLION_FLOAT32;
    options.flags = (kind & 32) != 0 ? PILLION_COLUMNS : 0;
    options.min_release = (kind & 192) == 192 ? "0000000000000007" : NULL;
    pillion_plan_free(&caller->plans[i]);
    liar.lies += options.min_release != NULL || liar.types != 0; /* a plan that honest servers may refuse */
    uint64_t begin_ns = liar.now_ns;
    pillion_result result = pillion_plan(caller->client, &options, &caller->plans[i], &error);
    check_result(result, &error, begin_ns, 4);
    PIL_ASSERT((result == PILLION_OK) == (caller->plans[i] != NULL));
    caller->is_columns[i] = (kind & 32) != 0;
    caller->dtypes[i] = options.dtype;
    caller->infos[i] = (struct pillion_plan_info){.size = sizeof caller->infos[i]};
    caller->is_described[i] =
        result == PILLION_OK && pillion_plan_describe(caller->plans[i], &caller->infos[i]) == PILLION_OK;
}

static void call(struct caller *caller, uint32_t i, size_t rows) {
    struct pillion_plan_info again = {.size = sizeof again};
    if (caller->plans[i] == NULL || !caller->is_described[i]) {
        return;
    }
    if (caller->is_columns[i]) {
        get_columns(caller, i, rows);
    } else {
        get_tensor(caller, i, rows);
    }
    PIL_ASSERT(pillion_plan_describe(caller->plans[i], &again) == PILLION_OK);
    PIL_ASSERT(memcmp(&again, &caller->infos[i], sizeof again) == 0); /* what was said once stays */
}

static void step(struct caller *caller, uint8_t what) {
    uint8_t more = liar_take();
    struct pillion_info info = {.size = sizeof info};
    liar.now_ns += more % 16 * LIAR_TICK_NS;
    if (more < 224) { /* else the heartbeat is late */
        atomic_store(&liar.control->heartbeat_ns, liar.now_ns);
    }
    switch (what % 16) {
    case 0: make_plan(caller, more % PLANS, liar_take()); break;
    case 1: atomic_fetch_add(&liar.control->views[more % LIAR_VIEWS].generation, 1); break;
    case 2: atomic_fetch_add(&liar.control->catalog_generation, 1); break;
    case 3:
        liar.types = more % 8;
        liar.lies++; /* columns of old types are refused */
        break;
    case 4:
        atomic_store(&liar.control->state, more % 2 != 0 ? PIL_MAPPED_CLOSING : PIL_MAPPED_SERVING);
        liar.lies++; /* it is not there for a while */
        break;
    case 5: liar.now_ns += 3 * TIMEOUT_NS; break;
    case 6: PIL_ASSERT(pillion_info(caller->client, &info) == PILLION_OK); break;
    default: call(caller, more % PLANS, what / 16 % (ROWS_MAX + 1)); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct caller caller = {.client = NULL};
    struct pillion_error error = {{0}};
    liar_begin(pil_bytes_from(data, size));
    uint8_t kind = liar_take();
    struct pillion_options options = {.size = sizeof options,
                                      .mapped = kind % 3 != 1 ? "unix:mapped" : NULL,
                                      .resp = kind % 3 != 2 ? "unix:resp" : NULL,
                                      .timeout_ms = TIMEOUT_NS / 1000000};
    pillion_result result = pillion_open(&options, &caller.client, &error);
    check_result(result, &error, 1000000000000, 2);
    if (result == PILLION_OK) {
        for (uint32_t i = 0; i < PLANS; i++) {
            make_plan(&caller, i, liar_take());
        }
        for (uint32_t i = 0; i < STEPS_MAX && liar.script.len > 0; i++) {
            step(&caller, liar_take());
        }
        for (uint32_t i = 0; i < PLANS; i++) {
            call(&caller, i, ROWS_MAX);
            pillion_plan_free(&caller.plans[i]);
        }
        pillion_close(&caller.client);
    }
    liar_end();
    return 0;
}
