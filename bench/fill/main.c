/* SPDX-License-Identifier: Apache-2.0
 * pillion-fill: the rows of tests/support/make_release as RESP commands on standard output, for `redis-cli --pipe`:
 *     pillion-fill --rows N --features F --seed K [--hash PREFIX] [--packed PREFIX]
 * --hash: HSET PREFIX<row> f0 <decimal> …, the texts with which Pillion answers. --packed: SET PREFIX<row> <bytes>, the
 * packed row with which Pillion answers GET: little-endian float32, then a null bit per feature. */
#include "base/decimal.h"
#include "base/text.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

struct arguments {
    uint64_t rows, features, seed;
    const char *hash, *packed;
};

static float value_of(const struct arguments *arguments, uint64_t row, uint64_t feature) {
    return (float)((row * 31 + feature * 7 + arguments->seed) % 1000003);
}

static void put_bulk(struct pil_text *out, const void *data, size_t len) {
    pil_text_format(out, "$%zu\r\n", len);
    pil_text_append(out, data, len);
    pil_text_append(out, "\r\n", 2);
}

static void put_text(struct pil_text *out, const char *text) {
    put_bulk(out, text, strlen(text));
}

static void put_key(struct pil_text *out, const char *prefix, uint64_t row) {
    char key[256];
    snprintf(key, sizeof key, "%s%llu", prefix, (unsigned long long)row);
    put_text(out, key);
}

static void put_hash(const struct arguments *arguments, uint64_t row, struct pil_text *out) {
    pil_text_format(out, "*%llu\r\n", (unsigned long long)(2 + 2 * arguments->features));
    put_text(out, "HSET");
    put_key(out, arguments->hash, row);
    for (uint64_t f = 0; f < arguments->features; f++) {
        char name[32], number[PIL_DECIMAL_BYTES];
        snprintf(name, sizeof name, "f%llu", (unsigned long long)f);
        put_text(out, name);
        put_bulk(out, number, (size_t)pil_decimal_f32(value_of(arguments, row, f), number));
    }
}

static void put_packed(const struct arguments *arguments, uint64_t row, struct pil_text *packed, struct pil_text *out) {
    static const uint8_t zeros[512];
    pil_text_clear(packed);
    for (uint64_t f = 0; f < arguments->features; f++) {
        float value = value_of(arguments, row, f);
        pil_text_append(packed, &value, sizeof value);
    }
    pil_text_append(packed, zeros, (size_t)(arguments->features + 7) / 8);
    pil_text_append(out, "*3\r\n", 4);
    put_text(out, "SET");
    put_key(out, arguments->packed, row);
    put_bulk(out, packed->data, packed->len);
}

static uint64_t whole(const char *name, const char *text, uint64_t max) {
    char *end = NULL;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || value > max) {
        fprintf(stderr, "pillion-fill: --%s %s: expected a whole number up to %llu\n", name, text,
                (unsigned long long)max);
        exit(2);
    }
    return value;
}

static struct arguments parse(int argc, char **argv) {
    static const struct option options[] = {
        {"rows", required_argument, NULL, 'r'},   {"features", required_argument, NULL, 'f'},
        {"seed", required_argument, NULL, 's'},   {"hash", required_argument, NULL, 'h'},
        {"packed", required_argument, NULL, 'p'}, {0}};
    struct arguments arguments = {.rows = 1000, .features = 10, .seed = 1};
    for (int id; (id = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (id) {
        case 'r': arguments.rows = whole("rows", optarg, 1ull << 40); break;
        case 'f': arguments.features = whole("features", optarg, 4096); break;
        case 's': arguments.seed = whole("seed", optarg, UINT64_MAX); break;
        case 'h': arguments.hash = optarg; break;
        case 'p': arguments.packed = optarg; break;
        default: exit(2);
        }
    }
    return arguments;
}

int main(int argc, char **argv) {
    struct arguments arguments = parse(argc, argv);
    struct pil_text out = {0}, packed = {0};
    bool good = true;
    for (uint64_t row = 0; row < arguments.rows && good; row++) {
        pil_text_clear(&out);
        if (arguments.hash != NULL) {
            put_hash(&arguments, row, &out);
        }
        if (arguments.packed != NULL) {
            put_packed(&arguments, row, &packed, &out);
        }
        good = out.len == 0 || fwrite(out.data, 1, out.len, stdout) == out.len;
    }
    pil_text_deinit(&out);
    pil_text_deinit(&packed);
    if (!good || fflush(stdout) != 0) {
        perror("pillion-fill: standard output");
        return 1;
    }
    return 0;
}
