/* SPDX-License-Identifier: Apache-2.0
 * Goal: jobs run on threads and come back, each thread keeps one store handle, a store that is away is an outcome, and
 * cancelling ends a download in its middle. Method: a store in memory, whose calls a plan can hold up; the test waits
 * for semaphores and for the executor's descriptor, never for a time. */
#include "follow/executor.h"
#include "release/project.h"
#include "release/shard_io.h"
#include "support/fault_store.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <semaphore.h>

#include "support/memory_store.h"

enum { VIEWS = 4, SHARD_PARTS = 4 };

static struct pil_store *shared;
static struct fault_plan plan;
static atomic_uint opened;
static atomic_bool is_away;
static struct pil_follow_view views[VIEWS];
static struct pil_job jobs[VIEWS];
static struct pil_executor *executor;

static pil_status open_shared(void *context, struct pil_store **ret_store, struct pil_error *error) {
    struct pil_store *again = NULL;
    (void)context;
    if (is_away) {
        return pil_fail(error, PIL_STATUS_NOT_FOUND, "the store is away");
    }
    opened++;
    PIL_TRY(pil_store_open_again(shared, &again, error));
    *ret_store = fault_store_open(again, &plan);
    return PIL_STATUS_OK;
}

static int setup(void **state) {
    (void)state;
    plan = FAULT_PLAN_NONE;
    opened = 0;
    is_away = false;
    shared = memory_store_open();
    for (uint32_t i = 0; i < VIEWS; i++) {
        views[i] = (struct pil_follow_view){.project = "p", .channel = "production"};
        snprintf(views[i].view, sizeof views[i].view, "v%u", i);
        pil_job_init(&jobs[i], &views[i]);
    }
    return 0;
}

static void start(uint32_t thread_count) {
    const struct pil_executor_options options = {
        .thread_count = thread_count, .clock = &pil_clock_system, .open = open_shared};
    assert_int_equal(pil_executor_create(&options, &executor, NULL), PIL_STATUS_OK);
}

static int teardown(void **state) {
    (void)state;
    pil_executor_destroy(&executor);
    for (uint32_t i = 0; i < VIEWS; i++) {
        pil_job_deinit(&jobs[i]);
    }
    pil_store_close(&shared);
    return 0;
}

static struct pil_job *wait_for_job(void) {
    struct pil_job *job;
    while ((job = pil_executor_take(executor)) == NULL) {
        struct pollfd wait = {.fd = pil_executor_fd(executor), .events = POLLIN};
        assert_int_equal(poll(&wait, 1, 30000), 1);
    }
    return job;
}

static void submit(uint32_t view, pil_follow_kind kind) {
    jobs[view].task = (struct pil_task){.kind = kind, .view = view};
    pil_executor_submit(executor, &jobs[view]);
}

static void put_channel(uint32_t view, const char *release, uint64_t sequence) {
    char name[PIL_STORE_NAME_BYTES];
    struct pil_text text = {0};
    struct pil_release_ref ref = {.project = "p"};
    memcpy(ref.view, views[view].view, sizeof ref.view);
    pil_layout_channel(&ref, "production", name);
    pil_text_format(&text,
                    "{\"changed_us\":1,\"channel\":\"production\",\"format\":1,\"history\":[{\"act\":\"promote\","
                    "\"changed_us\":1,\"release\":\"%s\",\"sequence\":%llu}],\"nonce\":\"0\",\"pinned\":null,"
                    "\"project\":\"p\",\"release\":\"%s\",\"sequence\":%llu,\"view\":\"v%u\"}",
                    release, (unsigned long long)sequence, release, (unsigned long long)sequence, view);
    assert_int_equal(pil_store_put(shared, name, pil_text_bytes(&text), pil_store_always(), NULL, NULL), PIL_STATUS_OK);
    pil_text_deinit(&text);
}

