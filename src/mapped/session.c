/* SPDX-License-Identifier: Apache-2.0
 * Sessions: the packets of one client, and the answers. An invalid packet ends its session. The process that connected
 * may have forked, and its children share the socket and the mappings: so the end of the socket, not of the process,
 * ends all holds.
 *
 * A client has at most one answer that it has not read: the kernel says so (SIOCOUTQ), and a client cannot fake it,
 * because a packet leaves the queue only together with its descriptors, and looking at it (MSG_PEEK) leaves it there.
 * Until then the client's next request is not answered, nor is the next packet of a grant sent.
 *
 * Requests are received all the same, and wait in `ahead`: a client can send its own socket beside a packet, and a
 * packet in the kernel's queue would keep that socket open when the client has closed it, so that the end of the
 * connection never came. */
#include "base/fdpass.h"
#include "base/panic.h"
#include "base/sys.h"
#include "mapped/internal.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STEPS_PER_TURN = 16 };
PIL_STATIC_ASSERT((int)PIL_MAPPED_FDS_MAX <= (int)PIL_FDPASS_MAX);

/* ---- Sending. */

/* AGAIN: with descriptors only; this user has as many in flight as the kernel allows. CLOSED and others: the client is
 * gone. */
static pil_status send_packet(const struct pil_mapped_session *session, const struct pil_mapped_message *message,
                              const int *fds, uint32_t fd_count) {
    uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX];
    size_t len = pil_mapped_encode(message, packet);
    PIL_ASSERT(fd_count <= PIL_MAPPED_FDS_MAX && session->in_flight == 0);
    return pil_fdpass_send(session->fd, pil_bytes_from(packet, len), fds, fd_count, false);
}

static bool refuse(const struct pil_mapped_session *session, uint32_t view_index, pil_status code, const char *text) {
    struct pil_mapped_message message = {
        .type = PIL_MAPPED_REFUSE, .view = view_index, .code = (uint32_t)code, .text = pil_bytes_from_text(text)};
    return send_packet(session, &message, NULL, 0) == PIL_STATUS_OK;
}

/* ---- Receiving. */

/* Receives one packet of at most `capacity` bytes and cuts a longer one. There is no room for descriptors, so the
 * kernel closes those that a client sends. AGAIN: none has come. CLOSED: none will come. */
