/* SPDX-License-Identifier: Apache-2.0
 * Goal: views that share a project or the one admission wait for each other, no longer than they must, and say why.
 * Method: the loop with jobs that the test ends as it likes, one after the other, at times of its choice; the model
 * (tests/model/follow) has the long histories. */
#include "follow/follow.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define A "aaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbb"

enum { VIEWS = 2, POLL_MS = 10000 };
static const uint64_t ms = 1000000;
static const struct pil_follow_view views[VIEWS] = {{"p", "v0", "production"}, {"p", "v1", "production"}};

static struct pil_follow *follow;
static struct pil_job *jobs[VIEWS]; /* that are out; NULL: none */
static uint64_t now_ns;
static uint32_t reports[VIEWS], projects, asked; /* asked: who asked for admission last; VIEWS: nobody */
static pil_status hand_over_status;              /* of the project */
static uint32_t no_projects;                     /* how often it was said that there is none to use, and why */
static pil_status no_project_status;
static uint32_t handed_over; /* shards, to a supervisor that answers later */
static char given_up[PIL_RELEASE_ID_CHARS + 1], published[PIL_RELEASE_ID_CHARS + 1];
static struct pil_fetch_report last_report;

static uint64_t test_ns(void *context) {
    (void)context;
    return now_ns;
}

static void take_job(void *context, struct pil_job *job) {
    (void)context;
    assert_null(jobs[job->task.view]);
    jobs[job->task.view] = job;
}

static pil_status ask(void *context, uint32_t v, const char *release, uint64_t bytes) {
    (void)context, (void)release, (void)bytes;
    asked = v;
    return PIL_STATUS_OK;
}

static pil_status take_shard(void *context, const struct pil_task *task, const char *release, uint32_t count, int fd) {
    (void)context, (void)release, (void)count;
    assert_int_equal(task->view, 0);
    close(fd);
    handed_over++;
    return PIL_STATUS_OK;
}

static void give_up(void *context, uint32_t v, const char *release) {
    (void)context;
    assert_int_equal(v, 0);
    memcpy(given_up, release, strlen(release) + 1);
}

static pil_status publish(void *context, uint32_t v, const char *release, int64_t created_us) {
    (void)context, (void)created_us;
    assert_int_equal(v, 0);
    memcpy(published, release, strlen(release) + 1);
    return PIL_STATUS_OK;
}

static void see_checked(void *context, uint32_t v, const struct pil_channel *channel) {
    (void)context, (void)v, (void)channel;
}

static void see_report(void *context, uint32_t v, const struct pil_fetch_report *report) {
    (void)context;
    last_report = *report;
    reports[v] += report->result != PIL_FETCH_OK;
}

static pil_status take_project(void *context, uint32_t v, struct pil_bytes document) {
    (void)context, (void)document;
    assert_int_equal(v, 0);
    projects++;
    return hand_over_status;
}

static void take_no_project(void *context, uint32_t v, const struct pil_outcome *outcome) {
    (void)context;
    assert_int_equal(v, 0);
    no_projects++;
    no_project_status = outcome->status;
}

static const struct pil_clock test_clock = {.monotonic_ns = test_ns};
static const struct pil_follow_hooks test_hooks = {.submit = take_job,
                                                   .ask_admission = ask,
                                                   .hand_over = take_shard,
                                                   .given_up = give_up,
                                                   .publish = publish,
                                                   .checked = see_checked,
                                                   .reported = see_report,
                                                   .project = take_project,
                                                   .no_project = take_no_project};

static int setup(void **state) {
    (void)state;
    const struct pil_follow_options options = {
        .views = views, .view_count = VIEWS, .poll_ms = POLL_MS, .clock = &test_clock, .hooks = &test_hooks};
    now_ns = 100000 * ms;
    memset(jobs, 0, sizeof jobs);
    memset(reports, 0, sizeof reports);
    projects = handed_over = no_projects = 0;
    given_up[0] = published[0] = '\0';
    asked = VIEWS;
    hand_over_status = PIL_STATUS_OK;
    follow = pil_follow_create(&options);
    return follow != NULL ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    pil_follow_destroy(&follow);
    return 0;
}

