/* SPDX-License-Identifier: Apache-2.0
 * A state machine that blocks only as long as its caller allows. It trusts nothing that arrives: data that fails a
 * check ends the connection. */
#include "client/session.h"
#include "base/address.h"
#include "base/clock.h"
#include "base/fdpass.h"
#include "base/panic.h"
#include "base/sys.h"
#include "client/client.h"
#include "wire/tensor.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Code that takes over the descriptors sets fd_count to 0; the others are closed. */
struct packet {
    struct pil_mapped_message message;
    struct pil_fdpass_received received;
    uint8_t bytes[PIL_MAPPED_MESSAGE_BYTES_MAX + 1];
};
_Static_assert((int)PIL_MAPPED_FDS_MAX <= (int)PIL_FDPASS_MAX, "a packet's descriptors fit");

/* ---- Opening and closing. */

static void grant_reset(struct pil_session_grant *grant) {
    for (uint32_t i = 0; i < grant->received; i++) {
        pil_sys_close(&grant->fds[i]);
    }
    free(grant->fds);
    *grant = (struct pil_session_grant){0};
}

static void forget_requests(struct pillion_client *client) {
    client->session.request_count = 0;
    for (uint32_t i = 0; i < client->view_count; i++) {
        client->views[i].is_asked = false;
    }
}

void pil_session_close(struct pillion_client *client, pil_status failure, const char *why) {
    struct pil_session *session = &client->session;
    PIL_ASSERT(pil_client_is_locked(client));
    session->failure = failure;
    if (failure == PIL_STATUS_NO_MEMORY) {
        session->connect_at_ns = pil_clock_monotonic_ns() + pil_client_memory_ns;
    }
    snprintf(client->why_not_mapped, sizeof client->why_not_mapped, "%s", why);
    pil_sys_close(&session->fd);
    grant_reset(&session->grant);
    forget_requests(client);
    session->state = PIL_SESSION_CLOSED;
}

/* In a child the descriptor may be another file by now: children often close all descriptors. */
void pil_session_forget(struct pillion_client *client) {
    struct pil_session *session = &client->session;
    if (pil_link_cookie(session->fd) != session->cookie) {
        session->fd = -1;
    }
    pil_session_close(client, PIL_STATUS_CLOSED, "this process was forked off and has not connected yet");
    session->connect_at_ns = 0;
}

bool pil_session_is_ready(const struct pillion_client *client) {
    return client->session.state == PIL_SESSION_READY && client->session.catalog_number == client->session.number;
}

pillion_result pil_session_result(const struct pillion_client *client) {
    return client->session.failure == PIL_STATUS_NO_MEMORY ? PILLION_NO_MEMORY : PILLION_UNAVAILABLE;
}

static bool send_message(struct pillion_client *client, const struct pil_mapped_message *message) {
    uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX];
    size_t len = pil_mapped_encode(message, packet);
    pil_status status = pil_fdpass_send(client->session.fd, pil_bytes_from(packet, len), NULL, 0, false);
    if (status != PIL_STATUS_OK && status != PIL_STATUS_AGAIN) {
        char why[128];
        snprintf(why, sizeof why, "the mapped listener's connection: %s", strerror(errno));
        pil_session_close(client, status, why);
    }
    return status == PIL_STATUS_OK;
}

static void connect_failed(struct pillion_client *client, const char *what) {
    char why[256];
    pil_status status = pil_status_from_errno(errno);
    snprintf(why, sizeof why, "%s %s: %s", what, client->mapped, strerror(errno));
    pil_session_close(client, status, why);
}

/* What callers are told until the catalog has arrived. */
static void wait_because(struct pillion_client *client, const char *why) {
    snprintf(client->why_not_mapped, sizeof client->why_not_mapped, "%s", why);
}

