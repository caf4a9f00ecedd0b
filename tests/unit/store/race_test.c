/* SPDX-License-Identifier: Apache-2.0
 * Goal: of writers that race for one version, exactly one wins; a writer that is killed at any moment leaves the old
 * object or the new one, what it was told is there stays there, and the next writer clears up after it. Method: eight
 * processes behind a barrier; a child in a loop of puts, killed with SIGKILL after random times. */
#include "base/sys.h"
#include "unit/store/folder.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum { RACERS = 8, ROUNDS = 25, KILLS = 25, BODY_BYTES = 40000 };

struct shared {
    pthread_barrier_t barrier;
    int winners[2][ROUNDS], losers[2][ROUNDS]; /* of puts if match, of puts if absent */
    _Atomic uint64_t acknowledged;
};

static struct shared *map_shared(void) {
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    return shared;
}

/* ---- Races */

static void count(struct shared *shared, int kind, int round, pil_status status, pil_status loser) {
    if (status == PIL_STATUS_OK) {
        __atomic_add_fetch(&shared->winners[kind][round], 1, __ATOMIC_RELAXED);
    } else if (status == loser) {
        __atomic_add_fetch(&shared->losers[kind][round], 1, __ATOMIC_RELAXED);
    }
}

static int race(struct shared *shared, int racer) {
    struct pil_store *store;
    if (pil_store_open(folder_url, false, &store, NULL) != PIL_STATUS_OK) {
        return 1;
    }
    for (int round = 0; round < ROUNDS; round++) {
        char content[64], name[32];
        uint64_t bytes;
        struct pil_store_tag tag;
        snprintf(content, sizeof content, "round %d racer %d", round, racer);
        snprintf(name, sizeof name, "once/%d", round);
        bool there = pil_store_stat(store, "pointer", &bytes, &tag, NULL) == PIL_STATUS_OK;
        pthread_barrier_wait(&shared->barrier);
        pil_status status = pil_store_put(store, "pointer", pil_bytes_from_text(content),
                                          there ? pil_store_if_match(&tag) : pil_store_if_absent(), NULL, NULL);
        count(shared, 0, round, status, there ? PIL_STATUS_CONFLICT : PIL_STATUS_EXISTS);
        status = pil_store_put(store, name, pil_bytes_from_text(content), pil_store_if_absent(), NULL, NULL);
        count(shared, 1, round, status, PIL_STATUS_EXISTS);
        pthread_barrier_wait(&shared->barrier);
    }
    pil_store_close(&store);
    return 0;
}

static void exactly_one_of_the_racers_wins_each_round(void **state) {
    (void)state;
    struct shared *shared = map_shared();
    pid_t pids[RACERS];
    pthread_barrierattr_t attributes;
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    assert_int_equal(pthread_barrier_init(&shared->barrier, &attributes, RACERS), 0);
    for (int i = 0; i < RACERS; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            _exit(race(shared, i));
        }
    }
    for (int i = 0; i < RACERS; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int kind = 0; kind < 2; kind++) {
            assert_int_equal(shared->winners[kind][round], 1);
            assert_int_equal(shared->losers[kind][round], RACERS - 1);
        }
    }
    assert_int_equal(temporary_count(), 0);
    munmap(shared, sizeof *shared);
}

/* ---- Kills */

/* Version n is n in decimal and BODY_BYTES times its last digit. */
static void make_content(uint64_t version, struct pil_text *content) {
    char body[BODY_BYTES];
    memset(body, '0' + (int)(version % 10), sizeof body);
    pil_text_clear(content);
    pil_text_format(content, "%llu ", (unsigned long long)version);
    pil_text_append(content, body, sizeof body);
}

/* The version; fails unless the content is whole. */
static uint64_t read_version(struct pil_store *store, const char *name, struct pil_store_tag *ret_tag) {
    struct pil_text content = {0}, wanted = {0};
    pil_status status = pil_store_get(store, name, 1 << 20, &content, ret_tag, NULL);
    if (status == PIL_STATUS_NOT_FOUND) {
        return 0;
    }
    assert_int_equal(status, PIL_STATUS_OK);
    uint64_t version = strtoull(content.data, NULL, 10);
    make_content(version, &wanted);
    assert_int_equal(content.len, wanted.len);
    assert_memory_equal(content.data, wanted.data, wanted.len);
    pil_text_deinit(&content);
    pil_text_deinit(&wanted);
    return version;
}

