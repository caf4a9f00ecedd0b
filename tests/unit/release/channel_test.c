/* SPDX-License-Identifier: Apache-2.0
 * Goal: channels move as people mean them to: promote is idempotent, rollback goes back one promotion at a time, a pin
 * holds; they point only to what is there; writers that race lose nothing; no two versions are equal bytes (ABA).
 * Method: real releases in a folder; processes that race and that are killed. */
#include "support/fault_store.h"
#include "unit/release/fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

enum { RELEASES = 4, RACERS = 4, RACER_PROMOTIONS = 10, KILLS = 20 };

static struct pil_release_ref releases[RELEASES];
static struct pil_channel channel;

static int setup(void **state) {
    if (folder_setup(state) != 0) {
        return -1;
    }
    memset(&channel, 0, sizeof channel);
    for (uint32_t i = 0; i < RELEASES; i++) {
        releases[i] = fixture_release(*state, i);
    }
    return 0;
}

static void promote(struct pil_store *store, int release) {
    struct pil_error error = {0};
    if (pil_channel_promote(store, &releases[release], "production", NULL, &channel, &error) != PIL_STATUS_OK) {
        fail_msg("%s", error.text);
    }
    assert_string_equal(channel.release, releases[release].release);
}

static void expect_rollback(struct pil_store *store, int release) {
    assert_int_equal(pil_channel_rollback(store, &releases[0], "production", NULL, &channel, NULL), PIL_STATUS_OK);
    assert_string_equal(channel.release, releases[release].release);
}

static void expect_no_rollback(struct pil_store *store) {
    struct pil_error error = {0};
    assert_int_equal(pil_channel_rollback(store, &releases[0], "production", NULL, &channel, &error),
                     PIL_STATUS_NOT_FOUND);
    assert_non_null(strstr(error.text, "production"));
}

static void promote_is_idempotent(void **state) {
    struct pil_store *store = *state;
    char name[PIL_STORE_NAME_BYTES];
    struct pil_store_tag before, after;
    uint64_t bytes;
    struct pil_error error = {0};
    assert_int_equal(pil_channel_read(store, &releases[0], "production", &channel, &error), PIL_STATUS_NOT_FOUND);
    assert_non_null(strstr(error.text, "promote"));
    promote(store, 0);
    assert_int_equal(channel.sequence, 1);
    assert_string_equal(channel.name, "production");
    assert_string_equal(channel.pinned, "");
    assert_int_equal(channel.history_count, 1);
    assert_string_equal(channel.history[0].act, "promote");
    pil_layout_channel(&releases[0], "production", name);
    assert_int_equal(pil_store_stat(store, name, &bytes, &before, NULL), PIL_STATUS_OK);
    promote(store, 0);
    assert_int_equal(channel.sequence, 1);
    assert_int_equal(pil_store_stat(store, name, &bytes, &after, NULL), PIL_STATUS_OK);
    assert_string_equal(before.text, after.text);
    struct pil_channel read;
    assert_int_equal(pil_channel_read(store, &releases[0], "production", &read, NULL), PIL_STATUS_OK);
    assert_memory_equal(&read, &channel, sizeof read);
}

static void rollback_goes_back_one_promotion_at_a_time(void **state) {
    struct pil_store *store = *state;
    promote(store, 0);
    expect_no_rollback(store);
    promote(store, 1);
    promote(store, 2);
    expect_rollback(store, 1);
    expect_rollback(store, 0);
    expect_no_rollback(store);
    promote(store, 3);
    expect_rollback(store, 0);
    promote(store, 1);
    promote(store, 0); /* promoted again, not rolled back: the way back leads over 1 */
    expect_rollback(store, 1);
    expect_rollback(store, 0);
    expect_no_rollback(store);
    assert_string_equal(channel.history[0].act, "rollback");
}

