/* SPDX-License-Identifier: Apache-2.0
 * The connection to the mapped listener: a state machine that never blocks but where it is told how long it may. What
 * arrives is not trusted: it is checked, or the connection is given up. */
#include "client/internal.h"
#include "base/clock.h"
#include "base/panic.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* Linux 5.1 */
#endif

/* Descriptors of one packet; those that nobody takes are closed. */
struct packet {
    struct pil_mapped_message message;
    int fds[PIL_MAPPED_FDS_MAX];
    uint32_t fd_count;
    uint8_t bytes[PIL_MAPPED_MESSAGE_BYTES_MAX + 1];
};

/* ---- Opening and closing. */

static void grant_reset(struct pil_grant *grant) {
    for (uint32_t i = 0; i < grant->received; i++) {
        pil_sys_close(&grant->fds[i]);
    }
    free(grant->fds);
    *grant = (struct pil_grant){0};
}

static void forget_requests(struct pillion_client *client) {
    client->session.request_count = 0;
    for (uint32_t i = 0; i < client->view_count; i++) {
        client->views[i].is_asked = false;
    }
}

void pil_session_close(struct pillion_client *client, const char *why) {
    struct pil_session *session = &client->session;
    snprintf(client->why_not_mapped, sizeof client->why_not_mapped, "%s", why);
    pil_sys_close(&session->fd);
    grant_reset(&session->grant);
    forget_requests(client);
    session->state = PIL_SESSION_CLOSED;
}

/* The number may be somebody else's by now: children like to close all descriptors. */
void pil_session_forget(struct pillion_client *client) {
    struct pil_session *session = &client->session;
    if (pil_link_cookie(session->fd) != session->cookie) {
        session->fd = -1;
    }
    pil_session_close(client, "this process was forked off and has not connected yet");
    session->connect_at_ns = 0;
}

static bool send_message(struct pillion_client *client, const struct pil_mapped_message *message) {
    uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX];
    size_t len = pil_mapped_encode(message, packet);
    ssize_t sent;
    do {
        sent = send(client->session.fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN) {
        char why[128];
        snprintf(why, sizeof why, "the mapped listener's connection: %s", strerror(errno));
        pil_session_close(client, why);
    }
    return sent >= 0;
}

static void connect_failed(struct pillion_client *client, const char *what) {
    char why[256];
    snprintf(why, sizeof why, "%s %s: %s", what, client->mapped, strerror(errno));
    pil_session_close(client, why);
}

