/* SPDX-License-Identifier: Apache-2.0 */
#include "server/output.h"
#include "base/panic.h"

/* Appends a chunk. The first one of an output is not charged; use == NULL: nor is this one. */
static bool add_chunk(struct pil_output *output, struct pil_chunk_pool *pool, struct pil_account_use *use) {
    bool is_first = output->chunk_count == 0, is_charged = use != NULL && !is_first;
    if (use != NULL && is_first && pil_accounts_is_scarce(pool->accounts) &&
        !pil_accounts_may_hold(pool->accounts, use, PIL_CHUNK_BYTES)) {
        return false;
    }
    if (is_charged && !pil_accounts_charge(pool->accounts, use, PIL_CHUNK_BYTES)) {
        return false;
    }
    struct pil_chunk *chunk = pil_chunk_take(pool);
    if (chunk == NULL) {
        if (is_charged) {
            pil_account_remove(use, PIL_CHUNK_BYTES);
        }
        return false;
    }
    if (output->last != NULL) {
        output->last->next = chunk;
    } else {
        output->first = chunk;
    }
    output->last = chunk;
    output->chunk_count++;
    output->charged_count += is_charged;
    return true;
}

/* Takes back a chunk that was unlinked from the output. */
static void put_chunk(struct pil_output *output, struct pil_chunk_pool *pool, struct pil_account_use *use,
                      struct pil_chunk *chunk) {
    PIL_ASSERT(output->chunk_count > 0);
    pil_chunk_put(pool, chunk);
    output->chunk_count--;
    if (output->charged_count > output->chunk_count) {
        output->charged_count--;
        pil_account_remove(use, PIL_CHUNK_BYTES);
    }
}

/* Unlinks the first chunk and takes it back. */
static void drop_first(struct pil_output *output, struct pil_chunk_pool *pool, struct pil_account_use *use) {
    struct pil_chunk *chunk = output->first;
    output->first = chunk->next;
    put_chunk(output, pool, use, chunk);
}

void pil_output_charge(struct pil_output *output, struct pil_account_use *use) {
    PIL_ASSERT(output->charged_count <= output->chunk_count);
    pil_account_add(use, (uint64_t)(output->chunk_count - output->charged_count) * PIL_CHUNK_BYTES);
    output->charged_count = output->chunk_count;
}

/* Adds the bytes before `at` to the last chunk. */
static void commit(struct pil_output_sink *sink) {
    struct pil_chunk *last = sink->output->last;
    if (last != NULL && !sink->sink.failed) {
        uint32_t len = (uint32_t)(sink->sink.at - last->data);
        PIL_ASSERT(len >= last->len && len <= sizeof last->data);
        sink->output->bytes += len - last->len;
        sink->output->open_bytes += len - last->len;
        last->len = len;
    }
}

static bool grow(struct pil_sink *base) {
    struct pil_output_sink *sink = (struct pil_output_sink *)(void *)base;
    struct pil_output *output = sink->output;
    commit(sink);
    if (output->open_bytes >= sink->bytes_max) {
        sink->failure = PIL_OUTPUT_TOO_LARGE;
    } else if (sink->pause != NULL && !sink->pause(sink->context)) {
        sink->failure = PIL_OUTPUT_UNWANTED;
    } else if (!add_chunk(output, sink->pool, sink->use)) {
        sink->failure = PIL_OUTPUT_NO_MEMORY;
    }
    if (sink->failure != PIL_OUTPUT_OK) {
        return false;
    }
    base->at = output->last->data;
    base->end = output->last->data + sizeof output->last->data;
    return true;
}

void pil_output_begin(struct pil_output_sink *sink, struct pil_output *output, struct pil_chunk_pool *pool,
                      struct pil_account_use *use, uint64_t bytes_max) {
    struct pil_chunk *last = output->last;
    PIL_ASSERT(!output->is_open);
    sink->sink.grow = grow;
    sink->sink.failed = false;
    sink->sink.at = last != NULL ? last->data + last->len : NULL;
    sink->sink.end = last != NULL ? last->data + sizeof last->data : NULL;
    sink->output = output;
    sink->pool = pool;
    sink->use = use;
    sink->bytes_max = bytes_max;
    sink->failure = PIL_OUTPUT_OK;
    sink->pause = NULL;
    output->is_open = true;
    output->mark = last;
    output->mark_len = last != NULL ? last->len : 0;
    output->open_bytes = 0;
}

