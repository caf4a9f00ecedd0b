/* SPDX-License-Identifier: Apache-2.0
 * A server with one worker, all on the thread of the test: a back end of the engine that moves bytes between memory and
 * memory, a clock that stands still until it is told, releases whose values say which release they are of. What the
 * control thread does can be done in the middle of a turn: at any call of the engine. */
#pragma once

#include "support/shard_fixture.h"

#include "base/clock.h"
#include "base/sys.h"
#include "engine/internal.h"
#include "protocol/protocols.h"
#include "schema/project_read.h"
#include "server/internal.h"

#include <sys/socket.h>
#include <unistd.h>

enum {
    WORLD_CONNECTIONS = 36, /* more than a batch answers before it sends */
    WORLD_ARMED = 8,
    WORLD_PROTOCOLS = 3,
    WORLD_VIEWS = 2,
    WORLD_VARIANTS = 6,
    WORLD_PROJECTS = 4,
    WORLD_ROWS = 8,
    WORLD_MOMENTS = 1024,
    WORLD_RUNS = 500,
    WORLD_NUMBER = 9000000, /* values are WORLD_NUMBER + variant * 1000 + view * 100 + feature: exact in a float32 */
    WORLD_TIME_S = 1700000000,
};

/* The other end of a connection. */
struct world_peer {
    bool is_used, is_closed;
    uint32_t protocol;
    int fd;
    struct pil_slot *slot; /* while the engine has it */
    struct pil_text in;    /* all that the peer sends */
    size_t in_at;          /* what of it the worker has had */
    uint32_t piece_bytes;  /* it comes in pieces of this size; 0: whole */
    bool is_ended, is_reset;
    uint64_t room;       /* the peer takes so many bytes more */
    struct pil_text out; /* what it has taken */
    pil_close_reason reason;
    bool is_cut; /* closed with something unsent */
};

/* Something that the control thread does. */
enum { CONTROL_PUBLISH, CONTROL_SWITCH_VIEW, CONTROL_PROJECT, CONTROL_RECLAIM };
struct world_control {
    uint32_t kind, argument;
    uint32_t calls; /* of the engine, until it is done in the middle of a turn; 0: at once */
};

struct world {
    struct pil_settings settings;
    struct pil_server *server;
    struct pil_worker *worker;
    struct world_peer peers[WORLD_CONNECTIONS];
    uint32_t runs_left;      /* until the server is destroyed */
    uint32_t project;        /* the one that is applied; WORLD_PROJECTS: none yet */
    uint32_t first_protocol; /* of peer 0; the others follow */
    /* Which variant of each view was live, -1: none. One entry for each moment. */
    int8_t moments[WORLD_MOMENTS][WORLD_VIEWS];
    uint32_t moment_count;
    bool is_forgetful;                       /* there were more moments than fit */
    struct world_control armed[WORLD_ARMED]; /* one after the other */
    uint32_t armed_count;
};

static struct world world;
static uint64_t world_now_ns; /* since the program began */

/* ---- The clock: -Wl,--wrap=clock_gettime. */

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time) {
    (void)clock;
    *ret_time = (struct timespec){.tv_sec = WORLD_TIME_S + (time_t)(world_now_ns / 1000000000),
                                  .tv_nsec = (long)(world_now_ns % 1000000000)};
    return 0;
}

/* ---- Releases. */

/* View v is keyed by the integers 0 to 7, view w by their texts. */
static const struct {
    const char *key, *features[5];
    uint32_t row_count;
} world_variants[WORLD_VIEWS][WORLD_VARIANTS] = {
    {
        {"int64", {"float32", "int64", "float64", "int32"}, WORLD_ROWS},
        {"int64", {"float32", "int64", "float64", "int32"}, WORLD_ROWS},
        {"int64", {"float32", "", "float64", "int32"}, WORLD_ROWS},
        {"int64", {"float32", "string", "float64", "list<float32>"}, WORLD_ROWS / 2},
        {"string", {"float32", "int64", "float64", "int32"}, WORLD_ROWS},
        {"int64", {"float32", "int64", "float64", "int32"}, 0},
    },
    {
        {"string", {"string", "int32", "list<float32>", "string"}, WORLD_ROWS},
        {"string", {"string", "int32", "list<float32>", "string"}, WORLD_ROWS},
        {"string", {"", "int32", "list<float32>", "string"}, WORLD_ROWS},
        {"string", {"float64", "string", "int32", "int64"}, WORLD_ROWS},
        {"int64", {"string", "int32", "list<float32>", "string"}, WORLD_ROWS / 2},
        {"string", {"string", "int32", "list<float32>", "string"}, 0},
    },
};