static void a_pin_holds_until_unpin(void **state) {
    struct pil_store *store = *state;
    struct pil_error error = {0};
    assert_int_equal(pil_channel_pin(store, &releases[0], "production", NULL, &channel, &error), PIL_STATUS_NOT_FOUND);
    promote(store, 0);
    assert_int_equal(pil_channel_pin(store, &releases[0], "production", NULL, &channel, NULL), PIL_STATUS_OK);
    uint64_t sequence = channel.sequence;
    assert_int_equal(pil_channel_pin(store, &releases[0], "production", NULL, &channel, NULL), PIL_STATUS_OK);
    assert_int_equal(channel.sequence, sequence);
    promote(store, 1);
    assert_string_equal(pil_channel_effective(&channel), releases[0].release);
    promote(store, 2);
    expect_rollback(store, 1);
    assert_string_equal(pil_channel_effective(&channel), releases[0].release);
    assert_int_equal(pil_channel_pin(store, &releases[3], "production", NULL, &channel, NULL), PIL_STATUS_OK);
    assert_string_equal(pil_channel_effective(&channel), releases[3].release);
    assert_int_equal(pil_channel_unpin(store, &releases[0], "production", NULL, &channel, NULL), PIL_STATUS_OK);
    assert_string_equal(pil_channel_effective(&channel), releases[1].release);
    sequence = channel.sequence;
    assert_int_equal(pil_channel_unpin(store, &releases[0], "production", NULL, &channel, NULL), PIL_STATUS_OK);
    assert_int_equal(channel.sequence, sequence);
    expect_rollback(store, 0); /* pins are no promotions */
}

static void only_whole_releases_are_pointed_to(void **state) {
    struct pil_store *store = *state;
    struct pil_error error = {0};
    char name[PIL_STORE_NAME_BYTES];
    struct pil_release_ref missing = releases[0];
    memcpy(missing.release, "0123456789abcdef", PIL_RELEASE_ID_CHARS);
    assert_int_equal(pil_channel_promote(store, &missing, "production", NULL, &channel, &error), PIL_STATUS_NOT_FOUND);
    assert_non_null(strstr(error.text, "0123456789abcdef"));
    memcpy(missing.release, "staging", sizeof "staging");
    assert_int_equal(pil_channel_promote(store, &missing, "production", NULL, &channel, &error), PIL_STATUS_INVALID);
    assert_int_equal(pil_channel_promote(store, &releases[0], "no/name", NULL, &channel, &error), PIL_STATUS_INVALID);
    assert_int_equal(pil_channel_promote(store, &releases[0], "..", NULL, &channel, &error), PIL_STATUS_INVALID);
    promote(store, 0);
    promote(store, 1);
    fixture_shard_name(store, &releases[0], name);
    assert_int_equal(pil_store_remove(store, name, pil_store_always(), NULL), PIL_STATUS_OK);
    assert_int_equal(pil_channel_rollback(store, &releases[0], "production", NULL, &channel, &error), PIL_STATUS_IO);
    assert_non_null(strstr(error.text, name));
    pil_layout_manifest(&releases[0], name);
    assert_int_equal(pil_store_remove(store, name, pil_store_always(), NULL), PIL_STATUS_OK);
    expect_no_rollback(store);
    assert_int_equal(pil_channel_read(store, &releases[0], "production", &channel, NULL), PIL_STATUS_OK);
    assert_string_equal(channel.release, releases[1].release);
}

