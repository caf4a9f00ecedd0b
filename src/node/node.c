/* SPDX-License-Identifier: Apache-2.0
 * State, messages and readiness. Releases are published in publish.c and unmapped in retire.c. */
#include "node/node.h"
#include "base/log.h"
#include "base/panic.h"
#include "cache/freshness.h"
#include "engine/engine.h"
#include "metric/metric.h"
#include "node/internal.h"
#include "node/project.h"
#include "node/publish.h"
#include "node/retire.h"
#include "node/services.h"
#include "protocol/protocols.h"

#include <stdlib.h>

#define TURN_AGE_NS_MAX 1000000000ull

static uint64_t monotonic_ns(const struct pil_node *node) {
    return node->options.clock->monotonic_ns(node->options.clock->context);
}

static bool is_served(const struct pil_node *node, uint32_t view_index) {
    return view_index < node->options.settings->view_count &&
           pil_cache_view_is_served(pil_node_view_of(node, view_index));
}

/* ---- Life. */

static void on_huge_pages(void *context, uint64_t bytes) {
    struct pil_node *node = context;
    pil_metric_gauge(pil_server_metrics(node->server), PIL_METRIC_huge_page_bytes, NULL, (double)bytes);
}

/* Until its project was read, or seen never to have been applied, nobody may map a view that has no `map` rule. */
static void await_project(struct pil_node *node, uint32_t view_index) {
    const struct pil_project *project =
        pil_server_project(node->server, node->options.settings->views[view_index].project);
    if (node->mapped != NULL && project != NULL) {
        pil_mapped_set_project(node->mapped, project); /* the view was added to a project that is known */
    } else if (node->mapped != NULL) {
        pil_mapped_miss_project(node->mapped, view_index);
    }
}

static pil_status create_server(struct pil_node *node, struct pil_error *ret_error) {
    const struct pil_settings *settings = node->options.settings;
    int fds[PIL_SETTINGS_LISTENERS_MAX];
    bool has_mapped = false;
    memset(fds, -1, sizeof fds);
    for (uint32_t i = 0; i < settings->listener_count; i++) {
        fds[i] =
            pil_protocol_is_served_by_workers(settings->listeners[i].protocol) ? node->options.listener_fds[i] : -1;
        has_mapped |= settings->listeners[i].protocol == PIL_PROTOCOL_MAPPED;
    }
    PIL_TRY(pil_server_create(settings, pil_protocols, PIL_PROTOCOL_COUNT, fds, &node->server, ret_error));
    if (has_mapped) {
        PIL_TRY(pil_mapped_create(node->server, &node->mapped, ret_error));
    }
    for (uint32_t i = 0; i < settings->view_count; i++) {
        await_project(node, i);
    }
    struct pil_metric_registry *metrics = pil_server_metrics(node->server);
    pil_metric_gauge(metrics, PIL_METRIC_build_info, PIL_METRIC_LABELS(PIL_VERSION), 1);
    if (node->options.smaps >= 0) {
        on_huge_pages(node, 0); /* until the first count */
    }
    return PIL_STATUS_OK;
}

pil_status pil_node_create(const struct pil_node_options *options, struct pil_node **ret_node,
                           struct pil_error *ret_error) {
    struct pil_node *node = calloc(1, sizeof *node);
    if (node == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for the node's state");
    }
    node->options = *options;
    node->started_us = pil_node_wall_us(node);
    node->reclaim.step = pil_retired_step;
    pil_list_init(&node->retired);
    pil_chores_init(&node->chores, options->clock);
    pil_huge_pages_init(&node->huge_pages, options->clock, options->smaps, on_huge_pages, node);
    pil_status status = create_server(node, ret_error);
    if (status != PIL_STATUS_OK) {
        pil_node_destroy(&node);
        return status;
    }
    pil_chores_add(&node->chores, &node->reclaim);
    pil_chores_add(&node->chores, &node->huge_pages.chore);
    *ret_node = node;
    return PIL_STATUS_OK;
}