static void open_connection(struct pillion_client *client, uint64_t now_ns) {
    struct pil_session *session = &client->session;
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    struct pil_address address;
    PIL_ASSERT(session->state == PIL_SESSION_CLOSED && session->fd < 0);
    pil_status status = pil_address_parse(client->mapped, &address, NULL);
    PIL_ASSERT(status == PIL_STATUS_OK && address.kind == PIL_ADDRESS_UNIX); /* checked by pillion_open */
    session->connect_at_ns = now_ns + pil_client_connect_ns;
    session->started_ns = now_ns;
    memcpy(path.sun_path, address.path, sizeof path.sun_path);
    session->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (session->fd < 0) {
        connect_failed(client, "socket for");
        return;
    }
    if (connect(session->fd, (const struct sockaddr *)&path, sizeof path) != 0) {
        connect_failed(client, "connect to");
        return;
    }
    session->cookie = pil_link_cookie(session->fd);
    session->number++;
    session->state = PIL_SESSION_WELCOMING;
    wait_because(client, "the server has not said welcome");
    client->reconnects += session->number > 1;
    struct pil_mapped_message hello = {.type = PIL_MAPPED_HELLO,
                                       .index = PIL_MAPPED_VERSION,
                                       .count = PIL_MAPPED_VERSION,
                                       .text = pil_bytes_from_text(client->name)};
    (void)send_message(client, &hello);
}

/* ---- Requests. */

static bool ask(struct pillion_client *client, struct pil_session_request request,
                const struct pil_mapped_message *message) {
    struct pil_session *session = &client->session;
    PIL_ASSERT(session->state == PIL_SESSION_READY && session->request_count <= PIL_SESSION_REQUESTS_MAX);
    if (session->request_count == PIL_SESSION_REQUESTS_MAX || !send_message(client, message)) {
        return false;
    }
    session->requests[(session->request_first + session->request_count++) % PIL_SESSION_REQUESTS_MAX] = request;
    return true;
}

void pil_session_request_catalog(struct pillion_client *client) {
    struct pil_mapped_message message = {.type = PIL_MAPPED_CATALOG};
    (void)ask(client, (struct pil_session_request){.kind = PIL_SESSION_REQUEST_CATALOG}, &message);
}

void pil_session_forget_plan(struct pillion_client *client, const struct pillion_plan *plan) {
    PIL_ASSERT(pil_client_is_locked(client));
    for (uint32_t i = 0; i < PIL_SESSION_REQUESTS_MAX; i++) {
        struct pil_session_request *request = &client->session.requests[i];
        request->plan = request->plan == plan ? NULL : request->plan;
    }
}

/* ---- Drops. */

/* Tells the server that a granted release is gone, if the connection that granted it still exists. */
static bool send_drop(struct pillion_client *client, uint32_t view, uint64_t generation, uint64_t connection) {
    struct pil_mapped_message message = {.type = PIL_MAPPED_DROP, .view = view, .generation = generation};
    if (client->session.state != PIL_SESSION_READY || connection != client->session.number) {
        return false;
    }
    (void)send_message(client, &message);
    return true;
}

static void drop_mapping(struct pillion_client *client, struct pil_mapping *mapping) {
    if (!mapping->is_dropped) {
        mapping->is_dropped = send_drop(client, mapping->view, mapping->generation, mapping->connection);
    }
}

void pil_session_report_drops(struct pillion_client *client) {
    PIL_ASSERT(pil_client_is_locked(client));
    while (client->mappings.unmapped != NULL) {
        struct pil_mapping *mapping = client->mappings.unmapped;
        PIL_ASSERT(mapping->references == 0 && mapping->release == NULL);
        client->mappings.unmapped = mapping->next;
        drop_mapping(client, mapping);
        free(mapping);
    }
}

/* ---- The needs of plans. */

static uint64_t generation_of(const struct pillion_client *client, uint32_t number) {
    return atomic_load_explicit(&client->session.page->control->views[number].generation, memory_order_acquire);
}

static void refuse(struct pillion_client *client, uint32_t number, pil_status status, const char *why) {
    struct pil_client_view *view = &client->views[number];
    PIL_ASSERT(number < PIL_MAPPED_VIEWS_MAX && status != PIL_STATUS_OK && client->session.page != NULL);
    view->refusal = status;
    view->refused_generation = generation_of(client, number);
    view->retry_ns =
        pil_clock_monotonic_ns() + (status == PIL_STATUS_NO_MEMORY ? pil_client_memory_ns : pil_client_retry_ns);
    snprintf(view->why_not, sizeof view->why_not, "%.*s", (int)sizeof view->why_not - 1, why);
}

