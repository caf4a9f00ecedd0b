/* SPDX-License-Identifier: Apache-2.0
 * Goal: a manifest goes into a store and comes back the same; one that lies about anything is refused with a sentence
 * that says where; nothing is published whose shards are not there. Method: a real release, and changes of one member
 * each; then truncation at every length and random bytes. */
#include "release/document.h"
#include "release/lease.h"
#include "schema/view_json.h"
#include "unit/release/fixture.h"
#include "unit/store/child.h"

#include <fcntl.h>

static struct pil_text text_of(const struct pil_manifest *manifest, const json_t *extra) {
    struct pil_text text = {0};
    assert_int_equal(pil_document_format(pil_manifest_to_json(manifest, extra), &text, NULL), PIL_STATUS_OK);
    return text;
}

static void a_manifest_comes_back_as_it_was_published(void **state) {
    struct pil_store *store = *state;
    struct pil_manifest *manifest = fixture_manifest(store, 1), *read = NULL;
    json_t *extra =
        json_pack("{s:{s:i}, s:s, s:s}", "profile", "rows", 16, "builder", "test", "release", "not this one");
    memcpy(manifest->previous, "0123456789abcdef", PIL_RELEASE_ID_CHARS + 1);
    manifest->document = pil_manifest_to_json(manifest, extra);
    assert_int_equal(pil_manifest_publish(store, manifest, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_manifest_publish(store, manifest, NULL), PIL_STATUS_EXISTS);
    assert_int_equal(pil_manifest_read(store, &manifest->ref, &read, NULL), PIL_STATUS_OK);
    assert_string_equal(read->ref.release, manifest->ref.release);
    assert_string_equal(read->previous, manifest->previous);
    assert_int_equal(read->created_us, manifest->created_us);
    assert_int_equal(read->row_count, FIXTURE_ROWS);
    assert_int_equal(read->shard_count, 1);
    assert_memory_equal(read->shards, manifest->shards, sizeof *read->shards);
    assert_string_equal(read->view->features[0].name, "rate");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(read->document, "profile"), "rows")), 16);
    assert_string_equal(json_string_value(json_object_get(read->document, "builder")), "test");
    pil_manifest_destroy(&read);
    pil_manifest_destroy(&manifest);
    json_decref(extra);
}

static void the_same_rows_are_the_same_release(void **state) {
    struct pil_store *store = *state;
    struct pil_manifest *a = fixture_manifest(store, 1), *b = fixture_manifest(store, 1),
                        *c = fixture_manifest(store, 2);
    assert_int_not_equal(a->created_us, b->created_us);
    assert_string_equal(a->ref.release, b->ref.release);
    assert_string_not_equal(a->ref.release, c->ref.release);
    /* As the contract has it, computed with nothing of ours but the hash. */
    struct pil_text lines = {0}, schema;
    char hex[PIL_SHA256_HEX_CHARS + 1];
    json_t *json = pil_view_to_json(a->view);
    assert_int_equal(pil_document_format(json_incref(json), &schema, NULL), PIL_STATUS_OK);
    pil_hex_encode(pil_bytes_from(a->shards[0].id.bytes, PIL_SHA256_BYTES), hex);
    pil_text_format(&lines, "rides/drivers\n%s\n%s\n", schema.data, hex);
    struct pil_sha256 digest = pil_hash_sha256(pil_text_bytes(&lines));
    pil_hex_encode(pil_bytes_from(digest.bytes, PIL_SHA256_BYTES), hex);
    assert_memory_equal(a->ref.release, hex, PIL_RELEASE_ID_CHARS);
    json_decref(json);
    pil_text_deinit(&schema);
    pil_text_deinit(&lines);
    pil_manifest_destroy(&a);
    pil_manifest_destroy(&b);
    pil_manifest_destroy(&c);
}

static void nothing_is_published_without_its_shards(void **state) {
    struct pil_store *store = *state;
    struct pil_manifest *manifest = fixture_manifest(store, 1);
    struct pil_error error = {0};
    char name[PIL_STORE_NAME_BYTES], manifest_name[PIL_STORE_NAME_BYTES];
    pil_layout_shard(&manifest->shards[0].id, name);
    pil_layout_manifest(&manifest->ref, manifest_name);
    assert_int_equal(truncate(in_folder(name), 5000), 0);
    assert_int_equal(pil_manifest_publish(store, manifest, &error), PIL_STATUS_IO);
    assert_non_null(strstr(error.text, "has 5000 bytes"));
    assert_int_equal(pil_store_remove(store, name, pil_store_always(), NULL), PIL_STATUS_OK);
    assert_int_equal(pil_manifest_publish(store, manifest, &error), PIL_STATUS_IO);
    assert_non_null(strstr(error.text, name));
    assert_false(fixture_has(store, manifest_name));
    manifest->row_count++;
    fixture_put_shard(store, manifest->view, 1);
    assert_int_equal(pil_manifest_publish(store, manifest, &error), PIL_STATUS_CORRUPT);
    assert_false(fixture_has(store, manifest_name));
    pil_manifest_destroy(&manifest);
}