static const char *const world_services[WORLD_PROJECTS] = {
    "  - {name: every, features: [v]}\n  - {name: both, features: [v, w]}\n  - {name: one, features: [\"v:f2\"]}\n",
    "  - {name: every, features: [\"v:f3\", \"v:f0\"]}\n  - {name: both, features: [\"w:f1\", \"v:f0\"]}\n",
    "  - {name: one, features: [\"w:f1\"]}\n",
    "",
};

static void world_view_yaml(struct pil_text *yaml, uint32_t view, uint32_t variant) {
    pil_text_format(yaml, "  - name: %c\n    entities: [%s]\n    ttl: %s\n", "vw"[view], view == 0 ? "id" : "name",
                    view == 0 ? "0" : "100s");
    pil_text_format(yaml, "    source: {type: parquet, path: x, timestamp_field: t}\n    features:\n");
    for (uint32_t f = 0; world_variants[view][variant].features[f] != NULL; f++) {
        if (world_variants[view][variant].features[f][0] != '\0') {
            pil_text_format(yaml, "      - {name: f%u, type: \"%s\"}\n", f, world_variants[view][variant].features[f]);
        }
    }
}

static struct pil_project *world_project(const uint32_t variants[WORLD_VIEWS], const char *services) {
    struct pil_text yaml = {0}, problems = {0};
    struct pil_project *project = NULL;
    pil_text_format(&yaml, "project: p\nentities:\n  - {name: id, type: %s}\n  - {name: name, type: %s}\n",
                    world_variants[0][variants[0]].key, world_variants[1][variants[1]].key);
    pil_text_format(&yaml, "feature_views:\n");
    for (uint32_t view = 0; view < WORLD_VIEWS; view++) {
        world_view_yaml(&yaml, view, variants[view]);
    }
    if (services[0] != '\0') {
        pil_text_format(&yaml, "feature_services:\n%s", services);
    }
    if (pil_project_parse_yaml(pil_text_bytes(&yaml), "world", &project, &problems) != PIL_STATUS_OK) {
        fprintf(stderr, "%s%s", pil_text_chars(&yaml), pil_text_chars(&problems));
        PIL_UNREACHABLE("a project of the test's own");
    }
    pil_text_deinit(&yaml);
    pil_text_deinit(&problems);
    return project;
}

/* A number as a value of this scalar type. */
static void world_store(uint8_t *bytes, pil_scalar type, int32_t number) {
    if (type == PIL_SCALAR_FLOAT32) {
        pil_store_f32(bytes, (float)number);
    } else if (type == PIL_SCALAR_FLOAT64) {
        pil_store_f64(bytes, number);
    } else {
        pil_store_i64(bytes, number); /* little-endian: an int32 is the first half */
    }
}

static void world_set_value(struct fixture_row *row, uint32_t feature, struct pil_type type, int32_t number,
                            uint32_t at) {
    char text[64];
    uint8_t bytes[8];
    if (type.shape == PIL_SHAPE_LIST) {
        float list[2] = {(float)number, (float)number};
        fixture_row_set(row, feature, list, at % 3 * sizeof list[0]);
    } else if (type.scalar == PIL_SCALAR_STRING) {
        snprintf(text, sizeof text, at % 2 == 0 ? "t%d" : "\"long\" text of %d\n", number);
        fixture_row_set_text(row, feature, text);
    } else {
        world_store(bytes, type.scalar, number);
        fixture_row_set(row, feature, bytes, pil_scalar_bytes(type.scalar));
    }
}

/* Row r has the key r, is r * 20 s old at the start, and has one value that is null. */
static void world_add_row(struct fixture_table *table, uint32_t at, int32_t number) {
    bool is_text = table->view->entities[0].type == PIL_SCALAR_STRING;
    uint8_t key[8];
    char text[16];
    pil_store_i64(key, at);
    snprintf(text, sizeof text, "%u", at);
    int64_t event_ts_us = (WORLD_TIME_S - (int64_t)at * 20) * 1000000;
    struct fixture_row *row =
        fixture_table_add(table, is_text ? (void *)text : (void *)key, is_text ? strlen(text) : 8, event_ts_us);
    for (uint32_t f = 0; f < table->view->feature_count; f++) {
        if (f != at) {
            world_set_value(row, f, table->view->features[f].type, number + (int32_t)f, at);
        }
    }
}

