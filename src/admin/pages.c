/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/pages.h"

#include "protocol/protocols.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXT_PLAIN "text/plain; charset=utf-8"
#define JSON "application/json"

static void take_json(json_t *document, struct pil_page *page) {
    char *text = json_dumps(document, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
    pil_text_append(&page->body, text, text != NULL ? strlen(text) : 0);
    pil_text_append(&page->body, "\n", 1);
    free(text);
    json_decref(document);
    page->content_type = JSON;
}

/* OpenMetrics for scrapers that ask for it; the classic text else. Prometheus 3 refuses a page without a content type.
 */
static void metrics(const struct pil_node *node, const struct pil_http_request *request, struct pil_page *page) {
    struct pil_bytes accept = {0};
    pil_node_update_metrics(node);
    bool open = pil_http_field(request->fields, "accept", &accept) &&
                memmem(accept.data, accept.len, "application/openmetrics-text", 28) != NULL;
    page->content_type = open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                              : "text/plain; version=0.0.4; charset=utf-8";
    pil_metric_expose(pil_server_metrics(node->server), open ? PIL_EXPOSITION_OPENMETRICS : PIL_EXPOSITION_TEXT,
                      &page->body);
}

static void healthz(const struct pil_node *node, const struct pil_http_request *request, struct pil_page *page) {
    (void)request;
    bool failed = pil_server_failed(node->server);
    page->status = failed ? 503 : 200;
    pil_text_format(&page->body, "%s\n", failed ? "a worker failed" : "ok");
}

static void readyz(const struct pil_node *node, const struct pil_http_request *request, struct pil_page *page) {
    struct pil_bytes ignored;
    bool verbose = pil_http_query(request->query, "verbose", &ignored);
    bool ready = pil_node_is_ready(node, verbose ? &page->body : NULL);
    page->status = ready ? 200 : 503;
    pil_text_format(&page->body, "%s\n", ready ? "ready" : "not ready");
}

static json_t *view_status(const struct pil_node *node, uint32_t index) {
    const struct pil_view_settings *settings = &pil_server_settings(node->server)->views[index];
    const struct pil_node_view *view = &node->views[index];
    const struct pil_release *release = pil_cache_live(pil_cache_view_at(pil_server_cache(node->server), index));
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:i}", "project", settings->project, "view", settings->view,
                  "channel", settings->channel, "channel_release", view->effective, "pinned", view->is_pinned,
                  "channel_sequence", (json_int_t)view->sequence, "checked_us", (json_int_t)view->checked_us,
                  "held_bytes", (json_int_t)view->held_bytes, "held_releases", (int)view->held_count);
    if (release != NULL) {
        json_object_set_new(json, "release", json_string(release->id));
        json_object_set_new(json, "generation", json_integer((json_int_t)release->generation));
        json_object_set_new(json, "rows", json_integer((json_int_t)release->row_count));
        json_object_set_new(json, "bytes", json_integer((json_int_t)release->bytes));
        json_object_set_new(json, "shards", json_integer(release->shard_count));
        json_object_set_new(json, "published_us", json_integer(release->published_us));
        json_object_set_new(json, "newest_event_us",
                            json_integer(release->row_count > 0 ? release->event_ts_us_max : 0));
    }
    if (view->refused_result != NULL) {
        json_object_set_new(json, "refused",
                            json_pack("{s:s, s:s, s:s, s:I}", "release", view->refused, "result", view->refused_result,
                                      "why", view->refused_why, "when_us", (json_int_t)view->refused_us));
    }
    return json;
}

