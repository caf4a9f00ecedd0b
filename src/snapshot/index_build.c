/* SPDX-License-Identifier: Apache-2.0
 * Construction of the perfect hash (after PtrHash: Groot Koerkamp, arXiv 2502.15539, sections 3 and 4): places buckets
 * by falling size, each with the first of 256 pilots that puts its keys into free slots, else with the pilot that
 * evicts least. Deterministic: the same hashes give the same pilots. writer.c hashes the keys and chooses seeds;
 * format.h has the two maps. */
#include "snapshot/internal.h"

#include <stdlib.h>

enum {
    DIGIT_BITS = 11,
    DIGIT_COUNT = 1 << DIGIT_BITS,
    SORTED_BITS = 3 * DIGIT_BITS, /* few of 2 M hashes agree in 33 bits; an insertion sort orders those */
    PILOT_COUNT = 256,
    SPARE_SLOTS = 3,
    RECENT_COUNT = 4, /* the last buckets placed by eviction are not evicted themselves: prevents short cycles */
    WAITING_MAX = 1024,
    PREFETCH_AHEAD = 8,
};

struct builder {
    const struct pil_index_entry *entries;
    struct pil_index *index;
    uint32_t *starts; /* bucket_count + 1: where each bucket's entries start */
    uint64_t *taken;  /* one bit per slot: small enough to stay in the CPU cache while pilots are tried */
    uint32_t *owners; /* slot → bucket; valid only where the bit in `taken` is set */
    uint32_t recent[RECENT_COUNT];
    uint32_t recent_at;
    uint32_t waiting[WAITING_MAX]; /* evicted buckets, smallest first */
    uint32_t waiting_count;
    uint64_t random, evictions_left;
};

uint64_t pil_index_slots_for(uint64_t key_count) {
    /* Load 0.98, plus a few slots so that the last bucket of a small table has a choice. */
    return key_count == 0 ? 0 : (key_count * 50 + 48) / 49 + SPARE_SLOTS;
}

uint64_t pil_index_buckets_for(uint64_t key_count) {
    return (key_count * 5 + 13) / 14; /* 2.8 keys per bucket: 2.86 bits per key */
}

struct pil_index_entry *pil_index_sort(struct pil_index_entry *entries, struct pil_index_entry *scratch, size_t count) {
    uint32_t counts[SORTED_BITS / DIGIT_BITS][DIGIT_COUNT] = {{0}};
    for (size_t i = 0; i < count; i++) {
        uint64_t top = entries[i].hash >> (64 - SORTED_BITS);
        for (int digit = 0; digit < SORTED_BITS / DIGIT_BITS; digit++) {
            counts[digit][(top >> (digit * DIGIT_BITS)) % DIGIT_COUNT]++;
        }
    }
    struct pil_index_entry *from = entries, *to = scratch;
    for (int digit = 0; digit < SORTED_BITS / DIGIT_BITS; digit++) {
        uint32_t sum = 0;
        for (int i = 0; i < DIGIT_COUNT; i++) {
            uint32_t own = counts[digit][i];
            counts[digit][i] = sum;
            sum += own;
        }
        int shift = 64 - SORTED_BITS + digit * DIGIT_BITS;
        for (size_t i = 0; i < count; i++) {
            to[counts[digit][(from[i].hash >> shift) % DIGIT_COUNT]++] = from[i];
        }
        struct pil_index_entry *swap = from;
        from = to;
        to = swap;
    }
    for (size_t i = 1; i < count; i++) {
        struct pil_index_entry moving = from[i];
        size_t at = i;
        for (; at > 0 && from[at - 1].hash > moving.hash; at--) {
            from[at] = from[at - 1];
        }
        from[at] = moving;
    }
    return from;
}

static uint32_t bucket_size(const struct builder *b, uint32_t bucket) {
    return b->starts[bucket + 1] - b->starts[bucket];
}

static uint64_t slot_of(const struct builder *b, uint32_t entry, uint8_t pilot) {
    return pil_index_slot(b->entries[entry].hash, pilot, b->index->slot_count);
}

static bool is_taken(const struct builder *b, uint64_t slot) {
    return (b->taken[slot / 64] >> (slot % 64)) & 1;
}

static void flip(struct builder *b, uint64_t slot) {
    b->taken[slot / 64] ^= 1ull << (slot % 64);
}