void pil_node_stop_mapped(struct pil_node *node) {
    pil_mapped_destroy(&node->mapped);
}

void pil_node_destroy(struct pil_node **node_pointer) {
    struct pil_node *node = *node_pointer;
    if (node == NULL) {
        return;
    }
    for (uint32_t i = 0; i < PIL_SETTINGS_VIEWS_MAX; i++) {
        pil_publication_cancel(node, i);
        pil_arrival_clear(&node->views[i].arrival);
        pil_retired_destroy(&node->views[i].live);
    }
    PIL_LIST_EACH(struct pil_retired, link, retired, &node->retired) {
        pil_list_remove(&retired->link);
        pil_retired_destroy(&retired);
    }
    pil_mapped_destroy(&node->mapped);
    pil_server_destroy(&node->server);
    free(node);
    *node_pointer = NULL;
}

void pil_node_validate(const struct pil_node *node) {
    uint32_t mapped_here = 0;
    PIL_LIST_EACH(struct pil_retired, link, retired, &node->retired) {
        mapped_here += !retired->is_unmapped;
        PIL_ASSERT(retired->generation > 0 && retired->view_index < node->options.settings->view_count);
    }
    PIL_ASSERT(mapped_here == pil_cache_retired_count(pil_server_cache(node->server)));
    for (uint32_t i = 0; i < PIL_SETTINGS_VIEWS_MAX; i++) {
        const struct pil_node_view *view = &node->views[i];
        PIL_ASSERT(i >= node->options.settings->view_count ||
                   (view->live != NULL) == (pil_cache_live(pil_node_view_of(node, i)) != NULL));
        PIL_ASSERT(view->arrival.shards_here <= view->arrival.shard_count);
        PIL_ASSERT(is_served(node, i) || (view->publication == NULL && view->arrival.shard_count == 0));
        PIL_ASSERT(is_served(node, i) || i >= node->options.settings->view_count ||
                   pil_cache_live(pil_node_view_of(node, i)) == NULL);
    }
}

/* ---- Messages. */

static void on_shard(struct pil_node *node, struct pil_message *message) {
    const struct pil_message_shard *shard = &message->shard;
    pil_status status = message->fd < 0 ? PIL_STATUS_NO_MEMORY /* the descriptor was lost on its way */
                                        : pil_arrival_add(&node->views[shard->view_index].arrival, shard, message->fd);
    message->fd = -1;
    if (status != PIL_STATUS_OK) {
        pil_log(PIL_LOG_ERROR, "shard not taken", "release", shard->release, "status", pil_status_text(status), NULL);
    }
}

static void record_fetch(struct pil_node *node, const struct pil_message_report *report) {
    struct pil_metric_registry *metrics = pil_server_metrics(node->server);
    uint32_t shard = pil_server_control_shard(node->server);
    char label[PIL_VIEW_LABEL_BYTES];
    pil_view_label(&node->options.settings->views[report->view_index], label);
    pil_metric_count(metrics, shard, PIL_METRIC_fetches_total,
                     PIL_METRIC_LABELS(label, pil_fetch_outcome_text(report->outcome)), 1);
    if (!report->was_fetched) {
        return;
    }
    pil_metric_record(metrics, shard, PIL_METRIC_fetch_duration_seconds, PIL_METRIC_LABELS(label, "copy"),
                      report->copy_ns);
    pil_metric_record(metrics, shard, PIL_METRIC_fetch_duration_seconds, PIL_METRIC_LABELS(label, "verify"),
                      report->verify_ns);
    pil_metric_record(metrics, shard, PIL_METRIC_fetch_duration_seconds, PIL_METRIC_LABELS(label, "collapse"),
                      report->collapse_ns);
}