/* A sealed memfd; made once for all inputs. */
static int world_shard(uint32_t view, uint32_t variant) {
    static int fds[WORLD_VIEWS][WORLD_VARIANTS]; /* + 1; 0: none */
    if (fds[view][variant] != 0) {
        return fds[view][variant] - 1;
    }
    uint32_t variants[WORLD_VIEWS] = {view == 0 ? variant : 0, view == 1 ? variant : 0};
    struct pil_project *project = world_project(variants, "");
    struct fixture_table table = {.view = pil_view_clone(project->views[view].view)};
    struct pil_writer_options options = {0};
    struct pil_writer_result result;
    struct pil_error error = {0};
    int fd = -1;
    for (uint32_t i = 0; i < world_variants[view][variant].row_count; i++) {
        world_add_row(&table, i, (int32_t)(WORLD_NUMBER + variant * 1000 + view * 100));
    }
    PIL_ASSERT(fixture_table_write(&table, &options, &result, &error) == PIL_STATUS_OK);
    PIL_ASSERT(pil_sys_memfd_create("world", &fd, &error) == PIL_STATUS_OK);
    PIL_ASSERT(pil_sys_write_all(fd, fixture_result_bytes(&result), &error) == PIL_STATUS_OK);
    PIL_ASSERT(pil_sys_memfd_seal(fd, &error) == PIL_STATUS_OK);
    pil_writer_result_deinit(&result);
    fixture_table_deinit(&table);
    pil_project_destroy(&project);
    fds[view][variant] = fd + 1;
    return fd;
}

/* ---- The control thread. */

static void world_note_moment(uint32_t view, int8_t variant) {
    if (world.moment_count == WORLD_MOMENTS) {
        world.is_forgetful = true;
        return;
    }
    int8_t *moment = world.moments[world.moment_count];
    memcpy(moment, world.moments[world.moment_count - 1], sizeof world.moments[0]);
    moment[view] = variant;
    world.moment_count++;
}

static void world_publish(uint32_t view, uint32_t variant) {
    struct pil_cache *cache = pil_server_cache(world.server);
    struct pil_cache_view *slot = pil_cache_view_at(cache, view);
    struct pil_release *release = NULL;
    struct pil_serving *serving = NULL;
    char id[PIL_RELEASE_ID_CHARS + 1];
    if (!pil_cache_view_is_served(slot)) {
        return;
    }
    int fd = world_shard(view, variant);
    snprintf(id, sizeof id, "%0*x", PIL_RELEASE_ID_CHARS, view * 16 + variant);
    PIL_ASSERT(pil_cache_release_map(id, &fd, 1, &release, NULL) == PIL_STATUS_OK);
    PIL_ASSERT(pil_serving_create(release, &serving) == PIL_STATUS_OK);
    pil_cache_publish(cache, slot, serving);
    world_note_moment(view, (int8_t)variant);
}

static void world_switch_view(uint32_t view) {
    if (pil_cache_view_is_served(pil_cache_view_at(pil_server_cache(world.server), view))) {
        pil_server_remove_view(world.server, view);
        world_note_moment(view, -1);
    } else {
        PIL_ASSERT(pil_server_add_view(world.server, view) == PIL_STATUS_OK);
    }
}

static void world_set_project(uint32_t index) {
    static const uint32_t variants[WORLD_PROJECTS][WORLD_VIEWS] = {{0, 0}, {0, 0}, {4, 1}, {3, 3}};
    world.project = index;
    struct pil_project *project = world_project(variants[index], world_services[index]);
    PIL_ASSERT(pil_server_set_project(world.server, &project) == PIL_STATUS_OK);
}

static void world_reclaim(void) {
    pil_cache_reclaim(pil_server_cache(world.server), 1 << 20, NULL, NULL);
    pil_server_tick(world.server);
}

