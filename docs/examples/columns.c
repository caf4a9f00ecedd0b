/* SPDX-License-Identifier: Apache-2.0
 * Typed columns, strings too, in Arrow's layout: columns MAPPED FEATURE KEY...
 * FEATURE is "view:feature" of type string; keys are texts, which Pillion turns into what the view's key is. */
#include <pillion/client.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS_MAX = 1000, KEY_BYTES_MAX = 65536 };

/* A first room, and what the call says when it was too small. */
static pillion_result get(struct pillion_plan *plan, const struct pillion_keys *keys, struct pillion_column *column,
                          struct pillion_answer *answer) {
    struct pillion_columns columns = {.size = sizeof columns, .columns = column, .column_count = 1};
    pillion_result result = pillion_get_columns(plan, keys, &columns, answer);
    if (result == PILLION_TOO_LARGE) {
        column->value_bytes = column->ret_value_bytes;
        column->values = realloc(column->values, column->value_bytes);
        result = pillion_get_columns(plan, keys, &columns, answer);
    }
    return result;
}

static int print(struct pillion_plan *plan, char **texts, size_t count) {
    static char bytes[KEY_BYTES_MAX];
    static int32_t key_offsets[KEYS_MAX + 1], offsets[KEYS_MAX + 1];
    static uint8_t statuses[KEYS_MAX];
    for (size_t i = 0; i < count; i++) {
        size_t begin = (size_t)key_offsets[i], len = strlen(texts[i]);
        if (begin + len > sizeof bytes) {
            return 2;
        }
        memcpy(bytes + begin, texts[i], len);
        key_offsets[i + 1] = (int32_t)(begin + len);
    }
    struct pillion_keys keys = {.size = sizeof keys,
                                .count = count,
                                .column_count = 1,
                                .columns = {{.kind = PILLION_KEY_BYTES, .values = bytes, .offsets = key_offsets}}};
    struct pillion_column column = {.values = malloc(16), .value_bytes = 16, .offsets = offsets, .statuses = statuses};
    struct pillion_answer answer = {.size = sizeof answer};
    pillion_result result = get(plan, &keys, &column, &answer);
    for (size_t i = 0; result == PILLION_OK && i < count; i++) {
        printf("%s: status %d '%.*s'\n", texts[i], statuses[i], offsets[i + 1] - offsets[i],
               (const char *)column.values + offsets[i]);
    }
    if (result != PILLION_OK) {
        fprintf(stderr, "%s: %s\n", pillion_result_text(result), answer.error.text);
    }
    free(column.values);
    return result != PILLION_OK;
}

int main(int argc, char **argv) {
    if (argc < 4 || argc - 3 > KEYS_MAX) {
        fprintf(stderr, "usage: columns MAPPED FEATURE KEY...\n");
        return 2;
    }
    struct pillion_client *client = NULL;
    struct pillion_plan *plan = NULL;
    struct pillion_error error;
    struct pillion_options options = {.size = sizeof options, .mapped = argv[1]};
    const char *const features[] = {argv[2]};
    struct pillion_plan_options what = {
        .size = sizeof what, .features = features, .feature_count = 1, .flags = PILLION_COLUMNS};
    int code = 1;
    if (pillion_open(&options, &client, &error) != PILLION_OK ||
        pillion_plan(client, &what, &plan, &error) != PILLION_OK) {
        fprintf(stderr, "%s\n", error.text);
    } else {
        code = print(plan, argv + 3, (size_t)argc - 3);
    }
    pillion_close(&client);
    return code;
}
