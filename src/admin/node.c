/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/node.h"
#include "base/clock.h"

#include <stdio.h>

static void term(struct pil_text *terms, bool *all, bool holds, const char *text) {
    *all = *all && holds;
    if (terms != NULL) {
        pil_text_format(terms, "[%c] %s\n", holds ? '+' : '-', text);
    }
}

static void view_terms(const struct pil_node *node, uint32_t index, struct pil_text *terms, bool *all) {
    const struct pil_view_settings *settings = &pil_server_settings(node->server)->views[index];
    const struct pil_node_view *view = &node->views[index];
    const struct pil_release *release = pil_cache_live(pil_cache_view_at(pil_server_cache(node->server), index));
    char text[2 * PIL_NODE_TEXT_BYTES];
    int64_t now_us = pil_clock_wall_us();
    if (release != NULL) {
        snprintf(text, sizeof text, "%s/%s@%s: release %s, published %lld s ago", settings->project, settings->view,
                 settings->channel, release->id, (long long)((now_us - release->published_us) / 1000000));
    } else {
        snprintf(text, sizeof text, "%s/%s@%s: no release%s%s", settings->project, settings->view, settings->channel,
                 view->refused_result != NULL ? "; " : " yet", view->refused_result != NULL ? view->refused_why : "");
    }
    term(terms, all, release != NULL, text);
    uint64_t age_us = view->checked_us == 0       ? UINT64_MAX
                      : now_us > view->checked_us ? (uint64_t)(now_us - view->checked_us)
                                                  : 0;
    if (view->checked_us == 0) {
        snprintf(text, sizeof text, "%s/%s@%s: channel not read yet", settings->project, settings->view,
                 settings->channel);
    } else {
        snprintf(text, sizeof text, "%s/%s@%s: channel read %llu s ago, bound %llu s", settings->project,
                 settings->view, settings->channel, (unsigned long long)(age_us / 1000000),
                 (unsigned long long)(settings->staleness_bound_us / 1000000));
    }
    term(terms, all, age_us <= settings->staleness_bound_us, text);
}

bool pil_node_is_ready(const struct pil_node *node, struct pil_text *terms) {
    bool all = true;
    term(terms, &all, !pil_server_failed(node->server), "workers run");
    term(terms, &all, !node->is_draining, "not draining");
    for (uint32_t i = 0; i < pil_server_settings(node->server)->view_count; i++) {
        view_terms(node, i, terms, &all);
    }
    return all;
}

static void set(const struct pil_node *node, pil_metric metric, const char *label, double value) {
    const char *labels[] = {label, NULL};
    pil_metric_series series = PIL_METRIC_SERIES_NONE;
    if (pil_metric_series_get(pil_server_metrics(node->server), metric, labels, &series) == PIL_STATUS_OK) {
        pil_metric_set(pil_server_metrics(node->server), series, value);
    }
}

void pil_node_update_metrics(const struct pil_node *node) {
    const struct pil_settings *settings = pil_server_settings(node->server);
    int64_t now_us = pil_clock_wall_us();
    set(node, PIL_METRIC_ready, NULL, pil_node_is_ready(node, NULL));
    set(node, PIL_METRIC_memory_budget_bytes, NULL, (double)settings->memory_budget);
    for (uint32_t i = 0; i < settings->view_count; i++) {
        const struct pil_release *release = pil_cache_live(pil_cache_view_at(pil_server_cache(node->server), i));
        char label[2 * PIL_NAME_BYTES_MAX + 2];
        snprintf(label, sizeof label, "%s/%s", settings->views[i].project, settings->views[i].view);
        set(node, PIL_METRIC_channel_checked_timestamp_seconds, label, (double)node->views[i].checked_us / 1e6);
        set(node, PIL_METRIC_memory_bytes, label, (double)node->views[i].held_bytes);
        if (release != NULL) {
            set(node, PIL_METRIC_release_rows, label, (double)release->row_count);
            set(node, PIL_METRIC_release_published_timestamp_seconds, label, (double)release->published_us / 1e6);
            set(node, PIL_METRIC_release_age_seconds, label,
                release->row_count > 0 ? (double)(now_us - release->event_ts_us_max) / 1e6 : 0.0);
        }
    }
}
