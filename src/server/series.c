/* SPDX-License-Identifier: Apache-2.0
 * The view label is project/view, or - for a request without a view. */
#include "server/series.h"

#include "server/internal.h"

static const char *const close_reasons[PIL_CLOSE_COUNT] = {
    "peer",         "quit",         "protocol_error", "request_bytes",
    "output_bytes", "output_stall", "idle_timeout",   "request_timeout",
    "drain",        "connections",  "client_memory"};
static const char *const hold_reasons[PIL_HOLD_COUNT] = {"requests_per_turn", "output_bytes"};
static const char *const stages[PIL_STAGE_COUNT] = {"queue", "lookup", "encode", "send", "total"};
static const char *const value_statuses[PIL_VALUE_STATUS_COUNT] = {[PIL_VALUE_PRESENT] = "present",
                                                                   [PIL_VALUE_NULL_VALUE] = "null_value",
                                                                   [PIL_VALUE_NOT_FOUND] = "not_found",
                                                                   [PIL_VALUE_OUTSIDE_MAX_AGE] = "outside_max_age",
                                                                   [PIL_VALUE_DENIED] = "denied"};

/* Registers series and keeps the first failure. */
struct registrar {
    struct pil_server *server;
    pil_status status;
};

static void get(struct registrar *registrar, pil_metric metric, pil_metric_series *series, const char *const *labels) {
    *series = PIL_METRIC_SERIES_NONE;
    pil_status status = pil_metric_series_get(registrar->server->metrics, metric, labels, series);
    if (registrar->status == PIL_STATUS_OK) {
        registrar->status = status;
    }
}

/* Whether workers speak the protocol; the control thread speaks the others. */
static bool is_served(const struct pil_server *server, uint32_t protocol) {
    return server->protocols[protocol]->decode != NULL;
}

static void stage_series(struct registrar *registrar, uint32_t protocol, uint32_t at, const char *view) {
    struct pil_server *server = registrar->server;
    for (uint32_t stage = 0; is_served(server, protocol) && stage < PIL_STAGE_COUNT; stage++) {
        get(registrar, PIL_METRIC_request_duration_seconds, &server->series.stage[protocol][at][stage],
            PIL_METRIC_LABELS(server->protocols[protocol]->name, view, stages[stage]));
    }
}

static void protocol_series(struct registrar *registrar, uint32_t protocol) {
    struct pil_series *series = &registrar->server->series;
    const char *name = registrar->server->protocols[protocol]->name;
    get(registrar, PIL_METRIC_requests_total, &series->requests[protocol][0], PIL_METRIC_LABELS(name, "ok"));
    get(registrar, PIL_METRIC_requests_total, &series->requests[protocol][1], PIL_METRIC_LABELS(name, "error"));
    get(registrar, PIL_METRIC_connections_accepted_total, &series->accepted[protocol], PIL_METRIC_LABELS(name));
    get(registrar, PIL_METRIC_received_bytes_total, &series->received_bytes[protocol], PIL_METRIC_LABELS(name));
    get(registrar, PIL_METRIC_sent_bytes_total, &series->sent_bytes[protocol], PIL_METRIC_LABELS(name));
    for (uint32_t reason = 0; reason < PIL_CLOSE_COUNT; reason++) {
        get(registrar, PIL_METRIC_connections_closed_total, &series->closed[protocol][reason],
            PIL_METRIC_LABELS(name, close_reasons[reason]));
    }
    for (uint32_t reason = 0; reason < PIL_HOLD_COUNT; reason++) {
        get(registrar, PIL_METRIC_connections_held_total, &series->held[protocol][reason],
            PIL_METRIC_LABELS(name, hold_reasons[reason]));
    }
    stage_series(registrar, protocol, 0, "-");
}

static void view_series(struct registrar *registrar, uint32_t index) {
    struct pil_series *series = &registrar->server->series;
    const struct pil_view_settings *view = &registrar->server->settings->views[index];
    char label[PIL_VIEW_LABEL_BYTES];
    pil_view_label(view, label);
    get(registrar, PIL_METRIC_lookups_total, &series->lookups[index][0], PIL_METRIC_LABELS(label, "hit"));
    get(registrar, PIL_METRIC_lookups_total, &series->lookups[index][1], PIL_METRIC_LABELS(label, "not_found"));
    for (uint32_t status = PIL_VALUE_PRESENT; status < PIL_VALUE_STATUS_COUNT; status++) {
        get(registrar, PIL_METRIC_values_total, &series->values[index][status],
            PIL_METRIC_LABELS(label, value_statuses[status]));
    }
    for (uint32_t protocol = 0; protocol < registrar->server->protocol_count; protocol++) {
        stage_series(registrar, protocol, index + 1, label);
    }
}

pil_status pil_series_create(struct pil_server *server, struct pil_error *ret_error) {
    struct registrar registrar = {.server = server};
    /* The last shard is the control thread's. Views may be added up to the maximum. */
    struct pil_metric_bounds bounds = {.views = PIL_SETTINGS_VIEWS_MAX, .workers = server->worker_count};
    registrar.status = pil_metric_registry_create(server->worker_count + 1, &bounds, &server->metrics);
    if (registrar.status != PIL_STATUS_OK) {
        return pil_fail(ret_error, registrar.status, "metrics: %s", pil_status_text(registrar.status));
    }
    _Static_assert(PIL_METRIC_SERIES_NONE == UINT32_MAX, "a series that is not registered counts nothing");
    memset(&server->series, 0xff, sizeof server->series);
    for (uint32_t protocol = 0; protocol < server->protocol_count; protocol++) {
        protocol_series(&registrar, protocol);
    }
    get(&registrar, PIL_METRIC_batch_size, &server->series.batch_size, NULL);
    get(&registrar, PIL_METRIC_turn_duration_seconds, &server->series.turn, NULL);
    return registrar.status == PIL_STATUS_OK
               ? PIL_STATUS_OK
               : pil_fail(ret_error, registrar.status, "metrics: register the workers' series: %s",
                          pil_status_text(registrar.status));
}

pil_status pil_series_add_view(struct pil_server *server, uint32_t index) {
    struct registrar registrar = {.server = server};
    view_series(&registrar, index);
    return registrar.status;
}
