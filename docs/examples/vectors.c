/* SPDX-License-Identifier: Apache-2.0
 * The feature vectors of some keys, as a model wants them: vectors MAPPED RESP SERVICE KEY...
 * MAPPED and RESP are addresses ("unix:/run/pillion/mapped.sock") or "-"; the service has one join key, an integer. */
#include <pillion/client.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what, pillion_result result, const char *why) {
    fprintf(stderr, "%s: %s: %s\n", what, pillion_result_text(result), why);
    return 1;
}

static void print_row(const char *key, const float *values, uint32_t width, const uint8_t *statuses,
                      uint32_t feature_count) {
    printf("%s:", key);
    for (uint32_t i = 0; i < width; i++) {
        printf(" %.9g", (double)values[i]);
    }
    printf(" |");
    for (uint32_t i = 0; i < feature_count; i++) {
        printf(" %d", statuses[i]);
    }
    printf("\n");
}

/* Everything that a get fills is allocated once and used again for every batch. */
static int get(struct pillion_plan *plan, const int64_t *ids, char **texts, size_t count) {
    struct pillion_plan_info info = {.size = sizeof info};
    if (pillion_plan_describe(plan, &info) != PILLION_OK) {
        return fail("describe", PILLION_NOT_READY, "the plan has no release yet");
    }
    size_t value_bytes = count * info.width * sizeof(float);
    float *values = malloc(value_bytes);
    uint8_t *statuses = malloc(count * info.feature_count);
    struct pillion_keys keys = {.size = sizeof keys,
                                .count = count,
                                .column_count = 1,
                                .columns = {{.kind = PILLION_KEY_INT64, .values = ids}}};
    struct pillion_output output = {
        .size = sizeof output, .values = values, .value_bytes = value_bytes, .statuses = statuses};
    struct pillion_answer answer = {.size = sizeof answer};
    pillion_result result = pillion_get(plan, &keys, &output, &answer);
    for (size_t i = 0; result == PILLION_OK && i < count; i++) {
        print_row(texts[i], values + i * info.width, info.width, statuses + i * info.feature_count, info.feature_count);
    }
    if (result == PILLION_OK) {
        printf("%s, release %s, oldest row %.1f s, %llu not found\n", answer.is_mapped ? "mapped" : "over the socket",
               answer.views[0].release, (double)answer.views[0].worst_age_us / 1e6,
               (unsigned long long)answer.views[0].not_found);
    }
    free(values);
    free(statuses);
    return result == PILLION_OK ? 0 : fail("get", result, answer.error.text);
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr, "usage: vectors MAPPED RESP SERVICE KEY...\n");
        return 2;
    }
    struct pillion_client *client = NULL;
    struct pillion_plan *plan = NULL;
    struct pillion_error error;
    struct pillion_options options = {.size = sizeof options,
                                      .mapped = strcmp(argv[1], "-") != 0 ? argv[1] : NULL,
                                      .resp = strcmp(argv[2], "-") != 0 ? argv[2] : NULL};
    pillion_result result = pillion_open(&options, &client, &error);
    if (result != PILLION_OK) {
        return fail("open", result, error.text);
    }
    struct pillion_plan_options what = {.size = sizeof what, .service = argv[3]};
    result = pillion_plan(client, &what, &plan, &error);
    int code = 1;
    if (result != PILLION_OK) {
        fail("plan", result, error.text);
    } else {
        size_t count = (size_t)argc - 4;
        int64_t *ids = calloc(count, sizeof ids[0]);
        for (size_t i = 0; i < count; i++) {
            ids[i] = strtoll(argv[4 + i], NULL, 10);
        }
        code = get(plan, ids, argv + 4, count);
        free(ids);
    }
    pillion_close(&client);
    return code;
}
