/* SPDX-License-Identifier: Apache-2.0
 * POST /get-online-features: from a body to lookups (a block of one lookup a row for each view asked), and from rows to
 * the column-oriented response. Order of the answer: join keys as in the request, then features as in the request. */
#include "server/redis.h"

#include <stdio.h>

enum { ERROR_BODY_BYTES = 16384, KEY_PARTS_MAX = PIL_ENTITIES_MAX, NOT_FOUND_COLUMN = -1 };

/* ---- Errors: bodies are written to scratch, so that the reply phase only copies. */

static bool no_growth(struct pil_sink *sink) {
    (void)sink;
    return false;
}

static struct pil_sink error_sink(struct pil_worker *worker, uint8_t **ret_body) {
    uint8_t *body = pil_batch_scratch(worker->batch, ERROR_BODY_BYTES);
    *ret_body = body;
    return (struct pil_sink){.at = body, .end = body != NULL ? body + ERROR_BODY_BYTES : NULL, .grow = no_growth};
}

static void keep_error(struct pil_request *request, int status, const uint8_t *body, const struct pil_sink *sink) {
    request->head.status = status;
    request->is_feast = false;
    request->lookup_count = 0;
    if (body != NULL && !sink->failed) {
        request->error_body = pil_bytes_from(body, (size_t)(sink->at - body));
    } else {
        request->detail = pil_http_reason(status);
    }
}

static void fail(struct pil_worker *worker, struct pil_request *request, pil_feast_error error, struct pil_bytes first,
                 struct pil_bytes second) {
    uint8_t *body = NULL;
    struct pil_sink sink = error_sink(worker, &body);
    pil_feast_put_error(&sink, error, first, second);
    keep_error(request, pil_feast_error_http_status(error), body, &sink);
}

static void reject(struct pil_worker *worker, struct pil_request *request,
                   const struct pil_feast_rejection *rejection) {
    uint8_t *body = NULL;
    struct pil_sink sink = error_sink(worker, &body);
    pil_feast_put_rejection(&sink, rejection);
    keep_error(request, rejection->http_status, body, &sink);
}

/* ---- Plan: which views, which features. */

struct planner {
    struct pil_worker *worker;
    struct pil_request *request;
    struct pil_plan_view *views;
    struct pil_plan_feature *features;
    uint32_t view_count, feature_count;
    struct pil_bytes project; /* of the first served view: what errors name */
};

static const struct pil_project *project_of(const struct planner *planner, const struct pil_cache_view *view) {
    const struct pil_server *server = planner->worker->server;
    for (uint32_t i = 0; i < PIL_SETTINGS_VIEWS_MAX; i++) {
        const struct pil_project *project = atomic_load_explicit(&server->projects[i], memory_order_acquire);
        if (project == NULL) {
            return NULL;
        }
        if (strcmp(project->name, view->project) == 0) {
            return project;
        }
    }
    return NULL;
}

/* The slot of a view in the plan, added when it is new; UINT32_MAX with an error set. */
static uint32_t plan_view(struct planner *planner, struct pil_bytes name) {
    const struct pil_cache_view *view = pil_cache_view_find(planner->worker->server->cache, name);
    if (view == NULL) {
        fail(planner->worker, planner->request, PIL_FEAST_ERROR_VIEW_UNKNOWN, name, planner->project);
        return UINT32_MAX;
    }
    for (uint32_t slot = 0; slot < planner->view_count; slot++) {
        if (planner->views[slot].view == view) {
            return slot;
        }
    }
    const struct pil_release *release = pil_batch_live(planner->worker->batch, view);
    if (release == NULL) {
        fail(planner->worker, planner->request, PIL_FEAST_ERROR_VIEW_NOT_LOADED, name, planner->project);
        return UINT32_MAX;
    }
    planner->views[planner->view_count] = (struct pil_plan_view){.view = view, .release = release};
    return planner->view_count++;
}