/* Asks for the view's live release unless it is already mapped. */
static void want_view(struct pillion_client *client, uint32_t number, uint64_t now_ns) {
    struct pil_client_view *view = &client->views[number];
    uint64_t generation = generation_of(client, number);
    bool is_newest = view->mapping != NULL && view->mapping->generation == generation;
    bool is_refused =
        view->refusal != PIL_STATUS_OK && view->refused_generation == generation && now_ns < view->retry_ns;
    if (view->is_asked || is_newest || is_refused) {
        return;
    }
    if (generation == 0) {
        char why[sizeof view->why_not];
        snprintf(why, sizeof why, "view %.200s has no release yet", view->name);
        refuse(client, number, PIL_STATUS_AGAIN, why);
        return;
    }
    /* Without this, a server that swaps faster than calls unmap would refuse the request in the end. */
    pil_mapping_unmap_all(&client->mappings);
    pil_session_report_drops(client);
    if (client->session.state != PIL_SESSION_READY) {
        return;
    }
    struct pil_mapped_message message = {.type = PIL_MAPPED_ACQUIRE, .view = number};
    view->is_asked =
        ask(client, (struct pil_session_request){.kind = PIL_SESSION_REQUEST_ACQUIRE, .view = number}, &message);
}

static void want_location(struct pillion_client *client, struct pillion_plan *plan, uint64_t now_ns) {
    const struct pil_mapping *mapping = client->views[plan->numbers[0]].mapping;
    bool is_it = mapping != NULL && strcmp(mapping->release->id, plan->min_release) == 0;
    if (is_it || plan->min_created_us != 0 || now_ns < plan->locate_at_ns) {
        return;
    }
    struct pil_mapped_message message = {
        .type = PIL_MAPPED_LOCATE, .view = plan->numbers[0], .text = pil_bytes_from_text(plan->min_release)};
    struct pil_session_request request = {.kind = PIL_SESSION_REQUEST_LOCATE, .view = plan->numbers[0], .plan = plan};
    plan->locate_at_ns = now_ns + pil_client_retry_ns;
    (void)ask(client, request, &message);
}

static void ask_for_plans(struct pillion_client *client, uint64_t now_ns) {
    struct pil_session *session = &client->session;
    if (!pil_session_is_ready(client)) {
        return;
    }
    for (struct pillion_plan *plan = client->plans; plan != NULL; plan = plan->next) {
        if (!pil_catalog_resolve(client, plan)) {
            continue;
        }
        for (uint32_t slot = 0; slot < plan->spec->view_count && session->state == PIL_SESSION_READY; slot++) {
            want_view(client, plan->numbers[slot], now_ns);
        }
        if (plan->min_release[0] != '\0' && session->state == PIL_SESSION_READY) {
            want_location(client, plan, now_ns);
        }
    }
}

/* ---- Answers. */

static pil_status take_request(struct pillion_client *client, pil_session_request_kind kind, uint32_t view,
                               struct pil_session_request *ret_request, struct pil_error *error) {
    struct pil_session *session = &client->session;
    struct pil_session_request *request = &session->requests[session->request_first];
    if (session->request_count == 0 || request->kind != kind || request->view != view) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the server answers what was not asked");
    }
    *ret_request = *request;
    session->request_first = (session->request_first + 1) % PIL_SESSION_REQUESTS_MAX;
    session->request_count--;
    return PIL_STATUS_OK;
}

static void forget_views(struct pillion_client *client) {
    for (uint32_t i = 0; i < PIL_MAPPED_VIEWS_MAX; i++) {
        pil_mapping_release(&client->mappings, &client->views[i].mapping);
        client->views[i] = (struct pil_client_view){0};
    }
    client->view_count = 0;
}

static pil_status take_welcome(struct pillion_client *client, const struct packet *packet, struct pil_error *error) {
    struct pil_session *session = &client->session;
    struct pil_control_page *page = NULL;
    if (session->state != PIL_SESSION_WELCOMING || packet->received.fd_count != 1) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the server's welcome has no control page or comes twice");
    }
    if (packet->message.index != PIL_MAPPED_VERSION) {
        return pil_fail(error, PIL_STATUS_UNSUPPORTED, "the server speaks version %u, this library %d",
                        packet->message.index, PIL_MAPPED_VERSION);
    }
    PIL_TRY(pil_control_page_map(packet->received.fds[0], &page, error));
    pil_control_page_release(&session->page);
    session->page = page;
    session->state = PIL_SESSION_READY;
    wait_because(client, "the server has not sent its catalog");
    forget_views(client); /* another server process may number them differently */
    pil_session_request_catalog(client);
    return PIL_STATUS_OK;
}

