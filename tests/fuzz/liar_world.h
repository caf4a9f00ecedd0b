/* SPDX-License-Identifier: Apache-2.0
 * A server in this process that answers libpillion's requests and lies where a script says so: both listeners, behind
 * the system calls that the library makes (--wrap). Time is the world's, too: it passes while the library waits, so
 * that a call which waits longer than it may is seen at once. */
#pragma once

#include "base/address.h"
#include "base/fdpass.h"
#include "client/client.h"
#include "support/cache_fixture.h"
#include "wire/columns.h"
#include "wire/resp.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

enum {
    LIAR_FEATURES = 7,
    LIAR_ROWS = 16,
    LIAR_FDS = 1024,
    LIAR_PLAN_FEATURES = 8,
    LIAR_PACKETS = 16,
    LIAR_REQUEST_BYTES = 65536,
    LIAR_VIEWS = 2, /* p/v, p/w */
};
#define LIAR_TICK_NS 10000000ull

/* What was granted: the honest release of each view, and others. */
typedef enum liar_shard {
    LIAR_SHARD_V,
    LIAR_SHARD_W,
    LIAR_SHARD_FEWER,     /* p/v with three features */
    LIAR_SHARD_OTHER_KEY, /* p/v with another join key */
    LIAR_SHARD_UNSEALED,
    LIAR_SHARD_SHORT,
    LIAR_SHARD_COUNT
} liar_shard;

/* A feature of a plan that a connection has. */
struct liar_plan {
    uint32_t count, views[LIAR_PLAN_FEATURES], features[LIAR_PLAN_FEATURES];
    uint32_t element_bytes;
};

/* A connection to the resp listener. */
struct liar_peer {
    struct liar_plan plans[PIL_LINK_PLANS];
    uint32_t plan_count;
    struct pil_text request, reply;
    size_t at;
    bool is_closed, is_slow;
};

struct liar_packet {
    uint8_t bytes[PIL_MAPPED_MESSAGE_BYTES_MAX];
    size_t len;
    liar_shard shards[4];
    uint32_t fd_count;
    int fd; /* -1, or one that is not a shard; closed with the packet */
};

static struct liar {
    struct pil_bytes script;
    uint64_t lies, now_ns;
    bool is_lying;  /* the current answer has numbers that may be wrong */
    uint32_t types; /* which types features have; 0: float32 */
    struct liar_peer *peers[LIAR_FDS];
    int mapped_fd; /* -1: not connected */
    struct liar_packet packets[LIAR_PACKETS];
    uint32_t packet_count;
    /* Made once. */
    int shards[LIAR_SHARD_COUNT], page_fd;
    struct pil_mapped_control *control;
} liar;

/* ---- The script. When it is over, everything is honest. */

static inline uint8_t liar_take(void) {
    if (liar.script.len == 0) {
        return 0;
    }
    uint8_t first = liar.script.data[0];
    liar.script = pil_bytes_from(liar.script.data + 1, liar.script.len - 1);
    return first;
}

static inline uint32_t liar_maybe(uint32_t honest) {
    uint8_t what = liar.is_lying ? liar_take() : 0;
    if (what < 128) {
        return honest;
    }
    liar.lies++;
    switch (what % 8) {
    case 0: return 0;
    case 1: return honest + 1;
    case 2: return honest - 1;
    case 3: return honest * 2;
    case 4: return UINT32_MAX;
    case 5: return 1u << 20;
    case 6: return 16;
    default: return liar_take();
    }
}

/* One of some texts, the first of which is honest. */
static inline const char *liar_text(const char *honest, const char *const *others, size_t count) {
    uint8_t what = liar.is_lying ? liar_take() : 0;
    if (what < 160) {
        return honest;
    }
    liar.lies++;
    return others[what % count];
}

/* ---- Types and names. */

static inline struct pil_type liar_type(uint32_t feature) {
    static const struct pil_type types[] = {{.scalar = PIL_SCALAR_FLOAT32},
                                            {.scalar = PIL_SCALAR_STRING},
                                            {.scalar = PIL_SCALAR_FLOAT32, .shape = PIL_SHAPE_VECTOR, .dimension = 3},
                                            {.scalar = PIL_SCALAR_INT32, .shape = PIL_SHAPE_LIST},
                                            {.scalar = PIL_SCALAR_BYTES, .shape = PIL_SHAPE_LIST},
                                            {.scalar = PIL_SCALAR_BOOL},
                                            {.scalar = PIL_SCALAR_INT64}};
    return types[feature * liar.types % (sizeof types / sizeof types[0])];
}

