/* SPDX-License-Identifier: Apache-2.0
 * Sessions of the mapped listener. A client is believed nothing: what it may map is decided by what the kernel says of
 * its process, what it holds by what was sent to it, and a packet that is not right ends the session. The process that
 * connected may have forked: its children share both the socket and the mappings, so only the end of the socket, not
 * that of the process, says that nothing is held any more. Descriptors on their way count against a limit that the
 * whole daemon shares (unix(7), ETOOMANYREFS): a client that does not read its answers is not read from, either. */
#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "base/sys.h"
#include "mapped/internal.h"

#include <errno.h>
#include <fnmatch.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

enum { EVENTS = 64, PACKETS_PER_TURN = 16, ACCEPTS_PER_TURN = 16, ACCEPT_PAUSE_NS = 100000000 };

/* ---- Sending. */

/* false: the session is to be closed, because its buffer is full or it is gone. */
static bool send_packet(const struct pil_mapped_session *session, const struct pil_mapped_message *message,
                        const int *fds, uint32_t fd_count) {
    uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX];
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(PIL_MAPPED_FDS_MAX * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = packet, .iov_len = pil_mapped_encode(message, packet)};
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
    PIL_ASSERT(fd_count <= PIL_MAPPED_FDS_MAX);
    if (fd_count > 0) {
        memset(&control, 0, sizeof control);
        head.msg_control = control.bytes;
        head.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *at = CMSG_FIRSTHDR(&head);
        at->cmsg_level = SOL_SOCKET;
        at->cmsg_type = SCM_RIGHTS;
        at->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(at), fds, fd_count * sizeof(int));
    }
    ssize_t sent;
    do {
        sent = sendmsg(session->fd, &head, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent >= 0;
}

static bool refuse(const struct pil_mapped_session *session, uint32_t view_index, pil_status code, const char *text) {
    struct pil_mapped_message message = {
        .type = PIL_MAPPED_REFUSE, .view = view_index, .code = (uint32_t)code, .text = pil_bytes_from_text(text)};
    return send_packet(session, &message, NULL, 0);
}

/* ---- Who may. */

/* What others are shown is printable, whatever it came as. */
static void copy_printable(struct pil_bytes from, char *to, size_t to_bytes) {
    size_t len = from.len < to_bytes ? from.len : to_bytes - 1;
    for (size_t i = 0; i < len; i++) {
        to[i] = (char)(from.data[i] > ' ' && from.data[i] < 127 ? from.data[i] : '?');
    }
    to[len] = '\0';
}

/* Of the unified hierarchy. A path that is too long to keep is not kept: a part of it is another path. */
static void read_cgroup(struct pil_mapped_session *session) {
    char path[64], *line = NULL;
    size_t room = 0;
    snprintf(path, sizeof path, "/proc/%d/cgroup", session->pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && getline(&line, &room, file) > 0) {
        size_t len = strcspn(line, "\n");
        if (strncmp(line, "0::", 3) == 0 && len - 3 < sizeof session->cgroup) {
            copy_printable(pil_bytes_from(line + 3, len - 3), session->cgroup, sizeof session->cgroup);
        }
    }
    free(line);
    if (file != NULL) {
        fclose(file);
    }
}

/* The number of a process that has ended may be another's by now, with another cgroup: what was read counts only if the
 * process that connected is still there. Kernels before 6.5 cannot tell. */
static void identify(struct pil_mapped_session *session) {
    int pidfd = -1;
    socklen_t len = sizeof pidfd;
    bool can_tell = getsockopt(session->fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) == 0 || errno != ENOPROTOOPT;
    read_cgroup(session);
    if (can_tell) {
        struct pollfd ended = {.fd = pidfd, .events = POLLIN};
        if (pidfd < 0 || poll(&ended, 1, 0) != 0) {
            session->cgroup[0] = '\0';
        }
        pil_sys_close(&pidfd);
    }
}

static bool contains(const uint32_t *ids, uint32_t count, uint32_t id) {
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

static bool is_regulated(const struct pil_mapped_view *view) {
    return view->is_regulated || view->is_release_regulated;
}

static bool is_allowed(const struct pil_mapped *mapped, const struct pil_mapped_session *session, uint32_t view_index) {
    const struct pil_map_rule *rule = &mapped->settings->views[view_index].map;
    if (!rule->is_given) {
        return !is_regulated(&mapped->views[view_index]);
    }
    bool allowed =
        contains(rule->uids, rule->uid_count, session->uid) || contains(rule->gids, rule->gid_count, session->gid);
    for (uint32_t i = 0; i < rule->cgroup_count && !allowed; i++) {
        allowed = session->cgroup[0] != '\0' && fnmatch(rule->cgroups[i], session->cgroup, 0) == 0;
    }
    return allowed;
}

/* ---- Requests; each returns whether the session goes on. */

static bool on_hello(struct pil_mapped *mapped, struct pil_mapped_session *session,
                     const struct pil_mapped_message *message) {
    if (message->index > PIL_MAPPED_VERSION || message->count < PIL_MAPPED_VERSION) {
        char text[128];
        snprintf(text, sizeof text, "this server speaks version %d, the client %u to %u", PIL_MAPPED_VERSION,
                 message->index, message->count);
        (void)refuse(session, 0, PIL_STATUS_UNSUPPORTED, text);
        return false;
    }
    copy_printable(message->text, session->name, sizeof session->name);
    session->is_welcome = true;
    struct pil_mapped_message welcome = {.type = PIL_MAPPED_WELCOME,
                                         .index = PIL_MAPPED_VERSION,
                                         .count = mapped->settings->view_count,
                                         .number = mapped->page->daemon_id};
    return send_packet(session, &welcome, &mapped->page_fd, 1);
}

static bool on_catalog(struct pil_mapped *mapped, struct pil_mapped_session *session) {
    struct pil_mapped_message message = {
        .type = PIL_MAPPED_CATALOG,
        .generation = atomic_load_explicit(&mapped->page->catalog_generation, memory_order_relaxed)};
    return mapped->catalog_fd >= 0 ? send_packet(session, &message, &mapped->catalog_fd, 1)
                                   : refuse(session, 0, PIL_STATUS_NO_MEMORY, "there is no catalog");
}

static void count_grant(struct pil_mapped *mapped, uint32_t view_index, const char *result) {
    char label[PIL_VIEW_LABEL_BYTES];
    pil_view_label(&mapped->settings->views[view_index], label);
    pil_metric_count(pil_server_metrics(mapped->server), pil_server_control_shard(mapped->server),
                     PIL_METRIC_mapped_grants_total, PIL_METRIC_LABELS(label, result), 1);
}

/* The hold of a generation, or NULL. */
static struct pil_mapped_hold *hold_of(struct pil_mapped_session *session, uint32_t view_index, uint64_t number) {
    for (uint32_t i = 0; i < session->hold_count; i++) {
        if (session->holds[i].view_index == view_index && session->holds[i].generation->number == number) {
            return &session->holds[i];
        }
    }
    return NULL;
}

/* Why the live generation of a view is not granted; OK: it is. */
static pil_status check_grant(struct pil_mapped *mapped, struct pil_mapped_session *session, uint32_t view_index,
                              struct pil_error *error) {
    const struct pil_view_settings *view = &mapped->settings->views[view_index];
    const struct pil_mapped_generation *live = mapped->views[view_index].generations;
    uint64_t timeout_ns = mapped->settings->mapped_hold_timeout_ms * 1000000, now_ns = pil_clock_monotonic_ns();
    if (!is_allowed(mapped, session, view_index)) {
        return pil_fail(error, PIL_STATUS_DENIED, "%s/%s may not be mapped by uid %u, gid %u, cgroup %s%s",
                        view->project, view->view, session->uid, session->gid,
                        session->cgroup[0] != '\0' ? session->cgroup : "unknown",
                        is_regulated(&mapped->views[view_index]) && !view->map.is_given
                            ? ": it is regulated, and the configuration names nobody"
                            : "");
    }
    if (live == NULL || live->retired_ns != 0) {
        return pil_fail(error, PIL_STATUS_AGAIN, "%s/%s has no release yet", view->project, view->view);
    }
    for (uint32_t i = 0; i < session->hold_count; i++) {
        const struct pil_mapped_hold *hold = &session->holds[i];
        uint64_t retired_ns = hold->generation->retired_ns;
        if (retired_ns != 0 && now_ns - retired_ns > timeout_ns) {
            return pil_fail(error, PIL_STATUS_BUSY, "drop generation %llu of %s first: it was replaced %llu s ago",
                            (unsigned long long)hold->generation->number,
                            mapped->settings->views[hold->view_index].view,
                            (unsigned long long)((now_ns - retired_ns) / 1000000000));
        }
    }
    uint32_t generations = 1;
    for (const struct pil_mapped_generation *at = live->next; at != NULL; at = at->next) {
        generations += at->holder_count > 0;
    }
    if (generations > mapped->settings->mapped_generations_max) {
        return pil_fail(error, PIL_STATUS_BUSY, "%u generations of %s/%s are mapped already, as many as may be",
                        generations - 1, view->project, view->view);
    }
    if (live->shard_count > MAPPED_SHARDS_MAX) {
        return pil_fail(error, PIL_STATUS_TOO_LARGE, "the release has %u shards; at most %d can be mapped",
                        live->shard_count, MAPPED_SHARDS_MAX);
    }
    if (session->hold_count == MAPPED_HOLDS_MAX) {
        return pil_fail(error, PIL_STATUS_TOO_LARGE, "one client holds at most %d generations", MAPPED_HOLDS_MAX);
    }
    return PIL_STATUS_OK;
}

static bool on_acquire(struct pil_mapped *mapped, struct pil_mapped_session *session, uint32_t view_index) {
    struct pil_error error;
    if (view_index >= mapped->settings->view_count) {
        return refuse(session, view_index, PIL_STATUS_NOT_FOUND, "no view has this index");
    }
    if (mapped->settings->views[view_index].is_removed) {
        return refuse(session, view_index, PIL_STATUS_NOT_FOUND, "this view is not served any more");
    }
    pil_status status = check_grant(mapped, session, view_index, &error);
    count_grant(mapped, view_index, status == PIL_STATUS_OK ? "granted" : pil_status_text(status));
    if (status != PIL_STATUS_OK) {
        return refuse(session, view_index, status, error.text);
    }
    struct pil_mapped_generation *live = mapped->views[view_index].generations;
    if (hold_of(session, view_index, live->number) == NULL) {
        session->holds[session->hold_count++] =
            (struct pil_mapped_hold){.view_index = view_index, .generation = live, .since_us = pil_clock_wall_us()};
        live->holder_count++;
    }
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

static void drop_hold(struct pil_mapped *mapped, struct pil_mapped_session *session, struct pil_mapped_hold *hold) {
    uint32_t view_index = hold->view_index;
    PIL_ASSERT(hold->generation->holder_count > 0);
    hold->generation->holder_count--;
    *hold = session->holds[--session->hold_count];
    pil_mapped_generations_sweep(mapped, view_index);
}

static bool on_locate(struct pil_mapped *mapped, struct pil_mapped_session *session,
                      const struct pil_mapped_message *message) {
    struct pil_cache *cache = pil_server_cache(mapped->server);
    const struct pil_release *live =
        message->view < mapped->settings->view_count ? pil_cache_live(pil_cache_view_at(cache, message->view)) : NULL;
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
    case PIL_MAPPED_DROP: {
        struct pil_mapped_hold *hold = hold_of(session, message.view, message.generation);
        if (hold != NULL) {
            drop_hold(mapped, session, hold);
        }
        return true;
    }
    case PIL_MAPPED_WELCOME:
    case PIL_MAPPED_GRANT:
    case PIL_MAPPED_REFUSE: break;
    }
    (void)refuse(session, message.view, PIL_STATUS_INVALID, "only servers send this");
    return false;
}

/* ---- Sessions. */

void pil_mapped_session_close(struct pil_mapped *mapped, struct pil_mapped_session *session) {
    while (session->hold_count > 0) {
        drop_hold(mapped, session, &session->holds[0]);
    }
    if (session->next != NULL) {
        session->next->previous = session->previous;
    }
    *(session->previous != NULL ? &session->previous->next : &mapped->sessions) = session->next;
    mapped->session_count--;
    pil_sys_close(&session->fd); /* leaves the epoll set by itself */
    free(session);
}

static void open_session(struct pil_mapped *mapped, int fd) {
    struct ucred peer = {.pid = -1, .uid = (uid_t)-1, .gid = (gid_t)-1};
    socklen_t len = sizeof peer;
    struct pil_mapped_session *session = calloc(1, sizeof *session);
    PIL_ASSERT(session != NULL);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = session};
    bool is_full = mapped->session_count >= mapped->settings->limits.mapped_sessions_max;
    if (is_full || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 ||
        epoll_ctl(mapped->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        if (is_full) {
            pil_log(PIL_LOG_WARN, "mapped session refused", "why", "limits.mapped_sessions", NULL);
        }
        close(fd);
        free(session);
        return;
    }
    session->fd = fd;
    session->pid = peer.pid;
    session->uid = peer.uid;
    session->gid = peer.gid;
    session->since_ns = pil_clock_monotonic_ns();
    identify(session);
    session->next = mapped->sessions;
    if (mapped->sessions != NULL) {
        mapped->sessions->previous = session;
    }
    mapped->sessions = session;
    mapped->session_count++;
}

/* Out of descriptors or memory, the listeners stay readable: they are not looked at for a while. */
static void accept_some(struct pil_mapped *mapped) {
    for (uint32_t i = 0; i < mapped->listener_count; i++) {
        for (uint32_t k = 0; k < ACCEPTS_PER_TURN; k++) {
            int fd = accept4(mapped->listeners[i], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
                pil_log(PIL_LOG_WARN, "mapped sessions wait", "why", strerror(errno), NULL);
                pil_mapped_listeners_watch(mapped, false);
                mapped->resume_ns = pil_clock_monotonic_ns() + ACCEPT_PAUSE_NS;
                return;
            }
            if (fd < 0) {
                break;
            }
            open_session(mapped, fd);
        }
    }
}

/* Whether the client has taken most of what it was sent (a quarter of the buffer may wait; the kernel's rule). When it
 * has not, the next event is that it has. */
static bool is_read_by_client(struct pil_mapped *mapped, struct pil_mapped_session *session) {
    struct pollfd room = {.fd = session->fd, .events = POLLOUT};
    bool is_paused = poll(&room, 1, 0) == 0;
    if (is_paused != session->is_paused) {
        struct epoll_event event = {.events = is_paused ? EPOLLOUT : EPOLLIN, .data.ptr = session};
        PIL_ASSERT(epoll_ctl(mapped->epoll, EPOLL_CTL_MOD, session->fd, &event) == 0);
        session->is_paused = is_paused;
    }
    return !is_paused;
}

/* Descriptors that a client sends are never taken: there is no room for them, and the kernel closes them. */
static void read_some(struct pil_mapped *mapped, struct pil_mapped_session *session) {
    uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX + 1];
    for (uint32_t i = 0; i < PACKETS_PER_TURN && is_read_by_client(mapped, session); i++) {
        ssize_t got = recv(session->fd, packet, sizeof packet, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (got <= 0 || !on_packet(mapped, session, pil_bytes_from(packet, (size_t)got))) {
            pil_mapped_session_close(mapped, session);
            return;
        }
    }
}

void pil_mapped_turn(struct pil_mapped *mapped) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(mapped->epoll, events, EVENTS, 0);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == NULL) {
            accept_some(mapped);
        } else {
            read_some(mapped, events[i].data.ptr);
        }
    }
}
