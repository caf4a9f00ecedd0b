/* SPDX-License-Identifier: Apache-2.0
 * The documents of one project that the supervisor holds: the one that a server took last, and a newer one that no
 * server has answered for. A newer document on which servers crash is set aside: it is not sent to the next server,
 * while the one before stays in force. Without one before, a first end counts as a coincidence. Thread: one. */
#pragma once

#include "supervise/message.h"

struct pil_project_offer {
    int fd;             /* a server took it; -1: none */
    bool is_sent;       /* to the running server, which does not need it again */
    bool is_newer_sent; /* to the running server, which has not answered */
    int newer_fd;       /* -1: none */
    uint64_t hash, newer_hash;
    uint64_t sent;           /* when newer_fd was sent, by a counter of the caller: servers take documents in order */
    uint32_t server_ends;    /* while newer_fd was the first document without an answer */
    uint64_t set_aside_hash; /* 0: none */
    struct pil_message missing; /* the last NO_PROJECT; kind NONE: none since the last document */
};

void pil_project_offer_init(struct pil_project_offer *offer);
void pil_project_offer_deinit(struct pil_project_offer *offer);
/* Whether there is neither a document nor the news that there is none. */
bool pil_project_offer_is_empty(const struct pil_project_offer *offer);
/* Takes a newer document, and ownership of its descriptor. The document that a server took last may come again: each
 * new fetcher sends it. Returns false if it was set aside before: then `missing` says so. */
bool pil_project_offer_take(struct pil_project_offer *offer, int fd, uint64_t hash);
/* The server took a document, or found that it cannot be used. */
void pil_project_offer_answered(struct pil_project_offer *offer, uint64_t hash, bool is_taken);
/* The server was short of memory for a document: it is to be sent again. Returns false if it had none. */
bool pil_project_offer_waits(struct pil_project_offer *offer, uint64_t hash);
/* The server has crashed. is_first: newer_fd was the first document without an answer. Returns whether that sets the
 * document aside. */
bool pil_project_offer_server_ended(struct pil_project_offer *offer, bool is_first);