static inline uint32_t liar_width(uint32_t feature) {
    struct pil_type type = liar_type(feature);
    return pil_type_is_reference(type) ? 0 : type.shape == PIL_SHAPE_VECTOR ? type.dimension : 1;
}

static inline uint32_t liar_plan_width(const struct liar_plan *plan) {
    uint32_t width = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        width += liar_width(plan->features[i]);
    }
    return width;
}

/* The views of a plan in the order of first use; returns their number. */
static inline uint32_t liar_plan_views(const struct liar_plan *plan, uint32_t views[LIAR_VIEWS]) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        if (count == 0 || (count == 1 && views[0] != plan->views[i])) {
            views[count++] = plan->views[i];
        }
    }
    return count;
}

static inline void liar_put(struct pil_text *text, const char *more) {
    pil_text_append(text, more, strlen(more));
}

static inline void liar_reply(struct liar_peer *peer, const void *bytes, size_t len) {
    char head[32];
    int head_len = snprintf(head, sizeof head, "$%zu\r\n", len);
    pil_text_append(&peer->reply, head, (size_t)head_len);
    pil_text_append(&peer->reply, bytes, len);
    liar_put(&peer->reply, "\r\n");
}

/* ---- Answers over resp. */

static inline void liar_on_plan(struct liar_peer *peer, const struct pil_resp_request *request) {
    struct liar_plan plan = {.element_bytes = 4};
    for (uint32_t i = 1; i < request->arg_count; i++) {
        struct pil_bytes arg = request->args[i];
        plan.element_bytes = pil_bytes_equal_text(arg, "FLOAT64") ? 8 : plan.element_bytes;
        const uint8_t *colon = memchr(arg.data, ':', arg.len);
        if (colon != NULL && plan.count < LIAR_PLAN_FEATURES) {
            plan.views[plan.count] = colon[-1] == 'w';
            plan.features[plan.count++] = (uint32_t)(arg.data[arg.len - 1] - '0') % LIAR_FEATURES;
        }
    }
    for (uint32_t i = 0, count = plan.count; count == 0 && i < 4; i++) { /* the service */
        plan.views[i] = i == 3;
        plan.features[i] = i;
        plan.count = i + 1;
    }
    uint32_t number = peer->plan_count++ % PIL_LINK_PLANS;
    peer->plans[number] = plan;
    pil_text_format(&peer->reply, ":%u\r\n", liar_maybe(number + 1));
}

static inline void liar_on_describe(struct liar_peer *peer, const struct liar_plan *plan) {
    static const char *const names[] = {"", "f0", "x", "v", "p/w", "p/v", "q/v", "id"};
    static const char *const types[] = {"int64", "string", "list<string>", "vector<float32,9>", "nothing", ""};
    struct pil_text text = {0};
    uint32_t views[LIAR_VIEWS], view_count = liar_maybe(liar_plan_views(plan, views)), first = 0;
    pil_text_format(&text, "{\"width\":%u,\"join_keys\":[", liar_maybe(liar_plan_width(plan)));
    for (uint32_t i = 0, count = liar_maybe(1) % 32; i < count; i++) {
        pil_text_format(&text, "%s{\"name\":\"%s\",\"type\":\"%s\"}", i > 0 ? "," : "", liar_text("id", names, 8),
                        liar_text("int64", types, 6));
    }
    pil_text_format(&text, "],\"views\":[");
    for (uint32_t i = 0; i < view_count % 32; i++) {
        pil_text_format(&text, "%s{\"name\":\"%s\"}", i > 0 ? "," : "",
                        liar_text(i < LIAR_VIEWS && views[i] == 1 ? "p/w" : "p/v", names, 8));
    }
    pil_text_format(&text, "],\"features\":[");
    for (uint32_t i = 0, count = liar_maybe(plan->count) % 64; i < count; i++) {
        uint32_t feature = i < plan->count ? plan->features[i] : 0, width = liar_width(feature);
        char type[PIL_TYPE_TEXT_BYTES], name[8];
        (void)pil_type_format(liar_type(feature), type);
        snprintf(name, sizeof name, "f%u", feature);
        uint32_t slot = i < plan->count && plan->views[i] != views[0];
        pil_text_format(&text, "%s{\"view\":%u,\"name\":\"%s\",\"type\":\"%s\",\"first\":%u,\"count\":%u}",
                        i > 0 ? "," : "", liar_maybe(slot), liar_text(name, names, 8), liar_text(type, types, 6),
                        liar_maybe(width > 0 ? first : 0), liar_maybe(width));
        first += width;
    }
    pil_text_format(&text, "]}");
    liar_reply(peer, pil_text_chars(&text), text.len);
    pil_text_deinit(&text);
}

