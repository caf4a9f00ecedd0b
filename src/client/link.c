/* SPDX-License-Identifier: Apache-2.0 */
#include "client/link.h"
#include "base/address.h"
#include "base/clock.h"
#include "base/panic.h"
#include "base/sys.h"
#include "client/result.h"
#include "wire/resp.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    IN_BYTES = 65536,
    FRAME_BYTES = 64, /* of a reply, beside what it contains */
};

uint64_t pil_link_cookie(int fd) {
    uint64_t cookie = 0;
    socklen_t len = sizeof cookie;
    return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0 ? cookie : 0;
}

/* ---- Encoding the request. */

static void append_head(struct pil_buffer *buffer, char kind, size_t number) {
    char text[32];
    int len = snprintf(text, sizeof text, "%c%zu\r\n", kind, number);
    pil_buffer_append(buffer, text, (size_t)len);
}

/* ---- Opening and closing. */

static pil_status wait_for(int fd, short events, uint64_t until_ns) {
    for (;;) {
        uint64_t now_ns = pil_clock_monotonic_ns();
        if (now_ns >= until_ns) {
            return PIL_STATUS_TIMEOUT;
        }
        struct timespec timeout = {.tv_sec = (time_t)((until_ns - now_ns) / 1000000000),
                                   .tv_nsec = (long)((until_ns - now_ns) % 1000000000)};
        struct pollfd poll_fd = {.fd = fd, .events = events};
        int ready = ppoll(&poll_fd, 1, &timeout, NULL);
        if (ready > 0) {
            return PIL_STATUS_OK;
        }
        if (ready < 0 && errno != EINTR) {
            return PIL_STATUS_SYSTEM;
        }
    }
}

/* Connects, or waits until connecting has failed. Returns an errno. When the queue of a Unix socket is full, connect
 * fails with EAGAIN, and poll cannot wait for room. */
static int finish_connecting(int fd, const struct sockaddr *address, socklen_t len, uint64_t until_ns) {
    int number = connect(fd, address, len) == 0 ? 0 : errno;
    while (number == EAGAIN && pil_clock_monotonic_ns() < until_ns) {
        struct timespec pause = {.tv_nsec = 1000000};
        nanosleep(&pause, NULL);
        number = connect(fd, address, len) == 0 ? 0 : errno;
    }
    if (number == EINPROGRESS) {
        socklen_t number_len = sizeof number;
        bool is_done = wait_for(fd, POLLOUT, until_ns) == PIL_STATUS_OK &&
                       getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &number_len) == 0;
        number = is_done ? number : ETIMEDOUT;
    }
    return number;
}

/* Returns -1 with errno set when connecting fails. */
static int connect_to(const struct sockaddr *address, socklen_t len, uint64_t until_ns) {
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int number = fd < 0 ? errno : finish_connecting(fd, address, len, until_ns);
    if (number != 0) {
        pil_sys_close(&fd);
        errno = number;
    }
    return fd;
}

/* Tries all addresses of the host; *ret_fd is -1, with errno set, when none answers. The host lookup takes as long as
 * the resolver takes, regardless of until_ns. */
static pil_status connect_tcp(const struct pil_address *address, uint64_t until_ns, int *ret_fd,
                              struct pil_error *error) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *info = NULL;
    int number = getaddrinfo(address->host, address->port, &hints, &info);
    if (number != 0) {
        pil_status status = number == EAI_MEMORY || (number == EAI_SYSTEM && errno == ENOMEM) ? PIL_STATUS_NO_MEMORY
                            : number == EAI_AGAIN || number == EAI_SYSTEM                     ? PIL_STATUS_CLOSED
                                                                                              : PIL_STATUS_INVALID;
        return pil_fail(error, status, "resp: tcp:%s:%s: %s", address->host, address->port, gai_strerror(number));
    }
    for (const struct addrinfo *at = info; at != NULL && *ret_fd < 0; at = at->ai_next) {
        *ret_fd = connect_to(at->ai_addr, at->ai_addrlen, until_ns);
    }
    freeaddrinfo(info);
    return PIL_STATUS_OK;
}

static pil_status open_socket(const char *text, uint64_t until_ns, int *ret_fd, struct pil_error *error) {
    struct pil_address address;
    pil_status status = pil_address_parse(text, &address, error);
    if (status != PIL_STATUS_OK) {
        return pil_fail_in(error, status, "resp");
    }
    if (address.kind == PIL_ADDRESS_TCP) {
        return connect_tcp(&address, until_ns, ret_fd, error);
    }
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    memcpy(path.sun_path, address.path, sizeof path.sun_path);
    *ret_fd = connect_to((const struct sockaddr *)&path, sizeof path, until_ns);
    return PIL_STATUS_OK;
}

