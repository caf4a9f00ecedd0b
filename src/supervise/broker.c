/* SPDX-License-Identifier: Apache-2.0 */
#include "supervise/broker.h"
#include "base/log.h"
#include "base/panic.h"
#include "base/sys.h"

#include <stdio.h>

/* ---- Messages to be sent again. */

static void again_init(struct pil_broker_again *again) {
    *again =
        (struct pil_broker_again){.backoff = pil_backoff_make(PIL_BACKOFF_RELEASE_MS_MIN, PIL_BACKOFF_RELEASE_MS_MAX)};
}

static void again_later(struct pil_broker_again *again, uint64_t now_ns) {
    again->is_wanted = true;
    pil_backoff_fail(&again->backoff, now_ns);
}

/* Whether to send now. If it is to be sent later, lowers *due_ns to that time. */
static bool again_is_due(struct pil_broker_again *again, uint64_t now_ns, uint64_t *due_ns) {
    bool is_due = again->is_wanted && !pil_backoff_is_waiting(&again->backoff, now_ns);
    if (again->is_wanted && !is_due && again->backoff.until_ns < *due_ns) {
        *due_ns = again->backoff.until_ns;
    }
    again->is_wanted &= !is_due;
    return is_due;
}

/* ---- Life. */

void pil_broker_init(struct pil_broker *broker, void (*ready)(void *context), void *context) {
    *broker = (struct pil_broker){.ready = ready, .context = context};
    pil_child_init(&broker->server, "server");
    pil_child_init(&broker->fetcher, "fetcher");
    pil_holder_init(&broker->holder);
    for (uint32_t i = 0; i < PIL_SERVED_VIEWS_MAX; i++) {
        pil_project_offer_init(&broker->views[i].offer);
        again_init(&broker->views[i].release_again);
        again_init(&broker->views[i].project_again);
    }
}

void pil_broker_deinit(struct pil_broker *broker) {
    for (uint32_t i = 0; i < PIL_SERVED_VIEWS_MAX; i++) {
        pil_project_offer_deinit(&broker->views[i].offer);
    }
    pil_outbox_clear(&broker->server.outbox);
    pil_outbox_clear(&broker->fetcher.outbox);
    pil_sys_close(&broker->server.socket);
    pil_sys_close(&broker->fetcher.socket);
    pil_holder_deinit(&broker->holder);
}

/* ---- Messages to the children. */

/* Feeds the server's metrics. */
static void tell_held(struct pil_broker *broker, uint32_t view_index) {
    struct pil_message message = {
        .kind = PIL_MESSAGE_HELD,
        .held = {.view_index = view_index,
                 .bytes = pil_holder_bytes_of(&broker->holder, view_index),
                 .release_count = pil_holder_count_of(&broker->holder, view_index),
                 .fetcher_restarts = broker->fetcher.restarts},
    };
    if (broker->views[view_index].is_served) {
        pil_child_send(&broker->server, &message);
    }
}

static void on_evicted(void *context, const struct pil_evicted *evicted) {
    struct pil_broker *broker = context;
    struct pil_message message = {.kind = PIL_MESSAGE_DROPPED, .dropped = {.view_index = evicted->view_index}};
    memcpy(message.dropped.release, evicted->release, sizeof message.dropped.release);
    pil_child_send(&broker->fetcher, &message);
    tell_held(broker, evicted->view_index);
}

static void evict_beyond_keep(struct pil_broker *broker, uint32_t view_index) {
    struct pil_evicted evicted;
    while (pil_holder_evict_of(&broker->holder, view_index, broker->keep_releases, &evicted)) {
        on_evicted(broker, &evicted);
    }
}

