/* SPDX-License-Identifier: Apache-2.0
 * Sessions: the packets of one client, and the answers. An invalid packet ends its session. The process that connected
 * may have forked, and its children share the socket and the mappings: so the end of the socket, not of the process,
 * ends all holds. Descriptors in flight count against a limit that the whole daemon shares (unix(7), ETOOMANYREFS):
 * packets of a client that does not read its answers are not read. */
#include "base/fdpass.h"
#include "base/log.h"
#include "base/panic.h"
#include "base/sys.h"
#include "mapped/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { PACKETS_PER_TURN = 16 };
PIL_STATIC_ASSERT((int)PIL_MAPPED_FDS_MAX <= (int)PIL_FDPASS_MAX);

/* ---- Sending. */

/* Returns false if the session must be closed, because the socket's buffer is full or the client is gone. */
static bool send_packet(const struct pil_mapped_session *session, const struct pil_mapped_message *message,
                        const int *fds, uint32_t fd_count) {
    uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX];
    size_t len = pil_mapped_encode(message, packet);
    PIL_ASSERT(fd_count <= PIL_MAPPED_FDS_MAX);
    return pil_fdpass_send(session->fd, pil_bytes_from(packet, len), fds, fd_count, false) == PIL_STATUS_OK;
}

static bool refuse(const struct pil_mapped_session *session, uint32_t view_index, pil_status code, const char *text) {
    struct pil_mapped_message message = {
        .type = PIL_MAPPED_REFUSE, .view = view_index, .code = (uint32_t)code, .text = pil_bytes_from_text(text)};
    return send_packet(session, &message, NULL, 0);
}

/* ---- Requests. Each handler returns whether the session continues. */

/* Replaces bytes that are not printable, because the name is shown to operators. */
static void set_name(struct pil_mapped_session *session, struct pil_bytes text) {
    size_t len = text.len < sizeof session->name ? text.len : sizeof session->name - 1;
    for (size_t i = 0; i < len; i++) {
        session->name[i] = (char)(text.data[i] > ' ' && text.data[i] < 127 ? text.data[i] : '?');
    }
    session->name[len] = '\0';
}

static bool on_hello(struct pil_mapped *mapped, struct pil_mapped_session *session,
                     const struct pil_mapped_message *message) {
    if (message->index > PIL_MAPPED_VERSION || message->count < PIL_MAPPED_VERSION) {
        struct pil_error error;
        pil_status status =
            pil_fail(&error, PIL_STATUS_UNSUPPORTED, "this server speaks version %d, the client %u to %u",
                     PIL_MAPPED_VERSION, message->index, message->count);
        (void)refuse(session, 0, status, error.text);
        return false;
    }
    set_name(session, message->text);
    session->is_welcome = true;
    struct pil_mapped_message welcome = {.type = PIL_MAPPED_WELCOME,
                                         .index = PIL_MAPPED_VERSION,
                                         .count = mapped->settings->view_count,
                                         .number = mapped->page->daemon_id};
    return send_packet(session, &welcome, &mapped->page_fd, 1);
}

static bool on_catalog(struct pil_mapped *mapped, struct pil_mapped_session *session) {
    struct pil_mapped_message message = {.type = PIL_MAPPED_CATALOG};
    int fd = pil_mapped_catalog_get(mapped, session->readable, &message.generation);
    return fd >= 0 ? send_packet(session, &message, &fd, 1)
                   : refuse(session, 0, PIL_STATUS_NO_MEMORY, "there is no memory for a catalog");
}

static void count_grant(struct pil_mapped *mapped, uint32_t view_index, const char *result) {
    char label[PIL_VIEW_LABEL_BYTES];
    pil_view_label(&mapped->settings->views[view_index], label);
    pil_metric_count(pil_server_metrics(mapped->server), pil_server_control_shard(mapped->server),
                     PIL_METRIC_mapped_grants_total, PIL_METRIC_LABELS(label, result), 1);
}

static bool send_generation(const struct pil_mapped_session *session, uint32_t view_index,
                            const struct pil_mapped_generation *live) {
    for (uint32_t first = 0; first < live->shard_count; first += PIL_MAPPED_FDS_MAX) {
        uint32_t left = live->shard_count - first;
        struct pil_mapped_message grant = {.type = PIL_MAPPED_GRANT,
                                           .view = view_index,
                                           .index = first,
                                           .count = live->shard_count,
                                           .generation = live->number,
                                           .number = (uint64_t)live->created_us,
                                           .text = pil_bytes_from_text(live->release)};
        if (!send_packet(session, &grant, &live->fds[first], left < PIL_MAPPED_FDS_MAX ? left : PIL_MAPPED_FDS_MAX)) {
            return false;
        }
    }
    return true;
}

static bool on_acquire(struct pil_mapped *mapped, struct pil_mapped_session *session, uint32_t view_index) {
    struct pil_error error;
    if (view_index >= mapped->settings->view_count) {
        return refuse(session, view_index, PIL_STATUS_NOT_FOUND, "no view has this index");
    }
    if (mapped->settings->views[view_index].is_removed) {
        return refuse(session, view_index, PIL_STATUS_NOT_FOUND, "this view is not served any more");
    }
    pil_status status = pil_mapped_grant_check(mapped, session, view_index, &error);
    count_grant(mapped, view_index, status == PIL_STATUS_OK ? "granted" : pil_status_text(status));
    if (status != PIL_STATUS_OK) {
        return refuse(session, view_index, status, error.text);
    }
    return send_generation(session, view_index, pil_mapped_grant_hold(mapped, session, view_index));
}