/* The shards are sound, and the manifest names them in places that they are not made for. */
static void a_release_whose_shards_are_in_the_wrong_places_cannot_be_promoted(void **state) {
    struct pil_store *store = *state;
    struct pil_error error = {0};
    char name[PIL_STORE_NAME_BYTES];
    struct pil_manifest *manifest = fixture_manifest(store, 7);
    manifest->shards = realloc(manifest->shards, 2 * sizeof *manifest->shards);
    assert_non_null(manifest->shards);
    manifest->shards[1] = manifest->shards[0]; /* each says that it is the only one */
    manifest->shard_count = 2;
    manifest->row_count *= 2;
    manifest->bytes *= 2;
    assert_int_equal(pil_manifest_identify(manifest->view, manifest->shards, 2, manifest->ref.release, NULL),
                     PIL_STATUS_OK);
    assert_int_equal(pil_manifest_publish(store, manifest, &error), PIL_STATUS_CORRUPT);
    json_t *document = pil_manifest_to_json(manifest, NULL);
    char *text = json_dumps(document, JSON_COMPACT | JSON_SORT_KEYS);
    pil_layout_manifest(&manifest->ref, name);
    assert_int_equal(pil_store_put(store, name, pil_bytes_from_text(text), pil_store_always(), NULL, NULL),
                     PIL_STATUS_OK);
    assert_int_equal(pil_channel_promote(store, &manifest->ref, "production", NULL, &channel, &error),
                     PIL_STATUS_CORRUPT);
    assert_non_null(strstr(error.text, "it is shard 0 of 1 with 16 rows, and the manifest means shard 0 of 2"));
    free(text);
    json_decref(document);
    pil_manifest_destroy(&manifest);
}

/* Somebody who may write channels only; and a collector, between the check of a release and the pointer to it. */
struct collected {
    struct pil_store *store; /* without this hook */
    const char *removes;     /* an object; "": none */
};

static struct fault collect(void *context, const struct fault_call *call) {
    const struct collected *collected = context;
    bool is_put = call->op == FAULT_PUT;
    if (is_put && strstr(call->name, "/channels/") != NULL && collected->removes[0] != '\0') {
        assert_int_equal(pil_store_remove(collected->store, collected->removes, pil_store_always(), NULL),
                         PIL_STATUS_OK);
    }
    bool is_denied = is_put && strncmp(call->name, PIL_LAYOUT_LEASES, strlen(PIL_LAYOUT_LEASES)) == 0;
    return (struct fault){.status = is_denied ? PIL_STATUS_DENIED : PIL_STATUS_OK};
}

static void who_cannot_lease_learns_that_a_release_was_removed_meanwhile(void **state) {
    char manifest[PIL_STORE_NAME_BYTES], shard[PIL_STORE_NAME_BYTES];
    struct collected collected = {.store = *state, .removes = ""};
    struct fault_plan plan = {.choose = collect, .context = &collected};
    struct pil_store *again = NULL;
    struct pil_error error = {0};
    assert_int_equal(pil_store_open_again(*state, &again, NULL), PIL_STATUS_OK);
    struct pil_store *store = fault_store_open(again, &plan);
    promote(store, 0);
    pil_layout_manifest(&releases[1], manifest);
    collected.removes = manifest;
    assert_int_equal(pil_channel_promote(store, &releases[1], "production", NULL, &channel, &error),
                     PIL_STATUS_NOT_FOUND);
    assert_non_null(strstr(error.text, "channel production was written; release"));
    fixture_shard_name(store, &releases[2], shard);
    collected.removes = shard;
    assert_int_equal(pil_channel_pin(store, &releases[2], "production", NULL, &channel, &error), PIL_STATUS_IO);
    assert_non_null(strstr(error.text, shard));
    collected.removes = "";
    assert_int_equal(pil_channel_unpin(store, &releases[2], "production", NULL, &channel, &error), PIL_STATUS_OK);
    pil_store_close(&store);
}

static void history_keeps_the_newest(void **state) {
    struct pil_store *store = *state;
    for (int i = 0; i < PIL_CHANNEL_HISTORY_MAX + 5; i++) {
        promote(store, i % 2);
    }
    assert_int_equal(channel.history_count, PIL_CHANNEL_HISTORY_MAX);
    assert_int_equal(channel.history[0].sequence, PIL_CHANNEL_HISTORY_MAX + 5);
    assert_int_equal(channel.history[PIL_CHANNEL_HISTORY_MAX - 1].sequence, 6);
    int steps = 0;
    while (pil_channel_rollback(store, &releases[0], "production", NULL, &channel, NULL) == PIL_STATUS_OK) {
        steps++;
    }
    assert_true(steps > 0 &&
                steps < PIL_CHANNEL_HISTORY_MAX); /* it ends, and in between never leaves what was promoted */
}

