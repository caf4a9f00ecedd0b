/* SPDX-License-Identifier: Apache-2.0
 * Goal: who may map a view gets sealed descriptors and a control page that nobody else can write; generations count for
 * as long as somebody holds them; a client that misbehaves harms itself alone. Method: a listener and clients on real
 * sockets in one thread; time limits are met by moving the recorded times. The state is validated after every step. */
#include "unit/mapped/client.h"
#include "schema/project_read.h"

#include "base/clock.h"

#include <sys/epoll.h>
#include <sys/resource.h>

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
        mapped_turn(f); /* the next packet comes when this one was read */
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
    pil_mapped_validate(f->mapped);
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
    pil_mapped_generation_find(&f->mapped->views[0].generations, 1)->retired_ns -=
        f->settings.mapped_hold_timeout_ms * 1000000 + 1;
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
    struct pil_peer_rule *rule = &f->settings.views[0].map;
    mapped_publish(f, 0, 0);
    int fd = begin(f);
    *rule = (struct pil_peer_rule){.is_given = true};
    pil_mapped_views_changed(f->mapped);
    assert_refused(f, fd, 0, "p/v may not be mapped by uid");
    *rule = (struct pil_peer_rule){.is_given = true, .uids = {geteuid() + 1, geteuid()}, .uid_count = 1};
    pil_mapped_views_changed(f->mapped);
    assert_refused(f, fd, 0, "p/v may not be mapped by uid");
    rule->uid_count = 2;
    pil_mapped_views_changed(f->mapped);
    assert_int_equal(acquire(f, fd, 0), 1);
    *rule = (struct pil_peer_rule){.is_given = true, .gids = {getegid()}, .gid_count = 1};
    pil_mapped_views_changed(f->mapped);
    assert_int_equal(acquire(f, fd, 0), 1);
    *rule = (struct pil_peer_rule){.is_given = true, .cgroups = {"*"}, .cgroup_count = 1};
    pil_mapped_views_changed(f->mapped);
    struct pil_peer_identity *peer = &mapped_last_session(f)->peer;
    assert_int_equal(acquire(f, fd, 0), (peer->known & PIL_PEER_CGROUP) != 0 ? 1 : 0);
    peer->known &= ~(uint32_t)PIL_PEER_CGROUP;
    pil_mapped_views_changed(f->mapped);
    assert_refused(f, fd, 0, "cgroup unknown");
    assert_refused(f, fd, 2, "no view has this index");
    assert_refused(f, fd, UINT32_MAX, "no view has this index");
    close(fd);
}

static void the_gauges_of_a_view_are_of_all_its_slots(void **state) {
    struct mapped_fixture *f = *state;
    mapped_publish(f, 0, 0);
    mapped_publish(f, 1, 0);
    int fd = begin(f);
    assert_int_equal(acquire(f, fd, 0), 1);
    assert_int_equal(acquire(f, fd, 1), 1);
    memcpy(f->settings.views[1].view, "v", 2); /* in the slot behind the one that is served, and before it */
    for (uint32_t removed = 0; removed < 2; removed++) {
        f->settings.views[removed].is_removed = true;
        f->settings.views[1 - removed].is_removed = false;
        pil_mapped_views_changed(f->mapped);
        assert_gauge(f, "pillion_mapped_generations{view=\"p/v\"} 2\n", true);
    }
    close(fd);
    mapped_turn(f);
    assert_gauge(f, "pillion_mapped_generations{view=\"p/v\"} 0\n", true);
    assert_gauge(f, "pillion_mapped_pinned_bytes{view=\"p/v\"} 0\n", true);
    f->settings.views[0].is_removed = true;
    assert_gauge(f, "pillion_mapped_generations{view=\"p/v\"}", false);
    assert_gauge(f, "pillion_mapped_pinned_bytes{view=\"p/v\"}", false);
}

