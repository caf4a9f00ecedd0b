/* SPDX-License-Identifier: Apache-2.0
 * The table combines one function for each type of field into the encoder and the decoder. On the wire: a magic and the
 * kind, then the fields in order, little-endian; a length precedes each text. */
#include "supervise/message.h"
#include "base/fdpass.h"
#include "base/panic.h"
#include "base/sys.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { MESSAGE_MAGIC = 0x50494c4d, HEAD_BYTES = 8, SEND_TIMEOUT_S = 10, BUFFER_BYTES = 1 << 20 };

struct row {
    const char *name;
    uint32_t routes;
    bool has_fd;
};

static const struct row rows[PIL_MESSAGE_KIND_COUNT] = {
#define TO_SERVER PIL_ROUTE_TO_SERVER
#define TO_FETCHER PIL_ROUTE_TO_FETCHER
#define FROM_SERVER PIL_ROUTE_FROM_SERVER
#define FROM_FETCHER PIL_ROUTE_FROM_FETCHER
#define PIL_MESSAGE(KIND, name, routes, has_fd, fields) [PIL_MESSAGE_##KIND] = {#name, routes, has_fd},
#include "supervise/messages.def"
#undef PIL_MESSAGE
};

const char *pil_message_kind_text(pil_message_kind kind) {
    return kind > PIL_MESSAGE_NONE && kind < PIL_MESSAGE_KIND_COUNT ? rows[kind].name : "none";
}

bool pil_message_has_fd(pil_message_kind kind) {
    return rows[kind].has_fd;
}

void pil_message_close(struct pil_message *message) {
    if (rows[message->kind].has_fd) {
        pil_sys_close(&message->fd);
    }
}

const char *pil_fetch_outcome_text(pil_fetch_outcome outcome) {
    static const char *const texts[PIL_OUTCOME_COUNT] = {"ok",        "corrupt",  "will_not_fit",
                                                         "not_found", "shortage", "error"};
    PIL_ASSERT(outcome < PIL_OUTCOME_COUNT);
    return texts[outcome];
}

/* ---- Encoding: every message of the table fits into PIL_MESSAGE_BYTES_MAX. */

struct writer {
    uint8_t *at;
};

static void put_u32(struct writer *writer, uint32_t value) {
    pil_store_u32(writer->at, value);
    writer->at += sizeof value;
}

static void put_u64(struct writer *writer, uint64_t value) {
    pil_store_u64(writer->at, value);
    writer->at += sizeof value;
}

static void put_i64(struct writer *writer, int64_t value) {
    put_u64(writer, (uint64_t)value);
}

static void put_view(struct writer *writer, uint32_t view_index) {
    PIL_ASSERT(view_index < PIL_SERVED_VIEWS_MAX);
    put_u32(writer, view_index);
}

static void put_any_release(struct writer *writer, const char *release) {
    size_t len = strlen(release);
    PIL_ASSERT(len == 0 || len == PIL_RELEASE_ID_CHARS);
    memset(writer->at, 0, PIL_RELEASE_ID_CHARS);
    memcpy(writer->at, release, len);
    writer->at += PIL_RELEASE_ID_CHARS;
}

static void put_release(struct writer *writer, const char *release) {
    PIL_ASSERT(release[0] != '\0');
    put_any_release(writer, release);
}

static void put_place(struct writer *writer, struct pil_shard_place place) {
    PIL_ASSERT(place.index < place.count);
    put_u32(writer, place.index);
    put_u32(writer, place.count);
}

static void put_outcome(struct writer *writer, pil_fetch_outcome outcome) {
    put_u32(writer, outcome);
}

static void put_flag(struct writer *writer, bool flag) {
    *writer->at++ = flag;
}

static void put_text(struct writer *writer, const char *text) {
    size_t len = strlen(text);
    PIL_ASSERT(len < PIL_MESSAGE_TEXT_BYTES);
    put_u32(writer, (uint32_t)len);
    memcpy(writer->at, text, len);
    writer->at += len;
}

#define PIL_FIELD(type, name) put_##type(writer, payload->name);
#define PIL_NO_FIELD (void)writer, (void)payload;
#define PIL_MESSAGE(KIND, name, routes, has_fd, fields) \
    static void encode_##name(struct writer *writer, const struct pil_message_##name *payload) { \
        fields \
    }
#include "supervise/messages.def"
#undef PIL_MESSAGE
#undef PIL_FIELD
#undef PIL_NO_FIELD

