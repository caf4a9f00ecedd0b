/* SPDX-License-Identifier: Apache-2.0
 * MULTI, EXEC, DISCARD. Queued requests are kept as they came and replayed at EXEC, in one turn: the array header of
 * EXEC goes out first and their replies follow in order, which is just what the reply of EXEC is. */
#include "protocol/resp/handlers.h"

#include <stdlib.h>

void pil_redis_close_transaction(struct pil_redis_transaction *transaction) {
    transaction->len = 0;
    transaction->count = 0;
    transaction->is_open = transaction->is_aborted = false;
}

static bool reserve(struct pil_redis_transaction *transaction, size_t bytes) {
    size_t capacity = transaction->capacity < PIL_INPUT_BYTES_MIN ? PIL_INPUT_BYTES_MIN : transaction->capacity;
    if (bytes <= transaction->capacity) {
        return true;
    }
    while (capacity < bytes) {
        capacity *= 2;
    }
    uint8_t *grown = realloc(transaction->bytes, capacity);
    if (grown == NULL) {
        return false;
    }
    transaction->bytes = grown;
    transaction->capacity = capacity;
    return true;
}

void pil_redis_queue(struct pil_turn *turn, struct pil_redis_call *call, struct pil_bytes bytes) {
    struct pil_redis_transaction *transaction = &call->connection->transaction;
    size_t wanted = transaction->len + bytes.len;
    if (call->error == NULL && wanted > turn->settings->limits.request_bytes_max) {
        call->error = "ERR the transaction is over limits.request_bytes";
    }
    if (call->error == NULL && !reserve(transaction, wanted)) {
        call->error = "OOM no memory for the transaction";
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

/* Requests of the transaction before may still point into the bytes that this one will write over. */
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
    }
    pil_redis_close_transaction(transaction);
}

/* All answers of a transaction are from one moment: the views are fixed before the first of its requests. */
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
    } else {
        pil_connection_replay(turn, call->connection->base, pil_bytes_from(transaction->bytes, transaction->len));
    }
    pil_redis_close_transaction(transaction);
}

PIL_REPLY(pil_redis_reply_exec) {
    (void)turn;
    pil_resp_put_array(sink, call->exec_count);
}