/* Takes the bucket's slots under this pilot; returns false, and takes none, if one is not free. */
static bool try_pilot(struct builder *b, uint32_t bucket, uint8_t pilot) {
    uint32_t start = b->starts[bucket], end = b->starts[bucket + 1], at = start;
    for (; at < end; at++) {
        uint64_t slot = slot_of(b, at, pilot);
        if (is_taken(b, slot)) {
            break;
        }
        flip(b, slot);
    }
    if (at == end) {
        return true;
    }
    while (at > start) {
        flip(b, slot_of(b, --at, pilot));
    }
    return false;
}

static void own(struct builder *b, uint32_t bucket, uint8_t pilot) {
    b->index->pilots[bucket] = pilot;
    for (uint32_t at = b->starts[bucket]; at < b->starts[bucket + 1]; at++) {
        b->owners[slot_of(b, at, pilot)] = bucket;
    }
}

static bool is_recent(const struct builder *b, uint32_t bucket) {
    for (int i = 0; i < RECENT_COUNT; i++) {
        if (b->recent[i] == bucket) {
            return true;
        }
    }
    return false;
}

/* Sum of the squared sizes of the buckets to evict; `limit` when the sum reaches it or the pilot cannot be used. */
static uint64_t eviction_cost(const struct builder *b, uint32_t bucket, uint8_t pilot, uint64_t limit) {
    uint64_t cost = 0;
    for (uint32_t at = b->starts[bucket]; at < b->starts[bucket + 1]; at++) {
        uint64_t slot = slot_of(b, at, pilot);
        if (is_taken(b, slot)) {
            uint64_t size = bucket_size(b, b->owners[slot]);
            cost += size * size;
            if (cost >= limit || is_recent(b, b->owners[slot])) {
                return limit;
            }
        }
        for (uint32_t other = b->starts[bucket]; other < at; other++) {
            if (slot_of(b, other, pilot) == slot) {
                return limit;
            }
        }
    }
    return cost;
}

/* Inserts a bucket into `waiting`, which is sorted by size, largest last; returns false if it is full. */
static bool wait_for_place(struct builder *b, uint32_t bucket) {
    if (b->waiting_count == WAITING_MAX) {
        return false;
    }
    uint32_t at = b->waiting_count++, size = bucket_size(b, bucket);
    for (; at > 0 && bucket_size(b, b->waiting[at - 1]) > size; at--) {
        b->waiting[at] = b->waiting[at - 1];
    }
    b->waiting[at] = bucket;
    return true;
}

/* Evicts the buckets in the way of the cheapest pilot, and places the bucket with that pilot. */
static bool evict_for(struct builder *b, uint32_t bucket) {
    b->random = b->random * 6364136223846793005ull + 1442695040888963407ull;
    uint32_t first = (uint32_t)(b->random >> 56);
    uint64_t cost = UINT64_MAX;
    uint8_t pilot = 0;
    for (uint32_t i = 0; i < PILOT_COUNT; i++) {
        uint8_t candidate = (uint8_t)(first + i);
        uint64_t own_cost = eviction_cost(b, bucket, candidate, cost);
        if (own_cost < cost) {
            cost = own_cost;
            pilot = candidate;
        }
    }
    if (cost == UINT64_MAX || b->evictions_left-- == 0) {
        return false;
    }
    for (uint32_t at = b->starts[bucket]; at < b->starts[bucket + 1]; at++) {
        uint64_t slot = slot_of(b, at, pilot);
        if (!is_taken(b, slot)) {
            continue;
        }
        uint32_t loser = b->owners[slot];
        for (uint32_t i = b->starts[loser]; i < b->starts[loser + 1]; i++) {
            flip(b, slot_of(b, i, b->index->pilots[loser]));
        }
        if (!wait_for_place(b, loser)) {
            return false;
        }
    }
    b->recent[b->recent_at++ % RECENT_COUNT] = bucket;
    bool placed = try_pilot(b, bucket, pilot);
    PIL_ASSERT(placed);
    own(b, bucket, pilot);
    return true;
}

static bool place(struct builder *b, uint32_t bucket) {
    for (uint32_t pilot = 0; pilot < PILOT_COUNT; pilot++) {
        if (try_pilot(b, bucket, (uint8_t)pilot)) {
            own(b, bucket, (uint8_t)pilot);
            return true;
        }
    }
    return evict_for(b, bucket);
}