static void jobs_come_back_and_handles_are_kept(void **state) {
    (void)state;
    start(2);
    for (uint32_t v = 0; v < VIEWS; v++) {
        put_channel(v, "0123456789abcdef", 1);
    }
    for (int round = 0; round < 50; round++) {
        uint32_t seen = 0;
        for (uint32_t v = 0; v < VIEWS; v++) {
            submit(v, PIL_FOLLOW_POLL);
        }
        for (uint32_t v = 0; v < VIEWS; v++) {
            struct pil_job *job = wait_for_job();
            assert_int_equal(job->outcome.status, PIL_STATUS_OK);
            assert_string_equal(job->outcome.release, "0123456789abcdef"); /* also when nothing changed */
            seen |= 1u << job->task.view;
        }
        assert_int_equal(seen, (1u << VIEWS) - 1);
        assert_null(pil_executor_take(executor));
    }
    assert_true(opened >= 1 && opened <= 2);
    put_channel(1, "fedcba9876543210", 2);
    submit(1, PIL_FOLLOW_POLL);
    assert_string_equal(wait_for_job()->outcome.release, "fedcba9876543210");
    assert_int_equal(jobs[1].channel.channel.sequence, 2);
}

/* The project p, as a store has it: with a member that nobody knows. */
static void put_project(const char *name, const char *more) {
    struct pil_text document = {0};
    pil_text_format(&document,
                    "{\"more\":%s,\"format\":1, \"project\":{\"project\":\"%s\",\"entities\":[{\"name\":\"driver\","
                    "\"join_key\":\"driver_id\",\"type\":\"int64\"}],\"feature_views\":[{\"name\":\"v0\","
                    "\"entities\":[\"driver\"],\"ttl\":86400,\"source\":{\"type\":\"parquet\",\"path\":\"x\","
                    "\"timestamp_field\":\"ts\"},\"features\":[{\"name\":\"rate\",\"type\":\"float32\"}]}]}}",
                    more, name);
    assert_int_equal(
        pil_store_put(shared, "projects/p.json", pil_text_bytes(&document), pil_store_always(), NULL, NULL),
        PIL_STATUS_OK);
    pil_text_deinit(&document);
}

static pil_status read_project(void) {
    submit(0, PIL_FOLLOW_READ_PROJECT);
    return wait_for_job()->outcome.status;
}

static void a_project_is_told_once_for_each_change(void **state) {
    (void)state;
    start(1);
    assert_int_equal(read_project(), PIL_STATUS_NOT_FOUND);
    put_project("p", "[[],[],[]]");
    assert_int_equal(read_project(), PIL_STATUS_OK);
    assert_true(jobs[0].is_project_new);
    /* The server gets what is known, and nothing else. */
    assert_non_null(strstr(pil_text_chars(&jobs[0].project), "{\"format\":1,\"project\":{\"entities\":["));
    assert_null(strstr(pil_text_chars(&jobs[0].project), "more"));
    assert_int_equal(read_project(), PIL_STATUS_OK);
    assert_false(jobs[0].is_project_new);
    assert_int_equal(jobs[0].project.len, 0);
}

static void a_document_that_cannot_be_used_goes_to_nobody(void **state) {
    struct pil_text large = {0};
    (void)state;
    start(1);
    put_project("other", "0");
    for (int i = 0; i < 2; i++) { /* the second time it is not parsed, and the verdict is the same */
        assert_int_equal(read_project(), PIL_STATUS_CORRUPT);
        assert_non_null(strstr(jobs[0].outcome.error.text, "projects/p.json: it says that it is project other"));
        assert_int_equal(jobs[0].project.len, 0);
    }
    put_project("p", "[");
    assert_int_equal(read_project(), PIL_STATUS_CORRUPT);
    pil_text_append(&large, "\"", 1);
    for (uint32_t i = 0; i < PIL_PROJECT_BYTES_MAX; i++) {
        pil_text_append(&large, "x", 1);
    }
    pil_text_append(&large, "\"", 1);
    const char *const contents[] = {"0", pil_text_chars(&large), "0"};
    for (size_t i = 0; i < 3; i++) { /* the one before is news when it comes back */
        put_project("p", contents[i]);
        assert_int_equal(read_project(), i == 1 ? PIL_STATUS_TOO_LARGE : PIL_STATUS_OK);
        assert_int_equal(jobs[0].is_project_new, i != 1);
    }
    pil_text_deinit(&large);
}

static struct fault fail_get(void *context, const struct fault_call *call) {
    const pil_status *status = context;
    return (struct fault){.status = call->op == FAULT_GET ? *status : PIL_STATUS_OK};
}