static bool plan_feature(struct planner *planner, struct pil_bytes view_name, struct pil_bytes feature_name) {
    uint32_t slot = plan_view(planner, view_name);
    if (slot == UINT32_MAX) {
        return false;
    }
    int32_t index = pil_view_feature_find(planner->views[slot].release->view, feature_name);
    if (index < 0) {
        fail(planner->worker, planner->request, PIL_FEAST_ERROR_FEATURE_UNKNOWN, feature_name, view_name);
        return false;
    }
    if (planner->feature_count == PIL_SERVICE_FEATURES_MAX) {
        fail(planner->worker, planner->request, PIL_FEAST_ERROR_TOO_LARGE,
             pil_bytes_from_text("features in one request"), pil_bytes_from_text("4096"));
        return false;
    }
    planner->features[planner->feature_count++] =
        (struct pil_plan_feature){.view_slot = slot, .feature = (uint32_t)index};
    return true;
}

/* "view:feature", "view@latest:feature" */
static bool plan_reference(struct planner *planner, struct pil_bytes reference) {
    const uint8_t *colon = memchr(reference.data, ':', reference.len);
    if (colon == NULL || colon == reference.data || colon + 1 == reference.data + reference.len) {
        fail(planner->worker, planner->request, PIL_FEAST_ERROR_REFERENCE_INVALID, reference, (struct pil_bytes){0});
        return false;
    }
    struct pil_bytes view = pil_bytes_from(reference.data, (size_t)(colon - reference.data));
    struct pil_bytes feature = pil_bytes_from(colon + 1, reference.len - view.len - 1);
    const uint8_t *at = memchr(view.data, '@', view.len);
    if (at != NULL) {
        struct pil_bytes version = pil_bytes_from(at + 1, view.len - (size_t)(at - view.data) - 1);
        if (!pil_bytes_equal_text(version, "latest")) {
            fail(planner->worker, planner->request, PIL_FEAST_ERROR_VERSION_UNKNOWN, reference, (struct pil_bytes){0});
            return false;
        }
        view.len = (size_t)(at - view.data);
    }
    return plan_feature(planner, view, feature);
}

/* Looks in each served project. */
static bool plan_service(struct planner *planner, struct pil_bytes name) {
    struct pil_server *server = planner->worker->server;
    for (uint32_t i = 0; i < server->settings->view_count; i++) {
        const struct pil_cache_view *view = pil_cache_view_at(server->cache, i);
        const struct pil_project *project = project_of(planner, view);
        const struct pil_service *service = project != NULL ? pil_project_service_find(project, name) : NULL;
        if (service == NULL) {
            continue;
        }
        for (uint32_t f = 0; f < service->feature_count; f++) {
            const struct pil_view *schema = project->views[service->features[f].view_index].view;
            char full[2 * PIL_NAME_BYTES_MAX + 2];
            int len = snprintf(full, sizeof full, "%s/%s", schema->project, schema->name);
            if (!plan_feature(planner, pil_bytes_from(full, (size_t)len),
                              pil_bytes_from_text(schema->features[service->features[f].feature_index].name))) {
                return false;
            }
        }
        return true;
    }
    fail(planner->worker, planner->request, PIL_FEAST_ERROR_SERVICE_UNKNOWN, name, planner->project);
    return false;
}

static struct pil_bytes feature_name(const struct planner *planner, uint32_t i) {
    const struct pil_plan_feature *feature = &planner->features[i];
    return pil_bytes_from_text(planner->views[feature->view_slot].release->view->features[feature->feature].name);
}

static bool collides(const struct planner *planner, uint32_t i, uint32_t k) {
    bool same_view = planner->features[i].view_slot == planner->features[k].view_slot;
    return (!planner->request->feast.full_feature_names || same_view) &&
           pil_bytes_equal(feature_name(planner, i), feature_name(planner, k));
}

/* Two features of one name need full names; Feast refuses such requests, too. Names go through a table of twice their
 * number. */
static bool names_are_distinct(struct planner *planner) {
    uint16_t *table = planner->worker->batch->names;
    memset(table, 0, sizeof planner->worker->batch->names);
    for (uint32_t i = 0; i < planner->feature_count; i++) {
        uint64_t slot = pil_hash_block(feature_name(planner, i)) % PIL_PLAN_NAMES;
        for (; table[slot] != 0; slot = (slot + 1) % PIL_PLAN_NAMES) {
            if (collides(planner, i, table[slot] - 1u)) {
                fail(planner->worker, planner->request,
                     planner->request->feast.full_feature_names ? PIL_FEAST_ERROR_NAME_COLLISION_FULL
                                                                : PIL_FEAST_ERROR_NAME_COLLISION,
                     feature_name(planner, i), (struct pil_bytes){0});
                return false;
            }
        }
        table[slot] = (uint16_t)(i + 1);
    }
    return true;
}

