/* SPDX-License-Identifier: Apache-2.0
 * Goal: who may map a view gets sealed descriptors and a control page that nobody else can write; generations count for
 * as long as somebody holds them; a client that misbehaves harms itself alone. Method: a listener and clients on real
 * sockets in one thread; time limits are met by moving the recorded times. */
#include "support/mapped_fixture.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include <cmocka.h>

static const struct pil_mapped_message hello = {
    .type = PIL_MAPPED_HELLO, .index = 1, .count = 1, .text = {(const uint8_t *)"te st", 5}};

static int setup(void **state) {
    struct mapped_fixture *f = malloc(sizeof *f);
    mapped_fixture_init(f);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    mapped_check_counts(((struct mapped_fixture *)*state)->mapped);
    mapped_fixture_deinit(*state);
    free(*state);
    return 0;
}

/* Asks and returns the one answer; its descriptors are the caller's. */
static struct mapped_answer ask(struct mapped_fixture *f, int fd, struct pil_mapped_message message) {
    struct mapped_answer answer;
    mapped_send(fd, message);
    mapped_turn(f);
    assert_int_equal(mapped_receive(fd, &answer), 1);
    answer.message.text.data = answer.packet + PIL_MAPPED_HEAD_BYTES; /* the copy's own */
    return answer;
}

/* What ACQUIRE gives: the generation, or 0 with the answer's text in `why`. */
static uint64_t acquire_why(struct mapped_fixture *f, int fd, uint32_t view, char why[PIL_MAPPED_TEXT_BYTES_MAX + 1]) {
    struct mapped_answer answer = ask(f, fd, (struct pil_mapped_message){.type = PIL_MAPPED_ACQUIRE, .view = view});
    assert_int_equal(answer.message.view, view);
    snprintf(why, PIL_MAPPED_TEXT_BYTES_MAX + 1, "%.*s", (int)answer.message.text.len,
             (const char *)answer.packet + PIL_MAPPED_HEAD_BYTES);
    mapped_answer_deinit(&answer);
    return answer.message.type == PIL_MAPPED_GRANT ? answer.message.generation : 0;
}

static uint64_t acquire(struct mapped_fixture *f, int fd, uint32_t view) {
    char why[PIL_MAPPED_TEXT_BYTES_MAX + 1];
    return acquire_why(f, fd, view, why);
}

static void assert_refused(struct mapped_fixture *f, int fd, uint32_t view, const char *expected) {
    char why[PIL_MAPPED_TEXT_BYTES_MAX + 1];
    assert_int_equal(acquire_why(f, fd, view, why), 0);
    if (strstr(why, expected) == NULL) {
        fail_msg("'%s' is not in '%s'", expected, why);
    }
}

static int begin(struct mapped_fixture *f) {
    int fd = mapped_connect(f);
    struct mapped_answer answer = ask(f, fd, hello);
    assert_int_equal(answer.message.type, PIL_MAPPED_WELCOME);
    mapped_answer_deinit(&answer);
    return fd;
}

static void drop(struct mapped_fixture *f, int fd, uint32_t view, uint64_t generation) {
    mapped_send(fd, (struct pil_mapped_message){.type = PIL_MAPPED_DROP, .view = view, .generation = generation});
    mapped_turn(f);
}

