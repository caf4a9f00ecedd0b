/* SPDX-License-Identifier: Apache-2.0
 * The hot path: from keys to rows to the caller's memory, in blocks on the stack. No allocation, no system call, no
 * lock. */
#include "client/get.h"
#include "base/panic.h"
#include "client/keys.h"
#include "client/socket_get.h"
#include "client/upkeep.h"

#include <limits.h>
#include <time.h>

enum { BLOCKS = 4, KEY_ROOM_BYTES = 1024, LONG_KEY_ROOM_BYTES = PIL_KEY_BYTES_MAX };

/* A coarse clock, with ticks of some milliseconds, is precise enough for ages. */
static int64_t wall_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- One view of a call. */

struct view_sum {
    int64_t oldest_us; /* INT64_MAX: no row with an age was found */
    uint64_t not_found;
};

/* Blocks pass through three steps. While one block is copied, memory fetches the rows of the next one and the index
 * slots of the one after it. */
struct pipeline {
    struct pil_block blocks[BLOCKS];
    uint8_t key_bytes[BLOCKS][KEY_ROOM_BYTES];
    uint64_t hashed, fetched, ended; /* blocks */
};

static void hash_block(const struct pil_compiled *compiled, struct pil_block *block) {
    const struct pil_vector_view *view = &compiled->vector->views[block->slot];
    const struct pil_chain *chain = &compiled->views[block->slot].mapping->serving.chain;
    for (uint32_t i = 0; i < block->count; i++) {
        block->lookups[i].chain = chain;
        block->lookups[i].line_mask = view->line_mask;
    }
    pil_chain_hash(chain, block->lookups, block->count);
}

static pillion_result end_block(struct pil_call *call, struct pil_block *block, int64_t now_us, struct view_sum *sum,
                                struct pillion_error *error) {
    const struct pil_vector_plan *vector = call->compiled->vector;
    const struct pil_view *view = vector->views[block->slot].view;
    const struct pil_freshness freshness = {.now_us = now_us, .max_age_us = call->plan->max_age_us};
    pil_chain_settle(block->lookups[0].chain, block->lookups, block->count);
    pil_freshness_judge(block->lookups, block->count, &freshness);
    for (uint32_t i = 0; i < block->count; i++) {
        const struct pil_row *row = &block->lookups[i].row;
        int64_t event_us = INT64_MIN;
        if (row->fields == NULL) {
            sum->not_found++;
        } else {
            event_us = pil_row_event_ts_us(view, row->fields);
            sum->oldest_us = pil_freshness_oldest_us(row, sum->oldest_us);
        }
        if (call->event_ts_us != NULL) {
            call->event_ts_us[(block->first + i) * vector->view_count + block->slot] = event_us;
        }
    }
    return call->put(call, block, error);
}

/* Handles a key that does not fit into the buffer that every call has on its stack: by itself, in a buffer for any
 * key. */
static __attribute__((noinline)) pillion_result put_long_key(struct pil_call *call, struct pil_block *block,
                                                             int64_t now_us, struct view_sum *sum,
                                                             struct pillion_error *error) {
    uint8_t bytes[LONG_KEY_ROOM_BYTES] PIL_UNINITIALIZED;
    struct pil_keys keys = {.compiled = call->compiled, .slot = block->slot, .given = call->keys, .error = error};
    struct pil_key_room room = {.data = bytes, .bytes = sizeof bytes};
    pillion_result result = pil_keys_fill(&keys, block->first, 1, room, block->lookups, &block->count);
    if (result == PILLION_OK && block->count == 0) {
        result = pil_result_fail(error, PILLION_TOO_LARGE, "row %zu: its key has over %d bytes", block->first,
                                 PIL_KEY_BYTES_MAX);
    }
    if (result == PILLION_OK) {
        hash_block(call->compiled, block);
        pil_chain_fetch(block->lookups[0].chain, block->lookups, block->count);
        result = end_block(call, block, now_us, sum, error);
    }
    return result;
}

/* Each step stays `lag` blocks behind the step before it. */
static pillion_result advance(struct pil_call *call, struct pipeline *pipeline, uint32_t lag, int64_t now_us,
                              struct view_sum *sum, struct pillion_error *error) {
    pillion_result result = PILLION_OK;
    PIL_ASSERT(pipeline->hashed - pipeline->ended <= BLOCKS);
    while (pipeline->fetched + lag < pipeline->hashed) {
        struct pil_block *block = &pipeline->blocks[pipeline->fetched++ % BLOCKS];
        pil_chain_fetch(block->lookups[0].chain, block->lookups, block->count);
    }
    while (pipeline->ended + lag < pipeline->fetched && result == PILLION_OK) {
        result = end_block(call, &pipeline->blocks[pipeline->ended++ % BLOCKS], now_us, sum, error);
    }
    return result;
}