/* The view's job must be of this kind, and ends like this. */
static void end(uint32_t v, pil_follow_kind kind, struct pil_outcome outcome) {
    (void)pil_follow_step(follow);
    struct pil_job *job = jobs[v];
    assert_non_null(job);
    assert_int_equal(job->task.kind, kind);
    jobs[v] = NULL;
    job->outcome = outcome;
    pil_follow_done(follow, job);
    (void)pil_follow_step(follow);
}

static void project_comes(pil_status status) {
    (void)pil_follow_step(follow);
    assert_non_null(jobs[0]);
    jobs[0]->is_project_new = true;
    memcpy(jobs[0]->project_tag.text, "v1", sizeof "v1");
    end(0, PIL_FOLLOW_READ_PROJECT, (struct pil_outcome){.status = status});
}

static void poll_says(uint32_t v, const char *release) {
    struct pil_outcome outcome = {0};
    memcpy(outcome.release, release, strlen(release) + 1);
    (void)pil_follow_step(follow);
    assert_non_null(jobs[v]);
    struct pil_channel *channel = &jobs[v]->channel.channel;
    memcpy(channel->release, release, strlen(release) + 1);
    end(v, PIL_FOLLOW_POLL, outcome);
}

static void manifest_comes(uint32_t v) {
    struct pil_job *job = jobs[v];
    assert_non_null(job);
    job->manifest = calloc(1, sizeof *job->manifest);
    assert_non_null(job->manifest);
    job->manifest->ref = pil_job_ref(job);
    end(v, PIL_FOLLOW_READ_MANIFEST, (struct pil_outcome){.shard_count = 2, .bytes = 1000});
}

/* Verified, and on its way to the supervisor. */
static void shard_comes(uint32_t v) {
    end(v, PIL_FOLLOW_FETCH, (struct pil_outcome){.status = PIL_STATUS_OK});
    assert_non_null(jobs[v]);
    jobs[v]->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    end(v, PIL_FOLLOW_VERIFY, (struct pil_outcome){.status = PIL_STATUS_OK});
}

/* View 0 alone, admitted. */
static void release_begins(const char *release) {
    project_comes(PIL_STATUS_OK);
    if (jobs[1] != NULL) {
        end(1, PIL_FOLLOW_POLL, (struct pil_outcome){.status = PIL_STATUS_IO});
    }
    poll_says(0, release);
    manifest_comes(0);
    pil_follow_admitted(follow, 0, release, PIL_STATUS_OK, "");
}

static void views_wait_for_their_project_and_say_so(void **state) {
    (void)state;
    project_comes(PIL_STATUS_IO);
    assert_null(jobs[1]);
    assert_int_equal(reports[0], 1);
    assert_int_equal(reports[1], 1);
    now_ns += POLL_MS * ms;
    hand_over_status = PIL_STATUS_TIMEOUT; /* read, but the supervisor has it not */
    project_comes(PIL_STATUS_OK);
    assert_null(jobs[1]);
    assert_int_equal(reports[1], 2);
    now_ns += POLL_MS * ms;
    (void)pil_follow_step(follow);
    assert_string_equal(jobs[0]->project_tag.text, ""); /* so it is read again, and is new */
    hand_over_status = PIL_STATUS_OK;
    project_comes(PIL_STATUS_OK);
    assert_int_equal(projects, 2);
    assert_int_equal(jobs[0]->task.kind, PIL_FOLLOW_POLL);
    assert_int_equal(jobs[1]->task.kind, PIL_FOLLOW_POLL);
    poll_says(0, A);
    poll_says(1, A);
    assert_int_equal(jobs[1]->task.kind, PIL_FOLLOW_READ_MANIFEST);
    manifest_comes(0);
    end(1, PIL_FOLLOW_READ_MANIFEST, (struct pil_outcome){.status = PIL_STATUS_IO});
}