static pil_status take_catalog(struct pillion_client *client, const struct packet *packet, struct pil_error *error) {
    struct pil_session_request request;
    PIL_TRY(take_request(client, PIL_SESSION_REQUEST_CATALOG, 0, &request, error));
    if (packet->received.fd_count != 1) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the catalog comes without its document");
    }
    PIL_TRY(pil_catalog_read(client, packet->received.fds[0], error));
    client->session.catalog_number = client->session.number;
    client->session.catalog_generation = packet->message.generation;
    client->why_not_mapped[0] = '\0';
    return PIL_STATUS_OK;
}

/* The name, "project/view", by which plans know the view; NULL: none reads it any more. Not that of the catalog, which
 * may be older than the view, or younger. */
static const char *wanted_name(const struct pillion_client *client, uint32_t number) {
    for (const struct pillion_plan *plan = client->plans; plan != NULL; plan = plan->next) {
        for (uint32_t slot = 0; plan->resolved == client->session.number && slot < plan->spec->view_count; slot++) {
            if (plan->numbers[slot] == number) {
                return plan->spec->views[slot];
            }
        }
    }
    return NULL;
}

/* A release of another view would be read by names that only chance to be the same. */
static pil_status check_view(const char *wanted, const struct pil_release *release, struct pil_error *error) {
    const struct pil_view *is = release->view;
    size_t len = strlen(is->project);
    bool is_it = wanted == NULL || (strncmp(wanted, is->project, len) == 0 && wanted[len] == '/' &&
                                    strcmp(wanted + len + 1, is->name) == 0);
    return is_it ? PIL_STATUS_OK
                 : pil_fail(error, PIL_STATUS_CORRUPT, "release %s, granted for %.256s, is of view %.128s/%.128s",
                            release->id, wanted, is->project, is->name);
}

/* Maps the release of a grant whose packets have all arrived. */
static pil_status map_grant(const struct pillion_client *client, uint32_t number, struct pil_mapping **ret_mapping,
                            struct pil_error *error) {
    const struct pil_session_grant *grant = &client->session.grant;
    struct pil_release *release = NULL;
    struct pil_mapping *mapping = calloc(1, sizeof *mapping);
    if (mapping == NULL) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory to map release %s", grant->release);
    }
    pil_status status = pil_cache_release_map(grant->release, grant->fds, grant->count, &release, error);
    if (status == PIL_STATUS_OK) {
        status = check_view(wanted_name(client, number), release, error);
    }
    if (status != PIL_STATUS_OK) {
        pil_cache_release_destroy(&release);
        free(mapping);
        return status;
    }
    *mapping = (struct pil_mapping){.release = release,
                                    .generation = grant->generation,
                                    .created_us = grant->created_us,
                                    .connection = client->session.number,
                                    .view = number,
                                    .references = 1};
    pil_serving_init(&mapping->serving, release);
    *ret_mapping = mapping;
    return PIL_STATUS_OK;
}

static void install(struct pillion_client *client, uint32_t number) {
    struct pil_client_view *view = &client->views[number];
    struct pil_mapping *mapping = NULL;
    PIL_ASSERT(client->session.grant.count > 0 && client->session.grant.received == client->session.grant.count);
    struct pil_error error;
    pil_status status = map_grant(client, number, &mapping, &error);
    if (status != PIL_STATUS_OK) {
        /* DENIED would mean that this peer may not read the view, but here the server made a mistake */
        refuse(client, number, status == PIL_STATUS_DENIED ? PIL_STATUS_CORRUPT : status, error.text);
        (void)send_drop(client, number, client->session.grant.generation, client->session.number);
        return;
    }
    pil_mapping_release(&client->mappings, &view->mapping);
    view->mapping = mapping;
    view->refusal = PIL_STATUS_OK;
    view->why_not[0] = '\0';
    client->refreshes++;
}

/* The first packet of a grant contains the number of shards. */
static pil_status begin_grant(struct pil_session_grant *grant, const struct pil_mapped_message *message,
                              struct pil_error *error) {
    if (message->count == 0 || message->count > 1u << PIL_SHARD_BITS_MAX || message->generation == 0 ||
        !pil_tensor_is_release_id(message->text)) {
        return pil_fail(error, PIL_STATUS_CORRUPT,
                        "a grant of %u shards, generation %llu, with a release id of %zu characters", message->count,
                        (unsigned long long)message->generation, message->text.len);
    }
    int *fds = calloc(message->count, sizeof fds[0]);
    if (fds == NULL) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a grant of %u shards", message->count);
    }
    *grant = (struct pil_session_grant){
        .generation = message->generation, .created_us = (int64_t)message->number, .count = message->count, .fds = fds};
    memcpy(grant->release, message->text.data, message->text.len);
    return PIL_STATUS_OK;
}

