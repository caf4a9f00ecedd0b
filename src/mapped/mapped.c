/* SPDX-License-Identifier: Apache-2.0
 * The mapped listener: the control page, publishing, accepting connections, and the list of sessions. */
#include "mapped/mapped.h"
#include "base/log.h"
#include "base/panic.h"
#include "base/sys.h"
#include "mapped/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 64, ACCEPTS_PER_TURN = 16, ACCEPT_PAUSE_NS = 100000000, HELLO_NS = 2000000000 };

/* ---- The control page. */

/* The server's mapping is made before the seal and stays writable; no further writable mapping is possible. */
static pil_status create_page(struct pil_mapped *mapped, struct pil_error *ret_error) {
    size_t bytes = sizeof *mapped->page;
    PIL_TRY(pil_sys_memfd_create("pillion-control", &mapped->page_fd, ret_error));
    if (ftruncate(mapped->page_fd, (off_t)bytes) != 0) {
        return pil_fail(ret_error, pil_status_from_errno(errno), "control page: %s", strerror(errno));
    }
    void *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, mapped->page_fd, 0);
    if (page == MAP_FAILED) {
        return pil_fail(ret_error, pil_status_from_errno(errno), "control page: %s", strerror(errno));
    }
    mapped->page = page;
    int seals = PIL_SYS_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    if (fcntl(mapped->page_fd, F_ADD_SEALS, seals) != 0) {
        return pil_fail(ret_error, pil_status_from_errno(errno), "seal the control page (Linux 5.1): %s",
                        strerror(errno));
    }
    mapped->page->magic = PIL_MAPPED_CONTROL_MAGIC;
    mapped->page->version = PIL_MAPPED_VERSION;
    if (getrandom(&mapped->page->daemon_id, sizeof mapped->page->daemon_id, 0) != sizeof mapped->page->daemon_id) {
        return pil_fail(ret_error, PIL_STATUS_SYSTEM, "no random numbers");
    }
    atomic_store_explicit(&mapped->page->state, PIL_MAPPED_SERVING, memory_order_release);
    return PIL_STATUS_OK;
}

/* ---- Create, destroy, validate. */

/* Descriptors that clients together may have in flight. The limit of open files, which is that of descriptors in flight
 * of the daemon's user, has to leave room for what the supervisor and the fetcher send. */
static uint32_t in_flight_max(void) {
    enum { PART = 4, LEAST = 4, MOST = 4096 };
    struct rlimit files;
    rlim_t most = getrlimit(RLIMIT_NOFILE, &files) == 0 ? files.rlim_cur / PART : LEAST;
    return most < LEAST ? LEAST : most < MOST ? (uint32_t)most : MOST;
}

pil_status pil_mapped_create(struct pil_server *server, struct pil_mapped **ret_mapped, struct pil_error *ret_error) {
    struct pil_mapped *mapped = calloc(1, sizeof *mapped);
    if (mapped == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for the mapped listener");
    }
    mapped->owner = pthread_self();
    mapped->clock = pil_clock_system;
    mapped->server = server;
    mapped->settings = pil_server_settings(server);
    mapped->page_fd = -1;
    pil_mapped_catalog_init(mapped);
    pil_list_init(&mapped->sessions);
    pil_list_init(&mapped->peers);
    mapped->in_flight_max = in_flight_max();
    for (uint32_t i = 0; i < PIL_SETTINGS_VIEWS_MAX; i++) {
        pil_list_init(&mapped->views[i].generations);
    }
    mapped->epoll = epoll_create1(EPOLL_CLOEXEC);
    pil_status status = mapped->epoll >= 0 ? create_page(mapped, ret_error)
                                           : pil_fail(ret_error, pil_status_from_errno(errno), "epoll: %m");
    if (status != PIL_STATUS_OK) {
        pil_mapped_destroy(&mapped);
        return status;
    }
    pil_mapped_complaint_init(mapped);
    pil_mapped_catalog_changed(mapped);
    pil_mapped_tick(mapped);
    *ret_mapped = mapped;
    return PIL_STATUS_OK;
}