/* Some bytes of an answer become others. */
static inline void liar_spoil(uint8_t *bytes, size_t len) {
    while (liar.is_lying && liar_take() >= 192 && len > 0) {
        size_t at = (liar_take() * 256u + liar_take()) % len;
        bytes[at] = liar_take();
        liar.lies++;
    }
}

static inline size_t liar_cut(size_t bytes) {
    bool is_cut = liar.is_lying && liar_take() > 200;
    liar.lies += is_cut;
    return is_cut ? bytes - bytes / 3 : bytes;
}

static inline void liar_put_views(const struct liar_plan *plan, uint32_t count, struct pil_tensor_view *ret_views) {
    uint32_t views[LIAR_VIEWS];
    (void)liar_plan_views(plan, views);
    for (uint32_t i = 0; i < count && i < PIL_TENSOR_VIEWS_MAX; i++) {
        ret_views[i] = (struct pil_tensor_view){.generation = liar_maybe(1)};
        snprintf(ret_views[i].release, sizeof ret_views[i].release, "%016x", liar_maybe(1));
    }
}

static inline void liar_on_vector(struct liar_peer *peer, const struct liar_plan *plan, uint32_t rows) {
    uint32_t views[LIAR_VIEWS];
    struct pil_tensor_head head = {.element_bytes = liar_maybe(plan->element_bytes) % 16,
                                   .rows = liar_maybe(rows) % 4096,
                                   .features = liar_maybe(plan->count) % 256,
                                   .width = liar_maybe(liar_plan_width(plan)) % 256,
                                   .view_count = liar_maybe(liar_plan_views(plan, views)) % 17};
    liar_put_views(plan, head.view_count, head.views);
    pil_tensor_layout(&head);
    uint8_t *answer = calloc(1, head.bytes);
    PIL_ASSERT(answer != NULL);
    (void)pil_tensor_put_head(&head, answer);
    memset(answer + head.statuses_at, PIL_VALUE_PRESENT, (size_t)head.rows * head.features);
    liar_spoil(answer, head.bytes);
    liar_reply(peer, answer, liar_cut(head.bytes));
    free(answer);
}

static inline struct pil_column_record liar_record(const struct liar_plan *plan, uint32_t index, uint32_t rows) {
    struct pil_column_record record = {.type = liar_type(liar_maybe(index < plan->count ? plan->features[index] : 0))};
    switch (pil_column_form_of(record.type)) {
    case PIL_COLUMN_FIXED: record.value_bytes = (uint64_t)rows * pil_type_row_bytes(record.type); break;
    case PIL_COLUMN_TEXTS: record.value_bytes = rows; break;
    case PIL_COLUMN_NUMBERS: record.value_bytes = 4ull * rows; break;
    case PIL_COLUMN_LISTS:
        record.child_count = rows + 1ull;
        record.value_bytes = rows;
        break;
    }
    return record;
}

/* One text, number or list of one text in each row. */
static inline void liar_put_column(uint8_t *answer, uint32_t rows, const struct pil_column_record *record) {
    memset(answer + record->statuses_at, PIL_VALUE_PRESENT, rows);
    for (uint32_t i = 0; i <= rows; i++) {
        if (record->offsets_at != 0) {
            pil_store_u32(answer + record->offsets_at + i * 4, i);
        }
        if (record->children_at != 0) {
            pil_store_u32(answer + record->children_at + i * 4, i);
        }
    }
}

