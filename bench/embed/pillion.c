/* SPDX-License-Identifier: Apache-2.0
 * libpillion, mapped and over the socket, through its public header only. */
#include "embed/embed.h"

#include <pillion/client.h>

#include <stdlib.h>

struct reader {
    struct pillion_client *client;
    struct pillion_plan *plan;
    uint32_t width;
    bool is_mapped;
};

static void need_address(const struct embed_options *options) {
    if (options->address == NULL) {
        embed_fail(options->reader->name, "needs --address unix:PATH of pilliond's listener");
    }
}

static void *open_client(const struct embed_options *options, bool is_mapped) {
    struct reader *reader = calloc(1, sizeof *reader);
    struct pillion_error error = {.text = ""};
    struct pillion_options client = {.size = sizeof client,
                                     .mapped = is_mapped ? options->address : NULL,
                                     .resp = is_mapped ? NULL : options->address,
                                     .name = "pillion-embed"};
    struct pillion_plan_options plan = {.size = sizeof plan};
    struct pillion_plan_info info = {.size = sizeof info};
    char(*names)[PILLION_NAME_BYTES] = calloc(options->features, sizeof *names);
    const char **features = calloc(options->features, sizeof *features);
    need_address(options);
    if (reader == NULL || names == NULL || features == NULL) {
        embed_fail(options->reader->name, "no memory");
    }
    for (uint32_t f = 0; f < options->features; f++) {
        snprintf(names[f], sizeof names[f], "%s:f%u", options->view, embed_pick(options, f));
        features[f] = names[f];
    }
    if (options->width == options->features) {
        plan.service = options->service;
    } else {
        plan.features = features;
        plan.feature_count = options->features;
    }
    if (pillion_open(&client, &reader->client, &error) != PILLION_OK ||
        pillion_plan(reader->client, &plan, &reader->plan, &error) != PILLION_OK ||
        pillion_plan_describe(reader->plan, &info) != PILLION_OK) {
        embed_fail(options->address, error.text);
    }
    free(names);
    free(features);
    if (info.width != options->features) {
        char why[96];
        snprintf(why, sizeof why, "the tensor has %u values a row, --features says %u", info.width, options->features);
        embed_fail(options->service, why);
    }
    reader->is_mapped = is_mapped;
    reader->width = info.width;
    return reader;
}

static void *open_mapped(const struct embed_options *options) {
    void *reader = open_client(options, true);
    embed_pages_touch("/memfd:", UINT64_MAX);
    return reader;
}

static void *open_socket(const struct embed_options *options) {
    return open_client(options, false);
}

static bool get(void *context, const int64_t *ids, size_t count, float *values) {
    const struct reader *reader = context;
    struct pillion_keys keys = {.size = sizeof keys,
                                .count = count,
                                .column_count = 1,
                                .columns = {{.kind = PILLION_KEY_INT64, .values = ids}}};
    struct pillion_output output = {
        .size = sizeof output, .values = values, .value_bytes = count * reader->width * sizeof(float)};
    struct pillion_answer answer = {.size = sizeof answer};
    return pillion_get(reader->plan, &keys, &output, &answer) == PILLION_OK && answer.views[0].not_found == 0 &&
           answer.is_mapped == reader->is_mapped;
}

static void close_client(void *context) {
    struct reader *reader = context;
    pillion_close(&reader->client);
    free(reader);
}

const struct embed_reader embed_reader_mapped = {
    .name = "mapped", .open = open_mapped, .get = get, .close = close_client};
const struct embed_reader embed_reader_socket = {
    .name = "socket", .open = open_socket, .get = get, .close = close_client};