static bool plan(struct planner *planner) {
    const struct pil_feast_request *feast = &planner->request->feast;
    if (feast->feature_service.len > 0) {
        if (!plan_service(planner, feast->feature_service)) {
            return false;
        }
    }
    for (uint32_t i = 0; feast->feature_service.len == 0 && i < feast->feature_count; i++) {
        if (!plan_reference(planner, feast->features[i])) {
            return false;
        }
    }
    if (planner->feature_count == 0) {
        fail(planner->worker, planner->request, PIL_FEAST_ERROR_FEATURES_MISSING, (struct pil_bytes){0},
             (struct pil_bytes){0});
        return false;
    }
    return names_are_distinct(planner);
}

/* ---- Keys. */

static int32_t find_column(const struct pil_feast_request *feast, const struct pil_entity *entity) {
    for (uint32_t i = 0; i < feast->column_count; i++) {
        if (pil_bytes_equal_text(feast->columns[i].name, entity->join_key)) {
            return (int32_t)i;
        }
    }
    for (uint32_t i = 0; i < feast->column_count; i++) {
        if (pil_bytes_equal_text(feast->columns[i].name, entity->name)) {
            return (int32_t)i; /* Feast accepts the entity's name, too */
        }
    }
    return NOT_FOUND_COLUMN;
}

/* All columns have as many values as the first; none is empty. */
static bool count_rows(struct planner *planner) {
    struct pil_request *request = planner->request;
    const struct pil_feast_request *feast = &request->feast;
    request->row_count = feast->column_count > 0 ? feast->columns[0].value_count : 0;
    for (uint32_t i = 1; i < feast->column_count; i++) {
        if (feast->columns[i].value_count != request->row_count) {
            fail(planner->worker, request, PIL_FEAST_ERROR_COLUMNS_UNEQUAL, (struct pil_bytes){0},
                 (struct pil_bytes){0});
            return false;
        }
    }
    if (feast->column_count > 0 && request->row_count == 0) {
        fail(planner->worker, request, PIL_FEAST_ERROR_ROWS_MISSING, feast->columns[0].name, (struct pil_bytes){0});
        return false;
    }
    return true;
}

static bool to_part(const struct pil_feast_value *value, struct pil_key_part *ret_part) {
    switch (value->kind) {
    case PIL_FEAST_KIND_INTEGER:
        *ret_part = (struct pil_key_part){.kind = PIL_KEY_PART_INT, .integer = value->integer, .text = value->text};
        return true;
    case PIL_FEAST_KIND_STRING:
        *ret_part = (struct pil_key_part){.kind = PIL_KEY_PART_TEXT, .text = value->text};
        return true;
    case PIL_FEAST_KIND_NULL:
    case PIL_FEAST_KIND_BOOL:
    case PIL_FEAST_KIND_NUMBER:
    case PIL_FEAST_KIND_NESTED: return false;
    }
    PIL_UNREACHABLE("kind of a JSON value");
}

static void reject_key(struct planner *planner, const struct pil_entity *entity, const struct pil_feast_column *column,
                       uint32_t row, bool is_too_long) {
    const struct pil_feast_value *value = &planner->request->feast.values[column->value_first + row];
    struct pil_batch *batch = planner->worker->batch;
    const char *message = is_too_long ? pil_batch_text(batch, "the key with join key %s is longer than %d bytes",
                                                       entity->join_key, PIL_KEY_BYTES_MAX)
                                      : pil_batch_text(batch, "join key %s of entity %s must be %s", entity->join_key,
                                                       entity->name, pil_scalar_text(entity->type));
    struct pil_feast_rejection rejection = {
        .http_status = 422,
        .type = "join_key_type",
        .message = message,
        .member = "entities",
        .field = column->name,
        .index = row,
        .input = value->kind == PIL_FEAST_KIND_STRING ? (struct pil_bytes){0} : value->text,
    };
    reject(planner->worker, planner->request, &rejection);
}