static void open_connection(struct pillion_client *client, uint64_t now_ns) {
    struct pil_session *session = &client->session;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = client->mapped + strlen("unix:");
    session->connect_at_ns = now_ns + pil_client_connect_ns;
    session->started_ns = now_ns;
    memcpy(address.sun_path, path, strlen(path) + 1); /* its length was checked by open */
    session->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (session->fd < 0) {
        connect_failed(client, "socket for");
        return;
    }
    if (connect(session->fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        connect_failed(client, "connect to");
        return;
    }
    session->cookie = pil_link_cookie(session->fd);
    session->number++;
    session->state = PIL_SESSION_WELCOMING;
    client->reconnects += session->number > 1;
    struct pil_mapped_message hello = {.type = PIL_MAPPED_HELLO,
                                       .index = PIL_MAPPED_VERSION,
                                       .count = PIL_MAPPED_VERSION,
                                       .text = pil_bytes_from_text(client->name)};
    (void)send_message(client, &hello);
}

/* ---- Asking. */

static bool ask(struct pillion_client *client, struct pil_request request, const struct pil_mapped_message *message) {
    struct pil_session *session = &client->session;
    if (session->request_count == PIL_CLIENT_REQUESTS_MAX || !send_message(client, message)) {
        return false;
    }
    session->requests[(session->request_first + session->request_count++) % PIL_CLIENT_REQUESTS_MAX] = request;
    return true;
}

void pil_session_request_catalog(struct pillion_client *client) {
    struct pil_mapped_message message = {.type = PIL_MAPPED_CATALOG};
    (void)ask(client, (struct pil_request){.kind = PIL_REQUEST_CATALOG}, &message);
}

void pil_session_drop(struct pillion_client *client, struct pil_mapping *mapping) {
    struct pil_mapped_message message = {
        .type = PIL_MAPPED_DROP, .view = mapping->view, .generation = mapping->generation};
    if (client->session.state == PIL_SESSION_READY && mapping->session == client->session.number &&
        !mapping->is_dropped) {
        (void)send_message(client, &message);
        mapping->is_dropped = true;
    }
}

static uint64_t generation_of(const struct pillion_client *client, uint32_t number) {
    return atomic_load_explicit(&client->session.page->control->views[number].generation, memory_order_acquire);
}

static void refuse(struct pillion_client *client, uint32_t number, pil_status status, const char *why) {
    struct pil_client_view *view = &client->views[number];
    view->refusal = status;
    view->refused_generation = generation_of(client, number);
    view->retry_ns = pil_clock_monotonic_ns() + pil_client_retry_ns;
    snprintf(view->why_not, sizeof view->why_not, "%.*s", (int)sizeof view->why_not - 1, why);
}

/* Asks for the view's live release when it is another than the one that is mapped. */
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
    pil_mapping_unmap_all(client); /* or a server that swaps faster than calls unmap would refuse at last */
    struct pil_mapped_message message = {.type = PIL_MAPPED_ACQUIRE, .view = number};
    view->is_asked = ask(client, (struct pil_request){.kind = PIL_REQUEST_ACQUIRE, .view = number}, &message);
}

static void want_location(struct pillion_client *client, struct pillion_plan *plan, uint64_t now_ns) {
    const struct pil_mapping *mapping = client->views[plan->numbers[0]].mapping;
    bool is_it = mapping != NULL && strcmp(mapping->release->id, plan->min_release) == 0;
    if (is_it || plan->min_created_us != 0 || now_ns < plan->locate_at_ns) {
        return;
    }
    struct pil_mapped_message message = {
        .type = PIL_MAPPED_LOCATE, .view = plan->numbers[0], .text = pil_bytes_from_text(plan->min_release)};
    struct pil_request request = {.kind = PIL_REQUEST_LOCATE, .view = plan->numbers[0], .plan = plan};
    plan->locate_at_ns = now_ns + pil_client_retry_ns;
    (void)ask(client, request, &message);
}

static void ask_for_what_is_wanted(struct pillion_client *client, uint64_t now_ns) {
    struct pil_session *session = &client->session;
    if (session->catalog_number != session->number) {
        return;
    }
    for (struct pillion_plan *plan = client->plans; plan != NULL; plan = plan->next) {
        if (!pil_world_plan_resolve(client, plan)) {
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

static pil_status take_request(struct pillion_client *client, pil_request_kind kind, uint32_t view,
                               struct pil_request *ret_request, struct pil_error *error) {
    struct pil_session *session = &client->session;
    struct pil_request *request = &session->requests[session->request_first];
    if (session->request_count == 0 || request->kind != kind || request->view != view) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the server answers what was not asked");
    }
    *ret_request = *request;
    session->request_first = (session->request_first + 1) % PIL_CLIENT_REQUESTS_MAX;
    session->request_count--;
    return PIL_STATUS_OK;
}

static void forget_views(struct pillion_client *client) {
    for (uint32_t i = 0; i < PIL_MAPPED_VIEWS_MAX; i++) {
        pil_mapping_release(client, &client->views[i].mapping);
        client->views[i] = (struct pil_client_view){0};
    }
    client->view_count = 0;
}

static pil_status map_page(int fd, const struct pil_mapped_control **ret_control, struct pil_error *error) {
    enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE };
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat info;
    if (seals < 0 || (seals & SEALS) != SEALS) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the control page is not sealed");
    }
    if (fstat(fd, &info) != 0 || info.st_size < (off_t)sizeof(struct pil_mapped_control)) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the control page is too short");
    }
    void *memory = mmap(NULL, sizeof(struct pil_mapped_control), PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        return pil_fail(error, pil_status_from_errno(errno), "mmap of the control page: %s", strerror(errno));
    }
    const struct pil_mapped_control *control = memory;
    pil_status status = PIL_STATUS_OK;
    if (control->magic != PIL_MAPPED_CONTROL_MAGIC) {
        status = pil_fail(error, PIL_STATUS_CORRUPT, "the control page does not start with PILC");
    } else if (control->version != PIL_MAPPED_VERSION) {
        status = pil_fail(error, PIL_STATUS_UNSUPPORTED, "the control page has version %u, this library knows %d",
                          control->version, PIL_MAPPED_VERSION);
    }
    if (status != PIL_STATUS_OK) {
        munmap(memory, sizeof(struct pil_mapped_control));
        return status;
    }
    *ret_control = control;
    return PIL_STATUS_OK;
}

