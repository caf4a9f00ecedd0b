/* SPDX-License-Identifier: Apache-2.0
 * The memory of all connections: requests that are not decoded yet, answers that are not sent yet, and what protocols
 * keep for a connection. It is one budget (limits.client_memory) that all peers share.
 *
 * The rule is that of dynamic thresholds (Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory
 * Packet Switches", IEEE/ACM Transactions on Networking 6(2), 1998): a peer may hold as much as is still free. One
 * greedy peer gets half of the budget, two get a third each, and there is always room for the next one. All peers of a
 * user together may hold twice as much. Greedy peers stop at seven eighths of the budget; peers that hold little (256
 * KiB) may go on until fifteen sixteenths are in use, whatever others of their user hold; the last sixteenth is for
 * users that hold little (1 MiB).
 *
 * A peer is a process, where the kernel names it (Unix sockets); else a connection. A user is a uid, else a host.
 *
 * Two counts, because workers keep free chunks of output for the next answer: `allocated` is what the process has
 * allocated; the account of a peer is what its connections hold. The first chunk of a connection's output is charged to
 * the peer only when it has waited for a while, so that a client which takes its answers costs no atomic operation.
 *
 * Accounts are the buckets of a hash table with a random seed; peers that meet in one bucket share an account. They are
 * never created or removed, so nothing is locked.
 *
 * Thread: any worker. */
#pragma once

#include "peer/identity.h"
#include "server/settings.h"

#include <stdatomic.h>

enum { PIL_ACCOUNT_PEERS = 4096, PIL_ACCOUNT_USERS = 512 };

struct pil_account {
    _Atomic uint64_t bytes;
    _Atomic uint32_t places; /* connections */
};

struct pil_accounts {
    uint64_t bytes_max;  /* limits.client_memory */
    uint32_t places_max; /* limits.connections */
    uint64_t seed;
    _Atomic uint64_t allocated;
    _Atomic uint32_t places, spare_places;
    struct pil_account peers[PIL_ACCOUNT_PEERS], users[PIL_ACCOUNT_USERS];
};

/* The accounts of one connection. */
struct pil_account_use {
    struct pil_account *peer, *user;
    struct pil_account *places; /* the process, or all connections of a user whose process is unknown */
    uint64_t bytes;             /* charged to peer and user */
    bool is_spare;              /* counted in the spare places */
};

void pil_accounts_init(struct pil_accounts *accounts, uint64_t bytes_max, uint32_t places_max, uint64_t seed);

typedef enum pil_place {
    PIL_PLACE_NONE,  /* nothing was counted */
    PIL_PLACE_SPARE, /* for a health probe, or to say why there is no place */
    PIL_PLACE_FULL,
} pil_place;

/* Counts a connection of this peer in. There is no place but a spare one when all are taken or when the peer's process
 * (the user, where the process is unknown) has nine tenths of them. */
pil_place pil_accounts_enter(struct pil_accounts *accounts, const struct pil_peer_identity *identity,
                             struct pil_account_use *ret_use);
/* Counts it out, with what it still holds. */
void pil_accounts_leave(struct pil_accounts *accounts, struct pil_account_use *use);

/* Counts memory that the process is about to allocate. Returns false when it would exceed the budget. */
bool pil_accounts_allocate(struct pil_accounts *accounts, uint64_t bytes);
void pil_accounts_free(struct pil_accounts *accounts, uint64_t bytes);

/* Whether the peer of a connection may hold `bytes` more without holding more than its share, nor its user. Other
 * threads change the counts meanwhile: all together may exceed their shares by what they charge in that moment. */
bool pil_accounts_may_hold(const struct pil_accounts *accounts, const struct pil_account_use *use, uint64_t bytes);
/* Charges memory to the peer of a connection. Returns false, and charges nothing, when the peer or its user would hold
 * more than its share. */
bool pil_accounts_charge(const struct pil_accounts *accounts, struct pil_account_use *use, uint64_t bytes);
/* Charges memory that the connection holds already, whatever its share is. */
void pil_account_add(struct pil_account_use *use, uint64_t bytes);
void pil_account_remove(struct pil_account_use *use, uint64_t bytes);

/* Whether only those who hold little may have more. */
bool pil_accounts_is_scarce(const struct pil_accounts *accounts);
/* Whether memory is scarce and the peer of this connection holds more than its share: it pays first. */
bool pil_accounts_owes(const struct pil_accounts *accounts, const struct pil_account_use *use);
