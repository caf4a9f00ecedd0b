/* SPDX-License-Identifier: Apache-2.0
 * A node without worker threads: messages are made by hand, the test moves the clock, and plays a worker's turns and
 * its grace period. The node is validated after every step. */
#pragma once

#include "node/node.h"
#include "support/cache_fixture.h"

#include "metric/exposition.h"
#include "schema/project.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#ifndef FIXTURE
#define FIXTURE __attribute__((unused)) static
#endif

enum { SHARD_BITS = 1, ROWS = 3000, MANY_ROWS = 100000, TOLD_MAX = 4096 };

struct fixture {
    struct pil_settings settings; /* views p/v and p/w, and room for more */
    struct pil_node *node;
    struct pil_project *project;
    uint64_t time_ns;
    int64_t step_us;    /* by which the wall clock was set */
    uint64_t row_count; /* of the releases that come */
    bool is_stuck;      /* the worker makes no turn */
    struct pil_message told[TOLD_MAX];
    uint32_t told_count;
};

/* Each look at the clock takes a while, so that a slice ends. The worker turns meanwhile. */
FIXTURE uint64_t monotonic_ns(void *context) {
    struct fixture *f = context;
    f->time_ns += 300000;
    if (f->node != NULL && !f->is_stuck) {
        pil_server_note_turn(f->node->server, 0, f->time_ns);
    }
    return f->time_ns;
}

FIXTURE int64_t wall_us(void *context) {
    const struct fixture *f = context;
    return (int64_t)(f->time_ns / 1000) + f->step_us;
}

FIXTURE void tell(void *context, const struct pil_message *message) {
    struct fixture *f = context;
    assert_true(f->told_count < TOLD_MAX);
    f->told[f->told_count++] = *message;
}

FIXTURE void add_settings(struct fixture *f, const char *view) {
    struct pil_view_settings *slot = &f->settings.views[f->settings.view_count];
    snprintf(slot->project, sizeof slot->project, "p");
    snprintf(slot->view, sizeof slot->view, "%s", view);
    snprintf(slot->channel, sizeof slot->channel, "c");
    slot->staleness_bound_us = 60000000;
    f->settings.view_count++;
}

static struct pil_clock test_clock;

FIXTURE void create_node(struct fixture *f) {
    int none[PIL_SETTINGS_LISTENERS_MAX];
    struct pil_error error;
    struct pil_node_options options = {
        .settings = &f->settings, .listener_fds = none, .clock = &test_clock, .smaps = -1, .tell = tell, .context = f};
    assert_int_equal(pil_node_create(&options, &f->node, &error), PIL_STATUS_OK);
}

FIXTURE int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->settings.worker_count = 1;
    f->settings.keep_releases = 2;
    f->time_ns = 1000000000000;
    f->row_count = ROWS;
    add_settings(f, "v");
    add_settings(f, "w");
    f->project = fixture_project(3);
    test_clock = (struct pil_clock){monotonic_ns, wall_us, f};
    create_node(f);
    *state = f;
    return 0;
}

FIXTURE int teardown(void **state) {
    struct fixture *f = *state;
    pil_node_validate(f->node);
    pil_node_destroy(&f->node);
    pil_project_destroy(&f->project);
    free(f);
    return 0;
}

FIXTURE void name_release(uint64_t number, char (*to)[PIL_RELEASE_ID_CHARS + 1]) {
    snprintf(*to, sizeof *to, "%016llx", (unsigned long long)number);
}

FIXTURE void take(struct fixture *f, struct pil_message message) {
    pil_node_take(f->node, &message);
    pil_node_validate(f->node);
}

FIXTURE void send_shard(struct fixture *f, uint32_t view, uint64_t number, uint32_t index) {
    struct pil_message shard = {
        .kind = PIL_MESSAGE_SHARD,
        .fd = fixture_shard(f->project->views[0].view, f->row_count, number, index, SHARD_BITS),
        .shard = {.view_index = view, .place = {index, 1u << SHARD_BITS}},
    };
    name_release(number, &shard.shard.release);
    take(f, shard);
}

FIXTURE void send_publish(struct fixture *f, uint32_t view, uint64_t number) {
    struct pil_message publish = {.kind = PIL_MESSAGE_PUBLISH, .publish = {.view_index = view, .created_us = 77}};
    name_release(number, &publish.publish.release);
    take(f, publish);
}

FIXTURE void send_release(struct fixture *f, uint32_t view, uint64_t number) {
    for (uint32_t i = 0; i < 1u << SHARD_BITS; i++) {
        send_shard(f, view, number, i);
    }
    send_publish(f, view, number);
}