static pil_status receive_packet(const struct pil_mapped_session *session, uint8_t *buffer, size_t capacity,
                                 uint16_t *ret_len) {
    struct iovec part = {.iov_base = buffer, .iov_len = capacity};
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t got;
    do {
        got = recvmsg(session->fd, &head, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return errno == EAGAIN ? PIL_STATUS_AGAIN : PIL_STATUS_CLOSED;
    }
    /* Each packet carries the sender's credentials (SO_PASSCRED), for which there is no room either: this tells an
     * empty packet, behind which others may wait, from the end. */
    *ret_len = (uint16_t)got;
    return got > 0 || (head.msg_flags & MSG_CTRUNC) != 0 ? PIL_STATUS_OK : PIL_STATUS_CLOSED;
}

/* Receives what has come. OK: there is no room for more. AGAIN, CLOSED as above. */
static pil_status receive_ahead(struct pil_mapped_session *session) {
    while (session->ahead_bytes <= MAPPED_AHEAD_BYTES) {
        uint8_t *at = &session->ahead[session->ahead_bytes];
        uint16_t len = 0;
        PIL_TRY(receive_packet(session, at + sizeof len, MAPPED_PACKET_BYTES, &len));
        memcpy(at, &len, sizeof len);
        session->ahead_bytes += (uint32_t)(sizeof len + len);
    }
    return PIL_STATUS_OK;
}

/* Takes the packet that came first. */
static struct pil_bytes take_ahead(struct pil_mapped_session *session, uint8_t packet[MAPPED_PACKET_BYTES]) {
    uint16_t len;
    PIL_ASSERT(session->ahead_bytes >= sizeof len);
    memcpy(&len, session->ahead, sizeof len);
    uint32_t taken = (uint32_t)(sizeof len + len);
    PIL_ASSERT(len <= MAPPED_PACKET_BYTES && taken <= session->ahead_bytes);
    memcpy(packet, &session->ahead[sizeof len], len);
    session->ahead_bytes -= taken;
    memmove(session->ahead, &session->ahead[taken], session->ahead_bytes);
    return pil_bytes_from(packet, len);
}

/* Drops what the client has sent. It can send no more. */
static void drop_ahead(struct pil_mapped_session *session) {
    uint8_t packet[MAPPED_PACKET_BYTES];
    uint16_t len;
    session->ahead_bytes = 0;
    while (receive_packet(session, packet, sizeof packet, &len) == PIL_STATUS_OK) {
    }
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

static bool on_hello(struct pil_mapped_session *session, const struct pil_mapped_message *message) {
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
    session->owes = MAPPED_OWES_WELCOME;
    return true;
}

static void count_grant(struct pil_mapped *mapped, uint32_t view_index, const char *result) {
    char label[PIL_VIEW_LABEL_BYTES];
    pil_view_label(&mapped->settings->views[view_index], label);
    pil_metric_count(pil_server_metrics(mapped->server), pil_server_control_shard(mapped->server),
                     PIL_METRIC_mapped_grants_total, PIL_METRIC_LABELS(label, result), 1);
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
    session->granted = pil_mapped_grant_hold(mapped, session, view_index);
    session->granted_view = view_index;
    session->granted_shards = 0;
    session->owes = MAPPED_OWES_GRANT;
    return true;
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
    return send_packet(session, &answer, NULL, 0) == PIL_STATUS_OK;
}

/* Refuses a message that may not be sent, and ends the session. */
static bool end_for(struct pil_mapped *mapped, struct pil_mapped_session *session,
                    const struct pil_mapped_message *message, const char *why) {
    pil_mapped_complain(mapped, &session->peer, MAPPED_TROUBLE_INVALID, why);
    (void)refuse(session, message->view, PIL_STATUS_INVALID, why);
    return false;
}

static bool on_packet(struct pil_mapped *mapped, struct pil_mapped_session *session, struct pil_bytes packet) {
    struct pil_mapped_message message;
    struct pil_error error;
    if (pil_mapped_decode(packet, &message, &error) != PIL_STATUS_OK) {
        pil_mapped_complain(mapped, &session->peer, MAPPED_TROUBLE_INVALID, error.text);
        return false;
    }
    if (session->is_welcome == (message.type == PIL_MAPPED_HELLO)) {
        return end_for(mapped, session, &message, "a session begins with one HELLO");
    }
    switch (message.type) {
    case PIL_MAPPED_HELLO: return on_hello(session, &message);
    case PIL_MAPPED_CATALOG: session->owes = MAPPED_OWES_CATALOG; return true;
    case PIL_MAPPED_ACQUIRE: return on_acquire(mapped, session, message.view);
    case PIL_MAPPED_LOCATE: return on_locate(mapped, session, &message);
    case PIL_MAPPED_DROP: pil_mapped_grant_drop(mapped, session, message.view, message.generation); return true;
    case PIL_MAPPED_WELCOME:
    case PIL_MAPPED_GRANT:
    case PIL_MAPPED_REFUSE: break;
    }
    return end_for(mapped, session, &message, "only servers send this");
}

/* ---- Answers with descriptors. */

static pil_status send_welcome(const struct pil_mapped *mapped, const struct pil_mapped_session *session) {
    struct pil_mapped_message welcome = {.type = PIL_MAPPED_WELCOME,
                                         .index = PIL_MAPPED_VERSION,
                                         .count = mapped->settings->view_count,
                                         .number = mapped->page->daemon_id};
    return send_packet(session, &welcome, &mapped->page_fd, 1);
}

/* *ret_count is 0 when a refusal was sent instead. */
static pil_status send_catalog(struct pil_mapped *mapped, struct pil_mapped_session *session, uint32_t *ret_count) {
    struct pil_mapped_message message = {.type = PIL_MAPPED_CATALOG};
    int fd = pil_mapped_catalog_get(mapped, session->readable, &message.generation);
    *ret_count = fd >= 0;
    if (fd >= 0) {
        return send_packet(session, &message, &fd, 1);
    }
    bool is_sent = refuse(session, 0, PIL_STATUS_NO_MEMORY, "there is no memory for a catalog");
    return is_sent ? PIL_STATUS_OK : PIL_STATUS_CLOSED;
}

/* The next shards of a grant, at most `room`. A generation that was replaced in the meantime has no descriptors any
 * more: the client has to ask again. */
static pil_status send_shards(struct pil_mapped *mapped, struct pil_mapped_session *session, uint32_t room,
                              uint32_t *ret_count) {
    const struct pil_mapped_generation *granted = session->granted;
    uint32_t first = session->granted_shards, left = granted->shard_count - first;
    PIL_ASSERT(left > 0);
    *ret_count = 0;
    if (granted->retired_ns != 0) {
        uint32_t view_index = session->granted_view;
        pil_mapped_grant_drop(mapped, session, view_index, granted->number);
        session->granted_shards = 0;
        session->granted = NULL;
        bool is_sent = refuse(session, view_index, PIL_STATUS_AGAIN, "the release was replaced: ask again");
        return is_sent ? PIL_STATUS_OK : PIL_STATUS_CLOSED;
    }
    struct pil_mapped_message grant = {.type = PIL_MAPPED_GRANT,
                                       .view = session->granted_view,
                                       .index = first,
                                       .count = granted->shard_count,
                                       .generation = granted->number,
                                       .number = (uint64_t)granted->created_us,
                                       .text = pil_bytes_from_text(granted->release)};
    *ret_count = left < room ? left : room;
    return send_packet(session, &grant, &granted->fds[first], *ret_count);
}

static bool is_grant_sent(struct pil_mapped_session *session, uint32_t count) {
    if (session->granted != NULL) {
        session->granted_shards += count;
    }
    return session->granted == NULL || session->granted_shards == session->granted->shard_count;
}

/* Sends what is owed, at most `room` descriptors. AGAIN: the kernel does not send now. */
static pil_status send_owed(struct pil_mapped *mapped, struct pil_mapped_session *session, uint32_t room) {
    uint32_t count = 1;
    bool is_done = true;
    switch (session->owes) {
    case MAPPED_OWES_WELCOME: PIL_TRY(send_welcome(mapped, session)); break;
    case MAPPED_OWES_CATALOG: PIL_TRY(send_catalog(mapped, session, &count)); break;
    case MAPPED_OWES_GRANT:
        PIL_TRY(send_shards(mapped, session, room, &count));
        is_done = is_grant_sent(session, count);
        break;
    case MAPPED_OWES_NOTHING: PIL_UNREACHABLE("an answer that is not owed");
    }
    if (is_done) {
        session->owes = MAPPED_OWES_NOTHING;
        session->granted = NULL;
    }
    pil_mapped_share_sent(mapped, session, count);
    return PIL_STATUS_OK;
}

/* ---- Life. */

/* Watches for what the session waits for; returns false if the kernel refuses. The kernel reports each packet that the
 * client sends or reads as an edge. The end of the connection is reported in any case, once. */
static bool wait_for(const struct pil_mapped *mapped, struct pil_mapped_session *session, pil_mapped_wait wait) {
    static const uint32_t events[] = {
        [MAPPED_WAIT_REQUEST] = EPOLLIN,
        [MAPPED_WAIT_READ] = EPOLLIN | EPOLLOUT | EPOLLET,
        [MAPPED_WAIT_SHARE] = EPOLLIN | EPOLLET,
    };
    struct epoll_event event = {.events = events[wait], .data.ptr = session};
    if (session->wait == wait) {
        return true;
    }
    session->wait = wait;
    return epoll_ctl(mapped->epoll, EPOLL_CTL_MOD, session->fd, &event) == 0;
}

/* Closes a session that is not counted for its process. */
static void destroy(struct pil_mapped_session *session) {
    pil_sys_close(&session->fd); /* closing removes the descriptor from the epoll set */
    session->magic = 0;
    free(session);
}

/* CLOSED: the client has left. NO_MEMORY, SYSTEM. */
static pil_status begin(struct pil_mapped *mapped, struct pil_mapped_session *session) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = session};
    int yes = 1; /* see receive_packet */
    if (setsockopt(session->fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) != 0) {
        return pil_status_from_errno(errno);
    }
    pil_peer_identity_take(session->fd, PIL_PEER_GROUPS | PIL_PEER_CGROUP, NULL, &session->peer);
    if ((session->peer.known & PIL_PEER_UID) == 0) {
        return PIL_STATUS_CLOSED;
    }
    pil_mapped_grant_judge(mapped, session);
    if (epoll_ctl(mapped->epoll, EPOLL_CTL_ADD, session->fd, &event) != 0) {
        return pil_status_from_errno(errno);
    }
    session->process = pil_mapped_share_join(mapped, &session->peer);
    return session->process != NULL ? PIL_STATUS_OK : PIL_STATUS_NO_MEMORY;
}