/* A to B to A: the bytes of the pointer differ, so that a tag from content tells them apart. */
static void no_version_comes_back(void **state) {
    struct pil_store *store = *state;
    char name[PIL_STORE_NAME_BYTES];
    struct pil_store_tag first, third;
    struct pil_text content = {0};
    uint64_t bytes;
    pil_layout_channel(&releases[0], "production", name);
    promote(store, 0);
    assert_int_equal(pil_store_get(store, name, 1 << 20, &content, &first, NULL), PIL_STATUS_OK);
    promote(store, 1);
    promote(store, 0);
    assert_int_equal(pil_store_stat(store, name, &bytes, &third, NULL), PIL_STATUS_OK);
    assert_string_not_equal(first.text, third.text);
    assert_int_equal(pil_store_put(store, name, pil_text_bytes(&content), pil_store_if_match(&first), NULL, NULL),
                     PIL_STATUS_CONFLICT);
    /* Even when the whole channel was deleted and made again by the same acts. */
    assert_int_equal(pil_store_remove(store, name, pil_store_always(), NULL), PIL_STATUS_OK);
    promote(store, 0);
    assert_int_equal(pil_store_put(store, name, pil_text_bytes(&content), pil_store_if_match(&first), NULL, NULL),
                     PIL_STATUS_CONFLICT);
    pil_text_deinit(&content);
}

static void racers_lose_no_promotion(void **state) {
    struct pil_store *store = *state;
    for (int racer = 0; racer < RACERS; racer++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            struct pil_store *own = open_folder();
            bool ok = true;
            for (int i = 0; i < RACER_PROMOTIONS && ok; i++) {
                pil_status status =
                    pil_channel_promote(own, &releases[(racer + i) % RELEASES], "production", NULL, &channel, NULL);
                ok = status == PIL_STATUS_OK || status == PIL_STATUS_CONFLICT;
            }
            _exit(ok ? 0 : 1);
        }
    }
    for (int racer = 0; racer < RACERS; racer++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(pil_channel_read(store, &releases[0], "production", &channel, NULL), PIL_STATUS_OK);
    for (uint32_t i = 0; i < channel.history_count; i++) { /* each version was made from the one before */
        assert_int_equal(channel.history[i].sequence, channel.sequence - i);
        assert_true(i == 0 || strcmp(channel.history[i].release, channel.history[i - 1].release) != 0);
    }
}