/* One lookup for row `row` of a view; false with the error set. */
static bool add_row(struct planner *planner, const struct pil_plan_view *planned, const int32_t *columns, uint32_t row,
                    uint64_t line_mask) {
    struct pil_batch *batch = planner->worker->batch;
    const struct pil_feast_request *feast = &planner->request->feast;
    const struct pil_view *schema = planned->release->view;
    struct pil_key_part parts[KEY_PARTS_MAX];
    size_t room = 16;
    for (uint32_t e = 0; e < schema->entity_count; e++) {
        const struct pil_feast_column *column = &feast->columns[columns[e]];
        if (!to_part(&feast->values[column->value_first + row], &parts[e])) {
            reject_key(planner, &schema->entities[e], column, row, false);
            return false;
        }
        room += parts[e].text.len + 24;
    }
    uint8_t *buffer = pil_batch_scratch(batch, room);
    uint32_t bad = 0;
    size_t len = 0;
    if (buffer == NULL) {
        fail(planner->worker, planner->request, PIL_FEAST_ERROR_TOO_LARGE,
             pil_bytes_from_text("bytes of keys in one request"), pil_bytes_from_text("4 MiB, with the body"));
        return false;
    }
    pil_status status = pil_view_key_encode(schema, parts, schema->entity_count, buffer, room, &len, &bad);
    if (status != PIL_STATUS_OK) {
        reject_key(planner, &schema->entities[bad], &feast->columns[columns[bad]], row, status == PIL_STATUS_TOO_LARGE);
        return false;
    }
    struct pil_lookup *lookup = pil_batch_lookup(planner->worker, planner->request);
    if (lookup == NULL) {
        fail(planner->worker, planner->request, PIL_FEAST_ERROR_TOO_LARGE,
             pil_bytes_from_text("entity lookups in one request"),
             pil_bytes_from_text("rows times views, see limits.keys_per_request"));
        return false;
    }
    *lookup = (struct pil_lookup){.release = planned->release,
                                  .key = buffer,
                                  .key_len = (uint32_t)len,
                                  .view_index = planned->view->index,
                                  .line_mask = line_mask};
    return true;
}

static bool add_view_rows(struct planner *planner, uint32_t slot) {
    struct pil_plan_view *planned = &planner->views[slot];
    const struct pil_view *schema = planned->release->view;
    int32_t columns[KEY_PARTS_MAX];
    for (uint32_t e = 0; e < schema->entity_count; e++) {
        columns[e] = find_column(&planner->request->feast, &schema->entities[e]);
        if (columns[e] == NOT_FOUND_COLUMN) {
            fail(planner->worker, planner->request, PIL_FEAST_ERROR_KEY_MISSING,
                 pil_bytes_from_text(schema->entities[e].join_key), pil_bytes_from_text(schema->name));
            return false;
        }
    }
    uint64_t line_mask = 0;
    for (uint32_t i = 0; i < planner->feature_count; i++) {
        if (planner->features[i].view_slot == slot) {
            line_mask |= pil_cache_line_mask(schema, &planner->features[i].feature, 1);
        }
    }
    planned->lookup_first = planner->worker->batch->lookup_count;
    for (uint32_t row = 0; row < planner->request->row_count; row++) {
        if (!add_row(planner, planned, columns, row, line_mask)) {
            return false;
        }
    }
    return true;
}

void pil_feast_prepare(struct pil_worker *worker, struct pil_request *request, struct pil_bytes body) {
    struct pil_batch *batch = worker->batch;
    size_t scratch_bytes = body.len + 1;
    struct pil_feast_buffers buffers = {
        .columns = batch->columns,
        .column_max = PIL_FEAST_COLUMNS_MAX,
        .values = batch->values,
        .value_max = PIL_FEAST_VALUES_MAX,
        .features = batch->features,
        .feature_max = PIL_SERVICE_FEATURES_MAX,
        .scratch = pil_batch_scratch(batch, scratch_bytes),
        .scratch_bytes = scratch_bytes,
    };
    struct pil_feast_rejection rejection;
    if (buffers.scratch == NULL) {
        fail(worker, request, PIL_FEAST_ERROR_TOO_LARGE, pil_bytes_from_text("body bytes"),
             pil_bytes_from_text("4 MiB"));
        return;
    }
    if (pil_feast_parse(body, &buffers, &request->feast, &rejection) != PIL_STATUS_OK) {
        reject(worker, request, &rejection);
        return;
    }
    struct planner planner = {.worker = worker,
                              .request = request,
                              .views = batch->plan_views,
                              .features = batch->plan_features,
                              .project = pil_bytes_from_text(worker->server->settings->views[0].project)};
    batch->feast_used = true;
    if (!plan(&planner) || !count_rows(&planner)) {
        return;
    }
    for (uint32_t slot = 0; slot < planner.view_count; slot++) {
        if (!add_view_rows(&planner, slot)) {
            return;
        }
    }
    request->is_feast = true;
    request->view = planner.views[0].view;
    request->plan_views = planner.views;
    request->plan_view_count = planner.view_count;
    request->plan_features = planner.features;
    request->plan_feature_count = planner.feature_count;
}