static void status(const struct pil_node *node, const struct pil_http_request *request, struct pil_page *page) {
    (void)request;
    const struct pil_settings *settings = pil_server_settings(node->server);
    json_t *views = json_array(), *listeners = json_array();
    for (uint32_t i = 0; i < settings->view_count; i++) {
        if (pil_cache_view_is_served(pil_cache_view_at(pil_server_cache(node->server), i))) {
            json_array_append_new(views, view_status(node, i));
        }
    }
    for (uint32_t i = 0; i < settings->listener_count; i++) {
        json_array_append_new(listeners,
                              json_pack("{s:s, s:s}", "protocol", pil_protocols[settings->listeners[i].protocol]->name,
                                        "address", settings->listeners[i].address));
    }
    take_json(json_pack("{s:s, s:b, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "version", PIL_VERSION, "ready",
                        pil_node_is_ready(node, NULL), "engine", pil_engine_kind_text(settings->engine),
                        "engine_reason", settings->engine_reason, "workers", (int)settings->worker_count, "started_us",
                        (json_int_t)node->started_us, "now_us", (json_int_t)pil_clock_wall_us(), "memory_budget",
                        (json_int_t)settings->memory_budget, "server_restarts", (json_int_t)node->server_restarts,
                        "fetcher_restarts", (json_int_t)node->fetcher_restarts, "listeners", listeners, "views", views),
              page);
}

/* The fine buckets of one series, the used ones only: [[smallest value in ns, count], …]. */
static json_t *histogram(const struct pil_node *node, const char *protocol, const char *view, const char *stage) {
    const char *labels[] = {protocol, view, stage, NULL};
    pil_metric_series series = PIL_METRIC_SERIES_NONE;
    struct pil_metric_registry *registry = pil_server_metrics(node->server);
    if (pil_metric_series_get(registry, PIL_METRIC_request_duration_seconds, labels, &series) != PIL_STATUS_OK) {
        return NULL;
    }
    struct pil_histogram_view *counts = calloc(1, sizeof *counts);
    pil_metric_read_histogram(registry, series, counts);
    json_t *buckets = json_array();
    for (uint32_t i = 0; i < PIL_HISTOGRAM_BUCKETS; i++) {
        if (counts->counts[i] > 0) {
            json_array_append_new(
                buckets, json_pack("[I, I]", (json_int_t)pil_histogram_bucket_low(i), (json_int_t)counts->counts[i]));
        }
    }
    json_t *json = counts->count == 0 ? NULL
                                      : json_pack("{s:s, s:s, s:s, s:I, s:I, s:O}", "protocol", protocol, "view", view,
                                                  "stage", stage, "count", (json_int_t)counts->count, "sum_ns",
                                                  (json_int_t)counts->sum, "buckets", buckets);
    json_decref(buckets);
    free(counts);
    return json;
}

static void hist(const struct pil_node *node, const struct pil_http_request *request, struct pil_page *page) {
    static const char *const stages[] = {"queue", "lookup", "encode", "send", "total"};
    const struct pil_settings *settings = pil_server_settings(node->server);
    json_t *all = json_array();
    (void)request;
    for (uint32_t protocol = 0; protocol < PIL_PROTOCOL_COUNT; protocol++) {
        for (uint32_t view = 0; view <= settings->view_count; view++) {
            char label[2 * PIL_NAME_BYTES_MAX + 2] = "-";
            if (view > 0) {
                snprintf(label, sizeof label, "%s/%s", settings->views[view - 1].project,
                         settings->views[view - 1].view);
            }
            for (size_t stage = 0; stage < sizeof stages / sizeof stages[0]; stage++) {
                json_t *one = histogram(node, pil_protocols[protocol]->name, label, stages[stage]);
                if (one != NULL) {
                    json_array_append_new(all, one);
                }
            }
        }
    }
    take_json(json_pack("{s:I, s:o}", "now_us", (json_int_t)pil_clock_wall_us(), "series", all), page);
}

