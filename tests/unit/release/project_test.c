/* SPDX-License-Identifier: Apache-2.0
 * Goal: applying a project writes once, never over somebody else's change, and never breaks a view in use unless told
 * to. Method: a view that becomes used by a channel; changes that are compatible and that are not. */
#include "support/fault_store.h"
#include "unit/release/fixture.h"

static struct pil_text lines;
static struct pil_project_published published;

static int setup(void **state) {
    memset(&published, 0, sizeof published);
    return folder_setup(state);
}

static int teardown(void **state) {
    pil_text_deinit(&lines);
    return folder_teardown(state);
}

/* The fixture's project with `from` replaced by `to`. */
static struct pil_project *changed_project(const char *from, const char *to) {
    struct pil_text yaml = {0};
    const char *at = strstr(fixture_yaml, from);
    assert_non_null(at);
    pil_text_format(&yaml, "%.*s%s%s", (int)(at - fixture_yaml), fixture_yaml, to, at + strlen(from));
    struct pil_project *project = fixture_project(yaml.data);
    pil_text_deinit(&yaml);
    return project;
}

static pil_status publish(struct pil_store *store, const char *from, const char *to, bool force,
                          struct pil_error *error) {
    struct pil_project *project = changed_project(from, to);
    pil_status status = pil_project_publish(store, project, force, &published, &lines, error);
    pil_project_destroy(&project);
    return status;
}

static void an_equal_project_is_not_written_again(void **state) {
    struct pil_store *store = *state;
    struct pil_project *read = NULL;
    struct pil_error error = {0};
    struct pil_store_tag before, after;
    uint64_t sequence = 0, bytes;
    assert_int_equal(pil_project_read(store, "rides", &read, &sequence, &error), PIL_STATUS_NOT_FOUND);
    assert_non_null(strstr(error.text, "was not applied"));
    assert_int_equal(pil_project_read(store, "../x", &read, NULL, &error), PIL_STATUS_INVALID);
    assert_int_equal(publish(store, "rides", "rides", false, NULL), PIL_STATUS_OK);
    assert_true(published.changed);
    assert_int_equal(published.sequence, 1);
    assert_int_equal(pil_store_stat(store, "projects/rides.json", &bytes, &before, NULL), PIL_STATUS_OK);
    assert_int_equal(publish(store, "rides", "rides", false, NULL), PIL_STATUS_OK);
    assert_false(published.changed);
    assert_int_equal(published.sequence, 1);
    assert_int_equal(pil_store_stat(store, "projects/rides.json", &bytes, &after, NULL), PIL_STATUS_OK);
    assert_string_equal(before.text, after.text);
    assert_int_equal(pil_project_read(store, "rides", &read, &sequence, NULL), PIL_STATUS_OK);
    assert_int_equal(sequence, 1);
    assert_string_equal(read->views[0].view->features[0].name, "rate");
    pil_project_destroy(&read);
}

static void views_in_use_are_not_broken(void **state) {
    struct pil_store *store = *state;
    struct pil_error error = {0};
    struct pil_channel channel;
    struct pil_release_ref ref = fixture_release(store, 1);
    assert_int_equal(publish(store, "rides", "rides", false, NULL), PIL_STATUS_OK);
    /* Not in use yet: anything goes. */
    assert_int_equal(publish(store, "float32", "int64", false, NULL), PIL_STATUS_OK);
    assert_int_equal(publish(store, "rides", "rides", false, NULL), PIL_STATUS_OK);
    assert_int_equal(published.sequence, 3);
    assert_int_equal(pil_channel_promote(store, &ref, "staging", NULL, &channel, NULL), PIL_STATUS_OK);
    assert_int_equal(publish(store, "float32", "int64", false, &error), PIL_STATUS_BUSY);
    assert_non_null(strstr(error.text, "--force"));
    assert_non_null(strstr(lines.data, "rate"));
    assert_int_equal(publish(store, "ttl: 1d", "ttl: 2d", false, NULL), PIL_STATUS_OK);
    assert_int_equal(published.sequence, 4);
    assert_int_equal(published.breaking, 0);
    assert_int_equal(publish(store, "float32", "int64", true, NULL), PIL_STATUS_OK);
    assert_true(published.changed);
    assert_int_equal(published.breaking, 2); /* the change, and the release in service */
    assert_non_null(strstr(lines.data, "rate changes its type"));
    assert_non_null(strstr(lines.data, "channel staging, release "));
    assert_int_equal(published.sequence, 5);
}