static void end_session(struct pil_mapped *mapped, struct pil_mapped_session *session) {
    PIL_ASSERT(mapped->session_count > 0);
    mapped->session_count--;
    mapped->ended_count++;
    pil_mapped_session_end(mapped, session);
}

static void close_session(struct pil_mapped *mapped, struct pil_mapped_session *session) {
    PIL_ASSERT(session->is_ended && mapped->ended_count > 0);
    pil_list_remove(&session->link);
    mapped->ended_count--;
    pil_mapped_session_close(mapped, session);
}

/* Closes the sessions that have ended and whose clients have received all descriptors: until then these count against
 * the share of the client. At the end of a turn, when no event of the turn refers to them. */
static void close_ended(struct pil_mapped *mapped) {
    uint32_t left = mapped->ended_count;
    PIL_LIST_EACH(struct pil_mapped_session, link, session, &mapped->sessions) {
        if (left == 0) {
            return;
        }
        left -= session->is_ended;
        if (session->is_ended && pil_mapped_session_has_received(mapped, session)) {
            close_session(mapped, session);
        }
    }
}

void pil_mapped_destroy(struct pil_mapped **mapped_pointer) {
    struct pil_mapped *mapped = *mapped_pointer;
    if (mapped == NULL) {
        return;
    }
    MAPPED_ASSERT_OWNER(mapped);
    if (mapped->page != NULL) {
        atomic_store_explicit(&mapped->page->state, PIL_MAPPED_CLOSING, memory_order_release);
        munmap(mapped->page, sizeof *mapped->page);
    }
    PIL_LIST_EACH(struct pil_mapped_session, link, session, &mapped->sessions) {
        if (!session->is_ended) {
            end_session(mapped, session);
        }
        close_session(mapped, session);
    }
    for (uint32_t i = 0; i < PIL_SETTINGS_VIEWS_MAX; i++) {
        pil_mapped_generation_clear(&mapped->views[i].generations);
    }
    pil_mapped_catalog_deinit(mapped);
    pil_sys_close(&mapped->page_fd);
    pil_sys_close(&mapped->epoll);
    free(mapped);
    *mapped_pointer = NULL;
}

static void validate_view(const struct pil_mapped *mapped, uint32_t index, uint32_t *held) {
    const struct pil_mapped_view *view = &mapped->views[index];
    const struct pil_mapped_generation *live = pil_mapped_generation_live(&view->generations);
    uint64_t shown = atomic_load_explicit(&mapped->page->views[index].generation, memory_order_relaxed);
    PIL_ASSERT(live == NULL || live->number == shown);
    PIL_ASSERT(index < mapped->settings->view_count || pil_list_is_empty(&view->generations));
    *held += pil_mapped_generation_validate(&view->generations);
}

static void validate_session(const struct pil_mapped *mapped, const struct pil_mapped_session *session) {
    PIL_ASSERT(session->magic == MAPPED_SESSION_MAGIC && session->fd >= 0);
    PIL_ASSERT((session->mappable & ~session->readable) == 0);
    PIL_ASSERT(session->hold_count <= MAPPED_HOLDS_MAX && (session->is_welcome || session->hold_count == 0));
    PIL_ASSERT(session->in_flight <= PIL_MAPPED_FDS_MAX && session->process->user != NULL);
    PIL_ASSERT((session->owes == MAPPED_OWES_GRANT) == (session->granted != NULL));
    PIL_ASSERT(!session->is_ended || (session->hold_count == 0 && session->owes == MAPPED_OWES_NOTHING));
    PIL_ASSERT(session->ahead_bytes <= sizeof session->ahead && (!session->is_ended || session->ahead_bytes == 0));
    for (uint32_t i = 0; i < session->hold_count; i++) {
        const struct pil_mapped_hold *hold = &session->holds[i];
        const struct pil_list *generations = &mapped->views[hold->view_index].generations;
        PIL_ASSERT(pil_mapped_generation_find(generations, hold->generation->number) == hold->generation);
    }
}