static pil_status take_welcome(struct pillion_client *client, const struct packet *packet, struct pil_error *error) {
    struct pil_session *session = &client->session;
    const struct pil_mapped_control *control = NULL;
    if (session->state != PIL_SESSION_WELCOMING || packet->fd_count != 1) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the server's welcome has no control page or comes twice");
    }
    if (packet->message.index != PIL_MAPPED_VERSION) {
        return pil_fail(error, PIL_STATUS_UNSUPPORTED, "the server speaks version %u, this library %d",
                        packet->message.index, PIL_MAPPED_VERSION);
    }
    PIL_TRY(map_page(packet->fds[0], &control, error));
    pil_page_release(&session->page);
    session->page = pil_page_create(control);
    session->state = PIL_SESSION_READY;
    forget_views(client); /* another process may number them anew */
    pil_session_request_catalog(client);
    return PIL_STATUS_OK;
}

static pil_status take_catalog(struct pillion_client *client, const struct packet *packet, struct pil_error *error) {
    struct pil_request request;
    PIL_TRY(take_request(client, PIL_REQUEST_CATALOG, 0, &request, error));
    if (packet->fd_count != 1) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the catalog comes without its document");
    }
    PIL_TRY(pil_catalog_read(client, packet->fds[0], error));
    client->session.catalog_number = client->session.number;
    client->session.catalog_generation = packet->message.generation;
    client->why_not_mapped[0] = '\0';
    return PIL_STATUS_OK;
}

static void install(struct pillion_client *client, uint32_t number) {
    struct pil_grant *grant = &client->session.grant;
    struct pil_client_view *view = &client->views[number];
    struct pil_release *release = NULL;
    struct pil_error error;
    struct pil_mapping *mapping = calloc(1, sizeof *mapping);
    PIL_ASSERT(mapping != NULL);
    *mapping = (struct pil_mapping){.generation = grant->generation,
                                    .created_us = grant->created_us,
                                    .session = client->session.number,
                                    .view = number,
                                    .references = 1};
    pil_status status = pil_cache_release_map(grant->release, grant->fds, grant->count, &release, &error);
    if (status != PIL_STATUS_OK) {
        /* Not this peer's rights, but the server's mistake. */
        refuse(client, number, status == PIL_STATUS_DENIED ? PIL_STATUS_CORRUPT : status, error.text);
        pil_session_drop(client, mapping);
        free(mapping);
        return;
    }
    mapping->release = release;
    pil_serving_init(&mapping->serving, release);
    pil_mapping_release(client, &view->mapping);
    view->mapping = mapping;
    view->refusal = PIL_STATUS_OK;
    view->why_not[0] = '\0';
    client->refreshes++;
}