static void releases_in_service_answer_the_project(void **state) {
    struct pil_store *store = *state;
    struct pil_error error = {0};
    struct pil_channel channel;
    struct pil_release_ref ref = fixture_release(store, 1);
    assert_int_equal(pil_channel_promote(store, &ref, "staging", NULL, &channel, NULL), PIL_STATUS_OK);
    /* The first project of the store is compared with what its channels serve already, too. */
    assert_int_equal(publish(store, "float32", "int64", false, &error), PIL_STATUS_BUSY);
    assert_non_null(strstr(lines.data, "rate is float32, and int64 in the project"));
    assert_int_equal(publish(store, "name: rate", "name: rated", false, &error), PIL_STATUS_BUSY);
    assert_non_null(strstr(lines.data, "rated is missing"));
    assert_int_equal(publish(store, "rides", "rides", false, &error), PIL_STATUS_OK);
    assert_int_equal(published.breaking, 0);
}

/* Which call fails, by its kind and the beginning of the name. */
struct broken {
    fault_op op;
    const char *name;
    pil_status status;
};

static struct fault break_reads(void *context, const struct fault_call *call) {
    const struct broken *broken = context;
    bool is_it = call->op == broken->op && strncmp(call->name, broken->name, strlen(broken->name)) == 0;
    return (struct fault){.status = is_it ? broken->status : PIL_STATUS_OK};
}