static inline void liar_on_columns(struct liar_peer *peer, const struct liar_plan *plan, uint32_t rows) {
    uint32_t views[LIAR_VIEWS];
    struct pil_columns_head head = {.rows = liar_maybe(rows) % 4096,
                                    .columns = liar_maybe(plan->count) % 64,
                                    .view_count = liar_maybe(liar_plan_views(plan, views)) % 17};
    struct pil_column_record records[64];
    liar_put_views(plan, head.view_count, head.views);
    pil_columns_layout(&head);
    head.bytes = head.data_at;
    for (uint32_t i = 0; i < head.columns; i++) {
        records[i] = liar_record(plan, i, head.rows);
        head.bytes = pil_column_place(head.rows, &records[i], head.bytes);
    }
    uint8_t *answer = calloc(1, head.bytes);
    PIL_ASSERT(answer != NULL);
    (void)pil_columns_put_head(&head, answer);
    for (uint32_t i = 0; i < head.columns; i++) {
        pil_columns_put_record(&records[i], answer + head.records_at + (size_t)i * PIL_COLUMNS_RECORD_BYTES);
        liar_put_column(answer, head.rows, &records[i]);
    }
    liar_spoil(answer, head.bytes);
    liar_reply(peer, answer, liar_cut(head.bytes));
    free(answer);
}

static inline void liar_answer_honestly(struct liar_peer *peer, const struct pil_resp_request *request) {
    struct pil_bytes command = request->args[0];
    if (pil_bytes_equal_text(command, "PING") || pil_bytes_equal_text(command, "PIL.FORGET")) {
        liar_put(&peer->reply, "+OK\r\n");
        return;
    }
    if (pil_bytes_equal_text(command, "PIL.PLAN")) {
        liar_on_plan(peer, request);
        return;
    }
    uint32_t number = (uint32_t)strtoul((const char *)request->args[1].data, NULL, 10);
    const struct liar_plan *plan = &peer->plans[(number - 1) % PIL_LINK_PLANS];
    bool is_packed = command.data[command.len - 1] == '4';
    uint32_t rows = is_packed ? (uint32_t)(request->args[2].len / 8) : request->arg_count - 2;
    if (pil_bytes_equal_text(command, "PIL.DESCRIBE")) {
        liar_on_describe(peer, plan);
    } else if (command.data[4] == 'V') {
        liar_on_vector(peer, plan, rows);
    } else {
        liar_on_columns(peer, plan, rows);
    }
}

/* Answers that have nothing to do with the question. Returns false if `how` is none of them. */
static inline bool liar_answer_otherwise(struct liar_peer *peer, uint8_t how) {
    static const char *const texts[] = {"-TOOLARGE no\r\n",
                                        "-LOADING no\r\n",
                                        "-NOTFOUND no\r\n",
                                        "-ERR no\r\n",
                                        "-NOPERM no\r\n",
                                        "-NOTREADY no\r\n",
                                        ":7\r\n",
                                        "$-1\r\n",
                                        "_\r\n",
                                        "+\r\n",
                                        "*2\r\n:1\r\n:2\r\n",
                                        "*1\r\n*1\r\n*1\r\n*1\r\n",
                                        "$99\r\nx\r\n",
                                        "%1\r\n"};
    if (how < 16) {
        liar_put(&peer->reply, texts[how % (sizeof texts / sizeof texts[0])]);
        return true;
    }
    switch (how) {
    case 16: peer->is_closed = true; return true;
    case 17: return true; /* silence */
    case 18:
        for (uint8_t left = liar_take() % 64; left > 0; left--) {
            uint8_t byte = liar_take();
            pil_text_append(&peer->reply, &byte, 1);
        }
        return true;
    case 19: /* more than anybody asked for */
        liar_put(&peer->reply, "$2000000000\r\n");
        for (int i = 0; i < 8192; i++) {
            liar_put(&peer->reply, "0123456789abcdef0123456789abcdef");
        }
        return true;
    case 20: peer->is_slow = true; return false;
    default: return false;
    }
}