/* The first packet of a grant says how many shards there are. */
static pil_status begin_grant(struct pil_grant *grant, const struct pil_mapped_message *message,
                              struct pil_error *error) {
    if (message->count == 0 || message->count > 1u << PIL_SHARD_BITS_MAX || message->text.len == 0 ||
        message->text.len > PIL_RELEASE_ID_CHARS) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "a grant of %u shards, with a release id of %zu characters",
                        message->count, message->text.len);
    }
    *grant = (struct pil_grant){
        .generation = message->generation, .created_us = (int64_t)message->number, .count = message->count};
    memcpy(grant->release, message->text.data, message->text.len);
    grant->fds = calloc(message->count, sizeof grant->fds[0]);
    PIL_ASSERT(grant->fds != NULL);
    return PIL_STATUS_OK;
}

static pil_status take_grant(struct pillion_client *client, struct packet *packet, struct pil_error *error) {
    const struct pil_mapped_message *message = &packet->message;
    struct pil_session *session = &client->session;
    struct pil_grant *grant = &session->grant;
    struct pil_request request = session->requests[session->request_first];
    if (session->request_count == 0 || request.kind != PIL_REQUEST_ACQUIRE || request.view != message->view) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the server grants what was not asked for");
    }
    if (grant->count == 0) {
        PIL_TRY(begin_grant(grant, message, error));
    }
    if (message->index != grant->received || message->count != grant->count ||
        message->generation != grant->generation || packet->fd_count == 0 ||
        packet->fd_count > grant->count - grant->received) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "a grant's shards are %u to %u of %u, expected %u of %u",
                        message->index, message->index + packet->fd_count, message->count, grant->received,
                        grant->count);
    }
    memcpy(&grant->fds[grant->received], packet->fds, packet->fd_count * sizeof packet->fds[0]);
    grant->received += packet->fd_count;
    packet->fd_count = 0;
    if (grant->received == grant->count) {
        PIL_TRY(take_request(client, PIL_REQUEST_ACQUIRE, message->view, &request, error));
        client->views[message->view].is_asked = false;
        install(client, message->view);
        grant_reset(grant);
    }
    return PIL_STATUS_OK;
}

/* The server grants nothing more to who keeps what was replaced, as a process does that did not call for a while. It is
 * told that this is gone before it is, so that calls need not do without either; what happens if it refuses again is
 * that they must. Returns whether there was anything. */
static bool let_go_of_old(struct pillion_client *client) {
    bool any = false;
    for (uint32_t i = 0; i < client->view_count; i++) {
        struct pil_mapping *mapping = client->views[i].mapping;
        if (mapping != NULL && !mapping->is_dropped && mapping->generation != generation_of(client, i)) {
            pil_session_drop(client, mapping);
            any = any || mapping->is_dropped;
        }
    }
    return any;
}

static void take_view_refusal(struct pillion_client *client, uint32_t number, pil_status status, const char *why) {
    struct pil_client_view *view = &client->views[number];
    view->is_asked = false;
    if (status == PIL_STATUS_BUSY && let_go_of_old(client)) {
        return; /* and ask again */
    }
    refuse(client, number, status, why);
    if (view->mapping != NULL && view->mapping->is_dropped) {
        pil_mapping_release(client, &view->mapping);
    }
}

static pil_status take_refusal(struct pillion_client *client, const struct packet *packet, struct pil_error *error) {
    const struct pil_mapped_message *message = &packet->message;
    struct pil_session *session = &client->session;
    pil_status status = message->code > PIL_STATUS_OK && message->code < PIL_STATUS_COUNT ? (pil_status)message->code
                                                                                          : PIL_STATUS_SYSTEM;
    char why[256];
    snprintf(why, sizeof why, "%.*s", (int)(message->text.len < 255 ? message->text.len : 255),
             (const char *)message->text.data);
    if (session->state == PIL_SESSION_WELCOMING || session->request_count == 0) {
        return pil_fail(error, status, "%s", why);
    }
    struct pil_request request = session->requests[session->request_first];
    if (request.kind == PIL_REQUEST_CATALOG) {
        return pil_fail(error, status, "%s", why);
    }
    PIL_TRY(take_request(client, request.kind, message->view, &request, error));
    if (request.kind == PIL_REQUEST_ACQUIRE) {
        take_view_refusal(client, request.view, status, why);
    }
    return PIL_STATUS_OK;
}