static void slowlog(const struct pil_node *node, const struct pil_http_request *request, struct pil_page *page) {
    struct pil_slow_request *slow = calloc(PIL_SLOWLOG_MAX, sizeof *slow);
    uint32_t count = pil_server_slowlog(node->server, slow);
    json_t *all = json_array();
    (void)request;
    for (uint32_t i = 0; i < count; i++) {
        json_array_append_new(
            all, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:s, s:s}", "id", (json_int_t)slow[i].id,
                           "when_us", (json_int_t)slow[i].wall_us, "duration_us", (json_int_t)slow[i].duration_us,
                           "queue_us", (json_int_t)slow[i].queue_us, "lookup_us", (json_int_t)slow[i].lookup_us,
                           "encode_us", (json_int_t)slow[i].encode_us, "keys", (int)slow[i].keys, "values",
                           (int)slow[i].values, "what", slow[i].what, "peer", slow[i].peer));
    }
    free(slow);
    take_json(json_pack("{s:I, s:o}", "threshold_us", (json_int_t)pil_server_settings(node->server)->slowlog_us,
                        "requests", all),
              page);
}

struct holders {
    const struct pil_settings *settings;
    json_t *all;
};

static void add_holder(void *context, const struct pil_mapped_holder *holder) {
    const struct holders *holders = context;
    const struct pil_view_settings *view = &holders->settings->views[holder->view_index];
    json_array_append_new(holders->all,
                          json_pack("{s:i, s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:b}", "pid",
                                    (int)holder->pid, "uid", (json_int_t)holder->uid, "gid", (json_int_t)holder->gid,
                                    "name", holder->name, "cgroup", holder->cgroup, "project", view->project, "view",
                                    view->view, "release", holder->release, "generation",
                                    (json_int_t)holder->generation, "bytes", (json_int_t)holder->bytes, "since_us",
                                    (json_int_t)holder->since_us, "live", holder->is_live));
}

static void mapped(const struct pil_node *node, const struct pil_http_request *request, struct pil_page *page) {
    struct holders holders = {.settings = pil_server_settings(node->server), .all = json_array()};
    (void)request;
    if (node->mapped != NULL) {
        pil_mapped_visit(node->mapped, add_holder, &holders);
    }
    take_json(json_pack("{s:I, s:o}", "now_us", (json_int_t)pil_clock_wall_us(), "holders", holders.all), page);
}

static const struct {
    const char *path;
    void (*answer)(const struct pil_node *node, const struct pil_http_request *request, struct pil_page *page);
    const char *help;
} pages[] = {
    {"/metrics", metrics, "metrics for Prometheus"},
    {"/healthz", healthz, "whether the process works"},
    {"/readyz", readyz, "whether every served view is ready; ?verbose says why"},
    {"/status", status, "releases, channels, memory, listeners, as JSON"},
    {"/mapped", mapped, "clients that map releases, and which, as JSON"},
    {"/hist", hist, "latency histograms in full resolution, as JSON"},
    {"/slowlog", slowlog, "slow requests, as JSON"},
};
enum { PAGE_COUNT = sizeof pages / sizeof pages[0] };

void pil_page_answer(const struct pil_node *node, const struct pil_http_request *request, struct pil_page *ret_page) {
    *ret_page = (struct pil_page){.status = 200, .content_type = TEXT_PLAIN};
    if (request->method != PIL_HTTP_METHOD_GET) {
        ret_page->status = 405;
        ret_page->fields = "allow: GET\r\n";
        pil_text_format(&ret_page->body, "only GET\n");
        return;
    }
    for (size_t i = 0; i < PAGE_COUNT; i++) {
        if (pil_bytes_equal_text(request->path, pages[i].path)) {
            pages[i].answer(node, request, ret_page);
            return;
        }
    }
    bool is_root = pil_bytes_equal_text(request->path, "/");
    ret_page->status = is_root ? 200 : 404;
    pil_text_format(&ret_page->body, is_root ? "pilliond %s\n\n" : "no such page (pilliond %s); there are\n\n",
                    PIL_VERSION);
    for (size_t i = 0; i < PAGE_COUNT; i++) {
        pil_text_format(&ret_page->body, "%-10s %s\n", pages[i].path, pages[i].help);
    }
}
