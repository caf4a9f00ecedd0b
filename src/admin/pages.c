/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/pages.h"

#include "base/clock.h"
#include "cache/cache.h"
#include "cache/freshness.h"
#include "mapped/mapped.h"
#include "metric/exposition.h"
#include "protocol/protocols.h"
#include "schema/json_text.h"
#include "server/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_PLAIN "text/plain; charset=utf-8"
#define JSON "application/json"

/* Consumes the document; NULL: memory ran out while it was made. */
static void take_json(json_t *document, struct pil_page *page) {
    char *text = pil_json_text(document, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
    if (text != NULL) {
        pil_text_format(&page->body, "%s\n", text);
    }
    page->content_type = JSON;
    free(text);
    json_decref(document);
}

/* OpenMetrics for scrapers that ask for it, else the classic text format. Prometheus 3 refuses a page without a content
 * type. */
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
    struct pil_text terms = {0};
    bool ready = pil_node_is_ready(node, &terms);
    page->status = ready ? 200 : 503;
    for (const char *line = terms.failed ? "" : pil_text_chars(&terms); *line != '\0';) {
        size_t len = strcspn(line, "\n");
        if (verbose || line[1] == '-') {
            pil_text_append(&page->body, line, len + 1);
        }
        line += len + 1;
    }
    pil_text_deinit(&terms);
    pil_text_format(&page->body, "%s\n", ready ? "ready" : "not ready");
}

/* The terms of readiness that do not hold, as a list of sentences. NULL when memory is short. */
static json_t *not_ready_terms(const struct pil_node *node) {
    struct pil_text terms = {0};
    json_t *list = json_array();
    pil_node_is_ready(node, &terms);
    for (const char *line = terms.failed ? "" : pil_text_chars(&terms); *line != '\0';) {
        size_t len = strcspn(line, "\n");
        if (line[1] == '-') {
            pil_json_append(&list, json_stringn(line + 4, len - 4));
        }
        line += len + 1;
    }
    pil_text_deinit(&terms);
    return list;
}

static bool add_freshness(json_t *json, const struct pil_release *release) {
    bool has_rows = release->row_count > 0;
    json_t *more = release->view->is_static
                       ? json_pack("{s:b}", "static", true)
                       : json_pack("{s:b, s:I, s:I, s:I, s:s}", "static", false, "newest_event_us",
                                   (json_int_t)(has_rows ? release->event_ts_us_max : 0), "oldest_event_us",
                                   (json_int_t)(has_rows ? release->event_ts_us_min : 0), "ttl_us",
                                   (json_int_t)release->view->ttl_us, "past_ttl",
                                   pil_freshness_expiry_text(pil_freshness_expiry(release, pil_clock_wall_us())));
    bool is_added = json_object_update(json, more) == 0;
    json_decref(more);
    return is_added;
}

static bool add_release(json_t *json, const struct pil_release *release) {
    json_t *more = json_pack("{s:s, s:I, s:I, s:I, s:i, s:I}", "release", release->id, "generation",
                             (json_int_t)release->generation, "rows", (json_int_t)release->row_count, "bytes",
                             (json_int_t)release->bytes, "shards", (int)release->shard_count, "published_us",
                             (json_int_t)release->published_us);
    bool is_added = json_object_update(json, more) == 0;
    json_decref(more);
    return is_added && add_freshness(json, release);
}

/* Lookups of the view's keys since the start of the server, by what they found. */
static bool add_lookups(json_t *json, const struct pil_node *node, uint32_t index) {
    static const char *const results[] = {"hit", "not_found"};
    json_t *lookups = json_object();
    char label[PIL_VIEW_LABEL_BYTES];
    pil_view_label(&pil_server_settings(node->server)->views[index], label);
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        pil_metric_series series = PIL_METRIC_SERIES_NONE;
        pil_ignore(pil_metric_series_get(pil_server_metrics(node->server), PIL_METRIC_lookups_total,
                                         PIL_METRIC_LABELS(label, results[i]), &series),
                   "without memory for a series nothing was counted");
        pil_json_set(&lookups, results[i],
                     json_integer((json_int_t)pil_metric_read(pil_server_metrics(node->server), series)));
    }
    return json_object_set_new(json, "lookups", lookups) == 0;
}

static bool add_refusal(json_t *json, const struct pil_node_view *view) {
    return json_object_set_new(json, "refused",
                               json_pack("{s:s, s:s, s:s, s:I}", "release", view->refused, "result",
                                         pil_fetch_outcome_text(view->refused_outcome), "why", view->refused_why,
                                         "when_us", (json_int_t)view->refused_us)) == 0;
}