pil_status pil_link_open(const char *address, uint64_t until_ns, struct pil_link **ret_link,
                         struct pil_error *ret_error) {
    int fd = -1;
    PIL_TRY(open_socket(address, until_ns, &fd, ret_error));
    if (fd < 0) {
        int number = errno;
        return pil_fail(ret_error, PIL_STATUS_CLOSED, "%s: %s", address, strerror(number));
    }
    struct pil_link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        pil_sys_close(&fd);
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for a connection to %s", address);
    }
    link->fd = fd;
    link->cookie = pil_link_cookie(fd);
    /* The server accepts long requests only after a first one: schemas/wire.md, "Limits". */
    struct pil_bytes reply;
    pil_link_begin(link, 1);
    pil_link_add(link, pil_bytes_from_text("PING"));
    pil_status status = pil_link_ask(link, PIL_LINK_SHORT_BYTES, until_ns, &reply, ret_error);
    if (status != PIL_STATUS_OK) {
        pil_link_close(&link);
        return status;
    }
    *ret_link = link;
    return PIL_STATUS_OK;
}

void pil_link_close(struct pil_link **link_pointer) {
    struct pil_link *link = *link_pointer;
    *link_pointer = NULL;
    if (link != NULL) {
        pil_sys_close(&link->fd);
        pil_buffer_deinit(&link->in);
        pil_buffer_deinit(&link->out);
        free(link);
    }
}

void pil_link_forget(struct pil_link **link_pointer) {
    struct pil_link *link = *link_pointer;
    if (link != NULL && pil_link_cookie(link->fd) != link->cookie) {
        link->fd = -1;
    }
    pil_link_close(link_pointer);
}

/* ---- Requests and replies. */

void pil_link_begin(struct pil_link *link, size_t arg_count) {
    PIL_ASSERT(arg_count > 0);
    pil_buffer_clear(&link->out);
    pil_buffer_clear(&link->in);
    append_head(&link->out, '*', arg_count);
}

void pil_link_add(struct pil_link *link, struct pil_bytes arg) {
    append_head(&link->out, '$', arg.len);
    pil_buffer_append(&link->out, arg.data, arg.len);
    pil_buffer_append(&link->out, "\r\n", 2);
}

uint8_t *pil_link_add_room(struct pil_link *link, size_t bytes) {
    append_head(&link->out, '$', bytes);
    uint8_t *room = bytes <= SIZE_MAX - 2 ? pil_buffer_reserve(&link->out, bytes + 2) : NULL;
    if (room != NULL) {
        memcpy(room + bytes, "\r\n", 2);
        link->out.len += bytes + 2;
    }
    return room;
}

void pil_link_add_number(struct pil_link *link, int64_t number) {
    char text[24];
    int len = snprintf(text, sizeof text, "%lld", (long long)number);
    pil_link_add(link, pil_bytes_from(text, (size_t)len));
}

static pil_status fail_io(int number, struct pil_error *error) {
    return pil_fail(error, PIL_STATUS_CLOSED, "the server's connection: %s", strerror(number));
}

static pil_status send_all(struct pil_link *link, uint64_t until_ns, struct pil_error *error) {
    if (link->out.failed) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a request of over %zu bytes", link->out.len);
    }
    for (size_t at = 0; at < link->out.len;) {
        ssize_t sent = send(link->fd, link->out.data + at, link->out.len - at, MSG_NOSIGNAL);
        if (sent >= 0) {
            at += (size_t)sent;
        } else if (errno == EAGAIN) {
            if (wait_for(link->fd, POLLOUT, until_ns) != PIL_STATUS_OK) {
                return pil_fail(error, PIL_STATUS_TIMEOUT, "the server does not read the request");
            }
        } else if (errno != EINTR) {
            return fail_io(errno, error);
        }
    }
    return PIL_STATUS_OK;
}

/* Receives what has arrived; waits if that is nothing. */
static pil_status receive_some(struct pil_link *link, uint64_t until_ns, struct pil_error *error) {
    uint8_t *room = pil_buffer_reserve(&link->in, IN_BYTES);
    if (room == NULL) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a reply of over %zu bytes", link->in.len);
    }
    ssize_t got = recv(link->fd, room, link->in.capacity - link->in.len, 0);
    if (got > 0) {
        link->in.len += (size_t)got;
    } else if (got == 0) {
        return fail_io(ECONNRESET, error);
    } else if (errno == EAGAIN) {
        if (wait_for(link->fd, POLLIN, until_ns) != PIL_STATUS_OK) {
            return pil_fail(error, PIL_STATUS_TIMEOUT, "the server does not answer in time");
        }
    } else if (errno != EINTR) {
        return fail_io(errno, error);
    }
    return PIL_STATUS_OK;
}