/* ---- Two users */

static struct pil_release_ref promoted;

/* A release of another user's: it is there, and that is enough. */
static int build_as_nobody(void) {
    struct pil_error error = {0};
    char name[PIL_STORE_NAME_BYTES];
    if (!become_nobody()) {
        return CHILD_SKIPPED;
    }
    struct pil_store *store = open_folder();
    struct pil_lease *lease = pil_lease_create(store, &pil_clock_system, PIL_LAYOUT_LEASE_WRITE, "nobody");
    pil_layout_manifest(&promoted, name);
    CHILD_EXPECT(pil_lease_add(lease, name, &error) == PIL_STATUS_OK);
    struct pil_manifest *manifest = fixture_manifest(store, 1); /* puts its shard */
    CHILD_EXPECT(pil_manifest_publish(store, manifest, &error) == PIL_STATUS_EXISTS);
    pil_lease_end(&lease);
    pil_manifest_destroy(&manifest);
    pil_store_close(&store);
    return 0;
}

/* Without the right to write leases no build, but promotions. */
static int promote_as_nobody(void) {
    struct pil_error error = {0};
    struct pil_channel channel;
    if (!become_nobody()) {
        return CHILD_SKIPPED;
    }
    struct pil_store *store = open_folder();
    struct pil_lease *lease = pil_lease_create(store, &pil_clock_system, PIL_LAYOUT_LEASE_WRITE, "nobody");
    CHILD_EXPECT(pil_lease_add(lease, "shards/x", &error) == PIL_STATUS_DENIED);
    CHILD_EXPECT(strstr(error.text, "all who write have to be able to write to all of dir:") != NULL);
    CHILD_EXPECT(pil_channel_promote(store, &promoted, "production", NULL, &channel, &error) == PIL_STATUS_OK);
    pil_lease_end(&lease);
    pil_store_close(&store);
    return 0;
}

static int open_to_all(const char *path, const struct stat *status, int type, struct FTW *walk) {
    (void)type, (void)walk;
    return chmod(path, S_ISDIR(status->st_mode) ? 0777 : strstr(path, ".lock") != NULL ? 0666 : 0644);
}

