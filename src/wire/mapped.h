/* SPDX-License-Identifier: Apache-2.0
 * Mapped reads: the messages between a client that maps releases and the server, and the control page that both see.
 * One message = one packet of a SOCK_SEQPACKET Unix socket; descriptors travel beside it (SCM_RIGHTS). Specified for
 * other languages in schemas/mapped.md. Pure: no input or output. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"

#include <stdatomic.h>

enum {
    PIL_MAPPED_MAGIC = 0x4d4c4950, /* "PILM" */
    PIL_MAPPED_VERSION = 1,
    PIL_MAPPED_TEXT_BYTES_MAX = 960,
    PIL_MAPPED_HEAD_BYTES = 48,
    PIL_MAPPED_MESSAGE_BYTES_MAX = PIL_MAPPED_HEAD_BYTES + PIL_MAPPED_TEXT_BYTES_MAX,
    PIL_MAPPED_FDS_MAX = 64, /* per message; a release with more shards needs several messages */
};

typedef enum pil_mapped_type {
    PIL_MAPPED_HELLO = 1,   /* client: index..count = versions that it supports; text = its name, for operators */
    PIL_MAPPED_WELCOME = 2, /* server: index = version, count = views, number = daemon id; 1 fd: the control page */
    PIL_MAPPED_CATALOG = 3, /* client: request; server: generation; 1 fd: the JSON document */
    PIL_MAPPED_ACQUIRE = 4, /* client: view; the answer is GRANTs or one REFUSE */
    PIL_MAPPED_GRANT = 5,   /* server: view, generation, count = shards, index = first shard of this message, number =
                             * created_us of the release, text = release id; fds of these shards in order */
    PIL_MAPPED_REFUSE = 6,  /* server: view, code = pil_status, text = message; answers HELLO, ACQUIRE or LOCATE */
    PIL_MAPPED_DROP = 7,    /* client: view, generation that it has unmapped; no answer */
    PIL_MAPPED_LOCATE = 8,  /* client: view, text = release id; server: the same and number = created_us, or REFUSE */
} pil_mapped_type;

struct pil_mapped_message {
    pil_mapped_type type;
    uint32_t view, index, count, code;
    uint64_t generation, number;
    struct pil_bytes text; /* decoded: points into the packet */
};

/* Writes head and text; the text is cut at PIL_MAPPED_TEXT_BYTES_MAX. Returns the packet's length. */
size_t pil_mapped_encode(const struct pil_mapped_message *message, uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX]);
/* CORRUPT: not a message (magic, type, lengths), with an error message. The caller checks the values of the fields. */
pil_status pil_mapped_decode(struct pil_bytes packet, struct pil_mapped_message *ret_message,
                             struct pil_error *ret_error) PIL_CHECKED;

/* ---- The control page: a memfd that only the server writes (F_SEAL_FUTURE_WRITE and size seals). Each word is written
 * atomically; readers load with acquire order. Times are CLOCK_MONOTONIC nanoseconds of the node, except checked_us. */

enum { PIL_MAPPED_CONTROL_MAGIC = 0x434c4950 /* "PILC" */, PIL_MAPPED_VIEWS_MAX = 64 };

/* `generation` is 0 while there is no release, else that of the live release; each publish adds 1. */
struct pil_mapped_view_page {
    _Atomic uint64_t generation;
    _Atomic int64_t checked_us; /* wall clock: when the channel was last compared with the store; 0: never */
    uint8_t reserved[48];
};

typedef enum pil_mapped_state { PIL_MAPPED_SERVING = 1, PIL_MAPPED_CLOSING = 2 } pil_mapped_state;

struct pil_mapped_control {
    uint32_t magic, version;
    uint64_t daemon_id;            /* random; identifies this server process */
    _Atomic uint64_t heartbeat_ns; /* written at least every 500 ms; older than 2 s: the server is gone or stopped */
    _Atomic uint64_t state;        /* pil_mapped_state; CLOSING: reconnect */
    _Atomic uint64_t catalog_generation;
    uint32_t view_count;
    uint8_t reserved[20];
    struct pil_mapped_view_page views[PIL_MAPPED_VIEWS_MAX];
};
_Static_assert(sizeof(struct pil_mapped_control) == 64 + 64 * PIL_MAPPED_VIEWS_MAX, "as schemas/mapped.md has it");