/* The admission of a release that is not wanted any more is free while the manifest of the next one is read. */
static void a_release_that_is_given_up_keeps_nobody_waiting(void **state) {
    (void)state;
    project_comes(PIL_STATUS_OK);
    poll_says(0, A);
    poll_says(1, A);
    manifest_comes(0);
    manifest_comes(1);
    assert_int_equal(asked, 0);
    pil_follow_admitted(follow, 0, A, PIL_STATUS_OK, "");
    pil_follow_nudge(follow);
    project_comes(PIL_STATUS_OK);
    poll_says(0, B);
    assert_int_equal(jobs[0]->task.kind, PIL_FOLLOW_READ_MANIFEST);
    poll_says(1, A);
    assert_int_equal(asked, 1);
    end(0, PIL_FOLLOW_READ_MANIFEST, (struct pil_outcome){.status = PIL_STATUS_IO});
}

/* A release is held when the supervisor says so of its last shard; nothing goes on before. */
static void a_shard_is_whole_when_the_supervisor_holds_it(void **state) {
    (void)state;
    release_begins(A);
    shard_comes(0);
    assert_int_equal(handed_over, 1);
    assert_null(jobs[0]);
    pil_follow_taken(follow, 0, B, PIL_STATUS_OK, "");     /* nobody asked */
    pil_follow_taken(follow, VIEWS, A, PIL_STATUS_OK, ""); /* no such view */
    pil_follow_admitted(follow, 0, A, PIL_STATUS_OK, "");  /* the answer to another question */
    (void)pil_follow_step(follow);
    assert_null(jobs[0]);
    pil_follow_taken(follow, 0, A, PIL_STATUS_OK, "");
    shard_comes(0);
    assert_false(pil_follow_serves(follow, 0));
    pil_follow_taken(follow, 0, A, PIL_STATUS_OK, "");
    assert_true(pil_follow_serves(follow, 0));
    poll_says(0, A);
    assert_string_equal(published, A);
    assert_string_equal(given_up, "");
    assert_string_equal(pil_follow_target(follow, 0)->live, ""); /* until the server says so */
    pil_follow_published(follow, VIEWS, A, PIL_FETCH_OK, "");    /* no such view */
    pil_follow_published(follow, 0, A, PIL_FETCH_SHORTAGE, "the server is short");
    assert_int_equal(last_report.result, PIL_FETCH_SHORTAGE);
    assert_string_equal(last_report.text, "the server is short");
    pil_follow_published(follow, 0, A, PIL_FETCH_OK, ""); /* it was offered by nobody, and is true all the same */
    assert_string_equal(pil_follow_target(follow, 0)->live, A);
}

static void a_shard_that_is_not_held_is_fetched_again_after_a_while(void **state) {
    (void)state;
    release_begins(A);
    shard_comes(0);
    pil_follow_taken(follow, 0, A, PIL_STATUS_OK, "");
    shard_comes(0);
    pil_follow_taken(follow, 0, A, PIL_STATUS_NO_MEMORY, "the supervisor is short");
    assert_string_equal(given_up, A); /* the first shard is of no use any more */
    (void)pil_follow_step(follow);
    assert_int_equal(last_report.result, PIL_FETCH_SHORTAGE);
    assert_string_equal(last_report.text, "the supervisor is short");
    assert_false(pil_follow_serves(follow, 0));
    now_ns += 999 * ms;
    (void)pil_follow_step(follow);
    assert_null(jobs[0]);
    now_ns += ms;
    given_up[0] = '\0';
    release_begins(A);
    shard_comes(0);
    pil_follow_taken(follow, 0, A, PIL_STATUS_NO_MEMORY, "again");
    assert_string_equal(given_up, ""); /* nothing of it came */
    assert_int_equal(pil_follow_target(follow, 0)->backoff.wait_ms, 2000);
}

