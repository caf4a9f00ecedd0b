/* SPDX-License-Identifier: Apache-2.0
 * MULTI, EXEC, DISCARD. Queued requests are kept as they came and decoded again at EXEC, in one turn: the array header
 * of EXEC goes out first and their replies follow in order, which is just what the reply of EXEC is. */
#include "server/redis.h"

#include <stdlib.h>

static bool is_control(struct pil_bytes name) {
    static const char *const names[] = {"exec", "discard", "multi", "quit", "reset"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (pil_bytes_equal_nocase(name, names[i])) {
            return true;
        }
    }
    return false;
}

bool pil_redis_is_queued(const struct pil_request *request) {
    return request->connection->transaction.is_open && !is_control(request->args[0]);
}

void pil_redis_close_transaction(struct pil_transaction *transaction) {
    transaction->len = 0;
    transaction->count = 0;
    transaction->is_open = transaction->is_aborted = false;
}

void pil_redis_queue(struct pil_worker *worker, struct pil_request *request, struct pil_bytes bytes) {
    struct pil_transaction *transaction = &request->connection->transaction;
    size_t wanted = transaction->len + bytes.len;
    if (request->error == NULL && wanted > worker->server->settings->limits.request_bytes_max) {
        request->error = "ERR the transaction is over limits.request_bytes";
    }
    if (request->error != NULL) {
        transaction->is_aborted = true;
        return;
    }
    if (wanted > transaction->capacity) {
        size_t capacity = transaction->capacity < PIL_INPUT_BYTES_MIN ? PIL_INPUT_BYTES_MIN : transaction->capacity;
        while (capacity < wanted) {
            capacity *= 2;
        }
        uint8_t *grown = realloc(transaction->bytes, capacity);
        PIL_ASSERT(grown != NULL);
        transaction->bytes = grown;
        transaction->capacity = capacity;
    }
    memcpy(transaction->bytes + transaction->len, bytes.data, bytes.len);
    transaction->len = wanted;
    transaction->count++;
    request->is_queued = true;
}

PIL_PREPARE(pil_redis_prepare_multi) {
    struct pil_connection *connection = request->connection;
    if (connection->transaction.is_open) {
        request->error = "ERR MULTI calls can not be nested";
        return;
    }
    connection->transaction.is_open = true;
    if (connection->transaction.capacity > 0) {
        pil_batch_run(worker); /* requests of a transaction before may still point into its bytes */
    }
}

PIL_REPLY(pil_redis_reply_multi) {
    (void)worker, (void)request;
    pil_resp_put_simple(sink, "OK");
}

PIL_PREPARE(pil_redis_prepare_discard) {
    (void)worker;
    struct pil_transaction *transaction = &request->connection->transaction;
    if (!transaction->is_open) {
        request->error = "ERR DISCARD without MULTI";
    }
    pil_redis_close_transaction(transaction);
}

PIL_PREPARE(pil_redis_prepare_exec) {
    struct pil_connection *connection = request->connection;
    struct pil_transaction *transaction = &connection->transaction;
    struct pil_bytes rest = pil_bytes_from(transaction->bytes, transaction->len);
    request->exec_count = transaction->count;
    if (!transaction->is_open) {
        request->error = "ERR EXEC without MULTI";
    } else if (transaction->is_aborted) {
        request->error = "EXECABORT Transaction discarded because of previous errors.";
    }
    bool runs = request->error == NULL;
    pil_redis_close_transaction(transaction);
    /* From here on `request` may be gone: a full batch is run in between. */
    while (runs && rest.len > 0) {
        size_t consumed = 0;
        pil_status status = pil_redis_decode(worker, connection, rest, &consumed);
        PIL_ASSERT(status == PIL_STATUS_OK && consumed > 0); /* it was decoded before, with no wider limits */
        rest = pil_bytes_from(rest.data + consumed, rest.len - consumed);
    }
}

PIL_REPLY(pil_redis_reply_exec) {
    (void)worker;
    pil_resp_put_array(sink, request->exec_count);
}