void pil_mapped_validate(const struct pil_mapped *mapped) {
    uint32_t sessions = 0, holds = 0, held = 0;
    MAPPED_ASSERT_OWNER(mapped);
    PIL_LIST_EACH(struct pil_mapped_session, link, session, &mapped->sessions) {
        validate_session(mapped, session);
        sessions += !session->is_ended;
        holds += session->hold_count;
    }
    for (uint32_t i = 0; i < PIL_SETTINGS_VIEWS_MAX; i++) {
        validate_view(mapped, i, &held);
    }
    PIL_ASSERT(sessions == mapped->session_count && sessions <= mapped->settings->limits.mapped_sessions_max);
    PIL_ASSERT(holds == held); /* each hold is counted once */
    pil_mapped_share_validate(mapped);
    PIL_ASSERT(mapped->listener_count <= PIL_SETTINGS_LISTENERS_MAX);
}

/* ---- Publishing. */

/* Retires the live generation of a view, if there is one. */
static void retire_live(struct pil_mapped *mapped, uint32_t view_index) {
    struct pil_mapped_generation *live = pil_mapped_generation_live(&mapped->views[view_index].generations);
    if (live != NULL) {
        pil_mapped_generation_retire(live, pil_mapped_now_ns(mapped));
    }
}

void pil_mapped_publish(struct pil_mapped *mapped, uint32_t view_index, const struct pil_release *release, int *fds,
                        uint32_t shard_count) {
    struct pil_list *generations = &mapped->views[view_index].generations;
    MAPPED_ASSERT_OWNER(mapped);
    PIL_ASSERT(view_index < mapped->settings->view_count && shard_count == release->shard_count);
    /* Publish first: closing descriptors may free memory, which takes a while. */
    atomic_store_explicit(&mapped->page->views[view_index].generation, release->generation, memory_order_release);
    pil_mapped_grant_learn_release(mapped, view_index, release);
    retire_live(mapped, view_index);
    if (pil_mapped_generation_add(generations, release, fds, shard_count) == NULL) {
        pil_log(PIL_LOG_ERROR, "release cannot be mapped by clients", "view", mapped->settings->views[view_index].view,
                "release", release->id, "why", "no memory", NULL);
        for (uint32_t i = 0; i < shard_count; i++) {
            pil_sys_close(&fds[i]);
        }
    }
    pil_mapped_generation_sweep(generations);
}

void pil_mapped_views_changed(struct pil_mapped *mapped) {
    MAPPED_ASSERT_OWNER(mapped);
    for (uint32_t i = 0; i < mapped->settings->view_count; i++) {
        if (mapped->settings->views[i].is_removed) {
            atomic_store_explicit(&mapped->page->views[i].generation, 0, memory_order_release);
            retire_live(mapped, i);
            pil_mapped_generation_sweep(&mapped->views[i].generations);
        }
    }
    PIL_LIST_EACH(struct pil_mapped_session, link, session, &mapped->sessions) {
        pil_mapped_grant_judge(mapped, session);
    }
    pil_mapped_catalog_changed(mapped);
}

bool pil_mapped_is_held(const struct pil_mapped *mapped, uint32_t view_index, uint64_t generation) {
    const struct pil_mapped_generation *found =
        pil_mapped_generation_find(&mapped->views[view_index].generations, generation);
    return found != NULL && found->holder_count > 0;
}

void pil_mapped_checked(struct pil_mapped *mapped, uint32_t view_index, int64_t checked_us) {
    PIL_ASSERT(view_index < PIL_MAPPED_VIEWS_MAX);
    atomic_store_explicit(&mapped->page->views[view_index].checked_us, checked_us, memory_order_release);
}

void pil_mapped_set_project(struct pil_mapped *mapped, const struct pil_project *project) {
    MAPPED_ASSERT_OWNER(mapped);
    pil_mapped_grant_learn_project(mapped, project);
    pil_status status = pil_mapped_catalog_set_project(mapped, project);
    if (status == PIL_STATUS_OK) {
        pil_mapped_catalog_changed(mapped);
    } else {
        pil_log(PIL_LOG_ERROR, "project missing from the catalog of mapped clients", "project", project->name, "why",
                status == PIL_STATUS_NOT_FOUND ? "no view of it is served here" : pil_status_text(status), NULL);
    }
}