static pillion_result read_view(struct pil_call *call, uint32_t slot, int64_t now_us, struct view_sum *sum,
                                struct pillion_error *error) {
    struct pipeline pipeline PIL_UNINITIALIZED;
    pipeline.hashed = pipeline.fetched = pipeline.ended = 0;
    struct pil_keys keys = {.compiled = call->compiled, .slot = slot, .given = call->keys, .error = error};
    size_t count = call->keys->count, next = 0;
    pillion_result result = PILLION_OK;
    while (next < count && result == PILLION_OK) {
        uint32_t at = pipeline.hashed % BLOCKS;
        uint32_t wanted = count - next < PIL_CLIENT_BLOCK ? (uint32_t)(count - next) : PIL_CLIENT_BLOCK;
        struct pil_block *block = &pipeline.blocks[at];
        struct pil_key_room room = {.data = pipeline.key_bytes[at], .bytes = KEY_ROOM_BYTES};
        block->slot = slot;
        block->first = next;
        result = pil_keys_fill(&keys, next, wanted, room, block->lookups, &block->count);
        if (result == PILLION_OK && block->count > 0) {
            hash_block(call->compiled, block);
            pipeline.hashed++;
        }
        bool is_end = block->count == 0 || next + block->count == count;
        if (result == PILLION_OK) {
            result = advance(call, &pipeline, is_end ? 0 : 1, now_us, sum, error);
        }
        if (result == PILLION_OK && block->count == 0) {
            result = put_long_key(call, block, now_us, sum, error);
        }
        next += block->count;
    }
    return result;
}

static void answer_view(const struct pil_compiled *compiled, uint32_t slot, int64_t now_us, const struct view_sum *sum,
                        struct pillion_view_answer *ret_view) {
    const struct pil_mapping *mapping = compiled->views[slot].mapping;
    memcpy(ret_view->release, mapping->release->id, sizeof mapping->release->id);
    ret_view->generation = mapping->generation;
    ret_view->worst_age_us = pil_freshness_worst_us(sum->oldest_us, now_us);
    ret_view->not_found = sum->not_found;
    ret_view->created_us = mapping->created_us;
    ret_view->reserved = 0;
}

/* ---- A call. */

static pillion_result read_mapped(struct pil_call *call, struct pillion_error *error) {
    const struct pil_compiled *compiled = call->compiled;
    uint32_t key_count = compiled->vector->join_key_count;
    PIL_ASSERT(compiled->page != NULL && compiled->view_count == compiled->vector->view_count);
    pillion_result result = pil_keys_check_columns(call->keys, error);
    if (result == PILLION_OK && call->keys->column_count != key_count) {
        result = pil_result_fail(error, PILLION_INVALID, "%u key columns were given; the plan has %u join keys",
                                 call->keys->column_count, key_count);
    }
    if (result == PILLION_OK) {
        result = call->begin(call, error);
    }
    int64_t now_us = wall_us();
    for (uint32_t slot = 0; slot < compiled->view_count && result == PILLION_OK; slot++) {
        struct view_sum sum = {.oldest_us = INT64_MAX};
        result = read_view(call, slot, now_us, &sum, error);
        if (call->answer != NULL) {
            answer_view(compiled, slot, now_us, &sum, &call->answer->views[slot]);
        }
    }
    if (call->answer != NULL) {
        call->answer->is_mapped = 1;
        call->answer->view_count = compiled->view_count;
        call->answer->staleness_us = pil_epoch_staleness_us(compiled);
    }
    return result;
}

/* The compiled plan that the call reads; polls first when that is due. NULL: no memory for a slot. */
static const struct pil_compiled *enter(const struct pil_call *call, struct pil_epoch_slot **ret_slot) {
    bool may_refresh = (call->flags & PILLION_NO_REFRESH) == 0, is_due = false;
    const struct pil_compiled *compiled = pil_epoch_enter(call->plan, may_refresh ? &is_due : NULL, ret_slot);
    if (is_due) {
        pil_epoch_leave(*ret_slot);
        pil_upkeep_poll(call->plan->client);
        compiled = pil_epoch_enter(call->plan, NULL, ret_slot);
    }
    return compiled;
}

