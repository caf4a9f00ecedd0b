/* SPDX-License-Identifier: Apache-2.0
 * Calls over the resp listener (schemas/wire.md): keys into a request, the answer into the caller's memory. */
#include "base/panic.h"
#include "base/text.h"
#include "client/internal.h"
#include "wire/resp.h"

#include <stdlib.h>

/* One of output and columns is given. */
struct get {
    struct pillion_plan *plan;
    const struct pillion_keys *keys;
    const struct pillion_output *output;
    const struct pillion_columns *columns;
    struct pillion_answer *answer;
};

/* ---- Keys. */

static bool is_packed(const struct pillion_keys *keys) {
    for (uint32_t i = 0; i < keys->column_count; i++) {
        if (keys->columns[i].kind != PILLION_KEY_INT64 && keys->columns[i].kind != PILLION_KEY_INT32) {
            return false;
        }
    }
    return true;
}

static void add_packed(struct pil_link *link, const struct pillion_keys *keys) {
    if (keys->count == 0) {
        pil_link_add(link, pil_bytes_from("", 0));
        return;
    }
    if (keys->column_count == 1 && keys->columns[0].kind == PILLION_KEY_INT64) {
        pil_link_add(link, pil_bytes_from(keys->columns[0].values, keys->count * 8));
        return;
    }
    size_t bytes = keys->count * keys->column_count * 8;
    uint8_t *blob = malloc(bytes), *at = blob;
    PIL_ASSERT(blob != NULL);
    for (size_t row = 0; row < keys->count; row++) {
        for (uint32_t i = 0; i < keys->column_count; i++, at += 8) {
            struct pil_key_part part;
            (void)pil_keys_part(&keys->columns[i], row, &part); /* integers always are there */
            pil_store_i64(at, part.integer);
        }
    }
    pil_link_add(link, pil_bytes_from(blob, bytes));
    free(blob);
}

static void append_escaped(struct pil_text *text, struct pil_bytes part) {
    for (size_t i = 0; i < part.len; i++) {
        if (part.data[i] == '|' || part.data[i] == '\\') {
            pil_text_append(text, "\\", 1);
        }
        pil_text_append(text, &part.data[i], 1);
    }
}

static pil_status add_texts(struct pil_link *link, const struct get *get, struct pil_error *error) {
    const struct pillion_keys *keys = get->keys;
    struct pil_text text = {0};
    pil_status status = PIL_STATUS_OK;
    for (size_t row = 0; row < keys->count && status == PIL_STATUS_OK; row++) {
        pil_text_clear(&text);
        for (uint32_t i = 0; i < keys->column_count; i++) {
            struct pil_key_part part;
            if (!pil_keys_part(&keys->columns[i], row, &part)) {
                status = pil_fail(error, PIL_STATUS_INVALID, "join key %s, row %zu: its offsets fall",
                                  get->plan->info.join_keys[i], row);
                break;
            }
            if (i > 0) {
                pil_text_append(&text, "|", 1);
            }
            if (part.kind == PIL_KEY_PART_INT) {
                pil_text_format(&text, "%lld", (long long)part.integer);
            } else if (keys->column_count > 1) {
                append_escaped(&text, part.text);
            } else {
                pil_text_append(&text, part.text.data, part.text.len);
            }
        }
        pil_link_add(link, pil_text_bytes(&text));
    }
    pil_text_deinit(&text);
    return status;
}

/* ---- Answers. */

static void put_views(const struct get *get, const struct pil_tensor_view *views, uint32_t count) {
    for (uint32_t i = 0; get->answer != NULL && i < count; i++) {
        const struct pil_tensor_view *view = &views[i];
        struct pillion_view_answer *to = &get->answer->views[i];
        *to = (struct pillion_view_answer){.generation = view->generation,
                                           .worst_age_us = view->worst_age_us,
                                           .not_found = view->not_found,
                                           .created_us = view->created_us};
        memcpy(to->release, view->release, sizeof view->release);
    }
}

/* Which may be NULL, and then nothing is wanted. */
static void copy_to(void *to, const uint8_t *from, size_t bytes) {
    if (to != NULL && bytes > 0) {
        memcpy(to, from, bytes);
    }
}