static void a_release_of_another_user_serves_as_well(void **state) {
    struct pil_store *store = *state;
    struct pil_text before = {0}, after = {0};
    struct pil_channel channel;
    char name[PIL_STORE_NAME_BYTES];
    need_root();
    promoted = fixture_release(store, 1);
    pil_layout_manifest(&promoted, name);
    assert_int_equal(pil_store_get(store, name, 1 << 20, &before, NULL, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_channel_promote(store, &promoted, "staging", NULL, &channel, NULL), PIL_STATUS_OK);
    assert_int_equal(nftw(folder, open_to_all, 16, FTW_PHYS), 0);
    expect_child(build_as_nobody);
    assert_int_equal(pil_store_get(store, name, 1 << 20, &after, NULL, NULL), PIL_STATUS_OK);
    assert_string_equal(before.data, after.data); /* though the other build was at another time */
    assert_int_equal(chmod(in_folder("leases"), 0755), 0);
    expect_child(promote_as_nobody);
    pil_text_deinit(&before);
    pil_text_deinit(&after);
}

static void what_is_missing_or_misplaced_is_named(void **state) {
    struct pil_store *store = *state;
    struct pil_release_ref ref = fixture_release(store, 1), other = ref;
    struct pil_manifest *manifest = NULL;
    struct pil_error error = {0};
    char name[PIL_STORE_NAME_BYTES], other_name[PIL_STORE_NAME_BYTES];
    memcpy(other.release, "0123456789abcdef", PIL_RELEASE_ID_CHARS);
    assert_int_equal(pil_manifest_read(store, &other, &manifest, &error), PIL_STATUS_NOT_FOUND);
    assert_non_null(strstr(error.text, "no release 0123456789abcdef of rides/drivers"));
    pil_layout_manifest(&ref, name);
    pil_layout_manifest(&other, other_name);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", in_folder(other_name));
    assert_int_equal(link(in_folder(name), path), 0);
    assert_int_equal(pil_manifest_read(store, &other, &manifest, &error), PIL_STATUS_CORRUPT);
    assert_non_null(strstr(error.text, "is the manifest of rides/drivers@"));
    assert_null(manifest);
}

/* Sets a member ("shards.0.id" style paths have at most three steps) to a JSON text; "" removes it. */
static void set_member(json_t *document, const char *path, const char *value_text) {
    char step[64];
    json_t *at = document;
    for (const char *dot; (dot = strchr(path, '.')) != NULL; path = dot + 1) {
        snprintf(step, sizeof step, "%.*s", (int)(dot - path), path);
        at = json_is_array(at) ? json_array_get(at, strtoul(step, NULL, 10)) : json_object_get(at, step);
    }
    if (value_text[0] == '\0') {
        json_object_del(at, path);
        return;
    }
    json_t *value = json_loads(value_text, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    assert_int_equal(json_object_set_new(at, path, value), 0);
}

static void a_manifest_that_lies_is_refused(void **state) {
    struct pil_store *store = *state;
    static const struct {
        const char *path, *value, *says;
        pil_status status;
    } lies[] = {
        {"format", "2", "upgrade", PIL_STATUS_UNSUPPORTED},
        {"format", "0", "format", PIL_STATUS_CORRUPT},
        {"project", "", "\"project\" must be a string", PIL_STATUS_CORRUPT},
        {"view", "", "\"view\" must be a string", PIL_STATUS_CORRUPT},
        {"bytes", "", "\"bytes\" must be an integer", PIL_STATUS_CORRUPT},
        {"shards.0.id", "", "\"id\" must be a string", PIL_STATUS_CORRUPT},
        {"shards.0.bytes", "", "\"bytes\" must be an integer", PIL_STATUS_CORRUPT},
        {"shards", "[]", "it has 0", PIL_STATUS_CORRUPT},
        {"format", "\"1\"", "format", PIL_STATUS_CORRUPT},
        {"format", "", "format", PIL_STATUS_CORRUPT},
        {"project", "\"../..\"", "not a name", PIL_STATUS_CORRUPT},
        {"project", "\"other\"", "schema is that of rides/drivers", PIL_STATUS_CORRUPT},
        {"view", "null", "view", PIL_STATUS_CORRUPT},
        {"view", "\"trips\"", "schema is that of", PIL_STATUS_CORRUPT},
        {"release", "\"0123456789abcdef\"", "not of 0123456789abcdef", PIL_STATUS_CORRUPT},
        {"release", "\"0123456789ABCDEF\"", "release id", PIL_STATUS_CORRUPT},
        {"previous", "\"x\"", "previous", PIL_STATUS_CORRUPT},
        {"previous", "7", "previous", PIL_STATUS_CORRUPT},
        {"created_us", "-1", "created_us", PIL_STATUS_CORRUPT},
        {"created_us", "1.5", "created_us", PIL_STATUS_CORRUPT},
        {"row_count", "17", "sum up to 16 rows", PIL_STATUS_CORRUPT},
        {"row_count", "-1", "row_count", PIL_STATUS_CORRUPT},
        {"bytes", "1", "sum up", PIL_STATUS_CORRUPT},
        {"bytes", "9223372036854775807", "sum up", PIL_STATUS_CORRUPT},
        {"shards", "[]", "shards", PIL_STATUS_CORRUPT},
        {"shards", "{}", "shards", PIL_STATUS_CORRUPT},
        {"shards", "[1,2,3]", "1, 2, 4", PIL_STATUS_CORRUPT},
        {"shards", "[7]", "\"shards\"[0]", PIL_STATUS_CORRUPT},
        {"shards.0.id", "\"../../../../etc/passwd\"", "hex digits", PIL_STATUS_CORRUPT},
        {"shards.0.id", "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"", "lower-case",
         PIL_STATUS_CORRUPT},
        {"shards.0.id", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", "are those of release",
         PIL_STATUS_CORRUPT},
        {"shards.0.bytes", "4611686018427387904", "bytes", PIL_STATUS_CORRUPT},
        {"shards.0.row_count", "2000001", "row_count", PIL_STATUS_CORRUPT},
        {"schema", "{}", "schema", PIL_STATUS_CORRUPT},
        {"schema", "null", "schema", PIL_STATUS_CORRUPT},
    };
    struct pil_manifest *manifest = fixture_manifest(store, 1);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        json_t *document = pil_manifest_to_json(manifest, NULL);
        struct pil_text text;
        struct pil_error error = {0};
        struct pil_manifest *parsed = NULL;
        set_member(document, lies[i].path, lies[i].value);
        assert_int_equal(pil_document_format(json_incref(document), &text, NULL), PIL_STATUS_OK);
        pil_status status = pil_manifest_parse(pil_text_bytes(&text), &parsed, &error);
        if (status != lies[i].status || strstr(error.text, lies[i].says) == NULL) {
            fail_msg("%s = %s: %s: %s", lies[i].path, lies[i].value, pil_status_text(status), error.text);
        }
        assert_null(parsed);
        pil_text_deinit(&text);
        json_decref(document);
    }
    pil_manifest_destroy(&manifest);
}

static void a_ttl_that_was_changed_is_another_release(void **state) {
    struct pil_store *store = *state;
    struct pil_manifest *manifest = fixture_manifest(store, 1), *parsed = NULL;
    struct pil_text text = text_of(manifest, NULL);
    char *ttl = strstr(text.data, "86400000000");
    assert_non_null(ttl);
    ttl[0] = '9';
    assert_int_equal(pil_manifest_parse(pil_text_bytes(&text), &parsed, NULL), PIL_STATUS_CORRUPT);
    pil_text_deinit(&text);
    pil_manifest_destroy(&manifest);
}

/* As a newer version may write them: members that we do not know are ignored, and belong to the identity. */
static void unknown_members_of_the_schema_belong_to_the_release(void **state) {
    struct pil_store *store = *state;
    struct pil_manifest *manifest = fixture_manifest(store, 1), *parsed = NULL;
    json_t *document = pil_manifest_to_json(manifest, NULL), *schema = json_object_get(document, "schema");
    struct pil_text text, lines = {0};
    char id[PIL_SHA256_HEX_CHARS + 1];
    json_object_set_new(schema, "future", json_true());
    assert_int_equal(pil_document_format(json_incref(schema), &text, NULL), PIL_STATUS_OK);
    const char *shard =
        json_string_value(json_object_get(json_array_get(json_object_get(document, "shards"), 0), "id"));
    pil_text_format(&lines, "rides/drivers\n%s\n%s\n", text.data, shard);
    struct pil_sha256 digest = pil_hash_sha256(pil_text_bytes(&lines));
    pil_hex_encode(pil_bytes_from(digest.bytes, PIL_RELEASE_ID_CHARS / 2), id);
    json_object_set_new(document, "release", json_string(id));
    struct pil_text whole;
    assert_int_equal(pil_document_format(json_incref(document), &whole, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_manifest_parse(pil_text_bytes(&whole), &parsed, NULL), PIL_STATUS_OK);
    assert_string_equal(parsed->ref.release, id);
    assert_string_equal(parsed->schema.data, text.data);
    pil_manifest_destroy(&parsed);
    pil_manifest_destroy(&manifest);
    json_decref(document);
    pil_text_deinit(&text);
    pil_text_deinit(&lines);
    pil_text_deinit(&whole);
}

static void broken_text_is_refused(void **state) {
    struct pil_store *store = *state;
    struct pil_manifest *manifest = fixture_manifest(store, 1), *parsed = NULL;
    struct pil_text text = text_of(manifest, NULL);
    struct pil_error error = {0};
    for (size_t len = 0; len < text.len; len++) {
        assert_int_equal(pil_manifest_parse(pil_bytes_from(text.data, len), &parsed, &error), PIL_STATUS_CORRUPT);
    }
    assert_int_equal(pil_manifest_parse(pil_text_bytes(&text), &parsed, &error), PIL_STATUS_OK);
    pil_manifest_destroy(&parsed);
    const char *const broken[] = {
        "", "null", "[]", "7", "\"x\"", "{}", "{\"format\":1}", "{\"format\":1,\"format\":1}", "\xff\xfe"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        assert_int_equal(pil_manifest_parse(pil_bytes_from_text(broken[i]), &parsed, &error), PIL_STATUS_CORRUPT);
    }
    struct pil_text deep = {0}; /* the parser recurses */
    for (int i = 0; i < 200000; i++) {
        pil_text_append(&deep, "[", 1);
    }
    assert_int_equal(pil_manifest_parse(pil_text_bytes(&deep), &parsed, &error), PIL_STATUS_CORRUPT);
    pil_text_deinit(&deep);
    pil_text_deinit(&text);
    pil_manifest_destroy(&manifest);
    pil_manifest_destroy(&manifest);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_manifest_comes_back_as_it_was_published, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(the_same_rows_are_the_same_release, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(nothing_is_published_without_its_shards, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_release_of_another_user_serves_as_well, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(what_is_missing_or_misplaced_is_named, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_manifest_that_lies_is_refused, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_ttl_that_was_changed_is_another_release, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(unknown_members_of_the_schema_belong_to_the_release, folder_setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(broken_text_is_refused, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
