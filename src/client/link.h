/* SPDX-License-Identifier: Apache-2.0
 * A connection to the resp listener: one request, one reply, within a deadline. A call has a link to itself; links are
 * kept for later calls. For this module only. */
#pragma once

#include "base/status.h"
#include "client/buffer.h"

enum {
    PIL_LINK_PLANS = 64,         /* limit of a connection: schemas/wire.md */
    PIL_LINK_SHORT_BYTES = 4096, /* more than a number, a word or the sentence of an error has */
};

struct pil_link {
    int fd;
    uint64_t cookie;                /* of its socket */
    uint64_t plans[PIL_LINK_PLANS]; /* serial of the plan that has number i + 1; 0: none */
    uint32_t forget_next;           /* index of the plan that is forgotten next when all numbers are in use */
    struct pil_buffer out, in;
    struct pil_link *next; /* in the list of idle links */
};

/* A number that identifies the socket on this machine; 0: the descriptor is not a socket. */
uint64_t pil_link_cookie(int fd);

/* Connects to "unix:PATH" or "tcp:HOST:PORT". */
pil_status pil_link_open(const char *address, uint64_t until_ns, struct pil_link **ret_link,
                         struct pil_error *ret_error) PIL_CHECKED;
void pil_link_close(struct pil_link **link);
/* In a forked child: frees the link, but closes its descriptor only if it still is that socket. */
void pil_link_forget(struct pil_link **link);

/* ---- The request: a number of arguments, then each argument. When memory is short, pil_link_ask reports it. */
void pil_link_begin(struct pil_link *link, size_t arg_count);
void pil_link_add(struct pil_link *link, struct pil_bytes arg);
void pil_link_add_number(struct pil_link *link, int64_t number);
/* Room for an argument of `bytes` bytes, which the caller fills; NULL when memory is short. */
uint8_t *pil_link_add_room(struct pil_link *link, size_t bytes);
/* Sends the request and waits for the reply: the bytes of a bulk string or simple string, or the digits of an integer;
 * borrowed until the next pil_link_begin. `bytes_max` is the most that the reply may have as a bulk string; more is
 * neither received nor kept. CLOSED, TIMEOUT, CORRUPT, NO_MEMORY: the link cannot be used any more. For an error reply:
 * the status that its first word stands for, with the server's sentence. */
pil_status pil_link_ask(struct pil_link *link, size_t bytes_max, uint64_t until_ns, struct pil_bytes *ret_reply,
                        struct pil_error *ret_error) PIL_CHECKED;
