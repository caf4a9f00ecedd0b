/* SPDX-License-Identifier: Apache-2.0 */
#include "node/publish.h"
#include "base/log.h"
#include "base/panic.h"
#include "base/sys.h"
#include "metric/metric.h"
#include "node/internal.h"
#include "node/retire.h"

#include <stdlib.h>

/* Bytes for one step: the page tables of one huge page, or a few pages, which a hypervisor may have to provide again
 * one by one. */
enum { PREFAULT_BYTES = PIL_SYS_HUGE_PAGE_BYTES, TOUCH_BYTES = 16 * 4096 };

struct pil_publication {
    struct pil_chore chore;
    struct pil_node *node;
    uint32_t view_index;
    struct pil_release *release;
    struct pil_serving *serving; /* owns the release; owned by the cache once it is published */
    struct pil_retired *retired; /* the record of the release; NULL: it is published, and the view owns the record */
    bool is_published;
    int *fds; /* for mapped reads; NULL once they were handed over */
    /* Progress of the preparation: first all page tables, then all pages. */
    uint32_t shard;
    uint64_t offset;
    bool is_touching;
};

static void close_fds(struct pil_publication *publication) {
    for (uint32_t i = 0; publication->fds != NULL && i < publication->release->shard_count; i++) {
        pil_sys_close(&publication->fds[i]);
    }
    free(publication->fds);
    publication->fds = NULL;
}

static void destroy(struct pil_publication *publication) {
    struct pil_node_view *view = &publication->node->views[publication->view_index];
    PIL_ASSERT(view->publication == publication);
    view->publication = NULL;
    close_fds(publication);
    pil_retired_destroy(&publication->retired);
    free(publication);
}

static void set_release_info(struct pil_node *node, uint32_t view_index, const char *release) {
    struct pil_metric_registry *metrics = pil_server_metrics(node->server);
    const struct pil_view_settings *settings = &node->options.settings->views[view_index];
    char label[PIL_VIEW_LABEL_BYTES];
    pil_view_label(settings, label);
    pil_metric_gauge(metrics, PIL_METRIC_release_info, PIL_METRIC_LABELS(label, settings->channel, release), 1);
    pil_metric_count(metrics, pil_server_control_shard(node->server), PIL_METRIC_releases_published_total,
                     PIL_METRIC_LABELS(label), 1);
}

/* Swaps the release in. */
static void publish(struct pil_publication *publication) {
    struct pil_node *node = publication->node;
    uint32_t view_index = publication->view_index;
    struct pil_cache_view *view = pil_node_view_of(node, view_index);
    const struct pil_release *release = publication->release;
    bool is_first = node->views[view_index].live == NULL;
    PIL_ASSERT(!publication->is_published && publication->retired != NULL);
    pil_retire_live(node, view_index);
    pil_cache_publish(pil_server_cache(node->server), view, publication->serving);
    PIL_ASSERT(is_first || node->views[view_index].ticket != 0);
    if (is_first) {
        node->views[view_index].ticket = pil_qsbr_begin(pil_cache_qsbr(pil_server_cache(node->server)));
    }
    publication->is_published = true;
    node->views[view_index].live = publication->retired;
    publication->retired = NULL;
    if (node->mapped != NULL) { /* takes the descriptors, not the array */
        pil_mapped_publish(node->mapped, view_index, release, publication->fds, release->shard_count);
        free(publication->fds);
        publication->fds = NULL;
    } else {
        close_fds(publication); /* the mappings stay, and the supervisor has duplicates of the descriptors */
    }
    set_release_info(node, view_index, release->id);
    pil_node_tell_published(node, view_index, release->id, PIL_OUTCOME_OK, "");
    pil_huge_pages_changed(&node->huge_pages);
    pil_log(PIL_LOG_INFO, "release published", "view", view->name, "release", release->id, "rows",
            PIL_LOG_NUM(release->row_count), "generation", PIL_LOG_NUM(release->generation), NULL);
}

static pil_chore_progress step(struct pil_chore *chore) {
    struct pil_publication *publication = PIL_LIST_ENTRY(struct pil_publication, chore, chore);
    const struct pil_release *release = publication->release;
    if (publication->shard == release->shard_count) {
        if (publication->is_touching) {
            return PIL_CHORE_DONE;
        }
        publication->is_touching = true;
        publication->shard = 0;
    }
    uint64_t bytes = publication->is_touching
                         ? pil_cache_release_touch(release, publication->shard, publication->offset, TOUCH_BYTES)
                         : pil_cache_release_prefault(release, publication->shard, publication->offset, PREFAULT_BYTES);
    publication->offset += bytes;
    /* 0: the end of the shard, or Linux before 5.14, which cannot prefault: page faults do it later. */
    if (bytes == 0 || publication->offset == release->shards[publication->shard].file.len) {
        publication->shard++;
        publication->offset = 0;
    }
    return PIL_CHORE_MORE;
}

