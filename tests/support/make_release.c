/* SPDX-License-Identifier: Apache-2.0
 * Writes a synthetic release into a store, through the C API alone, for tests and load generators:
 *     make_release --store dir:S --project p --view v --rows N [--features F] [--type T] [--kind floats|all]
 *                  [--key int64|pair] [--seed K] [--shard-bits B] [--channel C]
 * applies a project with this one view (and the service `every` with all its features), publishes the release, promotes
 * it to the channel when one is given, and prints p/v@RELEASE.
 *
 * Every value follows from its row's key (0 .. rows - 1), its feature's index and the seed, so that a reader can check
 * it: x = (key * 31 + feature * 7 + seed) mod 1000003
 * --kind floats   features f0, f1 … are float32 with the value x, or what --type says. Never null.
 * --kind all      one feature of each type, in the order of `types` below, named by its type (`bytes` is tagged pii);
 *                 null when (key + feature) mod 11 == 0. Lists have x mod 5 elements; element i of a list or vector is
 *                 made from x + i as a scalar is from x. bool: x is odd; integers and floats: x (int8: x mod 128;
 *                 float16: x mod 1024; bfloat16: the upper half of the float32); string: "s<x>", and when x mod 3 == 0
 *                 " with a tail that is out of line" behind it; bytes: x mod 40 bytes of value x mod 256;
 *                 unix_timestamp: x seconds.
 * --key int64     the join key `id` is the row number. --key pair: `id` and the string `zone`, which is "z<key mod 7>".
 * Event times are 2023-11-14T22:13:20Z and `key` milliseconds; views have no TTL. */
#include "base/clock.h"
#include "release/channel.h"
#include "release/project.h"
#include "release/shard_io.h"
#include "schema/project_read.h"
#include "snapshot/writer.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum { SHARD_FILL_BYTES = PIL_SHARD_BYTES_TARGET / 4 };
static const int64_t event_ts_us_first = 1700000000000000;

struct arguments {
    const char *store, *project, *view, *kind, *type, *key, *channel;
    uint64_t rows, features, seed;
    int shard_bits; /* -1: as many as fit */
};

static const char *const types[] = {"bool",
                                    "int32",
                                    "int64",
                                    "float32",
                                    "float64",
                                    "string",
                                    "bytes",
                                    "unix_timestamp",
                                    "list<bool>",
                                    "list<int32>",
                                    "list<int64>",
                                    "list<float32>",
                                    "list<float64>",
                                    "list<string>",
                                    "list<bytes>",
                                    "list<unix_timestamp>",
                                    "vector<float32,4>",
                                    "vector<float16,4>",
                                    "vector<bfloat16,4>",
                                    "vector<int8,4>"};

static void check(pil_status status, const struct pil_error *error) {
    if (status != PIL_STATUS_OK) {
        fprintf(stderr, "make_release: %s: %s\n", pil_status_text(status), error->text);
        exit(1);
    }
}

/* ---- The project */

static void feature_name(const struct arguments *arguments, uint32_t feature, char ret_name[64]) {
    if (strcmp(arguments->kind, "floats") == 0) {
        snprintf(ret_name, 64, "f%u", feature);
        return;
    }
    snprintf(ret_name, 64, "%s", types[feature]);
    for (char *at = ret_name; *at != '\0'; at++) {
        *at = *at == '<' || *at == ',' ? '_' : *at == '>' ? '\0' : *at;
    }
}

static uint32_t feature_count(const struct arguments *arguments) {
    return strcmp(arguments->kind, "floats") == 0 ? (uint32_t)arguments->features : sizeof types / sizeof types[0];
}

static struct pil_project *make_project(const struct arguments *arguments) {
    bool pair = strcmp(arguments->key, "pair") == 0;
    struct pil_text yaml = {0}, problems = {0};
    struct pil_project *project;
    char name[64];
    pil_text_format(&yaml, "project: %s\nentities:\n  - {name: id, join_key: id, type: int64}\n", arguments->project);
    pil_text_format(&yaml, "%sfeature_views:\n  - name: %s\n    entities: [id%s]\n    ttl: 0\n",
                    pair ? "  - {name: zone, join_key: zone, type: string}\n" : "", arguments->view,
                    pair ? ", zone" : "");
    pil_text_format(&yaml, "    source: {type: parquet, path: none.parquet, timestamp_field: event_timestamp}\n");
    pil_text_format(&yaml, "    features:\n");
    for (uint32_t i = 0; i < feature_count(arguments); i++) {
        feature_name(arguments, i, name);
        bool floats = strcmp(arguments->kind, "floats") == 0;
        pil_text_format(&yaml, "      - {name: %s, type: \"%s\"%s}\n", name, floats ? arguments->type : types[i],
                        !floats && strcmp(types[i], "bytes") == 0 ? ", tags: [pii]" : "");
    }
    pil_text_format(&yaml, "feature_services:\n  - name: every\n    features:\n");
    for (uint32_t i = 0; i < feature_count(arguments); i++) {
        feature_name(arguments, i, name);
        pil_text_format(&yaml, "      - \"%s:%s\"\n", arguments->view, name);
    }
    if (pil_project_parse_yaml(pil_text_bytes(&yaml), "make_release", &project, &problems) != PIL_STATUS_OK) {
        fprintf(stderr, "%s\n", problems.len > 0 ? problems.data : "make_release: no memory for the project");
        exit(1);
    }
    pil_text_deinit(&yaml);
    pil_text_deinit(&problems);
    return project;
}

