/* SPDX-License-Identifier: Apache-2.0
 * The world around a follower, simulated: a store in memory whose calls fail at random, a supervisor that admits,
 * holds and drops, a server that serves or does not, threads as a list of jobs that end later, and a clock that the
 * test moves. */
#pragma once

#include "base/sys.h"
#include "follow/follow.h"
#include "release/shard_io.h"
#include "schema/project_read.h"
#include "snapshot/writer.h"
#include "support/fault_store.h"
#include "support/memory_store.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define WORLD __attribute__((unused)) static

enum { VIEWS = 3, RELEASES = 4, SHARDS = 2, SHARD_BITS = 1, ROWS = 8, EVENTS_MAX = 64, JOBS_MAX = 8 };
enum { POLL_MS = 10000, DELAY_MS_MAX = 2000, SETTLE_S = 400 };
static const uint64_t ms = 1000000, second = 1000000000;

/* ---- What is in the store when nothing is damaged; made once */

struct golden_object {
    char name[PIL_STORE_NAME_BYTES];
    struct pil_text content;
};

struct golden_release {
    struct pil_release_ref ref;
    struct golden_object manifest, shards[SHARDS];
};

static struct golden_release golden[VIEWS][RELEASES];
static struct pil_follow_view views[VIEWS] = {
    {"alpha", "v0", "production"}, {"alpha", "v1", "production"}, {"beta", "v2", "staging"}};

static struct pil_project *golden_project(uint32_t v) {
    struct pil_text yaml = {0}, problems = {0};
    struct pil_project *project = NULL;
    pil_text_format(&yaml,
                    "project: %s\nentities:\n  - {name: driver, join_key: driver_id, type: int64}\nfeature_views:\n"
                    "  - name: %s\n    entities: [driver]\n    ttl: 1d\n"
                    "    source: {type: parquet, path: x.parquet, timestamp_field: ts}\n"
                    "    features:\n      - {name: rate, type: float32}\n",
                    views[v].project, views[v].view);
    PIL_ASSERT(pil_project_parse_yaml(pil_text_bytes(&yaml), "model", &project, &problems) == PIL_STATUS_OK);
    pil_text_deinit(&yaml);
    pil_text_deinit(&problems);
    return project;
}

static void golden_shard(const struct pil_view *view, uint32_t seed, uint32_t shard, struct golden_object *object,
                         struct pil_manifest_shard *ret_shard) {
    uint8_t rows[ROWS][64] = {{0}};
    struct pil_writer_row writer_rows[ROWS];
    struct pil_writer_result file;
    const struct pil_writer_options options = {.shard_index = shard, .shard_bits = SHARD_BITS};
    uint32_t count = 0;
    for (int64_t key = 0; count < ROWS; key++) {
        uint8_t bytes[8];
        pil_store_i64(bytes, key);
        if (pil_shard_of(pil_hash_shard(pil_bytes_from(bytes, 8)), SHARD_BITS) == shard) {
            pil_store_i64(rows[count], key);
            pil_store_i64(rows[count] + view->layout.event_ts_offset, 1000000 + key);
            pil_store_f32(rows[count] + view->features[0].offset, (float)seed);
            writer_rows[count] = (struct pil_writer_row){.row = rows[count]};
            count++;
        }
    }
    PIL_ASSERT(pil_writer_finish(view, &options, writer_rows, ROWS, &file, NULL) == PIL_STATUS_OK);
    *ret_shard = (struct pil_manifest_shard){.id = file.id, .bytes = file.bytes, .row_count = file.row_count};
    pil_layout_shard(&file.id, object->name);
    pil_text_append(&object->content, file.data, file.bytes);
    pil_writer_result_deinit(&file);
}

static void golden_make(uint32_t v, uint32_t r) {
    struct golden_release *release = &golden[v][r];
    struct pil_project *project = golden_project(v);
    struct pil_manifest_shard shards[SHARDS];
    struct pil_manifest manifest = {.view = project->views[0].view, .shards = shards, .shard_count = SHARDS};
    for (uint32_t s = 0; s < SHARDS; s++) {
        golden_shard(manifest.view, v * 100 + r, s, &release->shards[s], &shards[s]);
        manifest.row_count += shards[s].row_count;
        manifest.bytes += shards[s].bytes;
    }
    manifest.created_us = 1700000000000000 + r;
    memcpy(manifest.ref.project, views[v].project, sizeof manifest.ref.project);
    memcpy(manifest.ref.view, views[v].view, sizeof manifest.ref.view);
    PIL_ASSERT(pil_manifest_identify(manifest.view, shards, SHARDS, manifest.ref.release, NULL) == PIL_STATUS_OK);
    release->ref = manifest.ref;
    pil_layout_manifest(&manifest.ref, release->manifest.name);
    json_t *document = pil_manifest_to_json(&manifest, NULL);
    char *text = json_dumps(document, JSON_COMPACT | JSON_SORT_KEYS);
    pil_text_append(&release->manifest.content, text, strlen(text));
    free(text);
    json_decref(document);
    pil_project_destroy(&project);
}