/* Does nothing while no server runs. */
static void send_release(struct pil_broker *broker, struct pil_held_release *held) {
    if (broker->server.socket < 0) {
        return;
    }
    struct pil_message shard = {.kind = PIL_MESSAGE_SHARD, .shard = {.view_index = held->view_index}};
    struct pil_message publish = {.kind = PIL_MESSAGE_PUBLISH,
                                  .publish = {.view_index = held->view_index, .created_us = held->created_us}};
    memcpy(shard.shard.release, held->release, sizeof shard.shard.release);
    memcpy(publish.publish.release, held->release, sizeof publish.publish.release);
    for (uint32_t i = 0; i < held->shard_count; i++) {
        shard.fd = held->fds[i];
        shard.shard.place = (struct pil_shard_place){i, held->shard_count};
        pil_child_send(&broker->server, &shard);
    }
    pil_child_send(&broker->server, &publish);
    pil_holder_mapped(&broker->holder, held);
}

static void send_document(struct pil_broker *broker, uint32_t view_index, int fd, uint64_t hash) {
    struct pil_message message = {.kind = PIL_MESSAGE_PROJECT, .fd = fd, .project = {view_index, hash}};
    pil_child_send(&broker->server, &message);
}

/* Sends whatever the running server has not got. */
static void send_project(struct pil_broker *broker, uint32_t view_index) {
    struct pil_project_offer *offer = &broker->views[view_index].offer;
    if (broker->server.socket < 0) {
        return;
    }
    if (offer->fd >= 0 && !offer->is_sent) {
        send_document(broker, view_index, offer->fd, offer->hash);
        offer->is_sent = true;
    }
    if (offer->newer_fd >= 0 && !offer->is_newer_sent) {
        send_document(broker, view_index, offer->newer_fd, offer->newer_hash);
        offer->is_newer_sent = true;
        offer->sent = ++broker->documents_sent;
    }
}

static void send_missing(struct pil_broker *broker, uint32_t view_index) {
    struct pil_message *missing = &broker->views[view_index].offer.missing;
    if (missing->kind != PIL_MESSAGE_NONE) {
        missing->no_project.view_index = view_index;
        pil_child_send(&broker->server, missing);
    }
}

void pil_broker_greet_server(struct pil_broker *broker) {
    for (uint32_t i = 0; i < PIL_SERVED_VIEWS_MAX; i++) {
        struct pil_held_release *live = pil_holder_live(&broker->holder, i);
        again_init(&broker->views[i].release_again); /* this server was sent nothing yet */
        again_init(&broker->views[i].project_again);
        broker->views[i].offer.is_sent = broker->views[i].offer.is_newer_sent = false;
        if (!broker->views[i].is_served) {
            continue;
        }
        send_project(broker, i); /* before its releases: the project says who may map them */
        send_missing(broker, i);
        if (live != NULL) {
            send_release(broker, live);
        }
        if (broker->views[i].checked.kind != PIL_MESSAGE_NONE) {
            pil_child_send(&broker->server, &broker->views[i].checked);
        }
        tell_held(broker, i);
    }
    struct pil_message start = {.kind = PIL_MESSAGE_START, .start = {broker->server.restarts}};
    pil_child_send(&broker->server, &start);
}

void pil_broker_greet_fetcher(struct pil_broker *broker) {
    pil_holder_drop_arriving(&broker->holder); /* of the previous fetcher */
    PIL_LIST_EACH(struct pil_held_release, link, held, &broker->holder.releases) {
        if (held->residency != PIL_RESIDENCY_UNMAPPING) {
            struct pil_message message = {
                .kind = PIL_MESSAGE_HOLDING,
                .holding = {.view_index = held->view_index, .is_live = held->residency == PIL_RESIDENCY_LIVE}};
            memcpy(message.holding.release, held->release, sizeof message.holding.release);
            pil_child_send(&broker->fetcher, &message);
        }
    }
    struct pil_message begin = {.kind = PIL_MESSAGE_BEGIN};
    pil_child_send(&broker->fetcher, &begin);
    /* HELD reports the fetcher's restarts. A fetcher that keeps crashing would never cause another HELD. */
    for (uint32_t i = 0; i < PIL_SERVED_VIEWS_MAX; i++) {
        tell_held(broker, i);
    }
}

/* ---- Configuration. */

static void move_offer(struct pil_broker_view *from, struct pil_broker_view *to) {
    pil_project_offer_deinit(&to->offer);
    to->offer = from->offer;
    to->project_again = from->project_again;
    pil_project_offer_init(&from->offer);
    again_init(&from->project_again);
}