/* What a client is told when it asks for the catalog; the caller frees it. */
static json_t *read_catalog(struct mapped_fixture *f, int fd) {
    char text[65536];
    struct mapped_answer answer = ask(f, fd, (struct pil_mapped_message){.type = PIL_MAPPED_CATALOG});
    assert_int_equal(answer.message.type, PIL_MAPPED_CATALOG);
    assert_int_equal(answer.fd_count, 1);
    assert_true(answer.message.generation == f->mapped->page->catalog_generation);
    assert_true(pil_sys_memfd_is_sealed(answer.fds[0]));
    ssize_t len = pread(answer.fds[0], text, sizeof text, 0);
    assert_true(len > 0 && len < (ssize_t)sizeof text);
    mapped_answer_deinit(&answer);
    json_t *json = json_loadb(text, (size_t)len, 0, NULL);
    assert_non_null(json);
    return json;
}

static const char *text_in(const json_t *json, const char *key) {
    return json_string_value(json_object_get(json, key));
}

/* "v:p/v,/ p(v w|every)": views by index, then projects with their views and services. */
static const char *shown_catalog(struct mapped_fixture *f, int fd) {
    static char shown[512];
    json_t *catalog = read_catalog(f, fd), *at, *inner;
    size_t i, k, len = 0;
    json_array_foreach(json_object_get(catalog, "views"), i, at) {
        assert_int_equal(json_integer_value(json_object_get(at, "index")), i);
        len += (size_t)snprintf(shown + len, sizeof shown - len, "%s/%s ", text_in(at, "project"), text_in(at, "name"));
    }
    json_array_foreach(json_object_get(catalog, "projects"), i, at) {
        len += (size_t)snprintf(shown + len, sizeof shown - len, "%s(", text_in(at, "project"));
        json_array_foreach(json_object_get(at, "entities"), k, inner) {
            len += (size_t)snprintf(shown + len, sizeof shown - len, "%s ", text_in(inner, "name"));
        }
        json_array_foreach(json_object_get(at, "feature_views"), k, inner) {
            len += (size_t)snprintf(shown + len, sizeof shown - len, "%s ", text_in(inner, "name"));
        }
        json_array_foreach(json_object_get(at, "feature_services"), k, inner) {
            len += (size_t)snprintf(shown + len, sizeof shown - len, "%s ", text_in(inner, "name"));
        }
        len += (size_t)snprintf(shown + len, sizeof shown - len, ")");
    }
    json_decref(catalog);
    return shown;
}

static struct pil_project *parse_project(const char *yaml) {
    struct pil_text problems = {0};
    struct pil_project *project = NULL;
    pil_status status = pil_project_parse_yaml(pil_bytes_from_text(yaml), "test", &project, &problems);
    if (status != PIL_STATUS_OK) {
        fail_msg("%s", pil_text_chars(&problems));
    }
    return project;
}

static const char two_views[] =
    "project: p\nentities: [{name: one, type: int64}, {name: two, type: int64}]\nfeature_views:\n"
    "  - {name: v, entities: [one], source: {type: csv, path: x, timestamp_field: t},\n"
    "     features: [{name: f, type: float32}]}\n"
    "  - {name: w, entities: [two], source: {type: csv, path: x, timestamp_field: t},\n"
    "     features: [{name: g, type: float32}]}\n"
    "  - {name: offline, entities: [one], source: {type: csv, path: x, timestamp_field: t},\n"
    "     features: [{name: h, type: float32}]}\n"
    "feature_services:\n  - {name: first, features: [v]}\n  - {name: second, features: [w]}\n"
    "  - {name: both, features: [v, w]}\n";

