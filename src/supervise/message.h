/* SPDX-License-Identifier: Apache-2.0
 * The messages between the three processes: the kinds of messages.def as typed structs, each in one datagram, over a
 * SOCK_SEQPACKET pair between the supervisor and each child. Both ends are the same binary, so there is no version to
 * agree on. The decoder trusts nobody: it checks every field, and accepts a kind only on the routes of the table. */
#pragma once

#include "base/bounds.h"
#include "base/bytes.h"
#include "base/status.h"
#include "supervise/holder.h"

enum { PIL_MESSAGE_TEXT_BYTES = 768, PIL_MESSAGE_BYTES_MAX = 1024 };

typedef enum pil_message_kind {
    PIL_MESSAGE_NONE, /* never sent */
#define PIL_MESSAGE(KIND, name, routes, has_fd, fields) PIL_MESSAGE_##KIND,
#include "supervise/messages.def"
#undef PIL_MESSAGE
    PIL_MESSAGE_KIND_COUNT
} pil_message_kind;

/* Bits of a set: the routes that a kind may take. */
typedef enum pil_message_route {
    PIL_ROUTE_TO_SERVER = 1,
    PIL_ROUTE_TO_FETCHER = 2,
    PIL_ROUTE_FROM_SERVER = 4,
    PIL_ROUTE_FROM_FETCHER = 8,
} pil_message_route;

/* The result of following a channel. */
typedef enum pil_fetch_outcome {
    PIL_OUTCOME_OK,
    PIL_OUTCOME_CORRUPT,
    PIL_OUTCOME_WILL_NOT_FIT, /* into the memory budget */
    PIL_OUTCOME_NOT_FOUND,    /* no such channel, or it points to a release that is not there */
    PIL_OUTCOME_SHORTAGE,     /* of memory or descriptors at that moment, which says nothing about the release */
    PIL_OUTCOME_ERROR,        /* of the store or the machine */
    PIL_OUTCOME_COUNT
} pil_fetch_outcome;
const char *pil_fetch_outcome_text(pil_fetch_outcome outcome);

/* struct pil_message_shard and so on. */
#define PIL_DECLARE_view(name) uint32_t name;
#define PIL_DECLARE_release(name) char name[PIL_RELEASE_ID_CHARS + 1];
#define PIL_DECLARE_any_release(name) char name[PIL_RELEASE_ID_CHARS + 1];
#define PIL_DECLARE_place(name) struct pil_shard_place name;
#define PIL_DECLARE_outcome(name) pil_fetch_outcome name;
#define PIL_DECLARE_flag(name) bool name;
#define PIL_DECLARE_u32(name) uint32_t name;
#define PIL_DECLARE_u64(name) uint64_t name;
#define PIL_DECLARE_i64(name) int64_t name;
#define PIL_DECLARE_text(name) char name[PIL_MESSAGE_TEXT_BYTES];
#define PIL_FIELD(type, name) PIL_DECLARE_##type(name)
#define PIL_NO_FIELD uint8_t unused;
#define PIL_MESSAGE(KIND, name, routes, has_fd, fields) \
    struct pil_message_##name { \
        fields \
    };
#include "supervise/messages.def"
#undef PIL_MESSAGE
#undef PIL_FIELD
#undef PIL_NO_FIELD

struct pil_message {
    pil_message_kind kind;
    int fd; /* for the kinds that have one */
    union {
#define PIL_MESSAGE(KIND, name, routes, has_fd, fields) struct pil_message_##name name;
#include "supervise/messages.def"
#undef PIL_MESSAGE
    };
};

const char *pil_message_kind_text(pil_message_kind kind);
bool pil_message_has_fd(pil_message_kind kind);
/* Closes the message's descriptor if the kind has one and `fd` was not set to -1. */
void pil_message_close(struct pil_message *message);

/* Returns the number of bytes written. */
size_t pil_message_encode(const struct pil_message *message, uint8_t ret_bytes[PIL_MESSAGE_BYTES_MAX]);
/* CORRUPT: not a message, a kind that may not take this route, an invalid field, or another number of descriptors than
 * the kind has. ret_message->fd is -1. */
pil_status pil_message_decode(struct pil_bytes bytes, uint32_t fd_count, pil_message_route route,
                              struct pil_message *ret_message) PIL_CHECKED;

/* Creates a connected pair; both ends are close-on-exec and blocking. A blocking send gives up after ten seconds. */
pil_status pil_message_pair(int ret_fds[2], struct pil_error *ret_error) PIL_CHECKED;
/* Waits until there is room; the caller keeps the descriptor. TIMEOUT: the other side does not read. CLOSED: the other
 * side is gone. A caller that must not wait sends through an outbox (outbox.h). */
pil_status pil_message_send(int socket, const struct pil_message *message) PIL_CHECKED;
/* Receives one message. The caller owns ret_message->fd; -1: the kind has none, or this process had no descriptor left
 * for it. AGAIN: no message has arrived (`block` false). CLOSED: the other side is gone. CORRUPT: the datagram was not
 * a valid message; the next one may be. */
pil_status pil_message_receive(int socket, pil_message_route route, bool block,
                               struct pil_message *ret_message) PIL_CHECKED;

/* Creates a sealed memfd that holds these bytes; the caller owns it. */
pil_status pil_message_blob(const void *data, size_t bytes, int *ret_fd, struct pil_error *ret_error) PIL_CHECKED;