static inline void liar_answer(struct liar_peer *peer, const struct pil_resp_request *request) {
    uint8_t how = liar_take();
    peer->is_slow = false;
    liar.is_lying = how >= 192;
    if (how >= 128 && how < 192 && liar_answer_otherwise(peer, how - 128)) {
        liar.lies++;
    } else {
        liar.lies += peer->is_slow;
        liar_answer_honestly(peer, request);
    }
    liar.is_lying = false;
}

/* ---- The mapped listener. */

static inline struct liar_packet *liar_packet(void) {
    struct liar_packet *packet = &liar.packets[liar.packet_count < LIAR_PACKETS ? liar.packet_count++ : 0];
    if (packet->fd >= 0) {
        close(packet->fd);
    }
    *packet = (struct liar_packet){.fd = -1};
    return packet;
}

static inline void liar_send(struct liar_packet *packet, struct pil_mapped_message message) {
    static const pil_mapped_type types[] = {PIL_MAPPED_WELCOME, PIL_MAPPED_CATALOG, PIL_MAPPED_GRANT,
                                            PIL_MAPPED_REFUSE,  PIL_MAPPED_LOCATE,  PIL_MAPPED_DROP};
    uint8_t what = liar.is_lying ? liar_take() : 0;
    if (what >= 240) {
        message.type = types[what % (sizeof types / sizeof types[0])];
        liar.lies++;
    }
    message.view = liar_maybe(message.view);
    message.index = liar_maybe(message.index);
    message.count = liar_maybe(message.count);
    message.generation = liar_maybe((uint32_t)message.generation);
    packet->len = pil_mapped_encode(&message, packet->bytes);
}

static inline void liar_refuse(uint32_t view, uint32_t code) {
    liar_send(liar_packet(), (struct pil_mapped_message){.type = PIL_MAPPED_REFUSE,
                                                         .view = view,
                                                         .code = code,
                                                         .text = pil_bytes_from_text("the script says no")});
}

static inline void liar_on_catalog(void) {
    static const char *const names[] = {"", "w", "v", "q", "p"};
    static const char *const documents[] = {"", "[]", "{\"views\":[],\"projects\":[]}",
                                            "{\"views\":[null,5,{}],\"projects\":[null]}"};
    struct liar_packet *packet = liar_packet();
    struct pil_text text = {0};
    struct pil_error error;
    pil_text_format(&text, "{\"views\":[");
    for (uint32_t i = 0, count = liar_maybe(LIAR_VIEWS) % 80; i < count; i++) {
        pil_text_format(&text, "%s{\"index\":%u,\"project\":\"%s\",\"name\":\"%s\"}", i > 0 ? "," : "", liar_maybe(i),
                        liar_text("p", names, 5), liar_text(i % 2 == 0 ? "v" : "w", names, 5));
    }
    pil_text_format(&text, "],\"projects\":[{\"project\":\"p\",\"feature_services\":[{\"name\":\"s\",\"features\":"
                           "[\"v:f0\",\"v:f1\",\"v:f2\",\"w:f3\"]}]}]}");
    const char *document = liar_text(pil_text_chars(&text), documents, 4);
    PIL_ASSERT(pil_sys_memfd_create("liar", &packet->fd, &error) == PIL_STATUS_OK);
    PIL_ASSERT(pil_sys_write_all(packet->fd, pil_bytes_from_text(document), &error) == PIL_STATUS_OK);
    packet->fd_count = liar_maybe(1) % 2;
    liar_send(packet, (struct pil_mapped_message){.type = PIL_MAPPED_CATALOG,
                                                  .generation = atomic_load(&liar.control->catalog_generation)});
    pil_text_deinit(&text);
}

static inline void liar_on_acquire(uint32_t view) {
    static const char *const ids[] = {"", "x", "000000000000000", "ABCDEF0123456789", "00000000000000001"};
    uint32_t count = liar.is_lying && liar_take() >= 192 ? 2 : 1;
    for (uint32_t i = 0; i < count; i++) {
        struct liar_packet *packet = liar_packet();
        packet->shards[0] = (liar_shard)(liar_maybe(view % LIAR_VIEWS) % LIAR_SHARD_COUNT);
        packet->shards[1] = packet->shards[2] = packet->shards[3] = packet->shards[0];
        packet->fd_count = liar_maybe(1) % 5;
        liar_send(packet, (struct pil_mapped_message){
                              .type = PIL_MAPPED_GRANT,
                              .view = view,
                              .index = i,
                              .count = count,
                              .generation = atomic_load(&liar.control->views[view % PIL_MAPPED_VIEWS_MAX].generation),
                              .text = pil_bytes_from_text(liar_text("0000000000000001", ids, 5))});
    }
    liar.lies += count > 1;
}