/* ---- Rows of one shard */

struct table {
    const struct pil_view *view;
    struct pil_text rows, heap;
    struct pil_text value; /* of the field at hand */
    size_t row_count;
};

/* Writes a 16-byte reference; long payloads go to the heap. */
static void put_reference(struct table *table, uint8_t *field, const void *data, size_t len) {
    struct pil_ref reference = {.len = (uint32_t)len};
    if (len <= PIL_REF_INLINE_BYTES) {
        memcpy(field, &reference.len, sizeof reference.len);
        memcpy(field + sizeof reference.len, data, len);
        return;
    }
    memcpy(reference.prefix, data, sizeof reference.prefix);
    reference.offset = table->heap.len;
    pil_text_append(&table->heap, data, len);
    memcpy(field, &reference, sizeof reference);
}

static void append_string(struct pil_text *text, pil_scalar scalar, uint64_t x) {
    if (pil_scalar_is_utf8(scalar)) {
        pil_text_format(text, "s%llu%s", (unsigned long long)x, x % 3 == 0 ? " with a tail that is out of line" : "");
        return;
    }
    for (uint64_t i = 0; i < x % 40; i++) {
        pil_text_append(text, &(uint8_t){(uint8_t)(x % 256)}, 1);
    }
}

/* x mod 1024 as float16, which is exact. */
static uint16_t half_of(uint64_t x) {
    uint32_t value = (uint32_t)(x % 1024), exponent = 0;
    if (value == 0) {
        return 0;
    }
    while (value >> (exponent + 1) != 0) {
        exponent++;
    }
    return (uint16_t)((exponent + 15) << 10 | ((value << (10 - exponent)) & 0x3ff));
}

static void append_fixed(struct pil_text *text, pil_scalar scalar, uint64_t x) {
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int32_t i32;
        int64_t i64;
        float f32;
        double f64;
        uint8_t bytes[8];
    } value = {0};
    uint32_t bits;
    switch (scalar) {
    case PIL_SCALAR_BOOL: value.u8 = x % 2; break;
    case PIL_SCALAR_INT32: value.i32 = (int32_t)x; break;
    case PIL_SCALAR_INT64: value.i64 = (int64_t)x; break;
    case PIL_SCALAR_FLOAT32: value.f32 = (float)x; break;
    case PIL_SCALAR_FLOAT64: value.f64 = (double)x; break;
    case PIL_SCALAR_UNIX_TIMESTAMP: value.i64 = (int64_t)x * 1000000; break;
    case PIL_SCALAR_FLOAT16: value.u16 = half_of(x); break;
    case PIL_SCALAR_BFLOAT16:
        value.f32 = (float)x;
        memcpy(&bits, &value.f32, sizeof bits);
        value.u16 = (uint16_t)(bits >> 16);
        break;
    case PIL_SCALAR_INT8: value.i8 = (int8_t)(x % 128); break;
    case PIL_SCALAR_STRING:
    case PIL_SCALAR_BYTES:
    case PIL_SCALAR_COUNT: break;
    }
    pil_text_append(text, value.bytes, pil_scalar_bytes(scalar));
}

static void append_elements(struct pil_text *text, pil_scalar scalar, uint64_t x, uint32_t count) {
    if (!pil_scalar_is_text(scalar)) {
        for (uint32_t i = 0; i < count; i++) {
            append_fixed(text, scalar, x + i);
        }
        return;
    }
    struct pil_text bytes = {0};
    pil_text_append(text, &count, sizeof count);
    for (uint32_t i = 0; i < count; i++) {
        append_string(&bytes, scalar, x + i);
        pil_text_append(text, &(uint32_t){(uint32_t)bytes.len}, sizeof(uint32_t));
    }
    pil_text_append(text, pil_text_chars(&bytes), bytes.len);
    pil_text_deinit(&bytes);
}