static pil_status put_tensor(const struct get *get, struct pil_bytes reply, struct pil_error *error) {
    struct pil_tensor_head head;
    PIL_TRY(pil_tensor_decode(reply, &head, error));
    const struct pillion_plan_info *info = &get->plan->info;
    uint32_t element_bytes = get->plan->dtype == PILLION_FLOAT64 ? 8 : 4;
    if (head.rows != get->keys->count || head.features != info->feature_count || head.view_count != info->view_count ||
        head.element_bytes != element_bytes) {
        return pil_fail(error, PIL_STATUS_CORRUPT,
                        "the answer has %u rows of %u features and elements of %u bytes, which is not what was asked",
                        head.rows, head.features, head.element_bytes);
    }
    if (head.width != info->width) {
        return pil_fail(error, PIL_STATUS_INVALID,
                        "the plan was made for rows of %u elements, the release has %u: plan anew", info->width,
                        head.width);
    }
    copy_to(get->output->values, reply.data + head.values_at, reply.len - head.values_at);
    copy_to(get->output->statuses, reply.data + head.statuses_at, (size_t)head.rows * head.features);
    copy_to(get->output->event_ts_us, reply.data + head.times_at, (size_t)head.rows * head.view_count * 8);
    put_views(get, head.views, head.view_count);
    return PIL_STATUS_OK;
}

/* Returns whether there is room for it. */
static bool put_column(struct pil_bytes reply, uint32_t rows, const struct pil_column_record *record,
                       struct pillion_column *to) {
    to->ret_value_bytes = record->value_bytes;
    to->ret_child_count = record->child_count;
    if (record->value_bytes > to->value_bytes || record->child_count > to->child_capacity) {
        return false;
    }
    copy_to(to->values, reply.data + record->values_at, record->value_bytes);
    copy_to(to->statuses, reply.data + record->statuses_at, rows);
    if (record->offsets_at != 0) {
        copy_to(to->offsets, reply.data + record->offsets_at, ((size_t)rows + 1) * 4);
    }
    copy_to(to->child_offsets, reply.data + record->children_at, record->child_count * 4);
    return true;
}

/* Elements that values of the type would have in a tensor. */
static uint32_t width_of(struct pil_type type) {
    return pil_type_is_reference(type) ? 0 : type.shape == PIL_SHAPE_VECTOR ? type.dimension : 1;
}

/* Before anything is written: what was asked for, and a shape for which the caller has laid its buffers out. */
static pil_status check_columns(const struct get *get, struct pil_bytes reply, const struct pil_columns_head *head,
                                struct pil_error *error) {
    const struct pillion_plan_info *info = &get->plan->info;
    if (head->rows != get->keys->count || head->columns != info->feature_count ||
        head->view_count != info->view_count) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the answer has %u rows of %u columns, which is not what was asked",
                        head->rows, head->columns);
    }
    uint64_t width = 0;
    for (uint32_t i = 0; i < head->columns; i++) {
        width += width_of(pil_columns_record(reply, head, i).type);
    }
    return width == info->width ? PIL_STATUS_OK
                                : pil_fail(error, PIL_STATUS_INVALID,
                                           "the plan was made for rows of %u elements, the release has %llu: plan anew",
                                           info->width, (unsigned long long)width);
}

static pil_status put_columns(const struct get *get, struct pil_bytes reply, struct pil_error *error) {
    struct pil_columns_head head;
    struct pillion_error why;
    bool has_room = true;
    PIL_TRY(pil_columns_decode(reply, &head, error));
    PIL_TRY(check_columns(get, reply, &head, error));
    for (uint32_t i = 0; i < head.columns; i++) {
        struct pil_column_record record = pil_columns_record(reply, &head, i);
        if (pil_columns_begin(&get->columns->columns[i], i, pil_column_form_of(record.type), &why) != PILLION_OK) {
            return pil_fail(error, PIL_STATUS_INVALID, "%s", why.text);
        }
        has_room = put_column(reply, head.rows, &record, &get->columns->columns[i]) && has_room;
    }
    copy_to(get->columns->event_ts_us, reply.data + head.times_at, (size_t)head.rows * head.view_count * 8);
    put_views(get, head.views, head.view_count);
    if (!has_room) {
        (void)pil_columns_too_small(&why);
        return pil_fail(error, PIL_STATUS_TOO_LARGE, "%s", why.text);
    }
    return PIL_STATUS_OK;
}

