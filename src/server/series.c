/* SPDX-License-Identifier: Apache-2.0
 * Views are labelled project/view, or - where a request has none. */
#include "server/series.h"

#include "server/internal.h"

#include <stdio.h>

static const char *const close_reasons[PIL_CLOSE_COUNT] = {
    "peer",         "quit",         "protocol_error",  "request_bytes", "output_bytes",
    "output_stall", "idle_timeout", "request_timeout", "drain",         "connections"};
static const char *const hold_reasons[PIL_HOLD_COUNT] = {"requests_per_turn", "output_pause_bytes"};
static const char *const stages[PIL_STAGE_COUNT] = {"queue", "lookup", "encode", "send", "total"};
static const char *const value_statuses[PIL_FEAST_STATUS_COUNT] = {"present", "null_value", "not_found",
                                                                   "outside_max_age", "denied"};

/* A full registry costs a series, never the start. */
static void get(struct pil_server *server, pil_metric metric, pil_metric_series *series, const char *first,
                const char *second, const char *third) {
    const char *labels[] = {first, second, third, NULL};
    *series = PIL_METRIC_SERIES_NONE;
    pil_ignore(pil_metric_series_get(server->metrics, metric, labels, series), "SERIES_NONE is ignored by every add");
}

/* Whether workers speak it; the control thread speaks the others. */
static bool is_served(const struct pil_server *server, uint32_t protocol) {
    return server->protocols[protocol]->decode != NULL;
}

static void stage_series(struct pil_server *server, uint32_t protocol, uint32_t at, const char *view) {
    for (uint32_t stage = 0; is_served(server, protocol) && stage < PIL_STAGE_COUNT; stage++) {
        get(server, PIL_METRIC_request_duration_seconds, &server->series.stage[protocol][at][stage],
            server->protocols[protocol]->name, view, stages[stage]);
    }
}

static void protocol_series(struct pil_server *server, uint32_t protocol) {
    struct pil_series *series = &server->series;
    const char *name = server->protocols[protocol]->name;
    get(server, PIL_METRIC_requests_total, &series->requests[protocol][0], name, "ok", NULL);
    get(server, PIL_METRIC_requests_total, &series->requests[protocol][1], name, "error", NULL);
    get(server, PIL_METRIC_connections_accepted_total, &series->accepted[protocol], name, NULL, NULL);
    get(server, PIL_METRIC_received_bytes_total, &series->received_bytes[protocol], name, NULL, NULL);
    get(server, PIL_METRIC_sent_bytes_total, &series->sent_bytes[protocol], name, NULL, NULL);
    for (uint32_t reason = 0; reason < PIL_CLOSE_COUNT; reason++) {
        get(server, PIL_METRIC_connections_closed_total, &series->closed[protocol][reason], name, close_reasons[reason],
            NULL);
    }
    for (uint32_t reason = 0; reason < PIL_HOLD_COUNT; reason++) {
        get(server, PIL_METRIC_connections_held_total, &series->held[protocol][reason], name, hold_reasons[reason],
            NULL);
    }
    stage_series(server, protocol, 0, "-");
}

static void view_series(struct pil_server *server, uint32_t index) {
    struct pil_series *series = &server->series;
    const struct pil_view_settings *view = &server->settings->views[index];
    char label[2 * PIL_NAME_BYTES_MAX + 2];
    snprintf(label, sizeof label, "%s/%s", view->project, view->view);
    get(server, PIL_METRIC_lookups_total, &series->lookups[index][0], label, "hit", NULL);
    get(server, PIL_METRIC_lookups_total, &series->lookups[index][1], label, "not_found", NULL);
    for (uint32_t status = 0; status < PIL_FEAST_STATUS_COUNT; status++) {
        get(server, PIL_METRIC_values_total, &series->values[index][status], label, value_statuses[status], NULL);
    }
    for (uint32_t protocol = 0; protocol < server->protocol_count; protocol++) {
        stage_series(server, protocol, index + 1, label);
    }
}

pil_status pil_series_create(struct pil_server *server, struct pil_error *ret_error) {
    uint32_t views = server->settings->view_count, protocols = server->protocol_count;
    /* What the loops below and the control plane ask for; the shard past the workers' is the control thread's. */
    uint32_t histograms = protocols * (views + 1) * PIL_STAGE_COUNT + 3 * views + 4;
    uint32_t series_max =
        histograms + protocols * (8 + PIL_CLOSE_COUNT + PIL_HOLD_COUNT) + views * 64 + server->worker_count + 64;
    pil_status status = pil_metric_registry_create(server->worker_count + 1, series_max, histograms, &server->metrics);
    if (status != PIL_STATUS_OK) {
        return pil_fail(ret_error, status, "metrics: %s", pil_status_text(status));
    }
    for (uint32_t protocol = 0; protocol < protocols; protocol++) {
        protocol_series(server, protocol);
    }
    for (uint32_t i = 0; i < views; i++) {
        view_series(server, i);
    }
    get(server, PIL_METRIC_batch_size, &server->series.batch_size, NULL, NULL, NULL);
    get(server, PIL_METRIC_turn_duration_seconds, &server->series.turn, NULL, NULL, NULL);
    return PIL_STATUS_OK;
}
