/* SPDX-License-Identifier: Apache-2.0
 * The metric series that workers add to, each registered before a worker can use it. */
#pragma once

#include "metric/metric.h"
#include "server/connection.h"

typedef enum pil_stage {
    PIL_STAGE_QUEUE,
    PIL_STAGE_LOOKUP,
    PIL_STAGE_ENCODE,
    PIL_STAGE_SEND,
    PIL_STAGE_TOTAL,
    PIL_STAGE_COUNT
} pil_stage;

struct pil_series {
    pil_metric_series requests[PIL_SETTINGS_PROTOCOLS_MAX][2];                                        /* ok, error */
    pil_metric_series stage[PIL_SETTINGS_PROTOCOLS_MAX][PIL_SETTINGS_VIEWS_MAX + 1][PIL_STAGE_COUNT]; /* [0]: no view */
    pil_metric_series lookups[PIL_SETTINGS_VIEWS_MAX][2]; /* hit, not_found */
    pil_metric_series values[PIL_SETTINGS_VIEWS_MAX][PIL_VALUE_STATUS_COUNT];
    pil_metric_series batch_size, turn;
    pil_metric_series accepted[PIL_SETTINGS_PROTOCOLS_MAX], received_bytes[PIL_SETTINGS_PROTOCOLS_MAX],
        sent_bytes[PIL_SETTINGS_PROTOCOLS_MAX];
    pil_metric_series closed[PIL_SETTINGS_PROTOCOLS_MAX][PIL_CLOSE_COUNT];
    pil_metric_series held[PIL_SETTINGS_PROTOCOLS_MAX][PIL_HOLD_COUNT];
};

/* Creates the registry and the series of the server's protocols. */
pil_status pil_series_create(struct pil_server *server, struct pil_error *ret_error) PIL_CHECKED;
/* Registers the series of one view, before workers can find the view. */
pil_status pil_series_add_view(struct pil_server *server, uint32_t view_index) PIL_CHECKED;
