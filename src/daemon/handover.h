/* SPDX-License-Identifier: Apache-2.0
 * What the three processes say to each other: one fixed struct and at most a few descriptors per datagram, over a
 * SOCK_SEQPACKET pair between the supervisor and each child. Same binary on both ends, so there is no version to agree
 * on. The supervisor trusts a child for nothing but its own work: indexes and names are checked, descriptors must be
 * sealed. */
#pragma once

#include "base/bounds.h"
#include "base/status.h"

#include <stdint.h>

typedef enum pil_message_kind {
    /* supervisor to both */
    PIL_MESSAGE_CONFIG = 1, /* fd: a memfd with struct pil_config; also later, after SIGHUP */
    /* supervisor to server */
    PIL_MESSAGE_LISTENER, /* index; fd */
    PIL_MESSAGE_SHARD,    /* view, release, index of count; fd. Also fetcher to supervisor */
    PIL_MESSAGE_PUBLISH,  /* view, release, time_us: when it was made (fetcher: 0, it was held already). Also fetcher to
                             supervisor */
    PIL_MESSAGE_START,    /* all listeners were sent; serve. number: restarts of the server so far */
    PIL_MESSAGE_DRAIN,    /* finish and exit */
    PIL_MESSAGE_CHECKED,  /* view, release (effective), time_us. Also fetcher to supervisor */
    PIL_MESSAGE_REPORT,  /* view, release, index = pil_fetch_result, numbers: copy ns, verify ns, bytes, collapse ns;
                            text. Also from fetcher */
    PIL_MESSAGE_PROJECT, /* fd: a memfd with the document. Also from fetcher */
    PIL_MESSAGE_HELD, /* view; number: bytes of all releases that are held; index: how many; number2: fetcher restarts
                       */
    /* supervisor to fetcher */
    PIL_MESSAGE_HOLDING,  /* view, release: is held whole; index 1: it is the live one */
    PIL_MESSAGE_DROPPED,  /* view, release: no longer held */
    PIL_MESSAGE_ADMITTED, /* answer to ADMIT: index 1 yes, 0 no with text */
    PIL_MESSAGE_BEGIN,    /* all HOLDING were sent */
    /* fetcher to supervisor */
    PIL_MESSAGE_ADMIT, /* view, release, number: bytes */
    /* server to supervisor */
    PIL_MESSAGE_RECLAIMED, /* view, release: no longer mapped */
    PIL_MESSAGE_READINESS, /* index 1 ready, 0 not */
} pil_message_kind;

enum { PIL_MESSAGE_MAGIC = 0x50494c4d, PIL_MESSAGE_TEXT_BYTES = 768, PIL_MESSAGE_NUMBERS = 4 };

struct pil_message {
    uint32_t magic;
    pil_message_kind kind;
    uint32_t view_index;
    uint32_t index;
    uint32_t count;
    uint32_t reserved;
    uint64_t numbers[PIL_MESSAGE_NUMBERS];
    int64_t time_us;
    char release[PIL_RELEASE_ID_CHARS + 8];
    char text[PIL_MESSAGE_TEXT_BYTES];
};

/* A message with its view and release set ("" and NULL alike for none). */
struct pil_message pil_message_make(pil_message_kind kind, uint32_t view_index, const char *release);

/* A connected pair; both ends close-on-exec, blocking, with a send timeout of one second. */
pil_status pil_message_pair(int ret_fds[2], struct pil_error *ret_error) PIL_CHECKED;
/* fd -1: none. The descriptor stays the caller's. TIMEOUT: the other side does not read. CLOSED: it is gone. */
pil_status pil_message_send(int socket, const struct pil_message *message, int fd) PIL_CHECKED;
/* Waits for one. *ret_fd is -1 or the caller's from here. CLOSED when the other side is gone; CORRUPT when it is not
 * one of ours. `block` false: AGAIN when none is there. */
pil_status pil_message_receive(int socket, bool block, struct pil_message *ret_message, int *ret_fd) PIL_CHECKED;

/* A sealed memfd that holds these bytes, and back. */
pil_status pil_message_blob(const void *data, size_t bytes, int *ret_fd, struct pil_error *ret_error) PIL_CHECKED;