/* A project's documents are kept with one of its views. When that view goes, another served view of the project takes
 * them over. */
static void hand_over_project(struct pil_broker *broker, struct pil_broker_view *from) {
    for (uint32_t i = 0; i < PIL_SERVED_VIEWS_MAX && !pil_project_offer_is_empty(&from->offer); i++) {
        struct pil_broker_view *view = &broker->views[i];
        if (view != from && view->is_served && strcmp(view->project, from->project) == 0) {
            move_offer(from, view);
        }
    }
    pil_project_offer_deinit(&from->offer);
}

/* The view that news about its project came for takes over what another view of the project keeps. */
static struct pil_broker_view *gather_project(struct pil_broker *broker, uint32_t view_index) {
    struct pil_broker_view *view = &broker->views[view_index];
    for (uint32_t i = 0; i < PIL_SERVED_VIEWS_MAX; i++) {
        struct pil_broker_view *other = &broker->views[i];
        if (other != view && strcmp(other->project, view->project) == 0 && !pil_project_offer_is_empty(&other->offer)) {
            move_offer(other, view);
        }
    }
    return view;
}

void pil_broker_set_view(struct pil_broker *broker, uint32_t view_index, bool is_served, const char *project) {
    struct pil_broker_view *view = &broker->views[view_index];
    if (view->is_served && !is_served) {
        pil_holder_drop_view(&broker->holder, view_index);
        view->is_confirmed = false;
        hand_over_project(broker, view);
        view->checked.kind = PIL_MESSAGE_NONE;
    }
    view->is_served = is_served;
    snprintf(view->project, sizeof view->project, "%s", project);
}

void pil_broker_set_limits(struct pil_broker *broker, uint64_t memory_budget, uint32_t keep_releases) {
    struct pil_eviction_hook hook = {on_evicted, broker};
    PIL_ASSERT(keep_releases > 0);
    broker->memory_budget = memory_budget;
    broker->keep_releases = keep_releases;
    for (uint32_t i = 0; i < PIL_SERVED_VIEWS_MAX; i++) {
        evict_beyond_keep(broker, i);
    }
    pil_admission_trim(&broker->holder, memory_budget, &hook);
}

/* ---- Messages from the children. */

static void on_admit(struct pil_broker *broker, const struct pil_message_admit *admit) {
    struct pil_eviction_hook hook = {on_evicted, broker};
    struct pil_message answer = {.kind = PIL_MESSAGE_ADMITTED, .admitted = {.view_index = admit->view_index}};
    struct pil_admission admission;
    pil_admission_ask(&broker->holder, broker->memory_budget, admit->bytes, admit->release, &hook, &admission);
    memcpy(answer.admitted.release, admit->release, sizeof answer.admitted.release);
    PIL_STATIC_ASSERT(sizeof admission.why == sizeof answer.admitted.why);
    memcpy(answer.admitted.why, admission.why, sizeof answer.admitted.why);
    answer.admitted.is_admitted = admission.is_admitted;
    pil_child_send(&broker->fetcher, &answer);
}

/* release "": the answer is about the project. why "": the shard is held. */
static void tell_taken(struct pil_broker *broker, uint32_t view_index, const char *release, const char *why) {
    struct pil_message answer = {.kind = PIL_MESSAGE_TAKEN,
                                 .taken = {.view_index = view_index, .is_taken = why[0] == '\0'}};
    snprintf(answer.taken.release, sizeof answer.taken.release, "%s", release);
    snprintf(answer.taken.why, sizeof answer.taken.why, "%s", why);
    pil_child_send(&broker->fetcher, &answer);
}

static void on_shard(struct pil_broker *broker, struct pil_message *message) {
    const struct pil_message_shard *shard = &message->shard;
    bool is_lost = message->fd < 0;
    pil_status status = pil_holder_add(&broker->holder, shard->view_index, shard->release, &shard->place, message->fd);
    char why[PIL_MESSAGE_TEXT_BYTES] = "";
    message->fd = -1;
    if (status != PIL_STATUS_OK) {
        snprintf(why, sizeof why, "the supervisor cannot hold shard %u of %u: %s", shard->place.index,
                 shard->place.count, is_lost ? "no descriptors" : pil_status_text(status));
    }
    tell_taken(broker, shard->view_index, shard->release, why);
}