static void a_client_is_told_of_the_views_that_it_may_read(void **state) {
    struct mapped_fixture *f = *state;
    struct pil_project *project = parse_project(two_views);
    static const char all[] = "p/v p/w p(one two v w offline first second both )";
    pil_mapped_set_project(f->mapped, project);
    int fd = begin(f);
    assert_string_equal(shown_catalog(f, fd), all);
    f->settings.views[1].read = (struct pil_peer_rule){.is_given = true};
    pil_mapped_views_changed(f->mapped);
    assert_string_equal(shown_catalog(f, fd), "p/v / p(one v offline first )");
    f->settings.views[1].is_removed = true; /* whoever could not read it then is not told its name now */
    pil_mapped_views_changed(f->mapped);
    assert_string_equal(shown_catalog(f, fd), "p/v / p(one v offline first )");
    f->settings.views[1].is_removed = false;
    f->settings.views[0].read = (struct pil_peer_rule){.is_given = true, .uids = {geteuid() + 1}, .uid_count = 1};
    pil_mapped_views_changed(f->mapped);
    assert_string_equal(shown_catalog(f, fd), "/ / ");
    f->settings.views[0].read.uids[0] = geteuid();
    f->settings.views[1].read = f->settings.views[0].read;
    pil_mapped_views_changed(f->mapped);
    assert_string_equal(shown_catalog(f, fd), all);
    f->settings.views[1].map = (struct pil_peer_rule){.is_given = true}; /* read over a socket, it is */
    pil_mapped_views_changed(f->mapped);
    assert_string_equal(shown_catalog(f, fd), all);
    close(fd);
    pil_project_destroy(&project);
}

/* A document may say any name: one that no view has is not kept, however many come. */
static void projects_of_no_view_are_not_shown(void **state) {
    struct mapped_fixture *f = *state;
    struct pil_project *project = parse_project(two_views);
    char *name = project->name;
    int fd = begin(f);
    for (uint32_t i = 0; i <= PIL_SETTINGS_VIEWS_MAX; i++) {
        char other[16];
        snprintf(other, sizeof other, "other%u", i);
        project->name = other;
        pil_mapped_set_project(f->mapped, project);
    }
    project->name = name;
    assert_string_equal(shown_catalog(f, fd), "p/v p/w ");
    pil_mapped_set_project(f->mapped, project);
    assert_string_equal(shown_catalog(f, fd), "p/v p/w p(one two v w offline first second both )");
    close(fd);
    pil_project_destroy(&project);
}

/* Two clients at once, whose documents differ; then more kinds of clients than documents are kept. */
/* A view that came back with another rule has several slots. */
static void removed_slots_of_a_view_hide_it_unless_it_is_served(void **state) {
    struct mapped_fixture *f = *state;
    struct pil_project *project = parse_project(two_views);
    struct pil_view_settings *views = f->settings.views;
    pil_mapped_set_project(f->mapped, project);
    int fd = begin(f);
    views[1] = views[0];
    views[0].read = (struct pil_peer_rule){.is_given = true}; /* nobody */
    views[0].is_removed = true;
    pil_mapped_views_changed(f->mapped);
    assert_string_equal(shown_catalog(f, fd), "/ p/v p(one two v w offline first second both )");
    json_t *catalog = read_catalog(f, fd);
    assert_string_equal(text_in(json_array_get(json_object_get(catalog, "views"), 0), "channel"), "");
    json_decref(catalog);
    views[1].is_removed = true; /* the first slot's rule may be that of the last */
    pil_mapped_views_changed(f->mapped);
    assert_string_equal(shown_catalog(f, fd), "/ / ");
    close(fd);
    pil_project_destroy(&project);
}

static void each_kind_of_client_has_its_own_catalog(void **state) {
    struct mapped_fixture *f = *state;
    struct pil_project *project = parse_project(two_views);
    pil_mapped_set_project(f->mapped, project);
    int a = begin(f);
    struct pil_mapped_session *first = mapped_last_session(f);
    int b = begin(f);
    struct pil_mapped_session *second = mapped_last_session(f);
    assert_ptr_not_equal(first, second);
    first->readable = first->mappable = 1; /* as if they were other users */
    second->readable = second->mappable = 2;
    for (int i = 0; i < 2; i++) {
        assert_string_equal(shown_catalog(f, a), "p/v / p(one v offline first )");
        assert_string_equal(shown_catalog(f, b), "/ p/w p(one two w offline second )");
    }
    int fd = f->mapped->catalogs[0].fd;
    (void)shown_catalog(f, a);
    assert_int_equal(f->mapped->catalogs[0].fd, fd); /* made once */
    for (uint32_t i = 0; i < 3 * MAPPED_CATALOGS_MAX; i++) {
        first->readable = first->mappable = 1 + ((pil_peer_views)i << 2);
        assert_string_equal(shown_catalog(f, a), "p/v / p(one v offline first )");
        assert_string_equal(shown_catalog(f, b), "/ p/w p(one two w offline second )");
    }
    close(a);
    close(b);
    pil_project_destroy(&project);
}