static void the_control_page_is_written_by_the_server_only(void **state) {
    struct mapped_fixture *f = *state;
    int fd = mapped_connect(f);
    struct mapped_answer answer = ask(f, fd, hello);
    assert_int_equal(answer.message.index, PIL_MAPPED_VERSION);
    assert_int_equal(answer.message.count, 2);
    assert_int_equal(answer.fd_count, 1);
    size_t bytes = sizeof(struct pil_mapped_control);
    assert_ptr_equal(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, answer.fds[0], 0), MAP_FAILED);
    assert_int_equal(pwrite(answer.fds[0], "x", 1, 0), -1);
    assert_int_equal(ftruncate(answer.fds[0], 0), -1);
    const struct pil_mapped_control *page = mmap(NULL, bytes, PROT_READ, MAP_SHARED, answer.fds[0], 0);
    assert_ptr_not_equal(page, MAP_FAILED);
    assert_int_equal(mprotect((void *)(uintptr_t)page, bytes, PROT_READ | PROT_WRITE), -1);
    assert_int_equal(page->magic, PIL_MAPPED_CONTROL_MAGIC);
    assert_true(page->daemon_id == answer.message.number && page->view_count == 2);
    uint64_t heartbeat_ns = page->heartbeat_ns, catalog = page->catalog_generation;
    pil_mapped_tick(f->mapped);
    assert_true(page->heartbeat_ns > heartbeat_ns && page->state == PIL_MAPPED_SERVING);
    assert_int_equal(page->views[1].generation, 0);
    mapped_publish(f, 1, 0);
    pil_mapped_checked(f->mapped, 1, 77);
    assert_int_equal(page->views[1].generation, 1);
    assert_int_equal(page->views[1].checked_us, 77);
    pil_mapped_set_project(f->mapped, f->project);
    assert_true(page->catalog_generation > catalog);
    pil_mapped_destroy(&f->mapped);
    assert_int_equal(page->state, PIL_MAPPED_CLOSING);
    assert_int_equal(mapped_receive(fd, &answer), -1);
    munmap((void *)(uintptr_t)page, bytes);
    close(fd);
    struct pil_error error;
    assert_int_equal(pil_mapped_create(f->server, &f->mapped, &error), PIL_STATUS_OK);
}

static void a_release_of_many_shards_comes_in_several_packets(void **state) {
    struct mapped_fixture *f = *state;
    struct mapped_answer answer;
    uint32_t next = 0;
    mapped_publish(f, 0, 7);
    int fd = begin(f);
    mapped_send(fd, (struct pil_mapped_message){.type = PIL_MAPPED_ACQUIRE});
    mapped_turn(f);
    while (mapped_receive(fd, &answer) == 1) {
        assert_int_equal(answer.message.type, PIL_MAPPED_GRANT);
        assert_int_equal(answer.message.index, next);
        assert_int_equal(answer.message.count, 128);
        assert_int_equal(answer.message.number, 1000);
        assert_true(pil_bytes_equal_text(answer.message.text, "0000000000000001"));
        assert_int_equal(answer.fd_count, PIL_MAPPED_FDS_MAX);
        for (uint32_t i = 0; i < answer.fd_count; i++) {
            assert_true(pil_sys_memfd_is_sealed(answer.fds[i]));
        }
        next += answer.fd_count;
        mapped_answer_deinit(&answer);
    }
    assert_int_equal(next, 128);
    close(fd);
}

static void a_generation_is_held_until_dropped_or_the_socket_ends(void **state) {
    struct mapped_fixture *f = *state;
    mapped_publish(f, 0, 0);
    int a = begin(f), b = begin(f);
    assert_int_equal(acquire(f, a, 0), 1);
    assert_int_equal(acquire(f, a, 0), 1); /* again: one hold */
    assert_int_equal(acquire(f, b, 0), 1);
    mapped_check_counts(f->mapped);
    mapped_publish(f, 0, 0);
    assert_true(pil_mapped_is_held(f->mapped, 0, 1));
    drop(f, a, 0, 7); /* not held: nothing */
    drop(f, a, 1, 1);
    drop(f, a, 9, 1);
    assert_true(pil_mapped_is_held(f->mapped, 0, 1));
    drop(f, a, 0, 1);
    drop(f, a, 0, 1);
    assert_true(pil_mapped_is_held(f->mapped, 0, 1));
    int child = dup(b); /* as after fork: the mappings live on */
    close(b);
    mapped_turn(f);
    assert_true(pil_mapped_is_held(f->mapped, 0, 1));
    close(child);
    mapped_turn(f);
    assert_false(pil_mapped_is_held(f->mapped, 0, 1));
    assert_int_equal(acquire(f, a, 0), 2);
    close(a);
}

