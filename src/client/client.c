/* SPDX-License-Identifier: Apache-2.0
 * Opening, closing, looking after a client: who does what is due, and what a forked child may still trust. */
#include "client/internal.h"
#include "base/clock.h"
#include "base/panic.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <time.h>

enum { IS_OURS = 1, IS_BEING_ADOPTED = 2 };

/* ---- Results. */

const char *pillion_version(void) {
    return PIL_VERSION;
}

const char *pillion_result_text(pillion_result result) {
    static const char *const texts[] = {
        [PILLION_OK] = "ok",
        [PILLION_INVALID] = "invalid call",
        [PILLION_NOT_FOUND] = "not found",
        [PILLION_DENIED] = "permission denied",
        [PILLION_UNSUPPORTED] = "unsupported type or version",
        [PILLION_TOO_LARGE] = "over a limit",
        [PILLION_NOT_READY] = "not ready yet",
        [PILLION_UNAVAILABLE] = "unavailable",
        [PILLION_CORRUPT] = "corrupt data",
        [PILLION_SYSTEM] = "system call failed",
    };
    return (size_t)result < sizeof texts / sizeof texts[0] ? texts[result] : "?";
}

pillion_result pil_client_result(pil_status status) {
    switch (status) {
    case PIL_STATUS_OK: return PILLION_OK;
    case PIL_STATUS_INVALID: return PILLION_INVALID;
    case PIL_STATUS_NOT_FOUND: return PILLION_NOT_FOUND;
    case PIL_STATUS_DENIED: return PILLION_DENIED;
    case PIL_STATUS_UNSUPPORTED: return PILLION_UNSUPPORTED;
    case PIL_STATUS_TOO_LARGE: return PILLION_TOO_LARGE;
    case PIL_STATUS_AGAIN:
    case PIL_STATUS_BUSY: return PILLION_NOT_READY;
    case PIL_STATUS_CLOSED:
    case PIL_STATUS_TIMEOUT:
    case PIL_STATUS_IO: return PILLION_UNAVAILABLE;
    case PIL_STATUS_CORRUPT: return PILLION_CORRUPT;
    case PIL_STATUS_EXISTS:
    case PIL_STATUS_CONFLICT:
    case PIL_STATUS_NO_MEMORY:
    case PIL_STATUS_NO_SPACE:
    case PIL_STATUS_SYSTEM:
    case PIL_STATUS_COUNT: break;
    }
    return PILLION_SYSTEM;
}

pillion_result pil_client_fail(struct pillion_error *error, pillion_result result, const char *format, ...) {
    if (error != NULL) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->text, sizeof error->text, format, arguments);
        va_end(arguments);
    }
    return result;
}

/* ---- The lock, and forks. */

/* The parent's thread that held the lock is not here, and what it was at may be half done: nothing that is counted can
 * be trusted then, and stays mapped for good. What plans point to is whole at any time. */
static void give_up_counts(struct pillion_client *client) {
    client->era++;
    client->retired = NULL;
    client->dying = NULL;
    client->session.page = NULL;
    client->session.catalog = NULL;
    client->session.grant = (struct pil_grant){0};
    for (uint32_t i = 0; i < PIL_MAPPED_VIEWS_MAX; i++) {
        client->views[i].mapping = NULL;
    }
}

static bool adopt(struct pillion_client *client) {
    uint32_t nobodys = 0;
    if (!atomic_compare_exchange_strong(&client->slots->is_ours, &nobodys, IS_BEING_ADOPTED)) {
        return nobodys == IS_OURS;
    }
    if (atomic_exchange(&client->lock, 0) != 0) {
        give_up_counts(client);
    }
    pil_session_forget(client);
    pil_socket_close(client, true);
    atomic_store(&client->attend_at_ns, 0);
    atomic_store(&client->slots->is_ours, IS_OURS);
    return true;
}

bool pil_client_try_lock(struct pillion_client *client) {
    uint32_t free_value = 0;
    return (atomic_load(&client->slots->is_ours) == IS_OURS || adopt(client)) &&
           atomic_compare_exchange_strong(&client->lock, &free_value, 1);
}

void pil_client_lock(struct pillion_client *client) {
    while (!pil_client_try_lock(client)) {
        struct timespec pause = {.tv_nsec = 50000};
        nanosleep(&pause, NULL);
    }
}

void pil_client_unlock(struct pillion_client *client) {
    atomic_store(&client->lock, 0);
}

/* ---- What is due. */