static inline void liar_answer_mapped(const struct pil_mapped_message *message) {
    switch (message->type) {
    case PIL_MAPPED_HELLO: {
        struct liar_packet *packet = liar_packet();
        packet->fd = fcntl(liar.page_fd, F_DUPFD_CLOEXEC, 0);
        packet->fd_count = liar_maybe(1) % 2;
        liar_send(packet, (struct pil_mapped_message){
                              .type = PIL_MAPPED_WELCOME, .index = PIL_MAPPED_VERSION, .count = LIAR_VIEWS});
        break;
    }
    case PIL_MAPPED_CATALOG: liar_on_catalog(); break;
    case PIL_MAPPED_ACQUIRE: liar_on_acquire(message->view); break;
    case PIL_MAPPED_LOCATE: {
        struct pil_mapped_message answer = *message;
        answer.number = 1;
        liar_send(liar_packet(), answer);
        break;
    }
    case PIL_MAPPED_DROP: break;
    case PIL_MAPPED_WELCOME:
    case PIL_MAPPED_GRANT:
    case PIL_MAPPED_REFUSE: PIL_UNREACHABLE("a client sends what only servers send");
    }
}

static inline void liar_on_packet(struct pil_bytes bytes) {
    struct pil_mapped_message message;
    uint8_t how = liar_take();
    PIL_ASSERT(pil_mapped_decode(bytes, &message, NULL) == PIL_STATUS_OK);
    liar.is_lying = how >= 160;
    if (how >= 128 && how < 160) {
        liar.lies++;
        switch (how % 8) {
        case 0: liar.mapped_fd = -1; break; /* the connection ends */
        case 1: break;                      /* silence */
        case 2: liar_refuse(message.view, how / 8 % PIL_STATUS_COUNT); break;
        case 3: liar_packet()->len = liar_take() % 60; break;
        case 4: liar_refuse(message.view, PIL_STATUS_BUSY); break;
        case 5:
            liar_answer_mapped(&message);
            liar_refuse(message.view, PIL_STATUS_AGAIN);
            break;
        case 6:
            liar_on_catalog();
            liar_answer_mapped(&message);
            break;
        default: liar_refuse(message.view, PIL_STATUS_DENIED); break;
        }
    } else {
        liar_answer_mapped(&message);
    }
    liar.is_lying = false;
}

/* ---- System calls of the library, and what it receives descriptors with. */

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);
int __wrap_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len);
ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *bytes, size_t len, int flags);
pil_status __wrap_pil_fdpass_send(int socket, struct pil_bytes data, const int *fds, uint32_t fd_count, bool block);
pil_status __wrap_pil_fdpass_receive(int socket, bool block, void *buffer, size_t capacity,
                                     struct pil_fdpass_received *ret_received);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time) {
    uint64_t now_ns =
        liar.now_ns + (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE ? 1700000000000000000u : 0);
    *ret_time = (struct timespec){.tv_sec = (time_t)(now_ns / 1000000000), .tv_nsec = (long)(now_ns % 1000000000)};
    return 0;
}

static inline struct liar_peer *liar_peer(int fd) {
    PIL_ASSERT(fd >= 0 && fd < LIAR_FDS && liar.peers[fd] != NULL);
    return liar.peers[fd];
}

static inline void liar_forget_peer(int fd) {
    if (liar.peers[fd] != NULL) {
        pil_text_deinit(&liar.peers[fd]->request);
        pil_text_deinit(&liar.peers[fd]->reply);
        free(liar.peers[fd]);
        liar.peers[fd] = NULL;
    }
}