static void generations_are_capped(void **state) {
    struct mapped_fixture *f = *state;
    int fds[3];
    for (uint64_t i = 0; i < 3; i++) {
        mapped_publish(f, 0, 0);
        fds[i] = begin(f);
        assert_int_equal(acquire(f, fds[i], 0), i + 1);
    }
    mapped_publish(f, 0, 0);
    int late = begin(f);
    assert_refused(f, late, 0, "3 generations of p/v are mapped already");
    mapped_publish(f, 1, 0);
    assert_int_equal(acquire(f, late, 1), 1); /* of another view */
    drop(f, fds[1], 0, 2);
    assert_int_equal(acquire(f, late, 0), 4);
    close(late);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
}

static void who_keeps_what_was_replaced_is_granted_nothing(void **state) {
    struct mapped_fixture *f = *state;
    mapped_publish(f, 0, 0);
    mapped_publish(f, 1, 0);
    int fd = begin(f), other = begin(f);
    assert_int_equal(acquire(f, fd, 0), 1);
    mapped_publish(f, 0, 0);
    assert_int_equal(acquire(f, fd, 0), 2); /* in time */
    pil_mapped_generation_find(f->mapped, 0, 1)->retired_ns -= f->settings.mapped_hold_timeout_ms * 1000000 + 1;
    assert_refused(f, fd, 0, "drop generation 1 of v first");
    assert_refused(f, fd, 1, "drop generation 1 of v first");
    assert_int_equal(acquire(f, other, 0), 2); /* who keeps nothing */
    drop(f, fd, 0, 1);
    assert_int_equal(acquire(f, fd, 1), 1);
    close(fd);
    close(other);
}

static void views_may_be_mapped_by_whom_their_rule_names(void **state) {
    struct mapped_fixture *f = *state;
    struct pil_map_rule *rule = &f->settings.views[0].map;
    mapped_publish(f, 0, 0);
    int fd = begin(f);
    rule->is_given = true;
    assert_refused(f, fd, 0, "p/v may not be mapped by uid");
    rule->uids[rule->uid_count++] = geteuid() + 1;
    assert_refused(f, fd, 0, "p/v may not be mapped by uid");
    rule->uids[rule->uid_count++] = geteuid();
    assert_int_equal(acquire(f, fd, 0), 1);
    rule->uid_count = 0;
    rule->gids[rule->gid_count++] = getegid();
    assert_int_equal(acquire(f, fd, 0), 1);
    rule->gid_count = 0;
    snprintf(rule->cgroups[rule->cgroup_count++], sizeof rule->cgroups[0], "*");
    bool is_known = f->mapped->sessions->cgroup[0] != '\0';
    assert_int_equal(acquire(f, fd, 0), is_known ? 1 : 0);
    f->mapped->sessions->cgroup[0] = '\0'; /* a process whose cgroup cannot be read is in none */
    assert_refused(f, fd, 0, "cgroup unknown");
    assert_refused(f, fd, 2, "no view has this index");
    assert_refused(f, fd, UINT32_MAX, "no view has this index");
    close(fd);
}

static void set_tag(struct mapped_fixture *f, const char *value) {
    json_object_clear(f->project->views[0].tags);
    if (value != NULL) {
        json_object_set_new(f->project->views[0].tags, "regulated", json_string(value));
    }
    pil_mapped_set_project(f->mapped, f->project);
}