size_t pil_message_encode(const struct pil_message *message, uint8_t ret_bytes[PIL_MESSAGE_BYTES_MAX]) {
    struct writer writer = {ret_bytes};
    put_u32(&writer, MESSAGE_MAGIC);
    put_u32(&writer, message->kind);
    switch (message->kind) {
#define PIL_MESSAGE(KIND, name, routes, has_fd, fields) \
    case PIL_MESSAGE_##KIND: \
        encode_##name(&writer, &message->name); \
        break;
#include "supervise/messages.def"
#undef PIL_MESSAGE
    case PIL_MESSAGE_NONE:
    case PIL_MESSAGE_KIND_COUNT: PIL_UNREACHABLE("a message without a kind");
    }
    size_t len = (size_t)(writer.at - ret_bytes);
    PIL_ASSERT(len <= PIL_MESSAGE_BYTES_MAX);
    return len;
}

/* ---- Decoding: functions return false for a value that is not valid. */

struct reader {
    struct pil_bytes left;
};

static const uint8_t *take(struct reader *reader, size_t bytes) {
    if (reader->left.len < bytes) {
        return NULL;
    }
    const uint8_t *at = reader->left.data;
    reader->left = pil_bytes_from(at + bytes, reader->left.len - bytes);
    return at;
}

static bool take_u32(struct reader *reader, uint32_t *ret_value) {
    const uint8_t *at = take(reader, sizeof *ret_value);
    if (at != NULL) {
        *ret_value = pil_load_u32(at);
    }
    return at != NULL;
}

static bool take_u64(struct reader *reader, uint64_t *ret_value) {
    const uint8_t *at = take(reader, sizeof *ret_value);
    if (at != NULL) {
        *ret_value = pil_load_u64(at);
    }
    return at != NULL;
}

static bool take_i64(struct reader *reader, int64_t *ret_value) {
    uint64_t value = 0;
    bool is_there = take_u64(reader, &value);
    *ret_value = (int64_t)value;
    return is_there;
}

static bool take_view(struct reader *reader, uint32_t *ret_view_index) {
    return take_u32(reader, ret_view_index) && *ret_view_index < PIL_SERVED_VIEWS_MAX;
}

static bool is_hex(uint8_t byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');
}

static bool take_any_release(struct reader *reader, char (*ret_release)[PIL_RELEASE_ID_CHARS + 1]) {
    const uint8_t *at = take(reader, PIL_RELEASE_ID_CHARS);
    uint32_t digits = 0, zeros = 0;
    for (uint32_t i = 0; at != NULL && i < PIL_RELEASE_ID_CHARS; i++) {
        digits += is_hex(at[i]);
        zeros += at[i] == 0;
    }
    if (digits != PIL_RELEASE_ID_CHARS && zeros != PIL_RELEASE_ID_CHARS) {
        return false;
    }
    memcpy(*ret_release, at, PIL_RELEASE_ID_CHARS);
    (*ret_release)[PIL_RELEASE_ID_CHARS] = '\0';
    return true;
}

static bool take_release(struct reader *reader, char (*ret_release)[PIL_RELEASE_ID_CHARS + 1]) {
    return take_any_release(reader, ret_release) && (*ret_release)[0] != '\0';
}

static bool take_place(struct reader *reader, struct pil_shard_place *ret_place) {
    return take_u32(reader, &ret_place->index) && take_u32(reader, &ret_place->count) &&
           ret_place->index < ret_place->count && ret_place->count <= 1u << PIL_SHARD_BITS_MAX;
}

static bool take_outcome(struct reader *reader, pil_fetch_outcome *ret_outcome) {
    uint32_t value = 0;
    bool is_valid = take_u32(reader, &value) && value < PIL_OUTCOME_COUNT;
    *ret_outcome = is_valid ? (pil_fetch_outcome)value : PIL_OUTCOME_ERROR;
    return is_valid;
}

static bool take_flag(struct reader *reader, bool *ret_flag) {
    const uint8_t *at = take(reader, 1);
    bool is_valid = at != NULL && *at <= 1;
    *ret_flag = is_valid && *at == 1;
    return is_valid;
}

static bool take_text(struct reader *reader, char (*ret_text)[PIL_MESSAGE_TEXT_BYTES]) {
    uint32_t len = 0;
    if (!take_u32(reader, &len) || len >= PIL_MESSAGE_TEXT_BYTES) {
        return false;
    }
    const uint8_t *at = take(reader, len);
    if (at == NULL || memchr(at, 0, len) != NULL) {
        return false;
    }
    memcpy(*ret_text, at, len);
    (*ret_text)[len] = '\0';
    return true;
}