static void a_killed_promotion_leaves_old_or_new(void **state) {
    struct pil_store *store = *state;
    const char *text = getenv("PIL_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL), sequence = 0;
    printf("PIL_SEED=%llu\n", (unsigned long long)seed);
    promote(store, 0);
    for (int kill_number = 0; kill_number < KILLS; kill_number++) {
        int promoted[2];
        char mark;
        assert_int_equal(pipe(promoted), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            struct pil_store *own = open_folder();
            for (int i = 0;; i++) {
                if (pil_channel_promote(own, &releases[i % RELEASES], "production", NULL, &channel, NULL) !=
                        PIL_STATUS_OK ||
                    (i == 1 && write(promoted[1], "", 1) != 1)) {
                    _exit(1);
                }
            }
        }
        close(promoted[1]);
        assert_int_equal(read(promoted[0], &mark, 1), 1); /* however slow the disk is: it has promoted */
        close(promoted[0]);
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        struct timespec pause = {.tv_nsec = (long)(seed >> 33) % 40000000};
        nanosleep(&pause, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        struct pil_error error = {0};
        if (pil_channel_read(store, &releases[0], "production", &channel, &error) != PIL_STATUS_OK) {
            fail_msg("%s", error.text);
        }
        assert_true(channel.sequence > sequence);
        sequence = channel.sequence;
    }
    struct pil_store *next = open_folder();
    assert_int_equal(pil_channel_pin(next, &releases[0], "production", NULL, &channel, NULL), PIL_STATUS_OK);
    pil_store_close(&next);
    assert_int_equal(temporary_count(), 0);
}

static void a_channel_that_lies_is_refused(void **state) {
    struct pil_store *store = *state;
    static const struct {
        const char *from, *to;
    } lies[] = {
        {"\"format\":1", "\"format\":2"},
        {"\"channel\":\"production\"", "\"channel\":\"staging\""},
        {"\"project\":\"rides\"", "\"project\":\"other\""},
        {"\"view\":\"drivers\"", "\"view\":\"trips\""},
        {"\"pinned\":null", "\"pinned\":\"x\""},
        {"\"act\":\"promote\"", "\"act\":\"steal\""},
        {"\"sequence\":2", "\"sequence\":-2"},
        {"\"history\":[", "\"history\":[7,"},
        {"\"history\":[", "\"history\":7,\"other\":["},
        {"\"release\":\"", "\"release\":\"../"},
        {"\"act\":", "\"other\":"},
        {"\"changed_us\":", "\"other\":"},
        {"\"history\":[{\"act\":\"promote\",\"changed_us\":", "\"history\":[{\"act\":\"promote\",\"other\":"},
        {"\"history\":[", "\"history\":[],\"other\":["},
        {"\"history\":[", "\"history\":{},\"other\":["},
        {"\"sequence\":1}", "\"sequence\":2}"},
        {"\"sequence\":1}", "\"sequence\":0}"},
        {"\"sequence\":1}", "\"other\":1}"},
        {"\"sequence\":2}", "\"sequence\":3}"},
    };
    char name[PIL_STORE_NAME_BYTES];
    struct pil_text good = {0};
    promote(store, 0);
    promote(store, 1);
    pil_layout_channel(&releases[0], "production", name);
    assert_int_equal(pil_store_get(store, name, 1 << 20, &good, NULL, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_channel_parse(pil_text_bytes(&good), &releases[0], "production", &channel, NULL),
                     PIL_STATUS_OK);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct pil_text bad = {0};
        struct pil_error error = {0};
        const char *at = strstr(good.data, lies[i].from);
        assert_non_null(at);
        pil_text_append(&bad, good.data, (size_t)(at - good.data));
        pil_text_format(&bad, "%s%s", lies[i].to, at + strlen(lies[i].from));
        pil_status status = pil_channel_parse(pil_text_bytes(&bad), &releases[0], "production", &channel, &error);
        if (status != (i == 0 ? PIL_STATUS_UNSUPPORTED : PIL_STATUS_CORRUPT)) {
            fail_msg("%s: %s", lies[i].to, pil_status_text(status));
        }
        assert_true(strlen(error.text) > 0);
        pil_text_deinit(&bad);
    }
    for (size_t len = 0; len < good.len; len++) {
        assert_int_equal(pil_channel_parse(pil_bytes_from(good.data, len), &releases[0], "production", &channel, NULL),
                         PIL_STATUS_CORRUPT);
    }
    pil_text_deinit(&good);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(promote_is_idempotent, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(rollback_goes_back_one_promotion_at_a_time, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_pin_holds_until_unpin, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(only_whole_releases_are_pointed_to, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(who_cannot_lease_learns_that_a_release_was_removed_meanwhile, setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(a_release_whose_shards_are_in_the_wrong_places_cannot_be_promoted, setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(history_keeps_the_newest, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(no_version_comes_back, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(racers_lose_no_promotion, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_killed_promotion_leaves_old_or_new, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_channel_that_lies_is_refused, setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
