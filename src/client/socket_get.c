/* SPDX-License-Identifier: Apache-2.0
 * Calls over the resp listener (schemas/wire.md): keys become requests, and replies are copied into the caller's
 * memory. A call with more rows than one request may have is split into several. When a release is swapped in between,
 * all requests are sent again. */
#include "client/socket_get.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/panic.h"
#include "client/columns_check.h"
#include "client/describe.h"
#include "client/keys.h"
#include "wire/resp.h"

enum {
    LOOKUPS_MAX = 16000,           /* of a request; less than the server's default of limits.keys_per_request */
    TEXT_BYTES_MAX = 1 << 20,      /* of key text; less than its default of limits.request_bytes */
    COLUMNS_BYTES_MAX = INT32_MAX, /* of an answer of columns, as many as their offsets can count */
};

/* Exactly one of output and columns is set. */
struct get {
    struct pillion_plan *plan;
    const struct pillion_keys *keys;
    const struct pillion_output *output;
    const struct pillion_columns *columns;
    struct pillion_answer *answer;
    size_t first, count;                                /* rows of the current request */
    struct pil_tensor_view views[PIL_TENSOR_VIEWS_MAX]; /* summed over the rows so far */
    uint64_t types;                                     /* hash of the column types of the first reply */
    bool is_full;                                       /* some column lacks room for its values */
    bool is_mixed; /* the request was answered from other releases than those before it */
};

/* ---- Keys. */

/* Keys of no columns have no bytes that would tell their number: they are sent as empty texts, unless there are none.
 */
static bool is_packed(const struct pillion_keys *keys) {
    if (keys->column_count == 0) {
        return keys->count == 0;
    }
    for (uint32_t i = 0; i < keys->column_count; i++) {
        if (keys->columns[i].kind != PILLION_KEY_INT64 && keys->columns[i].kind != PILLION_KEY_INT32) {
            return false;
        }
    }
    return true;
}

/* How many rows, from get->first on, have that many bytes of key text; at least one. */
static size_t text_rows(const struct get *get) {
    size_t rows = 0, bytes = 0;
    for (; rows < get->count && bytes < TEXT_BYTES_MAX; rows++) {
        for (uint32_t i = 0; i < get->keys->column_count; i++) {
            struct pil_key_part part;
            bool is_text =
                pil_keys_part(&get->keys->columns[i], get->first + rows, &part) && part.kind == PIL_KEY_PART_TEXT;
            bytes += is_text ? part.text.len : 0;
        }
    }
    return rows;
}

static void add_packed(struct pil_link *link, const struct get *get) {
    const struct pillion_keys *keys = get->keys;
    if (get->count == 0) {
        pil_link_add(link, pil_bytes_from("", 0));
        return;
    }
    if (keys->column_count == 1 && keys->columns[0].kind == PILLION_KEY_INT64) {
        pil_link_add(link, pil_bytes_from((const uint8_t *)keys->columns[0].values + get->first * 8, get->count * 8));
        return;
    }
    uint8_t *at = pil_link_add_room(link, get->count * keys->column_count * 8);
    for (size_t row = get->first; at != NULL && row < get->first + get->count; row++) {
        for (uint32_t i = 0; i < keys->column_count; i++, at += 8) {
            struct pil_key_part part;
            (void)pil_keys_part(&keys->columns[i], row, &part); /* cannot fail: integers have no offsets */
            pil_store_i64(at, part.integer);
        }
    }
}

static void append_escaped(struct pil_buffer *text, struct pil_bytes part) {
    for (size_t i = 0; i < part.len; i++) {
        if (part.data[i] == '|' || part.data[i] == '\\') {
            pil_buffer_append(text, "\\", 1);
        }
        pil_buffer_append(text, &part.data[i], 1);
    }
}