#define PIL_FIELD(type, name) &&take_##type(reader, &payload->name)
#define PIL_NO_FIELD &&reader != NULL &&payload != NULL
#define PIL_MESSAGE(KIND, name, routes, has_fd, fields) \
    static bool decode_##name(struct reader *reader, struct pil_message_##name *payload) { \
        return true fields; \
    }
#include "supervise/messages.def"
#undef PIL_MESSAGE
#undef PIL_FIELD
#undef PIL_NO_FIELD

static bool decode_payload(struct reader *reader, struct pil_message *message) {
    switch (message->kind) {
#define PIL_MESSAGE(KIND, name, routes, has_fd, fields) \
    case PIL_MESSAGE_##KIND: \
        return decode_##name(reader, &message->name);
#include "supervise/messages.def"
#undef PIL_MESSAGE
    case PIL_MESSAGE_NONE:
    case PIL_MESSAGE_KIND_COUNT: break;
    }
    return false;
}

pil_status pil_message_decode(struct pil_bytes bytes, uint32_t fd_count, pil_message_route route,
                              struct pil_message *ret_message) {
    struct reader reader = {bytes};
    uint32_t magic = 0, kind = 0;
    if (!take_u32(&reader, &magic) || magic != MESSAGE_MAGIC || !take_u32(&reader, &kind) ||
        kind >= PIL_MESSAGE_KIND_COUNT) {
        return PIL_STATUS_CORRUPT;
    }
    const struct row *row = &rows[kind];
    if ((row->routes & route) == 0 || fd_count != row->has_fd) {
        return PIL_STATUS_CORRUPT;
    }
    struct pil_message message = {.kind = (pil_message_kind)kind, .fd = -1};
    if (!decode_payload(&reader, &message) || reader.left.len != 0) {
        return PIL_STATUS_CORRUPT;
    }
    *ret_message = message;
    return PIL_STATUS_OK;
}

/* ---- Sockets. */

pil_status pil_message_pair(int ret_fds[2], struct pil_error *ret_error) {
    struct timeval timeout = {.tv_sec = SEND_TIMEOUT_S};
    int bytes = BUFFER_BYTES;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds) != 0) {
        return pil_fail(ret_error, pil_status_from_errno(errno), "socketpair: %s", strerror(errno));
    }
    for (int i = 0; i < 2; i++) {
        setsockopt(ret_fds[i], SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
        setsockopt(ret_fds[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    }
    return PIL_STATUS_OK;
}

pil_status pil_message_send(int socket, const struct pil_message *message) {
    uint8_t bytes[PIL_MESSAGE_BYTES_MAX];
    size_t len = pil_message_encode(message, bytes);
    return pil_fdpass_send(socket, pil_bytes_from(bytes, len), &message->fd, rows[message->kind].has_fd, true);
}

pil_status pil_message_receive(int socket, pil_message_route route, bool block, struct pil_message *ret_message) {
    uint8_t bytes[PIL_MESSAGE_BYTES_MAX];
    struct pil_fdpass_received received = {0};
    pil_status status = pil_fdpass_receive(socket, block, bytes, sizeof bytes, &received);
    if (status == PIL_STATUS_TOO_LARGE) {
        return PIL_STATUS_CORRUPT;
    }
    bool is_fd_lost = status == PIL_STATUS_SYSTEM && received.bytes > 0;
    if (!is_fd_lost) {
        PIL_TRY(status);
    }
    uint32_t fd_count = is_fd_lost ? 1 : received.fd_count;
    status = pil_message_decode(pil_bytes_from(bytes, received.bytes), fd_count, route, ret_message);
    if (status != PIL_STATUS_OK) {
        pil_fdpass_close(&received);
        return status;
    }
    ret_message->fd = received.fd_count == 1 ? received.fds[0] : -1;
    return PIL_STATUS_OK;
}

pil_status pil_message_blob(const void *data, size_t bytes, int *ret_fd, struct pil_error *ret_error) {
    int fd = -1;
    PIL_TRY(pil_sys_memfd_create("pillion-blob", &fd, ret_error));
    pil_status status = pil_sys_write_all(fd, pil_bytes_from(data, bytes), ret_error);
    if (status == PIL_STATUS_OK) {
        status = pil_sys_memfd_seal(fd, ret_error);
    }
    if (status != PIL_STATUS_OK) {
        pil_sys_close(&fd);
        return status;
    }
    *ret_fd = fd;
    return PIL_STATUS_OK;
}