pillion_result pil_get_run(struct pil_call *call) {
    struct pillion_error *error = NULL;
    if (call->answer != NULL) {
        if (call->answer->size < PIL_ANSWER_BYTES_MIN) {
            return PILLION_INVALID;
        }
        error = &call->answer->error;
        error->text[0] = '\0';
    }
    struct pil_epoch_slot *slot = NULL;
    if ((call->flags & ~(uint32_t)PILLION_NO_REFRESH) != 0) {
        return pil_result_fail(error, PILLION_UNSUPPORTED, "flags %#x are not known to this version", call->flags);
    }
    call->compiled = enter(call, &slot);
    if (call->compiled == NULL) {
        return pil_result_fail(error, PILLION_NO_MEMORY, "no memory to note the call");
    }
    pillion_result result = call->compiled->result;
    bool may_ask = !call->compiled->is_final && call->plan->client->resp != NULL;
    if (call->compiled->vector != NULL) {
        may_ask = false;
        result = read_mapped(call, error);
    } else if (!may_ask) {
        PIL_ASSERT(result != PILLION_OK);
        (void)pil_result_fail(error, result, "%s", call->compiled->error.text);
    }
    pil_epoch_leave(slot);
    return may_ask ? call->ask(call) : result;
}

/* ---- Tensors. */

struct tensor_call {
    struct pil_call call;
    uint8_t *values;
    size_t value_bytes, row_bytes;
    uint8_t *statuses;
    bool use_defaults;
    const struct pillion_output *output;
};

static pillion_result ask_tensor(struct pil_call *call) {
    return pil_socket_get(call->plan, call->keys, ((struct tensor_call *)call)->output, call->answer);
}

static pillion_result begin_tensor(struct pil_call *call, struct pillion_error *error) {
    struct tensor_call *tensor = (struct tensor_call *)call;
    const struct pil_vector_plan *vector = call->compiled->vector;
    size_t needed = 0;
    tensor->row_bytes = (size_t)vector->width * pil_vector_dtype_bytes(vector->dtype);
    if (__builtin_mul_overflow(tensor->row_bytes, call->keys->count, &needed) ||
        (tensor->values != NULL && needed > tensor->value_bytes)) {
        return pil_result_fail(error, PILLION_TOO_LARGE, "%zu rows of %zu bytes do not fit into %zu bytes",
                               call->keys->count, tensor->row_bytes, tensor->value_bytes);
    }
    return PILLION_OK;
}

static pillion_result put_tensor(struct pil_call *call, const struct pil_block *block, struct pillion_error *error) {
    struct tensor_call *tensor = (struct tensor_call *)call;
    const struct pil_vector_plan *vector = call->compiled->vector;
    (void)error;
    for (uint32_t i = 0; i < block->count; i++) {
        const uint8_t *row = block->lookups[i].row.fields;
        size_t at = block->first + i;
        if (tensor->values != NULL) {
            pil_vector_put_values(vector, block->slot, row, tensor->use_defaults,
                                  tensor->values + at * tensor->row_bytes);
        }
        if (tensor->statuses != NULL) {
            (void)pil_vector_put_statuses(vector, block->slot, row, block->lookups[i].status,
                                          tensor->statuses + at * vector->feature_count);
        }
    }
    return PILLION_OK;
}

pillion_result pillion_get(struct pillion_plan *plan, const struct pillion_keys *keys,
                           const struct pillion_output *output, struct pillion_answer *answer) {
    struct pillion_error *error = answer != NULL && answer->size >= PIL_ANSWER_BYTES_MIN ? &answer->error : NULL;
    if (output->size < offsetof(struct pillion_output, flags) || keys->size < offsetof(struct pillion_keys, columns)) {
        return pil_result_fail(error, PILLION_INVALID, "keys or output have no size");
    }
    if ((plan->flags & PILLION_COLUMNS) != 0) {
        return pil_result_fail(error, PILLION_INVALID, "the plan is for pillion_get_columns");
    }
    bool has_flags = output->size >= offsetof(struct pillion_output, flags) + sizeof output->flags;
    struct tensor_call tensor = {.call = {.plan = plan,
                                          .keys = keys,
                                          .flags = has_flags ? output->flags : 0,
                                          .event_ts_us = output->event_ts_us,
                                          .answer = answer,
                                          .ask = ask_tensor,
                                          .begin = begin_tensor,
                                          .put = put_tensor},
                                 .values = output->values,
                                 .value_bytes = output->value_bytes,
                                 .statuses = output->statuses,
                                 .use_defaults = (plan->flags & PILLION_USE_DEFAULTS) != 0,
                                 .output = output};
    return pil_get_run(&tensor.call);
}
