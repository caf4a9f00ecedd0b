/* SPDX-License-Identifier: Apache-2.0
 * Who wants to know how fresh an answer is: freshness MAPPED RESP SERVICE KEY TIMES
 * Gets one vector TIMES times, 100 ms apart, and prints a line whenever the release, or whether the server is there,
 * changes. Values older than an hour are marked. */
#include <pillion/client.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WIDTH_MAX = 4096 };
static const int64_t hour_us = 3600000000;

static int watch(struct pillion_plan *plan, int64_t id, long times) {
    static float values[WIDTH_MAX];
    static uint8_t statuses[WIDTH_MAX];
    struct pillion_keys keys = {
        .size = sizeof keys, .count = 1, .column_count = 1, .columns = {{.kind = PILLION_KEY_INT64, .values = &id}}};
    struct pillion_output output = {
        .size = sizeof output, .values = values, .value_bytes = sizeof values, .statuses = statuses};
    char last[PILLION_RELEASE_BYTES] = "";
    int was_stale = -1;
    for (long i = 0; i < times; i++) {
        struct pillion_answer answer = {.size = sizeof answer};
        pillion_result result = pillion_get(plan, &keys, &output, &answer);
        if (result != PILLION_OK) {
            fprintf(stderr, "%s: %s\n", pillion_result_text(result), answer.error.text);
            return 1;
        }
        int is_stale = answer.staleness_us > 0;
        if (strcmp(last, answer.views[0].release) != 0 || is_stale != was_stale) {
            printf("release %s generation %llu %s%s\n", answer.views[0].release,
                   (unsigned long long)answer.views[0].generation, is_stale ? "stale" : "current",
                   statuses[0] == PILLION_OUTSIDE_MAX_AGE ? ", older than an hour" : "");
            fflush(stdout);
            memcpy(last, answer.views[0].release, sizeof last);
            was_stale = is_stale;
        }
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: freshness MAPPED RESP SERVICE KEY TIMES\n");
        return 2;
    }
    struct pillion_client *client = NULL;
    struct pillion_plan *plan = NULL;
    struct pillion_error error;
    struct pillion_options options = {.size = sizeof options,
                                      .mapped = strcmp(argv[1], "-") != 0 ? argv[1] : NULL,
                                      .resp = strcmp(argv[2], "-") != 0 ? argv[2] : NULL};
    struct pillion_plan_options what = {.size = sizeof what, .service = argv[3], .max_age_us = hour_us};
    int code = 1;
    if (pillion_open(&options, &client, &error) != PILLION_OK ||
        pillion_plan(client, &what, &plan, &error) != PILLION_OK) {
        fprintf(stderr, "%s\n", error.text);
    } else {
        code = watch(plan, strtoll(argv[4], NULL, 10), strtol(argv[5], NULL, 10));
    }
    pillion_close(&client);
    return code;
}
