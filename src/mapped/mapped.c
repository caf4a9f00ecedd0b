/* SPDX-License-Identifier: Apache-2.0
 * State of mapped reads: the control page, the catalog, generations and their holders. Sessions, which speak with
 * clients, are in mapped_session.c. */
#include "mapped/mapped.h"
#include "base/clock.h"
#include "base/panic.h"
#include "base/sys.h"
#include "mapped/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* Linux 5.1; glibc's headers hide it behind another one */
#endif

enum { HELLO_NS = 2000000000 };

/* ---- Control page. */

/* The server's own mapping is made before the seal and stays writable; nobody gets another one. */
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
    if (fcntl(mapped->page_fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        return pil_fail(ret_error, pil_status_from_errno(errno), "seal the control page (Linux 5.1): %s",
                        strerror(errno));
    }
    mapped->page->magic = PIL_MAPPED_CONTROL_MAGIC;
    mapped->page->version = PIL_MAPPED_VERSION;
    if (getrandom(&mapped->page->daemon_id, sizeof mapped->page->daemon_id, 0) != sizeof mapped->page->daemon_id) {
        return pil_fail(ret_error, PIL_STATUS_SYSTEM, "no random numbers");
    }
    atomic_store_explicit(&mapped->page->state, PIL_MAPPED_SERVING, memory_order_release);
    pil_mapped_tick(mapped);
    return PIL_STATUS_OK;
}

/* ---- Catalog. */

static void make_catalog(struct pil_mapped *mapped) {
    json_t *views = json_array(), *projects = json_array();
    for (uint32_t i = 0; i < mapped->settings->view_count; i++) {
        const struct pil_view_settings *view = &mapped->settings->views[i];
        const char *project = view->is_removed ? "" : view->project, *name = view->is_removed ? "" : view->view;
        json_array_append_new(views, json_pack("{s:i, s:s, s:s, s:s}", "index", (int)i, "project", project, "name",
                                               name, "channel", view->channel)); /* a removed view keeps its index */
    }
    for (uint32_t i = 0; i < mapped->project_count; i++) {
        json_array_append(projects, mapped->projects[i]);
    }
    mapped->page->view_count = mapped->settings->view_count;
    json_t *catalog = json_pack("{s:o, s:o}", "views", views, "projects", projects);
    char *text = json_dumps(catalog, JSON_COMPACT | JSON_SORT_KEYS);
    int fd = -1;
    PIL_ASSERT(text != NULL);
    if (pil_sys_memfd_create("pillion-catalog", &fd, NULL) == PIL_STATUS_OK &&
        pil_sys_write_all(fd, pil_bytes_from_text(text), NULL) == PIL_STATUS_OK &&
        pil_sys_memfd_seal(fd, NULL) == PIL_STATUS_OK) {
        pil_sys_close(&mapped->catalog_fd);
        mapped->catalog_fd = fd;
        atomic_fetch_add_explicit(&mapped->page->catalog_generation, 1, memory_order_release);
    } else {
        pil_sys_close(&fd); /* the catalog before goes on */
    }
    free(text);
    json_decref(catalog);
}