static pil_status take_grant(struct pillion_client *client, struct packet *packet, struct pil_error *error) {
    const struct pil_mapped_message *message = &packet->message;
    struct pil_session *session = &client->session;
    struct pil_session_grant *grant = &session->grant;
    struct pil_session_request request = session->requests[session->request_first];
    if (session->request_count == 0 || request.kind != PIL_SESSION_REQUEST_ACQUIRE || request.view != message->view) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the server grants what was not asked for");
    }
    if (grant->count == 0) {
        PIL_TRY(begin_grant(grant, message, error));
    }
    if (message->index != grant->received || message->count != grant->count ||
        message->generation != grant->generation || packet->received.fd_count == 0 ||
        packet->received.fd_count > grant->count - grant->received) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "a grant's shards are %u to %u of %u, expected %u of %u",
                        message->index, message->index + packet->received.fd_count, message->count, grant->received,
                        grant->count);
    }
    memcpy(&grant->fds[grant->received], packet->received.fds, packet->received.fd_count * sizeof grant->fds[0]);
    grant->received += packet->received.fd_count;
    packet->received.fd_count = 0;
    if (grant->received == grant->count) {
        PIL_TRY(take_request(client, PIL_SESSION_REQUEST_ACQUIRE, message->view, &request, error));
        client->views[message->view].is_asked = false;
        install(client, message->view);
        grant_reset(grant);
    }
    return PIL_STATUS_OK;
}

/* The server refuses new grants while this process holds a replaced release for too long, as happens when it makes no
 * calls for a while. Drops the replaced releases, so that the view can be asked for again; if the server refuses again,
 * the view is read over the socket. Returns whether any was dropped. */
static bool drop_replaced(struct pillion_client *client) {
    bool any = false;
    for (uint32_t i = 0; i < client->view_count; i++) {
        struct pil_mapping *mapping = client->views[i].mapping;
        if (mapping != NULL && !mapping->is_dropped && mapping->generation != generation_of(client, i)) {
            drop_mapping(client, mapping);
            any = any || mapping->is_dropped;
        }
    }
    return any;
}

static void take_view_refusal(struct pillion_client *client, uint32_t number, pil_status status, const char *why) {
    struct pil_client_view *view = &client->views[number];
    view->is_asked = false;
    if (status == PIL_STATUS_BUSY && drop_replaced(client)) {
        return; /* the next step asks again */
    }
    refuse(client, number, status, why);
    if (view->mapping != NULL && view->mapping->is_dropped) {
        pil_mapping_release(&client->mappings, &view->mapping);
    }
}

static pil_status take_refusal(struct pillion_client *client, const struct packet *packet, struct pil_error *error) {
    const struct pil_mapped_message *message = &packet->message;
    struct pil_session *session = &client->session;
    pil_status status = message->code > PIL_STATUS_OK && message->code < PIL_STATUS_COUNT ? (pil_status)message->code
                                                                                          : PIL_STATUS_SYSTEM;
    char why[256];
    pil_result_copy_sentence(message->text, status, why, sizeof why);
    if (session->state == PIL_SESSION_WELCOMING || session->request_count == 0) {
        return pil_fail(error, status, "%s", why);
    }
    struct pil_session_request request = session->requests[session->request_first];
    if (request.kind == PIL_SESSION_REQUEST_CATALOG) {
        return pil_fail(error, status, "%s", why);
    }
    PIL_TRY(take_request(client, request.kind, message->view, &request, error));
    if (session->grant.count > 0) { /* the release was replaced while it was granted: the next step asks again */
        grant_reset(&session->grant);
        client->views[request.view].is_asked = false;
    } else if (request.kind == PIL_SESSION_REQUEST_ACQUIRE) {
        take_view_refusal(client, request.view, status, why);
    }
    return PIL_STATUS_OK;
}

static pil_status take_location(struct pillion_client *client, const struct packet *packet, struct pil_error *error) {
    struct pil_session_request request = {0};
    PIL_TRY(take_request(client, PIL_SESSION_REQUEST_LOCATE, packet->message.view, &request, error));
    if (request.plan != NULL) {
        request.plan->min_created_us = (int64_t)packet->message.number;
    }
    return PIL_STATUS_OK;
}

