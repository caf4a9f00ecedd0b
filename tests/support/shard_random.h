/* SPDX-License-Identifier: Apache-2.0
 * Random and sample tables on top of shard_fixture.h: every type, with the values that are known to make trouble. */
#pragma once

#include "support/shard_fixture.h"

enum { RANDOM_BYTES_MAX = 4096 };

/* Well-formed UTF-8 of about this length, from all four widths. */
FIXTURE size_t random_text(uint64_t *state, uint8_t *to, size_t len) {
    static const char *const letters[] = {"a",
                                          "Z",
                                          " ",
                                          "|",
                                          "\\",
                                          "\"",
                                          "\x7f",
                                          "\xc3\xa4",
                                          "\xe2\x82\xac",
                                          "\xed\x9f\xbf",
                                          "\xef\xbf\xbf",
                                          "\xf0\x90\x80\x80",
                                          "\xf4\x8f\xbf\xbf"};
    size_t at = 0;
    for (;;) {
        const char *letter = letters[fixture_below(state, sizeof letters / sizeof *letters)];
        if (at + strlen(letter) > len) {
            return at;
        }
        memcpy(to + at, letter, strlen(letter));
        at += strlen(letter);
    }
}

FIXTURE size_t random_len(uint64_t *state) {
    static const size_t lens[] = {0, 1, 3, 4, 5, 11, 12, 13, 16, 17, 40, 200};
    size_t pick = fixture_below(state, 64);
    return pick < 60 ? lens[pick % (sizeof lens / sizeof *lens)] : fixture_below(state, RANDOM_BYTES_MAX / 2);
}

/* `width` bytes: mostly random, often one of the special patterns of floats and integers. */
FIXTURE void random_number(uint64_t *state, uint8_t *to, size_t width) {
    static const uint64_t doubles[] = {0x8000000000000000,
                                       0x7ff0000000000000,
                                       0xfff0000000000000,
                                       0x7ff8000000000000,
                                       0xfff80000deadbeef,
                                       0x7ff0000000000001,
                                       1,
                                       UINT64_MAX,
                                       0};
    static const uint32_t floats[] = {0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc0beef,
                                      0x7f800001, 1,          UINT32_MAX, 0};
    uint64_t bits = fixture_random(state);
    if (fixture_below(state, 3) == 0) {
        size_t pick = fixture_below(state, sizeof floats / sizeof *floats);
        bits = width == 8 ? doubles[pick] : floats[pick];
    }
    memcpy(to, &bits, width);
}

FIXTURE size_t random_strings(uint64_t *state, bool utf8, uint8_t *to) {
    uint32_t count = (uint32_t)fixture_below(state, 5), end = 0;
    uint8_t *bytes = to + 4 + 4 * count;
    pil_store_u32(to, count);
    for (uint32_t i = 0; i < count; i++) {
        size_t len = fixture_below(state, 20);
        if (utf8) {
            len = random_text(state, bytes + end, len);
        }
        for (size_t k = 0; !utf8 && k < len; k++) {
            bytes[end + k] = (uint8_t)fixture_random(state);
        }
        end += (uint32_t)len;
        pil_store_u32(to + 4 + 4 * i, end);
    }
    return 4 + 4 * count + end;
}

/* A valid value of the type into `to` (vectors: as large as they are, else RANDOM_BYTES_MAX); its length. */
FIXTURE size_t random_value(uint64_t *state, struct pil_type type, uint8_t *to) {
    bool utf8 = pil_scalar_is_utf8(type.scalar), variable = pil_scalar_is_text(type.scalar);
    size_t width = pil_scalar_bytes(type.scalar), count = 1;
    if (type.shape == PIL_SHAPE_LIST && variable) {
        return random_strings(state, utf8, to);
    }
    if (variable) {
        size_t len = random_len(state);
        for (size_t i = 0; i < len; i++) {
            to[i] = (uint8_t)fixture_random(state);
        }
        return utf8 ? random_text(state, to, len) : len;
    }
    if (type.shape != PIL_SHAPE_SCALAR) {
        count = type.shape == PIL_SHAPE_VECTOR ? type.dimension : fixture_below(state, 9);
    }
    for (size_t i = 0; i < count; i++) {
        if (pil_scalar_is_bool(type.scalar)) {
            to[i] = (uint8_t)fixture_below(state, 2);
        } else {
            random_number(state, to + i * width, width);
        }
    }
    return count * width;
}