/* Else a refusal would be told for ever: nobody hears of a document that is as it was. */
static void a_document_that_can_be_read_again_is_news(void **state) {
    static const pil_status statuses[] = {PIL_STATUS_CORRUPT, PIL_STATUS_NOT_FOUND, PIL_STATUS_IO, PIL_STATUS_DENIED};
    (void)state;
    start(1);
    put_project("p", "0");
    assert_int_equal(read_project(), PIL_STATUS_OK);
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        plan.context = (void *)(uintptr_t)&statuses[i];
        plan.choose = fail_get;
        assert_int_equal(read_project(), statuses[i]);
        plan.choose = NULL;
        assert_int_equal(read_project(), PIL_STATUS_OK);
        assert_true(jobs[0].is_project_new);
    }
}

static void a_store_that_is_away_is_an_outcome_and_tried_again(void **state) {
    (void)state;
    start(1);
    put_channel(0, "0123456789abcdef", 1);
    is_away = true;
    submit(0, PIL_FOLLOW_POLL);
    assert_int_equal(wait_for_job()->outcome.status, PIL_STATUS_NOT_FOUND);
    assert_true(jobs[0].outcome.is_store_away);
    assert_string_equal(jobs[0].outcome.error.text, "the store is away");
    is_away = false;
    submit(0, PIL_FOLLOW_POLL);
    assert_int_equal(wait_for_job()->outcome.status, PIL_STATUS_OK);
}

/* ---- Cancelling */

static sem_t has_entered, may_go_on;

static struct fault hold_second_part(void *context, const struct fault_call *call) {
    unsigned *parts = context;
    if (call->op == FAULT_GET_RANGE && ++*parts == 2) {
        sem_post(&has_entered);
        while (sem_wait(&may_go_on) != 0) {
        }
    }
    return (struct fault){.status = PIL_STATUS_OK};
}

/* A manifest of one large shard of zeros: FETCH does not look at what it copies. */
static void give_large_shard(struct pil_job *job) {
    struct pil_manifest *manifest = calloc(1, sizeof *manifest);
    manifest->shards = calloc(1, sizeof *manifest->shards);
    assert_true(manifest != NULL && manifest->shards != NULL);
    manifest->shard_count = 1;
    manifest->shards[0].bytes = (uint64_t)SHARD_PARTS * PIL_SHARD_IO_PART_BYTES;
    job->manifest = manifest;
    char name[PIL_STORE_NAME_BYTES];
    pil_layout_shard(&manifest->shards[0].id, name);
    uint8_t *zeros = calloc(1, manifest->shards[0].bytes);
    struct pil_bytes content = pil_bytes_from(zeros, (size_t)manifest->shards[0].bytes);
    assert_int_equal(pil_store_put(shared, name, content, pil_store_always(), NULL, NULL), PIL_STATUS_OK);
    free(zeros);
}

static void a_download_ends_in_its_middle(void **state) {
    (void)state;
    unsigned parts = 0;
    sem_init(&has_entered, 0, 0);
    sem_init(&may_go_on, 0, 0);
    plan.choose = hold_second_part;
    plan.context = &parts;
    start(1);
    give_large_shard(&jobs[0]);
    submit(0, PIL_FOLLOW_FETCH);
    while (sem_wait(&has_entered) != 0) {
    }
    pil_executor_cancel(executor);
    sem_post(&may_go_on);
    assert_int_equal(wait_for_job()->outcome.status, PIL_STATUS_CLOSED);
    assert_int_equal(parts, 2);
    assert_int_equal(jobs[0].fd, -1); /* its memory is gone */
    submit(0, PIL_FOLLOW_POLL);       /* what comes later ends at once */
    assert_int_equal(wait_for_job()->outcome.status, PIL_STATUS_CLOSED);
}

static void jobs_that_nobody_takes_are_let_go(void **state) {
    (void)state;
    start(2);
    for (uint32_t v = 0; v < VIEWS; v++) {
        submit(v, PIL_FOLLOW_POLL);
    }
    pil_executor_destroy(&executor);
    for (uint32_t v = 0; v < VIEWS; v++) {
        assert_false(pil_list_is_linked(&jobs[v].link));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(jobs_come_back_and_handles_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(a_project_is_told_once_for_each_change, setup, teardown),
        cmocka_unit_test_setup_teardown(a_document_that_cannot_be_used_goes_to_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(a_document_that_can_be_read_again_is_news, setup, teardown),
        cmocka_unit_test_setup_teardown(a_store_that_is_away_is_an_outcome_and_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_download_ends_in_its_middle, setup, teardown),
        cmocka_unit_test_setup_teardown(jobs_that_nobody_takes_are_let_go, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