static void world_do(struct world_control control) {
    switch (control.kind) {
    case CONTROL_PUBLISH:
        world_publish(control.argument / WORLD_VARIANTS % WORLD_VIEWS, control.argument % WORLD_VARIANTS);
        break;
    case CONTROL_SWITCH_VIEW: world_switch_view(control.argument % WORLD_VIEWS); break;
    case CONTROL_PROJECT: world_set_project(control.argument % WORLD_PROJECTS); break;
    case CONTROL_RECLAIM: world_reclaim(); break;
    default: PIL_UNREACHABLE("a kind of control");
    }
    PIL_ASSERT(pil_cache_validate(pil_server_cache(world.server)));
}

/* What finds no room is done at once, too. */
FIXTURE void world_control(struct world_control control) {
    if (control.calls == 0 || world.armed_count == WORLD_ARMED) {
        world_do(control);
    } else {
        world.armed[world.armed_count++] = control;
    }
}

/* ---- The back end. The linker takes this pil_epoll_ops and leaves the engine's own out. */

/* What the worker still reads is not unmapped, however often the control thread tries. */
static void back_called(void) {
    if (world.armed_count > 0 && --world.armed[0].calls == 0) {
        world_do(world.armed[0]);
        world.armed_count--;
        memmove(&world.armed[0], &world.armed[1], world.armed_count * sizeof world.armed[0]);
        world_reclaim();
    }
}

static struct world_peer *back_peer(const struct pil_slot *slot) {
    for (uint32_t i = 0; i < WORLD_CONNECTIONS; i++) {
        if (world.peers[i].is_used && !world.peers[i].is_closed && world.peers[i].fd == slot->fd) {
            return &world.peers[i];
        }
    }
    PIL_UNREACHABLE("a connection of nobody's");
}

static bool back_update(struct pil_engine *engine, struct pil_slot *slot) {
    (void)engine;
    if (!slot->is_closing) {
        back_peer(slot)->slot = slot;
    }
    return true;
}

/* Each part goes on by itself, so that sends are short in the middle of parts and between them. */
static void back_send(struct pil_engine *engine, struct pil_slot *slot) {
    struct world_peer *peer = back_peer(slot);
    back_called();
    if (peer->is_reset) {
        pil_engine_send_failed(engine, slot);
        return;
    }
    while (peer->room > 0 && slot->message.msg_iovlen > 0) {
        const struct iovec *part = slot->message.msg_iov;
        size_t bytes = part->iov_len < peer->room ? part->iov_len : (size_t)peer->room;
        pil_text_append(&peer->out, part->iov_base, bytes);
        peer->room -= peer->room == UINT64_MAX ? 0 : bytes;
        if (pil_engine_sent(engine, slot, bytes)) {
            return;
        }
    }
}

/* Every piece is a memory of its own, freed when the turn is over: a sanitizer sees who reads it later. */
static void back_receive(struct pil_engine *engine, struct world_peer *peer) {
    enum { PIECES_PER_TURN = 8 };
    struct pil_slot *slot = peer->slot;
    for (int i = 0; i < PIECES_PER_TURN && pil_engine_wants(slot) && pil_engine_has_room(engine); i++) {
        uint64_t bytes = peer->in.len - peer->in_at, share = pil_engine_share(engine, slot);
        if (peer->is_reset || (bytes == 0 && peer->is_ended)) {
            pil_engine_ended(engine, slot, peer->is_reset);
            return;
        }
        bytes = bytes < share ? bytes : share;
        bytes = peer->piece_bytes != 0 && bytes > peer->piece_bytes ? peer->piece_bytes : bytes;
        if (bytes == 0) {
            return;
        }
        struct pil_piece *piece = fixture_alloc(sizeof *piece + bytes);
        *piece = (struct pil_piece){.data = (const uint8_t *)(piece + 1), .len = (uint32_t)bytes, .buffer = -1};
        memcpy(piece + 1, peer->in.data + peer->in_at, bytes);
        peer->in_at += bytes;
        pil_engine_received(engine, slot, piece);
    }
}

static pil_status back_turn(struct pil_engine *engine, uint64_t timeout_ns) {
    (void)timeout_ns;
    engine->has_more = engine->has_sends = false;
    for (uint32_t i = 0; i < WORLD_CONNECTIONS; i++) {
        struct world_peer *peer = &world.peers[i];
        if (peer->slot != NULL && peer->slot->is_sending && !peer->slot->is_sent) {
            back_send(engine, peer->slot);
        }
        if (peer->slot != NULL) {
            back_receive(engine, peer);
        }
    }
    return PIL_STATUS_OK;
}