static bool is_named(const struct pil_held_release *held, const char *release) {
    return held != NULL && strcmp(held->release, release) == 0;
}

/* Tells the fetcher whether the release that it published is served. why "": it is. */
static void tell_published(struct pil_broker *broker, uint32_t view_index, const char *release, const char *why) {
    struct pil_message answer = {.kind = PIL_MESSAGE_PUBLISHED, .published = {.view_index = view_index}};
    answer.published.outcome = why[0] == '\0' ? PIL_OUTCOME_OK : PIL_OUTCOME_SHORTAGE;
    snprintf(answer.published.release, sizeof answer.published.release, "%s", release);
    snprintf(answer.published.why, sizeof answer.published.why, "%s", why);
    pil_child_send(&broker->fetcher, &answer);
}

/* Offers the release to the server, whose answer comes later. */
static void on_publish(struct pil_broker *broker, const struct pil_message_publish *publish) {
    uint32_t view_index = publish->view_index;
    const struct pil_held_release *offered = pil_holder_offered(&broker->holder, view_index);
    const struct pil_held_release *live = pil_holder_live(&broker->holder, view_index);
    if (is_named(offered, publish->release)) {
        return; /* by an earlier fetcher: the server's answer is under way */
    }
    if (offered == NULL && is_named(live, publish->release) && !live->is_offered_again &&
        broker->views[view_index].is_confirmed) {
        tell_published(broker, view_index, publish->release, "");
        return;
    }
    if (broker->server.socket < 0) {
        tell_published(broker, view_index, publish->release, "the server is not running at the moment");
        return;
    }
    if (pil_holder_offer(&broker->holder, view_index, publish->release, publish->created_us) != PIL_STATUS_OK) {
        tell_published(broker, view_index, publish->release, "the supervisor does not hold it any more");
        return;
    }
    send_release(broker, pil_holder_find(&broker->holder, view_index, publish->release));
    tell_held(broker, view_index);
}

/* The newest document of a project replaces an earlier one, whichever view of the project that was sent for. */
static void on_project(struct pil_broker *broker, struct pil_message *message) {
    struct pil_broker_view *view = gather_project(broker, message->project.view_index);
    if (message->fd < 0) {
        pil_log(PIL_LOG_ERROR, "project not held, it is read again", "project", view->project, "why", "no descriptors",
                NULL);
        tell_taken(broker, message->project.view_index, "", "no descriptors");
        return;
    }
    again_init(&view->project_again);
    if (pil_project_offer_take(&view->offer, message->fd, message->project.hash)) {
        send_project(broker, message->project.view_index);
    } else {
        send_missing(broker, message->project.view_index);
    }
    message->fd = -1;
}

static void on_no_project(struct pil_broker *broker, const struct pil_message *message) {
    gather_project(broker, message->no_project.view_index)->offer.missing = *message;
    send_missing(broker, message->no_project.view_index);
}

static bool is_served(const struct pil_broker *broker, uint32_t view_index) {
    return broker->views[view_index].is_served;
}

