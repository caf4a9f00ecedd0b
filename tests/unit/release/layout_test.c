/* SPDX-License-Identifier: Apache-2.0
 * Goal: references and object names mean one thing, both ways; nothing but our own names is taken for ours.
 * Method: tables of texts, good and bad; each name that the layout gives is parsed back. */
#include "release/layout.h"

#include <setjmp.h>
#include <cmocka.h>

static void references_are_parsed(void **state) {
    (void)state;
    struct pil_release_ref ref;
    assert_int_equal(pil_release_ref_parse("rides/driver_stats", &ref, NULL), PIL_STATUS_OK);
    assert_string_equal(ref.project, "rides");
    assert_string_equal(ref.view, "driver_stats");
    assert_string_equal(ref.release, "");
    assert_int_equal(pil_release_ref_parse("a/b@0123456789abcdef", &ref, NULL), PIL_STATUS_OK);
    assert_string_equal(ref.release, "0123456789abcdef");
    assert_int_equal(pil_release_ref_parse("a/b@production", &ref, NULL), PIL_STATUS_OK);
    assert_string_equal(ref.release, "production");
}

static void bad_references_are_refused(void **state) {
    (void)state;
    static char long_name[200];
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[1] = '/';
    const char *const texts[] = {"",
                                 "a",
                                 "a/",
                                 "/b",
                                 "a/b@",
                                 "a/b@0123456789abcde",
                                 "a/b@0123456789abcdef0",
                                 "a/b/c",
                                 "a/b@x/y",
                                 "a b/c",
                                 "a/b@ ",
                                 "1a/b",
                                 "a/b@@",
                                 "../b",
                                 "a/..",
                                 "a@b/c",
                                 long_name};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct pil_release_ref ref = {.project = "untouched"};
        struct pil_error error = {0};
        assert_int_equal(pil_release_ref_parse(texts[i], &ref, &error), PIL_STATUS_INVALID);
        assert_string_equal(ref.project, "untouched");
        assert_non_null(strstr(error.text, "PROJECT/VIEW@RELEASE"));
    }
    assert_true(pil_release_id_ok("0123456789abcdef"));
    assert_false(pil_release_id_ok("0123456789ABCDEF"));
    assert_false(pil_release_id_ok("0123456789abcde"));
    assert_false(pil_release_id_ok(""));
}

static void names_are_parsed_back(void **state) {
    (void)state;
    struct pil_release_ref ref = {.project = "rides", .view = "driver-stats_2", .release = "0123456789abcdef"};
    struct pil_sha256 id = pil_hash_sha256(pil_bytes_from_text("shard"));
    struct pil_layout_object object;
    char name[PIL_STORE_NAME_BYTES];

    pil_layout_project("rides", name);
    assert_string_equal(name, "projects/rides.json");
    pil_layout_parse(name, &object);
    assert_int_equal(object.kind, PIL_LAYOUT_PROJECT);
    assert_string_equal(object.ref.project, "rides");

    pil_layout_applied("rides", name);
    assert_string_equal(name, "applied/rides.json");
    pil_layout_parse(name, &object);
    assert_int_equal(object.kind, PIL_LAYOUT_APPLIED);
    assert_string_equal(object.ref.project, "rides");

    pil_layout_manifest(&ref, name);
    assert_string_equal(name, "views/rides/driver-stats_2/releases/0123456789abcdef.json");
    pil_layout_parse(name, &object);
    assert_int_equal(object.kind, PIL_LAYOUT_MANIFEST);
    assert_string_equal(object.ref.view, ref.view);
    assert_string_equal(object.ref.release, ref.release);

    pil_layout_channel(&ref, "production", name);
    assert_string_equal(name, "views/rides/driver-stats_2/channels/production.json");
    pil_layout_parse(name, &object);
    assert_int_equal(object.kind, PIL_LAYOUT_CHANNEL);
    assert_string_equal(object.channel, "production");
    assert_string_equal(object.ref.release, "");

    pil_layout_shard(&id, name);
    assert_memory_equal(name, "shards/", 7);
    assert_true(pil_store_name_ok(name));
    pil_layout_parse(name, &object);
    assert_int_equal(object.kind, PIL_LAYOUT_SHARD);
    assert_memory_equal(&object.shard, &id, sizeof id);

    pil_layout_channels(&ref, name);
    assert_string_equal(name, "views/rides/driver-stats_2/channels/");
    static const char *const leases[] = {"leases/write-0123456789abcdef.json", "leases/collect-0123456789abcdef.json"};
    for (pil_layout_lease kind = PIL_LAYOUT_LEASE_WRITE; kind <= PIL_LAYOUT_LEASE_COLLECT; kind++) {
        pil_layout_lease_name(kind, "0123456789abcdef", name);
        assert_string_equal(name, leases[kind]);
        pil_layout_parse(name, &object);
        assert_int_equal(object.kind, PIL_LAYOUT_LEASE);
        assert_int_equal(object.lease, kind);
    }
}

static void other_names_are_foreign(void **state) {
    (void)state;
    const char *const names[] = {
        "",
        "projects",
        "projects/",
        "projects/a.yaml",
        "projects/a.json.bak",
        "projects/1.json",
        "project/a.json",
        "applied/a.json.bak",
        "applied/1.json",
        "views/a/b/releases/0123456789abcde.json",
        "views/a/b/releases/0123456789ABCDEF.json",
        "views/a/b/c/d.json",
        "views/a/b/releases/production.json",
        "views/a/b/channels/production",
        "views/a/b/channels/0.json",
        "views//b/channels/c.json",
        "shards/00/1234.shard",
        "shards/00/ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff.shard", /* the folder is another's
                                                                                             */
        "shards/FF/FFffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff.shard",
        "shards/ff/ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "x/ff/ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff.shard",
        "leases/write-0123456789abcde.json",
        "leases/write-0123456789ABCDEF.json",
        "leases/other-0123456789abcdef.json",
        "leases/0123456789abcdef.json",
        "leases/write-0123456789abcdef.json.bak",
        "lease/write-0123456789abcdef.json",
        "a/b/c/d/e/f.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct pil_layout_object object;
        pil_layout_parse(names[i], &object);
        assert_int_equal(object.kind, PIL_LAYOUT_FOREIGN);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_are_parsed),
        cmocka_unit_test(bad_references_are_refused),
        cmocka_unit_test(names_are_parsed_back),
        cmocka_unit_test(other_names_are_foreign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