static bool add_project(json_t *json, const struct pil_node_view *view) {
    return (view->project_refused[0] == '\0' ||
            json_object_set_new(json, "project_refused", json_string(view->project_refused)) == 0) &&
           (view->services_gone[0] == '\0' ||
            json_object_set_new(json, "services_gone", json_string(view->services_gone)) == 0);
}

/* NULL when memory is short. */
static json_t *view_status(const struct pil_node *node, uint32_t index) {
    const struct pil_view_settings *settings = &pil_server_settings(node->server)->views[index];
    const struct pil_node_view *view = &node->views[index];
    const struct pil_release *release = pil_cache_live(pil_cache_view_at(pil_server_cache(node->server), index));
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:i}", "project", settings->project, "view",
                             settings->view, "channel", settings->channel, "channel_release", view->effective, "pinned",
                             view->is_pinned, "channel_sequence", (json_int_t)view->sequence, "behind_us",
                             (json_int_t)pil_node_behind_us(node, index), "checked_us",
                             (json_int_t)pil_node_checked_us(node, index), "held_bytes", (json_int_t)view->held_bytes,
                             "held_releases", (int)view->held_count);
    if (!add_lookups(json, node, index) || (release != NULL && !add_release(json, release)) ||
        !add_project(json, view) || (view->refused_outcome != PIL_OUTCOME_OK && !add_refusal(json, view))) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* The services of all projects by whether the served releases have all of their features. NULL when memory is short. */
static json_t *services_status(const struct pil_node *node) {
    const struct pil_node_services *services = &node->services;
    return json_pack("{s:i, s:i, s:s*}", "answered", (int)services->whole_count, "unanswered",
                     (int)services->broken_count, "why", services->broken[0] != '\0' ? services->broken : NULL);
}

static void status(const struct pil_node *node, const struct pil_http_request *request, struct pil_page *page) {
    (void)request;
    const struct pil_settings *settings = pil_server_settings(node->server);
    json_t *views = json_array(), *listeners = json_array();
    for (uint32_t i = 0; i < settings->view_count; i++) {
        if (pil_cache_view_is_served(pil_cache_view_at(pil_server_cache(node->server), i))) {
            pil_json_append(&views, view_status(node, i));
        }
    }
    for (uint32_t i = 0; i < settings->listener_count; i++) {
        pil_json_append(&listeners,
                        json_pack("{s:s, s:s}", "protocol", pil_protocols[settings->listeners[i].protocol]->name,
                                  "address", settings->listeners[i].address));
    }
    json_t *limits = json_pack("{s:I, s:I}", "connections", (json_int_t)settings->limits.connections_max,
                               "mapped_sessions", (json_int_t)settings->limits.mapped_sessions_max);
    take_json(json_pack("{s:s, s:b, s:o, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "version",
                        PIL_VERSION, "ready", pil_node_is_ready(node, NULL), "not_ready", not_ready_terms(node),
                        "engine", pil_engine_kind_text(settings->engine), "engine_reason", settings->engine_reason,
                        "workers", (int)settings->worker_count, "started_us", (json_int_t)node->started_us, "now_us",
                        (json_int_t)pil_clock_wall_us(), "memory_budget", (json_int_t)settings->memory_budget,
                        "server_restarts", (json_int_t)node->server_restarts, "fetcher_restarts",
                        (json_int_t)node->fetcher_restarts, "listeners", listeners, "views", views, "services",
                        services_status(node), "limits", limits),
              page);
}

/* The fine buckets of one series, without the empty ones: [[smallest value in ns, count], …]. */
static json_t *buckets_of(const struct pil_histogram_view *counts) {
    json_t *buckets = json_array();
    for (uint32_t i = 0; i < PIL_HISTOGRAM_BUCKETS; i++) {
        if (counts->counts[i] > 0) {
            pil_json_append(
                &buckets, json_pack("[I, I]", (json_int_t)pil_histogram_bucket_low(i), (json_int_t)counts->counts[i]));
        }
    }
    return buckets;
}

/* Appends the series of one protocol and view that have counted something. `counts` is scratch space. */
static void add_histograms(struct pil_metric_registry *registry, const char *protocol, const char *view,
                           struct pil_histogram_view *counts, json_t **all) {
    static const char *const stages[] = {"queue", "lookup", "encode", "send", "total"};
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
        const char *labels[] = {protocol, view, stages[i], NULL};
        pil_metric_series series = PIL_METRIC_SERIES_NONE;
        pil_status status = pil_metric_series_get(registry, PIL_METRIC_request_duration_seconds, labels, &series);
        if (status == PIL_STATUS_NO_MEMORY) {
            pil_json_append(all, NULL);
        }
        if (status != PIL_STATUS_OK) {
            continue;
        }
        pil_metric_read_histogram(registry, series, counts);
        if (counts->count > 0) {
            pil_json_append(all, json_pack("{s:s, s:s, s:s, s:I, s:I, s:o}", "protocol", protocol, "view", view,
                                           "stage", stages[i], "count", (json_int_t)counts->count, "sum_ns",
                                           (json_int_t)counts->sum, "buckets", buckets_of(counts)));
        }
    }
}