static void back_close(struct pil_engine *engine, struct pil_slot *slot) {
    struct world_peer *peer = back_peer(slot);
    const struct pil_connection *connection = slot->owner;
    peer->slot = NULL;
    peer->is_closed = true;
    peer->is_cut = connection->output.bytes > 0;
    peer->reason = connection->close_reason;
    pil_engine_closed(engine, slot);
}

static void back_flush(struct pil_engine *engine) {
    (void)engine;
    back_called();
}

static pil_status back_create(struct pil_engine *engine, struct pil_error *ret_error) {
    (void)engine, (void)ret_error;
    return PIL_STATUS_OK;
}

static void back_destroy(struct pil_engine *engine) {
    (void)engine;
}

static bool back_begin(struct pil_engine *engine) {
    (void)engine;
    return false;
}

static void back_give_back(struct pil_engine *engine, struct pil_piece *piece) {
    (void)engine, (void)piece;
    PIL_UNREACHABLE("no piece is of the pool");
}

const struct pil_engine_ops pil_epoll_ops = {
    .create = back_create,
    .destroy = back_destroy,
    .begin = back_begin,
    .turn = back_turn,
    .update = back_update,
    .send = back_send,
    .close = back_close,
    .give_back = back_give_back,
    .flush = back_flush,
};

/* ---- Life. */

static void world_set_limits(bool is_narrow) {
    world.settings.slowlog_us = is_narrow ? 0 : 1000000;
    world.settings.limits = (struct pil_limits){.connections_max = 2 * WORLD_CONNECTIONS,
                                                .request_bytes_max = is_narrow ? 2000 : 1 << 20,
                                                .arguments_max = is_narrow ? 64 : 32768,
                                                .requests_per_turn = is_narrow ? 3 : 256,
                                                .keys_per_request_max = is_narrow ? 16 : 4096,
                                                .values_per_request_max = is_narrow ? 40 : 8192,
                                                .output_bytes_max = is_narrow ? 1 << 10 : 1 << 24,
                                                .output_stall_ms = 10000,
                                                .client_memory_max = is_narrow ? 1 << 20 : 1 << 28,
                                                .request_timeout_ms = 5000};
}

static void world_create(void) {
    static const int no_listeners[WORLD_PROTOCOLS] = {-1, -1, -1};
    struct pil_error error = {0};
    world.settings.view_count = WORLD_VIEWS;
    world.settings.listener_count = WORLD_PROTOCOLS;
    world.settings.worker_count = 1;
    world.settings.engine = PIL_ENGINE_EPOLL;
    world_set_limits(false);
    for (uint32_t i = 0; i < WORLD_PROTOCOLS; i++) {
        world.settings.listeners[i].protocol = i; /* PIL_PROTOCOL_RESP, FEAST, OIP */
    }
    for (uint32_t i = 0; i < WORLD_VIEWS; i++) {
        struct pil_view_settings *view = &world.settings.views[i];
        view->project[0] = 'p';
        view->view[0] = "vw"[i];
        view->channel[0] = 'c';
    }
    PIL_ASSERT(pil_server_create(&world.settings, pil_protocols, WORLD_PROTOCOLS, no_listeners, &world.server,
                                 &error) == PIL_STATUS_OK);
    world.worker = &world.server->workers[0];
    PIL_ASSERT(pil_worker_open(world.worker, &error) == PIL_STATUS_OK);
    PIL_ASSERT(pil_worker_listen(world.worker, &error) == PIL_STATUS_OK);
    world.project = WORLD_PROJECTS;
    world.runs_left = WORLD_RUNS;
}

static void world_destroy(void) {
    if (world.server != NULL) {
        pil_worker_close(world.worker);
        pil_server_destroy(&world.server);
    }
}

/* A server takes about ten times as long to make as a small program to run. It is kept for some, and put back here into
 * a state that answers cannot tell from a new one's. */
