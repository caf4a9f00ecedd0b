/* SPDX-License-Identifier: Apache-2.0
 * A connection to the resp listener: one request, one reply, within a deadline. Links are kept for the next call; a
 * call has one for itself. For this module only. */
#pragma once

#include "base/status.h"
#include "client/buffer.h"

enum { PIL_LINK_PLANS = 64 }; /* of a connection: schemas/wire.md */

struct pil_link {
    int fd;
    uint64_t cookie;                /* of the socket */
    uint64_t plans[PIL_LINK_PLANS]; /* serial of the plan with number i + 1; 0: none */
    uint32_t forget_next;           /* the one that makes room when all are taken */
    struct pil_buffer out, in;
    struct pil_link *next; /* among the idle ones */
};

/* A number that no other socket of this machine has; 0: the descriptor is not a socket. */
uint64_t pil_link_cookie(int fd);

/* Connects to "unix:PATH" or "tcp:HOST:PORT". */
pil_status pil_link_open(const char *address, uint64_t until_ns, struct pil_link **ret_link,
                         struct pil_error *ret_error) PIL_CHECKED;
void pil_link_close(struct pil_link **link);
/* In a forked child: frees it, but closes its descriptor only when that still is the socket. */
void pil_link_forget(struct pil_link **link);

/* ---- The request: a count of arguments, then each. When there is no memory for it, pil_link_ask says so. */
void pil_link_begin(struct pil_link *link, size_t arg_count);
void pil_link_add(struct pil_link *link, struct pil_bytes arg);
void pil_link_add_number(struct pil_link *link, int64_t number);
/* An argument of `bytes` bytes for the caller to fill; NULL: no memory. */
uint8_t *pil_link_add_room(struct pil_link *link, size_t bytes);
/* Sends it and waits for the reply: the bytes of a bulk string or simple string, or the digits of an integer; borrowed
 * until the next begin. CLOSED, TIMEOUT, IO, NO_MEMORY: the link is of no more use. An error reply: the status that its
 * first word stands for, with the server's sentence. */
pil_status pil_link_ask(struct pil_link *link, uint64_t until_ns, struct pil_bytes *ret_reply,
                        struct pil_error *ret_error) PIL_CHECKED;