static void regulated_views_are_mapped_by_who_is_named_only(void **state) {
    struct mapped_fixture *f = *state;
    static const char why[] = "it is regulated, and the configuration names nobody";
    mapped_publish(f, 0, 0);
    int fd = begin(f);
    set_tag(f, "hipaa");
    assert_refused(f, fd, 0, why);
    set_tag(f, "");
    assert_refused(f, fd, 0, why);
    set_tag(f, "false");
    assert_int_equal(acquire(f, fd, 0), 1);
    set_tag(f, NULL);
    assert_int_equal(acquire(f, fd, 0), 1);
    struct pil_feature *feature = &f->project->views[0].view->features[2], untagged = *feature;
    static char *tags[] = {(char *)(uintptr_t) "pii", (char *)(uintptr_t) "regulated"};
    feature->tags = tags;
    feature->tag_count = 2;
    set_tag(f, "false");
    *feature = untagged;
    assert_refused(f, fd, 0, why);
    f->settings.views[0].map = (struct pil_map_rule){.is_given = true, .uids = {geteuid()}, .uid_count = 1};
    assert_int_equal(acquire(f, fd, 0), 1);
    close(fd);
}

/* The schema of the release says it, too: it needs no project. */
static void releases_with_regulated_features_are_regulated(void **state) {
    struct mapped_fixture *f = *state;
    struct pil_text yaml = {0}, problems = {0};
    struct pil_project *project = NULL;
    pil_text_format(&yaml, "project: p\nentities: [{name: id, type: int64}]\nfeature_views:\n  - name: v\n"
                           "    entities: [id]\n    source: {type: parquet, path: x, timestamp_field: t}\n"
                           "    features: [{name: f, type: float32, tags: [regulated]}]\n");
    assert_int_equal(pil_project_parse_yaml(pil_text_bytes(&yaml), "test", &project, &problems), PIL_STATUS_OK);
    mapped_publish_view(f, 0, project->views[0].view, 0);
    int fd = begin(f);
    assert_refused(f, fd, 0, "it is regulated");
    mapped_publish(f, 0, 0);
    assert_int_equal(acquire(f, fd, 0), 2);
    close(fd);
    pil_project_destroy(&project);
    pil_text_deinit(&yaml);
    pil_text_deinit(&problems);
}

static void views_of_an_unreadable_project_count_as_regulated(void **state) {
    struct mapped_fixture *f = *state;
    mapped_publish(f, 0, 0);
    int fd = begin(f);
    pil_mapped_miss_project(f->mapped, 1);
    assert_refused(f, fd, 0, "it is regulated");
    set_tag(f, NULL);
    assert_int_equal(acquire(f, fd, 0), 1);
    pil_mapped_miss_project(f->mapped, 0); /* the one before goes on */
    assert_int_equal(acquire(f, fd, 0), 1);
    close(fd);
}

static void rubbish_ends_its_own_session(void **state) {
    struct mapped_fixture *f = *state;
    static const struct pil_mapped_message wrong[] = {
        {.type = PIL_MAPPED_HELLO, .index = 1, .count = 1}, /* a second time */
        {.type = PIL_MAPPED_WELCOME},
        {.type = PIL_MAPPED_GRANT},
        {.type = PIL_MAPPED_REFUSE},
    };
    struct mapped_answer answer;
    int good = begin(f);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int fd = begin(f);
        answer = ask(f, fd, wrong[i]);
        assert_int_equal(answer.message.type, PIL_MAPPED_REFUSE);
        assert_int_equal(answer.message.code, PIL_STATUS_INVALID);
        assert_int_equal(mapped_receive(fd, &answer), -1);
        close(fd);
    }
    for (uint32_t i = 0; i < 3; i++) {
        static const uint8_t long_packet[4096] = "PILM";
        int fd = mapped_connect(f);
        assert_true(send(fd, long_packet, i == 0 ? 1 : i == 1 ? 48 : sizeof long_packet, MSG_NOSIGNAL) > 0);
        mapped_turn(f);
        assert_int_equal(mapped_receive(fd, &answer), -1);
        close(fd);
    }
    struct pil_mapped_message newer = {.type = PIL_MAPPED_HELLO, .index = 2, .count = 3};
    int fd = mapped_connect(f);
    answer = ask(f, fd, newer);
    assert_int_equal(answer.message.code, PIL_STATUS_UNSUPPORTED);
    assert_int_equal(mapped_receive(fd, &answer), -1);
    close(fd);
    assert_int_equal(f->mapped->session_count, 1);
    assert_refused(f, good, 0, "has no release yet");
    close(good);
}