/* Appends the key text "k1|k2" of one row. */
static pil_status append_key(struct pil_buffer *text, const struct get *get, size_t row, struct pil_error *error) {
    const struct pillion_keys *keys = get->keys;
    for (uint32_t i = 0; i < keys->column_count; i++) {
        struct pil_key_part part;
        char digits[PIL_KEY_PART_DIGITS_BYTES];
        if (!pil_keys_part(&keys->columns[i], row, &part)) {
            return pil_fail(error, PIL_STATUS_INVALID, "join key %s, row %zu: its offsets fall",
                            get->plan->info.join_keys[i], row);
        }
        if (i > 0) {
            pil_buffer_append(text, "|", 1);
        }
        if (part.kind != PIL_KEY_PART_TEXT) {
            struct pil_bytes number = pil_key_part_digits(part.integer, part.kind == PIL_KEY_PART_TIME, digits);
            pil_buffer_append(text, number.data, number.len);
        } else if (keys->column_count > 1) {
            append_escaped(text, part.text);
        } else {
            pil_buffer_append(text, part.text.data, part.text.len);
        }
    }
    return text->failed ? pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for the key of row %zu", row)
                        : PIL_STATUS_OK;
}

static pil_status add_texts(struct pil_link *link, const struct get *get, struct pil_error *error) {
    struct pil_buffer text = {0};
    pil_status status = PIL_STATUS_OK;
    for (size_t row = get->first; row < get->first + get->count && status == PIL_STATUS_OK; row++) {
        pil_buffer_clear(&text);
        status = append_key(&text, get, row, error);
        if (status == PIL_STATUS_OK) {
            pil_link_add(link, pil_bytes_from(text.data, text.len));
        }
    }
    pil_buffer_deinit(&text);
    return status;
}

/* ---- Replies. */

/* Adds what the reply says about its rows. Returns false if it comes from other releases than the replies before it. */
static bool add_views(struct get *get, const struct pil_tensor_view *views, uint32_t count) {
    PIL_ASSERT(count <= PIL_TENSOR_VIEWS_MAX && count == get->plan->info.view_count);
    for (uint32_t i = 0; i < count; i++) {
        struct pil_tensor_view *sum = &get->views[i];
        if (get->first == 0) {
            *sum = views[i];
            continue;
        }
        if (sum->generation != views[i].generation || strcmp(sum->release, views[i].release) != 0) {
            get->is_mixed = true;
            return false;
        }
        sum->not_found += views[i].not_found;
        sum->worst_age_us = views[i].worst_age_us > sum->worst_age_us ? views[i].worst_age_us : sum->worst_age_us;
    }
    return true;
}

/* Copies rows of `row_bytes` to the place of this request's rows; `to` is NULL when the caller does not want them. */
static void copy_rows(const struct get *get, void *to, const uint8_t *from, size_t row_bytes) {
    if (to != NULL && get->count * row_bytes > 0) {
        memcpy((uint8_t *)to + get->first * row_bytes, from, get->count * row_bytes);
    }
}