/* Where each bucket's entries start: entries are sorted by hash, and the map to buckets is monotonic. */
static void find_starts(struct builder *b, size_t count) {
    uint64_t bucket = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t own_bucket = pil_index_bucket(b->entries[i].hash, b->index->bucket_count);
        while (bucket <= own_bucket) {
            b->starts[bucket++] = (uint32_t)i;
        }
    }
    while (bucket <= b->index->bucket_count) {
        b->starts[bucket++] = (uint32_t)count;
    }
}

/* Fills `order` with the buckets that have keys, by falling size, equal sizes by rising number; returns how many there
 * are. `positions` is scratch for size_max + 1 counters, zero on entry. */
static uint32_t order_by_size(const struct builder *b, uint32_t *order, uint32_t *positions, uint32_t size_max) {
    uint64_t bucket_count = b->index->bucket_count;
    for (uint32_t bucket = 0; bucket < bucket_count; bucket++) {
        positions[bucket_size(b, bucket)]++;
    }
    uint32_t sum = 0;
    for (uint32_t size = size_max; size > 0; size--) {
        uint32_t own_count = positions[size];
        positions[size] = sum;
        sum += own_count;
    }
    for (uint32_t bucket = 0; bucket < bucket_count; bucket++) {
        uint32_t size = bucket_size(b, bucket);
        if (size > 0) {
            order[positions[size]++] = bucket;
        }
    }
    return sum;
}

static bool place_all(struct builder *b, const uint32_t *order, uint32_t order_count) {
    for (uint32_t i = 0; i < order_count; i++) {
        if (i + 2 * PREFETCH_AHEAD < order_count) {
            __builtin_prefetch(&b->starts[order[i + 2 * PREFETCH_AHEAD]]);
            __builtin_prefetch(&b->entries[b->starts[order[i + PREFETCH_AHEAD]]]);
        }
        if (!place(b, order[i])) {
            return false;
        }
        while (b->waiting_count > 0) {
            if (!place(b, b->waiting[--b->waiting_count])) {
                return false;
            }
        }
    }
    return true;
}

static uint32_t largest_bucket(const struct builder *b) {
    uint32_t largest = 0;
    for (uint32_t bucket = 0; bucket < b->index->bucket_count; bucket++) {
        uint32_t size = bucket_size(b, bucket);
        largest = size > largest ? size : largest;
    }
    return largest;
}

static pil_status build(struct builder *b, size_t count) {
    find_starts(b, count);
    uint32_t size_max = largest_bucket(b);
    uint32_t *order = malloc(b->index->bucket_count * sizeof *order);
    uint32_t *positions = calloc(size_max + 1ull, sizeof *positions);
    pil_status status = PIL_STATUS_NO_MEMORY;
    if (order != NULL && positions != NULL) {
        uint32_t order_count = order_by_size(b, order, positions, size_max);
        status = place_all(b, order, order_count) ? PIL_STATUS_OK : PIL_STATUS_AGAIN;
    }
    free(order);
    free(positions);
    return status;
}

static void fill_slots(const struct builder *b) {
    memset(b->index->slot_rows, 0, b->index->slot_count * sizeof *b->index->slot_rows);
    for (uint32_t bucket = 0; bucket < b->index->bucket_count; bucket++) {
        for (uint32_t at = b->starts[bucket]; at < b->starts[bucket + 1]; at++) {
            b->index->slot_rows[slot_of(b, at, b->index->pilots[bucket])] = (uint32_t)b->entries[at].row + 1;
        }
    }
}

pil_status pil_index_build(const struct pil_index_entry *entries, size_t count, struct pil_index *index) {
    if (count == 0) {
        return PIL_STATUS_OK;
    }
    memset(index->pilots, 0, index->bucket_count);
    /* The owners of slots are needed only until the rows of the slots are known, so one array serves for both. */
    struct builder b = {
        .entries = entries,
        .index = index,
        .owners = index->slot_rows,
        .starts = malloc((index->bucket_count + 1) * sizeof *b.starts),
        .taken = calloc(index->slot_count / 64 + 1, sizeof *b.taken),
        .random = entries[0].hash,
        .evictions_left = index->bucket_count + 1000,
    };
    memset(b.recent, 0xff, sizeof b.recent);
    pil_status status = PIL_STATUS_NO_MEMORY;
    if (b.starts != NULL && b.taken != NULL) {
        status = build(&b, count);
    }
    if (status == PIL_STATUS_OK) {
        fill_slots(&b);
    }
    free(b.starts);
    free(b.taken);
    return status;
}