static void on_report(struct pil_node *node, const struct pil_message_report *report) {
    record_fetch(node, report);
    if (report->outcome != PIL_OUTCOME_OK) {
        pil_publish_refused(node, report->view_index, report->release, report->outcome, report->why);
    }
}

static void on_checked(struct pil_node *node, const struct pil_message_checked *checked) {
    struct pil_node_view *view = &node->views[checked->view_index];
    const struct pil_release *live = pil_cache_live(pil_node_view_of(node, checked->view_index));
    view->checked_ns = checked->checked_ns;
    if (node->mapped != NULL) {
        pil_mapped_checked(node->mapped, checked->view_index, checked->checked_us);
    }
    view->sequence = checked->sequence;
    view->is_pinned = checked->is_pinned;
    memcpy(view->effective, checked->release, sizeof view->effective);
    if (live != NULL && strcmp(live->id, checked->release) == 0) {
        /* The channel points to the live release, so the refusal no longer matters. */
        view->refused_outcome = PIL_OUTCOME_OK;
    }
}

static void count_restarts(struct pil_node *node, const char *process, uint64_t restarts) {
    pil_metric_count_to(pil_server_metrics(node->server), pil_server_control_shard(node->server),
                        PIL_METRIC_process_restarts_total, PIL_METRIC_LABELS(process), restarts);
}

static void on_held(struct pil_node *node, const struct pil_message_held *held) {
    node->views[held->view_index].held_bytes = held->bytes;
    node->views[held->view_index].held_count = held->release_count;
    node->fetcher_restarts = held->fetcher_restarts;
    count_restarts(node, "fetcher", held->fetcher_restarts);
}

/* Handles a message about a view that was removed in the meantime, or could not be added. */
static void on_stray(struct pil_node *node, const struct pil_message *message) {
    if (message->kind == PIL_MESSAGE_PUBLISH) {
        pil_retire_tell(node, message->publish.view_index, message->publish.release);
        pil_node_tell_published(node, message->publish.view_index, message->publish.release, PIL_OUTCOME_ERROR,
                                "the server does not serve this view");
    }
}

static void take(struct pil_node *node, struct pil_message *message, uint32_t view_index) {
    if (!is_served(node, view_index)) {
        on_stray(node, message);
    } else if (message->kind == PIL_MESSAGE_SHARD) {
        on_shard(node, message);
    } else if (message->kind == PIL_MESSAGE_PUBLISH) {
        pil_publication_begin(node, &message->publish);
    } else if (message->kind == PIL_MESSAGE_CHECKED) {
        on_checked(node, &message->checked);
    } else if (message->kind == PIL_MESSAGE_REPORT) {
        on_report(node, &message->report);
    } else if (message->kind == PIL_MESSAGE_PROJECT) {
        pil_node_take_project(node, &message->project, message->fd);
    } else if (message->kind == PIL_MESSAGE_NO_PROJECT) {
        pil_node_take_no_project(node, &message->no_project);
    } else if (message->kind == PIL_MESSAGE_HELD) {
        on_held(node, &message->held);
    }
}

void pil_node_take(struct pil_node *node, struct pil_message *message) {
    switch (message->kind) {
    case PIL_MESSAGE_SHARD: take(node, message, message->shard.view_index); break;
    case PIL_MESSAGE_PUBLISH: take(node, message, message->publish.view_index); break;
    case PIL_MESSAGE_CHECKED: take(node, message, message->checked.view_index); break;
    case PIL_MESSAGE_REPORT: take(node, message, message->report.view_index); break;
    case PIL_MESSAGE_PROJECT: take(node, message, message->project.view_index); break;
    case PIL_MESSAGE_NO_PROJECT: take(node, message, message->no_project.view_index); break;
    case PIL_MESSAGE_HELD: take(node, message, message->held.view_index); break;
    case PIL_MESSAGE_START:
        node->server_restarts = message->start.restarts;
        count_restarts(node, "server", message->start.restarts);
        break;
    case PIL_MESSAGE_NONE:
    case PIL_MESSAGE_CONFIG:
    case PIL_MESSAGE_LISTENER:
    case PIL_MESSAGE_DRAIN:
    case PIL_MESSAGE_HOLDING:
    case PIL_MESSAGE_BEGIN:
    case PIL_MESSAGE_DROPPED:
    case PIL_MESSAGE_ADMIT:
    case PIL_MESSAGE_ADMITTED:
    case PIL_MESSAGE_TAKEN:
    case PIL_MESSAGE_GIVEN_UP:
    case PIL_MESSAGE_PUBLISHED:
    case PIL_MESSAGE_APPLIED:
    case PIL_MESSAGE_RECLAIMED:
    case PIL_MESSAGE_READINESS:
    case PIL_MESSAGE_KIND_COUNT: break;
    }
    pil_message_close(message);
}

