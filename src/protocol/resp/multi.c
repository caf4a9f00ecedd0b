/* SPDX-License-Identifier: Apache-2.0
 * MULTI, EXEC, DISCARD, WATCH. Queued requests are kept as bytes and replayed at EXEC, from one moment: EXEC writes
 * the header of its array, and the replies to the replayed requests follow in order as the array's elements. */
#include "protocol/resp/handlers.h"

#include <stdlib.h>

void pil_redis_see(struct pil_redis_seen *seen, uint32_t view_index, uint64_t generation) {
    seen->views |= UINT64_C(1) << view_index;
    seen->generations[view_index] = generation;
}

uint64_t pil_redis_generation(struct pil_turn *turn, uint32_t view_index) {
    const struct pil_release *release = pil_scope_live(&turn->scope, pil_cache_view_at(turn->scope.cache, view_index));
    return release != NULL ? release->generation : 0;
}

void pil_redis_close_transaction(struct pil_redis_transaction *transaction) {
    transaction->len = 0;
    transaction->count = 0;
    transaction->is_open = transaction->is_aborted = false;
}

/* Makes room for `bytes` in all. Returns false when memory is short, or the client holds its share of it. */
static bool reserve(struct pil_turn *turn, struct pil_redis_connection *connection, size_t bytes) {
    struct pil_redis_transaction *transaction = &connection->transaction;
    size_t capacity = transaction->capacity < PIL_INPUT_BYTES_MIN ? PIL_INPUT_BYTES_MIN : transaction->capacity;
    if (bytes <= transaction->capacity) {
        return true;
    }
    while (capacity < bytes) {
        capacity *= 2;
    }
    if (!pil_connection_keep(turn, connection->base, capacity - transaction->capacity)) {
        return false;
    }
    uint8_t *grown = realloc(transaction->bytes, capacity);
    if (grown == NULL) {
        pil_connection_unkeep(turn, connection->base, capacity - transaction->capacity);
        return false;
    }
    transaction->bytes = grown;
    transaction->capacity = capacity;
    return true;
}

void pil_redis_trim_transaction(struct pil_turn *turn, struct pil_redis_connection *connection) {
    struct pil_redis_transaction *transaction = &connection->transaction;
    if (transaction->capacity > PIL_INPUT_BYTES_MIN && !transaction->is_open &&
        !pil_connection_is_replayed(turn, connection->base)) {
        pil_connection_unkeep(turn, connection->base, transaction->capacity);
        free(transaction->bytes);
        transaction->bytes = NULL;
        transaction->capacity = 0;
    }
}

void pil_redis_queue(struct pil_turn *turn, struct pil_redis_call *call, struct pil_bytes bytes) {
    struct pil_redis_transaction *transaction = &call->connection->transaction;
    size_t wanted = transaction->len + bytes.len;
    if (call->error == NULL && wanted > turn->settings->limits.request_bytes_max) {
        call->error = pil_batch_text(turn->batch, "ERR a transaction has at most %u bytes (limits.request_bytes)",
                                     turn->settings->limits.request_bytes_max);
    }
    if (call->error == NULL && !reserve(turn, call->connection, wanted)) {
        call->error = pil_batch_text(turn->batch,
                                     "OOM no memory for the transaction: this client holds its share of "
                                     "limits.client_memory (%llu)",
                                     (unsigned long long)turn->settings->limits.client_memory_max);
    }
    if (call->error != NULL) {
        transaction->is_aborted = true;
        return;
    }
    memcpy(transaction->bytes + transaction->len, bytes.data, bytes.len);
    transaction->len = wanted;
    transaction->count++;
    call->is_queued = true;
}

void pil_redis_forget_watched(struct pil_redis_connection *connection) {
    if (connection->watched != NULL) {
        connection->watched->views = 0;
    }
}

/* WATCH is about views: the generation of each key's view, 0 where it has no release. */
PIL_PREPARE(pil_redis_prepare_watch) {
    struct pil_redis_connection *connection = call->connection;
    if (connection->transaction.is_open) {
        call->error = "ERR WATCH inside MULTI is not allowed";
        return;
    }
    if (connection->watched == NULL && (connection->watched = calloc(1, sizeof *connection->watched)) == NULL) {
        call->error = "OOM no memory to watch keys";
        return;
    }
    for (uint32_t i = 1; i < call->arg_count && call->error == NULL; i++) {
        struct pil_bytes rest;
        const struct pil_cache_view *view = pil_redis_find_view(turn, call, call->args[i], &rest);
        if (view != NULL && (connection->watched->views >> view->index & 1) == 0) {
            pil_redis_see(connection->watched, view->index, pil_redis_generation(turn, view->index));
        }
    }
}

PIL_PREPARE(pil_redis_prepare_unwatch) {
    (void)turn;
    pil_redis_forget_watched(call->connection);
}

/* Whether the transaction, whose moment is pinned, reads another release of a watched view than WATCH saw. */
static bool has_watched_swap(struct pil_turn *turn, const struct pil_redis_seen *watched) {
    for (uint64_t views = watched != NULL ? watched->views : 0; views != 0; views &= views - 1) {
        uint32_t index = (uint32_t)__builtin_ctzll(views);
        if (watched->generations[index] != pil_redis_generation(turn, index)) {
            return true;
        }
    }
    return false;
}

/* The new transaction overwrites the bytes of the one before: it must wait for a batch whose requests do not point into
 * them. */
bool pil_redis_multi_fits(struct pil_turn *turn, struct pil_connection *connection) {
    return !pil_connection_is_replayed(turn, connection);
}

PIL_PREPARE(pil_redis_prepare_multi) {
    (void)turn;
    struct pil_redis_transaction *transaction = &call->connection->transaction;
    if (transaction->is_open) {
        call->error = "ERR MULTI calls can not be nested";
    }
    transaction->is_open = true;
}

PIL_REPLY(pil_redis_reply_multi) {
    (void)turn, (void)call;
    pil_resp_put_simple(sink, "OK");
}

PIL_PREPARE(pil_redis_prepare_discard) {
    (void)turn;
    struct pil_redis_transaction *transaction = &call->connection->transaction;
    if (!transaction->is_open) {
        call->error = "ERR DISCARD without MULTI";
    } else {
        pil_redis_forget_watched(call->connection);
    }
    pil_redis_close_transaction(transaction);
}

/* Fixes the releases of all views before the first request of the transaction, so that all its answers are from one
 * moment. */
bool pil_redis_exec_fits(struct pil_turn *turn, struct pil_connection *connection) {
    (void)connection;
    return pil_moment_pin(&turn->scope.moment, turn->scope.cache);
}

PIL_PREPARE(pil_redis_prepare_exec) {
    struct pil_redis_transaction *transaction = &call->connection->transaction;
    call->exec_count = transaction->count;
    if (!transaction->is_open) {
        call->error = "ERR EXEC without MULTI";
    } else if (transaction->is_aborted) {
        call->error = "EXECABORT Transaction discarded because of previous errors.";
    } else if (has_watched_swap(turn, call->connection->watched)) {
        call->is_void = true;
    } else {
        pil_connection_replay(turn, call->connection->base, pil_bytes_from(transaction->bytes, transaction->len));
    }
    if (transaction->is_open) {
        pil_redis_forget_watched(call->connection);
    }
    pil_redis_close_transaction(transaction);
}

PIL_REPLY(pil_redis_reply_exec) {
    (void)turn;
    if (call->is_void) {
        pil_resp_put_null_array(sink, call->connection->resp);
    } else {
        pil_resp_put_array(sink, call->exec_count);
    }
}