static void a_project_that_is_not_held_is_handed_over_again(void **state) {
    (void)state;
    project_comes(PIL_STATUS_OK);
    end(1, PIL_FOLLOW_POLL, (struct pil_outcome){.status = PIL_STATUS_IO});
    pil_follow_taken(follow, 0, "", PIL_STATUS_NO_MEMORY, "no descriptors");
    end(0, PIL_FOLLOW_POLL, (struct pil_outcome){.status = PIL_STATUS_IO});
    now_ns += POLL_MS * ms;
    (void)pil_follow_step(follow);
    assert_int_equal(jobs[0]->task.kind, PIL_FOLLOW_READ_PROJECT);
    assert_string_equal(jobs[0]->project_tag.text, ""); /* whatever is there is new */
    project_comes(PIL_STATUS_OK);
    assert_int_equal(projects, 2);
    end(0, PIL_FOLLOW_POLL, (struct pil_outcome){.status = PIL_STATUS_IO});
    end(1, PIL_FOLLOW_POLL, (struct pil_outcome){.status = PIL_STATUS_IO});
    now_ns += POLL_MS * ms;
    (void)pil_follow_step(follow);
    assert_string_equal(jobs[0]->project_tag.text, "v1"); /* it is held now */
    end(0, PIL_FOLLOW_READ_PROJECT, (struct pil_outcome){.status = PIL_STATUS_IO});
    end(0, PIL_FOLLOW_POLL, (struct pil_outcome){.status = PIL_STATUS_IO});
    end(1, PIL_FOLLOW_POLL, (struct pil_outcome){.status = PIL_STATUS_IO});
}

/* Each change of what the store has is told once; a failure to read it says nothing about that. */
static void a_document_that_cannot_be_used_is_told_once_and_stops_no_view(void **state) {
    static const struct {
        pil_status status;
        uint32_t told;
        const char *why;
    } steps[] = {{PIL_STATUS_CORRUPT, 1, "a"},   {PIL_STATUS_CORRUPT, 1, "a"},   {PIL_STATUS_IO, 1, "b"},
                 {PIL_STATUS_CORRUPT, 1, "a"},   {PIL_STATUS_OK, 1, ""},         {PIL_STATUS_TOO_LARGE, 2, "a"},
                 {PIL_STATUS_NOT_FOUND, 3, "a"}, {PIL_STATUS_NOT_FOUND, 3, "a"}, {PIL_STATUS_CORRUPT, 4, "a"},
                 {PIL_STATUS_CORRUPT, 5, "b"}}; /* the next mistake, after the first one was corrected */
    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct pil_outcome outcome = {.status = steps[i].status};
        snprintf(outcome.error.text, sizeof outcome.error.text, "%s", steps[i].why);
        end(0, PIL_FOLLOW_READ_PROJECT, outcome);
        assert_int_equal(no_projects, steps[i].told);
        assert_true(steps[i].status == PIL_STATUS_OK || steps[i].status == PIL_STATUS_IO ||
                    no_project_status == steps[i].status);
        end(0, PIL_FOLLOW_POLL, (struct pil_outcome){.status = PIL_STATUS_IO});
        end(1, PIL_FOLLOW_POLL, (struct pil_outcome){.status = PIL_STATUS_IO});
        now_ns += POLL_MS * ms;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(views_wait_for_their_project_and_say_so, setup, teardown),
        cmocka_unit_test_setup_teardown(a_release_that_is_given_up_keeps_nobody_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(a_shard_is_whole_when_the_supervisor_holds_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_shard_that_is_not_held_is_fetched_again_after_a_while, setup, teardown),
        cmocka_unit_test_setup_teardown(a_project_that_is_not_held_is_handed_over_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_document_that_cannot_be_used_is_told_once_and_stops_no_view, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