/* When a call that finds something wrong should look again: for reasons that concern every plan. */
static uint64_t next_look_ns(const struct pillion_client *client, bool has_retired, uint64_t now_ns) {
    const struct pil_session *session = &client->session;
    if (client->mapped == NULL) {
        return UINT64_MAX;
    }
    if (client->worked_ns != 0) {
        return 0;
    }
    if (has_retired || session->state == PIL_SESSION_WELCOMING || session->request_count > 0) {
        return now_ns + pil_client_poll_ns;
    }
    if (session->state == PIL_SESSION_CLOSED) {
        return session->connect_at_ns;
    }
    uint64_t heartbeat_ns = atomic_load_explicit(&session->page->control->heartbeat_ns, memory_order_relaxed);
    bool is_stopped = heartbeat_ns < now_ns && now_ns - heartbeat_ns > pil_client_heartbeat_ns_max;
    return is_stopped ? now_ns + pil_client_connect_ns : 0;
}

void pil_client_settle(struct pillion_client *client, uint64_t until_ns, uint64_t work_ns) {
    (void)pil_world_reclaim(client); /* first: what it frees is told to the server before more is asked for */
    pil_session_step(client, until_ns);
    pil_world_update(client);
    bool has_retired = pil_world_reclaim(client), has_work = pil_mapping_work(client, work_ns);
    uint64_t now_ns = pil_clock_monotonic_ns();
    bool has_chores = has_retired || has_work || client->session.request_count > 0;
    client->worked_ns = has_work ? now_ns : 0;
    atomic_store_explicit(&client->attend_at_ns, next_look_ns(client, has_retired, now_ns), memory_order_relaxed);
    atomic_store_explicit(&client->has_chores, has_chores, memory_order_relaxed);
}

/* What a call may spend on work that is left over: a little, or a small part of the time since the last one had some,
 * so that clients which seldom call are done in a fraction of a second, too. */
static uint64_t work_ns(const struct pillion_client *client, uint64_t now_ns) {
    enum { LITTLE_NS = 50000, PART = 16 };
    uint64_t part_ns = client->worked_ns != 0 ? (now_ns - client->worked_ns) / PART : 0;
    return part_ns > LITTLE_NS ? part_ns : LITTLE_NS;
}

void pil_client_attend(struct pillion_client *client) {
    if (!pil_client_try_lock(client)) {
        return;
    }
    /* An answer that was asked for before is late: nobody waits for it a second time. */
    uint64_t now_ns = pil_clock_monotonic_ns();
    bool may_wait = client->session.state == PIL_SESSION_READY && client->session.request_count == 0;
    pil_client_settle(client, may_wait ? now_ns + client->refresh_us * 1000ull : now_ns, work_ns(client, now_ns));
    pil_client_unlock(client);
}

/* ---- Opening. */

static pillion_result check_options(const struct pillion_options *options, struct pillion_error *error) {
    if (options->mapped == NULL && options->resp == NULL) {
        return pil_client_fail(error, PILLION_INVALID, "neither mapped nor resp is given");
    }
    const char *path = options->mapped != NULL ? options->mapped : "unix:x";
    if (strncmp(path, "unix:", 5) != 0 || path[5] == '\0' ||
        strlen(path + 5) >= sizeof((struct sockaddr_un *)NULL)->sun_path) {
        return pil_client_fail(error, PILLION_INVALID, "mapped: '%.256s' is not unix:PATH of at most 107 characters",
                               path);
    }
    return PILLION_OK;
}

static char *copy_text(const char *text) {
    char *copy = text != NULL ? strdup(text) : NULL;
    PIL_ASSERT(copy != NULL || text == NULL);
    return copy;
}

