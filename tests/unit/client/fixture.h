/* SPDX-License-Identifier: Apache-2.0
 * A server with views p/v (key id, features f0 …) and, where asked for, p/w of the same shape, and a client of it. */
#pragma once

#include "pillion/client.h"
#include "unit/client/server.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { FEATURES = 7, ROWS = 1000 };

struct fixture {
    struct server server;
    struct pil_project *project;
    const struct pil_view *view; /* p/v */
    struct pil_view *other;      /* p/w */
    char path[100], url[128];
    struct pillion_client *client;
};

static inline const char *fixture_catalog(void) {
    return "{\"views\": [{\"index\": 0, \"project\": \"p\", \"name\": \"v\"}, {\"index\": 1, \"project\": \"p\", "
           "\"name\": \"w\"}], "
           "\"projects\": [{\"project\": \"p\", \"feature_services\": ["
           "{\"name\": \"every\", \"features\": [\"v:f0\", \"v:f1\", \"v:f2\", \"v:f3\", \"v:f4\", \"v:f5\", "
           "\"v:f6\"]}, {\"name\": \"both\", \"features\": [\"w:f1\", \"v:f0\", \"w:f0\", \"v:f3\"]}]}]}";
}

static inline struct pillion_client *fixture_open(const struct fixture *fixture) {
    /* A loaded machine may take long to run the server's thread: the call that sees a release waits for it. */
    struct pillion_options options = {.size = sizeof options, .mapped = fixture->url, .refresh_us = 2000000};
    struct pillion_client *client = NULL;
    struct pillion_error error = {{0}};
    pillion_result result = pillion_open(&options, &client, &error);
    assert_string_equal(error.text, "");
    assert_int_equal(result, PILLION_OK);
    return client;
}

static inline void fixture_start(struct fixture *fixture) {
    fixture->server.view_count = 2;
    snprintf(fixture->server.catalog, sizeof fixture->server.catalog, "%s", fixture_catalog());
    server_start(&fixture->server, fixture->path);
}

/* Release 1 of v, none of w. */
static inline int setup(void **state) {
    static int number;
    struct fixture *fixture = calloc(1, sizeof *fixture);
    snprintf(fixture->path, sizeof fixture->path, "/tmp/pillion-client-%d-%d.sock", (int)getpid(), number++);
    snprintf(fixture->url, sizeof fixture->url, "unix:%s", fixture->path);
    fixture->project = fixture_project(FEATURES);
    fixture->view = fixture->project->views[0].view;
    fixture->other = pil_view_clone(fixture->view);
    assert_non_null(fixture->other);
    fixture->other->name[0] = 'w';
    fixture_start(fixture);
    server_publish_seed(&fixture->server, 0, fixture->view, ROWS, 1, 1);
    fixture->client = fixture_open(fixture);
    *state = fixture;
    return 0;
}

static inline int teardown(void **state) {
    struct fixture *fixture = *state;
    pillion_close(&fixture->client);
    server_stop(&fixture->server);
    pil_view_destroy(&fixture->other);
    pil_project_destroy(&fixture->project);
    free(fixture);
    return 0;
}

/* Fails when the server has not been told of so many unmapped releases within ten seconds. */
static inline void fixture_wait_for_drops(const struct fixture *fixture, uint64_t drops) {
    uint64_t until_ns = pil_clock_monotonic_ns() + 10000000000;
    while (fixture->server.drops < drops) {
        if (pil_clock_monotonic_ns() > until_ns) {
            fail_msg("%llu releases were dropped, not %llu", (unsigned long long)fixture->server.drops,
                     (unsigned long long)drops);
        }
        usleep(1000);
    }
}

static inline struct pillion_plan *fixture_plan(struct pillion_client *client,
                                                const struct pillion_plan_options *options) {
    struct pillion_plan *plan = NULL;
    struct pillion_error error = {{0}};
    pillion_result result = pillion_plan(client, options, &plan, &error);
    assert_string_equal(error.text, "");
    assert_int_equal(result, PILLION_OK);
    return plan;
}

static inline struct pillion_plan *fixture_service(struct pillion_client *client, const char *service) {
    struct pillion_plan_options options = {.size = sizeof options, .service = service};
    return fixture_plan(client, &options);
}

static inline struct pillion_keys fixture_keys(const int64_t *ids, size_t count) {
    return (struct pillion_keys){.size = sizeof(struct pillion_keys),
                                 .count = count,
                                 .column_count = 1,
                                 .columns = {{.kind = PILLION_KEY_INT64, .values = ids}}};
}

static inline struct pillion_output fixture_output(float *values, size_t value_bytes) {
    return (struct pillion_output){.size = sizeof(struct pillion_output), .values = values, .value_bytes = value_bytes};
}
