/* SPDX-License-Identifier: Apache-2.0
 * Streams of keys. Zipf by inversion (Gray and others, "Quickly Generating Billion-Record Synthetic Databases", SIGMOD
 * 1994), then scattered, so that hot keys are not adjacent. */
#include "load/load.h"

#include <math.h>

/* splitmix64: any state is valid, and the next one depends on the state alone. */
uint64_t load_random_next(uint64_t *state) {
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

double load_random_unit(uint64_t *state) {
    return ((double)(load_random_next(state) >> 11) + 1) * 0x1p-53;
}

void load_keys_init(struct load_keys *keys, uint64_t count, double theta) {
    *keys = (struct load_keys){.count = count, .theta = theta};
    if (theta <= 0) {
        return;
    }
    for (uint64_t i = 1; i <= count; i++) {
        keys->zeta += 1 / pow((double)i, theta);
    }
    keys->alpha = 1 / (1 - theta);
    keys->eta = (1 - pow(2 / (double)count, 1 - theta)) / (1 - (1 + pow(0.5, theta)) / keys->zeta);
}

static uint64_t zipf_rank(const struct load_keys *keys, uint64_t *state) {
    double u = load_random_unit(state), uz = u * keys->zeta;
    if (uz < 1) {
        return 0;
    }
    if (uz < 1 + pow(0.5, keys->theta)) {
        return 1;
    }
    uint64_t rank = (uint64_t)((double)keys->count * pow(keys->eta * u - keys->eta + 1, keys->alpha));
    return rank < keys->count ? rank : keys->count - 1;
}

uint64_t load_key_next(const struct load_keys *keys, uint64_t *state) {
    if (keys->theta <= 0) {
        return (uint64_t)(((unsigned __int128)load_random_next(state) * keys->count) >> 64);
    }
    uint64_t rank = zipf_rank(keys, state);
    return (uint64_t)(((unsigned __int128)load_random_next(&rank) * keys->count) >> 64);
}