WORLD void golden_init(void) {
    for (uint32_t v = 0; v < VIEWS; v++) {
        for (uint32_t r = 0; r < RELEASES; r++) {
            golden_make(v, r);
        }
    }
}

WORLD void golden_deinit(void) {
    for (uint32_t v = 0; v < VIEWS; v++) {
        for (uint32_t r = 0; r < RELEASES; r++) {
            pil_text_deinit(&golden[v][r].manifest.content);
            for (uint32_t s = 0; s < SHARDS; s++) {
                pil_text_deinit(&golden[v][r].shards[s].content);
            }
        }
    }
}

WORLD uint32_t golden_find(uint32_t v, const char *release) {
    for (uint32_t r = 0; r < RELEASES; r++) {
        if (strcmp(golden[v][r].ref.release, release) == 0) {
            return r;
        }
    }
    return RELEASES;
}

/* ---- Randomness and time */

struct model_view {
    uint64_t sequence;              /* of the channel in the store */
    uint32_t wanted, pinned;        /* RELEASES: none */
    uint32_t live;                  /* as the server has it; RELEASES: none */
    uint32_t offered;               /* to the server, which has not answered; RELEASES: none */
    uint32_t told_live;             /* as the follower must have it: the last answer OK that it got; RELEASES: none */
    uint32_t shards_here[RELEASES]; /* bits: verified shards that the supervisor holds */
    uint32_t was_dropped[RELEASES]; /* how often, and the follower is not told yet */
    uint32_t checked;               /* release of the last POLL; RELEASES: none since the last hand-over */
    uint32_t polled;                /* release of the last POLL, whatever came after it */
    uint64_t checked_sequence, published_sequence;
    uint32_t refused; /* reported failure; RELEASES: none, or something else happened since */
    uint64_t refused_ns;
    bool project_seen; /* the supervisor has it, or there is none */
};

typedef enum event_kind {
    EVENT_ADMITTED,
    EVENT_TAKEN,
    EVENT_PUBLISHED,
    EVENT_DROPPED,
    EVENT_NUDGE,
} event_kind;
struct event {
    uint64_t at_ns;
    event_kind kind;
    uint32_t view, release;
    bool is_yes; /* of ADMITTED, TAKEN and PUBLISHED */
};

struct running {
    struct pil_job *job;
    uint64_t at_ns;
};

struct world {
    uint64_t seed, random, now_ns, step;
    struct pil_store *store, *plain; /* with faults; without, for the world itself */
    struct fault_plan plan;
    bool is_calm, is_out, refuses_admission; /* is_out: the store answers nothing */
    uint32_t fault_permille;
    struct pil_clock clock;
    struct pil_follow_hooks hooks;
    struct pil_follow *follow;
    struct model_view views[VIEWS];
    struct event events[EVENTS_MAX];
    uint32_t event_count;
    uint64_t told_ns; /* when the supervisor's last message arrives: they come in order */
    struct running running[JOBS_MAX];
    uint32_t running_count;
    uint32_t admitted_view, admitted_release; /* VIEWS: nobody */
    uint64_t published, fetched, failed, abandoned;
    uint8_t *buffer;
};

static uint64_t seed_of_now; /* for the handler of SIGABRT */

#define CHECK(world, condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "PIL_SEED=%llu step %llu: %s:%d: %s\n", (unsigned long long)(world)->seed, \
                    (unsigned long long)(world)->step, __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

WORLD uint64_t below(struct world *world, uint64_t bound) { /* splitmix64 */
    uint64_t z = (world->random += 0x9e3779b97f4a7c15ull);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return (z ^ z >> 31) % bound;
}

WORLD uint64_t virtual_ns(void *context) {
    return ((struct world *)context)->now_ns;
}

/* Mostly short, sometimes long. */
WORLD uint64_t delay_ns(struct world *world) {
    return below(world, 4) != 0 ? below(world, 50) * ms : below(world, DELAY_MS_MAX) * ms;
}