/* ---- Views that come and go. */

static void forget_gauges(struct pil_node *node, uint32_t view_index) {
    static const pil_metric gauges[] = {PIL_METRIC_channel_checked_timestamp_seconds,
                                        PIL_METRIC_memory_bytes,
                                        PIL_METRIC_release_waiting,
                                        PIL_METRIC_project_refused,
                                        PIL_METRIC_release_rows,
                                        PIL_METRIC_release_published_timestamp_seconds,
                                        PIL_METRIC_release_age_seconds,
                                        PIL_METRIC_release_ttl_seconds,
                                        PIL_METRIC_release_past_ttl,
                                        PIL_METRIC_release_behind_seconds};
    char label[PIL_VIEW_LABEL_BYTES];
    pil_view_label(&node->options.settings->views[view_index], label);
    for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++) {
        pil_metric_forget(pil_server_metrics(node->server), gauges[i], PIL_METRIC_LABELS(label));
    }
}

static void remove_view(struct pil_node *node, uint32_t view_index) {
    pil_publication_cancel(node, view_index);
    pil_arrival_clear(&node->views[view_index].arrival);
    pil_retire_live(node, view_index);
    pil_server_remove_view(node->server, view_index);
    node->views[view_index] = (struct pil_node_view){0};
    forget_gauges(node, view_index);
    pil_log(PIL_LOG_INFO, "view removed", "view", node->options.settings->views[view_index].view, NULL);
}

static void add_view(struct pil_node *node, uint32_t view_index) {
    const struct pil_view_settings *settings = &node->options.settings->views[view_index];
    pil_status status = pil_server_add_view(node->server, view_index);
    if (status != PIL_STATUS_OK) {
        pil_log(PIL_LOG_ERROR, "view not added", "view", settings->view, "status", pil_status_text(status), NULL);
        return;
    }
    await_project(node, view_index);
    pil_log(PIL_LOG_INFO, "view added", "project", settings->project, "view", settings->view, "channel",
            settings->channel, NULL);
}

void pil_node_views_changed(struct pil_node *node) {
    const struct pil_settings *settings = node->options.settings;
    bool has_changed = false;
    /* Remove first: the same view may come back in another slot, with another channel. */
    for (uint32_t i = 0; i < settings->view_count; i++) {
        if (settings->views[i].is_removed && is_served(node, i)) {
            remove_view(node, i);
            has_changed = true;
        }
    }
    for (uint32_t i = 0; i < settings->view_count; i++) {
        if (!settings->views[i].is_removed && !is_served(node, i)) {
            add_view(node, i);
            has_changed = true;
        }
    }
    node->services_changed |= has_changed;
    if (has_changed && node->mapped != NULL) {
        pil_mapped_views_changed(node->mapped);
    }
}

/* ---- Time. */

bool pil_node_work(struct pil_node *node) {
    return pil_chores_run(&node->chores, PIL_CHORES_SLICE_NS);
}

