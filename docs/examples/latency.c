/* SPDX-License-Identifier: Apache-2.0
 * What a call costs, in this process and over the socket: latency MAPPED RESP SERVICE KEY...
 * Asks both ways in turns, for all keys at once, and prints the quantiles; the answers must be the same, bit by bit. */
#include <pillion/client.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CALLS = 20000, TURN = 100, WAYS = 2 };

/* One way to ask. */
struct way {
    const char *name;
    struct pillion_client *client;
    struct pillion_plan *plan;
    float *values;
    size_t value_bytes;
    double us[CALLS];
};

static double now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int fail(const char *what, pillion_result result, const char *why) {
    fprintf(stderr, "%s: %s: %s\n", what, pillion_result_text(result), why);
    return 1;
}

/* One of the addresses is NULL. */
static int prepare(struct way *way, const char *mapped, const char *resp, const char *service, size_t count) {
    struct pillion_error error;
    struct pillion_options options = {.size = sizeof options, .mapped = mapped, .resp = resp};
    struct pillion_plan_options what = {.size = sizeof what, .service = service};
    struct pillion_plan_info info = {.size = sizeof info};
    pillion_result result = pillion_open(&options, &way->client, &error);
    if (result == PILLION_OK) {
        result = pillion_plan(way->client, &what, &way->plan, &error);
    }
    if (result != PILLION_OK || (result = pillion_plan_describe(way->plan, &info)) != PILLION_OK) {
        return fail(way->name, result, error.text);
    }
    way->value_bytes = count * info.width * sizeof(float);
    way->values = calloc(1, way->value_bytes);
    return 0;
}

static int ask(struct way *way, const struct pillion_keys *keys, int first) {
    struct pillion_output output = {.size = sizeof output, .values = way->values, .value_bytes = way->value_bytes};
    struct pillion_answer answer = {.size = sizeof answer};
    for (int i = first; i < first + TURN; i++) {
        double begin_us = now_us();
        pillion_result result = pillion_get(way->plan, keys, &output, &answer);
        way->us[i] = now_us() - begin_us;
        if (result != PILLION_OK) {
            return fail(way->name, result, answer.error.text);
        }
    }
    return 0;
}

static int by_size(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static int measure(struct way *ways, const struct pillion_keys *keys) {
    for (int first = 0; first < CALLS; first += TURN) {
        for (int i = 0; i < WAYS; i++) {
            if (ask(&ways[i], keys, first) != 0) {
                return 1;
            }
        }
        if (memcmp(ways[0].values, ways[1].values, ways[0].value_bytes) != 0) {
            fprintf(stderr, "the two answers differ\n"); /* or a release came between them */
            return 1;
        }
    }
    for (int i = 0; i < WAYS; i++) {
        qsort(ways[i].us, CALLS, sizeof ways[i].us[0], by_size);
        printf("%s %zu p50 %.2f p99 %.2f us\n", ways[i].name, keys->count, ways[i].us[CALLS / 2],
               ways[i].us[CALLS / 100 * 99]);
    }
    return 0;
}

int main(int argc, char **argv) {
    static struct way ways[WAYS] = {{.name = "mapped"}, {.name = "socket"}};
    if (argc < 5) {
        fprintf(stderr, "usage: latency MAPPED RESP SERVICE KEY...\n");
        return 2;
    }
    size_t count = (size_t)argc - 4;
    int64_t *ids = calloc(count, sizeof ids[0]);
    for (size_t i = 0; i < count; i++) {
        ids[i] = strtoll(argv[4 + i], NULL, 10);
    }
    struct pillion_keys keys = {.size = sizeof keys,
                                .count = count,
                                .column_count = 1,
                                .columns = {{.kind = PILLION_KEY_INT64, .values = ids}}};
    int code = prepare(&ways[0], argv[1], NULL, argv[3], count);
    if (code == 0) {
        code = prepare(&ways[1], NULL, argv[2], argv[3], count);
    }
    if (code == 0) {
        code = measure(ways, &keys);
    }
    for (int i = 0; i < WAYS; i++) {
        pillion_close(&ways[i].client);
        free(ways[i].values);
    }
    free(ids);
    return code;
}