static void a_release_that_could_not_be_read_is_not_passed_over(void **state) {
    struct pil_channel channel;
    struct pil_release_ref ref = fixture_release(*state, 1);
    assert_int_equal(pil_channel_promote(*state, &ref, "staging", NULL, &channel, NULL), PIL_STATUS_OK);
    struct {
        struct broken broken;
        bool is_of_the_object; /* no node can read it, either */
    } cases[] = {
        {{FAULT_GET, "views/rides/drivers/releases/", PIL_STATUS_IO}, false},
        {{FAULT_GET, "views/rides/drivers/channels/", PIL_STATUS_IO}, false},
        {{FAULT_GET, "views/rides/drivers/releases/", PIL_STATUS_CORRUPT}, true},
        {{FAULT_GET, "views/rides/drivers/channels/", PIL_STATUS_UNSUPPORTED}, true},
        {{FAULT_GET, "views/rides/drivers/releases/", PIL_STATUS_NOT_FOUND}, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pil_error error = {0};
        struct fault_plan plan = {.choose = break_reads, .context = &cases[i].broken};
        struct pil_store *inner = NULL;
        assert_int_equal(pil_store_open_again(*state, &inner, NULL), PIL_STATUS_OK);
        struct pil_store *store = fault_store_open(inner, &plan);
        pil_status status = publish(store, "ttl: 1d", i % 2 == 0 ? "ttl: 2d" : "ttl: 3d", false, &error);
        assert_int_equal(status, cases[i].is_of_the_object ? PIL_STATUS_OK : cases[i].broken.status);
        if (!cases[i].is_of_the_object) {
            assert_non_null(strstr(error.text, "injected fault"));
            assert_int_equal(publish(store, "ttl: 1d", i % 2 == 0 ? "ttl: 2d" : "ttl: 3d", true, NULL), PIL_STATUS_OK);
            assert_int_equal(published.breaking, 1);
            assert_non_null(strstr(lines.data, "channel staging of rides/drivers was not compared: "));
        }
        pil_store_close(&store);
    }
}

static void channels_keep_to_releases_that_answer_the_project(void **state) {
    struct pil_store *store = *state;
    struct pil_error error = {0};
    struct pil_channel channel;
    struct pil_release_ref ref = fixture_release(store, 1), other = fixture_release(store, 2);
    struct pil_guard guard = pil_guard_of_project(false, &lines);
    assert_int_equal(pil_channel_promote(store, &ref, "staging", &guard, &channel, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_channel_promote(store, &other, "staging", &guard, &channel, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_channel_pin(store, &ref, "staging", &guard, &channel, NULL), PIL_STATUS_OK);
    assert_int_equal(publish(store, "float32", "int64", true, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_channel_promote(store, &ref, "production", &guard, &channel, &error), PIL_STATUS_BUSY);
    assert_int_equal(guard.breaking, 1);
    assert_non_null(strstr(lines.data, "rate is float32, and int64 in the project"));
    assert_int_equal(pil_channel_read(store, &ref, "production", &channel, NULL), PIL_STATUS_NOT_FOUND);
    assert_int_equal(pil_channel_rollback(store, &ref, "staging", &guard, &channel, NULL), PIL_STATUS_BUSY);
    assert_int_equal(pil_channel_pin(store, &other, "staging", &guard, &channel, NULL), PIL_STATUS_BUSY);
    assert_int_equal(pil_channel_unpin(store, &ref, "staging", &guard, &channel, NULL), PIL_STATUS_BUSY);
    /* What changes nothing breaks nothing. */
    assert_int_equal(pil_channel_promote(store, &other, "staging", &guard, &channel, NULL), PIL_STATUS_OK);
    guard.force = true;
    assert_int_equal(pil_channel_unpin(store, &ref, "staging", &guard, &channel, NULL), PIL_STATUS_OK);
    assert_int_equal(guard.breaking, 1);
    assert_string_equal(pil_channel_effective(&channel), other.release);
}

static void a_damaged_project_is_named_and_kept(void **state) {
    struct pil_store *store = *state;
    struct pil_project *read = NULL;
    const char *const damaged[] = {"", "{}", "{\"format\":1,\"sequence\":1}",
                                   "{\"format\":1,\"sequence\":1,\"project\":{}}",
                                   "{\"format\":9,\"sequence\":1,\"project\":{}}"};
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        struct pil_error error = {0};
        assert_int_equal(pil_store_put(store, "projects/rides.json", pil_bytes_from_text(damaged[i]),
                                       pil_store_if_absent(), NULL, NULL),
                         PIL_STATUS_OK);
        pil_status status = pil_project_read(store, "rides", &read, NULL, &error);
        assert_int_equal(status, i == 4 ? PIL_STATUS_UNSUPPORTED : PIL_STATUS_CORRUPT);
        assert_memory_equal(error.text, "projects/rides.json", strlen("projects/rides.json"));
        assert_int_equal(publish(store, "rides", "rides", true, &error), status);
        assert_int_equal(pil_store_remove(store, "projects/rides.json", pil_store_always(), NULL), PIL_STATUS_OK);
    }
    assert_null(read);
}

static void a_project_that_is_gone_is_not_one_that_was_never_applied(void **state) {
    struct pil_store *store = *state;
    struct pil_project *read = NULL;
    struct pil_channel channel;
    struct pil_error error = {0};
    struct pil_release_ref ref = fixture_release(store, 1);
    struct pil_guard guard = pil_guard_of_project(false, &lines);
    assert_int_equal(pil_project_missing(store, "rides", &error), PIL_STATUS_NOT_FOUND);
    assert_int_equal(publish(store, "rides", "rides", false, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_store_remove(store, "projects/rides.json", pil_store_always(), NULL), PIL_STATUS_OK);
    assert_int_equal(pil_project_read(store, "rides", &read, NULL, &error), PIL_STATUS_CORRUPT);
    assert_string_equal(error.text, "projects/rides.json is gone, and the project was applied; apply it again");
    assert_int_equal(pil_channel_promote(store, &ref, "staging", &guard, &channel, NULL), PIL_STATUS_CORRUPT);
    guard.force = true;
    assert_int_equal(pil_channel_promote(store, &ref, "staging", &guard, &channel, NULL), PIL_STATUS_OK);
    assert_int_equal(publish(store, "rides", "rides", false, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_project_read(store, "rides", &read, NULL, NULL), PIL_STATUS_OK);
    pil_project_destroy(&read);
    /* A store that an older program has written says it from the next `apply` on, if that changes nothing, too. */
    assert_int_equal(pil_store_remove(store, "applied/rides.json", pil_store_always(), NULL), PIL_STATUS_OK);
    assert_int_equal(publish(store, "rides", "rides", false, NULL), PIL_STATUS_OK);
    assert_false(published.changed);
    assert_int_equal(pil_project_missing(store, "rides", &error), PIL_STATUS_CORRUPT);
}

static void a_document_is_of_the_project_that_it_is_named_after(void **state) {
    struct pil_store *store = *state;
    struct pil_project *read = NULL;
    struct pil_error error = {0};
    assert_int_equal(publish(store, "rides", "rides", false, NULL), PIL_STATUS_OK);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", in_folder("projects/other.json"));
    assert_int_equal(link(in_folder("projects/rides.json"), path), 0);
    assert_int_equal(pil_project_read(store, "other", &read, NULL, &error), PIL_STATUS_CORRUPT);
    assert_non_null(strstr(error.text, "project rides"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_equal_project_is_not_written_again, setup, teardown),
        cmocka_unit_test_setup_teardown(views_in_use_are_not_broken, setup, teardown),
        cmocka_unit_test_setup_teardown(releases_in_service_answer_the_project, setup, teardown),
        cmocka_unit_test_setup_teardown(a_release_that_could_not_be_read_is_not_passed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(channels_keep_to_releases_that_answer_the_project, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_project_is_named_and_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(a_project_that_is_gone_is_not_one_that_was_never_applied, setup, teardown),
        cmocka_unit_test_setup_teardown(a_document_is_of_the_project_that_it_is_named_after, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