static pil_status take_location(struct pillion_client *client, const struct packet *packet, struct pil_error *error) {
    struct pil_request request = {0};
    PIL_TRY(take_request(client, PIL_REQUEST_LOCATE, packet->message.view, &request, error));
    for (struct pillion_plan *plan = client->plans; plan != NULL; plan = plan->next) {
        if (plan == request.plan) {
            plan->min_created_us = (int64_t)packet->message.number;
        }
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

/* AGAIN: nothing there. */
static pil_status receive(int fd, struct packet *packet, struct pil_error *error) {
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(sizeof packet->fds)];
    } control;
    struct iovec part = {.iov_base = packet->bytes, .iov_len = sizeof packet->bytes};
    struct msghdr head = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t got;
    do {
        got = recvmsg(fd, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    packet->fd_count = 0;
    if (got < 0) {
        return errno == EAGAIN ? PIL_STATUS_AGAIN
                               : pil_fail(error, pil_status_from_errno(errno), "recvmsg: %s", strerror(errno));
    }
    for (struct cmsghdr *at = CMSG_FIRSTHDR(&head); at != NULL; at = CMSG_NXTHDR(&head, at)) {
        if (at->cmsg_level == SOL_SOCKET && at->cmsg_type == SCM_RIGHTS) {
            size_t bytes = at->cmsg_len - CMSG_LEN(0);
            memcpy(packet->fds, CMSG_DATA(at), bytes);
            packet->fd_count = (uint32_t)(bytes / sizeof packet->fds[0]);
        }
    }
    if (head.msg_flags & MSG_CTRUNC) {
        return pil_fail(error, PIL_STATUS_SYSTEM, "descriptors were lost: is their limit (ulimit -n) reached?");
    }
    if (got == 0) {
        return pil_fail(error, PIL_STATUS_CLOSED, "the server closed the connection");
    }
    return pil_mapped_decode(pil_bytes_from(packet->bytes, (size_t)got), &packet->message, error);
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
        for (uint32_t i = 0; i < packet.fd_count; i++) {
            pil_sys_close(&packet.fds[i]);
        }
    }
    if (status != PIL_STATUS_OK && status != PIL_STATUS_AGAIN) {
        pil_session_close(client, error.text);
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
    (void)ppoll(&poll_fd, 1, &timeout, NULL); /* interrupted or not: the caller looks */
}

void pil_session_step(struct pillion_client *client, uint64_t until_ns) {
    struct pil_session *session = &client->session;
    if (client->mapped == NULL) {
        return;
    }
    for (;;) {
        uint64_t now_ns = pil_clock_monotonic_ns();
        if (session->state == PIL_SESSION_READY &&
            atomic_load_explicit(&session->page->control->state, memory_order_relaxed) == PIL_MAPPED_CLOSING) {
            pil_session_close(client, "the server is closing");
        }
        if (session->state == PIL_SESSION_CLOSED && now_ns >= session->connect_at_ns) {
            open_connection(client, now_ns);
        }
        if (session->state != PIL_SESSION_CLOSED) {
            receive_all(client);
        }
        if (session->state == PIL_SESSION_READY) {
            ask_for_what_is_wanted(client, now_ns);
        }
        if (session->state == PIL_SESSION_WELCOMING && now_ns > session->started_ns + client->timeout_ms * 1000000ull) {
            pil_session_close(client, "the server does not say welcome");
        }
        if (!is_awaiting(session) || now_ns >= until_ns) {
            return;
        }
        wait_for_packet(session->fd, now_ns, until_ns);
    }
}