static pil_status put_tensor(struct get *get, struct pil_bytes reply, struct pil_error *error) {
    struct pil_tensor_head head;
    PIL_TRY(pil_tensor_decode(reply, &head, error));
    const struct pillion_plan_info *info = &get->plan->info;
    uint32_t element_bytes = pil_vector_dtype_bytes((pil_vector_dtype)get->plan->dtype);
    if (head.rows != get->count || head.features != info->feature_count || head.view_count != info->view_count ||
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
    if (add_views(get, head.views, head.view_count)) {
        copy_rows(get, get->output->values, reply.data + head.values_at, (size_t)head.width * element_bytes);
        copy_rows(get, get->output->statuses, reply.data + head.statuses_at, head.features);
        copy_rows(get, get->output->event_ts_us, reply.data + head.times_at, head.view_count * sizeof(int64_t));
    }
    return PIL_STATUS_OK;
}

/* Appends `count` offsets to the existing ones; the first offset of the reply falls on the end of the last of them.
 * Returns false if an offset is too large. */
static bool add_offsets(int32_t *to, const uint8_t *from, size_t count, size_t base) {
    bool is_good = true;
    for (size_t i = 0; i < count; i++) {
        size_t offset = base + pil_load_u32(from + i * 4);
        is_good = is_good && offset <= INT32_MAX;
        to[i] = (int32_t)(offset & INT32_MAX);
    }
    return is_good;
}

/* Where the values of the next row begin, in the unit of the column's offsets. */
static size_t offset_of_next(const struct pillion_column *column, struct pil_type type) {
    switch (pil_column_form_of(type)) {
    case PIL_COLUMN_FIXED:
    case PIL_COLUMN_TEXTS: break;
    case PIL_COLUMN_NUMBERS: return column->ret_value_bytes / pil_scalar_bytes(type.scalar);
    case PIL_COLUMN_LISTS: return column->ret_child_count - 1;
    }
    return column->ret_value_bytes;
}

/* Appends the reply's column to the caller's. Returns whether there was room; the needed room is counted in any
 * case. */
static bool put_column(const struct get *get, struct pil_bytes reply, const struct pil_column_record *record,
                       struct pillion_column *to) {
    size_t bytes = to->ret_value_bytes, children = to->ret_child_count, next = offset_of_next(to, record->type);
    size_t new_children = record->child_count > 0 ? record->child_count - 1 : 0;
    to->ret_value_bytes += record->value_bytes;
    to->ret_child_count += new_children;
    if (to->ret_value_bytes > to->value_bytes || (new_children > 0 && to->ret_child_count > to->child_capacity)) {
        return false;
    }
    if (record->value_bytes > 0) {
        memcpy((uint8_t *)to->values + bytes, reply.data + record->values_at, record->value_bytes);
    }
    copy_rows(get, to->statuses, reply.data + record->statuses_at, 1);
    bool is_good = new_children == 0 ||
                   add_offsets(to->child_offsets + children, reply.data + record->children_at + 4, new_children, bytes);
    return (record->offsets_at == 0 ||
            add_offsets(to->offsets + get->first + 1, reply.data + record->offsets_at + 4, get->count, next)) &&
           is_good;
}

/* Whether the columns have the types of the replies before, by which the caller's columns were begun. */
static bool has_same_types(struct get *get, struct pil_bytes reply, const struct pil_columns_head *head) {
    uint64_t types = 0;
    for (uint32_t i = 0; i < head->columns; i++) {
        struct pil_type type = pil_columns_record(reply, head, i).type;
        uint8_t bytes[12];
        pil_store_u32(bytes, (uint32_t)type.scalar);
        pil_store_u32(bytes + 4, (uint32_t)type.shape);
        pil_store_u32(bytes + 8, type.dimension);
        types = pil_hash_index(pil_bytes_from(bytes, sizeof bytes), types);
    }
    get->types = get->first == 0 ? types : get->types;
    return get->types == types;
}

/* Checks, before anything is written, that the reply has the columns asked for and the shape by which the caller has
 * sized its buffers. */
static pil_status check_columns(const struct get *get, struct pil_bytes reply, const struct pil_columns_head *head,
                                struct pil_error *error) {
    const struct pillion_plan_info *info = &get->plan->info;
    if (head->rows != get->count || head->columns != info->feature_count || head->view_count != info->view_count) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the answer has %u rows of %u columns, which is not what was asked",
                        head->rows, head->columns);
    }
    uint64_t width = 0;
    bool is_same = true;
    for (uint32_t i = 0; i < head->columns; i++) {
        uint32_t count = pil_describe_width(pil_columns_record(reply, head, i).type);
        width += count;
        is_same = is_same && count == get->plan->features[i].count; /* counts never change */
    }
    if (!is_same) {
        return pil_fail(error, PIL_STATUS_INVALID,
                        "the plan was made for rows of %u elements, the release has %llu: plan anew", info->width,
                        (unsigned long long)width);
    }
    return PIL_STATUS_OK;
}