static void without_memory_for_a_catalog_the_one_before_goes_on(void **state) {
    struct mapped_fixture *f = *state;
    struct rlimit before, none;
    uint64_t generation = 0, again = 0;
    assert_true(pil_mapped_catalog_get(f->mapped, 1, &generation) >= 0);
    pil_mapped_views_changed(f->mapped);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int same = pil_mapped_catalog_get(f->mapped, 1, &again), other = pil_mapped_catalog_get(f->mapped, 2, &again);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(same >= 0);
    assert_true(again == generation); /* so that clients ask again */
    assert_int_equal(other, -1);
    assert_true(pil_mapped_catalog_get(f->mapped, 1, &again) >= 0);
    assert_true(again == generation + 1);
}

static void mapping_takes_the_right_to_read(void **state) {
    struct mapped_fixture *f = *state;
    struct pil_mapped_message locate = {.type = PIL_MAPPED_LOCATE, .text = pil_bytes_from_text("0000000000000001")};
    char why[PIL_MAPPED_TEXT_BYTES_MAX + 1];
    mapped_publish(f, 0, 0);
    int fd = begin(f);
    f->settings.views[0].map = (struct pil_peer_rule){.is_given = true, .uids = {geteuid()}, .uid_count = 1};
    f->settings.views[0].read = (struct pil_peer_rule){.is_given = true};
    pil_mapped_views_changed(f->mapped);
    assert_int_equal(acquire_why(f, fd, 0, why), 0);
    assert_memory_equal(why, "view 0 may not be read by uid ", 30); /* not by its name */
    assert_null(strstr(why, "p/v"));
    assert_int_equal(ask(f, fd, locate).message.code, PIL_STATUS_DENIED);
    f->settings.views[0].read.is_given = false;
    pil_mapped_views_changed(f->mapped);
    assert_int_equal(acquire(f, fd, 0), 1);
    assert_int_equal(ask(f, fd, locate).message.type, PIL_MAPPED_LOCATE);
    f->settings.views[0].read.is_given = true;
    pil_mapped_views_changed(f->mapped); /* what it has stays */
    assert_true(pil_mapped_is_held(f->mapped, 0, 1));
    close(fd);
}

static void set_tag(struct mapped_fixture *f, const char *value) {
    json_object_clear(f->project->views[0].tags);
    if (value != NULL) {
        json_object_set_new(f->project->views[0].tags, "regulated", json_string(value));
    }
    pil_mapped_set_project(f->mapped, f->project);
}

static void regulated_views_are_mapped_by_those_alone_that_a_rule_names(void **state) {
    struct mapped_fixture *f = *state;
    static const char why[] = "it is regulated, and no `map` rule allows it";
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
    f->settings.views[0].read = (struct pil_peer_rule){.is_given = true, .uids = {geteuid()}, .uid_count = 1};
    pil_mapped_views_changed(f->mapped);
    assert_refused(f, fd, 0, why); /* who may read is not who may map */
    f->settings.views[0].map = f->settings.views[0].read;
    pil_mapped_views_changed(f->mapped);
    assert_int_equal(acquire(f, fd, 0), 1);
    close(fd);
}

