/* SPDX-License-Identifier: Apache-2.0
 * The answer to POST /get-online-features, column by column: join keys as in the request, then features as in the
 * request. */
#include "protocol/feast/internal.h"

#include "base/number.h"
#include "cache/source.h"
#include "schema/view.h"
#include "snapshot/reader.h"
#include "wire/value.h"

/* A key column is echoed in its entity's type: an int64 key that was sent as "1002" comes back as 1002. */
static const struct pil_entity *entity_of_column(const struct pil_feast_call *call, struct pil_bytes name) {
    for (uint32_t slot = 0; slot < call->selection.view_count; slot++) {
        const struct pil_view *schema = call->selection.views[slot].serving->chain.view;
        for (uint32_t e = 0; e < schema->entity_count; e++) {
            if (pil_bytes_equal_text(name, schema->entities[e].join_key) ||
                pil_bytes_equal_text(name, schema->entities[e].name)) {
                return &schema->entities[e];
            }
        }
    }
    return NULL;
}

static void put_key(struct pil_feast_encoder *encoder, const struct pil_entity *entity,
                    const struct pil_feast_value *value) {
    static const struct pil_type text = {.scalar = PIL_SCALAR_STRING, .shape = PIL_SHAPE_SCALAR};
    static const struct pil_type integer = {.scalar = PIL_SCALAR_INT64, .shape = PIL_SHAPE_SCALAR};
    static const struct pil_type real = {.scalar = PIL_SCALAR_FLOAT64, .shape = PIL_SHAPE_SCALAR};
    const struct pil_key_part part = pil_feast_key_part(value);
    int64_t number = 0;
    if (pil_scalar_is_text(entity->type)) {
        pil_feast_put_value(encoder, text, value->text);
        return;
    }
    bool is_key = pil_key_part_to_integer(&part, entity->type, &number);
    PIL_ASSERT(is_key); /* the key was looked up */
    if (entity->type == PIL_SCALAR_UNIX_TIMESTAMP) {
        double seconds = (double)number / 1e6;
        if (number % 1000000 != 0) {
            bool is_text = value->kind == PIL_FEAST_KIND_STRING;
            pil_feast_put_value(encoder, is_text ? text : real,
                                is_text ? value->text : pil_bytes_from(&seconds, sizeof seconds));
            return;
        }
        number /= 1000000;
    }
    pil_feast_put_value(encoder, integer, pil_bytes_from(&number, sizeof number));
}

static void put_key_column(struct pil_feast_encoder *encoder, const struct pil_feast_call *call,
                           const struct pil_feast_column *column, const struct pil_entity *entity) {
    pil_feast_put_column(encoder);
    for (uint32_t row = 0; row < call->row_count; row++) {
        put_key(encoder, entity, &call->body.values[column->value_first + row]);
    }
    pil_feast_put_statuses(encoder);
    for (uint32_t row = 0; row < call->row_count; row++) {
        pil_feast_put_status(encoder, PIL_VALUE_PRESENT);
    }
    pil_feast_put_timestamps(encoder);
    for (uint32_t row = 0; row < call->row_count; row++) {
        pil_feast_put_timestamp(encoder, 0);
    }
}

/* What a row has to show of a feature. */
typedef enum row_content {
    CONTENT_VALUE,
    CONTENT_NULL,       /* a null, or no row */
    CONTENT_UNREADABLE, /* a value that Feast's SDK cannot read, for a listener that answers as Feast's Python server */
} row_content;

static row_content content_of(pil_status_mode mode, const struct pil_view *schema, uint32_t feature,
                              const struct pil_row *row) {
    if (row->fields == NULL || pil_row_is_null(schema, row->fields, feature)) {
        return CONTENT_NULL;
    }
    const struct pil_feature *described = &schema->features[feature];
    bool is_unreadable = mode == PIL_STATUS_MODE_FEAST_PYTHON &&
                         !pil_value_is_readable_by_feast(described->type, pil_row_value(row, described));
    return is_unreadable ? CONTENT_UNREADABLE : CONTENT_VALUE;
}

/* The status that each mode shows. Feast's Python server reports neither expired rows nor nulls; its Go server reports
 * nulls as NOT_FOUND. A value that is shown as null, because the SDK would fail the whole reply or read another value,
 * is never PRESENT. */