/* Canonical key number `i`: distinct for distinct `i` below 2^32. */
FIXTURE size_t random_key(uint64_t *state, const struct pil_view *view, uint32_t i, uint8_t *to) {
    size_t at = 0;
    for (uint32_t entity = 0; entity < view->entity_count; entity++) {
        pil_scalar type = view->entities[entity].type;
        size_t width = pil_scalar_bytes(type);
        bool variable = pil_scalar_is_text(type);
        uint8_t part[128];
        if (!variable) {
            uint64_t number = entity == 0 ? i * 0x9e3779b1u : fixture_random(state);
            memcpy(to + at, &number, width);
            at += width;
            continue;
        }
        width = entity == 0 ? (size_t)snprintf((char *)part, sizeof part, "%x", i) : 0;
        size_t pad = fixture_below(state, 40);
        part[width++] = '-';
        width += random_text(state, part + width, pad);
        if (view->entity_count > 1) {
            pil_store_u32(to + at, (uint32_t)width);
            at += 4;
        }
        memcpy(to + at, part, width);
        at += width;
    }
    return at;
}

/* Adds `count` random rows; about one value in `null_every` is null (0: none). */
FIXTURE void random_rows(uint64_t *state, struct fixture_table *table, size_t count, size_t null_every) {
    for (size_t i = 0; i < count; i++) {
        uint8_t key[PIL_ENTITIES_MAX * 132];
        size_t key_len = random_key(state, table->view, (uint32_t)(table->count + 1), key);
        int64_t event_ts_us = (int64_t)(fixture_random(state) >> 12) - 100000;
        struct fixture_row *row = fixture_table_add(table, key, key_len, event_ts_us);
        for (uint32_t feature = 0; feature < table->view->feature_count; feature++) {
            if (null_every > 0 && fixture_below(state, null_every) == 0) {
                continue;
            }
            struct pil_type type = table->view->features[feature].type;
            size_t room = type.shape == PIL_SHAPE_VECTOR ? pil_type_row_bytes(type) : RANDOM_BYTES_MAX;
            uint8_t *value = fixture_alloc(room);
            size_t len = random_value(state, type, value);
            fixture_row_set(row, feature, value, len);
            free(value);
        }
    }
}

/* ---- Samples: named tables, the same on every run, that between them have every type and every shape of key. */
struct sample {
    const char *name, *entities, *features;
    size_t rows;
    uint32_t shard_index, shard_bits;
};

static const struct sample samples[] = {
    {.name = "empty", .entities = "int64", .features = "float32;string"},
    {.name = "one_row", .entities = "int64", .features = "float32;string", .rows = 1},
    {.name = "no_features", .entities = "bytes", .features = "", .rows = 5},
    {.name = "scalars",
     .entities = "int64",
     .features = "bool;int32;int64;float32;float64;string;bytes;unix_timestamp;bool",
     .rows = 40},
    {.name = "lists",
     .entities = "int32",
     .features =
         "list<bool>;list<int32>;list<int64>;list<float32>;list<float64>;list<string>;list<bytes>;list<unix_timestamp>",
     .rows = 30},
    {.name = "vectors",
     .entities = "unix_timestamp",
     .features = "vector<float32,8>;bool;vector<float16,5>;vector<bfloat16,3>;vector<int8,7>;vector<float32,1>",
     .rows = 20},
    {.name = "string_keys", .entities = "string", .features = "float64;int32", .rows = 50},
    {.name = "composite_keys", .entities = "string;int64;bytes", .features = "int64;list<string>", .rows = 25},
    {.name = "composite_fixed", .entities = "int32;unix_timestamp", .features = "bool", .rows = 12},
    {.name = "sharded",
     .entities = "int64",
     .features = "float32;float32;float32",
     .rows = 30,
     .shard_index = 5,
     .shard_bits = 3},
};
enum { SAMPLE_COUNT = sizeof samples / sizeof *samples };

FIXTURE const struct sample *sample_named(const char *name) {
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        if (strcmp(samples[i].name, name) == 0) {
            return &samples[i];
        }
    }
    return NULL;
}

FIXTURE struct fixture_table sample_table(const struct sample *sample) {
    struct fixture_table table = fixture_table_make(sample->entities, sample->features);
    uint64_t state = 0x5eed + sample->rows;
    while (table.count < sample->rows) {
        random_rows(&state, &table, 1, 4);
        struct fixture_row *row = &table.rows[table.count - 1];
        uint64_t hash = pil_hash_shard(pil_bytes_from(row->key, row->key_len));
        /* A row of another shard: keep its number, so that the next key differs, by trying with another first
         * component. */
        while (pil_shard_of(hash, sample->shard_bits) != sample->shard_index) {
            uint64_t key = fixture_random(&state);
            memcpy(row->key, &key, row->key_len);
            hash = pil_hash_shard(pil_bytes_from(row->key, row->key_len));
        }
    }
    return table;
}

FIXTURE struct pil_writer_options sample_options(const struct sample *sample) {
    return (struct pil_writer_options){.shard_index = sample->shard_index, .shard_bits = sample->shard_bits};
}