void pil_mapped_miss_project(struct pil_mapped *mapped, uint32_t view_index) {
    const struct pil_view_settings *views = mapped->settings->views;
    bool is_settled = false; /* for another view of the project: it was never applied, or says nothing of that view */
    MAPPED_ASSERT_OWNER(mapped);
    for (uint32_t i = 0; i < mapped->settings->view_count; i++) {
        is_settled |= i != view_index && !views[i].is_removed && mapped->views[i].is_awaited &&
                      !mapped->views[i].is_regulated && !mapped->views[i].is_project_known &&
                      strcmp(views[i].project, views[view_index].project) == 0;
    }
    mapped->views[view_index].is_awaited = true;
    mapped->views[view_index].is_regulated |= !mapped->views[view_index].is_project_known && !is_settled;
}

void pil_mapped_no_project(struct pil_mapped *mapped, uint32_t view_index) {
    const struct pil_view_settings *views = mapped->settings->views;
    MAPPED_ASSERT_OWNER(mapped);
    for (uint32_t i = 0; i < mapped->settings->view_count; i++) {
        if (strcmp(views[i].project, views[view_index].project) == 0) {
            mapped->views[i].is_regulated &= mapped->views[i].is_project_known;
        }
    }
}

/* ---- Connections. */

pil_status pil_mapped_listen(struct pil_mapped *mapped, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    MAPPED_ASSERT_OWNER(mapped);
    if (mapped->listener_count == PIL_SETTINGS_LISTENERS_MAX ||
        epoll_ctl(mapped->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        return PIL_STATUS_SYSTEM;
    }
    mapped->listeners[mapped->listener_count++] = fd;
    return PIL_STATUS_OK;
}

int pil_mapped_descriptor(const struct pil_mapped *mapped) {
    return mapped->epoll;
}

static void watch_listeners(struct pil_mapped *mapped, bool is_watched) {
    for (uint32_t i = 0; i < mapped->listener_count; i++) {
        struct epoll_event event = {.events = is_watched ? EPOLLIN : 0, .data.ptr = NULL};
        int rc = epoll_ctl(mapped->epoll, EPOLL_CTL_MOD, mapped->listeners[i], &event);
        PIL_ASSERT(rc == 0); /* the listener is in the set, and changing its events allocates no memory */
    }
}

/* Ended sessions whose clients have not received all descriptors. */
static uint32_t count_lingering(const struct pil_mapped *mapped) {
    uint32_t count = 0;
    PIL_LIST_EACH(struct pil_mapped_session, link, at, &mapped->sessions) {
        count += at->is_ended && at->in_flight > 0;
    }
    return count;
}

/* Makes a place for a session more, by ending another one if that is necessary and fair (share.c). A session that has
 * ended keeps its place until its client has received what was sent, so that a client cannot leave descriptors in
 * flight and come again; a few of them are kept beside the places, so that sessions which do not read can be replaced.
 * Returns false if the new session is to be refused. */
static bool make_place(struct pil_mapped *mapped, const struct pil_mapped_session *new_session) {
    uint32_t max = mapped->settings->limits.mapped_sessions_max, beside = max / 4;
    if (mapped->session_count + mapped->ended_count < max) {
        return true;
    }
    uint32_t lingering = count_lingering(mapped);
    if (mapped->session_count + (lingering > beside ? lingering - beside : 0) < max) {
        return true;
    }
    struct pil_mapped_session *victim = pil_mapped_share_victim(mapped, new_session->process);
    if (victim == NULL || (victim->in_flight > 0 && lingering >= beside)) {
        return false;
    }
    pil_mapped_complain(mapped, &victim->peer, MAPPED_TROUBLE_REPLACED,
                        "limits.mapped_sessions are in use, and its user or process has most of them");
    end_session(mapped, victim);
    return true;
}

static void open_session(struct pil_mapped *mapped, int fd) {
    struct pil_mapped_session *session = NULL;
    pil_status status = pil_mapped_session_open(mapped, fd, &session);
    if (status != PIL_STATUS_OK) {
        pil_log(PIL_LOG_WARN, "mapped session refused", "why", pil_status_text(status), NULL);
        return;
    }
    if (!make_place(mapped, session)) {
        pil_mapped_complain(mapped, &session->peer, MAPPED_TROUBLE_REFUSED,
                            "limits.mapped_sessions are in use, and its user and process have no fewer than others");
        pil_mapped_session_close(mapped, session);
        return;
    }
    pil_list_append(&mapped->sessions, &session->link);
    mapped->session_count++;
}

/* When descriptors or memory run out, listeners stay readable, so they are not watched for ACCEPT_PAUSE_NS. */
static void accept_some(struct pil_mapped *mapped, int listener) {
    for (uint32_t k = 0; k < ACCEPTS_PER_TURN; k++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
            pil_log(PIL_LOG_WARN, "mapped sessions wait", "why", strerror(errno), NULL);
            watch_listeners(mapped, false);
            mapped->resume_ns = pil_mapped_now_ns(mapped) + ACCEPT_PAUSE_NS;
            return;
        }
        if (fd < 0) {
            return;
        }
        open_session(mapped, fd);
    }
}