/* ---- Calls. */

static pil_status ask(struct pil_link *link, uint32_t number, uint64_t until_ns, void *context,
                      struct pil_error *error) {
    const struct get *get = context;
    struct pil_bytes reply;
    bool packed = is_packed(get->keys), has_columns = get->columns != NULL;
    const char *command = has_columns ? "PIL.COLUMNS" : "PIL.VECTOR";
    const char *packed_command = has_columns ? "PIL.COLUMNS64" : "PIL.VECTOR64";
    pil_link_begin(link, packed ? 3 : 2 + get->keys->count);
    pil_link_add(link, pil_bytes_from_text(packed ? packed_command : command));
    pil_link_add_number(link, number);
    if (packed) {
        add_packed(link, get->keys);
    } else {
        PIL_TRY(add_texts(link, get, error));
    }
    PIL_TRY(pil_link_ask(link, until_ns, &reply, error));
    return has_columns ? put_columns(get, reply, error) : put_tensor(get, reply, error);
}

static pillion_result check_room(const struct get *get, struct pillion_error *error) {
    const struct pillion_plan_info *info = &get->plan->info;
    if (get->columns != NULL) {
        return pil_columns_check_count(get->columns->column_count, info->feature_count, error);
    }
    size_t row_bytes = (size_t)info->width * (get->plan->dtype == PILLION_FLOAT64 ? 8 : 4);
    if (get->output->values != NULL && get->keys->count * row_bytes > get->output->value_bytes) {
        return pil_client_fail(error, PILLION_TOO_LARGE, "%zu rows of %zu bytes do not fit into %zu bytes",
                               get->keys->count, row_bytes, get->output->value_bytes);
    }
    return PILLION_OK;
}

static pillion_result check(const struct get *get, struct pillion_error *error) {
    const struct pillion_plan_info *info = &get->plan->info;
    const struct pillion_keys *keys = get->keys;
    pillion_result result = pil_keys_check_columns(keys, error);
    if (result != PILLION_OK) {
        return result;
    }
    if (keys->column_count != info->join_key_count) {
        return pil_client_fail(error, PILLION_INVALID, "%u key columns were given; the plan has %u join keys",
                               keys->column_count, info->join_key_count);
    }
    size_t rows_max = is_packed(keys) ? pil_resp_limits_default.bulk_bytes_max / (8u * keys->column_count)
                                      : pil_resp_limits_default.args_max - 2;
    if (keys->count > rows_max) {
        return pil_client_fail(error, PILLION_TOO_LARGE, "%zu rows; a call over the socket has at most %zu",
                               keys->count, rows_max);
    }
    return check_room(get, error);
}

static pillion_result get_over_socket(struct get *get) {
    struct pillion_answer *answer = get->answer;
    struct pillion_error *error = answer != NULL ? &answer->error : NULL;
    pillion_result result = check(get, error);
    if (answer != NULL) {
        answer->is_mapped = 0;
        answer->view_count = get->plan->info.view_count;
        answer->staleness_us = 0;
    }
    if (result != PILLION_OK) {
        return result;
    }
    atomic_fetch_add_explicit(&get->plan->client->socket_calls, 1, memory_order_relaxed);
    return pil_socket_run(get->plan, ask, get, error);
}

pillion_result pil_socket_get(struct pillion_plan *plan, const struct pillion_keys *keys,
                              const struct pillion_output *output, struct pillion_answer *answer) {
    struct get get = {.plan = plan, .keys = keys, .output = output, .answer = answer};
    return get_over_socket(&get);
}

pillion_result pil_socket_get_columns(struct pillion_plan *plan, const struct pillion_keys *keys,
                                      const struct pillion_columns *columns, struct pillion_answer *answer) {
    struct get get = {.plan = plan, .keys = keys, .columns = columns, .answer = answer};
    return get_over_socket(&get);
}