/* Receives until one whole reply has arrived. A server that never stops sending is stopped by the limit, one that sends
 * byte after byte by the deadline. */
static pil_status receive_reply(struct pil_link *link, size_t bytes_max, uint64_t until_ns, struct pil_error *error) {
    struct pil_resp_reply_cursor cursor = {0};
    for (;;) {
        size_t len = 0;
        pil_status status = pil_resp_reply_length(&cursor, pil_bytes_from(link->in.data, link->in.len), &len);
        if (status == PIL_STATUS_OK && len == link->in.len) {
            return PIL_STATUS_OK;
        }
        if (status != PIL_STATUS_AGAIN) {
            return pil_fail(error, PIL_STATUS_CORRUPT, "the server's reply is not RESP");
        }
        if (link->in.len > FRAME_BYTES && link->in.len - FRAME_BYTES > bytes_max) {
            return pil_fail(error, PIL_STATUS_CORRUPT, "the server's reply has over %zu bytes, more than was asked for",
                            bytes_max);
        }
        if (link->in.len > 0 && pil_clock_monotonic_ns() >= until_ns) {
            return pil_fail(error, PIL_STATUS_TIMEOUT, "the server does not answer in time");
        }
        PIL_TRY(receive_some(link, until_ns, error));
    }
}

/* The error words of schemas/wire.md, "Errors", and those of Redis; any other word means a mistake in the request. */
static pil_status status_of(struct pil_bytes word) {
    static const struct {
        const char *word;
        pil_status status;
    } words[] = {{"NOTFOUND", PIL_STATUS_NOT_FOUND}, {"UNSUPPORTED", PIL_STATUS_UNSUPPORTED},
                 {"TOOLARGE", PIL_STATUS_TOO_LARGE}, {"LOADING", PIL_STATUS_AGAIN},
                 {"NOTREADY", PIL_STATUS_AGAIN},     {"NOPERM", PIL_STATUS_DENIED},
                 {"NOAUTH", PIL_STATUS_DENIED}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (pil_bytes_equal_text(word, words[i].word)) {
            return words[i].status;
        }
    }
    return PIL_STATUS_INVALID;
}

static pil_status fail_reply(struct pil_bytes text, struct pil_error *error) {
    const uint8_t *space = text.len > 0 ? memchr(text.data, ' ', text.len) : NULL;
    size_t word_len = space != NULL ? (size_t)(space - text.data) : text.len;
    size_t skip = space != NULL ? word_len + 1 : 0, len = text.len - skip;
    pil_status status = status_of(pil_bytes_from(text.data, word_len));
    char sentence[512];
    pil_result_copy_sentence(pil_bytes_from(text.data + skip, len), status, sentence, sizeof sentence);
    return pil_fail(error, status, "%s", sentence);
}

pil_status pil_link_ask(struct pil_link *link, size_t bytes_max, uint64_t until_ns, struct pil_bytes *ret_reply,
                        struct pil_error *ret_error) {
    struct pil_resp_value value;
    PIL_ASSERT(link->fd >= 0);
    PIL_TRY(send_all(link, until_ns, ret_error));
    PIL_TRY(receive_reply(link, bytes_max, until_ns, ret_error));
    struct pil_bytes input = pil_bytes_from(link->in.data, link->in.len);
    if (pil_resp_value_next(&input, &value) != PIL_STATUS_OK) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "the server's reply is not RESP");
    }
    switch (value.kind) {
    case PIL_RESP_KIND_ERROR: return fail_reply(value.text, ret_error);
    case PIL_RESP_KIND_BULK:
    case PIL_RESP_KIND_SIMPLE: *ret_reply = value.text; return PIL_STATUS_OK;
    case PIL_RESP_KIND_INTEGER: /* ":12\r\n" */
        *ret_reply = pil_bytes_from(link->in.data + 1, link->in.len - 3);
        return PIL_STATUS_OK;
    case PIL_RESP_KIND_NULL:
    case PIL_RESP_KIND_BOOLEAN:
    case PIL_RESP_KIND_DOUBLE:
    case PIL_RESP_KIND_ARRAY:
    case PIL_RESP_KIND_SET:
    case PIL_RESP_KIND_MAP: break;
    }
    return pil_fail(ret_error, PIL_STATUS_CORRUPT, "the server's reply has another form than was asked for");
}