static pil_value_status shown_status(pil_status_mode mode, pil_value_status of_row, row_content content) {
    if (of_row == PIL_VALUE_NOT_FOUND) {
        return PIL_VALUE_NOT_FOUND;
    }
    switch (mode) {
    case PIL_STATUS_MODE_FEAST_PYTHON: return content == CONTENT_UNREADABLE ? PIL_VALUE_NULL_VALUE : PIL_VALUE_PRESENT;
    case PIL_STATUS_MODE_FEAST_GO: return content == CONTENT_NULL ? PIL_VALUE_NOT_FOUND : of_row;
    case PIL_STATUS_MODE_STRICT: return content == CONTENT_NULL ? PIL_VALUE_NULL_VALUE : of_row;
    }
    PIL_UNREACHABLE("status mode");
}

/* The lookups of a view, one for each row. */
static const struct pil_lookup *lookups_of(const struct pil_turn *turn, const struct pil_feast_call *call,
                                           const struct pil_selection_view *view) {
    size_t slot = (size_t)(view - call->selection.views);
    return pil_request_lookups(turn, call->request) + slot * call->row_count;
}

/* The texts that are the same in every column of a view: statuses (where nothing is null) and timestamps. They make up
 * most of an answer, so they are written once and copied. */
struct view_rows {
    bool has_texts; /* false: the arena had no room, and each column writes its own texts */
    struct pil_bytes statuses, timestamps;
    uint32_t counts[PIL_VALUE_STATUS_COUNT]; /* rows by status */
};

static void put_timestamps(struct pil_turn *turn, struct pil_feast_encoder *encoder, const struct pil_feast_call *call,
                           const struct pil_selection_view *view) {
    const struct pil_lookup *lookups = lookups_of(turn, call, view);
    for (uint32_t row = 0; row < call->row_count; row++) {
        const uint8_t *fields = lookups[row].row.fields;
        pil_feast_put_timestamp(encoder, fields != NULL ? pil_row_event_ts_us(view->serving->chain.view, fields) : 0);
    }
}

/* Opens a sink over the arena with room for `row_count` rows of at most `room` bytes. Returns false when there is no
 * room. */
static bool begin_text(struct pil_turn *turn, uint32_t row_count, size_t room, struct pil_sink *ret_sink) {
    size_t bytes = row_count * room + PIL_SINK_RESERVE_MAX;
    void *text = pil_arena_alloc(&turn->batch->arena, bytes, 1);
    *ret_sink = pil_sink_fixed(text, bytes);
    return text != NULL;
}

static struct view_rows make_rows(struct pil_turn *turn, const struct pil_feast_call *call,
                                  const struct pil_selection_view *view) {
    pil_status_mode mode = call->request->connection->listener->statuses;
    const struct pil_lookup *lookups = lookups_of(turn, call, view);
    struct view_rows rows = {.has_texts = false};
    struct pil_sink statuses, timestamps;
    if (!begin_text(turn, call->row_count, PIL_FEAST_STATUS_BYTES_MAX, &statuses) ||
        !begin_text(turn, call->row_count, PIL_FEAST_TIME_BYTES_MAX, &timestamps)) {
        return rows;
    }
    const uint8_t *statuses_begin = statuses.at, *timestamps_begin = timestamps.at;
    struct pil_feast_encoder encoder = {.sink = &statuses};
    for (uint32_t row = 0; row < call->row_count; row++) {
        rows.counts[lookups[row].status]++;
        pil_feast_put_status(&encoder, shown_status(mode, lookups[row].status, CONTENT_VALUE));
    }
    encoder = (struct pil_feast_encoder){.sink = &timestamps};
    put_timestamps(turn, &encoder, call, view);
    PIL_ASSERT(!statuses.failed && !timestamps.failed);
    rows.has_texts = true;
    rows.statuses = pil_bytes_from(statuses_begin, (size_t)(statuses.at - statuses_begin));
    rows.timestamps = pil_bytes_from(timestamps_begin, (size_t)(timestamps.at - timestamps_begin));
    return rows;
}

/* Returns how many of the rows found show a null here. */
static uint32_t put_values(struct pil_turn *turn, struct pil_feast_encoder *encoder, const struct pil_feast_call *call,
                           const struct pil_selection_feature *selected) {
    const struct pil_selection_view *view = &call->selection.views[selected->slot];
    const struct pil_view *schema = view->serving->chain.view;
    const struct pil_feature *feature = &schema->features[selected->feature];
    const struct pil_lookup *lookups = lookups_of(turn, call, view);
    pil_status_mode mode = call->request->connection->listener->statuses;
    uint32_t nulls = 0;
    for (uint32_t row = 0; row < call->row_count; row++) {
        const struct pil_row *found = &lookups[row].row;
        if (content_of(mode, schema, selected->feature, found) == CONTENT_VALUE) {
            pil_feast_put_value(encoder, feature->type, pil_row_value(found, feature));
        } else {
            nulls += found->fields != NULL;
            pil_feast_put_null(encoder);
        }
    }
    return nulls;
}