static void put_value(struct table *table, uint8_t *field, struct pil_type type, uint64_t x) {
    struct pil_text *value = &table->value;
    pil_text_clear(value);
    switch (type.shape) {
    case PIL_SHAPE_SCALAR: (pil_type_is_reference(type) ? append_string : append_fixed)(value, type.scalar, x); break;
    case PIL_SHAPE_LIST: append_elements(value, type.scalar, x, (uint32_t)(x % 5)); break;
    case PIL_SHAPE_VECTOR: append_elements(value, type.scalar, x, type.dimension); break;
    }
    if (pil_type_is_reference(type)) {
        put_reference(table, field, pil_text_chars(value), value->len);
    } else {
        memcpy(field, value->data, value->len);
    }
}

static size_t encode_key(const struct pil_view *view, uint64_t key, uint8_t buffer[64]) {
    char text[64];
    size_t len = 0;
    uint32_t entity;
    snprintf(text, sizeof text, view->entity_count == 2 ? "%llu|z%llu" : "%llu", (unsigned long long)key,
             (unsigned long long)(key % 7));
    pil_status status = pil_view_key_encode_text(view, pil_bytes_from_text(text), buffer, 64, &len, &entity);
    check(status, &(struct pil_error){.text = "key"});
    return len;
}

static void append_row(struct table *table, const struct arguments *arguments, uint64_t key) {
    const struct pil_row_layout *layout = &table->view->layout;
    bool nulls = strcmp(arguments->kind, "all") == 0;
    uint8_t key_bytes[64];
    uint8_t *row = calloc(1, layout->stride);
    if (row == NULL) {
        check(PIL_STATUS_NO_MEMORY, &(struct pil_error){.text = "no memory for a row"});
    }
    size_t key_len = encode_key(table->view, key, key_bytes);
    if (layout->key_is_fixed) {
        memcpy(row, key_bytes, key_len);
    } else {
        put_reference(table, row, key_bytes, key_len);
    }
    pil_store_i64(row + layout->event_ts_offset, event_ts_us_first + (int64_t)key * 1000);
    for (uint32_t i = 0; i < table->view->feature_count; i++) {
        const struct pil_feature *feature = &table->view->features[i];
        if (nulls && (key + i) % 11 == 0) {
            row[layout->null_offset + i / 8] |= (uint8_t)(1 << i % 8);
        } else {
            put_value(table, row + feature->offset, feature->type, (key * 31 + i * 7 + arguments->seed) % 1000003);
        }
    }
    pil_text_append(&table->rows, row, layout->stride);
    table->row_count++;
    free(row);
}

/* ---- The release */

static uint32_t shard_of(const struct pil_view *view, uint64_t key, uint32_t bits) {
    uint8_t bytes[64];
    size_t len = encode_key(view, key, bytes);
    return pil_shard_of(pil_hash_shard(pil_bytes_from(bytes, len)), bits);
}

static void write_shard(struct pil_store *store, const struct arguments *arguments, const struct pil_view *view,
                        struct pil_writer_options options, struct pil_manifest_shard *ret_shard) {
    struct table table = {.view = view};
    struct pil_writer_result file;
    struct pil_error error;
    bool is_new;
    for (uint64_t key = 0; key < arguments->rows; key++) {
        if (options.shard_bits == 0 || shard_of(view, key, options.shard_bits) == options.shard_index) {
            append_row(&table, arguments, key);
        }
    }
    struct pil_writer_row *rows = calloc(table.row_count + 1, sizeof *rows);
    for (size_t i = 0; i < table.row_count; i++) {
        rows[i].row = (const uint8_t *)table.rows.data + i * view->layout.stride;
        rows[i].heap = (const uint8_t *)table.heap.data;
    }
    check(pil_writer_finish(view, &options, rows, table.row_count, &file, &error), &error);
    check(pil_shard_io_put(store, &file.id, pil_bytes_from(file.data, file.bytes), &is_new, &error), &error);
    *ret_shard = (struct pil_manifest_shard){.id = file.id, .bytes = file.bytes, .row_count = file.row_count};
    pil_writer_result_deinit(&file);
    free(rows);
    pil_text_deinit(&table.rows);
    pil_text_deinit(&table.heap);
    pil_text_deinit(&table.value);
}

static uint32_t choose_bits(const struct arguments *arguments, const struct pil_view *view) {
    uint32_t bits = 0;
    while ((arguments->rows >> bits) > PIL_SHARD_ROWS_MAX / 2 ||
           (arguments->rows * view->layout.stride >> bits) > SHARD_FILL_BYTES) {
        bits++;
    }
    return arguments->shard_bits >= 0 ? (uint32_t)arguments->shard_bits : bits;
}