static pil_status put_columns(struct get *get, struct pil_bytes reply, struct pil_error *error) {
    struct pil_columns_head head;
    struct pillion_error why;
    PIL_TRY(pil_columns_decode(reply, &head, error));
    PIL_TRY(check_columns(get, reply, &head, error));
    if (!add_views(get, head.views, head.view_count)) {
        return PIL_STATUS_OK;
    }
    if (!has_same_types(get, reply, &head)) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "columns of one release have other types than rows before");
    }
    for (uint32_t i = 0; i < head.columns; i++) {
        struct pil_column_record record = pil_columns_record(reply, &head, i);
        struct pillion_column *column = &get->columns->columns[i];
        if (get->first == 0 && pil_columns_begin(column, i, pil_column_form_of(record.type), &why) != PILLION_OK) {
            return pil_fail(error, PIL_STATUS_INVALID, "%s", why.text);
        }
        get->is_full = !put_column(get, reply, &record, column) || get->is_full;
    }
    copy_rows(get, get->columns->event_ts_us, reply.data + head.times_at, head.view_count * sizeof(int64_t));
    return PIL_STATUS_OK;
}

/* ---- Calls. */

/* The most bytes that the answer to the current request has, or an error instead. */
static size_t tensor_bytes(const struct get *get) {
    const struct pillion_plan_info *info = &get->plan->info;
    struct pil_tensor_head head = {.element_bytes = pil_vector_dtype_bytes((pil_vector_dtype)get->plan->dtype),
                                   .rows = (uint32_t)get->count,
                                   .features = info->feature_count,
                                   .width = info->width,
                                   .view_count = info->view_count};
    pil_tensor_layout(&head);
    return head.bytes > PIL_LINK_SHORT_BYTES ? head.bytes : PIL_LINK_SHORT_BYTES;
}

static pil_status ask(struct pil_link *link, uint32_t number, uint64_t until_ns, void *context,
                      struct pil_error *error) {
    struct get *get = context;
    struct pil_bytes reply;
    bool packed = is_packed(get->keys), has_columns = get->columns != NULL;
    const char *command = has_columns ? "PIL.COLUMNS" : "PIL.VECTOR";
    const char *packed_command = has_columns ? "PIL.COLUMNS64" : "PIL.VECTOR64";
    pil_link_begin(link, packed ? 3 : 2 + get->count);
    pil_link_add(link, pil_bytes_from_text(packed ? packed_command : command));
    pil_link_add_number(link, number);
    if (packed) {
        add_packed(link, get);
    } else {
        PIL_TRY(add_texts(link, get, error));
    }
    PIL_TRY(pil_link_ask(link, has_columns ? COLUMNS_BYTES_MAX : tensor_bytes(get), until_ns, &reply, error));
    return has_columns ? put_columns(get, reply, error) : put_tensor(get, reply, error);
}

/* Adds the place to an error text, because the server counts rows from the first row of the request. */
static pillion_result tell_place(const struct get *get, pillion_result result, struct pillion_error *error) {
    struct pillion_error why = {{0}};
    if (error != NULL) {
        why = *error;
    }
    return pil_result_fail(error, result, "counted from row %zu on: %.400s", get->first, why.text);
}

/* Sends request after request, of at most *step rows; halves *step when the server says that the rows are too many. */
static pillion_result ask_all(struct get *get, size_t *step, uint64_t until_ns, struct pillion_error *error) {
    size_t count = get->keys->count;
    get->first = 0;
    get->is_full = get->is_mixed = false;
    do {
        get->count = count - get->first < *step ? count - get->first : *step;
        get->count = is_packed(get->keys) ? get->count : text_rows(get);
        PIL_ASSERT(get->first <= count && get->count <= count - get->first && (get->count > 0 || count == 0));
        pillion_result result = pil_socket_run(get->plan, ask, get, until_ns, error);
        if (result == PILLION_TOO_LARGE && get->count > 1) {
            *step = get->count / 2;
            continue;
        }
        if (result != PILLION_OK) {
            return get->first == 0 ? result : tell_place(get, result, error);
        }
        get->first += get->count;
    } while (get->first < count && !get->is_mixed);
    return get->is_full ? pil_columns_too_small(error) : PILLION_OK;
}