static void descriptors_from_clients_are_not_kept(void **state) {
    struct mapped_fixture *f = *state;
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX];
    struct iovec part = {.iov_base = packet, .iov_len = pil_mapped_encode(&hello, packet)};
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    int pipe_fds[2], fd = mapped_connect(f);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
    memcpy(CMSG_DATA(&control.header), &pipe_fds[1], sizeof(int));
    assert_true(sendmsg(fd, &head, MSG_NOSIGNAL) > 0);
    close(pipe_fds[1]);
    mapped_turn(f);
    assert_int_equal(read(pipe_fds[0], packet, 1), 0); /* the last writer is gone */
    close(pipe_fds[0]);
    close(fd);
}

static void sessions_that_never_begin_make_room(void **state) {
    struct mapped_fixture *f = *state;
    struct mapped_answer answer;
    int fds[4], good = begin(f);
    for (int i = 0; i < 4; i++) {
        fds[i] = mapped_connect(f);
    }
    mapped_turn(f);
    assert_int_equal(f->mapped->session_count, 4);
    assert_int_equal(mapped_receive(fds[3], &answer), -1); /* one too many */
    for (struct pil_mapped_session *at = f->mapped->sessions; at != NULL; at = at->next) {
        at->since_ns = pil_clock_monotonic_ns() - 10000000000;
    }
    pil_mapped_tick(f->mapped);
    assert_int_equal(f->mapped->session_count, 1);
    assert_refused(f, good, 0, "has no release yet");
    for (int i = 0; i < 4; i++) {
        close(fds[i]);
    }
    close(good);
}

static void who_does_not_read_is_not_read_from(void **state) {
    struct mapped_fixture *f = *state;
    struct mapped_answer answer;
    uint32_t sent = 0, answered = 0;
    uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX];
    struct pil_mapped_message ask_catalog = {.type = PIL_MAPPED_CATALOG};
    size_t len = pil_mapped_encode(&ask_catalog, packet);
    int fd = begin(f);
    for (int i = 0; i < 10000 && send(fd, packet, len, MSG_NOSIGNAL) == (ssize_t)len; i++) {
        sent++;
        pil_mapped_turn(f->mapped);
    }
    assert_true(f->mapped->sessions->is_paused);
    mapped_turn(f);           /* nothing to do: no event */
    while (answered < sent) { /* who reads gets the rest */
        int got = mapped_receive(fd, &answer);
        assert_int_not_equal(got, -1);
        answered += got == 1;
        mapped_answer_deinit(&answer);
        pil_mapped_turn(f->mapped);
    }
    assert_false(f->mapped->sessions->is_paused);
    assert_refused(f, fd, 0, "has no release yet");
    close(fd);
}

static void without_descriptors_accepting_waits(void **state) {
    struct mapped_fixture *f = *state;
    struct rlimit before, none;
    struct epoll_event event;
    int fd = mapped_connect(f);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    mapped_turn(f);
    assert_int_equal(epoll_wait(pil_mapped_descriptor(f->mapped), &event, 1, 0), 0); /* does not spin */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(f->mapped->session_count, 0);
    f->mapped->resume_ns = 1;
    pil_mapped_tick(f->mapped);
    struct mapped_answer answer = ask(f, fd, hello);
    assert_int_equal(answer.message.type, PIL_MAPPED_WELCOME);
    mapped_answer_deinit(&answer);
    close(fd);
}

