/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/sketch.h"

#include <math.h>

uint64_t pil_hll_estimate(const struct pil_hll *hll) {
    const double m = PIL_HLL_REGISTERS;
    double sum = 0, zeros = 0;
    for (uint32_t i = 0; i < PIL_HLL_REGISTERS; i++) {
        sum += ldexp(1, -hll->registers[i]);
        zeros += hll->registers[i] == 0;
    }
    double estimate = 0.7213 / (1 + 1.079 / m) * m * m / sum;
    if (estimate <= 2.5 * m && zeros > 0) {
        estimate = m * log(m / zeros);
    }
    return (uint64_t)llround(estimate);
}

int pil_frequent_find(const struct pil_frequent *frequent, uint64_t hash, struct pil_bytes value) {
    for (int i = 0; i < PIL_FREQUENT_COUNTERS; i++) {
        if (frequent->hashes[i] == hash && frequent->counts[i] > 0 &&
            pil_bytes_equal(value, pil_bytes_from(frequent->values[i].data, frequent->values[i].len))) {
            return i;
        }
    }
    return -1;
}

static int find_free(const struct pil_frequent *frequent) {
    for (int i = 0; i < PIL_FREQUENT_COUNTERS; i++) {
        if (frequent->counts[i] == 0) {
            return i;
        }
    }
    return -1;
}

void pil_frequent_add(struct pil_frequent *frequent, uint64_t hash, struct pil_bytes value) {
    if (value.len > PIL_FREQUENT_VALUE_BYTES) {
        frequent->overflowed = true;
        return;
    }
    int at = pil_frequent_find(frequent, hash, value);
    if (at < 0) {
        at = find_free(frequent);
        if (at >= 0) {
            frequent->hashes[at] = hash;
            frequent->values[at].len = (uint8_t)value.len;
            if (value.len > 0) {
                memcpy(frequent->values[at].data, value.data, value.len);
            }
        }
    }
    if (at >= 0) {
        frequent->counts[at]++;
        return;
    }
    frequent->overflowed = true;
    for (int i = 0; i < PIL_FREQUENT_COUNTERS; i++) {
        frequent->counts[i]--;
    }
}