WORLD void add_event(struct world *world, struct event event) {
    if (world->event_count < EVENTS_MAX) {
        event.at_ns = world->now_ns + delay_ns(world);
        if (event.kind != EVENT_NUDGE) {
            event.at_ns = event.at_ns > world->told_ns ? event.at_ns : world->told_ns + 1;
            world->told_ns = event.at_ns;
        }
        world->events[world->event_count++] = event;
    } else {
        PIL_ASSERT(event.kind == EVENT_NUDGE); /* of these one more or less is the same */
    }
}

/* ---- The store */

WORLD void put_object(struct world *world, const char *name, struct pil_bytes content) {
    PIL_ASSERT(pil_store_put(world->plain, name, content, pil_store_always(), NULL, NULL) == PIL_STATUS_OK);
}

WORLD uint32_t effective(const struct model_view *view) {
    return view->pinned != RELEASES ? view->pinned : view->wanted;
}

/* Writes the channel anew and, mostly, a watch tells. */
WORLD void put_channel(struct world *world, uint32_t v) {
    struct model_view *view = &world->views[v];
    char name[PIL_STORE_NAME_BYTES], pinned[64] = "null";
    struct pil_text text = {0};
    const char *release = golden[v][view->wanted].ref.release;
    view->sequence++;
    if (view->pinned != RELEASES) {
        snprintf(pinned, sizeof pinned, "\"%s\"", golden[v][view->pinned].ref.release);
    }
    pil_text_format(
        &text,
        "{\"changed_us\":1,\"channel\":\"%s\",\"format\":1,\"history\":[{\"act\":\"promote\",\"changed_us\":1,"
        "\"release\":\"%s\",\"sequence\":%llu}],\"nonce\":\"0\",\"pinned\":%s,\"project\":\"%s\","
        "\"release\":\"%s\",\"sequence\":%llu,\"view\":\"%s\"}",
        views[v].channel, release, (unsigned long long)view->sequence, pinned, views[v].project, release,
        (unsigned long long)view->sequence, views[v].view);
    pil_layout_channel(&golden[v][0].ref, views[v].channel, name);
    put_object(world, name, pil_text_bytes(&text));
    pil_text_deinit(&text);
    if (below(world, 3) != 0) {
        add_event(world, (struct event){.kind = EVENT_NUDGE});
    }
}

WORLD void repair(struct world *world) {
    for (uint32_t v = 0; v < VIEWS; v++) {
        for (uint32_t r = 0; r < RELEASES; r++) {
            put_object(world, golden[v][r].manifest.name, pil_text_bytes(&golden[v][r].manifest.content));
            for (uint32_t s = 0; s < SHARDS; s++) {
                put_object(world, golden[v][r].shards[s].name, pil_text_bytes(&golden[v][r].shards[s].content));
            }
        }
    }
}

/* Removes, shortens or changes one object of one release. */
WORLD void damage(struct world *world) {
    const struct golden_release *release = &golden[below(world, VIEWS)][below(world, RELEASES)];
    uint64_t part = below(world, SHARDS + 1);
    const struct golden_object *object = part < SHARDS ? &release->shards[part] : &release->manifest;
    struct pil_text bad = {0};
    switch (below(world, 3)) {
    case 0: pil_ignore(pil_store_remove(world->plain, object->name, pil_store_always(), NULL), "or it is gone"); return;
    case 1: pil_text_append(&bad, object->content.data, (size_t)below(world, object->content.len)); break;
    default:
        pil_text_append(&bad, object->content.data, object->content.len);
        bad.data[below(world, bad.len)] ^= (char)(1 + below(world, 255));
    }
    put_object(world, object->name, pil_text_bytes(&bad));
    pil_text_deinit(&bad);
}

WORLD void change_channel(struct world *world) {
    uint32_t v = (uint32_t)below(world, VIEWS);
    struct model_view *view = &world->views[v];
    uint64_t act = below(world, 5);
    if (act == 0) {
        view->pinned = (uint32_t)below(world, RELEASES);
    } else if (act == 1) {
        view->pinned = RELEASES;
    } else {
        view->wanted = (uint32_t)below(world, RELEASES); /* a promotion, or a rollback */
    }
    put_channel(world, v);
}

/* Before each call of the follower's store: time passes, others write, and some calls fail. */
WORLD struct fault choose_fault(void *context, const struct fault_call *call) {
    struct world *world = context;
    static const pil_status statuses[] = {PIL_STATUS_IO,       PIL_STATUS_TIMEOUT, PIL_STATUS_DENIED,
                                          PIL_STATUS_NO_SPACE, PIL_STATUS_SYSTEM,  PIL_STATUS_NOT_FOUND};
    (void)call;
    if (world->is_calm) {
        return (struct fault){.status = PIL_STATUS_OK};
    }
    world->now_ns += below(world, 5) * ms;
    if (below(world, 40) == 0) {
        change_channel(world);
    }
    if (world->is_out || below(world, 1000) < world->fault_permille) {
        return (struct fault){.status = statuses[below(world, sizeof statuses / sizeof statuses[0])]};
    }
    return (struct fault){.status = PIL_STATUS_OK};
}