static void locates_the_releases_of_the_last_time(void **state) {
    struct mapped_fixture *f = *state;
    struct pil_mapped_message locate = {.type = PIL_MAPPED_LOCATE, .text = pil_bytes_from_text("0000000000000001")};
    int fd = begin(f);
    assert_int_equal(ask(f, fd, locate).message.code, PIL_STATUS_NOT_FOUND);
    for (int i = 0; i <= PIL_RELEASE_HISTORY_MAX + 1; i++) {
        mapped_publish(f, 0, 0);
    }
    assert_int_equal(ask(f, fd, locate).message.code, PIL_STATUS_NOT_FOUND); /* one too long ago */
    locate.text = pil_bytes_from_text("0000000000000002");
    struct mapped_answer answer = ask(f, fd, locate);
    assert_int_equal(answer.message.type, PIL_MAPPED_LOCATE);
    assert_int_equal(answer.message.number, 2000);
    locate.text = pil_bytes_from_text("");
    assert_int_equal(ask(f, fd, locate).message.code, PIL_STATUS_NOT_FOUND);
    locate.text = pil_bytes_from_text("0000000000000002");
    locate.view = 5;
    assert_int_equal(ask(f, fd, locate).message.code, PIL_STATUS_NOT_FOUND);
    close(fd);
}

static void see_holder(void *context, const struct pil_mapped_holder *holder) {
    uint64_t *seen = context;
    assert_int_equal(holder->uid, geteuid());
    assert_int_equal(holder->pid, getpid());
    assert_string_equal(holder->name, "te?st"); /* as printable as others are shown it */
    assert_string_equal(holder->release, holder->generation == 1 ? "0000000000000001" : "0000000000000002");
    assert_int_equal(holder->is_live, holder->generation == 2);
    assert_true(holder->bytes > 0 && holder->since_us > 0);
    *seen += holder->generation;
}

static void holders_are_listed(void **state) {
    struct mapped_fixture *f = *state;
    uint64_t seen = 0;
    mapped_publish(f, 0, 0);
    int fd = begin(f);
    assert_int_equal(acquire(f, fd, 0), 1);
    mapped_publish(f, 0, 0);
    assert_int_equal(acquire(f, fd, 0), 2);
    pil_mapped_visit(f->mapped, see_holder, &seen);
    assert_int_equal(seen, 1 + 2);
    close(fd);
    mapped_turn(f);
    seen = 0;
    pil_mapped_visit(f->mapped, see_holder, &seen);
    assert_int_equal(seen, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_control_page_is_written_by_the_server_only, setup, teardown),
        cmocka_unit_test_setup_teardown(a_release_of_many_shards_comes_in_several_packets, setup, teardown),
        cmocka_unit_test_setup_teardown(a_generation_is_held_until_dropped_or_the_socket_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(generations_are_capped, setup, teardown),
        cmocka_unit_test_setup_teardown(who_keeps_what_was_replaced_is_granted_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(views_may_be_mapped_by_whom_their_rule_names, setup, teardown),
        cmocka_unit_test_setup_teardown(regulated_views_are_mapped_by_who_is_named_only, setup, teardown),
        cmocka_unit_test_setup_teardown(releases_with_regulated_features_are_regulated, setup, teardown),
        cmocka_unit_test_setup_teardown(views_of_an_unreadable_project_count_as_regulated, setup, teardown),
        cmocka_unit_test_setup_teardown(rubbish_ends_its_own_session, setup, teardown),
        cmocka_unit_test_setup_teardown(descriptors_from_clients_are_not_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(sessions_that_never_begin_make_room, setup, teardown),
        cmocka_unit_test_setup_teardown(who_does_not_read_is_not_read_from, setup, teardown),
        cmocka_unit_test_setup_teardown(without_descriptors_accepting_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(locates_the_releases_of_the_last_time, setup, teardown),
        cmocka_unit_test_setup_teardown(holders_are_listed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