void pil_broker_take_from_fetcher(struct pil_broker *broker, struct pil_message *message) {
    switch (message->kind) {
    case PIL_MESSAGE_SHARD:
        if (is_served(broker, message->shard.view_index)) {
            on_shard(broker, message);
        }
        break;
    case PIL_MESSAGE_PROJECT:
        if (is_served(broker, message->project.view_index)) {
            on_project(broker, message);
        }
        break;
    case PIL_MESSAGE_NO_PROJECT:
        if (is_served(broker, message->no_project.view_index)) {
            on_no_project(broker, message);
        }
        break;
    case PIL_MESSAGE_ADMIT:
        if (is_served(broker, message->admit.view_index)) {
            on_admit(broker, &message->admit);
        }
        break;
    case PIL_MESSAGE_GIVEN_UP:
        pil_holder_give_up(&broker->holder, message->given_up.view_index, message->given_up.release);
        break;
    case PIL_MESSAGE_PUBLISH:
        if (is_served(broker, message->publish.view_index)) {
            on_publish(broker, &message->publish);
        }
        break;
    case PIL_MESSAGE_CHECKED:
        if (is_served(broker, message->checked.view_index)) {
            broker->views[message->checked.view_index].checked = *message;
            pil_child_send(&broker->server, message);
        }
        break;
    case PIL_MESSAGE_REPORT:
        if (is_served(broker, message->report.view_index)) {
            pil_child_send(&broker->server, message);
        }
        break;
    case PIL_MESSAGE_NONE:
    case PIL_MESSAGE_CONFIG:
    case PIL_MESSAGE_LISTENER:
    case PIL_MESSAGE_START:
    case PIL_MESSAGE_DRAIN:
    case PIL_MESSAGE_HELD:
    case PIL_MESSAGE_HOLDING:
    case PIL_MESSAGE_BEGIN:
    case PIL_MESSAGE_DROPPED:
    case PIL_MESSAGE_ADMITTED:
    case PIL_MESSAGE_TAKEN:
    case PIL_MESSAGE_PUBLISHED:
    case PIL_MESSAGE_APPLIED:
    case PIL_MESSAGE_RECLAIMED:
    case PIL_MESSAGE_READINESS:
    case PIL_MESSAGE_KIND_COUNT: break; /* the decoder rejects these kinds from a fetcher */
    }
    pil_message_close(message);
}

/* The server does not serve a release that it was sent. Returns whether the fetcher has to know. */
static bool on_refused(struct pil_broker *broker, const struct pil_message_published *answer, uint64_t now_ns) {
    struct pil_broker_view *view = &broker->views[answer->view_index];
    struct pil_held_release *live = pil_holder_live(&broker->holder, answer->view_index);
    if (!is_named(live, answer->release)) {
        return pil_holder_refused(&broker->holder, answer->view_index, answer->release); /* false: an earlier offer */
    }
    if (view->is_confirmed) { /* it was offered again, and the server goes on to serve it */
        bool was_offered = live->is_offered_again;
        live->is_offered_again = false;
        return was_offered;
    }
    if (answer->outcome == PIL_OUTCOME_SHORTAGE) {
        again_later(&view->release_again, now_ns);
        return false;
    }
    return pil_holder_refused(&broker->holder, answer->view_index, answer->release);
}

static void on_published(struct pil_broker *broker, const struct pil_message *message, uint64_t now_ns) {
    const struct pil_message_published *answer = &message->published;
    struct pil_broker_view *view = &broker->views[answer->view_index];
    bool is_news;
    if (answer->outcome == PIL_OUTCOME_OK) {
        is_news = pil_holder_accepted(&broker->holder, answer->view_index, answer->release);
        view->is_confirmed |= is_news;
        again_init(&view->release_again);
    } else {
        is_news = on_refused(broker, answer, now_ns);
    }
    if (is_news) {
        evict_beyond_keep(broker, answer->view_index);
        tell_held(broker, answer->view_index);
        pil_child_send(&broker->fetcher, message);
    }
}

static void on_applied(struct pil_broker *broker, const struct pil_message_applied *applied, uint64_t now_ns) {
    struct pil_broker_view *view = &broker->views[applied->view_index];
    if (applied->outcome != PIL_OUTCOME_SHORTAGE) {
        pil_project_offer_answered(&view->offer, applied->hash, applied->outcome == PIL_OUTCOME_OK);
    } else if (pil_project_offer_waits(&view->offer, applied->hash)) {
        again_later(&view->project_again, now_ns);
    }
}

