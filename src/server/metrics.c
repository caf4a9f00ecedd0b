/* SPDX-License-Identifier: Apache-2.0
 * The series that workers add to, made before they start. Views are labelled project/view, or - where there is none. */
#include "server/internal.h"

#include <stdio.h>

static const char *const close_reasons[PIL_CLOSE_COUNT] = {
    "peer",         "quit",         "protocol_error",  "request_bytes", "output_bytes",
    "output_stall", "idle_timeout", "request_timeout", "drain",         "connections"};
static const char *const hold_reasons[PIL_HOLD_COUNT] = {"requests_per_turn", "output_pause_bytes"};
static const char *const stages[] = {"queue", "lookup", "encode", "send", "total"};
static const char *const value_statuses[PIL_FEAST_STATUS_COUNT] = {"present", "null_value", "not_found",
                                                                   "outside_max_age", "denied"};

const char *pil_protocol_text(pil_protocol protocol) {
    static const char *const texts[PIL_PROTOCOL_COUNT] = {"resp", "feast", "oip", "admin", "mapped"};
    return texts[protocol];
}

/* A full registry costs a series, never the start. */
static void get(struct pil_server *server, pil_metric metric, pil_metric_series *series, const char *first,
                const char *second, const char *third) {
    const char *labels[] = {first, second, third, NULL};
    *series = PIL_METRIC_SERIES_NONE;
    pil_ignore(pil_metric_series_get(server->metrics, metric, labels, series), "SERIES_NONE is ignored by every add");
}

static void protocol_series(struct pil_server *server, pil_protocol protocol) {
    struct pil_worker_series *series = &server->series;
    const char *name = pil_protocol_text(protocol);
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
}

static void view_series(struct pil_server *server, uint32_t index) {
    struct pil_worker_series *series = &server->series;
    const struct pil_view_settings *view = &server->settings->views[index];
    char label[2 * PIL_NAME_BYTES_MAX + 2];
    snprintf(label, sizeof label, "%s/%s", view->project, view->view);
    get(server, PIL_METRIC_lookups_total, &series->lookups[index][0], label, "hit", NULL);
    get(server, PIL_METRIC_lookups_total, &series->lookups[index][1], label, "not_found", NULL);
    for (uint32_t status = 0; status < PIL_FEAST_STATUS_COUNT; status++) {
        get(server, PIL_METRIC_values_total, &series->values[index][status], label, value_statuses[status], NULL);
    }
    for (uint32_t protocol = PIL_PROTOCOL_RESP; protocol < PIL_PROTOCOL_ADMIN; protocol++) {
        for (uint32_t stage = 0; stage <= PIL_STAGE_TOTAL; stage++) {
            get(server, PIL_METRIC_request_duration_seconds, &series->stage[protocol][index + 1][stage],
                pil_protocol_text((pil_protocol)protocol), label, stages[stage]);
        }
    }
}

pil_status pil_server_metrics_create(struct pil_server *server, struct pil_error *ret_error) {
    uint32_t views = server->settings->view_count;
    /* What the loops below and the control plane ask for; the shard past the workers' is the control thread's. */
    uint32_t histograms = PIL_PROTOCOL_ADMIN * (views + 1) * (PIL_STAGE_TOTAL + 1) + 3 * views + 4;
    uint32_t series_max = histograms + PIL_PROTOCOL_COUNT * (8 + PIL_CLOSE_COUNT + PIL_HOLD_COUNT) + views * 64 +
                          server->worker_count + 64;
    pil_status status = pil_metric_registry_create(server->worker_count + 1, series_max, histograms, &server->metrics);
    if (status != PIL_STATUS_OK) {
        return pil_fail(ret_error, status, "metrics: %s", pil_status_text(status));
    }
    for (uint32_t protocol = 0; protocol < PIL_PROTOCOL_COUNT; protocol++) {
        protocol_series(server, (pil_protocol)protocol);
        for (uint32_t stage = 0; protocol < PIL_PROTOCOL_ADMIN && stage <= PIL_STAGE_TOTAL; stage++) {
            get(server, PIL_METRIC_request_duration_seconds, &server->series.stage[protocol][0][stage],
                pil_protocol_text((pil_protocol)protocol), "-", stages[stage]);
        }
    }
    for (uint32_t i = 0; i < views; i++) {
        view_series(server, i);
    }
    get(server, PIL_METRIC_batch_size, &server->series.batch_size, NULL, NULL, NULL);
    get(server, PIL_METRIC_turn_duration_seconds, &server->series.turn, NULL, NULL, NULL);
    return PIL_STATUS_OK;
}