/* Until nothing is left to do at once; returns how many slices that took. */
FIXTURE uint32_t work(struct fixture *f) {
    uint32_t slices = 1;
    while (pil_node_work(f->node)) {
        pil_node_validate(f->node);
        slices++;
    }
    pil_node_validate(f->node);
    return slices;
}

FIXTURE void settle(struct fixture *f) {
    work(f);
    work(f); /* what a swap has retired is asked for in the slice after it */
    pil_node_tick(f->node);
    pil_node_validate(f->node);
}

FIXTURE const struct pil_release *live(const struct fixture *f, uint32_t view) {
    return pil_cache_live(pil_cache_view_at(pil_server_cache(f->node->server), view));
}

FIXTURE uint64_t live_number(const struct fixture *f, uint32_t view) {
    return live(f, view) != NULL ? strtoull(live(f, view)->id, NULL, 16) : 0;
}

FIXTURE uint32_t count_reclaimed(const struct fixture *f, uint32_t view, uint64_t number) {
    char release[PIL_RELEASE_ID_CHARS + 1];
    uint32_t count = 0;
    name_release(number, &release);
    for (uint32_t i = 0; i < f->told_count; i++) {
        count += f->told[i].kind == PIL_MESSAGE_RECLAIMED && f->told[i].reclaimed.view_index == view &&
                 strcmp(f->told[i].reclaimed.release, release) == 0;
    }
    return count;
}

/* How often the supervisor got this answer about a release of view 0. */
FIXTURE uint32_t count_answers(const struct fixture *f, uint64_t number, pil_fetch_outcome outcome) {
    char release[PIL_RELEASE_ID_CHARS + 1];
    uint32_t count = 0;
    name_release(number, &release);
    for (uint32_t i = 0; i < f->told_count; i++) {
        const struct pil_message_published *answer = &f->told[i].published;
        count += f->told[i].kind == PIL_MESSAGE_PUBLISHED && answer->view_index == 0 && answer->outcome == outcome &&
                 strcmp(answer->release, release) == 0;
    }
    return count;
}

/* The answers about the project. */
FIXTURE uint32_t count_applied(const struct fixture *f, pil_fetch_outcome outcome) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < f->told_count; i++) {
        count += f->told[i].kind == PIL_MESSAGE_APPLIED && f->told[i].applied.outcome == outcome;
    }
    return count;
}

FIXTURE struct pil_qsbr *qsbr_of(const struct fixture *f) {
    return pil_cache_qsbr(pil_server_cache(f->node->server));
}

FIXTURE void assert_metric(const struct fixture *f, const char *line, bool is_there) {
    struct pil_text page = {0};
    pil_node_update_metrics(f->node);
    pil_metric_expose(pil_server_metrics(f->node->server), PIL_EXPOSITION_TEXT, &page);
    if ((strstr(pil_text_chars(&page), line) != NULL) != is_there) {
        fail_msg("'%s' is%s in\n%s", line, is_there ? " not" : "", pil_text_chars(&page));
    }
    pil_text_deinit(&page);
}

FIXTURE void assert_term(const struct fixture *f, const char *line, bool is_ready) {
    struct pil_text terms = {0};
    assert_int_equal(pil_node_is_ready(f->node, &terms), is_ready);
    if (strstr(pil_text_chars(&terms), line) == NULL) {
        fail_msg("'%s' is not in\n%s", line, pil_text_chars(&terms));
    }
    pil_text_deinit(&terms);
}
FIXTURE void send_checked(struct fixture *f, uint32_t view, uint64_t number) {
    struct pil_message checked = {
        .kind = PIL_MESSAGE_CHECKED,
        .checked = {
            .view_index = view, .checked_us = wall_us(f), .checked_ns = f->time_ns, .sequence = 5, .is_pinned = true}};
    name_release(number, &checked.checked.release);
    take(f, checked);
}

/* As a store has it. The caller frees it. */
FIXTURE char *document_of(const struct pil_project *project) {
    json_t *json = json_pack("{s:i, s:i, s:s, s:I, s:o}", "format", 1, "sequence", 1, "nonce", "0", "changed_us",
                             (json_int_t)1, "project", pil_project_to_json(project));
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    assert_non_null(text);
    json_decref(json);
    return text;
}

FIXTURE void send_project(struct fixture *f, const char *document) {
    struct pil_error error;
    struct pil_message message = {.kind = PIL_MESSAGE_PROJECT, .project = {0}};
    assert_int_equal(pil_message_blob(document, strlen(document), &message.fd, &error), PIL_STATUS_OK);
    take(f, message);
}