int __wrap_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
    PIL_ASSERT(count == 1 && mask == NULL && timeout != NULL);
    bool is_ready = false;
    if ((fds->events & POLLOUT) != 0) {
        is_ready = true;
    } else if (fds->fd == liar.mapped_fd) {
        is_ready = liar.packet_count > 0;
    } else if (fds->fd < LIAR_FDS && liar.peers[fds->fd] != NULL) {
        const struct liar_peer *peer = liar.peers[fds->fd];
        is_ready = peer->is_closed || peer->at < peer->reply.len;
        liar.now_ns += peer->is_slow && is_ready ? LIAR_TICK_NS : 0;
    } else {
        is_ready = true; /* the mapped connection has ended */
    }
    if (!is_ready) {
        liar.now_ns += (uint64_t)timeout->tv_sec * 1000000000u + (uint64_t)timeout->tv_nsec;
    }
    return is_ready;
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len) {
    const struct sockaddr_un *path = (const struct sockaddr_un *)address;
    (void)len;
    PIL_ASSERT(fd < LIAR_FDS);
    if (liar_take() >= 240) {
        liar.lies++;
        errno = ECONNREFUSED;
        return -1;
    }
    liar_forget_peer(fd); /* the number was another connection's */
    liar.mapped_fd = liar.mapped_fd == fd ? -1 : liar.mapped_fd;
    if (strcmp(path->sun_path, "mapped") == 0) {
        liar.mapped_fd = fd;
        liar.packet_count = 0;
        return 0;
    }
    liar.peers[fd] = calloc(1, sizeof *liar.peers[fd]);
    PIL_ASSERT(liar.peers[fd] != NULL);
    return 0;
}

ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags) {
    static const struct pil_resp_limits limits = {
        .args_max = 128, .bulk_bytes_max = LIAR_REQUEST_BYTES, .request_bytes_max = LIAR_REQUEST_BYTES};
    struct liar_peer *peer = liar_peer(fd);
    struct pil_bytes args[128];
    struct pil_resp_request request = {.args = args};
    struct pil_resp_cursor cursor = {0};
    (void)flags;
    pil_text_append(&peer->request, bytes, len);
    PIL_ASSERT(pil_resp_decode(&cursor, pil_text_bytes(&peer->request), &limits, &request) == PIL_STATUS_OK);
    pil_text_deinit(&peer->reply);
    peer->reply = (struct pil_text){0};
    peer->at = 0;
    liar_answer(peer, &request);
    pil_text_deinit(&peer->request);
    peer->request = (struct pil_text){0};
    return (ssize_t)len;
}

ssize_t __wrap_recv(int fd, void *bytes, size_t len, int flags) {
    struct liar_peer *peer = liar_peer(fd);
    size_t left = peer->reply.len - peer->at;
    (void)flags;
    if (left == 0 || peer->is_closed) {
        errno = EAGAIN;
        return peer->is_closed ? 0 : -1;
    }
    if (peer->is_slow) { /* every other call finds nothing, so that the library waits for each byte */
        liar.now_ns += LIAR_TICK_NS;
    }
    size_t got = peer->is_slow ? 1 : left < len ? left : len;
    memcpy(bytes, pil_text_chars(&peer->reply) + peer->at, got);
    peer->at += got;
    return (ssize_t)got;
}

pil_status __wrap_pil_fdpass_send(int socket, struct pil_bytes data, const int *fds, uint32_t fd_count, bool block) {
    (void)fds;
    PIL_ASSERT(fd_count == 0 && !block);
    if (socket != liar.mapped_fd) {
        return PIL_STATUS_CLOSED;
    }
    liar_on_packet(data);
    return PIL_STATUS_OK;
}

pil_status __wrap_pil_fdpass_receive(int socket, bool block, void *buffer, size_t capacity,
                                     struct pil_fdpass_received *ret_received) {
    PIL_ASSERT(!block);
    if (socket != liar.mapped_fd) {
        return PIL_STATUS_CLOSED;
    }
    if (liar.packet_count == 0) {
        return PIL_STATUS_AGAIN;
    }
    struct liar_packet packet = liar.packets[0];
    memmove(liar.packets, liar.packets + 1, --liar.packet_count * sizeof liar.packets[0]);
    liar.packets[liar.packet_count].fd = -1;
    PIL_ASSERT(packet.len <= capacity);
    memcpy(buffer, packet.bytes, packet.len);
    *ret_received = (struct pil_fdpass_received){.bytes = packet.len, .fd_count = packet.fd_count};
    for (uint32_t i = 0; i < packet.fd_count; i++) {
        int from = packet.fd >= 0 ? packet.fd : liar.shards[packet.shards[i]];
        ret_received->fds[i] = fcntl(from, F_DUPFD_CLOEXEC, 0);
        PIL_ASSERT(ret_received->fds[i] >= 0);
    }
    pil_sys_close(&packet.fd);
    return PIL_STATUS_OK;
}

