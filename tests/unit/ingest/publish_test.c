/* SPDX-License-Identifier: Apache-2.0
 * Goal: a store that fails during WRITE gets no release that is not whole, and a second build makes it whole. Method: a
 * small build into a folder, through a store that fails the nth call, for every n, before and after its effect. */
#include "unit/ingest/build_fixture.h"
#include "support/fault_store.h"

static bool refuses_shard;

static struct fault refuse_shard(void *context, const struct fault_call *call) {
    (void)context;
    bool refuse = call->op == FAULT_PUT && strncmp(call->name, "shards/", strlen("shards/")) == 0;
    refuses_shard |= refuse;
    return (struct fault){.status = refuse ? PIL_STATUS_NO_SPACE : PIL_STATUS_OK};
}

static void a_store_that_refuses_a_shard_gets_no_manifest(void **state) {
    (void)state;
    const struct row row = {1, 1, 0, 1, NULL};
    struct fault_plan plan = {.choose = refuse_shard};
    struct build build;
    build_init(&build);
    build_open_store(&build);
    build.store = fault_store_open(build.store, &plan);
    build_open(&build);
    assert_int_equal(build_feed(&build, batch_of(&row, 1, false), 1), PIL_STATUS_OK);
    assert_int_equal(build_finish(&build), PIL_STATUS_NO_SPACE);
    assert_true(refuses_shard);
    assert_non_null(strstr(build.error.text, "shards/"));
    char path[64];
    snprintf(path, sizeof path, "%s/store/views", build.folder);
    assert_int_not_equal(access(path, F_OK), 0);
    build_deinit(&build);
}

/* Whichever call of the store fails, and whether it took effect: an error, and a second build makes it whole. */
static void a_build_survives_the_failure_of_any_call(void **state) {
    (void)state;
    const struct row row = {1, 1, 0, 1, NULL};
    for (int after = 0; after < 2; after++) {
        bool has_failed = true;
        for (uint64_t n = 0; has_failed; n++) {
            struct fault_plan plan = {.fail_at = n, .fault = {.status = PIL_STATUS_IO, .after = after != 0}};
            struct build build;
            build_init(&build);
            build_open_store(&build);
            build.store = fault_store_open(build.store, &plan);
            build_open(&build);
            assert_int_equal(build_feed(&build, batch_of(&row, 1, false), 1), PIL_STATUS_OK);
            pil_status status = build_finish(&build);
            has_failed = plan.calls > n;
            assert_true(status == PIL_STATUS_OK || (status == PIL_STATUS_IO && has_failed));
            if (status != PIL_STATUS_OK) {
                assert_true(strlen(build.error.text) > 0);
            }
            plan.fail_at = UINT64_MAX;
            build_open(&build);
            assert_int_equal(build_feed(&build, batch_of(&row, 1, false), 1), PIL_STATUS_OK);
            assert_int_equal(build_finish(&build), PIL_STATUS_OK);
            build_deinit(&build);
        }
    }
}

/* Threads that put shards use their handles without the lock that the lease is behind. */
struct handles {
    const struct pil_store *build;
    uint32_t leases, others;
    bool is_shared;
};

static struct fault see_handle(void *context, const struct fault_call *call) {
    struct handles *handles = context;
    bool is_lease = strncmp(call->name, PIL_LAYOUT_LEASES, strlen(PIL_LAYOUT_LEASES)) == 0;
    handles->leases += is_lease;
    handles->others += !is_lease;
    handles->is_shared |= is_lease == (call->store == handles->build);
    return (struct fault){.status = PIL_STATUS_OK};
}

static void a_lease_has_a_store_handle_of_its_own(void **state) {
    (void)state;
    const struct row row = {1, 1, 0, 1, NULL};
    struct handles handles = {0};
    struct fault_plan plan = {.choose = see_handle, .context = &handles};
    struct build build;
    build_init(&build);
    build_open_store(&build);
    build.store = fault_store_open(build.store, &plan);
    handles.build = build.store;
    build_rows(&build, &row, 1, false);
    assert_true(handles.leases >= 4 && handles.others >= 4);
    assert_false(handles.is_shared);
    build_deinit(&build);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_that_refuses_a_shard_gets_no_manifest),
        cmocka_unit_test(a_build_survives_the_failure_of_any_call),
        cmocka_unit_test(a_lease_has_a_store_handle_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