void pil_broker_take_from_server(struct pil_broker *broker, struct pil_message *message, uint64_t now_ns) {
    switch (message->kind) {
    case PIL_MESSAGE_RECLAIMED:
        pil_holder_unmapped(&broker->holder, message->reclaimed.view_index, message->reclaimed.release);
        tell_held(broker, message->reclaimed.view_index);
        break;
    case PIL_MESSAGE_PUBLISHED:
        if (is_served(broker, message->published.view_index)) {
            on_published(broker, message, now_ns);
        }
        break;
    case PIL_MESSAGE_APPLIED:
        if (is_served(broker, message->applied.view_index)) {
            on_applied(broker, &message->applied, now_ns);
        }
        break;
    case PIL_MESSAGE_NO_PROJECT:
    case PIL_MESSAGE_READINESS:
        if (message->readiness.is_ready) {
            broker->ready(broker->context);
        }
        break;
    case PIL_MESSAGE_NONE:
    case PIL_MESSAGE_CONFIG:
    case PIL_MESSAGE_LISTENER:
    case PIL_MESSAGE_START:
    case PIL_MESSAGE_DRAIN:
    case PIL_MESSAGE_SHARD:
    case PIL_MESSAGE_PUBLISH:
    case PIL_MESSAGE_CHECKED:
    case PIL_MESSAGE_REPORT:
    case PIL_MESSAGE_PROJECT:
    case PIL_MESSAGE_HELD:
    case PIL_MESSAGE_HOLDING:
    case PIL_MESSAGE_BEGIN:
    case PIL_MESSAGE_DROPPED:
    case PIL_MESSAGE_ADMIT:
    case PIL_MESSAGE_ADMITTED:
    case PIL_MESSAGE_TAKEN:
    case PIL_MESSAGE_GIVEN_UP:
    case PIL_MESSAGE_KIND_COUNT: break; /* the decoder rejects these kinds from a server */
    }
    pil_message_close(message);
}

uint64_t pil_broker_step(struct pil_broker *broker, uint64_t now_ns) {
    uint64_t due_ns = UINT64_MAX;
    for (uint32_t i = 0; i < PIL_SERVED_VIEWS_MAX; i++) {
        struct pil_broker_view *view = &broker->views[i];
        struct pil_held_release *live = pil_holder_live(&broker->holder, i);
        /* The server prepares one release of a view at a time: an offer comes first, and its answer leads here again.
         */
        bool has_offer = pil_holder_offered(&broker->holder, i) != NULL;
        if (again_is_due(&view->project_again, now_ns, &due_ns)) {
            send_project(broker, i);
        }
        if (!has_offer && again_is_due(&view->release_again, now_ns, &due_ns) && live != NULL) {
            send_release(broker, live);
        }
    }
    return due_ns;
}

/* Servers take documents in the order in which they were sent, and answer each: the first one without an answer is the
 * one that the server was at. */
static void judge_documents(struct pil_broker *broker) {
    uint64_t first = UINT64_MAX;
    for (uint32_t i = 0; i < PIL_SERVED_VIEWS_MAX; i++) {
        const struct pil_project_offer *offer = &broker->views[i].offer;
        first = offer->is_newer_sent && offer->sent < first ? offer->sent : first;
    }
    for (uint32_t i = 0; i < PIL_SERVED_VIEWS_MAX; i++) {
        struct pil_broker_view *view = &broker->views[i];
        bool is_first = view->offer.is_newer_sent && view->offer.sent == first;
        if (pil_project_offer_server_ended(&view->offer, is_first)) {
            pil_log(PIL_LOG_ERROR, "project set aside", "project", view->project, "why",
                    view->offer.missing.no_project.why, NULL);
        }
    }
}

void pil_broker_server_ended(struct pil_broker *broker, bool has_crashed) {
    static const char why[] = "the server ended before it served the release";
    for (uint32_t i = 0; i < PIL_SERVED_VIEWS_MAX; i++) {
        struct pil_held_release *live = pil_holder_live(&broker->holder, i);
        struct pil_held_release *offered = pil_holder_offered(&broker->holder, i);
        broker->views[i].is_confirmed = false;
        if (offered != NULL) {
            offered->residency = PIL_RESIDENCY_KEPT;
            tell_published(broker, i, offered->release, why);
        } else if (live != NULL && live->is_offered_again) {
            live->is_offered_again = false;
            tell_published(broker, i, live->release, why);
        }
    }
    if (has_crashed) {
        judge_documents(broker);
    }
    pil_holder_unmapped_all(&broker->holder);
}