static struct pillion_client *client_create(const struct pillion_options *options) {
    struct pillion_client *client = calloc(1, sizeof *client);
    struct pil_slot_block *slots =
        mmap(NULL, sizeof *slots, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    PIL_ASSERT(client != NULL && slots != MAP_FAILED);
    PIL_ASSERT(madvise(slots, sizeof *slots, MADV_WIPEONFORK) == 0); /* Linux 4.14 */
    atomic_store(&slots->is_ours, IS_OURS);
    client->slots = slots;
    client->mapped = copy_text(options->mapped);
    client->resp = copy_text(options->resp);
    client->name = copy_text(options->name != NULL ? options->name : program_invocation_short_name);
    client->timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : PIL_CLIENT_DEFAULT_TIMEOUT_MS;
    client->refresh_us = options->refresh_us != 0 ? options->refresh_us : PIL_CLIENT_DEFAULT_REFRESH_US;
    client->session.fd = -1;
    if (client->mapped == NULL) {
        snprintf(client->why_not_mapped, sizeof client->why_not_mapped, "no mapped listener was named");
    }
    return client;
}

static pillion_result check_reachable(struct pillion_client *client, struct pillion_error *error) {
    struct pil_error why = {{0}};
    if (client->session.catalog_number != 0) {
        return PILLION_OK;
    }
    if (client->resp == NULL) {
        return pil_client_fail(error, PILLION_UNAVAILABLE, "%s", client->why_not_mapped);
    }
    pil_status status = pil_socket_try(client, &why);
    return status == PIL_STATUS_OK ? PILLION_OK
                                   : pil_client_fail(error, pil_client_result(status), "%s; not mapped: %s", why.text,
                                                     client->why_not_mapped);
}

pillion_result pillion_open(const struct pillion_options *options, struct pillion_client **ret_client,
                            struct pillion_error *ret_error) {
    struct pillion_options own = {0};
    memcpy(&own, options, options->size < sizeof own ? options->size : sizeof own);
    pillion_result result = check_options(&own, ret_error);
    if (result != PILLION_OK) {
        return result;
    }
    struct pillion_client *client = client_create(&own);
    pil_client_lock(client);
    pil_client_settle(client, pil_clock_monotonic_ns() + client->timeout_ms * 1000000ull, UINT64_MAX);
    pil_client_unlock(client);
    result = check_reachable(client, ret_error);
    if (result != PILLION_OK) {
        pillion_close(&client);
        return result;
    }
    *ret_client = client;
    return PILLION_OK;
}

void pillion_close(struct pillion_client **client_pointer) {
    struct pillion_client *client = *client_pointer;
    *client_pointer = NULL;
    if (client == NULL) {
        return;
    }
    pil_client_lock(client);
    while (client->plans != NULL) {
        struct pillion_plan *plan = client->plans;
        pil_client_unlock(client);
        pillion_plan_free(&plan);
        pil_client_lock(client);
    }
    for (uint32_t i = 0; i < PIL_MAPPED_VIEWS_MAX; i++) {
        pil_mapping_release(client, &client->views[i].mapping);
    }
    (void)pil_world_reclaim(client);
    pil_mapping_unmap_all(client);
    pil_session_close(client, "closed");
    pil_socket_close(client, false);
    pil_page_release(&client->session.page);
    json_decref(client->session.catalog);
    for (struct pil_slot_block *block = client->slots; block != NULL;) {
        struct pil_slot_block *next = atomic_load(&block->next);
        munmap(block, sizeof *block);
        block = next;
    }
    free(client->mapped);
    free(client->resp);
    free(client->name);
    free(client);
}

/* ---- Info. */

static void describe_view(const struct pil_client_view *view, struct pillion_view_info *ret_info) {
    memcpy(ret_info->name, view->name, sizeof ret_info->name);
    if (view->mapping != NULL) {
        const struct pil_release *release = view->mapping->release;
        memcpy(ret_info->release, release->id, sizeof release->id);
        ret_info->generation = view->mapping->generation;
        ret_info->mapped_bytes = release->bytes;
        ret_info->row_count = release->row_count;
        ret_info->is_mapped = 1;
    }
    memcpy(ret_info->why_not, view->why_not, sizeof ret_info->why_not);
}

pillion_result pillion_info(struct pillion_client *client, struct pillion_info *ret_info) {
    struct pillion_info info = {.size = ret_info->size};
    pil_client_lock(client);
    pil_client_settle(client, 0, UINT64_MAX);
    const struct pil_page *page = client->session.page;
    uint64_t now_ns = pil_clock_monotonic_ns();
    if (page != NULL) {
        uint64_t heartbeat_ns = atomic_load_explicit(&page->control->heartbeat_ns, memory_order_relaxed);
        uint64_t age_ns = heartbeat_ns < now_ns ? now_ns - heartbeat_ns : 0;
        bool is_fresh = age_ns <= pil_client_heartbeat_ns_max && client->session.state == PIL_SESSION_READY;
        info.is_connected = is_fresh;
        info.staleness_us = is_fresh ? 0 : (int64_t)(age_ns / 1000);
    }
    info.refreshes = client->refreshes;
    info.reconnects = client->reconnects;
    info.socket_calls = atomic_load_explicit(&client->socket_calls, memory_order_relaxed);
    info.view_count = client->view_count;
    memcpy(info.why_not_mapped, client->why_not_mapped, sizeof info.why_not_mapped);
    for (uint32_t i = 0; i < client->view_count; i++) {
        describe_view(&client->views[i], &info.views[i]);
    }
    pil_client_unlock(client);
    memcpy(ret_info, &info, ret_info->size < sizeof info ? ret_info->size : sizeof info);
    return PILLION_OK;
}
