/* SPDX-License-Identifier: Apache-2.0
 * Goal: requests that arrive together are looked up together, over HTTP as over RESP.
 * Method: a server with one worker; requests in one write; the histogram of batch sizes tells how many batches there
 * were and how many lookups they had. */
#include "support/cache_fixture.h"
#include "support/server_fixture.h"

#include "base/text.h"
#include "protocol/feast/feast.h"
#include "server/server.h"

enum { KEYS = 10, ANSWER_BYTES = 1 << 16 };

struct fixture {
    struct pil_settings settings;
    struct pil_server *server;
    struct pil_project *project;
    struct sockaddr_un address;
    int listener;
};

static const struct pil_protocol *const protocols[] = {&pil_feast_protocol};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    struct pil_error error = {0};
    f->settings = fixture_settings(1, 'v', 1, PIL_ENGINE_EPOLL);
    f->project = fixture_project(1);
    f->listener = fixture_listen("batch", &f->address);
    assert_int_equal(pil_server_create(&f->settings, protocols, 1, &f->listener, &f->server, &error), PIL_STATUS_OK);
    fixture_publish(pil_server_cache(f->server), 0, fixture_release(f->project->views[0].view, KEYS, 1, 0));
    assert_int_equal(pil_server_start(f->server, &error), PIL_STATUS_OK);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    assert_true(pil_server_drain(f->server, 5000));
    pil_server_destroy(&f->server);
    close(f->listener);
    unlink(f->address.sun_path);
    pil_project_destroy(&f->project);
    free(f);
    return 0;
}

/* A request for `keys` rows. */
static void add_request(struct pil_text *text, uint32_t keys) {
    struct pil_text body = {0};
    pil_text_format(&body, "{\"features\":[\"v:f0\"],\"entities\":{\"id\":[");
    for (uint32_t i = 0; i < keys; i++) {
        pil_text_format(&body, "%s%u", i > 0 ? "," : "", i);
    }
    pil_text_format(&body, "]}}");
    pil_text_format(text, "POST /get-online-features HTTP/1.1\r\nhost: x\r\ncontent-length: %zu\r\n\r\n%s", body.len,
                    pil_text_chars(&body));
    pil_text_deinit(&body);
}

/* Sends everything at once and reads so many answers, all of them 200. */
static void ask(const struct fixture *f, const struct pil_text *requests, uint32_t answer_count) {
    static char answers[ANSWER_BYTES];
    size_t len = 0;
    uint32_t count = 0;
    int client = fixture_connect(&f->address);
    assert_int_equal(write(client, pil_text_chars(requests), requests->len), (ssize_t)requests->len);
    while (count < answer_count) {
        ssize_t got = read(client, answers + len, sizeof answers - 1 - len);
        assert_true(got > 0);
        len += (size_t)got;
        answers[len] = '\0';
        count = 0;
        for (const char *at = answers; (at = strstr(at, "HTTP/1.1 200 ")) != NULL; at++) {
            count++;
        }
    }
    close(client);
}

static struct pil_histogram_view batches(const struct fixture *f) {
    struct pil_histogram_view view;
    struct pil_metric_registry *metrics = pil_server_metrics(f->server);
    pil_metric_series series;
    assert_int_equal(pil_metric_series_get(metrics, PIL_METRIC_batch_size, NULL, &series), PIL_STATUS_OK);
    pil_metric_read_histogram(metrics, series, &view);
    return view;
}

static void requests_of_one_write_share_a_batch(void **state) {
    const struct fixture *f = *state;
    struct pil_text requests = {0};
    add_request(&requests, 3);
    add_request(&requests, 4);
    add_request(&requests, 5);
    ask(f, &requests, 3);
    pil_text_deinit(&requests);
    struct pil_histogram_view seen = batches(f);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.sum, 3 + 4 + 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests_of_one_write_share_a_batch, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
