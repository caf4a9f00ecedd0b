/* SPDX-License-Identifier: Apache-2.0
 * A blocking connection over a Unix socket, with one buffer each way. */
#include "embed/run.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { IN_BYTES = 1 << 18 };

void embed_link_open(struct embed_link *link, const struct embed_options *options) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (options->address == NULL || strncmp(options->address, "unix:", 5) != 0 ||
        strlen(options->address + 5) >= sizeof address.sun_path) {
        embed_fail(options->reader->name, "needs --address unix:PATH of its server");
    }
    memcpy(address.sun_path, options->address + 5, strlen(options->address + 5) + 1);
    *link = (struct embed_link){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
                                .address = options->address,
                                .in = malloc(IN_BYTES),
                                .in_capacity = IN_BYTES};
    if (link->fd < 0 || link->in == NULL || connect(link->fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        embed_fail(options->address, strerror(errno));
    }
}

void embed_link_close(struct embed_link *link) {
    close(link->fd);
    free(link->in);
    pil_text_deinit(&link->out);
}

void embed_link_send(struct embed_link *link) {
    for (size_t at = 0; at < link->out.len;) {
        ssize_t sent = send(link->fd, link->out.data + at, link->out.len - at, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            embed_fail(link->address, strerror(errno));
        }
        at += sent > 0 ? (size_t)sent : 0;
    }
    pil_text_clear(&link->out);
}

/* Moves the bytes that were not taken to the front when there is no room behind them. */
static void receive(struct embed_link *link, size_t wanted) {
    if (link->in_begin + wanted > link->in_capacity) {
        memmove(link->in, link->in + link->in_begin, link->in_end - link->in_begin);
        link->in_end -= link->in_begin;
        link->in_begin = 0;
    }
    if (wanted > link->in_capacity) {
        link->in_capacity = 2 * wanted;
        link->in = realloc(link->in, link->in_capacity);
        if (link->in == NULL) {
            embed_fail(link->address, "no memory");
        }
    }
    ssize_t got = recv(link->fd, link->in + link->in_end, link->in_capacity - link->in_end, 0);
    if (got == 0 || (got < 0 && errno != EINTR)) {
        embed_fail(link->address, got == 0 ? "the server closed the connection" : strerror(errno));
    }
    link->in_end += got > 0 ? (size_t)got : 0;
}

static void rewind_when_empty(struct embed_link *link) {
    if (link->in_begin == link->in_end) {
        link->in_begin = link->in_end = 0;
    }
}

const uint8_t *embed_link_take(struct embed_link *link, size_t bytes) {
    rewind_when_empty(link);
    while (link->in_end - link->in_begin < bytes) {
        receive(link, bytes);
    }
    link->in_begin += bytes;
    return link->in + link->in_begin - bytes;
}

const char *embed_link_line(struct embed_link *link, size_t *ret_len) {
    rewind_when_empty(link);
    for (size_t seen = 0;;) {
        const uint8_t *begin = link->in + link->in_begin;
        const uint8_t *end = memchr(begin + seen, '\n', link->in_end - link->in_begin - seen);
        if (end != NULL) {
            *ret_len = (size_t)(end - begin) - (end > begin && end[-1] == '\r' ? 1 : 0);
            link->in_begin = (size_t)(end - link->in) + 1;
            return (const char *)begin;
        }
        seen = link->in_end - link->in_begin;
        receive(link, seen + 1);
    }
}

size_t embed_key_text(const struct embed_options *options, uint64_t key, char ret_text[EMBED_KEY_BYTES]) {
    char digits[24];
    size_t at = sizeof digits, len = strlen(options->key_prefix);
    do {
        digits[--at] = (char)('0' + key % 10);
        key /= 10;
    } while (key > 0);
    memcpy(ret_text, options->key_prefix, len);
    memcpy(ret_text + len, digits + at, sizeof digits - at);
    return len + sizeof digits - at;
}

uint64_t embed_link_server_bytes(const struct embed_link *link) {
    struct ucred peer = {0};
    socklen_t len = sizeof peer;
    return getsockopt(link->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 ? embed_memory_of(peer.pid, "Pss") : 0;
}