static void tell_readiness(struct pil_node *node) {
    bool is_ready = pil_node_is_ready(node, NULL);
    if (is_ready != node->is_ready) {
        struct pil_message message = {.kind = PIL_MESSAGE_READINESS, .readiness = {is_ready}};
        node->is_ready = is_ready;
        node->was_ready |= is_ready;
        pil_log(PIL_LOG_INFO, is_ready ? "ready" : "not ready", NULL);
        node->options.tell(node->options.context, &message);
    }
}

static void note_seen(struct pil_node *node) {
    for (uint32_t i = 0; i < node->options.settings->view_count; i++) {
        struct pil_node_view *view = &node->views[i];
        view->is_seen =
            view->is_seen ||
            (view->live != NULL && pil_qsbr_passed(pil_cache_qsbr(pil_server_cache(node->server)), view->ticket));
    }
}

/* Whether the channel points to a release that is not the live one. */
static bool is_behind(const struct pil_node *node, uint32_t index) {
    const struct pil_release *release = pil_cache_live(pil_node_view_of(node, index));
    const char *wanted = node->views[index].effective;
    return wanted[0] != '\0' && (release == NULL || strcmp(release->id, wanted) != 0);
}

static void note_behind(struct pil_node *node) {
    for (uint32_t i = 0; i < node->options.settings->view_count; i++) {
        struct pil_node_view *view = &node->views[i];
        if (!is_behind(node, i)) {
            view->behind_ns = 0;
        } else if (view->behind_ns == 0) {
            view->behind_ns = monotonic_ns(node);
        }
    }
}

void pil_node_tick(struct pil_node *node) {
    if (node->mapped != NULL) {
        pil_mapped_tick(node->mapped);
    }
    pil_server_tick(node->server);
    pil_retired_sweep(node);
    pil_metric_gauge(pil_server_metrics(node->server), PIL_METRIC_reclaim_pending, NULL,
                     pil_cache_retired_count(pil_server_cache(node->server)));
    note_seen(node);
    note_behind(node);
    pil_services_check(node);
    tell_readiness(node);
    node->ticked_ns = monotonic_ns(node);
}

/* ---- Readiness and metrics. */

static void term(struct pil_text *terms, bool *all, bool holds, const char *text) {
    *all = *all && holds;
    if (terms != NULL) {
        pil_text_format(terms, "[%c] ", holds ? '+' : '-');
        pil_text_append_printable(terms, pil_bytes_from_text(text), 0); /* reasons quote documents of the store */
        pil_text_append(terms, "\n", 1);
    }
}

/* Whether the view was added by a reload and has no release yet: such a view does not make the node unready. */
static bool is_awaited(const struct pil_node *node, uint32_t index) {
    return node->options.settings->views[index].is_added && pil_cache_live(pil_node_view_of(node, index)) == NULL;
}

/* Whether every worker reads the view's first release, or a later one. */
static bool is_seen(const struct pil_node *node, uint32_t index) {
    const struct pil_node_view *view = &node->views[index];
    return view->is_seen || pil_qsbr_passed(pil_cache_qsbr(pil_server_cache(node->server)), view->ticket);
}

static void release_term(const struct pil_node *node, uint32_t index, struct pil_text *terms, bool *all) {
    const struct pil_view_settings *settings = &node->options.settings->views[index];
    const struct pil_node_view *view = &node->views[index];
    const struct pil_release *release = pil_cache_live(pil_node_view_of(node, index));
    bool is_refused = view->refused_outcome != PIL_OUTCOME_OK;
    char text[2 * PIL_MESSAGE_TEXT_BYTES];
    if (release != NULL) {
        snprintf(text, sizeof text, "%s/%s@%s: release %s, published %lld s ago%s", settings->project, settings->view,
                 settings->channel, release->id,
                 (long long)((pil_node_wall_us(node) - release->published_us) / 1000000),
                 is_seen(node, index) ? "" : "; not all workers see it yet");
    } else {
        snprintf(text, sizeof text, "%s/%s@%s: no release%s%s%s", settings->project, settings->view, settings->channel,
                 is_refused ? "; " : " yet", is_refused ? view->refused_why : "",
                 is_awaited(node, index) ? "; it was added by a reload and counts from its first release on" : "");
    }
    term(terms, all, release != NULL ? is_seen(node, index) : is_awaited(node, index), text);
}