pil_status pil_mapped_session_open(struct pil_mapped *mapped, int fd, struct pil_mapped_session **ret_session) {
    struct pil_mapped_session *session = calloc(1, sizeof *session);
    if (session == NULL) {
        close(fd);
        return PIL_STATUS_NO_MEMORY;
    }
    session->magic = MAPPED_SESSION_MAGIC;
    session->fd = fd;
    session->since_ns = pil_mapped_now_ns(mapped);
    pil_status status = begin(mapped, session);
    if (status != PIL_STATUS_OK) {
        destroy(session);
        return status;
    }
    *ret_session = session;
    return PIL_STATUS_OK;
}

void pil_mapped_session_end(struct pil_mapped *mapped, struct pil_mapped_session *session) {
    PIL_ASSERT(!session->is_ended);
    session->is_ended = true;
    session->owes = MAPPED_OWES_NOTHING;
    session->granted = NULL;
    pil_mapped_grant_drop_all(mapped, session);
    (void)shutdown(session->fd, SHUT_RDWR); /* fails when the client is gone */
    drop_ahead(session);
    /* Else the end of the connection is reported in each turn until the client has read. */
    (void)wait_for(mapped, session, MAPPED_WAIT_READ);
}

void pil_mapped_session_close(struct pil_mapped *mapped, struct pil_mapped_session *session) {
    PIL_ASSERT(session->magic == MAPPED_SESSION_MAGIC && !pil_list_is_linked(&session->link));
    pil_mapped_grant_drop_all(mapped, session);
    pil_mapped_share_received(mapped, session);
    pil_mapped_share_leave(mapped, session->process);
    destroy(session);
}