/* ---- The supervisor */

WORLD bool is_whole(const struct model_view *view, uint32_t release) {
    return view->shards_here[release] == (1u << SHARDS) - 1;
}

/* Whether shards of the release that was admitted last are on their way. */
WORLD bool is_loading(const struct world *world) {
    if (world->admitted_view == VIEWS) {
        return false;
    }
    const struct pil_target *target = pil_follow_target(world->follow, world->admitted_view);
    bool is_reading = target->step == PIL_FOLLOW_READ_PROJECT || target->step == PIL_FOLLOW_POLL;
    pil_follow_kind step = is_reading ? target->resume : target->step;
    return target->is_fetching && step >= PIL_FOLLOW_FETCH && step <= PIL_FOLLOW_HAND_OVER &&
           golden_find(world->admitted_view, target->fetch.release) == world->admitted_release;
}

WORLD pil_status model_ask(void *context, uint32_t v, const char *release, uint64_t bytes) {
    struct world *world = context;
    uint32_t r = golden_find(v, release);
    CHECK(world, r < RELEASES && bytes > 0);
    CHECK(world, !is_loading(world) || world->admitted_view == v); /* one release at a time is loaded */
    bool admits = world->is_calm || (!world->refuses_admission && below(world, 8) != 0);
    world->admitted_view = v;
    world->admitted_release = r;
    add_event(world, (struct event){.kind = EVENT_ADMITTED, .view = v, .release = r, .is_yes = admits});
    return PIL_STATUS_OK;
}

