/* SPDX-License-Identifier: Apache-2.0 */
#include "server/account.h"

#include "base/hash.h"
#include "base/panic.h"

#include <string.h>

enum {
    KEPT_PART = 8,           /* one part in eight is kept for those who hold little: */
    USERS_PART = 16,         /* for peers, and of it one in sixteen for users */
    PEER_LITTLE = 256 << 10, /* what counts as little */
    USER_LITTLE = 1 << 20,   /* all peers of a user together */
    USER_SHARE = 2,          /* a user's share is twice a peer's */
    PLACES_OF = 9,
    PLACES_IN = 10, /* the share of the places that one process may take */
};

void pil_accounts_init(struct pil_accounts *accounts, uint64_t bytes_max, uint32_t places_max, uint64_t seed) {
    memset(accounts, 0, sizeof *accounts);
    accounts->bytes_max = bytes_max;
    accounts->places_max = places_max;
    accounts->seed = seed;
}

static uint64_t load(const _Atomic uint64_t *value) {
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* ---- Places. */

/* "127.0.0.1" of "127.0.0.1:4711". */
static struct pil_bytes host_of(const char *address) {
    const char *colon = strrchr(address, ':');
    return pil_bytes_from(address, colon != NULL ? (size_t)(colon - address) : strlen(address));
}

static void find(struct pil_accounts *accounts, const struct pil_peer_identity *identity,
                 struct pil_account_use *ret_use) {
    bool knows_process = (identity->known & PIL_PEER_PID) != 0;
    struct pil_bytes user = (identity->known & PIL_PEER_UID) != 0 ? pil_bytes_from(&identity->uid, sizeof identity->uid)
                                                                  : host_of(identity->address);
    struct pil_bytes peer =
        knows_process ? pil_bytes_from(&identity->pid, sizeof identity->pid) : pil_bytes_from_text(identity->address);
    uint64_t user_hash = pil_hash_index(user, accounts->seed), peer_hash = pil_hash_index(peer, user_hash);
    *ret_use = (struct pil_account_use){.peer = &accounts->peers[peer_hash % PIL_ACCOUNT_PEERS],
                                        .user = &accounts->users[user_hash % PIL_ACCOUNT_USERS]};
    ret_use->places = knows_process ? ret_use->peer : ret_use->user;
}

/* Takes a place if fewer than `max` are taken. */
static bool take_place(_Atomic uint32_t *places, uint32_t max) {
    if (atomic_fetch_add_explicit(places, 1, memory_order_relaxed) < max) {
        return true;
    }
    atomic_fetch_sub_explicit(places, 1, memory_order_relaxed);
    return false;
}

static void give_place(_Atomic uint32_t *places) {
    uint32_t before = atomic_fetch_sub_explicit(places, 1, memory_order_relaxed);
    PIL_ASSERT(before > 0);
}

pil_place pil_accounts_enter(struct pil_accounts *accounts, const struct pil_peer_identity *identity,
                             struct pil_account_use *ret_use) {
    struct pil_account_use use;
    find(accounts, identity, &use);
    uint32_t max = accounts->places_max, share = (uint32_t)((uint64_t)max * PLACES_OF / PLACES_IN);
    bool has_own = take_place(&use.places->places, max >= PLACES_IN ? share : max);
    if (has_own && take_place(&accounts->places, max)) {
        *ret_use = use;
        return PIL_PLACE_FULL;
    }
    if (has_own) {
        give_place(&use.places->places);
    }
    use.is_spare = take_place(&accounts->spare_places, PIL_PLACES_SPARE);
    *ret_use = use;
    return use.is_spare ? PIL_PLACE_SPARE : PIL_PLACE_NONE;
}

void pil_accounts_leave(struct pil_accounts *accounts, struct pil_account_use *use) {
    pil_account_remove(use, use->bytes);
    if (use->is_spare) {
        give_place(&accounts->spare_places);
    } else {
        give_place(&accounts->places);
        give_place(&use->places->places);
    }
}

/* ---- Memory. */

bool pil_accounts_allocate(struct pil_accounts *accounts, uint64_t bytes) {
    uint64_t before = atomic_fetch_add_explicit(&accounts->allocated, bytes, memory_order_relaxed);
    if (before + bytes > accounts->bytes_max) {
        pil_accounts_free(accounts, bytes);
        return false;
    }
    return true;
}

void pil_accounts_free(struct pil_accounts *accounts, uint64_t bytes) {
    uint64_t before = atomic_fetch_sub_explicit(&accounts->allocated, bytes, memory_order_relaxed);
    PIL_ASSERT(before >= bytes);
}

/* Memory in use up to which anybody may go on, and up to which peers that hold little may. */
static uint64_t common_max(const struct pil_accounts *accounts) {
    return accounts->bytes_max - accounts->bytes_max / KEPT_PART;
}
static uint64_t peers_max(const struct pil_accounts *accounts) {
    return accounts->bytes_max - accounts->bytes_max / USERS_PART;
}

bool pil_accounts_is_scarce(const struct pil_accounts *accounts) {
    return load(&accounts->allocated) > common_max(accounts);
}

static uint64_t at_least(uint64_t share, uint64_t little) {
    return share > little ? share : little;
}

bool pil_accounts_may_hold(const struct pil_accounts *accounts, const struct pil_account_use *use, uint64_t bytes) {
    uint64_t used = load(&accounts->allocated), common = common_max(accounts);
    uint64_t share = used < common ? common - used : 0;
    uint64_t peer = load(&use->peer->bytes) + bytes, user = load(&use->user->bytes) + bytes;
    if (peer > at_least(share, PEER_LITTLE)) {
        return false;
    }
    return user <= at_least(USER_SHARE * share, USER_LITTLE) || (peer <= PEER_LITTLE && used <= peers_max(accounts));
}

bool pil_accounts_charge(const struct pil_accounts *accounts, struct pil_account_use *use, uint64_t bytes) {
    if (!pil_accounts_may_hold(accounts, use, bytes)) {
        return false;
    }
    pil_account_add(use, bytes);
    return true;
}

void pil_account_add(struct pil_account_use *use, uint64_t bytes) {
    PIL_ASSERT(use->peer != NULL && use->user != NULL); /* pil_accounts_enter */
    use->bytes += bytes;
    atomic_fetch_add_explicit(&use->peer->bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&use->user->bytes, bytes, memory_order_relaxed);
}

void pil_account_remove(struct pil_account_use *use, uint64_t bytes) {
    PIL_ASSERT(use->bytes >= bytes);
    use->bytes -= bytes;
    atomic_fetch_sub_explicit(&use->peer->bytes, bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&use->user->bytes, bytes, memory_order_relaxed);
}

bool pil_accounts_owes(const struct pil_accounts *accounts, const struct pil_account_use *use) {
    return pil_accounts_is_scarce(accounts) && !pil_accounts_may_hold(accounts, use, 0);
}