/* A view whose channel was read. By the monotonic clock: a step of the wall clock makes nothing older or fresher. */
static uint64_t checked_age_us(const struct pil_node *node, const struct pil_node_view *view) {
    uint64_t now_ns = monotonic_ns(node);
    PIL_ASSERT(view->checked_ns > 0);
    return now_ns > view->checked_ns ? (now_ns - view->checked_ns) / 1000 : 0;
}

int64_t pil_node_checked_us(const struct pil_node *node, uint32_t view_index) {
    const struct pil_node_view *view = &node->views[view_index];
    return view->checked_ns == 0 ? 0 : pil_node_wall_us(node) - (int64_t)checked_age_us(node, view);
}

int64_t pil_node_behind_us(const struct pil_node *node, uint32_t view_index) {
    uint64_t now_ns = monotonic_ns(node), since_ns = node->views[view_index].behind_ns;
    if (!is_behind(node, view_index)) {
        return 0;
    }
    return since_ns != 0 && now_ns >= since_ns + 1000 ? (int64_t)((now_ns - since_ns) / 1000) : 1;
}

static void channel_term(const struct pil_node *node, uint32_t index, struct pil_text *terms, bool *all) {
    const struct pil_view_settings *settings = &node->options.settings->views[index];
    const struct pil_node_view *view = &node->views[index];
    char text[PIL_MESSAGE_TEXT_BYTES];
    uint64_t age_us = view->checked_ns == 0 ? UINT64_MAX : checked_age_us(node, view);
    if (view->checked_ns == 0) {
        snprintf(text, sizeof text, "%s/%s@%s: channel not read yet", settings->project, settings->view,
                 settings->channel);
    } else {
        snprintf(text, sizeof text, "%s/%s@%s: channel read %llu s ago, bound %llu s", settings->project,
                 settings->view, settings->channel, (unsigned long long)(age_us / 1000000),
                 (unsigned long long)(settings->staleness_bound_us / 1000000));
    }
    term(terms, all, age_us <= settings->staleness_bound_us || is_awaited(node, index), text);
}

/* A worker that waits for requests turns five times a second; one that does not is stuck, or gets no processor. */
static void worker_term(const struct pil_node *node, struct pil_text *terms, bool *all) {
    const struct pil_settings *settings = node->options.settings;
    char text[128];
    uint32_t worker = 0;
    uint64_t age_ns = pil_server_turn_age_ns(node->server, monotonic_ns(node), &worker);
    bool has_failed = pil_server_failed(node->server), is_open = age_ns != UINT64_MAX;
    if (has_failed) {
        snprintf(text, sizeof text, "workers run: one has failed; the log says why");
    } else if (!is_open) {
        snprintf(text, sizeof text, "workers run: worker %u has not opened its event loop yet", worker);
    } else if (age_ns > TURN_AGE_NS_MAX) {
        snprintf(text, sizeof text, "workers run: worker %u made no turn for %.1f s, bound 1 s", worker,
                 (double)age_ns / 1e9);
    } else {
        snprintf(text, sizeof text, "workers run: %u, %s", settings->worker_count,
                 pil_engine_kind_text(settings->engine));
    }
    term(terms, all, !has_failed && is_open && age_ns <= TURN_AGE_NS_MAX, text);
}

static void services_term(const struct pil_node *node, struct pil_text *terms, bool *all) {
    const struct pil_node_services *services = &node->services;
    char text[PIL_MESSAGE_TEXT_BYTES + 128];
    if (services->broken_count == 0) {
        snprintf(text, sizeof text, "services resolve: %u", services->whole_count);
    } else {
        snprintf(text, sizeof text, "services resolve: not %u of %u: %s%s", services->broken_count,
                 services->broken_count + services->whole_count, services->broken,
                 node->was_ready ? "; it counts only until the node is ready for the first time" : "");
    }
    term(terms, all, services->broken_count == 0 || node->was_ready, text);
}