static bool on_locate(struct pil_mapped *mapped, struct pil_mapped_session *session,
                      const struct pil_mapped_message *message) {
    struct pil_cache *cache = pil_server_cache(mapped->server);
    struct pil_error error;
    bool is_there = message->view < mapped->settings->view_count;
    pil_status status = is_there ? pil_mapped_grant_check_read(mapped, session, message->view, &error) : PIL_STATUS_OK;
    if (status != PIL_STATUS_OK) {
        return refuse(session, message->view, status, error.text);
    }
    const struct pil_release *live = is_there ? pil_cache_live(pil_cache_view_at(cache, message->view)) : NULL;
    int64_t created_us = 0;
    if (live == NULL || !pil_cache_release_time(live, message->text, &created_us)) {
        return refuse(session, message->view, PIL_STATUS_NOT_FOUND, "this release has not been served here");
    }
    struct pil_mapped_message answer = *message;
    answer.number = (uint64_t)created_us;
    return send_packet(session, &answer, NULL, 0);
}

static bool on_packet(struct pil_mapped *mapped, struct pil_mapped_session *session, struct pil_bytes packet) {
    struct pil_mapped_message message;
    struct pil_error error;
    if (pil_mapped_decode(packet, &message, &error) != PIL_STATUS_OK) {
        pil_log(PIL_LOG_WARN, "mapped session closed", "why", error.text, NULL);
        return false;
    }
    if (session->is_welcome == (message.type == PIL_MAPPED_HELLO)) {
        (void)refuse(session, 0, PIL_STATUS_INVALID, "a session begins with one HELLO");
        return false;
    }
    switch (message.type) {
    case PIL_MAPPED_HELLO: return on_hello(mapped, session, &message);
    case PIL_MAPPED_CATALOG: return on_catalog(mapped, session);
    case PIL_MAPPED_ACQUIRE: return on_acquire(mapped, session, message.view);
    case PIL_MAPPED_LOCATE: return on_locate(mapped, session, &message);
    case PIL_MAPPED_DROP: pil_mapped_grant_drop(mapped, session, message.view, message.generation); return true;
    case PIL_MAPPED_WELCOME:
    case PIL_MAPPED_GRANT:
    case PIL_MAPPED_REFUSE: break;
    }
    (void)refuse(session, message.view, PIL_STATUS_INVALID, "only servers send this");
    return false;
}

/* ---- Life. */

pil_status pil_mapped_session_open(struct pil_mapped *mapped, int fd, struct pil_mapped_session **ret_session) {
    struct pil_mapped_session *session = calloc(1, sizeof *session);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = session};
    if (session == NULL) {
        close(fd);
        return PIL_STATUS_NO_MEMORY;
    }
    session->magic = MAPPED_SESSION_MAGIC;
    session->fd = fd;
    session->since_ns = pil_mapped_now_ns(mapped);
    pil_peer_identity_take(fd, PIL_PEER_GROUPS | PIL_PEER_CGROUP, NULL, &session->peer);
    pil_mapped_grant_judge(mapped, session);
    pil_status status = (session->peer.known & PIL_PEER_UID) == 0                  ? PIL_STATUS_CLOSED /* has left */
                        : epoll_ctl(mapped->epoll, EPOLL_CTL_ADD, fd, &event) != 0 ? pil_status_from_errno(errno)
                                                                                   : PIL_STATUS_OK;
    if (status != PIL_STATUS_OK) {
        pil_mapped_session_close(mapped, session);
        return status;
    }
    *ret_session = session;
    return PIL_STATUS_OK;
}

void pil_mapped_session_close(struct pil_mapped *mapped, struct pil_mapped_session *session) {
    PIL_ASSERT(session->magic == MAPPED_SESSION_MAGIC && !pil_list_is_linked(&session->link));
    pil_mapped_grant_drop_all(mapped, session);
    pil_sys_close(&session->fd); /* closing removes the descriptor from the epoll set */
    session->magic = 0;
    free(session);
}

/* Watches for room in the socket's buffer, or for packets. Returns false if the kernel refuses. */
static bool watch(const struct pil_mapped *mapped, struct pil_mapped_session *session, bool is_paused) {
    struct epoll_event event = {.events = is_paused ? EPOLLOUT : EPOLLIN, .data.ptr = session};
    if (epoll_ctl(mapped->epoll, EPOLL_CTL_MOD, session->fd, &event) != 0) {
        return false;
    }
    session->is_paused = is_paused;
    return true;
}

bool pil_mapped_session_read(struct pil_mapped *mapped, struct pil_mapped_session *session) {
    uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX + 1];
    PIL_ASSERT(session->magic == MAPPED_SESSION_MAGIC && pil_list_is_linked(&session->link));
    for (uint32_t i = 0; i < PACKETS_PER_TURN; i++) {
        /* Has the client read most of its answers? The kernel reports POLLOUT while at most a quarter of the buffer is
         * in use. */
        struct pollfd room = {.fd = session->fd, .events = POLLOUT};
        bool is_paused = poll(&room, 1, 0) == 0;
        if (is_paused != session->is_paused && !watch(mapped, session, is_paused)) {
            return false;
        }
        if (is_paused) {
            return true;
        }
        /* Descriptors that a client sends are never received: recv has no room for them, so the kernel closes them. */
        ssize_t got = recv(session->fd, packet, sizeof packet, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return true;
        }
        if (got <= 0 || !on_packet(mapped, session, pil_bytes_from(packet, (size_t)got))) {
            return false;
        }
    }
    return true;
}