uint64_t pil_output_position(const struct pil_output_sink *sink) {
    const struct pil_output *output = sink->output;
    return output->last == NULL || sink->sink.failed
               ? output->open_bytes
               : output->open_bytes + (uint64_t)(sink->sink.at - output->last->data) - output->last->len;
}

static void close_answer(struct pil_output *output) {
    output->is_open = false;
    output->mark = NULL;
    output->open_bytes = 0;
}

pil_output_failure pil_output_finish(struct pil_output_sink *sink) {
    commit(sink);
    if (sink->failure == PIL_OUTPUT_OK && sink->output->open_bytes > sink->bytes_max) {
        sink->failure = PIL_OUTPUT_TOO_LARGE; /* the limit lies in the last chunk */
    }
    if (sink->failure == PIL_OUTPUT_OK) {
        close_answer(sink->output);
    }
    return sink->failure;
}

void pil_output_undo(struct pil_output_sink *sink) {
    struct pil_output *output = sink->output;
    struct pil_chunk *mark = output->mark, *chunk = mark != NULL ? mark->next : output->first;
    PIL_ASSERT(output->is_open && output->bytes >= output->open_bytes);
    while (chunk != NULL) {
        struct pil_chunk *next = chunk->next;
        put_chunk(output, sink->pool, sink->use, chunk);
        chunk = next;
    }
    output->last = mark;
    output->bytes -= output->open_bytes;
    if (mark != NULL) {
        PIL_ASSERT(mark->sent <= output->mark_len);
        mark->len = output->mark_len;
        mark->next = NULL;
    } else {
        output->first = NULL;
    }
    close_answer(output);
    if (output->bytes == 0 && mark != NULL) { /* it was sent meanwhile */
        drop_first(output, sink->pool, sink->use);
        output->last = NULL;
    }
}

/* ---- Sending. */

uint32_t pil_output_take(struct pil_output *output, struct iovec *parts, uint32_t part_capacity) {
    PIL_ASSERT(output->bytes_in_flight == 0);
    uint32_t count = 0;
    struct pil_chunk *chunk = output->is_open && output->mark == NULL ? NULL : output->first;
    while (chunk != NULL && count < part_capacity) {
        bool is_mark = output->is_open && chunk == output->mark;
        uint32_t len = is_mark ? output->mark_len : chunk->len;
        if (len > chunk->sent) {
            parts[count++] = (struct iovec){.iov_base = chunk->data + chunk->sent, .iov_len = len - chunk->sent};
            output->bytes_in_flight += len - chunk->sent;
            chunk->sent = len;
        }
        chunk = is_mark ? NULL : chunk->next;
    }
    return count;
}

void pil_output_sent(struct pil_output *output, struct pil_chunk_pool *pool, struct pil_account_use *use) {
    PIL_ASSERT(output->bytes_in_flight <= output->bytes);
    output->bytes -= output->bytes_in_flight;
    output->bytes_in_flight = 0;
    while (output->first != NULL && output->first->sent == output->first->len &&
           !(output->is_open && output->first == output->mark)) {
        drop_first(output, pool, use);
    }
    if (output->first == NULL) {
        output->last = NULL;
    }
}

void pil_output_clear(struct pil_output *output, struct pil_chunk_pool *pool, struct pil_account_use *use) {
    while (output->first != NULL) {
        drop_first(output, pool, use);
    }
    *output = (struct pil_output){0};
}

bool pil_output_validate(const struct pil_output *output) {
    uint64_t unsent = output->bytes_in_flight;
    const struct pil_chunk *last = NULL;
    uint32_t count = 0;
    for (const struct pil_chunk *chunk = output->first; chunk != NULL; chunk = chunk->next) {
        if (chunk->sent > chunk->len || chunk->len > sizeof chunk->data) {
            return false;
        }
        unsent += chunk->len - chunk->sent;
        last = chunk;
        count++;
    }
    return last == output->last && unsent == output->bytes && count == output->chunk_count &&
           output->charged_count <= count;
}
