/* SPDX-License-Identifier: Apache-2.0
 * What tests of the mapped listener ask it, and expect, in one thread with it. */
#pragma once

#include "metric/exposition.h"
#include "support/mapped_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct pil_mapped_message hello = {
    .type = PIL_MAPPED_HELLO, .index = 1, .count = 1, .text = {(const uint8_t *)"te st", 5}};

static inline int setup(void **state) {
    struct mapped_fixture *f = malloc(sizeof *f);
    mapped_fixture_init(f);
    *state = f;
    return 0;
}

static inline int teardown(void **state) {
    pil_mapped_validate(((struct mapped_fixture *)*state)->mapped);
    mapped_fixture_deinit(*state);
    free(*state);
    return 0;
}

/* Asks and returns the one answer; its descriptors are the caller's. */
static inline struct mapped_answer ask(struct mapped_fixture *f, int fd, struct pil_mapped_message message) {
    struct mapped_answer answer;
    mapped_send(fd, message);
    mapped_turn(f);
    assert_int_equal(mapped_receive(fd, &answer), 1);
    answer.message.text.data = answer.packet + PIL_MAPPED_HEAD_BYTES; /* the copy's own */
    return answer;
}

/* What ACQUIRE gives: the generation, or 0 with the answer's text in `why`. */
static inline uint64_t acquire_why(struct mapped_fixture *f, int fd, uint32_t view,
                                   char why[PIL_MAPPED_TEXT_BYTES_MAX + 1]) {
    struct mapped_answer answer = ask(f, fd, (struct pil_mapped_message){.type = PIL_MAPPED_ACQUIRE, .view = view});
    assert_int_equal(answer.message.view, view);
    snprintf(why, PIL_MAPPED_TEXT_BYTES_MAX + 1, "%.*s", (int)answer.message.text.len,
             (const char *)answer.packet + PIL_MAPPED_HEAD_BYTES);
    mapped_answer_deinit(&answer);
    return answer.message.type == PIL_MAPPED_GRANT ? answer.message.generation : 0;
}

static inline uint64_t acquire(struct mapped_fixture *f, int fd, uint32_t view) {
    char why[PIL_MAPPED_TEXT_BYTES_MAX + 1];
    return acquire_why(f, fd, view, why);
}

static inline void assert_refused(struct mapped_fixture *f, int fd, uint32_t view, const char *expected) {
    char why[PIL_MAPPED_TEXT_BYTES_MAX + 1];
    assert_int_equal(acquire_why(f, fd, view, why), 0);
    if (strstr(why, expected) == NULL) {
        fail_msg("'%s' is not in '%s'", expected, why);
    }
}

static inline int begin(struct mapped_fixture *f) {
    int fd = mapped_connect(f);
    struct mapped_answer answer = ask(f, fd, hello);
    assert_int_equal(answer.message.type, PIL_MAPPED_WELCOME);
    mapped_answer_deinit(&answer);
    return fd;
}

static inline void drop(struct mapped_fixture *f, int fd, uint32_t view, uint64_t generation) {
    mapped_send(fd, (struct pil_mapped_message){.type = PIL_MAPPED_DROP, .view = view, .generation = generation});
    mapped_turn(f);
}

static inline void assert_gauge(const struct mapped_fixture *f, const char *line, bool is_there) {
    struct pil_text page = {0};
    pil_mapped_tick(f->mapped);
    pil_metric_expose(pil_server_metrics(f->server), PIL_EXPOSITION_TEXT, &page);
    if ((strstr(pil_text_chars(&page), line) != NULL) != is_there) {
        fail_msg("'%s' is%s in\n%s", line, is_there ? " not" : "", pil_text_chars(&page));
    }
    pil_text_deinit(&page);
}