static void put_for_ever(struct shared *shared) {
    struct pil_store *store = open_folder();
    struct pil_text content = {0};
    struct pil_store_tag tag;
    char name[48];
    for (uint64_t version = read_version(store, "pointer", &tag) + 1;; version++) {
        make_content(version, &content);
        snprintf(name, sizeof name, "data/%llu/object", (unsigned long long)version);
        pil_status status = pil_store_put(store, name, pil_text_bytes(&content), pil_store_if_absent(), NULL, NULL);
        if (status != PIL_STATUS_OK && status != PIL_STATUS_EXISTS) {
            _exit(1);
        }
        if (pil_store_put(store, "pointer", pil_text_bytes(&content),
                          version > 1 ? pil_store_if_match(&tag) : pil_store_if_absent(), NULL,
                          NULL) != PIL_STATUS_OK) {
            _exit(1);
        }
        read_version(store, "pointer", &tag);
        shared->acknowledged = version;
    }
}

static pil_status visit_data(void *context, const struct pil_store_object *object) {
    struct pil_store *store = context;
    struct pil_store_tag tag;
    assert_true(read_version(store, object->name, &tag) > 0);
    return PIL_STATUS_OK;
}

static void a_killed_writer_leaves_old_or_new(void **state) {
    struct pil_store *store = *state;
    struct shared *shared = map_shared();
    const char *text = getenv("PIL_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
    printf("PIL_SEED=%llu\n", (unsigned long long)seed);
    struct pil_store_tag tag;
    int leftovers = 0;
    for (int kill_number = 0; kill_number < KILLS; kill_number++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            put_for_ever(shared);
        }
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        struct timespec pause = {.tv_nsec = (long)(seed >> 33) % 60000000};
        nanosleep(&pause, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        uint64_t version = read_version(store, "pointer", &tag), acknowledged = shared->acknowledged;
        assert_true(version == acknowledged || version == acknowledged + 1);
        shared->acknowledged = version;
        assert_int_equal(pil_store_list(store, "data/", visit_data, store, NULL), PIL_STATUS_OK);
        leftovers += temporary_count();
        struct pil_store *next = open_folder(); /* as the next run does */
        char name[32];
        snprintf(name, sizeof name, "repaired/%d", kill_number);
        assert_int_equal(pil_store_put(next, name, pil_bytes_from_text("x"), pil_store_if_absent(), NULL, NULL),
                         PIL_STATUS_OK);
        pil_store_close(&next);
        assert_int_equal(temporary_count(), 0);
    }
    printf("%llu versions, %d temporary files of killed writers\n", (unsigned long long)shared->acknowledged,
           leftovers);
    assert_true(shared->acknowledged > 0);
    munmap(shared, sizeof *shared);
}

/* A sweep must not take away what a living writer is writing: its lock on the temporary file says that it lives. */
static void temporary_files_of_living_writers_stay(void **state) {
    struct pil_store *store = *state;
    int ready[2];
    assert_int_equal(pil_store_put(store, "first", pil_bytes_from_text("x"), pil_store_if_absent(), NULL, NULL),
                     PIL_STATUS_OK);
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) { /* a large put, stopped while it writes */
        struct pil_store *own = open_folder();
        size_t len = 64 << 20;
        void *large = mmap(NULL, len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        (void)!write(ready[1], "r", 1);
        _exit(pil_store_put(own, "large", pil_bytes_from(large, len), pil_store_if_absent(), NULL, NULL) ==
                      PIL_STATUS_OK
                  ? 0
                  : 1);
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    while (temporary_count() == 0 && waitpid(pid, NULL, WNOHANG) == 0) {
    }
    struct pil_store *other = open_folder();
    assert_int_equal(pil_store_put(other, "other", pil_bytes_from_text("x"), pil_store_if_absent(), NULL, NULL),
                     PIL_STATUS_OK);
    pil_store_close(&other);
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    uint64_t bytes;
    assert_int_equal(pil_store_stat(store, "large", &bytes, NULL, NULL), PIL_STATUS_OK);
    assert_int_equal(bytes, 64 << 20);
    close(ready[0]);
    close(ready[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(exactly_one_of_the_racers_wins_each_round, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_killed_writer_leaves_old_or_new, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(temporary_files_of_living_writers_stay, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