static void done(struct pil_chore *chore) {
    struct pil_publication *publication = PIL_LIST_ENTRY(struct pil_publication, chore, chore);
    if (!publication->is_published) {
        publish(publication);
    }
    destroy(publication);
}

/* Maps the shards that have arrived. Errors: NO_MEMORY, or those of pil_cache_release_map. */
static pil_status map(struct pil_publication *publication, const struct pil_arrival *arrival, const char *id,
                      struct pil_error *error) {
    struct pil_release *release = NULL;
    PIL_TRY(pil_cache_release_map(id, arrival->fds, arrival->shard_count, &release, error));
    if (pil_serving_create(release, &publication->serving) != PIL_STATUS_OK) {
        pil_cache_release_destroy(&release);
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory to publish it");
    }
    publication->release = release;
    return PIL_STATUS_OK;
}

/* Turns the arrival into a mapped release, which takes over the descriptors. */
static pil_status create(struct pil_node *node, const struct pil_message_publish *message, struct pil_error *error) {
    struct pil_node_view *view = &node->views[message->view_index];
    struct pil_publication *publication = calloc(1, sizeof *publication);
    struct pil_retired *retired = pil_retired_create();
    pil_status status = publication == NULL || retired == NULL
                            ? pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory to publish it")
                            : map(publication, &view->arrival, message->release, error);
    if (status != PIL_STATUS_OK) {
        free(publication);
        pil_retired_destroy(&retired);
        return status;
    }
    publication->chore = (struct pil_chore){.step = step, .done = done};
    publication->node = node;
    publication->view_index = message->view_index;
    publication->retired = retired;
    publication->release->created_us = message->created_us;
    publication->fds = view->arrival.fds;
    view->arrival.shard_count = 0; /* the publication owns the descriptors now */
    view->arrival.fds = NULL;
    view->publication = publication;
    return PIL_STATUS_OK;
}

void pil_publish_refused(struct pil_node *node, uint32_t view_index, const char *release, pil_fetch_outcome outcome,
                         const char *why) {
    struct pil_node_view *view = &node->views[view_index];
    view->refused_outcome = outcome;
    view->refused_us = pil_node_wall_us(node);
    snprintf(view->refused, sizeof view->refused, "%s", release);
    snprintf(view->refused_why, sizeof view->refused_why, "%s", why);
}

/* Whether this release was the last one refused, because of a shortage. */
static bool is_waiting(const struct pil_node_view *view, const char *release) {
    return view->refused_outcome == PIL_OUTCOME_SHORTAGE && strcmp(view->refused, release) == 0;
}

/* After a shortage the release comes again, and the shortage is logged once; any other error is about the release
 * itself. */
static void fail(struct pil_node *node, const struct pil_message_publish *message, pil_status status, const char *why) {
    const char *name = node->options.settings->views[message->view_index].view;
    bool may_pass = pil_status_may_pass(status);
    if (!may_pass) {
        pil_log(PIL_LOG_ERROR, "release not published", "view", name, "release", message->release, "why", why, NULL);
    } else if (!is_waiting(&node->views[message->view_index], message->release)) {
        pil_log(PIL_LOG_WARN, "release waits, it is tried again", "view", name, "release", message->release, "why", why,
                NULL);
    }
    pil_fetch_outcome outcome = may_pass ? PIL_OUTCOME_SHORTAGE : PIL_OUTCOME_ERROR;
    pil_publish_refused(node, message->view_index, message->release, outcome, why);
    pil_retire_tell(node, message->view_index, message->release);
    pil_node_tell_published(node, message->view_index, message->release, outcome, why);
}

void pil_publication_begin(struct pil_node *node, const struct pil_message_publish *message) {
    struct pil_node_view *view = &node->views[message->view_index];
    /* The reason if not all have arrived. */
    struct pil_error error = {.text = "no memory or descriptors for its shards"};
    pil_publication_cancel(node, message->view_index);
    pil_status status =
        pil_arrival_is_whole(&view->arrival, message->release) ? create(node, message, &error) : PIL_STATUS_NO_MEMORY;
    pil_arrival_clear(&view->arrival);
    if (status != PIL_STATUS_OK) {
        fail(node, message, status, error.text);
        return;
    }
    if (is_waiting(view, message->release)) {
        pil_log(PIL_LOG_INFO, "release waits no longer", "view",
                node->options.settings->views[message->view_index].view, "release", message->release, NULL);
    }
    view->refused_outcome = PIL_OUTCOME_OK; /* it concerned an earlier release */
    if (view->live == NULL) {               /* nothing is served yet: publish first, prefault later */
        publish(view->publication);
    }
    pil_chores_add(&node->chores, &view->publication->chore);
}

void pil_publication_cancel(struct pil_node *node, uint32_t view_index) {
    struct pil_publication *publication = node->views[view_index].publication;
    if (publication == NULL) {
        return;
    }
    pil_chores_cancel(&publication->chore);
    if (!publication->is_published) {
        close_fds(publication);
        pil_retire_tell(node, view_index, publication->release->id);
        pil_serving_destroy(&publication->serving);
    }
    destroy(publication);
}