/* ---- Life. */

static inline int liar_make_shard(uint32_t features, const char *view_name, const char *key) {
    struct pil_project *project = fixture_project(features);
    struct pil_view *view = pil_view_clone(project->views[0].view);
    PIL_ASSERT(view != NULL);
    memcpy(view->name, view_name, 1);
    memcpy(view->entities[0].join_key, key, 2);
    int fd = fixture_shard(view, LIAR_ROWS, 1, 0, 0);
    pil_view_destroy(&view);
    pil_project_destroy(&project);
    return fd;
}

static inline void liar_make(void) {
    struct pil_error error;
    liar.shards[LIAR_SHARD_V] = liar_make_shard(LIAR_FEATURES, "v", "id");
    liar.shards[LIAR_SHARD_W] = liar_make_shard(LIAR_FEATURES, "w", "id");
    liar.shards[LIAR_SHARD_FEWER] = liar_make_shard(3, "v", "id");
    liar.shards[LIAR_SHARD_OTHER_KEY] = liar_make_shard(LIAR_FEATURES, "v", "no");
    PIL_ASSERT(pil_sys_memfd_create("liar", &liar.shards[LIAR_SHARD_UNSEALED], &error) == PIL_STATUS_OK);
    PIL_ASSERT(pil_sys_memfd_create("liar", &liar.shards[LIAR_SHARD_SHORT], &error) == PIL_STATUS_OK);
    PIL_ASSERT(pil_sys_write_all(liar.shards[LIAR_SHARD_SHORT], pil_bytes_from_text("PILSHARD"), &error) ==
               PIL_STATUS_OK);
    PIL_ASSERT(pil_sys_memfd_seal(liar.shards[LIAR_SHARD_SHORT], &error) == PIL_STATUS_OK);
    PIL_ASSERT(pil_sys_memfd_create("liar", &liar.page_fd, &error) == PIL_STATUS_OK);
    PIL_ASSERT(ftruncate(liar.page_fd, sizeof *liar.control) == 0);
    void *page = mmap(NULL, sizeof *liar.control, PROT_READ | PROT_WRITE, MAP_SHARED, liar.page_fd, 0);
    PIL_ASSERT(page != MAP_FAILED);
    liar.control = page;
    PIL_ASSERT(
        fcntl(liar.page_fd, F_ADD_SEALS, PIL_SYS_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
}

static inline void liar_begin(struct pil_bytes script) {
    if (liar.control == NULL) {
        liar_make();
    }
    liar.script = script;
    liar.lies = liar.types = liar.packet_count = 0;
    liar.now_ns = 1000000000000;
    liar.mapped_fd = -1;
    for (uint32_t i = 0; i < LIAR_PACKETS; i++) {
        liar.packets[i].fd = -1;
    }
    memset(liar.control, 0, sizeof *liar.control);
    liar.control->magic = PIL_MAPPED_CONTROL_MAGIC;
    liar.control->version = PIL_MAPPED_VERSION;
    liar.control->view_count = LIAR_VIEWS;
    atomic_store(&liar.control->state, PIL_MAPPED_SERVING);
    atomic_store(&liar.control->catalog_generation, 1);
    atomic_store(&liar.control->heartbeat_ns, liar.now_ns);
    atomic_store(&liar.control->views[0].generation, 1);
    atomic_store(&liar.control->views[1].generation, 1);
}

static inline void liar_end(void) {
    for (int fd = 0; fd < LIAR_FDS; fd++) {
        liar_forget_peer(fd);
    }
    for (uint32_t i = 0; i < LIAR_PACKETS; i++) {
        pil_sys_close(&liar.packets[i].fd);
    }
}