/* ---- Reply. */

/* A key column is echoed as its entity's type: a key that was sent as "1002" for an int64 comes back as 1002. */
static const struct pil_entity *entity_of_column(const struct pil_request *request, struct pil_bytes name) {
    for (uint32_t slot = 0; slot < request->plan_view_count; slot++) {
        const struct pil_view *schema = request->plan_views[slot].release->view;
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
    bool wants_text = entity->type == PIL_SCALAR_STRING || entity->type == PIL_SCALAR_BYTES;
    int64_t number = value->integer;
    if (wants_text) {
        pil_feast_put_value(encoder, text, value->text);
        return;
    }
    if (value->kind == PIL_FEAST_KIND_STRING && !pil_redis_parse_i64(value->text, &number)) {
        pil_feast_put_value(encoder, text, value->text); /* a timestamp with a fraction */
        return;
    }
    pil_feast_put_value(encoder, integer, pil_bytes_from(&number, sizeof number));
}

static void put_key_column(struct pil_feast_encoder *encoder, const struct pil_request *request,
                           const struct pil_feast_column *column, const struct pil_entity *entity) {
    pil_feast_put_column(encoder);
    for (uint32_t row = 0; row < request->row_count; row++) {
        put_key(encoder, entity, &request->feast.values[column->value_first + row]);
    }
    pil_feast_put_statuses(encoder);
    for (uint32_t row = 0; row < request->row_count; row++) {
        pil_feast_put_status(encoder, PIL_FEAST_STATUS_PRESENT);
    }
    pil_feast_put_timestamps(encoder);
    for (uint32_t row = 0; row < request->row_count; row++) {
        pil_feast_put_timestamp(encoder, 0);
    }
}

/* What each peer says (design: statuses). Feast's Python server knows neither expiry nor nulls; its Go server no nulls.
 */
static pil_feast_status told_status(pil_status_mode mode, pil_row_state state, bool is_null) {
    if (state == PIL_ROW_MISSING) {
        return PIL_FEAST_STATUS_NOT_FOUND;
    }
    switch (mode) {
    case PIL_STATUS_MODE_FEAST_PYTHON: return PIL_FEAST_STATUS_PRESENT;
    case PIL_STATUS_MODE_FEAST_GO:
        return is_null                    ? PIL_FEAST_STATUS_NOT_FOUND
               : state == PIL_ROW_EXPIRED ? PIL_FEAST_STATUS_OUTSIDE_MAX_AGE
                                          : PIL_FEAST_STATUS_PRESENT;
    case PIL_STATUS_MODE_STRICT:
        return is_null                    ? PIL_FEAST_STATUS_NULL_VALUE
               : state == PIL_ROW_EXPIRED ? PIL_FEAST_STATUS_OUTSIDE_MAX_AGE
                                          : PIL_FEAST_STATUS_PRESENT;
    }
    PIL_UNREACHABLE("status mode");
}

/* The rows of one view as every column of it shows them: states, and the texts of statuses (where nothing is null) and
 * of timestamps. Most of an answer is these texts, so they are written once and copied. */
struct view_rows {
    const uint8_t *states; /* pil_row_state; NULL: there was no room, each column works it out */
    struct pil_bytes statuses, timestamps;
    uint32_t counts[3]; /* by pil_row_state */
};
enum { STATUS_ROOM = 24, TIMESTAMP_ROOM = 40 };

static pil_row_state state_at(const struct pil_worker *worker, const struct pil_request *request,
                              const struct pil_plan_view *view, const struct view_rows *rows, uint32_t row) {
    return rows->states != NULL ? (pil_row_state)rows->states[row]
                                : pil_row_state_of(worker, &worker->batch->lookups[view->lookup_first + row],
                                                   request->connection->listener);
}

static void put_timestamps(struct pil_worker *worker, struct pil_feast_encoder *encoder,
                           const struct pil_request *request, const struct pil_plan_view *view,
                           const struct view_rows *rows) {
    const struct pil_lookup *lookups = &worker->batch->lookups[view->lookup_first];
    for (uint32_t row = 0; row < request->row_count; row++) {
        bool there = state_at(worker, request, view, rows, row) != PIL_ROW_MISSING;
        pil_feast_put_timestamp(encoder, there ? pil_row_event_ts_us(view->release->view, lookups[row].row) : 0);
    }
}

/* A sink over scratch that holds what `row_count` rows of at most `room` bytes may need; false: there is no room. */
static bool begin_text(struct pil_worker *worker, uint32_t row_count, size_t room, struct pil_sink *ret_sink) {
    size_t bytes = row_count * room + PIL_SINK_RESERVE_MAX;
    uint8_t *at = pil_batch_scratch(worker->batch, bytes);
    *ret_sink = (struct pil_sink){.at = at, .end = at != NULL ? at + bytes : NULL, .grow = no_growth};
    return at != NULL;
}

static struct view_rows make_rows(struct pil_worker *worker, const struct pil_request *request,
                                  const struct pil_plan_view *view) {
    const struct pil_listener_settings *listener = request->connection->listener;
    const struct pil_lookup *lookups = &worker->batch->lookups[view->lookup_first];
    struct view_rows rows = {.states = NULL};
    struct pil_sink statuses, timestamps;
    uint8_t *states = pil_batch_scratch(worker->batch, request->row_count);
    if (states == NULL || !begin_text(worker, request->row_count, STATUS_ROOM, &statuses) ||
        !begin_text(worker, request->row_count, TIMESTAMP_ROOM, &timestamps)) {
        return rows;
    }
    const uint8_t *statuses_begin = statuses.at, *timestamps_begin = timestamps.at;
    struct pil_feast_encoder encoder = {.sink = &statuses};
    for (uint32_t row = 0; row < request->row_count; row++) {
        states[row] = (uint8_t)pil_row_state_of(worker, &lookups[row], listener);
        rows.counts[states[row]]++;
        pil_feast_put_status(&encoder, told_status(listener->statuses, (pil_row_state)states[row], false));
    }
    rows.states = states;
    encoder = (struct pil_feast_encoder){.sink = &timestamps};
    put_timestamps(worker, &encoder, request, view, &rows);
    PIL_ASSERT(!statuses.failed && !timestamps.failed);
    rows.statuses = pil_bytes_from(statuses_begin, (size_t)(statuses.at - statuses_begin));
    rows.timestamps = pil_bytes_from(timestamps_begin, (size_t)(timestamps.at - timestamps_begin));
    return rows;
}

/* Returns how many of the rows that are there are null. */
static uint32_t put_values(struct pil_worker *worker, struct pil_feast_encoder *encoder,
                           const struct pil_request *request, const struct pil_plan_feature *planned,
                           const struct view_rows *rows) {
    const struct pil_plan_view *view = &request->plan_views[planned->view_slot];
    const struct pil_view *schema = view->release->view;
    const struct pil_feature *feature = &schema->features[planned->feature];
    const struct pil_lookup *lookups = &worker->batch->lookups[view->lookup_first];
    uint32_t nulls = 0;
    for (uint32_t row = 0; row < request->row_count; row++) {
        bool there = state_at(worker, request, view, rows, row) != PIL_ROW_MISSING;
        bool is_null = there && pil_row_is_null(schema, lookups[row].row, planned->feature);
        nulls += is_null;
        if (there && !is_null) {
            pil_feast_put_value(encoder, feature->type, pil_row_value(&lookups[row], feature));
        } else {
            pil_feast_put_null(encoder);
        }
    }
    return nulls;
}

static void put_statuses(struct pil_worker *worker, struct pil_feast_encoder *encoder,
                         const struct pil_request *request, const struct pil_plan_feature *planned,
                         const struct view_rows *rows) {
    const struct pil_plan_view *view = &request->plan_views[planned->view_slot];
    const struct pil_lookup *lookups = &worker->batch->lookups[view->lookup_first];
    uint64_t *counts = worker->values_by_status[view->view->index];
    for (uint32_t row = 0; row < request->row_count; row++) {
        pil_row_state state = state_at(worker, request, view, rows, row);
        bool is_null =
            state != PIL_ROW_MISSING && pil_row_is_null(view->release->view, lookups[row].row, planned->feature);
        counts[told_status(PIL_STATUS_MODE_STRICT, state, is_null)]++;
        pil_feast_put_status(encoder, told_status(request->connection->listener->statuses, state, is_null));
    }
}

static void put_feature_column(struct pil_worker *worker, struct pil_feast_encoder *encoder,
                               const struct pil_request *request, const struct pil_plan_feature *planned,
                               const struct view_rows *rows) {
    const struct pil_plan_view *view = &request->plan_views[planned->view_slot];
    pil_feast_put_column(encoder);
    uint32_t nulls = put_values(worker, encoder, request, planned, rows);
    pil_feast_put_statuses(encoder);
    if (rows->states == NULL || nulls > 0) {
        put_statuses(worker, encoder, request, planned, rows);
    } else {
        pil_sink_write_bytes(encoder->sink, rows->statuses);
        for (uint32_t state = 0; state < 3; state++) {
            worker->values_by_status[view->view->index][told_status(PIL_STATUS_MODE_STRICT, (pil_row_state)state,
                                                                    false)] += rows->counts[state];
        }
    }
    pil_feast_put_timestamps(encoder);
    if (rows->states == NULL) {
        put_timestamps(worker, encoder, request, view, rows);
    } else {
        pil_sink_write_bytes(encoder->sink, rows->timestamps);
    }
}

void pil_feast_reply(struct pil_worker *worker, struct pil_request *request, struct pil_sink *sink) {
    struct pil_feast_encoder encoder = {.sink = sink};
    const struct pil_feast_request *feast = &request->feast;
    struct view_rows rows[PIL_SETTINGS_VIEWS_MAX];
    size_t scratch_used = worker->batch->scratch_used;
    for (uint32_t slot = 0; slot < request->plan_view_count; slot++) {
        rows[slot] = make_rows(worker, request, &request->plan_views[slot]);
    }
    pil_feast_put_begin(&encoder);
    for (uint32_t i = 0; i < feast->column_count; i++) {
        const struct pil_entity *entity = entity_of_column(request, feast->columns[i].name);
        if (entity != NULL) { /* other columns are request data of transformations, which we do not have */
            put_key_column(&encoder, request, &feast->columns[i], entity);
        }
    }
    for (uint32_t i = 0; i < request->plan_feature_count; i++) {
        const struct pil_plan_feature *planned = &request->plan_features[i];
        put_feature_column(worker, &encoder, request, planned, &rows[planned->view_slot]);
    }
    pil_feast_put_names(&encoder);
    for (uint32_t i = 0; i < feast->column_count; i++) {
        const struct pil_entity *entity = entity_of_column(request, feast->columns[i].name);
        if (entity != NULL) {
            pil_feast_put_name(&encoder, (struct pil_bytes){0}, pil_bytes_from_text(entity->join_key));
        }
    }
    for (uint32_t i = 0; i < request->plan_feature_count; i++) {
        const struct pil_view *schema = request->plan_views[request->plan_features[i].view_slot].release->view;
        struct pil_bytes view = feast->full_feature_names ? pil_bytes_from_text(schema->name) : (struct pil_bytes){0};
        pil_feast_put_name(&encoder, view,
                           pil_bytes_from_text(schema->features[request->plan_features[i].feature].name));
    }
    if (feast->include_view_metadata) {
        pil_feast_put_views(&encoder);
        for (uint32_t slot = 0; slot < request->plan_view_count; slot++) {
            pil_feast_put_view(&encoder, pil_bytes_from_text(request->plan_views[slot].release->view->name));
        }
    }
    pil_feast_put_end(&encoder);
    worker->batch->scratch_used = scratch_used;
}