/* Runs a session, which becomes the one that was answered last. */
static void run_session(struct pil_mapped *mapped, struct pil_mapped_session *session) {
    if (session->is_ended) {
        return; /* closed at the end of the turn, if its client has read */
    }
    pil_list_remove(&session->link);
    pil_list_append(&mapped->sessions, &session->link);
    if (!pil_mapped_session_run(mapped, session)) {
        end_session(mapped, session);
    }
}

/* Runs sessions that wait because others have descriptors in flight; who waits longest is first. */
static void run_waiting(struct pil_mapped *mapped) {
    uint32_t left = mapped->session_count + mapped->ended_count; /* those that ran are behind */
    PIL_LIST_EACH(struct pil_mapped_session, link, session, &mapped->sessions) {
        if (left-- == 0) {
            return;
        }
        if (session->wait == MAPPED_WAIT_SHARE) {
            run_session(mapped, session);
        }
    }
}

void pil_mapped_turn(struct pil_mapped *mapped) {
    struct epoll_event events[EVENTS];
    MAPPED_ASSERT_OWNER(mapped);
    uint32_t in_flight = mapped->in_flight;
    int count = epoll_wait(mapped->epoll, events, EVENTS, 0);
    for (int i = 0; i < count; i++) {
        struct pil_mapped_session *session = events[i].data.ptr;
        if (session != NULL && (events[i].events & EPOLLHUP) == 0) {
            run_session(mapped, session);
        } else if (session != NULL && !session->is_ended) { /* the client has closed its socket */
            end_session(mapped, session);
        }
        for (uint32_t k = 0; session == NULL && k < mapped->listener_count && mapped->resume_ns == 0; k++) {
            accept_some(mapped, mapped->listeners[k]);
        }
    }
    close_ended(mapped);
    if (mapped->in_flight < in_flight) {
        run_waiting(mapped);
    }
}

/* ---- Periodic work and gauges. */

/* Closes sessions that have not sent HELLO in time, because each takes a place. */
static void end_silent(struct pil_mapped *mapped, uint64_t now_ns) {
    PIL_LIST_EACH(struct pil_mapped_session, link, session, &mapped->sessions) {
        if (!session->is_ended && !session->is_welcome && now_ns - session->since_ns > HELLO_NS) {
            pil_mapped_complain(mapped, &session->peer, MAPPED_TROUBLE_SILENT, "no HELLO came in 2 s");
            end_session(mapped, session);
        }
    }
}