bool pil_mapped_session_has_received(struct pil_mapped *mapped, struct pil_mapped_session *session) {
    int bytes = 0;
    /* While the kernel frees the last packet and wakes the sender, it still counts 1 byte (sock_wfree). */
    if (ioctl(session->fd, SIOCOUTQ, &bytes) != 0 || bytes > 1) {
        return false;
    }
    pil_mapped_share_received(mapped, session);
    return true;
}

/* ---- Turns. */

/* AGAIN: the session may wait. CLOSED: the client has sent more than may wait meanwhile. */
static pil_status wait_with_ahead(struct pil_mapped *mapped, const struct pil_mapped_session *session) {
    if (session->ahead_bytes <= MAPPED_AHEAD_BYTES) {
        return PIL_STATUS_AGAIN;
    }
    pil_mapped_complain(mapped, &session->peer, MAPPED_TROUBLE_INVALID,
                        "it sent more than 32 KiB of requests without reading the answers");
    return PIL_STATUS_CLOSED;
}

/* Sends what is owed, or answers the next request. AGAIN: it waits; `wait` says for what. */
static pil_status step(struct pil_mapped *mapped, struct pil_mapped_session *session, pil_mapped_wait *ret_wait) {
    uint8_t packet[MAPPED_PACKET_BYTES];
    pil_status received = receive_ahead(session);
    *ret_wait = MAPPED_WAIT_READ;
    if (!pil_mapped_session_has_received(mapped, session)) {
        return wait_with_ahead(mapped, session);
    }
    *ret_wait = MAPPED_WAIT_SHARE;
    uint32_t room = pil_mapped_share_packet(mapped, session->process);
    if (room == 0) {
        return wait_with_ahead(mapped, session);
    }
    if (session->owes != MAPPED_OWES_NOTHING) {
        pil_status status = send_owed(mapped, session, room);
        if (status == PIL_STATUS_AGAIN) {
            pil_mapped_complain(mapped, &session->peer, MAPPED_TROUBLE_IN_FLIGHT,
                                "the user of this daemon has as many descriptors in flight as its limit of open files "
                                "allows (ETOOMANYREFS): some process of this user does not receive what it was sent");
            return wait_with_ahead(mapped, session);
        }
        return status;
    }
    *ret_wait = MAPPED_WAIT_REQUEST;
    if (session->ahead_bytes == 0) {
        PIL_ASSERT(received != PIL_STATUS_OK);
        return received;
    }
    return on_packet(mapped, session, take_ahead(session, packet)) ? PIL_STATUS_OK : PIL_STATUS_CLOSED;
}

bool pil_mapped_session_run(struct pil_mapped *mapped, struct pil_mapped_session *session) {
    pil_mapped_wait wait = MAPPED_WAIT_REQUEST;
    pil_status status = PIL_STATUS_OK;
    PIL_ASSERT(session->magic == MAPPED_SESSION_MAGIC && pil_list_is_linked(&session->link) && !session->is_ended);
    for (uint32_t i = 0; i < STEPS_PER_TURN && status == PIL_STATUS_OK; i++) {
        status = step(mapped, session, &wait);
    }
    if (status == PIL_STATUS_AGAIN) {
        return wait_for(mapped, session, wait);
    }
    /* Others are due. When this session waits for a request, the next turn reports it; else it is made to. */
    session->wait = MAPPED_WAIT_REQUEST;
    return status == PIL_STATUS_OK && wait_for(mapped, session, MAPPED_WAIT_READ);
}