static bool has_tag(const struct pil_feature *feature, const char *tag) {
    for (uint32_t i = 0; i < feature->tag_count; i++) {
        if (strcmp(feature->tags[i], tag) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_regulated_feature(const struct pil_view *view) {
    bool found = false;
    for (uint32_t i = 0; i < view->feature_count && !found; i++) {
        found = has_tag(&view->features[i], "regulated");
    }
    return found;
}

/* The view's tag `regulated`, unless it says false, or a feature's tag of that name. */
static bool is_regulated(const struct pil_project_view *view) {
    const char *tag = json_string_value(json_object_get(view->tags, "regulated"));
    return (tag != NULL && strcmp(tag, "false") != 0) || has_regulated_feature(view->view);
}

void pil_mapped_miss_project(struct pil_mapped *mapped, uint32_t view_index) {
    for (uint32_t i = 0; i < mapped->settings->view_count; i++) {
        if (strcmp(mapped->settings->views[i].project, mapped->settings->views[view_index].project) == 0) {
            mapped->views[i].is_regulated |= !mapped->views[i].is_project_known;
        }
    }
}

void pil_mapped_set_project(struct pil_mapped *mapped, const struct pil_project *project) {
    for (uint32_t i = 0; i < mapped->settings->view_count; i++) {
        const struct pil_view_settings *settings = &mapped->settings->views[i];
        const struct pil_project_view *view =
            strcmp(settings->project, project->name) == 0 ? pil_project_view_find(project, settings->view) : NULL;
        if (view != NULL) {
            mapped->views[i].is_regulated = is_regulated(view);
            mapped->views[i].is_project_known = true;
        }
    }
    uint32_t at = 0;
    while (at < mapped->project_count &&
           strcmp(json_string_value(json_object_get(mapped->projects[at], "project")), project->name) != 0) {
        at++;
    }
    if (at == mapped->project_count) {
        PIL_ASSERT(at < PIL_SETTINGS_VIEWS_MAX);
        mapped->project_count++;
    } else {
        json_decref(mapped->projects[at]);
    }
    mapped->projects[at] = pil_project_to_json(project);
    make_catalog(mapped);
}

/* ---- Generations. */

static void release_generation(struct pil_mapped_generation *generation) {
    for (uint32_t i = 0; i < generation->shard_count; i++) {
        pil_sys_close(&generation->fds[i]);
    }
    free(generation->fds);
    free(generation);
}

struct pil_mapped_generation *pil_mapped_generation_find(const struct pil_mapped *mapped, uint32_t view_index,
                                                         uint64_t number) {
    struct pil_mapped_generation *at = mapped->views[view_index].generations;
    while (at != NULL && at->number != number) {
        at = at->next;
    }
    return at;
}

/* Forgets the retired generations of a view that nobody holds. */
void pil_mapped_generations_sweep(struct pil_mapped *mapped, uint32_t view_index) {
    struct pil_mapped_generation **at = &mapped->views[view_index].generations;
    while (*at != NULL) {
        struct pil_mapped_generation *generation = *at;
        if (generation->retired_ns != 0 && generation->holder_count == 0) {
            *at = generation->next;
            release_generation(generation);
        } else {
            at = &generation->next;
        }
    }
}

void pil_mapped_publish(struct pil_mapped *mapped, uint32_t view_index, const struct pil_release *release,
                        int64_t created_us, int *fds, uint32_t shard_count) {
    struct pil_mapped_view *view = &mapped->views[view_index];
    struct pil_mapped_generation *generation = calloc(1, sizeof *generation);
    PIL_ASSERT(generation != NULL);
    generation->fds = malloc(shard_count * sizeof generation->fds[0]);
    PIL_ASSERT(generation->fds != NULL);
    memcpy(generation->fds, fds, shard_count * sizeof generation->fds[0]);
    generation->shard_count = shard_count;
    generation->number = release->generation;
    generation->bytes = release->bytes;
    generation->created_us = created_us;
    memcpy(generation->release, release->id, sizeof generation->release);
    struct pil_mapped_generation *before = view->generations;
    generation->next = before;
    view->generations = generation;
    view->is_release_regulated = has_regulated_feature(release->view);
    /* First: closing what was before may free its memory, which takes a while. */
    atomic_store_explicit(&mapped->page->views[view_index].generation, generation->number, memory_order_release);
    if (before != NULL && before->retired_ns == 0) {
        before->retired_ns = pil_clock_monotonic_ns();
        for (uint32_t i = 0; i < before->shard_count; i++) {
            pil_sys_close(&before->fds[i]); /* nobody is granted it any more */
        }
    }
    pil_mapped_generations_sweep(mapped, view_index);
}

/* The live generation is granted to nobody any more. */
static void retire_live(struct pil_mapped *mapped, uint32_t view_index) {
    struct pil_mapped_generation *live = mapped->views[view_index].generations;
    atomic_store_explicit(&mapped->page->views[view_index].generation, 0, memory_order_release);
    if (live != NULL && live->retired_ns == 0) {
        live->retired_ns = pil_clock_monotonic_ns();
        for (uint32_t i = 0; i < live->shard_count; i++) {
            pil_sys_close(&live->fds[i]);
        }
    }
    pil_mapped_generations_sweep(mapped, view_index);
}

void pil_mapped_views_changed(struct pil_mapped *mapped) {
    for (uint32_t i = 0; i < mapped->settings->view_count; i++) {
        if (mapped->settings->views[i].is_removed) {
            retire_live(mapped, i);
        }
    }
    make_catalog(mapped);
}

bool pil_mapped_is_held(const struct pil_mapped *mapped, uint32_t view_index, uint64_t generation) {
    const struct pil_mapped_generation *found = pil_mapped_generation_find(mapped, view_index, generation);
    return found != NULL && found->holder_count > 0;
}

void pil_mapped_checked(struct pil_mapped *mapped, uint32_t view_index, int64_t checked_us) {
    atomic_store_explicit(&mapped->page->views[view_index].checked_us, checked_us, memory_order_release);
}

/* ---- Life. */

pil_status pil_mapped_create(struct pil_server *server, struct pil_mapped **ret_mapped, struct pil_error *ret_error) {
    struct pil_mapped *mapped = calloc(1, sizeof *mapped);
    PIL_ASSERT(mapped != NULL);
    mapped->server = server;
    mapped->settings = pil_server_settings(server);
    mapped->page_fd = mapped->catalog_fd = -1;
    mapped->epoll = epoll_create1(EPOLL_CLOEXEC);
    pil_status status = mapped->epoll >= 0 ? create_page(mapped, ret_error)
                                           : pil_fail(ret_error, pil_status_from_errno(errno), "epoll: %m");
    if (status != PIL_STATUS_OK) {
        pil_mapped_destroy(&mapped);
        return status;
    }
    make_catalog(mapped);
    *ret_mapped = mapped;
    return PIL_STATUS_OK;
}

void pil_mapped_destroy(struct pil_mapped **mapped_pointer) {
    struct pil_mapped *mapped = *mapped_pointer;
    if (mapped == NULL) {
        return;
    }
    if (mapped->page != NULL) {
        atomic_store_explicit(&mapped->page->state, PIL_MAPPED_CLOSING, memory_order_release);
        munmap(mapped->page, sizeof *mapped->page);
    }
    while (mapped->sessions != NULL) {
        pil_mapped_session_close(mapped, mapped->sessions);
    }
    for (uint32_t i = 0; i < PIL_SETTINGS_VIEWS_MAX; i++) {
        while (mapped->views[i].generations != NULL) {
            struct pil_mapped_generation *generation = mapped->views[i].generations;
            mapped->views[i].generations = generation->next;
            release_generation(generation);
        }
    }
    for (uint32_t i = 0; i < mapped->project_count; i++) {
        json_decref(mapped->projects[i]);
    }
    pil_sys_close(&mapped->page_fd);
    pil_sys_close(&mapped->catalog_fd);
    pil_sys_close(&mapped->epoll);
    free(mapped);
    *mapped_pointer = NULL;
}

pil_status pil_mapped_listen(struct pil_mapped *mapped, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (mapped->listener_count == PIL_SETTINGS_LISTENERS_MAX ||
        epoll_ctl(mapped->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        return PIL_STATUS_SYSTEM;
    }
    mapped->listeners[mapped->listener_count++] = fd;
    return PIL_STATUS_OK;
}

void pil_mapped_listeners_watch(struct pil_mapped *mapped, bool is_watched) {
    for (uint32_t i = 0; i < mapped->listener_count; i++) {
        struct epoll_event event = {.events = is_watched ? EPOLLIN : 0, .data.ptr = NULL};
        PIL_ASSERT(epoll_ctl(mapped->epoll, EPOLL_CTL_MOD, mapped->listeners[i], &event) == 0);
    }
}

int pil_mapped_descriptor(const struct pil_mapped *mapped) {
    return mapped->epoll;
}

/* Those that took a place and do not say HELLO. */
static void close_silent(struct pil_mapped *mapped, uint64_t now_ns) {
    for (struct pil_mapped_session *session = mapped->sessions, *next; session != NULL; session = next) {
        next = session->next;
        if (!session->is_welcome && now_ns - session->since_ns > HELLO_NS) {
            pil_mapped_session_close(mapped, session);
        }
    }
}

void pil_mapped_tick(struct pil_mapped *mapped) {
    uint64_t now_ns = pil_clock_monotonic_ns();
    atomic_store_explicit(&mapped->page->heartbeat_ns, now_ns, memory_order_release);
    close_silent(mapped, now_ns);
    if (mapped->resume_ns != 0 && now_ns >= mapped->resume_ns) {
        mapped->resume_ns = 0;
        pil_mapped_listeners_watch(mapped, true);
    }
    struct pil_metric_registry *metrics = pil_server_metrics(mapped->server);
    pil_metric_gauge(metrics, PIL_METRIC_mapped_sessions, NULL, mapped->session_count);
    for (uint32_t i = 0; i < mapped->settings->view_count; i++) {
        char label[PIL_VIEW_LABEL_BYTES];
        uint64_t held = 0, pinned = 0;
        for (const struct pil_mapped_generation *at = mapped->views[i].generations; at != NULL; at = at->next) {
            held += at->holder_count > 0;
            pinned += at->holder_count > 0 && at->retired_ns != 0 ? at->bytes : 0;
        }
        pil_view_label(&mapped->settings->views[i], label);
        if (mapped->settings->views[i].is_removed && held == 0) {
            pil_metric_forget(metrics, PIL_METRIC_mapped_generations, PIL_METRIC_LABELS(label));
            pil_metric_forget(metrics, PIL_METRIC_mapped_pinned_bytes, PIL_METRIC_LABELS(label));
            continue;
        }
        pil_metric_gauge(metrics, PIL_METRIC_mapped_generations, PIL_METRIC_LABELS(label), (double)held);
        pil_metric_gauge(metrics, PIL_METRIC_mapped_pinned_bytes, PIL_METRIC_LABELS(label), (double)pinned);
    }
}

void pil_mapped_visit(const struct pil_mapped *mapped,
                      void (*visit)(void *context, const struct pil_mapped_holder *holder), void *context) {
    for (const struct pil_mapped_session *session = mapped->sessions; session != NULL; session = session->next) {
        for (uint32_t i = 0; i < session->hold_count; i++) {
            const struct pil_mapped_hold *hold = &session->holds[i];
            const struct pil_mapped_generation *generation = hold->generation;
            struct pil_mapped_holder holder = {.pid = session->pid,
                                               .uid = session->uid,
                                               .gid = session->gid,
                                               .name = session->name,
                                               .cgroup = session->cgroup,
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