static bool has_same_name(const struct pil_view_settings *a, const struct pil_view_settings *b) {
    return strcmp(a->project, b->project) == 0 && strcmp(a->view, b->view) == 0;
}

struct gauges {
    uint64_t held, pinned; /* generations, bytes */
    bool is_served;
};

/* Adds up all slots of a view: releases of a removed slot may still be mapped. */
static struct gauges gauges_of(const struct pil_mapped *mapped, const struct pil_view_settings *view) {
    struct gauges gauges = {0};
    for (uint32_t i = 0; i < mapped->settings->view_count; i++) {
        if (!has_same_name(&mapped->settings->views[i], view)) {
            continue;
        }
        gauges.is_served |= !mapped->settings->views[i].is_removed;
        PIL_LIST_EACH(struct pil_mapped_generation, link, at, &mapped->views[i].generations) {
            gauges.held += at->holder_count > 0;
            gauges.pinned += at->holder_count > 0 && at->retired_ns != 0 ? at->bytes : 0;
        }
    }
    return gauges;
}

static void update_gauges(struct pil_mapped *mapped, uint32_t view_index) {
    struct pil_metric_registry *metrics = pil_server_metrics(mapped->server);
    const struct pil_view_settings *view = &mapped->settings->views[view_index];
    struct gauges gauges = gauges_of(mapped, view);
    char label[PIL_VIEW_LABEL_BYTES];
    pil_view_label(view, label);
    if (!gauges.is_served && gauges.held == 0) {
        pil_metric_forget(metrics, PIL_METRIC_mapped_generations, PIL_METRIC_LABELS(label));
        pil_metric_forget(metrics, PIL_METRIC_mapped_pinned_bytes, PIL_METRIC_LABELS(label));
        return;
    }
    pil_metric_gauge(metrics, PIL_METRIC_mapped_generations, PIL_METRIC_LABELS(label), (double)gauges.held);
    pil_metric_gauge(metrics, PIL_METRIC_mapped_pinned_bytes, PIL_METRIC_LABELS(label), (double)gauges.pinned);
}

void pil_mapped_tick(struct pil_mapped *mapped) {
    uint64_t now_ns = pil_mapped_now_ns(mapped);
    MAPPED_ASSERT_OWNER(mapped);
    atomic_store_explicit(&mapped->page->heartbeat_ns, now_ns, memory_order_release);
    end_silent(mapped, now_ns);
    close_ended(mapped);
    run_waiting(mapped);
    pil_mapped_complaint_tick(mapped);
    if (mapped->resume_ns != 0 && now_ns >= mapped->resume_ns) {
        mapped->resume_ns = 0;
        watch_listeners(mapped, true);
    }
    pil_metric_gauge(pil_server_metrics(mapped->server), PIL_METRIC_mapped_sessions, NULL, mapped->session_count);
    pil_metric_gauge(pil_server_metrics(mapped->server), PIL_METRIC_mapped_in_flight, NULL, mapped->in_flight);
    for (uint32_t i = 0; i < mapped->settings->view_count; i++) {
        update_gauges(mapped, i);
    }
}

void pil_mapped_visit(const struct pil_mapped *mapped,
                      void (*visit)(void *context, const struct pil_mapped_holder *holder), void *context) {
    MAPPED_ASSERT_OWNER(mapped);
    PIL_LIST_EACH(struct pil_mapped_session, link, session, &mapped->sessions) {
        for (uint32_t i = 0; i < session->hold_count; i++) {
            const struct pil_mapped_hold *hold = &session->holds[i];
            const struct pil_mapped_generation *generation = hold->generation;
            struct pil_mapped_holder holder = {.pid = session->peer.pid,
                                               .uid = session->peer.uid,
                                               .gid = session->peer.gid,
                                               .name = session->name,
                                               .cgroup = session->peer.cgroup,
                                               .view_index = hold->view_index,
                                               .generation = generation->number,
                                               .release = generation->release,
                                               .bytes = generation->bytes,
                                               .since_us = hold->since_us,
                                               .is_live = generation->retired_ns == 0};
            visit(context, &holder);
        }
    }
}