static void put_statuses(struct pil_turn *turn, struct pil_feast_encoder *encoder, const struct pil_feast_call *call,
                         const struct pil_selection_feature *selected) {
    const struct pil_selection_view *view = &call->selection.views[selected->slot];
    const struct pil_lookup *lookups = lookups_of(turn, call, view);
    pil_status_mode mode = call->request->connection->listener->statuses;
    uint64_t *counts = turn->value_counts[view->view->index];
    for (uint32_t row = 0; row < call->row_count; row++) {
        row_content content = content_of(mode, view->serving->chain.view, selected->feature, &lookups[row].row);
        counts[shown_status(PIL_STATUS_MODE_STRICT, lookups[row].status, content)]++;
        pil_feast_put_status(encoder, shown_status(mode, lookups[row].status, content));
    }
}

static void put_feature_column(struct pil_turn *turn, struct pil_feast_encoder *encoder,
                               const struct pil_feast_call *call, const struct pil_selection_feature *selected,
                               const struct view_rows *rows) {
    const struct pil_selection_view *view = &call->selection.views[selected->slot];
    pil_feast_put_column(encoder);
    uint32_t nulls = put_values(turn, encoder, call, selected);
    pil_feast_put_statuses(encoder);
    if (!rows->has_texts || nulls > 0) {
        put_statuses(turn, encoder, call, selected);
    } else {
        pil_sink_write_bytes(encoder->sink, rows->statuses);
        for (uint32_t status = PIL_VALUE_PRESENT; status < PIL_VALUE_STATUS_COUNT; status++) {
            turn->value_counts[view->view->index][status] += rows->counts[status];
        }
    }
    pil_feast_put_timestamps(encoder);
    if (rows->has_texts) {
        pil_sink_write_bytes(encoder->sink, rows->timestamps);
    } else {
        put_timestamps(turn, encoder, call, view);
    }
}

void pil_feast_online_put(struct pil_turn *turn, struct pil_request *request, struct pil_sink *sink) {
    const struct pil_feast_call *call = request->body;
    struct pil_feast_encoder encoder = {.sink = sink};
    const struct pil_feast_request *feast = &call->body;
    struct view_rows rows[PIL_SETTINGS_VIEWS_MAX] PIL_UNINITIALIZED;
    size_t mark = pil_arena_mark(&turn->batch->arena);
    for (uint32_t slot = 0; slot < call->selection.view_count; slot++) {
        rows[slot] = make_rows(turn, call, &call->selection.views[slot]);
    }
    pil_feast_put_begin(&encoder);
    for (uint32_t i = 0; i < feast->column_count; i++) {
        const struct pil_entity *entity = entity_of_column(call, feast->columns[i].name);
        if (entity != NULL) { /* other columns are request data for on-demand transformations, which are not
                                 supported */
            put_key_column(&encoder, call, &feast->columns[i], entity);
        }
    }
    for (uint32_t i = 0; i < call->selection.feature_count; i++) {
        const struct pil_selection_feature *selected = &call->selection.features[i];
        put_feature_column(turn, &encoder, call, selected, &rows[selected->slot]);
    }
    pil_feast_put_names(&encoder);
    for (uint32_t i = 0; i < feast->column_count; i++) {
        const struct pil_entity *entity = entity_of_column(call, feast->columns[i].name);
        if (entity != NULL) {
            pil_feast_put_name(&encoder, pil_bytes_from_text(entity->join_key));
        }
    }
    for (uint32_t i = 0; i < call->selection.feature_count; i++) {
        char name[PIL_FEAST_COLUMN_NAME_BYTES] PIL_UNINITIALIZED;
        pil_feast_put_name(&encoder, pil_feast_column_name(call, i, name));
    }
    if (feast->include_view_metadata) {
        pil_feast_put_views(&encoder);
        for (uint32_t slot = 0; slot < call->selection.view_count; slot++) {
            char name[PIL_SCOPE_NAME_BYTES] PIL_UNINITIALIZED;
            pil_feast_put_view(&encoder, pil_feast_view_name(call, slot, name));
        }
    }
    pil_feast_put_end(&encoder);
    pil_arena_rewind(&turn->batch->arena, mark);
}
