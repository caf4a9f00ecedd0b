/* SPDX-License-Identifier: Apache-2.0
 * Messages of every kind with values in every field, for tests of the encoder and the decoder; made from the same table
 * as these. */
#pragma once

#include "supervise/message.h"

#include <stdio.h>

static inline uint64_t message_fixture_next(uint64_t *seed) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 20;
}

static inline void message_fixture_release(uint64_t *seed, char (*release)[PIL_RELEASE_ID_CHARS + 1]) {
    for (uint32_t i = 0; i < PIL_RELEASE_ID_CHARS; i++) {
        (*release)[i] = "0123456789abcdef"[message_fixture_next(seed) & 15];
    }
    (*release)[PIL_RELEASE_ID_CHARS] = '\0';
}

static inline void message_fixture_any_release(uint64_t *seed, char (*release)[PIL_RELEASE_ID_CHARS + 1]) {
    if (message_fixture_next(seed) % 3 != 0) {
        message_fixture_release(seed, release);
    }
}

static inline void message_fixture_text(uint64_t *seed, char (*text)[PIL_MESSAGE_TEXT_BYTES]) {
    size_t len = (size_t)(message_fixture_next(seed) % PIL_MESSAGE_TEXT_BYTES);
    memset(*text, 'a' + (int)(message_fixture_next(seed) % 26), len);
    (*text)[len] = '\0';
}

static inline void message_fixture_place(uint64_t *seed, struct pil_shard_place *place) {
    place->count = 1 + (uint32_t)(message_fixture_next(seed) % (1u << PIL_SHARD_BITS_MAX));
    place->index = (uint32_t)(message_fixture_next(seed) % place->count);
}

#define FIXTURE_view(to) *(to) = (uint32_t)(message_fixture_next(seed) % PIL_SERVED_VIEWS_MAX);
#define FIXTURE_release(to) message_fixture_release(seed, to);
#define FIXTURE_any_release(to) message_fixture_any_release(seed, to);
#define FIXTURE_place(to) message_fixture_place(seed, to);
#define FIXTURE_outcome(to) *(to) = (pil_fetch_outcome)(message_fixture_next(seed) % PIL_OUTCOME_COUNT);
#define FIXTURE_flag(to) *(to) = message_fixture_next(seed) % 2 == 1;
#define FIXTURE_u32(to) *(to) = (uint32_t)message_fixture_next(seed);
#define FIXTURE_u64(to) *(to) = message_fixture_next(seed) * message_fixture_next(seed);
#define FIXTURE_i64(to) *(to) = (int64_t)(message_fixture_next(seed) * message_fixture_next(seed));
#define FIXTURE_text(to) message_fixture_text(seed, to);
#define PIL_FIELD(type, name) FIXTURE_##type(&payload->name)
#define PIL_NO_FIELD (void)seed, (void)payload;
#define PIL_MESSAGE(KIND, name, routes, has_fd, fields) \
    static inline void message_fixture_fill_##name(uint64_t *seed, struct pil_message_##name *payload) { \
        fields \
    }
#include "supervise/messages.def"
#undef PIL_MESSAGE
#undef PIL_FIELD
#undef PIL_NO_FIELD

#define TO_SERVER PIL_ROUTE_TO_SERVER
#define TO_FETCHER PIL_ROUTE_TO_FETCHER
#define FROM_SERVER PIL_ROUTE_FROM_SERVER
#define FROM_FETCHER PIL_ROUTE_FROM_FETCHER
static const uint32_t message_fixture_routes[PIL_MESSAGE_KIND_COUNT] = {
#define PIL_MESSAGE(KIND, name, routes, has_fd, fields) [PIL_MESSAGE_##KIND] = routes,
#include "supervise/messages.def"
#undef PIL_MESSAGE
};

/* A message of this kind with random fields, the rest zero, and no descriptor. */
static inline struct pil_message message_fixture_make(pil_message_kind kind, uint64_t *seed) {
    struct pil_message message;
    memset(&message, 0, sizeof message);
    message.kind = kind;
    message.fd = -1;
    switch (kind) {
#define PIL_MESSAGE(KIND, name, routes, has_fd, fields) \
    case PIL_MESSAGE_##KIND: \
        message_fixture_fill_##name(seed, &message.name); \
        break;
#include "supervise/messages.def"
#undef PIL_MESSAGE
    case PIL_MESSAGE_NONE:
    case PIL_MESSAGE_KIND_COUNT: break;
    }
    return message;
}

/* One of the ways that it may go. */
static inline pil_message_route message_fixture_route(pil_message_kind kind) {
    return (pil_message_route)(message_fixture_routes[kind] & -message_fixture_routes[kind]);
}