static void world_reset(void) {
    struct pil_cache *cache = pil_server_cache(world.server);
    for (uint32_t i = 0; i < WORLD_VIEWS; i++) {
        struct pil_cache_view *view = pil_cache_view_at(cache, i);
        if (pil_cache_view_is_served(view)) {
            pil_cache_view_remove(cache, i);
        }
        PIL_ASSERT(pil_cache_view_define(cache, i, view->project, view->name, view->channel) == PIL_STATUS_OK);
        view->generation = 0;
    }
    pil_projects_note_change(world.server->projects);
    for (uint32_t i = 0; i < PIL_LANES && world.worker->lanes[i] != NULL; i++) {
        struct pil_turn *turn = &world.worker->lanes[i]->turn;
        pil_prepared_cache_destroy(&turn->prepared); /* it knows plans by generations */
        turn->prepared = pil_prepared_cache_create();
        PIL_ASSERT(turn->prepared != NULL);
    }
    world_now_ns = 0;
    world.worker->swept_ns = world.worker->turn->now_ns = pil_clock_monotonic_ns();
    atomic_store(&world.server->connection_id_next, 0);
    memset(world.peers, 0, sizeof world.peers);
    memset(world.moments[0], -1, sizeof world.moments[0]);
    world.moment_count = 1;
    world.armed_count = 0;
    world.is_forgetful = false;
}

/* Bits of `choice`: 1 narrow limits, 2 rows that have expired are hidden, 4 and 8 how statuses are told, 16 and 32 the
 * first protocol, 64 nothing is served, 128 every slice of an answer is over at once. */
static void world_start(uint8_t choice) {
    if (world.server == NULL) {
        world_create();
    }
    world_reset();
    world_set_limits((choice & 1) != 0);
    for (uint32_t i = 0; i < WORLD_PROTOCOLS; i++) {
        world.settings.listeners[i].hide_expired = (choice & 2) != 0;
        world.settings.listeners[i].statuses = (choice >> 2 & 3) % (PIL_STATUS_MODE_FEAST_GO + 1);
    }
    world.server->slice_ns = (choice & 128) != 0 ? 0 : PIL_SLICE_NS;
    world.first_protocol = (choice >> 4 & 3) % WORLD_PROTOCOLS;
    uint32_t project = (choice & 64) != 0 ? WORLD_PROJECTS - 1 : 0;
    if (world.project != project) {
        world_set_project(project);
    }
    for (uint32_t i = 0; i < WORLD_VIEWS && (choice & 64) == 0; i++) {
        world_publish(i, 0);
    }
}

/* The peers are gone; the server is destroyed from time to time. */
static void world_end(void) {
    for (uint32_t i = 0; i < WORLD_CONNECTIONS; i++) {
        pil_text_deinit(&world.peers[i].in);
        pil_text_deinit(&world.peers[i].out);
    }
    if (--world.runs_left == 0) {
        world_destroy();
    }
}

/* Connects the peer if it is not. */
static struct world_peer *world_peer(uint32_t index) {
    struct world_peer *peer = &world.peers[index];
    if (!peer->is_used) {
        *peer = (struct world_peer){.is_used = true,
                                    .protocol = (world.first_protocol + index) % WORLD_PROTOCOLS,
                                    .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
                                    .room = UINT64_MAX};
        PIL_ASSERT(peer->fd >= 0);
        PIL_ASSERT(pil_connection_create(world.worker->turn, &world.settings.listeners[peer->protocol], peer->fd) !=
                   NULL);
    }
    return peer;
}

static void world_validate(void) {
    PIL_ASSERT(pil_batch_validate(world.worker->turn->batch) && world.worker->turn->batch->request_count == 0);
    PIL_ASSERT(pil_cache_validate(pil_server_cache(world.server)));
    PIL_LIST_EACH(struct pil_connection, link, connection, &world.worker->connections) {
        PIL_ASSERT(pil_connection_validate(connection) && (connection->pending == 0 || connection->lane != NULL));
    }
}

static void world_turn(void) {
    PIL_ASSERT(pil_worker_turn(world.worker) == PIL_STATUS_OK);
    world_validate();
}

/* All peers have said everything and take everything: every connection ends, and everything retired is reclaimed. */
static void world_drain(void) {
    size_t turns_left = 100;
    for (uint32_t i = 0; i < WORLD_CONNECTIONS; i++) {
        world.peers[i].is_ended = true;
        world.peers[i].room = UINT64_MAX;
        turns_left += world.peers[i].in.len;
    }
    for (; world.worker->connection_count > 0; turns_left--) {
        PIL_ASSERT(turns_left > 0);
        world_turn();
    }
    world_turn();
    for (int left = 100; pil_cache_retired_count(pil_server_cache(world.server)) > 0; left--) {
        PIL_ASSERT(left > 0);
        world_reclaim();
        world_turn();
    }
}