bool pil_node_is_ready(const struct pil_node *node, struct pil_text *terms) {
    bool all = true;
    worker_term(node, terms, &all);
    term(terms, &all, !node->is_draining, "not draining");
    for (uint32_t i = 0; i < node->options.settings->view_count; i++) {
        if (is_served(node, i)) {
            release_term(node, i, terms, &all);
            channel_term(node, i, terms, &all);
        }
    }
    services_term(node, terms, &all);
    return all;
}

/* Of a served release. Rows of a static view have no age; those of the release before it may have had one. */
static void freshness_gauges(struct pil_metric_registry *metrics, const char *const *labels,
                             const struct pil_release *release, int64_t now_us) {
    if (release->view->is_static) {
        pil_metric_forget(metrics, PIL_METRIC_release_age_seconds, labels);
        pil_metric_forget(metrics, PIL_METRIC_release_ttl_seconds, labels);
        pil_metric_forget(metrics, PIL_METRIC_release_past_ttl, labels);
        return;
    }
    pil_metric_gauge(metrics, PIL_METRIC_release_age_seconds, labels,
                     release->row_count > 0 ? (double)(now_us - release->event_ts_us_max) / 1e6 : 0.0);
    pil_metric_gauge(metrics, PIL_METRIC_release_ttl_seconds, labels, (double)release->view->ttl_us / 1e6);
    pil_metric_gauge(metrics, PIL_METRIC_release_past_ttl, labels,
                     pil_freshness_expiry(release, now_us) == PIL_EXPIRY_ALL);
}

void pil_node_update_metrics(const struct pil_node *node) {
    const struct pil_settings *settings = node->options.settings;
    struct pil_metric_registry *metrics = pil_server_metrics(node->server);
    pil_metric_gauge(metrics, PIL_METRIC_ready, NULL, pil_node_is_ready(node, NULL));
    pil_metric_gauge(metrics, PIL_METRIC_memory_budget_bytes, NULL, (double)settings->memory_budget);
    pil_metric_gauge(metrics, PIL_METRIC_services_unanswered, NULL, node->services.broken_count);
    for (uint32_t i = 0; i < settings->view_count; i++) {
        const struct pil_release *release = pil_cache_live(pil_node_view_of(node, i));
        char label[PIL_VIEW_LABEL_BYTES];
        if (!is_served(node, i)) {
            continue;
        }
        pil_view_label(&settings->views[i], label);
        const char *const *labels = PIL_METRIC_LABELS(label);
        pil_metric_gauge(metrics, PIL_METRIC_channel_checked_timestamp_seconds, labels,
                         (double)pil_node_checked_us(node, i) / 1e6);
        pil_metric_gauge(metrics, PIL_METRIC_memory_bytes, labels, (double)node->views[i].held_bytes);
        pil_metric_gauge(metrics, PIL_METRIC_release_waiting, labels,
                         node->views[i].refused_outcome == PIL_OUTCOME_SHORTAGE);
        pil_metric_gauge(metrics, PIL_METRIC_project_refused, labels, node->views[i].project_refused[0] != '\0');
        pil_metric_gauge(metrics, PIL_METRIC_release_behind_seconds, labels, (double)pil_node_behind_us(node, i) / 1e6);
        if (release != NULL) {
            pil_metric_gauge(metrics, PIL_METRIC_release_rows, labels, (double)release->row_count);
            pil_metric_gauge(metrics, PIL_METRIC_release_published_timestamp_seconds, labels,
                             (double)release->published_us / 1e6);
            freshness_gauges(metrics, labels, release, pil_node_wall_us(node));
        }
    }
}
