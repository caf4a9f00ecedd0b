/* SPDX-License-Identifier: Apache-2.0 */
#include "server/batch.h"

#include "server/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>

enum {
    BODY_ALIGNMENT = 16,
    REQUEST_BYTES_USUAL = 4 << 20,
    KEYS_USUAL = 16384,
    ARENA_BYTES_PER_KEY = 256,
    TRIM_BYTES = 1 << 20,
};

PIL_STATIC_ASSERT(PIL_BATCH_ROOM_BYTES <= PIL_BATCH_ARENA_BYTES);

/* ---- Life. */

/* What limits wider than the defaults add: unescaped text as long as the longest request, and for each key its parsed
 * value, its canonical bytes, and the texts that the answer repeats for its row. */
static size_t arena_bytes_of(const struct pil_limits *limits) {
    size_t bytes = PIL_BATCH_ARENA_BYTES;
    bytes += limits->request_bytes_max > REQUEST_BYTES_USUAL ? limits->request_bytes_max - REQUEST_BYTES_USUAL : 0;
    bytes += limits->keys_per_request_max > KEYS_USUAL
                 ? (size_t)(limits->keys_per_request_max - KEYS_USUAL) * ARENA_BYTES_PER_KEY
                 : 0;
    return bytes;
}

/* Several megabytes, of which most batches touch little: mmap, so that only the pages in use take memory. */
struct pil_batch *pil_batch_create(const struct pil_limits *limits) {
    uint32_t lookup_max = PIL_BATCH_LOOKUPS_RUN + limits->keys_per_request_max;
    size_t lookups_at = pil_align_up(sizeof(struct pil_batch), 64);
    size_t arena_at = lookups_at + lookup_max * sizeof(struct pil_lookup), arena_bytes = arena_bytes_of(limits);
    uint8_t *memory = mmap(NULL, arena_at + arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return NULL;
    }
    struct pil_batch *batch = (struct pil_batch *)(void *)memory;
    batch->lookups = (struct pil_lookup *)(void *)(memory + lookups_at);
    batch->lookup_max = lookup_max;
    batch->mapped_bytes = arena_at + arena_bytes;
    pil_arena_init(&batch->arena, memory + arena_at, arena_bytes);
    return batch;
}

void pil_batch_destroy(struct pil_batch **batch) {
    if (*batch != NULL) {
        munmap(*batch, (*batch)->mapped_bytes);
        *batch = NULL;
    }
}

void pil_batch_trim(struct pil_batch *batch) {
    size_t first = pil_align_up((size_t)(uintptr_t)batch->arena.data + TRIM_BYTES, 4096) - (uintptr_t)batch->arena.data;
    PIL_ASSERT(batch->request_count == 0);
    madvise(batch->arena.data + first, batch->arena.capacity - first, MADV_DONTNEED); /* may fail: then it stays */
}

bool pil_batch_validate(const struct pil_batch *batch) {
    uint32_t lookups = 0;
    for (uint32_t i = 0; i < batch->request_count; i++) {
        const struct pil_request *request = &batch->requests[i];
        if (request->lookup_first != lookups || request->connection->magic != PIL_CONNECTION_MAGIC ||
            (const uint8_t *)request->body < batch->arena.data ||
            (const uint8_t *)request->body > batch->arena.data + batch->arena.used) {
            return false;
        }
        lookups += request->lookup_count;
    }
    return batch->request_count <= PIL_BATCH_REQUESTS_MAX && batch->lookup_count <= batch->lookup_max &&
           lookups == batch->lookup_count && batch->arena.used <= batch->arena.capacity;
}

/* ---- Filling it. */

bool pil_batch_has_room(const struct pil_batch *batch, size_t arena_bytes) {
    return batch->unprepared == NULL && batch->request_count < PIL_BATCH_REQUESTS_MAX &&
           batch->lookup_count < PIL_BATCH_LOOKUPS_RUN && batch->weight < PIL_BATCH_WEIGHT_RUN &&
           pil_arena_left(&batch->arena) >= PIL_BATCH_ROOM_BYTES && pil_arena_left(&batch->arena) >= arena_bytes;
}

/* About as many values as a row has in the answer. */
static uint64_t row_weight(struct pil_turn *turn, const struct pil_request *request) {
    if (request->selection != NULL) {
        return request->selection->feature_count;
    }
    const struct pil_serving *serving = request->view != NULL ? pil_scope_serving(&turn->scope, request->view) : NULL;
    return serving != NULL ? serving->chain.view->feature_count : 1;
}

void pil_batch_weigh(struct pil_turn *turn) {
    struct pil_batch *batch = turn->batch;
    for (; batch->weighed_count < batch->request_count; batch->weighed_count++) {
        struct pil_request *request = &batch->requests[batch->weighed_count];
        if (request->lookup_count > 0) {
            request->weight = request->lookup_count * row_weight(turn, request);
            batch->weight += request->weight;
        }
    }
}

struct pil_request *pil_batch_add(struct pil_turn *turn, struct pil_connection *connection) {
    struct pil_batch *batch = turn->batch;
    size_t body_bytes = connection->protocol->request_bytes;
    PIL_ASSERT(batch->request_count < PIL_BATCH_REQUESTS_MAX);
    pil_batch_weigh(turn); /* the requests before this one have all their lookups */
    struct pil_request *request = &batch->requests[batch->request_count++];
    *request = (struct pil_request){.connection = connection,
                                    .body = pil_arena_alloc(&batch->arena, body_bytes, BODY_ALIGNMENT),
                                    .lookup_first = batch->lookup_count,
                                    .source = connection->decoding,
                                    .received_ns = connection->received_ns};
    PIL_ASSERT(request->body != NULL); /* pil_batch_has_room */
    memset(request->body, 0, body_bytes);
    connection->pending++;
    connection->active_ns = turn->now_ns;
    connection->has_asked = true;
    return request;
}

void pil_batch_prepare_later(struct pil_turn *turn, struct pil_request *request) {
    PIL_ASSERT(request == &turn->batch->requests[turn->batch->request_count - 1]);
    turn->batch->unprepared = request;
}

struct pil_lookup *pil_batch_lookup(struct pil_turn *turn, struct pil_request *request) {
    struct pil_batch *batch = turn->batch;
    uint32_t limit = turn->settings->limits.keys_per_request_max;
    PIL_ASSERT(request == &batch->requests[batch->request_count - 1]);
    if (request->lookup_count == limit || batch->lookup_count == batch->lookup_max) {
        request->refusal = (struct pil_refusal){.reason = PIL_REFUSAL_LOOKUPS, .limit = limit};
        return NULL;
    }
    request->lookup_count++;
    return &batch->lookups[batch->lookup_count++];
}

void pil_batch_drop_lookups(struct pil_turn *turn, struct pil_request *request) {
    PIL_ASSERT(request == &turn->batch->requests[turn->batch->request_count - 1]);
    PIL_ASSERT(request->lookup_first + request->lookup_count == turn->batch->lookup_count);
    turn->batch->lookup_count = request->lookup_first;
    request->lookup_count = 0;
}

const char *pil_batch_text(struct pil_batch *batch, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    size_t bytes = (size_t)(len < (int)sizeof text ? len : (int)sizeof text - 1) + 1;
    char *copy = pil_arena_alloc(&batch->arena, bytes, 1);
    if (copy == NULL) {
        return "ERR the request is too large to explain";
    }
    memcpy(copy, text, bytes);
    return copy;
}