/* The schema of the release says it, too: it needs no project. */
static void releases_with_regulated_features_are_regulated(void **state) {
    struct mapped_fixture *f = *state;
    struct pil_project *project =
        parse_project("project: p\nentities: [{name: id, type: int64}]\nfeature_views:\n  - name: v\n"
                      "    entities: [id]\n    source: {type: parquet, path: x, timestamp_field: t}\n"
                      "    features: [{name: f, type: float32, tags: [regulated]}]\n");
    mapped_publish_view(f, 0, project->views[0].view, 0);
    int fd = begin(f);
    assert_refused(f, fd, 0, "it is regulated");
    mapped_publish(f, 0, 0);
    assert_int_equal(acquire(f, fd, 0), 2);
    close(fd);
    pil_project_destroy(&project);
}

static void views_of_an_unreadable_project_count_as_regulated(void **state) {
    struct mapped_fixture *f = *state;
    mapped_publish(f, 0, 0);
    int fd = begin(f);
    pil_mapped_miss_project(f->mapped, 0);
    assert_refused(f, fd, 0, "it is regulated");
    set_tag(f, NULL);
    assert_int_equal(acquire(f, fd, 0), 1);
    pil_mapped_miss_project(f->mapped, 0); /* the one before goes on */
    assert_int_equal(acquire(f, fd, 0), 1);
    close(fd);
}

static void a_view_that_is_added_is_judged_as_its_project_was(void **state) {
    struct mapped_fixture *f = *state;
    int fd = begin(f);
    mapped_publish(f, 0, 0);
    mapped_publish(f, 1, 0);
    pil_mapped_miss_project(f->mapped, 0);
    pil_mapped_no_project(f->mapped, 0); /* none was ever applied */
    pil_mapped_miss_project(f->mapped, 1);
    assert_int_equal(acquire(f, fd, 1), 1);
    assert_int_equal(acquire(f, fd, 0), 1); /* what was judged stays */
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
    uint8_t packet[PIL_MAPPED_MESSAGE_BYTES_MAX];
    size_t len = pil_mapped_encode(&hello, packet);
    int pipe_fds[2], fd = mapped_connect(f);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(pil_fdpass_send(fd, pil_bytes_from(packet, len), &pipe_fds[1], 1, false), PIL_STATUS_OK);
    close(pipe_fds[1]);
    mapped_turn(f);
    assert_int_equal(read(pipe_fds[0], packet, 1), 0); /* the last writer is gone */
    close(pipe_fds[0]);
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
        cmocka_unit_test_setup_teardown(a_client_is_told_of_the_views_that_it_may_read, setup, teardown),
        cmocka_unit_test_setup_teardown(projects_of_no_view_are_not_shown, setup, teardown),
        cmocka_unit_test_setup_teardown(removed_slots_of_a_view_hide_it_unless_it_is_served, setup, teardown),
        cmocka_unit_test_setup_teardown(the_gauges_of_a_view_are_of_all_its_slots, setup, teardown),
        cmocka_unit_test_setup_teardown(each_kind_of_client_has_its_own_catalog, setup, teardown),
        cmocka_unit_test_setup_teardown(without_memory_for_a_catalog_the_one_before_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(mapping_takes_the_right_to_read, setup, teardown),
        cmocka_unit_test_setup_teardown(regulated_views_are_mapped_by_those_alone_that_a_rule_names, setup, teardown),
        cmocka_unit_test_setup_teardown(releases_with_regulated_features_are_regulated, setup, teardown),
        cmocka_unit_test_setup_teardown(views_of_an_unreadable_project_count_as_regulated, setup, teardown),
        cmocka_unit_test_setup_teardown(a_view_that_is_added_is_judged_as_its_project_was, setup, teardown),
        cmocka_unit_test_setup_teardown(rubbish_ends_its_own_session, setup, teardown),
        cmocka_unit_test_setup_teardown(descriptors_from_clients_are_not_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(without_descriptors_accepting_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(locates_the_releases_of_the_last_time, setup, teardown),
        cmocka_unit_test_setup_teardown(holders_are_listed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