static pil_status take(struct pillion_client *client, struct packet *packet, struct pil_error *error) {
    switch (packet->message.type) {
    case PIL_MAPPED_WELCOME: return take_welcome(client, packet, error);
    case PIL_MAPPED_CATALOG: return take_catalog(client, packet, error);
    case PIL_MAPPED_GRANT: return take_grant(client, packet, error);
    case PIL_MAPPED_REFUSE: return take_refusal(client, packet, error);
    case PIL_MAPPED_LOCATE: return take_location(client, packet, error);
    case PIL_MAPPED_HELLO:
    case PIL_MAPPED_ACQUIRE:
    case PIL_MAPPED_DROP: break;
    }
    return pil_fail(error, PIL_STATUS_CORRUPT, "message type %d is not for clients", packet->message.type);
}

/* AGAIN: no packet has arrived. */
static pil_status receive(int fd, struct packet *packet, struct pil_error *error) {
    packet->received.fd_count = 0;
    pil_status status = pil_fdpass_receive(fd, false, packet->bytes, sizeof packet->bytes, &packet->received);
    if (status == PIL_STATUS_OK) {
        return pil_mapped_decode(pil_bytes_from(packet->bytes, packet->received.bytes), &packet->message, error);
    }
    if (status == PIL_STATUS_AGAIN) {
        return status;
    }
    const char *why = status == PIL_STATUS_CLOSED   ? "the server closed the connection"
                      : status == PIL_STATUS_SYSTEM ? "descriptors were lost: is their limit (ulimit -n) reached?"
                                                    : pil_status_text(status);
    return pil_fail(error, status, "%s", why);
}

static void receive_all(struct pillion_client *client) {
    struct packet packet PIL_UNINITIALIZED;
    struct pil_error error = {{0}};
    pil_status status = PIL_STATUS_OK;
    while (status == PIL_STATUS_OK && client->session.state != PIL_SESSION_CLOSED) {
        status = receive(client->session.fd, &packet, &error);
        if (status == PIL_STATUS_OK) {
            status = take(client, &packet, &error);
        }
        pil_fdpass_close(&packet.received);
    }
    if (status != PIL_STATUS_OK && status != PIL_STATUS_AGAIN) {
        pil_session_close(client, status, error.text);
    }
}

/* ---- One step. */

static bool is_awaiting(const struct pil_session *session) {
    return session->state == PIL_SESSION_WELCOMING ||
           (session->state == PIL_SESSION_READY && session->request_count > 0);
}

static void wait_for_packet(int fd, uint64_t now_ns, uint64_t until_ns) {
    uint64_t left_ns = until_ns - now_ns;
    struct timespec timeout = {.tv_sec = (time_t)(left_ns / 1000000000), .tv_nsec = (long)(left_ns % 1000000000)};
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    (void)ppoll(&poll_fd, 1, &timeout, NULL); /* also when interrupted: the caller tries to receive */
}

void pil_session_step(struct pillion_client *client, uint64_t until_ns) {
    struct pil_session *session = &client->session;
    PIL_ASSERT(pil_client_is_locked(client));
    if (client->mapped == NULL) {
        return;
    }
    for (;;) {
        uint64_t now_ns = pil_clock_monotonic_ns();
        if (session->state == PIL_SESSION_READY &&
            atomic_load_explicit(&session->page->control->state, memory_order_relaxed) == PIL_MAPPED_CLOSING) {
            pil_session_close(client, PIL_STATUS_CLOSED, "the server is closing");
        }
        if (session->state == PIL_SESSION_CLOSED && now_ns >= session->connect_at_ns) {
            open_connection(client, now_ns);
        }
        if (session->state != PIL_SESSION_CLOSED) {
            receive_all(client);
        }
        if (session->state == PIL_SESSION_READY) {
            ask_for_plans(client, now_ns);
        }
        if (session->state == PIL_SESSION_WELCOMING && now_ns > session->started_ns + client->timeout_ms * 1000000ull) {
            pil_session_close(client, PIL_STATUS_TIMEOUT, "the server does not say welcome");
        }
        if (!is_awaiting(session) || now_ns >= until_ns) {
            return;
        }
        wait_for_packet(session->fd, now_ns, until_ns);
    }
}