static void hist(const struct pil_node *node, const struct pil_http_request *request, struct pil_page *page) {
    const struct pil_settings *settings = pil_server_settings(node->server);
    struct pil_metric_registry *registry = pil_server_metrics(node->server);
    struct pil_histogram_view *counts = calloc(1, sizeof *counts);
    json_t *all = counts != NULL ? json_array() : NULL;
    (void)request;
    for (uint32_t protocol = 0; protocol < PIL_PROTOCOL_COUNT && all != NULL; protocol++) {
        add_histograms(registry, pil_protocols[protocol]->name, "-", counts, &all);
        for (uint32_t view = 0; view < settings->view_count; view++) {
            char label[PIL_VIEW_LABEL_BYTES];
            pil_view_label(&settings->views[view], label);
            add_histograms(registry, pil_protocols[protocol]->name, label, counts, &all);
        }
    }
    free(counts);
    take_json(json_pack("{s:I, s:o}", "now_us", (json_int_t)pil_clock_wall_us(), "series", all), page);
}

/* NULL when memory is short. A request that read whole rows, or no rows, has no selection. */
static json_t *slow_request(const struct pil_slow_request *slow) {
    char selection[17];
    snprintf(selection, sizeof selection, "%016" PRIx64, slow->selection);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:s*, s:s, s:s}", "id", (json_int_t)slow->id,
                     "when_us", (json_int_t)slow->wall_us, "duration_us", (json_int_t)slow->duration_us, "queue_us",
                     (json_int_t)slow->queue_us, "lookup_us", (json_int_t)slow->lookup_us, "encode_us",
                     (json_int_t)slow->encode_us, "keys", (int)slow->keys, "values", (int)slow->values, "features",
                     (int)slow->features, "selection", slow->features > 0 ? selection : NULL, "what", slow->what,
                     "peer", slow->peer);
}

static void slowlog(const struct pil_node *node, const struct pil_http_request *request, struct pil_page *page) {
    struct pil_slow_request *slow = calloc(PIL_SLOWLOG_MAX, sizeof *slow);
    uint32_t count = slow != NULL ? pil_server_slowlog(node->server, slow) : 0;
    json_t *all = slow != NULL ? json_array() : NULL;
    (void)request;
    for (uint32_t i = 0; i < count; i++) {
        pil_json_append(&all, slow_request(&slow[i]));
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
    struct holders *holders = context;
    const struct pil_view_settings *view = &holders->settings->views[holder->view_index];
    pil_json_append(&holders->all,
                    json_pack("{s:i, s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:b}", "pid", (int)holder->pid,
                              "uid", (json_int_t)holder->uid, "gid", (json_int_t)holder->gid, "name", holder->name,
                              "cgroup", holder->cgroup, "project", view->project, "view", view->view, "release",
                              holder->release, "generation", (json_int_t)holder->generation, "bytes",
                              (json_int_t)holder->bytes, "since_us", (json_int_t)holder->since_us, "live",
                              holder->is_live));
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

static void fill(const struct pil_node *node, const struct pil_http_request *request, struct pil_page *ret_page) {
    if (request->method != PIL_HTTP_METHOD_GET && request->method != PIL_HTTP_METHOD_HEAD) {
        ret_page->status = 405;
        ret_page->fields = "allow: GET, HEAD\r\n";
        pil_text_format(&ret_page->body, "only GET and HEAD\n");
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

void pil_page_answer(const struct pil_node *node, const struct pil_http_request *request, struct pil_page *ret_page) {
    *ret_page = (struct pil_page){.status = 200, .content_type = TEXT_PLAIN};
    fill(node, request, ret_page);
    if (ret_page->body.len == 0) { /* every page says something, unless memory ran out while it was made */
        ret_page->status = 503;
        ret_page->content_type = TEXT_PLAIN;
        pil_text_clear(&ret_page->body);
        pil_text_format(&ret_page->body, "no memory for this page\n"); /* if this fails too, the status must do */
    }
}

bool pil_page_is_health(const struct pil_http_request *request) {
    return pil_bytes_equal_text(request->path, "/healthz") || pil_bytes_equal_text(request->path, "/readyz");
}