static pillion_result check_room(const struct get *get, struct pillion_error *error) {
    const struct pillion_plan_info *info = &get->plan->info;
    if (get->columns != NULL) {
        return pil_columns_check_count(get->columns->column_count, info->feature_count, error);
    }
    size_t row_bytes = (size_t)info->width * pil_vector_dtype_bytes((pil_vector_dtype)get->plan->dtype), needed = 0;
    if (__builtin_mul_overflow(row_bytes, get->keys->count, &needed) ||
        (get->output->values != NULL && needed > get->output->value_bytes)) {
        return pil_result_fail(error, PILLION_TOO_LARGE, "%zu rows of %zu bytes do not fit into %zu bytes",
                               get->keys->count, row_bytes, get->output->value_bytes);
    }
    return PILLION_OK;
}

/* Times are sent as the text of their seconds, which the server would take for a key of another type. */
static pillion_result check_times(const struct get *get, struct pillion_error *error) {
    const struct pillion_plan_info *info = &get->plan->info;
    for (uint32_t i = 0; i < get->keys->column_count && get->keys->count > 0; i++) {
        struct pil_key_part part;
        struct pil_type type;
        if (get->keys->columns[i].kind != PILLION_KEY_TIME_US ||
            pil_type_parse(pil_bytes_from_text(info->join_key_types[i]), &type, NULL) != PIL_STATUS_OK ||
            type.scalar == PIL_SCALAR_UNIX_TIMESTAMP) {
            continue;
        }
        char problem[PIL_KEY_PROBLEM_BYTES];
        const struct pil_key_place place = {.join_key = info->join_keys[i], .type = type.scalar, .row = 0};
        (void)pil_keys_part(&get->keys->columns[i], 0, &part); /* cannot fail: times have no offsets */
        return pil_result_fail(error, PILLION_INVALID, "%s", pil_key_part_explain(&part, place, problem));
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
        return pil_result_fail(error, PILLION_INVALID, "%u key columns were given; the plan has %u join keys",
                               keys->column_count, info->join_key_count);
    }
    result = check_times(get, error);
    return result == PILLION_OK ? check_room(get, error) : result;
}

static void tell_views(const struct get *get) {
    for (uint32_t i = 0; i < get->answer->view_count; i++) {
        const struct pil_tensor_view *view = &get->views[i];
        struct pillion_view_answer *to = &get->answer->views[i];
        *to = (struct pillion_view_answer){.generation = view->generation,
                                           .worst_age_us = view->worst_age_us,
                                           .not_found = view->not_found,
                                           .created_us = view->created_us};
        memcpy(to->release, view->release, sizeof view->release);
    }
}

/* Rows of the first request: fewer once the server has refused more. */
static size_t first_step(const struct get *get) {
    size_t step = atomic_load_explicit(&get->plan->rows_at_once, memory_order_relaxed);
    size_t key_bytes = get->keys->column_count > 0 ? 8u * get->keys->column_count : 1;
    size_t blob_max = pil_resp_limits_default.bulk_bytes_max / key_bytes;
    step = step != 0 ? step : LOOKUPS_MAX / get->plan->info.view_count;
    return step < blob_max ? step : blob_max;
}

static pillion_result get_over_socket(struct get *get) {
    struct pillion_client *client = get->plan->client;
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
    atomic_fetch_add_explicit(&client->socket_calls, 1, memory_order_relaxed);
    PIL_ASSERT((get->output == NULL) != (get->columns == NULL) && get->plan->info.feature_count > 0);
    uint64_t until_ns = pil_socket_deadline_ns(client);
    size_t most = first_step(get), step = most;
    do {
        result = ask_all(get, &step, until_ns, error);
    } while (result == PILLION_OK && get->is_mixed && pil_clock_monotonic_ns() < until_ns);
    if (result == PILLION_OK && get->is_mixed) {
        result = pil_result_fail(error, PILLION_UNAVAILABLE, "the server changes releases faster than it can be read");
    }
    if (result == PILLION_OK && step < most) {
        atomic_store_explicit(&get->plan->rows_at_once, (uint32_t)step, memory_order_relaxed);
    }
    if (answer != NULL) {
        tell_views(get);
        error->text[0] = result == PILLION_OK ? '\0' : error->text[0];
    }
    return result;
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