WORLD pil_status model_hand_over(void *context, const struct pil_task *task, const char *release, uint32_t shard_count,
                                 int fd) {
    struct world *world = context;
    uint32_t r = golden_find(task->view, release);
    CHECK(world, r < RELEASES && shard_count == SHARDS && task->shard < SHARDS);
    CHECK(world, world->admitted_view == task->view && world->admitted_release == r);
    struct model_view *view = &world->views[task->view];
    const struct pil_text *content = &golden[task->view][r].shards[task->shard].content;
    CHECK(world, pil_sys_memfd_is_sealed(fd));
    CHECK(world, lseek(fd, 0, SEEK_END) == (off_t)content->len);
    void *data = mmap(NULL, content->len, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(world, data != MAP_FAILED);
    CHECK(world, memcmp(data, content->data, content->len) == 0); /* it was verified, whatever the store had */
    munmap(data, content->len);
    close(fd);
    if (!world->is_calm && below(world, 200) == 0) {
        return PIL_STATUS_TIMEOUT; /* the supervisor does not read: the message was not sent, and the shard is not there
                                    */
    }
    bool is_held = world->is_calm || below(world, 60) != 0; /* else the supervisor was short of memory */
    view->shards_here[r] |= (uint32_t)is_held << task->shard;
    view->checked = RELEASES;
    add_event(world, (struct event){.kind = EVENT_TAKEN, .view = task->view, .release = r, .is_yes = is_held});
    return PIL_STATUS_OK;
}

WORLD void model_given_up(void *context, uint32_t v, const char *release) {
    struct world *world = context;
    uint32_t r = golden_find(v, release);
    CHECK(world, r < RELEASES && world->views[v].shards_here[r] != 0 && !is_whole(&world->views[v], r));
    world->views[v].shards_here[r] = 0;
    world->abandoned++;
}

WORLD pil_status model_publish(void *context, uint32_t v, const char *release, int64_t created_us) {
    struct world *world = context;
    struct model_view *view = &world->views[v];
    uint32_t r = golden_find(v, release);
    CHECK(world, r < RELEASES);
    CHECK(world, created_us >= 0);    /* no hash covers it: a damaged manifest may say another time */
    CHECK(world, view->checked == r); /* the channel wanted it after the last shard came */
    CHECK(world, view->checked_sequence >= view->published_sequence);
    view->published_sequence = view->checked_sequence;
    world->published++;
    CHECK(world, view->refused != r || world->now_ns >= view->refused_ns + second); /* no hot loop */
    bool is_held = is_whole(view, r);
    CHECK(world, is_held || view->was_dropped[r] > 0); /* the only reason, and the follower learns of it */
    view->offered = is_held ? r : view->offered;       /* in place of an earlier one */
    if (!is_held) {
        add_event(world, (struct event){.kind = EVENT_PUBLISHED, .view = v, .release = r});
    }
    return PIL_STATUS_OK;
}

/* The server serves what it was offered, or does not; sometimes it ends before it answers, which is a refusal. */
WORLD void server_answers(struct world *world, uint32_t v) {
    struct model_view *view = &world->views[v];
    bool serves = world->is_calm || below(world, 3) != 0;
    if (view->offered < RELEASES && world->event_count < EVENTS_MAX / 2) {
        view->live = serves ? view->offered : view->live;
        add_event(world,
                  (struct event){.kind = EVENT_PUBLISHED, .view = v, .release = view->offered, .is_yes = serves});
        view->offered = RELEASES;
    }
}

WORLD void model_checked(void *context, uint32_t v, const struct pil_channel *channel) {
    struct world *world = context;
    struct model_view *view = &world->views[v];
    CHECK(world, world->views[v < 2 ? 0 : v].project_seen); /* the project says who may map releases: it is first */
    view->checked = golden_find(v, pil_channel_effective(channel));
    CHECK(world, view->checked < RELEASES);
    view->polled = view->checked;
    CHECK(world, channel->sequence >= view->checked_sequence);
    view->checked_sequence = channel->sequence;
    view->refused = view->refused == view->checked ? view->refused : RELEASES;
}

WORLD void model_reported(void *context, uint32_t v, const struct pil_fetch_report *report) {
    struct world *world = context;
    struct model_view *view = &world->views[v];
    if (report->result != PIL_FETCH_OK) {
        CHECK(world, report->text[0] != '\0');
        world->failed++;
        view->refused = golden_find(v, report->release);
        view->refused_ns = world->now_ns;
    }
}

WORLD void model_no_project(void *context, uint32_t v, const struct pil_outcome *outcome) {
    struct world *world = context;
    CHECK(world, v == 0 || v == 2);
    CHECK(world, outcome->status == PIL_STATUS_NOT_FOUND && !outcome->is_store_away);
}

WORLD pil_status model_project(void *context, uint32_t v, struct pil_bytes document) {
    struct world *world = context;
    CHECK(world, v == 0 && document.len > 0); /* beta has none */
    bool fails = !world->is_calm && below(world, 4) == 0;
    world->views[v].project_seen |= !fails;
    return fails ? PIL_STATUS_TIMEOUT : PIL_STATUS_OK;
}

/* ---- Threads */

WORLD void model_submit(void *context, struct pil_job *job) {
    struct world *world = context;
    uint32_t v = job->task.view;
    struct model_view *view = &world->views[v];
    CHECK(world, world->running_count < JOBS_MAX);
    for (uint32_t i = 0; i < world->running_count; i++) {
        CHECK(world, world->running[i].job->task.view != v); /* one task of a view, so one fetch of a release */
        CHECK(world, world->running[i].job->task.kind < PIL_FOLLOW_FETCH || job->task.kind < PIL_FOLLOW_FETCH);
    }
    if (job->task.kind == PIL_FOLLOW_READ_MANIFEST && view->refused != RELEASES) { /* no hot loop */
        CHECK(world, view->refused != golden_find(v, job->release) || world->now_ns >= view->refused_ns + second);
    }
    CHECK(world, job->task.kind < PIL_FOLLOW_READ_MANIFEST || view->polled == golden_find(v, job->release));
    world->fetched += job->task.kind == PIL_FOLLOW_FETCH;
    world->running[world->running_count++] = (struct running){.job = job, .at_ns = world->now_ns + delay_ns(world)};
}

WORLD void end_job(struct world *world, uint32_t index) {
    struct pil_job *job = world->running[index].job;
    const struct pil_job_runner runner = {.store = world->store, .buffer = world->buffer, .clock = &world->clock};
    struct pil_error error = {.text = "no store"};
    world->running[index] = world->running[--world->running_count];
    if (!world->is_calm && below(world, 100) == 0) {
        pil_job_fail(job, below(world, 2) == 0 ? PIL_STATUS_NOT_FOUND : PIL_STATUS_IO, &error);
    } else {
        pil_job_run(job, &runner);
    }
    struct model_view *view = &world->views[job->task.view];
    view->project_seen |= job->task.kind == PIL_FOLLOW_READ_PROJECT && job->outcome.status == PIL_STATUS_NOT_FOUND &&
                          !job->outcome.is_store_away;
    if (job->task.kind == PIL_FOLLOW_POLL && job->outcome.status != PIL_STATUS_OK) {
        view->refused = RELEASES; /* an outage may cut a back-off short */
    }
    pil_follow_done(world->follow, job);
}