static void publish(struct pil_store *store, const struct arguments *arguments, struct pil_view *view,
                    struct pil_release_ref *ref) {
    uint32_t bits = choose_bits(arguments, view);
    struct pil_manifest manifest = {.view = view, .shard_count = 1u << bits, .created_us = pil_clock_wall_us()};
    struct pil_error error;
    manifest.shards = calloc(manifest.shard_count, sizeof *manifest.shards);
    for (uint32_t i = 0; i < manifest.shard_count; i++) {
        const struct pil_writer_options options = {.shard_index = i, .shard_bits = bits};
        write_shard(store, arguments, view, options, &manifest.shards[i]);
        manifest.row_count += manifest.shards[i].row_count;
        manifest.bytes += manifest.shards[i].bytes;
    }
    check(pil_manifest_identify(view, manifest.shards, manifest.shard_count, ref->release, &error), &error);
    manifest.ref = *ref;
    pil_status status = pil_manifest_publish(store, &manifest, &error);
    check(status == PIL_STATUS_EXISTS ? PIL_STATUS_OK : status, &error);
    free(manifest.shards);
}

static uint64_t number(const char *text) {
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text == '\0' || *end != '\0') {
        check(PIL_STATUS_INVALID, &(struct pil_error){.text = "an option that wants a number has none"});
    }
    return value;
}

static void parse_arguments(int argc, char **argv, struct arguments *arguments) {
    static const struct option options[] = {
        {"store", 1, NULL, 's'},   {"project", 1, NULL, 'p'}, {"view", 1, NULL, 'v'},       {"rows", 1, NULL, 'r'},
        {"kind", 1, NULL, 'k'},    {"type", 1, NULL, 't'},    {"seed", 1, NULL, 'e'},       {"features", 1, NULL, 'f'},
        {"channel", 1, NULL, 'c'}, {"key", 1, NULL, 'y'},     {"shard-bits", 1, NULL, 'b'}, {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 's': arguments->store = optarg; break;
        case 'p': arguments->project = optarg; break;
        case 'v': arguments->view = optarg; break;
        case 'r': arguments->rows = number(optarg); break;
        case 'f': arguments->features = number(optarg); break;
        case 'k': arguments->kind = optarg; break;
        case 't': arguments->type = optarg; break;
        case 'y': arguments->key = optarg; break;
        case 'e': arguments->seed = number(optarg); break;
        case 'c': arguments->channel = optarg; break;
        case 'b': arguments->shard_bits = (int)number(optarg); break;
        default: exit(2);
        }
    }
    bool kind_ok = strcmp(arguments->kind, "floats") == 0 || strcmp(arguments->kind, "all") == 0;
    bool key_ok = strcmp(arguments->key, "int64") == 0 || strcmp(arguments->key, "pair") == 0;
    if (optind != argc || arguments->store == NULL || arguments->project == NULL || arguments->view == NULL ||
        !kind_ok || !key_ok || arguments->shard_bits > PIL_SHARD_BITS_MAX) {
        fprintf(stderr, "usage: make_release --store dir:S --project P --view V --rows N [--features F] [--type T] "
                        "[--kind floats|all] [--key int64|pair] [--seed K] [--shard-bits B] [--channel C]\n");
        exit(2);
    }
}

int main(int argc, char **argv) {
    struct arguments arguments = {
        .kind = "floats", .type = "float32", .key = "int64", .features = 10, .rows = 1000, .shard_bits = -1};
    struct pil_store *store;
    struct pil_error error = {0};
    struct pil_project_published published;
    struct pil_text lines = {0};
    struct pil_release_ref ref = {0};
    struct pil_channel channel;
    parse_arguments(argc, argv, &arguments);
    struct pil_project *project = make_project(&arguments);
    struct pil_view *view = project->views[0].view;
    memcpy(ref.project, view->project, strlen(view->project) + 1);
    memcpy(ref.view, view->name, strlen(view->name) + 1);
    check(pil_store_open(arguments.store, true, &store, &error), &error);
    check(pil_project_publish(store, project, true, &published, &lines, &error), &error);
    publish(store, &arguments, view, &ref);
    if (arguments.channel != NULL) {
        check(pil_channel_promote(store, &ref, arguments.channel, NULL, &channel, &error), &error);
    }
    printf("%s/%s@%s\n", ref.project, ref.view, ref.release);
    pil_text_deinit(&lines);
    pil_project_destroy(&project);
    pil_store_close(&store);
    return 0;
}
